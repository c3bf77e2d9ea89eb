"""Whether an earlier row takes every graph that a later one matches, before the later one can.

MergeComposite applies one row after the other, so an earlier row has the first pick: where it takes
the root of the later one, or any value inside, nothing is left that the later one matches (a call
in a composite is no call of an operator). It takes it where its structure lies in the later one's
(qpat/analysis/embedding.py) and all it asks for follows from what the later one says
(qpat/analysis/knowledge.py). What does not follow for certain counts as not following.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum

from qpat.analysis.atoms import Atom, atom_of
from qpat.analysis.embedding import Embedding, embeddings
from qpat.analysis.knowledge import Knowledge, follows
from qpat.analysis.refusals import Refusals, causes
from qpat.analysis.terms import conjuncts, is_agreed, sizes
from qpat.records import dataclass
from qpat.semantics import ir
from qpat.semantics.constraints import Allowed, Variable, one_of
from qpat.semantics.ordering import expressions


class Taking(Enum):
    """`open`: what decides is not in the file; `maybe`: the row takes some graphs, as far as is
    known; `never`: it takes none of them."""

    ALWAYS = "always"
    OPEN = "open"
    MAYBE = "maybe"
    NEVER = "never"


@dataclass(frozen=True)
class Outcome:
    """What an earlier row does at a node; `reasons` are what is not known where it is open."""

    taking: Taking
    reasons: tuple[str, ...] = ()


_ALWAYS, _MAYBE, _NEVER = (Outcome(each) for each in (Taking.ALWAYS, Taking.MAYBE, Taking.NEVER))
_ORDER = (Taking.ALWAYS, Taking.OPEN, Taking.MAYBE, Taking.NEVER)


def outcome(earlier: Knowledge, later: Knowledge, at: int) -> Outcome:
    """What the earlier row does at a node of the later row."""
    if any(isinstance(node, ir.CompositeCall) for node in earlier.row.nodes):
        return _MAYBE  # whether its composites are made by then is not known here
    found = embeddings(earlier.row, later.row, at)
    if not found.certain:
        return _MAYBE if found.may_be_others else _NEVER
    if found.is_sticky and found.may_be_others:
        return _MAYBE
    each = [_Asking(earlier, later, way).outcome() for way in found.certain]
    ranked = sorted(each, key=lambda one: _ORDER.index(one.taking))
    return ranked[-1] if found.is_sticky else ranked[0]


class _Asking:
    """Goes through all that a row asks for, where it lies in another one."""

    def __init__(self, earlier: Knowledge, later: Knowledge, way: Embedding) -> None:
        self.pattern = earlier.pattern
        self.row = earlier.row
        self.later = later
        self.way = way
        self.earlier = earlier
        self.terms = earlier.terms.seen_in(later.row, way.nodes, later.equal)
        self.refusals = Refusals(self.terms, later)

    def outcome(self) -> Outcome:
        if len(self.way.nodes) < len(self.row.nodes):
            return _MAYBE  # something in the row is no part of its structure
        # What is cheap to find out first: most pairs of rows differ in their conditions.
        conditions = self._conditions()
        if conditions.taking in (Taking.MAYBE, Taking.NEVER):
            return conditions
        if not (self._are_spaces_agreed() and self._do_attributes_follow()):
            return _MAYBE
        if not all(self._port(port) for port in self.pattern.ports):
            return _MAYBE
        statements = self._statements()
        if statements.taking is Taking.MAYBE or conditions.taking is Taking.ALWAYS:
            return statements
        return Outcome(Taking.OPEN, (*conditions.reasons, *statements.reasons))

    # ---- conditions ----
    def _conditions(self) -> Outcome:
        reasons: list[str] = []
        left = []
        for each in self.earlier.conditions:
            atom = atom_of(each, self.terms)
            if self._follows(each, atom):
                continue
            if atom is not None and self.later.excludes(atom):
                return _NEVER
            left.append(each)
        for each in left:
            reasons += causes(each, self.terms)
            if not list(causes(each, self.terms)):
                return _MAYBE
        return Outcome(Taking.OPEN, tuple(dict.fromkeys(reasons))) if left else _ALWAYS

    def _follows(self, condition: ir.Expression, atom: Atom | None) -> bool:
        if self.terms.folding.value(condition) is False:
            return False
        if self.later.is_true(self.terms.term(condition)):
            return True
        if atom is not None and self.later.holds(atom):
            return True
        node = self.terms.folding.resolved(condition)
        if not isinstance(node, ir.Operation):
            return False
        if node.operator == "or":
            return self._any_follows(node.operands)
        if node.operator == "=>":
            first, second = node.operands
            return self.refusals.is_safe(first) and self._all_follow(second)
        return node.operator == "==" and self._are_one_term(node)

    def _any_follows(self, operands: tuple[ir.Expression, ...]) -> bool:
        for each in operands:
            if self._all_follow(each):
                return True
            if not self.refusals.is_safe(each):
                return False
        return False

    def _all_follow(self, condition: ir.Expression) -> bool:
        every = list(conjuncts(condition, self.terms.folding))
        return all(self._follows(each, atom_of(each, self.terms)) for each in every)

    def _are_one_term(self, node: ir.Operation) -> bool:
        """`a == b` of what the later row has as one: a dtype that it keeps."""
        first, second = (self.terms.term(each) for each in node.operands)
        if not all(each[0] == "dtype" and not each[2] for each in (first, second)):
            return False
        return self.later.are_equal(first[:2], second[:2])  # type: ignore[arg-type]

    # ---- structure that is compared by value ----
    def _are_spaces_agreed(self) -> bool:
        """Whether the constants of each space are equal in the later row, too."""
        for space in self.row.spaces:
            if not is_agreed(self.row, space):
                continue
            for sites in (space.scales, space.zero_points):
                if len({self.terms.constant(site.constant) for site in sites}) > 1:
                    return False
        return True

    def _do_attributes_follow(self) -> bool:
        return all(self._attribute(node, each) for node, each in self.way.attributes)

    def _attribute(self, node: int, attribute: ir.Attribute) -> bool:
        written = self._written(node, attribute.name)
        if isinstance(attribute.value, ir.DtypeOf):
            named = self.row.values.get(attribute.value.name)
            return named is None or self._names_dtype(written, self.way.nodes[named])
        if isinstance(attribute.value, tuple):
            return False
        if isinstance(written, ir.DtypeOf):
            other = self.later.row.values.get(written.name)
            wanted = one_of(attribute.value)
            return other is not None and self._is_dtype(other, wanted)
        return self.later.holds(Atom(("attr", node, attribute.name), one_of(attribute.value)))

    def _written(self, node: int, name: str) -> ir.AttributeValue | None:
        call = self.later.row.nodes[node]
        assert isinstance(call, ir.Call)
        return next((each.value for each in call.attributes if each.name == name), None)

    def _names_dtype(self, written: ir.AttributeValue | None, tensor: int) -> bool:
        """Whether an attribute as the later row writes it is the dtype of a tensor."""
        if isinstance(written, ir.DtypeOf):
            other = self.later.row.values.get(written.name)
            return other is not None and self._are_equal("dtype", other, tensor)
        return isinstance(written, str) and self._is_dtype(tensor, one_of(written))

    # ---- ports ----
    def _port(self, port: ir.Port) -> bool:
        index = self.row.values.get(port.name)
        if index is None:
            return True
        place = self.way.nodes[index]
        return self._dtypes(port, place) and (port.shape is None or self._shape(port, place))

    def _dtypes(self, port: ir.Port, place: int) -> bool:
        if not port.dtypes and port.same_dtype_as is None:
            return True
        found = self.later.row.nodes[place]
        if isinstance(found, ir.Tuple):
            return all(self._dtype(port, each, port.dtypes) for each in found.elements)
        return self._dtype(port, place, port.dtypes)

    def _dtype(self, port: ir.Port, place: int, dtypes: tuple[str, ...]) -> bool:
        if dtypes and self._is_dtype(place, Allowed(frozenset(dtypes))):
            return True
        other = self.row.values.get(port.same_dtype_as or "")
        if other is None or isinstance(self.row.nodes[other], ir.Elements):
            return False
        return self._are_equal("dtype", place, self.way.nodes[other])

    def _is_dtype(self, node: int, wanted: Allowed) -> bool:
        return follows(self.later.allowed(("dtype", node)), wanted)

    def _are_equal(self, kind: str, first: int, second: int) -> bool:
        return first == second or self.later.are_equal((kind, first), (kind, second))

    def _shape(self, port: ir.Port, place: int) -> bool:
        if port.many or not self.later.is_tensor(place):
            return False
        assert port.shape is not None
        is_exact = "..." not in port.shape
        least = len(port.shape) - (not is_exact)
        wanted = one_of(least) if is_exact else Allowed(least=least)
        says_something = is_exact or least > 0
        if says_something and not follows(self.later.allowed(("rank", place)), wanted):
            return False
        return all(self._size(place, axis, size) for axis, size in sizes(port.shape))

    def _size(self, place: int, axis: int, size: int | str) -> bool:
        if isinstance(size, int):
            return self.later.holds(Atom(("dim", place, axis), one_of(size)))
        first = self.terms.term(ir.ReadLocal(size, ir.Kind.INT, self.pattern.span))
        if first == ("dim", place, axis) or first[0] != "dim":
            return first[0] == "dim"
        variables = [self._dimension(place, axis), self._dimension(*first[1:])]  # type: ignore[arg-type]
        here, there = variables
        return here is not None and there is not None and self.later.are_equal(here, there)

    def _dimension(self, node: int, axis: int) -> Variable | None:
        rank = self.later.rank(node) if axis < 0 else 0
        return None if rank is None else ("dim", node, axis + rank)

    # ---- what is calculated ----
    def _statements(self) -> Outcome:
        """Whether what the row calculates can refuse a match."""
        reasons: list[str] = []
        for statement in self.earlier.statements:
            for expression in _calculated(statement):
                if self.refusals.is_safe(expression) and self._is_taken(statement, expression):
                    continue
                found = list(causes(expression, self.terms))
                if not any(each.startswith("extern") for each in found):
                    return _MAYBE
                reasons += found
        return Outcome(Taking.OPEN, tuple(dict.fromkeys(reasons))) if reasons else _ALWAYS

    def _is_taken(self, statement: ir.Statement, expression: ir.Expression) -> bool:
        """Whether a statement takes any value that its expression may have."""
        if isinstance(statement, ir.Fill):
            is_slot = self.terms.term(expression)[0] in ("scale", "zero_point")
            is_value = is_slot or self.refusals.is_number(expression)
            return is_value and statement.slot in ("scale", "zero_point")
        return not isinstance(statement, ir.Param) or _is_plain_param(statement)


def _calculated(statement: ir.Statement) -> Iterator[ir.Expression]:
    """What a check calculates beside the conditions: a meaning is for the record only."""
    if not isinstance(statement, ir.Where | ir.Meaning):
        yield from expressions(statement)


def _is_plain_param(statement: ir.Param) -> bool:
    """Whether a param is taken as it is: a declared type may refuse it, and so may what makes whole
    numbers of a list that may be unset (`_settled` in qpat/targets/relay_records.py)."""
    if statement.type is not None or len(statement.names) > 1:
        return False
    value = statement.value
    is_list = isinstance(value, ir.ReadAttribute | ir.Sequence) or (
        isinstance(value, ir.Function) and value.name == "axes"
    )
    return is_list or value.kind is not ir.Kind.INTS
