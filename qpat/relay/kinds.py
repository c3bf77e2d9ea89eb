"""The kinds of nodes and types that analyses tell apart, under the names that Relay has for them:
`relay.Call`, `tvm.ir.TensorType`.

They are Relay's own where the TVM that is installed has Relay. Where it has Relax, they are those
of the view that shows a module of Relax as Relay would have it (qpat/relax/view.py). An analysis
that takes them from here reads both, and builds nothing.
"""

from __future__ import annotations

from types import SimpleNamespace

import tvm

try:
    from tvm import relay
except ImportError:
    from qpat.relax import view as relay

    _types = SimpleNamespace(
        Array=tvm.ir.Array,
        GlobalVar=relay.GlobalVar,
        Op=relay.Op,
        TensorType=relay.TensorType,
        TupleType=relay.TupleType,
    )
    # A view has plain numbers.
    tvm = SimpleNamespace(ir=_types, tir=SimpleNamespace(IntImm=int, FloatImm=float))

__all__ = ["relay", "tvm"]
