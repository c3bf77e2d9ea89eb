"""Scales, zero points, axes and comparisons in a generated Relay module; see relay_reading.py."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from qpat.targets.relay_reading import (
    Attributes,
    Refused,
    constant_value,
    elements,
    holds,
    shape_of,
)

# ---- scales, zero points and axes ----------------------------------------------------


def agreed(constants: Iterable[Any], what: str) -> Any:
    """The value that all constants agree on; None if there are none."""
    values = [scalar_or_vector(constant_value(each)) for each in constants]
    for other in values[1:]:
        if not same_value(values[0], other):
            raise Refused(f"two {what}s for one tensor: {values[0]} and {other}")
    return values[0] if values else None


def scalar_or_vector(value: Any) -> Any:
    """A scalar for anything with one element, so that per-tensor is spelled one way."""
    return value.reshape(())[()] if value.size == 1 else value


def same_value(first: Any, second: Any) -> bool:
    return np.shape(first) == np.shape(second) and bool(np.all(np.asarray(first) == second))


def in_dtype(zero_point: Any, dtype: str) -> Any:
    """A zero point in the tensor's own dtype, where NumPy has it and the value fits."""
    try:
        wanted = np.dtype(dtype)
    except TypeError:
        return zero_point
    if wanted.kind not in "iu" or not holds(
        np.asarray(zero_point).astype(wanted), "==", zero_point
    ):
        return zero_point
    return np.asarray(zero_point).astype(wanted)[()]


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
