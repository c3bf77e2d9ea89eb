"""How the structure of one row lies in another's: which of its nodes stands for which.

`certain` is a mapping that is there in every graph that the outer row matches, as the generated
modules match (qpat/targets/relay_patterns.py, relay_binders.py): the nodes of the inner row that
are no leaves stand for nodes of the same kind; a leaf stands for whatever it takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from itertools import product

from qpat.ops.roles import exchange
from qpat.ops.table import operator
from qpat.records import dataclass, field
from qpat.semantics import ir
from qpat.semantics.ir import Constness
from qpat.semantics.walk import below, under

# The generated modules say so many ways round of a row and no more (_MOST_WAYS in
# qpat/targets/relay_patterns.py).
_MOST_SWAPS = 4
_OPEN = (Constness.ANY, Constness.EITHER)
_VALUES = (ir.Input, ir.Literal, ir.SlotConstant, ir.Call, ir.CompositeCall, ir.Field)
_INSIDE = (ir.Call, ir.CompositeCall, ir.Tuple, ir.Field)
_TUPLES = (ir.Tuple, ir.Elements, ir.SlotTuple)


class Fit(IntEnum):
    """Whether a row fits: in no graph that the outer row matches, in some, in all."""

    NEVER = 0
    MAYBE = 1
    ALWAYS = 2


@dataclass(frozen=True)
class Embedding:
    """One way that a row lies in another. `nodes` maps its nodes; `attributes` are those it asks
    for that the other does not write, each with the node of the other."""

    nodes: dict[int, int]
    attributes: tuple[tuple[int, ir.Attribute], ...]


@dataclass(frozen=True)
class Embeddings:
    """The ways that are certain, and whether there may be others. `is_sticky`: TVM takes the first
    that fits, whichever that is, and never comes back to another."""

    certain: tuple[Embedding, ...]
    may_be_others: bool
    is_sticky: bool


NONE = Embeddings((), False, False)


def embeddings(inner: ir.Row, outer: ir.Row, at: int) -> Embeddings:
    """The ways that `inner` lies in `outer` with its root at node `at`."""
    if len(inner.swaps) > _MOST_SWAPS:
        return NONE
    certain: list[Embedding] = []
    may_be_others = False
    for choice in product((False, True), repeat=len(inner.swaps)):
        swapped = frozenset(i for i, chosen in zip(inner.swaps, choice, strict=True) if chosen)
        matching = _Matching(inner, outer, swapped)
        fit = matching.fit(inner.root, at)
        if fit is Fit.ALWAYS and not _is_cut_off(inner, outer, matching.nodes):
            certain.append(Embedding(matching.nodes, tuple(matching.attributes)))
        elif fit is not Fit.NEVER:
            may_be_others = True
    return Embeddings(tuple(certain), may_be_others, _is_sticky(inner))


def _is_sticky(row: ir.Row) -> bool:
    """Whether the two ways round of a call have other calls inside: TVM cuts out the first way
    that fits, and the generated checks hold to it (`tried` in qpat/targets/relay_support.py)."""
    return any(
        isinstance(row.nodes[node], _INSIDE)
        for call in row.swaps
        for operand in below(row.nodes[call])
        for node in under(row, operand)
    )


# ---- node by node -------------------------------------------------------------------------


@dataclass
class _Matching:
    """Lays one row into another, some of its calls the other way round."""

    inner: ir.Row
    outer: ir.Row
    swapped: frozenset[int]
    nodes: dict[int, int] = field(default_factory=dict)
    attributes: list[tuple[int, ir.Attribute]] = field(default_factory=list)

    def fit(self, mine: int, other: int) -> Fit:
        if mine in self.nodes:
            # Two nodes of the outer row may be one in a graph.
            return Fit.ALWAYS if self.nodes[mine] == other else Fit.MAYBE
        self.nodes[mine] = other
        node, found = self.inner.nodes[mine], self.outer.nodes[other]
        if isinstance(node, ir.Call):
            return self._call(mine, node, other, found)
        if isinstance(node, ir.Tuple):
            return self._tuple(node, found)
        if isinstance(node, ir.Field):
            return self._field(node, found)
        return self._leaf(node, found)

    def _call(self, mine: int, call: ir.Call, other: int, found: ir.Node) -> Fit:
        if not isinstance(found, ir.Call):
            return _open(found)
        if found.operator != call.operator or len(found.operands) != len(call.operands):
            return Fit.NEVER
        fit = Fit.ALWAYS
        if other in self.outer.swaps and mine not in self.inner.swaps:
            fit = Fit.MAYBE  # in a graph that is the other way round
        fit = min(fit, self._attributes(call, other, found))
        operands = list(call.operands)
        if mine in self.swapped:
            for first, second in _pairs(call.operator):
                operands[first], operands[second] = operands[second], operands[first]
        return self._all(operands, found.operands, fit)

    def _attributes(self, call: ir.Call, other: int, found: ir.Call) -> Fit:
        written = {each.name: each.value for each in found.attributes}
        fit = Fit.ALWAYS
        for attribute in call.attributes:
            value = written.get(attribute.name)
            if value is None or ir.DtypeOf in (type(value), type(attribute.value)):
                self.attributes.append((other, attribute))
            elif not is_same(value, attribute.value):
                # Short paddings stand for longer ones, and numbers of two types may be equal.
                differs = type(value) is type(attribute.value) and not isinstance(value, tuple)
                fit = min(fit, Fit.NEVER if differs else Fit.MAYBE)
        return fit

    def _all(self, mine: list[int], others: tuple[int, ...], fit: Fit) -> Fit:
        for first, second in zip(mine, others, strict=True):
            if fit is Fit.NEVER:
                return fit
            fit = min(fit, self.fit(first, second))
        return fit

    def _tuple(self, node: ir.Tuple, found: ir.Node) -> Fit:
        if isinstance(found, ir.Tuple):
            if len(found.elements) != len(node.elements):
                return Fit.NEVER
            return self._all(list(node.elements), found.elements, Fit.ALWAYS)
        return Fit.MAYBE if isinstance(found, _TUPLES) else _open(found)

    def _field(self, node: ir.Field, found: ir.Node) -> Fit:
        if isinstance(found, ir.Field):
            return self.fit(node.value, found.value) if node.index == found.index else Fit.NEVER
        return _open(found)

    def _leaf(self, node: ir.Node, found: ir.Node) -> Fit:
        match node:
            case ir.Input():
                return _input(node.constness, found)
            case ir.Literal():
                return _literal(node, found)
            case ir.SlotConstant():
                return _slot(found)
            case ir.SlotTuple():
                return self._slots(found)
            case ir.Elements():
                is_tuple = isinstance(found, ir.Elements | ir.Tuple)
                return Fit.ALWAYS if is_tuple else _open(found)
        return Fit.MAYBE  # a composite: whether it has been made yet is not known here

    def _slots(self, found: ir.Node) -> Fit:
        if isinstance(found, ir.Tuple):
            fits = [_slot(self.outer.nodes[each]) for each in found.elements]
            return min(fits, default=Fit.ALWAYS)
        return Fit.ALWAYS if isinstance(found, ir.SlotTuple) else _open(found)


def _open(found: ir.Node) -> Fit:
    """Of a leaf that may be anything nothing is known, nor of a composite that may have been made
    late; of others, that they are no calls."""
    is_open = isinstance(found, ir.Input) and found.constness in _OPEN
    return Fit.MAYBE if is_open or isinstance(found, ir.CompositeCall) else Fit.NEVER


def _input(constness: Constness, found: ir.Node) -> Fit:
    if constness is Constness.CONSTANT:
        return _constant(found)
    if constness is Constness.VARIABLE:
        is_same_kind = isinstance(found, ir.Input) and found.constness is Constness.VARIABLE
        return Fit.ALWAYS if is_same_kind else _open(found)
    return Fit.ALWAYS if isinstance(found, _VALUES) else Fit.MAYBE


def _constant(found: ir.Node) -> Fit:
    return Fit.ALWAYS if is_constant(found) else _open(found)


def _slot(found: ir.Node) -> Fit:
    """A scale or zero point. Of a constant that is read as none the earlier row may refuse a value
    that no tensor can have."""
    if isinstance(found, ir.SlotConstant):
        return Fit.ALWAYS
    return Fit.MAYBE if is_constant(found) else _open(found)


def is_constant(node: ir.Node) -> bool:
    """Whether a node is one constant in every match."""
    if isinstance(node, ir.Input):
        return node.constness is Constness.CONSTANT
    return isinstance(node, ir.SlotConstant | ir.Literal)


def _literal(node: ir.Literal, found: ir.Node) -> Fit:
    if isinstance(found, ir.Literal):
        is_as_strict = node.about or not found.about
        return Fit.ALWAYS if node.value == found.value and is_as_strict else Fit.MAYBE
    return Fit.MAYBE if is_constant(found) else _open(found)


def is_same(first: object, second: object) -> bool:
    """Whether two written attribute values are the same to every comparison."""
    if isinstance(first, tuple) and isinstance(second, tuple):
        pairs = zip(first, second, strict=False)
        return len(first) == len(second) and all(is_same(a, b) for a, b in pairs)
    return type(first) is type(second) and first == second


def _pairs(name: str) -> tuple[tuple[int, int], ...]:
    signature = operator(name)
    exchanged = exchange(signature) if signature is not None else None
    return exchanged.operands if exchanged is not None else ()


# ---- what keeps TVM from cutting a composite out ----------------------------------------------


def _is_cut_off(inner: ir.Row, outer: ir.Row, nodes: dict[int, int]) -> bool:
    """Whether the inner values may have users outside of the match, or an input of the match may be
    computed from them: TVM refuses the one, the generated modules the other."""
    kinds = (*_INSIDE, *_TUPLES)
    inside = {nodes[i] for i, n in enumerate(inner.nodes) if i in nodes and isinstance(n, kinds)}
    kept = inside - {nodes[inner.root]}
    if not kept:
        return False
    if kept & set(outer.shared):
        return True
    users = [index for index, node in enumerate(outer.nodes) if kept & set(below(node))]
    if not inside.issuperset(users):
        return True
    return any(_is_computed(inner, outer, nodes, leaf) for leaf in _inputs(inner) if leaf in nodes)


def _inputs(row: ir.Row) -> Iterator[int]:
    for index, node in enumerate(row.nodes):
        is_input = isinstance(node, ir.Input) and node.constness is not Constness.CONSTANT
        if is_input or isinstance(node, ir.Elements):
            yield index


def _is_computed(inner: ir.Row, outer: ir.Row, nodes: dict[int, int], leaf: int) -> bool:
    """Whether an input may be, or be computed from, an inner value that is not computed from it."""
    others = {
        nodes[index]
        for index, node in enumerate(inner.nodes)
        if index in nodes and index != inner.root and isinstance(node, _INSIDE)
        if leaf not in under(inner, index)
    }
    if not others:
        return False
    made_of = under(outer, nodes[leaf])
    if isinstance(inner.nodes[leaf], ir.Elements):
        made_of -= {nodes[leaf]}
    unknown = any(
        isinstance(node := outer.nodes[each], ir.CompositeCall) and node.operands is None
        for each in made_of
    )
    return unknown or bool(others & made_of)
