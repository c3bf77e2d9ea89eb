"""Counts what partition() of the module generated from patterns/tflite.qpat does.

    python relax_work.py GENERATED.py LAYERS…

Prints as JSON for chains of so many quantized convolutions: how many rows there are, how many are
given to FuseOpsByPattern, how many composites are made, and how often a row is read from a graph.
The records must be those that all rows and annotate() give. Runs on TVM 0.26 and 0.27.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from relax_cases import Maker, dequantize, f32, i32, op, quantize, relax, sigmoid, var
from run_relax import load
from tvm_ffi import structural_equal


def chain(layers: int) -> Any:
    random = np.random.default_rng(0)
    x = var("x", (1, 4, 4, 8))

    def body(emit: Any) -> Any:
        value = x
        for _ in range(layers):
            weight = relax.const(random.integers(-127, 127, (1, 1, 8, 8), dtype="int8"))
            bias = relax.const(random.integers(-99, 99, 8, dtype="int32"))
            data = emit(dequantize(value))
            real = emit(op.dequantize(weight, f32(0.25), i32(0), axis=3))
            acc = emit(op.nn.conv2d(data, real, data_layout="NHWC", kernel_layout="HWIO"))
            total = emit(op.add(acc, emit(op.dequantize(bias, f32(0.125), i32(0), axis=0))))
            value = emit(op.clip(emit(quantize(total, 0.5, 1)), -128.0, 127.0))
        return value

    return Maker(x).module(body)


def branching() -> Any:
    """A function whose operators stand in a branch, where nobody looks for them beforehand."""
    inner = sigmoid()["main"]
    is_chosen = var("is_chosen", (), "bool")
    builder = relax.BlockBuilder()
    with builder.function("main", [*inner.params, is_chosen]):
        branches = inner.body, relax.SeqExpr([], inner.params[0])
        builder.emit_func_output(builder.emit(relax.If(is_chosen, *branches)))
    return builder.get()


def inherits(variable: Any) -> None:
    """Nothing is known of any variable."""


def work(patterns: Any, module: Any) -> dict[str, int]:
    """What partition() does for a module."""
    rows, fusion_pattern = patterns.ROWS, patterns.FusionPattern
    counted = {"rows": len(rows), "given": 0, "read": 0}

    def reading(bind: Any) -> Any:
        def read(*arguments: Any) -> Any:
            counted["read"] += 1
            return bind(*arguments)

        return read

    def given(*arguments: Any) -> Any:
        counted["given"] += 1
        return fusion_pattern(*arguments)

    patterns.ROWS = tuple(row._replace(bind=reading(row.bind)) for row in rows)
    patterns.FusionPattern = given
    try:
        partitioned = patterns.partition(module, inherits)
    finally:
        patterns.ROWS, patterns.FusionPattern = rows, fusion_pattern
    fusion = relax.transform.FuseOpsByPattern(patterns.patterns(inherits))
    whole = patterns.annotate(fusion(patterns.prepare(module)))
    pairs = list(zip(made(partitioned), made(whole), strict=True))
    for ours, theirs in pairs:
        assert structural_equal(ours.attrs["qpat_record"], theirs.attrs["qpat_record"])
    return {**counted, "composites": len(pairs)}


def made(module: Any) -> list[Any]:
    """All composite functions of a module."""
    found = {v.name_hint: f for v, f in module.functions.items() if "Composite" in (f.attrs or {})}
    return [found[name] for name in sorted(found)]


def main(generated: str, *layers: str) -> None:
    patterns = load(Path(generated))
    found: dict[str, Any] = {each: work(patterns, chain(int(each))) for each in layers}
    found["branching"] = work(patterns, branching())
    print("\n" + json.dumps(found))  # a line of its own: TVM prints there too


if __name__ == "__main__":
    main(*sys.argv[1:])
