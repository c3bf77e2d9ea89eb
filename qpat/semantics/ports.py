"""The interface of a pattern: its ports with their dtypes and shapes."""

from __future__ import annotations

from collections.abc import Iterable

from qpat.diagnostics import Findings, Fix, did_you_mean, renamed, respelt
from qpat.semantics import ir
from qpat.semantics.attributes import DTYPES
from qpat.semantics.excused import Excused
from qpat.semantics.reports import RESERVED, check_name, report_twice
from qpat.source import Span
from qpat.syntax import tree


def lower_ports(node: tree.Pattern, findings: Findings, excused: Excused) -> tuple[ir.Port, ...]:
    """The ports of a pattern, the output last."""
    return _Ports(node, findings, excused).lower()


class _Ports:
    def __init__(self, node: tree.Pattern, findings: Findings, excused: Excused) -> None:
        self.node = node
        self.findings = findings
        self.excused = excused
        self.inputs = {port.name.text: port for port in node.ports}

    def lower(self) -> tuple[ir.Port, ...]:
        seen: dict[str, Span] = {}
        for port in (*self.node.ports, self.node.output):
            if port.name.text in seen:
                report_twice(port.name, seen[port.name.text], "port", self.findings)
                self.excused.names.add(port.name.text)
            seen.setdefault(port.name.text, port.name.span)
            check_name(self.findings, port.name)
        output = self.node.output
        if output.maybe:
            message = "the output of a pattern cannot be absent"
            self.findings.error("QP119", output.span, message, fix=Fix(output.span.last(1), ""))
        inputs = tuple(self._port(port, False) for port in self.node.ports)
        return (*inputs, self._port(output, True))

    def _port(self, port: tree.Port, is_output: bool) -> ir.Port:
        dtypes: list[str] = []
        same: str | None = None
        for atom in port.type.atoms if port.type is not None else ():
            if atom.member is not None and same is not None:
                message = "a type names the dtype of one other port"
                self.findings.error("QP121", atom.span, message)
            elif atom.member is not None:
                same = self._same_dtype(port, atom)
            elif atom.name in DTYPES:
                dtypes.append(atom.name)
            elif atom.name != "tensor" and "$" not in atom.name:
                hint = did_you_mean(atom.name, [*DTYPES, "tensor"])
                fix = respelt(atom.span, atom.name, [*DTYPES, "tensor"])
                message = f"`{atom.name}` is no dtype"
                self.findings.error("QP121", atom.span, message, hint=hint, fix=fix)
        name = port.name.text
        shape = self._shape(port)
        span = port.span
        return ir.Port(name, tuple(dtypes), same, shape, port.maybe, port.many, is_output, span)

    def _same_dtype(self, port: tree.Port, atom: tree.TypeAtom) -> str | None:
        assert port.type is not None
        known = [*self.inputs, self.node.output.name.text]
        if atom.member != "dtype":
            message = f"a type can be `{atom.name}.dtype`, not `{atom.name}.{atom.member}`"
            self.findings.error("QP121", atom.span, message)
        elif atom.name in self.inputs and self.inputs[atom.name].maybe and not port.maybe:
            message = (
                f"`{atom.name}` may be absent, and then `{port.name.text}` would have no dtype"
            )
            self.findings.error("QP121", atom.span, message)
        elif self._refers_back(atom.name, port.name.text):
            message = f"`{atom.name}` and `{port.name.text}` take their dtype from each other"
            self.findings.error("QP121", atom.span, message)
        elif atom.name not in known or atom.name == port.name.text:
            others = [k for k in known if k != port.name.text]
            hint = did_you_mean(atom.name, others)
            fix = renamed(atom.span.first(len(atom.name)), atom.name, others)
            message = f"`{atom.name}` is no other port of this pattern"
            # What does not parse below may bind any name, but no port.
            is_certain = atom.name == port.name.text or self.excused.anything
            findings = self.findings if is_certain else self.excused.unknown(atom.name)
            findings.error("QP121", atom.span, message, hint=hint, fix=fix)
        else:
            return atom.name
        return None

    def _refers_back(self, name: str, start: str) -> bool:
        """Whether the dtype of port `name` is that of `start`, through others too."""
        types = {p.name.text: p.type for p in (*self.node.ports, self.node.output)}
        for _ in types:
            type_ = types.get(name)
            members = [a for a in (type_.atoms if type_ is not None else ()) if a.member]
            if not members:
                return False
            atom = members[0]
            if atom.name == start:
                return name != start
            name = atom.name
        return True

    def _shape(self, port: tree.Port) -> tuple[int | str | None, ...] | None:
        if port.type is None or port.type.shape is None:
            return None
        names = {*self.inputs, *_bound_names(self.node)}
        for dimension in port.type.shape:
            if dimension.value in names or dimension.value in RESERVED:
                message = f"`{dimension.value}` already means something else in this pattern"
                self.findings.error("QP117", dimension.span, message)
        if sum(dimension.rest for dimension in port.type.shape) > 1:
            message = "a shape can have one `...`"
            self.findings.error("QP121", port.type.span, message)
        return tuple("..." if d.rest else d.value for d in port.type.shape)


def _bound_names(node: tree.Pattern) -> Iterable[str]:
    binds = (each for each in tree.all_statements(node.block) if isinstance(each, tree.Bind))
    return (out.name for bind in binds for out in bind.outs)
