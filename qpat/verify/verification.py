"""Proving patterns by example: what the record means beside what TVM computes for the graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np
import tvm
from numpy.typing import NDArray
from tvm import relay

from qpat.compiler import Compiled
from qpat.relay.environment import Heard, listening
from qpat.relay.loading import load
from qpat.semantics import ir
from qpat.verify.bounds import Bound, NoBound, derive_bound
from qpat.verify.building import Batch, joined
from qpat.verify.comparison import Compared, compare
from qpat.verify.evaluation import Meaning, Unevaluated, dequantized, flat
from qpat.verify.inputs import draw_input
from qpat.verify.instances import Drawing, Instance, Maker, inherited_of, with_record

Array = NDArray[Any]
Progress = Callable[[str], None]
# Inputs from which the range of an output is taken before its scale is chosen.
_PILOT_INPUTS = 8


@dataclass(frozen=True, eq=False)
class Failure:
    """An instance whose graph does not compute what its record means, with the worst input."""

    instance: Instance
    inputs: Mapping[str, Array]
    expected: Array
    got: Array
    compared: Compared
    bound: Bound


@dataclass(eq=False)
class Verdict:
    """What became of one form of a pattern. `reasons` say why it is unverified, or in part."""

    pattern: ir.Pattern
    form: str | None
    instances: int = 0
    inputs: int = 0
    elements: int = 0
    left_out: int = 0
    worst: float = 0.0
    bound: float = 0.0
    parts: set[str] = field(default_factory=set)
    refused: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    @property
    def status(self) -> str:
        if self.failures:
            return "failed"
        return "unverified" if self.reasons or not self.instances else "verified"


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
    chosen = generated.Options(**(options or {}))
    rules = getattr(generated, "OPERATOR_RULES", {})
    rows = {name: iter(each) for name, each in rules.items()}
    others = iter(generated.ROWS)
    for pattern in compiled.module.patterns:
        mine = rows[pattern.operator_rule] if pattern.operator_rule else others
        taken = tuple(next(mine) for _ in pattern.rows)
        if names and pattern.name not in names:
            continue
        if progress is not None:
            progress(pattern.name)
        with listening() as heard:
            maker = Maker(pattern, taken, generated, chosen, seed, heard)
            yield _Verification(maker, inputs).verdicts(samples, heard)


class _Verification:
    """The verification of one pattern."""

    def __init__(self, maker: Maker, inputs: int) -> None:
        self.maker = maker
        self.pattern = maker.pattern
        self.generated: ModuleType = maker.generated
        self.inputs = inputs
        self.meanings: dict[int, Meaning] = {}
        self.pilots: tuple[dict[int, Meaning], Batch] | None = None
        forms = dict.fromkeys(row.form for row in maker.pattern.rows)
        self.of_form = {form: Verdict(maker.pattern, form) for form in forms}
        fills = [each for each in maker.pattern.statements if isinstance(each, ir.Fill)]
        self.raw = {each.name for each in fills if each.value is None}
        self.ports = {port.name for port in maker.pattern.ports}
        self.output = next(port.name for port in maker.pattern.ports if port.is_output)

    def verdicts(self, samples: int, heard: Heard) -> list[Verdict]:
        meanings = [each for each in self.pattern.statements if isinstance(each, ir.Meaning)]
        if not meanings:
            return self._nothing("it has no meaning")
        drawing = self.maker.draw(samples)
        self._note_refusals(drawing)
        instances = self._fitted(drawing.instances)
        instances = self._extracted(instances)
        self._compare(instances)
        self._note_rows(instances, drawing)
        return list(self.of_form.values())

    def _nothing(self, reason: str) -> list[Verdict]:
        for verdict in self.of_form.values():
            verdict.reasons.append(reason)
        return list(self.of_form.values())

    def _verdict(self, instance: Instance) -> Verdict:
        return self.of_form[instance.row.form]

    def _note_refusals(self, drawing: Drawing) -> None:
        for row in self.pattern.rows:
            self.of_form[row.form].refused.update(drawing.refused[row.number])

    def _note_rows(self, instances: Sequence[Instance], drawing: Drawing) -> None:
        """Says of each row that was not compared why not."""
        for row in self.pattern.rows:
            if any(each.row is row for each in instances):
                continue
            verdict = self.of_form[row.form]
            why = drawing.refused[row.number].most_common(1)
            reason = why[0][0] if why else "see above"
            operators = ", ".join(n.operator for n in row.nodes if isinstance(n, ir.Call))
            verdict.reasons.append(f"row {row.number} ({operators}): no instance: {reason}")

    # ---- a scale for the output that shows something ------------------------------------------
    def _fitted(self, instances: Sequence[Instance]) -> list[Instance]:
        """The instances with the scale of their output chosen by the range of their meaning."""
        meanings = self._read(instances)
        kept = [each for each in instances if each.number in meanings]
        batch = Batch({number: meaning.expr for number, meaning in meanings.items()})
        self.pilots = meanings, batch
        ranges = self._ranges(kept, meanings, batch)
        fitted: list[Instance] = []
        for instance in kept:
            if instance.number in batch.failed:
                reason = batch.failed[instance.number]
                self._leave_out(instance, f"TVM cannot compute the meaning in float64: {reason}")
                continue
            space = _output_space(instance.row)
            if space is None or not ranges.get(instance.number):
                fitted.append(instance)
                continue
            bits = np.iinfo(_tensor(instance.record, self.output).dtype).bits
            scale = ranges[instance.number] / 2.0**bits
            again = self.maker.redraw(instance, {space: scale})
            if isinstance(again, str):
                self._leave_out(instance, again)
                continue
            fitted.append(again)
        return fitted

    def _ranges(
        self, instances: Sequence[Instance], meanings: Mapping[int, Meaning], batch: Batch
    ) -> dict[int, float]:
        found: dict[int, float] = {}
        for number in range(_PILOT_INPUTS):
            drawn = {each.number: self._inputs(each, number) for each in instances}
            given = {n: self._given(i, meanings[i.number], drawn[n]) for i in instances
                     for n in [i.number]}
            for each, real in batch.run(given).items():
                finite = np.abs(real[np.isfinite(real)])
                most = float(np.max(finite)) if finite.size else 0.0
                found[each] = max(found.get(each, 0.0), min(most, 1e6))
        return found

    def _read(self, instances: Sequence[Instance]) -> dict[int, Meaning]:
        """The meaning of each record that has one."""
        found: dict[int, Meaning] = {}
        for each in instances:
            if each.record.meaning is None:
                self._leave_out(each, "this form has no meaning")
                continue
            try:
                found[each.number] = Meaning(each.record.meaning, self._ports(each.record))
            except Unevaluated as error:
                self._leave_out(each, str(error))
        return found

    def _leave_out(self, instance: Instance, reason: str) -> None:
        verdict = self._verdict(instance)
        if reason not in verdict.reasons:
            verdict.reasons.append(reason)

    def _ports(self, record: Any) -> dict[str, Any]:
        return {port.name: _tensor(record, port.name) for port in self.pattern.ports}

    # ---- inputs -----------------------------------------------------------------------------
    def _inputs(self, instance: Instance, number: int) -> dict[str, Array]:
        """Input `number` of an instance, by the name of each variable."""
        random = np.random.default_rng((*instance.seeds[1], number, 7))
        return {
            name: draw_input(random, number, shape, dtype)
            for name, (shape, dtype) in instance.graph.inputs.items()
        }

    def _given(
        self, instance: Instance, meaning: Meaning, inputs: Mapping[str, Array]
    ) -> dict[str, Array]:
        """What the variables of a meaning are for an input: from the record alone."""
        names = [each.name_hint for each in relay.analysis.free_vars(instance.graph.root)]
        found = dict(meaning.numbers)
        for name, tensor in flat(self._ports(instance.record)).items():
            if name not in meaning.variables:
                continue
            values = tensor.value if tensor.value is not None else inputs[names[tensor.input]]
            port = name if name in self.ports else name.rpartition("_")[0]
            found[name] = dequantized(tensor, values, name, port in self.raw)
        return found

    # ---- composites ---------------------------------------------------------------------------
    def _extracted(self, instances: Sequence[Instance]) -> list[Instance]:
        """The instances with the records of the composites that MergeComposite makes of them."""
        return list(instances)

    # ---- comparing ------------------------------------------------------------------------------
    def _compare(self, instances: Sequence[Instance]) -> None:
        meanings = self._read(instances)
        kept = [each for each in instances if each.number in meanings]
        oracle = Batch({each.number: each.graph.root for each in kept})
        means = Batch({each.number: meanings[each.number].expr for each in kept})
        bounds: dict[int, Bound] = {}
        for each in kept:
            for batch in (oracle, means):
                if each.number in batch.failed:
                    self._leave_out(each, f"TVM: {batch.failed[each.number]}")
            try:
                bounds[each.number] = derive_bound(each.row, each.graph.types, each.graph.drawn)
            except NoBound as error:
                self._leave_out(each, str(error))
        failed = {*oracle.failed, *means.failed}
        ready = [each for each in kept if each.number in bounds and each.number not in failed]
        for number in range(self.inputs):
            drawn = {each.number: self._inputs(each, number) for each in ready}
            given = {e.number: self._given(e, meanings[e.number], drawn[e.number]) for e in ready}
            got, real = oracle.run(drawn), means.run(given)
            for each in ready:
                self._note(each, drawn[each.number], got[each.number], real[each.number],
                           bounds[each.number])
        for each in ready:
            self._verdict(each).instances += 1

    def _note(
        self, instance: Instance, inputs: Mapping[str, Array], got: Array, real: Array, bound: Bound
    ) -> None:
        verdict = self._verdict(instance)
        output = _tensor(instance.record, self.output)
        try:
            compared = compare(got, real, output, bound, self.output in self.raw)
        except Unevaluated as error:
            self._leave_out(instance, str(error))
            return
        verdict.inputs += 1
        verdict.elements += compared.elements
        verdict.left_out += compared.left_out
        verdict.worst = max(verdict.worst, compared.worst)
        verdict.bound = max(verdict.bound, bound.units)
        verdict.parts.update(bound.parts)
        seen = any(each.instance.number == instance.number for each in verdict.failures)
        if compared.wrong and not seen:
            failure = Failure(instance, dict(inputs), real, got, compared, bound)
            verdict.failures.append(failure)


def _tensor(record: Any, name: str) -> Any:
    """The tensor of a port; an underscore keeps a field off Python's own words."""
    return getattr(record, name) if hasattr(record, name) else getattr(record, f"{name}_")


def _output_space(row: ir.Row) -> int | None:
    """The space of the output, where it has a scale of its own."""
    for number, space in enumerate(row.spaces):
        if row.root in space.members and any(each.tensor == each.call for each in space.scales):
            return number
    return None


__all__ = ["Failure", "Verdict", "inherited_of", "joined", "tvm", "verify", "with_record"]
