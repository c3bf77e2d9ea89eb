"""What TVM's code generator for Ethos-N hands to Arm's support library.

After src/relay/backend/contrib/ethosn/ethosn_api.cc of TVM 0.16; and convert_equivalent.cc for the
composites that it replaces by others first. Where an operator says no scale and no zero point
itself, they come from outside, and are not compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import tvm
from tvm import relay

from tests.library import convolutions, operators
from tests.library.draw import number
from tests.library.ethos_n import operands
from tests.library.parameters import (
    Difference,
    Fields,
    Oracle,
    StopsError,
    dtype,
    first,
    fixed_point,
    ints,
    is_call_of,
    shape,
)

float32 = np.float32


class Info(NamedTuple):
    """A TensorInfo: four dimensions; `axis` where there are several scales. Scale and zero point
    are None where they come from outside."""

    dimensions: tuple[int, ...]
    data_type: str
    scale: Any = None
    zero_point: int | None = None
    axis: int | None = None
    data_format: str = "NHWC"


def four(sides: Any) -> tuple[int, ...]:
    return (*ints(sides), 1, 1, 1)[: max(4, len(sides))]


def info(expr: Any, scale: Any = None, zero_point: Any = None) -> Info:
    """Of a tensor whose parameters are these constants."""
    if scale is None:
        return Info(four(shape(expr)), dtype(expr))
    return Info(four(shape(expr)), dtype(expr), float(first(scale)), int(first(zero_point)))


def info_of(tensor: Any, is_inherited: bool = False) -> Info:
    if is_inherited:
        return Info(four(tensor.shape), tensor.dtype)
    scales, axis = scales_of(tensor.scale), tensor.axis
    zero = zero_of(tensor.zero_point)
    return Info(four(tensor.shape), tensor.dtype, scales, zero, at_axis(scales, axis))


def scales_of(values: Any) -> Any:
    flat = np.asarray(values, "float32").reshape(-1).tolist()
    return flat[0] if len(flat) == 1 else tuple(flat)


def zero_of(values: Any) -> Any:
    """The zero point of all; where they are not the same, each."""
    found = {*np.asarray(values).reshape(-1).tolist()}
    return found.pop() if len(found) == 1 else tuple(np.asarray(values).tolist())


def at_axis(scales: Any, axis: int | None) -> int | None:
    return axis if isinstance(scales, tuple) else None


def reduced(pads: Any) -> tuple[int, ...]:
    """Top, left, bottom, right to top, bottom, left, right."""
    top, left, bottom, right = ints(pads)
    return top, bottom, left, right


# ---- convolutions ------------------------------------------------------------------------------


def conv2d(root: Any) -> Fields:
    bias_add = root.args[0]
    conv = bias_add.args[0]
    attrs, w = conv.attrs, conv.args[1]
    x, padding = conv.args[0], reduced(attrs.padding)
    if is_call_of(x, "nn.pad"):
        _, (top, bottom), (left, right), _ = (ints(each) for each in x.attrs.pad_width)
        x, padding = x.args[0], (top, bottom, left, right)
    depthwise = int(attrs.channels) == attrs.groups != 1
    scales = scales_of(number(conv.args[5]))
    axis = at_axis(scales, str(attrs.kernel_layout).index("O"))
    outputs = shape(w)[2 if depthwise else 3]
    return {
        "input_info": info(x, conv.args[4], conv.args[2]),
        "weights_info": weights_info(w, scales, conv.args[3], axis, depthwise),
        "raw_weights": number(w),
        "bias_info": bias_info(outputs, number(conv.args[4]), number(conv.args[5])),
        "raw_bias": number(bias_add.args[1]),
        "padding": padding,
        "stride": ints(attrs.strides)[::-1],
        "is_depthwise": depthwise,
        "output_info": info(root, root.args[3], root.args[4]),
    }


def weights_info(w: Any, scales: Any, zero: Any, axis: int | None, depthwise: bool) -> Info:
    kind = "HWIM" if depthwise else "HWIO"
    return Info(shape(w), dtype(w), scales, int(first(zero)), axis, kind)


def bias_info(outputs: int, scale: Any, w_scale: Any) -> Info:
    scales = scales_of(scale * w_scale)
    return Info((1, 1, 1, outputs), "int32", scales, 0, at_axis(scales, 3))


def conv2d_of(r: Any) -> Fields:
    depthwise = getattr(r, "depthwise", False)
    kernel = np.asarray(r.weights)
    scales = scales_of(r.w.scale)
    kind = "HWIM" if depthwise else "HWIO"
    axis = at_axis(scales, kind.index("I" if depthwise else "O"))
    outputs = kernel.shape[2 if depthwise else 3]
    bias_scales = scales_of(r.bias_scale)
    bias = r.biases if r.pattern == "conv2d_transpose" else r.bias.value
    found = {
        "input_info": info_of(r.x),
        "weights_info": Info(kernel.shape, r.w.dtype, scales, zero_of(r.w.zero_point), axis, kind),
        "raw_weights": kernel,
        "bias_info": Info((1, 1, 1, outputs), "int32", bias_scales, 0, at_axis(bias_scales, 3)),
        "raw_bias": bias,
        "padding": reduced(r.padding),
        "stride": r.strides[::-1],
        "output_info": info_of(r.y),
    }
    return found if r.pattern == "conv2d_transpose" else {**found, "is_depthwise": depthwise}


def conv2d_transpose(root: Any) -> Fields:
    conv = root.args[0]
    bias = None
    if conv.op.name == "nn.bias_add":
        conv, bias = conv.args[0], number(conv.args[1])
    layout, outputs = str(conv.attrs.kernel_layout), int(conv.attrs.channels)
    kernel = number(conv.args[1]).transpose([layout.index(each) for each in "HWIO"])
    scales = scales_of(number(conv.args[5]))
    axis = at_axis(scales, layout.index("O"))
    return {
        "input_info": info(conv.args[0], conv.args[4], conv.args[2]),
        "weights_info": Info(
            kernel.shape, dtype(conv.args[1]), scales, int(first(conv.args[3])), axis, "HWIO"
        ),
        "raw_weights": kernel,
        "bias_info": bias_info(outputs, number(conv.args[4]), number(conv.args[5])),
        "raw_bias": np.zeros(outputs, "int32") if bias is None else bias,
        "padding": reduced(conv.attrs.padding),
        "stride": ints(conv.attrs.strides)[::-1],
        "output_info": info(root, root.args[3], root.args[4]),
    }


def fully_connected(root: Any) -> Fields:
    bias_add = root.args[0]
    dense = bias_add.args[0]
    kernel = number(dense.args[1]).T
    (batch, depth), (_, outputs) = shape(dense.args[0]), kernel.shape
    scale, w_scale = first(dense.args[4]), first(dense.args[5])
    return {
        "input_info": Info(
            (batch, 1, 1, depth), dtype(dense.args[0]), float(scale), int(first(dense.args[2]))
        ),
        "weights_info": Info(
            (1, 1, *kernel.shape),
            dtype(dense.args[1]),
            float(w_scale),
            int(first(dense.args[3])),
            None,
            "HWIO",
        ),
        "raw_weights": kernel,
        "bias_info": bias_info(outputs, scale, w_scale),
        "raw_bias": number(bias_add.args[1]),
        "output_info": info(root, root.args[3], root.args[4])._replace(
            dimensions=(batch, 1, 1, outputs)
        ),
    }


def fully_connected_of(r: Any) -> Fields:
    kernel = np.asarray(r.weights)
    (batch, depth), (_, outputs) = r.x.shape, kernel.shape
    bias_scales, scales = scales_of(r.bias_scale), scales_of(r.w.scale)
    return {
        "input_info": info_of(r.x)._replace(dimensions=(batch, 1, 1, depth)),
        "weights_info": Info(
            (1, 1, *kernel.shape),
            r.w.dtype,
            scales,
            zero_of(r.w.zero_point),
            at_axis(scales, 3),
            "HWIO",
        ),
        "raw_weights": kernel,
        "bias_info": Info((1, 1, 1, outputs), "int32", bias_scales, 0, at_axis(bias_scales, 3)),
        "raw_bias": r.bias.value,
        "output_info": info_of(r.y)._replace(dimensions=(batch, 1, 1, r.y.shape[1])),
    }


# ---- what convert_equivalent.cc makes of a constant operand --------------------------------------


def reinterpreted(root: Any) -> Fields:
    x, _, (scale, zero, _, _, out, out_zero) = operands(root)
    return {
        "input_info": Info(four(shape(x)), dtype(x), float(scale), int(zero)),
        "output_info": Info(four(shape(root)), dtype(root), float(out), int(out_zero)),
    }


def two_infos_of(r: Any) -> Fields:
    return {"input_info": info_of(r.x), "output_info": info_of(r.y)}


def depthwise(root: Any, kernel: Any, k_scale: Any, k_zero: int, bias: Any) -> Fields:
    x, c, (scale, zero, _, _, out, out_zero) = operands(root)
    channels = shape(root)[-1]
    kind = "HWIM" if channels != 1 else "HWIO"
    return {
        "input_info": Info(four(shape(x)), dtype(x), float(scale), int(zero)),
        "weights_info": Info((1, 1, channels, 1), dtype(c), float(k_scale), k_zero, None, kind),
        "raw_weights": kernel.reshape(1, 1, channels, 1),
        "bias_info": bias_info(channels, float32(scale), float32(k_scale)),
        "raw_bias": bias,
        "padding": (0, 0, 0, 0),
        "stride": (1, 1),
        "is_depthwise": channels != 1,
        "output_info": Info(four(shape(root)), dtype(root), float(out), int(out_zero)),
    }


def factors(root: Any) -> Fields:
    _, c, (_, _, c_scale, c_zero, _, _) = operands(root)
    channels = shape(root)[-1]
    return depthwise(root, number(c), c_scale, int(c_zero), np.zeros(channels, "int32"))


def summands(root: Any) -> Fields:
    if not shape(operands(root)[1]):
        raise StopsError("a requantize of a number has no axis")
    return summands_of_channels(root)


def summands_of_channels(root: Any) -> Fields:
    _, c, (scale, _, c_scale, c_zero, out, _) = operands(root)
    upper, lower = min(float32(out / scale), float32(1)), float32(1) / float32(255)
    target = float32((upper + lower) / float32(2))
    whole = np.floor(float32(1) / target + float32(0.5))
    k_scale = float32(1) / whole
    channels = shape(root)[-1]
    kernel = np.full(channels, np.uint8(whole)).view(dtype(c))
    multiplier, exponent = fixed_point(float(c_scale) / float(float32(scale) * k_scale))
    bias = [moved_by(int(n) - int(c_zero), multiplier, exponent) for n in number(c).reshape(-1)]
    return depthwise(root, kernel, k_scale, 0, np.array(bias))


def moved_by(value: int, multiplier: int, exponent: int) -> int:
    """What a requantize does: fixed_point_multiply, a half rounded up."""
    right = 31 - min(exponent, 0)
    return ((value << max(exponent, 0)) * multiplier + (1 << right - 1)) >> right


def depthwise_of(r: Any) -> Fields:
    channels = r.y.shape[-1]
    is_mul = r.pattern == "mul_to_depthwise"
    kernel = np.asarray(r.kernel)
    k_scale, k_zero = (r.c.scale, int(r.c.zero_point)) if is_mul else (r.kernel_scale, 0)
    kind = "HWIM" if channels != 1 else "HWIO"
    return {
        "input_info": info_of(r.x),
        "weights_info": Info(kernel.shape, r.c.dtype, float(k_scale), k_zero, None, kind),
        "raw_weights": kernel,
        "bias_info": Info((1, 1, 1, channels), "int32", float(r.bias_scale), 0),
        "raw_bias": r.bias,
        "padding": (0, 0, 0, 0),
        "stride": (1, 1),
        "is_depthwise": channels != 1,
        "output_info": info_of(r.y),
    }


# ---- the others ----------------------------------------------------------------------------------


def addition(root: Any) -> Fields:
    args = root.args
    return {
        "lhs_info": info(args[0], args[2], args[3]),
        "rhs_info": info(args[1], args[4], args[5]),
        "output_info": info(root, args[6], args[7]),
    }


def addition_of(r: Any) -> Fields:
    return {"lhs_info": info_of(r.x), "rhs_info": info_of(r.x2), "output_info": info_of(r.y)}


def requantize(root: Any) -> Fields:
    args = root.args
    return {
        "input_info": info(args[0], args[1], args[2]),
        "output_info": info(root, args[3], args[4]),
    }


def mean(root: Any) -> Fields:
    x = root.args[0].args[0].args[0]
    return {
        "input_info": info(x, root.args[1], root.args[2]),
        "output_info": info(root, root.args[3], root.args[4]),
    }


def of_float(root: Any) -> Fields:
    """sigmoid, tanh, leaky_relu."""
    call = root.args[0]
    dequantize = call.args[0]
    found: dict[str, Any] = {
        "input_info": info(dequantize.args[0], dequantize.args[1], dequantize.args[2]),
        "output_info": info(root, root.args[1], root.args[2]),
    }
    if call.op.name == "nn.leaky_relu":
        found["alpha"] = float(call.attrs.alpha)
    return found


def leaky_relu_of(r: Any) -> Fields:
    return {**two_infos_of(r), "alpha": r.alpha}


def pool2d(root: Any) -> Fields:
    pool = root.args[0] if root.op.name == "cast" else root
    x = pool.args[0].args[0] if root.op.name == "cast" else pool.args[0]
    size_x, size_y = ints(pool.attrs.pool_size)
    return {
        "input_info": info(x),
        "output_info": info(root),
        "padding": reduced(pool.attrs.padding),
        "stride": ints(pool.attrs.strides)[::-1],
        "size_x": size_x,
        "size_y": size_y,
    }


def pool2d_of(r: Any) -> Fields:
    return {
        **moved_of(r),
        "padding": reduced(r.padding),
        "stride": r.strides[::-1],
        "size_x": r.pool_size[1],
        "size_y": r.pool_size[0],
    }


def moved(root: Any) -> Fields:
    return {"input_info": info(root.args[0]), "output_info": info(root)}


def moved_of(r: Any) -> Fields:
    return {"input_info": info_of(r.x, True), "output_info": info_of(r.y, True)}


def resize(root: Any) -> Fields:
    height, width = ints(root.attrs.size)
    return {**moved(root), "height": height, "width": width}


def resize_of(r: Any) -> Fields:
    return {**moved_of(r), "height": r.size[0], "width": r.size[1]}


def relu(root: Any) -> Fields:
    limits = np.iinfo(dtype(root))
    bounds = max(limits.min, int(root.attrs.a_min)), min(limits.max, int(root.attrs.a_max))
    return {**moved(root), "bounds": bounds}


def relu_of(r: Any) -> Fields:
    return {**moved_of(r), "bounds": r.y.range}


def concatenate(root: Any) -> Fields:
    axis = int(root.attrs.axis)
    kinds, scales, zeros = root.args[0].checked_type.fields, root.args[1], root.args[2]
    infos = [
        Info(four(kind.shape), str(kind.dtype), float(first(scale)), int(first(zero)))
        for kind, scale, zero in zip(kinds, scales.fields, zeros.fields, strict=True)
    ]
    return {
        "axis": axis + len(shape(root)) if axis < 0 else axis,
        "input_infos": infos,
        "output_info": info(root, root.args[3], root.args[4]),
    }


def concatenate_of(r: Any) -> Fields:
    infos = [info_of(each) for each in r.xs]
    return {"axis": r.axis, "input_infos": infos, "output_info": info_of(r.y)}


def split(root: Any) -> Fields:
    axis, sections = int(root.attrs.axis), root.attrs.indices_or_sections
    x = root.args[0]
    if isinstance(sections, tvm.tir.IntImm):
        sizes = [shape(x)[axis] // int(sections)] * int(sections)
    else:
        sizes = [int(n) for n in np.diff([0, *ints(sections), shape(x)[axis]])]
    outputs = [Info(four(each.shape), str(each.dtype)) for each in root.checked_type.fields]
    return {"axis": axis, "sizes": sizes, "input_info": info(x), "output_infos": outputs}


def split_of(r: Any) -> Fields:
    return {
        "axis": r.axis,
        "sizes": [each[r.axis] for each in r.shapes],
        "input_info": info_of(r.x, True),
        "output_infos": [info_of(each, True) for each in r.ys],
    }


def depth_to_space(root: Any) -> Fields:
    return {**moved(root), "block_size": int(root.attrs.block_size)}


def depth_to_space_of(r: Any) -> Fields:
    return {**moved_of(r), "block_size": r.block_size}


# ---- in what it errs -----------------------------------------------------------------------------


def pool_of(root: Any) -> Any:
    inner = root.args[0] if root.op.name == "cast" else root
    return inner if is_call_of(inner, "nn.avg_pool2d", "nn.max_pool2d") else None


def has_oblong_pool(root: Any) -> bool:
    pool = pool_of(root)
    return pool is not None and len({*ints(pool.attrs.pool_size)}) > 1


def upright(root: Any) -> Fields:
    size_y, size_x = ints(pool_of(root).attrs.pool_size)
    return {"size_x": size_x, "size_y": size_y}


def conv_of(root: Any) -> Any:
    """The convolution of a composite that is one."""
    inner = root.args[0].args[0] if is_call_of(root.args[0], "nn.bias_add") else root
    return inner if is_call_of(inner, "qnn.conv2d") else None


def has_other_layout(root: Any) -> bool:
    conv = conv_of(root)
    if conv is None:
        return False
    is_depthwise = int(conv.attrs.channels) == conv.attrs.groups != 1
    return str(conv.attrs.kernel_layout) != ("HWOI" if is_depthwise else "HWIO")


def in_its_layout(root: Any) -> Fields:
    conv = conv_of(root)
    is_depthwise = int(conv.attrs.channels) == conv.attrs.groups != 1
    wanted, there = "HWOI" if is_depthwise else "HWIO", str(conv.attrs.kernel_layout)
    kernel = number(conv.args[1]).transpose([there.index(each) for each in wanted])
    scales = scales_of(number(conv.args[5]))
    return {
        "weights_info": weights_info(
            conv.args[1], scales, conv.args[3], None, is_depthwise
        )._replace(dimensions=kernel.shape, axis=at_axis(scales, wanted.index("O"))),
        "raw_weights": kernel,
        "bias_info": bias_info(
            int(conv.attrs.channels), number(conv.args[4]), number(conv.args[5])
        ),
    }


def several_scales(root: Any) -> Any:
    """The scales of a fully connected layer's weights, or of what a requantize reads."""
    dense = root.args[0].args[0] if is_call_of(root.args[0], "nn.bias_add") else root
    if is_call_of(dense, "qnn.dense"):
        return number(dense.args[5])
    return number(root.args[1]) if is_requantize(root) else np.zeros(1)


