"""Quantization parameters of one tensor: read from the operands that hold them, with every reason
why they cannot be its parameters, and compared.

Nothing here looks at more than one call.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tvm
from tvm import relay

from qpat.ops.roles import AxisRule
from qpat.targets import relay_slots as slots
from qpat.targets.relay_reading import Refused, constant_value, elements, shape_of
from qpat.targets.relay_support import Parameters


@dataclass(frozen=True)
class Unread:
    """Why operands say nothing of a tensor. `is_wrong`: they are no parameters that a tensor can
    have, as against such that are not known before the module runs."""

    reason: str
    is_wrong: bool


# ---- types ---------------------------------------------------------------------------------


def dtypes_of(value: Any) -> list[str]:
    """The dtypes of a typed expression: of a tuple those of all its tensors."""
    return _type_dtypes(value.checked_type)


def _type_dtypes(type_: Any) -> list[str]:
    if isinstance(type_, tvm.ir.TupleType):
        return [dtype for each in type_.fields for dtype in _type_dtypes(each)]
    return [str(type_.dtype)] if isinstance(type_, tvm.ir.TensorType) else []


def is_integer(dtype: str) -> bool:
    return dtype.startswith(("int", "uint"))


def holds_integers(value: Any) -> bool:
    dtypes = dtypes_of(value)
    return bool(dtypes) and all(is_integer(dtype) for dtype in dtypes)


def fits(zero_point: Any, dtype: str) -> bool:
    """Whether a zero point, or each of several, is a number of an integer dtype."""
    bits, is_signed = int(dtype.lstrip("uint")), dtype.startswith("int")
    least = -(2 ** (bits - 1)) if is_signed else 0
    values = np.asarray(zero_point).astype(np.int64)
    return bool(np.all(values >= least) and np.all(values < least + 2**bits))


# ---- reading -------------------------------------------------------------------------------


def read(
    scale: Any, zero_point: Any, rule: AxisRule, call: Any, tensor: Any
) -> Parameters | Unread:
    """The parameters that two operands of `call` give `tensor`, a typed expression.

    `rule` says where the axis of a vector is found. A scale is a positive finite number, or a
    vector of them with one for each place along an axis of the tensor (of a layout such as HWOI
    also along the axis behind it); a zero point is an integer of the tensor's dtype, or as many.
    """
    for what, expr in (("scale", scale), ("zero point", zero_point)):
        if not isinstance(expr, relay.Constant):
            return Unread(f"its {what} is not constant", is_wrong=False)
    scales, zero_points = (
        slots.scalar_or_vector(constant_value(each)) for each in (scale, zero_point)
    )
    wrong = _wrong_numbers(scales, zero_points, tensor)
    if wrong is not None:
        return Unread(wrong, is_wrong=True)
    if np.ndim(scales) == 0 and np.ndim(zero_points) == 0:
        return Parameters(scales, zero_points, None)
    axis = _axis(call, rule, tensor)
    if isinstance(axis, str):
        return Unread(axis, is_wrong=True)
    for what, values in (("scales", scales), ("zero points", zero_points)):
        if np.ndim(values) and len(values) not in _lengths(tensor, axis, rule):
            size = shape_of(tensor)[axis]
            return Unread(f"it has {len(values)} {what} for axis {axis} of size {size}", True)
    if np.ndim(scales) and np.ndim(zero_points) and len(scales) != len(zero_points):
        return Unread(f"it has {len(scales)} scales and {len(zero_points)} zero points", True)
    return Parameters(scales, zero_points, axis)


def _wrong_numbers(scales: Any, zero_points: Any, tensor: Any) -> str | None:
    if np.ndim(scales) > 1 or np.ndim(zero_points) > 1:
        return "its scales or zero points are no vector"
    if np.size(scales) == 0 or np.size(zero_points) == 0:
        return "it has no scales or zero points at all"
    if np.asarray(scales).dtype.kind != "f":
        return f"its scale is of dtype {np.asarray(scales).dtype}"
    if np.asarray(zero_points).dtype.kind not in "iu":
        return f"its zero point is of dtype {np.asarray(zero_points).dtype}"
    bad = _first(scales, ~(np.isfinite(scales) & (np.asarray(scales) > 0)))
    if bad is not None:
        return f"its scale is {bad}, which is no positive number"
    dtype = dtypes_of(tensor)[0]
    outside = _first(zero_points, [not fits(each, dtype) for each in np.ravel(zero_points)])
    return None if outside is None else f"its zero point is {outside}, which is no {dtype}"


def _first(values: Any, chosen: Any) -> Any:
    found = np.ravel(values)[np.ravel(chosen)]
    return found[0] if found.size else None


def _axis(call: Any, rule: AxisRule, tensor: Any) -> int | str:
    """The axis of a vector, or why there is none."""
    rank, axis = len(shape_of(tensor)), rule.fixed
    try:
        if rule.layout is not None:
            axis = slots.layout_axis(call, rule.layout, rule.letter)
        elif rule.attribute is not None:
            axis = slots.attribute_axis(call, rule.attribute, tensor)
    except Refused as refused:
        return str(refused)
    if axis is None:
        return "it has many scales or zero points, and no axis that they run along"
    return axis if 0 <= axis < rank else f"its axis is out of range for {rank} dimensions"


def _lengths(tensor: Any, axis: int, rule: AxisRule) -> Iterable[int]:
    """How many scales there may be; any number that is there where a size is not known."""
    shape = shape_of(tensor)
    size = shape[axis]
    if size is None:
        return _Any()
    behind = shape[axis : axis + 2]
    if rule.layout is None or None in behind:
        return (size,)
    # A depthwise convolution has one for each channel and multiplier.
    return (size, elements(behind))


class _Any(frozenset[int]):
    def __contains__(self, _: object) -> bool:
        return True


# ---- comparing -----------------------------------------------------------------------------


def same(first: Parameters, second: Parameters) -> bool:
    """Whether both say the same of a tensor: equal numbers for all channels are one for all."""
    if first.axis is not None and second.axis is not None and first.axis != second.axis:
        return _is_uniform(first) and _is_uniform(second) and same(_one(first), _one(second))
    return _same_numbers(first.scale, second.scale) and _same_numbers(
        first.zero_point, second.zero_point
    )


def _same_numbers(first: Any, second: Any) -> bool:
    if np.ndim(first) and np.ndim(second) and np.shape(first) != np.shape(second):
        return False
    return bool(np.all(np.asarray(first) == np.asarray(second)))


def _is_uniform(parameters: Parameters) -> bool:
    return all(len(set(np.ravel(each).tolist())) == 1 for each in parameters[:2])


def _one(parameters: Parameters) -> Parameters:
    return Parameters(np.ravel(parameters.scale)[0], np.ravel(parameters.zero_point)[0], None)


def worded(parameters: Parameters) -> str:
    """`scale 0.5, zero point 3`; vectors as their number and axis."""
    if np.ndim(parameters.scale):
        scale = f"{len(parameters.scale)} scales from {parameters.scale[0]:.6g}"
        scale += f" along axis {parameters.axis}"
    else:
        scale = f"scale {parameters.scale:.6g}"
    if np.ndim(parameters.zero_point):
        return f"{scale}, zero points from {parameters.zero_point[0]} along axis {parameters.axis}"
    return f"{scale}, zero point {parameters.zero_point}"
