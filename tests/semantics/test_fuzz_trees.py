"""Random syntax trees, written out as text: a finding or a module that Python compiles, never an
exception."""

from __future__ import annotations

import ast
import time
from collections.abc import Callable

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from qpat.compiler import check_source
from qpat.diagnostics import render_all
from qpat.ops.table import operator
from qpat.semantics.functions import BUILTINS
from qpat.source import Source
from qpat.targets.relay import relay_module

Draw = Callable[[st.SearchStrategy[str]], str]
relaxed = settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
SLOWEST = 3.0

VALUES = ["x", "x2", "w", "bias", "xs", "y", "a", "b", "c", "d", "k"]
OPERATORS = [
    "abs",
    "add",
    "cast",
    "clip",
    "concatenate",
    "maximum",
    "mean",
    "nn.bias_add",
    "nn.pad",
    "nn.max_pool2d",
    "qnn.add",
    "qnn.concatenate",
    "qnn.conv2d",
    "qnn.dequantize",
    "qnn.quantize",
    "qnn.requantize",
    "reshape",
    "sigmoid",
    "split",
    "subtract",
    "frag",
    "lib.frag",
]
DTYPES = ["int8", "uint8", "int32", "float32", "x.dtype", "tensor", "int88"]
MEMBERS = ["shape", "dtype", "scale", "zero_point", "qparams", "axis", "value", "range", "layout"]
ATTRIBUTES = sorted(
    {name for op in OPERATORS if (known := operator(op)) for name in known.attributes}
)

names = st.sampled_from(VALUES)
numbers = st.sampled_from(["0", "1", "2", "-1", "0.5", "3.0", "1e-3", "127"])
strings = st.sampled_from(['"NHWC"', '"HWIO"', '"int8"', '"none"', '"O"', '"HW"', '""'])


# ---- structure -------------------------------------------------------------------------------


def structures() -> st.SearchStrategy[str]:
    leaves = st.one_of(
        names,
        names.map(lambda n: f"const {n}"),
        names.map(lambda n: f"const? {n}"),
        names.map(lambda n: f"var {n}"),
        numbers,
        numbers.filter(lambda n: n[0] != "-").map(lambda n: f"~{n}"),
        st.just("_"),
    )
    return st.recursive(leaves, _wider, max_leaves=6)


