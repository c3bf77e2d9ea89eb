"""How each operator of qpat/ops/types.py is called in its tests: operands that TVM takes, and the
attributes that its rules depend on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tests.ops.typed_calls import Case

_MATRIX = (2, 4)
_IMAGE = (1, 4, 8, 8)
_OUT = ("", "int8", "int16", "int32", "int64", "float32")
_WIDTHS = ([[0, 0]] * 2, [[1, 0], [2, 1]], [[1, 1]])
_AXES = (0, 1, 2, -1, -2, -3)


def each(name: str, values: Iterable[Any], **fixed: Any) -> tuple[Mapping[str, Any], ...]:
    return tuple({name: value, **fixed} for value in values)


def _unary(operand: str = "data", *attributes: Mapping[str, Any]) -> Case:
    return Case({operand: _MATRIX}, attributes or ({},))


_UNARY = """
abs acos acosh asin asinh atan atanh bitwise_not ceil copy cos cosh erf exp floor
 isfinite isinf isnan log log10 log2 logical_not negative ones_like round rsqrt
sigmoid sign sin sinh sqrt tan tanh trunc zeros_like nn.relu
"""
_BINARY = """
add bitwise_and bitwise_or bitwise_xor divide equal floor_divide floor_mod greater greater_equal
left_shift less less_equal logical_and logical_or logical_xor maximum minimum mod multiply not_equal
power right_shift subtract trunc_divide trunc_mod qnn.add qnn.mul qnn.subtract
"""
_QNN_UNARY = "abs erf exp hardswish leaky_relu log rsqrt sigmoid softmax sqrt tanh"
_REDUCTIONS = "all any argmax argmin max mean min prod sum"
_REDUCED = (
    {},
    *each("axis", ([0], [1], [-1], [0, 1], [-2, -1], [0, 2])),
    *each("axis", ([0], [1], [-1], [0, 1]), keepdims=True),
    *each("axis", ([0], [1], [-1], [0, 1]), exclude=True),
    *each("axis", ([1], [-1]), exclude=True, keepdims=True),
)

_SPATIAL = {1: (8,), 2: (8, 8), 3: (8, 8, 8)}
_DATA_LAYOUTS = {1: ("NCW", "NWC"), 2: ("NCHW", "NHWC", "NCHW4c"), 3: ("NCDHW", "NDHWC")}
_KERNEL_LAYOUTS = {1: ("OIW", "WIO"), 2: ("OIHW", "HWIO", "OIHW4o"), 3: ("OIDHW", "DHWIO")}
_WINDOW = {1: (3,), 2: (3, 3), 3: (3, 3, 3)}


def _convolution(dims: int, quantized: str, transposed: bool) -> Case:
    weight = "kernel" if quantized and not transposed else "weight"
    known = {"kernel_size": _WINDOW[dims], "channels": 4}
    kernels = _KERNEL_LAYOUTS[dims]
    if transposed:
        kernels = tuple(kernel.translate(str.maketrans("OI", "IO")) for kernel in kernels)
    layouts = [
        {"data_layout": data, "kernel_layout": kernel, "out_layout": out}
        for data in _DATA_LAYOUTS[dims]
        for kernel in kernels
        for out in ("", _DATA_LAYOUTS[dims][-1])
        if out == "" or kernel == kernels[0]
    ]
    out = _OUT[2:] if quantized else ("", "int32", "float32")
    return Case(
        {"data": (1, 4, *_SPATIAL[dims]), weight: (4, 4, *(3,) * dims)},
        (
            *each("out_dtype", out, **known),
            *({**known, **layout} for layout in layouts),
            *([] if quantized else layouts),
        ),
    )


def _pool(dims: int, kind: str) -> Case:
    size: Mapping[str, Any] = {"pool_size": (2,) * dims} if kind in ("max", "avg") else {}
    layouts = {1: ("NCW", "NWC", "W"), 2: ("NCHW", "NHWC", "HW", "NCHW4c"), 3: ("NCDHW", "DHW")}
    return Case({"data": (1, 4, *_SPATIAL[dims])}, each("layout", layouts[dims], **size))


def _resize(dims: int) -> Case:
    size = {"size": (4,) * dims}
    layouts = each("layout", _DATA_LAYOUTS[dims], **size)
    return Case(
        {"data": (1, 4, *_SPATIAL[dims])},
        ({**size, "out_dtype": None}, *each("out_dtype", _OUT[1:], **size), *layouts),
    )


CASES: dict[str, Case] = {
    **{name: _unary() for name in _UNARY.split()},
    "clip": _unary("a", {"a_min": 0.0, "a_max": 6.0}),
    "nn.leaky_relu": _unary("data", {"alpha": 0.5}),
    "fixed_point_multiply": _unary("data", {"multiplier": 1, "shift": 1}),
    "nn.l2_normalize": _unary("data", {"eps": 1e-5, "axis": [1]}),
    "nn.lrn": Case({"data": _IMAGE}),
    "cast": _unary("data", *each("dtype", _OUT[1:])),
    "cast_like": Case({"data": _MATRIX, "dtype_like": (3,)}),
    "full_like": Case({"data": _MATRIX, "fill_value": ()}),
    **{f"nn.{n}": _unary("data", *each("axis", _AXES)) for n in
       ("softmax", "log_softmax", "fast_softmax")},
    **{name: Case({"lhs": _MATRIX, "rhs": _MATRIX}) for name in _BINARY.split()},
    "where": Case({"condition": _MATRIX, "x": _MATRIX, "y": _MATRIX}),
    "nn.bias_add": Case({"data": _MATRIX, "bias": (4,)}, each("axis", (1, -1, 0, 2, -2))),
    "nn.prelu": Case({"data": _IMAGE, "alpha": (4,)}, each("axis", (1, 0, 2))),
    # ---- quantized ----
    "qnn.conv2d": _convolution(2, "qnn", False),
    "qnn.conv2d_transpose": _convolution(2, "qnn", True),
    "qnn.dense": Case({"data": _MATRIX, "weight": (4, 4)},
                      each("out_dtype", ("int32", "int64"), units=4)),
    "qnn.batch_matmul": Case({"x": (1, 2, 4), "y": (1, 4, 4)}),
    "qnn.quantize": _unary("data", *each("out_dtype", _OUT[1:]), {"axis": 1}),
    "qnn.dequantize": _unary("data", {}, {"out_dtype": "float16"}, {"axis": 1}),
    "qnn.requantize": _unary("data", *each("out_dtype", _OUT[1:]), {"axis": 1}),
    "qnn.concatenate": Case({"data": [_MATRIX, _MATRIX]}, each("axis", _AXES)),
    **{f"qnn.{name}": _unary("x") for name in _QNN_UNARY.split()},
    "qnn.avg_pool2d": Case({"data": (1, 8, 8, 4)}),
    # ---- convolutions, products ----
    **{f"nn.conv{dims}d": _convolution(dims, "", False) for dims in (1, 2, 3)},
    **{f"nn.conv{dims}d_transpose": _convolution(dims, "", True) for dims in (1, 2, 3)},
    "nn.dense": Case({"data": _MATRIX, "weight": (4, 4)},
                     (*each("out_dtype", _OUT), *each("out_dtype", _OUT, units=4))),
    "nn.matmul": Case({"tensor_a": _MATRIX, "tensor_b": (4, 4)},
                      (*each("out_dtype", _OUT), *each("transpose_b", (True,), units=4))),
    "nn.batch_matmul": Case({"tensor_a": (1, 2, 4), "tensor_b": (1, 4, 4)},
                            each("out_dtype", _OUT)),
    # ---- pools, resizing ----
    **{f"nn.{kind}_pool{dims}d": _pool(dims, kind) for dims in (1, 2, 3)
       for kind in ("max", "avg", "adaptive_max", "adaptive_avg")},
    "nn.global_max_pool2d": _pool(2, "global"),
    "nn.global_avg_pool2d": _pool(2, "global"),
    "nn.upsampling": Case({"data": _IMAGE}, each("layout", ("NCHW", "NHWC", "NCHW4c"))),
    **{f"image.resize{dims}d": _resize(dims) for dims in (1, 2, 3)},
    # ---- reductions ----
    **{name: _unary("data", *_REDUCED) for name in _REDUCTIONS.split()},
    # ---- moving elements ----
    "nn.pad": Case({"data": _MATRIX, "pad_value": ()},
                   each("pad_width", (*_WIDTHS, [[0, -1]] * 3, [[1, 2]] * 4))),
    "nn.mirror_pad": _unary("data", *each("pad_width", (*_WIDTHS, [[0, 1]] * 4))),
    "reverse": _unary("data", *each("axis", (0, 1, -1))),
    "concatenate": Case({"data": [_MATRIX, _MATRIX]}, each("axis", _AXES)),
    "stack": Case({"data": [_MATRIX, _MATRIX]}, each("axis", _AXES)),
    "split": _unary("data", *each("axis", _AXES, indices_or_sections=1),
                    {"axis": 1, "indices_or_sections": [1]}),
    "reshape": _unary("data", *each("newshape", ([8], [2, -1], [4, 0], [-2], [-3], [2, 2, 2], [-1],
                                                 [-4, 1, 2, -2], [1], [1, 1], [4, 4], []))),
    "broadcast_to": _unary("data", *each("shape", ([2, 4], [3, 2, 4], [4], [1, 4, 4], []))),
    "transpose": _unary("data", {}, *each("axes", ([1, 0], [0], [2, 0, 1], [-1, 0], [0, -1, 1]))),
    "squeeze": Case({"data": (1, 4)}, ({}, *each("axis", ([0], [-1], [0, 1], [-2, -1])))),
    "expand_dims": _unary("data", *({"axis": axis, "num_newaxis": number}
                                    for axis in (0, 1, 2, -1, -2, -3) for number in (0, 1, 2))),
    "nn.batch_flatten": _unary(),
    "strided_slice": _unary("data", {"begin": [0, 0], "end": [1, 1]},
                            {"begin": [0], "end": [1], "axes": [1]}),
    "take": Case({"data": _MATRIX, "indices": (2,)}, each("axis", (None, 0, 1, -1))),
    "gather": Case({"data": _MATRIX, "indices": _MATRIX}, each("axis", (0, 1))),
    "gather_nd": Case({"data": _MATRIX, "indices": (1, 2)}),
    "tile": _unary("data", *each("reps", ([1], [2, 1], [1, 2, 1]))),
    "repeat": _unary("data", {"repeats": 2, "axis": 0}),
    "layout_transform": Case({"data": _IMAGE}, ({"src_layout": "NCHW", "dst_layout": "NHWC"},
                                                {"src_layout": "NCHW", "dst_layout": "NCHW4c"})),
    "nn.depth_to_space": Case({"data": _IMAGE}, each("layout", ("NCHW", "NHWC"), block_size=2)),
    "nn.space_to_depth": Case({"data": _IMAGE}, each("layout", ("NCHW", "NHWC"), block_size=2)),
    "nn.batch_to_space_nd": Case({"data": (4, 4)}, ({"block_shape": [1], "crops": [[0, 0]]},)),
    "nn.space_to_batch_nd": Case({"data": (4, 4)}, ({"block_shape": [1], "paddings": [[0, 0]]},)),
    "reshape_like": Case({"data": _MATRIX, "shape_like": _MATRIX}),
    "broadcast_to_like": Case({"data": _MATRIX, "broadcast_type": _MATRIX}),
    "collapse_sum_like": Case({"data": _MATRIX, "collapse_type": _MATRIX}),
}  # fmt: skip
