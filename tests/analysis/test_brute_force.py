"""Reachability against brute force: random small patterns on all small graphs."""

from __future__ import annotations

from collections import Counter
from functools import cache

import pytest
from hypothesis import HealthCheck, assume, given, note, settings
from hypothesis import strategies as st

from qpat.analysis.answers import Verdict
from qpat.analysis.reachability import reachability
from qpat.diagnostics import Findings
from qpat.semantics import ir
from qpat.semantics.lower import lower
from qpat.compiler import open_source
from qpat.source import Source
from qpat.syntax.program import load_program
from tests.analysis.small import (
    DTYPES,
    Call,
    Graph,
    Pattern,
    Row,
    all_graphs,
    formed,
    module_text,
    modules,
    rows_of,
)


def lowered(text: str) -> ir.Module | None:
    """The module of a text, without a look at the order of its patterns."""
    program, broken = load_program(Source("p.qpat", text), open_source)
    assert program is not None and not broken
    return lower(program, Findings())


@cache
def graphs_by_operators() -> dict[tuple[tuple[str, int], ...], list[Graph]]:
    found: dict[tuple[tuple[str, int], ...], list[Graph]] = {}
    for graph in all_graphs():
        counts = Counter(call.operator for call in graph.calls)
        found.setdefault(tuple(sorted(counts.items())), []).append(graph)
    return found


def candidates(row: Row) -> list[Graph]:
    """The graphs that have the operators of a row, each at least once."""
    wanted = {call.operator for call in row.calls.values()}
    return [
        graph
        for counts, graphs in graphs_by_operators().items()
        if wanted <= {operator for operator, _ in counts}
        for graph in graphs
    ]


def forms_somewhere(rows: list[Row], number: int) -> tuple[Graph, str] | None:
    """A graph on which a row forms a composite, all earlier rows applied before."""
    for dtype in DTYPES:
        for graph in candidates(rows[number]):
            if formed(rows[number : number + 1], graph, dtype):
                if number in formed(rows[: number + 1], graph, dtype):
                    return graph, dtype
    return None


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(modules())
def test_what_is_beaten_forms_nowhere(patterns: tuple[Pattern, ...]) -> None:
    text = module_text(patterns)
    module = lowered(text)
    assume(module is not None)
    assert module is not None
    rows = rows_of(patterns)
    answers = reachability(module)
    assert len(rows) == len(answers)
    for number, answer in enumerate(answers):
        if answer.verdict is Verdict.BEATEN:
            note(text)
            note(f"row {number} is said to be beaten by {answer.by}")
            assert forms_somewhere(rows, number) is None
