"""A Relay function as arrays over integers: every edge is read from TVM once, and never again.

Nodes are numbered in post-order (operands first, left to right), so an operand's number is less
than its user's. What a row of a table changes is changed in these arrays.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tvm import relay
from tvm.ir import Op
from tvm.runtime import _ffi_api, _ffi_node_api

Expr = Any

# How functions are marked that MergeComposite (or `DFPattern.partition`) has made.
PARTITIONED = "PartitionedFromPattern"

_KINDS: dict[type, str] = {
    relay.Call: "Call",
    relay.Function: "Function",
    relay.Tuple: "Tuple",
    relay.TupleGetItem: "TupleGetItem",
    relay.Var: "Var",
    relay.Constant: "Constant",
}
LEAVES = frozenset({"Var", "Constant"})


class Unsupported(Exception):
    """Something that is left to TVM's MergeComposite; the text says what."""


def with_article(noun: str) -> str:
    """ "a Let", "an If"."""
    return f"an {noun}" if noun[0].lower() in "aeiou" else f"a {noun}"


class Untyped(Exception):
    """A node has no type: InferType has not run."""


@dataclass(eq=False)
class Graph:
    """The nodes of a function, `main` last. Of leaves (variables, constants) no users are kept.

    `kinds` are the names of Relay's classes; `operators` the name of the operator that a call
    calls, None for all else; `children` the operands of a node (of a call of a function that comes
    first; of a function its body only); `users` those whose operand a node is, each once;
    `with_root` the nodes by what a pattern's root can be: operator, "Tuple" or "TupleGetItem".

    Of what rows have changed: `functions` maps the root of a composite to its function, and that
    node is then a call of the function on `children`; `dead` is what is in composites only;
    `dirty` what has a composite at or below it.
    """

    exprs: list[Expr] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    operators: list[str | None] = field(default_factory=list)
    children: list[tuple[int, ...]] = field(default_factory=list)
    users: list[set[int]] = field(default_factory=list)
    with_root: dict[str, list[int]] = field(default_factory=dict)
    partitioned: set[int] = field(default_factory=set)
    functions: dict[int, Expr] = field(default_factory=dict)
    dead: set[int] = field(default_factory=set)
    dirty: set[int] = field(default_factory=set)
    types: dict[int, Any] = field(default_factory=dict)
    attributes: dict[tuple[int, str], Any] = field(default_factory=dict)
    _attrs: dict[int, Any] = field(default_factory=dict)
    _order: list[int] | None = None

    @property
    def root(self) -> int:
        """The function itself."""
        return len(self.exprs) - 1

    def type_of(self, node: int) -> Any:
        """The checked type of a node; a composite has that of what it takes the place of."""
        known = self.types.get(node)
        if known is None:
            known = self.types[node] = _ffi_node_api.NodeGetAttr(self.exprs[node], "_checked_type_")
        return known

    def attrs_of(self, node: int) -> Any:
        """The attributes of a call, None where it has none."""
        if node not in self._attrs:
            self._attrs[node] = _ffi_node_api.NodeGetAttr(self.exprs[node], "attrs")
        return self._attrs[node]

    def order(self) -> list[int]:
        """The place of each node in post-order, now. It changes with the rows, since the operands
        of a composite are in the order of its parameters. 0 for what cannot be a match's root."""
        if self._order is None:
            self._order = self._walked()
        return self._order

    def forget_order(self) -> None:
        """To be called when `children` has changed."""
        self._order = None

    def _walked(self) -> list[int]:
        places = [0] * len(self.exprs)
        place = 0
        stack = [self.root]
        while stack:
            node = stack.pop()
            if node < 0:
                place += 1
                places[~node] = place
            elif not places[node]:
                # Until it is done; it cannot be met again before, for there are no cycles.
                places[node] = -1
                stack.append(~node)
                stack.extend(
                    child
                    for child in reversed(self.children[node])
                    if self.kinds[child] not in LEAVES
                )
        return places


