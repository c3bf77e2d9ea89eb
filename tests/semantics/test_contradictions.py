"""Patterns that can match nothing are errors, once for each contradiction; others are let be."""

from __future__ import annotations

import re
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qpat.compiler import check_source
from qpat.diagnostics import Diagnostic, Findings
from qpat.semantics import lower_pattern
from qpat.semantics.constraints import Allowed, impossible
from qpat.semantics.contradictions import report_contradictions
from qpat.source import Source, read_source

ROOT = Path(__file__).resolve().parents[2]
CONV = """
  d   = nn.pad(x, x.zero_point)?
  acc = qnn.conv2d(d, const w, .., data_layout="NHWC", kernel_layout="HWIO")
  sum = nn.bias_add(acc, const bias)?
  out = qnn.requantize(sum, ..)
  y   = clip(out)?
"""
PORTS = "x: int8, w: int8, bias: int32?"


def findings(body: str, ports: str = PORTS, output: str = "y: int8") -> tuple[Diagnostic, ...]:
    text = f'compiler "npu"\npattern p({ports}) -> {output} {{\n{body}\n}}\n'
    return check_source(Source("case.qpat", text))[1]


def codes(body: str, ports: str = PORTS, output: str = "y: int8") -> list[str]:
    return [found.code for found in findings(body, ports, output)]


# ---- how much is reported -----------------------------------------------------------------------


def test_one_contradiction_in_eight_rows_is_one_report_with_two_places() -> None:
    (found,) = findings(CONV, output="y: float32")
    assert found.code == "QP160"
    assert len(found.others) == 1 and found.label and found.others[0].text


def test_two_contradictions_are_two_reports() -> None:
    assert codes(CONV, "x: float32, w: int8, bias: int32?", "y: float32") == ["QP160", "QP160"]


def test_dtypes_and_sizes_of_the_same_ports_are_two_reports() -> None:
    found = codes("y = nn.relu(x)", "x: int8 [1, 8]", "y: int16 [2, 9]")
    assert found == ["QP160", "QP161"]


def test_several_sizes_of_the_same_ports_are_one_report() -> None:
    assert codes("y = nn.relu(x)", "x: int8 [1, 8, 3]", "y: int8 [2, 9, 4]") == ["QP161"]


def test_nothing_follows_from_what_contradicts_itself() -> None:
    body = "a = add(x, x2)\nb = add(a, x2)\nc = add(b, b)\ny = nn.relu(c)"
    found = codes(body, "x: int8 [N, C], x2: int8 [N, C]", "y: int8 [N, H, C]")
    assert found == ["QP161"]


def test_where_something_else_is_wrong_nothing_is_added() -> None:
    assert codes(f"{CONV}\nwhere x.dtyp == int8", output="y: float32") == ["QP131"]


def test_alternatives_that_contradict_each_in_its_way_are_all_reported() -> None:
    body = "a = cast(x, dtype=int16) | cast(x, dtype=int32)\ny = nn.relu(a)"
    assert codes(body, "x: int8") == ["QP160", "QP160"]


def test_the_same_contradiction_behind_different_alternatives_is_one_report() -> None:
    body = "a = nn.relu(x) | clip(x) | nn.pad(x, x.zero_point)\ny = qnn.dequantize(a, ..)"
    assert codes(body, "x: int8") == ["QP160"]


# ---- pattern, form, alternative -----------------------------------------------------------------

DEAD_FORM = "form a { y = nn.relu(x) }\nform b { y = cast(x, dtype=int32) }"


def test_form_that_never_matches_is_an_error() -> None:
    assert codes(DEAD_FORM, "x: int8") == ["QP160"]


def test_alternative_that_never_matches_is_a_warning_and_the_file_compiles() -> None:
    text = 'compiler "npu"\npattern p(x: int8) -> y: int8 { y = nn.relu(x) | isnan(x) }'
    module, found = check_source(Source("case.qpat", text))
    assert module is not None
    assert [(f.code, f.severity.value) for f in found] == [("QP163", "warning")]


