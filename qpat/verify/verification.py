"""Proving patterns by example: what the record means beside what TVM computes for the graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qpat.compiler import Compiled
from qpat.relay.environment import listening
from qpat.relay.loading import load
from qpat.relay.partition import options_of
from qpat.semantics import ir
from qpat.verify.agreement import contradiction
from qpat.verify.bounds import Bound, NoBound, derive_bound
from qpat.verify.building import Batch
from qpat.verify.comparison import Compared, compare
from qpat.verify.evaluation import (
    Contradiction,
    Meaning,
    Unevaluated,
    dequantized,
    flat,
    needs_parameters,
)
from qpat.verify.graphs import graphs
from qpat.verify.inputs import draw_input
from qpat.verify.instances import Instance, Maker
from qpat.verify.integers import computed
from qpat.verify.real_bounds import derive_real_bound

Array = NDArray[Any]
Progress = Callable[[str], None]
# Inputs from which the range of an output is taken before its scale is chosen.
_PILOT_INPUTS = 8
# An output's range is not followed beyond this: the power of something, or what is near a pole.
_WIDEST_OUTPUT = 1e6


@dataclass(frozen=True, eq=False)
class Failure:
    """An instance whose graph does not compute what its record means, and the first input that
    shows it. `real` is the meaning, not quantized."""

    instance: Instance
    inputs: Mapping[str, Array]
    real: Array
    got: Array
    compared: Compared
    bound: Bound


@dataclass(eq=False)
class Verdict:
    """What became of one form of a pattern. `worst` is the largest error in units of the last
    place, and `bound` that of its instance; `refused` counts why draws were left out; `reasons`
    say why it is unverified; `lost` are matches without a true record. `in_integers` are
    the instances that were computed in integers too, `not_exact` those where a bit differed."""

    pattern: ir.Pattern
    form: str | None
    instances: int = 0
    inputs: int = 0
    elements: int = 0
    left_out: int = 0
    worst: float = 0.0
    bound: float = 0.0
    parts: tuple[str, ...] = ()
    in_integers: set[int] = field(default_factory=set)
    not_exact: set[int] = field(default_factory=set)
    refused: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    @property
    def status(self) -> str:
        """`failed`, `verified`, or `unverified`, also where some row could not be looked at."""
        if self.failures or self.lost:
            return "failed"
        return "unverified" if self.reasons else "verified"


def verify(
    compiled: Compiled,
    *,
    samples: int,
    inputs: int,
    seed: int = 0,
    names: Sequence[str] = (),
    options: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Iterator[list[Verdict]]:
    """Verifies each pattern (of these `names`), and gives the verdicts of its forms as they come.

    `samples` instances of each form and `inputs` for each instance; the same `seed` gives the same.
    Raises QpatError where options or externs are at fault.
    """
    generated = load(compiled)
    chosen = options_of(generated, options or {})
    rules = {name: iter(rows) for name, rows in getattr(generated, "OPERATOR_RULES", {}).items()}
    places = iter(range(len(generated.ROWS)))
    for pattern in compiled.module.patterns:
        rule = pattern.operator_rule
        mine = [next(places) for _ in pattern.rows] if rule is None else []
        rows = [generated.ROWS[each] for each in mine]
        rows = rows if rule is None else [next(rules[rule]) for _ in pattern.rows]
        if names and pattern.name not in names:
            continue
        if progress is not None:
            progress(pattern.name)
        with listening() as heard:
            maker = Maker(
                pattern, tuple(rows), tuple(mine), generated, chosen, options or {}, seed, heard
            )
            found = _Verification(maker, inputs).verdicts(samples)
        yield found  # not while listening, which takes stdout


class _Verification:
    """The verification of one pattern."""

    def __init__(self, maker: Maker, inputs: int) -> None:
        self.maker = maker
        self.pattern = maker.pattern
        self.inputs = inputs
        forms = dict.fromkeys(row.form for row in self.pattern.rows)
        self.of_form = {form: Verdict(self.pattern, form) for form in forms}
        self.refused: dict[int, Counter[str]] = {}
        self.compared: set[int] = set()
        self.pilots: dict[int, Meaning] = {}
        self.pilot = Batch({}, maker.heard)
        fills = [each for each in self.pattern.statements if isinstance(each, ir.Fill)]
        self.raw = {each.name for each in fills if each.value is None}
        self.ports = {port.name: port for port in self.pattern.ports}
        self.output = next(port.name for port in self.pattern.ports if port.is_output)

    def verdicts(self, samples: int) -> list[Verdict]:
        found = list(self.of_form.values())
        if not any(isinstance(each, ir.Meaning) for each in self.pattern.statements):
            for verdict in found:
                verdict.reasons.append("it has no meaning")
            return found
        drawing = self.maker.draw(samples)
        self.refused = drawing.refused
        instances = self._fitted(drawing.instances)
        instances, lost = self.maker.extract(instances)
        for row, reason in drawing.lost:
            self.of_form[row.form].lost.append(reason)
        for instance, reason in lost:
            self.of_form[instance.row.form].lost.append(reason)
        for each in instances:
            different = contradiction(each)
            if different is not None:
                self.of_form[each.row.form].lost.append(different)
        self._compare(instances)
        for row in self.pattern.rows:
            self._note_row(row)
        for verdict in found:
            if verdict.instances and verdict.left_out == verdict.elements:
                verdict.reasons.append("no element of any output has a value")
        return found

    def _note_row(self, row: ir.Row) -> None:
        """Counts what was refused, and says of a row that was not compared why not."""
        verdict, refused = self.of_form[row.form], self.refused[row.number]
        verdict.refused.update(refused)
        if row.number not in self.compared and not verdict.lost:
            why = refused.most_common(1)
            reason = why[0][0] if why else "nothing was drawn"
            calls = ", ".join(each.operator for each in row.nodes if isinstance(each, ir.Call))
            verdict.reasons.append(f"no instance of {calls}: {reason}")

    def _leave_out(self, instance: Instance, reason: str) -> None:
        self.refused[instance.row.number][reason] += 1

    # ---- a scale for the output that shows something ------------------------------------------
    def _fitted(self, instances: Sequence[Instance]) -> list[Instance]:
        """The instances with the scale of their output chosen by the range of their meaning."""
        meanings = self._read(instances)
        kept = [each for each in instances if each.number in meanings]
        adapted = {each.number for each in kept if _output_space(each.row) is not None}
        self.pilots = {number: meanings[number] for number in sorted(adapted)}
        batch = Batch({n: each.expr for n, each in self.pilots.items()}, self.maker.heard)
        self.pilot = batch
        ranges = self._ranges([each for each in kept if each.number in adapted], meanings, batch)
        return [each for one in kept if (each := self._adapted(one, ranges)) is not None]

    def _adapted(self, instance: Instance, ranges: Mapping[int, float]) -> Instance | None:
        space, reach = _output_space(instance.row), ranges.get(instance.number)
        dtype = np.dtype(instance.tensor(self.output).dtype)
        if space is None or not reach or dtype.kind == "f":
            return instance
        again = self.maker.redraw(instance, {space: reach / 2.0 ** (8 * dtype.itemsize)})
        if isinstance(again, str):
            self._leave_out(instance, again)
            return None
        return again

    def _ranges(
        self, instances: Sequence[Instance], meanings: Mapping[int, Meaning], batch: Batch
    ) -> dict[int, float]:
        found: dict[int, float] = {}
        ready = [each for each in instances if each.number not in batch.failed]
        for number in range(_PILOT_INPUTS):
            drawn = {each.number: self._drawn(each, number) for each in ready}
            for each, real in batch.run(self._given(ready, meanings, drawn)).items():
                finite = np.abs(real[np.isfinite(real)])
                most = float(np.max(finite)) if finite.size else 0.0
                found[each] = max(found.get(each, 0.0), min(most, _WIDEST_OUTPUT))
        return found

    # ---- meanings and inputs ------------------------------------------------------------------
    def _read(self, instances: Sequence[Instance]) -> dict[int, Meaning]:
        """The meaning of each record that has one and knows what it needs."""
        found: dict[int, Meaning] = {}
        for each in instances:
            if each.record.meaning is None:
                self._leave_out(each, "no meaning, or one of what nobody knows")
                continue
            ports = {name: each.tensor(name) for name in self.ports}
            try:
                meaning = Meaning(each.record.meaning, ports, self.maker.heard)
                needs_parameters(flat(ports), {*meaning.variables, self.output}, self._is_raw)
            except Unevaluated as error:
                self._leave_out(each, str(error))
                continue
            except Contradiction as error:
                self.of_form[each.row.form].lost.append(str(error))
                continue
            found[each.number] = meaning
        return found

    def _is_raw(self, name: str) -> bool:
        """Whether a tensor's integers are said to stand for themselves."""
        return (name if name in self.ports else name.rpartition("_")[0]) in self.raw

    def _drawn(self, instance: Instance, number: int) -> dict[str, Array]:
        """Input `number` of an instance, by the name of each variable."""
        random = np.random.default_rng((*instance.seed, number, 7))
        return {
            name: draw_input(random, number, shape, dtype)
            for name, (shape, dtype) in instance.graph.inputs.items()
        }

    def _given(
        self,
        instances: Sequence[Instance],
        meanings: Mapping[int, Meaning],
        drawn: Mapping[int, Mapping[str, Array]],
    ) -> dict[int, dict[str, Array]]:
        """What the variables of each meaning are for an input: from the record alone."""
        return {
            each.number: self._dequantized(each, meanings[each.number], drawn[each.number])
            for each in instances
        }

    def _whole(
        self, instance: Instance, drawn: Mapping[str, Array]
    ) -> tuple[dict[str, Any], dict[str, Array]]:
        """The tensors of a record and their integers, as integers.py takes them."""
        tensors = flat({name: instance.tensor(name) for name in self.ports})
        inputs = {n: each for n, each in tensors.items() if n != self.output}
        values = {n: _values(instance, n, each, drawn) for n, each in inputs.items()}
        return {**inputs, "": tensors.get(self.output)}, values

    def _dequantized(
        self, instance: Instance, meaning: Meaning, drawn: Mapping[str, Array]
    ) -> dict[str, Array]:
        found = dict(meaning.numbers)
        for name, tensor in flat({name: instance.tensor(name) for name in self.ports}).items():
            if name not in meaning.variables:
                continue
            values = _values(instance, name, tensor, drawn)
            found[name] = dequantized(tensor, values, name, self._is_raw(name))
        return found

    # ---- comparing ------------------------------------------------------------------------------
    def _compare(self, instances: Sequence[Instance]) -> None:
        meanings = self._read(instances)
        bounds: dict[int, Bound] = {}
        derive = derive_bound if graphs().IN_INTEGERS else derive_real_bound
        for each in instances:
            try:
                bounds[each.number] = derive(each.row, each.graph)
            except NoBound as error:
                self._leave_out(each, str(error))
        ready = [each for each in instances if each.number in meanings and each.number in bounds]
        oracle = Batch({each.number: each.graph.root for each in ready}, self.maker.heard)
        means = self._means({each.number: meanings[each.number] for each in ready})
        ready = [each for each in ready if self._is_built(each, oracle, means)]
        for number in range(self.inputs):
            drawn = {each.number: self._drawn(each, number) for each in ready}
            given = self._given(ready, meanings, drawn)
            got = oracle.run(drawn)
            real = {at: value for batch in means for at, value in batch.run(given).items()}
            for each in ready:
                at = each.number
                self._note(each, drawn[at], got[at], real[at], bounds[at])
        for each in ready:
            self.of_form[each.row.form].instances += 1
            self.compared.add(each.row.number)

    def _means(self, meanings: Mapping[int, Meaning]) -> list[Batch]:
        """The meanings, built; those that were built for their range are not built again."""
        fresh = {
            number: each.expr
            for number, each in meanings.items()
            if number not in self.pilots or not each.is_like(self.pilots[number])
        }
        return [self.pilot.without(fresh), Batch(fresh, self.maker.heard)]

    def _is_built(self, instance: Instance, oracle: Batch, means: Sequence[Batch]) -> bool:
        """Whether TVM can compute both. A graph that it can has a meaning that it can."""
        number = instance.number
        if number in oracle.failed:
            self._leave_out(instance, f"TVM cannot compute the graph: {oracle.failed[number]}")
            return False
        for batch in means:
            if number in batch.failed:
                reason = f"TVM cannot compute what it means: {batch.failed[number]}"
                self.of_form[instance.row.form].lost.append(reason)
                return False
        return True

    def _note(
        self, instance: Instance, inputs: Mapping[str, Array], got: Array, real: Array, bound: Bound
    ) -> None:
        verdict = self.of_form[instance.row.form]
        output = instance.tensor(self.output)
        compared = compare(got, real, output, bound, self.output in self.raw)
        verdict.inputs += 1
        verdict.elements += compared.elements
        verdict.left_out += compared.left_out
        if compared.worst * max(verdict.bound, 1e-9) >= verdict.worst * max(bound.units, 1e-9):
            verdict.worst, verdict.bound = compared.worst, bound.units
            verdict.parts = bound.parts
        if graphs().IN_INTEGERS:
            self._note_integers(instance, inputs, got, verdict)
        seen = any(each.instance.number == instance.number for each in verdict.failures)
        if compared.wrong and not seen:
            failure = Failure(instance, dict(inputs), real, got, compared, bound)
            verdict.failures.append(failure)

    def _note_integers(
        self, instance: Instance, inputs: Mapping[str, Array], got: Array, verdict: Verdict
    ) -> None:
        whole = computed(instance.record.meaning, *self._whole(instance, inputs))
        if whole is not None:
            verdict.in_integers.add(instance.number)
            if whole.shape != got.shape or not np.array_equal(whole, got):
                verdict.not_exact.add(instance.number)


def _values(instance: Instance, name: str, tensor: Any, drawn: Mapping[str, Array]) -> Array:
    """The integers of a tensor. The fields of a tuple that a single operator takes are no arguments
    of its call, but variables of the graph that are called as they are."""
    if tensor.value is not None:
        return np.asarray(tensor.value)
    argument = name if tensor.input is None else instance.arguments[tensor.input]
    return drawn[argument] if isinstance(argument, str) else argument


def _output_space(row: ir.Row) -> int | None:
    """The space of the output, where it has a scale of its own."""
    for number, space in enumerate(row.spaces):
        if row.root in space.members and any(each.tensor == each.call for each in space.scales):
            return number
    return None
