"""Operands that change places: scale and zero point move with their tensor, rows stay the same."""

from __future__ import annotations

import time
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relay

from qpat.compiler import compile_source
from qpat.relay.loading import load
from qpat.relay.partition import partition
from qpat.source import Source

BINARY = ("add", "subtract", "mul")
X, X2 = (0.5, 3, "x"), (0.25, -7, "c")


def compiled(body: str) -> Any:
    return compile_source(Source("s.qpat", f'compiler "s"\n{body}'))


def module_of(expr: Any) -> Any:
    function = relay.Function(relay.analysis.free_vars(expr), expr)
    return relay.transform.InferType()(tvm.IRModule.from_expr(function))


def scalar(value: float, dtype: str) -> Any:
    return relay.const(np.asarray(value, dtype))


def binary(operator: str, swapped: bool) -> Any:
    tensors = {
        "x": relay.abs(relay.var("in", shape=(2, 4), dtype="int8")),
        "c": relay.const(np.arange(4, dtype="int8")),
    }
    groups = [X2, X] if swapped else [X, X2]
    values = [tensors[name] for *_, name in groups]
    slots = [scalar(v, d) for s, z, _ in groups for v, d in ((s, "float32"), (z, "int32"))]
    made = getattr(relay.qnn.op, operator)
    return made(*values, *slots, scalar(1.0, "float32"), scalar(2, "int32"))


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("operator", BINARY)
def test_records_name_the_same_tensors_either_way_round(operator: str, swapped: bool) -> None:
    patterns = compiled(f"""pattern p(x: int8, c: int8) -> y: int8 {{
      s = unordered qnn.{operator}(x, const c, ..)
      y = s
      param reversed = swapped(s)
    }}""")
    assert len(patterns.module.patterns[0].rows) == 1
    (match,) = partition(module_of(binary(operator, swapped)), patterns).matches
    assert match.params["reversed"] == swapped
    tensors = match.tensors
    assert (tensors["x"].scale, tensors["x"].zero_point) == X[:2]
    assert (tensors["c"].scale, tensors["c"].zero_point) == X2[:2]
    assert (tensors["y"].scale, tensors["y"].zero_point) == (1.0, 2)
    np.testing.assert_array_equal(tensors["c"].value, np.arange(4))
    assert tensors["x"].input == 0 and tensors["c"].input is None


@pytest.mark.parametrize(("word", "matches"), [("", 1), ("ordered ", 0)])
@pytest.mark.parametrize("operator", ["qnn.add", "qnn.mul"])
def test_ordered_says_no(operator: str, word: str, matches: int) -> None:
    patterns = compiled(
        f"pattern p(x: int8, c: int8) -> y: int8 {{ y = {word}{operator}(x, const c, ..) }}"
    )
    module = module_of(binary(operator.removeprefix("qnn."), swapped=True))
    assert len(partition(module, patterns).matches) == matches


@pytest.mark.parametrize("operator", ["maximum", "minimum", "add", "multiply"])
def test_other_commutative_operators_match_either_way_round(operator: str) -> None:
    patterns = compiled(
        f"pattern p(x: float32, c: float32) -> y: float32 {{ y = {operator}(abs(x), const c) }}"
    )
    x = relay.abs(relay.var("x", shape=(2, 4), dtype="float32"))
    c = relay.const(np.ones(4, "float32"))
    made = getattr(relay, operator)
    for expr in (made(x, c), made(c, x)):
        (match,) = partition(module_of(expr), patterns).matches
        assert match.tensors["x"].shape == (2, 4) and match.tensors["c"].shape == (4,)


def test_a_where_decides_which_way_stands() -> None:
    patterns = compiled("""pattern p(x: int8, x2: int8) -> y: int8 {
      s = qnn.add(x, x2, ..)
      y = s
      where broadcasts(x2, x) else "the second is not the smaller one"
      param reversed = swapped(s)
    }""")
    large = relay.var("large", shape=(2, 4), dtype="int8")
    small = relay.var("small", shape=(1, 4), dtype="int8")
    slots = [scalar(v, d) for v, d in ((0.5, "float32"), (0, "int32")) * 3]
    for values, reversed_ in (((large, small), False), ((small, large), True)):
        (match,) = partition(module_of(relay.qnn.op.add(*values, *slots)), patterns).matches
        assert match.params["reversed"] == reversed_
        assert match.tensors["x"].shape == (2, 4)


def test_what_stands_under_a_swapped_call_may_stand_elsewhere_too() -> None:
    """TVM's alternation takes the first side that fits; the row says both ways as a whole."""
    patterns = compiled("""pattern p(a: float32, b: float32) -> y: float32 {
      y = subtract(maximum(a, b), negative(a))
    }""")
    a, b = (relay.var(name, shape=(2,), dtype="float32") for name in "ab")
    for inner in (relay.maximum(a, b), relay.maximum(b, a)):
        expr = relay.subtract(inner, relay.negative(a))
        (match,) = partition(module_of(expr), patterns).matches
        assert match.pattern == "p"


def test_per_channel_axes_move_with_their_tensor() -> None:
    patterns = compiled(
        "pattern p(x: int8, w: int8) -> y: int8 { y = qnn.add(x, const w, ..) param axis = w.axis }"
    )
    x = relay.abs(relay.var("x", shape=(2, 4), dtype="int8"))
    w = relay.const(np.ones((3, 2, 4), "int8"))
    vector = relay.const(np.array([0.1, 0.2, 0.3, 0.4], "float32"))
    zeros = relay.const(np.zeros(4, "int32"))
    half, zero = scalar(0.5, "float32"), scalar(0, "int32")
    plain, other = (x, half, zero), (w, vector, zeros)
    for first, second, axes in ((plain, other, (-1, 2)), (other, plain, (2, -1))):
        expr = relay.qnn.op.add(first[0], second[0], *first[1:], *second[1:], half, zero, *axes)
        matches = partition(module_of(expr), patterns).matches
        assert [match.params["axis"] for match in matches] == [2]


def _tree(depth: int) -> tuple[str, int]:
    """A balanced tree of additions: its text, and how many leaves it has."""
    names = [f"x{i}" for i in range(2**depth)]
    level = list(names)
    while len(level) > 1:
        level = [f"qnn.add({a}, {b}, ..)" for a, b in zip(level[::2], level[1::2], strict=True)]
    return level[0], len(names)


def test_many_commutative_calls_cost_no_rows_and_little_time() -> None:
    text, count = _tree(3)
    ports = ", ".join(f"x{i}: int8" for i in range(count))
    patterns = compiled(f"pattern p({ports}) -> y: int8 {{ y = {text} }}")
    assert len(patterns.module.patterns[0].rows) == 1
    generated = load(patterns)
    slots = [scalar(v, d) for v, d in ((0.5, "float32"), (0, "int32")) * 3]
    level = [relay.var(f"x{i}", shape=(2,), dtype="int8") for i in range(count)]
    while len(level) > 1:
        pairs = zip(level[::2], level[1::2], strict=True)
        level = [relay.qnn.op.add(a, b, *slots) for a, b in pairs]
    root = module_of(level[0])["main"].body
    assert generated.ROWS[0].pattern().match(root)
    refused = module_of(relay.qnn.op.add(relay.abs(level[0].args[0]), level[0].args[0], *slots))
    assert _seconds(generated, refused["main"].body) < 0.5


def _seconds(generated: ModuleType, root: Any) -> float:
    start = time.perf_counter()
    assert generated.refusal(generated.ROWS[0], root, generated.Options()) is not None
    return time.perf_counter() - start
