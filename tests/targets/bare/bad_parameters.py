"""Graphs whose scales, zero points or axes no tensor can have, given to a generated module.

    python bad_parameters.py GENERATED.py

Prints as JSON, for each case, whether TVM types the graph at all, and if it does: how many
composites MergeComposite forms, the reasons of `refusals`, and what `extract` says of a composite
that somebody else has cut out. Runs on Python 3.8 and TVM 0.9.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tvm
from run_generated import load
from tvm import relay

qnn = relay.qnn.op
NAN, INF = float("nan"), float("inf")


def f32(*values: float) -> Any:
    return relay.const(np.array(values if len(values) > 1 else values[0], "float32"))


def i32(*values: int) -> Any:
    return relay.const(np.array(values if len(values) > 1 else values[0], "int32"))


def var(name: str, shape: Any = (1, 4), dtype: str = "int8") -> Any:
    return relay.var(name, shape=shape, dtype=dtype)


def add(scale: Any, zero_point: Any, dtype: str = "int8") -> Any:
    x, x2 = var("x", dtype=dtype), var("x2", dtype=dtype)
    return qnn.add(x, x2, scale, zero_point, f32(0.25), i32(2), f32(1.0), i32(3))


def add_output(scale: Any, zero_point: Any) -> Any:
    x, x2 = var("x"), var("x2")
    return qnn.add(x, x2, f32(0.5), i32(1), f32(0.25), i32(2), scale, zero_point)


def quantize(scale: Any, zero_point: Any, axis: int) -> Any:
    return qnn.quantize(var("x", (2, 3), "float32"), scale, zero_point, axis, "int8")


def dense(
    weights: Any = None,
    total: Any = None,
    zero_point: Any = None,
    axis: int = -1,
    weight_zero_point: Any = None,
    data: Any = None,
) -> Any:
    weight = relay.const(np.arange(16, dtype="int8").reshape(4, 4))
    slots = i32(0), weight_zero_point or i32(0), data or f32(0.5), weights or f32(0.25)
    acc = qnn.dense(var("x", (4, 4)), weight, *slots, units=4)
    acc = relay.nn.bias_add(acc, relay.const(np.arange(4, dtype="int32")), axis)
    space = total or f32(0.125), zero_point or i32(0)
    return qnn.requantize(acc, *space, f32(1.0), i32(0), axis=axis, out_dtype="int8")


def conv2d(layout: str, *scales: float) -> Any:
    kernel = relay.const(np.ones((3, 3, 2, 4), "int8"))
    groups, channels = (2, 8) if layout == "HWOI" else (1, 4)
    slots = i32(0), i32(0), f32(0.5), f32(*scales)
    acc = qnn.conv2d(
        *(var("x", (1, 8, 8, 2)), kernel, *slots, (3, 3), channels),
        groups=groups,
        data_layout="NHWC",
        kernel_layout=layout,
    )
    return qnn.requantize(acc, f32(0.125), i32(0), f32(1.0), i32(0), axis=3, out_dtype="int8")


def concatenated(scales: int, zero_points: int) -> Any:
    tensors = relay.Tuple([var("x"), var("y")])
    slots = relay.Tuple([f32(0.5)] * scales), relay.Tuple([i32(1)] * zero_points)
    return qnn.concatenate(tensors, *slots, f32(0.5), i32(1), axis=0)


CASES = {
    "fine": lambda: add(f32(0.5), i32(1)),
    "a zero scale": lambda: add(f32(0.0), i32(1)),
    "a negative scale": lambda: add(f32(-0.5), i32(1)),
    "an infinite scale": lambda: add(f32(INF), i32(1)),
    "a scale that is no number": lambda: add(f32(NAN), i32(1)),
    "a scale that is not constant": lambda: add(relay.var("s", shape=(), dtype="float32"), i32(1)),
    "a zero point that is not constant": lambda: add(
        f32(0.5), relay.var("z", shape=(), dtype="int32")
    ),
    "a zero point above int8": lambda: add(f32(0.5), i32(128)),
    "a zero point below int8": lambda: add(f32(0.5), i32(-129)),
    "a zero point below uint8": lambda: add(f32(0.5), i32(-1), "uint8"),
    "a zero scale of the output": lambda: add_output(f32(0.0), i32(1)),
    "a zero point of the output": lambda: add_output(f32(0.5), i32(1000)),
    "per channel": lambda: quantize(f32(1, 2, 3), i32(0), 1),
    "per channel, from behind": lambda: quantize(f32(1, 2, 3), i32(0), -1),
    "one of several scales": lambda: quantize(f32(1, 0, 1), i32(0), 1),
    "an axis out of range": lambda: quantize(f32(1, 2, 3), i32(0), 5),
    "an axis before the first": lambda: quantize(f32(1, 2, 3), i32(0), -3),
    "two scales for three channels": lambda: quantize(f32(1, 2), i32(0), 1),
    "two zero points for three channels": lambda: quantize(f32(1, 2, 3), i32(0, 1), 1),
    "one of several zero points": lambda: quantize(f32(1, 2, 3), i32(0, 200, 0), 1),
    "a dense layer": lambda: dense(),
    "scales within rounding": lambda: dense(data=f32(0.1), weights=f32(0.7), total=f32(0.07)),
    "another scale of the accumulator": lambda: dense(total=f32(0.1251)),
    "a zero point of the accumulator": lambda: dense(zero_point=i32(4)),
    "an accumulator per channel": lambda: dense(weights=f32(1, 2, 3, 4), total=f32(0.5, 1, 1.5, 2)),
    "one channel of the accumulator": lambda: dense(
        weights=f32(1, 2, 3, 4), total=f32(0.5, 1, 1.5, 2.5)
    ),
    "one scale for several channels": lambda: dense(weights=f32(1, 2, 3, 4), total=f32(0.5)),
    "an accumulator along the batch": lambda: dense(
        weights=f32(1, 2, 3, 4), total=f32(0.5, 1, 1.5, 2), axis=0
    ),
    "a zero scale of the weights": lambda: dense(weights=f32(0, 1, 1, 1)),
    "zero points of the weights": lambda: dense(weight_zero_point=i32(0, 1, 2)),
    "scales of channels and multipliers": lambda: conv2d("HWOI", *[0.25] * 8),
    "scales that fit no kernel": lambda: conv2d("HWOI", *[0.25] * 6),
    "fewer scales than tensors": lambda: concatenated(1, 2),
    "more zero points than tensors": lambda: concatenated(2, 3),
}


def outcome(patterns: Any, body: Any) -> Any:
    try:
        function = relay.Function(relay.analysis.free_vars(body), body)
        module = relay.transform.InferType()(tvm.IRModule.from_expr(function))
    except Exception as error:  # TVM raises all kinds of errors here
        return {"untyped": bool(str(error)), "composites": 0, "reasons": [], "extract": []}
    merged = relay.transform.MergeComposite(patterns.pattern_table())(module)
    root = module["main"].body
    reasons = sorted({reason for _, reason in patterns.refusals(root)})
    return {
        "untyped": False,
        "composites": len(patterns.composites(merged["main"].body)),
        "reasons": reasons,
        "extract": extracted(patterns, module["main"]),
    }


def extracted(patterns: Any, function: Any) -> Any:
    """What `extract` says of the whole function as a composite of the row with its structure."""
    operators = {
        str(call.op.name) for call in calls(function.body) if isinstance(call.op, tvm.ir.Op)
    }
    names = {row.composite for row in patterns.ROWS if set(row.operators) == operators}
    said = []
    for name in sorted(names):
        composite = function.with_attr("Composite", name)
        try:
            patterns.extract(relay.Call(composite, list(function.params)))
            said.append("a record")
        except ValueError as error:
            said.append(str(error))
    return said


def calls(body: Any) -> Any:
    found = []
    relay.analysis.post_order_visit(
        body, lambda each: found.append(each) if isinstance(each, relay.Call) else None
    )
    return found


def main(generated: str) -> None:
    patterns = load(Path(generated))
    found = {name: outcome(patterns, make()) for name, make in CASES.items()}
    print("\n" + json.dumps(found))  # a line of its own: TVM prints there too


if __name__ == "__main__":
    main(sys.argv[1])
