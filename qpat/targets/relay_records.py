"""One pattern as Python: its record class, its rows, and the function that checks and records."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from qpat.semantics import ir
from qpat.semantics.ir import Kind
from qpat.semantics.meanings import taken_over
from qpat.source import Span
from qpat.targets.dialects import Dialect
from qpat.targets.expressions import Variables, python, typed
from qpat.targets.layout import INDENT, WIDTH, assigned, bracketed, comment, docstring, string
from qpat.targets.names import safe
from qpat.targets.reads import Reads, counts, is_own_form, reads_slots
from qpat.targets.relay_ports import PortChecks, dimensions
from qpat.targets.relay_rows import RowFunctions, row_functions


class PatternWriter:
    """Writes the record class, the rows and the record function of one pattern."""

    def __init__(
        self,
        pattern: ir.Pattern,
        record_class: str,
        reserved: frozenset[str],
        externs: Mapping[str, ir.Extern],
        dialect: Dialect,
    ) -> None:
        self.dialect = dialect
        self.externs = externs
        self.pattern = pattern
        self.reserved = reserved
        self.prefix = f"_{re.sub(r'[^0-9A-Za-z_]', '_', pattern.name)}"
        self.record = f"{self.prefix}_record"
        self.class_name = record_class
        self.params = _params(pattern)
        self.has_meaning = any(isinstance(s, ir.Meaning) for s in pattern.statements)
        self.reads = Reads(pattern)
        self.rows: list[RowFunctions] = [
            row_functions(self.prefix, row, reserved, self.reads, dialect) for row in pattern.rows
        ]

    def lines(self) -> list[str]:
        ruler = f"# ---- {self.pattern.name} "
        source = _unindented(self.pattern.span)
        return [
            ruler + "-" * max(4, 88 - len(ruler)),
            "#",
            *(f"#   {line}".rstrip() for line in source),
            "",
            "",
            *self._class(),
            *(
                line
                for row in self.rows
                for lines in (row.pattern_lines, row.bind_lines)
                for line in ("", "", *lines)
            ),
            "",
            "",
            *self._record(),
        ]

    # ---- the record class ----
    def _class(self) -> list[str]:
        first = (self.pattern.doc or f"What `{self.pattern.composite}` matched.").splitlines()
        lines = ["@dataclass(frozen=True, eq=False)", f"class {self.class_name}:"]
        lines += [f'{INDENT}"""{docstring(first[0])}']
        lines += [f"{INDENT}{docstring(line)}".rstrip() for line in first[1:]]
        lines[-1] += '"""'
        lines += ["", f"{INDENT}pattern: ClassVar[str] = {string(self.pattern.name)}"]
        names = [port.name for port in self.pattern.ports] + [name for name, _, _ in self.params]
        renamed = {safe(name, ()): name for name in names if safe(name, ()) != name}
        if renamed:
            told = [f"{string(field)}: {string(name)}" for field, name in renamed.items()]
            lines += bracketed("RENAMED: ClassVar[Dict[str, str]] = {", told, "}", 1)
        lines += [f"{INDENT}form: Optional[str]"]
        for port in self.pattern.ports:
            lines.append(f"{INDENT}{safe(port.name, ())}: {_port_annotation(port)}")
        if self.has_meaning:
            lines.append(f"{INDENT}meaning: Any")
        for name, kind, optional in self.params:
            annotation = f"Optional[{kind}]" if optional and kind != "Any" else kind
            lines.append(f"{INDENT}{safe(name, ())}: {annotation}")
        return lines

    # ---- the record function ----
    def _record(self) -> list[str]:
        self.variables = self._variables()
        doc = f'"""Checks a match of `{self.pattern.name}` and makes its record."""'
        lines = [f"def {self.record}(match: Match) -> {self.class_name}:", f"{INDENT}{doc}"]
        lines += [f"{INDENT}{line}" for line in self._readings()]
        checks = PortChecks(self.variables, self.variables.many)
        # Those that are always there first: they name the dimensions that the others compare with.
        for port in sorted(self.pattern.ports, key=lambda port: port.maybe):
            lines += checks.lines(port)
        optional = [name for name, _, optional in self.params if optional]
        if self.has_meaning:
            lines.append(f"{INDENT}meaning: Any = None")
        lines += [f"{INDENT}{self.variables.locals[name]} = None" for name in optional]
        for statement in self.pattern.statements:
            lines += self._statement(statement)
        return [*lines, *self._result()]

    def _variables(self) -> Variables:
        values: dict[str, str] = {}
        calls: dict[str, str] = {}
        for name in sorted(self.reads.calls):
            calls[name] = _variable(name, self.reserved)
        for name in sorted(self.reads.values):
            taken = name in calls and (self.reads.maybe_call(name) or self.reads.is_many(name))
            plain = _variable(name, self.reserved)
            values[name] = f"{plain.rstrip('_')}_value" if taken else plain
        names = [name for name, _, _ in self.params]
        names += [s.name for s in self.pattern.statements if isinstance(s, ir.Let)]
        taken_names = [*self.reserved, *values.values()]
        local = {name: _variable(name, taken_names) for name in names}
        for dimension in dimensions(self.pattern.ports):
            local[dimension] = safe(dimension, self.reserved)
        local["form"] = "match.form"
        many = frozenset(port.name for port in self.pattern.ports if port.many)
        return Variables(values, calls, local, "match.options", self.externs, many)

    def _readings(self) -> list[str]:
        """Names the values and calls that the record looks at."""
        lines: list[str] = []
        wanted = self.reads.read_values
        ports = {port.name for port in self.pattern.ports}
        for name in sorted(wanted, key=self.reads.order):
            maybe = self.reads.maybe_value(name)
            # Absent in other forms: whoever reads it knows that it is there. A port may be absent
            # where it is read, too.
            is_sure = not maybe or (name in ports and name not in self.reads.sure_in_blocks)
            annotation = "" if is_sure else ": Any"
            read = _read("values", name, maybe)
            lines.append(f"{self.variables.values[name]}{annotation} = {read}")
        for name in sorted(self.reads.read_calls, key=self.reads.order):
            variable, maybe = self.variables.calls[name], self.reads.maybe_call(name)
            if variable in (self.variables.values.get(n) for n in wanted):
                continue  # the value of a call that is in every row is that call's
            # Absent in other forms: whoever reads it knows that it is there.
            kind = ": Any" if maybe else ""
            lines.append(f"{variable}{kind} = {_read('calls', name, maybe)}")
        return lines

    def _statement(self, statement: ir.Statement) -> list[str]:
        guarded = statement.block is not None
        depth = 2 if guarded else 1
        words = " ".join(statement.span.text.split())
        lines = comment(words if len(words) <= WIDTH - 6 else f"{words[: WIDTH - 7]}…", 1)
        if statement.block is not None:
            lines.append(f"{INDENT}if {self._guard(statement.block)}:")
        return [*lines, *self._carried_out(statement, depth)]

    def _guard(self, block: str) -> str:
        if is_own_form(block):
            return f"match.form == {string(block[1:])}"
        return f"{string(block)} in match.blocks"

    def _carried_out(self, statement: ir.Statement, depth: int) -> list[str]:
        variables = self.variables
        match statement:
            case ir.Where():
                condition = python(statement.condition, variables)
                return bracketed("require(", [condition, string(statement.reason)], ")", depth)
            case ir.Let():
                target = variables.locals[statement.name]
                return assigned(target, python(statement.value, variables), depth)
            case ir.Param():
                names = ", ".join(variables.locals[name] for name in statement.names)
                return assigned(names, _settled(statement, variables), depth)
            case ir.Meaning():
                return self._meaning(statement, depth)
            case ir.Fill():
                lines = self._fill(statement)
            case ir.Inherit():
                lines = self._inherit(statement)
        return [f"{INDENT * depth}{line}" for line in lines]

    def _meaning(self, statement: ir.Meaning, depth: int) -> list[str]:
        """Only a record has one: a check does without. What nobody knows is no reason to refuse."""
        margin = INDENT * depth
        start = f"{margin}if match.recording:"
        rows = [row for row in self.pattern.rows if counts(statement, row)]
        if not reads_slots(statement):
            return [start, *self._steps(statement.value, rows, depth + 1)]
        return [
            start,
            f"{margin}{INDENT}try:",
            *self._steps(statement.value, rows, depth + 2),
            f"{margin}{INDENT}except Refused:",
            f"{margin}{INDENT * 2}meaning = None",
        ]

    def _steps(self, node: ir.Real, rows: Sequence[ir.Row], depth: int) -> list[str]:
        """A meaning from the inside out: what may be absent at its end is a step of its own."""
        if not isinstance(node, ir.RealCall) or not node.needs:
            return assigned("meaning", self._real(node, rows), depth)
        tests = [f"{self._held(name)} is not None" for name in node.needs]
        return [
            *self._steps(node.operands[0], rows, depth),
            f"{INDENT * depth}if {' and '.join(tests)}:",
            *assigned("meaning", self._called(node, "meaning", rows), depth + 1),
        ]

    def _real(self, node: ir.Real, rows: Sequence[ir.Row]) -> str:
        if isinstance(node, ir.RealInput):
            return string(node.name)
        if isinstance(node, ir.RealNumber):
            return python(node.value, self.variables)
        first = self._real(node.operands[0], rows)
        made = self._called(node, first, rows)
        if not node.needs:
            return made
        tests = [f"{self._held(name)} is not None" for name in node.needs]
        return f"{made} if {' and '.join(tests)} else {first}"

    def _called(self, node: ir.RealCall, first: str, rows: Sequence[ir.Row]) -> str:
        """A call whose first operand is given."""
        operands = [first, *(self._real(operand, rows) for operand in node.operands[1:])]
        written = [f"{name}={self._attribute(value)}" for name, value in node.attributes]
        attributes = written
        if node.like is not None:
            taken = [string(each) for each in self._taken_over(node, rows)]
            call = self.variables.calls[node.like]
            attributes = [f"**like({', '.join([call, *taken, *written])})"]
        return f"real({', '.join([string(node.operator), *operands, *attributes])})"

    def _attribute(self, value: ir.Expression) -> str:
        """An attribute of a meaning as it stands in the record, which a param is already."""
        text = python(value, self.variables)
        is_param = isinstance(value, ir.ReadLocal) and value.name in {p[0] for p in self.params}
        return text if is_param else _plain(value, text)

    def _held(self, name: str) -> str:
        return self.variables.calls.get(name) or self.variables.values[name]

    def _taken_over(self, node: ir.RealCall, rows: Sequence[ir.Row]) -> list[str]:
        """The attributes that every call of this name in some rows has and that are not written."""
        written = {name for name, _ in node.attributes}
        operators = {
            call.operator
            for row in rows
            if isinstance(call := row.nodes[row.calls.get(node.like or "", row.root)], ir.Call)
            and node.like in row.calls
        }
        common = [taken_over(node.operator, each) for each in sorted(operators)]
        first = common[0] if common else ()
        return [
            name
            for name in first
            if name not in written
            and all(name in each for each in common)
            and all(self.dialect.has_attribute(each, name) for each in operators)
        ]

    def _fill(self, statement: ir.Fill) -> list[str]:
        variable = self.variables.values[statement.name]
        many = self.reads.is_many(statement.name)
        each = "each" if many else variable
        filled = f"{each}.space = Space()"
        if statement.value is not None:
            value = python(statement.value, self.variables)
            filled = f"{each}.fill({string(statement.slot)}, {value})"
        lines = [f"for each in {variable}:", f"{INDENT}{filled}"] if many else [filled]
        return self._if_present(statement.name, lines)

    def _inherit(self, statement: ir.Inherit) -> list[str]:
        variable = self.variables.values[statement.name]
        lines = [f"match.inherit({variable})"]
        if statement.many:
            lines = [f"for each in {variable}:", f"{INDENT}match.inherit(each)"]
        return self._if_present(statement.name, lines)

    def _if_present(self, name: str, lines: list[str]) -> list[str]:
        """Guards what is done to a value that some rows lack."""
        if not self.reads.maybe_value(name):
            return lines
        test = f"if {self.variables.values[name]} is not None:"
        return [test, *(f"{INDENT}{line}" for line in lines)]

    def _result(self) -> list[str]:
        items = ["form=match.form"]
        for port in self.pattern.ports:
            items.append(f'{safe(port.name, ())}=match.tensor("{port.name}")')
        if self.has_meaning:
            items.append("meaning=meaning")
        for name, _, _ in self.params:
            items.append(f"{safe(name, ())}={self.variables.locals[name]}")
        return bracketed(f"return {self.class_name}(", items, ")", 1)