def _wider(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    slots = st.tuples(names, st.sampled_from(["scale", "zero_point", "scales"])).map(".".join)
    keywords = st.tuples(st.sampled_from([*ATTRIBUTES, "axiss"]), st.one_of(numbers, strings))
    arguments = st.lists(
        st.one_of(inner, inner, slots, st.just(".."), keywords.map("=".join)), max_size=5
    )
    operators = st.one_of(
        st.sampled_from(OPERATORS),
        st.lists(st.sampled_from(OPERATORS), min_size=1, max_size=2).map(
            lambda ops: f"{{{', '.join(ops)}}}"
        ),
    )
    calls = st.tuples(operators, arguments).map(lambda c: f"{c[0]}({', '.join(c[1])})")
    tuples = st.lists(inner, min_size=2, max_size=3).map(lambda e: f"({', '.join(e)})")
    return st.one_of(
        calls,
        calls,
        calls.map(lambda c: f"{c}?"),
        st.tuples(st.sampled_from(["shared", "ordered", "unordered"]), calls).map(" ".join),
        st.lists(inner, min_size=2, max_size=2).map(lambda e: f"({e[0]} | {e[1]})"),
        tuples,
        tuples.map(lambda t: f"{t}[0]"),
        names.map(lambda n: f"({n}...)"),
        st.lists(inner, max_size=2).map(lambda a: f'composite "n.p"({", ".join(a)})'),
    )


# ---- expressions -----------------------------------------------------------------------------


def expressions() -> st.SearchStrategy[str]:
    leaves = st.one_of(
        names,
        numbers,
        strings,
        st.sampled_from(["true", "false", "none", "form", "raw", "limit", "target.mcpu", "N"]),
        st.tuples(names, st.sampled_from(MEMBERS)).map(".".join),
        st.tuples(names, st.sampled_from(ATTRIBUTES)).map(lambda p: f"{p[0]}.attrs.{p[1]}"),
        names.map(lambda n: f"{n}?"),
    )
    return st.recursive(leaves, _larger, max_leaves=6)


def _larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    symbols = ["+", "-", "*", "/", "%", "**", "==", "!=", "<=", "<", "and", "or", "=>", "??", "in"]
    pairs = st.tuples(inner, st.sampled_from(symbols), inner)
    functions = st.sampled_from([*BUILTINS, "heavy", "nothing"])
    return st.one_of(
        pairs.map(lambda p: f"({p[0]} {p[1]} {p[2]})"),
        inner.map(lambda e: f"(not {e})"),
        inner.map(lambda e: f"(-{e})"),
        st.tuples(inner, inner, inner).map(lambda e: f"(if {e[0]} then {e[1]} else {e[2]})"),
        st.tuples(functions, st.lists(inner, max_size=3)).map(
            lambda c: f"{c[0]}({', '.join(c[1])})"
        ),
        st.tuples(functions, inner).map(lambda c: f'{c[0]}({c[1]}, except="O")'),
        st.lists(inner, max_size=3).map(lambda e: f"[{', '.join(e)}]"),
        st.lists(inner, min_size=1, max_size=3).map(lambda e: f"{{{', '.join(e)}}}"),
        st.lists(inner, min_size=2, max_size=3).map(lambda e: f"({', '.join(e)})"),
        st.tuples(inner, inner).map(lambda e: f"{e[0]}[{e[1]}]"),
        st.tuples(inner, inner).map(lambda e: f"{e[0]}[{e[1]}:]"),
        st.tuples(inner, inner, inner).map(lambda e: f"({e[0]} in {e[1]}..{e[2]})"),
    )


# ---- statements, items -----------------------------------------------------------------------


def statements(depth: int = 1) -> st.SearchStrategy[str]:
    plain = [
        st.tuples(names, structures()).map(" = ".join),
        st.tuples(names, structures()).map(" = ".join),
        st.tuples(names, names, structures()).map(lambda b: f"{b[0]}, {b[1]} = {b[2]}"),
        st.tuples(names, structures()).map(lambda b: f"{b[0]}... = {b[1]}"),
        expressions().map(lambda e: f"where {e}"),
        expressions().map(lambda e: f'where {e} else "reason"'),
        st.tuples(names, expressions()).map(lambda b: f"let {b[0]} = {b[1]}"),
        st.tuples(names, st.sampled_from([*MEMBERS[2:5], "range"]), expressions()).map(
            lambda b: f"let {b[0]}.{b[1]} = {b[2]}"
        ),
        st.tuples(names, expressions()).map(lambda b: f"param p_{b[0]} = {b[1]}"),
        expressions().map(lambda e: f"param p, q = {e}"),
        expressions().map(lambda e: f"param r: ints = {e}"),
        names.map(lambda n: f"inherit {n}"),
        st.tuples(st.sampled_from(["small", "frag", "lib.small"]), expressions()).map(
            lambda u: f"use {u[0]}({u[1]})"
        ),
        st.tuples(names, expressions()).map(lambda m: f"meaning {m[0]} = {m[1]}"),
        expressions().map(lambda e: f"option local = {e}"),
    ]
    if depth:
        block = st.lists(statements(depth - 1), max_size=3).map("\n".join)
        labels = st.sampled_from(["f", "g", "h on relay", "i on relax"])
        plain.append(st.tuples(labels, block).map(lambda f: f"form {f[0]} {{ {f[1]} }}"))
    return st.one_of(*plain)


def ports() -> st.SearchStrategy[str]:
    types = st.lists(st.sampled_from(DTYPES), min_size=1, max_size=2).map(" | ".join)
    shapes = st.sampled_from(["", "", " [N, 3]", " [N, _, _, C]", " [N, ...]", " [x]"])
    return st.tuples(
        st.sampled_from(VALUES[:5]), types, shapes, st.sampled_from(["", "", "?", "..."])
    ).map(lambda p: f"{p[0]}: {p[1]}{p[2]}{p[3]}")


def patterns() -> st.SearchStrategy[str]:
    block = st.lists(statements(), min_size=1, max_size=6).map("\n  ".join)
    aliases = st.sampled_from(["", "", ' as "n"', ' as op "clip"', " as name", " after p"])
    heads = st.tuples(
        st.sampled_from(["p", "q", "small"]),
        st.lists(ports(), max_size=3, unique=True).map(", ".join),
        st.sampled_from(["y: int8", "y", "y: int8...", "x: int8"]),
        aliases,
    )
    return st.tuples(heads, structures(), block).map(
        lambda p: (
            f"pattern {p[0][0]}({p[0][1]}) -> {p[0][2]}{p[0][3]} {{\n  y = {p[1]}\n  {p[2]}\n}}"
        )
    )


def items() -> st.SearchStrategy[str]:
    block = st.lists(statements(), max_size=3).map("\n  ".join)
    return st.one_of(
        patterns(),
        patterns(),
        patterns(),
        st.tuples(st.sampled_from(["", " -> out"]), structures(), block).map(
            lambda f: f"fragment frag(a, n){f[0]} {{\n  out = {f[1]}\n  {f[2]}\n}}"
        ),
        expressions().map(lambda e: f"fragment small(n) {{ where {e} }}"),
        expressions().map(lambda e: f"option limit: int = {e}"),
        st.just('extern heavy(x: tensor, k: int) -> bool from "m:heavy"'),
        patterns().map(lambda p: f"for op, n in [(abs, 1), (clip, 2)] {{ {p} }}"),
        expressions().map(lambda e: f'test "t" """def @main() {{ 1 }}""" {{ match p {{ {e} }} }}'),
    )


files = st.lists(items(), min_size=1, max_size=4).map(
    lambda each: 'compiler "n"\n' + "\n".join(each) + "\n"
)


@relaxed
@given(files)
def test_random_trees_are_findings_or_modules(text: str) -> None:
    source = Source("random.qpat", text)
    start = time.perf_counter()
    module, found = check_source(source)
    shown = render_all(found)
    assert time.perf_counter() - start < SLOWEST
    event("compiles" if module is not None else "findings")
    if module is None:
        assert shown
        return
    if module.patterns:
        ast.parse(relay_module(module, source.name))


@relaxed
@given(st.lists(expressions(), min_size=1, max_size=4))
def test_random_expressions_compile_to_python_or_are_findings(each: list[str]) -> None:
    """On a pattern that is fine by itself, so that what is random is looked at to its end."""
    lines = "\n".join(f"  param r{i} = {e}" for i, e in enumerate(each))
    text = (
        'compiler "n"\noption limit: int = 3\n'
        'extern heavy(x: tensor, k: int) -> bool from "m:heavy"\n'
        "pattern p(x: int8 [N, _, _, _], w: int8, bias: int32?) -> y: int8 {\n"
        '  a = qnn.conv2d(x, const w, .., data_layout="NHWC", kernel_layout="HWIO")\n'
        "  b = nn.bias_add(a, const bias)?\n  c = qnn.requantize(b, ..)\n  d = clip(c)?\n  y = d\n"
        f"{lines}\n  where heavy(x, limit)\n}}\n"
    )
    module, found = check_source(Source("random.qpat", text))
    event("compiles" if module is not None else "findings")
    if module is not None:
        ast.parse(relay_module(module, "random.qpat"))
    else:
        assert all(each.span is not None for each in found)
