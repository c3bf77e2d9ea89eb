"""Random operators without weights, as the tables take them: pools, pads, elementwise ones, floats
between a dequantize and a quantize, reductions, and what moves integers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from tvm import relay

from tests.library.draw import Draw, number, qnn

Body = Callable[[Draw], Any]


def dtype_of(draw: Draw, usual: str = "int8") -> str:
    return draw.mostly([usual], ["int8", "uint8", "int16", "int32"])


def shape(draw: Draw, ranks: tuple[int, ...] = (2, 3, 4)) -> list[int]:
    rank = draw.mostly(ranks, [1, 5])
    sides = [draw.mostly([1, 2, 3, 5], [65537]) for _ in range(rank)]
    if rank == 4:
        sides[0] = draw.mostly([1], [2])
    return sides


# ---- pools and pads ------------------------------------------------------------------------


def pool_of(draw: Draw, x: Any, average: bool) -> Any:
    sides = [int(each) for each in x.type_annotation.shape[1:3]]
    size = draw.mostly([[1, 1], [2, 2], [2, 3], sides], [[9, 2], [257, 2]])
    most = [max(1, each) for each in size]
    padding = [draw.mostly([0, 0, 1], [3, 4]) for _ in range(4)]
    padding = [min(each, most[at % 2] - 1) for at, each in enumerate(padding)]
    strides = draw.mostly([[1, 1], [2, 2], [3, 1], size], [[4, 1], [4, 4]])
    dilation = dilation_of(draw)
    settings = {"pool_size": size, "strides": strides, "padding": padding, "layout": "NHWC"}
    if average:
        counts = draw.often(0.1)
        draw.note("counts what is padded", counts and any(padding))
        return relay.nn.avg_pool2d(x, **settings, dilation=dilation, count_include_pad=counts)
    return relay.nn.max_pool2d(x, **settings, dilation=dilation)


def dilation_of(draw: Draw) -> list[int]:
    dilation = draw.mostly([[1, 1]], [[2, 1], [2, 2]])
    draw.note("a dilated pool", dilation != [1, 1])
    return dilation


def image(draw: Draw, dtype: str) -> Any:
    sides = draw.mostly([[8, 8], [4, 6], [9, 5]], [[260, 4]])
    return draw.var([draw.mostly([1], [2]), *sides, draw.one([1, 3])], dtype)


def max_pool2d(draw: Draw) -> Any:
    return draw.clipped(pool_of(draw, image(draw, dtype_of(draw)), average=False))


def avg_pool2d(draw: Draw) -> Any:
    dtype = draw.mostly(["int8", "uint8"], ["int16"])
    x = image(draw, dtype)
    wide = relay.cast(x, "int32")
    sides = [int(each) for each in x.type_annotation.shape[1:3]]
    size = draw.mostly([[1, 1], [2, 2], [2, 3], sides], [[9, 2]])
    padding = [draw.mostly([0, 0, 1], [3, 4]) for _ in range(4)]
    padding = [min(each, size[at % 2] - 1) for at, each in enumerate(padding)]
    strides = draw.mostly([[1, 1], [2, 2], size], [[4, 4]])
    counts = draw.often(0.1)
    draw.note("counts what is padded", counts and any(padding))
    settings = {"padding": padding, "dilation": dilation_of(draw), "count_include_pad": counts}
    pool = relay.nn.avg_pool2d(wide, size, strides, layout="NHWC", **settings)
    out = draw.mostly([dtype], ["int8", "int16"])
    draw.note("a result of another dtype", out != dtype)
    return draw.clipped(relay.cast(pool, out))


def global_avg_pool2d(draw: Draw) -> Any:
    dtype = draw.mostly(["int8", "uint8"], ["int16"])
    wide = relay.cast(image(draw, dtype), draw.mostly(["int32"], ["float32"]))
    layout = draw.mostly(["NHWC"], ["NCHW"])
    return relay.cast(relay.nn.global_avg_pool2d(wide, layout=layout), dtype)


def pad(draw: Draw) -> Any:
    dtype = draw.mostly(["int8", "uint8"], ["int16"])
    rank = draw.mostly([4], [2, 3])
    widths = [[0, 0] for _ in range(rank)]
    for at in draw.one([[1, 2], [3], [1], [0], [1, 3], []]) if rank == 4 else [0]:
        widths[at] = [draw.mostly([0, 1, 2], [31, 32, 33]), draw.mostly([0, 1], [32, 33])]
    info = np.iinfo(dtype)
    value = int(draw.random.integers(info.min, info.max, endpoint=True))
    x = draw.var([draw.mostly([1], [2]), *(draw.one([1, 4]) for _ in range(rank - 1))], dtype)
    return relay.nn.pad(x, widths, relay.const(value, dtype))


# ---- two operands --------------------------------------------------------------------------


def two(draw: Draw, dtype: str) -> tuple[Any, Any]:
    """Two operands that Relay broadcasts, of one rank or two."""
    first = shape(draw)
    if 65537 in first:
        return draw.var(first, dtype), draw.var(first, dtype)
    second = [each if draw.often(0.6) else 1 for each in first]
    first = [each if draw.often(0.9) else 1 for each in first]
    if draw.often(0.3):
        second = second[int(draw.random.integers(len(second))) :]
    if len(first) == 4 and first[0] != 1:
        first[0] = draw.mostly([1], [first[0]])
    both = (draw.var(first, dtype), draw.var(second, dtype))
    return both if draw.often() else both[::-1]


def quantized_binary(operator: str) -> Body:
    def body(draw: Draw) -> Any:
        dtype = draw.mostly(["int8", "uint8", "int16"], ["int32"])
        x, x2 = two(draw, dtype)
        if draw.often(0.1):
            x = relay.const(np.asarray(3, dtype))
            x2 = relay.const(np.asarray(4, dtype)) if draw.often(0.4) else x2
        sides = [shape_of(each) for each in (x, x2)]
        whole = np.broadcast_shapes(*sides)
        draw.note("operands of two shapes", any(each not in ((), whole) for each in sides))
        often = 0.7 if dtype == "int16" else 0.2
        slots = [each for _ in range(3) for each in (draw.scale(), draw.zero(dtype, often))]
        return draw.clipped(getattr(qnn, operator)(x, x2, *slots))

    return body


def shape_of(operand: Any) -> tuple[int, ...]:
    """Of a variable or a constant."""
    if isinstance(operand, relay.Constant):
        return tuple(number(operand).shape)
    return tuple(int(each) for each in operand.type_annotation.shape)


def number_of_int16(draw: Draw) -> Any:
    """A tensor and a number that is beyond int8."""
    c = relay.const(np.int16(draw.one([128, 300, -2000])))
    x, zero = draw.var([1, draw.one([2, 5])], "int16"), relay.const(np.int32(0))
    operator = draw.one([qnn.add, qnn.mul])
    return operator(c, x, draw.scale(), zero, draw.scale(), zero, draw.scale(), zero)


def with_constant(operator: str) -> Body:
    """A tensor and a constant: a number, or one for each channel; often what changes nothing."""

    def body(draw: Draw) -> Any:
        dtype = draw.mostly(["int8", "uint8"], ["int16"])
        sides = [draw.mostly([1], [2]), draw.one([1, 3]), draw.mostly([1, 4], [5])]
        count = draw.mostly([1, sides[-1]], [3])
        info = np.iinfo(dtype)
        value = draw.random.integers(info.min, info.max, max(count, 1), endpoint=True).astype(dtype)
        flat = [1] * draw.one([0, 1, 2]) + [count] if count > 1 else []
        c = relay.const(value.reshape(flat) if flat else value[0])
        x = draw.var(sides, dtype)
        scale, zero, c_scale, c_zero = (
            draw.scale(),
            draw.zero(dtype),
            draw.scale(),
            draw.zero(dtype),
        )
        out, out_zero = draw.scale(), draw.zero(dtype)
        real = float(number(c_scale)) * (int(value[0]) - int(number(c_zero)))
        if draw.often(0.5):  # what is a change of space and nothing else
            factor = abs(real) * float(number(scale)) or 1.0
            out, out_zero = relay.const(np.float32(factor)), zero
        if operator == "add" and draw.often(0.5):
            moved = round(int(number(zero)) - real / float(number(scale)))
            out, out_zero = scale, relay.const(np.int32(min(max(moved, info.min), info.max)))
        if operator == "mul":
            draw.note(
                "a product that moves the zero point", int(number(zero)) != int(number(out_zero))
            )
        else:
            apart = int(number(zero)) - real / float(number(scale)) - int(number(out_zero))
            same = bool(np.isclose(number(scale), number(out)))
            draw.note("a sum that changes the space", apart < -1 or not same)
            draw.note("a number beside one channel", not flat and sides[-1] == 1)
        slots = [scale, zero, c_scale, c_zero]
        pair = (x, c, *slots) if draw.often() else (c, x, *slots[2:], *slots[:2])
        return getattr(qnn, operator)(*pair, out, out_zero)

    return body


def product_that_moves(_: Draw) -> Any:
    """By the number 1, into a space with another zero point."""
    draw = Draw(0)
    one, zero = relay.const(np.float32(1)), relay.const(np.int32(0))
    half, five = relay.const(np.float32(0.5)), relay.const(np.int32(5))
    c = relay.const(np.int8(1))
    return qnn.mul(draw.var([1, 2, 4], "int8"), c, half, zero, one, zero, half, five)


def in_its_space(operator: str, scale: float, signed: int, unsigned: int) -> Body:
    """A function of a float, quantized to the space that an accelerator has for it, or another."""

    def body(draw: Draw) -> Any:
        dtype = draw.mostly(["int8", "uint8"], ["int16"])
        real = draw.dequantized(draw.var(shape(draw), dtype), dtype)
        zero = draw.mostly([signed if dtype == "int8" else unsigned], [1])
        slots = relay.const(np.float32(draw.mostly([scale], [1 / 64]))), relay.const(np.int32(zero))
        return qnn.quantize(getattr(relay, operator)(real), *slots, out_dtype=dtype)

    return body


def leaky_relu_of(draw: Draw, real: Any) -> Any:
    return relay.nn.leaky_relu(real, draw.mostly([0.25, 0.01], [1.0, 0.0, 1.5]))


def extreme(operator: str) -> Body:
    def body(draw: Draw) -> Any:
        dtype = draw.mostly(["int8", "uint8"], ["int16", "int32"])
        x, x2 = two(draw, dtype)
        plain = getattr(relay, operator)(x, x2)
        if draw.often(0.4):
            return draw.clipped(plain)
        scale = draw.scale()
        out = scale if draw.often(0.7) else draw.scale()
        kept = draw.mostly(["int8", "uint8"], ["int16"])
        zeros = draw.zero(dtype), draw.zero(kept)
        body = relay.clip(plain, -5, 90)
        return qnn.requantize(body, scale, zeros[0], out, zeros[1], out_dtype=kept)

    return body


def shl(draw: Draw) -> Any:
    x, x2 = two(draw, draw.mostly(["int32"], ["int8"]))
    # One behind a clip the table never takes, nor what stands before it then.
    return draw.clipped(relay.left_shift(x, x2), 0.15)


# ---- floats --------------------------------------------------------------------------------


def fake(operator: Callable[[Draw, Any], Any], ranks: tuple[int, ...] = (2, 3, 4)) -> Body:
    def body(draw: Draw) -> Any:
        dtype = dtype_of(draw)
        dtype = "int16" if dtype == "int32" else dtype
        x = draw.var(shape(draw, ranks), dtype)
        out = draw.mostly([dtype], ["int8", "uint8"])
        draw.note("int16", dtype == out == "int16")
        draw.note("a result of another dtype", out != dtype)
        return draw.quantized(operator(draw, draw.dequantized(x, dtype)), out)

    return body


def softmax_of(draw: Draw, real: Any) -> Any:
    axis = draw.mostly([-1], [0])
    draw.note("softmax over another axis", axis == 0)
    return relay.nn.softmax(real, axis=axis)


def softmax_in_its_space(draw: Draw) -> Any:
    dtype = draw.mostly(["int8"], ["int16", "uint8"])
    x = draw.var(shape(draw), dtype)
    scale, zero = {"int8": (1 / 256, -128), "int16": (1 / 32768, 0)}.get(dtype, (1 / 256, 0))
    scale = draw.mostly([scale], [1 / 128])
    zero = draw.mostly([zero], [1])
    axis = draw.mostly([-1, len(x.type_annotation.shape) - 1], [0])
    draw.note("softmax over another axis", axis == 0 and len(x.type_annotation.shape) > 1)
    real = relay.nn.softmax(draw.dequantized(x, dtype), axis=axis)
    slots = relay.const(np.float32(scale)), relay.const(np.int32(zero))
    return qnn.quantize(real, *slots, out_dtype=draw.mostly([dtype], ["int8"]))


def hard_swish_of(draw: Draw, real: Any) -> Any:
    three, six = draw.mostly([(3.0, 6.0)], [(3.0, 5.0), (2.0, 6.0)])
    draw.note("constants that are no hard swish", (three, six) != (3.0, 6.0))
    half = relay.clip(relay.add(real, relay.const(np.float32(three))), 0, 6)
    return relay.divide(relay.multiply(real, half), relay.const(np.float32(six)))


def resize2d(draw: Draw) -> Any:
    dtype = draw.mostly(["int8"], ["uint8"])
    sides = [draw.one([2, 3, 5]) for _ in "HW"]
    x = draw.var([draw.one([1, 2]), *sides, 3], dtype)
    linear = draw.often()
    mode = draw.mostly(["asymmetric", "align_corners", "half_pixel"], ["pytorch_half_pixel"])
    delta = 1 if mode == "align_corners" and linear else 0
    size = draw.mostly([[2 * each - delta for each in sides], sides], [[4, 7], [2 * sides[0], 3]])
    settings = {
        "layout": "NHWC",
        "method": "linear" if linear else draw.mostly(["nearest_neighbor"], ["cubic"]),
        "coordinate_transformation_mode": mode,
        "rounding_method": draw.mostly(
            ["round_prefer_ceil" if mode == "half_pixel" else ""], ["floor"]
        ),
        "roi": draw.mostly([None], [(0.0, 0.0, 1.0, 1.0)]),
    }
    if not linear:
        return relay.image.resize2d(x, size, **settings)
    scale, zero = draw.scale(), draw.zero(dtype)
    resized = relay.image.resize2d(qnn.dequantize(x, scale, zero), size, **settings)
    same = draw.often(0.8)
    draw.note("a resize that changes the space", not same)
    out = (scale, zero) if same else (draw.scale(), zero)
    return qnn.quantize(resized, *out, out_dtype=dtype)


# ---- reductions ----------------------------------------------------------------------------


def mean(draw: Draw) -> Any:
    dtype = draw.mostly(["int8", "uint8"], ["int16"])
    rank = draw.mostly([2, 3, 4], [5])
    sides = [draw.mostly([1, 3, 60], [65, 257, 300]) for _ in range(rank)]
    first = 1 if rank == 4 else 0
    usual = [[first], [first + 1], [first, first + 1]]
    axis = draw.mostly(usual, [[0], [rank - 1], [-1]])
    exclude = draw.often(0.15)
    removed = sorted({each % rank for each in axis})
    removed = [i for i in range(rank) if i not in removed] if exclude else removed
    draw.note("a negative axis", min(axis) < 0)
    side = sides[0] if rank < 4 else 0
    draw.note("width alone, limited like height", removed == [1] and rank < 4 and side > 64)
    kept = draw.mostly([dtype], ["int8", "uint8", "int16"])
    scale, zero = draw.scale(), draw.zero(dtype)
    same = draw.often() and kept == dtype
    out = (scale, zero) if same else (draw.scale(), draw.zero(kept))
    x = draw.var(sides, dtype)
    body = relay.mean(relay.cast(x, "int32"), axis=axis, keepdims=draw.often(), exclude=exclude)
    return qnn.requantize(body, scale, zero, *out, out_dtype=kept)


def mean_over_width(_: Draw) -> Any:
    """In three dimensions, of which the first, that is not reduced, is large."""
    draw = Draw(0)
    x = draw.var([300, 2, 4], "int8")
    scale, zero = draw.scale(), draw.zero("int8")
    body = relay.mean(relay.cast(x, "int32"), axis=[1])
    return qnn.requantize(body, scale, zero, scale, zero, out_dtype="int8")


def total(draw: Draw) -> Any:
    dtype = draw.mostly(["int8", "uint8", "int16", "int32"], ["int64"])
    rank = draw.mostly([3, 4], [2])
    axis = draw.mostly([[rank - 1]], [[0], [1], [-1]])
    draw.note("a negative axis", min(axis) < 0)
    x = draw.var([draw.one([1, 2, 4]) for _ in range(rank)], dtype)
    body = relay.sum(relay.cast(x, "int32"), axis=axis, keepdims=draw.often())
    return draw.clipped(draw.requantized(body, draw.scale(), draw.mostly(["int8"], ["uint8"])))


# ---- several tensors and movement ------------------------------------------------------------


def concatenate(draw: Draw) -> Any:
    dtype = draw.mostly(["int8"], ["uint8"])
    sides = shape(draw)
    xs = [draw.var(sides, dtype) for _ in range(draw.one([2, 3]))]
    rank = len(sides)
    axis = draw.mostly([int(draw.random.integers(rank))], [-1])
    if draw.often():
        return relay.concatenate(xs, axis=axis)
    scales = [draw.scale()] * len(xs) if draw.often(0.7) else [draw.scale() for _ in xs]
    zeros = [draw.zero(dtype)] * len(xs) if draw.often(0.8) else [draw.zero(dtype) for _ in xs]
    same = draw.often(0.7)
    out = (scales[0], zeros[0]) if same else (draw.scale(), draw.zero(dtype))
    equal = len({float(number(s)) for s in scales}) == 1 == len({int(number(z)) for z in zeros})
    draw.note("a concatenation that changes the space", equal and not same)
    return qnn.concatenate(relay.Tuple(xs), scales, zeros, *out, axis=axis)


def plain_concatenate(draw: Draw) -> Any:
    xs = [draw.var([1, 2, 3], draw.mostly(["int8"], ["int16", "uint8"])) for _ in range(2)]
    kind = xs[0].type_annotation.dtype
    xs[1] = draw.var([1, 2, 3], kind)
    return relay.concatenate(xs, axis=draw.one([-1, 0, 2]))


def split(draw: Draw) -> Any:
    x = draw.var([1, 6, draw.mostly([4], [65540])], draw.mostly(["int8"], ["uint8"]))
    sections = draw.one([2, 3, (1, 4)])
    return relay.split(x, sections, axis=1).astuple()


def split_from_behind(draw: Draw) -> Any:
    sections = draw.one([2, 3, (1, 4)])
    return relay.split(draw.var([1, 2, 6], "int8"), sections, axis=-1).astuple()


def requantize(draw: Draw) -> Any:
    dtype = draw.mostly(["int8"], ["uint8", "int32"])
    x = draw.var(shape(draw), dtype)
    out = draw.mostly(["int8"], ["int16"])
    slots = draw.scale(), draw.zero(dtype), draw.scale(), draw.zero(out)
    return qnn.requantize(x, *slots, out_dtype=out)


def moved(operator: Callable[[Draw, Any], Any]) -> Body:
    def body(draw: Draw) -> Any:
        return operator(draw, draw.var(shape(draw), draw.mostly(["int8"], ["uint8", "int16"])))

    return body


def sliced(draw: Draw, x: Any) -> Any:
    rank = len(x.type_annotation.shape)
    strides = [draw.mostly([1], [2]) for _ in range(rank)] if draw.often() else None
    return relay.strided_slice(x, [0] * rank, [1] * rank, strides)