def test_alternative_with_several_rows_is_one_warning() -> None:
    body = "a = clip(x)?\nb = {nn.relu, isnan}(a)\ny = clip(b)?"
    assert codes(body, "x: int8") == ["QP163"]


def test_optional_that_cannot_be_left_out_is_no_finding() -> None:
    body = "acc = qnn.conv2d(x, const w, ..)\nsum = nn.bias_add(acc, const bias)\n"
    assert codes(f"{body}y = qnn.requantize(sum, ..)?") == []
    assert codes(f"{body}r = qnn.requantize(sum, ..)?\ny = clip(r)?") == []


def test_combinations_that_cannot_be_are_no_finding_where_each_choice_can() -> None:
    body = "a = cast(x, dtype=int32)?\ny = {nn.relu, clip}(cast(a, dtype=int8))"
    assert codes(body, "x: int8") == []
    both = (
        "a = nn.relu(x) | cast(x, dtype=int16)\nb = nn.relu(a) | cast(a, dtype=int8)\ny = clip(b)"
    )
    assert codes(both, "x: int8") == []


def test_family_is_reported_where_a_whole_pattern_is_dead_only() -> None:
    family = 'compiler "n"\nfor op, other in [(abs, clip), (isnan, nn.relu)] { pattern p_$op'
    alternative = "(x: int8) -> y: int8 { y = $op(x) | $other(x) }"
    form = "(x: int8) -> y: int8 { form a { y = $op(x) }  form b { y = $other(x) } }"
    whole = "(x: int8) -> y: int8 { y = $op(x) }"
    for item, wanted in ((alternative, []), (form, []), (whole, ["QP160"])):
        found = check_source(Source("case.qpat", f"{family}{item} }}"))[1]
        assert [each.code for each in found] == wanted, item


# ---- what is said of conditions -----------------------------------------------------------------

MEAN = "m = mean(cast(x, dtype=int32), {})\ny = qnn.requantize(m, ..)"


@pytest.mark.parametrize(
    ("condition", "is_reported"),
    [
        ("x.dtype == int8", False),
        ("x.dtype != int8", True),
        ("not (x.dtype == int16)", False),
        ("x.dtype in {int16, int8}", False),
        ("x.dtype not in {int16, int8}", True),
        ("x.dtype == int16 or rank(x) == 4", False),
        ("x.dtype == int16 => rank(x) == 9", False),
        ("acc.dtype in {int32, int64}", False),
        ("acc.dtype in {float32, int8}", True),
        ("out.dtype == x.dtype", False),
        ("rank(x) == 4", False),
        ("4 == rank(x)", False),
        ("rank(x) == 3", True),
        ("rank(x) != 4", True),
        ("rank(x) < 4", True),
        ("5 <= rank(x)", True),
        ("rank(x) in 1..3", True),
        ("rank(x) in 1..4", False),
        ("rank(x) not in 1..4", False),
        ("rank(x) in {3, 4}", False),
        ("rank(y) in {2, 3}", True),
        ("rank(acc) in {4, 5}", False),
        ("x.shape[4] == 1", True),
        ("x.shape[-5] == 1", True),
        ("x.shape[3] == 1 and x.shape[-1] == 2", True),
        ("x.shape[3] == 1 and x.shape[2] == 2", False),
        ("x.shape == [1, 2, 3]", True),
        ("x.shape == [1, 2, 3, 4]", False),
        ("x.shape <= [1, 2, 3, 4] and x.shape[1] > 2", True),
        ('acc.attrs.data_layout == "NCHW"', True),
        ('acc.attrs.data_layout in {"NHWC", "NCHW"}', False),
        ("acc.attrs.groups == 1 and acc.attrs.groups >= 2", True),
        ("acc.attrs.groups in 1..2 and acc.attrs.groups > 1", False),
        ("acc.attrs.strides == 2 and acc.attrs.strides == [2, 2]", False),
        ("acc.attrs.strides == 2 and acc.attrs.strides == [2, 1]", True),
        ("acc.attrs.strides[0] == 1 and acc.attrs.strides > 1", True),
        ("acc.attrs.strides[0] == 1 and acc.attrs.strides[1] == 2", False),
        ("acc.attrs.strides == [1, 2] and acc.attrs.strides == [1, 2, 3]", True),
        ("acc.attrs.padding <= [1, 1, 1, 1] and acc.attrs.padding[0] == 2", True),
        ("acc.attrs.padding != [1, 1, 1, 1] and acc.attrs.padding == 1", False),
        ("bias? => bias.dtype == int32", False),
        ("y.attrs.a_min ?? 0 == 1", False),
        ("if bias? then x.dtype == int8 else w.dtype == int8", False),
        ("(x.dtype, w.dtype) in {(int8, int8), (int16, int8)}", False),
        ("(x.dtype, w.dtype) in {(int8, int16), (int16, int8)}", False),
        ("(x.dtype, w.dtype) in {(int16, int8), (int32, int8)}", True),
        ("(acc.dtype, 1) in {(int8, 1), (int32, 2)}", True),
        ("any(acc.attrs.strides == 9) or true", False),
        ("size(x) == 3 and size(x) == 4", False),
        ("x.scale == 1 and x.scale == 2", False),
    ],
)
def test_condition_on_a_convolution(condition: str, is_reported: bool) -> None:
    found = codes(f"{CONV}\nwhere {condition}")
    wanted = ["QP162"] if is_reported else []
    assert [code for code in found if code != "QP164"] == wanted


