"""How far what a Relay graph computes may be from its meaning: derived from the row, call by call.

The unit is the output's last place. A graph that only moves integers has a bound of 0.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from qpat.records import dataclass
from qpat.semantics import ir
from qpat.semantics.walk import below
from qpat.verify.drafts import Graph
from qpat.verify.parameters import Drawn, dtypes_of

# A call that computes in float32 is within half a unit of its value, in what is verified.
_IN_FLOAT = 0.5
_THROUGH_FLOAT = (
    *("abs", "erf", "exp", "hardswish"),
    *("log", "rsqrt", "sigmoid", "sqrt", "tanh"),
)
# What a call rounds away at most, in units of its own result, and where that is to be read.
ROUNDS: dict[str, float] = {
    # Half a unit: src/relay/qnn/op/requantize.cc and quantize.cc round to nearest.
    "qnn.requantize": 0.5,
    "qnn.quantize": 0.5,
    "qnn.mul": 0.5,
    "qnn.concatenate": 0.5,
    # Each side is requantized by itself (qnn/op/op_common.h), and the sum is exact.
    "qnn.add": 1.0,
    "qnn.subtract": 1.0,
    # Integers are divided, which cuts off (topi/reduction.h, topi/nn/pooling.h).
    "mean": 1.0,
    "nn.avg_pool2d": 1.0,
    "nn.global_avg_pool2d": 1.0,
    "right_shift": 1.0,
    # Two products are rounded, and what is behind the first (qnn/op/leaky_relu.cc): see _loss.
    "qnn.leaky_relu": 1.0,
    # Calculated or tabulated in float32 and rounded to nearest (qnn/op/canonicalizations.py).
    **{f"qnn.{name}": 0.5 + _IN_FLOAT for name in _THROUGH_FLOAT},
}
# What makes an error of an operand no larger, on real numbers.
KEEPS_ERRORS = frozenset(
    [
        *("clip", "nn.relu", "maximum", "minimum", "max", "min", "mean", "cast", "copy"),
        *("nn.max_pool2d", "nn.avg_pool2d", "nn.pad", "nn.mirror_pad", "concatenate", "split"),
        *("reshape", "squeeze", "expand_dims", "transpose", "reverse", "tile", "strided_slice"),
        *("nn.depth_to_space", "nn.space_to_depth", "nn.batch_flatten", "add", "subtract"),
        *("qnn.requantize", "qnn.quantize", "qnn.dequantize", "qnn.add", "qnn.subtract"),
        *("qnn.concatenate", "nn.bias_add", "abs", "negative", "broadcast_to", "repeat", "stack"),
    ]
)
# float32 has 24 bits: a product of scales that was rounded to it, and the multiplier of it.
RELATIVE = 2.0**-21
_MOST_INT32 = 2.0**31 - 1


@dataclass(frozen=True)
class Bound:
    """At most `units` of the output's last place, for the reasons `parts`, and `relative` of the
    output's integers. `in_ulps`: it is a float, whose last place depends on its value."""

    units: float
    parts: tuple[str, ...]
    in_ulps: bool = False
    relative: float = RELATIVE


class NoBound(Exception):
    """How much is rounded away cannot be said; the text says why."""


def no_scale(node: ir.Node) -> NoBound:
    """That what a node rounds away cannot be said in units of anything."""
    said = node.operator if isinstance(node, ir.Call) else "a value"
    return NoBound(f"{said} rounds, and its scale is not known")


def derive_bound(row: ir.Row, graph: Graph) -> Bound:
    """The bound of a row for parameters that were drawn. Raises NoBound."""
    types, drawn = graph.types, graph.drawn
    if dtypes_of(types[row.root])[0].startswith("float"):
        calls = sum(dtypes_of(types[index])[0].startswith("float") for index in _calls(row))
        return Bound(float(calls), (f"{calls} of float32",), in_ulps=True)
    parts: list[str] = []
    units = 0.0
    for index, node in _calls(row).items():
        loss = _loss(node, index, graph)
        if loss is None or dtypes_of(types[index])[0].startswith("float"):
            continue
        _check_users(row, index)
        share = loss * _ratio(row, index, drawn)
        units += share
        parts.append(f"{node.operator} {share:.4g}")
    if any(dtypes_of(types[index])[0].startswith("float") for index in _calls(row)):
        units += _IN_FLOAT
        parts.append(f"float32 {_IN_FLOAT}")
    return Bound(units, tuple(parts))


def _loss(node: ir.Call, index: int, graph: Graph) -> float | None:
    """What a call rounds away, in units of its result. Raises NoBound where it may overflow."""
    if node.operator == "qnn.leaky_relu":
        # alpha * q + (1 - alpha) * zero_point, of a q that was rounded.
        return ROUNDS[node.operator] + abs(float(graph.exprs[index].attrs.alpha)) / 2
    if node.operator == "qnn.mul" and _reach(node, index, graph) > _MOST_INT32:
        raise NoBound("TVM multiplies in int32, which has no room for this product")
    return ROUNDS.get(node.operator)


def _reach(node: ir.Call, index: int, graph: Graph) -> float:
    """The largest product of the operands of a qnn.mul without their zero points."""
    arguments, reach = graph.exprs[index].args, 1.0
    for operand, zero_point in zip(node.operands[:2], (arguments[3], arguments[5]), strict=True):
        info = np.iinfo(dtypes_of(graph.types[operand])[0])
        known = float(zero_point.data.numpy())
        reach *= max(info.max - known, known - info.min)
    return reach


def _calls(row: ir.Row) -> dict[int, ir.Call]:
    return {i: node for i, node in enumerate(row.nodes) if isinstance(node, ir.Call)}


def _ratio(row: ir.Row, index: int, drawn: Mapping[int, Drawn]) -> float:
    """The unit of a call's result in units of the output."""
    mine = next((n for n, space in enumerate(row.spaces) if index in space.members), None)
    root = next((n for n, space in enumerate(row.spaces) if row.root in space.members), None)
    if mine is not None and mine == root:
        return 1.0
    if mine is None or root is None or mine not in drawn or root not in drawn:
        raise no_scale(row.nodes[index])
    return float(np.max(drawn[mine].scale) / np.min(drawn[root].scale))


def _check_users(row: ir.Row, index: int) -> None:
    """Wants everything behind a call that rounds to leave its error as it is."""
    waiting, seen = [index], {index}
    while waiting:
        each = waiting.pop()
        for number, node in enumerate(row.nodes):
            if number in seen or each not in below(node):
                continue
            seen.add(number)
            waiting.append(number)
            if isinstance(node, ir.Call) and node.operator not in KEEPS_ERRORS:
                raise NoBound(f"{node.operator} works on what was rounded before")
