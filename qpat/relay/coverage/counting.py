"""How often each row and form of a pattern file matched in a model, and what refused it how often.

A row is held against the module as it was before composites were cut out, at every call: what is
counted of it does not depend on what other patterns took.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from qpat.relay.coverage.data import About, FormCoverage, Refusal, RowCoverage, summed
from qpat.relay.coverage.macs import macs, operator_calls
from qpat.relay.graph import post_order
from qpat.relay.kinds import relay
from qpat.relay.loading import Entry, entries
from qpat.relay.names import operator_name
from qpat.relay.partition import Match, Partition, used_outside
from qpat.relay.why.before import Before
from qpat.relay.why.fitting import fit
from qpat.relay.why.search import place_of, spoken_of
from qpat.semantics import ir
from qpat.source import Span
from qpat.targets.relay_reading import composite_name
from qpat.targets.rows import summary


@dataclass(frozen=True, eq=False)
class _Event:
    """A row whose structure fits at `root` and that takes nothing there. `calls` is what it would
    have taken; `on_host`: nothing else takes all of that either."""

    root: Any
    on_host: bool
    calls: frozenset[Any]
    about: About
    reason: str
    span: Span | None

    @property
    def refusal(self) -> Refusal:
        span = self.span
        file, line = (span.source.name, span.line) if span is not None else (None, None)
        return Refusal(self.about, self.reason, 1, int(self.on_host), file, line)


def forms_of(partition: Partition, was: Before) -> tuple[FormCoverage, ...]:
    """What is counted of every form of every pattern, in the order of the file. `was` is what
    before() gave for the partition."""
    counting = _Counting(partition, was)
    forms: dict[tuple[str, str | None], list[Entry]] = {}
    for entry in counting.entries:
        forms.setdefault((entry.pattern.name, entry.row.form), []).append(entry)
    return tuple(counting.form(rows) for rows in forms.values())


class _Counting:
    def __init__(self, partition: Partition, was: Before) -> None:
        self.generated = partition.generated
        self.options = self.generated.Options(**partition.options)
        self.entries = entries(self.generated, partition.compiled.module)
        self.matches = {match.call: match for match in partition.matches}
        self.reading = was.reading
        self.known = was.known
        self.known_after = partition.quantization.of
        self.users = was.users
        # Calls of the module before, by what they became or became part of, and back.
        self.holders = {old: new for new, old in was.calls.items()} | dict(was.taken)
        self.held: dict[Any, set[Any]] = {}
        for call, holder in self.holders.items():
            self.held.setdefault(holder, set()).add(call)
        self.roots: dict[str, list[Any]] = {}
        for variable in was.module.get_global_vars():
            for expr in post_order(was.module[variable].body):
                self.roots.setdefault(_kind(expr), []).append(expr)

    def form(self, rows: list[Entry]) -> FormCoverage:
        pattern, form = rows[0].pattern, rows[0].row.form
        mine = [m for m in self.matches.values() if (m.pattern, m.form) == (pattern.name, form)]
        unplaced = {match.call: match for match in mine}
        found = [list(self._events(entry, unplaced)) for entry in rows]
        matched = [sum(event is None for event in events) for events in found]
        for match in unplaced.values():
            matched[self._row_of_body(rows, match)] += 1
        refused = [[event for event in events if event is not None] for events in found]
        places = self._places([each for events in refused for each in events], mine)
        lost = [place for place in places if any(e.about is About.TAKEN for e in place)]
        return FormCoverage(
            pattern.name,
            form,
            pattern.composite or str(pattern.operator_rule),
            len(mine),
            len(places) - len(lost),
            len(lost),
            sum(place[0].on_host for place in places),
            summed(refusal for place in places for refusal in _distinct(place)),
            sum(len(operator_calls(match.call)) for match in mine),
            sum(macs(match.call) or 0 for match in mine),
            tuple(
                RowCoverage(summary(entry.row), count, summed(event.refusal for event in events))
                for entry, count, events in zip(rows, matched, refused, strict=True)
            ),
        )

    # ---- one row -------------------------------------------------------------------------------

    def _events(self, entry: Entry, unplaced: dict[Any, Match]) -> Iterator[_Event | None]:
        """What keeps a row away from each call where its structure fits; None where it is what made
        one of `unplaced`, the form's matches, which is taken from there."""
        for root in self.roots.get(_root(entry.row), ()):
            try:
                node = self.reading.node(root)
                match, _ = self.generated.tried(entry.generated, node, {}, self._setup)
            except self.generated.Mismatch:
                continue
            except self.generated.Refused as refused:
                yield self._refused(entry, root, str(refused))
                continue
            inner = tuple(map(self.reading.expr, match.inner))
            inside = {each for each in inner if isinstance(each, relay.Call)}
            holder = self.holders.get(root)
            if holder in unplaced and inside == self.held[holder]:
                del unplaced[holder]
                yield None
            elif not self._is_own(holder, entry):
                yield self._not_taken(entry, root, inner)

    def _setup(self, match: Any) -> None:
        match.options, match.inherited = self.options, self.known

    def _is_own(self, holder: Any, entry: Entry) -> bool:
        match = self.matches.get(holder)
        own = (entry.pattern.name, entry.row.form)
        return match is not None and (match.pattern, match.form) == own

    def _on_host(self, calls: Iterable[Any]) -> bool:
        return any(self.holders.get(call) not in self.matches for call in calls)

    def _row_of_body(self, rows: list[Entry], match: Match) -> int:
        """Which of a form's rows made a composite that stands in another's pattern, or on which
        more is known now: the first that has its body, as extract() says."""
        root, arguments, outer = self.reading.body(match.call)

        def setup(match: Any) -> None:
            match.options = self.options
            match.inherited = lambda node: self.known_after(outer[node]) if node in outer else None

        for number, entry in enumerate(rows):
            try:
                self.generated.tried(entry.generated, root, arguments, setup)
                return number
            except self.generated.Refused:
                continue
        return 0

    # ---- what keeps a row away -----------------------------------------------------------------

    def _refused(self, entry: Entry, root: Any, reason: str) -> _Event:
        laid = fit(entry.row, entry.row.root, root, self.users)
        inside = (
            laid.at.get(index)
            for index, node in enumerate(entry.row.nodes)
            if isinstance(node, ir.Call | ir.CompositeCall)
        )
        calls = frozenset(each for each in (*inside, root) if isinstance(each, relay.Call))
        about, span = _about(entry, reason), place_of(entry, reason)
        return _Event(root, self._on_host(calls), calls, about, reason, span)

    def _not_taken(self, entry: Entry, root: Any, inner: tuple[Any, ...]) -> _Event:
        """Its check agrees, but TVM drops a match that others use the inside of, and one of which
        an earlier match holds something."""
        calls = frozenset(each for each in inner if isinstance(each, relay.Call))
        span = place_of(entry, "")
        seen = used_outside(inner, root, self.users)
        if seen is not None:
            reason = f"`{operator_name(seen[0])}` inside is used outside, too"
            return _Event(root, self._on_host(calls), calls, About.USER, reason, span)
        holders = (self.matches.get(self.holders.get(call)) for call in (root, *inner))
        names = [match.composite or match.op for match in holders if match is not None]
        reason = f"taken by `{names[0]}`" if names else "overlaps another match"
        return _Event(root, self._on_host(calls), calls, About.TAKEN, reason, span)

    # ---- places --------------------------------------------------------------------------------

    def _places(self, events: list[_Event], mine: list[Match]) -> list[list[_Event]]:
        """Events of one form by where they are. What one row wants inside of what another does is
        the same place; where a row of the form was taken there is none. Where the check of a row
        agrees, what others of the form refuse is not what keeps it away."""
        own = {match.call for match in mine}
        places: list[tuple[frozenset[Any], list[_Event]]] = []
        around: dict[Any, list[int]] = {}
        for event in sorted(events, key=lambda each: -len(each.calls)):
            if self.holders.get(event.root) in own:
                continue
            of = [n for n in around.get(event.root, ()) if event.calls <= places[n][0]]
            for number in of[:1]:
                places[number][1].append(event)
            if of:
                continue
            for call in event.calls:
                around.setdefault(call, []).append(len(places))
            places.append((event.calls, [event]))
        return [_decisive(found) for _, found in places]


def _decisive(events: list[_Event]) -> list[_Event]:
    agreed = [event for event in events if event.about in (About.USER, About.TAKEN)]
    return agreed or events


def _distinct(events: list[_Event]) -> Iterable[Refusal]:
    """The reasons of one place, each once."""
    return {(each.about, each.reason): each.refusal for each in reversed(events)}.values()


def _root(row: ir.Row) -> str:
    node = row.nodes[row.root]
    if isinstance(node, ir.Call):
        return node.operator
    if isinstance(node, ir.CompositeCall):
        return node.composite
    return "TupleGetItem" if isinstance(node, ir.Field) else "Tuple"


def _kind(expr: Any) -> str:
    """What an expression is as a root: as `_root` says it of a row."""
    name = composite_name(expr.op) if isinstance(expr, relay.Call) else None
    return name or operator_name(expr)


def _about(entry: Entry, reason: str) -> About:
    spoken = spoken_of(entry, reason)
    if isinstance(spoken, ir.Where):
        return About.WHERE
    is_type = spoken is not None and not reason.startswith(f"{spoken.name}: ")
    return About.TYPE if is_type else About.PARAMETERS