@pytest.mark.parametrize(
    ("attributes", "condition", "is_reported"),
    [
        # Of an empty list everything holds, and a reduction may have one.
        ("", "m.attrs.axis == 1 and m.attrs.axis == 2", False),
        ("", "m.attrs.axis == [1] and m.attrs.axis == 2", True),
        ("axis=[1]", "m.attrs.axis == 2", True),
        ("axis=[1]", "m.attrs.axis[0] == 2", True),
        ("axis=[]", "m.attrs.axis == 2", False),
        ("", "m.attrs.keepdims and not m.attrs.keepdims", True),
        ("keepdims=true", "not m.attrs.keepdims", True),
        ("keepdims=true", "m.attrs.keepdims", False),
        ("keepdims=true", "rank(m) != rank(x)", False),
        ("keepdims=true", "rank(m) == 2 and rank(x) == 3", True),
        ("keepdims=false", "rank(m) == 2 and rank(x) == 3", False),
        ("axis=[1], keepdims=false, exclude=false", "rank(m) == 2 and rank(x) == 2", True),
        ("axis=[1], keepdims=false, exclude=false", "rank(m) == 1 and rank(x) == 2", False),
        ("axis=[3]", "rank(x) == 3", True),
    ],
)
def test_condition_on_a_reduction(attributes: str, condition: str, is_reported: bool) -> None:
    found = codes(f"{MEAN.format(attributes)}\nwhere {condition}".replace(", )", ")"), "x: int8")
    assert found == (["QP162"] if is_reported else [])


def test_what_a_pattern_does_not_write_may_be_anything() -> None:
    """The defaults of attributes are no facts: a graph may have others."""
    assert codes("y = qnn.requantize(x, ..)", "x: int32", "y: int16") == []
    assert codes("y = cast(x)", "x: int8", "y: float32") == []
    assert codes("y = transpose(x)", "x: int8 [2, 3]", "y: int8 [2, 3]") == []
    assert codes("y = nn.conv2d(x, const w)", "x: int8 [N, H, W, C], w: int8", "y: int32") == []


def test_operator_that_is_not_in_the_table_says_nothing() -> None:
    assert codes("y = nn.lrn(vision.yolo_reorg(x))", "x: int8 [N, C]", "y: float32") == []


def test_value_that_an_optional_leaves_out_is_the_value_before_it() -> None:
    body = "a = cast(x, dtype=int32)?\ny = nn.relu(a)"
    assert codes(f"{body}\nwhere a.dtype == int8", "x: int8", "y") == ["QP163"]


