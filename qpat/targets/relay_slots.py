"""Scales, zero points, axes and comparisons in a generated Relay module; see relay_reading.py."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from qpat.targets.relay_reading import (
    Attributes,
    Refused,
    constant_value,
    elements,
    is_embedded,
    shape_of,
)

# ---- scales, zero points and axes ----------------------------------------------------


def agreed(constants: Iterable[Any], what: str, tensor: str) -> Any:
    """The value that all constants agree on; None if there are none."""
    values = []
    for each in constants:
        if not is_embedded(each):
            raise Refused(f"the {what} of {tensor} is not constant")
        values.append(scalar_or_vector(constant_value(each)))
    for other in values[1:]:
        if not same_value(values[0], other):
            raise Refused(f"two {what}s for one tensor: {values[0]} and {other}")
    return values[0] if values else None


def handed_over(expr: Any, arguments: dict[Any, Any]) -> Any:
    """What stands for a scale or zero point: TVM hands some over as arguments of the composite."""
    return arguments.get(expr, expr)


def wrong_numbers(scale: Any, zero_point: Any) -> str | None:
    """Why two values can be no scale and zero point of any tensor; None where they can, or are not
    known. A scale is a positive finite number or a vector of them, a zero point whole numbers."""
    for what, values, kinds in (("scale", scale, "f"), ("zero point", zero_point, "iu")):
        if values is None:
            continue
        found = np.asarray(values)
        if found.ndim > 1:
            return "its scales or zero points are no vector"
        if found.size == 0:
            return "it has no scales or zero points at all"
        if found.dtype.kind not in kinds:
            return f"its {what} is of dtype {found.dtype}"
    bad = first_of(scale, lambda each: ~(np.isfinite(each) & (each > 0)))
    if bad is not None:
        return f"its scale is {bad}, which is no positive number"
    if np.ndim(scale) and np.ndim(zero_point) and len(scale) != len(zero_point):
        return f"it has {len(scale)} scales and {len(zero_point)} zero points"
    return None


def first_of(values: Any, is_meant: Callable[[Any], bool]) -> Any:
    """The first of some numbers that is meant, as told for all at once; None where none is."""
    if values is None:
        return None
    if np.ndim(values) == 0:
        return values if is_meant(values) else None
    found = np.ravel(values)
    meant = found[is_meant(found)]
    return meant[0] if meant.size else None


def outside(zero_point: Any, dtype: str) -> str | None:
    """Why a zero point is none of an integer dtype, as `int8` or `uint4`."""
    bits, is_signed = int(dtype.lstrip("uint")), dtype.startswith("int")
    least = -(2 ** (bits - 1)) if is_signed else 0
    most = least + 2**bits - 1
    bad = first_of(zero_point, lambda each: (each < least) | (each > most))
    return None if bad is None else f"its zero point is {bad}, which is no {dtype}"


def misplaced(
    scale: Any, zero_point: Any, axis: int, shape: tuple[int | None, ...], layout: str
) -> str | None:
    """Why vectors do not fit the axis of a tensor. In the layout of a depthwise convolution's
    weights, HWOI, they may run over that axis and the multiplier behind it."""
    if not 0 <= axis < len(shape):
        return f"its axis is out of range for {len(shape)} dimensions"
    lengths = {shape[axis]}
    if layout[axis + 1 : axis + 2] == "I" and None not in shape[axis : axis + 2]:
        lengths.add(elements(shape[axis : axis + 2]))
    for what, values in (("scales", scale), ("zero points", zero_point)):
        if np.ndim(values) and None not in lengths and len(values) not in lengths:
            return f"it has {len(values)} {what} for axis {axis} of size {shape[axis]}"
    return None


# How far an accumulator's scale may be from the product, relatively: some roundings to float32.
ROUNDED = 2.0**-20


def accumulates(
    call: Any, total: Any, data: Any, weight: Any, axes: Callable[[], tuple[Any, Any]]
) -> None:
    """Wants the accumulator of a call to have the scale of the product of its operands' and a zero
    point of 0: what is summed up has no other. `axes` are that of the accumulator's scales and that
    of its channels."""
    name = call.op.name
    if total.zero_point is not None and np.any(np.asarray(total.zero_point) != 0):
        raise Refused(f"the accumulator of {name} has zero point {total.zero_point}, not 0")
    if total.scale is None or data.scale is None or weight.scale is None:
        return
    product = np.multiply(data.scale, weight.scale, dtype=np.float64)
    stated = np.asarray(total.scale, dtype=np.float64)
    if np.ndim(product) and np.ndim(stated) and np.shape(product) != np.shape(stated):
        found = f"{np.size(stated)} scales, and its operands {np.size(product)}"
        raise Refused(f"the accumulator of {name} has {found}")
    off = np.ravel(np.abs(stated - product) > ROUNDED * product)
    if np.any(off):
        first = int(np.argmax(off))
        one, other = (np.broadcast_to(each, off.shape)[first] for each in (stated, product))
        said = f"has scale {one:.9g}, and the product of its operands' is {other:.9g}"
        raise Refused(f"the accumulator of {name} {said}")
    if np.ndim(stated):
        axis, channels = axes()
        if axis != channels:
            raise Refused(f"the accumulator of {name} has scales along another axis than channels")


def scalar_or_vector(value: Any) -> Any:
    """A scalar for anything with one element, so that per-tensor is spelled one way."""
    return value.reshape(())[()] if value.size == 1 else value


def same_value(first: Any, second: Any) -> bool:
    return np.shape(first) == np.shape(second) and bool(np.all(np.asarray(first) == second))


def whole(zero_point: Any) -> Any:
    """A zero point as whole numbers: nn.pad has one as a float."""
    if zero_point is None or isinstance(zero_point, np.integer):
        return zero_point
    is_float = np.asarray(zero_point).dtype.kind == "f"
    if not is_float or not np.all(np.mod(zero_point, 1) == 0):
        return zero_point
    return np.asarray(zero_point).astype(np.int64)[()]


def in_dtype(zero_point: Any, dtype: str) -> Any:
    """A zero point in the tensor's own dtype, where NumPy has it and the value fits."""
    try:
        wanted = np.dtype(dtype)
    except TypeError:
        return zero_point
    if wanted.kind not in "iu":
        return zero_point
    made = np.asarray(zero_point).astype(wanted)
    return made[()] if np.all(made == zero_point) else zero_point


