"""One row of a pattern as two Python functions: the DataflowPattern that TVM matches, and the
binder that finds the same nodes again, in the graph and in a composite's body alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from qpat.ops.roles import SCALAR, AxisMove
from qpat.semantics import ir
from qpat.targets.layout import INDENT, WIDTH, assigned, bracketed, laid_out, number, string
from qpat.targets.names import Fresh
from qpat.targets.reads import Reads

# Attribute values that a DataflowPattern compares as it should. Lists it compares by the dtype of
# their elements too (StructuralEqual, src/relay/ir/dataflow_matcher.cc), so the binder does those.
_MATCHED_BY_TVM = (str, bool, int, float)


@dataclass(frozen=True)
class RowFunctions:
    """The names of a row's functions and the lines of both."""

    pattern: str
    bind: str
    lines: tuple[str, ...]


def row_functions(prefix: str, row: ir.Row, reserved: Iterable[str], reads: Reads) -> RowFunctions:
    """Functions `{prefix}_pattern_{n}` and `{prefix}_bind_{n}`.

    `reserved` are the module's own names, `reads` tells what the pattern's record wants to know.
    """
    pattern, bind = f"{prefix}_pattern_{row.number}", f"{prefix}_bind_{row.number}"
    names = _variables(row, reserved)
    lines = [
        *_pattern_lines(pattern, row, names),
        "",
        "",
        *_Binder(row, names, reads).lines(bind),
    ]
    return RowFunctions(pattern, bind, tuple(lines))


def summary(row: ir.Row) -> str:
    """The structure of a row in one line, as Relay nests it: `clip(qnn.requantize(…))`."""
    return _summary(row, row.root)


def _summary(row: ir.Row, index: int) -> str:
    node = row.nodes[index]
    if isinstance(node, ir.Input):
        return node.name or "_"
    if isinstance(node, ir.Literal):
        return str(node.value)
    if isinstance(node, ir.Elements):
        return f"({node.name}...)"
    if isinstance(node, ir.Tuple):
        return f"({', '.join(_summary(row, each) for each in node.elements)})"
    if isinstance(node, ir.Field):
        return f"{_summary(row, node.value)}[{node.index}]"
    if isinstance(node, ir.SlotConstant | ir.SlotTuple):
        return ".."
    shown = [i for i in node.operands if not _is_slot(row.nodes[i])]
    return f"{node.operator}({', '.join(_summary(row, each) for each in shown)})"


def _below(node: ir.Node) -> tuple[int, ...]:
    """The nodes that a node is directly made of."""
    if isinstance(node, ir.Call):
        return node.operands
    if isinstance(node, ir.Tuple):
        return node.elements
    return (node.value,) if isinstance(node, ir.Field) else ()


def _is_slot(node: ir.Node) -> bool:
    return isinstance(node, ir.SlotConstant | ir.SlotTuple)


def _variables(row: ir.Row, reserved: Iterable[str]) -> Mapping[int, str]:
    """A variable for each call, leaf, tuple and field: its name, or its operator's."""
    fresh = Fresh([*reserved, "root", "arguments", "constants", "values", "calls"])
    named: dict[int, str] = {}
    for name, index in row.values.items():
        # A name that stands for another's node (an optional left out) needs no variable.
        if index not in named or row.calls.get(name) == index:
            named[index] = name
    variables: dict[int, str] = {}
    for index in range(len(row.nodes)):
        if index in named:
            variables[index] = fresh.name(named[index])
    for index, node in enumerate(row.nodes):
        if index in variables or _is_slot(node):
            continue
        if isinstance(node, ir.Call):
            variables[index] = fresh.name(node.operator.rsplit(".", 1)[-1])
        elif isinstance(node, ir.Tuple | ir.Field):
            variables[index] = fresh.name("fields" if isinstance(node, ir.Tuple) else "field")
    return variables


# ---- the DataflowPattern -----------------------------------------------------------


def _pattern_lines(name: str, row: ir.Row, names: Mapping[int, str]) -> list[str]:
    doc = summary(row)
    if len(doc) > WIDTH - 10:
        doc = f"{doc[:85]}…"
    lines = [f"def {name}() -> Any:", f'{INDENT}"""{doc}"""']
    for index in _order(row):
        node = row.nodes[index]
        text = _pattern_text(row, names, index)
        if text is None:
            continue
        if isinstance(node, ir.Call):
            lines += _pattern_call(row, names, index, node)
        else:
            lines += assigned(names[index], text, 1)
    lines.append(f"{INDENT}return {names[row.root]}")
    return lines


