"""Statements in an order in which they can be carried out: what fills a slot before what reads it.

Otherwise they stay in the order written, so that the first reason a pattern names is the first
that applies.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence

from qpat.diagnostics import Findings
from qpat.semantics import ir
from qpat.semantics.walk import walk

_SLOTS = {
    "scale": ("scale", "qparams"),
    "zero_point": ("zero_point", "qparams"),
    "axis": ("scale", "qparams"),
    "qparams": ("scale", "zero_point", "qparams"),
    "range": ("range",),
}


def ordered(
    statements: Sequence[ir.Statement], rows: Sequence[ir.Row], findings: Findings
) -> tuple[ir.Statement, ...]:
    """The statements of a pattern, each behind those it needs. Reports what needs itself."""
    fills = [(i, s) for i, s in enumerate(statements) if isinstance(s, ir.Fill | ir.Inherit)]
    needs: list[set[int]] = [set() for _ in statements]
    for index, statement in enumerate(statements):
        for name, slots in _reads(statement):
            for at, fill in fills:
                slot = fill.slot if isinstance(fill, ir.Fill) else "qparams"
                slot = "qparams" if slot == "raw" else slot
                if slot in slots and _share(name, fill.name, slot, rows):
                    needs[index].add(at)
    _locals(statements, needs)
    _tables(statements, needs)
    order = _sorted(needs)
    if len(order) < len(statements):
        left = next(i for i in range(len(statements)) if i not in order)
        message = "what this fills is needed to calculate it"
        findings.error("QP112", statements[left].span, message)
        return tuple(statements)
    return tuple(statements[i] for i in order)


def expressions(statement: ir.Statement) -> Iterator[ir.Expression]:
    """The expressions of a statement."""
    if isinstance(statement, ir.Where):
        yield statement.condition
    elif isinstance(statement, ir.Meaning):
        yield from _real_expressions(statement.value)
    elif not isinstance(statement, ir.Inherit) and statement.value is not None:
        yield statement.value


def _real_expressions(real: ir.Real) -> Iterator[ir.Expression]:
    """The numbers and attributes of a meaning."""
    if isinstance(real, ir.RealNumber):
        yield real.value
    elif isinstance(real, ir.RealCall):
        yield from (value for _, value in real.attributes)
        for operand in real.operands:
            yield from _real_expressions(operand)


def _reads(statement: ir.Statement) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The names whose slots a statement reads, and which; a whole tensor reads all."""
    for expression in expressions(statement):
        for node in walk(expression):
            if isinstance(node, ir.ReadMember) and node.member in _SLOTS:
                yield node.name, _SLOTS[node.member]
            elif isinstance(node, ir.ExternCall):
                for argument in node.arguments:
                    if isinstance(argument, ir.ReadValue) and not argument.is_call:
                        yield argument.name, _SLOTS["qparams"]


def _share(name: str, other: str, slot: str, rows: Sequence[ir.Row]) -> bool:
    """Whether two names are in one space in some row; a range belongs to the name alone."""
    if name == other or slot == "range":
        return name == other
    return any(
        row.values.get(name) in space.members and row.values.get(other) in space.members
        for row in rows
        for space in row.spaces
    )


def _locals(statements: Sequence[ir.Statement], needs: list[set[int]]) -> None:
    """A local is read behind the statement that defines it."""
    defined: dict[str, list[int]] = {}
    for index, statement in enumerate(statements):
        for expression in expressions(statement):
            for node in walk(expression):
                if isinstance(node, ir.ReadLocal):
                    needs[index].update(defined.get(node.name, ()))
        for name in _defines(statement):
            defined.setdefault(name, []).append(index)


def _tables(statements: Sequence[ir.Statement], needs: list[set[int]]) -> None:
    """A look-up table is made of the meaning, and of the slots of its tensors."""
    meanings = {i for i, s in enumerate(statements) if isinstance(s, ir.Meaning)}
    for index, statement in enumerate(statements):
        for expression in expressions(statement):
            if any(isinstance(n, ir.Function) and n.name == "lut" for n in walk(expression)):
                needs[index] |= meanings


def _defines(statement: ir.Statement) -> Iterable[str]:
    if isinstance(statement, ir.Let):
        return (statement.name,)
    return statement.names if isinstance(statement, ir.Param) else ()


def _sorted(needs: Sequence[set[int]]) -> list[int]:
    """The first one written among those that can be carried out, again and again."""
    missing = [len(each) for each in needs]
    users: list[list[int]] = [[] for _ in needs]
    for index, each in enumerate(needs):
        for needed in each:
            users[needed].append(index)
    ready = [index for index, count in enumerate(missing) if not count]
    order: list[int] = []
    while ready:
        index = heapq.heappop(ready)
        order.append(index)
        for user in users[index]:
            missing[user] -= 1
            if not missing[user]:
                heapq.heappush(ready, user)
    return order
