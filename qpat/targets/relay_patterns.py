"""One row of a pattern as the DataflowPattern that TVM matches.

TVM tries both ways round of `add` and `multiply` only (CallPattern in
src/relay/ir/dataflow_matcher.cc). For other calls that match either way an alternation says both,
which costs no row. It takes the first side that fits and never comes back to the second, so where
what is under such a call also stands elsewhere the whole row is said both ways round instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product

from qpat.ops.roles import exchange
from qpat.ops.table import operator
from qpat.semantics import ir
from qpat.semantics.walk import below, tensors, under
from qpat.targets.dialects import Dialect
from qpat.targets.layout import INDENT, WIDTH, assigned, bracketed, string
from qpat.targets.rows import summary

# What TVM's matcher tries both ways round by itself.
_COMMUTED_BY_TVM = ("add", "multiply")
_MOST_WAYS = 16
"""A row is said at most so many ways; a row with more links is matched as written."""


def pattern_lines(name: str, row: ir.Row, names: Mapping[int, str], dialect: Dialect) -> list[str]:
    """The function that makes the pattern of a row. `names` has a variable for each node."""
    doc = summary(row)
    if len(doc) > WIDTH - 10:
        doc = f"{doc[:85]}…"
    lines = [f"def {name}() -> Any:", f'{INDENT}"""{doc}"""']
    ways = _ways(row)
    for number, way in enumerate(ways):
        lines += _Writer(row, names, way, dialect, first=number == 0).lines()
        if len(ways) > 1:
            lines.append(f"{INDENT}way_{number + 1} = {names[row.root]}")
    found = names[row.root]
    if len(ways) > 1:
        found = " | ".join(f"way_{number + 1}" for number in range(len(ways)))
    return [*lines, f"{INDENT}return {found}"]


@dataclass(frozen=True)
class _Way:
    """One way of saying a row: the calls that are swapped, and those said both ways in place."""

    swapped: frozenset[int]
    both: frozenset[int]


def _ways(row: ir.Row) -> list[_Way]:
    linked = [i for i in row.swaps if _is_linked(row, i)]
    others = [i for i in row.swaps if i not in linked and not _are_alike(row, i)]
    both = frozenset(i for i in others if _operator(row, i) not in _COMMUTED_BY_TVM)
    if 2 ** len(linked) > _MOST_WAYS:
        linked = linked[: _MOST_WAYS.bit_length() - 1]
    choices = product((False, True), repeat=len(linked))
    return [
        _Way(frozenset(i for i, chosen in zip(linked, each, strict=True) if chosen), both)
        for each in choices
    ]


def _operator(row: ir.Row, index: int) -> str:
    node = row.nodes[index]
    assert isinstance(node, ir.Call)
    return node.operator


def _are_alike(row: ir.Row, index: int) -> bool:
    """Whether TVM cannot tell the two tensors of a call apart, so that one way says both."""
    call = row.nodes[index]
    assert isinstance(call, ir.Call)
    leaves = [row.nodes[operand] for operand in call.operands[:2]]
    if not all(isinstance(leaf, ir.Input) for leaf in leaves):
        return False
    first, second = leaves
    assert isinstance(first, ir.Input) and isinstance(second, ir.Input)
    return first.constness is second.constness


def _is_linked(row: ir.Row, index: int) -> bool:
    """Whether something under a call is also an operand of something else."""
    inside = under(row, index) - {index}
    return any(
        other not in inside and other != index and inside & set(below(node))
        for other, node in enumerate(row.nodes)
    )


class _Writer:
    """Writes a row one way. Leaves are written once, by the first."""

    def __init__(
        self,
        row: ir.Row,
        names: Mapping[int, str],
        way: _Way,
        dialect: Dialect,
        first: bool,
    ) -> None:
        self.dialect = dialect
        self.row = row
        self.names = names
        self.way = way
        self.first = first

    def lines(self) -> list[str]:
        lines: list[str] = []
        for index in self._order():
            node = self.row.nodes[index]
            if isinstance(node, ir.Call):
                lines += self._call(index, node)
            elif self.first or not _is_leaf(node):
                text = self._text(index)
                assert text is not None
                lines += assigned(self.names[index], text, 1)
        return lines

    def _order(self) -> list[int]:
        """Nodes that get a variable, leaves first, each before its users."""
        nodes = self.row.nodes
        named = {each for at in self.row.values.values() for each in tensors(nodes, at)}
        leaves = [i for i, n in enumerate(nodes) if i in named and _is_leaf(n)]
        inner = ir.Call | ir.CompositeCall | ir.Tuple | ir.Field
        return [*leaves, *(i for i, n in enumerate(nodes) if isinstance(n, inner))]

    def _text(self, index: int) -> str | None:
        """What makes the pattern of a node that is no call."""
        node = self.row.nodes[index]
        if isinstance(node, ir.Input):
            return _LEAVES[node.constness].format(self.dialect.constant)
        if isinstance(node, ir.SlotConstant | ir.Literal):
            return self.dialect.constant
        if isinstance(node, ir.SlotTuple | ir.Elements):
            return self.dialect.any_tuple
        if isinstance(node, ir.Tuple):
            fields = [self._operand(each) for each in node.elements]
            return f"is_tuple([{', '.join(fields)}])"
        if isinstance(node, ir.Field):
            return f"is_tuple_get_item({self._operand(node.value)}, {node.index})"
        if isinstance(node, ir.CompositeCall):
            function = f'wildcard().has_attr({{"Composite": {string(node.composite)}}})'
            operands = ["None"]
            if node.operands is not None:
                operands = [self._operand(each) for each in node.operands]
            return f"{function}({', '.join(operands)})"
        return None

    def _operand(self, index: int) -> str:
        node = self.row.nodes[index]
        if isinstance(node, ir.Elements):
            return self.dialect.any_tuple
        if index in self.names:
            return self.names[index]
        return self._text(index) or ""

    def _call(self, index: int, call: ir.Call) -> list[str]:
        operands = [self._operand(each) for each in call.operands]
        other = _exchanged(call, operands)
        if index in self.way.swapped:
            operands, other = other, operands
        name = self.names[index]
        lines = self._made(name, call, operands)
        if index in self.way.both:
            lines = [*self._made(f"{name}_as_written", call, operands)]
            lines += self._made(f"{name}_swapped", call, other)
            lines.append(f"{INDENT}{name} = {name}_as_written | {name}_swapped")
        items = self.dialect.asked(call)
        if items:
            lines += assigned(name, f"{name}.has_attr({{{', '.join(items)}}})", 1)
        return lines

    def _made(self, name: str, call: ir.Call, operands: list[str]) -> list[str]:
        own = self.dialect.operator(call.operator)
        behind = ["wildcard()"] * self.dialect.values(call.operator)
        return bracketed(f"{name} = is_op({string(own)})(", [*operands, *behind], ")", 1)


def _exchanged(call: ir.Call, operands: list[str]) -> list[str]:
    """The operands with the two tensors, and what belongs to them, in each other's place."""
    made = list(operands)
    signature = operator(call.operator)
    exchanged = exchange(signature) if signature is not None else None
    for first, second in exchanged.operands if exchanged is not None else ():
        made[first], made[second] = made[second], made[first]
    return made


def _is_leaf(node: ir.Node) -> bool:
    return isinstance(node, ir.Input | ir.Literal)


_LEAVES = {
    ir.Constness.ANY: "wildcard()",
    ir.Constness.CONSTANT: "{}",
    ir.Constness.EITHER: "{} | wildcard()",
    ir.Constness.VARIABLE: "is_var()",
}


def functions_used(lines: Iterable[str], dialect: Dialect) -> list[str]:
    """What the rows call of TVM's pattern language, sorted."""
    text = "\n".join(lines)
    return [name for name in dialect.functions if f"{name}(" in text]
