"""What the functions of a row have in common: variables for its nodes, its structure in a line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from qpat.semantics import ir
from qpat.targets.names import Fresh


def is_slot(node: ir.Node) -> bool:
    return isinstance(node, ir.SlotConstant | ir.SlotTuple)


def summary(row: ir.Row) -> str:
    """The structure of a row in one line, as Relay nests it: `clip(qnn.requantize(…))`."""
    return _summary(row, row.root)


def _summary(row: ir.Row, index: int) -> str:
    node = row.nodes[index]
    if isinstance(node, ir.Input):
        return node.name or "_"
    if isinstance(node, ir.Literal):
        return f"{'~' if node.about else ''}{node.value}"
    if isinstance(node, ir.Elements):
        return f"({node.name}...)"
    if isinstance(node, ir.Tuple):
        return f"({', '.join(_summary(row, each) for each in node.elements)})"
    if isinstance(node, ir.Field):
        return f"{_summary(row, node.value)}[{node.index}]"
    if isinstance(node, ir.CompositeCall):
        shown = ", ".join(_summary(row, each) for each in node.operands or ())
        return f"{node.composite}({shown if node.operands is not None else '..'})"
    if not isinstance(node, ir.Call):
        return ".."
    operands = [i for i in node.operands if not is_slot(row.nodes[i])]
    return f"{node.operator}({', '.join(_summary(row, each) for each in operands)})"


def variables(row: ir.Row, reserved: Iterable[str]) -> Mapping[int, str]:
    """A variable for each call, leaf, tuple and field: its name, or its operator's."""
    taken = ["root", "arguments", "order", "constants", "values", "calls", "way_1", "way_2"]
    fresh = Fresh([*reserved, *taken])
    named = _named(row)
    made: dict[int, str] = {}
    for index in range(len(row.nodes)):
        if index in named:
            made[index] = fresh.name(named[index])
    for index, node in enumerate(row.nodes):
        if index in made or is_slot(node):
            continue
        if isinstance(node, ir.Call):
            made[index] = fresh.name(node.operator.rsplit(".", 1)[-1])
        elif isinstance(node, ir.CompositeCall):
            made[index] = fresh.name("composite")
        elif isinstance(node, ir.Tuple | ir.Field):
            made[index] = fresh.name("fields" if isinstance(node, ir.Tuple) else "field")
    return made


def _named(row: ir.Row) -> Mapping[int, str]:
    """The names of nodes; of many tensors that are leaves of their own each has a number behind."""
    named: dict[int, str] = {}
    for name, index in row.values.items():
        # A name that stands for another's node (an optional left out) needs no variable.
        if index not in named or row.calls.get(name) == index:
            named[index] = name
        node = row.nodes[index]
        if isinstance(node, ir.Several):
            named |= {each: f"{name}_{number}" for number, each in enumerate(node.elements)}
    return named
