"""Independent faults are reported in one run: k broken patterns give k findings."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qpat.compiler import check_source
from qpat.source import Source

GOOD = "pattern {name}(x: int8) -> y: int8 {{\n  y = nn.relu(x)\n  where rank(x) == 4\n}}\n"
# Each has one fault; the code is what is said of it.
BROKEN = {
    "QP001": [
        "pattern {name}(x: int8) -> y: int8 {{\n  y nn.relu(x)\n}}\n",
        "pattern {name}(x: int8) -> y: int8 {{\n  y = nn.relu(x)\n  where ?\n}}\n",
        "pattern {name}(x: int8) -> y: int8 {{\n  y = nn.relu(x)) }}\n",
    ],
    "QP002": ['pattern {name}(x: int8) -> y: int8 {{\n  y = nn.relu(x) where "a == 1\n}}\n'],
    "QP003": [
        "pattern {name}(x: int8) -> y: int8 {{\n  y = nn.relu(x)\n",
        "pattern {name}(x: int8) -> y: int8 {{\n  y = nn.relu(x\n}}\n",
        "pattern {name}(x: int8 -> y: int8 {{\n  y = nn.relu(x)\n}}\n",
    ],
    "QP006": ["pattern {name}(x: int8) -> y: int8 {{ y = nn.relu(x) where rank(x) == 0x4 }}\n"],
    "QP101": ["pattern {name}(x: int8) -> y: int8 {{\n  y = nn.rely(x)\n}}\n"],
    "QP102": ["pattern {name}(x: int8) -> y: int8 {{\n  y = clip(x, amin=0.0)\n}}\n"],
    "QP130": ["pattern {name}(x: int8) -> y: int8 {{\n  y = abs(x)\n  where rank(z) == 4\n}}\n"],
}
# A blank stands for each `~`: before, between and in items and statements, and in a comment.
SPACED = """~compiler~"n"~
~// A~pattern.
pattern p(x: int8)~-> y: int8 {~
~y = clip(~x)~
  where rank(x) == 4~
~}~
"""
FAULTS = [(code, text) for code, texts in BROKEN.items() for text in texts]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(st.none(), st.sampled_from(FAULTS)), min_size=1, max_size=6))
def test_k_faulty_patterns_give_k_findings(chosen: list[tuple[str, str] | None]) -> None:
    texts = [GOOD if each is None else each[1] for each in chosen]
    # Two that are the same would be one too many.
    texts = [
        text.replace("(x: int8)", f"(x: int8 [{n}, _, _, _])") for n, text in enumerate(texts, 1)
    ]
    patterns = [text.format(name=f"p{number}") for number, text in enumerate(texts)]
    source = Source("n.qpat", 'compiler "n"\n\n' + "\n/// A pattern.\n".join(patterns))
    module, found = check_source(source)
    wanted = [each[0] for each in chosen if each is not None]
    # A pattern without an end is noticed where the next one begins that can be read.
    assert sorted(each.code for each in found) == sorted(wanted)
    assert (module is None) == bool(wanted)


def test_a_broken_item_is_not_missed() -> None:
    """Without its compiler every pattern would be complained of too."""
    source = Source("n.qpat", f"compiler n\n{GOOD.format(name='p')}")
    _, found = check_source(source)
    assert [each.code for each in found] == ["QP001"]


def test_places_are_those_of_the_whole_file() -> None:
    broken = BROKEN["QP003"][1].format(name="a"), BROKEN["QP101"][0].format(name="b")
    _, found = check_source(Source("n.qpat", 'compiler "n"\n' + "".join(broken)))
    assert [(each.span.line, each.span.column) for each in found if each.span] == [(3, 14), (6, 7)]
    assert found[0].span is not None and "relu" in found[0].span.source.line(3)


def test_a_brace_without_a_partner_does_not_close_a_block() -> None:
    """The braces pair: one `{` is missing, and one `}`."""
    text = """compiler "n"
pattern p(x: int8) -> y: int8 {
  form a {
    y = nn.relu, abs}(x)

  form b {
    y = abs(x)
  }
}
"""
    _, found = check_source(Source("n.qpat", text))
    assert [(each.code, each.span.line) for each in found if each.span] == [
        ("QP003", 3),
        ("QP001", 4),
    ]


@pytest.mark.parametrize("place", range(SPACED.count("~")))
def test_a_no_break_space_is_one_finding(place: int) -> None:
    pieces = SPACED.split("~")
    text = f"{' '.join(pieces[: place + 1])}\u00a0{' '.join(pieces[place + 1 :])}"
    _, found = check_source(Source("n.qpat", text))
    places = [(each.code, each.span.start) for each in found if each.span is not None]
    assert places == [("QP001", text.index("\u00a0"))]


@pytest.mark.parametrize("definition", ["option least: int = 1\n", ""])
def test_what_a_broken_statement_may_use_is_not_unused(definition: str) -> None:
    local = "" if definition else "let least = 1\n"
    text = f'compiler "n"\n{definition}pattern p(x: int8) -> y: int8 {{\n'
    text += f"y = nn.relu(x)\n{local}where rank(x) == = least\n}}\n"
    _, found = check_source(Source("n.qpat", text))
    assert [each.code for each in found] == ["QP001"]
