"""Why operators stay on the host, as findings (QP350) and as data to write."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from qpat.diagnostics import Diagnostic, Label, warning
from qpat.records import replace
from qpat.relay.names import operator_name
from qpat.relay.why.reasons import Miss, Why
from qpat.source import Span
from qpat.targets.rows import summary


def findings(found: Iterable[Why], place: str) -> tuple[Diagnostic, ...]:
    """One finding for each cause: operators that the same thing keeps on the host are counted.
    `place` is the file of the model."""
    causes: dict[tuple[str, str, Span | None, int], list[Why]] = {}
    for each in found:
        number = each.miss.row.number if each.miss is not None else 0
        causes.setdefault((each.operator, each.text, _span(each), number), []).append(each)
    return tuple(_finding(group, place) for group in causes.values())


def _span(each: Why) -> Span | None:
    return each.miss.reasons[0].span if each.miss is not None else None


def _finding(group: list[Why], place: str) -> Diagnostic:
    first = group[0]
    names = [each.name for each in group if each.name is not None]
    where = f" ({names[0]})" if names else ""
    count = f"{len(group)} times " if len(group) > 1 else ""
    message = f"{count}`{first.operator}` stays on the host{where}: {first.text}"
    found = warning("QP350", message, place=place)
    span = _span(first)
    if first.miss is None or span is None:
        return found
    hint, others = nearest_text(first.miss), _others(first.miss)
    return replace(found, span=span, place=None, hint=hint, others=others)


def nearest_text(miss: Miss) -> str:
    """The row that came nearest, and how near."""
    form = f", form `{miss.row.form}`," if miss.row.form is not None else ""
    total = miss.row.call_count
    fits = f"{miss.fitting} of {total} operators fit" if total > 1 else "its operator fits"
    return f"`{miss.pattern.name}`{form} comes nearest, {fits}: {summary(miss.row)}"


def _others(miss: Miss) -> tuple[Label, ...]:
    """What else keeps the row away, where that stands in another place."""
    first = miss.reasons[0]
    others = [each for each in miss.reasons[1:] if each.span not in (None, first.span)]
    return tuple(Label(each.span, each.text) for each in others if each.span is not None)


def as_json(found: Iterable[Why]) -> list[dict[str, Any]]:
    """What docs/why.md describes: plain numbers, lists and strings."""
    return [_entry(each) for each in found]


def _entry(each: Why) -> dict[str, Any]:
    return {
        "op": each.operator,
        "name": each.name,
        "reason": each.text,
        "nearest": None if each.miss is None else _miss(each.miss),
    }


def _miss(miss: Miss) -> Mapping[str, Any]:
    return {
        "pattern": miss.pattern.name,
        "composite": miss.pattern.composite or None,
        "form": miss.row.form,
        "row": summary(miss.row),
        "fitting": miss.fitting,
        "operators": miss.row.call_count,
        "reasons": [
            {
                "about": each.obstacle.value,
                "text": each.text,
                "op": operator_name(each.expr),
                "file": each.span.source.name if each.span is not None else None,
                "line": each.span.line if each.span is not None else None,
                "column": each.span.column if each.span is not None else None,
            }
            for each in miss.reasons
        ],
    }
