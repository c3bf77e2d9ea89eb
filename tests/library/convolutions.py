"""Random convolutions and fully connected layers, as two tables take them."""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import relay

from tests.library.draw import Draw, number, product, qnn


def conv2d(draw: Draw, layout: str, relu: bool = False) -> Any:
    """qnn.conv2d with weights HWIO or HWOI; a pad before it, a bias, a clip, or not."""
    dtype = draw.mostly(["int8", "uint8", "int8"], ["int16"])
    wide = "int64" if dtype == "int16" else draw.mostly(["int32"], ["int64"])
    kernel_dtype = draw.mostly(["int8"], ["uint8"])
    kernel = [draw.mostly([1, 2, 3], [5, 33, 65]), draw.mostly([1, 2, 3], [5, 64])]
    if relu:
        kernel = [draw.mostly([3, 5], [2, 4])] * 2
    dilation = [draw.mostly([1, 1, 2], [3])] * 2
    if draw.often(0.1):
        dilation[1] = 3 - min(dilation[1], 2)
    strides = [draw.mostly([1, 2, 3], [4]), draw.mostly([1, 2, 3], [4])]
    padding = [draw.mostly([0, 1, 2], [31, 32, 33]) for _ in range(4)]
    channels = draw.one([1, 2, 4])
    outputs = draw.mostly([2, 3, 8], [1])
    groups = 1 if layout == "HWIO" else channels
    if layout == "HWIO" and channels > 1 and draw.often(0.1):
        groups = channels
    if groups > 1:
        outputs = channels * draw.mostly([1], [2])
    inner = channels // groups
    multiplier = outputs // groups
    draw.note("groups that are no depthwise convolution", 1 < groups != outputs)
    sides = [k * d + 4 for k, d in zip(kernel, dilation, strict=True)]
    x = draw.var([draw.mostly([1], [2]), *sides, channels], dtype)
    shape = [*kernel, inner, outputs] if layout == "HWIO" else [*kernel, channels, multiplier]
    if layout == "HWOI" and groups == 1:
        outputs = multiplier = draw.one([1, 2])
        shape = [*kernel, channels, multiplier]
    draw.note("one output channel", layout == "HWIO" and outputs == 1)
    draw.note("a dilation that is not square", dilation[0] != dilation[1])
    zero = draw.zero(dtype, often=0.3 if dtype != "int16" else 0.8)
    per_channel = layout == "HWIO" or (multiplier == 1 and draw.often(0.1 if relu else 0.5))
    scale, w_scale = draw.scale(), draw.scale(outputs if per_channel and draw.often() else 0)
    w_zero = draw.zero(kernel_dtype, often=0.7)
    source = padded(draw, x, zero)
    if source is not x:
        more = sum(int(each) for each in source.attrs.pad_width[3])
        draw.note("groups that do not divide the channels", (channels + more) % groups > 0)
        _, (top, bottom), (left, right), _ = source.attrs.pad_width
        whole = np.add(padding, [int(each) for each in (top, left, bottom, right)])
        draw.note("a pad, and padding of the convolution", any(padding))
        draw.note("a pad too large to be folded", bool(np.any(whole > [31, 31, 32, 32])))
    w = draw.weights(shape, kernel_dtype)
    acc = qnn.conv2d(
        source,
        w,
        zero,
        w_zero,
        scale,
        w_scale,
        kernel,
        outputs,
        strides=strides,
        padding=padding,
        dilation=dilation,
        groups=groups,
        data_layout="NHWC",
        kernel_layout=layout,
        out_dtype=wide,
    )
    body = biased(draw, acc, outputs, wide, axis=3)
    if relu:
        body = relay.nn.relu(body) if draw.often() else body
        return draw.requantized(body, product(scale, w_scale), dtype, axis=3)
    return draw.clipped(draw.requantized(body, product(scale, w_scale), dtype, axis=3))


def conv2d_with_relu(draw: Draw, layout: str) -> Any:
    """With its activation before the requantize."""
    return conv2d(draw, layout, relu=True)


def padded(draw: Draw, x: Any, zero: Any) -> Any:
    """An nn.pad by the zero point; now and then by another, or of more than height and width."""
    if draw.often(0.6):
        return x
    widths = [[0, 0], *([int(n) for n in draw.random.integers(0, 3, 2)] for _ in "HW"), [0, 0]]
    if draw.often(0.15):
        widths[draw.one([0, 3])][1] = 1
        draw.traits.add("pads more than height and width")
    dtype = x.type_annotation.dtype
    value = int(number(zero))
    if draw.often(0.15):
        value = 5 if value != 5 else 4
        draw.traits.add("pads by another value than the zero point")
    return relay.nn.pad(x, widths, relay.const(value, dtype))


def biased(draw: Draw, acc: Any, outputs: int, dtype: str, axis: int) -> Any:
    if draw.often(0.2):
        return acc
    draw.note("a bias of int64", dtype == "int64")
    value = draw.random.integers(-(2**20), 2**20, outputs)
    return relay.nn.bias_add(acc, relay.const(value, dtype), axis=axis)


