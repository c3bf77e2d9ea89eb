"""Multiply-accumulates of calls: how many products an operator adds up, padding included."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from qpat.relay.graph import post_order
from qpat.relay.kinds import relay, tvm
from qpat.targets.relay_reading import Attributes, shape_of

Shape = tuple[int, ...]


def macs(call: Any) -> int | None:
    """The multiply-accumulates of a typed call: of a composite those of its body, 0 for an operator
    that is not listed. None where a shape is not known."""
    if isinstance(call.op, relay.Function):
        found = [macs(each) for each in operator_calls(call)]
        return None if None in found else sum(each for each in found if each is not None)
    name = call.op.name if isinstance(call.op, tvm.ir.Op) else ""
    count = _COUNTS.get(name)
    if count is None:
        return 0
    shapes = [_known_shape(each) for each in (*call.args[:2], call)]
    if any(shape is None for shape in shapes):
        return None
    return count(Attributes(call), *(shape for shape in shapes if shape is not None))


def _known_shape(expr: Any) -> Shape | None:
    shape = shape_of(expr.checked_type)
    known = tuple(size for size in shape if size is not None)
    return known if len(known) == len(shape) else None


def operator_calls(call: Any) -> list[Any]:
    """The calls of operators in a call: of a composite those of its body, composites in it
    included; of an operator itself."""
    if not isinstance(call.op, relay.Function):
        return [call] if isinstance(call.op, tvm.ir.Op) else []
    inside = [each for each in post_order(call.op.body) if isinstance(each, relay.Call)]
    return [found for each in inside for found in operator_calls(each)]


def _convolution(attrs: Attributes, data: Shape, weight: Shape, made: Shape) -> int:
    """Every element that is made adds up the weights of its channel."""
    channels = _channels(attrs.out_layout or attrs.data_layout, made)
    return prod(made) * prod(weight) // channels if channels else 0


def _transposed(attrs: Attributes, data: Shape, weight: Shape, made: Shape) -> int:
    """Every element that is given is multiplied with the weights of its channel."""
    channels = _channels(attrs.data_layout, data)
    return prod(data) * prod(weight) // channels if channels else 0


def _channels(layout: str, shape: Shape) -> int:
    """How many channels there are; a layout such as NCHW4c has them in two dimensions."""
    letters = [letter for letter in layout if letter.isalpha()]
    return prod(size for letter, size in zip(letters, shape, strict=True) if letter in "Cc")


def _dense(attrs: Attributes, data: Shape, weight: Shape, made: Shape) -> int:
    return prod(made) * data[-1]


def _product(attrs: Attributes, data: Shape, weight: Shape, made: Shape) -> int:
    """Of matrices, the left one transposed or not."""
    return prod(made) * data[-2 if attrs.transpose_a else -1]


_COUNTS: dict[str, Callable[[Attributes, Shape, Shape, Shape], int]] = {
    **{f"nn.conv{n}d": _convolution for n in (1, 2, 3)},
    **{f"nn.conv{n}d_transpose": _transposed for n in (1, 2, 3)},
    "qnn.conv2d": _convolution,
    "qnn.conv2d_transpose": _transposed,
    "nn.dense": _dense,
    "qnn.dense": _dense,
    "nn.matmul": _product,
    "nn.batch_matmul": _product,
    "qnn.batch_matmul": _product,
}
