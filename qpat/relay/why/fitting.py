"""Lays a row over a module, beginning at any of its calls, and notes what does not fit.

TVM's matcher begins at the root and stops at the first thing that differs. Here one call of the row
is laid on one call of the module, and from there the row is followed to operands and to users as
far as it fits; a difference ends only the branch it is in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from qpat.ops.roles import exchange
from qpat.ops.table import operator
from qpat.relay.kinds import relay
from qpat.relay.names import operator_name
from qpat.relay.why.reasons import Obstacle, Reason
from qpat.semantics import ir
from qpat.semantics.walk import below
from qpat.targets.relay_reading import (
    Attributes,
    Mismatch,
    Refused,
    composite_name,
    constant_value,
    described,
    holds,
    literal,
    operands_of,
    whole_padding,
)

Users = Mapping[Any, Sequence[Any]]
_MOST_USERS = 8  # of one value that are followed


@dataclass
class Fit:
    """What of a row is laid on what of a module."""

    at: dict[int, Any] = field(default_factory=dict)
    reasons: list[Reason] = field(default_factory=list)
    calls: int = 0

    @property
    def score(self) -> tuple[int, int]:
        return self.calls, -len(self.reasons)

    def copy(self) -> Fit:
        return Fit(dict(self.at), list(self.reasons), self.calls)


def fit(row: ir.Row, index: int, expr: Any, users: Users) -> Fit:
    """Lays node `index` of a row, a call, on `expr`, a call of the same operator."""
    return _Fitting(row, users).grow(index, expr)


class _Fitting:
    def __init__(self, row: ir.Row, users: Users) -> None:
        self.row = row
        self.users = users
        self.parents: dict[int, list[tuple[int, int]]] = {}
        for number, node in enumerate(row.nodes):
            for position, operand in enumerate(below(node)):
                self.parents.setdefault(operand, []).append((number, position))

    def grow(self, index: int, expr: Any) -> Fit:
        """Down from a call to its operands, then up to what uses it, and down from there."""
        fit = self.down(index, expr, Fit())
        while index != self.row.root:
            parent, position = self.parents[index][0]
            best = self._up(parent, position, expr, fit)
            if best is None:
                fit.reasons.append(self._no_user(parent, expr))
                return fit
            fit, expr = best
            index = parent
        return fit

    # ---- up ----
    def _up(self, parent: int, position: int, expr: Any, fit: Fit) -> tuple[Fit, Any] | None:
        """The user that fits best."""
        found: list[tuple[Fit, Any]] = []
        for user in list(self.users.get(expr, ()))[:_MOST_USERS]:
            if self._is_kind(parent, user) and self._stands(parent, position, user, expr):
                found.append((self.down(parent, user, fit.copy()), user))
        return max(found, key=lambda pair: pair[0].score, default=None)

    def _is_kind(self, index: int, expr: Any) -> bool:
        node = self.row.nodes[index]
        if isinstance(node, ir.Call):
            return operator_name(expr) == node.operator
        if isinstance(node, ir.CompositeCall):
            return isinstance(expr, relay.Call) and composite_name(expr.op) == node.composite
        if isinstance(node, ir.Field):
            return isinstance(expr, relay.TupleGetItem) and expr.index == node.index
        return isinstance(expr, relay.Tuple)

    def _stands(self, parent: int, position: int, user: Any, expr: Any) -> bool:
        """Whether a value is the operand of a user that the row wants it to be."""
        places = {position}
        if parent in self.row.swaps:
            places |= {partner for pair in self._pairs(parent) for partner in pair}
        children = operands_of(user)
        return any(each < len(children) and children[each].same_as(expr) for each in places)

    def _no_user(self, parent: int, expr: Any) -> Reason:
        node = self.row.nodes[parent]
        wanted = _described_node(node)
        others = list(self.users.get(expr, ()))
        if not others:
            text = f"nothing stands behind `{operator_name(expr)}`, and `{wanted}` is wanted there"
            return Reason(Obstacle.OPERATOR, text, expr, node.span)
        kind = [each for each in others if self._is_kind(parent, each)]
        if kind:
            text = f"`{operator_name(expr)}` is another operand of `{wanted}` than is wanted"
            return Reason(Obstacle.OPERATOR, text, kind[0], node.span)
        found = ", ".join(dict.fromkeys(f"`{_described(each)}`" for each in others[:3]))
        text = f"{found} behind `{operator_name(expr)}`, where `{wanted}` is wanted"
        return Reason(Obstacle.OPERATOR, text, others[0], node.span)

    # ---- down ----
    def down(  # noqa: C901 - one case for each kind of node
        self, index: int, expr: Any, fit: Fit
    ) -> Fit:
        if index in fit.at:
            first = fit.at[index]
            if not first.same_as(expr):
                both = f"`{_described(first)}` and `{_described(expr)}`"
                text = f"{_named(self.row, index)} is two values, {both}"
                self._note(fit, Obstacle.SAME, text, expr, index)
            return fit
        node = self.row.nodes[index]
        match node:
            case ir.Input():
                self._leaf(node, index, expr, fit)
            case ir.Literal():
                self._literal(node, index, expr, fit)
            case ir.SlotConstant():
                if not isinstance(expr, relay.Constant):
                    text = f"{_described(expr)} where a scale or zero point wants a constant"
                    self._note(fit, Obstacle.CONSTANT, text, expr, index)
            case ir.SlotTuple() | ir.Elements():
                if not isinstance(expr, relay.Tuple):
                    self._no_tuple(index, expr, fit)
            case ir.Tuple():
                return self._tuple(node, index, expr, fit)
            case ir.Field():
                if not self._is_kind(index, expr):
                    self._no_tuple(index, expr, fit)
                    return fit
                fit.at[index] = expr
                return self.down(node.value, expr.tuple_value, fit)
            case ir.CompositeCall():
                return self._composite(node, index, expr, fit)
            case ir.Call():
                return self._call(node, index, expr, fit)
        fit.at[index] = expr
        return fit

    def _call(self, node: ir.Call, index: int, expr: Any, fit: Fit) -> Fit:
        if operator_name(expr) != node.operator:
            text = f"{_described(expr)} where `{node.operator}` is wanted"
            self._note(fit, Obstacle.OPERATOR, text, expr, index)
            return fit
        fit.at[index] = expr
        fit.calls += 1
        for attribute in node.attributes:
            self._attribute(attribute, expr, fit)
        if len(expr.args) != len(node.operands):
            text = f"`{node.operator}` has {len(expr.args)} operands, not {len(node.operands)}"
            self._note(fit, Obstacle.OPERANDS, text, expr, index)
            return fit
        ways = [list(expr.args)]
        if index in self.row.swaps:
            ways.append(_exchanged(list(expr.args), self._pairs(index)))
        found = [self._all(node.operands, way, fit.copy()) for way in ways]
        return max(found, key=lambda each: each.score)

    def _all(self, indices: Sequence[int], values: Sequence[Any], fit: Fit) -> Fit:
        for index, value in zip(indices, values, strict=True):
            fit = self.down(index, value, fit)
        return fit

    def _composite(self, node: ir.CompositeCall, index: int, expr: Any, fit: Fit) -> Fit:
        if not self._is_kind(index, expr):
            text = f"{_described(expr)} where `{node.composite}` is wanted"
            self._note(fit, Obstacle.OPERATOR, text, expr, index)
            return fit
        fit.at[index] = expr
        if node.operands is None or len(node.operands) != len(expr.args):
            return fit
        return self._all(node.operands, list(expr.args), fit)

    def _tuple(self, node: ir.Tuple, index: int, expr: Any, fit: Fit) -> Fit:
        if not isinstance(expr, relay.Tuple) or len(expr.fields) != len(node.elements):
            self._no_tuple(index, expr, fit)
            return fit
        fit.at[index] = expr
        return self._all(node.elements, list(expr.fields), fit)

    def _pairs(self, index: int) -> tuple[tuple[int, int], ...]:
        node = self.row.nodes[index]
        signature = operator(node.operator) if isinstance(node, ir.Call) else None
        exchanged = exchange(signature) if signature is not None else None
        return exchanged.operands if exchanged is not None else ()

    # ---- what is held against an expression ----
    def _leaf(self, node: ir.Input, index: int, expr: Any, fit: Fit) -> None:
        is_constant = isinstance(expr, relay.Constant)
        said = f"`{node.name}`" if node.name else "a constant"
        if node.constness is ir.Constness.CONSTANT and not is_constant:
            text = f"{said} is {_described(expr)}, and a constant is wanted"
            self._note(fit, Obstacle.CONSTANT, text, expr, index)
        if node.constness is ir.Constness.VARIABLE and not isinstance(expr, relay.Var):
            text = f"{said} is {_described(expr)}, and an input of the module is wanted"
            self._note(fit, Obstacle.CONSTANT, text, expr, index)

    def _literal(self, node: ir.Literal, index: int, expr: Any, fit: Fit) -> None:
        if not isinstance(expr, relay.Constant):
            text = f"{_described(expr)} where the constant {node.value} is wanted"
            self._note(fit, Obstacle.CONSTANT, text, expr, index)
            return
        try:
            literal(expr, node.value, {}, node.about)
        except Mismatch:
            value = constant_value(expr)
            shown = value.item() if value.size == 1 else f"an array of {value.size}"
            text = f"the constant is {shown}, not {'about ' if node.about else ''}{node.value}"
            self._note(fit, Obstacle.VALUE, text, expr, index)

    def _attribute(self, attribute: ir.Attribute, call: Any, fit: Fit) -> None:
        if isinstance(attribute.value, ir.DtypeOf):
            return  # held against the port, by the check
        wanted: Any = attribute.value
        if attribute.name == "padding":
            wanted = whole_padding(call.op.name, wanted)
        try:
            found = getattr(Attributes(call), attribute.name)
            if holds(found, "==", wanted):
                return
            text = f"`{attribute.name}` is {_shown(found)}, not {_shown(wanted)}"
        except Refused as refused:
            text = str(refused)
        fit.reasons.append(Reason(Obstacle.ATTRIBUTE, text, call, attribute.span))

    def _no_tuple(self, index: int, expr: Any, fit: Fit) -> None:
        node = self.row.nodes[index]
        wanted = f"a tuple of {len(node.elements)}" if isinstance(node, ir.Tuple) else "a tuple"
        if isinstance(node, ir.Field):
            wanted = f"field {node.index} of a tuple"
        text = f"{_described(expr)} where {wanted} is wanted"
        self._note(fit, Obstacle.TUPLE, text, expr, index)

    def _note(self, fit: Fit, obstacle: Obstacle, text: str, expr: Any, index: int) -> None:
        fit.reasons.append(Reason(obstacle, text, expr, self.row.nodes[index].span))


# ---- words ---------------------------------------------------------------------------------------


def _named(row: ir.Row, index: int) -> str:
    names = [name for name, at in row.values.items() if at == index]
    return f"`{names[0]}`" if names else "one value"


def _described(expr: Any) -> str:
    if isinstance(expr, relay.Tuple):
        return f"a tuple of {len(expr.fields)}"
    words = {relay.Var: "an input", relay.TupleGetItem: "a field of a tuple"}
    return words.get(type(expr)) or described(expr)


def _described_node(node: ir.Node) -> str:
    if isinstance(node, ir.Call):
        return node.operator
    if isinstance(node, ir.CompositeCall):
        return node.composite
    return "a tuple" if isinstance(node, ir.Tuple) else "a field of a tuple"


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, tuple):
        return f"[{', '.join(_shown(each) for each in value)}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


# ---- the graph -----------------------------------------------------------------------------------


def _exchanged(values: list[Any], pairs: Sequence[tuple[int, int]]) -> list[Any]:
    found = list(values)
    for first, second in pairs:
        found[first], found[second] = found[second], found[first]
    return found
