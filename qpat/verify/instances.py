"""Instances of a pattern's rows: random graphs that the generated module accepts, with records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any

import numpy as np
from tvm import relay

from qpat.relay.environment import Heard, reason
from qpat.semantics import ir
from qpat.verify.drafts import Drawn, Graph, Unfit, draw_graph

# Parameter sets that share one draw of shapes and attributes: TVM compiles equal calls once.
_SHARING = 4
# Draws for one instance that is wanted, before a row is given up.
_PATIENCE = 12


@dataclass(frozen=True, eq=False)
class Instance:
    """A graph of a row. `record` is what the generated module extracts of it; `seeds` are what its
    shapes and its values were drawn from."""

    number: int
    row: ir.Row
    graph: Graph
    record: Any
    seeds: tuple[tuple[int, ...], tuple[int, ...]]


@dataclass(eq=False)
class Drawing:
    """The instances of a pattern, and why what was drawn was left out, by row."""

    instances: list[Instance] = field(default_factory=list)
    refused: dict[int, Counter[str]] = field(default_factory=dict)

    def count(self, row: int) -> int:
        return sum(each.row.number == row for each in self.instances)


@dataclass(frozen=True, eq=False)
class Maker:
    """Makes instances of one pattern. `rows` are the generated rows, beside those of the IR."""

    pattern: ir.Pattern
    rows: tuple[Any, ...]
    generated: ModuleType
    options: Any
    seed: int
    heard: Heard

    def draw(self, samples: int) -> Drawing:
        """About `samples` instances of each form, at least one of each row."""
        drawing = Drawing()
        for row in self.pattern.rows:
            alike = sum(other.form == row.form for other in self.pattern.rows)
            wanted = max(1, -(-samples // alike))
            refused = drawing.refused[row.number] = Counter()
            found = 0
            for seeds in self._seeds(row, wanted):
                instance = self._instance(len(drawing.instances), row, seeds, {}, refused)
                if instance is not None:
                    drawing.instances.append(instance)
                    found += 1
                if found == wanted:
                    break
        return drawing

    def redraw(self, instance: Instance, scales: Mapping[int, float]) -> Instance | str:
        """The same instance with other scales, or why there is none."""
        refused: Counter[str] = Counter()
        found = self._instance(instance.number, instance.row, instance.seeds, scales, refused)
        return found if found is not None else next(iter(refused))

    def _seeds(
        self, row: ir.Row, wanted: int
    ) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
        name = int.from_bytes(self.pattern.name.encode(), "little") % (2**31)
        for attempt in range(wanted * _PATIENCE):
            shapes = (self.seed, name, row.number, attempt // _SHARING)
            yield shapes, (*shapes, attempt)

    def _instance(
        self,
        number: int,
        row: ir.Row,
        seeds: tuple[tuple[int, ...], tuple[int, ...]],
        scales: Mapping[int, float],
        refused: Counter[str],
    ) -> Instance | None:
        shapes, values = (np.random.default_rng(seed) for seed in seeds)
        try:
            graph = draw_graph(self.pattern, row, shapes, values, scales)
        except Unfit as unfit:
            refused[str(unfit)] += 1
            return None
        # What TVM raises where an operator does not take what was drawn is of all kinds.
        except Exception as error:
            refused[f"TVM: {reason(error, self.heard)}"] += 1
            return None
        try:
            record = self._record(row, graph)
        except self.generated.Refused as error:
            refused[str(error)] += 1
            return None
        return Instance(number, row, graph, record, seeds)

    def _record(self, row: ir.Row, graph: Graph) -> Any:
        inputs = {each: place for place, each in enumerate(relay.analysis.free_vars(graph.root))}

        def setup(match: Any) -> None:
            match.options = self.options
            match.inputs = inputs
            match.recording = True
            match.inherited = inherited_of(row, graph, self.generated)

        return self.generated.recorded(
            self.rows[self.pattern.rows.index(row)], graph.root, {}, setup
        )


def inherited_of(row: ir.Row, graph: Graph, generated: ModuleType) -> Callable[[Any], Any]:
    """What the module around an instance says of its tensors: what was drawn for their space."""

    def inherited(expr: Any) -> Any:
        index = _node_of(row, expr)
        space = next((n for n, each in enumerate(row.spaces) if index in each.members), None)
        drawn: Drawn | None = None if space is None else graph.drawn.get(space)
        if drawn is None:
            return None
        return generated.Parameters(drawn.scale, np.int32(drawn.zero_point), None)

    return inherited


def _node_of(row: ir.Row, expr: Any) -> int:
    """The row's node that an expression around a match stands for: an input, or the root."""
    if not isinstance(expr, relay.Var):
        constants = [
            index
            for name, index in row.values.items()
            if isinstance(row.nodes[index], ir.Input) and isinstance(expr, relay.Constant)
        ]
        return constants[-1] if constants else row.root
    # `x`, or `xs_1` of many, behind `g3_` in a module of many instances.
    name = str(expr.name_hint)
    for port, index in row.values.items():
        if name == port or name.endswith(f"_{port}") or _is_field(name, port):
            return index
    return row.root


def _is_field(name: str, port: str) -> bool:
    front, _, number = name.rpartition("_")
    return number.isdigit() and (front == port or front.endswith(f"_{port}"))


def with_record(instance: Instance, record: Any) -> Instance:
    """The instance with the record that was extracted from its composite."""
    return replace(instance, record=record)
