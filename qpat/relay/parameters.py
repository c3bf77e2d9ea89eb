"""Quantization parameters of one tensor: read from the operands that hold them, with every reason
why they cannot be its parameters, and compared.

Nothing here looks at more than one call.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from qpat.ops.roles import AxisRule
from qpat.relay.kinds import relay, tvm
from qpat.targets import relay_slots as slots
from qpat.targets.relay_reading import Refused, constant_value, shape_of
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


def is_quantized(call: Any) -> bool:
    """Whether a call gives or takes integers."""
    return any(is_integer(dtype) for each in (call, *call.args) for dtype in dtypes_of(each))


def holds_integers(value: Any) -> bool:
    dtypes = dtypes_of(value)
    return bool(dtypes) and all(is_integer(dtype) for dtype in dtypes)


def fits(zero_point: Any, dtype: str) -> bool:
    """Whether a zero point, or each of several, is a number of an integer dtype."""
    return slots.outside(np.asarray(zero_point).astype(np.int64), dtype) is None


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
    wrong = slots.wrong_numbers(scales, zero_points) or slots.outside(
        zero_points, dtypes_of(tensor)[0]
    )
    if wrong is not None:
        return Unread(wrong, is_wrong=True)
    if np.ndim(scales) == 0 and np.ndim(zero_points) == 0:
        return Parameters(scales, zero_points, None)
    axis = _axis(call, rule, tensor)
    if isinstance(axis, str):
        return Unread(axis, is_wrong=True)
    layout = slots.layout_of(call, rule.layout) if rule.layout is not None else ""
    wrong = slots.misplaced(scales, zero_points, axis, shape_of(tensor), layout)
    return Parameters(scales, zero_points, axis) if wrong is None else Unread(wrong, is_wrong=True)


def _axis(call: Any, rule: AxisRule, tensor: Any) -> int | str:
    """The axis of a vector, or why there is none."""
    axis = rule.fixed
    try:
        if rule.layout is not None:
            axis = slots.layout_axis(call, rule.layout, rule.letter)
        elif rule.attribute is not None:
            axis = slots.attribute_axis(call, rule.attribute, tensor)
    except Refused as refused:
        return str(refused)
    if axis is None:
        return "it has many scales or zero points, and no axis that they run along"
    return axis


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
