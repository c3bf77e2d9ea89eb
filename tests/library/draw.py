"""Random pieces of quantized graphs, mostly within what a row of a table takes, now and then beyond
it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from tvm import relay

Item = TypeVar("Item")
qnn = relay.qnn.op
UNEVEN = 0.08  # how often a choice is one that the row may not take


class Draw:
    """Draws from one seed; `traits` collects in what respects the tables are known to differ."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.traits: set[str] = set()
        self.count = 0

    def one(self, items: Sequence[Item]) -> Item:
        return items[int(self.random.integers(len(items)))]

    def mostly(self, usual: Sequence[Item], seldom: Sequence[Item]) -> Item:
        """One of the usual ones, or now and then one of the others."""
        return self.one(seldom if seldom and self.random.random() < UNEVEN else usual)

    def often(self, share: float = 0.5) -> bool:
        return bool(self.random.random() < share)

    def note(self, trait: str, holds: bool) -> None:
        if holds:
            self.traits.add(trait)

    # ---- leaves ----
    def var(self, shape: Sequence[int], dtype: str) -> Any:
        self.count += 1
        return relay.var(f"x{self.count}", shape=tuple(shape), dtype=dtype)

    def weights(self, shape: Sequence[int], dtype: str, full: bool = False) -> Any:
        """A constant; `full`: everywhere the least number of the dtype."""
        info = np.iinfo(dtype)
        if full:
            return relay.const(np.full(shape, info.min, dtype))
        low, high = max(info.min, -(2**15)), min(info.max, 2**15)
        return relay.const(
            self.random.integers(low, high, tuple(shape), endpoint=True, dtype=dtype)
        )

    def scale(self, count: int = 0) -> Any:
        """A float32 constant; of `count` numbers where that is not 0."""
        value = 2.0 ** self.random.uniform(-8, 0, count or None)
        return relay.const(np.asarray(value, "float32"))

    def zero(self, dtype: str, often: float = 0.0) -> Any:
        """A zero point, int32; 0 as `often` as that."""
        info = np.iinfo(dtype)
        value = 0 if self.often(often) else self.random.integers(info.min, info.max, endpoint=True)
        return relay.const(np.int32(value))

    # ---- what stands behind ----
    def clipped(self, body: Any, share: float = 0.4) -> Any:
        if not self.often(share):
            return body
        low = int(self.random.integers(-60, 0))
        return relay.clip(body, low, low + int(self.random.integers(1, 90)))

    def requantized(self, body: Any, scale: Any, dtype: str, axis: int = -1) -> Any:
        return qnn.requantize(
            body,
            scale,
            relay.const(np.int32(0)),
            self.scale(),
            self.zero(dtype),
            axis=axis,
            out_dtype=dtype,
        )

    def dequantized(self, body: Any, dtype: str) -> Any:
        return qnn.dequantize(body, self.scale(), self.zero(dtype))

    def quantized(self, body: Any, dtype: str) -> Any:
        return qnn.quantize(body, self.scale(), self.zero(dtype), out_dtype=dtype)


class DrawInt16(Draw):
    """Takes int16 wherever a body knows of it, and otherwise what is usual."""

    def mostly(self, usual: Sequence[Item], seldom: Sequence[Item]) -> Item:
        wide = [each for each in (*usual, *seldom) if each == "int16"]
        return wide[0] if wide else self.one(usual)


def product(first: Any, second: Any) -> Any:
    """The scale of an accumulator, as frontends write it: in float32."""
    return relay.const(np.asarray(first.data.numpy() * second.data.numpy(), "float32"))


def number(constant: Any) -> Any:
    return constant.data.numpy()
