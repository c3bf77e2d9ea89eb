"""What is said of patterns, forms and rows that an earlier one always beats."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from qpat.analysis.answers import Answer, Entry, Verdict
from qpat.analysis.beating import Taking, outcome
from qpat.analysis.embedding import embeddings
from qpat.analysis.knowledge import Knowledge
from qpat.analysis.overlaps import overlaps
from qpat.analysis.witness import attribute_conditions, chosen_values, witness
from qpat.diagnostics import Findings, Label
from qpat.semantics import ir
from qpat.source import Span


def report_unreachable(found: Iterable[Answer], findings: Findings) -> None:
    """Reports patterns and forms of which an earlier row takes every graph (QP201), rows that stand
    twice in one pattern (QP203), and warns of overlaps that only the order decides (QP202)."""
    by_pattern: dict[str, list[Answer]] = {}
    for answer in found:
        by_pattern.setdefault(answer.entry.pattern.name, []).append(answer)
    for answers in by_pattern.values():
        if any(each.verdict is Verdict.BEATEN for each in answers):
            _report_pattern(answers, findings)
        else:
            _report_overlap(answers, findings)


def _report_pattern(answers: Sequence[Answer], findings: Findings) -> None:
    pattern = answers[0].entry.pattern
    if _are_all_dead(answers):
        _report_dead(_shown(answers), f"`{pattern.name}`", pattern_head(pattern), findings)
        return
    # The instances of a family share their text, and it may be of use in some of them only.
    if "$" in pattern.span.text:
        return
    forms = {each.entry.row.form: None for each in answers if each.entry.row.form is not None}
    dead = []
    for form in forms:
        mine = [each for each in answers if each.entry.row.form == form]
        if _are_all_dead(mine):
            dead.append(form)
            name = f"form `{form}` of `{pattern.name}`"
            _report_dead(_shown(mine), name, form_head(pattern, form), findings)
    for each in answers:
        if each.verdict is Verdict.BEATEN and each.entry.row.form not in dead:
            _report_repeated(each, findings)


def _are_all_dead(answers: Iterable[Answer]) -> bool:
    """Whether none of the rows can match, and it is an earlier one that keeps them from it."""
    every = list(answers)
    beaten = [each for each in every if each.verdict is Verdict.BEATEN]
    others = [each for each in every if each.verdict is not Verdict.BEATEN]
    return (
        bool(beaten)
        and all(_contradicts(each.entry) for each in others)
        and not all(_contradicts(each.entry) for each in beaten)
    )


def _contradicts(entry: Entry) -> bool:
    known = Knowledge(entry.pattern, entry.row)
    return known.constraints is not None and known.is_dead


def _shown(answers: Sequence[Answer]) -> Answer:
    """The row to show: the shortest one that could match."""
    beaten = [each for each in answers if each.verdict is Verdict.BEATEN]
    alive = [each for each in beaten if not _contradicts(each.entry)]
    return min(alive, key=lambda each: each.entry.row.call_count)


# ---- QP201 --------------------------------------------------------------------------------------


def _report_dead(answer: Answer, name: str, span: Span, findings: Findings) -> None:
    entry, by = answer.entry, answer.by
    assert by is not None and answer.at is not None
    is_own = by.pattern is entry.pattern
    other = f"form `{by.row.form}`" if is_own and by.row.form else f"`{by.pattern.name}`"
    what, label = "every graph of it", "takes them all"
    if answer.at != entry.row.root:
        node = entry.row.nodes[answer.at]
        assert isinstance(node, ir.Call)
        what, label = f"the `{node.operator}` inside of it", f"takes every `{node.operator}` there"
    place = pattern_head(by.pattern)
    if is_own and by.row.form is not None:
        place = form_head(by.pattern, by.row.form)
    message = f"{name} can never match: {other} comes first and takes {what}"
    findings.error(
        "QP201",
        span,
        message,
        label="never matches",
        hint=f"{_advice(answer, name, other)}; a graph: {_graph(entry)}",
        others=(Label(place, label),),
    )


def _advice(answer: Answer, name: str, other: str) -> str:
    entry, by = answer.entry, answer.by
    assert by is not None
    if answer.at == entry.row.root and _takes(entry, by):
        return "both match the same graphs: leave one out, or tell them apart with a `where`"
    return f"put {name} before {other}, or add a `where` to {other} that leaves these graphs"


def _takes(earlier: Entry, later: Entry) -> bool:
    known = Knowledge(earlier.pattern, earlier.row), Knowledge(later.pattern, later.row)
    return outcome(*known, later.row.root).taking is Taking.ALWAYS


# ---- QP203 --------------------------------------------------------------------------------------


def _report_repeated(answer: Answer, findings: Findings) -> None:
    """A row that is another one of its pattern again, names and all: written twice."""
    entry, by = answer.entry, answer.by
    assert by is not None
    if by.pattern is not entry.pattern or not _is_same_row(entry.row, by.row):
        return
    first, second = (_difference(entry.row, by.row), _difference(by.row, entry.row))
    if first is None or second is None:
        place = entry.row.nodes[entry.row.root].span
        first, second = place, place
    elif _is_within(first, second) or _is_within(second, first):
        return  # two optional calls in a chain, of which either may be the one that is there
    message = f"an alternative of `{entry.pattern.name}` stands twice"
    others = (Label(second, "first here"),) if second != first else ()
    hint = f"leave one out; the row is {_graph(entry)}"
    findings.error("QP203", first, message, hint=hint, others=others)


def _is_same_row(first: ir.Row, second: ir.Row) -> bool:
    return (
        first.form == second.form
        and first.blocks == second.blocks
        and first.values == second.values
        and first.calls == second.calls
        and _stripped(first) == _stripped(second)
    )


def _stripped(row: ir.Row) -> list[object]:
    """The nodes of a row without their places in the text."""
    return [
        (type(node), *(_plain(getattr(node, name)) for name in _fields(node))) for node in row.nodes
    ]


def _fields(node: ir.Node) -> list[str]:
    return [name for name in type(node).__match_args__ if name != "span"]


def _plain(value: object) -> object:
    if isinstance(value, tuple) and value and isinstance(value[0], ir.Attribute):
        return [(each.name, each.value) for each in value]
    return value


def _is_within(span: Span, outer: Span) -> bool:
    return outer.start <= span.start and span.end <= outer.end


def _difference(row: ir.Row, other: ir.Row) -> Span | None:
    """The first place in the text that a row has and the other has not."""
    places = {node.span for node in other.nodes}
    found = [node.span for node in row.nodes if node.span not in places]
    return min(found, key=lambda span: span.start, default=None)


# ---- QP202 --------------------------------------------------------------------------------------


def _report_overlap(answers: Sequence[Answer], findings: Findings) -> None:
    """Warns of the first row that shares graphs with one of another pattern."""
    for answer in answers:
        if answer.verdict is Verdict.UNKNOWN or answer.by is None:
            continue
        first, second = answer.by.pattern, answer.entry.pattern
        earlier, later = (Knowledge(e.pattern, e.row) for e in (answer.by, answer.entry))
        if first.name in second.after or not overlaps(earlier, later):
            continue
        message = (
            f"`{first.name}` and `{second.name}` both match some graphs, and neither is the "
            "special case of the other: only the order decides"
        )
        graph = _shared_graph(earlier, later)
        advice = f"tell them apart with a `where`, or write `after {first.name}` before its `{{`"
        hint = f"{advice}; a graph that both match: {graph}"
        others = (Label(pattern_head(first), "comes first"),)
        findings.warning("QP202", pattern_head(second), message, hint=hint, others=others)
        return


def _graph(entry: Entry) -> str:
    """A graph that a row matches."""
    known = Knowledge(entry.pattern, entry.row)
    return witness(entry.pattern, entry.row, chosen_values(known))


def _shared_graph(earlier: Knowledge, later: Knowledge) -> str:
    """A graph that two rows of one structure match."""
    nodes = embeddings(earlier.row, later.row, later.row.root).certain[0].nodes
    asked = attribute_conditions(earlier)
    moved = {(nodes[call], name): allowed for (call, name), allowed in asked.items()}
    return witness(later.pattern, later.row, chosen_values(later, moved))


# ---- places -------------------------------------------------------------------------------------


def pattern_head(pattern: ir.Pattern) -> Span:
    """The words `pattern name`."""
    return _found(pattern.span, r"pattern\s+[^\s(]+")


def form_head(pattern: ir.Pattern, form: str) -> Span:
    """The words `form label` in a pattern."""
    return _found(pattern.span, rf"\bform\s+{re.escape(form)}\b")


def _found(span: Span, words: str) -> Span:
    found = re.search(words, span.text)
    if found is None:
        return span
    return Span(span.source, span.start + found.start(), span.start + found.end())
