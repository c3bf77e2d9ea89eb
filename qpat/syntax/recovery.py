"""Parsing on behind syntax errors: what does not parse is left out, and the rest is parsed again.

The outline of the text (qpat/syntax/outline.py) says where its statements and items end. Each is
parsed by itself; one that does not parse is reported once, and stays in the tree as tree.Broken, so
that what others say of its names is not held against them. The time is linear in the text.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable

from lark.exceptions import UnexpectedInput

from qpat.diagnostics import MOST_REPORTS, Diagnostic, QpatError
from qpat.source import Source, Span
from qpat.syntax import tree
from qpat.syntax.build import TreeBuilder
from qpat.syntax.outline import Part, names_bound, outline
from qpat.syntax.parser import (
    ITEMS,
    STATEMENTS,
    comments,
    lark_tree,
    letter_faults,
    not_closed,
    parse,
    syntax_error,
    too_deep,
    without_control_characters,
)
from qpat.syntax.tokens import Token, tokens_of


def parse_recovering(source: Source) -> tuple[tree.File | None, tuple[Diagnostic, ...]]:
    """The tree of all that parses, and the findings of what does not.

    The tree is None where the text is nested too deeply, or where so much is wrong that more was
    not looked at.
    """
    try:
        return parse(source), ()
    except QpatError as error:
        if any(found.span is None for found in error.diagnostics):
            return None, error.diagnostics
    return _Recovery(source).run()


class _Recovery:
    """Parses the parts of a text one by one."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.found: dict[Diagnostic, None] = {}
        self.letters = letter_faults(source)
        self.letter_starts = [fault.span.start for fault in self.letters if fault.span is not None]
        self.comments = comments(source)
        text = _without(source.text, ((c.span.start, c.span.end) for c in self.comments))
        # Between two statements they are part of neither: said by themselves, they are no more.
        self.text = without_control_characters(text)

    def run(self) -> tuple[tree.File | None, tuple[Diagnostic, ...]]:
        items: list[tree.Item] = []
        for parts in outline(tokens_of(self.source.text)):
            try:
                items += self._group(parts)
            except RecursionError:
                return None, (*self._sorted(), *too_deep(self.source).diagnostics)
            if len(self.found) > MOST_REPORTS:
                return None, self._sorted()
        # What stands in no part, such as a control character in a comment.
        self.found |= dict.fromkeys(self.letters)
        whole = Span(self.source, 0, len(self.source.text))
        return tree.File(whole, tuple(items), tuple(self.comments)), self._sorted()

    def _sorted(self) -> tuple[Diagnostic, ...]:
        return tuple(sorted(self.found, key=Diagnostic.sort_key))

    # ---- one group of items ----
    def _group(self, parts: list[Part]) -> Iterable[tree.Item]:
        if not parts:
            return ()
        start, end = parts[0].start, max(part.end for part in parts)
        items = None
        if not self._letters(start, end):
            items = self._items(self.text[start:end], start)
        if items is not None:
            return items
        reported = len(self.found)
        broken = self._broken_parts(parts)
        if len(self.found) > MOST_REPORTS:
            return ()
        text = self._closed(parts, broken, start, end)
        items = self._items(text, start, broken)
        if items is not None:
            return items
        # The outline and the grammar do not agree on where something ends.
        error = _error(" " * start + text, "start")
        if len(self.found) == reported and error is not None:
            self._add(syntax_error(self.source, error))
        return [self._broken(part) for part in parts]

    def _broken_parts(self, parts: list[Part]) -> list[tree.Broken]:
        """The parts that are to be left out. All their faults are reported."""
        broken: list[tree.Broken] = []
        left_out = 0
        for part in (each for top in parts for each in top.walk()):
            if part.is_unclosed and part.opener is not None:
                self._add(self._unclosed(part, part.opener))
            faults = self._faults(part)
            self.found |= dict.fromkeys(faults)
            if faults and part.start >= left_out:
                broken.append(self._broken(part))
                left_out = part.end
            if len(self.found) > MOST_REPORTS:
                break
        return broken

    def _items(
        self, text: str, start: int, broken: Iterable[tree.Broken] = ()
    ) -> tuple[tree.Item, ...] | None:
        """The items of a text that begins at `start`; None where it does not parse."""
        try:
            parsed = lark_tree(text)
        except UnexpectedInput:
            return None
        return TreeBuilder(self.source, self.comments, start, broken).transform(parsed).items

    def _add(self, found: Diagnostic) -> None:
        self.found[found] = None

    def _letters(self, start: int, end: int) -> list[Diagnostic]:
        first = bisect_left(self.letter_starts, start)
        return self.letters[first : bisect_left(self.letter_starts, end)]

    def _unclosed(self, part: Part, opener: Token) -> Diagnostic:
        place = self._span(opener.start, opener.end)
        behind = part.behind
        if behind is None or behind.text not in (*ITEMS, *STATEMENTS):
            return not_closed(place)
        return not_closed(place, self._span(behind.start, behind.end))

    def _span(self, start: int, end: int) -> Span:
        return Span(self.source, start, end)

    def _broken(self, part: Part) -> tree.Broken:
        return tree.Broken(self._span(part.start, part.end), part.kind, names_bound(part))

    def _closed(self, parts: list[Part], broken: list[tree.Broken], start: int, end: int) -> str:
        """The text of a group without what is broken, and with the `}` that are missing."""
        left_out = [(each.span.start, each.span.end) for each in broken]
        letters = list(_without(self.text, left_out, start, end))
        behind = ""
        for part in (each for top in parts for each in top.walk()):
            is_left_out = any(first <= part.start < last for first, last in left_out)
            if not part.is_unclosed or is_left_out:
                continue
            at = (part.behind.start if part.behind is not None else end) - start - 1
            while at < len(letters) and letters[at] == "}" and part.behind is not None:
                at -= 1  # written there for a block in this one
            if part.behind is not None and at < len(letters) and letters[at].isspace():
                letters[at] = "}"
            else:
                behind += "}"
        return "".join(letters) + behind

    # ---- one part ----
    def _faults(self, part: Part) -> list[Diagnostic]:
        """What is wrong with the own text of a part: a statement, or the header of a block."""
        if letters := self._letters(part.start, part.own_end):
            return letters
        before = "" if part.is_item else "{"
        behind = ("}" if part.opener is not None else "") + ("}" if before else "")
        rule = "block" if before else "start"
        text = f"{before}{self.text[part.start : part.own_end]}{behind}"
        if _error(text, rule) is None:
            return []
        # Once more with blanks before it, so that the error knows its place.
        error = _error(" " * (part.start - len(before)) + text, rule)
        assert error is not None
        return [syntax_error(self.source, error, self._span(part.start, part.own_end))]


def _error(text: str, rule: str) -> UnexpectedInput | None:
    try:
        lark_tree(text, rule)
    except UnexpectedInput as error:
        return error
    return None


def _without(text: str, spans: Iterable[tuple[int, int]], start: int = 0, end: int = -1) -> str:
    """A stretch of a text with some spans blanked out."""
    pieces: list[str] = []
    at = start
    for first, last in spans:
        pieces += (text[at:first], re.sub(r"[^\n]", " ", text[first:last]))
        at = last
    return "".join(pieces) + text[at : end if end >= 0 else len(text)]
