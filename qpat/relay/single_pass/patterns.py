"""Patterns compiled to closures over numbers of nodes, with the meaning of TVM's matcher.

Its rules (src/relay/ir/dataflow_matcher.cc of TVM 0.16): a pattern object that is met twice must
match one node; the left side of an alternation is taken where it matches, and never left again;
`add` and `multiply` are tried with their arguments turned round; where the operator is not the
pattern's, (a * b) / c is taken for a * (b / c); nothing else is tried twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import tvm

from qpat.relay.single_pass.attributes import has
from qpat.relay.single_pass.forms import Callee, Form, read_form
from qpat.relay.single_pass.reading import Graph

# What patterns have matched so far, by their key: the number of a node, or an operator's name.
Captures = dict[int, Any]
Matcher = Callable[[Graph, int, Captures], bool]
CalleeMatcher = Callable[[str, Captures], bool]

_COMMUTATIVE = frozenset({"add", "multiply"})
_REGROUPED = frozenset({"multiply", "divide"})
# The key of a form that stands for no pattern object.
_NO_PATTERN = 0


@dataclass(frozen=True)
class Leaf:
    """A pattern whose match is an input. `embeds`: a constant stays inside all the same. `opens`:
    it takes any operands, and they are the inputs."""

    key: int
    embeds: bool
    opens: bool


@dataclass(frozen=True, eq=False)
class Compiled:
    """`match(graph, node, captures)` fills the captures where it returns True; `leaves` are in the
    order of a composite's parameters; `pattern` is kept alive, since keys are addresses."""

    pattern: Any
    match: Matcher
    leaves: tuple[Leaf, ...]


# Tables are made anew by each call of a `pattern_table()`; what is no longer used goes.
@lru_cache(maxsize=2048)
def compiled(pattern: Any) -> Compiled:
    """A DataflowPattern as a matcher. It must stay as it is: that a wildcard is redirected later is
    not seen. Raises Unsupported where it uses what is left to TVM."""
    form = read_form(pattern)
    forms = _post_order(form)
    leaves = tuple(
        [
            Leaf(each.key, _embeds(each), each.inputs is None)
            for each in forms
            if each.is_leaf or each.inputs is None
        ]
    )
    return Compiled(pattern, _Compiler(_met_twice(forms)).matcher(form), leaves)


def _post_order(root: Form) -> list[Form]:
    found: dict[int, Form] = {}

    def visit(form: Form) -> None:
        if form.key in found:
            return
        for each in form.inputs or ():
            visit(each)
        found[form.key] = form

    visit(root)
    return list(found.values())


def _embeds(form: Form) -> bool:
    return form.kind == "Constant" or form.kind == "Expr"


def _met_twice(forms: list[Form]) -> set[int]:
    """The keys of the patterns that may be met more than once in a match."""
    counts: Counter[int] = Counter()
    calls: set[str] = set()
    callees: dict[int, Callee] = {}
    for form in forms:
        counts.update(each.key for each in form.inputs or ())
        if form.callee is not None:
            counts[form.callee.key] += 1
            callees[form.callee.key] = form.callee
            calls |= form.callee.names
    stack = list(callees.values())
    while stack:
        for side in stack.pop().sides:
            counts[side.key] += 1
            if side.key not in callees:
                callees[side.key] = side
                stack.append(side)
    # Regrouping passes a pattern by and goes to those below it, which can so be met once more.
    least = 1 if calls >= _REGROUPED else 2
    return {key for key, count in counts.items() if count >= least}


def _undo(captures: Captures, mark: int) -> None:
    """Forgets what was captured since there were so many."""
    while len(captures) > mark:
        captures.popitem()


