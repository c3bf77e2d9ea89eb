"""A record in integers: what TVM computes for its graph, bit for bit, by NumPy alone.

For convolutions, dense layers, additions, subtractions, products, changes of space and average
pools, as their meanings say. What the result depends on is in the record, but for one thing: the
scale of an accumulator without a bias is taken for the float32 product of the scales.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qpat.ops.table import operator
from qpat.targets.relay_derived import along
from qpat.targets.relay_reading import whole_padding
from qpat.verify.fixed import narrowed, requantized
from qpat.verify.windows import avg_pool2d, conv2d

Array = NDArray[Any]
_ACCUMULATES = ("nn.conv2d", "nn.dense")
_INTEGERS = ("int8", "uint8", "int16")


def computed(meaning: Any, tensors: Mapping[str, Any], values: Mapping[str, Array]) -> Array | None:
    """The output in its dtype; None where there is no way in integers for this meaning.

    `tensors` are the ports' records by name with the output as "", `values` their integers.
    """
    output = tensors[""]
    if output.dtype not in _INTEGERS or np.ndim(output.scale) or np.ndim(output.zero_point):
        return None
    try:
        found = _wide(meaning, tensors, values)
    except (KeyError, ValueError):
        # It lacks an attribute, or its shapes do not fit: such a meaning is wrong anyway.
        return None
    return None if found is None else narrowed(found, output)


def _wide(meaning: Any, tensors: Mapping[str, Any], values: Mapping[str, Array]) -> Array | None:
    if isinstance(meaning, str):
        return _moved(tensors[meaning], values[meaning], tensors[""])
    name = getattr(meaning, "op", "")
    if name == "nn.bias_add" and isinstance(meaning.operands[1], str):
        return _accumulated(meaning.operands[0], tensors, values, meaning)
    if name in _ACCUMULATES:
        return _accumulated(meaning, tensors, values, None)
    if not name or not all(isinstance(each, str) for each in meaning.operands):
        return None
    if name in ("add", "subtract"):
        return _added(meaning, tensors, values)
    if name == "multiply":
        return _product(meaning, tensors, values)
    if name == "nn.avg_pool2d":
        return _pooled(meaning, tensors, values)
    return None


def _attributes(meaning: Any) -> dict[str, Any]:
    """The attributes of a meaning's operator, with the defaults of those that it leaves out."""
    described = operator(meaning.op)
    known = {} if described is None else described.attributes
    found: dict[str, Any] = {name: each.default for name, each in known.items() if each.has_default}
    found |= {name: each for name, each in meaning.attributes.items() if each is not None}
    if "padding" in found:
        found["padding"] = whole_padding(meaning.op, tuple(np.ravel(found["padding"]).tolist()))
    return found


def _is_quantized(tensor: Any) -> bool:
    known = tensor.scale is not None and tensor.zero_point is not None
    return known and str(tensor.dtype).startswith(("int", "uint"))


def _moved(tensor: Any, values: Array, output: Any) -> Array | None:
    """An input in the space of the output."""
    if not _is_quantized(tensor):
        return None
    scale = along(np.asarray(tensor.scale), values, tensor.axis)
    return requantized(values, scale, along(tensor.zero_point, values, tensor.axis), output)


def _added(meaning: Any, tensors: Mapping[str, Any], values: Mapping[str, Array]) -> Array | None:
    """Each side by itself, not cut; one in the space of the output as it is. op_common.h. The sum
    is one of int32, which wraps."""
    output = tensors[""]
    sides = [_moved(tensors[name], values[name], output) for name in meaning.operands]
    if sides[0] is None or sides[1] is None:
        return None
    zero_point = np.int64(output.zero_point)
    is_sum = meaning.op == "add"
    total = sides[0] + sides[1] - zero_point if is_sum else sides[0] - sides[1] + zero_point
    return np.asarray(total).astype(np.int32)


def _product(meaning: Any, tensors: Mapping[str, Any], values: Mapping[str, Array]) -> Array | None:
    """An int32 product without zero points, in the space of the float32 product. mul.cc."""
    first, second = (tensors[name] for name in meaning.operands)
    if not _is_quantized(first) or not _is_quantized(second):
        return None
    if np.ndim(first.scale) or np.ndim(second.scale):
        return None
    one, other = (
        values[name].astype(np.int64) - np.int64(tensors[name].zero_point)
        for name in meaning.operands
    )
    scale = np.float32(first.scale) * np.float32(second.scale)
    return requantized(np.asarray(one * other), scale, 0, tensors[""])


def _pooled(meaning: Any, tensors: Mapping[str, Any], values: Mapping[str, Array]) -> Array | None:
    """The integers' own average, in one space."""
    name = meaning.operands[0]
    same = tensors[name].scale == tensors[""].scale
    if not np.all(same) or tensors[name].zero_point != tensors[""].zero_point:
        return None
    return avg_pool2d(values[name], _attributes(meaning))


def _accumulated(
    meaning: Any, tensors: Mapping[str, Any], values: Mapping[str, Array], bias: Any
) -> Array | None:
    """A convolution or a dense layer, its bias, and the requantize behind it."""
    if getattr(meaning, "op", "") not in _ACCUMULATES:
        return None
    if not all(isinstance(each, str) for each in meaning.operands):
        return None
    data, weight = (tensors[name] for name in meaning.operands)
    if not _is_quantized(data) or not _is_quantized(weight) or np.ndim(data.scale):
        return None
    x, w = (
        values[name].astype(np.int64) - np.int64(tensors[name].zero_point)
        for name in meaning.operands
    )
    total = x @ w.T if meaning.op == "nn.dense" else conv2d(x, w, _attributes(meaning))
    layout = str(_attributes(meaning).get("data_layout", ""))
    axis = layout.index("C") if layout else total.ndim - 1
    scale = np.asarray(data.scale, "float32") * np.asarray(weight.scale, "float32")
    if bias is not None:
        added = tensors[bias.operands[1]]
        total = total + _beside(values[bias.operands[1]].astype(np.int64), total, axis)
        scale = np.asarray(scale if added.scale is None else added.scale)
    return requantized(total, _beside(scale, total, axis), 0, tensors[""])


def _beside(vector: Array, total: Array, axis: int) -> Array:
    """A vector along an axis; one number as it is."""
    if vector.ndim == 0:
        return vector
    return vector.reshape([-1 if each == axis else 1 for each in range(total.ndim)])
