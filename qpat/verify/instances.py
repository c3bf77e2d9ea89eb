"""Instances of a pattern's rows: random graphs that the generated module accepts, with records."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qpat.ops.relax import Unsaid
from qpat.relay.environment import Heard, reason
from qpat.relay.kinds import relay
from qpat.semantics import ir
from qpat.verify.call_draft import Unfit
from qpat.verify.drafts import Graph, draw_graph
from qpat.verify.graphs import graphs
from qpat.verify.parameters import Case

# Draws for one instance that is wanted, before a row is given up.
_PATIENCE = 192

# What the first draws of a row have for certain, and then the others in turn.
_FIRST_CASES = (
    Case.SHIFTED_SUMS,
    Case.ONLY_SUMS,
    Case.SHIFTED_WEIGHTS,
    Case.SHIFTED_WEIGHTS,
)
_CASES = (Case.MANY_SCALES, Case.SHIFTED_INPUTS, None)
# Where accumulators are real numbers; patterns that ask for one space have its parameters there.
_REAL_CASES = (None, Case.MANY_SCALES, None, None, Case.MANY_SCALES, None, None, Case.ONE_SPACE)

# What accumulates() of qpat/targets/relay_slots.py says.
_OF_SUMS = "the accumulator of "

# What is said there of vectors that do not fit their tensor, and TVM has taken, and of zero points.
_OF_AXES = re.compile(r"it has \d+ (scales|zero points) for axis|its axis is out of range")
_OF_RANGES = re.compile(r"its zero point is -?\d+, which is no ")

Seed = tuple[int, ...]
Inherited = Callable[[Any], Any]


class WronglyRefused(Exception):
    """A row refuses a graph for a reason that does not hold of it; the text says which."""


@dataclass(frozen=True, eq=False)
class Instance:
    """A graph of a row. `record` is what the generated module extracts of it; `arguments` are what
    `Tensor.input` counts: names of variables, and values. `seed` is that of all that is drawn.
    """

    number: int
    row: ir.Row
    graph: Graph
    record: Any
    arguments: tuple[str | NDArray[Any], ...]
    seed: Seed
    ports: tuple[str, ...]

    def tensor(self, port: str) -> Any:
        """The record of a port; an underscore keeps a field off Python's own words."""
        name = port if hasattr(self.record, port) else f"{port}_"
        return getattr(self.record, name)


