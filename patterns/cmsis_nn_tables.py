"""The tables that CMSIS-NN's softmax of int16 interpolates in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

_STEPS = 512
# 65,536 steps for [-1, 1], as in TVM: -1 is -32768.
_SCALE = np.float32(32768)


def softmax_tables() -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """exp(x) over [-10, 0] and 1 / (1 + x) over [0, 1], int16 [513] each, of scale 2**-15.

    As gen_lut of TFLite Micro and CalculateLUTInt16 of TVM
    (src/relay/backend/contrib/cmsisnn/compute_luts.cc) make them: each entry is moved by half of
    what interpolation misses in the middle to the next.
    """
    return _table(_exp, -10.0, 0.0), _table(lambda x: 1.0 / (1.0 + x), 0.0, 1.0)


def _table(function: Callable[[Any], Any], low: float, high: float) -> NDArray[np.int16]:
    """In float32, as there, which is another number in three places."""
    step = np.float32((high - low) / _STEPS)
    places = np.float32(low) + step * np.arange(_STEPS + 1, dtype="float32")
    values = _rounded(function(places) * _SCALE)
    middles = _rounded(function(places[:-1] + step / 2) * _SCALE)
    missed = _rounded((values[:-1] + values[1:]) / 2) - middles
    values[:-1] -= _rounded(missed / 2)
    return np.clip(values, -32768, 32767).astype("int16")


def _exp(places: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.exp(places.astype("float64")).astype("float32")


def _rounded(values: Any) -> Any:
    """To the nearest whole number, halves away from zero."""
    return np.copysign(np.floor(np.abs(values) + 0.5), values)
