"""Convolutions and average pools of integers in NumPy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Array = NDArray[Any]


def conv2d(x: Array, w: Array, attributes: Mapping[str, Any]) -> Array:
    """An int64 convolution of values without zero points, as `nn.conv2d` has it: any layout of
    single letters, groups, strides, padding (top, left, bottom, right) and dilation.

    Weights HWOI are those of a depthwise convolution: O the channels, I the outputs of each.
    """
    layout, kernel_layout = str(attributes["data_layout"]), str(attributes["kernel_layout"])
    groups = int(attributes["groups"])
    data = _reordered(x.astype(np.int64), layout, "NHWC")
    if kernel_layout == "HWOI" and groups > 1:
        height, width, channels, each = w.shape
        kernel = w.astype(np.int64).reshape(height, width, 1, channels * each)
    else:
        kernel = _reordered(w.astype(np.int64), kernel_layout, "HWIO")
    windows = _windows(data, kernel.shape[:2], attributes, attributes["padding"], 0)
    inputs, outputs = kernel.shape[2], kernel.shape[3] // groups
    parts = [
        np.einsum(
            "nhwcij,ijco->nhwo",
            windows[:, :, :, group * inputs : (group + 1) * inputs],
            kernel[:, :, :, group * outputs : (group + 1) * outputs],
        )
        for group in range(groups)
    ]
    return _reordered(np.concatenate(parts, axis=3), "NHWC", layout)


def avg_pool2d(x: Array, attributes: Mapping[str, Any]) -> Array | None:
    """An average pool that divides by the number of elements of each window that are no padding,
    and cuts off (include/tvm/topi/nn/pooling.h), of a last window those in the tensor. None where
    padding would be counted."""
    layout = str(attributes["layout"])
    padding = [int(each) for each in attributes["padding"]]
    is_ceiled = bool(attributes["ceil_mode"])
    if attributes["count_include_pad"] and any(padding):
        return None
    data = _reordered(x.astype(np.int64), layout, "NHWC")
    size = tuple(int(each) for each in attributes["pool_size"])
    if is_ceiled:
        # Another window that begins inside.
        padding[2] += int(attributes["strides"][0]) - 1
        padding[3] += int(attributes["strides"][1]) - 1
    sums = _windows(data, size, attributes, padding, 0).sum(axis=(4, 5))
    counts = _windows(np.ones_like(data), size, attributes, padding, 0).sum(axis=(4, 5))
    wide = np.abs(sums) // np.maximum(counts, 1)
    return _reordered(np.sign(sums) * wide, "NHWC", layout)


def _windows(
    data: Array, size: tuple[int, ...], attributes: Mapping[str, Any], padding: Any, fill: int
) -> Array:
    """The windows of an NHWC tensor, [N, H, W, C, height, width]."""
    top, left, bottom, right = (int(each) for each in padding)
    widths = ((0, 0), (top, bottom), (left, right), (0, 0))
    padded = np.pad(data, widths, constant_values=fill)
    (down, across), (far, wide) = attributes["strides"], attributes["dilation"]
    reach = ((size[0] - 1) * far + 1, (size[1] - 1) * wide + 1)
    found: Array = sliding_window_view(padded, reach, axis=(1, 2))  # type: ignore[call-overload]
    return np.asarray(found[:, ::down, ::across, :, ::far, ::wide])


def _reordered(array: Array, layout: str, wanted: str) -> Array:
    return array.transpose([layout.index(letter) for letter in wanted])
