"""Findings for other programs: JSON, SARIF, and the annotations of GitHub's workflow commands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qpat.diagnostics import Diagnostic, Fix
    from qpat.source import Span

FORMATS = ("text", "json", "sarif", "github")


def formatted(diagnostics: Iterable[Diagnostic], form: str) -> str:
    """All findings in order of place, in one of FORMATS. Nothing for none, but a whole document in
    JSON and SARIF."""
    import json

    from qpat.rendering import joined
    from qpat.sarif import sarif_log

    ordered = sorted(diagnostics, key=lambda found: found.sort_key())
    if form == "json":
        return json.dumps([_as_json(each) for each in ordered], indent=1)
    if form == "sarif":
        return json.dumps(sarif_log(ordered), indent=1)
    if form == "github":
        return "\n".join(_as_github(each) for each in ordered)
    return joined(ordered)


def _as_json(diagnostic: Diagnostic) -> dict[str, Any]:
    return {
        "code": diagnostic.code,
        "severity": diagnostic.severity.value,
        "message": diagnostic.message,
        "hint": diagnostic.hint,
        "label": diagnostic.label or None,
        **_place(diagnostic.span, diagnostic.place),
        "others": [{"label": each.text, **_place(each.span, None)} for each in diagnostic.others],
        "fix": _fix(diagnostic.fix),
    }


def _fix(fix: Fix | None) -> dict[str, Any] | None:
    """Whoever makes the change puts `replacement` where the place is."""
    if fix is None:
        return None
    return {"title": fix.title, "replacement": fix.text, **_place(fix.span, None)}


def _place(span: Span | None, place: str | None) -> dict[str, Any]:
    """File and where in it, lines and columns from 1, the end just behind the last character."""
    if span is None:
        return {"file": place, "line": None, "column": None, "end_line": None, "end_column": None}
    end_line, end_column = span.source.position(span.end)
    return {
        "file": span.source.name,
        "line": span.line,
        "column": span.column,
        "end_line": end_line,
        "end_column": end_column,
    }


def _as_github(diagnostic: Diagnostic) -> str:
    """`::error file=…,line=…,col=…,title=…::message`, with the escapes workflow commands want."""
    place = _place(diagnostic.span, diagnostic.place)
    properties: Mapping[str, Any] = {
        "file": place["file"],
        "line": place["line"],
        "endLine": place["end_line"],
        "col": place["column"],
        "endColumn": place["end_column"],
        "title": diagnostic.code,
    }
    stated = ",".join(
        f"{key}={_escaped(str(value), ':,')}"
        for key, value in properties.items()
        if value is not None
    )
    hint = f"\nhint: {diagnostic.hint}" if diagnostic.hint is not None else ""
    return f"::{diagnostic.severity.value} {stated}::{_escaped(diagnostic.message + hint, '')}"


def _escaped(text: str, also: str) -> str:
    for char in f"%\r\n{also}":
        text = text.replace(char, f"%{ord(char):02X}")
    return text
