"""Fixes that are more than one word in the place of another."""

from __future__ import annotations

import re

from qpat.diagnostics import Fix
from qpat.source import Span
from qpat.syntax import tree
from qpat.syntax.parser import blanked


def without_default(node: tree.Operation) -> Fix:
    """`a ?? b` without its default."""
    source = node.span.source
    # Brackets around `a` are no part of its span, so what is taken away begins at the `??`.
    begin = node.operands[0].span.end
    mark = blanked(source).index("??", begin)
    start = len(source.text[:mark].rstrip())
    return Fix(Span(source, max(start, begin), node.span.end), "")


def without_argument(span: Span) -> Fix | None:
    """One argument of a call and the comma before it; None where something else stands there."""
    before = re.search(r",\s*$", span.source.text[: span.start])
    return Fix(Span(span.source, before.start(), span.end), "") if before is not None else None


def with_rest(call: tree.Call) -> Fix:
    """`..` behind the arguments of a call that has some."""
    source, bracket = call.span.source, call.span.end - 1
    end = len(blanked(source)[:bracket].rstrip())
    return Fix(Span(source, end, end), ", ..")


def without_statement(span: Span) -> Fix:
    """A statement, and its line where nothing else stands in it."""
    text = span.source.text
    before = re.search(r"\n[ \t]*$", text[: span.start])
    if before is None or text[span.end : span.end + 1] not in ("", "\n"):
        return Fix(span, "")
    return Fix(Span(span.source, before.start(), span.end), "")