def _variable(name: str, taken: Iterable[str]) -> str:
    """A variable for a name; those of a fragment have a dot in them."""
    return safe(name.replace(".", "_"), taken)


def _unindented(span: Span) -> list[str]:
    """The lines of a pattern as if it stood at the margin."""
    margin = " " * (span.column - 1)
    return [line.removeprefix(margin) for line in span.text.splitlines()]


def _read(holder: str, name: str, maybe: bool) -> str:
    return f'match.{holder}.get("{name}")' if maybe else f'match.{holder}["{name}"]'


def _port_annotation(port: ir.Port) -> str:
    if port.many:
        return "Tuple[Tensor, ...]"
    return "Optional[Tensor]" if port.maybe else "Tensor"


ANNOTATIONS = {
    Kind.BOOL: "bool",
    Kind.INT: "int",
    Kind.FLOAT: "float",
    Kind.TEXT: "str",
    Kind.INTS: "Tuple[Any, ...]",
    Kind.TUPLE: "Tuple[Any, ...]",
}


def _params(pattern: ir.Pattern) -> list[tuple[str, str, bool]]:
    """Name, annotation and whether some row lacks it, of each param, in the order written."""
    stated: dict[str, list[ir.Param]] = {}
    for statement in pattern.statements:
        if isinstance(statement, ir.Param):
            for name in statement.names:
                stated.setdefault(name, []).append(statement)
    found: list[tuple[str, str, bool]] = []
    for name, params in stated.items():
        kinds = {_param_kind(param) for param in params}
        annotation = ANNOTATIONS.get(kinds.pop(), "Any") if len(kinds) == 1 else "Any"
        blocks = {param.block for param in params}
        lacks = None not in blocks and any(not row.blocks & blocks for row in pattern.rows)
        found.append((name, annotation, lacks))
    return [*found, *((name, "Any", True) for name in pattern.params_elsewhere)]


