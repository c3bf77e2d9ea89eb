"""What is known of every graph that a row matches: what its conditions say, its attributes, its
dtypes, ranks and sizes; and whether something follows from that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from qpat.analysis.atoms import Atom, atom_of, element_values
from qpat.analysis.terms import (
    EqualConstants,
    Term,
    Terms,
    conjuncts,
    folding_of,
    node_of,
    statements_of,
)
from qpat.ops.table import operator
from qpat.semantics import ir
from qpat.semantics.constraints import Allowed, Constraints, Variable, impossible, one_of
from qpat.semantics.contradictions import row_constraints
from qpat.semantics.ordering import expressions
from qpat.semantics.walk import below, children

# What the semantic layer keeps facts of.
_FACTS = ("dtype", "rank", "dim")


class Knowledge:
    """What is known of one row. What takes long is looked for when it is first asked for."""

    def __init__(self, pattern: ir.Pattern, row: ir.Row) -> None:
        self.pattern = pattern
        self.row = row
        self.folding = folding_of(pattern, row)
        self.equal = EqualConstants(row)
        self.terms = Terms.of(pattern, row, self.folding, self.equal)
        self.statements = statements_of(pattern, row)
        self._conditions: list[ir.Expression] | None = None
        self._said: dict[Term, list[Allowed]] | None = None
        self._true: set[Term] = set()
        self._evaluated: set[Term] | None = None
        self._constraints: Constraints | None = None
        self._allowed: dict[Variable, list[Allowed]] = {}
        self.is_dead = False
        """Whether no graph matches the row anyway; known once facts have been asked for."""

    # ---- what the conditions say ----
    @property
    def conditions(self) -> list[ir.Expression]:
        """What must hold, taken apart."""
        if self._conditions is None:
            self._conditions = [
                each
                for where in self.statements
                if isinstance(where, ir.Where)
                for each in conjuncts(where.condition, self.folding)
            ]
        return self._conditions

    @property
    def said(self) -> Mapping[Term, list[Allowed]]:
        """What conditions allow of each term."""
        return self._read()

    def _read(self) -> dict[Term, list[Allowed]]:
        if self._said is None:
            self._said = {}
            for each in self.conditions:
                self._true.add(self.terms.term(each))
                atom = atom_of(each, self.terms)
                if atom is not None:
                    self._said.setdefault(atom.term, []).append(atom.allowed)
        return self._said

    def is_true(self, condition: Term) -> bool:
        """Whether a condition of the row says just this."""
        self._read()
        return condition in self._true

    def evaluates(self, term: Term) -> bool:
        """Whether the row calculates this anyway, so that doing it again goes no worse."""
        if self._evaluated is None:
            self._evaluated = set()
            for statement in self.statements:
                if not isinstance(statement, ir.Meaning):
                    for expression in expressions(statement):
                        self._evaluate(expression)
        return term in self._evaluated

    def _evaluate(self, expression: ir.Expression) -> None:
        """Takes an expression and what is certainly calculated for it."""
        assert self._evaluated is not None
        node = self.folding.resolved(expression)
        self._evaluated.add(self.terms.term(node))
        parts = list(children(node))
        if isinstance(node, ir.Conditional):
            parts = [node.condition]
        elif isinstance(node, ir.Operation) and node.operator in ("and", "or", "=>"):
            parts = parts[:1]
        elif isinstance(node, ir.Operation) and node.operator == "??":
            parts = []
        for part in parts:
            if part is not None:
                self._evaluate(part)

    # ---- what follows ----
    def holds(self, atom: Atom) -> bool:
        """Whether what an atom says is so in every graph that the row matches."""
        known = [*self.said.get(atom.term, ()), *self._structural(atom.term)]
        if follows(known, atom.allowed, atom.is_one):
            return True
        return self._is_fact(atom) and follows(self._facts(atom.term), atom.allowed, atom.is_one)

    def excludes(self, atom: Atom) -> bool:
        """Whether what an atom says is so in no graph that the row matches, as far as its own
        conditions and attributes say."""
        known = [*self.said.get(atom.term, ()), *self._structural(atom.term)]
        return bool(known) and impossible([*known, atom.allowed])

    def _structural(self, term: Term) -> list[Allowed]:
        """What a call's own attributes, as the pattern writes them, say of an attribute."""
        if term[0] != "attr":
            return []
        value = self.written(term)
        if value is None or isinstance(value, ir.DtypeOf):
            return []
        values = element_values(value)
        return [Allowed(frozenset(values))] if values else []

    def written(self, term: Term) -> ir.AttributeValue | None:
        """The value that the pattern writes for the attribute that a term is."""
        node = self.row.nodes[node_of(term)]
        if not isinstance(node, ir.Call) or term[1] in self.row.swaps:
            return None  # where operands change places, so do some attributes
        for attribute in node.attributes:
            if attribute.name == term[2]:
                return attribute.value
        return None

    def _is_fact(self, atom: Atom) -> bool:
        """Whether facts may say so. Sizes come from few places, and finding them takes long."""
        if atom.term[0] not in _FACTS or (atom.term[0] == "dtype" and atom.term[2]):
            return False
        if atom.term[0] != "dim":
            return True
        declared = [one_of(s) for p in self.pattern.ports for s in p.shape or () if type(s) is int]
        said = [each for term, known in self.said.items() if term[0] == "dim" for each in known]
        return any(follows([each], atom.allowed) for each in (*declared, *said))

    def _facts(self, term: Term) -> list[Allowed]:
        variable: Variable = term[:2]  # type: ignore[assignment]
        if term[0] == "dim":
            axis: int = term[2]  # type: ignore[assignment]
            rank = self.rank(term[1]) if axis < 0 else 0  # type: ignore[arg-type]
            if rank is None:
                return []
            variable = ("dim", term[1], axis + rank)  # type: ignore[assignment]
        return self.allowed(variable)

    def rank(self, node: int) -> int | None:
        """How many dimensions a node has, where that is known."""
        values = [each.values for each in self.allowed(("rank", node)) if each.values is not None]
        known = frozenset.intersection(*values) if values else frozenset()
        only = next(iter(known)) if len(known) == 1 else None
        return only if isinstance(only, int) else None

    def allowed(self, variable: Variable) -> list[Allowed]:
        """What facts allow of a variable."""
        constraints = self.constraints
        if not self._allowed:
            for fact in constraints.facts:
                root, offset = constraints.root(fact.variable)
                self._allowed.setdefault(root, []).append(fact.allowed.shifted(-offset))
        root, offset = constraints.root(variable)
        return [each.shifted(offset) for each in self._allowed.get(root, ())]

    def are_equal(self, first: Variable, second: Variable) -> bool:
        return self.constraints.root(first) == self.constraints.root(second)

    @property
    def constraints(self) -> Constraints:
        if self._constraints is None:
            calls = frozenset(name for each in self.pattern.rows for name in each.calls)
            pattern = self.pattern
            found, refusal = row_constraints(self.row, pattern.ports, pattern.statements, calls)
            self._constraints = found
            self.is_dead = refusal is not None or bool(found.conflicts())
        return self._constraints

    # ---- what is a tensor ----
    def is_tensor(self, node: int) -> bool:
        """Whether a node is one tensor, and no tuple of them."""
        found = self.row.nodes[node]
        if not isinstance(found, ir.Input | ir.Literal | ir.SlotConstant | ir.Call):
            return False
        ports = [p for p in self.pattern.ports if self.row.values.get(p.name) == node]
        if any(port.dtypes for port in ports):
            return not any(port.many for port in ports)
        return isinstance(found, ir.Literal | ir.SlotConstant) or any(
            self._takes_tensor(each, node) for each in self.row.nodes
        )

    def _takes_tensor(self, user: ir.Node, node: int) -> bool:
        signature = operator(user.operator) if isinstance(user, ir.Call) else None
        if signature is None or node not in below(user):
            return False
        assert isinstance(user, ir.Call)
        position = user.operands.index(node)
        return position < len(signature.operands) and not signature.operands[position].is_tuple


def follows(known: Iterable[Allowed], wanted: Allowed, is_one: bool = False) -> bool:
    """Whether a value that is in all of `known` is in `wanted`; with `is_one` also only one value
    can be, so that the elements of a list are equal."""
    every = list(known)
    sets = [each.values for each in every if each.values is not None]
    if sets:
        smallest = min(sets, key=len)
        left = [value for value in smallest if all(each.has(value) for each in every)]
        is_few = len(left) == 1 or not is_one
        return bool(left) and is_few and all(wanted.has(value) for value in left)
    if is_one or wanted.values is not None:
        return False
    return _is_within(every, wanted) and all(
        any(not each.has(value) for each in every) for value in wanted.excluded
    )


def _is_within(every: list[Allowed], wanted: Allowed) -> bool:
    """Whether ranges lie in a range."""
    lows = [(each.least, "least" in each.open) for each in every if each.least is not None]
    tops = [(-each.most, "most" in each.open) for each in every if each.most is not None]
    least = None if wanted.least is None else (wanted.least, "least" in wanted.open)
    most = None if wanted.most is None else (-wanted.most, "most" in wanted.open)
    return (least is None or (bool(lows) and max(lows) >= least)) and (
        most is None or (bool(tops) and max(tops) >= most)
    )
