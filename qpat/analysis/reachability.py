"""Which rows of a module can never match because an earlier one takes all their graphs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from qpat.analysis.answers import Answer, Entry, Verdict
from qpat.analysis.demands import demands, may_follow, offers
from qpat.analysis.order import Earlier, entries, places
from qpat.semantics import ir

if TYPE_CHECKING:
    from qpat.analysis.knowledge import Knowledge


def reachability(module: ir.Module) -> tuple[Answer, ...]:
    """An answer for each row of a module, in order of priority."""
    return _Rows(module).answers()


class _Rows:
    """Compares the rows of a module, and keeps what is known of each."""

    def __init__(self, module: ir.Module) -> None:
        self.entries = entries(module)
        self.demands = {pattern.name: demands(pattern) for pattern in module.patterns}
        self.offers = {pattern.name: offers(pattern) for pattern in module.patterns}
        self.known: dict[int, Knowledge] = {}

    def answers(self) -> tuple[Answer, ...]:
        earlier = Earlier()
        found = []
        for entry in self.entries:
            offered = self.offers[entry.pattern.name]
            rivals = [
                other
                for other in earlier.colliding(entry)
                if may_follow(self.demands[other.pattern.name], offered)
            ]
            found.append(self._answer(entry, rivals) if rivals else _reachable(entry))
            earlier.add(entry)
        return tuple(found)

    def _answer(self, entry: Entry, rivals: list[Entry]) -> Answer:
        """The first row that takes all wins; else one that may; else one that takes some."""
        found: dict[Verdict, Answer] = {}
        for other in rivals:
            for answer in self._compared(entry, other):
                if answer.verdict is Verdict.BEATEN:
                    return answer
                found.setdefault(answer.verdict, answer)
        return found.get(Verdict.UNKNOWN) or found.get(Verdict.REACHABLE) or _reachable(entry)

    def _compared(self, entry: Entry, other: Entry) -> Iterator[Answer]:
        from qpat.analysis.beating import Taking, outcome  # here: most files get by without

        for at in places(other, entry):
            found = outcome(self._knowledge(other), self._knowledge(entry), at)
            if found.taking is Taking.ALWAYS:
                yield Answer(entry, Verdict.BEATEN, other, at)
            elif found.taking is Taking.OPEN:
                yield Answer(entry, Verdict.UNKNOWN, other, at, " and ".join(found.reasons))
            elif found.taking is Taking.MAYBE and at == entry.row.root and _is_rival(entry, other):
                yield Answer(entry, Verdict.REACHABLE, other, at)

    def _knowledge(self, entry: Entry) -> Knowledge:
        from qpat.analysis.knowledge import Knowledge

        if entry.place not in self.known:
            self.known[entry.place] = Knowledge(entry.pattern, entry.row)
        return self.known[entry.place]


def _reachable(entry: Entry) -> Answer:
    return Answer(entry, Verdict.REACHABLE)


def _is_rival(entry: Entry, other: Entry) -> bool:
    """Whether a row of another pattern may be of one structure with this one."""
    is_as_long = other.row.call_count == entry.row.call_count
    return other.pattern is not entry.pattern and is_as_long
