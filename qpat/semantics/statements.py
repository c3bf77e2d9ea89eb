"""Statements that are carried out at a match: `where`, `let`, `param`, `inherit`."""

from __future__ import annotations

from qpat.diagnostics import Findings, did_you_mean
from qpat.semantics import ir
from qpat.semantics.expressions import Lowering
from qpat.semantics.names import names_of
from qpat.semantics.reports import check_name, head, report_twice, report_unbuilt
from qpat.source import Span
from qpat.syntax import tree


class Statements:
    """Lowers the statements of a pattern (`form` None) or of one of its forms.

    `rows` are those the statements belong to; `outer` are the common statements, which come first.
    """

    def __init__(
        self,
        pattern: tree.Pattern,
        rows: tuple[ir.Row, ...],
        form: str | None,
        findings: Findings,
        unbuilt: frozenset[str],
        outer: Statements | None = None,
    ) -> None:
        self.pattern = pattern
        self.findings = findings
        self.form = form
        self.params: dict[str, Span] = dict(outer.params) if outer is not None else {}
        self.lowering = Lowering(names_of(pattern, rows), findings, unbuilt)
        if outer is not None:
            self.lowering.locals.update(outer.lowering.locals)
            self.lowering.filled.update(outer.lowering.filled)

    def lower(self, statement: tree.Statement) -> list[ir.Statement]:
        match statement:
            case tree.Where():
                return [self._where(statement)]
            case tree.Let():
                return self._let(statement)
            case tree.Param():
                return [self._param(statement)]
            case tree.Inherit():
                return [self._inherit(name) for name in statement.names]
            case tree.Use():
                report_unbuilt(self.findings, head(statement.span), "`use`")
            case tree.Option():
                report_unbuilt(self.findings, head(statement.span), "`option`")
            case tree.Meaning():
                message = "`meaning` is not built yet; it is read and changes nothing"
                self.findings.warning("QP091", head(statement.span), message)
            case tree.Bind() | tree.Form():
                pass  # structure, expanded into rows
        return []

    def _where(self, node: tree.Where) -> ir.Where:
        condition = self.lowering.lower(node.condition)
        if condition.kind not in (ir.Kind.BOOL, ir.Kind.ANY):
            message = "a condition is wanted here, something that holds or does not"
            self.findings.error("QP138", node.condition.span, message)
        words = " ".join(node.condition.span.text.split())
        reason = node.reason.text if node.reason is not None else f"not {words}"
        return ir.Where(condition, reason, node.span, self.form)

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
        return [ir.Let(name, value, node.span, self.form)]

    def _fill(self, node: tree.Let, slot: tree.Identifier) -> list[ir.Statement]:
        name = node.name.text
        if name not in self.lowering.names.values:
            hint = did_you_mean(name, self.lowering.names.values)
            self.findings.error("QP130", node.name.span, f"`{name}` is not known here", hint=hint)
            return []
        if slot.text == "qparams" and name in self.lowering.names.many:
            report_unbuilt(self.findings, node.span, "filling a port that is many")
        if slot.text == "qparams":
            if not isinstance(node.value, tree.Raw):
                message = "only `raw` can be given to `qparams`: plain integers without a space"
                hint = f"fill `{name}.scale` and `{name}.zero_point`"
                self.findings.error("QP106", node.value.span, message, hint=hint)
            return [ir.Fill(name, "raw", None, node.span, self.form)]
        if slot.text not in ("scale", "zero_point"):
            hint = did_you_mean(slot.text, ("scale", "zero_point", "qparams"))
            message = f"`{slot.text}` cannot be filled"
            self.findings.error("QP106", slot.span, message, hint=hint)
            return []
        if name in self.lowering.names.many:
            report_unbuilt(self.findings, node.span, "filling a port that is many")
        value = self.lowering.lower(node.value)
        self._check_fill(node, slot, value)
        return [ir.Fill(name, slot.text, value, node.span, self.form)]

    def _check_fill(self, node: tree.Let, slot: tree.Identifier, value: ir.Expression) -> None:
        name = node.name.text
        wrong = {ir.Kind.TEXT, ir.Kind.BOOL, ir.Kind.TUPLE, ir.Kind.NONE}
        if slot.text == "zero_point":
            wrong.add(ir.Kind.FLOAT)
        if value.kind in wrong:
            what = "a whole number" if slot.text == "zero_point" else "a number"
            message = f"`{name}.{slot.text}` is {what}"
            self.findings.error("QP138", node.value.span, message)
        if (name, slot.text) in self.lowering.filled:
            message = f"`{name}.{slot.text}` is filled twice"
            self.findings.error("QP117", node.span, message)
        elif (name, slot.text) not in self.lowering.names.unbound:
            message = f"`{name}.{slot.text}` is bound by the structure in every row"
            self.findings.error("QP144", node.span, message, hint="leave this out")
        self.lowering.filled.add((name, slot.text))

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
        if node.type is not None:
            report_unbuilt(self.findings, node.type.span, "a type on a `param`")
        value = self.lowering.lower(node.value)
        kind = value.kind if len(node.names) == 1 else ir.Kind.ANY
        self.lowering.locals.update({name.text: kind for name in node.names})
        elements = len(value.elements) if isinstance(value, ir.Sequence) else len(node.names)
        is_tuple = value.kind in (ir.Kind.TUPLE, ir.Kind.ANY) and elements == len(node.names)
        if len(node.names) > 1 and not is_tuple:
            message = f"{len(node.names)} names want a tuple of as many values"
            self.findings.error("QP139", node.value.span, message)
        return ir.Param(tuple(name.text for name in node.names), value, node.span, self.form)

    def _inherit(self, name: tree.Identifier) -> ir.Inherit:
        ports = {port.name.text: port for port in (*self.pattern.ports, self.pattern.output)}
        if name.text not in ports:
            message = f"`{name.text}` is no port; only a port's parameters can be inherited"
            self.findings.error("QP110", name.span, message, hint=did_you_mean(name.text, ports))
        port = ports.get(name.text)
        return ir.Inherit(name.text, port is not None and port.many, name.span, self.form)
