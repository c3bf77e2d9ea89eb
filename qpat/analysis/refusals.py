"""Whether calculating an expression can refuse a match: any exception in a check does.

Only what certainly goes well counts as such. `numbers` wants to be calculated with numbers, so what
may be none, text or a list of unknown length is not taken for safe there.
"""

from __future__ import annotations

from collections.abc import Iterator

from qpat.analysis.knowledge import Knowledge
from qpat.analysis.terms import Terms
from qpat.semantics import ir
from qpat.semantics.walk import walk

_NUMBERS = (ir.Kind.BOOL, ir.Kind.INT, ir.Kind.FLOAT)
_NUMERIC_TYPES = frozenset(["int", "float", "bool"])
_COMPARISONS = ("==", "!=", "<", "<=", ">", ">=")
# A name that is left stands for a `let` or a size that is there by then.
_ALWAYS_THERE = (
    ir.Number,
    ir.ReadLocal,
    ir.ReadOption,
    ir.ReadTarget,
    ir.ReadValue,
    ir.IsPresent,
)
_SAFE_FUNCTIONS = ("abs", "min", "max", "round", "floor", "ceil")


class Refusals:
    """Looks at expressions of a row that lies in another one, of which `knowledge` is."""

    def __init__(self, terms: Terms, knowledge: Knowledge) -> None:
        self.terms = terms
        self.knowledge = knowledge

    def is_safe(  # noqa: C901 - one case for each kind of node
        self, expression: ir.Expression
    ) -> bool:
        """Whether an expression has a value in every graph that the outer row matches."""
        node = self.terms.folding.resolved(expression)
        if isinstance(node, _ALWAYS_THERE) or self._is_known(node):
            return True
        match node:
            case ir.ReadMember():
                return self._member(node)
            case ir.ReadAttribute():
                return self._type(node) is not None
            case ir.Operation():
                return self._operation(node)
            case ir.Contained():
                container = node.container
                if isinstance(container, tuple):
                    return all(map(self.is_number, (node.value, *container)))
                return self.is_safe(node.value) and self.is_safe(container)
            case ir.Conditional():
                return all(map(self.is_safe, (node.condition, node.then, node.otherwise)))
            case ir.Sequence():
                return all(map(self.is_safe, node.elements))
            case ir.Function():
                return self._function(node)
            case ir.Subscript():
                return self._subscript(node)
        return False

    def is_number(self, expression: ir.Expression) -> bool:
        """Whether it has one, and it is a single number."""
        node = self.terms.folding.resolved(expression)
        if isinstance(node, ir.Number):
            return isinstance(node.value, int | float)
        if isinstance(node, ir.ReadAttribute):
            return self._type(node) in _NUMERIC_TYPES
        is_one = node.kind in _NUMBERS and isinstance(node, ir.Operation | ir.Function)
        return is_one and self.is_safe(node)

    def _is_known(self, node: ir.Expression) -> bool:
        return self.knowledge.evaluates(self.terms.term(node))

    def _type(self, node: ir.ReadAttribute) -> str | None:
        term = self.terms.term(node)
        return self.terms.attribute_type(term) if term[0] == "attr" else None

    def _member(self, node: ir.ReadMember) -> bool:
        index = self.terms.row.values.get(node.name)
        if index is None or node.many:
            return False
        if node.member in ("dtype", "shape"):
            return self.knowledge.is_tensor(self.terms.place(index))
        if node.member == "value":
            return self.terms.term(node)[0] == "constant"
        return node.member in ("scale", "zero_point", "qparams") and len(self.terms.term(node)) > 1

    def _operation(self, node: ir.Operation) -> bool:
        if node.operator in ("and", "or", "not", "=>"):
            return all(each.kind is ir.Kind.BOOL and self.is_safe(each) for each in node.operands)
        if node.operator in ("==", "!="):
            return all(map(self._is_comparable, node.operands))
        if node.operator in _COMPARISONS or node.operator in ("+", "-", "*", "minus"):
            return all(map(self.is_number, node.operands))
        if node.operator in ("/", "%"):
            divisor = self.terms.folding.value(node.operands[1])
            is_zero = not isinstance(divisor, int | float) or divisor == 0
            return not is_zero and self.is_number(node.operands[0])
        return False

    def _is_comparable(self, expression: ir.Expression) -> bool:
        """Numbers, texts and dtypes are compared with anything of their kind."""
        node = self.terms.folding.resolved(expression)
        is_plain = isinstance(node, ir.Number | ir.ReadAttribute)
        is_dtype = isinstance(node, ir.ReadMember) and node.member == "dtype"
        return (is_plain or is_dtype or self.is_number(node)) and self.is_safe(node)

    def _function(self, node: ir.Function) -> bool:
        if node.name in ("rank", "axes"):
            first = node.arguments[0]
            if not isinstance(first, ir.ReadValue):
                return False
            holder = self.terms.row.calls if first.is_call else self.terms.row.values
            index = holder.get(first.name)
            return index is not None and self.knowledge.is_tensor(self.terms.place(index))
        if node.name == "swapped":
            return True
        return node.name in _SAFE_FUNCTIONS and all(map(self.is_number, node.arguments))

    def _subscript(self, node: ir.Subscript) -> bool:
        """An element that is there: of a shape of known rank."""
        term = self.terms.term(node)
        if term[0] != "dim":
            return False
        rank = self.knowledge.rank(term[1])  # type: ignore[arg-type]
        axis: int = term[2]  # type: ignore[assignment]
        return rank is not None and -rank <= axis < rank


def causes(expression: ir.Expression, terms: Terms) -> Iterator[str]:
    """What an expression depends on that is not in the file: externs, options, the target."""
    for node in walk(expression):
        if isinstance(node, ir.ExternCall):
            yield f"extern `{node.name}`"
        elif isinstance(node, ir.ReadOption):
            yield f"option `{node.name}`"
        elif isinstance(node, ir.ReadTarget):
            yield f"`target.{node.fact}`"
        elif isinstance(node, ir.ReadLocal) and node.name in terms.folding.locals:
            yield from causes(terms.folding.locals[node.name], terms)
