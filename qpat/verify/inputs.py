"""Inputs: the corners first, then random values of all and of small sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def draw_input(
    random: np.random.Generator, number: int, shape: tuple[int, ...], dtype: str
) -> Array:
    """Input `number` of a tensor. The first are corners: both ends of the range, both in turn, the
    middle, and a ramp; the others are random, near the middle or anywhere."""
    if dtype.startswith("float"):
        return _floats(random, number, shape, dtype)
    info = np.iinfo(dtype)
    low, high = int(info.min), int(info.max)
    if info.bits > 16:
        low, high = -(2**20), 2**20
    match number:
        case 0:
            return np.full(shape, low, dtype)
        case 1:
            return np.full(shape, high, dtype)
        case 2:
            return np.asarray(random.choice([low, high], shape), dtype)
        case 3:
            return np.full(shape, (low + high + 1) // 2, dtype)
        case 4:
            size = int(np.prod(shape))
            start = int(random.integers(low, high, endpoint=True))
            ramp = (np.arange(size) + start - low) % (high - low + 1) + low
            return np.asarray(ramp.reshape(shape), dtype)
    if number % 4 == 1:
        middle = int(random.integers(low, high, endpoint=True))
        near = random.integers(middle - 4, middle + 5, shape)
        return np.asarray(np.clip(near, low, high), dtype)
    return np.asarray(random.integers(low, high, shape, endpoint=True), dtype)


def _floats(random: np.random.Generator, number: int, shape: tuple[int, ...], dtype: str) -> Array:
    if number == 0:
        return np.zeros(shape, dtype)
    return np.asarray(random.normal(0, 2.0 ** random.uniform(-6, 6), shape), dtype)
