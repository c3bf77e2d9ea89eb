"""What a generated module does beside matching: options, externs, operators, shared values."""

from __future__ import annotations

import re
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relay

from qpat.compiler import compile_source
from qpat.diagnostics import QpatError
from qpat.options import parse_options
from qpat.relay.loading import load
from qpat.relay.partition import partition
from qpat.source import Source

HALF, ZERO = (relay.const(np.float32(0.5)), relay.const(np.int32(0)))


def compiled(body: str, name: str = "s.qpat") -> Any:
    return compile_source(Source(name, f'compiler "s"\n{body}'))


def module_of(expr: Any) -> Any:
    function = relay.Function(relay.analysis.free_vars(expr), expr)
    return relay.transform.InferType()(tvm.IRModule.from_expr(function))


def var(name: str, shape: tuple[int, ...], dtype: str = "int8") -> Any:
    return relay.var(name, shape=shape, dtype=dtype)


# ---- options ---------------------------------------------------------------------------------

LIMITED = """
option most: int = 3
option cpu: str = target.mcpu ?? "generic"
pattern p(x: int8) -> y: int8 {
  y = clip(x)
  where rank(x) <= most else "rank"
  where cpu != "weak" else "weak"
  param which = cpu
}"""
CLIP = relay.clip(var("x", (2, 2, 2)), 0, 6)
HOST = "llvm -mtriple=x86_64-unknown-linux-gnu"


@pytest.mark.parametrize(
    ("options", "cpu"),
    [
        ({}, "generic"),
        ({"most": 5}, "generic"),
        ({"cpu": "other"}, "other"),
        ({"target": f"{HOST} -mcpu=haswell"}, "haswell"),
        ({"most": 2}, None),
        ({"target": f"{HOST} -mcpu=weak"}, None),
    ],
)
def test_options_and_facts_of_the_target_decide(options: dict[str, Any], cpu: str | None) -> None:
    result = partition(module_of(CLIP), compiled(LIMITED), options=options)
    assert [match.params["which"] for match in result.matches] == ([] if cpu is None else [cpu])


def test_the_target_of_the_with_block_is_the_default() -> None:
    generated = load(compiled(LIMITED))
    with tvm.target.Target(f"{HOST} -mcpu=haswell"):
        assert generated.Options().cpu == "haswell"


@pytest.mark.parametrize("options", [{"mos": 3}, {"most": "three"}, {"most": 2.5}])
def test_an_option_that_does_not_fit_is_a_finding(options: dict[str, Any]) -> None:
    with pytest.raises(QpatError) as caught:
        partition(module_of(CLIP), compiled(LIMITED), options=options)
    assert [each.code for each in caught.value.diagnostics] == ["QP336"]


def test_a_target_that_tvm_has_not_is_told_without_its_backtrace() -> None:
    with pytest.raises(QpatError) as caught:
        partition(module_of(CLIP), compiled(LIMITED), options={"target": "relays"})
    [found] = caught.value.diagnostics
    assert found.message.startswith('an option does not fit: Target kind "relays" is not defined')
    assert "\n" not in found.message


@pytest.mark.parametrize("target", ["", " ", "\t\n", 5, [], {}, {"kind": "llvm", "mcpu": 3}])
def test_a_target_that_is_none_is_a_finding(target: Any) -> None:
    with pytest.raises(QpatError) as caught:
        partition(module_of(CLIP), compiled(LIMITED), options={"target": target})
    [found] = caught.value.diagnostics
    assert found.code == "QP336" and "\n" not in found.message


EMPTY = """
option l: ints = []
pattern p(x: int8) -> y: int8 {
  y = clip(x)
  param some = l
  param empty: ints = x.shape[3:1]
}"""


@pytest.mark.parametrize(("words", "some"), [([], ()), (["l="], ()), (["l=4,5"], (4, 5))])
def test_an_empty_list_is_a_list_of_whole_numbers(words: list[str], some: Any) -> None:
    patterns = compiled(EMPTY)
    chosen = parse_options(patterns.module, words)
    (match,) = partition(module_of(CLIP), patterns, options=chosen).matches
    assert match.params == {"some": some, "empty": ()}


# ---- externs ---------------------------------------------------------------------------------

EXTERN = """
extern heavy(x: tensor, n: call, most: int) -> bool from "{module}:heavy"
extern table(x: tensor) -> int8[256] from "{module}:table"
extern two(k: int) -> int, float from "{module}:two"
pattern p(x: int8) -> y: int8 {{
  y = clip(x)
  where not heavy(x, y, 6) else "heavy"
  param lut = table(x)
  param a, b = two(rank(x))
}}"""
PYTHON = """
import numpy as np

def heavy(x, n, most):
    assert x.dtype == "int8" and n.op == "clip", (x, n)
    return n.attrs.a_max > most

def table(x):
    return np.arange({count})

def two(k):
    return k, k / 2
"""