def is_requantize(root: Any) -> bool:
    """And no more than that."""
    return is_call_of(root, "qnn.requantize") and not isinstance(root.args[0], relay.Call)


def each_scale(root: Any) -> Fields:
    scales = several_scales(root)
    if is_requantize(root):
        axis = int(root.attrs.axis) % len(shape(root))
        found = requantize(root)["input_info"]
        return {"input_info": found._replace(scale=scales_of(scales), axis=axis)}
    found, dense = fully_connected(root), root.args[0].args[0]
    return {
        "weights_info": found["weights_info"]._replace(scale=scales_of(scales), axis=3),
        "bias_info": bias_info(len(scales), number(dense.args[4]), scales),
    }


def transposed_of(root: Any) -> Any:
    inner = root.args[0]
    inner = inner.args[0] if is_call_of(inner, "nn.bias_add") else inner
    return inner if is_call_of(inner, "qnn.conv2d_transpose") else None


def has_another_axis(root: Any) -> bool:
    conv = transposed_of(root)
    return (
        conv is not None
        and number(conv.args[5]).size > 1
        and str(conv.attrs.kernel_layout).index("O") != 3
    )


def along_its_outputs(root: Any) -> Fields:
    return {"weights_info": conv2d_transpose(root)["weights_info"]._replace(axis=3)}


