"""What `qpat coverage` finds, as data without TVM. docs/coverage.md says what is counted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any


class About(Enum):
    """What kept a row away from a place that has its structure."""

    WHERE = "where"  # a `where … else "reason"`
    TYPE = "type"  # the dtype or the rank of a port
    PARAMETERS = "parameters"  # scales, zero points, or what a parameter is computed from
    USER = "user"  # nothing, but a value inside is used outside, too
    TAKEN = "taken"  # nothing, but another match holds what it wants


@dataclass(frozen=True)
class Refusal:
    """One reason, at how many places it was given, at how many of them a call stays on the host,
    as no other pattern takes it, and the words of the pattern that it is about."""

    about: About
    reason: str
    count: int
    on_host: int
    file: str | None
    line: int | None


@dataclass(frozen=True)
class RowCoverage:
    """One alternation-free structure of a form. `refusals` count every call at which the row's
    structure fits, those included at which another row was taken."""

    structure: str
    matched: int
    refusals: tuple[Refusal, ...]


@dataclass(frozen=True)
class Work:
    """Operator calls and multiply-accumulates, and how many of them are offloaded. `unsized`: calls
    that multiply and accumulate on shapes that are not known; they are in no number of `macs`."""

    calls: int = 0
    offloaded_calls: int = 0
    macs: int = 0
    offloaded_macs: int = 0
    unsized: int = 0

    def __add__(self, other: Work) -> Work:
        return Work(
            self.calls + other.calls,
            self.offloaded_calls + other.offloaded_calls,
            self.macs + other.macs,
            self.offloaded_macs + other.offloaded_macs,
            self.unsized + other.unsized,
        )


@dataclass(frozen=True)
class FormCoverage:
    """A form of a pattern, None where it has none. `target` is the composite, or the operator that
    is taken as it is. `refused` counts the places that have the structure of the form and are not
    taken, `lost` those of which another match holds something, `on_host` those of both with a
    call that stays on the host, and `refusals` say why: a place may have several reasons. `calls`
    and `macs` are those inside of its matches."""

    pattern: str
    form: str | None
    target: str
    matched: int
    refused: int
    lost: int
    on_host: int
    refusals: tuple[Refusal, ...]
    calls: int
    macs: int
    rows: tuple[RowCoverage, ...]

    @property
    def rows_matched(self) -> int:
        """How many of the rows matched anywhere."""
        return sum(row.matched > 0 for row in self.rows)

    @property
    def name(self) -> str:
        return self.pattern if self.form is None else f"{self.pattern}, form {self.form}"


@dataclass(frozen=True)
class Record:
    """What is shown of a match: (port, dtype, shape, scale, zero point), (parameter, value)."""

    form: str | None
    ports: tuple[tuple[str, ...], ...]
    params: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Node:
    """A node of the drawing: an "input", a "composite", a "rule" (an operator taken as it is), or
    something of the "host". `reasons` say of the last why it is one, the first in short."""

    kind: str
    title: str
    name: str | None
    pattern: str | None = None
    type: str = ""
    macs: int = 0
    calls: tuple[str, ...] = ()
    record: Record | None = None
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Graph:
    """The nodes in an order in which operands come first, edges as (operand, user), and which
    nodes give the results."""

    nodes: tuple[Node, ...]
    edges: tuple[tuple[int, int], ...]
    results: tuple[int, ...]


@dataclass(frozen=True)
class ModelCoverage:
    """What the patterns do on one model."""

    model: str
    work: Work
    forms: tuple[FormCoverage, ...]
    graph: Graph = field(repr=False)


@dataclass(frozen=True)
class Coverage:
    """What the patterns of a file do on several models."""

    patterns: str
    compiler: str
    models: tuple[ModelCoverage, ...]

    @property
    def work(self) -> Work:
        """That of all models together."""
        return sum((model.work for model in self.models), Work())

    @property
    def forms(self) -> tuple[FormCoverage, ...]:
        """Every form of every pattern, in the order of the file, counted over all models."""
        return tuple(map(_total, zip(*(model.forms for model in self.models), strict=True)))

    def to_json(self) -> Mapping[str, Any]:
        """What docs/coverage.schema.json describes: plain numbers, lists and strings."""
        from qpat.relay.coverage.report import as_json

        return as_json(self)


def _total(forms: tuple[FormCoverage, ...]) -> FormCoverage:
    """One form on several models."""
    first = forms[0]
    rows = tuple(
        RowCoverage(
            same[0].structure,
            sum(row.matched for row in same),
            summed(refusal for row in same for refusal in row.refusals),
        )
        for same in zip(*(form.rows for form in forms), strict=True)
    )
    return FormCoverage(
        first.pattern,
        first.form,
        first.target,
        sum(form.matched for form in forms),
        sum(form.refused for form in forms),
        sum(form.lost for form in forms),
        sum(form.on_host for form in forms),
        summed(refusal for form in forms for refusal in form.refusals),
        sum(form.calls for form in forms),
        sum(form.macs for form in forms),
        rows,
    )


def summed(refusals: Iterable[Refusal]) -> tuple[Refusal, ...]:
    """Equal reasons as one, the most frequent first."""
    found: dict[tuple[Any, ...], list[Refusal]] = {}
    for each in refusals:
        found.setdefault((each.about, each.reason, each.file, each.line), []).append(each)
    totals = [
        replace(same[0], count=sum(r.count for r in same), on_host=sum(r.on_host for r in same))
        for same in found.values()
    ]
    # What comes first stays first where the counts are equal.
    return tuple(sorted(totals, key=lambda each: -each.count))
