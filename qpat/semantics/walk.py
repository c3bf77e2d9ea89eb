"""Walking over the expressions of the IR, and over the nodes of a row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from qpat.semantics import ir


def walk(expression: ir.Expression | None) -> Iterator[ir.Expression]:
    """An expression and all below it."""
    if expression is None:
        return
    yield expression
    for child in children(expression):
        yield from walk(child)


def children(node: ir.Expression) -> Iterable[ir.Expression | None]:
    """The expressions directly below."""
    match node:
        case ir.Operation():
            return node.operands
        case ir.Function() | ir.ExternCall():
            return node.arguments
        case ir.Subscript():
            return (node.value, node.index, node.start, node.stop)
        case ir.Contained():
            container = node.container
            return (node.value, *(container if isinstance(container, tuple) else (container,)))
        case ir.Conditional():
            return (node.condition, node.then, node.otherwise)
        case ir.Sequence():
            return node.elements
    return ()


def below(node: ir.Node) -> tuple[int, ...]:
    """The nodes that a node is directly made of."""
    if isinstance(node, ir.Call):
        return node.operands
    if isinstance(node, ir.CompositeCall):
        return node.operands or ()
    if isinstance(node, ir.Tuple):
        return node.elements
    return (node.value,) if isinstance(node, ir.Field) else ()


def tensors(nodes: Sequence[ir.Node], index: int) -> tuple[int, ...]:
    """The nodes of what a name stands for: several where each of many is a leaf of its own."""
    node = nodes[index]
    return node.elements if isinstance(node, ir.Several) else (index,)


def under(row: ir.Row, index: int) -> set[int]:
    """A node and all that it is made of."""
    found: set[int] = set()
    waiting = [index]
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting += below(row.nodes[node])
    return found
