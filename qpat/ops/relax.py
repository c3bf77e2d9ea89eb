"""Which Relax operator is the counterpart of a Relay operator, and where it says each attribute.

A pattern is written in Relay's names. What stands where in a call of Relax was dumped from TVM 0.27
by tools/dump_relax_ops.py (0.26 has the same); which operators are counterparts, and what is called
otherwise, is written by hand here. What is not listed has no counterpart: Relax has no QNN dialect,
only `relax.quantize` and `relax.dequantize` around operators on real numbers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from qpat.ops.table import operator
from qpat.records import dataclass

# Names that differ, as (Relax's name, attributes called otherwise, attributes with one value only).
_OTHERS: dict[str, tuple[str, dict[str, str], dict[str, Any]]] = {
    "broadcast_to": ("broadcast_to", {}, {}),
    "cast": ("astype", {}, {}),
    "clip": ("clip", {"a_min": "min", "a_max": "max"}, {}),
    "concatenate": ("concat", {}, {}),
    "max": ("max", {}, {"exclude": False}),
    "mean": ("mean", {}, {"exclude": False}),
    "min": ("min", {}, {"exclude": False}),
    "nn.leaky_relu": ("nn.leakyrelu", {}, {}),
    "nn.matmul": ("matmul", {}, {"transpose_a": False, "transpose_b": False}),
    "qnn.dequantize": ("dequantize", {}, {}),
    "qnn.quantize": ("quantize", {}, {}),
    "reshape": ("reshape", {"newshape": "shape"}, {}),
    "reverse": ("flip", {}, {}),
    "sum": ("sum", {}, {"exclude": False}),
    "take": ("take", {}, {"batch_dims": 0}),
    "tile": ("tile", {"reps": "repeats"}, {}),
    "transpose": ("permute_dims", {}, {}),
}
_SAME_NAMES = """
abs add atan ceil cos divide erf exp expand_dims floor gather_nd image.resize2d log maximum minimum
multiply negative nn.adaptive_avg_pool2d nn.avg_pool1d nn.avg_pool2d nn.avg_pool3d nn.conv1d
nn.conv2d nn.conv2d_transpose nn.conv3d nn.log_softmax nn.max_pool1d nn.max_pool2d nn.max_pool3d
nn.prelu nn.relu nn.softmax power repeat round rsqrt sigmoid sin split sqrt squeeze stack subtract
tan tanh where
"""


class Unsaid(Exception):
    """Relax has no counterpart of an operator or attribute; the text says of which."""


@dataclass(frozen=True, eq=False)
class Counterpart:
    """The Relax operator that stands for one of Relay.

    A call has `operands` tensors, as Relay's has, and behind them `values` that are no tensors. An
    attribute of Relay's is one of another name (`renamed`), a value by its position among the
    arguments (`arguments`), can be one thing only (`fixed`), or has the same name: those in
    `attributes`. `places` are what TVM's builder calls the arguments.
    """

    name: str
    places: tuple[str, ...]
    operands: int
    values: int
    attributes: frozenset[str]
    renamed: Mapping[str, str]
    arguments: Mapping[str, int]
    fixed: Mapping[str, Any]

    def has(self, attribute: str) -> bool:
        """Whether it says an attribute of Relay's in some way."""
        said = (self.attributes, self.renamed, self.arguments, self.fixed)
        return any(attribute in each for each in said)


@cache
def counterpart(name: str) -> Counterpart | None:
    """The counterpart of a Relay operator; None where Relax has none."""
    if name in _OTHERS:
        relax, renamed, fixed = _OTHERS[name]
    elif name in _SAME_NAMES.split():
        relax, renamed, fixed = name, {}, {}
    else:
        return None
    entry = _entries()[f"relax.{relax}"]
    places = [place for place, _ in entry["arguments"]]
    values = [place for place, kind in entry["arguments"] if kind == "value"]
    known = operator(name)
    assert known is not None, name
    stated = {key: renamed.get(key, key) for key in known.attributes}
    arguments = {key: places.index(at) for key, at in stated.items() if at in values}
    named = {key: at for key, at in stated.items() if at in entry.get("attributes", ())}
    return Counterpart(
        f"relax.{relax}",
        tuple(places),
        len(places) - len(values),
        len(values),
        frozenset(key for key, at in named.items() if key == at),
        {key: at for key, at in named.items() if key != at},
        arguments,
        fixed,
    )


def known_counterparts() -> tuple[str, ...]:
    """The Relay operators that have a counterpart, sorted."""
    return tuple(sorted([*_OTHERS, *_SAME_NAMES.split()]))


@cache
def _entries() -> dict[str, dict[str, Any]]:
    text = (Path(__file__).parent / "relax.json").read_text(encoding="utf-8")
    entries: dict[str, dict[str, Any]] = json.loads(text)["operators"]
    return entries
