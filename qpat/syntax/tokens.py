"""The words of any text, also of one that does not parse: what the outline is read off."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_TOKEN = re.compile(
    r"""
    (?P<blank>\s+|//[^\n]*)
    |(?P<string>\"\"\"(?:.|\n)*?\"\"\"|"[^"\n]*")
    |(?P<open>"[^\n]*)
    |(?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
    |(?P<word>(?:\w|\$\w|\$\{\w+\})+)
    |(?P<sign>\.\.\.|\.\.|->|=>|==|!=|<=|>=|\*\*|\?\?|.)
    """,
    re.VERBOSE,
)
# What stands behind a string without an end is likely meant to stand behind the string.
_CLOSERS = ")]}{ \t"
# A value has to follow these, so what stands behind them is no beginning of a statement.
_BEFORE_VALUES = frozenset(
    ["const", "shared", "ordered", "unordered", "if", "then", "else", "and", "or", "not", "in"]
)
# More has to follow these; behind any other sign, also one that means nothing, something is over.
_BEFORE_MORE = frozenset(
    ["(", "[", "{", ",", ".", ":", "=", "->", "=>", "|", "&", "!", "??"]
    + ["==", "!=", "<=", ">=", "<", ">", "+", "-", "*", "/", "%", "**"]
)
# What can follow a complete value in the same statement or header.
BEHIND_VALUES = frozenset(["and", "or", "not", "in", "then", "else", "as", "on", "from", "after"])


class Token(NamedTuple):
    """A word, number, string or sign. `is_first` in its line, which is indented by `indent`."""

    text: str
    start: int
    end: int
    kind: str
    line: int
    is_first: bool
    indent: int

    @property
    def is_word(self) -> bool:
        return self.kind == "word"

    @property
    def ends_value(self) -> bool:
        """Whether a value may be complete with it. Two values never stand side by side."""
        return self.text not in (_BEFORE_VALUES if self.kind == "word" else _BEFORE_MORE)


def tokens_of(text: str) -> list[Token]:
    """All words of a text, comments left out. A string without an end is one up to its line's."""
    return list(_tokens(text))


def _tokens(text: str) -> Iterator[Token]:
    at, line, line_start, indent = 0, 0, 0, -1
    while match := _TOKEN.match(text, at):
        start, at, kind = match.start(), match.end(), match.lastgroup or ""
        if kind == "blank":
            newlines = text.count("\n", start, at)
            line += newlines
            if newlines:
                line_start, indent = text.rindex("\n", start, at) + 1, -1
            continue
        if kind == "open":
            at = max(start + 1, start + len(match[0].rstrip(_CLOSERS)))
            kind = "string"
        is_first = indent < 0
        indent = start - line_start if is_first else indent
        yield Token(text[start:at], start, at, kind, line, is_first, indent)