def extern(folder: Path, name: str, count: int = 100) -> Any:
    (folder / f"{name}.py").write_text(PYTHON.format(count=count), encoding="utf-8")
    return compiled(EXTERN.format(module=name), str(folder / "s.qpat"))


def test_a_parameter_that_no_attribute_can_hold_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "sets.py").write_text("def both(k):\n    return {k}\n", encoding="utf-8")
    text = """
extern both(k: int) -> any from "sets:both"
pattern p(x: int8) -> y: int8 { y = clip(x)  param it = both(rank(x)) }"""
    with pytest.raises(QpatError) as caught:
        partition(module_of(CLIP), compiled(text, str(tmp_path / "s.qpat")))
    [found] = caught.value.diagnostics
    assert found.code == "QP344"
    assert "`s.p`" in found.message and "{" in found.message


def test_externs_are_called_with_tensors_calls_and_values(tmp_path: Path) -> None:
    patterns = extern(tmp_path, "externs_that_fit", 256 - 128)
    text = (tmp_path / "externs_that_fit.py").read_text()
    (tmp_path / "externs_that_fit.py").write_text(text.replace("np.arange(128)", "np.zeros(256)"))
    (match,) = partition(module_of(CLIP), patterns).matches
    assert match.params["lut"].dtype == np.int8 and match.params["lut"].shape == (256,)
    assert (match.params["a"], match.params["b"]) == (3, 1.5)
    assert not any(str(tmp_path) == entry for entry in sys.path)


def test_what_an_extern_gives_is_held_to_its_type(tmp_path: Path) -> None:
    result = partition(module_of(CLIP), extern(tmp_path, "externs_too_short", 100))
    assert result.matches == ()
    assert "(256,) is declared" in result.host[0].reason


@pytest.mark.parametrize(
    ("forgetful", "said"),
    [
        ("heavy", "None where bool is declared"),
        ("table", "None where int8 is declared"),
        ("two", "2 values are wanted, and this is None"),
        ("two k, None", "None where float is declared"),
    ],
)
def test_an_extern_that_gives_none_is_refused(tmp_path: Path, forgetful: str, said: str) -> None:
    name, _, given = forgetful.partition(" ")
    module = f"externs_that_forget_{name}_{len(given)}"
    patterns = extern(tmp_path, module, 256)
    path = tmp_path / f"{module}.py"
    head, rest = re.split(rf"(?<=def {name}\()", path.read_text(encoding="utf-8"))
    forgotten = rest.replace(":\n", f":\n    return {given}\n", 1)
    lines = head + forgotten
    path.write_text(lines.replace("arange(256)", "zeros(256)"), encoding="utf-8")
    result = partition(module_of(CLIP), patterns)
    assert result.matches == () and said in result.host[0].reason


def test_an_exception_of_an_extern_refuses_with_its_text(tmp_path: Path) -> None:
    patterns = extern(tmp_path, "externs_that_raise")
    path = tmp_path / "externs_that_raise.py"
    path.write_text(
        path.read_text().replace("assert x", 'raise ValueError("too odd")\n    assert x')
    )
    assert "too odd" in partition(module_of(CLIP), patterns).host[0].reason


@pytest.mark.parametrize("written", [None, "def other(): pass", "raise RuntimeError('broken')"])
def test_an_extern_that_is_not_there_is_a_finding(tmp_path: Path, written: str | None) -> None:
    name = f"externs_absent_{len(written or '')}"
    if written is not None:
        (tmp_path / f"{name}.py").write_text(written, encoding="utf-8")
    with pytest.raises(QpatError) as caught:
        load(compiled(EXTERN.format(module=name), str(tmp_path / "s.qpat")))
    assert [each.code for each in caught.value.diagnostics] == ["QP335"]


# ---- single operators ------------------------------------------------------------------------

RULE = """
pattern pool(x: int8 [1, _, _, C]) -> y: int8 as op "nn.max_pool2d" {
  y = nn.max_pool2d(x, layout="NHWC")
  inherit x
  where y.attrs.pool_size == 2 else "pool size"
  param channels = C
}
pattern p(x: int8, x2: int8) -> y: int8 { y = qnn.add(x, x2, ..) }"""


def _pooled(size: int) -> Any:
    added = relay.qnn.op.add(var("a", (1, 4, 4, 3)), var("b", (1, 4, 4, 3)), *(HALF, ZERO) * 3)
    return module_of(relay.nn.max_pool2d(added, pool_size=(size, size), layout="NHWC"))


