"""Statements that are carried out at a match: `where`, `let`, `param`, `inherit`."""

from __future__ import annotations

from collections.abc import Collection

from qpat.diagnostics import Findings, Label, did_you_mean, renamed, respelt
from qpat.semantics import ir
from qpat.semantics.blocks import Dropped
from qpat.semantics.excused import Excused, certain
from qpat.semantics.expressions import Lowering
from qpat.semantics.fixes import without_statement
from qpat.semantics.folding import Folding
from qpat.semantics.functions import RESULTS
from qpat.semantics.interface import value_type
from qpat.semantics.kinds import A
from qpat.semantics.meanings import Meanings
from qpat.semantics.names import Filling, Interface, names_of
from qpat.semantics.reports import check_name, report_twice
from qpat.source import Span
from qpat.syntax import tree


class Statements:
    """Lowers the statements of a pattern or of a block in it. `rows` are those that have the block,
    `elsewhere` those of another IR that do; `block` is its name where other rows do not; `dropped`
    is what no row has; `outer` is the block around, as far as it goes."""

    def __init__(
        self,
        pattern: tree.Pattern,
        rows: tuple[ir.Row, ...],
        elsewhere: tuple[ir.Row, ...],
        block: str | None,
        findings: Findings,
        interface: Interface,
        fillings: Collection[Filling],
        excused: Excused,
        declared: frozenset[str],
        dropped: Dropped,
        outer: Statements | None = None,
    ) -> None:
        self.pattern = pattern
        self.findings = findings
        self.block = block
        self.rows = len(rows)
        self.meant: Span | None = outer.meant if outer is not None else None
        self.params: dict[str, Span] = dict(outer.params) if outer is not None else {}
        self.excused = excused
        names = names_of(pattern, rows, fillings, elsewhere, dropped)
        known = certain(pattern) - excused.absent, declared
        self.lowering = Lowering(names, findings, interface, excused, *known)
        if outer is not None:
            self.lowering.locals.update(outer.lowering.locals)
            self.lowering.lets.update(outer.lowering.lets)
            self.lowering.filled.update(outer.lowering.filled)

    def lower(self, statement: tree.Statement) -> list[ir.Statement]:
        self.excused.lacks_guards = False
        match statement:
            case tree.Where():
                return [self._where(statement)]
            case tree.Let():
                return self._let(statement)
            case tree.Param():
                return [self._param(statement)]
            case tree.Inherit():
                return [self._inherit(name) for name in statement.names]
            case tree.Meaning():
                return [self._meaning(statement)]
            case tree.Bind() | tree.Form() | tree.Use() | tree.Option() | tree.Inlined():
                pass  # structure, expanded into rows or looked at before
            case tree.Broken():
                pass  # said already
        return []

    def take(self, inner: Statements) -> None:
        """Takes over what a block says that counts in all the rows that this one does."""
        self.params.update(inner.params)
        self.meant = self.meant or inner.meant
        self.lowering.locals.update(inner.lowering.locals)
        self.lowering.lets.update(inner.lowering.lets)
        self.lowering.filled.update(inner.lowering.filled)

    def _where(self, node: tree.Where) -> ir.Where:
        before = len(self.findings.diagnostics)
        condition = self.lowering.lower(node.condition)
        is_fine = len(self.findings.diagnostics) == before
        if is_fine and condition.kind not in (ir.Kind.BOOL, ir.Kind.ANY):
            message = "a condition is wanted here, something that holds or does not"
            self.findings.error("QP138", node.condition.span, message)
        words = " ".join(node.condition.span.text.split())
        reason = node.reason.text if node.reason is not None else f"not {words}"
        return ir.Where(condition, reason, node.span, self.block)

    def _meaning(self, node: tree.Meaning) -> ir.Meaning:
        output = self.pattern.output.name.text
        if node.out.name != output or node.out.many:
            message = f"`{node.out.name}` is not the output of this pattern"
            hint = f"write `meaning {output} = …`"
            self.findings.error("QP146", node.out.span, message, hint=hint)
        if self.meant is not None:
            others = (Label(self.meant, "first here"),)
            message = "the meaning of this pattern is given twice"
            self.findings.error("QP117", node.span, message, others=others)
        self.meant = node.span
        ports = {port.name.text: port.many for port in self.pattern.ports}
        return ir.Meaning(Meanings(self.lowering, ports).lower(node.value), node.span, self.block)

    def _let(self, node: tree.Let) -> list[ir.Statement]:
        if node.slot is not None:
            return self._fill(node, node.slot)
        name = node.name.text
        check_name(self.findings, node.name)
        names = self.lowering.names
        if name in names.values or name in self.lowering.locals or name in names.dimensions:
            message = f"`{name}` already means something here"
            self.findings.error("QP117", node.name.span, message)
        value = self.lowering.lower(node.value)
        self.lowering.locals[name] = value.kind
        self.lowering.lets[name] = value
        return [ir.Let(name, value, node.span, self.block)]

    def _fill(self, node: tree.Let, slot: tree.Identifier) -> list[ir.Statement]:
        name = node.name.text
        if slot.text not in _SLOTS:
            message = f"`{slot.text}` cannot be filled"
            near = did_you_mean(slot.text, _SLOTS) or f"what can be is {', '.join(_SLOTS)}"
            word = respelt(slot.span, slot.text, _SLOTS, ("qparams", "range"))
            self.findings.error("QP106", slot.span, message, hint=near, fix=word)
            self.excused.lacks_fills = True
            return []
        if name not in self.lowering.names.values:
            self.excused.lacks_fills = True
            if name not in self.lowering.declared:
                hint = did_you_mean(name, self.lowering.names.values)
                fix = renamed(node.name.span, name, self.lowering.names.values)
                message = f"`{name}` is not known here"
                unknown = self.excused.unknown(name)
                unknown.error("QP130", node.name.span, message, hint=hint, fix=fix)
            elif not isinstance(node.value, tree.Raw):
                self.lowering.lower(node.value)
            return []
        if slot.text == "qparams" and isinstance(node.value, tree.Raw):
            return [ir.Fill(name, "raw", None, node.span, self.block)]
        value = self.lowering.lower(node.value)
        self._check_fill(node, slot, value)
        return [ir.Fill(name, slot.text, value, node.span, self.block)]

    def _check_fill(self, node: tree.Let, slot: tree.Identifier, value: ir.Expression) -> None:
        name = node.name.text
        what, kinds = _SLOTS[slot.text]
        if value.kind not in kinds | {ir.Kind.ANY}:
            message = f"`{name}.{slot.text}` is {what}"
            self.findings.error("QP138", node.value.span, message)
        known = Folding().value(value)
        if slot.text == "scale" and isinstance(known, int | float) and known <= 0:
            message = f"a scale is a positive number, and this is {known}"
            self.findings.error("QP138", node.value.span, message)
        filled = ("scale", "zero_point") if slot.text == "qparams" else (slot.text,)
        for each in filled:
            is_open = each == "range" or (name, each) in self.lowering.names.open
            if (name, each) in self.lowering.filled:
                message = f"`{name}.{each}` is filled twice"
                self.findings.error("QP117", node.span, message)
            elif not is_open and not self.excused.lacks_forms:
                message = f"`{name}.{each}` is bound by the structure in every row"
                fix = without_statement(node.span)
                self.findings.error("QP144", node.span, message, hint="leave this out", fix=fix)
            self.lowering.filled.add((name, each))

    def _param(self, node: tree.Param) -> ir.Param:
        taken = {port.name.text for port in (*self.pattern.ports, self.pattern.output)}
        for name in node.names:
            if name.text in taken:
                message = f"the record already has a field `{name.text}`"
                self.findings.error("QP117", name.span, message)
            elif name.text in self.params:
                report_twice(name, self.params[name.text], "param", self.findings)
            self.params.setdefault(name.text, name.span)
            check_name(self.findings, name)
        declared = value_type(node.type, self.findings) if node.type is not None else None
        value = self.lowering.lower(node.value)
        if len(node.names) > 1:
            value = self._spread(value, len(node.names))
        elif declared is not None and not _can_be(value.kind, declared.kind):
            message = (
                f"`{node.names[0].text}` is declared {node.type.span.text if node.type else ''}"
            )
            message += f", and this is {A[value.kind]}"
            self.findings.error("QP138", node.value.span, message)
        kind = value.kind if len(node.names) == 1 else ir.Kind.ANY
        kind = declared.kind if declared is not None else kind
        self.lowering.locals.update({name.text: kind for name in node.names})
        names = tuple(name.text for name in node.names)
        return ir.Param(names, value, node.span, type=declared, block=self.block)

    def _spread(self, value: ir.Expression, count: int) -> ir.Expression:
        """A value for several names; `none` is one for each."""
        if isinstance(value, ir.Number) and value.value is None and value.kind is ir.Kind.NONE:
            return ir.Sequence("(", (value,) * count, ir.Kind.TUPLE, value.span)
        if isinstance(value, ir.Conditional):
            then, otherwise = (self._spread(v, count) for v in (value.then, value.otherwise))
            return ir.Conditional(value.condition, then, otherwise, ir.Kind.TUPLE, value.span)
        if isinstance(value, ir.Operation) and value.operator == "??":
            spread = tuple(self._spread(operand, count) for operand in value.operands)
            return ir.Operation("??", spread, ir.Kind.TUPLE, value.span, value.needs)
        given = self._length(value)
        if value.kind not in (ir.Kind.TUPLE, ir.Kind.ANY) or given not in (None, count):
            what = f", and this is {given}" if given is not None else ""
            message = f"{count} names want a tuple of as many values{what}"
            self.findings.error("QP139", value.span, message)
        return value

    def _length(self, value: ir.Expression) -> int | None:
        if isinstance(value, ir.Sequence):
            return len(value.elements)
        if isinstance(value, ir.Function):
            return RESULTS.get(value.name)
        if isinstance(value, ir.ExternCall):
            return len(self.lowering.interface.externs[value.name].results)
        return None

    def _inherit(self, name: tree.Identifier) -> ir.Inherit:
        ports = {port.name.text: port for port in (*self.pattern.ports, self.pattern.output)}
        if name.text not in ports:
            self.excused.lacks_fills = True
            is_bound = name.text in self.lowering.declared
            findings = self.findings if is_bound else self.excused.unknown(name.text)
            message = f"`{name.text}` is no port; only a port's parameters can be inherited"
            hint, fix = did_you_mean(name.text, ports), renamed(name.span, name.text, ports)
            findings.error("QP110", name.span, message, hint=hint, fix=fix)
        port = ports.get(name.text)
        return ir.Inherit(name.text, port is not None and port.many, name.span, self.block)


# What can be filled: what it is, and the kinds that give it.
_NUMBERS = frozenset([ir.Kind.INT, ir.Kind.ARRAY, ir.Kind.INTS])
_SLOTS = {
    "scale": ("a number", _NUMBERS | {ir.Kind.FLOAT}),
    "zero_point": ("a whole number", _NUMBERS),
    "qparams": ("the `qparams` of another tensor, or `raw`", frozenset([ir.Kind.TUPLE])),
    "range": ("a least and a greatest value", frozenset([ir.Kind.TUPLE])),
}


def _can_be(kind: ir.Kind, declared: ir.Kind) -> bool:
    """Whether an expression of one kind can be declared to be another."""
    numbers = {ir.Kind.INT, ir.Kind.FLOAT, ir.Kind.ARRAY}
    if ir.Kind.ANY in (kind, declared) or kind in (declared, ir.Kind.NONE):
        return True
    if declared in (ir.Kind.ARRAY, ir.Kind.INTS) and kind in (ir.Kind.INTS, ir.Kind.TUPLE):
        return True
    return {kind, declared} <= numbers and (kind, declared) != (ir.Kind.FLOAT, ir.Kind.INT)
