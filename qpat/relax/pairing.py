"""A module with composites beside the one before: which call became, or became part of, which."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from qpat.relax.view import Call, Expr, Function, Module
from qpat.relay.graph import children_of

Calls = dict[Any, Any]


def paired(before: Module, after: Module) -> tuple[Calls, Calls]:
    """From values of `after`, those inside of composites left out, to those of `before`; and from
    calls of `before` to the call of the composite, in `after`, that holds them now.

    Both are walked from their results up. FuseOpsByPattern makes composites and changes nothing
    else, so with a body in the place of its call the two are the same.
    """
    calls: Calls = {}
    taken: Calls = {}
    for variable, function in after.functions.items():
        old = before[variable]
        calls |= zip(function.params, old.params, strict=True)
        waiting: list[tuple[Expr, Expr, Call | None]] = [(function.body, old.body, None)]
        seen: set[tuple[Expr, Call | None]] = set()
        while waiting:
            value, was, outer = waiting.pop()
            for new, holder in (entered := list(_entered(value, was, outer))):
                if holder is None:
                    calls.setdefault(new, was)
            new, holder = entered[-1]
            if (new, holder) in seen:
                continue
            seen.add((new, holder))
            if holder is not None and isinstance(was, Call):
                taken[was] = holder
            below = zip(_operands(new), _operands(was), strict=True)
            waiting += [(*pair, holder) for pair in below]
    return calls, taken


def _entered(new: Expr, was: Expr, holder: Call | None) -> Iterator[tuple[Expr, Call | None]]:
    """A value, and what stands for it, the last for the one in the module before: of a composite's
    call the end of its body, of a parameter of one what its call is given."""
    yield new, holder
    while True:
        if holder is not None and new in holder.op.params:
            new, holder = holder.args[holder.op.params.index(new)], None
        elif isinstance(new, Call) and _is_composite(new) and not _is_composite(was):
            holder = new
            new = holder.op.body
        else:
            return
        yield new, holder


def _is_composite(expr: Expr) -> bool:
    return isinstance(expr, Call) and isinstance(expr.op, Function)


def _operands(expr: Expr) -> list[Any]:
    return list(expr.args) if isinstance(expr, Call) else children_of(expr)