def dense_of_channels(draw: Draw) -> Any:
    """A fully connected layer whose weights have a scale for each output."""
    draw.traits.add("a scale for each output")
    x, scale, w_scale = draw.var([1, 4], "int8"), draw.scale(), draw.scale(3)
    zero, w = draw.zero("int8"), draw.weights([3, 4], "int8")
    acc = qnn.dense(x, w, zero, relay.const(np.int32(0)), scale, w_scale, 3, out_dtype="int32")
    body = biased(draw, acc, 3, "int32", axis=1)
    return draw.requantized(body, product(scale, w_scale), "int8", axis=1)


def dense(draw: Draw) -> Any:
    """qnn.dense with weights [units, C], mostly constant."""
    dtype = draw.mostly(["int8"], ["uint8", "int16"])
    wide = "int64" if dtype == "int16" else draw.mostly(["int32"], ["int64"])
    kernel_dtype = draw.mostly(["int8"], ["uint8"])
    units, inner = draw.one([1, 2, 10]), draw.mostly([1, 4, 16], [66000])
    x = draw.var([draw.mostly([1], [2]), inner], dtype)
    full = inner == 66000
    is_constant = draw.often(0.8)
    w = draw.weights([units, inner], kernel_dtype, full) if is_constant else None
    w = draw.var([units, inner], kernel_dtype) if w is None else w
    zero, w_zero = draw.zero(dtype), draw.zero(kernel_dtype, often=0.7)
    scale, w_scale = draw.scale(), draw.scale()
    acc = qnn.dense(x, w, zero, w_zero, scale, w_scale, units, out_dtype=wide)
    body = biased(draw, acc, units, wide, axis=1)
    out = draw.mostly([dtype], ["int8", "uint8"])
    draw.note("int16", dtype == out == "int16")
    return draw.clipped(draw.requantized(body, product(scale, w_scale), out))


def conv2d_transpose(draw: Draw) -> Any:
    dtype = draw.mostly(["int8"], ["uint8"])
    kernel = [draw.one([2, 3, 4]), draw.one([2, 3, 4])]
    channels, outputs = draw.one([1, 3]), draw.one([1, 2, 4])
    strides = draw.mostly([[2, 2]], [[1, 1], [2, 1], [3, 3]])
    x = draw.var([draw.mostly([1], [2]), *(draw.one([3, 5]) for _ in "HW"), channels], dtype)
    # SAME takes off kernel - stride, VALID nothing.
    same = [k - s for k, s in zip(kernel, strides, strict=True)]
    off = same if min(same) >= 0 and draw.often(0.6) else [0, 0]
    padding = [off[0] // 2, off[1] // 2, off[0] - off[0] // 2, off[1] - off[1] // 2]
    if draw.often(0.1):
        padding = [int(n) for n in draw.random.integers(0, 2, 4)]
    several = outputs > 1 and draw.often(0.3)
    scale, w_scale = draw.scale(), draw.scale(outputs if several else 0)
    output_padding = draw.mostly([[0, 0]], [[1, 0]] if strides[0] > 1 else [[0, 0]])
    draw.note("padding of the output", any(output_padding))
    groups = 1
    acc = qnn.conv2d_transpose(
        x,
        draw.weights([channels, outputs, *kernel], "int8"),
        draw.zero(dtype),
        draw.zero("int8", often=0.7),
        scale,
        w_scale,
        kernel_size=kernel,
        channels=outputs,
        strides=strides,
        padding=padding,
        dilation=draw.mostly([[1, 1]], [[2, 2]]),
        output_padding=output_padding,
        groups=groups,
        data_layout="NHWC",
        kernel_layout="IOHW",
        out_dtype="int32",
    )
    body = biased(draw, acc, outputs, "int32", axis=3)
    return draw.requantized(body, product(scale, w_scale), dtype)


def lots_of_weights(draw: Draw) -> Any:
    """A convolution whose weights just fit its accumulator, or are one channel too many."""
    channels = draw.one([16384, 16385])
    x = draw.var([1, 2, 2, channels], "int8")
    w = relay.const(np.full([2, 2, channels, 2], -127, "int8"))
    scale, w_scale, zero = draw.scale(), draw.scale(), relay.const(np.int32(0))
    layouts = {"data_layout": "NHWC", "kernel_layout": "HWIO"}
    acc = qnn.conv2d(x, w, zero, zero, scale, w_scale, (2, 2), 2, **layouts)
    body = relay.nn.bias_add(acc, relay.const(np.zeros(2, "int32")), axis=3)
    return draw.requantized(body, product(scale, w_scale), "int8", axis=3)


def plain_conv2d(
    kernel: tuple[int, int], dilation: tuple[int, int], bias: Any, pad: Any = None
) -> Any:
    """An int8 convolution of two channels to two that any table takes, but for what is given."""
    draw = Draw(0)
    x = draw.var([1, 80, 80, 2], "int8")
    scale, w_scale, zero = draw.scale(), draw.scale(), relay.const(np.int32(0))
    acc = qnn.conv2d(
        x if pad is None else relay.nn.pad(x, pad, relay.const(0, "int8")),
        draw.weights([*kernel, 2, 2], "int8"),
        zero,
        zero,
        scale,
        w_scale,
        kernel,
        2,
        dilation=dilation,
        data_layout="NHWC",
        kernel_layout="HWIO",
        out_dtype=str(np.asarray(bias).dtype),
    )
    body = relay.nn.bias_add(acc, relay.const(bias), axis=3)
    return draw.requantized(body, product(scale, w_scale), "int8", axis=3)
