"""The rows of a module in order of priority, as the generated tables have them."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count

from qpat.analysis.answers import Entry
from qpat.records import dataclass, field
from qpat.semantics import ir


def entries(module: ir.Module) -> tuple[Entry, ...]:
    """The rows of the table: patterns in the order of the file, each one's rows in theirs."""
    places = count()
    return tuple(
        Entry(pattern, row, next(places), frozenset(_operators(row)))
        for pattern in module.patterns
        for row in pattern.rows
    )


def _operators(row: ir.Row) -> Iterable[str]:
    return [node.operator for node in row.nodes if isinstance(node, ir.Call)]


@dataclass
class Earlier:
    """The rows met so far, by the operator of their root; rules for single operators apart, since
    no composite is made of what they take."""

    composites: dict[str, list[Entry]] = field(default_factory=dict)
    rules: dict[str, list[Entry]] = field(default_factory=dict)

    def add(self, entry: Entry) -> None:
        root = entry.row.nodes[entry.row.root]
        if isinstance(root, ir.Call):
            self._of(entry).setdefault(root.operator, []).append(entry)

    def _of(self, entry: Entry) -> dict[str, list[Entry]]:
        return self.composites if entry.pattern.operator_rule is None else self.rules

    def colliding(self, entry: Entry) -> list[Entry]:
        """The rows that may take a value of this one, in order."""
        roots = self._of(entry)
        found = [
            other
            for operator in entry.operators
            for other in roots.get(operator, ())
            if other.operators <= entry.operators
        ]
        found.sort(key=lambda other: other.place)
        return found


def places(other: Entry, entry: Entry) -> list[int]:
    """The nodes of a row that another may root at: the root first."""
    root = other.row.nodes[other.row.root]
    operator = root.operator if isinstance(root, ir.Call) else None
    nodes = enumerate(entry.row.nodes)
    calls = [index for index, n in nodes if isinstance(n, ir.Call) and n.operator == operator]
    return sorted(calls, key=lambda index: index != entry.row.root)
