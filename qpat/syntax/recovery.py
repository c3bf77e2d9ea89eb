"""Parsing on behind a syntax error: the item at fault is blanked out and the rest is parsed again.

So each broken pattern is reported once, and what is wrong with the others is reported too. Items
are told apart by their first word at the start of a line, which an unclosed bracket cannot hide.
"""

from __future__ import annotations

import re

from qpat.diagnostics import Diagnostic, QpatError
from qpat.source import Source
from qpat.syntax import tree
from qpat.syntax.parser import ITEMS, blanked, parse

_ITEM = re.compile(rf"^(?:{'|'.join(ITEMS)})\b", re.MULTILINE)
# Without one of these the rest still means what it meant: nothing else refers to it.
_SEPARATE = ("pattern", "test")


def parse_recovering(source: Source) -> tuple[tree.File | None, tuple[Diagnostic, ...]]:
    """The tree of all items that parse, and the findings of those that do not.

    The tree is None where what is missing would make the rest be misunderstood.
    """
    found: dict[Diagnostic, None] = {}
    is_whole = True
    rest = source
    while True:
        try:
            file = parse(rest)
            return (file if is_whole else None), tuple(found)
        except QpatError as error:
            found |= dict.fromkeys(error.diagnostics)
            items = [_item_around(rest, each) for each in error.diagnostics]
        if None in items:
            return None, tuple(found)
        for start, end in filter(None, items):
            is_whole = is_whole and rest.text.startswith(_SEPARATE, start)
            rest = Source(
                rest.name, rest.text[:start] + _blank(rest.text[start:end]) + rest.text[end:]
            )


def _item_around(source: Source, finding: Diagnostic) -> tuple[int, int] | None:
    """Start and end of the item a finding is about; None where it is in none."""
    if finding.span is None:
        return None
    # What is not closed is at fault, not where that was noticed.
    offset = finding.others[0].span.start if finding.others else finding.span.start
    starts = [match.start() for match in _ITEM.finditer(blanked(source))]
    before = [start for start in starts if start <= offset]
    if not before:
        return None
    behind = [start for start in starts if start > offset]
    return before[-1], behind[0] if behind else len(source.text)


def _blank(text: str) -> str:
    return re.sub(r"[^\n]", " ", text)
