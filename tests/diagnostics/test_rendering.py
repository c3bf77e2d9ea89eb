"""How findings are shown: the marker stands under the words, whatever they are made of."""

from __future__ import annotations

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qpat.compiler import check_source
from qpat.diagnostics import Diagnostic, Fix, Label, Severity, render, render_all
from qpat.rendering import joined, rendered, summary
from qpat.source import Source, Span
from qpat.terminal import wants_colour
from tests.golden import check_golden

# Characters and how many columns of a terminal they take; U+0301 is put over what is before it.
WIDTHS = {"a": 1, "b": 1, " ": 1, "é": 1, "漢": 2, "！": 2, "\u0301": 0, "\u200d": 0}
ESCAPE = re.compile(r"\x1b\[[\d;]*m")


def place(source: Source, words: str, nth: int = 0) -> Span:
    start = -1
    for _ in range(nth + 1):
        start = source.text.index(words, start + 1)
    return Span(source, start, start + len(words))


def finding(span: Span, label: str = "", others: tuple[Label, ...] = ()) -> Diagnostic:
    return Diagnostic("QP101", "what is wrong", span, None, label, "what to do", others)


LONG = "where " + " and ".join(f"x.shape[{i}] == {i}" for i in range(40))
TEXT = f"""compiler "npu"
pattern p(x: int8, 漢字: int8, x: int8) -> y: int8 {{
\ty = qnn.conv2d(x,
\t      const w,

\t      x.zero_point,
\t      w.zero_point)
  {LONG}
}}
"""
SOURCE = Source("case.qpat", TEXT)
CASES = {
    "two_lines": finding(place(SOURCE, "qnn.conv2d(x,\n\t      const w"), "takes more"),
    "many_lines": finding(place(SOURCE, TEXT[TEXT.index("qnn") : TEXT.index("\n  where")]), "all"),
    "a_blank_line_between": finding(
        place(SOURCE, TEXT[TEXT.index("const w") : TEXT.index("x.zero_point") + 12])
    ),
    "up_to_a_newline": finding(place(SOURCE, "const w,\n")),
    "wide": finding(place(SOURCE, "int8, 漢字", 0), "here"),
    "behind_wide": finding(place(SOURCE, "x", 4), "here"),
    "long_line": finding(place(SOURCE, "x.shape[20] == 20"), "here"),
    "long_line_start": finding(place(SOURCE, "where"), "here"),
    "long_line_end": finding(place(SOURCE, "x.shape[39] == 39")),
    "longer_than_the_window": finding(place(SOURCE, LONG[10:400]), "all of it"),
    "two_labels_in_one_line": finding(
        place(SOURCE, "x: int8", 1), "again", (Label(place(SOURCE, "x: int8"), "first here"),)
    ),
    "label_behind": finding(
        place(SOURCE, "x: int8"), "again", (Label(place(SOURCE, "x: int8", 1), "and here"),)
    ),
    "three_labels": finding(
        place(SOURCE, "漢字"),
        "",
        (
            Label(place(SOURCE, "p(x: int8, 漢字: int8"), "around"),
            Label(place(SOURCE, "y: int8"), "behind"),
            Label(place(SOURCE, "const w"), "elsewhere"),
        ),
    ),
    "other_source": finding(
        place(SOURCE, "compiler"), "", (Label(Span(Source("b.qpat", "a b c"), 2, 3), "there"),)
    ),
    "no_place": Diagnostic("QP301", "no TVM", None, None, "", "install one"),
    "place_without_a_text": Diagnostic("QP310", "cannot be read", None, "model.tflite"),
    "fix": Diagnostic(
        "QP101", "m", place(SOURCE, "conv2d"), fix=Fix(place(SOURCE, "conv2d"), "dense")
    ),
    "warning": Diagnostic("QP153", "m", place(SOURCE, "y"), severity=Severity.WARNING),
}


@pytest.mark.parametrize("name", CASES)
def test_finding_is_shown(name: str, pytestconfig: pytest.Config) -> None:
    check_golden(pytestconfig, f"rendering/{name}.txt", render(CASES[name]) + "\n")


@pytest.mark.parametrize("name", CASES)
def test_colour_adds_nothing_but_colour(name: str) -> None:
    shown = rendered(CASES[name], colour=True)
    assert ESCAPE.sub("", shown) == render(CASES[name])
    severity = CASES[name].severity.value
    start = "\x1b[1;31m" if severity == "error" else "\x1b[1;33m"
    assert f"{start}{severity}[{CASES[name].code}]\x1b[0m: " in shown
    if CASES[name].span is not None:
        assert re.search(rf"{re.escape(start)}\^+\x1b\[0m", shown)
    for line in shown.splitlines():
        assert line.count("\x1b[0m") * 2 == line.count("\x1b[")  # each line is whole by itself


def test_labels_are_coloured_like_their_markers() -> None:
    shown = rendered(CASES["two_labels_in_one_line"], colour=True)
    assert "\x1b[1;31m^^^^^^^\x1b[0m \x1b[1;31magain\x1b[0m" in shown
    assert "\x1b[1;34m-------\x1b[0m" in shown and "\x1b[1;34mfirst here\x1b[0m" in shown


@pytest.mark.parametrize(
    ("old", "new", "title"),
    [
        ("data_layot", "data_layout", "replace `data_layot` with `data_layout`"),
        (" ?? 0", "", "remove `?? 0`"),
        (";", " ", "remove `;`"),
        ("", ", ..", "insert `, ..`"),
        ("a\n  b", "c", "replace `a b` with `c`"),
        ("a" * 60, "", f"remove `{'a' * 39}…`"),
    ],
)
def test_fix_says_what_it_does(old: str, new: str, title: str) -> None:
    source = Source("case.qpat", f"({old})")
    assert Fix(Span(source, 1, 1 + len(old)), new).title == title


