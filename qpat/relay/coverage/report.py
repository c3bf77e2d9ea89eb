"""Coverage as tables to read and as JSON; docs/coverage.schema.json is the schema of that."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import Any

from qpat.relay.coverage.data import About, Coverage, FormCoverage, Refusal, RowCoverage, Work
from qpat.relay.report import aligned
from qpat.rendering import painted

_WIDTH = 100
Row = tuple[str, ...]


def as_text(coverage: Coverage, colour: bool = False) -> str:
    """A table of models, one of the forms that have a place there, and why places were refused."""
    forms = coverage.forms
    placed = [form for form in forms if form.matched or form.refused or form.lost]
    parts = [_titled(_models(coverage), colour)]
    if placed:
        parts.append(_titled(_forms(placed, coverage.work), colour))
    refused = _refused(forms)
    if len(refused) > 1:
        parts.append(_titled(refused, colour))
    others = [form.name for form in forms if form not in placed]
    if others:
        listed = f"no place in these models: {'; '.join(others)}"
        indent = "  "
        parts.append(
            textwrap.wrap(listed, _WIDTH, subsequent_indent=indent, break_long_words=False)
        )
    rows = [row for form in forms for row in form.rows]
    idle = sum(row.matched == 0 for row in rows)
    if idle:
        parts.append([f"{idle} of {len(rows)} rows never matched; --json and --html say which"])
    return "\n\n".join("\n".join(lines) for lines in parts)


def _titled(rows: list[Row], colour: bool) -> list[str]:
    head, *lines = aligned(rows)
    return [painted(head, "bold", colour), *lines]


def _models(coverage: Coverage) -> list[Row]:
    total = [("all", coverage.work)] if len(coverage.models) > 1 else []
    works = [*((model.model, model.work) for model in coverage.models), *total]
    head = ("model", "calls", "offloaded", "share", "MACs", "offloaded", "share")
    rows = [
        (
            name,
            *(f"{work.calls:,}", f"{work.offloaded_calls:,}"),
            share(work.offloaded_calls, work.calls),
            *(f"{work.macs:,}", f"{work.offloaded_macs:,}"),
            share(work.offloaded_macs, work.macs),
            f"({work.unsized} of unknown shape not counted)" if work.unsized else "",
        )
        for name, work in works
    ]
    return _to_the_right([(*head, ""), *rows], range(1, 7))


def _forms(forms: Iterable[FormCoverage], work: Work) -> list[Row]:
    head = ("pattern", "matched", "rows", "refused", "lost", "on host", "of calls", "of MACs")
    rows = [
        (
            form.name,
            *(str(form.matched), f"{form.rows_matched}/{len(form.rows)}"),
            *(str(form.refused), str(form.lost), str(form.on_host)),
            *(share(form.calls, work.calls), share(form.macs, work.macs)),
        )
        for form in forms
    ]
    return _to_the_right([head, *rows], range(1, 8))


def _refused(forms: Iterable[FormCoverage]) -> list[Row]:
    """What kept forms away from places, what leaves most on the host first."""
    found = [
        (form, refusal)
        for form in forms
        for refusal in form.refusals
        if refusal.about is not About.TAKEN
    ]
    found.sort(key=lambda pair: (-pair[1].on_host, -pair[1].count))
    rows = [
        (str(each.count), str(each.on_host), form.name, each.reason, _place(each))
        for form, each in found
    ]
    return _to_the_right([("refused", "on host", "pattern", "reason", ""), *rows], range(2))


def _place(refusal: Refusal) -> str:
    return f"{refusal.file}:{refusal.line}" if refusal.file is not None else ""


def _to_the_right(rows: list[Row], columns: Iterable[int]) -> list[Row]:
    """Rows whose numbers end below each other."""
    widths = {column: max(len(row[column]) for row in rows) for column in columns}
    return [
        tuple(cell.rjust(widths.get(column, 0)) for column, cell in enumerate(row)) for row in rows
    ]


def share(part: int, whole: int) -> str:
    """A part in per cent, rounded so that neither a little is nothing nor almost all is all."""
    if whole == 0:
        return "-"
    if part in (0, whole):
        return "100 %" if part else "0 %"
    percent = round(100 * part / whole, 1)
    if percent < 0.1:
        return "<0.1 %"
    return ">99.9 %" if percent > 99.9 else f"{percent:.1f} %"


# ---- JSON ----------------------------------------------------------------------------------------


def as_json(coverage: Coverage) -> dict[str, Any]:
    """Plain numbers, lists and strings."""
    return {
        "patterns": coverage.patterns,
        "compiler": coverage.compiler,
        "models": [
            {"model": model.model, **_work(model.work), "forms": _forms_json(model.forms)}
            for model in coverage.models
        ],
        "total": {**_work(coverage.work), "forms": _forms_json(coverage.forms)},
    }


def _work(work: Work) -> dict[str, Any]:
    return {
        "calls": {
            "all": work.calls,
            "offloaded": work.offloaded_calls,
            "share": _ratio(work.offloaded_calls, work.calls),
        },
        "macs": {
            "all": work.macs,
            "offloaded": work.offloaded_macs,
            "share": _ratio(work.offloaded_macs, work.macs),
            "unsized_calls": work.unsized,
        },
    }


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _forms_json(forms: Iterable[FormCoverage]) -> list[dict[str, Any]]:
    return [
        {
            "pattern": form.pattern,
            "form": form.form,
            "target": form.target,
            "matched": form.matched,
            "refused": form.refused,
            "lost": form.lost,
            "on_host": form.on_host,
            "calls": form.calls,
            "macs": form.macs,
            "refusals": list(map(_refusal_json, form.refusals)),
            "rows": list(map(_row_json, form.rows)),
        }
        for form in forms
    ]


def _row_json(row: RowCoverage) -> dict[str, Any]:
    return {
        "structure": row.structure,
        "matched": row.matched,
        "refusals": list(map(_refusal_json, row.refusals)),
    }


def _refusal_json(refusal: Refusal) -> dict[str, Any]:
    return {
        "about": refusal.about.value,
        "reason": refusal.reason,
        "count": refusal.count,
        "on_host": refusal.on_host,
        "file": refusal.file,
        "line": refusal.line,
    }
