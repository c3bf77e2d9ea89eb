"""What conditions are about, in a form that can be compared across patterns.

A term is an expression without names: values and calls are nodes of one row, `let`s are what they
stand for, a scale or a zero point is the constant that says it. Two equal terms have the same value
in every graph that the row matches. What cannot be told is a term of its own, equal to no other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

from qpat.analysis.embedding import is_constant
from qpat.ops.table import operator
from qpat.records import dataclass, field, replace
from qpat.semantics import ir
from qpat.semantics.conditions import SCALAR_TYPES, lets_of
from qpat.semantics.folding import Folding

Term: TypeAlias = "tuple[object, ...]"
_LARGEST_EXACT = 2048  # whole number up to which float16 has all
_SLOTS = {"scale": ("scale",), "zero_point": ("zero_point",), "qparams": ("scale", "zero_point")}


def node_of(term: Term) -> int:
    """The node that a term is about: of an attribute, a dtype, a rank or a size."""
    node = term[1]
    assert isinstance(node, int)
    return node


def statements_of(pattern: ir.Pattern, row: ir.Row) -> list[ir.Statement]:
    """The statements that are carried out in a row."""
    return [each for each in pattern.statements if each.block in (None, *row.blocks)]


def folding_of(pattern: ir.Pattern, row: ir.Row) -> Folding:
    """What can be computed of a row's expressions."""
    calls = frozenset(name for each in pattern.rows for name in each.calls)
    return Folding(row, calls, lets_of(pattern.statements, row.blocks))


# ---- constants that are equal by value ----------------------------------------------------------


class EqualConstants:
    """The constants of a row that a match has with one value: those of one slot of one space, and
    literals that are the same whole number."""

    def __init__(self, row: ir.Row) -> None:
        self._leaders: dict[int, int] = {}
        for space in row.spaces:
            if not is_agreed(row, space):
                continue
            for sites in (space.scales, space.zero_points):
                for site in sites[1:]:
                    self._join(sites[0].constant, site.constant)
        wholes: dict[int, int] = {}
        for index, node in enumerate(row.nodes):
            if isinstance(node, ir.Literal) and not node.about and _is_small(node.value):
                self._join(wholes.setdefault(int(node.value), index), index)

    def of(self, node: int) -> int:
        """The constant that stands for all that are equal to this one."""
        while node in self._leaders:
            node = self._leaders[node]
        return node

    def _join(self, first: int, second: int) -> None:
        first, second = self.of(first), self.of(second)
        if first != second:
            self._leaders[second] = first


def _is_small(value: int | float | bool) -> bool:
    """Whether every float dtype holds a number as it is."""
    return value == int(value) and abs(value) <= _LARGEST_EXACT


# ---- terms ---------------------------------------------------------------------------------------


