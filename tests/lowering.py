"""Files compiled without a look at the order of their patterns, for tests of what comes before it
and behind it: random patterns are often such that one beats the other."""

from __future__ import annotations

from qpat.compiler import Compiled, open_source
from qpat.diagnostics import Findings, QpatError
from qpat.semantics import ir
from qpat.semantics.lower import lower
from qpat.source import Source
from qpat.syntax.program import load_program
from qpat.targets.relay import relay_module


def lowered(text: str) -> ir.Module:
    """The IR of a text. Raises QpatError with what is wrong in it."""
    program, broken = load_program(Source("random.qpat", text), open_source)
    findings = Findings()
    module = lower(program, findings) if program is not None and not broken else None
    if module is None:
        raise QpatError([*broken, *findings.diagnostics])
    return module


def compiled(text: str) -> Compiled:
    """The IR of a text and that of its generated module."""
    module = lowered(text)
    return Compiled(module, relay_module(module, "random.qpat"), ())
