"""Walking, copying and rebuilding Relay graphs, without recursion: graphs are deeper than stacks.

TVM's own `relay.analysis.post_order_visit` overflows the C stack at some 50,000 calls in a row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Expr = Any
Change = Callable[[Expr, Expr], Expr]


def post_order(expr: Expr, *, functions: bool = False) -> list[Expr]:
    """The nodes that `expr` is computed from and `expr` itself, last; each once, operands first.

    Where `expr` is a function, its parameters and body are walked. Functions within are entered
    only if `functions` says so: without it, one that is called is not listed, and one that is
    passed on is a leaf. What a call names without computing it (an operator, a global function, a
    constructor) is not listed. All of a Let, both branches of an If and all clauses of a Match are.
    """
    by_name = {"Op", "GlobalVar", "Constructor", *(() if functions else ("Function",))}

    def below(node: Expr) -> list[Expr]:
        kind = type(node).__name__
        if kind == "Function" and not functions and not node.same_as(expr):
            return []
        found = children_of(node)
        named = kind == "Call" and type(node.op).__name__ in by_name
        return found[1:] if named else found

    return _walk(expr, below)


def rewrite(expr: Expr, change: Change) -> Expr:
    """`expr` with every node changed, functions within included.

    `change(old, new)` is called once for each node, operands first: `new` is `old` with its changed
    operands, or `old` itself where none has changed; what it returns takes the node's place. A
    variable must become a variable. Spans and inferred types are on the old nodes only. Nothing is
    changed in place.
    """
    made: dict[Expr, Expr] = {}
    for old in _walk(expr, children_of):
        children = children_of(old)
        fresh = [made[child] for child in children]
        same = all(new.same_as(child) for new, child in zip(fresh, children, strict=True))
        made[old] = change(old, old if same else _rebuild(old, fresh))
    return made[expr]


def shallow_copy(module: Any, functions: Mapping[Any, Expr] | None = None) -> Any:
    """A module with the same functions, type definitions and attributes, for passes that mutate;
    with other `functions`, by their global variables, where they are given.

    Adding, removing or updating a function of the copy leaves the given module alone.
    """
    import tvm

    # Made of the same global variables: calls refer to them.
    copy = tvm.IRModule(functions or module.functions, module.type_definitions)
    for key, value in module.attrs.items() if module.attrs is not None else ():
        # TVM takes no plain values here, and gives plain values to who reads them.
        copy = copy.with_attr(key, tvm.runtime.convert(value))
    return copy


def _walk(root: Expr, below: Callable[[Expr], list[Expr]]) -> list[Expr]:
    done: set[Expr] = set()
    order: list[Expr] = []
    stack: list[tuple[Expr, bool]] = [(root, False)]
    while stack:
        node, ready = stack.pop()
        if node in done:
            continue
        if ready:
            done.add(node)
            order.append(node)
            continue
        stack.append((node, True))
        stack.extend((child, False) for child in reversed(below(node)) if child not in done)
    return order


def _is(node: Expr, kind: str) -> bool:
    return type(node).__name__ == kind


# ---- the kinds of nodes --------------------------------------------------------------------------


def children_of(node: Expr) -> list[Expr]:
    """The nodes directly below; of a call the operator comes first. Leaves have none."""
    getter = _CHILDREN.get(type(node).__name__)
    return [] if getter is None else getter(node)


def _rebuild(node: Expr, children: list[Expr]) -> Expr:
    """A node of the same kind with other children, in the order of `children_of`."""
    return _REBUILD[type(node).__name__](node, children)


def _match_children(node: Expr) -> list[Expr]:
    variables = [var for clause in node.clauses for var in _pattern_variables(clause.lhs)]
    return [node.data, *variables, *(clause.rhs for clause in node.clauses)]


def _pattern_variables(pattern: Any) -> list[Expr]:
    if _is(pattern, "PatternVar"):
        return [pattern.var]
    # Patterns are written by hand and nested a few deep.
    return [var for inner in getattr(pattern, "patterns", ()) for var in _pattern_variables(inner)]


_CHILDREN: dict[str, Callable[[Expr], list[Expr]]] = {
    "Call": lambda node: [node.op, *node.args],
    "Tuple": lambda node: list(node.fields),
    "TupleGetItem": lambda node: [node.tuple_value],
    "Function": lambda node: [*node.params, node.body],
    "Let": lambda node: [node.var, node.value, node.body],
    "If": lambda node: [node.cond, node.true_branch, node.false_branch],
    "RefCreate": lambda node: [node.value],
    "RefRead": lambda node: [node.ref],
    "RefWrite": lambda node: [node.ref, node.value],
    "Match": _match_children,
}


def _make_function(node: Expr, children: list[Expr]) -> Expr:
    from tvm import relay

    *params, body = children
    return relay.Function(params, body, node.ret_type, node.type_params, node.attrs)


def _make_match(node: Expr, children: list[Expr]) -> Expr:
    from tvm import relay

    olds = _match_children(node)
    made = dict(zip(olds, children, strict=True))
    clauses = [
        relay.Clause(_make_pattern(clause.lhs, made), made[clause.rhs]) for clause in node.clauses
    ]
    return relay.Match(made[node.data], clauses, node.complete)


def _make_pattern(pattern: Any, made: dict[Expr, Expr]) -> Any:
    from tvm import relay

    if _is(pattern, "PatternVar"):
        return relay.PatternVar(made[pattern.var])
    inner = [_make_pattern(part, made) for part in getattr(pattern, "patterns", ())]
    if _is(pattern, "PatternConstructor"):
        return relay.PatternConstructor(pattern.constructor, inner)
    return relay.PatternTuple(inner) if _is(pattern, "PatternTuple") else pattern


def _simple(name: str) -> Callable[[Expr, list[Expr]], Expr]:
    """A constructor of tvm.relay that takes just the children."""

    def make(node: Expr, children: list[Expr]) -> Expr:
        from tvm import relay

        return getattr(relay, name)(*children)

    return make


def _make_call(node: Expr, children: list[Expr]) -> Expr:
    from tvm import relay

    return relay.Call(children[0], children[1:], node.attrs, node.type_args)


def _make_tuple(node: Expr, children: list[Expr]) -> Expr:
    from tvm import relay

    return relay.Tuple(children)


def _make_field(node: Expr, children: list[Expr]) -> Expr:
    from tvm import relay

    return relay.TupleGetItem(children[0], node.index)


_REBUILD: dict[str, Callable[[Expr, list[Expr]], Expr]] = {
    "Call": _make_call,
    "Tuple": _make_tuple,
    "TupleGetItem": _make_field,
    "Function": _make_function,
    "Match": _make_match,
    **{name: _simple(name) for name in ("Let", "If", "RefCreate", "RefRead", "RefWrite")},
}
