"""What can be told of two patterns at a glance: that a condition of the one cannot follow from the
other, which says nothing of the kind.

Most pairs of rows with one structure differ in what they ask for; this spares comparing them.
"""

from __future__ import annotations

from collections.abc import Iterator

from qpat.records import dataclass
from qpat.semantics import ir
from qpat.semantics.ordering import expressions
from qpat.semantics.walk import children

_COMPARISONS = ("==", "!=", "<", "<=", ">", ">=")
_ARITHMETIC = ("+", "-", "*", "/", "%")


@dataclass(frozen=True)
class Demands:
    """What conditions of every row of a pattern ask for: the attributes they are about, and the
    numbers that sizes must be equal to."""

    attributes: frozenset[str]
    sizes: frozenset[object]


@dataclass(frozen=True)
class Offers:
    """The attributes that a pattern says anything of, and the numbers in its conditions. None: any
    number, for it calculates."""

    attributes: frozenset[str]
    numbers: frozenset[object] | None


def demands(pattern: ir.Pattern) -> Demands:
    attributes: set[str] = set()
    sizes: set[object] = set()
    for statement in pattern.statements:
        if not isinstance(statement, ir.Where) or statement.block is not None:
            continue
        for each in _conjuncts(statement.condition):
            about, value = _sides(each)
            read = about.value if isinstance(about, ir.Subscript) else about
            if isinstance(read, ir.ReadAttribute):
                attributes.add(read.attribute)
            elif _is_size(about) and isinstance(each, ir.Operation) and each.operator == "==":
                sizes.add(value)
    return Demands(frozenset(attributes), frozenset(sizes))


def _conjuncts(node: ir.Expression) -> Iterator[ir.Expression]:
    if isinstance(node, ir.Operation) and node.operator == "and":
        for operand in node.operands:
            yield from _conjuncts(operand)
    else:
        yield node


def _sides(node: ir.Expression) -> tuple[ir.Expression | None, object]:
    """What a comparison with a number is about, and the number."""
    if not isinstance(node, ir.Operation) or node.operator not in _COMPARISONS:
        return None, None
    first, second = node.operands
    if isinstance(first, ir.Number):
        first, second = second, first
    return (first, second.value) if isinstance(second, ir.Number) else (None, None)


def _is_size(node: ir.Expression | None) -> bool:
    read = node.value if isinstance(node, ir.Subscript) and node.index is not None else None
    return isinstance(read, ir.ReadMember) and read.member == "shape"


def offers(pattern: ir.Pattern) -> Offers:
    attributes = {
        each.name
        for row in pattern.rows
        for node in row.nodes
        if isinstance(node, ir.Call)
        for each in node.attributes
    }
    numbers: set[object] = {size for port in pattern.ports for size in port.shape or ()}
    calculates = False
    for statement in pattern.statements:
        if not isinstance(statement, ir.Where | ir.Let):
            continue
        for expression in expressions(statement):
            for node in _walk(expression):
                if isinstance(node, ir.Number):
                    numbers |= {node.value, _negative(node.value)}
                elif isinstance(node, ir.ReadAttribute):
                    attributes.add(node.attribute)
                elif isinstance(node, ir.Operation) and node.operator in _ARITHMETIC:
                    calculates = True
    return Offers(frozenset(attributes), None if calculates else frozenset(numbers))


def _negative(value: object) -> object:
    return -value if isinstance(value, int | float) else value


def _walk(node: ir.Expression | None) -> Iterator[ir.Expression]:
    """An expression and all below it, but for the place that a subscript says."""
    if node is None:
        return
    yield node
    below = (node.value,) if isinstance(node, ir.Subscript) else children(node)
    for child in below:
        yield from _walk(child)


def may_follow(wanted: Demands, offered: Offers) -> bool:
    """Whether it is worth looking closer."""
    return wanted.attributes <= offered.attributes and (
        offered.numbers is None or wanted.sizes <= offered.numbers
    )
