"""What a record means on real numbers, computed with NumPy in float32 as Relax does.

A tensor is dequantized, `meaning` is computed, the result is quantized and cut to the range of y.
Each step rounds as TVM's operators do: in float32, sums one term behind the other in the order of
TVM's loops. So the bits are TVM's where it compiles those loops as they stand. A record without a
meaning moves integers, or averages them: kernels.py computes it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import kernels
import numpy as np


def run(record: Any, **tensors: Any) -> Any:
    """The output of a composite."""
    meaning = getattr(record, "meaning", None)
    if meaning is None:
        return kernels.run(record, **tensors)
    reals = {name: dequantized(getattr(record, name), each) for name, each in tensors.items()}
    return quantized(record.y, value_of(meaning, reals))


def value_of(meaning: Any, reals: dict[str, Any]) -> Any:
    """The value of a meaning: the name of a port, a number, or an operator on meanings."""
    if isinstance(meaning, str):
        return reals[meaning]
    if isinstance(meaning, (int, float)):
        return np.float32(meaning)
    operands = [value_of(each, reals) for each in meaning.operands]
    return OPERATORS[meaning.op](*operands, **meaning.attributes)


# ---- spaces ----------------------------------------------------------------------------------


def dequantized(tensor: Any, values: Any) -> Any:
    """(values - zero point) * scale. The difference is taken in int32."""
    zero_point = along(tensor, np.asarray(tensor.zero_point, "int32"))
    difference = np.asarray(values, "int32") - zero_point
    return difference.astype("float32") * along(tensor, np.float32(tensor.scale))


def quantized(tensor: Any, reals: Any) -> Any:
    """round(reals / scale) + zero point, cut to the tensor's range. Halves go to the even one."""
    steps = np.rint(reals / along(tensor, np.float32(tensor.scale)))
    moved = steps + along(tensor, np.float32(tensor.zero_point))
    return np.clip(moved, *tensor.range).astype(tensor.dtype)


def along(tensor: Any, numbers: Any) -> Any:
    """A vector along the axis of its tensor; a single number as it is."""
    if np.ndim(numbers) == 0:
        return numbers
    return numbers.reshape([-1 if axis == tensor.axis else 1 for axis in range(len(tensor.shape))])


# ---- operators on real numbers -----------------------------------------------------------------


def products(left: Any, right: Any) -> Any:
    """The sums of left[..., k] * right[k, :] over k. NumPy's own product of matrices adds in
    another order, and so rounds otherwise."""
    sums = np.zeros((*left.shape[:-1], right.shape[-1]), "float32")
    for term in range(right.shape[0]):
        sums += left[..., term, None] * right[term]
    return sums


def conv2d(
    x: Any,
    w: Any,
    *,
    strides: Any,
    padding: Any,
    dilation: Any,
    groups: int,
    kernel_layout: str,
    **_: Any,
) -> Any:
    """NHWC. Terms are added by row and column of the window, then by channel."""
    seen = kernels.windows(x, w.shape[:2], strides, padding, 0, dilation)
    if kernel_layout == "HWOI":
        return depthwise(seen, w)
    rows = seen.transpose(0, 1, 2, 4, 5, 3)
    pairs = zip(np.split(rows, groups, axis=5), np.split(w, groups, axis=3), strict=True)
    parts = [
        products(row.reshape(*row.shape[:3], -1), kernel.reshape(-1, kernel.shape[3]))
        for row, kernel in pairs
    ]
    return np.concatenate(parts, axis=3)


def depthwise(seen: Any, w: Any) -> Any:
    sums = np.zeros((*seen.shape[:4], w.shape[3]), "float32")
    for row, column in np.ndindex(*w.shape[:2]):
        sums += seen[..., row, column, None] * w[row, column]
    return sums.reshape(*sums.shape[:3], -1)


def dense(x: Any, w: Any) -> Any:
    return products(x, w.T)


def bias_add(x: Any, bias: Any, *, axis: int) -> Any:
    assert axis in (-1, x.ndim - 1), "a bias lies along the last axis"
    return x + bias


def mean(x: Any, *, axis: Any, keepdims: bool, **_: Any) -> Any:
    """Sums in the order of the axes, divided by the number of terms."""
    axes = tuple(sorted(each % x.ndim for each in axis))
    kept = [each for each in range(x.ndim) if each not in axes]
    terms = x.transpose(*kept, *axes).reshape(*[x.shape[each] for each in kept], -1)
    sums = np.add.accumulate(terms, axis=-1, dtype="float32")[..., -1]
    found = sums / np.float32(terms.shape[-1])
    return np.expand_dims(found, axes) if keepdims else found


def exp(x: Any) -> Any:
    """Computed in float64, rounded once. The C library's expf, which TVM calls, differs from that
    in less than one number of a thousand; NumPy's own of float32 in more than one of three."""
    with np.errstate(over="ignore"):
        return np.exp(np.float64(x)).astype("float32")


def sigmoid(x: Any) -> Any:
    one = np.float32(1)
    return one / (one + exp(-x))


def tanh(x: Any) -> Any:
    """By way of exp, as TVM lowers it for a processor."""
    one, power = np.float32(1), exp(np.float32(-2) * np.abs(x))
    return np.copysign((one - power) / (one + power), x)


def leaky_relu(x: Any, *, alpha: float) -> Any:
    return np.where(x > 0, x, x * np.float32(alpha))


def clip(x: Any, *, a_min: float, a_max: float) -> Any:
    return np.clip(x, np.float32(a_min), np.float32(a_max))


def reshape(x: Any, *, newshape: Any, **_: Any) -> Any:
    return x.reshape(newshape)


# By the name that a meaning has.
OPERATORS: dict[str, Callable[..., Any]] = {
    "abs": np.abs,
    "add": np.add,
    "clip": clip,
    "divide": np.divide,
    "exp": exp,
    "maximum": np.maximum,
    "mean": mean,
    "minimum": np.minimum,
    "multiply": np.multiply,
    "nn.bias_add": bias_add,
    "nn.conv2d": conv2d,
    "nn.dense": dense,
    "nn.leaky_relu": leaky_relu,
    "reshape": reshape,
    "sigmoid": sigmoid,
    "subtract": np.subtract,
    "tanh": tanh,
}
