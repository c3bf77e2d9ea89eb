"""What TVM's code generator for CMSIS-NN hands to each of its functions.

After relay_to_tir.cc, generate_constants.cc, fuse_pads.cc, scalar_to_tensor_constant.cc,
compute_luts.cc and buffer_size.cc in src/relay/backend/contrib/cmsisnn of TVM 0.16. What a
processor can do is asked of TVM's target, that of the `with` block around.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tvm

from tests.library import operators
from tests.library.draw import number
from tests.library.parameters import (
    Difference,
    Fields,
    Oracle,
    dtype,
    first,
    fixed_point,
    ints,
    is_call_of,
    shape,
)


def without_clip(root: Any) -> Any:
    return root.args[0] if root.op.name == "clip" else root


def activation(root: Any) -> tuple[int, int]:
    """What a clip leaves beyond the dtype limits nothing."""
    info = np.iinfo(dtype(root))
    if root.op.name != "clip":
        return info.min, info.max
    return max(info.min, int(root.attrs.a_min)), min(info.max, int(root.attrs.a_max))


def features() -> tuple[bool, bool]:
    """Whether the processor has the instructions for signals (DSP) and for vectors (MVE)."""
    found = tvm.target.Target.current(allow_none=True)
    if found is None:
        return False, False
    return bool(found.features.has_dsp), bool(found.features.has_mve)


# ---- convolutions and fully connected layers ---------------------------------------------------


def layer(root: Any) -> tuple[Any, Any, Any]:
    """The requantize, the call that multiplies, and the bias."""
    requantize = without_clip(root)
    call = requantize.args[0]
    if call.op.name != "nn.bias_add":
        return requantize, call, None
    return requantize, call.args[0], number(call.args[1])


def conv2d(root: Any) -> Fields:
    requantize, call, bias = layer(root)
    attrs, layout, kernel = call.attrs, str(call.attrs.kernel_layout), number(call.args[1])
    x, padding = call.args[0], ints(attrs.padding)
    if is_call_of(x, "nn.pad"):
        _, (top, bottom), (left, right), _ = (ints(each) for each in x.attrs.pad_width)
        padding = tuple(int(n) for n in np.add(padding, (top, left, bottom, right)))
        x = x.args[0]
    outputs = int(attrs.channels)
    of = {letter: kernel.shape[layout.index(letter)] for letter in "HWIO"}
    multiplier = -1
    filters = kernel.transpose([layout.index(letter) for letter in "OHWI"])
    filter_shape = filters.shape
    if of["O"] * of["I"] == outputs:
        multiplier = of["O"] if shape(x)[3] == 1 else of["I"]
        filters, filter_shape = kernel, (1, of["H"], of["W"], outputs)
    in_scale, out_scale = float(first(call.args[4])), float(first(requantize.args[3]))
    scales = number(call.args[5]).reshape(-1).astype("float64")
    pairs = [fixed_point(in_scale * float(each) / out_scale) for each in scales]
    return {
        "input_offset": -int(first(call.args[2])),
        "output_offset": int(first(requantize.args[4])),
        "stride": ints(attrs.strides),
        "padding": padding,
        "dilation": ints(attrs.dilation),
        "activation": activation(root),
        "depth_multiplier": multiplier,
        "multiplier": [each[0] for each in pairs],
        "shift": [each[1] for each in pairs],
        "filter": filters.reshape(-1),
        "bias": [] if bias is None else bias,
        "input_shape": shape(x),
        "filter_shape": filter_shape,
        "bias_shape": (1, 1, 1, outputs),
        "output_shape": shape(call),
        "context_buffer_size": context_buffer_size(call, x, multiplier, padding),
    }


def context_buffer_size(call: Any, x: Any, multiplier: int, padding: tuple[int, ...]) -> int:
    dsp, mve = features()
    (images, rows, _, channels), (_, out_rows, out_columns, outputs) = shape(x), shape(call)
    height, width = (int(n) for n in call.attrs.kernel_size)
    dilated = ints(call.attrs.dilation) != (1, 1)
    area, is_int16 = height * width, dtype(x) == "int16"
    if multiplier != -1 and is_int16:
        if multiplier == 1 and not dilated and area * channels < 512 and dsp:
            return 4 * channels * area * 2 + 8 if mve else channels * area * 2
        return 0
    if multiplier != -1:
        if channels == outputs and images == 1 and not dilated:
            return 4 * 124 * area if mve else channels * area * 2 if dsp else 0
        return 0
    if is_int16:
        small = area * channels < 512 and not dilated
        return 2 * channels * area * 2 if dsp and not mve and small else 0
    strides = ints(call.attrs.strides)
    unit = strides == (1, 1) and (height, width) == (1, 1) and not dilated
    if unit and padding[:2] == (0, 0) and channels % 4 == 0:
        return 0
    one_row = out_rows == rows == height == images == 1
    if one_row and out_columns % 4 == 0 and not dilated:
        return 0 if mve else 2 * channels * area * 2
    return 4 * ((channels * area + 7) // 8) * 8 if mve else 2 * channels * area * 2


def conv2d_of(r: Any) -> Fields:
    kernel = np.asarray(r.weights)
    is_depthwise = r.depth_multiplier != -1
    height, width = kernel.shape[:2] if is_depthwise else kernel.shape[1:3]
    outputs = r.y.shape[3]
    return {
        "input_offset": r.input_offset,
        "output_offset": r.output_offset,
        "stride": r.strides,
        "padding": r.padding,
        "dilation": r.dilation,
        "activation": r.activation,
        "depth_multiplier": r.depth_multiplier,
        "multiplier": np.atleast_1d(r.multiplier),
        "shift": np.atleast_1d(r.shift),
        "filter": kernel.reshape(-1),
        "bias": [] if r.bias is None else r.bias.value,
        "input_shape": r.x.shape,
        "filter_shape": (1, height, width, outputs) if is_depthwise else kernel.shape,
        "bias_shape": (1, 1, 1, outputs),
        "output_shape": r.y.shape,
        "context_buffer_size": r.work_space,
    }


def fully_connected(root: Any) -> Fields:
    requantize, call, bias = layer(root)
    pair = fixed_point(float(number(requantize.args[1])) / float(number(requantize.args[3])))
    (batch, depth), outputs = shape(call.args[0]), int(call.attrs.units or shape(call)[1])
    return {
        "input_offset": -int(number(call.args[2])),
        "filter_offset": -int(first(call.args[3])),
        "output_offset": int(number(requantize.args[4])),
        "activation": activation(root),
        "multiplier": pair[0],
        "shift": pair[1],
        "filter": number(call.args[1]),
        "bias": [] if bias is None else bias,
        "input_shape": (batch, 1, 1, depth),
        "filter_shape": (depth, 1, 1, outputs),
        "bias_shape": (1, 1, 1, outputs),
        "output_shape": (batch, 1, 1, outputs),
    }


def fully_connected_of(r: Any) -> Fields:
    outputs = r.w.shape[0]
    return {
        "input_offset": r.input_offset,
        "filter_offset": r.filter_offset,
        "output_offset": r.output_offset,
        "activation": r.activation,
        "multiplier": r.multiplier,
        "shift": r.shift,
        "filter": r.w.value,
        "bias": [] if r.bias is None else r.bias.value,
        "input_shape": (r.x.shape[0], 1, 1, r.x.shape[1]),
        "filter_shape": (r.w.shape[1], 1, 1, outputs),
        "bias_shape": (1, 1, 1, outputs),
        "output_shape": (r.y.shape[0], 1, 1, r.y.shape[1]),
    }


# ---- pools, elementwise operators, softmax -----------------------------------------------------


def pool2d(root: Any) -> Fields:
    call = without_clip(root)
    call = call.args[0] if call.op.name == "cast" else call
    dsp, mve = features()
    channels = shape(call.args[0])[3]
    found = {
        "stride": ints(call.attrs.strides),
        "padding": ints(call.attrs.padding),
        "activation": activation(root),
        "input_shape": (1, *shape(call.args[0])[1:]),
        "filter_shape": (1, *ints(call.attrs.pool_size), 1),
        "output_shape": (1, *shape(call)[1:]),
    }
    if call.op.name == "nn.avg_pool2d":
        found["context_buffer_size"] = 4 * channels if dsp and not mve else 0
    return found


def pool2d_of(r: Any) -> Fields:
    found = {
        "stride": r.strides,
        "padding": r.padding,
        "activation": r.activation,
        "input_shape": r.x.shape,
        "filter_shape": (1, *r.pool_size, 1),
        "output_shape": r.y.shape,
    }
    return {**found, "context_buffer_size": r.work_space} if r.pattern == "avg_pool2d" else found


def binary(root: Any) -> Fields:
    call = without_clip(root)
    scales = [float(number(call.args[at])) for at in (2, 4, 6)]
    zeros = [int(number(call.args[at])) for at in (3, 5, 7)]
    found: dict[str, Any] = {
        "offsets": (-zeros[0], -zeros[1], zeros[2]),
        "activation": activation(root),
        "tensor_size": int(np.prod(shape(call))),
        "one_buffer": call.args[0].same_as(call.args[1]),
        "inputs": [filled(call, at, np.int8) for at in (0, 1)],
    }
    if call.op.name == "qnn.mul":
        multiplier, shift = fixed_point(scales[0] * scales[1] / scales[2])
        return {**found, "multiplier": multiplier, "shift": shift}
    left_shift = 15 if dtype(call) == "int16" else 20
    twice = 2 * max(scales[:2])
    reals = (scales[0] / twice, scales[1] / twice, twice / ((1 << left_shift) * scales[2]))
    return {**found, "left_shift": left_shift, "pairs": [fixed_point(each) for each in reals]}


def filled(call: Any, at: int, kind: Any) -> Any:
    """A constant operand; a number fills a tensor in the other's shape."""
    if not isinstance(call.args[at], tvm.relay.Constant):
        return []
    value = number(call.args[at])
    if value.ndim:
        return value.tolist()
    return np.full(shape(call.args[1 - at]), value.astype(kind)).tolist()


