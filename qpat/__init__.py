"""qpat: quantized operator patterns for TVM Relay, compiled.

compiled = qpat.compile_file("npu.qpat")          # needs no TVM
result = qpat.partition("model.tflite", "npu.qpat")
"""

from __future__ import annotations

from typing import Any

from qpat.compiler import Compiled, compile_file
from qpat.diagnostics import Diagnostic, QpatError

__all__ = ["Compiled", "Diagnostic", "QpatError", "compile_file", "partition"]


def __getattr__(name: str) -> Any:
    # TVM takes seconds to import; only what works on modules asks for it.
    if name == "partition":
        from qpat.relay.environment import require_relay

        require_relay()
        from qpat.relay.partition import partition

        return partition
    raise AttributeError(f"module 'qpat' has no attribute {name!r}")
