"""What the grammar knows and the compiler does not build yet: reported, never passed over."""

from __future__ import annotations

from qpat.diagnostics import Findings
from qpat.source import Span

UNBUILT_FUNCTIONS = frozenset(
    [
        "bit_length",
        "broadcasts",
        "dim",
        "fixed_point",
        "flip",
        "lut",
        "reshape",
        "swapped",
        "transpose",
        "zeros",
    ]
)
UNBUILT_MEMBERS = frozenset(["qparams", "range", "layout"])


def report_unbuilt(findings: Findings, span: Span, what: str) -> None:
    """An error that says a construct is part of the language but not built yet."""
    message = f"{what} is part of the language but not built yet"
    findings.error("QP090", span, message)
