"""Relay's integer arithmetic in NumPy, bit for bit, with the pinned `requantize_config`.

From src/relay/qnn/utils.cc (GetFixedPointMultiplierShift, FixedPointMultiply) and
src/relay/qnn/op/requantize.cc of TVM 0.16, rounding UPWARD, compute_dtype int64.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qpat.targets.relay_derived import fixed_point

Array = NDArray[Any]
_FRACTION = 31


def multiplied(values: Array, multiplier: Any) -> Array:
    """int64 `values` by a real multiplier, a number or an array that is broadcast to them: a
    multiplication in fixed point, and a half is rounded up."""
    fixed, shift = (np.asarray(each, np.int64) for each in fixed_point(multiplier))
    total = _FRACTION - np.minimum(shift, 0)
    wide = (values.astype(np.int64) << np.maximum(shift, 0)) * fixed
    return np.asarray((wide + (np.int64(1) << (total - 1))) >> total)


def requantized(values: Array, scale: Any, zero_point: Any, output: Any) -> Array:
    """int64 values of a space in that of a tensor of the record, neither cut nor narrowed.

    `scale` is float32, a number or an array that is broadcast to the values. Equal scales are not
    multiplied.
    """
    centred = values.astype(np.int64) - np.asarray(zero_point, np.int64)
    old, new = np.asarray(scale, "float32"), np.float32(output.scale)
    if not np.all(old == new):
        centred = multiplied(centred, old.astype("float64") / np.float64(new))
    return centred + np.int64(output.zero_point)


def narrowed(values: Array, output: Any) -> Array:
    """Cut to the range of a tensor of the record, in its dtype."""
    return np.asarray(np.clip(values, *output.range), output.dtype)
