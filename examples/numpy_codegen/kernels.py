"""The accelerator: what it computes for a record, with NumPy and in integers only.

A kernel takes the record of a composite and the tensors of its ports by name; it gives the output
before it is cut to its range. It sees nothing of Relay. Numbers in the records are explained in
npu.qpat, where they come from.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def run(record: Any, **tensors: Any) -> Any:
    """The output of a composite."""
    wide = KERNELS[record.pattern](record, **tensors)
    return np.clip(wide, *record.y.range).astype(record.y.dtype)


# ---- parts ---------------------------------------------------------------------------------


def scaled(values: Any, multiplier: Any, shift: Any) -> Any:
    """Integers times multiplier * 2^(shift - 31), halves rounded up. A vector of multipliers lies
    along the last axis."""
    multiplier, shift = np.asarray(multiplier, "int64"), np.asarray(shift, "int64")
    right = 31 - np.minimum(shift, 0)
    product = (np.asarray(values, "int64") << np.maximum(shift, 0)) * multiplier
    return (product + (np.int64(1) << (right - 1))) >> right


def narrowed(record: Any, values: Any) -> Any:
    return scaled(values, record.multiplier, record.shift) + int(record.y.zero_point)


def windows(
    x: Any, size: Any, strides: Any, padding: Any, fill: int, dilation: Any = (1, 1)
) -> Any:
    """The windows of an NHWC tensor: [N, H, W, C, rows, columns]."""
    top, left, bottom, right = np.broadcast_to(padding, 4)
    x = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=fill)
    (down, across), (far, wide) = strides, dilation
    reach = ((size[0] - 1) * far + 1, (size[1] - 1) * wide + 1)
    seen: Any = sliding_window_view(x, reach, axis=(1, 2))  # type: ignore[call-overload]
    return seen[:, ::down, ::across, :, ::far, ::wide]


def whole(x: Any) -> Any:
    """Integers of 32 bits: sums of products fit."""
    return np.asarray(x, "int32")


# ---- kernels ---------------------------------------------------------------------------------


def outside_is_zero(record: Any, x: Any, w: Any) -> Any:
    """The windows of a convolution. Outside of x is its zero point; `folded` takes it off."""
    fill = int(record.x.zero_point)
    return windows(x, w.shape[:2], record.strides, record.padding, fill, record.dilation)


def conv2d(record: Any, x: Any, w: Any, bias: Any = None) -> Any:
    seen = whole(outside_is_zero(record, x, w))
    channels = np.split(seen, record.groups, axis=3), np.split(whole(w), record.groups, axis=3)
    parts = [np.tensordot(one, other, axes=((4, 5, 3), (0, 1, 2))) for one, other in zip(*channels)]
    return narrowed(record, np.concatenate(parts, axis=3) + record.folded)


def depthwise_conv2d(record: Any, x: Any, w: Any, bias: Any = None) -> Any:
    w = w.reshape(record.kernel)
    seen = outside_is_zero(record, x, w)
    sums = np.einsum("nhwcij,ijcm->nhwcm", whole(seen), whole(w))
    return narrowed(record, sums.reshape(sums.shape[:3] + (-1,)) + record.folded)


def dense(record: Any, x: Any, w: Any, bias: Any = None) -> Any:
    return narrowed(record, whole(x) @ whole(w).T + record.folded)


def sides(record: Any, x: Any, x2: Any) -> Any:
    """Both sides in the steps of y, without zero points."""
    one = scaled(whole(x) - record.x.zero_point, record.x_multiplier, record.x_shift)
    other = scaled(whole(x2) - record.x2.zero_point, record.x2_multiplier, record.x2_shift)
    return one, other


def add(record: Any, x: Any, x2: Any) -> Any:
    one, other = sides(record, x, x2)
    return one + other + int(record.y.zero_point)


def subtract(record: Any, x: Any, x2: Any) -> Any:
    one, other = sides(record, x, x2)
    return one - other + int(record.y.zero_point)


def mul(record: Any, x: Any, x2: Any) -> Any:
    return narrowed(record, (whole(x) - record.x.zero_point) * (whole(x2) - record.x2.zero_point))


def maximum(record: Any, x: Any, x2: Any) -> Any:
    return np.maximum(*sides(record, x, x2)) + int(record.y.zero_point)


def minimum(record: Any, x: Any, x2: Any) -> Any:
    return np.minimum(*sides(record, x, x2)) + int(record.y.zero_point)


def concatenate(record: Any, xs: Any) -> Any:
    moved = [
        scaled(whole(x) - tensor.zero_point, multiplier, shift) + int(record.y.zero_point)
        for x, tensor, multiplier, shift in zip(xs, record.xs, record.multipliers, record.shifts)
    ]
    return np.concatenate(moved, record.axis)


def concatenate2(record: Any, x: Any, x2: Any) -> Any:
    return np.concatenate((x, x2), record.axis)


def divided(sums: Any, counts: Any) -> Any:
    """A quotient of integers that is cut off towards zero."""
    return np.sign(sums) * (np.abs(sums) // counts)


def mean(record: Any, x: Any) -> Any:
    sums = whole(x).sum(axis=tuple(record.axis), dtype="int32").reshape(record.y.shape)
    left = x.size // sums.size // record.count
    return narrowed(record, divided(sums, record.count) - left * int(record.x.zero_point))


def pooled(record: Any, x: Any, fill: int) -> Any:
    return windows(x, record.size, record.strides, record.padding, fill)


def avg_pool2d(record: Any, x: Any) -> Any:
    """The average of what a window has of x, not of its padding."""
    one = np.ones_like(x)
    sums, counts = (pooled(record, whole(each), 0).sum(axis=(4, 5)) for each in (x, one))
    return divided(sums, counts)


def max_pool2d(record: Any, x: Any) -> Any:
    return pooled(record, x, np.iinfo(x.dtype).min).max(axis=(4, 5))


def pad(record: Any, x: Any) -> Any:
    return np.pad(x, record.pad_width, constant_values=record.fill_value)


def reshape(record: Any, x: Any) -> Any:
    return x.reshape(record.y.shape)


def requantize(record: Any, x: Any) -> Any:
    return narrowed(record, whole(x) - record.x.zero_point)


def relu(record: Any, x: Any) -> Any:
    return requantize(record, np.clip(whole(x), record.clip_min, record.clip_max))


def clip(record: Any, x: Any) -> Any:
    """Its bounds are the range of y."""
    return x


def table(record: Any, x: Any) -> Any:
    """A value of y for each value that x can have."""
    return record.table[whole(x) - np.iinfo(x.dtype).min]


# By the name of the pattern in npu.qpat.
KERNELS: dict[str, Callable[..., Any]] = {
    "conv2d": conv2d,
    "depthwise_conv2d": depthwise_conv2d,
    "dense": dense,
    "add": add,
    "subtract": subtract,
    "mul": mul,
    "maximum": maximum,
    "minimum": minimum,
    "concatenate": concatenate,
    "concatenate2": concatenate2,
    "mean": mean,
    "avg_pool2d": avg_pool2d,
    "max_pool2d": max_pool2d,
    "pad": pad,
    "reshape": reshape,
    "squeeze": reshape,
    "expand_dims": reshape,
    "requantize": requantize,
    "relu": relu,
    "clip": clip,
    **dict.fromkeys(("abs", "exp", "sigmoid", "tanh", "leaky_relu", "hard_swish"), table),
}
