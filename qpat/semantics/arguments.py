"""The arguments of one call: sorted into operands and attributes, the rest filled in by role."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from qpat.diagnostics import Findings, did_you_mean, renamed, respelt
from qpat.ops.roles import roles
from qpat.ops.table import Operator
from qpat.ops.values import allowed, is_layout, layout_letters
from qpat.semantics import ir
from qpat.semantics.attributes import SAID, attribute_fix, attribute_hint, attribute_value, fits
from qpat.semantics.draft import Draft, Scope, SlotUse
from qpat.semantics.fixes import with_rest, without_argument
from qpat.source import Span
from qpat.syntax import tree

_SLOTS = ("scale", "zero_point")


class Row(Protocol):
    """What the arguments want of the row that is built."""

    scope: Scope
    draft: Draft
    findings: Findings
    written: dict[int, tree.Slot]  # slots that no call has yet, by node

    def structure(self, node: tree.Structure) -> tuple[int, bool]: ...

    def slot(self, node: tree.Slot) -> int: ...

    def add(self, node: ir.Node) -> int: ...

    def stand_in(self, span: Span) -> int: ...


class Arguments:
    """Sorts the arguments of one call into operands and attributes, and fills in the rest."""

    def __init__(self, row: Row, node: tree.Call, signature: Operator) -> None:
        self.row = row
        self.node = node
        self.signature = signature
        self.given: dict[int, int] = {}
        self.attributes: list[ir.Attribute] = []
        self.is_misnamed = False  # an operand may be given by a name that does not exist

    def build(self) -> int:
        rest = self._collect()
        if rest is not None and len(self.given) == len(self.signature.operands):
            message = (
                f"`..` has nothing left to give: `{self.signature.name}` takes {self._names()}"
            )
            self.row.findings.error("QP105", rest.span, message, hint="leave it out")
        missing = [i for i in range(len(self.signature.operands)) if i not in self.given]
        if rest is not None:
            missing = [i for i in missing if not self._fill(i, rest)]
        missing = [i for i in missing if not self.signature.operands[i].optional]
        if missing and not self.is_misnamed:
            self._report_missing(missing, rest)
        self.given.update({i: self.row.stand_in(self.node.span) for i in missing})
        order = sorted(self.given)
        operands = tuple(self.given[i] for i in order)
        attributes = tuple(self.attributes)
        index = self.row.add(ir.Call(self.signature.name, operands, attributes, self.node.span))
        self._note_slots(index, operands, order)
        if missing:
            self.row.draft.faulty.add(index)
        return index

    def _note_slots(self, index: int, operands: tuple[int, ...], order: list[int]) -> None:
        """Written slots belong to this call, those in tuples too."""
        for position, operand in zip(order, operands, strict=True):
            node = self.row.draft.nodes[operand]
            for constant in (operand, *(node.elements if isinstance(node, ir.Tuple) else ())):
                slot = self.row.written.pop(constant, None)
                if slot is not None:
                    name = self.signature.operands[position].name
                    self._use_slot(slot, constant, index, name)

    def _use_slot(self, slot: tree.Slot, constant: int, call: int, operand: str) -> None:
        meant = slot.slot
        if meant not in _SLOTS:
            if roles(self.signature.name).slot(operand) is not None:
                return  # what it is, its role says
            import difflib  # here, because a file without faults needs none of it

            meant = next(iter(difflib.get_close_matches(meant, _SLOTS)), _SLOTS[0])
        use = SlotUse(slot.name, meant, constant, call, slot.span)
        self.row.draft.slot_uses.append(use)

    def _collect(self) -> tree.Rest | None:
        rest: tree.Rest | None = None
        position = 0
        for argument in self.node.arguments:
            if isinstance(argument, tree.Rest):
                if rest is not None:
                    fix = without_argument(argument.span)
                    message = "`..` stands here already"
                    self.row.findings.error("QP105", argument.span, message, fix=fix)
                rest = argument
            elif isinstance(argument, tree.Keyword):
                self._keyword(argument)
            elif isinstance(argument, tree.Text | tree.ListExpression):
                message = f"`{argument.span.text}` is no operand of `{self.signature.name}`"
                hint = "an attribute is given by its name: `axis=…`"
                self.row.findings.error("QP104", argument.span, message, hint=hint)
            elif rest is not None:
                message = "after `..` an operand must be given by its name"
                self.row.findings.error("QP105", argument.span, message)
                self._value(argument)
            else:
                self._operand(position, argument)
                position += 1
        return rest

    def _operand(self, position: int, argument: tree.Structure | tree.Slot) -> None:
        count = len(self.signature.operands)
        if position >= count:
            self._value(argument)
            if position > count:
                return  # said once, of the first that is too many
            message = f"`{self.signature.name}` takes {self._names()}, not {position + 1} of them"
            self.row.findings.error("QP103", argument.span, message, label="one too many")
            return
        if position in self.given:
            name = self.signature.operands[position].name
            message = f"operand `{name}` of `{self.signature.name}` is given twice"
            self.row.findings.error("QP105", argument.span, message)
        index = self._value(argument)
        self.given[position] = index
        self._check_kind(position, self.row.draft.nodes[index], argument.span)

    def _check_kind(self, position: int, node: ir.Node, span: Span) -> None:
        """A tuple where a tensor is wanted, or the other way round, can never match."""
        operand = self.signature.operands[position]
        is_tuple = isinstance(node, ir.Tuple | ir.Elements | ir.SlotTuple)
        is_tensor = isinstance(node, ir.Input | ir.Literal | ir.SlotConstant)
        if is_tuple and not operand.is_tuple:
            message = f"operand `{operand.name}` of `{self.signature.name}` is one tensor"
            self.row.findings.error("QP114", span, message, hint="write it without the brackets")
        elif is_tensor and operand.is_tuple and operand.name not in self._slot_names():
            message = f"operand `{operand.name}` of `{self.signature.name}` is a tuple"
            self.row.findings.error("QP114", span, message, hint="write `(a, b)` or `(xs...)`")

    def _slot_names(self) -> set[str]:
        groups = roles(self.signature.name).groups
        return {name for group in groups for name in (group.scale, group.zero_point)}

    def _value(self, argument: tree.Structure | tree.Slot) -> int:
        if not isinstance(argument, tree.Slot):
            return self.row.structure(argument)[0]
        return self.row.slot(argument)

    def _keyword(self, keyword: tree.Keyword) -> None:
        name = keyword.name.text
        position = self.signature.operand_index(name)
        value = keyword.value
        if position is not None:
            if isinstance(value, tree.Text | tree.ListExpression):
                message = f"`{name}` is an operand of `{self.signature.name}`, not an attribute"
                self.row.findings.error("QP104", keyword.span, message)
                self.given[position] = self.row.stand_in(keyword.span)
                return
            self._operand(position, value)  # type: ignore[arg-type]
            return
        if name not in self.signature.attributes:
            self._report_unknown(keyword)
            if attribute_value(value) is None and not isinstance(value, tree.ListExpression):
                self.is_misnamed = True
                self._value(value)  # type: ignore[arg-type]
            return
        self._attribute(keyword)

    def _attribute(self, keyword: tree.Keyword) -> None:
        name, value = keyword.name.text, keyword.value
        declared = self.signature.attributes[name].type
        literal = attribute_value(value)
        if literal is None:
            message = f"attribute `{name}` wants a string, a number, `true`, or a list of numbers"
            comparing = "compare anything else in a `where`: `acc.attrs.…`"
            if isinstance(value, tree.Tuple):
                comparing = "lists have square brackets"
            if declared == "dtype" and isinstance(value, tree.Leaf):
                comparing = f"a port's dtype is `{value.name}.dtype`"
            fix = attribute_fix(value, declared)
            self.row.findings.error("QP104", keyword.span, message, hint=comparing, fix=fix)
            return
        if not fits(literal, declared):
            message = f"attribute `{name}` of `{self.signature.name}` is {SAID[declared]}"
            hint = attribute_hint(literal, declared)
            fix = attribute_fix(value, declared)
            self.row.findings.error("QP104", keyword.span, message, hint=hint, fix=fix)
            return
        if isinstance(literal, str) and not self._is_value(keyword, literal):
            return
        if any(given.name == name for given in self.attributes):
            message = f"attribute `{name}` is given twice"
            self.row.findings.error("QP105", keyword.span, message)
        if declared == "float" and isinstance(literal, int):
            literal = float(literal)  # TVM compares a whole number with a float as unequal
        if isinstance(literal, ir.DtypeOf):
            self._require_port(literal.name, keyword)
        self.attributes.append(ir.Attribute(name, literal, keyword.span))

    def _is_value(self, keyword: tree.Keyword, text: str) -> bool:
        """Whether an attribute can be this string; TVM would take it, and match nothing."""
        name, operator_name = keyword.name.text, self.signature.name
        known, letters = allowed(self.signature, name), layout_letters(self.signature, name)
        if known and text not in known:
            hint = did_you_mean(text, known) or f"it can be {', '.join(known)}"
            message = f'attribute `{name}` of `{operator_name}` is never "{text}"'
        elif letters is not None and text and not is_layout(text, letters):
            message = f'"{text}" is no layout for `{operator_name}`'
            hint = f"it has the letters {', '.join(letters)}"
        else:
            return True
        self.row.findings.error("QP104", keyword.value.span, message, hint=hint)
        return False

    def _require_port(self, name: str, keyword: tree.Keyword) -> None:
        ports = [*self.row.scope.inputs, self.row.scope.output.name.text]
        port = self.row.scope.inputs.get(name)
        if port is not None and port.many:
            message = f"`{name}` is many tensors, so it has no one dtype"
            self.row.findings.error("QP104", keyword.span, message)
        if name not in ports:
            message = f"`{name}` is no port of this pattern"
            fix = renamed(keyword.value.span.first(len(name)), name, ports)
            hint = did_you_mean(name, ports)
            self.row.findings.error("QP110", keyword.span, message, hint=hint, fix=fix)

    def _fill(self, position: int, rest: tree.Rest) -> bool:
        """Gives an operand its role. False where it has none."""
        operand = self.signature.operands[position]
        role = roles(self.signature.name).slot(operand.name)
        if role is None:
            return False
        tensor = self.signature.operand_index(role[0].tensor)
        given = self.given.get(tensor) if tensor is not None else None
        data = None if given is None else self.row.draft.nodes[given]
        node: ir.Node = ir.SlotConstant(rest.span)
        if operand.is_tuple and isinstance(data, ir.Tuple):
            slots = [self.row.add(ir.SlotConstant(rest.span)) for _ in data.elements]
            node = ir.Tuple(tuple(slots), rest.span)
        elif operand.is_tuple:
            node = ir.SlotTuple(rest.span)
        self.given[position] = self.row.add(node)
        return True

    # ---- reports ----
    def _names(self) -> str:
        names = [operand.name for operand in self.signature.operands]
        if not names:
            return "no operands"
        return f"{len(names)} operand{'s' if len(names) > 1 else ''} ({', '.join(names)})"

    def _report_missing(self, missing: Iterable[int], rest: tree.Rest | None) -> None:
        names = ", ".join(f"`{self.signature.operands[i].name}`" for i in missing)
        if rest is not None:
            message = f"`..` cannot give {names} of `{self.signature.name}`: no tensor's parameter"
            self.row.findings.error("QP103", rest.span, message, hint="write it as an operand")
            return
        given = len(self.given)
        message = f"`{self.signature.name}` takes {self._names()}; {given} given"
        known = roles(self.signature.name)
        by_role = all(known.slot(self.signature.operands[i].name) for i in missing)
        hint = "write `..` for the scales and zero points" if by_role else f"{names} missing"
        fix = with_rest(self.node) if by_role else None
        self.row.findings.error("QP103", self.node.span, message, hint=hint, fix=fix)

    def _report_unknown(self, keyword: tree.Keyword) -> None:
        name = keyword.name.text
        if "$" in name:
            return
        known = [*self.signature.attributes, *(o.name for o in self.signature.operands)]
        hint = did_you_mean(name, known)
        if hint is None and known:
            hint = f"it has {', '.join(sorted(known))}"
        message = f"`{self.signature.name}` has no attribute `{name}`"
        given = [a.name.text for a in self.node.arguments if isinstance(a, tree.Keyword)]
        fix = respelt(keyword.name.span, name, known, given)
        self.row.findings.error("QP102", keyword.name.span, message, hint=hint, fix=fix)
