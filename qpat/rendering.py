"""Findings as text for people: place, words at fault with what is said of them, hint and fix.

A terminal gets colours on top; without them the text is the same, byte for byte.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from itertools import groupby

from qpat.diagnostics import Diagnostic, Severity
from qpat.records import dataclass
from qpat.source import Source, Span

_ESCAPES = {
    "error": "\x1b[1;31m",
    "warning": "\x1b[1;33m",
    "other": "\x1b[1;34m",
    "bold": "\x1b[1m",
}
_RESET = "\x1b[0m"
_WINDOW = 100  # columns of a source line that are shown
_MOST_LINES = 4  # of a span over several lines


def painted(text: str, kind: str, colour: bool) -> str:
    """A piece of text in the colour of its kind: "error", "warning", "other" or "bold"."""
    return f"{_ESCAPES[kind]}{text}{_RESET}" if colour and text else text


def rendered(diagnostic: Diagnostic, colour: bool = False) -> str:
    """One finding: a line that says what and where, the lines at fault, the hint and the fix."""
    severity = diagnostic.severity.value
    head = painted(f"{severity}[{diagnostic.code}]", severity, colour)
    lines = [f"{_where(diagnostic)}{head}: {diagnostic.message}"]
    for number, marks in enumerate(_excerpts(diagnostic)):
        if number or diagnostic.span is None:
            span = marks[0].span
            lines.append(f"   ::: {span.source.name}:{span.line}:{span.column}")
        lines += _excerpt(marks, colour)
    if diagnostic.hint is not None:
        lines.append(f"   = hint: {diagnostic.hint}")
    if diagnostic.fix is not None:
        lines.append(f"   = fix: {diagnostic.fix.title}")
    return "\n".join(lines)


def joined(diagnostics: Iterable[Diagnostic], colour: bool = False) -> str:
    """All findings in order of place, a blank line between two."""
    ordered = sorted(diagnostics, key=Diagnostic.sort_key)
    return "\n\n".join(rendered(each, colour) for each in ordered)


def summary(diagnostics: Sequence[Diagnostic]) -> str:
    """How many findings there are: `3 errors, 1 warning`."""
    counts = [(each, sum(d.severity is each for d in diagnostics)) for each in Severity]
    said = (f"{count} {each.value}{'s' if count > 1 else ''}" for each, count in counts if count)
    return ", ".join(said)


def _where(diagnostic: Diagnostic) -> str:
    if diagnostic.span is not None:
        span = diagnostic.span
        return f"{span.source.name}:{span.line}:{span.column}: "
    return f"{diagnostic.place}: " if diagnostic.place else ""


# ---- which lines are shown together --------------------------------------------------------


@dataclass(frozen=True)
class _Mark:
    """A span to be marked, by which character, and what is said of it."""

    span: Span
    label: str
    char: str
    kind: str


@dataclass(frozen=True)
class _Part:
    """What a mark covers of one line: characters `start` up to, not including, `end`."""

    mark: _Mark
    start: int
    end: int
    label: str


def _excerpts(diagnostic: Diagnostic) -> list[list[_Mark]]:
    """The marks of a finding; those that stand in one line of one source are shown together."""
    marks = [_Mark(other.span, other.text, "-", "other") for other in diagnostic.others]
    if diagnostic.span is not None:
        kind = diagnostic.severity.value
        marks.insert(0, _Mark(diagnostic.span, diagnostic.label, "^", kind))
    groups: dict[tuple[int, int, int], list[_Mark]] = {}
    for number, mark in enumerate(marks):
        first, last = _lines(mark.span)
        alone = 0 if first == last else number + 1
        groups.setdefault((id(mark.span.source), first, alone), []).append(mark)
    # A place of its own is marked like the fault itself.
    return [
        [_Mark(m.span, m.label, "^", m.kind) for m in group] if len(group) == 1 else group
        for group in groups.values()
    ]


def _lines(span: Span) -> tuple[int, int]:
    """The first and the last line of a span; a newline belongs to the line it ends."""
    last = max(span.start, span.end - 1)
    return span.line, span.source.position(last)[0]


def _excerpt(marks: list[_Mark], colour: bool) -> list[str]:
    source = marks[0].span.source
    first, last = _lines(marks[0].span)
    numbers: list[int | None] = list(range(first, last + 1))
    if len(numbers) > _MOST_LINES:
        numbers = [first, first + 1, None, last]
    gutter = " " * len(str(last))
    lines = [f" {gutter} |"]
    for number in numbers:
        if number is None:
            lines.append(f" {'…':>{len(gutter)}} |")
            continue
        parts = [_part(mark, source, number, number == last) for mark in marks]
        shown, rows = _marked(source.line(number), parts, colour)
        if number < last and not shown.strip():
            rows = []  # a blank line in the middle of a span
        lines.append(f" {number:>{len(gutter)}} | {shown}")
        lines += (f" {gutter} | {row}" for row in rows)
    return lines


def _part(mark: _Mark, source: Source, number: int, is_last: bool) -> _Part:
    text = source.line(number)
    begin = source.line_starts[number - 1]
    start = max(mark.span.start - begin, 0)
    end = min(mark.span.end - begin, len(text))
    if number > mark.span.line:  # the indentation of a line that goes on is no fault
        start = len(text) - len(text.lstrip())
    return _Part(mark, start, max(end, start), mark.label if is_last else "")


# ---- one line ------------------------------------------------------------------------------


def _width(char: str) -> int:
    """How many columns of a terminal a character takes; a tab counts as one."""
    if unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in ("W", "F") else 1


def _marked(text: str, parts: list[_Part], colour: bool) -> tuple[str, list[str]]:
    """A line as it is shown, and the rows below it: the markers, and labels that did not fit."""
    # A long line is cut around what is marked in it.
    left, right = _window(text, min(p.start for p in parts), max(p.end for p in parts))
    before, behind = "…" if left else "", "…" if right < len(text) else ""
    shown = before + text[left:right] + behind
    shift = len(before) - left
    parts = [
        _Part(p.mark, min(p.start + shift, len(shown)), min(p.end + shift, len(shown)), p.label)
        for p in parts
    ]
    # The fault itself is drawn last, over the others; the label of what ends last stands beside it.
    cells = _blanks(shown)
    for part in reversed(parts):
        _draw(cells, shown, part)
    inline, *rest = sorted(parts, key=lambda part: part.end, reverse=True)
    rows = [_row(cells, colour)]
    if inline.label:
        rows[0] += f" {painted(inline.label, inline.mark.kind, colour)}"
    for part in sorted(rest, key=lambda part: part.start, reverse=True):
        if part.label:
            blank = _row(_blanks(shown[: part.start]), colour, strip=False)
            rows.append(blank + painted(part.label, part.mark.kind, colour))
    return shown, [row for row in rows if row]


def _window(text: str, start: int, end: int) -> tuple[int, int]:
    """The part of a line that is shown: all of it, or about _WINDOW columns around a range."""
    columns = [0]
    for char in text:
        columns.append(columns[-1] + _width(char))
    if columns[-1] <= _WINDOW:
        return 0, len(text)
    room = max(0, _WINDOW - 2 - (columns[end] - columns[start]))
    first = max(0, min(columns[start] - room // 2, columns[-1] - _WINDOW + 2))
    left = next(at for at, column in enumerate(columns) if column >= first)
    while left < start and _width(text[left]) == 0:
        left += 1  # what combines with a character is not parted from it
    fits = [at for at, column in enumerate(columns) if column <= columns[left] + _WINDOW - 2]
    return left, fits[-1]


_Cell = tuple[str, str]  # what is written below a character, and its kind


def _blanks(text: str) -> list[_Cell]:
    # Tabs are kept, so that a marker stands under its words whatever a tab's width.
    return [("\t" if char == "\t" else " " * _width(char), "") for char in text]


def _draw(cells: list[_Cell], text: str, part: _Part) -> None:
    char, kind = part.mark.char, part.mark.kind
    for at in range(part.start, part.end):
        cells[at] = ("\t", "") if text[at] == "\t" else (char * _width(text[at]), kind)
    if any(shown and kind for shown, kind in cells[part.start : part.end]):
        return
    # Nothing of it has a width: an empty span, or one at the end of a line.
    if part.start < len(cells) and cells[part.start][0] == " ":
        cells[part.start] = (char, kind)
    else:
        cells.insert(part.start, (char, kind))


def _row(cells: list[_Cell], colour: bool, strip: bool = True) -> str:
    while strip and cells and not all(cells[-1]):
        cells = cells[:-1]
    runs = groupby(cells, key=lambda cell: cell[1])
    texts = ((kind, "".join(text for text, _ in run)) for kind, run in runs)
    return "".join(painted(text, kind, colour) if kind else text for kind, text in texts)
