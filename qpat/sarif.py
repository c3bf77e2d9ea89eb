"""Findings as SARIF 2.1.0, the format that code scanning services read.

The rules are from its specification (OASIS, sarif-v2.1.0); the section is named where it decides.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from qpat.diagnostics import Diagnostic, Fix, Label
from qpat.pages import page
from qpat.resources import finding_codes
from qpat.source import Span

_SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)


def sarif_log(diagnostics: Sequence[Diagnostic]) -> dict[str, Any]:
    """A log of one run, with a rule for each code that was found."""
    codes = sorted({each.code for each in diagnostics})
    driver = {"name": "qpat", "rules": [_rule(code) for code in codes]}
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [_result(each, codes.index(each.code)) for each in diagnostics],
    }
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(code: str) -> dict[str, Any]:
    if code not in finding_codes():
        return {"id": code}
    about = page(code)
    return {
        "id": code,
        "shortDescription": {"text": about.title},
        "fullDescription": {"text": about.says},
        "help": {"text": about.text, "markdown": about.text},
        "defaultConfiguration": {"level": about.severity},
    }


def _result(diagnostic: Diagnostic, rule: int) -> dict[str, Any]:
    hint = f"\nhint: {diagnostic.hint}" if diagnostic.hint is not None else ""
    result: dict[str, Any] = {
        "ruleId": diagnostic.code,
        "ruleIndex": rule,
        "level": diagnostic.severity.value,
        "message": {"text": diagnostic.message + hint},
        "locations": _locations(diagnostic),
    }
    if diagnostic.others:
        related = enumerate(diagnostic.others, start=1)
        result["relatedLocations"] = [_related(number, each) for number, each in related]
    if diagnostic.fix is not None:
        result["fixes"] = [_fix(diagnostic.fix)]
    return result


def _locations(diagnostic: Diagnostic) -> list[dict[str, Any]]:
    """None for what is wrong with no file (3.27.12)."""
    if diagnostic.span is not None:
        location = _location(diagnostic.span)
        if diagnostic.label:
            location["message"] = {"text": diagnostic.label}
        return [location]
    if diagnostic.place is not None:
        return [{"physicalLocation": {"artifactLocation": _artifact(diagnostic.place)}}]
    return []


def _related(number: int, label: Label) -> dict[str, Any]:
    return {"id": number, **_location(label.span), "message": {"text": label.text}}


def _location(span: Span) -> dict[str, Any]:
    artifact = _artifact(span.source.name)
    return {"physicalLocation": {"artifactLocation": artifact, "region": _region(span)}}


def _fix(fix: Fix) -> dict[str, Any]:
    replacement = {"deletedRegion": _region(fix.span), "insertedContent": {"text": fix.text}}
    change = {
        "artifactLocation": _artifact(fix.span.source.name),
        "replacements": [replacement],
    }
    return {"description": {"text": fix.title}, "artifactChanges": [change]}


def _region(span: Span) -> dict[str, int]:
    """Lines and columns from 1; `endColumn` is just behind the last character (3.30.8)."""
    line, column = span.source.position(span.start)
    end_line, end_column = span.source.position(span.end)
    return {"startLine": line, "startColumn": column, "endLine": end_line, "endColumn": end_column}


def _artifact(name: str) -> dict[str, str]:
    """A path as a URI reference (3.4.3), with forward slashes and percent-encoded: relative to the
    working folder, but for an absolute path that leads elsewhere."""
    path = Path(name)
    if path.is_absolute() and path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())
    if path.is_absolute():
        return {"uri": path.as_uri()}
    # A name that is no UTF-8 is encoded by its bytes, and a colon makes no scheme.
    return {"uri": quote(os.fsencode(path.as_posix()))}
