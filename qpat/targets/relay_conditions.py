"""What conditions and parameters in a generated Relay module are made of; see relay_support.py."""

from __future__ import annotations

from typing import Any, Iterable, Tuple

import numpy as np

from qpat.targets.relay_reading import (
    Refused,
    elements,
    holds,
    is_list_of_many,
    nesting,
    number,
    pairs_of_many,
    shape_of,
)
from qpat.targets.relay_support import Value

# ---- conditions: the same in every module qpat writes ------------------------------


def require(condition: Any, reason: str) -> None:
    if not np.all(condition):
        raise Refused(reason)


def require_dtype(name: str, value: Any, *dtypes: str) -> None:
    """Wants a tensor, or each of many, to have one of these dtypes."""
    for each in value if isinstance(value, list) else [value]:
        if each is not None and each.dtype not in dtypes:
            raise Refused(f"{name} is {each.dtype}, not {' or '.join(dtypes)}")


def require_rank(name: str, value: Value, rank: int, exactly: bool) -> None:
    found = len(value.shape)
    if found < rank or (exactly and found != rank):
        raise Refused(f"{name} has {found} dimensions, not {rank}{'' if exactly else ' or more'}")


def between(value: Any, first: Any, last: Any) -> bool:
    """`value in first..last`, of all elements, both ends included."""
    return holds(value, ">=", first) and holds(value, "<=", last)


def contained(value: Any, container: Iterable[Any]) -> bool:
    """Whether a container has an element equal to `value`; tuples are compared field by field.
    Of a list for many tensors it has each, where its elements are no such lists."""
    elements_there = list(container)
    if isinstance(value, list) and nesting(value) > max(map(nesting, elements_there), default=0):
        return all(contained(each, elements_there) for each in value)
    return any(matches(value, each) for each in elements_there)


def excluded(value: Any, container: Iterable[Any]) -> bool:
    """`value not in container`: of a list for many tensors, of each of them."""
    found = among(value, container) if isinstance(value, list) else contained(value, container)
    return not np.any(found)


def within(value: Any, first: Any, last: Any) -> Any:
    """`value in first..last` of each element, for `any` and `all`."""
    if is_list_of_many(value):
        return np.concatenate([np.ravel(within(each, first, last)) for each in value])
    found = number(value)
    return np.logical_and(found >= number(first), found <= number(last))


def among(value: Any, container: Iterable[Any]) -> Any:
    """`value in container` of each element, or of each of many tensors, for `any` and `all`."""
    elements_there = list(container)
    if isinstance(value, np.ndarray) and all(map(is_number, elements_there)):
        # Weights have many elements.
        found = number(value)
        return np.any([found == number(each) for each in elements_there], axis=0)
    if isinstance(value, np.ndarray):
        value = [each.item() for each in np.ravel(value)]
    if nesting(value) <= max(map(nesting, elements_there), default=0):
        return contained(value, elements_there)
    return np.asarray([contained(each, elements_there) for each in value])


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number))


def matches(value: Any, other: Any) -> bool:
    if isinstance(value, tuple) and isinstance(other, tuple):
        pairs = zip(value, other)
        return len(value) == len(other) and all(matches(a, b) for a, b in pairs)
    if is_list_of_many(value) or is_list_of_many(other):
        found = pairs_of_many(value, other)
        return found is not None and all(matches(a, b) for a, b in found)
    return holds(value, "==", other)


def differs(value: Any, other: Any) -> bool:
    """Whether tuples are not equal; of a list for many tensors none is."""
    if is_list_of_many(value) or is_list_of_many(other):
        found = pairs_of_many(value, other)
        return found is None or all(differs(a, b) for a, b in found)
    return not matches(value, other)


def same(values: Any) -> bool:
    """All elements of a list are equal."""
    each = list(values)
    return all(matches(each[0], other) for other in each[1:])


def close(left: Any, right: Any, tolerance: float = 1e-5) -> bool:
    """Equal within a relative tolerance."""
    first, second = number(left), number(right)
    if np.ndim(first) and np.ndim(second) and np.shape(first) != np.shape(second):
        return False
    return bool(np.allclose(first, second, rtol=tolerance, atol=0.0))


def raised(base: Any, exponent: Any) -> Any:
    """`base ** exponent`: whole where both are and no exponent is negative, else a float."""
    first, second = number(base), number(exponent)
    found = np.power(first.astype(np.float64), second)
    if "f" in (first.dtype.kind, second.dtype.kind) or np.any(second < 0):
        return found
    if np.any(np.abs(found) >= 2.0**63):
        raise Refused("a power is no whole number of 64 bits")
    return np.power(first, second)


def size(value: Value) -> int:
    if None in value.shape:
        raise Refused("its shape is not known")
    return elements(value.shape)


def limits(dtype: str) -> Tuple[int, int]:
    """The least and greatest value of an integer dtype."""
    info = np.iinfo(dtype)
    return int(info.min), int(info.max)


def ints(value: Any) -> Tuple[int, ...]:
    return tuple(int(each) for each in np.ravel(value))


def settled(value: Any) -> Any:
    """A calculated value as it stands in a record: Python numbers, arrays as they are."""
    is_scalar = isinstance(value, (np.generic, np.ndarray)) and value.ndim == 0
    return value.item() if is_scalar else value


def pads(pad: Value, layout: str) -> Tuple[int, ...]:
    """What an nn.pad adds before each spatial dimension, then behind: top, left, bottom, right.

    Refuses where it pads by anything but a constant, or in other dimensions than those of `layout`.
    """
    if pad.attrs.pad_mode != "constant":
        raise Refused(f"pads by {pad.attrs.pad_mode}")
    widths = dict(zip(layout, pad.attrs.pad_width))
    others = [widths[letter] for letter in layout if letter not in "DHW"]
    require(not np.any(others), "pads the batch or the channels")
    spatial = [widths[letter] for letter in "DHW" if letter in widths]
    return tuple(w[0] for w in spatial) + tuple(w[1] for w in spatial)


def axes(reduction: Value) -> Tuple[int, ...]:
    """The axes a reduction removes: sorted, counted from the front, `exclude` resolved."""
    rank = len(shape_of(reduction.expr.args[0]))
    stated = reduction.attrs.axis
    if stated is None:
        return tuple(range(rank))
    stated = stated if isinstance(stated, tuple) else (stated,)
    chosen = {axis % rank for axis in stated}
    exclude = bool(reduction.attrs.exclude)
    return tuple(axis for axis in range(rank) if (axis in chosen) != exclude)


# ---- end of conditions ---------------------------------------------------------------
