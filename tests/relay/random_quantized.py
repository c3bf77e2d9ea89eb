"""Random Relay modules of int8 operators whose true quantization parameters are known, because the
module is made from them.

What is noted while a module is made is the oracle of the analysis: which values are in one space,
by hand for each operator and not from qpat's table, and what each call says of which. The types
that TVM infers are on other expressions, so a value is known by its place in the post order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tvm
from hypothesis import strategies as st
from tvm import relay

from qpat.relay.graph import post_order

Draw = Callable[[st.SearchStrategy[Any]], Any]
Claim = tuple[float, int]

qnn = relay.qnn.op
# Few, so that two values are often in one space by chance.
_CLAIMS = st.tuples(st.sampled_from((0.5, 0.25, 0.125)), st.sampled_from((-128, -3, 0, 7)))


@dataclass(eq=False, repr=False)
class Value:
    """`zeros` has its shape, `space` is an index into those of the maker."""

    expr: Any
    zeros: Any
    truth: Claim
    space: int

    def __repr__(self) -> str:
        return f"value {self.space} {self.truth} {self.zeros.shape}"


@dataclass(eq=False)
class Random:
    """A module being made. `lies`: how often a call may say what is not true."""

    draw: Draw
    lies: int = 0
    values: list[Value] = field(default_factory=list)
    made: list[Value] = field(default_factory=list)
    inputs: list[Any] = field(default_factory=list)
    outputs: list[Any] = field(default_factory=list)  # what no further call may take
    parents: list[int] = field(default_factory=list)
    claims: list[tuple[int, Claim]] = field(default_factory=list)

    # ---- spaces ----
    def space(self, index: int) -> int:
        while self.parents[index] != index:
            index = self.parents[index]
        return index

    def value(self, expr: Any, zeros: Any, truth: Claim, *beside: Value) -> Value:
        """A new value, in the space of those beside it."""
        self.parents.append(len(self.parents))
        made = Value(expr, zeros, truth, len(self.parents) - 1)
        for each in beside:
            assert each.truth == truth
            self.parents[self.space(each.space)] = self.space(made.space)
        self.made.append(made)
        return made

    def slots(self, value: Value) -> tuple[Any, Any]:
        """Scale and zero point as a call says them of a value: the truth, or a lie."""
        scale, zero_point = value.truth
        if self.lies and self.draw(st.integers(0, 3)) == 0:
            self.lies -= 1
            # An accumulator has no other zero point, whatever its scale is.
            scale = scale * 3
        self.claims.append((value.space, (scale, zero_point)))
        return relay.const(np.float32(scale)), relay.const(np.int32(zero_point))

    def claimed(self, value: Value) -> set[Claim]:
        """All that calls say of the space of a value."""
        space = self.space(value.space)
        return {claim for each, claim in self.claims if self.space(each) == space}

    # ---- making ----
    def some(self, fits: Callable[[Value], bool] = lambda value: True) -> Value | None:
        fitting = [value for value in self.values if fits(value)]
        return self.draw(st.sampled_from(fitting)) if fitting else None

    def keep(self, *values: Value) -> None:
        """Values that further calls may take."""
        self.values += values

    def input(self) -> None:
        variable = relay.var(f"x{len(self.inputs)}", shape=(1, 4, 4, 2), dtype="int8")
        self.inputs.append(variable)
        self.keep(self.value(variable, np.zeros((1, 4, 4, 2)), self.draw(_CLAIMS)))

    def result(self, zeros: Any) -> tuple[Value, tuple[Any, Any]]:
        """A value in a space of its own, whose call is still to be made, with what that says."""
        made = self.value(None, zeros, self.draw(_CLAIMS))
        return made, self.slots(made)


def make(draw: Draw, lies: int = 0) -> Random:
    maker = Random(draw, lies)
    for _ in range(draw(st.integers(1, 3))):
        maker.input()
    for _ in range(draw(st.integers(1, 10))):
        draw(st.sampled_from(STEPS))(maker)
    return maker


def typed(maker: Random) -> tuple[Any, list[tuple[Value, Any]]]:
    """The module with types, and each value with its expression there."""
    used = {
        operand
        for value in maker.made
        for node in post_order(value.expr)
        for operand in _below(node)
    }
    leaves = [value.expr for value in maker.values if value.expr not in used] + maker.outputs
    function = relay.Function(maker.inputs, relay.Tuple(leaves))
    module = relay.transform.InferType()(tvm.IRModule.from_expr(function))
    places = zip(post_order(function), post_order(module["main"]), strict=True)
    found = {old: new for old, new in places}
    return module, [(each, found[each.expr]) for each in maker.made if each.expr in found]


def _below(node: Any) -> list[Any]:
    if isinstance(node, relay.Call):
        return list(node.args)
    return [node.tuple_value] if isinstance(node, relay.TupleGetItem) else []


# ---- operators that say something ------------------------------------------------------


def _requantize(maker: Random) -> None:
    x = maker.some()
    assert x is not None
    before = maker.slots(x)
    made, slots = maker.result(x.zeros)
    made.expr = qnn.requantize(x.expr, *before, *slots)
    maker.keep(made)


def _binary(maker: Random) -> None:
    x = maker.some()
    assert x is not None
    y = maker.some(lambda value: value.zeros.shape == x.zeros.shape)
    assert y is not None
    operation = maker.draw(st.sampled_from((qnn.add, qnn.subtract, qnn.mul)))
    before = *maker.slots(x), *maker.slots(y)
    made, slots = maker.result(x.zeros)
    made.expr = operation(x.expr, y.expr, *before, *slots)
    maker.keep(made)


def _concatenate_quantized(maker: Random) -> None:
    x = maker.some()
    assert x is not None
    y = maker.some(lambda value: value.zeros.shape == x.zeros.shape)
    assert y is not None
    (s, z), (t, w) = maker.slots(x), maker.slots(y)
    made, slots = maker.result(np.concatenate([x.zeros, y.zeros], 0))
    fields = (relay.Tuple([x.expr, y.expr]), relay.Tuple([s, t]), relay.Tuple([z, w]))
    made.expr = qnn.concatenate(*fields, *slots, axis=0)
    maker.keep(made)


def _fake(maker: Random) -> None:
    """An operator on floats between a dequantize and a quantize."""
    x = maker.some()
    assert x is not None
    before = maker.slots(x)
    made, slots = maker.result(x.zeros)
    made.expr = qnn.quantize(relay.tanh(qnn.dequantize(x.expr, *before)), *slots)
    maker.keep(made)


def _dense(maker: Random) -> None:
    """With a bias, which is in the space of the accumulator; and that is in no other's."""
    x = maker.some(lambda value: value.zeros.ndim == 2)
    if x is None:
        return
    units = 3
    weights = relay.const(np.ones((units, x.zeros.shape[1]), "int8"))
    weight = maker.value(weights, np.zeros((units, x.zeros.shape[1])), (0.5, 0))
    (data_scale, data_zero), (scale, zero) = maker.slots(x), maker.slots(weight)
    zeros = np.zeros((x.zeros.shape[0], units))
    slots = data_zero, zero, data_scale, scale
    product = qnn.dense(x.expr, weights, *slots, units)
    accumulator = maker.value(product, zeros, (0.0625, 0))
    bias = maker.value(relay.const(np.ones(units, "int32")), zeros[0], (0.0625, 0), accumulator)
    total = relay.nn.bias_add(product, bias.expr, axis=1)
    total_value = maker.value(total, zeros, (0.0625, 0), bias, accumulator)
    if maker.draw(st.booleans()):
        before = maker.slots(total_value)
        made, after = maker.result(zeros)
        made.expr = qnn.requantize(total, *before, *after)
        maker.keep(made)
    else:
        maker.outputs.append(total)


