"""Inside `any` and `all` a condition is one of each element; elsewhere it holds for all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tvm
from hypothesis import given, settings
from hypothesis import strategies as st
from tvm import relay

from qpat.compiler import compile_source
from qpat.relay.partition import Partition, partition
from qpat.source import Source
from tests.targets.test_lists import partitioned

Condition = tuple[str, Callable[[int], bool]]


@st.composite
def conditions(draw: Any, depth: int = 2) -> Condition:
    """Text of a condition on the elements of a constant, and what it says of one."""
    first, second = sorted([draw(st.integers(-4, 4)), draw(st.integers(-4, 4))])
    if depth == 0:
        return draw(
            st.sampled_from(
                [
                    (f"w.value > {first}", lambda each: each > first),
                    (f"w.value != {first}", lambda each: each != first),
                    (f"w.value in {first}..{second}", lambda each: first <= each <= second),
                    (f"w.value not in {first}..{second}", lambda e: not first <= e <= second),
                    (f"w.value in {{{first}, {second}}}", lambda each: each in (first, second)),
                    (f"w.value not in {{{first}, {second}}}", lambda e: e not in (first, second)),
                    (f"rank(w) == {first % 3}", lambda _: first % 3 == 1),
                    ("bias?", lambda _: False),
                    (f"(bias? => bias.value > {first})", lambda _: True),
                    (f"(bias? and bias.value > {first})", lambda _: False),
                ]
            )
        )
    (one, is_one), (other, is_other) = (draw(conditions(depth - 1)) for _ in range(2))
    third, is_third = draw(conditions(0))
    return draw(
        st.sampled_from(
            [
                (f"not ({one})", lambda each: not is_one(each)),
                (f"({one}) and ({other})", lambda each: is_one(each) and is_other(each)),
                (f"({one}) or ({other})", lambda each: is_one(each) or is_other(each)),
                (f"(({one}) => ({other}))", lambda each: not is_one(each) or is_other(each)),
                (
                    f"(if {third} then ({one}) else ({other}))",
                    lambda each: is_one(each) if is_third(each) else is_other(each),
                ),
            ]
        )
    )


def sums(statements: str, value: Any) -> Partition:
    """A sum with a constant, of which a pattern looks at each element."""
    ports = "x: int32, w: int32, bias: int32?"
    body = f"s = add(x, const w)\ny = nn.bias_add(s, const bias)?\n{statements}"
    text = f'compiler "n"\npattern p({ports}) -> y: int32 {{ {body} }}'
    x = relay.var("x", shape=(1, np.size(value)), dtype="int32")
    function = relay.Function([x], relay.add(x, relay.const(value, "int32")))
    module = relay.transform.InferType()(tvm.IRModule.from_expr(function))
    return partition(module, compile_source(Source("n.qpat", text)))


@settings(max_examples=60, deadline=None)
@given(st.lists(conditions(), min_size=6, max_size=6), st.lists(st.integers(-5, 5), min_size=1))
def test_any_and_all_look_at_each_element(drawn: list[Condition], value: list[int]) -> None:
    params, wanted = [], {}
    for number, (text, holds) in enumerate(drawn):
        params += [f"param any{number} = any({text})", f"param all{number} = all({text})"]
        wanted[f"any{number}"] = any(map(holds, value))
        wanted[f"all{number}"] = all(map(holds, value))
    (match,) = sums("\n".join(params), np.asarray(value)).matches
    assert {name: match.params[name] for name in wanted} == wanted, params


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(-5, 5), min_size=1), st.integers(-4, 0), st.integers(0, 4))
def test_outside_of_them_a_range_holds_for_all_elements(
    value: list[int], first: int, last: int
) -> None:
    inside = f"param inside = w.value in {first}..{last}"
    outside = f"param outside = w.value not in {first}..{last}"
    (match,) = sums(f"{inside}\n{outside}", np.asarray(value)).matches
    assert match.params["inside"] is all(first <= each <= last for each in value)
    assert match.params["outside"] is not any(first <= each <= last for each in value)


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        ("any(size(xs) in {96, 7})", True),
        ("all(size(xs) in {96, 7})", False),
        ("size(xs) in {96, 7}", False),
        ("size(xs) in {96, 32}", True),
        ("size(xs) not in {96, 7}", False),
        ("size(xs) not in {95, 7}", True),
        ("any(size(xs) not in {96, 7})", True),
        ("all(size(xs) not in 33..100)", False),
        ("any(xs.dtype in {int8, int16})", True),
        ("any(xs.dtype not in {int8, int16})", False),
        ("xs.dtype not in {uint8, int16}", True),
        ("any(xs.scale == 0.5 and size(xs) > 32)", True),
    ],
)
def test_of_many_tensors_each_is_looked_at(expression: str, wanted: bool) -> None:
    (match,) = partitioned(f"param p = {expression}").matches
    assert match.params["p"] is wanted
