"""Findings that several passes of the front end make: not built yet, defined twice, bad names."""

from __future__ import annotations

import re

from qpat.diagnostics import Findings, Label
from qpat.source import Span
from qpat.syntax import tree


def report_unbuilt(findings: Findings, span: Span, what: str) -> None:
    """An error that says a construct is part of the language but not built yet."""
    message = f"{what} is part of the language but not built yet"
    findings.error("QP090", span, message)


# Fields that every record has, and words that the grammar takes for something else.
RESERVED = frozenset(["form", "pattern", "meaning", "true", "false", "none", "raw"])


def check_name(findings: Findings, name: tree.Identifier) -> None:
    """Wants a name that can be a field of the record."""
    if name.text in RESERVED:
        message = f"`{name.text}` means something else; take another name"
        findings.error("QP117", name.span, message)
    elif name.text.endswith("_"):
        message = f"`{name.text}` ends in an underscore; records use that for Python's words"
        findings.error("QP117", name.span, message, hint=f"write `{name.text.rstrip('_')}`")


def head(span: Span) -> Span:
    """The first word of a long span: what a message underlines."""
    word = re.search(r"\S+", span.source.text[span.start : span.end])
    if word is None:
        return Span(span.source, span.start, span.start)
    return Span(span.source, span.start + word.start(), span.start + word.end())


def report_twice(name: tree.Identifier, first: Span, what: str, findings: Findings) -> None:
    message = f"{what} `{name.text}` is defined twice"
    others = (Label(first, "first here"),)
    findings.error("QP117", name.span, message, others=others)
