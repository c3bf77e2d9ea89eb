"""A laid out expression means what it means on one line: Python's own parser says so."""

from __future__ import annotations

import ast

from hypothesis import given
from hypothesis import strategies as st

from qpat.targets.layout import WIDTH, assigned, bracketed

_NAMES = st.sampled_from(
    ["x", "x2.shape", "the_name_of_a_tensor", "w.zero_point", "'a, b'", '"(x"']
)


def _longer(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    several = st.lists(inner, min_size=1, max_size=4)
    return st.one_of(
        st.builds(lambda a, b: f"({a} and {b})", inner, inner),
        st.builds(lambda a, b: f"({a} or {b})", inner, inner),
        st.builds(lambda a: f"not ({a})", inner),
        st.builds(lambda a, b: f"({a}) + ({b})", inner, inner),
        st.builds(lambda a, b, c: f"({a} if {b} else {c})", inner, inner, inner),
        st.builds(lambda items: f"a_function({', '.join(items)})", several),
        st.builds(lambda items: f"[{', '.join(items)}]", several),
        st.builds(lambda items: f"({', '.join(items)},)", several),
        st.builds(lambda a, b: f"{a}[{b}]", st.just("values"), inner),
    )


EXPRESSIONS = st.recursive(_NAMES, _longer, max_leaves=24)


@given(EXPRESSIONS)
def test_an_assigned_expression_keeps_its_meaning(text: str) -> None:
    lines = assigned("target", text)
    assert ast.dump(ast.parse("\n".join(lines))) == ast.dump(ast.parse(f"target = {text}"))
    assert len(lines) > 1 or len(text) <= WIDTH or not any(c in text for c in "([")


@given(EXPRESSIONS)
def test_an_argument_keeps_its_meaning(text: str) -> None:
    lines = bracketed("require(", [text, '"a reason that is given"'], ")")
    whole = f'require({text}, "a reason that is given")'
    assert ast.dump(ast.parse("\n".join(lines))) == ast.dump(ast.parse(whole))