def read(function: Expr) -> Graph:
    """The arrays of a function of a module. Raises Unsupported and Untyped."""
    graph = _Reader().read(function)
    graph._order = list(range(len(graph.exprs)))
    graph.partitioned = _partitioned(graph)
    return graph


# What an expression is known by while it is read: its address, for each is kept alive.
_Operands = list[tuple[int, Expr]]


@dataclass(eq=False)
class _Reader:
    graph: Graph = field(default_factory=Graph)
    numbers: dict[int, int] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)

    def read(self, function: Expr) -> Graph:
        numbers = self.numbers
        # Twice for each node: first without its operands, then below them with them.
        stack: list[tuple[int, Expr, str | None, _Operands | None]]
        stack = [(hash(function), function, None, None)]
        while stack:
            address, expr, operator, operands = stack.pop()
            if address in numbers:
                continue
            if operands is None:
                operator, operands = self._expand(expr)
                missing = [
                    (below, operand, None, None)
                    for below, operand in operands
                    if below not in numbers
                ]
                if missing:
                    stack.append((address, expr, operator, operands))
                    missing.reverse()
                    stack.extend(missing)
                    continue
            numbers[address] = self._add(expr, operator, operands)
        return self.graph

    def _expand(self, expr: Expr) -> tuple[str | None, _Operands]:
        """The operator that is called, and the operands."""
        kind = type(expr)
        if kind is relay.Call:
            callee = _ffi_node_api.NodeGetAttr(expr, "op")
            arguments = _items(expr, "args")
            address = hash(callee)
            if type(callee) is Op:
                return self._name(callee, address), arguments
            if type(callee) is relay.Function:
                return None, [(address, callee), *arguments]
            raise Unsupported(f"a call of {with_article(type(callee).__name__)}")
        if kind in (relay.Constant, relay.Var):
            return None, []
        if kind is relay.Tuple:
            return None, _items(expr, "fields")
        field_name = {relay.TupleGetItem: "tuple_value", relay.Function: "body"}.get(kind)
        if field_name is None:
            raise Unsupported(f"{with_article(kind.__name__)} in the module")
        operand = _ffi_node_api.NodeGetAttr(expr, field_name)
        return None, [(hash(operand), operand)]

    def _name(self, operator: Expr, address: int) -> str:
        name = self.names.get(address)
        if name is None:
            name = self.names[address] = str(operator.name)
        return name

    def _add(self, expr: Expr, operator: str | None, operands: _Operands) -> int:
        graph, numbers = self.graph, self.numbers
        number = len(graph.exprs)
        kind = _KINDS[type(expr)]
        children = tuple([numbers[address] for address, _ in operands])
        graph.exprs.append(expr)
        graph.kinds.append(kind)
        graph.operators.append(operator)
        graph.children.append(children)
        graph.users.append(set())
        if kind in LEAVES:
            return number
        called = kind == "Call" and operator is None
        for position, child in enumerate(children):
            child_kind = graph.kinds[child]
            if child_kind in LEAVES:
                continue
            if child_kind == "Function" and (position or not called):
                raise Unsupported("a function as a value")
            graph.users[child].add(number)
        if graph.type_of(number) is None:
            raise Untyped
        if kind != "Function" and not called:
            graph.with_root.setdefault(operator or kind, []).append(number)
        return number


def _items(expr: Expr, name: str) -> _Operands:
    """The elements of an array that is a field of an expression."""
    array = _ffi_node_api.NodeGetAttr(expr, name)
    items = [_ffi_api.ArrayGetItem(array, at) for at in range(_ffi_api.ArraySize(array))]
    return [(hash(item), item) for item in items]


def _partitioned(graph: Graph) -> set[int]:
    """What is inside of composites already: no row takes a root there."""
    inside: set[int] = set()
    for number, kind in enumerate(graph.kinds):
        if kind != "Function":
            continue
        attrs = graph.attrs_of(number)
        if attrs is None or PARTITIONED not in set(attrs.keys()):
            continue
        stack = list(graph.children[number])
        while stack:
            node = stack.pop()
            if node not in inside:
                inside.add(node)
                stack.extend(graph.children[node])
    return inside
