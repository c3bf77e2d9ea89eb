"""Pattern tables that come with TVM, and that of patterns/tflite.qpat, as they can run here."""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from pathlib import Path
from typing import Any

from tvm.relay.op.contrib import get_pattern_table

from qpat.compiler import compile_file
from qpat.relay.loading import load

LIBRARY = Path(__file__).parents[2] / "patterns" / "tflite.qpat"
HAS_ETHOSU = importlib.util.find_spec("ethosu") is not None

# By what they are registered as, the modules that do it.
CONTRIB = {
    "ethos-u": "ethosu",
    "cmsis-nn": "cmsisnn",
    **{name: name for name in ("dnnl", "arm_compute_lib", "bnns", "clml")},
    **{name: name for name in ("cutlass", "cublas", "cudnn")},
}
NAMES = (*CONTRIB, *(f"{name}, no checks" for name in CONTRIB), "tflite.qpat")


def table(name: str) -> Any:
    """A table by its name in NAMES."""
    if name == "tflite.qpat":
        return load(compile_file(LIBRARY)).pattern_table()
    registered, _, bare = name.partition(", ")
    with warnings.catch_warnings():
        # CUTLASS looks for a GPU, and says that there is none.
        warnings.simplefilter("ignore")
        module = importlib.import_module(f"tvm.relay.op.contrib.{CONTRIB[registered]}")
    if registered == "cmsis-nn":
        # A function in C++ that this distribution of TVM is built without.
        module.GetEffectiveConv2DPadding = effective_padding
    rows = get_pattern_table(registered)
    return [row[:2] for row in rows] if bare else rows


def effective_padding(conv2d: Any, pad: Any) -> list[int]:
    """The padding of a convolution in NHWC with an nn.pad: top, left, bottom, right."""
    (_, (top, bottom), (left, right), _) = pad.attrs.pad_width
    sides = zip((top, left, bottom, right), conv2d.attrs.padding, strict=True)
    return [int(outer) + int(inner) for outer, inner in sides]
