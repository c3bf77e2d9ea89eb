"""Whatever is in a file: findings, quickly, inside the text, and the same ones every time."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qpat.compiler import check_source
from qpat.diagnostics import Diagnostic, Severity, render_all
from qpat.semantics import ir
from qpat.source import Source

ROOT = Path(__file__).resolve().parents[2]
TEXTS = [
    path.read_text(encoding="utf-8")
    for folder in ("tests/data/language", "patterns")
    for path in sorted((ROOT / folder).rglob("*.qpat"))
]
TOKEN = re.compile(r'"""(?:.|\n)*?"""|"[^"\n]*"|//[^\n]*|\d+(?:\.\d+)?|\w+|\.\.\.?|[^\w\s]|\s+')
# Single patterns, so that one broken word is not the end of everything.
CHUNKS = [
    f'compiler "npu"\n{found}'
    for text in TEXTS
    for found in re.findall(r"^pattern (?:.|\n)*?^\}", text, re.MULTILINE)
]
# Whole files are mutated again and again: not the largest.
SMALL = [text for text in TEXTS if len(text) < 5000]
WORDS = sorted({word for text in TEXTS for word in TOKEN.findall(text) if len(word) < 40})
SLOWEST = 2.0

relaxed = settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@pytest.fixture(scope="module", autouse=True)
def _parser_is_built() -> None:
    """The first text pays for the parser, which is not what is measured here."""
    check_source(Source("case.qpat", ""))


def checked(text: str) -> tuple[ir.Module | None, tuple[Diagnostic, ...]]:
    """What is said of a text, after looking at how it is said."""
    start = time.perf_counter()
    module, found = check_source(Source("case.qpat", text))
    shown = render_all(found)
    assert time.perf_counter() - start < SLOWEST
    assert (module is None) == any(each.severity is Severity.ERROR for each in found)
    assert not found or shown
    for each in found:
        assert each.span is not None
        for span in (each.span, *(label.span for label in each.others)):
            assert 0 <= span.start <= span.end <= len(text)
            assert span.start < span.end or each.code in ("QP118", "QP140"), (each, span)
    return module, found


@st.composite
def mutated(draw: st.DrawFn, texts: list[str]) -> str:
    """One of the texts with some of its words deleted, put in, replaced or exchanged."""
    words = TOKEN.findall(draw(st.sampled_from(texts)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(words) - 1))
        other = draw(st.integers(0, len(words) - 1))
        change = draw(st.sampled_from(["delete", "insert", "replace", "copy", "exchange"]))
        if change == "delete" and len(words) > 1:
            del words[at]
        elif change == "insert":
            words.insert(at, draw(st.sampled_from(WORDS)))
        elif change == "replace":
            words[at] = draw(st.sampled_from(WORDS))
        elif change == "copy":
            words[at] = words[other]
        else:
            words[at], words[other] = words[other], words[at]
    return "".join(words)


@given(st.text(max_size=200))
@settings(relaxed, max_examples=120)
def test_any_text_gives_findings(text: str) -> None:
    checked(text)


@given(st.lists(st.sampled_from(WORDS), max_size=40).map(" ".join))
@settings(relaxed, max_examples=120)
def test_any_words_of_the_language_give_findings(text: str) -> None:
    checked(text)


@given(mutated(CHUNKS))
@settings(relaxed, max_examples=120)
def test_mutated_pattern_gives_findings(text: str) -> None:
    checked(text)


@given(mutated(SMALL))
@settings(relaxed, max_examples=40)
def test_mutated_file_gives_findings(text: str) -> None:
    checked(text)


@given(st.sampled_from(SMALL), st.data())
@settings(relaxed, max_examples=40)
def test_file_that_breaks_off_gives_findings(text: str, data: st.DataObject) -> None:
    checked(text[: data.draw(st.integers(0, len(text)))])


@given(mutated(CHUNKS))
@settings(relaxed, max_examples=100)
def test_same_text_gives_the_same_findings(text: str) -> None:
    first, second = checked(text), checked(text)
    assert render_all(first[1]) == render_all(second[1])
    assert (first[0] is None) == (second[0] is None)
    if first[0] is not None and second[0] is not None:
        assert repr(first[0]) == repr(second[0])


@given(mutated(CHUNKS))
@settings(relaxed, max_examples=50)
def test_broken_pattern_changes_nothing_that_is_said_of_another(text: str) -> None:
    alone = {(found.code, found.message) for found in checked(text)[1]}
    if any(code.startswith("QP00") for code, _ in alone):
        return  # a syntax error is the end of the file
    broken = "pattern broken(x: int8) -> y: int8 { y = nn.rleu(x) }"
    both = {(found.code, found.message) for found in checked(f"{text}\n{broken}\n")[1]}
    assert {code for code, _ in both - alone} <= {"QP101"}
    assert {code for code, _ in alone - both} <= {"QP118"}