@dataclass(eq=False)
class _Compiler:
    met_twice: set[int]

    def __post_init__(self) -> None:
        self._matchers: dict[int, Matcher] = {}

    def matcher(self, form: Form) -> Matcher:
        if form.key == _NO_PATTERN:
            return self._Call(form)
        known = self._matchers.get(form.key)
        if known is None:
            bare: Matcher = getattr(self, f"_{form.kind}")(form)
            known = self._matchers[form.key] = self._capturing(form, bare)
        return known

    def _capturing(self, form: Form, bare: Matcher) -> Matcher:
        key = form.key
        if key in self.met_twice:

            def once(graph: Graph, node: int, captures: Captures) -> bool:
                known = captures.get(key)
                if known is not None:
                    return bool(known == node)
                if bare(graph, node, captures):
                    captures[key] = node
                    return True
                return False

            return once
        if form.is_leaf or form.inputs is None:

            def leaf(graph: Graph, node: int, captures: Captures) -> bool:
                if bare(graph, node, captures):
                    captures[key] = node
                    return True
                return False

            return leaf
        return bare

    # ---- leaves ----------------------------------------------------------------------------------

    def _Wildcard(self, form: Form) -> Matcher:
        return lambda graph, node, captures: True

    def _Constant(self, form: Form) -> Matcher:
        return lambda graph, node, captures: graph.kinds[node] == "Constant"

    def _Var(self, form: Form) -> Matcher:
        name = form.value

        def match(graph: Graph, node: int, captures: Captures) -> bool:
            if graph.kinds[node] != "Var":
                return False
            return not name or str(graph.exprs[node].name_hint) == name

        return match

    def _Expr(self, form: Form) -> Matcher:
        expr = form.value

        def match(graph: Graph, node: int, captures: Captures) -> bool:
            if graph.kinds[node] != "Constant":
                return False
            return bool(tvm.ir.structural_equal(expr, graph.exprs[node]))

        return match

    # ---- what wraps one pattern ------------------------------------------------------------------

    def _Type(self, form: Form) -> Matcher:
        inner, wanted = self._inner(form), form.value

        def match(graph: Graph, node: int, captures: Captures) -> bool:
            found = graph.type_of(node)
            return tvm.ir.structural_equal(wanted, found) and inner(graph, node, captures)

        return match

    def _Shape(self, form: Form) -> Matcher:
        inner, wanted = self._inner(form), form.value

        def match(graph: Graph, node: int, captures: Captures) -> bool:
            found = graph.type_of(node)
            if not isinstance(found, tvm.ir.TensorType):
                return False
            return tvm.ir.structural_equal(wanted, found.shape) and inner(graph, node, captures)

        return match

    def _DataType(self, form: Form) -> Matcher:
        inner, wanted = self._inner(form), str(form.value)

        def match(graph: Graph, node: int, captures: Captures) -> bool:
            found = graph.type_of(node)
            if not isinstance(found, tvm.ir.TensorType):
                return False
            return str(found.dtype) == wanted and inner(graph, node, captures)

        return match

    def _Attr(self, form: Form) -> Matcher:
        inner, wanted = self._inner(form), form.value

        def match(graph: Graph, node: int, captures: Captures) -> bool:
            if graph.kinds[node] != "Call" or not inner(graph, node, captures):
                return False
            return all(has(graph, node, attribute) for attribute in wanted)

        return match

    def _inner(self, form: Form) -> Matcher:
        assert form.inputs is not None
        [inner] = form.inputs
        return self.matcher(inner)

    # ---- what has several ------------------------------------------------------------------------

    def _Alt(self, form: Form) -> Matcher:
        assert form.inputs is not None
        left, right = map(self.matcher, form.inputs)

        def match(graph: Graph, node: int, captures: Captures) -> bool:
            mark = len(captures)
            if left(graph, node, captures):
                return True
            _undo(captures, mark)
            return right(graph, node, captures)

        return match

    def _Tuple(self, form: Form) -> Matcher:
        inputs = form.inputs
        matchers = None if inputs is None else [self.matcher(each) for each in inputs]

        def match(graph: Graph, node: int, captures: Captures) -> bool:
            if graph.kinds[node] != "Tuple":
                return False
            return matchers is None or _all(matchers, graph, graph.children[node], captures)

        return match

    def _TupleGetItem(self, form: Form) -> Matcher:
        inner, index = self._inner(form), form.value

        def match(graph: Graph, node: int, captures: Captures) -> bool:
            if graph.kinds[node] != "TupleGetItem":
                return False
            if index not in (-1, graph.exprs[node].index):
                return False
            return inner(graph, graph.children[node][0], captures)

        return match

    def _Call(self, form: Form) -> Matcher:
        assert form.callee is not None
        callee = self._callee(form.callee)
        regroup = self._regroup(form)
        inputs = form.inputs
        matchers = None if inputs is None else [self.matcher(each) for each in inputs]
        turned = None if matchers is None else matchers[::-1]
        if form.calls not in _COMMUTATIVE:
            turned = None

        def match(graph: Graph, node: int, captures: Captures) -> bool:
            operator = graph.operators[node]
            if operator is None:
                return False
            if not callee(operator, captures):
                return regroup is not None and regroup(graph, node, captures)
            if matchers is None:
                return True
            children = graph.children[node]
            mark = len(captures)
            if _all(matchers, graph, children, captures):
                return True
            if turned is None:
                return False
            _undo(captures, mark)
            return _all(turned, graph, children, captures)

        return match

    def _callee(self, callee: Callee) -> CalleeMatcher:
        key, names = callee.key, callee.names
        below = [callee]
        for each in below:
            below.extend(each.sides)
        # One name is one operator, however often it is met.
        if not any(each.key in self.met_twice and len(each.names) > 1 for each in below):
            return lambda operator, captures: operator in names
        sides = [self._callee(side) for side in callee.sides]

        def match(operator: str, captures: Captures) -> bool:
            known = captures.get(key)
            if known is not None:
                return bool(known == operator)
            if operator not in names:
                return False
            mark = len(captures)
            if sides and not sides[0](operator, captures):
                _undo(captures, mark)
                if not sides[1](operator, captures):
                    return False
            captures[key] = operator
            return True

        return match

    # ---- (a * b) / c and a * (b / c) -------------------------------------------------------------

    def _regroup(self, form: Form) -> Matcher | None:
        """Tries a call of a `divide` or `multiply` as one of the other. The forms that this makes
        are no one's patterns: what they match is not captured."""
        if form.calls == "divide":
            return self._as_multiply(form)
        return self._as_divide(form) if form.calls == "multiply" else None

    def _as_multiply(self, form: Form) -> Matcher | None:
        if not form.inputs or form.inputs[0].calls != "multiply":
            return None
        product, divisor = form.inputs[:2]
        factors = product.inputs
        if factors is None or len(factors) != 2:
            return None
        forms: list[Form] = []
        for at in range(2):
            quotient = Form(_NO_PATTERN, "Call", (factors[at], divisor), form.callee)
            forms.append(Form(_NO_PATTERN, "Call", (factors[1 - at], quotient), product.callee))
        return self._tried(forms, "multiply", "divide")

    def _as_divide(self, form: Form) -> Matcher | None:
        for at, quotient in enumerate((form.inputs or ())[:2]):
            if quotient.calls != "divide":
                continue
            if form.inputs is None or quotient.inputs is None or len(quotient.inputs) != 2:
                return None
            other = form.inputs[1 - at]
            product = Form(_NO_PATTERN, "Call", (quotient.inputs[0], other), form.callee)
            regrouped = Form(_NO_PATTERN, "Call", (product, quotient.inputs[1]), quotient.callee)
            return self._tried([regrouped], "divide", "multiply")
        return None

    def _tried(self, forms: list[Form], operator: str, below: str) -> Matcher:
        """The first of the forms that matches a call of `operator` with one of `below` in it."""
        matchers: list[Matcher] = []

        def match(graph: Graph, node: int, captures: Captures) -> bool:
            if graph.operators[node] != operator:
                return False
            if all(graph.operators[child] != below for child in graph.children[node][:2]):
                return False
            if not matchers:
                # Not before: a form that this makes can be regrouped as well, without an end.
                matchers.extend(self._Call(each) for each in forms)
            mark = len(captures)
            for each in matchers:
                if each(graph, node, captures):
                    return True
                _undo(captures, mark)
            return False

        return match


def _all(matchers: list[Matcher], graph: Graph, nodes: tuple[int, ...], captures: Captures) -> bool:
    if len(matchers) != len(nodes):
        return False
    for matcher, node in zip(matchers, nodes, strict=True):
        if not matcher(graph, node, captures):
            return False
    return True
