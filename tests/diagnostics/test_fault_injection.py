"""k independent faults in a file give k reports: each once, where it is, and nothing else.

Every fault of tests/diagnostics/faults is put into valid patterns: one at a time at many places,
and several at a time at places that hypothesis chooses.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import cache, lru_cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from qpat.compiler import check_targets
from qpat.diagnostics import Diagnostic, Severity
from qpat.source import Source
from qpat.syntax import tree
from qpat.syntax.parser import parse
from tests.diagnostics.faults.catalogue import faults_of
from tests.diagnostics.faults.generated import patterns
from tests.diagnostics.faults.places import Fault, independent, injected
from tests.long_run import LONG

ROOT = Path(__file__).resolve().parents[2]
FILES = [
    *sorted((ROOT / "tests/data/language").glob("*.qpat")),
    *(sorted(ROOT.glob("patterns/*.qpat")) if LONG else [ROOT / "patterns/tflite.qpat"]),
]
HEAD = 'compiler "npu"\n\n'
FEWEST_KINDS = 60
MOST_PLACES = 5  # of one kind in one pattern, where one fault at a time is looked at

relaxed = settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)


def errors(text: str) -> list[Diagnostic]:
    found = check_targets(Source("case.qpat", text))
    return [each for each in found if each.severity is Severity.ERROR]


@cache
def valid_items() -> tuple[str, ...]:
    """The patterns and families of all files that are valid by themselves."""
    texts = [path.read_text(encoding="utf-8") for path in FILES]
    spans = [
        item.span
        for text in texts
        for item in parse(Source("a.qpat", text)).items
        if isinstance(item, tree.Pattern | tree.Family)
    ]
    return tuple(span.text + "\n" for span in spans if not errors(HEAD + span.text))


@lru_cache(maxsize=64)
def faults_in(text: str) -> dict[str, list[Fault]]:
    """The faults of a file by their kinds."""
    found: dict[str, list[Fault]] = {}
    for fault in faults_of(text):
        found.setdefault(fault.kind, []).append(fault)
    return found


def spread(places: list[Fault]) -> list[Fault]:
    """The first, the last and some between."""
    step = max(1, len(places) // (MOST_PLACES - 1))
    return [*places[:-1:step], places[-1]]


def complaints(text: str, faults: Iterable[Fault]) -> list[str]:
    """What is not as it should be where a text gets these faults."""
    broken, wanted = injected(text, faults)
    found = errors(broken)
    said: list[str] = []
    for lines, fault in wanted:
        fit = [e for e in found if e.code in fault.codes and e.span and e.span.line in lines]
        if fit:
            found.remove(fit[0])
        else:
            said.append(f"not reported: {fault.kind}, line {lines.start}")
    said += [f"reported as well: {each.code} {each.message}" for each in found]
    return [f"{each}\n{broken}" for each in said]


def test_there_are_many_kinds_of_faults() -> None:
    kinds = Counter(fault.kind for item in valid_items() for fault in faults_of(HEAD + item))
    assert len(kinds) >= FEWEST_KINDS, sorted(kinds)


@pytest.mark.parametrize("number", range(len(valid_items())))
def test_every_single_fault_is_reported_once(
    number: int, record_property: pytest.RecordProperty
) -> None:
    text = HEAD + valid_items()[number]
    faults = [fault for places in faults_in(text).values() for fault in spread(places)]
    wrong = [said for fault in faults for said in complaints(text, [fault])[:1]]
    record_property("score", f"{len(faults) - len(wrong)} of {len(faults)}")
    assert not wrong, f"{len(wrong)} of {len(faults)} faults; the first:\n{wrong[0]}"


@st.composite
def faulty(draw: st.DrawFn, texts: st.SearchStrategy[str]) -> tuple[str, list[Fault]]:
    """A valid file, and up to six faults in it that are independent of each other."""
    text = draw(texts)
    kinds = faults_in(text)
    chosen: list[Fault] = []
    for _ in range(draw(st.integers(1, 6))):
        fault = draw(st.sampled_from(kinds[draw(st.sampled_from(sorted(kinds)))]))
        if all(independent(fault, other) for other in chosen):
            chosen.append(fault)
    return text, chosen


written = st.lists(st.sampled_from(valid_items()), min_size=1, max_size=4, unique=True).map(
    lambda items: HEAD + "\n".join(items)
)
generated = st.tuples(patterns(1), patterns(2)).map(lambda items: HEAD + "\n".join(items))


@given(faulty(written))
@settings(relaxed, max_examples=150)
def test_k_faults_give_k_reports(case: tuple[str, list[Fault]]) -> None:
    text, faults = case
    assume(not errors(text))  # two patterns may have one name
    wrong = complaints(text, faults)
    assert not wrong, "\n".join(wrong)


@given(faulty(generated))
@settings(relaxed, max_examples=75)
def test_k_faults_in_a_file_nobody_wrote_give_k_reports(case: tuple[str, list[Fault]]) -> None:
    text, faults = case
    assume(not errors(text))
    wrong = complaints(text, faults)
    assert not wrong, "\n".join(wrong)