# ---- operators that say nothing and pass everything on ----------------------------------

_PASSING: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any], int | None]] = {
    # The operator, what it does to a shape, and how many dimensions it takes (None: any).
    "clip": (lambda x: relay.clip(x, -5.0, 5.0), lambda a: a, None),
    "relu": (relay.nn.relu, lambda a: a, None),
    "copy": (relay.copy, lambda a: a, None),
    "transpose": (relay.transpose, np.transpose, None),
    "flat": (lambda x: relay.reshape(x, [1, -1]), lambda a: a.reshape(1, -1), None),
    "expand": (lambda x: relay.expand_dims(x, 0), lambda a: a[None], 2),
    "squeeze": (lambda x: relay.squeeze(relay.expand_dims(x, 1), [1]), lambda a: a, None),
    "reverse": (lambda x: relay.reverse(x, 1), lambda a: a, 4),
    "pad": (
        lambda x: relay.nn.pad(x, [[0, 0], [1, 0]]),
        lambda a: np.pad(a, [(0, 0), (1, 0)]),
        2,
    ),
    "pool": (
        lambda x: relay.nn.max_pool2d(x, (2, 2), padding=(1, 1), layout="NHWC"),
        lambda a: np.zeros((a.shape[0], a.shape[1] + 1, a.shape[2] + 1, a.shape[3])),
        4,
    ),
    "max": (lambda x: relay.max(x, 0), lambda a: a.max(0), 4),
    "take": (
        lambda x: relay.take(x, relay.const(np.int32([0, 0])), axis=0),
        lambda a: a[[0, 0]],
        None,
    ),
    "slice": (
        lambda x: relay.strided_slice(x, [0, 0], [1, 1], [1, 1], axes=[0, 1]),
        lambda a: a[:1, :1],
        None,
    ),
    "tile": (lambda x: relay.tile(x, (2, 1)), lambda a: np.tile(a, (2, 1)), 2),
}