# ---- properties ------------------------------------------------------------------------------


def columns(text: str) -> list[tuple[str, int, int]]:
    """Each character of a line with its first column and the one behind it."""
    found, at = [], 0
    for char in text:
        width = 8 - at % 8 if char == "\t" else WIDTHS.get(char, 1)
        found.append((char, at, at + width))
        at += width
    return found


def underlined(shown: str) -> list[str]:
    """For each line of an excerpt the characters that stand over a `^` or `-`."""
    lines = shown.splitlines()
    found = []
    for above, below in zip(lines, lines[1:], strict=False):
        if re.match(r" *\d+ \| ", above):
            prefix = above.index("|") + 2
            marks = {at for char, at, _ in columns(below[prefix:]) if char in "^-"}
            over = [
                c for c, start, end in columns(above[prefix:]) if set(range(start, end)) <= marks
            ]
            found.append("".join(char for char in over if WIDTHS.get(char, 1)))
    return found


LINES = st.text(st.sampled_from([*WIDTHS, "\t"]), max_size=30)
WORDS = st.text(st.sampled_from([*"ab漢！\t\u0301"]), min_size=1, max_size=12)


@given(LINES, WORDS, LINES, st.lists(LINES, max_size=12))
def test_marker_stands_under_the_words(
    before: str, words: str, behind: str, others: list[str]
) -> None:
    text = "".join(f"{line}\n" for line in others) + before + words + behind
    start = len(text) - len(words + behind)
    shown = render(finding(Span(Source("case.qpat", text), start, start + len(words))))
    assert f" | {before}{words}{behind}\n" in shown
    visible = "".join(char for char in words if char != "\t" and WIDTHS[char])
    if visible:
        assert underlined(shown) == [visible]
    assert "^" in shown


@given(
    st.text(st.sampled_from("ab漢 "), min_size=120, max_size=400),
    st.integers(0, 119),
    st.integers(1, 300),
)
def test_long_line_is_cut_around_the_words(text: str, start: int, length: int) -> None:
    span = Span(Source("case.qpat", text), start, min(start + length, len(text)))
    shown = render(finding(span, "label"))
    excerpt = shown.splitlines()[2][5:]
    assert sum(WIDTHS.get(char, 1) for char in excerpt) <= 100
    assert excerpt.strip("…") in text
    [marked] = underlined(shown)
    whole = marked.removesuffix("…")
    assert whole and span.text.startswith(whole)
    # All of it is shown where it fits, with as much around it as has room.
    if sum(WIDTHS[char] for char in span.text) <= 96:
        assert whole == span.text
    assert sum(WIDTHS.get(char, 1) for char in excerpt) >= 98


@given(st.lists(LINES, min_size=1, max_size=9), st.data())
def test_any_spans_can_be_shown(lines: list[str], data: st.DataObject) -> None:
    text = "\n".join(lines)
    source = Source("case.qpat", text)

    def span() -> Span:
        start = data.draw(st.integers(0, len(text)))
        return Span(source, start, data.draw(st.integers(start, len(text))))

    labels = st.sampled_from(["", "label"])
    others = tuple(Label(span(), data.draw(labels)) for _ in range(data.draw(st.integers(0, 3))))
    each = finding(span(), data.draw(labels), others)
    shown = render(each)
    assert ESCAPE.sub("", rendered(each, colour=True)) == shown
    assert shown.startswith(f"case.qpat:{each.span.line if each.span else ''}:")
    assert shown.count("label") == [each.label, *(o.text for o in others)].count("label")
    assert "^" in shown and shown.endswith("   = hint: what to do")
    assert not any(line.endswith((" ", "\t")) for line in shown.splitlines() if "^" in line)


# ---- all findings ------------------------------------------------------------------------------


def test_what_is_joined_is_what_render_all_gives() -> None:
    found = check_source(Source("case.qpat", "pattern p(x) -> y { y = nn.rleu(x) }"))[1]
    assert joined(found) == render_all(found) == render_all(reversed(found))
    assert ESCAPE.sub("", joined(found, colour=True)) == render_all(found)


@pytest.mark.parametrize(
    ("errors", "warnings", "said"),
    [
        (1, 0, "1 error"),
        (0, 2, "2 warnings"),
        (3, 1, "3 errors, 1 warning"),
        (0, 0, ""),
    ],
)
def test_summary_counts(errors: int, warnings: int, said: str) -> None:
    severities = [Severity.ERROR] * errors + [Severity.WARNING] * warnings
    assert summary([Diagnostic("QP101", "m", severity=each) for each in severities]) == said


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("variables", "terminal", "choice", "wanted"),
    [
        ({}, True, "auto", True),
        ({}, False, "auto", False),
        ({"NO_COLOR": "1"}, True, "auto", False),
        ({"NO_COLOR": ""}, True, "auto", True),
        ({"TERM": "dumb"}, True, "auto", False),
        ({"TERM": "xterm"}, True, "auto", True),
        ({"NO_COLOR": "1", "TERM": "dumb"}, False, "always", True),
        ({}, True, "never", False),
    ],
)
def test_when_there_is_colour(
    variables: dict[str, str],
    terminal: bool,
    choice: str,
    wanted: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("TERM", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert wants_colour(choice, _Terminal() if terminal else io.StringIO()) is wanted
