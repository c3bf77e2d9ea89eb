"""Small patterns and all small graphs, and a matcher for them that shares nothing with qpat.

A graph is a straight line of calls on leaves: a variable `x`, constants of value 1 and 2. All of it
has one dtype. What no call uses is an output. A pattern is a tree; the same tree gives its text and
what the matcher looks for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, TypeAlias

from hypothesis import strategies as st

# ---- graphs ------------------------------------------------------------------------------------

LEAVES = ("x", 1, 2)
LIMITS = (6, 7)  # of clip
MOST_CALLS = 3
# The last one is declared by no pattern.
DTYPES = ("float32", "int8", "float16")


@dataclass(frozen=True)
class GraphCall:
    """`operands` are numbers of nodes: leaves first, then the calls."""

    operator: str
    operands: tuple[int, ...]
    limit: int | None = None


@dataclass(frozen=True)
class Graph:
    calls: tuple[GraphCall, ...]

    def call(self, node: int) -> GraphCall | None:
        return self.calls[node - len(LEAVES)] if node >= len(LEAVES) else None

    @property
    def nodes(self) -> range:
        return range(len(LEAVES) + len(self.calls))

    def users(self, node: int) -> set[int]:
        first = len(LEAVES)
        return {first + n for n, call in enumerate(self.calls) if node in call.operands}

    def below(self, node: int) -> set[int]:
        call = self.call(node)
        found = {node}
        for operand in call.operands if call is not None else ():
            found |= self.below(operand)
        return found


def _choices(known: int) -> list[GraphCall]:
    nodes = range(known)
    unary = [GraphCall("nn.relu", (n,)) for n in nodes]
    clips = [GraphCall("clip", (n,), limit) for n in nodes for limit in LIMITS]
    binary = [GraphCall("add", pair) for pair in product(nodes, nodes)]
    return [*unary, *clips, *binary]


def all_graphs(most: int = MOST_CALLS) -> list[Graph]:
    """Every graph of up to so many calls."""
    first = len(LEAVES)
    return [
        Graph(calls)
        for count in range(1, most + 1)
        for calls in product(*(_choices(first + number) for number in range(count)))
    ]


# ---- patterns -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Leaf:
    """`kind` is "" (anything), "const" or "const?"; a name twice is one node."""

    name: str
    kind: str


@dataclass(frozen=True)
class Literal:
    value: int


@dataclass(frozen=True)
class Call:
    """`name` is what it is bound to; a use of it is `Use`. `limit` is an attribute of clip."""

    operator: str
    operands: tuple[Tree, ...]
    name: str
    limit: int | None = None
    is_ordered: bool = False


@dataclass(frozen=True)
class Use:
    name: str


Tree: TypeAlias = Leaf | Literal | Call | Use


@dataclass(frozen=True)
class Condition:
    """`where name.attrs.a_max relation value`."""

    name: str
    relation: str
    value: int | tuple[int, ...]

    @property
    def text(self) -> str:
        value = f"{{{', '.join(map(str, self.value))}}}" if isinstance(self.value, tuple) else ""
        return f"where {self.name}.attrs.a_max {self.relation} {value or self.value}"

    def holds(self, limit: int) -> bool:
        if isinstance(self.value, tuple):
            return limit in self.value
        return {
            "==": limit == self.value,
            "!=": limit != self.value,
            "<=": limit <= self.value,
            ">": limit > self.value,
        }[self.relation]


@dataclass(frozen=True)
class Pattern:
    """`outer`: a clip around `root` that may be missing. `dtypes` are those of the ports."""

    name: str
    root: Call
    has_outer: bool
    dtypes: tuple[str, ...]
    conditions: tuple[Condition, ...]

    @property
    def rows(self) -> list[Call]:
        """The rows, longest first."""
        outer = Call("clip", (self.root,), "y")
        return [outer, self.root] if self.has_outer else [self.root]

    @property
    def text(self) -> str:
        leaves = {each.name: each for each in _all(self.root) if isinstance(each, Leaf)}
        declared = f": {' | '.join(self.dtypes)}" if self.dtypes else ""
        ports = ", ".join(f"{name}{declared}" for name in leaves)
        lines = [f"pattern {self.name}({ports}) -> y{declared} {{"]
        calls = [each for each in _all(self.root) if isinstance(each, Call)]
        lines += [f"  {call.name} = {_text(call)}" for call in calls]
        lines.append(f"  y = clip({self.root.name})?" if self.has_outer else "")
        if not self.has_outer:
            lines[-1] = f"  y = {self.root.name}"
        lines += [f"  {condition.text}" for condition in self.conditions]
        return "\n".join([*lines, "}"]) + "\n"


def _all(tree: Tree) -> Iterator[Tree]:
    yield tree
    for operand in tree.operands if isinstance(tree, Call) else ():
        yield from _all(operand)


def _text(call: Call) -> str:
    operands = [_operand(each) for each in call.operands]
    attributes = [] if call.limit is None else [f"a_max={call.limit}"]
    prefix = "ordered " if call.is_ordered else ""
    return f"{prefix}{call.operator}({', '.join([*operands, *attributes])})"


def _operand(tree: Tree) -> str:
    if isinstance(tree, Leaf):
        return f"{tree.kind} {tree.name}".strip()
    return str(tree.value) if isinstance(tree, Literal) else tree.name


def module_text(patterns: tuple[Pattern, ...]) -> str:
    return 'compiler "s"\n' + "".join(pattern.text for pattern in patterns)


# ---- random patterns -----------------------------------------------------------------------------

Choose: TypeAlias = Callable[[Sequence[Any]], Any]


@st.composite
def modules(draw: Callable[[st.SearchStrategy[Any]], Any]) -> tuple[Pattern, ...]:
    """Two or three patterns."""
    return random_module(lambda items: draw(st.sampled_from(items)))


def random_module(choose: Choose) -> tuple[Pattern, ...]:
    """Two or three patterns, as somebody chooses."""
    return tuple(_pattern(choose, f"p{number}") for number in range(choose([2, 2, 3])))


def _pattern(choose: Choose, name: str) -> Pattern:
    maker = _Maker(choose)
    root = maker.call(choose([1, 2]))
    clips = [each for each in _all(root) if isinstance(each, Call) and each.operator == "clip"]
    conditions = [
        maker.condition(clip.name) for clip in clips if clip.limit is None and maker.chance(2)
    ]
    dtypes = choose([(), ("float32",), ("int8",), ("float32", "int8")])
    return Pattern(name, root, maker.chance(4), dtypes, tuple(conditions))


class _Maker:
    def __init__(self, choose: Choose) -> None:
        self.choose = choose
        self.calls: list[str] = []
        self.leaves: dict[str, Leaf] = {}

    def chance(self, one_in: int) -> bool:
        return bool(self.choose(range(one_in)) == one_in - 1)

    def call(self, depth: int) -> Call:
        operator = self.choose(["nn.relu", "clip", "add"])
        count = 2 if operator == "add" else 1
        operands = tuple(self.operand(depth - 1, number) for number in range(count))
        name = f"t{len(self.calls)}"
        self.calls.append(name)
        limit = self.choose(LIMITS) if operator == "clip" and self.chance(3) else None
        return Call(operator, operands, name, limit, operator == "add" and self.chance(5))

    def operand(self, depth: int, position: int) -> Tree:
        if self.calls and self.chance(4):
            return Use(self.choose(self.calls))
        if depth > 0 and self.chance(2):
            return self.call(depth)
        if position and self.chance(4):
            return Literal(self.choose([1, 2]))
        return self.leaf()

    def leaf(self) -> Leaf:
        if self.leaves and self.chance(3):
            return self.leaves[self.choose(list(self.leaves))]
        name = f"x{len(self.leaves)}"
        self.leaves[name] = Leaf(name, self.choose(["", "", "const", "const?"]))
        return self.leaves[name]

    def condition(self, name: str) -> Condition:
        relation = self.choose(["==", "!=", "<=", ">", "in"])
        if relation == "in":
            return Condition(name, relation, self.choose([(6,), (6, 7), (7,)]))
        return Condition(name, relation, self.choose(LIMITS))


# ---- the matcher ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One row of the table, as a tree."""

    pattern: Pattern
    root: Call

    @property
    def calls(self) -> dict[str, Call]:
        return {each.name: each for each in _all(self.root) if isinstance(each, Call)}