def _pass(maker: Random) -> None:
    operation, shaped, rank = _PASSING[maker.draw(st.sampled_from(sorted(_PASSING)))]
    x = maker.some(lambda value: rank is None or value.zeros.ndim == rank)
    if x is not None and x.zeros.ndim >= 2:
        maker.keep(maker.value(operation(x.expr), shaped(x.zeros), x.truth, x))


def _widened_pool(maker: Random) -> None:
    x = maker.some(lambda value: value.zeros.ndim == 4)
    if x is None:
        return
    wide = maker.value(relay.cast(x.expr, "int32"), x.zeros, x.truth, x)
    pooled = relay.nn.avg_pool2d(wide.expr, (1, 1), layout="NHWC")
    pool = maker.value(pooled, x.zeros, x.truth, wide)
    maker.keep(maker.value(relay.cast(pooled, "int8"), x.zeros, x.truth, pool))


def _mean(maker: Random) -> None:
    x = maker.some(lambda value: value.zeros.ndim == 4)
    if x is None:
        return
    wide = maker.value(relay.cast(x.expr, "int32"), x.zeros, x.truth, x)
    zeros = x.zeros.mean((1, 2))
    mean = maker.value(relay.mean(wide.expr, (1, 2)), zeros, x.truth, wide)
    before = maker.slots(mean)
    made, after = maker.result(zeros)
    made.expr = qnn.requantize(mean.expr, *before, *after)
    maker.keep(made)


def _split(maker: Random) -> None:
    x = maker.some(lambda value: value.zeros.ndim >= 2 and value.zeros.shape[-1] % 2 == 0)
    if x is None:
        return
    parts = relay.split(x.expr, 2, axis=x.zeros.ndim - 1)
    # The tuple is in that space too: what is true of all fields is known of it.
    both = maker.value(parts.tuple_value, x.zeros, x.truth, x)
    for index, zeros in enumerate(np.split(x.zeros, 2, -1)):
        maker.keep(maker.value(parts[index], zeros, x.truth, both))


def _joined(maker: Random) -> None:
    """Two values that are in one space from now on: true, since their parameters are equal."""
    x = maker.some()
    assert x is not None
    y = maker.some(lambda value: (value.zeros.shape, value.truth) == (x.zeros.shape, x.truth))
    assert y is not None
    kind = maker.draw(st.sampled_from(("maximum", "minimum", "concatenate", "stack")))
    if kind == "concatenate":
        expr = relay.concatenate([x.expr, y.expr], 0)
        zeros = np.concatenate([x.zeros, y.zeros], 0)
    elif kind == "stack":
        expr, zeros = relay.stack([x.expr, y.expr], 0), np.stack([x.zeros, y.zeros], 0)
    else:
        expr, zeros = getattr(relay, kind)(x.expr, y.expr), x.zeros
    maker.keep(maker.value(expr, zeros, x.truth, x, y))


# ---- and that neither say nor pass on ---------------------------------------------------


def _opaque(maker: Random) -> None:
    x = maker.some()
    assert x is not None
    maker.keep(maker.value(relay.abs(x.expr), x.zeros, maker.draw(_CLAIMS)))


STEPS = (
    *(_requantize, _binary, _concatenate_quantized, _fake, _dense),
    *(_pass, _pass, _pass, _pass, _widened_pool, _mean, _split, _joined, _joined, _opaque),
)
