"""Pattern IR to a Python module for Relay: one file that imports TVM and NumPy and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import PurePath

from qpat.semantics import ir
from qpat.semantics.ir import Kind
from qpat.source import Span
from qpat.targets.expressions import Variables, python
from qpat.targets.layout import INDENT, WIDTH, assigned, bracketed, comment, string
from qpat.targets.names import Fresh, class_name, safe
from qpat.targets.reads import Reads
from qpat.targets.relay_rows import RowFunctions, row_functions

_RULER = re.compile(r"^# ---- (?:end of )?(?:support|conditions|interface).*\n", re.MULTILINE)


def relay_module(module: ir.Module, source_name: str) -> str:
    """The text of the generated module. Depends on nothing but its arguments and qpat itself."""
    names = ("relay_support", "relay_conditions", "relay_interface")
    support, conditions, interface = (_fixed_part(name) for name in names)
    fixed = _module_names(support, conditions, interface)
    fresh = Fresh(fixed)
    classes = [fresh.name(class_name(pattern.name)) for pattern in module.patterns]
    reserved = fixed | set(classes)
    writers = [
        _PatternWriter(pattern, name, reserved)
        for pattern, name in zip(module.patterns, classes, strict=True)
    ]
    parts = [
        _header(module, source_name, writers),
        support,
        conditions,
        *("\n".join(writer.lines()) for writer in writers),
        _rows(module, writers),
        interface,
    ]
    return "\n\n\n".join(part.strip("\n") for part in parts) + "\n"


# ---- the parts that are always the same -----------------------------------------------


def _fixed_part(name: str) -> str:
    """The text between the rulers of a file beside this one."""
    text = files("qpat.targets").joinpath(f"{name}.py").read_text(encoding="utf-8")
    first, last = _RULER.finditer(text)
    return text[first.start() : last.start()].strip("\n")


def _module_names(*parts: str) -> frozenset[str]:
    """Names the fixed parts define or import: a variable of a pattern must not hide them."""
    defined = re.findall(r"^(?:def|class) (\w+)", "\n".join(parts), re.MULTILINE)
    imported = (
        "dataclass Any Callable ClassVar Dict Iterable List NamedTuple Optional Tuple np tvm relay"
    )
    patterns = "each is_constant is_op is_tuple is_tuple_get_item wildcard COMPILER ROWS match"
    return frozenset([*defined, *imported.split(), *patterns.split()])


def _header(module: ir.Module, source_name: str, writers: Sequence[_PatternWriter]) -> str:
    name = _docstring(PurePath(source_name).name)
    used = _pattern_functions(writers)
    return f'''"""Patterns of the compiler {module.compiler}, from {name}.

Written by qpat; edit {name} and compile it again instead.

    table = pattern_table()                    # for relay.transform.MergeComposite
    record = extract(composite)                # what a composite's tensors and parameters are

Needs TVM with Relay (0.9 to 0.19) and NumPy, and runs on Python 3.8 or later.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, ClassVar, Dict, Iterable, List, NamedTuple, Optional, Tuple

import numpy as np
import tvm
from tvm import relay
from tvm.relay.dataflow_pattern import {", ".join(used)}

