"""How long MergeComposite takes, TVM's and `qpat.merge_composite`, on residual int8 networks.

python -m benchmarks.partition [--calls N ...] [--runs N] [--json OUT]    (or `make benchmark`)

Both get the same module and the same table in the same process; of each the fastest run counts.
The tables are TVM's own for Ethos-U, CMSIS-NN and DNNL, and that of patterns/tflite.qpat. What is
given is a ratio, and a part of what InferType alone takes on the module, of processor time: on an
idle machine that is the time one waits. Limits, at 1,280 calls:
without checks 100 times as fast with Ethos-U's table and half an InferType, with its checks 25
times as fast; and from 1,280 to 5,120 calls at most 4.6 times as long.
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
from tvm import relay

import qpat
from benchmarks.limits import concluded
from qpat.compiler import compile_file
from qpat.relay.loading import load

ROOT = Path(__file__).resolve().parents[1]
CALLS = (40, 160, 640, 1280, 5120)
# TVM's pass is quadratic in some tables: it is measured on modules of up to so many calls.
MOST_FOR_TVM = 1280
AT = 1280
LEAST_RATIO = {"ethos-u, no checks": 100.0, "ethos-u": 25.0}
MOST_INFER_TYPES = 0.5
MOST_GROWTH = 4.6
_CHANNELS = 16
# Two convolutions with bias and requantize, an addition and a pooling.
_CALLS_IN_BLOCK = 8


def residual_network(calls: int) -> Any:
    """A typed module of about so many calls: blocks of two int8 convolutions with bias and
    requantize, a residual addition and a pooling, as TFLite's frontend writes them."""
    x = relay.var("x", shape=(1, 8, 8, _CHANNELS), dtype="int8")
    chance = np.random.default_rng(0)
    value = x
    for _ in range(calls // _CALLS_IN_BLOCK):
        inner = _convolution(_convolution(value, chance), chance)
        value = relay.qnn.op.add(
            inner, value, *(_scalar(0.5), _zero(), _scalar(0.25), _zero(), _scalar(0.5), _zero())
        )
        value = relay.nn.max_pool2d(value, (1, 1), layout="NHWC")
    module = tvm.IRModule.from_expr(relay.Function([x], value))
    return relay.transform.InferType()(module)


def _convolution(value: Any, chance: Any) -> Any:
    weights = relay.const(chance.integers(-100, 100, (3, 3, _CHANNELS, _CHANNELS)).astype("int8"))
    scales = relay.const(np.full(_CHANNELS, 0.01, "float32"))
    result = relay.qnn.op.conv2d(
        value,
        weights,
        *(_zero(), _zero(), _scalar(0.5), scales),
        kernel_size=(3, 3),
        channels=_CHANNELS,
        padding=(1, 1, 1, 1),
        data_layout="NHWC",
        kernel_layout="HWIO",
        out_dtype="int32",
    )
    bias = relay.const(np.zeros(_CHANNELS, "int32"))
    result = relay.nn.bias_add(result, bias, axis=3)
    out = relay.const(np.full(_CHANNELS, 0.005, "float32"))
    return relay.qnn.op.requantize(
        result, out, _zero(), _scalar(0.5), _zero(), axis=3, out_dtype="int8"
    )


def _scalar(value: float) -> Any:
    return relay.const(np.float32(value))


def _zero() -> Any:
    return relay.const(np.int32(0))


def tables() -> dict[str, Any]:
    """Tables by name; Ethos-U's checks need the package `ethosu` (ethos-u-vela)."""
    from tvm.relay.op.contrib import cmsisnn, dnnl, ethosu

    generated = load(compile_file(ROOT / "patterns" / "tflite.qpat"))
    found = {
        "ethos-u": ethosu.pattern_table(),
        "cmsis-nn": cmsisnn.pattern_table(),
        "dnnl": dnnl.pattern_table(),
        "tflite.qpat": generated.pattern_table(),
    }
    bare = {
        f"{name}, no checks": [row[:2] for row in table]
        for name, table in found.items()
        if any(len(row) > 2 for row in table)
    }
    if not has_ethosu():
        del found["ethos-u"]
    return {**found, **bare}


def has_ethosu() -> bool:
    """Whether the checks of Ethos-U's table can run."""
    return importlib.util.find_spec("ethosu") is not None


def measure(sizes: Sequence[int], runs: int, most_for_tvm: int) -> list[dict[str, Any]]:
    """A record for each table and size: seconds; None where TVM's pass was not measured."""
    records = []
    found = tables()
    for calls in sizes:
        module = residual_network(calls)
        infer = fastest(runs, relay.transform.InferType(), module)
        for name, table in found.items():
            merge = qpat.merge_composite(table)
            records.append(
                {
                    "table": name,
                    "calls": calls,
                    "composites": merge(module).astext(show_meta_data=False).count("Composite="),
                    "infer_type": infer,
                    "tvm": by_tvm(table, module) if calls <= most_for_tvm else None,
                    "qpat": fastest(runs, merge, module),
                }
            )
            print(line(records[-1]), flush=True)
    return records


def fastest(runs: int, action: Callable[[Any], Any], module: Any) -> float:
    """In seconds."""
    best = float("inf")
    for _ in range(runs):
        start = time.process_time()
        action(module)
        best = min(best, time.process_time() - start)
    return best


def by_tvm(table: Any, module: Any) -> float:
    """How long TVM's pass takes, in seconds: once, since it is long. Its module must be ours."""
    start = time.process_time()
    merged = relay.transform.MergeComposite(table)(module)
    end = time.process_time()
    if not tvm.ir.structural_equal(merged, qpat.merge_composite(table)(module)):
        raise SystemExit("the two modules differ")
    return end - start


HEAD = "| table | calls | composites | TVM s | qpat s | ratio | of an InferType |\n|" + "---|" * 7


def line(record: dict[str, Any]) -> str:
    """A record as a line of the table that is printed."""
    tvms, ours = record["tvm"], record["qpat"]
    words = [
        record["table"],
        record["calls"],
        record["composites"],
        "" if tvms is None else f"{tvms:.3f}",
        f"{ours:.4f}",
        "" if tvms is None else f"{tvms / ours:.0f}",
        f"{ours / record['infer_type']:.2f}",
    ]
    return "| " + " | ".join(map(str, words)) + " |"


def judge(records: list[dict[str, Any]]) -> list[tuple[str, float, float, bool]]:
    """Each limit that was measured: what it is of, the figure, the limit, whether it is kept."""
    at = {(record["table"], record["calls"]): record for record in records}
    judged = []
    for (name, calls), record in at.items():
        if calls != AT:
            continue
        least = LEAST_RATIO.get(name)
        if least is not None and record["tvm"] is not None:
            ratio = record["tvm"] / record["qpat"]
            judged.append((f"times as fast, {name}", ratio, least, ratio >= least))
        if name.endswith("no checks"):
            part = record["qpat"] / record["infer_type"]
            judged.append((f"InferTypes, {name}", part, MOST_INFER_TYPES, part <= MOST_INFER_TYPES))
        large = at.get((name, 4 * AT))
        if large is not None:
            growth = large["qpat"] / record["qpat"]
            what = f"{4 * AT} to {AT} calls, {name}"
            judged.append((what, growth, MOST_GROWTH, growth <= MOST_GROWTH))
    return judged


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, nargs="+", default=list(CALLS))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--most-for-tvm", type=int, default=MOST_FOR_TVM)
    parser.add_argument("--json", metavar="OUT", default=str(ROOT / "build" / "partition.json"))
    options = parser.parse_args()
    if not has_ethosu():
        print("ethos-u with its checks is left out: pip install ethos-u-vela==3.8.0")
    print(HEAD)
    records = measure(options.calls, options.runs, options.most_for_tvm)
    result = {"records": records}
    return concluded(judge(records), result, options.json)


if __name__ == "__main__":
    sys.exit(main())
