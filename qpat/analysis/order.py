"""The rows of a module in order of priority, as the generated tables have them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import count

from qpat.analysis.answers import Entry
from qpat.records import dataclass, field
from qpat.semantics import ir


def entries(module: ir.Module) -> tuple[Entry, ...]:
    """The rows of the table: patterns in the order of the file, each one's rows in theirs."""
    places = count()
    return tuple(
        Entry(pattern, row, next(places)) for pattern in module.patterns for row in pattern.rows
    )


@dataclass
class Earlier:
    """The rows met so far, by the operator of their root; rules for single operators apart, since
    no composite is made of what they take."""

    composites: dict[str, list[tuple[Entry, frozenset[str]]]] = field(default_factory=dict)
    rules: dict[str, list[tuple[Entry, frozenset[str]]]] = field(default_factory=dict)

    def add(self, entry: Entry) -> None:
        root = entry.row.nodes[entry.row.root]
        if isinstance(root, ir.Call):
            operators = frozenset(entry.row.operators)
            self._of(entry).setdefault(root.operator, []).append((entry, operators))

    def _of(self, entry: Entry) -> dict[str, list[tuple[Entry, frozenset[str]]]]:
        is_rule = entry.pattern.operator_rule is not None
        return self.rules if is_rule else self.composites

    def colliding(self, entry: Entry) -> Iterator[tuple[Entry, tuple[int, ...]]]:
        """The rows that may take a value of this one, in order, each with the nodes it may root
        at: the root first."""
        roots = self._of(entry)
        operators = frozenset(entry.row.operators)
        nodes: dict[str, list[int]] = {}
        for index in _calls(entry.row):
            nodes.setdefault(_operator(entry.row, index), []).append(index)
        found = [
            (other, tuple(places))
            for operator, places in nodes.items()
            for other, needed in roots.get(operator, ())
            if needed <= operators
        ]
        return iter(sorted(found, key=lambda each: each[0].place))


def _operator(row: ir.Row, index: int) -> str:
    node = row.nodes[index]
    assert isinstance(node, ir.Call)
    return node.operator


def _calls(row: ir.Row) -> Iterable[int]:
    """The calls of a row, the root first."""
    calls = [index for index, node in enumerate(row.nodes) if isinstance(node, ir.Call)]
    return sorted(calls, key=lambda index: index != row.root)
