"""Reachability against brute force: random small patterns on all small graphs."""

from __future__ import annotations

import random
from collections import Counter
from contextlib import suppress
from functools import cache

from hypothesis import HealthCheck, given, note, reject, settings

from qpat.analysis.answers import Answer, Verdict
from qpat.analysis.reachability import reachability
from qpat.diagnostics import QpatError
from qpat.semantics import ir
from tests.analysis.small import (
    DTYPES,
    Graph,
    Pattern,
    Row,
    all_graphs,
    formed,
    module_text,
    modules,
    random_module,
    rows_of,
)
from tests.lowering import lowered

MODULES = 200
FLOOR = 0.95


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
    row = rows[number]
    for dtype in row.pattern.dtypes or DTYPES:
        for graph in candidates(row):
            is_match = formed([row], graph, dtype)
            if is_match and number in formed(rows[: number + 1], graph, dtype):
                return graph, dtype
    return None


@cache
def sampled_modules() -> list[tuple[tuple[Pattern, ...], ir.Module, tuple[Answer, ...]]]:
    """The same random modules in every run, with their answers."""
    found = []
    for seed in range(MODULES):
        patterns = random_module(random.Random(seed).choice)
        with suppress(QpatError):
            module = lowered(module_text(patterns))
            found.append((patterns, module, reachability(module)))
    return found


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(modules())
def test_what_is_beaten_forms_nowhere(patterns: tuple[Pattern, ...]) -> None:
    text = module_text(patterns)
    try:
        module = lowered(text)
    except QpatError:
        reject()
    rows = rows_of(patterns)
    answers = reachability(module)
    assert len(rows) == len(answers)
    for number, answer in enumerate(answers):
        if answer.verdict is Verdict.BEATEN:
            note(text)
            note(f"row {number} is said to be beaten by {answer.by}")
            assert forms_somewhere(rows, number) is None


def test_most_that_never_form_are_said_to_be_beaten() -> None:
    """Of the rows that match some graph alone and none behind the others. That those said to be
    beaten form nowhere is tested above."""
    said = missed = 0
    for patterns, _, answers in sampled_modules():
        rows = rows_of(patterns)
        for number, answer in enumerate(answers):
            if answer.verdict is Verdict.BEATEN:
                said += matches_alone(rows[number])
            elif forms_somewhere(rows, number) is None:
                missed += matches_alone(rows[number])
    assert said >= 30
    assert said >= FLOOR * (said + missed), f"{missed} missed, {said} said"


def matches_alone(row: Row) -> bool:
    return any(formed([row], graph, dtype) for dtype in DTYPES for graph in candidates(row))
