"""Layouts of a row's values: which attribute of which call says them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from qpat.ops.roles import AxisMove, roles
from qpat.ops.table import operator
from qpat.semantics import ir
from qpat.semantics.draft import Draft

# Operators whose result has the layout of their first operand though it is in another space.
_KEEP = frozenset(
    [
        "abs",
        "ceil",
        "erf",
        "exp",
        "floor",
        "log",
        "negative",
        "fixed_point_multiply",
        "left_shift",
        "nn.leaky_relu",
        "nn.log_softmax",
        "nn.prelu",
        "nn.softmax",
        "qnn.dequantize",
        "qnn.quantize",
        "qnn.requantize",
        "qnn.leaky_relu",
        "right_shift",
        "round",
        "rsqrt",
        "sigmoid",
        "sqrt",
        "tanh",
    ]
)
# Both operands and the result; whether the ranks agree is seen where a layout is read.
_KEEP_BOTH = frozenset(
    ["add", "divide", "multiply", "power", "qnn.add", "qnn.mul", "qnn.subtract", "subtract"]
)


def layouts(draft: Draft) -> Mapping[int, ir.Layout]:
    """The layouts that are known, by node. What a call says itself comes before what is passed on,
    and of several that are passed on the first one written."""
    found: dict[int, ir.Layout] = {}
    for node, layout in _said(draft):
        found.setdefault(node, layout)
    neighbours: dict[int, list[int]] = {}
    for first, second in _kept(draft):
        neighbours.setdefault(first, []).append(second)
        neighbours.setdefault(second, []).append(first)
    waiting = sorted(found)
    while waiting:
        node = waiting.pop(0)
        for other in neighbours.get(node, ()):
            if other not in found:
                found[other] = found[node]
                waiting.append(other)
    return found


def _said(draft: Draft) -> Iterator[tuple[int, ir.Layout]]:
    for index, node in enumerate(draft.nodes):
        signature = operator(node.operator) if isinstance(node, ir.Call) else None
        if not isinstance(node, ir.Call) or signature is None or not node.operands:
            continue
        known = signature.attributes
        data = next((n for n in ("data_layout", "layout", "src_layout") if n in known), None)
        if data is None:
            continue
        yield node.operands[0], ir.Layout(index, data)
        if "kernel_layout" in known and len(node.operands) > 1:
            yield node.operands[1], ir.Layout(index, "kernel_layout")
        result = "dst_layout" if "dst_layout" in known else data
        yield index, ir.Layout(index, result, is_result=True)


def _kept(draft: Draft) -> Iterator[tuple[int, int]]:
    """Pairs of nodes that have one layout."""
    for index, node in enumerate(draft.nodes):
        if isinstance(node, ir.Field):
            yield node.value, index
        if not isinstance(node, ir.Call) or not node.operands:
            continue
        for position in _keeping(node.operator, len(node.operands)):
            operand = draft.nodes[node.operands[position]]
            starts = (
                operand.elements if isinstance(operand, ir.Tuple) else (node.operands[position],)
            )
            yield from ((start, index) for start in starts)


def _keeping(name: str, count: int) -> Iterator[int]:
    """The positions of the operands whose layout the result has."""
    if name in _KEEP:
        yield 0
    if name in _KEEP_BOTH:
        yield from (0, 1)
        return
    signature = operator(name)
    for share in roles(name).shares:
        position = signature.operand_index(share.operand) if signature is not None else None
        keeps = share.move in (AxisMove.SAME, AxisMove.BROADCAST)
        if position is not None and position < count and keeps:
            yield position


def clips(draft: Draft) -> Mapping[int, tuple[int, ...]]:
    """For each node the calls of `clip` and `nn.relu` it went through last, outermost first."""
    found: dict[int, tuple[int, ...]] = {}
    for index, node in enumerate(draft.nodes):
        if isinstance(node, ir.Call) and node.operator in ("clip", "nn.relu"):
            found[index] = (index, *found.get(node.operands[0], ()))
        elif isinstance(node, ir.Call) and node.operator in _SAME_VALUES:
            found[index] = found.get(node.operands[0], ())
    return {index: calls for index, calls in found.items() if calls}


_SAME_VALUES = frozenset(
    ["cast", "copy", "expand_dims", "reshape", "reverse", "squeeze", "strided_slice", "transpose"]
)
