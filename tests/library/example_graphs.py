"""Graphs around the idioms of patterns/examples, and the tables of those who use these idioms, as
they write them: patterns by TVM's own language, checks that walk down from the root.

A trait of a graph is in what respect the two may differ; the tests want each to show.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import relay
from tvm.relay.dataflow_pattern import is_constant, is_op, wildcard

from tests.library.draw import Draw, number, product, qnn


def walked(root: Any, *names: str) -> dict[str, Any]:
    """The calls from the root down along the first operand that is a call, by operator."""
    found: dict[str, Any] = {}
    while isinstance(root, relay.Call):
        found.setdefault(root.op.name, root)
        inner = [each for each in root.args if isinstance(each, relay.Call)]
        root = inner[0] if inner else None
    return found


# ---- shift, clip and cast: DIANA, MATCH -----------------------------------------------------


def shift_requantized(draw: Draw) -> Any:
    """nn.conv2d, nn.dense or a sum of two, in int32, and back to 8 bits."""
    kind = draw.one(["conv2d", "conv2d", "dense", "add"])
    body = {"conv2d": _conv2d, "dense": _dense, "add": _sum}[kind](draw)
    shift = np.int32(draw.mostly([0, 1, 7, 30, 31], [-1, 32, 40]))
    body = relay.right_shift(body, relay.const(shift))
    dtype = draw.one(["int8", "uint8"])
    least, most = (0, 255) if dtype == "uint8" else (-128, 127)
    low, high = draw.mostly([(least, most), (0, 100)], [(least - 1, most), (least, most + 1)])
    draw.note("clips to more than the output holds", low < least or high > most)
    return relay.cast(relay.clip(body, low, high), dtype)


def _weights(draw: Draw, shape: list[int]) -> Any:
    high = draw.one([1, 2, 128])
    return relay.const(np.asarray(draw.random.integers(-high, min(high, 127), shape), "int8"))


def _conv2d(draw: Draw) -> Any:
    kernel = [draw.mostly([1, 3, 5], [2, 4]) for _ in "HW"]
    channels, outputs = draw.one([1, 2, 4]), draw.one([2, 4])
    groups = draw.mostly([1], [channels])
    outputs = outputs if groups == 1 else draw.mostly([channels], [2 * channels])
    same = [(k - 1) // 2 for k in kernel]
    padding = [*same, *same]
    if draw.often(0.2):
        padding[draw.one(range(4))] += 1
    x = draw.var([1, channels, 9, 8], draw.one(["int8", "uint8"]))
    acc = relay.nn.conv2d(
        x,
        _weights(draw, [outputs, channels // groups, *kernel]),
        strides=[draw.mostly([1, 2], [3])] * 2,
        padding=padding,
        dilation=[draw.mostly([1], [2])] * 2,
        groups=groups,
        channels=outputs,
        kernel_size=kernel,
        out_dtype="int32",
    )
    bias = np.asarray(draw.random.integers(-99, 99, outputs), "int32")
    way = draw.one(["none", "bias_add", "add"])
    if way == "bias_add":
        return relay.nn.bias_add(acc, relay.const(bias))
    if way == "none":
        return acc
    whole = draw.often(0.2)
    draw.note("no bias of the channels", whole)
    return relay.add(acc, relay.const(bias[0] if whole else bias.reshape(-1, 1, 1)))


def _dense(draw: Draw) -> Any:
    acc = relay.nn.dense(
        draw.var([3, 4], draw.one(["int8", "uint8"])), _weights(draw, [6, 4]), out_dtype="int32"
    )
    bias = relay.const(np.asarray(draw.random.integers(-99, 99, 6), "int32"))
    way = draw.one(["none", "bias_add", "add"])
    if way == "none":
        return acc
    return relay.nn.bias_add(acc, bias) if way == "bias_add" else relay.add(acc, bias)


def _sum(draw: Draw) -> Any:
    dtype = draw.one(["int8", "uint8"])
    second = draw.mostly([[2, 3]], [[3], [1, 3]])
    sides = [draw.var([2, 3], dtype), draw.var(second, draw.mostly([dtype], ["int16"]))]
    return relay.add(*(relay.cast(each, "int32") for each in sides))


def shift_table(analog: bool, digital: bool, output: str) -> list[Any]:
    """Rows by the array that they are for, as options turn it on."""

    def tail(acc: Any) -> Any:
        cut = is_op("clip")(is_op("right_shift")(acc, is_constant()))
        return is_op("cast")(cut).has_attr({"dtype": output})

    def layer(operator: str) -> list[Any]:
        acc = is_op(operator)(wildcard(), is_constant())
        biased = [is_op(each)(acc, is_constant()) for each in ("nn.bias_add", "add")]
        return [tail(each) for each in (*biased, acc)]

    def shifts(calls: dict[str, Any]) -> bool:
        return 0 <= int(number(calls["right_shift"].args[1])) <= 31

    def fits(most: int) -> Any:
        def check(root: Any) -> bool:
            calls = walked(root)
            acc = calls["nn.conv2d"] if "nn.conv2d" in calls else calls["nn.dense"]
            weights = number(acc.args[1]).astype("int64")
            return shifts(calls) and bool(np.abs(weights).max() <= most) and _same_size(acc)

        return check

    def sums(root: Any) -> bool:
        first, second = (each.args[0].checked_type for each in walked(root)["add"].args)
        alike = list(first.shape) == list(second.shape) and first.dtype == second.dtype
        return shifts(walked(root)) and alike and first.dtype in ("int8", "uint8")

    arrays = [("analog", 1)] * analog + [("digital", 128)] * digital
    rows = [
        (f"shifted.{array}.{operator.partition('.')[2]}", pattern, fits(most))
        for array, most in arrays
        for operator in ("nn.conv2d", "nn.dense")
        for pattern in layer(operator)
    ]
    widened = [is_op("cast")(wildcard()).has_attr({"dtype": "int32"}) for _ in range(2)]
    if digital:
        rows.append(("shifted.digital.add", tail(is_op("add")(*widened)), sums))
    return rows


def _same_size(acc: Any) -> bool:
    if acc.op.name == "nn.dense":
        return True
    attrs = acc.attrs
    height, width = (int(n) for n in attrs.kernel_size)
    top, left, bottom, right = (int(n) for n in attrs.padding)
    outputs = int(acc.args[1].checked_type.shape[0])
    return (
        (top, left) == (bottom, right)
        and (height - 2 * top, width - 2 * left) == (1, 1)
        and all(int(n) in (1, 2) for n in attrs.strides)
        and all(int(n) == 1 for n in attrs.dilation)
        and int(attrs.groups) in (1, outputs)
    )


# ---- layers of qnn operators: Marvell, Gemmini, VTA -------------------------------------------


def layer(
    draw: Draw, kind: str, layout: str = "NHWC", exact: bool = False, scale: Any = None
) -> tuple[Any, dict[str, Any]]:
    """An accumulator, and what was drawn for it. `exact`: all zero points are 0."""
    zero = relay.const(np.int32(0)) if exact else draw.zero("int8")
    w_zero = relay.const(np.int32(0 if exact else draw.mostly([0], [3])))
    draw.note("asymmetric weights", int(number(w_zero)) != 0)
    channels, outputs = draw.mostly([4], [3]), draw.mostly([8], [5])
    scales = scale or draw.scale(), draw.scale(0 if exact or draw.often(0.9) else outputs)
    draw.note("a scale for each channel", np.ndim(number(scales[1])) > 0)
    if kind == "dense":
        x = draw.var([draw.mostly([2], [3]), channels], "int8")
        w = draw.weights([outputs, channels], "int8")
        acc = qnn.dense(x, w, zero, w_zero, *scales, outputs, "int32")
        return acc, {"scales": scales, "channels": channels, "outputs": outputs, "zero": zero}
    shape = [draw.mostly([2], [3]), 6, 6, channels]
    x = draw.var(shape if layout == "NHWC" else [shape[0], channels, 6, 6], "int8")
    source = x
    if draw.often():
        source = _padded(draw, x, zero, layout)
    kernel = [3, 3]
    size = [*kernel, channels, outputs] if layout == "NHWC" else [outputs, channels, *kernel]
    acc = qnn.conv2d(
        source,
        draw.weights(size, "int8"),
        zero,
        w_zero,
        *scales,
        kernel,
        outputs,
        padding=[draw.one([0, 1])] * 2,
        data_layout=layout,
        kernel_layout="HWIO" if layout == "NHWC" else "OIHW",
        out_dtype="int32",
    )
    return acc, {"scales": scales, "channels": channels, "outputs": outputs, "zero": zero}


def _padded(draw: Draw, x: Any, zero: Any, layout: str) -> Any:
    other = draw.often(0.2)
    value = relay.const(np.int8(number(zero) // 2 + 1 if other else number(zero)))
    draw.note("pads by another value than the zero point", number(value) != number(zero))
    widths = [[1, 0], [0, 2]]
    around = [[[0, 0], *widths, [0, 0]], [[0, 0], [0, 0], *widths]][layout == "NCHW"]
    return relay.nn.pad(x, around, pad_value=value)


def looked_up(draw: Draw) -> Any:
    """A layer, and nothing, a least value or a table behind it."""
    kind = draw.one(["conv2d", "dense"])
    acc, drawn = layer(draw, kind)
    bias = np.asarray(draw.random.integers(-999, 999, drawn["outputs"]), "int32")
    axis = 3 if kind == "conv2d" else 1
    way = draw.one(["none", "bias_add", "add"])
    if way == "bias_add":
        acc = relay.nn.bias_add(acc, relay.const(bias), axis)
    if way == "add":
        whole = draw.often(0.2)
        draw.note("no bias of the channels", whole)
        acc = relay.add(acc, relay.const(bias[:1] if whole else bias))
    dtype = draw.one(["int8", "uint8"])
    body = draw.requantized(acc, product(*drawn["scales"]), dtype, axis=axis)
    tail = draw.one(["none", "maximum", "take", "take", "take"])
    if tail == "maximum":
        body = relay.maximum(body, draw.weights([], dtype))
    if tail == "take":
        bits = draw.often(0.7)
        draw.note("an index of int8", dtype == "int8" and not bits)
        body = relay.reinterpret(body, "uint8") if bits else body
        size = draw.mostly([256], [255])
        draw.note("no table of 256", size != 256)
        body = relay.take(draw.weights([size], draw.one(["int8", "uint8"])), body)
    return body


def lookup_table() -> list[Any]:
    """`[maximum(x, C)? | take(C, reinterpret(x)?)?]` behind a layer, longest first."""
    rows = []
    for kind in ("conv2d", "dense"):
        for tail in ("reinterpret", "take", "maximum", "none"):
            for bias in ("nn.bias_add", "add", ""):
                acc = is_op(f"qnn.{kind}")(wildcard(), *(is_constant() for _ in range(5)))
                acc = is_op(bias)(acc, is_constant()) if bias else acc
                body = is_op("qnn.requantize")(acc, *(is_constant() for _ in range(4)))
                if tail == "reinterpret":
                    body = is_op("take")(is_constant(), is_op("reinterpret")(body))
                elif tail == "take":
                    body = is_op("take")(is_constant(), body)
                elif tail == "maximum":
                    body = is_op("maximum")(body, is_constant())
                rows.append((f"lookup.{kind}", body, lambda root: True))
    return rows


def gemmini_conv2d(draw: Draw) -> Any:
    """A convolution with a bias; a pad, a ReLU6 and a pool, or not."""
    acc, drawn = layer(draw, "conv2d")
    bias = relay.const(np.asarray(draw.random.integers(-999, 999, drawn["outputs"]), "int32"))
    acc = relay.nn.bias_add(acc, bias, 3)
    body = draw.requantized(acc, product(*drawn["scales"]), "int8", axis=3)
    if draw.often():
        scale, zero = body.args[3:]
        six = relay.const(np.int8(draw.random.integers(-20, 127)))
        first = draw.often(0.2)
        draw.note("the upper limit stands first", first)
        cut = relay.minimum(six, body) if first else relay.minimum(body, six)
        low = draw.mostly([-128, -50], [126])
        draw.note("limits that exclude each other", low > int(number(six)))
        body = relay.clip(cut, low, 127)
        body = qnn.requantize(body, scale, zero, draw.scale(), draw.zero("int8"), 3, "None", "None")
    if draw.often():
        body = relay.nn.max_pool2d(body, (2, 2), (draw.one([1, 2]),) * 2, layout="NHWC")
    return body


def gemmini_table() -> list[Any]:
    """Eight rows of one name: pool, ReLU6 and pad, or not."""

    def row(pool: bool, relu6: bool, pad: bool) -> Any:
        body = is_op("nn.pad")(wildcard(), wildcard()) if pad else wildcard()
        acc = is_op("qnn.conv2d")(body, *(is_constant() for _ in range(5)))
        body = is_op("nn.bias_add")(acc, is_constant())
        body = is_op("qnn.requantize")(body, *(is_constant() for _ in range(4)))
        if relu6:
            body = is_op("clip")(is_op("minimum")(body, wildcard()))
            body = is_op("qnn.requantize")(body, *(is_constant() for _ in range(4)))
        return is_op("nn.max_pool2d")(body) if pool else body

    ways = [(pool, relu6, pad) for pool in (1, 0) for relu6 in (1, 0) for pad in (1, 0)]
    return [("gemmini.conv2d", row(*way), lambda root: True) for way in ways]


def vta_layer(draw: Draw) -> Any:
    """A layer whose requantize mostly divides by a power of two."""
    kind = draw.one(["conv2d", "dense"])
    axis = 1
    # Two scales as fine as this have a product near the absolute tolerance of NumPy's allclose.
    fine = relay.const(np.float32(2.0**-20)) if draw.often(0.1) else None
    acc, drawn = layer(draw, kind, "NCHW", draw.often(0.9), fine)
    if draw.often():
        bias = np.asarray(draw.random.integers(-999, 999, drawn["outputs"]), "int32")
        acc = relay.nn.bias_add(acc, relay.const(bias), axis)
    scale = product(*drawn["scales"])
    if draw.often(0.5 if fine else 0.1):
        scale = relay.const(np.asarray(number(scale) * np.float32(1.01), "float32"))
        draw.note("fine scales that are not the product", fine is not None)
    bits = draw.mostly([0, 1, 5, 12, 31], [-1, 33])
    wrong = np.float32(draw.mostly([1.0], [1.5, 1.001]))
    output = relay.const(np.asarray(number(scale).flat[0] * 2.0**bits * wrong, "float32"))
    zero = relay.const(np.int32(draw.mostly([0], [5])))
    body = qnn.requantize(
        acc, scale, relay.const(np.int32(0)), output, zero, axis=axis, out_dtype="int8"
    )
    return draw.clipped(body)


def vta_table() -> list[Any]:
    """Blocks of 4 channels, and two images at once."""

    def check(root: Any) -> bool:
        calls = walked(root)
        requantize = calls["qnn.requantize"]
        acc = calls["qnn.conv2d"] if "qnn.conv2d" in calls else calls["qnn.dense"]
        inside, zero, outside, out_zero = (number(each) for each in requantize.args[1:])
        in_zero, w_zero, scale, w_scale = (number(each) for each in acc.args[2:])
        bits = np.log2(np.float64(outside) / np.float64(inside))
        weights = [int(n) for n in acc.args[1].checked_type.shape]
        return bool(
            np.allclose(scale * w_scale, inside)
            and np.allclose(bits, np.round(bits), rtol=0, atol=1e-5)
            and np.all((np.round(bits) >= 0) & (np.round(bits) <= 31))
            and not np.any([zero, out_zero, in_zero, w_zero])
            and weights[0] % 4 == weights[1] % 4 == 0
            and int(root.checked_type.shape[0]) % 2 == 0
        )

    rows = []
    for kind in ("conv2d", "dense"):
        for clip in (True, False):
            for bias in (True, False):
                for pad in (True, False) if kind == "conv2d" else (False,):
                    body = is_op("nn.pad")(wildcard(), is_constant()) if pad else wildcard()
                    acc = is_op(f"qnn.{kind}")(body, *(is_constant() for _ in range(5)))
                    acc = is_op("nn.bias_add")(acc, is_constant()) if bias else acc
                    body = is_op("qnn.requantize")(acc, *(is_constant() for _ in range(4)))
                    body = is_op("clip")(body) if clip else body
                    rows.append((f"vta.{kind}", body, check))
    return rows