def layout_of(call_expr: Any, name: str) -> str:
    """The layout that an attribute of a call says."""
    return str(getattr(Attributes(call_expr), name))


def result_layout(call_expr: Any, name: str) -> str:
    """The layout of what a call gives: its `out_layout` where it has one that is set."""
    stated = getattr(call_expr.attrs, "out_layout", None)
    return str(stated) if stated else layout_of(call_expr, name)


def attribute_axis(call_expr: Any, name: str, tensor: Any) -> int:
    """An axis said by an attribute, counted from the front."""
    axis = int(getattr(Attributes(call_expr), name))
    return axis + len(shape_of(tensor)) if axis < 0 else axis


def layout_axis(call_expr: Any, name: str, letter: str) -> int | None:
    """The axis that a layout gives a letter, such as the O of HWIO."""
    position = str(getattr(Attributes(call_expr), name)).find(letter)
    return None if position < 0 else position


def bias_axis(call_expr: Any, axis: int | None) -> int | None:
    """The axis of a bias, from that of what it is added to: its only one."""
    return 0 if axis == attribute_axis(call_expr, "axis", call_expr) else None


def biased_axis(call_expr: Any, axis: int | None) -> int | None:
    """The axis of what a bias is added to, from that of the bias."""
    return attribute_axis(call_expr, "axis", call_expr) if axis == 0 else None


def broadcast_axis(start: Any, end: Any, axis: int | None) -> int | None:
    """An axis counted from the right stays the same one when shapes are broadcast."""
    if axis is None:
        return None
    moved = axis - len(shape_of(start)) + len(shape_of(end))
    return moved if moved >= 0 and shape_of(end)[moved] == shape_of(start)[axis] else None


def transposed_axis(call_expr: Any, forward: bool, axis: int | None) -> int | None:
    """Where a transpose moves an axis to, or where it came from."""
    rank = len(shape_of(call_expr))
    axes = Attributes(call_expr).axes
    order = [int(a) % rank for a in axes] if axes else list(range(rank))[::-1]
    if axis is None:
        return None
    return order.index(axis) if forward else order[axis]


def reshaped_axis(start: Any, end: Any, axis: int | None) -> int | None:
    """The axis of `end` that has the size and the elements before it that `axis` has in `start`."""
    old, new = shape_of(start), shape_of(end)
    if axis is None or None in old or None in new:
        return None
    before = elements(old[:axis])
    for candidate, size_there in enumerate(new):
        if size_there == old[axis] and elements(new[:candidate]) == before:
            return candidate
    return None


# ---- end of scales ----------------------------------------------------------------------
