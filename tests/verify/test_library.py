"""Every pattern of the library means what TVM computes for its graphs."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from qpat.compiler import Compiled, compile_file
from qpat.verify.verification import Verdict, verify

LIBRARY = sorted((Path(__file__).resolve().parents[2] / "patterns").glob("*.qpat"))
# A few, as the whole takes minutes: docs/verify.md has the command that takes longer.
SAMPLES, INPUTS = 2, 32


@cache
def compiled(path: Path) -> Compiled:
    return compile_file(path)


CASES = [(path, pattern.name) for path in LIBRARY for pattern in compiled(path).module.patterns]


@pytest.mark.parametrize(("path", "name"), CASES, ids=[f"{p.stem}-{n}" for p, n in CASES])
def test_pattern_of_the_library_is_verified(path: Path, name: str) -> None:
    [verdicts] = verify(compiled(path), samples=SAMPLES, inputs=INPUTS, names=[name])
    for verdict in verdicts:
        assert verdict.status == "verified", said(verdict)
        assert verdict.elements > verdict.left_out
        assert verdict.inputs == verdict.instances * INPUTS
        # Each row of the form has been looked at.
        rows = sum(row.form == verdict.form for row in verdict.pattern.rows)
        assert verdict.instances >= max(1, rows)


def said(verdict: Verdict) -> str:
    failures = [f"{each.compared} {each.instance.graph.root}" for each in verdict.failures]
    return "\n".join([*verdict.reasons, *failures, *(reason for _, reason in verdict.lost)])
