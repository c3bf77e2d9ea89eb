"""`meaning`: what a pattern computes on real numbers, as operators on its ports.

The operators are Relay's float ones. `like=acc` takes over the attributes of the call written as
`acc` that the operator has too; keywords come before them. `f(a, b)?` is `a` where `b`, or the call
it is like, is absent.
"""

from __future__ import annotations

from qpat.diagnostics import did_you_mean, respelt
from qpat.ops.table import Operator, operator, operator_names
from qpat.semantics import ir
from qpat.semantics.expressions import Lowering
from qpat.semantics.ir import Kind
from qpat.semantics.kinds import NOT_NUMBERS, A
from qpat.source import Span
from qpat.syntax import tree

_ARITHMETIC = {"+": "add", "-": "subtract", "*": "multiply", "/": "divide", "**": "power"}
# Attributes of integer operators that say nothing of real numbers.
_NOT_TAKEN_OVER = frozenset(["out_dtype", "dtype"])


class Meanings:
    """Lowers the meaning of a pattern. `ports` are its inputs and whether each is many tensors."""

    def __init__(self, lowering: Lowering, ports: dict[str, bool]) -> None:
        self.lowering = lowering
        self.ports = ports

    def lower(self, node: tree.Expression) -> ir.Real:
        """The meaning of an expression; a number of zero stands where one is at fault."""
        match node:
            case tree.Name() if node.name in self.ports:
                return self._port(node, frozenset())
            case tree.Apply():
                return self._call(node, None)
            case tree.Present(value=tree.Apply() as inner):
                return self._call(inner, node.span)
            case tree.Operation(operator=symbol) if symbol in _ARITHMETIC:
                operands = tuple(self.lower(operand) for operand in node.operands)
                return ir.RealCall(_ARITHMETIC[symbol], operands, (), None, (), node.span)
            case tree.Operation(operator="minus"):
                operands = (self.lower(node.operands[0]),)
                return ir.RealCall("negative", operands, (), None, (), node.span)
        return self._number(node)

    def _port(self, node: tree.Name, known: frozenset[str]) -> ir.Real:
        if node.name in self.lowering.names.absent_values and node.name not in known:
            self.lowering.report_absent(node.name, node.span)
        return ir.RealInput(node.name, self.ports[node.name], node.span)

    def _number(self, node: tree.Expression) -> ir.Real:
        value = self.lowering.lower(node)
        if value.kind in NOT_NUMBERS:
            message = f"a meaning is made of ports, operators and numbers; this is {A[value.kind]}"
            return self._broken(node.span, "QP138", message)
        return ir.RealNumber(value, node.span)

    # ---- calls ----
    def _call(self, node: tree.Apply, optional: Span | None) -> ir.Real:
        name = _dotted(node.function)
        signature = operator(name)
        if signature is None or name.startswith("qnn."):
            known = [each for each in operator_names() if not each.startswith("qnn.")]
            hint = did_you_mean(name.removeprefix("qnn."), known)
            fix = respelt(node.function.span, name, known)
            message = f"`{name}` is no operator on real numbers"
            return self._broken(node.function.span, "QP145", message, hint, fix)
        keywords = {a.name.text: a for a in node.arguments if isinstance(a, tree.Keyword)}
        given = [a for a in node.arguments if not isinstance(a, tree.Keyword)]
        count = sum(not each.optional for each in signature.operands)
        if len(given) < count:
            names = ", ".join(operand.name for operand in signature.operands)
            message = f"`{name}` takes {count} operands ({names}); {len(given)} given"
            return self._broken(node.span, "QP103", message)
        like = self._like(keywords.pop("like", None), optional is not None)
        needs = self._needs(given[1:count], like) if optional is not None else ()
        if optional is not None and not needs and not self.lowering.may_be_absent(node):
            message = "nothing in here can be absent, so `?` says nothing"
            self.lowering.broken(optional, "QP136", message, "leave it out")
        operands = tuple(
            self._operand(each, signature, position, needs)
            for position, each in enumerate(given[:count])
        )
        attributes = self._positional(given[count:], signature)
        attributes += self._keywords(keywords, signature)
        return ir.RealCall(name, operands, tuple(attributes), like, needs, node.span)

    def _operand(
        self, node: tree.Expression, signature: Operator, index: int, needs: tuple[str, ...]
    ) -> ir.Real:
        if isinstance(node, tree.Name) and node.name in self.ports:
            operand = self._port(node, frozenset(needs))
            is_many = self.ports[node.name]
            if is_many and not signature.operands[index].is_tuple:
                message = f"operand `{signature.operands[index].name}` of `{signature.name}` is one"
                return self._broken(
                    node.span, "QP114", f"{message} tensor, and `{node.name}` is many"
                )
            return operand
        return self.lower(node)

    def _like(self, keyword: tree.Keyword | None, optional: bool) -> str | None:
        if keyword is None:
            return None
        value = keyword.value
        names = self.lowering.names
        if isinstance(value, tree.Name) and value.name not in names.values:
            self.lowering.unknown(value.name, value.span)
            return None
        if not isinstance(value, tree.Name) or value.name not in names.calls:
            message = "`like=` wants the name of a call in the structure"
            hint = did_you_mean(value.span.text, names.calls)
            self.lowering.broken(value.span, "QP132", message, hint)
            return None
        if value.name in names.absent_calls and not optional:
            self.lowering.report_absent(value.name, value.span)
        return value.name

    def _needs(self, operands: list[tree.Expression], like: str | None) -> tuple[str, ...]:
        """The maybe-absent names that decide whether an optional operator is there."""
        names = self.lowering.names
        found = [
            each.name
            for each in operands
            if isinstance(each, tree.Name) and each.name in names.values & names.optional
        ]
        if like is not None and like in names.optional:
            found.append(like)
        return tuple(dict.fromkeys(found))

    # ---- attributes ----
    def _positional(
        self, given: list[tree.Expression], signature: Operator
    ) -> list[tuple[str, ir.Expression]]:
        """Numbers behind the operands are attributes in the operator's order: `clip(x, 0, 6)`."""
        known = list(signature.attributes)
        if len(given) > len(known):
            message = f"`{signature.name}` does not take so many arguments"
            self.lowering.broken(given[len(known)].span, "QP103", message)
        return [(name, self.lowering.lower(node)) for name, node in zip(known, given, strict=False)]

    def _keywords(
        self, keywords: dict[str, tree.Keyword], signature: Operator
    ) -> list[tuple[str, ir.Expression]]:
        found: list[tuple[str, ir.Expression]] = []
        for name, keyword in keywords.items():
            if name not in signature.attributes:
                message = f"`{signature.name}` has no attribute `{name}`"
                hint = did_you_mean(name, signature.attributes)
                fix = respelt(keyword.name.span, name, signature.attributes)
                self.lowering.broken(keyword.name.span, "QP102", message, hint, fix)
                continue
            found.append((name, self.lowering.lower(keyword.value)))  # type: ignore[arg-type]
        return found

    def _broken(self, span: Span, code: str, *said: object) -> ir.Real:
        self.lowering.broken(span, code, *said)  # type: ignore[arg-type]
        return ir.RealNumber(ir.Number(0, Kind.INT, span), span)


def taken_over(name: str, like: str) -> tuple[str, ...]:
    """The attributes that an operator takes over from a call of another one."""
    mine, other = operator(name), operator(like)
    if mine is None or other is None:
        return ()
    return tuple(
        each for each in mine.attributes if each in other.attributes and each not in _NOT_TAKEN_OVER
    )


def _dotted(node: tree.Expression) -> str:
    if isinstance(node, tree.Get):
        return f"{_dotted(node.value)}.{node.member.text}"
    return node.name if isinstance(node, tree.Name) else node.span.text