def rows_of(patterns: tuple[Pattern, ...]) -> list[Row]:
    return [Row(pattern, root) for pattern in patterns for root in pattern.rows]


Binding: TypeAlias = dict[str, int]


def formed(rows: list[Row], graph: Graph, dtype: str) -> dict[int, set[int]]:
    """What MergeComposite makes of a graph with these rows one after the other: the roots of the
    composites of each row, by its number."""
    taken: set[int] = set()
    made: dict[int, set[int]] = {}
    for number, row in enumerate(rows):
        for node in reversed(graph.nodes):
            inner = _inside(row, graph, node, dtype, taken)
            if inner is not None:
                taken |= inner
                made.setdefault(number, set()).add(node)
    return made


def _inside(row: Row, graph: Graph, node: int, dtype: str, taken: set[int]) -> set[int] | None:
    """The calls of a match at a node; None where there is none."""
    if row.pattern.dtypes and dtype not in row.pattern.dtypes:
        return None
    for binding in _bindings(row, row.root, graph, node, {}):
        inner = {binding[name] for name in row.calls}
        if inner & taken or not _conditions_hold(row, graph, binding):
            continue
        if any(not graph.users(each) <= inner or not graph.users(each) for each in inner - {node}):
            continue
        if _is_apart(row, graph, binding):
            return inner
    return None


