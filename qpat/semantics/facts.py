"""What the ports and the structure of a row say of dtypes, ranks and sizes.

Every fact holds in each graph that the row matches and TVM can type (see qpat/ops/types.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache

from qpat.ops import types as rules
from qpat.ops.roles import RESULT
from qpat.ops.table import operator
from qpat.ops.types import types
from qpat.records import dataclass, field
from qpat.semantics import ir
from qpat.semantics.attributes import DTYPES
from qpat.semantics.constraints import Allowed, Constraints, Fact, Variable, one_of
from qpat.semantics.walk import tensors
from qpat.source import Span


@dataclass(frozen=True)
class NamedSize:
    """A dimension of a node that a name stands for, or another dimension is equal to."""

    node: int
    axis: int
    variable: Variable
    span: Span
    is_condition: bool = False


@dataclass(frozen=True)
class SameSizes:
    """Two nodes whose dimensions are equal, but for those numbered in `but`, and for the last where
    `but_last` says so."""

    first: int
    second: int
    span: Span
    operator: str
    but: frozenset[int] = frozenset()
    but_last: bool = False


@dataclass(frozen=True)
class MovedSize:
    """A dimension of one node that is, plus `offset`, a dimension of another."""

    first: int
    first_axis: int
    second: int
    second_axis: int
    span: Span
    operator: str
    offset: int = 0


@dataclass(frozen=True)
class Bound:
    """A node with no more dimensions than another, each with its place."""

    smaller: tuple[int, str]
    larger: tuple[int, str]
    span: Span
    operator: str


@dataclass(frozen=True)
class Largest:
    """A node with as many dimensions as that of `nodes` with the most."""

    nodes: tuple[int, ...]
    result: int
    span: Span
    operator: str


@dataclass
class RowFacts:
    """The constraints of one row while they are collected.

    Dimensions are counted from the front where the rank is known, so what is said of them waits
    until it is, and so do ranks that bound each other: see `settled` in qpat/semantics/shapes.py.
    """

    row: ir.Row
    constraints: Constraints = field(default_factory=Constraints)
    sizes: list[Fact] = field(default_factory=list)
    named: list[NamedSize] = field(default_factory=list)
    same: list[SameSizes] = field(default_factory=list)
    moved: list[MovedSize] = field(default_factory=list)
    bounds: list[Bound | Largest] = field(default_factory=list)


# ---- ports and leaves --------------------------------------------------------------------


def port_facts(facts: RowFacts, port: ir.Port) -> None:
    """What a port declares, where the row has it."""
    node = facts.row.values.get(port.name)
    if node is None:
        return
    other = facts.row.values.get(port.same_dtype_as or "")
    if port.dtypes and port.same_dtype_as is None:
        allowed = Allowed(frozenset(port.dtypes))
        for each in tensors(facts.row.nodes, node):
            facts.constraints.say(Fact(("dtype", each), allowed, port.span, port.name))
    elif other is not None and not port.dtypes:  # `int16 | x.dtype` is neither
        facts.constraints.equate(("dtype", other), ("dtype", node), port.span)
    if port.shape is not None:
        _declared_shape(facts, port, node, port.shape)


def _declared_shape(
    facts: RowFacts, port: ir.Port, node: int, shape: tuple[int | str | None, ...]
) -> None:
    rest = shape.index("...") if "..." in shape else len(shape)
    least = sum(size != "..." for size in shape)
    allowed = one_of(least) if least == len(shape) else Allowed(least=least)
    facts.constraints.say(Fact(("rank", node), allowed, port.span, port.name))
    for position, size in enumerate(shape):
        index = position if position < rest else position - len(shape)
        if isinstance(size, int):
            facts.sizes.append(Fact(("dim", node, index), one_of(size), port.span, port.name))
        elif size is not None and size != "...":
            facts.named.append(NamedSize(node, index, ("size", size), port.span))


def literal_facts(facts: RowFacts, index: int, node: ir.Literal) -> None:
    """A float dtype rounds a literal, an integer one must hold it as it is, or about (`~0.7`)."""
    if node.about:
        return
    dtypes = frozenset(dtype for dtype in DTYPES if _holds(dtype, node.value))
    text = node.span.text
    words = "needs a dtype that holds it"
    fact = Fact(("dtype", index), Allowed(dtypes), node.span, text, words=words)
    facts.constraints.say(fact)


def _holds(dtype: str, value: int | float | bool) -> bool:
    if "float" in dtype:
        return True
    if value != int(value):
        return False
    if dtype == "bool":
        return value in (0, 1)
    bits = int(re.sub(r"\D", "", dtype))
    if dtype.startswith("uint"):
        return 0 <= value < 1 << bits
    return -(1 << bits - 1) <= value < 1 << bits - 1


def field_facts(facts: RowFacts, index: int, node: ir.Field) -> None:
    """A field of a tuple, or of what `split` gives; those of other operators differ."""
    value = facts.row.nodes[node.value]
    if isinstance(value, ir.Tuple) and node.index < len(value.elements):
        source, name = value.elements[node.index], None
    elif isinstance(value, ir.Call) and value.operator == "split":
        source, name = node.value, value.operator
    else:
        return
    for kind in ("dtype", "rank"):
        facts.constraints.equate((kind, source), (kind, index), node.span, name)


# ---- calls ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Site:
    """A call whose rules are applied."""

    facts: RowFacts
    index: int
    call: ir.Call
    positions: Mapping[str, int]

    def nodes(self, place: str) -> tuple[int, ...]:
        """The nodes that a place of a rule stands for."""
        if place == RESULT:
            return (self.index,)
        operand = self.call.operands[self.positions[place]]
        node = self.facts.row.nodes[operand]
        return node.elements if isinstance(node, ir.Tuple) else (operand,)

    def attribute(self, name: str) -> ir.Attribute | None:
        """What the pattern says of an attribute. Unsaid, a graph may have any value there."""
        for attribute in self.call.attributes:
            if attribute.name == name:
                return attribute
        return None

    def is_set(self, name: str, value: bool) -> bool:
        """Whether the pattern says that an attribute is true, or is false."""
        attribute = self.attribute(name)
        return attribute is not None and attribute.value is value

    def say(self, kind: str, place: str, allowed: Allowed, span: Span | None = None) -> None:
        where = self.call.span if span is None else span
        for node in self.nodes(place):
            # Of a scale or a zero point nothing else is said that could contradict.
            if not isinstance(self.facts.row.nodes[node], ir.SlotConstant | ir.SlotTuple):
                fact = Fact((kind, node), allowed, where, place, self.call.operator)
                self.facts.constraints.say(fact)

    def equate(self, kind: str, places: Iterable[str], offset: int = 0) -> None:
        """Says that the others are the first plus `offset`."""
        first, *others = (node for place in places for node in self.nodes(place))
        for node in others:
            self.facts.constraints.equate(
                (kind, first), (kind, node), self.call.span, self.call.operator, offset=offset
            )


def site_of(facts: RowFacts, index: int, call: ir.Call) -> Site | None:
    """A call to apply rules to; None where an operand was left out and places cannot be told."""
    positions = _positions(call.operator)
    return Site(facts, index, call, positions) if len(positions) == len(call.operands) else None


@cache
def _positions(name: str) -> Mapping[str, int]:
    signature = operator(name)
    operands = signature.operands if signature is not None else ()
    return {operand.name: position for position, operand in enumerate(operands)}


def dtype_facts(site: Site) -> None:
    """What the operator of a call says of dtypes."""
    known = types(site.call.operator)
    for rule in known.dtypes if known is not None else ():
        match rule:
            case rules.Same():
                site.equate("dtype", rule.places)
            case rules.Among():
                site.say("dtype", rule.place, Allowed(rule.dtypes))
            case rules.Stated():
                _stated_dtype(site, rule)


def _stated_dtype(site: Site, rule: rules.Stated) -> None:
    attribute = site.attribute(rule.attribute)
    if attribute is None:
        return
    value = attribute.value
    if isinstance(value, ir.DtypeOf):
        named = site.facts.row.values.get(value.name)
        if named is not None:
            site.facts.constraints.equate(
                ("dtype", named), ("dtype", site.index), attribute.span, site.call.operator
            )
    elif value:
        variable, allowed = ("dtype", site.index), one_of(str(value))
        fact = Fact(variable, allowed, attribute.span, rule.attribute, site.call.operator)
        site.facts.constraints.say(fact)
    elif rule.otherwise is not None:
        site.equate("dtype", (rule.otherwise, rule.place))
