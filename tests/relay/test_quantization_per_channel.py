"""Scale vectors through random chains of operators, against NumPy on the scales themselves.

An operator that only moves numbers moves the scale of each with it. So the same operator of NumPy,
on an array that has at each place the scale of the number there, gives the scales of the result.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import tvm
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st
from tvm import relay

from qpat.relay.quantization import Quantization, analysed

Draw = Callable[[st.SearchStrategy[Any]], Any]
Step = tuple[Callable[[Any], Any], Callable[[Any], Any]]

slow = settings(
    deadline=None,
    max_examples=int(os.environ.get("QPAT_FUZZ_EXAMPLES", "80")),
    phases=[phase for phase in Phase if phase is not Phase.explain],
    suppress_health_check=[HealthCheck.too_slow],
)


def _axis(draw: Draw, rank: int) -> int:
    return int(draw(st.integers(0, rank - 1)))


def _transpose(draw: Draw, shape: tuple[int, ...]) -> Step:
    axes = draw(st.permutations(range(len(shape))))
    return lambda x: relay.transpose(x, axes), lambda a: a.transpose(axes)


def _reshape(draw: Draw, shape: tuple[int, ...]) -> Step:
    """Splits an axis, joins two, or adds one of size 1."""
    axis, kind = _axis(draw, len(shape)), draw(st.sampled_from(("split", "join", "one")))
    new = list(shape)
    if kind == "split" and shape[axis] % 2 == 0:
        new[axis : axis + 1] = [2, shape[axis] // 2]
    elif kind == "join":
        new[axis : axis + 2] = [math.prod(shape[axis : axis + 2])]
    else:
        new.insert(axis, 1)
    return lambda x: relay.reshape(x, new), lambda a: a.reshape(new)


def _reverse(draw: Draw, shape: tuple[int, ...]) -> Step:
    axis = _axis(draw, len(shape))
    return lambda x: relay.reverse(x, axis), lambda a: np.flip(a, axis)


def _slice(draw: Draw, shape: tuple[int, ...]) -> Step:
    axis = _axis(draw, len(shape))
    size = shape[axis]
    if draw(st.booleans()):
        # All of it, from behind: the size stays, the order does not.
        bounds = [size - 1], [-size - 1], [-1]
        return (
            lambda x: relay.strided_slice(x, *bounds, axes=[axis]),
            lambda a: np.flip(a, axis),
        )
    end = draw(st.integers(1, size))
    return (
        lambda x: relay.strided_slice(x, [0], [end], [1], axes=[axis]),
        lambda a: a.take(range(end), axis),
    )


def _split(draw: Draw, shape: tuple[int, ...]) -> Step:
    axis = _axis(draw, len(shape))
    parts = 2 if shape[axis] % 2 == 0 else 1
    which = draw(st.integers(0, parts - 1))
    return (
        lambda x: relay.split(x, parts, axis)[which],
        lambda a: np.split(a, parts, axis)[which],
    )


def _concatenate(draw: Draw, shape: tuple[int, ...]) -> Step:
    axis = _axis(draw, len(shape))
    return (
        lambda x: relay.concatenate([x, x], axis),
        lambda a: np.concatenate([a, a], axis),
    )


def _take(draw: Draw, shape: tuple[int, ...]) -> Step:
    axis = _axis(draw, len(shape))
    places = draw(st.permutations(range(shape[axis])))
    taken = relay.const(np.array(places, "int32"))
    return lambda x: relay.take(x, taken, axis), lambda a: a.take(places, axis)


def _same(draw: Draw, shape: tuple[int, ...]) -> Step:
    operation = draw(st.sampled_from((relay.nn.relu, relay.copy, lambda x: relay.clip(x, 0, 9))))
    return operation, lambda a: a


def _expand(draw: Draw, shape: tuple[int, ...]) -> Step:
    axis = _axis(draw, len(shape))
    return lambda x: relay.expand_dims(x, axis), lambda a: np.expand_dims(a, axis)


def _tile(draw: Draw, shape: tuple[int, ...]) -> Step:
    times = draw(st.lists(st.integers(1, 2), min_size=len(shape), max_size=len(shape)))
    return lambda x: relay.tile(x, times), lambda a: np.tile(a, times)


STEPS = (_transpose, _reshape, _reverse, _slice, _split, _concatenate, _take, _same, _expand, _tile)


def _spread(scales: Any, axis: int, shape: tuple[int, ...]) -> Any:
    """The scale of each number of a tensor."""
    sizes = [len(scales) if index == axis else 1 for index in range(len(shape))]
    return np.broadcast_to(np.reshape(scales, sizes), shape)


def _vector(size: int) -> Any:
    return (2.0 ** -np.arange(1, size + 1)).astype("float32")


def _shape(draw: Draw) -> tuple[int, ...]:
    return tuple(draw(st.lists(st.sampled_from((2, 3, 4)), min_size=2, max_size=3)))


def _analysed(inputs: list[Any], body: Any) -> tuple[Any, Quantization]:
    module = relay.transform.InferType()(tvm.IRModule.from_expr(relay.Function(inputs, body)))
    return module["main"], analysed(module)


def _chain(draw: Draw, x: Any, shape: tuple[int, ...]) -> tuple[list[Any], list[Step]]:
    """The values after each step, and the steps."""
    values, steps = [], []
    for _ in range(draw(st.integers(1, 3))):
        step = draw(st.sampled_from(STEPS))(draw, shape)
        x, shape = step[0](x), step[1](np.zeros(shape)).shape
        values.append(x)
        steps.append(step)
    return values, steps


@slow
@given(st.data())
def test_scales_forward(data: st.DataObject) -> None:
    draw, shape = data.draw, _shape(data.draw)
    axis = _axis(draw, len(shape))
    real = relay.var("f", shape=shape, dtype="float32")
    slots = relay.const(_vector(shape[axis])), relay.const(np.int32(0))
    x = relay.qnn.op.quantize(real, *slots, axis=axis, out_dtype="int8")
    values, steps = _chain(draw, x, shape)
    main, known = _analysed([real], relay.Tuple(values))
    scales = _spread(_vector(shape[axis]), axis, shape)
    for value, (_, operation) in zip(main.body.fields, steps, strict=True):
        scales = operation(scales)
        found = known.of(value)
        event("known" if found is not None else "not known")
        if found is not None:
            np.testing.assert_array_equal(_spread(found.scale, found.axis, scales.shape), scales)


@slow
@given(st.data())
def test_scales_backward(data: st.DataObject) -> None:
    draw, shape = data.draw, _shape(data.draw)
    x = relay.var("x", shape=shape, dtype="int8")
    values, steps = _chain(draw, x, shape)
    after = np.zeros(shape)
    for _, operation in steps:
        after = operation(after)
    axis = _axis(draw, after.ndim)
    claimed = _vector(after.shape[axis])
    slots = relay.const(claimed), relay.const(np.int32(0))
    body = relay.qnn.op.dequantize(values[-1], *slots, axis=axis)
    main, known = _analysed([x], body)
    found = known.of(main.params[0])
    event("known" if found is not None else "not known")
    if found is None:
        return
    if found.axis is None:
        assert after.shape[axis] == 1
        return
    scales = _spread(found.scale, found.axis, shape)
    for _, operation in steps:
        scales = operation(scales)
    np.testing.assert_array_equal(scales, _spread(claimed, axis, after.shape))
