"""How long a generated Relax module takes to partition, beside TVM's FuseOpsByPattern alone.

python -m benchmarks.relax GENERATED.py [--operators N ...] [--runs N] [--json OUT]
(`make benchmark` compiles patterns/tflite.qpat for it.)

Runs where TVM 0.26 or 0.27 is, without qpat. A network is a chain of quantized convolutions, seven
operators each, with constants that differ. Measured is processor time; of each the fastest run
counts, and the runs take turns, so that what else the machine does meets all alike:

- plain: FuseOpsByPattern with the structure of all rows, no checks, nothing to read a record from.
  Its patterns are made beforehand.
- all rows: FuseOpsByPattern(patterns()), with the checks of all rows, and numbers that tell
  composites apart.
- match: the same with the rows whose calls the module has, as partition() does it.
- partition: partition(), which is prepare(), the match with its records, and the records as
  attributes.

The first three get what prepare() gives. Limits: `match` is never slower than `plain`, nor is
partition() from 1,000 operators on; and from 1,000 to 5,000 operators partition() takes at most 7.5
times as long.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tvm
from tvm import relax

from benchmarks.limits import concluded

ROOT = Path(__file__).resolve().parents[1]
OPERATORS = (100, 1000, 5000)
MOST_MATCH = 1.0
MOST_PARTITION = 1.0
MOST_GROWTH = 7.5
FROM, TO = 1000, 5000
# A convolution: three dequantizes, itself, the sum with its bias, a quantize, a clip.
_OPERATORS_IN_LAYER = 7


def network(operators: int) -> Any:
    """A module of about so many operators: int8 convolutions with bias, as TFLite's frontend writes
    them."""
    op = relax.op
    random = np.random.default_rng(0)
    x = relax.Var("x", relax.TensorType((1, 4, 4, 8), "int8"))
    builder = relax.BlockBuilder()
    emit = builder.emit
    with builder.function("main", [x]):
        with builder.dataflow():
            value: Any = x
            for _ in range(operators // _OPERATORS_IN_LAYER):
                weight = relax.const(random.integers(-127, 127, (1, 1, 8, 8), dtype="int8"))
                bias = relax.const(random.integers(-99, 99, 8, dtype="int32"))
                data = emit(op.dequantize(value, _real(0.5), _whole(1), axis=0))
                real = emit(op.dequantize(weight, _real(0.25), _whole(0), axis=3))
                acc = emit(op.nn.conv2d(data, real, data_layout="NHWC", kernel_layout="HWIO"))
                added = emit(op.dequantize(bias, _real(0.125), _whole(0), axis=0))
                total = emit(op.add(acc, added))
                narrow = op.quantize(total, _real(0.5), _whole(1), axis=0, out_dtype="int8")
                value = emit(op.clip(emit(narrow), -128.0, 127.0))
            value = builder.emit_output(value)
        builder.emit_func_output(value)
    return builder.get()


def _real(value: float) -> Any:
    return relax.const(np.float32(value))


def _whole(value: int) -> Any:
    return relax.const(np.int32(value))


def load(path: Path) -> Any:
    """A generated module."""
    spec = importlib.util.spec_from_file_location(path.stem, str(path))
    if spec is None or spec.loader is None:
        raise SystemExit(f"{path} is no Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def measure(patterns: Any, sizes: Sequence[int], runs: int) -> list[dict[str, Any]]:
    """A record for each size, with seconds."""
    records = []
    for operators in sizes:
        records.append(measured(patterns, operators, runs))
        print(line(records[-1]), flush=True)
    return records


def measured(patterns: Any, operators: int, runs: int) -> dict[str, Any]:
    module = network(operators)
    prepared, calls = patterns.prepared(module)
    rows = patterns.rows_for(calls)
    structure = [(row.composite, row.pattern()) for row in patterns.ROWS]
    fusion = relax.transform.FuseOpsByPattern
    options = patterns.Options()
    spent = fastest(
        runs,
        {
            "plain": lambda: fusion(structure)(prepared),
            "all rows": lambda: fusion(patterns.patterns(_nobody))(prepared),
            "match": lambda: fusion(patterns.fusion_patterns(rows, _nobody, options))(prepared),
            "prepare": lambda: patterns.prepare(module),
            "partition": lambda: patterns.partition(module, _nobody),
        },
    )
    composites = len(patterns.composites(patterns.partition(module, _nobody)))
    return {"operators": operators, "composites": composites, "rows": len(rows), **spent}


def _nobody(expr: Any) -> None:
    """Nothing is inherited."""


def fastest(runs: int, actions: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """The least processor time of each action, in seconds."""
    best = dict.fromkeys(actions, float("inf"))
    for _ in range(runs):
        for name, action in actions.items():
            start = time.process_time()
            action()
            best[name] = min(best[name], time.process_time() - start)
    return best


COUNTS = ("operators", "composites", "rows")
TIMES = ("plain", "all rows", "match", "prepare", "partition")
RATIOS = ("match", "partition")
COLUMNS = [*COUNTS, *TIMES, *(f"{each} / plain" for each in RATIOS)]
HEAD = f"| {' | '.join(COLUMNS)} |\n|" + "---|" * len(COLUMNS)


def line(record: dict[str, Any]) -> str:
    """A record as a line of the table that is printed: milliseconds, and parts of plain."""
    words = [str(record[name]) for name in COUNTS]
    words += [f"{record[name] * 1000:.1f}" for name in TIMES]
    words += [f"{record[name] / record['plain']:.2f}" for name in RATIOS]
    return "| " + " | ".join(words) + " |"


def judge(records: list[dict[str, Any]]) -> list[tuple[str, float, float, bool]]:
    """Each limit that was measured: what it is of, the figure, the limit, whether it is kept."""
    judged = []
    for record in records:
        figure, what = record["match"] / record["plain"], f"{record['operators']} operators"
        judged.append((f"match of plain, {what}", figure, MOST_MATCH, figure <= MOST_MATCH))
        if record["operators"] >= FROM:
            figure = record["partition"] / record["plain"]
            kept = figure <= MOST_PARTITION
            judged.append((f"partition() of plain, {what}", figure, MOST_PARTITION, kept))
    at = {record["operators"]: record["partition"] for record in records}
    if FROM in at and TO in at:
        growth = at[TO] / at[FROM]
        what = f"partition(), {TO} to {FROM} operators"
        judged.append((what, growth, MOST_GROWTH, growth <= MOST_GROWTH))
    return judged


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("generated", type=Path)
    parser.add_argument("--operators", type=int, nargs="+", default=list(OPERATORS))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", metavar="OUT", default=str(ROOT / "build" / "relax.json"))
    options = parser.parse_args()
    patterns = load(options.generated)
    print(f"TVM {tvm.__version__}, {len(patterns.ROWS)} rows; milliseconds\n\n{HEAD}")
    records = measure(patterns, options.operators, options.runs)
    result = {"tvm": tvm.__version__, "rows": len(patterns.ROWS), "records": records}
    return concluded(judge(records), result, options.json)


if __name__ == "__main__":
    sys.exit(main())
