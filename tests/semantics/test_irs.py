"""Forms for Relay and for Relax: what stands outside of them knows the names of both."""

from __future__ import annotations

from pathlib import Path

import pytest

from qpat.compiler import check_targets, compile_source
from qpat.fixing import mended
from qpat.source import Source, read_source

FILE = Path(__file__).resolve().parents[1] / "data" / "language" / "irs.qpat"
TARGETS = ("relay", "relax")
CONV = """compiler "npu"
pattern conv(x: int8, w: int8, bias: int32?) -> y: int8 {
  form integer on relay {
    acc = qnn.conv2d(x, const w, ..)
    y   = qnn.requantize(nn.bias_add(acc, const bias)?, ..)
  }
  form real on relax {
    own = nn.conv2d(qnn.dequantize(x, ..), qnn.dequantize(const w, ..))
    y   = qnn.quantize(own, ..)
  }
  LINE
}
"""


def found(text: str) -> list[tuple[str, str]]:
    return [(each.code, each.message) for each in check_targets(Source("npu.qpat", text))]


LINES = (
    'where form == "integer" => y.zero_point < 100',
    'param exact = form == "real"',
    "param b = bias.value ?? zeros([1])",
    "where bias? => rank(bias) == 1",
    "param s = own.shape ?? [1]",
    "param strides = acc.attrs.strides ?? own.attrs.strides ?? none",
    "where own? => own.attrs.groups == 1",
    "meaning y = nn.bias_add(nn.conv2d(x, w), bias)?",
)


@pytest.mark.parametrize("line", LINES)
def test_names_of_either_ir_are_known(line: str) -> None:
    text = CONV.replace("LINE", line)
    assert found(text) == []
    for target in TARGETS:
        compile(compile_source(Source("npu.qpat", text), target).text, target, "exec")


@pytest.mark.parametrize("target", TARGETS)
def test_file_is_fine(target: str) -> None:
    source = read_source(FILE)
    assert check_targets(source) == ()
    assert compile_source(source, target, "error").warnings == ()


def test_what_is_absent_on_the_other_ir_wants_a_guard() -> None:
    text = CONV.replace("LINE", "param strides = own.attrs.strides")
    message = "`own` is absent in some rows and read here without a guard"
    assert found(text) == [("QP134", message)]


def test_what_no_ir_knows() -> None:
    text = CONV.replace("LINE", 'param exact = form == "reel"')
    assert found(text) == [("QP130", 'no form is called "reel"')]
    assert found(CONV.replace("LINE", "where summe? => rank(x) == 4")) == [
        ("QP130", "`summe` is not known here")
    ]


def test_port_that_no_ir_uses_is_told_once() -> None:
    text = CONV.replace("LINE", "").replace("nn.bias_add(acc, const bias)?", "acc")
    assert found(text) == [("QP111", "port `bias` is not used")]


def test_what_is_there_on_both_irs_is_never_absent() -> None:
    text = CONV.replace("LINE", "param z = y.scale ?? 1")
    message = "nothing before `??` can be absent, so its default is never used"
    assert found(text) == [("QP136", message)]
    assert mended(Source("npu.qpat", text), check_targets).source.text == text.replace(" ?? 1", "")


def test_slot_that_one_ir_alone_says_can_be_filled() -> None:
    text = """compiler "npu"
pattern p(x: int8) -> y: int8 {
  form a on relay { y = qnn.sigmoid(x, ..) }
  form b on relax { y = nn.relu(x) }
  let x.scale = 0.5
}
"""
    assert found(text) == []


def test_faults_in_forms_of_one_ir_are_told_once() -> None:
    text = CONV.replace("LINE", "param b = bias.value ?? zeros([1])")
    text = text.replace("nn.bias_add", "nn.bias_ad")
    assert [code for code, _ in found(text)] == ["QP101"]


def test_form_for_relax_in_an_imported_file(tmp_path: Path) -> None:
    fragments = """fragment padded(x) -> out {
  form here on relay { out = nn.relu(x) }
  form there on relax { out = nn.pad(x, 0) }
}
"""
    (tmp_path / "fragments.qpat").write_text(fragments)
    text = 'compiler "npu"\nimport "fragments.qpat"\n'
    main = tmp_path / "main.qpat"
    main.write_text(text + "pattern uses(x: int8) -> y: int8 { y = padded(x) }\n")
    [warning] = check_targets(read_source(main))
    assert (warning.code, warning.message) == ("QP093", "nothing of `uses` can be said on Relax")


def test_names_of_a_form_that_no_row_has() -> None:
    """A fragment of its own in a form for Relax: its form for Relay is in no row of any IR."""
    text = """compiler "npu"
fragment cut(x) -> out {
  form a on relay {
    n = clip(add(x, const k))?
    out = n
  }
  form b on relax { out = nn.relu(x)? }
  where n? => n.attrs.a_min == 0
  param low = n.attrs.a_min ?? 0
  param added = k.value ?? none
}
pattern sum(x: int8, x2: int8?) -> y: int8 {
  form a on relay { y = cut(qnn.add(x, x2, ..)) }
  form b on relax { y = qnn.quantize(cut(qnn.dequantize(x, ..)), ..) }
}
"""
    assert found(text) == []
    unknown = text.replace("k.value ??", "m.value ??")
    assert [code for code, _ in found(unknown)] == ["QP130"]
    inside = text.replace(
        "{ out = nn.relu(x)? }", "{ out = nn.relu(x)?\nwhere n? => rank(x) == 4 }"
    )
    assert [code for code, _ in found(inside)] == ["QP130"]


def test_fault_in_an_operator_leaves_open_what_it_may_have_been() -> None:
    text = """compiler "npu"
pattern sum(x: int8, x2: int8) -> y: int8 {
  form a on relay { y = qnn.add(x, x2, ..) }
  form b on relax {
    s = unordered ad(qnn.dequantize(x, ..), qnn.dequantize(x2, ..))
    y = qnn.quantize(s, ..)
  }
  param is_swapped = if s? then swapped(s) else false
}
"""
    assert [code for code, _ in found(text)] == ["QP101"]
    assert found(text.replace("unordered ad(", "unordered add(")) == []


def test_what_one_ir_always_has_may_be_absent_on_the_other() -> None:
    always = "qnn.quantize(add(own, qnn.dequantize(const bias, ..)), ..)"
    text = CONV.replace("qnn.quantize(own, ..)", always)
    for line in ("param b = bias.value ?? zeros([1])", LINES[-1]):
        assert found(text.replace("LINE", line)) == []
