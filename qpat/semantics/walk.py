"""Walking over expressions of the IR."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

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
