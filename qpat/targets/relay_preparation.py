"""What a generated Relay module with shared values has; see relay_support.py."""

from __future__ import annotations

from typing import Any

from tvm import relay

from qpat.targets.relay_attributes import copied
from qpat.targets.relay_interface import ROWS, Options
from qpat.targets.relay_reading import Refused, operands_of
from qpat.targets.relay_support import Match, tried

# ---- preparation: the same in every module qpat writes ------------------------------


def prepare(module: Any, **options: Any) -> Any:
    """A module in which every value that a pattern shares with others is there once for each match.

    MergeComposite refuses a match whose inner values have users outside of it. Of each call that a
    row takes, the values written `shared` are copied for it where others use them too. The
    arguments are those of Options. The given module is not changed.
    """
    chosen = Options(**options)
    made = copied(module)
    for variable, function in module.functions.items():
        named = function.attrs.keys() if getattr(function, "attrs", None) else ()
        if isinstance(function, relay.Function) and "Compiler" not in named:
            made.update_func(variable, unshared(function, chosen))
    return relay.transform.InferType()(made)


def unshared(function: Any, options: Any) -> Any:
    """A function whose shared values are copied for each match that wants them alone."""
    order = in_order(function.body)
    users: dict[Any, int] = {}
    for expr in order:
        for operand in operands_of(expr):
            users[operand] = users.get(operand, 0) + 1
    # For each use of a shared value inside a match: all that the match shares.
    wanted: dict[tuple[Any, int], frozenset[Any]] = {}
    for root in order:
        match = first_match(root, options) if isinstance(root, relay.Call) else None
        if match is None or all(users.get(expr, 0) < 2 for expr in match.shared):
            continue
        shared = frozenset(match.shared)
        for expr in set(match.inner) - shared:
            for position, operand in enumerate(operands_of(expr)):
                if operand in shared:
                    wanted[expr, position] = shared
    return rebuilt(function, order, wanted) if wanted else function


def first_match(root: Any, options: Any) -> Match | None:
    """The match of the first row that takes a call."""
    for row in ROWS:
        try:
            return tried(row, root, {}, lambda match: setattr(match, "options", options))[0]
        except Refused:
            continue
    return None


def in_order(body: Any) -> list[Any]:
    """The expressions below a body, operands first; not by recursion, graphs are deep."""
    order: list[Any] = []
    done, waiting = set(), [(body, False)]
    while waiting:
        expr, ready = waiting.pop()
        if expr in done:
            continue
        if ready:
            done.add(expr)
            order.append(expr)
            continue
        waiting.append((expr, True))
        waiting.extend((operand, False) for operand in reversed(operands_of(expr)))
    return order


def rebuilt(function: Any, order: list[Any], wanted: dict[tuple[Any, int], Any]) -> Any:
    made: dict[Any, Any] = {}

    def copied(expr: Any, shared: Any) -> Any:
        """A copy of a shared value, with copies of the shared values it is made of."""
        operands = [copied(e, shared) if e in shared else made[e] for e in operands_of(expr)]
        return with_operands(expr, operands)

    for expr in order:
        old = operands_of(expr)
        new = [
            copied(operand, wanted[expr, position]) if (expr, position) in wanted else made[operand]
            for position, operand in enumerate(old)
        ]
        same = all(first.same_as(second) for first, second in zip(old, new))
        made[expr] = expr if same else with_operands(expr, new)
    body = made[function.body]
    return relay.Function(
        function.params, body, function.ret_type, function.type_params, function.attrs
    )


def with_operands(expr: Any, operands: list[Any]) -> Any:
    """The same expression of other operands."""
    if isinstance(expr, relay.Call):
        return relay.Call(expr.op, operands, expr.attrs, expr.type_args, expr.span)
    if isinstance(expr, relay.Tuple):
        return relay.Tuple(operands, expr.span)
    return relay.TupleGetItem(operands[0], expr.index)


# ---- end of preparation --------------------------------------------------------------