@pytest.mark.parametrize(
    "body",
    [
        "y = nn.relu(x)\nwhere form == 1",
        "y = nn.relu(x)\nlet k = 3\nparam k2 = k\nwhere rank(x) == k",
        "y = nn.relu(x)\nparam N = N\nwhere N == 3",
        "y = nn.relu(x)\nwhere 2 ** 70 == 3 and rank(x) == 2 ** 60",
        "y = nn.relu(x)\nwhere 1 / 0 == 3",
        "y = nn.relu(x)\nwhere 1 % 0 == rank(x)",
        "y = nn.relu(x)\nwhere -(1) == -1 + 0.0",
    ],
)
def test_odd_expressions_do_no_harm(body: str) -> None:
    assert set(codes(body, "x: int8 [N]")) <= {"QP117", "QP130", "QP138", "QP162", "QP164"}


@pytest.mark.parametrize(
    ("body", "ports", "output"),
    [
        ("y = cast(x, dtype=int16)", "x: int16", "y: int8 | x.dtype"),
        ("ys... = split(x)\nwhere ys.dtype != int8", "x: int8", "ys: int8..."),
        ("ys... = split(x)\nwhere same(rank(ys))", "x: int8 [N, C]", "ys: int8 [A, B]..."),
        ("ys... = topk(x, k=1)", "x: int8", "ys: int8 | int32..."),
        ("y = nn.relu(x)\nwhere target.mcpu?", "x: int8", "y"),
        ('y = nn.relu(x)\nwhere (target.mcpu ?? "a") == "b"', "x: int8", "y"),
        ("y = maximum(x, ~3.000001)", "x: int8", "y"),
        ("y = nn.pad(x, 0, pad_width=[[0, 0], [1, 1]])", "x: int8 [N, 3]", "y: int8 [N, 5]"),
        (
            "y = nn.pad(x, 0, pad_width=[[0, 0], [1, 2]])\nwhere y.attrs.pad_width[1] in 1..2",
            "x: int8",
            "y",
        ),
        (
            "p = nn.max_pool2d(x, padding=[1, 2])\ny = clip(p)\n"
            "where p.attrs.padding == [1, 2, 1, 2]",
            "x: int8",
            "y",
        ),
        (
            "s = qnn.add(x, x2, .., lhs_axis=0)\ny = clip(s)\nwhere s.attrs.lhs_axis == 1",
            "x: int8, x2: int8",
            "y",
        ),
        ('c = composite "n.a"(x)\ny = nn.relu(c)', "x: int8", "y: int16"),
    ],
)
def test_what_can_match_is_let_be(body: str, ports: str, output: str) -> None:
    assert codes(body, ports, output) == []


@pytest.mark.parametrize(
    ("ports", "output", "code"),
    [("x: int8 [N, 3]", "y: int8 [N, 4]", "QP161"), ("x: int8 [N, H, C]", "y", "QP161")],
)
def test_widths_of_a_pad_say_sizes_and_the_rank(ports: str, output: str, code: str) -> None:
    assert codes("y = nn.pad(x, 0, pad_width=[[0, 0], [1, 1]])", ports, output) == [code]


def test_form_that_a_condition_of_the_pattern_rules_out_is_no_finding() -> None:
    forms = "form a { y = nn.relu(x) }\nform b { y = clip(x) CONDITION }\n"
    assert codes(f'{forms.replace("CONDITION", "")}where form == "a"', "x: int8") == []
    assert codes(forms.replace("CONDITION", "where 1 > 2"), "x: int8") == ["QP162"]
    never = f'{forms.replace("CONDITION", "")}where form == "a" and form == "b"'
    assert codes(never, "x: int8") == ["QP162"]


def test_let_of_one_form_is_not_that_of_another() -> None:
    body = "form a { y = nn.relu(x) let k = 1 } form b { y = clip(x) let k = 2 where k == 2 }"
    assert codes(body, "x: int8") == ["QP164"]
    assert codes(body.replace("where k == 2", "where rank(x) == k"), "x: int8 [N, C]") == []
    assert codes(body.replace("where k == 2", "where rank(x) != k"), "x: int8 [N, C]") == ["QP162"]


