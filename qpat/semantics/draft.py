"""A row while it is built, and what names may stand for in it."""

from __future__ import annotations

from collections.abc import Mapping

from qpat.records import dataclass, field
from qpat.semantics import ir
from qpat.semantics.blocks import Block, Place
from qpat.semantics.excused import Excused
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
    """A row while it is built; spaces come later. `picked` has the label of the form picked in each
    block that has forms, `blocks` the names of all blocks that count in this row, `ordered` what
    `ordered` (True) and `unordered` (False) say of a call."""

    nodes: list[ir.Node] = field(default_factory=list)
    root: int = -1
    values: dict[str, int] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)
    slot_uses: list[SlotUse] = field(default_factory=list)
    picked: dict[str, str] = field(default_factory=dict)
    blocks: set[str] = field(default_factory=set)
    shared: set[int] = field(default_factory=set)
    ordered: dict[int, bool] = field(default_factory=dict)
    apart: set[str] = field(default_factory=set)  # names that are looked at and not in the row
    faulty: set[int] = field(default_factory=set)  # nodes whose spaces are not known

    @property
    def form(self) -> str | None:
        """The label of the pattern's own form."""
        return self.picked.get("")


@dataclass(frozen=True)
class Scope:
    """What names may stand for in a pattern.

    `apart` are names and `again` statements that the output is not made of, because of a fault:
    they are looked at, too.
    """

    pattern: str
    root: Block
    places: Mapping[str, tuple[Place, ...]]
    inputs: Mapping[str, tree.Port]
    constants: frozenset[str]  # named by `const` or `var` and no port
    output: tree.Port
    excused: Excused
    apart: tuple[str, ...]
    again: tuple[Place, ...]
    fragments: tuple[str, ...]  # that there are, all inlined
