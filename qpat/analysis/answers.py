"""What is known of each row: whether an earlier row takes every graph that it matches."""

from __future__ import annotations

from enum import Enum

from qpat.records import dataclass
from qpat.semantics import ir


@dataclass(frozen=True)
class Entry:
    """One row of the table: `place` counts all rows in order of priority, `operators` are those of
    its calls."""

    pattern: ir.Pattern
    row: ir.Row
    place: int
    operators: frozenset[str]


class Verdict(Enum):
    """`beaten`: an earlier row takes every graph that the row matches. `reachable`: none does for
    certain. `unknown`: what decides is not in the file."""

    BEATEN = "beaten"
    REACHABLE = "reachable"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Answer:
    """What is known of a row. `by` is the row that takes its graphs, or may, and `at` the node of
    this row that it takes them at: the root, or an inner value. Of a row that is reachable `by` is
    one of another pattern that takes some of its graphs, perhaps. `reason` says what is not known:
    "extern `f`", "option `limit`"."""

    entry: Entry
    verdict: Verdict
    by: Entry | None = None
    at: int | None = None
    reason: str = ""