COMPILER = {string(module.compiler)}'''


def _pattern_functions(writers: Sequence[_PatternWriter]) -> list[str]:
    """What the rows call of TVM's pattern language."""
    known = ("is_constant", "is_op", "is_tuple", "is_tuple_get_item", "wildcard")
    text = "\n".join(line for writer in writers for row in writer.rows for line in row.lines)
    return [name for name in known if re.search(rf"\b{name}\(", text)]


def _rows(module: ir.Module, writers: Sequence[_PatternWriter]) -> str:
    lines: list[str] = []
    for pattern, writer in zip(module.patterns, writers, strict=True):
        for row, functions in zip(pattern.rows, writer.rows, strict=True):
            operators = ", ".join(string(name) for name in row.operators)
            comma = "," if len(row.operators) == 1 else ""
            items = [
                string(pattern.composite),
                f"({operators}{comma})",
                functions.pattern,
                functions.bind,
                writer.record,
            ]
            lines += bracketed("Row(", items, "),", 1)
    note = "# In order of priority: a row is tried where no earlier one has matched."
    alone = f"ROWS = ({lines[0].strip()})"
    if len(lines) == 1 and len(alone) <= WIDTH:
        return f"{note}\n{alone}"
    return "\n".join([note, "ROWS = (", *lines, ")"])


# ---- one pattern ----------------------------------------------------------------------


class _PatternWriter:
    """Writes the record class, the rows and the record function of one pattern."""

    def __init__(self, pattern: ir.Pattern, record_class: str, reserved: frozenset[str]) -> None:
        self.pattern = pattern
        self.reserved = reserved
        self.prefix = f"_{re.sub(r'[^0-9A-Za-z_]', '_', pattern.name)}"
        self.record = f"{self.prefix}_record"
        self.class_name = record_class
        self.params = _params(pattern)
        self.reads = Reads(pattern)
        self.rows: list[RowFunctions] = [
            row_functions(self.prefix, row, reserved, self.reads) for row in pattern.rows
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
            *(line for row in self.rows for line in ("", "", *row.lines)),
            "",
            "",
            *self._record(),
        ]

    # ---- the record class ----
    def _class(self) -> list[str]:
        first = (self.pattern.doc or f"What `{self.pattern.composite}` matched.").splitlines()
        lines = ["@dataclass(frozen=True, eq=False)", f"class {self.class_name}:"]
        lines += [f'{INDENT}"""{_docstring(first[0])}']
        lines += [f"{INDENT}{_docstring(line)}".rstrip() for line in first[1:]]
        lines[-1] += '"""'
        lines += ["", f"{INDENT}pattern: ClassVar[str] = {string(self.pattern.name)}"]
        lines += [f"{INDENT}form: Optional[str]"]
        for port in self.pattern.ports:
            lines.append(f"{INDENT}{safe(port.name, ())}: {_port_annotation(port)}")
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
        many = frozenset(port.name for port in self.pattern.ports if port.many)
        checks = _PortChecks(self.variables, many)
        # Those that are always there first: they name the dimensions that the others compare with.
        for port in sorted(self.pattern.ports, key=lambda port: port.maybe):
            lines += checks.lines(port)
        optional = [name for name, _, optional in self.params if optional]
        lines += [f"{INDENT}{self.variables.locals[name]} = None" for name in optional]
        for statement in self.pattern.statements:
            lines += self._statement(statement)
        return [*lines, *self._result()]

    def _variables(self) -> Variables:
        values: dict[str, str] = {}
        calls: dict[str, str] = {}
        for name in sorted(self.reads.calls):
            calls[name] = safe(name, self.reserved)
        for name in sorted(self.reads.values):
            taken = name in calls and self.reads.maybe_call(name)
            values[name] = f"{name}_value" if taken else safe(name, self.reserved)
        names = [name for name, _, _ in self.params]
        names += [s.name for s in self.pattern.statements if isinstance(s, ir.Let)]
        local = {name: safe(name, [*self.reserved, *values.values()]) for name in names}
        for dimension in _dimensions(self.pattern.ports):
            local[dimension] = safe(dimension, self.reserved)
        return Variables(values, calls, {**local, "form": "match.form"})

    def _readings(self) -> list[str]:
        """Names the values and calls that the record looks at."""
        lines: list[str] = []
        wanted = self.reads.read_values
        for name in sorted(wanted, key=self.reads.order):
            read = _read("values", name, self.reads.maybe_value(name))
            lines.append(f"{self.variables.values[name]} = {read}")
        for name in sorted(self.reads.read_calls, key=self.reads.order):
            variable, maybe = self.variables.calls[name], self.reads.maybe_call(name)
            if variable in (self.variables.values.get(n) for n in wanted):
                continue  # the value of a call that is in every row is that call's
            # Absent in other forms: whoever reads it knows that it is there.
            kind = ": Any" if maybe else ""
            lines.append(f"{variable}{kind} = {_read('calls', name, maybe)}")
        return lines

    def _statement(self, statement: ir.Statement) -> list[str]:
        guarded = statement.form is not None and self.reads.has_other_form(statement.form)
        depth = 2 if guarded else 1
        words = " ".join(statement.span.text.split())
        lines = comment(words if len(words) <= WIDTH - 6 else f"{words[: WIDTH - 7]}…", 1)
        if guarded:
            lines.append(f"{INDENT}if match.form == {string(statement.form or '')}:")
        return [*lines, *self._carried_out(statement, depth)]

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
            case ir.Fill():
                lines = self._fill(statement)
            case ir.Inherit():
                lines = self._inherit(statement)
        return [f"{INDENT * depth}{line}" for line in lines]

    def _fill(self, statement: ir.Fill) -> list[str]:
        variable = self.variables.values[statement.name]
        filled = f"{variable}.space = Space()"
        if statement.value is not None:
            value = python(statement.value, self.variables)
            filled = f'{variable}.space.fill("{statement.slot}", {value})'
        return self._if_present(statement.name, [filled])

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
        for name, _, _ in self.params:
            items.append(f"{safe(name, ())}={self.variables.locals[name]}")
        return bracketed(f"return {self.class_name}(", items, ")", 1)


def _unindented(span: Span) -> list[str]:
    """The lines of a pattern as if it stood at the margin."""
    margin = " " * (span.column - 1)
    return [line.removeprefix(margin) for line in span.text.splitlines()]


def _read(holder: str, name: str, maybe: bool) -> str:
    return f'match.{holder}.get("{name}")' if maybe else f'match.{holder}["{name}"]'


def _docstring(text: str) -> str:
    """A line that can stand in a docstring, also as its last."""
    printable = "".join(char if char.isprintable() else "?" for char in text)
    escaped = printable.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    is_open = escaped.endswith('"') and not escaped.endswith('\\"')
    return f'{escaped[:-1]}\\"' if is_open else escaped


def _port_annotation(port: ir.Port) -> str:
    if port.many:
        return "Tuple[Tensor, ...]"
    return "Optional[Tensor]" if port.maybe else "Tensor"


_ANNOTATIONS = {
    Kind.BOOL: "bool",
    Kind.INT: "int",
    Kind.FLOAT: "float",
    Kind.TEXT: "str",
    Kind.INTS: "Tuple[Any, ...]",
    Kind.TUPLE: "Tuple[Any, ...]",
}


def _params(pattern: ir.Pattern) -> list[tuple[str, str, bool]]:
    """Name, annotation and whether some form lacks it, of each param, in the order written."""
    forms = {row.form for row in pattern.rows}
    stated: dict[str, list[ir.Param]] = {}
    for statement in pattern.statements:
        if isinstance(statement, ir.Param):
            for name in statement.names:
                stated.setdefault(name, []).append(statement)
    found: list[tuple[str, str, bool]] = []
    for name, params in stated.items():
        in_forms = {param.form for param in params}
        kinds = {p.value.kind if len(p.names) == 1 else Kind.ANY for p in params}
        annotation = _ANNOTATIONS.get(kinds.pop(), "Any") if len(kinds) == 1 else "Any"
        found.append((name, annotation, None not in in_forms and in_forms != forms))
    return found


def _settled(statement: ir.Param, variables: Variables) -> str:
    """The value of a param as it stands in the record."""
    value = statement.value
    text = python(value, variables)
    if isinstance(value, ir.Sequence):
        return f"tuple({text})" if value.bracket == "[" else text
    if isinstance(value, ir.ReadAttribute) and value.kind is Kind.BOOL:
        return f"bool({text})"  # TVM keeps some of them as integers
    if isinstance(value, ir.Number | ir.ReadAttribute | ir.Sequence) or len(statement.names) > 1:
        return text
    if value.kind is Kind.INTS:
        return f"ints({text})"
    return text if value.kind in (Kind.BOOL, Kind.TEXT) else f"settled({text})"


def _dimensions(ports: Iterable[ir.Port]) -> list[str]:
    shapes = [port.shape for port in ports if port.shape is not None]
    return [d for shape in shapes for d in shape if isinstance(d, str) and d != "..."]


class _PortChecks:
    """The dtypes and shapes that ports declare. A dimension's first place names it, others must be
    equal to it."""

    def __init__(self, variables: Variables, many: frozenset[str]) -> None:
        self.variables = variables
        self.many = many
        self.named: set[str] = set()

    def lines(self, port: ir.Port) -> list[str]:
        variable = self.variables.values.get(port.name)
        if variable is None:
            return []
        dtypes = [string(dtype) for dtype in port.dtypes]
        if port.same_dtype_as is not None:
            other = self.variables.values[port.same_dtype_as]
            first = "[0]" if port.same_dtype_as in self.many else ""
            dtypes.append(f"{other}{first}.dtype")
        lines: list[str] = []
        if dtypes:
            lines = bracketed("require_dtype(", [string(port.name), variable, *dtypes], ")", 1)
        if port.shape is None:
            return lines
        if port.maybe:
            return [*lines, f"{INDENT}if {variable} is not None:", *self._shape(port, variable, 2)]
        return [*lines, *self._shape(port, variable, 1)]

    def _shape(self, port: ir.Port, variable: str, depth: int) -> list[str]:
        assert port.shape is not None
        rest = port.shape.index("...") if "..." in port.shape else len(port.shape)
        fewest = len(port.shape) - ("..." in port.shape)
        exactly = "..." not in port.shape
        items = [string(port.name), variable, str(fewest), f"exactly={exactly}"]
        lines = bracketed("require_rank(", items, ")", depth)
        for position, dimension in enumerate(port.shape):
            if dimension is None or dimension == "...":
                continue
            index = position if position < rest else position - len(port.shape)
            lines += self._dimension(port, f"{variable}.shape[{index}]", dimension, depth)
        return lines

    def _dimension(self, port: ir.Port, place: str, dimension: int | str, depth: int) -> list[str]:
        wanted = str(dimension)
        if isinstance(dimension, str):
            wanted = self.variables.locals[dimension]
            if dimension not in self.named:
                self.named.add(dimension)
                return [f"{INDENT * depth}{wanted} = {place}"]
        reason = string(f"{port.name} has another {dimension} in its shape")
        return bracketed("require(", [f"{place} == {wanted}", reason], ")", depth)
