"""Shapes and attributes for random calls: for each operator what its operands look like together.

An operator that is not listed has tensors of one shape, and the attributes that are its defaults.
What does not fit is refused by TVM's type inference; nothing in here needs to be right for that.
"""

from __future__ import annotations

import numpy as np

from qpat.verify.call_draft import Draft, Rule, Shape, image, random_shape, wide
from qpat.verify.window_shapes import avg_pool, conv2d, conv2d_transpose, pool


def rule(operator: str) -> Rule:
    """How the operands and attributes of an operator are made."""
    return _RULES.get(operator, _elementwise)


# ---- element by element ---------------------------------------------------------------------


def _elementwise(draft: Draft) -> None:
    """All operands have the shape of the first; those that are slots make themselves."""
    first, *others = draft.tensors
    shape = draft.tensor(first, draft.wanted)
    for name in others:
        draft.tensor(name, shape)


def _binary(draft: Draft) -> None:
    shape = draft.tensor("lhs", draft.wanted)
    draft.tensor("rhs", _second(draft, shape))


def _binary_of_integers(draft: Draft) -> None:
    """TVM computes with one axis of scales for both operands."""
    _binary(draft)
    rank = len(draft.tensor("lhs"))
    axis = draft.pick("lhs_axis", -1, int(draft.random.integers(0, max(rank, 1))))
    draft.pick("rhs_axis", axis)


def _second(draft: Draft, shape: Shape) -> Shape:
    """The shape of a second operand: the same, or one that is broadcast to it."""
    way = int(draft.random.integers(0, 4)) if draft.is_leaf("rhs") else 0
    if way == 1:
        return ()
    if way == 2 and shape:
        return tuple(n if draft.random.integers(0, 2) else 1 for n in shape)
    if way == 3 and shape:
        return shape[int(draft.random.integers(0, len(shape))) :]
    return shape


def _power(draft: Draft) -> None:
    draft.tensor("lhs", draft.wanted)
    draft.tensor("rhs", ())


def _right_shift(draft: Draft) -> None:
    """Mostly by one number, as a requantize shifts."""
    shape = draft.tensor("lhs", draft.wanted)
    by_one = draft.is_leaf("rhs") and draft.random.integers(0, 4)
    draft.tensor("rhs", () if by_one else _second(draft, shape))


def _clip(draft: Draft) -> None:
    draft.tensor("a", draft.wanted)
    dtype = draft.dtype("a")
    if dtype.startswith("float"):
        draft.value("a_min", -1.0, 0.0)
        draft.value("a_max", 1.0, 6.0)
        return
    # Where a cast to fewer bits follows, a range that it keeps.
    kept = draft.final_dtype()
    info = np.iinfo(dtype if kept.startswith("float") else min(dtype, kept, key=_bits))
    first, second = np.sort(draft.values.integers(info.min, info.max, 2, endpoint=True))
    draft.value("a_min", float(first), float(info.min))
    draft.value("a_max", float(second), float(info.max))


def _bits(dtype: str) -> int:
    return int(np.iinfo(dtype).bits)


def _cast(draft: Draft) -> None:
    draft.tensor("data", draft.wanted)
    draft.pick("dtype", draft.output_dtype())


def _leaky_relu(draft: Draft) -> None:
    draft.tensor(draft.tensors[0], draft.wanted)
    draft.value("alpha", 0.01, 0.125, 0.3)


def _prelu(draft: Draft) -> None:
    data, alpha = draft.tensors
    shape = draft.tensor(data, draft.wanted or random_shape(draft.random, 4))
    axis = int(draft.pick("axis", 1, len(shape) - 1))
    draft.tensor(alpha, (shape[axis],))


def _softmax(draft: Draft) -> None:
    shape = draft.tensor("data", draft.wanted or random_shape(draft.random))
    draft.pick("axis", -1, int(draft.random.integers(0, len(shape))))


# ---- int8 to int32 --------------------------------------------------------------------------


def _dense(draft: Draft) -> None:
    shape = draft.tensor("data", draft.wanted or random_shape(draft.random, 2))
    units = int(draft.pick("units", int(draft.random.integers(1, 6))))
    draft.tensor("weight", (units, shape[-1]))
    draft.pick("out_dtype", *wide(draft.dtype("data")))


def _matmul(draft: Draft) -> None:
    first, second = draft.tensors
    shape = draft.tensor(first, draft.wanted or random_shape(draft.random, 2))
    draft.tensor(second, (shape[-1], int(draft.random.integers(1, 6))))


def _bias_add(draft: Draft) -> None:
    shape = draft.tensor("data", draft.wanted)
    axis = draft.channel_axis(len(shape))
    chosen = int(draft.pick("axis", axis, axis % len(shape)))
    draft.tensor("bias", (shape[chosen],))