def _order(row: ir.Row) -> list[int]:
    """Nodes that get a variable, leaves first, each before its users."""
    named = set(row.values.values())
    leaves = [i for i, n in enumerate(row.nodes) if i in named and _is_leaf(n)]
    others = [i for i, n in enumerate(row.nodes) if isinstance(n, ir.Call | ir.Tuple | ir.Field)]
    return [*leaves, *others]


def _is_leaf(node: ir.Node) -> bool:
    return isinstance(node, ir.Input | ir.Literal)


def _pattern_text(row: ir.Row, names: Mapping[int, str], index: int) -> str | None:
    """What makes the pattern of a node that is no call."""
    node = row.nodes[index]
    if isinstance(node, ir.Input):
        return _LEAVES[node.constness]
    if isinstance(node, ir.SlotConstant | ir.Literal):
        return "is_constant()"
    if isinstance(node, ir.SlotTuple | ir.Elements):
        return "is_tuple(None)"
    if isinstance(node, ir.Tuple):
        fields = [_operand_pattern(row, names, each) for each in node.elements]
        return f"is_tuple([{', '.join(fields)}])"
    if isinstance(node, ir.Field):
        return f"is_tuple_get_item({_operand_pattern(row, names, node.value)}, {node.index})"
    return ""


_LEAVES = {
    ir.Constness.ANY: "wildcard()",
    ir.Constness.CONSTANT: "is_constant()",
    ir.Constness.EITHER: "is_constant() | wildcard()",
}


def _operand_pattern(row: ir.Row, names: Mapping[int, str], index: int) -> str:
    node = row.nodes[index]
    if isinstance(node, ir.Elements):
        return "is_tuple(None)"
    if index in names:
        return names[index]
    return _pattern_text(row, names, index) or ""


def _pattern_call(row: ir.Row, names: Mapping[int, str], index: int, call: ir.Call) -> list[str]:
    operands = [_operand_pattern(row, names, each) for each in call.operands]
    attributes = {a.name: a.value for a in call.attributes if isinstance(a.value, _MATCHED_BY_TVM)}
    before = f"{names[index]} = is_op({string(call.operator)})("
    lines = bracketed(before, operands, ")", 1)
    if attributes:
        items = [f"{string(k)}: {_literal(v)}" for k, v in attributes.items()]
        value = f"{names[index]}.has_attr({{{', '.join(items)}}})"
        lines += assigned(names[index], value, 1)
    return lines


def _literal(value: object) -> str:
    if isinstance(value, str):
        return string(value)
    if isinstance(value, tuple):
        return f"({', '.join(map(str, value))}{',' if len(value) == 1 else ''})"
    return number(value) if isinstance(value, int | float) else repr(value)


# ---- the binder ----------------------------------------------------------------------


