"""Relay operators that Relax says with several of its own, for meanings: those speak of real
numbers in Relay's names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

from tvm import relax

from qpat.ops.relax import Unsaid
from qpat.relax.calls import bound_to, called, make_call

Attributes = Mapping[str, Any]
Composed = Callable[[Sequence[Any], Attributes], Any]


def make_real(name: str, operands: Sequence[Any], attributes: Attributes) -> Any:
    """The value of a Relay operator on real numbers: a call of its counterpart, or of several
    operators that compute the same. Raises what make_call does."""
    made = _COMPOSED.get(name)
    if made is None:
        return make_call(name, operands, attributes)
    return made(operands, attributes)


def _shape(expr: Any) -> tuple[int, ...]:
    shape = expr.checked_type.shape
    if any(each is None for each in shape):
        raise Unsaid("a shape that is not known")
    return tuple(shape)


def _reshaped(expr: Any, shape: Sequence[int]) -> Any:
    return make_call("reshape", [expr], {"newshape": tuple(shape)})


def _bias_add(operands: Sequence[Any], attributes: Attributes) -> Any:
    """The bias is a vector along an axis, the second one if none is said."""
    data, bias = operands
    rank, length = len(_shape(data)), prod(_shape(bias))
    axis = int(attributes.get("axis", 1)) % rank
    along = [length if place == axis else 1 for place in range(rank)]
    return make_call("add", [data, _reshaped(bias, along)], {})


def _dense(operands: Sequence[Any], attributes: Attributes) -> Any:
    return _product(operands, {"transpose_b": True})


def _batch_matmul(operands: Sequence[Any], attributes: Attributes) -> Any:
    return _product(operands, {"transpose_b": True, **attributes})


def _product(operands: Sequence[Any], attributes: Attributes) -> Any:
    """A product of matrices, of which either may be said to be turned."""
    turned = [
        _turned(each) if attributes.get(key) else each
        for each, key in zip(operands, ("transpose_a", "transpose_b"), strict=True)
    ]
    return make_call("nn.matmul", turned, {})


def _turned(matrix: Any) -> Any:
    """The last two axes of a tensor in each other's place."""
    *first, rows, columns = range(len(_shape(matrix)))
    return make_call("transpose", [matrix], {"axes": [*first, columns, rows]})


def _batch_flatten(operands: Sequence[Any], attributes: Attributes) -> Any:
    shape = _shape(operands[0])
    return _reshaped(operands[0], (shape[0], prod(shape[1:])))


def _global_pool(reduction: str) -> Composed:
    def made(operands: Sequence[Any], attributes: Attributes) -> Any:
        layout = str(attributes.get("layout", "NCHW"))
        axes = [layout.index(letter) for letter in "HW"]
        return make_call(reduction, operands, {"axis": axes, "keepdims": True})

    return made


def _pad(operands: Sequence[Any], attributes: Attributes) -> Any:
    """By the value of the second operand, which Relax has as a number: pads the difference to it
    by 0, so that it may be a variable."""
    data, fill = operands
    mode = attributes.get("pad_mode", "constant")
    if mode != "constant":
        raise Unsaid(f"Relax has no nn.pad of mode {mode}")
    data = make_call("subtract", [data, fill], {})
    widths = [int(each) for pair in attributes["pad_width"] for each in pair]
    padded = called(relax.op.nn.pad(bound_to(data), widths), "nn.pad", [data])
    return make_call("add", [padded, fill], {})


_COMPOSED: dict[str, Composed] = {
    "nn.bias_add": _bias_add,
    "nn.dense": _dense,
    "nn.batch_matmul": _batch_matmul,
    "nn.matmul": _product,
    "nn.batch_flatten": _batch_flatten,
    "nn.global_avg_pool2d": _global_pool("mean"),
    "nn.global_max_pool2d": _global_pool("max"),
    "nn.pad": _pad,
}
