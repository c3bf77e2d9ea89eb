"""What is computed of an expression at compile time is what a generated module computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from qpat.compiler import check_source
from qpat.semantics import ir
from qpat.semantics.folding import UNKNOWN, Folding
from qpat.source import Source
from qpat.targets import relay_conditions, relay_support
from qpat.targets.expressions import Variables, python

Draw = Callable[[st.SearchStrategy[Any]], Any]
SPACE = {**vars(relay_support), **vars(relay_conditions), "np": np}


@st.composite
def expressions(draw: Draw, depth: int = 2) -> str:
    """Text of an expression of literals; not every one is accepted."""
    leaves = ["0", "1", "2", "3", "0.5", "-1", "true", "false", '"int8"', "int8", "none"]
    if depth == 0:
        return str(draw(st.sampled_from(leaves)))
    first, second = draw(expressions(depth - 1)), draw(expressions(depth - 1))
    third = draw(st.sampled_from(leaves))
    binary = draw(st.sampled_from(["+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">="]))
    logic = draw(st.sampled_from(["and", "or", "=>"]))
    return str(
        draw(
            st.sampled_from(
                [
                    f"({first} {binary} {second})",
                    f"({first} {binary} {second})",
                    f"({first} {logic} {second})",
                    f"(not {first})",
                    f"({first} in {{{second}, {third}}})",
                    f"({first} not in {{{second}, {third}}})",
                    f"({first} in {second}..{third})",
                    f"(({first}, {second}) in {{({second}, {third}), ({first}, {third})}})",
                    f"(if {first} then {second} else {third})",
                ]
            )
        )
    )


def _lowered(text: str) -> ir.Expression | None:
    source = f'compiler "n"\npattern p(x) -> y {{ y = nn.relu(x)\nparam k = {text}\n}}'
    module, _ = check_source(Source("case.qpat", source))
    if module is None:
        return None
    (param,) = module.patterns[0].statements
    assert isinstance(param, ir.Param)
    return param.value


@settings(max_examples=300, deadline=None, derandomize=True)
@given(expressions())
def test_known_values_are_those_of_the_generated_text(text: str) -> None:
    expression = _lowered(text)
    assume(expression is not None)
    assert expression is not None
    value = Folding().value(expression)
    if value is UNKNOWN:
        return
    try:
        computed = eval(python(expression, Variables({}, {}, {}, "options", {})), dict(SPACE))
    except (TypeError, relay_support.Refused):
        return  # a match is refused then, whatever was computed of the other parts
    assert computed == value, text


def test_many_expressions_are_known() -> None:
    known = ["1 + 2 * 3 == 7", "4 / 2", "7 % 4", "1 in 0..3", "not (1 > 2)", "1 in {1, 2}"]
    for text in (*known, "(1, 2) in {(1, 2)}", "if 1 < 2 then 3 else 4", "false and 1 / 0 == 1"):
        expression = _lowered(text)
        assert expression is not None and Folding().value(expression) is not UNKNOWN, text