class _Binder:
    """Walks from the root down, names every node, then says what its spaces are."""

    def __init__(self, row: ir.Row, names: Mapping[int, str], reads: Reads) -> None:
        self.row = row
        self.names = names
        self.reads = reads
        self.body: list[str] = []
        self.at: dict[int, str] = {}  # how to reach each node that has been met

    def lines(self, name: str) -> list[str]:
        self._visit(self.row.root, "root")
        self._dtypes()
        self._apart()
        self._spaces()
        self._result()
        header = f"def {name}(root: Any, arguments: Dict[Any, Any]) -> Match:"
        return [header, *self.body]

    def _add(self, *lines: str) -> None:
        self.body += [f"{INDENT}{line}" for line in lines]

    # ---- structure ----
    def _visit(self, index: int, place: str) -> None:
        node = self.row.nodes[index]
        if index in self.at:
            kind = "fields" if isinstance(node, ir.Elements) else "node"
            self._add(f"same_{kind}({place}, {self.at[index]})")
            return
        match node:
            case ir.Call():
                self._call(index, node, place)
            case ir.Input():
                self._input(index, node, place)
            case ir.Literal():
                self.at[index] = place
                self._add(f"literal({place}, {_literal(node.value)}, arguments)")
            case ir.SlotConstant():
                self.at[index] = f"constant({place}, arguments)"
            case ir.SlotTuple():
                self.at[index] = f"field_constants({place}, arguments)"
            case ir.Elements():
                self.at[index] = self.names[index]
                self._add(f"{self.names[index]} = fields({place})")
            case ir.Tuple():
                self._tuple(index, node, place)
            case ir.Field():
                self.at[index] = self.names[index]
                self._add(f"{self.names[index]} = {place}")
                self._visit(node.value, f"field({place}, {node.index})")

    def _call(self, index: int, call: ir.Call, place: str) -> None:
        name = self.names[index]
        self.at[index] = name
        count = len(call.operands)
        self._add(f"{name} = call({place}, {string(call.operator)}, {count})")
        for attribute in call.attributes:
            if not isinstance(attribute.value, ir.DtypeOf):
                key, value = string(attribute.name), _literal(attribute.value)
                self._add(f"attribute({name}, {key}, {value})")
        for position, operand in enumerate(call.operands):
            self._visit(operand, f"{name}.args[{position}]")

    def _input(self, index: int, node: ir.Input, place: str) -> None:
        wants_constant = node.constness is ir.Constness.CONSTANT
        if node.name is None:
            self.at[index] = place
            if wants_constant:
                self._add(f"constant({place}, arguments)")
            return
        self.at[index] = self.names[index]
        value = f"constant({place}, arguments)" if wants_constant else place
        self._add(f"{self.names[index]} = {value}")

    def _tuple(self, index: int, node: ir.Tuple, place: str) -> None:
        slots = all(_is_slot(self.row.nodes[each]) for each in node.elements)
        name = self.names[index]
        self.at[index] = name
        self._add(f"{name} = fields({place}, {len(node.elements)})")
        if slots and not node.elements:
            return
        for position, element in enumerate(node.elements):
            self._visit(element, f"{name}[{position}]")

    def _dtypes(self) -> None:
        """`dtype=x.dtype`, when both the call and `x` have been met."""
        for index, node in enumerate(self.row.nodes):
            for attribute in node.attributes if isinstance(node, ir.Call) else ():
                value = attribute.value
                if isinstance(value, ir.DtypeOf) and value.name in self.row.values:
                    port = self.at[self.row.values[value.name]]
                    wanted = f"str({port}.checked_type.dtype)"
                    key = string(attribute.name)
                    self._add(f"attribute({self.at[index]}, {key}, {wanted})")

    def _apart(self) -> None:
        """An input must not be an inner value that does not lie on its own way to the root."""
        for index, node in enumerate(self.row.nodes):
            is_input = isinstance(node, ir.Input) and node.constness is not ir.Constness.CONSTANT
            if not is_input and not isinstance(node, ir.Elements):
                continue
            above = self._above(index)
            inner = [
                self.at[other]
                for other, each in enumerate(self.row.nodes)
                if isinstance(each, ir.Call | ir.Field)
                and other != self.row.root
                and other not in above
            ]
            place = self.at[index] if is_input else f"*{self.at[index]}"
            if inner:
                self._add(f"apart([{place}], [{', '.join(inner)}])")

    def _above(self, index: int) -> set[int]:
        """The nodes that are computed from a node."""
        found = {index}
        for other, node in enumerate(self.row.nodes):
            if found & set(_below(node)):
                found.add(other)
        return found

    # ---- spaces ----
    def _spaces(self) -> None:
        self.space_of: dict[int, str] = {}
        fresh = Fresh(self.names.values())
        for space in self.row.spaces:
            name = self._space_name(space)
            if name is None:
                self._unread(space)
                continue
            variable = fresh.name(f"{name}_space")
            self._space(space, variable)
            for member in space.members:
                self.space_of[member] = variable

    def _space_name(self, space: ir.Space) -> str | None:
        """A space is named after the first used name in it; None where none is."""
        members = [n for n, index in self.row.values.items() if index in space.members]
        return next((name for name in members if name in self.reads.values), None)

    def _unread(self, space: ir.Space) -> None:
        """Constants that nobody reads must be constants, and agree, all the same."""
        if self._is_many(space):
            self._add(*(self.at[site.constant] for site in (*space.scales, *space.zero_points)))
        elif space.scales or space.zero_points:
            self.body += bracketed("Space(", self._sites(space), ")", 1)

    def _sites(self, space: ir.Space) -> list[str]:
        return [
            f"{slot}=[{', '.join(self.at[site.constant] for site in sites)}]"
            for slot, sites in (("scale", space.scales), ("zero_point", space.zero_points))
            if sites
        ]

    def _space(self, space: ir.Space, variable: str) -> None:
        if self._is_many(space):
            self._many_spaces(space, variable)
            return
        self.body += bracketed(f"{variable} = Space(", self._sites(space), ")", 1)

    def _is_many(self, space: ir.Space) -> bool:
        sites = (*space.scales, *space.zero_points)
        return any(isinstance(self.row.nodes[site.constant], ir.SlotTuple) for site in sites)

    def _many_spaces(self, space: ir.Space, variable: str) -> None:
        """A list of spaces, one for each field of a variadic operand."""
        scales, zero_points = (
            self.at[space.scales[0].constant],
            self.at[space.zero_points[0].constant],
        )
        self.body += bracketed("constants = zip(", [scales, zero_points], ")", 1)
        self._add(f"{variable} = [Space(scale=[s], zero_point=[z]) for s, z in constants]")

    # ---- the match ----
    def _result(self) -> None:
        values = [
            f"{string(name)}: {self._value(index)}"
            for name, index in self.row.values.items()
            if name in self.reads.values
        ]
        calls = [
            f"{string(name)}: {self.at[index]}"
            for name, index in self.row.calls.items()
            if name in self.reads.calls
        ]
        form = string(self.row.form) if self.row.form is not None else "None"
        self.body += _dictionary("values", values)
        self.body += _dictionary("calls", calls)
        self._add(f"return Match({form}, values, calls)")

    def _value(self, index: int) -> str:
        node = self.row.nodes[index]
        place = self.at[index]
        space = self.space_of.get(index)
        if isinstance(node, ir.Elements):
            if space is None:
                return f"[Value(each) for each in {place}]"
            if self._is_many(self._space_object(index)):
                return f"[Value(each, space) for each, space in zip({place}, {space})]"
            return f"[Value(each, {space}) for each in {place}]"
        if space is None:
            return f"Value({place})"
        axis = self._axis(index)
        return f"Value({place}, {space}{f', lambda: {axis}' if axis else ''})"

    def _space_object(self, index: int) -> ir.Space:
        return next(space for space in self.row.spaces if index in space.members)

    def _axis(self, index: int) -> str | None:
        """An expression for the axis of a vector scale; None where no site says one."""
        space = self._space_object(index)
        if not space.scales or space.scales[0].axis == SCALAR:
            return None
        site = space.scales[0]
        call, rule = self.at[site.call], site.axis
        if rule.layout is not None:
            text = f'layout_axis({call}, "{rule.layout}", "{rule.letter}")'
        elif rule.attribute is not None:
            text = f'attribute_axis({call}, "{rule.attribute}", {self.at[site.tensor]})'
        else:
            text = str(rule.fixed)
        for step in space.steps.get(index, ()):
            text = self._moved(step, text)
        return text

    def _moved(self, step: ir.Step, axis: str) -> str:
        call = self.at[step.call]
        node = self.row.nodes[step.call]
        assert isinstance(node, ir.Call)
        operand = f"{call}.args[{step.operand}]"
        start, end = (operand, call) if step.forward else (call, operand)
        match step.move:
            case AxisMove.BIAS:
                function = "biased_axis" if step.forward else "bias_axis"
                return f"{function}({call}, {axis})"
            case AxisMove.BROADCAST:
                return f"broadcast_axis({start}, {end}, {axis})"
            case AxisMove.TRANSPOSE:
                return f"transposed_axis({call}, {step.forward}, {axis})"
            case AxisMove.RESHAPE:
                return f"reshaped_axis({start}, {end}, {axis})"
            case AxisMove.LOST:
                return "None"
            case AxisMove.SAME:
                return axis


def _dictionary(name: str, items: list[str]) -> list[str]:
    if not items:
        return [f"{INDENT}{name}: Dict[str, Any] = {{}}"]
    line = f"{INDENT}{name} = {{{', '.join(items)}}}"
    # One name a line reads better than a wrapped line, and edits stay local.
    if len(line) <= 76:
        return [line]
    lines = [line for item in items for line in laid_out("", item, ",", 2)]
    return [f"{INDENT}{name} = {{", *lines, f"{INDENT}}}"]