def _param_kind(param: ir.Param) -> Kind:
    if param.type is not None:
        return param.type.kind
    return param.value.kind if len(param.names) == 1 else Kind.ANY


def _settled(statement: ir.Param, variables: Variables) -> str:
    """The value of a param as it stands in the record."""
    value = statement.value
    text = python(value, variables)
    if isinstance(value, ir.ExternCall):
        results = variables.externs[value.name].results
        if len(statement.names) > 1 or statement.type in (None, results[0]):
            return text
    if statement.type is not None:
        return typed(text, statement.type)
    if len(statement.names) > 1 and not isinstance(value, ir.Sequence):
        is_plain = isinstance(value, ir.Function)
        return text if is_plain else f"unpacked({text}, {len(statement.names)})"
    return _plain(value, text)


def _plain(value: ir.Expression, text: str) -> str:
    """A value as it stands in the record: Python numbers and tuples, arrays as they are."""
    if isinstance(value, ir.Sequence):
        return f"tuple({text})" if value.bracket == "[" else text
    if isinstance(value, ir.ReadAttribute) and value.kind is Kind.BOOL:
        return f"bool({text})"  # TVM keeps some of them as integers
    if isinstance(value, ir.Number | ir.ReadAttribute):
        return text
    if value.kind is Kind.INTS:
        return f"ints({text})"
    return text if value.kind in (Kind.BOOL, Kind.TEXT) else f"settled({text})"
