"""The models under tests/data/tflite, each partitioned at most once while the tests run."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import tflite
from tvm import relay

import qpat
from tests.oracle import flatbuffer, relay_names, relay_reading

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "data" / "tflite"
PATTERNS = ROOT / "patterns" / "tflite.qpat"

# What TVM 0.16's frontend says to each.
NOT_IMPORTABLE = {
    "ds_cnn_kws_dynrange": "likely to have dynamic range quantization",
    "mobilenet_v2_035_96_int8_tf219": "Expr is not a constant scalar",  # per-channel dense weights
    "op_soup_int8": "quantized L2_NORMALIZATION operator is not supported yet",
}


def names() -> list[str]:
    """Paths below the folder of the models, without the suffix."""
    return sorted(str(path.relative_to(DATA).with_suffix("")) for path in DATA.rglob("*.tflite"))


def importable() -> list[str]:
    return [name for name in names() if name not in NOT_IMPORTABLE]


def path_of(name: str) -> Path:
    return DATA / f"{name}.tflite"


def import_(name: str) -> Any:
    """The module and its parameters as the frontend gives them."""
    model = tflite.Model.GetRootAsModel(path_of(name).read_bytes(), 0)
    return relay.frontend.from_tflite(model)


@dataclass(eq=False, repr=False)
class Case:
    """A model, what qpat made of it, and what this oracle knows of it."""

    name: str
    file: flatbuffer.FlatModel
    result: Any
    names: relay_names.Names
    pairing: relay_names.Pairing
    reading: relay_reading.Reading

    def paired(self, match: Any) -> relay_names.Paired:
        """What the call of a match stands for in the prepared module."""
        found = self.pairing.composites.get(match.call)
        assert found is not None, f"the call of {match.composite} is not in the module"
        return found


@cache
def case(name: str) -> Case:
    result = qpat.partition(str(path_of(name)), patterns=str(PATTERNS))
    file = flatbuffer.read(path_of(name))
    return Case(
        name,
        file,
        result,
        relay_names.Names(result.prepared, file),
        relay_names.pair(result.module, result.prepared),
        relay_reading.of_module(result.prepared),
    )
