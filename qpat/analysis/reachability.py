"""Which rows of a module can never match because an earlier one takes all their graphs."""

from __future__ import annotations

from qpat.analysis.answers import Answer, Entry, Verdict
from qpat.analysis.beating import Outcome, Taking, outcome
from qpat.analysis.demands import demands, may_follow, offers
from qpat.analysis.knowledge import Knowledge
from qpat.analysis.order import Earlier, entries, places
from qpat.semantics import ir


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
            found.append(self._answer(entry, earlier))
            earlier.add(entry)
        return tuple(found)

    def _knowledge(self, entry: Entry) -> Knowledge:
        if entry.place not in self.known:
            self.known[entry.place] = Knowledge(entry.pattern, entry.row)
        return self.known[entry.place]

    def _answer(self, entry: Entry, earlier: Earlier) -> Answer:
        unknown: Answer | None = None
        rival: Entry | None = None
        offered = self.offers[entry.pattern.name]
        for other in earlier.colliding(entry):
            if not may_follow(self.demands[other.pattern.name], offered):
                continue
            later = self._knowledge(entry)
            for at in places(other, entry):
                found = outcome(self._knowledge(other), later, at)
                if found.taking is Taking.ALWAYS:
                    return Answer(entry, Verdict.BEATEN, other, at)
                if found.taking is Taking.OPEN and unknown is None:
                    unknown = _unknown(entry, other, at, found)
                if found.taking is Taking.MAYBE and at == entry.row.root and rival is None:
                    rival = other if _is_rival(entry, other) else None
        return unknown or Answer(entry, Verdict.REACHABLE, rival)


def _is_rival(entry: Entry, other: Entry) -> bool:
    """Whether a row of another pattern may be of one structure with this one."""
    is_as_long = other.row.call_count == entry.row.call_count
    return other.pattern is not entry.pattern and is_as_long


def _unknown(entry: Entry, other: Entry, at: int, found: Outcome) -> Answer:
    return Answer(entry, Verdict.UNKNOWN, other, at, " and ".join(found.reasons))