def splits_from_behind(root: Any) -> bool:
    return is_call_of(root, "split") and int(root.attrs.axis) < 0


def split_from_the_front(root: Any) -> Fields:
    return {"axis": int(root.attrs.axis) + len(shape(root.args[0]))}


DIFFERENCES: Mapping[str, Difference] = {
    "a pool that is not square": Difference(has_oblong_pool, upright, operators.avg_pool2d),
    "weights in another layout": Difference(
        has_other_layout, in_its_layout, lambda draw: convolutions.conv2d(draw, "HWIO")
    ),
    "several scales where one is read": Difference(
        lambda root: several_scales(root).size > 1, each_scale, convolutions.dense_of_channels
    ),
    "a number beside one channel": Difference(
        lambda root: not shape(operands(root)[1]),
        summands_of_channels,
        operators.with_constant("add"),
        only="ethos-n.qnn_add_to_depthwise",
    ),
    "a transposed convolution with several scales": Difference(
        has_another_axis, along_its_outputs, convolutions.conv2d_transpose
    ),
    "a split along a negative axis": Difference(
        splits_from_behind, split_from_the_front, operators.split_from_behind
    ),
}

ORACLE = Oracle(
    {
        **{
            f"ethos-n.qnn_{name}": each
            for name, each in {
                "mul_to_reinterpret_quantize": (reinterpreted, two_infos_of),
                "mul_to_depthwise": (factors, depthwise_of),
                "add_to_reinterpret_quantize": (reinterpreted, two_infos_of),
                "add_to_depthwise": (summands, depthwise_of),
                "add": (addition, addition_of),
                "conv2d": (conv2d, conv2d_of),
                "conv2d_transpose": (conv2d_transpose, conv2d_of),
                "avg_pool2d": (pool2d, pool2d_of),
                "sigmoid": (of_float, two_infos_of),
                "tanh": (of_float, two_infos_of),
                "leaky_relu": (of_float, leaky_relu_of),
                "fc": (fully_connected, fully_connected_of),
                "mean": (mean, two_infos_of),
                "resize": (resize, resize_of),
                "requantize": (requantize, two_infos_of),
            }.items()
        },
        "nn.max_pool2d": (pool2d, pool2d_of),
        "reshape": (moved, moved_of),
        "clip": (relu, relu_of),
        "qnn.concatenate": (concatenate, concatenate_of),
        "split": (split, split_of),
        "nn.depth_to_space": (depth_to_space, depth_to_space_of),
    },
    DIFFERENCES,
)
