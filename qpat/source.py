"""Where something is: a source text and the spans in it."""

from __future__ import annotations

from bisect import bisect_right
from functools import cached_property
from pathlib import Path

from qpat.records import dataclass


@dataclass(frozen=True, eq=False)
class Source:
    """One text and the name it is shown by (a path as the user gave it)."""

    name: str
    text: str

    def __repr__(self) -> str:
        return f"Source({self.name!r})"

    @cached_property
    def line_starts(self) -> list[int]:
        """Offsets at which the lines begin."""
        starts = [0]
        while (newline := self.text.find("\n", starts[-1])) >= 0:
            starts.append(newline + 1)
        return starts

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column of an offset, both counted from 1."""
        line = bisect_right(self.line_starts, offset)
        return line, offset - self.line_starts[line - 1] + 1

    def line(self, number: int) -> str:
        """The text of line `number` (from 1), without its newline."""
        start = self.line_starts[number - 1]
        end = self.text.find("\n", start)
        return self.text[start:] if end < 0 else self.text[start:end]


@dataclass(frozen=True)
class Span:
    """The characters `start` up to, not including, `end` of a source."""

    source: Source
    start: int
    end: int

    @property
    def line(self) -> int:
        return self.source.position(self.start)[0]

    @property
    def column(self) -> int:
        return self.source.position(self.start)[1]

    @property
    def text(self) -> str:
        return self.source.text[self.start : self.end]

    def first(self, length: int) -> Span:
        """The first characters of this span."""
        return Span(self.source, self.start, min(self.start + length, self.end))

    def last(self, length: int) -> Span:
        """The last characters of this span."""
        return Span(self.source, max(self.start, self.end - length), self.end)

    def to(self, other: Span) -> Span:
        """The span from the start of this one to the end of `other`."""
        return Span(self.source, self.start, other.end)


def read_source(path: str | Path) -> Source:
    """Reads a file as UTF-8 with any newline convention.

    Raises OSError where the file cannot be read and UnicodeDecodeError where it is not UTF-8.
    """
    raw = Path(path).read_bytes().decode("utf-8-sig")
    return Source(str(path), raw.replace("\r\n", "\n").replace("\r", "\n"))