@dataclass(eq=False)
class Drawing:
    """The instances of a pattern, and why what was drawn was left out, by row. `lost` are rows that
    refused a graph as no graph of theirs, and what they said."""

    instances: list[Instance] = field(default_factory=list)
    refused: dict[int, Counter[str]] = field(default_factory=dict)
    lost: list[tuple[ir.Row, str]] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Maker:
    """Makes instances of one pattern. `rows` are its generated rows, in the order of those of the
    IR, and `places` where they stand in the table of all; `options` are those of the generated
    module, and `told` what they were made of."""

    pattern: ir.Pattern
    rows: tuple[Any, ...]
    places: tuple[int, ...]
    generated: ModuleType
    options: Any
    told: Mapping[str, Any]
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
            for seed in self._seeds(row, wanted):
                try:
                    instance = self._instance(len(drawing.instances), row, seed, {}, refused)
                except WronglyRefused as wrong:
                    drawing.lost.append((row, str(wrong)))
                    break
                if instance is not None:
                    drawing.instances.append(instance)
                    found += 1
                if found == wanted:
                    break
        return drawing

    def redraw(self, instance: Instance, scales: Mapping[int, float]) -> Instance | str:
        """The same instance with other scales, or why there is none."""
        refused: Counter[str] = Counter()
        found = self._instance(instance.number, instance.row, instance.seed, scales, refused)
        return found if found is not None else next(iter(refused))

    def _seeds(self, row: ir.Row, wanted: int) -> Iterator[Seed]:
        name = sum(self.pattern.name.encode())
        for attempt in range(wanted * _PATIENCE):
            yield self.seed, name, row.number, attempt

    def _instance(
        self,
        number: int,
        row: ir.Row,
        seed: Seed,
        scales: Mapping[int, float],
        refused: Counter[str],
    ) -> Instance | None:
        shapes = np.random.default_rng(seed)
        values = np.random.default_rng((*seed, seed[-1]))  # a stream of its own
        try:
            graph = draw_graph(self.pattern, row, shapes, values, scales, _case(row, seed[-1]))
            graphs().check_lowering(graph.root)
            record, variables = self._record(row, graph)
        except (Unfit, Unsaid) as unfit:
            refused[str(unfit)] += 1
            return None
        except self.generated.Refused as said:
            if _is_wrong(graph, str(said)):
                raise WronglyRefused(f"it refuses a graph that is one of its own: {said}") from None
            refused[str(said)] += 1
            return None
        # What TVM raises where an operator does not take what was drawn is of all kinds.
        except Exception as error:
            refused[f"TVM: {reason(error, self.heard)}"] += 1
            return None
        names = tuple(str(each.name_hint) for each in variables)
        ports = tuple(port.name for port in self.pattern.ports)
        return Instance(number, row, graph, record, names, seed, ports)

    def _record(self, row: ir.Row, graph: Graph) -> tuple[Any, Sequence[Any]]:
        """The record of a graph, and the variables that `Tensor.input` counts."""
        reading, root, variables = graphs().seen(self.generated, graph.root)

        def setup(match: Any) -> None:
            match.options = self.options
            match.inputs = {reading.node(each): place for place, each in enumerate(variables)}
            match.recording = True
            match.inherited = lambda node: _inherited(
                row, graph, self.generated, reading.expr(node)
            )

        place = self.pattern.rows.index(row)
        found = self.generated.recorded(self.rows[place], reading.node(root), {}, setup)
        return found, variables

    # ---- as a module -----------------------------------------------------------------------------
    def extract(
        self, instances: Sequence[Instance]
    ) -> tuple[list[Instance], list[tuple[Instance, str]]]:
        """The instances with the records of the composites that TVM's pass forms of them, and those
        of which there are none, with the reason."""
        known = {each.number: each for each in instances}

        def inherited(number: int, expr: Any) -> Any:
            each = known[number]
            return _inherited(each.row, each.graph, self.generated, expr)

        if not instances:
            return [], []
        roots = {each.number: each.graph.root for each in instances}
        try:
            calls, asked = graphs().merged(self.generated, roots, self.places, inherited, self.told)
        # An exception in a check stops all of it.
        except Exception as error:
            said = f"{graphs().PASS} fails: {reason(error, self.heard)}"
            return [], [(each, said) for each in instances]
        found: list[Instance] = []
        lost: list[tuple[Instance, str]] = []
        for number in sorted(known):
            try:
                record = self._extracted(calls[number], asked)
            except ValueError as error:
                lost.append((known[number], str(error)))
                continue
            arguments = tuple(_argument(each) for each in calls[number].args)
            found.append(replace(known[number], record=record, arguments=arguments))
        return found, lost

    def _extracted(self, call: Any, inherited: Inherited) -> Any:
        if self.pattern.operator_rule is not None:
            return self.generated.extract_operator(call, inherited, self.options)
        if not isinstance(call, relay.Call) or not isinstance(call.op, relay.Function):
            raise ValueError(f"its check accepts a graph of which {graphs().PASS} forms nothing")
        return graphs().record(self.generated, call, inherited, self.options)


def _is_wrong(graph: Graph, said: str) -> bool:
    """Whether what a row says where it refuses a graph does not hold of the graph."""
    is_of_sums = graph.is_plain_sum and said.startswith(_OF_SUMS)
    is_of_ranges = graph.is_in_range and _OF_RANGES.search(said) is not None
    return is_of_sums or is_of_ranges or _OF_AXES.search(said) is not None


def _case(row: ir.Row, attempt: int) -> Case | None:
    """What a draw has for certain: the first ones of a row what is mostly refused."""
    if not graphs().IN_INTEGERS:
        return _REAL_CASES[attempt % len(_REAL_CASES)]
    if attempt < len(_FIRST_CASES):
        return _FIRST_CASES[attempt]
    return _CASES[(row.number + attempt) % len(_CASES)]


def _argument(expr: Any) -> Any:
    """An argument of a composite: the value of a constant, or the name in the instance."""
    if isinstance(expr, relay.Constant):
        return expr.data.numpy()
    return graphs().name_of(expr) if isinstance(expr, relay.Var) else ""


def _inherited(row: ir.Row, graph: Graph, generated: ModuleType, expr: Any) -> Any:
    """What the module around an instance says of a tensor: what was drawn for its space. Nothing
    is known of a constant, as nothing is in a module."""
    if isinstance(expr, relay.Constant):
        return None
    index = _port_of(row, str(expr.name_hint)) if isinstance(expr, relay.Var) else row.root
    space = next((n for n, each in enumerate(row.spaces) if index in each.members), None)
    drawn = None if space is None else graph.drawn.get(space)
    if drawn is None or isinstance(drawn.scale, list) or isinstance(drawn.zero_point, list):
        return None
    return generated.Parameters(drawn.scale, np.int32(drawn.zero_point), None)


def _port_of(row: ir.Row, name: str) -> int | None:
    """The node of an input: `x`, or `xs_1` of many, behind `g3_` in a module of many instances."""
    parts = name.split("_")
    for start in range(len(parts)):
        for stop in (len(parts), len(parts) - 1):
            index = row.values.get("_".join(parts[start:stop]))
            if index is not None:
                return index
    return None
