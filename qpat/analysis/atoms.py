"""Conditions that say of one term which values it may have."""

from __future__ import annotations

from collections.abc import Iterator

from qpat.analysis.terms import Term, Terms
from qpat.records import dataclass
from qpat.semantics import ir
from qpat.semantics.conditions import FLIPPED, compared, is_scalar
from qpat.semantics.constraints import Allowed, Scalar, one_of


@dataclass(frozen=True)
class Atom:
    """What a condition allows of a term, no more and no less: of a list or an array each element.
    `is_one`: and all elements must be equal, too."""

    term: Term
    allowed: Allowed
    is_one: bool = False


def atom_of(condition: ir.Expression, terms: Terms) -> Atom | None:
    """A condition as an atom; None where it is not of that kind."""
    node = terms.folding.resolved(condition)
    match node:
        case ir.Operation(operator="not"):
            return _truth(terms.folding.resolved(node.operands[0]), terms, False)
        case ir.Operation() if node.operator in FLIPPED:
            return _comparison(node, terms)
        case ir.Contained():
            return _contained(node, terms)
    return _truth(node, terms, True)


def _truth(node: ir.Expression, terms: Terms, wanted: bool) -> Atom | None:
    is_flag = isinstance(node, ir.ReadAttribute) and node.kind is ir.Kind.BOOL
    return Atom(terms.term(node), one_of(wanted)) if is_flag else None


def _comparison(node: ir.Operation, terms: Terms) -> Atom | None:
    left, right = (terms.folding.value(each) for each in node.operands)
    relation, value, other = node.operator, right, node.operands[0]
    if not is_scalar(value):
        relation, value, other = FLIPPED[relation], left, node.operands[1]
    if not is_scalar(value):
        return None
    if relation not in ("==", "!=") and not _is_number(value):
        return None
    return Atom(terms.term(other), compared(relation, value))


def _contained(node: ir.Contained, terms: Terms) -> Atom | None:
    term = terms.term(node.value)
    if isinstance(node.container, tuple):
        first, last = (terms.folding.value(end) for end in node.container)
        if node.negated or not _is_number(first) or not _is_number(last):
            return None
        return Atom(term, Allowed(least=first, most=last))  # type: ignore[arg-type]
    container = terms.folding.resolved(node.container)
    if not isinstance(container, ir.Sequence):
        return None
    values = [terms.folding.value(element) for element in container.elements]
    if not all(map(is_scalar, values)):
        return None
    scalars: frozenset[Scalar] = frozenset(values)  # type: ignore[arg-type]
    is_one_value = terms.is_scalar(term)
    if node.negated:
        return Atom(term, Allowed(excluded=scalars)) if is_one_value else None
    return Atom(term, Allowed(scalars), is_one=not is_one_value)


def element_values(value: ir.AttributeValue) -> list[Scalar]:
    """The elements of a written attribute, those of lists in lists too."""
    return list(_elements(value))


def _elements(value: ir.AttributeValue) -> Iterator[Scalar]:
    if isinstance(value, tuple):
        for each in value:
            yield from _elements(each)
    elif not isinstance(value, ir.DtypeOf):
        yield value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)
