"""A row while it is built, and what names may stand for in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from qpat.semantics import ir
from qpat.source import Span
from qpat.syntax import tree


@dataclass(frozen=True)
class SlotUse:
    """`x.scale` written as an operand: operand node `constant` of node `call` belongs to `name`."""

    name: str
    slot: str
    constant: int
    call: int
    span: Span


@dataclass
class Draft:
    """A row while it is built; spaces come later."""

    form: str | None
    nodes: list[ir.Node] = field(default_factory=list)
    root: int = -1
    values: dict[str, int] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)
    slot_uses: list[SlotUse] = field(default_factory=list)


@dataclass(frozen=True)
class Scope:
    """What names may stand for in one form of a pattern.

    `unbuilt` are the file's fragments, externs and options: they are reported where they are
    defined, so not where they are used.
    """

    pattern: str
    form: str | None
    binds: Mapping[str, tree.Bind]
    inputs: Mapping[str, tree.Port]
    constants: frozenset[str]  # named by `const` and no port
    output: tree.Port
    unbuilt: frozenset[str]
