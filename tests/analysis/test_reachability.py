"""What is said of rows that an earlier one takes, and what is not said."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from benchmarks.startup import hundred_patterns
from qpat.analysis.answers import Answer, Verdict
from qpat.analysis.reachability import reachability
from qpat.compiler import check_source
from qpat.semantics import ir
from qpat.source import Source, read_source
from tests.analysis.test_brute_force import sampled_modules
from tests.lowering import lowered

ROOT = Path(__file__).resolve().parents[2]
HEAD = 'compiler "s"\n'


def pattern(name: str, body: str, ports: str = "x: int8", output: str = "y: int8") -> str:
    return f"pattern {name}({ports}) -> {output} {{ {body} }}\n"


def answers(*patterns: str) -> tuple[Answer, ...]:
    return reachability(lowered(HEAD + "".join(patterns)))


def last(*patterns: str) -> Verdict:
    return answers(*patterns)[-1].verdict


def codes(*patterns: str) -> list[str]:
    return [each.code for each in check_source(Source("p.qpat", HEAD + "".join(patterns)))[1]]


CONV = "x: int8, w: int8"
BINARY = "x: int8, x2: int8"
CONCAT = "xs: int8..."

# Two patterns, the later of which is beaten.
BEATEN = {
    "the same": (pattern("p", "y = clip(x)"), pattern("q", "y = clip(x)")),
    "an inner value": (pattern("p", "y = abs(x)"), pattern("q", "y = clip(abs(x))")),
    "deep inside": (pattern("p", "y = abs(x)"), pattern("q", "y = exp(clip(exp(abs(x))))")),
    "a shorter one at the root": (pattern("p", "y = clip(x)"), pattern("q", "y = clip(abs(x))")),
    "anything for a constant": (
        pattern("p", "y = maximum(x, x2)", BINARY),
        pattern("q", "y = maximum(x, const x2)", BINARY),
    ),
    "either for a constant": (
        pattern("p", "y = maximum(x, const? x2)", BINARY),
        pattern("q", "y = maximum(x, const x2)", BINARY),
    ),
    "a constant for a literal": (
        pattern("p", "y = maximum(x, const x2)", BINARY),
        pattern("q", "y = maximum(x, 3)"),
    ),
    "about for a literal": (
        pattern("p", "y = maximum(x, ~0.7)", "x: float32", "y: float32"),
        pattern("q", "y = maximum(x, 0.7)", "x: float32", "y: float32"),
    ),
    "the other way round": (
        pattern("p", "y = maximum(const x2, x)", BINARY),
        pattern("q", "y = maximum(x, const x2)", BINARY),
    ),
    "two nodes for one": (
        pattern("p", "y = maximum(x, x2)", BINARY),
        pattern("q", "a = abs(x)\n  y = maximum(a, a)"),
    ),
    "no attribute for one": (
        pattern("p", "y = nn.max_pool2d(x)"),
        pattern("q", 'y = nn.max_pool2d(x, layout="NHWC")'),
    ),
    "a dtype among more": (
        pattern("p", "y = clip(x)", "x: int8 | uint8", "y: x.dtype"),
        pattern("q", "y = clip(x)", "x: uint8", "y: uint8"),
    ),
    "a dtype that an operator keeps": (
        pattern("p", "y = clip(x)", "x", "y: int8"),
        pattern("q", "y = clip(x)", "x: int8", "y"),
    ),
    "a dtype that is stated": (
        pattern("p", "y = cast(x, dtype=int32)", "x: int8", "y: int32"),
        pattern("q", "y = cast(x, dtype=int32)", "x: int8", "y"),
    ),
    "a shape": (
        pattern("p", "y = clip(x)", "x: int8 [N, ..., C]"),
        pattern("q", "y = clip(x)", "x: int8 [1, H, W, 4]"),
    ),
    "one size twice": (
        pattern("p", "y = clip(x)", "x: int8 [N, C]", "y: int8 [N, C]"),
        pattern("q", "y = clip(x)", "x: int8 [N, C]"),
    ),
    "a range in a range": (
        pattern("p", "y = nn.max_pool2d(x)\n  where y.attrs.strides <= 4"),
        pattern("q", "y = nn.max_pool2d(x)\n  where y.attrs.strides in 1..3"),
    ),
    "a value in a set": (
        pattern("p", 'y = nn.max_pool2d(x)\n  where y.attrs.layout in {"NHWC", "NCHW"}'),
        pattern("q", 'y = nn.max_pool2d(x, layout="NHWC")'),
    ),
    "a rank that a shape says": (
        pattern("p", "y = clip(x)\n  where rank(x) == 4"),
        pattern("q", "y = clip(x)", "x: int8 [1, H, W, C]"),
    ),
    "a size that a shape says": (
        pattern("p", "y = clip(x)\n  where x.shape[0] == 1"),
        pattern("q", "y = clip(x)", "x: int8 [1, H, W, C]"),
    ),
    "the same words of other names": (
        pattern("p", "y = clip(x)\n  where size(x) * 2 == x.shape[0] + 4"),
        pattern("q", "z = clip(a)\n  where size(a) * 2 == a.shape[0] + 4", "a: int8", "z: int8"),
    ),
    "the same words through a let": (
        pattern("p", "y = clip(x)\n  let k = size(x)\n  where k > 3\n  where k % 2 == 0"),
        pattern("q", "y = clip(x)\n  where size(x) % 2 == 0 and size(x) > 4"),
    ),
    "one of two conditions": (
        pattern("p", "y = clip(x)\n  where y.attrs.a_max <= 6 or y.attrs.a_min >= 0"),
        pattern("q", "y = clip(x)\n  where y.attrs.a_min == 0"),
    ),
    "a guarded condition": (
        pattern("p", "y = clip(x)\n  where y.attrs.a_max > 6 => y.attrs.a_min >= 0"),
        pattern("q", "y = clip(x)\n  where y.attrs.a_min == 0"),
    ),
    "the scale of one space": (
        pattern("p", "y = qnn.quantize(nn.relu(qnn.dequantize(x, ..)), ..)\n  where x.scale <= 1"),
        pattern(
            "q",
            "y = qnn.quantize(nn.relu(qnn.dequantize(x, ..)), ..)\n  where x.scale == 0.5",
        ),
    ),
    "a tuple of many for fields": (
        pattern("p", "y = concatenate((xs...))", CONCAT),
        pattern("q", "y = concatenate((x, x2))", BINARY),
    ),
    "scales of many": (
        pattern("p", "y = qnn.concatenate((xs...), ..)", CONCAT),
        pattern("q", "y = qnn.concatenate((x, x2), ..)", BINARY),
    ),
    "a field": (
        pattern("p", "y = abs(split(x)[0])"),
        pattern("q", "y = abs(split(x, indices_or_sections=2)[0])"),
    ),
    "a param that can always be read": (
        pattern("p", "y = clip(x)\n  param most = y.attrs.a_max\n  param bits = rank(x) + 1"),
        pattern("q", "y = clip(x)"),
    ),
    "a rule for one operator": (
        'pattern p(x: int8) -> y: int8 as op "clip" { y = clip(x) }\n',
        'pattern q(x: int8) -> y: int8 as op "clip" { y = clip(x) where y.attrs.a_max == 6 }\n',
    ),
    "a composite as an input": (
        pattern("p", "y = maximum(x, x2)", BINARY),
        pattern("q", 'y = maximum(x, composite "s.other"(..))'),
    ),
}
# The same, but a graph is left to the later one.
REACHED = {
    "the special one first": (pattern("q", "y = clip(abs(x))"), pattern("p", "y = abs(x)")),
    "another operator": (pattern("p", "y = abs(x)"), pattern("q", "y = exp(x)")),
    "a constant for anything": (
        pattern("p", "y = maximum(x, const x2)", BINARY),
        pattern("q", "y = maximum(x, x2)", BINARY),
    ),
    "an input of the module for anything": (
        pattern("p", "y = clip(var x)"),
        pattern("q", "y = clip(x)"),
    ),
    "one node for two": (
        pattern("p", "y = maximum(x, x)"),
        pattern("q", "y = maximum(x, x2)", BINARY),
    ),
    "ordered for either": (
        pattern("p", "y = ordered maximum(x, const x2)", BINARY),
        pattern("q", "y = maximum(x, const x2)", BINARY),
    ),
    "an attribute for none": (
        pattern("p", 'y = nn.max_pool2d(x, layout="NHWC")'),
        pattern("q", "y = nn.max_pool2d(x)"),
    ),
    "another attribute": (
        pattern("p", 'y = nn.max_pool2d(x, layout="NHWC")'),
        pattern("q", 'y = nn.max_pool2d(x, layout="NCHW")'),
    ),
    "one dtype of two": (
        pattern("p", "y = clip(x)"),
        pattern("q", "y = clip(x)", "x: int8 | uint8", "y: x.dtype"),
    ),
    "a condition": (
        pattern("p", "y = clip(x)\n  where y.attrs.a_max <= 6"),
        pattern("q", "y = clip(x)"),
    ),
    "one of a set that is of lists": (
        pattern("p", "y = nn.max_pool2d(x)\n  where y.attrs.strides in {1, 2}"),
        pattern(
            "q", "y = nn.max_pool2d(x)\n  where y.attrs.strides <= 2\n  where y.attrs.strides >= 1"
        ),
    ),
    "an inner value with another user": (
        pattern("p", "y = clip(abs(x))"),
        pattern("q", "a = abs(x)\n  y = maximum(exp(clip(a)), a)"),
    ),
    "an input that is an inner value": (
        pattern("p", "y = maximum(abs(x), x2)", BINARY),
        pattern("q", "a = abs(x)\n  y = maximum(a, a)"),
    ),
    "a value that may be copied": (
        pattern("p", "y = clip(abs(x))"),
        pattern("q", "y = exp(clip(shared abs(x)))"),
    ),
    "the other operand may have the operator": (
        pattern("p", "y = maximum(abs(x), x2)\n  where x2.dtype == x.dtype", BINARY),
        pattern("q", "y = maximum(abs(exp(x)), x2)", BINARY),
    ),
    "scales that must be equal": (
        pattern(
            "p", "a = qnn.requantize(x, ..)\n  y = qnn.requantize(a, a.scale, a.zero_point, ..)"
        ),
        pattern("q", "y = qnn.requantize(x, ..)"),
    ),
    "two scales of one space": (
        pattern("p", "y = qnn.requantize(clip(qnn.requantize(x, ..)), ..)"),
        pattern("q", "m = qnn.quantize(x, ..)\n  y = qnn.requantize(clip(m), ..)", "x: float32"),
    ),
    "a param that may refuse": (
        pattern("p", 'y = nn.pad(x, 0)\n  param widths = pads(y, "NHWC")'),
        pattern("q", "y = nn.pad(x, 0)"),
    ),
    "a scale that nobody may know": (
        pattern("p", "y = clip(x)\n  inherit x\n  param scale = x.scale"),
        pattern("q", "y = clip(x)"),
    ),
    "an element that may be missing": (
        pattern("p", "y = clip(x)\n  param first = x.shape[0]"),
        pattern("q", "y = clip(x)"),
    ),
    "a typed param": (
        pattern("p", "y = maximum(x, const x2)\n  param v: int8[1] = x2.value", BINARY),
        pattern("q", "y = maximum(x, const x2)", BINARY),
    ),
    "a composite made by an earlier row": (
        pattern("p", "y = exp(x)"),
        pattern("q", 'y = abs(composite "s.p"(x))'),
    ),
    "a composite that may not be made yet": (
        pattern("p", 'y = abs(composite "s.r"(x))'),
        pattern("q", 'y = abs(composite "s.r"(x))'),
    ),
    "a rule for an operator takes nothing from a composite": (
        'pattern p(x: int8) -> y: int8 as op "clip" { y = clip(x) }\n',
        pattern("q", "y = clip(x)"),
    ),
    "swapped": (
        pattern("p", "s = maximum(x, const x2)\n  y = s\n  where not swapped(s)", BINARY),
        pattern("q", "y = maximum(x, const x2)", BINARY),
    ),
}


@pytest.mark.parametrize("name", BEATEN)
def test_beaten(name: str) -> None:
    found = answers(*BEATEN[name])[-1]
    assert found.verdict is Verdict.BEATEN
    assert found.by is not None and found.by.pattern.name == "p"
    assert "QP201" in codes(*BEATEN[name])


@pytest.mark.parametrize("name", REACHED)
def test_reached(name: str) -> None:
    assert last(*REACHED[name]) is Verdict.REACHABLE
    assert "QP201" not in codes(*REACHED[name])


# ---- what is not in the file ---------------------------------------------------------------------

EXTERN = 'extern check(n: call) -> bool from "checks:check"\n'
UNKNOWN = {
    "extern `check`": (EXTERN, pattern("p", "y = clip(x)\n  where check(y)")),
    "option `most`": (
        "option most: int = 3\n",
        pattern("p", "y = clip(x)\n  where y.attrs.a_max <= most"),
    ),
    "`target.mcpu`": (
        "",
        pattern("p", 'y = clip(x)\n  where (target.mcpu ?? "none") == "a"'),
    ),
    "extern `table`": (
        'extern table(x: tensor) -> int8[256] from "tables:table"\n',
        pattern("p", "y = clip(x)\n  param lut = table(x)"),
    ),
}


@pytest.mark.parametrize("reason", UNKNOWN)
def test_unknown_because_of(reason: str) -> None:
    items = UNKNOWN[reason]
    found = answers(*items, pattern("q", "y = clip(x)"))[-1]
    assert found.verdict is Verdict.UNKNOWN and found.reason == reason
    assert codes(*items, pattern("q", "y = clip(x)")) == []


def test_the_same_extern_on_the_same_values_is_one_condition() -> None:
    first = pattern("p", "y = clip(x)\n  where check(y)")
    second = pattern("q", "y = clip(x)\n  where check(y)\n  where y.attrs.a_max == 6")
    assert last(EXTERN, first, second) is Verdict.BEATEN


# ---- what is reported ---------------------------------------------------------------------------


def test_a_single_dead_row_of_a_pattern_is_no_finding() -> None:
    first = pattern("p", "y = clip(abs(x))")
    second = pattern("q", "y = clip(abs(x) | exp(x))")
    assert [each.verdict.value for each in answers(first, second)] == [
        "reachable",
        "beaten",
        "reachable",
    ]
    assert codes(first, second) == []


def test_a_form_is_reported_and_its_pattern_is_not() -> None:
    first = pattern("p", "y = clip(x)")
    second = pattern("q", "form a { y = abs(x) } form b { y = clip(exp(x)) }")
    found = check_source(Source("p.qpat", HEAD + first + second))[1]
    assert [each.code for each in found] == ["QP201"]
    assert "form `b` of `q`" in found[0].message and found[0].span is not None
    assert found[0].span.text == "form b"


def test_rows_beaten_by_different_patterns_are_one_finding() -> None:
    found = codes(
        pattern("p", "y = abs(x)"), pattern("r", "y = exp(x)"), pattern("q", "y = {abs, exp}(x)")
    )
    assert found == ["QP201"]


def test_optional_calls_in_a_chain_do_not_stand_twice() -> None:
    assert codes(pattern("p", "a = clip(x)?\n  b = clip(a)?\n  y = abs(b)")) == []
    assert codes(pattern("p", "y = abs(clip(clip(exp(x))?)?)")) == []
    assert codes(pattern("p", "y = abs(clip(exp(x)) | clip(exp(x)))")) == ["QP203"]


def test_alternatives_that_differ_do_not_stand_twice() -> None:
    assert codes(pattern("p", "y = abs(clip(x, a_min=0) | clip(x))")) == []


OVERLAPS = {
    "ranges": (
        "y = clip(x)\n  where y.attrs.a_max <= 6",
        "y = clip(x)\n  where y.attrs.a_max >= 4",
    ),
}
NO_OVERLAPS = {
    "two attributes": (
        "y = clip(x)\n  where y.attrs.a_max == 6",
        "y = clip(x)\n  where y.attrs.a_min == 0",
    ),
    "apart": ("y = clip(x)\n  where y.attrs.a_max <= 6", "y = clip(x)\n  where y.attrs.a_max > 6"),
    "special first": ("y = clip(x)\n  where y.attrs.a_max == 6", "y = clip(x)"),
    "values": ("y = clip(x)\n  where size(x) > 3", "y = clip(x)\n  where size(x) < 9"),
    "longer": (
        "y = clip(abs(x))\n  where y.attrs.a_max <= 6",
        "y = clip(x)\n  where y.attrs.a_max >= 4",
    ),
}


@pytest.mark.parametrize("name", OVERLAPS)
def test_overlap(name: str) -> None:
    first, second = OVERLAPS[name]
    assert codes(pattern("p", first), pattern("q", second)) == ["QP202"]


def test_overlap_that_is_meant() -> None:
    first, second = next(iter(OVERLAPS.values()))
    later = pattern("q", second).replace(" {", " after p {", 1)
    assert codes(pattern("p", first), later) == []
    assert codes(later, pattern("p", first)) == ["QP204"]


def test_overlap_of_dtypes() -> None:
    first = pattern("p", "y = clip(x)", "x: int8 | uint8", "y: x.dtype")
    second = pattern("q", "y = clip(x)", "x: int8 | int16", "y: x.dtype")
    other = pattern("q", "y = clip(x)", "x: int16", "y: int16")
    assert codes(first, second) == ["QP202"]
    assert codes(first, other) == []


@pytest.mark.parametrize("name", NO_OVERLAPS)
def test_no_overlap(name: str) -> None:
    first, second = NO_OVERLAPS[name]
    assert codes(pattern("p", first), pattern("q", second)) == []


def test_nothing_is_said_of_the_library() -> None:
    source = read_source(ROOT / "patterns" / "tflite.qpat")
    assert check_source(source)[1] == ()


def test_what_is_told_at_a_glance_changes_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    cases = [*BEATEN.values(), *REACHED.values()]
    asked = [lowered(HEAD + "".join(case)) for case in cases]
    asked += [module for _, module, _ in sampled_modules()[:100]]
    before = [_beaten(module) for module in asked]
    monkeypatch.setattr("qpat.analysis.reachability.may_follow", lambda *_: True)
    assert [_beaten(module) for module in asked] == before
    assert sum(map(len, before)) >= 40


def _beaten(module: ir.Module) -> list[int]:
    return [n for n, each in enumerate(reachability(module)) if each.verdict is Verdict.BEATEN]


def test_a_file_of_many_patterns_takes_little_longer() -> None:
    """The library over and over under other names, each pattern told apart by a condition."""
    text = hundred_patterns()
    module = lowered(text)
    start = time.process_time()
    found = reachability(module)
    assert time.process_time() - start < 0.1
    assert all(each.verdict is Verdict.REACHABLE for each in found)


def test_a_graph_is_shown_that_fulfils_the_conditions() -> None:
    second = "y = clip(abs(x))\n  where y.attrs.a_max < 4 and y.attrs.a_min != 0"
    found = check_source(
        Source("p.qpat", HEAD + pattern("p", "y = abs(x)") + pattern("q", second))
    )[1]
    assert found[0].hint is not None
    assert found[0].hint.endswith("def @main(%x: int8) { clip(abs(%x), a_max=3, a_min=1) }")


def test_a_family_is_reported_where_a_whole_pattern_is_dead_only() -> None:
    family = "for op in [abs, exp] { pattern p_$op"
    twice = "for op in [exp] { pattern p(x: int8) -> y: int8 { y = clip({$op, exp}(x)) } }\n"
    whole = "(x: int8) -> y: int8 { y = $op(nn.relu(x)) } }\n"
    form = "(x: int8) -> y: int8 { form a { y = exp($op(x)) } form b { y = clip(exp(x)) } } }\n"
    first = pattern("q", "y = exp(nn.relu(x))")
    assert codes(twice) == []
    assert codes(first, family + whole) == ["QP201"]
    assert codes(pattern("q", "y = clip(exp(x))"), family + form) == []
