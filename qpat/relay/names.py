"""What a value of a module is called when it is spoken of."""

from __future__ import annotations

from typing import Any

import tvm
from tvm import relay


def location(value: Any) -> str | None:
    """What the frontend called a value: the name in its span, or for Relay text the line it ends on.
    Of several spans, as a pass writes them that makes one call out of several, the last."""
    span = getattr(value, "span", None)
    spans = getattr(span, "spans", None)
    last = list(spans)[-1] if spans else span
    name = getattr(getattr(last, "source_name", None), "name", None)
    if not name:
        return None
    # Frontends write names and no lines. The span of what a block returns is the whole block.
    return f"{name}:{last.end_line}" if int(last.end_line) > 0 else str(name)


def short(name: str) -> str:
    """The last of the names that TFLite joins when it fuses operators."""
    return name.rsplit(";", 1)[-1]


def operator_name(expr: Any) -> str:
    """The operator of a call; the kind of node of anything else."""
    is_operator = isinstance(expr, relay.Call) and isinstance(expr.op, tvm.ir.Op)
    return str(expr.op.name) if is_operator else type(expr).__name__
