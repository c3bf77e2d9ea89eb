"""Which rows of a module can never match because an earlier one takes all their graphs."""

from __future__ import annotations

from qpat.analysis.answers import Answer, Entry, Verdict
from qpat.analysis.beating import Outcome, Taking, outcome
from qpat.analysis.knowledge import Knowledge
from qpat.analysis.order import Earlier, entries
from qpat.semantics import ir


def reachability(module: ir.Module) -> tuple[Answer, ...]:
    """An answer for each row of a module, in order of priority."""
    earlier = Earlier()
    answers = []
    for entry in entries(module):
        answers.append(_answer(entry, earlier))
        earlier.add(entry)
    return tuple(answers)


def _answer(entry: Entry, earlier: Earlier) -> Answer:
    knowledge: Knowledge | None = None
    unknown: Answer | None = None
    rival: Entry | None = None
    for other, places in earlier.colliding(entry):
        if knowledge is None:
            knowledge = Knowledge(entry.pattern, entry.row)
        for at in places:
            found = outcome(other, knowledge, at)
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
