"""Two rows of one structure that both take some graphs, so that only their order decides.

Said only where it is certain: all that the two ask for are ranges and sets of attributes, dtypes
and ranks, and these meet.
"""

from __future__ import annotations

from qpat.analysis.atoms import atom_of
from qpat.analysis.beating import Taking, outcome
from qpat.analysis.embedding import Embedding, embeddings
from qpat.analysis.knowledge import Knowledge
from qpat.analysis.refusals import Refusals
from qpat.semantics import ir
from qpat.semantics.constraints import Allowed, impossible
from qpat.semantics.ordering import expressions

_DECIDABLE = ("attr", "dtype", "rank")


def overlaps(earlier: Knowledge, later: Knowledge) -> bool:
    """Whether two rows take graphs in common for certain, and neither takes all of the other's."""
    first, second = earlier.row, later.row
    if first.call_count != second.call_count or not _are_alike(first, second):
        return False
    if not (_is_plain(earlier) and _is_plain(later)):
        return False
    way = embeddings(first, second, second.root).certain[0]
    if not _meet(earlier, later, way):
        return False
    outcomes = outcome(earlier, later, second.root), outcome(later, earlier, first.root)
    is_either_special = any(each.taking is not Taking.MAYBE for each in outcomes)
    return not is_either_special and not earlier.is_dead and not later.is_dead


def _are_alike(first: ir.Row, second: ir.Row) -> bool:
    """Whether each row lies in the other, with nothing left to ask of attributes."""
    ways = embeddings(first, second, second.root), embeddings(second, first, first.root)
    return all(each.certain and not each.certain[0].attributes for each in ways)


def _is_plain(known: Knowledge) -> bool:
    """Whether a row asks for nothing but what can be decided, and calculates nothing that may
    refuse."""
    if any(port.shape is not None or port.many for port in known.pattern.ports):
        return False
    refusals = Refusals(known.terms, known)
    for each in known.conditions:
        atom = atom_of(each, known.terms)
        if atom is None or atom.term[0] not in _DECIDABLE:
            return False
    return all(
        refusals.is_safe(expression)
        for statement in known.statements
        if not isinstance(statement, ir.Where | ir.Meaning)
        for expression in expressions(statement)
    )


def _meet(earlier: Knowledge, later: Knowledge, way: Embedding) -> bool:
    """Whether what the two allow of each thing has a value in common."""
    terms = earlier.terms.seen_in(later.row, way.nodes, later.equal)
    for each in earlier.conditions:
        atom = atom_of(each, terms)
        if atom is None or later.excludes(atom):
            return False
    for port in earlier.pattern.ports:
        index = earlier.row.values.get(port.name)
        if index is None or not port.dtypes:
            continue
        theirs = later.allowed(("dtype", way.nodes[index]))
        if impossible([*theirs, Allowed(frozenset(port.dtypes))]):
            return False
    return True
