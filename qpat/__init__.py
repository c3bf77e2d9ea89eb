"""qpat: quantized operator patterns for TVM Relay and Relax, compiled.

compiled = qpat.compile_file("npu.qpat")          # needs no TVM
result = qpat.partition("model.tflite", "npu.qpat")
counted = qpat.coverage(["a.tflite", "b.onnx"], "npu.qpat")
module = qpat.offload("model.tflite", "npu.qpat")  # its regions as functions, for relay.build
known = qpat.quantization("model.tflite")         # scale and zero point of every tensor
plain = qpat.canonicalize(result)                 # dequantize, real operator, quantize
merged = qpat.merge_composite(table)(module)      # MergeComposite in one pass, for any table
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qpat.compiler import Compiled, compile_file
    from qpat.diagnostics import Diagnostic, QpatError
    from qpat.relay.canonical import canonicalize
    from qpat.relay.coverage.corpus import coverage
    from qpat.relay.partition import offload, partition
    from qpat.relay.quantization import quantization
    from qpat.relay.single_pass.table import merge_composite

__all__ = [
    "Compiled",
    "Diagnostic",
    "QpatError",
    "canonicalize",
    "compile_file",
    "coverage",
    "merge_composite",
    "offload",
    "partition",
    "quantization",
]


_HOMES = {
    "Compiled": "qpat.compiler",
    "Diagnostic": "qpat.diagnostics",
    "QpatError": "qpat.diagnostics",
    "canonicalize": "qpat.relay.canonical",
    "compile_file": "qpat.compiler",
    "coverage": "qpat.relay.coverage.corpus",
    "merge_composite": "qpat.relay.single_pass.table",
    "offload": "qpat.relay.partition",
    "partition": "qpat.relay.partition",
    "quantization": "qpat.relay.quantization",
}


_ON_RELAY = ("canonicalize", "merge_composite")


def __getattr__(name: str) -> Any:
    # The compiler takes a tenth of a second to import and TVM whole ones: only who asks waits.
    if name not in _HOMES:
        raise AttributeError(f"module 'qpat' has no attribute {name!r}")
    if _HOMES[name].startswith("qpat.relay."):
        from qpat.relay.environment import require_relay, require_tvm

        (require_relay if name in _ON_RELAY else require_tvm)()
    return getattr(import_module(_HOMES[name]), name)