def test_always_true_is_said_of_literals_only_and_not_in_a_family() -> None:
    assert codes("y = nn.relu(x)\nwhere rank(x) == 2", "x: int8 [N, C]") == []
    assert codes("y = nn.relu(x)\nwhere 1 + 1 == 2", "x: int8") == ["QP164"]
    text = (
        'compiler "n"\nfor op, k in [(abs, true), (exp, true)] '
        "{ pattern $op(x: int8) -> y: int8 { y = $op(x) where $k } }"
    )
    assert check_source(Source("case.qpat", text))[1] == ()


# ---- real patterns ------------------------------------------------------------------------------


def test_nothing_is_said_of_the_library() -> None:
    source = read_source(ROOT / "patterns" / "tflite.qpat")
    assert check_source(source)[1] == ()


def test_nothing_is_said_of_patterns_of_real_back_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a file has other faults, its patterns are judged all the same."""
    judged: list[str] = []
    said = Findings()

    def report(node, ports, rows, statements, findings) -> None:  # type: ignore[no-untyped-def]
        judged.append(node.name.text)
        report_contradictions(node, ports, rows, statements, said)

    monkeypatch.setattr(lower_pattern, "report_contradictions", report)
    for path in sorted((ROOT / "tests" / "data" / "language").glob("*.qpat")):
        check_source(read_source(path))
    assert len(judged) >= 25 and not said.diagnostics


def test_judging_the_library_takes_a_small_part_of_checking_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = read_source(ROOT / "patterns" / "tflite.qpat")
    took: Counter[str] = Counter()

    def report(*arguments: object) -> None:
        start = time.perf_counter()
        report_contradictions(*arguments)  # type: ignore[arg-type]
        took["judging"] += time.perf_counter() - start  # type: ignore[assignment]

    check_source(source)
    monkeypatch.setattr(lower_pattern, "report_contradictions", report)
    start = time.perf_counter()
    check_source(source)
    assert took["judging"] < 0.3 * (time.perf_counter() - start)


# ---- pages --------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["QP160", "QP161", "QP162", "QP163", "QP164"])
def test_page_shows_its_finding_and_a_way_out(code: str) -> None:
    text = (ROOT / "docs" / "findings" / f"{code}.md").read_text(encoding="utf-8")
    assert text.startswith(f"# {code}: ")
    bad, good = re.findall(r"^```qpat\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert {found.code for found in check_source(Source("case.qpat", bad))[1]} == {code}
    assert check_source(Source("case.qpat", good))[1] == ()


# ---- sets of values -----------------------------------------------------------------------------

_NUMBERS = st.integers(-3, 3)
_VALUES = st.one_of(_NUMBERS, st.sampled_from(["int8", "", None, True]))


@st.composite
def allowed(draw: st.DrawFn) -> Allowed:
    return Allowed(
        draw(st.none() | st.frozensets(_VALUES, max_size=3)),
        draw(st.none() | _NUMBERS),
        draw(st.none() | _NUMBERS),
        draw(st.frozensets(st.sampled_from(["least", "most"]))),
        draw(st.frozensets(_VALUES, max_size=2)),
    )


@settings(max_examples=500)
@given(st.lists(allowed(), min_size=1, max_size=3))
def test_what_is_called_impossible_has_no_value(every: list[Allowed]) -> None:
    values = ["int8", "", None, *(number / 4 for number in range(-20, 21))]
    found = [value for value in values if all(each.has(value) for each in every)]
    if impossible(every):
        assert not found
    elif any(each.values is not None for each in every):
        assert any(all(each.has(v) for each in every) for e in every for v in e.values or ())


@given(allowed(), st.integers(-4, 4), _NUMBERS)
def test_shifted_by_what_a_value_is_shifted_by(each: Allowed, by: int, value: int) -> None:
    assert each.shifted(by).has(value + by) == each.has(value)