def _conditions_hold(row: Row, graph: Graph, binding: Binding) -> bool:
    for condition in row.pattern.conditions:
        call = graph.call(binding[condition.name])
        assert call is not None and call.limit is not None
        if not condition.holds(call.limit):
            return False
    return True


def _is_apart(row: Row, graph: Graph, binding: Binding) -> bool:
    """No input is computed from a call inside that is not computed from it."""
    leaves = {e.name: e for e in _all(row.root) if isinstance(e, Leaf) and e.kind != "const"}
    for name in leaves:
        for call in row.calls.values():
            if call is row.root or name in _names_below(row, call):
                continue
            if binding[call.name] in graph.below(binding[name]):
                return False
    return True


def _names_below(row: Row, call: Call) -> set[str]:
    found: set[str] = set()
    for each in _all(call):
        if isinstance(each, Use):
            found |= _names_below(row, row.calls[each.name])
        elif isinstance(each, Leaf):
            found.add(each.name)
    return found


def _bindings(row: Row, tree: Tree, graph: Graph, node: int, bound: Binding) -> Iterator[Binding]:
    """Every way that a tree matches at a node."""
    if isinstance(tree, Literal):
        if node < len(LEAVES) and LEAVES[node] == tree.value:
            yield bound
        return
    known = bound.get(tree.name)
    if known is not None:
        if known == node:
            yield bound
        return
    if isinstance(tree, Use):
        yield from _bindings(row, row.calls[tree.name], graph, node, bound)
        return
    if isinstance(tree, Leaf):
        if tree.kind != "const" or (node < len(LEAVES) and LEAVES[node] != "x"):
            yield {**bound, tree.name: node}
        return
    yield from _call_bindings(row, tree, graph, node, bound)


def _call_bindings(
    row: Row, tree: Call, graph: Graph, node: int, bound: Binding
) -> Iterator[Binding]:
    call = graph.call(node)
    if call is None or call.operator != tree.operator or tree.limit not in (None, call.limit):
        return
    orders = [call.operands]
    if tree.operator == "add" and not tree.is_ordered:
        orders.append(call.operands[::-1])
    for operands in orders:
        yield from _all_bindings(row, tree.operands, graph, operands, {**bound, tree.name: node})


def _all_bindings(
    row: Row, trees: tuple[Tree, ...], graph: Graph, nodes: tuple[int, ...], bound: Binding
) -> Iterator[Binding]:
    if not trees:
        yield bound
        return
    for first in _bindings(row, trees[0], graph, nodes[0], bound):
        yield from _all_bindings(row, trees[1:], graph, nodes[1:], first)
