"""Times FuseOpsByPattern with the patterns of a generated module, and with the same patterns alone.

    python relax_speed.py GENERATED.py SIZE…

The module is that of tests/targets/both.qpat; a network is a chain of quantized convolutions, seven
operators each, with constants that differ. `plain` is TVM's pass with the structure of the rows
only: no checks, no numbers, nothing to read a record from. Prints as JSON for each size the best of
three times in seconds, and how many composites there are. Runs on TVM 0.26 and 0.27.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from relax_cases import Maker, dequantize, f32, i32, op, quantize, relax, var
from run_relax import load


def network(size: int) -> Any:
    random = np.random.default_rng(0)
    x = var("x", (1, 4, 4, 8))

    def body(emit: Any) -> Any:
        value = x
        for _ in range(size // 7):
            weight = relax.const(random.integers(-127, 127, (1, 1, 8, 8), dtype="int8"))
            bias = relax.const(random.integers(-99, 99, 8, dtype="int32"))
            data = emit(dequantize(value))
            real = emit(op.dequantize(weight, f32(0.25), i32(0), axis=3))
            acc = emit(op.nn.conv2d(data, real, data_layout="NHWC", kernel_layout="HWIO"))
            total = emit(op.add(acc, emit(op.dequantize(bias, f32(0.125), i32(0), axis=0))))
            value = emit(op.clip(emit(quantize(total, 0.5, 1)), -128.0, 127.0))
        return value

    return Maker(x).module(body)


def best(run: Callable[[], Any]) -> float:
    times = []
    for _ in range(3):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def times(patterns: Any, size: int) -> dict[str, float]:
    module = network(size)
    prepared = patterns.prepare(module)
    plain = [(row.composite, row.pattern()) for row in patterns.ROWS]
    fusion = relax.transform.FuseOpsByPattern
    merged = fusion(patterns.patterns(lambda expr: None))(prepared)
    return {
        "composites": len(patterns.composites(merged)),
        "plain": best(lambda: fusion(plain)(prepared)),
        "ours": best(lambda: fusion(patterns.patterns(lambda expr: None))(prepared)),
        "prepare": best(lambda: patterns.prepare(module)),
    }


def main(generated: str, *sizes: str) -> None:
    patterns = load(Path(generated))
    print("\n" + json.dumps({size: times(patterns, int(size)) for size in sizes}))


if __name__ == "__main__":
    main(*sys.argv[1:])
