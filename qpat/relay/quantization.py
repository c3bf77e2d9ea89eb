"""Quantization parameters of the values of a Relay module: what operands say, carried along shares.

Forward from producers; where a value has none upstream (a graph input), backward from its users.
Goes through tuples, their fields, and composite and partitioned functions. Where two sources
disagree the value is unknown and the disagreement is kept as a conflict.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from qpat.diagnostics import Diagnostic, warning
from qpat.relay.environment import installed_ir
from qpat.relay.importing import model_of
from qpat.relay.names import Names, operator_name
from qpat.relay.parameters import dtypes_of, is_integer, same
from qpat.relay.prepare import is_prepared, prepare
from qpat.relay.serialize import quantization_json
from qpat.relay.spaces import Edge, Saying, Silence, Source, Spaces
from qpat.relay.tensors import TensorQuantization, conflict_text, silence_text, tensors
from qpat.targets.relay_support import Parameters

Progress = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Conflict:
    """Two parameters said of one value, and the calls that say so."""

    value: Any
    first: Parameters
    second: Parameters
    first_source: Source
    second_source: Source


@dataclass(frozen=True, eq=False)
class Quantization:
    """The parameters of every value of `module` that something is known of.

    `conflicts` are values of which two operators say different things, `faults` operands that are
    no parameters a tensor can have.
    """

    module: Any
    conflicts: tuple[Conflict, ...]
    faults: tuple[Silence, ...]
    _spaces: Spaces = field(repr=False)
    _known: Mapping[Any, Saying] = field(repr=False)
    _reasons: Mapping[Any, str] = field(repr=False)

    @cached_property
    def names(self) -> Names:
        """What the values of `module` are called."""
        return Names(self._spaces.order)

    def of(self, value: Any) -> Parameters | None:
        """Parameters of an expression of `module`; None where nothing is known, and for a tuple.

        `scale` is a float32, or a float32 vector along `axis`; `zero_point` an integer, or as many.
        """
        found = self._known.get(self._resolved(value))
        return None if found is None else found.parameters

    def source(self, value: Any) -> Source | None:
        """The call that has the parameters of an expression of `module` as its operands."""
        found = self._known.get(self._resolved(value))
        return None if found is None else found.source

    def _resolved(self, value: Any) -> Any:
        """What stands for a value; a view also knows the variables of what it shows."""
        shown: Mapping[Any, Any] = getattr(self.module, "values", {})
        return self._spaces.aliases.resolve(shown.get(value, value))

    def reason(self, value: Any) -> str | None:
        """Why nothing is known of an expression of `module`; None where something is."""
        value = self._resolved(value)
        if value in self._known:
            return None
        dtypes = dtypes_of(value)
        if len(dtypes) == 1 and not is_integer(dtypes[0]):
            return "float" if dtypes[0].startswith(("float", "bfloat")) else dtypes[0]
        return self._reasons.get(value, NOBODY)

    def tensors(self) -> tuple[TensorQuantization, ...]:
        """Every tensor of the module once, operands first, but for scales and zero points."""
        return tensors(self._spaces, self)

    def findings(self, place: str | None = None) -> tuple[Diagnostic, ...]:
        """Conflicts and faults as warnings: QP342 and QP343. `place` is the module's file."""
        disagreed = (conflict_text(each, self.names) for each in self.conflicts)
        wrong = (silence_text(each, self.names) for each in self.faults)
        found = [warning("QP342", text, place=place) for text in disagreed]
        found += [warning("QP343", text, place=place) for text in wrong]
        return tuple(dict.fromkeys(found))

    def to_json(self) -> dict[str, Any]:
        """What docs/params.md describes: plain numbers, lists and strings."""
        return quantization_json(self)


NOBODY = "no operator says"


def quantization(
    model: Any, params: Mapping[str, Any] | None = None, progress: Progress | None = None
) -> Quantization:
    """The parameters of every tensor of a model: a path (.tflite, .onnx, Relay text) or a module of
    Relay, or of Relax where that is installed, with `params` to be bound in `main`.

    A module that is typed, with constants for its parameters, is analysed as it is; of any other a
    copy is prepared, which is the `module` of what is given back. The given one is never changed.
    Of a Relax module `module` is a view (qpat.relax.view.Module); ask for its variables. A view is
    taken, too.
    Raises QpatError where the model, the parameters or the environment are at fault.
    """
    module, bound = model_of(model, params, progress)
    if installed_ir() == "relax":
        from qpat.relax.matching import viewed

        return analysed(viewed(module, bound))
    if bound or not is_prepared(module):
        module = prepare(module, bound, progress)
    return analysed(module)