def _sum_of_two(draft: Draft) -> None:
    """`add`, also as it spells a bias."""
    shape = draft.tensor("lhs", draft.wanted)
    if draft.is_bias("rhs"):
        axis = draft.channel_axis(len(shape)) % len(shape)
        is_last = axis == len(shape) - 1
        along = (*(1 for _ in shape[:axis]), shape[axis], *(1 for _ in shape[axis + 1 :]))
        draft.tensor("rhs", along[axis:] if is_last else along)
        return
    if draft.dtype("lhs") in ("int32", "int64") and draft.is_leaf("rhs"):
        axis = draft.channel_axis(len(shape)) % len(shape)
        draft.tensor("rhs", (shape[axis], *(1 for _ in shape[axis + 1 :])))
        return
    draft.tensor("rhs", _second(draft, shape))


# ---- between integers and floats ---------------------------------------------------------------


def _requantize(draft: Draft) -> None:
    shape = draft.tensor("data", draft.wanted)
    draft.pick("axis", draft.channel_axis(len(shape)))
    draft.pick("out_dtype", draft.output_dtype())


def _quantize(draft: Draft) -> None:
    draft.tensor("data", draft.wanted)
    draft.pick("axis", -1)
    draft.pick("out_dtype", draft.output_dtype())


def _dequantize(draft: Draft) -> None:
    draft.tensor("data", draft.wanted)
    draft.pick("axis", -1)
    draft.pick("out_dtype", "float32")


# ---- pools, reductions and what moves elements --------------------------------------------------


def _reduce(draft: Draft) -> None:
    shape = draft.tensor("data", draft.wanted or random_shape(draft.random))
    most = len(shape) if draft.random.integers(0, 4) == 0 else max(1, len(shape) - 1)
    count = min(int(draft.random.choice([1, 1, 2, 2, 3])), most)
    chosen = tuple(sorted(int(n) for n in draft.random.choice(len(shape), count, replace=False)))
    axis = draft.pick("axis", chosen, chosen, chosen, None)
    draft.pick("keepdims", False, True)
    draft.pick("exclude", False, axis is not None and len(shape) > count)


def _pad(draft: Draft) -> None:
    shape = draft.tensor("data", draft.wanted or random_shape(draft.random))
    widths = tuple(tuple(int(n) for n in draft.random.integers(0, 3, 2)) for _ in shape)
    # In front of a convolution a pad of something else is refused nearly always.
    is_inner = draft.wanted is not None and bool(draft.random.integers(0, 8))
    if len(shape) == 4 and (is_inner or draft.random.integers(0, 4)):
        widths = ((0, 0), *widths[1:3], (0, 0))
    draft.pick("pad_width", widths)
    draft.pick("pad_mode", *(("constant",) if is_inner else ("constant", "constant", "edge")))


def _mirror_pad(draft: Draft) -> None:
    shape = draft.tensor("data", draft.wanted or random_shape(draft.random))
    widths = tuple(tuple(int(m) for m in draft.random.integers(0, n, 2)) for n in shape)
    draft.pick("pad_width", widths)
    draft.pick("mode", "SYMMETRIC", "REFLECT")


def _concatenate(draft: Draft) -> None:
    first = draft.wanted or random_shape(draft.random)
    axis = int(draft.pick("axis", *range(len(first)), -1)) % len(first)
    count = int(draft.random.integers(1, 4))
    others = [int(n) for n in draft.random.integers(1, 4, count - 1)]
    shapes = [first, *((*first[:axis], n, *first[axis + 1 :]) for n in others)]
    draft.tensor("data", shapes)


def _resize(draft: Draft) -> None:
    random = draft.random
    layout = str(draft.pick("layout", "NHWC"))
    draft.tensor("data", draft.wanted or image(random, layout))
    draft.pick("size", tuple(int(n) for n in random.integers(2, 10, 2)))
    method = str(draft.pick("method", "linear", "nearest_neighbor"))
    modes = ("half_pixel", "align_corners", "asymmetric")
    draft.pick("coordinate_transformation_mode", *modes)
    roundings = ("round", "floor", "ceil", "round_prefer_ceil")
    draft.pick("rounding_method", *(roundings if method == "nearest_neighbor" else ("",)))
    draft.pick("roi", (0.0, 0.0, 0.0, 0.0))


