"""What keeps a row of a pattern from a place in a module, as data."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from qpat.semantics import ir
from qpat.source import Span


class Obstacle(Enum):
    """What a reason is about."""

    OPERATOR = "operator"  # another operator, or none, where one is wanted
    OPERANDS = "operands"  # another number of operands
    ATTRIBUTE = "attribute"
    CONSTANT = "constant"  # no constant where one is wanted, or one where an input is
    VALUE = "value"  # a constant of another value
    SAME = "same"  # two values where one is wanted
    TUPLE = "tuple"
    USER = "user"  # a value inside has users outside
    TAKEN = "taken"  # nothing, but an earlier pattern or match holds an operator that is wanted
    CONDITION = "condition"  # a `where`, a type of a port, parameters that do not agree


@dataclass(frozen=True, eq=False)
class Reason:
    """One thing that keeps a row away. `expr` is the Relay expression at fault, `span` the words of
    the pattern that it is held against."""

    obstacle: Obstacle
    text: str
    expr: Any
    span: Span | None


@dataclass(frozen=True, eq=False)
class Miss:
    """A row that came near. `fitting` of its `row.call_count` calls stand where the row wants them,
    the one that is asked about among them; `reasons` are in order, the first is what to look at."""

    pattern: ir.Pattern
    row: ir.Row
    fitting: int
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, eq=False)
class Why:
    """An operator that stays on the host; `miss` None: no pattern has the operator, or it is not
    quantized, as `text` says."""

    call: Any
    operator: str
    name: str | None
    miss: Miss | None
    text: str