def analysed(module: Any) -> Quantization:
    """Analyses a typed module; see the file's docstring. Never changes the module."""
    return _Solver(Spaces(module)).solve(module)


# ---- solving -----------------------------------------------------------------------------


class _Solver:
    """Producers first; then users, for values that nothing upstream says anything of; until nothing
    new is learnt."""

    def __init__(self, spaces: Spaces) -> None:
        self.spaces = spaces
        self.known: dict[Any, Saying] = dict(spaces.said)
        self.lost: dict[Any, str] = {}
        self.disagreed: set[Any] = set()
        self.conflicts: dict[tuple[Any, ...], Conflict] = {}

    def solve(self, module: Any) -> Quantization:
        while True:
            while self._forward():
                pass
            if not self._backward():
                break
        self._contradictions()
        faults = tuple(each for each in self.spaces.silent if each.unread.is_wrong)
        conflicts = tuple(self.conflicts.values())
        reasons = self._reasons()
        return Quantization(module, conflicts, faults, self.spaces, self.known, reasons)

    def _forward(self) -> bool:
        """Every value from its operands. True where one was learnt."""
        learnt = False
        for value in self.spaces.order:
            if self._is_open(value):
                edges = self.spaces.into.get(value, ())
                learnt = self._learn(value, self._arriving(edges, True)) or learnt
        return learnt

    def _backward(self) -> bool:
        """Values whose operands say nothing, from their users."""
        learnt = False
        for value in reversed(self.spaces.order):
            if self._is_open(value):
                said = list(self.spaces.wanted.get(value, ()))
                said += self._arriving(self.spaces.outof.get(value, ()), False)
                learnt = self._learn(value, said) or learnt
        return learnt

    def _is_open(self, value: Any) -> bool:
        return value not in self.known and value not in self.disagreed

    def _arriving(self, edges: Iterable[Edge], forward: bool) -> list[Saying]:
        found: list[Saying] = []
        for edge in edges:
            near, far = (edge.start, edge.end) if forward else (edge.end, edge.start)
            known = self.known.get(near)
            if known is None:
                continue
            carried = edge.carry(known.parameters, forward)
            if isinstance(carried, str):
                self.lost[far] = carried
            else:
                found.append(Saying(carried, known.source))
        return found

    def _learn(self, value: Any, said: list[Saying]) -> bool:
        if not said:
            return False
        other = next((each for each in said if not _agree(said[0], each)), None)
        if other is not None:
            self.disagreed.add(value)
            self._conflict(value, said[0], other)
            return False
        self.known[value] = said[0]
        return True

    def _conflict(self, value: Any, first: Saying, second: Saying) -> None:
        """The same two calls disagree all along a chain of values: that is said once."""
        pair = (first.source.call, first.source.tensor, second.source.call, second.source.tensor)
        if pair not in self.conflicts and (*pair[2:], *pair[:2]) not in self.conflicts:
            self.conflicts[pair] = Conflict(
                value, first.parameters, second.parameters, first.source, second.source
            )

    def _contradictions(self) -> None:
        """Users, and values in one space, that say something else than what is known."""
        for value in self.spaces.order:
            known = self.known.get(value)
            if known is None:
                continue
            others = list(self.spaces.wanted.get(value, ()))
            others += self._arriving(self.spaces.into.get(value, ()), True)
            others += self._arriving(self.spaces.outof.get(value, ()), False)
            for other in others:
                if not _agree(known, other):
                    self._conflict(value, known, other)

    # ---- why a value is not known ----
    def _reasons(self) -> dict[Any, str]:
        """For each value that is not known why; those that are left out have no reason but that no
        operator says anything of them. What would be known from a value is unknown as that is."""
        reasons = {
            value: f"dropped by the frontend ({name})"
            for value, name in self.spaces.dropped.items()
        }
        reasons |= self.lost
        for silence in self.spaces.silent:
            name = operator_name(silence.source.call)
            reasons[silence.value] = f"{name}: {silence.unread.reason}"
        reasons |= dict.fromkeys(self.disagreed, "operators disagree")
        found: dict[Any, str] = {}
        waiting = deque(each for each in reasons.items() if each[0] not in self.known)
        while waiting:
            value, reason = waiting.popleft()
            if value in found:
                continue
            found[value] = reason
            beside = [edge.end for edge in self.spaces.outof.get(value, ())]
            beside += [edge.start for edge in self.spaces.into.get(value, ())]
            unknown = (each for each in beside if each not in self.known)
            waiting.extend((each, reasons.get(each, reason)) for each in unknown)
        return found


def _agree(first: Saying, second: Saying) -> bool:
    return same(first.parameters, second.parameters)