def binary_of(r: Any) -> Fields:
    found: dict[str, Any] = {
        "offsets": (r.x_offset, r.x2_offset, r.y_offset),
        "activation": r.activation,
        "tensor_size": int(np.prod(r.y.shape)),
        "one_buffer": r.x.input is not None and r.x.input == r.x2.input,
        "inputs": [
            [] if each.value is None else np.broadcast_to(each.value, r.y.shape).tolist()
            for each in (r.x, r.x2)
        ],
    }
    if r.pattern == "mul":
        return {**found, "multiplier": r.multiplier, "shift": r.shift}
    pairs = (r.x_multiplier, r.x_shift), (r.x2_multiplier, r.x2_shift), (r.y_multiplier, r.y_shift)
    return {**found, "left_shift": r.left_shift, "pairs": pairs}


def softmax(root: Any) -> Fields:
    scale = float(number(root.args[0].args[0].args[1]))
    found: dict[str, Any] = {
        "num_rows": int(np.prod(shape(root)[:-1])),
        "row_size": shape(root)[-1],
    }
    if dtype(root) == "int16":
        pair = fixed_point(scale / (10.0 / 65535.0))
        step = np.float32(1) / np.float32(65535)
        exp = lut(32767, np.float32(10) / np.float32(65535), exp_of)
        over = lut(-32768, step, lambda key: np.float32(1) / (np.float32(1) + key))
        return {**found, "multiplier": pair[0], "shift": pair[1], "tables": [exp, over]}
    pair = fixed_point(min(scale * (1 << 26), (1 << 31) - 1.0))
    below = {"diff_min": -((31 << 26) >> pair[1])}
    return {**found, "multiplier": pair[0], "shift": pair[1], **below}