def test_a_rule_takes_an_operator_as_it_is() -> None:
    result = partition(_pooled(2), compiled(RULE))
    assert [(m.pattern, m.composite, m.op) for m in result.matches] == [
        ("p", "s.p", None),
        ("pool", None, "nn.max_pool2d"),
    ]
    pool = result.matches[1]
    assert pool.params == {"channels": 3} and pool.tensors["x"].input == 0
    assert pool.tensors["y"].scale == np.float32(0.5)
    assert result.host == ()
    regions = result.regions()
    assert "nn.max_pool2d" not in regions["main"].astext(show_meta_data=False)
    # What was registered for it is gone again.
    assert tvm.ir.Op.get("nn.max_pool2d").get_attr("target.s") is None


def test_a_rule_that_refuses_leaves_the_operator_on_the_host() -> None:
    result = partition(_pooled(3), compiled(RULE))
    assert [match.pattern for match in result.matches] == ["p"]
    assert "nn.max_pool2d" in result.regions()["main"].astext(show_meta_data=False)


# ---- shared values ---------------------------------------------------------------------------

SHARED = """pattern conv2d(x: int8, w: int8) -> y: int8 {
  d = shared nn.pad(x, x.zero_point)?
  y = qnn.requantize(qnn.conv2d(d, const w, .., data_layout="NHWC", kernel_layout="HWIO"), ..)
  param pads = pads(d) ?? 0
}"""


def _two_convolutions() -> Any:
    pad = relay.nn.pad(
        var("x", (1, 4, 4, 3)), [[0, 0], [1, 1], [1, 1], [0, 0]], relay.const(0, "int8")
    )
    made = []
    for _ in range(2):
        weights = relay.const(np.ones((3, 3, 3, 2), "int8"))
        acc = relay.qnn.op.conv2d(
            pad,
            weights,
            ZERO,
            ZERO,
            HALF,
            HALF,
            (3, 3),
            2,
            data_layout="NHWC",
            kernel_layout="HWIO",
        )
        quarter = relay.const(np.float32(0.25))
        made.append(relay.qnn.op.requantize(acc, quarter, ZERO, HALF, ZERO, out_dtype="int8"))
    return module_of(relay.Tuple(made))


def test_a_shared_value_is_copied_for_each_match() -> None:
    module = _two_convolutions()
    result = partition(module, compiled(SHARED))
    assert [match.params["pads"] for match in result.matches] == [(1, 1, 1, 1)] * 2
    assert result.host == ()
    plain = partition(module, compiled(SHARED.replace("shared ", "")))
    assert [match.params["pads"] for match in plain.matches] == [(0,), (0,)]
    assert [host.op for host in plain.host] == ["nn.pad"]


def test_a_module_without_shared_values_is_left_alone() -> None:
    generated = load(compiled(SHARED))
    module = module_of(CLIP)
    assert tvm.ir.structural_equal(generated.prepare(module), module)


# ---- what is inherited ------------------------------------------------------------------------

ASKING = """
pattern add(x: int8, x2: int8) -> y: int8 { y = qnn.add(x, x2, ..) }
pattern pool(x: int8) -> y: int8 {
  y = nn.max_pool2d(x, layout="NHWC")
  inherit x
  where x.scale == 0.5 else "another scale"
}"""


def test_a_condition_may_read_what_is_inherited() -> None:
    result = partition(_pooled(2), compiled(ASKING))
    assert [match.pattern for match in result.matches] == ["add", "pool"]
    refused = partition(_pooled(2), compiled(ASKING.replace("0.5", "0.25")))
    assert [(host.op, host.reason) for host in refused.host] == [
        ("nn.max_pool2d", "s.pool: another scale")
    ]


def test_a_table_that_cannot_know_says_so() -> None:
    generated = load(compiled(ASKING))
    with pytest.warns(UserWarning, match=r"s\.pool"):
        generated.pattern_table()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        generated.pattern_table(inherited=lambda expr: None)


# ---- variables and composites ------------------------------------------------------------------


def test_an_input_of_the_module_can_be_asked_for() -> None:
    patterns = compiled("pattern p(x: int8) -> y: int8 { y = clip(var x) }")
    assert len(partition(module_of(CLIP), patterns).matches) == 1
    other = relay.clip(relay.abs(var("x", (2, 2))), 0, 6)
    assert partition(module_of(other), patterns).matches == ()


def test_a_composite_can_be_matched_by_name() -> None:
    inner = partition(
        module_of(relay.abs(CLIP)), compiled("pattern p(x: int8) -> y: int8 { y = clip(x) }")
    )
    named = 'pattern q(x: int8) -> y: int8 {{ y = abs(composite "s.{}"(x)) }}'
    (match,) = [
        m for m in partition(inner.module, compiled(named.format("p"))).matches if m.pattern == "q"
    ]
    assert match.tensors["x"].shape == (2, 2, 2)