def _reshape(draft: Draft) -> None:
    wanted = draft.wanted or ()
    if len(wanted) > 1 and sum(size != 1 for size in wanted) <= 1:
        # As a bias is laid along an axis.
        draft.pick("newshape", wanted)
        draft.tensor("data", (int(np.prod(wanted)),))
        return
    if wanted and draft.is_constant("data"):
        # As a frontend reshapes the weights of a depthwise convolution.
        draft.pick("newshape", wanted)
        flattened = (1, *wanted[:2], int(np.prod(wanted[2:])))
        draft.tensor("data", flattened if draft.random.integers(0, 4) else wanted)
        return
    shape = draft.tensor("data", draft.wanted or random_shape(draft.random))
    total = int(np.prod(shape))
    divisors = [n for n in range(1, total + 1) if total % n == 0]
    first = int(draft.random.choice(divisors))
    draft.pick("newshape", (first, total // first), (-1,), (1, total), (*shape, 1), (first, -1))


def _squeeze(draft: Draft) -> None:
    shape = draft.tensor("data", draft.wanted or (1, *random_shape(draft.random, 2), 1))
    ones = tuple(axis for axis, size in enumerate(shape) if size == 1)
    draft.pick("axis", None, ones, ones[:1])


def _expand_dims(draft: Draft) -> None:
    shape = draft.tensor("data", draft.wanted or random_shape(draft.random))
    draft.pick("axis", *range(len(shape) + 1), -1)
    draft.pick("num_newaxis", 1, 2)


def _transpose(draft: Draft) -> None:
    wanted = draft.wanted
    if wanted:
        order = tuple(int(n) for n in draft.random.permutation(len(wanted)))
        chosen = draft.pick("axes", order, order, None) or range(len(wanted))[::-1]
        draft.tensor("data", tuple(wanted[list(chosen).index(n)] for n in range(len(wanted))))
        return
    shape = draft.tensor("data", random_shape(draft.random))
    order = tuple(int(n) for n in draft.random.permutation(len(shape)))
    draft.pick("axes", order, order, None)


def _reverse(draft: Draft) -> None:
    shape = draft.tensor("data", draft.wanted or random_shape(draft.random))
    draft.pick("axis", *range(len(shape)))


def _tile(draft: Draft) -> None:
    shape = draft.tensor("data", draft.wanted or random_shape(draft.random))
    draft.pick("reps", tuple(int(n) for n in draft.random.integers(1, 4, len(shape))))


def _depth_to_space(draft: Draft) -> None:
    layout = str(draft.pick("layout", "NHWC"))
    block = int(draft.pick("block_size", 2))
    # Of one channel that is left both modes make the same.
    channels = block * block * int(draft.random.choice([1, 2, 2, 3]))
    draft.tensor("data", draft.wanted or image(draft.random, layout, channels))
    draft.pick("mode", "DCR", "CDR")


def _space_to_depth(draft: Draft) -> None:
    layout = str(draft.pick("layout", "NHWC"))
    block = int(draft.pick("block_size", 2))
    shape = image(draft.random, layout)
    even = tuple(n * block if c in "HW" else n for n, c in zip(shape, layout, strict=True))
    draft.tensor("data", draft.wanted or even)


def _strided_slice(draft: Draft) -> None:
    random = draft.random
    shape = draft.tensor("data", draft.wanted or random_shape(random))
    begin = tuple(int(random.integers(0, n)) for n in shape)
    end = tuple(int(random.integers(b + 1, n + 1)) for b, n in zip(begin, shape, strict=True))
    draft.pick("begin", begin)
    draft.pick("end", end)
    draft.pick("strides", tuple(int(n) for n in random.integers(1, 3, len(shape))))
    draft.pick("slice_mode", "end")


def _split(draft: Draft) -> None:
    shape = draft.tensor("data", draft.wanted or random_shape(draft.random))
    axis = int(draft.pick("axis", *range(len(shape)))) % len(shape)
    sizes = [n for n in range(1, shape[axis] + 1) if shape[axis] % n == 0]
    draft.pick("indices_or_sections", *sizes)


_BINARY = ("subtract", "multiply", "divide", "maximum", "minimum", "left_shift")
_BINARY_OF_INTEGERS = ("qnn.add", "qnn.subtract", "qnn.mul")

_RULES: dict[str, Rule] = {
    **{name: _binary for name in _BINARY},
    **{name: _binary_of_integers for name in _BINARY_OF_INTEGERS},
    "add": _sum_of_two,
    "power": _power,
    "right_shift": _right_shift,
    "clip": _clip,
    "cast": _cast,
    "nn.softmax": _softmax,
    "nn.log_softmax": _softmax,
    "qnn.conv2d": conv2d,
    "nn.conv2d": conv2d,
    "qnn.conv2d_transpose": conv2d_transpose,
    "nn.conv2d_transpose": conv2d_transpose,
    "qnn.dense": _dense,
    "nn.dense": _dense,
    "nn.matmul": _matmul,
    "nn.bias_add": _bias_add,
    "qnn.requantize": _requantize,
    "qnn.quantize": _quantize,
    "qnn.dequantize": _dequantize,
    "nn.leaky_relu": _leaky_relu,
    "nn.prelu": _prelu,
    "qnn.leaky_relu": _leaky_relu,
    "nn.max_pool2d": pool,
    "nn.avg_pool2d": avg_pool,
    **{name: _reduce for name in ("mean", "max", "min", "sum")},
    "nn.pad": _pad,
    "nn.mirror_pad": _mirror_pad,
    "concatenate": _concatenate,
    "qnn.concatenate": _concatenate,
    "image.resize2d": _resize,
    "reshape": _reshape,
    "squeeze": _squeeze,
    "expand_dims": _expand_dims,
    "transpose": _transpose,
    "reverse": _reverse,
    "tile": _tile,
    "nn.depth_to_space": _depth_to_space,
    "nn.space_to_depth": _space_to_depth,
    "strided_slice": _strided_slice,
    "split": _split,
}