def lut(zero: int, scale: Any, function: Callable[[Any], Any]) -> Any:
    """CalculateLUTInt16, in float32 as there; the values have the scale 2 / 65535, zero point 0."""
    number_of = np.float32
    key_min, key_max = (scale * number_of(end - zero) for end in (-32768, 32767))
    least, most = (number_of(2) / number_of(65535) * number_of(end) for end in (-32768, 32767))
    step = (key_max - key_min) / number_of(512)
    inverse = number_of(65536) / (most - least)
    keys = key_min + np.arange(513).astype("float32") * step
    values = rounded(function(keys) * inverse)
    middle = rounded(function(keys[:-1] + step / number_of(2)) * inverse)
    value, following = values[:-1], values[1:]
    missed = rounded((value + following) / number_of(2)) - middle
    last = function(most) * inverse
    entries = [*np.clip(value - rounded(missed / number_of(2)), -32768, 32767), min(last, 32767)]
    return [int(each) for each in entries]


def exp_of(keys: Any) -> Any:
    """std::exp of float, which is right to the last bit but for a few in a million."""
    return np.exp(np.asarray(keys, "float64")).astype("float32")


def rounded(values: Any) -> Any:
    """std::round: halves away from zero."""
    return np.copysign(np.floor(np.abs(values) + np.float32(0.5)), values)


def softmax_of(r: Any) -> Fields:
    found: dict[str, Any] = {
        "num_rows": int(np.prod(r.y.shape[:-1])),
        "row_size": r.y.shape[-1],
        "multiplier": r.multiplier,
        "shift": r.shift,
    }
    if r.y.dtype == "int16":
        return {**found, "tables": [each.tolist() for each in r.tables]}
    return {**found, "diff_min": r.diff_min}


# ---- in what it errs ---------------------------------------------------------------------------


def has_int16_scalar(root: Any) -> bool:
    call = without_clip(root)
    return is_call_of(call, "qnn.add", "qnn.mul") and any(
        isinstance(each, tvm.relay.Constant) and not shape(each) and dtype(each) == "int16"
        for each in list(call.args)[:2]
    )


def int16_filled(root: Any) -> Fields:
    call = without_clip(root)
    return {"inputs": [filled(call, at, np.int16) for at in (0, 1)]}


DIFFERENCES: Mapping[str, Difference] = {
    "a number of int16 beside a tensor": Difference(
        has_int16_scalar, int16_filled, operators.number_of_int16
    ),
}

ORACLE = Oracle(
    {
        f"cmsis-nn.qnn_{name}": each
        for name, each in {
            "conv2d": (conv2d, conv2d_of),
            "fully_connected": (fully_connected, fully_connected_of),
            "avg_pool2d": (pool2d, pool2d_of),
            "max_pool2d": (pool2d, pool2d_of),
            "mul": (binary, binary_of),
            "add": (binary, binary_of),
            "softmax": (softmax, softmax_of),
        }.items()
    },
    DIFFERENCES,
)
