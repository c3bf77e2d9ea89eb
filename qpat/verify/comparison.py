"""What TVM computed beside what the record means, element by element."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qpat.verify.bounds import Bound
from qpat.verify.evaluation import quantized_steps

Array = NDArray[Any]
# Beyond this TVM's own arithmetic is not defined: it casts to int32 before it cuts.
_WIDEST = 2.0**30


@dataclass(frozen=True, eq=False)
class Compared:
    """`worst` is the largest error that was found, in units of the last place, and `at` its index;
    `left_out` are elements for which there is no value: the meaning is not finite there, or does
    not fit in 32 bits. `wrong` are those outside the bound."""

    worst: float
    at: tuple[int, ...]
    wanted: float
    got: float
    elements: int
    left_out: int
    wrong: int


def compare(got: Array, real: Array, output: Any, bound: Bound, is_raw: bool) -> Compared:
    """Compares a result of TVM with real numbers, by the record's output tensor.

    A result of another shape is wrong altogether, by an infinite error. The record is known to say
    what the output's integers stand for (`needs_parameters`).
    """
    if got.shape != real.shape:
        return Compared(np.inf, (), np.nan, np.nan, got.size, 0, max(1, got.size))
    if bound.in_ulps:
        wanted, unit = real, np.spacing(np.abs(real.astype("float32"))).astype("float64")
        slack = np.zeros_like(real)
    else:
        steps = real if is_raw else quantized_steps(output, real)
        least, most = output.range
        wanted, unit = np.clip(steps, least, most), np.ones_like(steps)
        zero = 0.0 if is_raw else np.max(np.abs(np.float64(output.zero_point)))
        slack = 1e-6 + bound.relative * (np.abs(np.nan_to_num(wanted)) + zero)
        real = steps
    known = np.isfinite(real) & (np.abs(real) < _WIDEST)
    wide = got.astype("float64")
    error = np.where(known, np.abs(wide - np.where(known, wanted, 0.0)) / unit, 0.0)
    wrong = error > bound.units + slack
    if not error.size:
        return Compared(0.0, (), 0.0, 0.0, 0, 0, 0)
    at = np.unravel_index(int(np.argmax(error)), error.shape)
    place = tuple(int(each) for each in at)
    return Compared(
        float(error[at]),
        place,
        float(wanted[at]),
        float(wide[at]),
        error.size,
        int(np.sum(~known)),
        int(np.sum(wrong)),
    )