@dataclass
class Terms:
    """Makes terms of the expressions of a row. `place` maps its nodes to those that terms are
    about, those of `about`; `constant` maps a constant to the one that stands for it there."""

    pattern: ir.Pattern
    row: ir.Row
    about: ir.Row
    folding: Folding
    place: Callable[[int], int]
    constant: Callable[[int], int]
    touched: frozenset[str] = field(default_factory=frozenset)
    sizes: Mapping[str, tuple[int, int] | None] = field(default_factory=dict)

    @classmethod
    def of(cls, pattern: ir.Pattern, row: ir.Row, folding: Folding, equal: EqualConstants) -> Terms:
        """Terms about the row itself."""
        statements = statements_of(pattern, row)
        fills = [each for each in statements if isinstance(each, ir.Fill | ir.Inherit)]
        touched = frozenset(each.name for each in fills)
        sizes = named_sizes(pattern, row)
        return cls(pattern, row, row, folding, lambda node: node, equal.of, touched, sizes)

    def seen_in(self, about: ir.Row, nodes: Mapping[int, int], equal: EqualConstants) -> Terms:
        """Terms of the row about another one that it lies in, its nodes mapped to those there."""
        return replace(
            self,
            about=about,
            place=nodes.__getitem__,
            constant=lambda constant: equal.of(nodes[constant]),
        )

    def is_scalar(self, term: Term) -> bool:
        """Whether a term is one value, and no list or array of them."""
        if term[0] in ("dim", "rank"):
            return True
        if term[0] == "dtype":
            return not term[2]
        return term[0] == "attr" and self.attribute_type(term) in SCALAR_TYPES

    def attribute_type(self, term: Term) -> str | None:
        """The type of the attribute that a term is, from the op table."""
        call = self.about.nodes[node_of(term)]
        signature = operator(call.operator) if isinstance(call, ir.Call) else None
        found = None if signature is None else signature.attributes.get(str(term[2]))
        return None if found is None else found.type

    def term(self, expression: ir.Expression) -> Term:
        node = self.folding.resolved(expression)
        value = self.folding.value(node)
        if isinstance(value, bool | int | float | str) or value is None:
            return ("value", isinstance(value, bool), value)
        found = self._term(node)
        return found if found is not None else (object(),)

    def _term(self, node: ir.Expression) -> Term | None:  # noqa: C901 - one case for each kind
        match node:
            case ir.ReadMember():
                return self._member(node)
            case ir.ReadAttribute():
                call = self.row.calls.get(node.name)
                return None if call is None else ("attr", self.place(call), node.attribute)
            case ir.ReadValue():
                holder = self.row.calls if node.is_call else self.row.values
                index = holder.get(node.name)
                return None if index is None else ("node", self.place(index))
            case ir.ReadLocal():
                size = self.sizes.get(node.name)
                return None if size is None else ("dim", self.place(size[0]), size[1])
            case ir.ReadOption():
                return ("option", node.name)
            case ir.ReadTarget():
                return ("target", node.fact)
            case ir.IsPresent():
                index = self.row.values.get(node.name)
                return None if index is None else ("present", self.place(index), node.member)
            case ir.Function():
                return self._function(node)
            case ir.ExternCall():
                return ("extern", node.name, *self._all(node.arguments))
            case ir.Subscript():
                return self._subscript(node)
            case ir.Operation():
                needs = () if node.operator != "??" else (object(),)
                return ("operation", node.operator, *self._all(node.operands), *needs)
            case ir.Contained():
                container = node.container
                parts = container if isinstance(container, tuple) else (container,)
                kind = (isinstance(container, tuple), node.negated)
                return ("in", kind, *self._all((node.value, *parts)))
            case ir.Conditional():
                return ("if", *self._all((node.condition, node.then, node.otherwise)))
            case ir.Sequence():
                return ("sequence", node.bracket, *self._all(node.elements))
        return None

    def _all(self, expressions: Iterable[ir.Expression]) -> Sequence[Term]:
        return [self.term(each) for each in expressions]

    def _member(self, node: ir.ReadMember) -> Term | None:
        index = self.row.values.get(node.name)
        if index is None:
            return None
        if node.member in ("dtype", "shape"):
            return (node.member, self.place(index), node.many)
        if node.many:
            return None
        if node.member == "value" and is_constant(self.row.nodes[index]):
            return ("constant", self.place(index))
        slots = _SLOTS.get(node.member, ())
        constants = [self._slot(index, slot) for slot in slots]
        if not constants or None in constants:
            return None
        return (node.member, *constants)

    def _slot(self, index: int, slot: str) -> int | None:
        """The constant that says a slot of a node; None where it is filled or inherited."""
        for space in self.row.spaces:
            if index not in space.members:
                continue
            touched = {self.row.values.get(name) for name in self.touched}
            sites = space.scales if slot == "scale" else space.zero_points
            if not sites or not is_agreed(self.row, space) or touched & space.members:
                return None
            return self.constant(sites[0].constant)
        return None

    def _function(self, node: ir.Function) -> Term | None:
        if node.name in ("swapped", "lut"):
            return None  # these depend on more than their arguments
        first = node.arguments[0] if node.arguments else None
        if node.name == "rank" and isinstance(first, ir.ReadValue):
            index = self.row.values.get(first.name)
            is_many = index is None or isinstance(self.row.nodes[index], ir.Elements | ir.Several)
            return None if is_many or index is None else ("rank", self.place(index))
        return ("function", node.name, *self._all(node.arguments))

    def _subscript(self, node: ir.Subscript) -> Term | None:
        if node.index is None:
            ends = [("none",) if e is None else self.term(e) for e in (node.start, node.stop)]
            return ("slice", self.term(node.value), *ends)
        value, index = self.term(node.value), self.folding.value(node.index)
        if value[0] == "shape" and value[2] is False and type(index) is int:
            return ("dim", value[1], index)
        return ("element", value, self.term(node.index))


def is_agreed(row: ir.Row, space: ir.Space) -> bool:
    """Whether a match has one value for each slot of a space: of tuples each field has its own."""
    sites = (*space.scales, *space.zero_points)
    return not any(isinstance(row.nodes[site.constant], ir.SlotTuple) for site in sites)


def named_sizes(pattern: ir.Pattern, row: ir.Row) -> dict[str, tuple[int, int] | None]:
    """The node and the axis that names of sizes are read from, as PortChecks in
    qpat/targets/relay_ports.py reads them: ports that are always there first. None for what a port
    names that the row lacks, or one that is many."""
    found: dict[str, tuple[int, int] | None] = {}
    for port in sorted(pattern.ports, key=lambda port: port.maybe):
        node = row.values.get(port.name)
        for index, size in sizes(port.shape or ()):
            if isinstance(size, str):
                is_plain = node is not None and not port.many
                found.setdefault(size, (node, index) if node is not None and is_plain else None)
    return found


def sizes(shape: tuple[int | str | None, ...]) -> Iterator[tuple[int, int | str]]:
    """The sizes that a port declares, each with its axis: from the back where it stands behind
    `...`."""
    rest = shape.index("...") if "..." in shape else len(shape)
    for position, size in enumerate(shape):
        if size is not None and size != "...":
            yield (position if position < rest else position - len(shape)), size


def conjuncts(expression: ir.Expression, folding: Folding) -> Iterator[ir.Expression]:
    """The conditions that must all hold for one to hold, those that hold in the row anyway left
    out."""
    node = folding.resolved(expression)
    if folding.value(node) is True:
        return
    if isinstance(node, ir.Operation) and node.operator == "and":
        for operand in node.operands:
            yield from conjuncts(operand, folding)
    elif (
        isinstance(node, ir.Operation)
        and node.operator == "=>"
        and folding.value(node.operands[0]) is True
    ):
        yield from conjuncts(node.operands[1], folding)
    else:
        yield node
