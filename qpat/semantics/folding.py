"""Expressions whose value does not depend on a graph: literals, and what is known in a row."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping

from qpat.records import dataclass, field
from qpat.semantics import ir

# Beyond this a float64 no longer holds every whole number, and Python and NumPy may differ.
_LARGEST = 2**53

_ARITHMETIC: Mapping[str, Callable[[int | float, int | float], int | float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "%": operator.mod,
}
_ORDER: Mapping[str, Callable[[int | float, int | float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class Unknown:
    """The value of an expression that only a graph can tell."""


UNKNOWN = Unknown()


@dataclass(frozen=True)
class Folding:
    """Computes what can be computed. With `row` also what that row decides: presence and `form`.

    `locals` are the values of `let` and `param`; `calls` all names of calls in any row.
    """

    row: ir.Row | None = None
    calls: frozenset[str] = frozenset()
    locals: Mapping[str, ir.Expression] = field(default_factory=dict)

    def resolved(self, expression: ir.Expression) -> ir.Expression:
        """The expression that stands behind names, conditionals and defaults, as far as known."""
        while True:
            inner = self._inner(expression)
            if inner is None:
                return expression
            expression = inner

    def _inner(self, node: ir.Expression) -> ir.Expression | None:
        if isinstance(node, ir.ReadLocal):
            return self.locals.get(node.name)
        if isinstance(node, ir.Conditional):
            condition = self.value(node.condition)
            if isinstance(condition, bool):
                return node.then if condition else node.otherwise
        if isinstance(node, ir.Operation) and node.operator == "??":
            present = [self._has(name) for name in node.needs]
            if False in present:
                return node.operands[1]
            if None not in present:
                return node.operands[0]
        return None

    def _has(self, name: str) -> bool | None:
        if self.row is None:
            return None
        if name.endswith(".value"):
            return None if self._has(name.removesuffix(".value")) else False
        if "." in name:
            return None  # a fact of the target
        return name in (self.row.calls if name in self.calls else self.row.values)

    def value(self, expression: ir.Expression) -> object:
        """The value of an expression, or UNKNOWN."""
        node = self.resolved(expression)
        match node:
            case ir.Number():
                return _checked(node.value)
            case ir.IsPresent():
                name = node.name if node.member is None else f"{node.name}.{node.member}"
                present = self._has(name)
                return UNKNOWN if present is None else present
            case ir.ReadLocal(name="form") if self.row is not None:
                return self.row.form
            case ir.Operation():
                return self._operation(node)
            case ir.Contained():
                return self._contained(node)
            case ir.Sequence(bracket="("):
                values = tuple(self.value(element) for element in node.elements)
                return UNKNOWN if UNKNOWN in values else values
        return UNKNOWN

    def _operation(self, node: ir.Operation) -> object:
        values = [self.value(operand) for operand in node.operands]
        if node.operator in ("and", "or", "not", "=>"):
            return _logic(node.operator, values)
        if UNKNOWN in values:
            return UNKNOWN
        if node.operator == "minus":
            return _checked(-values[0]) if _is_number(values[0]) else UNKNOWN  # type: ignore[operator]
        first, second = values
        if isinstance(first, tuple) or isinstance(second, tuple):
            return UNKNOWN
        if node.operator in ("==", "!="):
            return (first == second) is (node.operator == "==")
        if not (_is_number(first) and _is_number(second)):
            return UNKNOWN
        if node.operator in _ORDER:
            return _ORDER[node.operator](first, second)  # type: ignore[arg-type]
        return _calculated(node.operator, first, second)  # type: ignore[arg-type]

    def _contained(self, node: ir.Contained) -> object:
        value = self.value(node.value)
        if isinstance(node.container, tuple):
            ends = [self.value(end) for end in node.container]
            if not all(_is_number(each) for each in (value, *ends)):
                return UNKNOWN
            found = ends[0] <= value <= ends[1]  # type: ignore[operator]
            return found is not node.negated
        container = self.resolved(node.container)
        if value is UNKNOWN or not isinstance(container, ir.Sequence):
            return UNKNOWN
        elements = [self.value(element) for element in container.elements]
        if value in elements:
            return not node.negated
        return UNKNOWN if UNKNOWN in elements else node.negated


def _checked(value: object) -> object:
    is_large = isinstance(value, int | float) and not abs(value) <= _LARGEST
    return UNKNOWN if is_large else value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)


def _calculated(name: str, first: int | float, second: int | float) -> object:
    if name not in _ARITHMETIC or (name in "/%" and second == 0):
        return UNKNOWN
    return _checked(_ARITHMETIC[name](first, second))


def _logic(name: str, values: Iterable[object]) -> object:
    """The truth of what is known, where the rest does not matter."""
    first, *rest = values
    if name == "not":
        return not first if isinstance(first, bool) else UNKNOWN
    if name == "=>":
        first = not first if isinstance(first, bool) else first
    decides = name != "and"
    truths = [first, *rest]
    if any(truth is decides for truth in truths):
        return decides
    return UNKNOWN if any(not isinstance(truth, bool) for truth in truths) else not decides
