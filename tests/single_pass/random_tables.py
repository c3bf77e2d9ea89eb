"""Random modules of small float graphs, and random pattern tables that often match them.

A pattern is grown from a place in a graph and then bent: wildcards, alternations, arguments turned
round, quotients regrouped, pattern objects used twice, attributes, types. So most match somewhere,
many match what others have taken, and some match nothing.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import numpy as np
import tvm
from tvm import relay
from tvm.relay import dataflow_pattern as dfp

Expr = Any
Pattern = Any
SHAPE = (4,)
UNARY = ("abs", "exp", "nn.relu", "negative", "clip")
BINARY = ("add", "add", "multiply", "multiply", "divide", "subtract", "maximum")


# ---- modules -------------------------------------------------------------------------------------


def random_module(chance: Random, size: int) -> Any:
    """A typed module of so many random steps; all values but tuples are float32 of one shape."""
    inputs = [relay.var(name, shape=SHAPE, dtype="float32") for name in "xyz"]
    constants = [_constant(chance) for _ in range(2)]
    values: list[Expr] = [*inputs, *constants]
    for _ in range(size):
        values.append(_step(chance, values))
    outputs = chance.sample(values[-6:], chance.choice([1, 1, 2, 3]))
    body = values[-1] if chance.random() < 0.5 else relay.Tuple([values[-1], *outputs])
    function = relay.Function(relay.analysis.free_vars(body), body)
    return relay.transform.InferType()(tvm.IRModule.from_expr(function))


def _constant(chance: Random) -> Expr:
    # Few values, so that two constants are often equal.
    return relay.const(np.full(SHAPE, chance.choice([0.5, 1.0]), "float32"))


def _step(chance: Random, values: list[Expr]) -> Expr:
    def operand() -> Expr:
        if chance.random() < 0.1:
            return _constant(chance)
        return chance.choice(values[-4:] if chance.random() < 0.7 else values)

    kind = chance.choices(["unary", "binary", "tuple", "dropout", "closed"], [6, 10, 2, 2, 1])[0]
    if kind == "unary":
        name = chance.choice(UNARY)
        if name == "clip":
            return relay.clip(operand(), 0.0, chance.choice([1.0, 6.0]))
        return _op(name)(operand())
    if kind == "binary":
        return _op(chance.choice(BINARY))(operand(), operand())
    if kind == "tuple":
        pair = relay.Tuple([operand(), operand()])
        return relay.strided_slice(relay.concatenate(pair, axis=0), [0], [4])
    if kind == "dropout":
        both = relay.Call(tvm.ir.Op.get("nn.dropout"), [operand()], _dropout_attrs())
        return relay.TupleGetItem(both, chance.choice([0, 1]))
    closed = relay.zeros(SHAPE, "float32") if chance.random() < 0.5 else _constant(chance)
    return relay.abs(closed)


def _dropout_attrs() -> Any:
    return relay.nn.dropout(relay.var("d", shape=SHAPE), 0.5).tuple_value.attrs


def _op(name: str) -> Callable[..., Expr]:
    return lambda *operands: relay.Call(tvm.ir.Op.get(name), list(operands))


# ---- patterns ------------------------------------------------------------------------------------


def random_table(chance: Random, module: Any, rows: int, log: list[str]) -> list[Any]:
    """Rows for a module; checks write what they see into the log."""
    nodes: list[Expr] = []
    relay.analysis.post_order_visit(module["main"].body, nodes.append)
    roots = [
        node
        for node in nodes
        if isinstance(node, (relay.Tuple, relay.TupleGetItem))
        or (isinstance(node, relay.Call) and isinstance(node.op, tvm.ir.Op))
    ]
    table = []
    for at in range(rows):
        grower = Grower(chance)
        pattern = grower.rooted(chance.choice(roots))
        table.append((f"row{at}", pattern, *_check(chance, log)))
    return table


def _check(chance: Random, log: list[str]) -> tuple[Callable[[Expr], bool], ...]:
    kind = chance.choice(["none", "all", "some", "some"])
    salt = chance.randrange(1000)
    if kind == "none":
        return ()

    def check(expr: Expr) -> bool:
        text = expr.astext(show_meta_data=False)
        log.append(f"{salt} {text}")
        return kind == "all" or zlib.crc32(f"{salt}{text}".encode()) % 3 > 0

    return (check,)


@dataclass(eq=False)
class Grower:
    """Grows one pattern; `made` are the pattern objects for the nodes it has been at."""

    chance: Random
    made: dict[Expr, Pattern] = field(default_factory=dict)

    def rooted(self, node: Expr) -> Pattern:
        # No type is asked of a root: TVM would infer that of operators, and fails.
        pattern = self._bare(node, 3)
        kind = self.chance.random()
        if kind < 0.15:
            return pattern | self._bare(node, 2)
        if kind < 0.25 and isinstance(node, relay.Call):
            return self._bare(node, 1).optional(dfp.is_op("nn.relu"))
        return pattern

    def _grow(self, node: Expr, depth: int) -> Pattern:
        if node in self.made and self.chance.random() < 0.7:
            return self.made[node]
        pattern = self._fresh(node, depth)
        self.made[node] = pattern
        return pattern

    def _fresh(self, node: Expr, depth: int) -> Pattern:
        chance = self.chance
        if isinstance(node, relay.Constant):
            options = [dfp.wildcard, dfp.is_constant, lambda: dfp.is_expr(node), self._either]
            return chance.choice(options)()
        if isinstance(node, relay.Var):
            name = chance.choice(["", str(node.name_hint), "x"])
            return dfp.wildcard() if chance.random() < 0.7 else dfp.is_var(name)
        if isinstance(node, relay.Tuple) and chance.random() < 0.9:
            # TVM cannot infer the type of a concatenate whose tuple is a parameter.
            return self._bare(node, max(depth - 1, 0))
        inner = isinstance(node, (relay.Tuple, relay.TupleGetItem)) or (
            isinstance(node, relay.Call) and isinstance(node.op, tvm.ir.Op)
        )
        if not inner or depth == 0 or chance.random() < 0.3:
            if chance.random() < 0.1 and isinstance(node, relay.Call):
                return dfp.wildcard().has_attr({"a_min": 0.0})
            return dfp.wildcard()
        pattern = self._inner(node, depth)
        kind = chance.random()
        if kind < 0.08:
            return pattern | dfp.wildcard()
        if kind < 0.16:
            return self._inner(node, depth) | pattern
        return pattern

    def _either(self) -> Pattern:
        return dfp.is_constant() | dfp.wildcard()

    def _inner(self, node: Expr, depth: int) -> Pattern:
        pattern = self._bare(node, depth - 1)
        kind = self.chance.random()
        if kind < 0.05:
            return pattern.has_dtype(self.chance.choice(["float32", "float32", "int8"]))
        if kind < 0.1:
            return pattern.has_shape(self.chance.choice([SHAPE, SHAPE, (8,)]))
        if kind < 0.13:
            return pattern.has_type(relay.TensorType(SHAPE, "float32"))
        return pattern

    def _bare(self, node: Expr, depth: int) -> Pattern:
        chance = self.chance
        if isinstance(node, relay.Tuple):
            if chance.random() < 0.2:
                return dfp.is_tuple(None)
            return dfp.is_tuple([self._grow(each, depth) for each in node.fields])
        if isinstance(node, relay.TupleGetItem):
            index = None if chance.random() < 0.4 else node.index
            return dfp.is_tuple_get_item(self._grow(node.tuple_value, depth), index)
        return self._call(node, depth)

    def _call(self, node: Expr, depth: int) -> Pattern:
        chance = self.chance
        name = str(node.op.name)
        if chance.random() < 0.06:
            return dfp.CallPattern(dfp.is_op(name), None)
        arguments = [self._grow(each, depth) for each in node.args]
        if len(arguments) == 2 and chance.random() < 0.3:
            arguments.reverse()
        if len(arguments) == 2 and chance.random() < 0.4:
            turned = self._regrouped(node, depth)
            if turned is not None:
                return turned
        callee = dfp.is_op(name)
        if chance.random() < 0.12:
            other = dfp.is_op(chance.choice(BINARY if len(arguments) == 2 else UNARY))
            callee = other | callee if chance.random() < 0.5 else callee | other
        pattern = callee(*arguments)
        if name == "clip" and chance.random() < 0.6:
            return pattern.has_attr(chance.choice(CLIPS))
        if name == "strided_slice" and chance.random() < 0.5:
            return pattern.has_attr(chance.choice(SLICES))
        return pattern

    def _regrouped(self, node: Expr, depth: int) -> Pattern | None:
        """a * (b / c) for (a * b) / c, or the other way, where a node is one of them."""
        name = str(node.op.name)
        for at, below in enumerate(node.args):
            if not isinstance(below, relay.Call) or not isinstance(below.op, tvm.ir.Op):
                continue
            kinds = (name, str(below.op.name))
            other = self._grow(node.args[1 - at], depth)
            if kinds == ("multiply", "divide"):
                a, c = (self._grow(each, depth) for each in below.args)
                return dfp.is_op("divide")(dfp.is_op("multiply")(a, other), c)
            if kinds == ("divide", "multiply") and at == 0:
                a, b = (self._grow(each, depth) for each in below.args)
                return dfp.is_op("multiply")(a, dfp.is_op("divide")(b, other))
        return None


CLIPS: tuple[dict[str, Any], ...] = (
    {"a_min": 0.0},
    {"a_max": 6.0},
    {"a_min": 0.0, "a_max": 1.0},
    {"a_max": 6},
    {"a_minimum": 0.0},
)
SLICES: tuple[dict[str, Any], ...] = (
    {"slice_mode": "end"},
    {"slice_mode": "size"},
    {"begin": [0]},
    {"end": [3]},
    {"axes": [0]},
)
