"""Rows that no graph can match: facts of dtypes, ranks, sizes and attributes that contradict."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from qpat.diagnostics import Findings
from qpat.records import dataclass
from qpat.semantics import ir
from qpat.semantics.conditions import Conditions, conditions_of, lets_of
from qpat.semantics.conflicts import report_alternative, report_conflict
from qpat.semantics.constraints import Conflict, Constraints
from qpat.semantics.facts import (
    RowFacts,
    dtype_facts,
    field_facts,
    literal_facts,
    port_facts,
    site_of,
)
from qpat.semantics.folding import Folding
from qpat.semantics.shapes import settled, shape_facts
from qpat.source import Span
from qpat.syntax import tree


def report_contradictions(
    node: tree.Pattern,
    ports: tuple[ir.Port, ...],
    rows: tuple[ir.Row, ...],
    statements: tuple[ir.Statement, ...],
    findings: Findings,
) -> None:
    """Reports a pattern or form without a row that can match (QP160 dtypes, QP161 ranks and sizes,
    QP162 conditions), and warns of a single alternative (QP163) and of conditions that hold
    always (QP164). Where something is wrong already, it says nothing."""
    if findings.failed:
        return
    _report_always(node, statements, findings)
    calls = frozenset(name for row in rows for name in row.calls)
    judged = [_judged(row, ports, statements, calls) for row in rows]
    if all(each.is_dead for each in judged):
        _report_dead(judged, ports, findings)
        return
    # The instances of a family share their text, and it may be of use in some of them only.
    if "$" not in node.span.text:
        _report_forms(node, judged, ports, findings)
        _report_alternatives(node, judged, findings)


def row_conflicts(
    row: ir.Row,
    ports: Iterable[ir.Port],
    statements: Iterable[ir.Statement] = (),
    calls: frozenset[str] = frozenset(),
) -> list[tuple[Conflict, ...]]:
    """What contradicts itself in a row: for each thing that cannot be, the facts that disagree, the
    closest first. `calls` are the names of calls in any row of the pattern."""
    return _judged(row, tuple(ports), tuple(statements), calls).disputes


@dataclass(frozen=True)
class _Judged:
    """A row, what contradicts itself in it, and the condition that is false in it anyway."""

    row: ir.Row
    conflicts: list[tuple[Conflict, ...]]
    refusal: Conflict | None

    @property
    def is_dead(self) -> bool:
        return bool(self.conflicts) or self.refusal is not None

    @property
    def disputes(self) -> list[tuple[Conflict, ...]]:
        return self.conflicts if self.refusal is None else [*self.conflicts, (self.refusal,)]


def _judged(
    row: ir.Row,
    ports: tuple[ir.Port, ...],
    statements: tuple[ir.Statement, ...],
    calls: frozenset[str],
) -> _Judged:
    constraints, refusal = row_constraints(row, ports, statements, calls)
    found = constraints.conflicts()
    return _Judged(row, [tuple(sorted(each, key=_distance)) for each in found], refusal)


def row_constraints(
    row: ir.Row,
    ports: tuple[ir.Port, ...],
    statements: tuple[ir.Statement, ...],
    calls: frozenset[str],
) -> tuple[Constraints, Conflict | None]:
    """All that is known of the graphs that a row matches, and the condition that is false in it
    anyway. `calls` are the names of calls in any row of the pattern."""
    facts = RowFacts(row)
    for port in ports:
        port_facts(facts, port)
    for index, node in enumerate(row.nodes):
        if isinstance(node, ir.Call):
            site = site_of(facts, index, node)
            if site is not None:
                dtype_facts(site)
                shape_facts(site)
        elif isinstance(node, ir.Literal):
            literal_facts(facts, index, node)
        elif isinstance(node, ir.Field):
            field_facts(facts, index, node)
    refusal = _assume(facts, ports, statements, calls)
    return settled(facts), refusal


def _distance(conflict: Conflict) -> tuple[int, int]:
    """How far apart the facts are. What an operator contradicts itself is nearer than a port."""
    return len(conflict.links), sum(fact.operator is None for fact in conflict.facts)


def _assume(
    facts: RowFacts,
    ports: tuple[ir.Port, ...],
    statements: tuple[ir.Statement, ...],
    calls: frozenset[str],
) -> Conflict | None:
    """Adds what the conditions say. The first one that is false in this row, whatever the graph."""
    wheres = conditions_of(statements, facts.row)
    if not wheres:
        return None
    sizes = {size for port in ports for size in port.shape or () if isinstance(size, str)}
    folding = Folding(facts.row, calls, lets_of(statements, facts.row.blocks))
    many = frozenset(port.name for port in ports if port.many)
    conditions = Conditions(facts, folding, frozenset(sizes), many)
    for where in wheres:
        conditions.assume(where.condition)
    conditions.finish()
    return None if conditions.refusal is None else Conflict((conditions.refusal,), ())


def _report_always(
    node: tree.Pattern, statements: tuple[ir.Statement, ...], findings: Findings
) -> None:
    """Conditions of nothing but literals. One from a family or a fragment may be meant to vary."""
    for statement in statements:
        if not isinstance(statement, ir.Where):
            continue
        span = statement.condition.span
        if "$" in span.text or not _within(span, node.span):
            continue
        folding = Folding(locals=lets_of(statements, (statement.block,)))
        if folding.value(statement.condition) is True:
            message = f"`{span.text}` always holds"
            findings.warning("QP164", span, message, hint="leave the `where` out")


def _within(span: Span, outer: Span) -> bool:
    return span.source is outer.source and outer.start <= span.start and span.end <= outer.end


# ---- what to report --------------------------------------------------------------------------


def _report_dead(judged: Sequence[_Judged], ports: tuple[ir.Port, ...], findings: Findings) -> None:
    for conflict in _chosen(judged):
        report_conflict(conflict, ports, findings)


def _chosen(judged: Sequence[_Judged]) -> list[Conflict]:
    """The conflicts that every row has, one for each thing that cannot be; where there are none,
    the fewest that rule out every row."""
    keys = [{each.key for group in row.disputes for each in group} for row in judged]
    common = set.intersection(*keys)
    chosen: dict[object, Conflict] = {}
    for group in judged[0].disputes:
        for conflict in group:
            if conflict.key in common:
                chosen.setdefault(conflict.key, conflict)
                break
    if chosen:
        return list(chosen.values())
    return _cover(judged)


def _cover(judged: Sequence[_Judged]) -> list[Conflict]:
    """Conflicts that rule out every row, those of the most rows first."""
    left = list(judged)
    chosen: list[Conflict] = []
    while left:
        found: dict[object, Conflict] = {}
        counts: dict[object, int] = {}
        for row in left:
            for conflict in {each.key: each for group in row.disputes for each in group}.values():
                found.setdefault(conflict.key, conflict)
                counts[conflict.key] = counts.get(conflict.key, 0) + 1
        best = max(counts, key=lambda key: counts[key])
        chosen.append(found[best])
        left = [
            row
            for row in left
            if not any(each.key == best for group in row.disputes for each in group)
        ]
    return chosen


def _report_forms(
    node: tree.Pattern,
    judged: Sequence[_Judged],
    ports: tuple[ir.Port, ...],
    findings: Findings,
) -> None:
    """Forms of the pattern itself; those of a fragment may be of use elsewhere. A form that the
    pattern's own conditions rule out (`where form == "other"`) is meant to be."""
    for statement in node.block.statements:
        if not isinstance(statement, tree.Form):
            continue
        mine = [each for each in judged if each.row.form == statement.name.text]
        if mine and all(_is_at_odds(each, statement.span) for each in mine):
            _report_dead(mine, ports, findings)


def _is_at_odds(judged: _Judged, form: Span) -> bool:
    refused = () if judged.refusal is None else judged.refusal.facts
    return bool(judged.conflicts) or any(_within(fact.span, form) for fact in refused)


def _report_alternatives(node: tree.Pattern, judged: Sequence[_Judged], findings: Findings) -> None:
    """Calls that stand only in rows that cannot match, in a form that can."""
    alive = {call for each in judged if not each.is_dead for call in _calls(each.row)}
    live_forms = {each.row.form for each in judged if not each.is_dead}
    left = [each for each in judged if each.conflicts and each.refusal is None]
    left = [each for each in left if each.row.form in live_forms]
    while left:
        first, *left = left
        dead = [call for call in _calls(first.row) if call not in alive]
        dead = [call for call in dead if _within(call[1], node.span)]
        if not dead:
            continue
        conflict = first.conflicts[0][0]
        places = [fact.span for fact in conflict.facts]
        call = next((each for each in dead if each[1] in places), dead[-1])
        report_alternative(call[0], conflict, findings)
        left = [each for each in left if call not in _calls(each.row)]


def _calls(row: ir.Row) -> list[tuple[str, Span]]:
    return [(node.operator, node.span) for node in row.nodes if isinstance(node, ir.Call)]
