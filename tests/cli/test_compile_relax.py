"""`qpat compile --target relax`, and what it says of what Relax does not have."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from qpat.cli import main
from qpat.compiler import check_targets, compile_source
from qpat.diagnostics import QpatError, Severity
from qpat.source import Source

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "relax.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```qpat\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)

MIXED = """compiler "npu"

pattern both(x: int8) -> y: int8 { y = nn.relu(x) }

pattern part(x: int8) -> y: int8 {
  form a { y = qnn.sigmoid(x, ..) }
  form b {
    v = sigmoid(qnn.dequantize(x, ..))
    y = qnn.quantize(v, ..)
    param real = rank(v)
  }
}

pattern relays(x: int8, w: int8) -> y: int8 { y = qnn.requantize(qnn.conv2d(x, const w, ..), ..) }

pattern marked(x: int8) -> y: int8 { form a on relay { y = abs(x) } }
"""
SAID = [
    ("QP092", 6, "Relax has no counterpart of `qnn.sigmoid`; what has it of `part` is left out"),
    ("QP093", 14, "nothing of `relays` can be said on Relax"),
    ("QP093", 16, "no form of `marked` is for Relax"),
]


def compiled(text: str, unsaid: str = "warning") -> list[tuple[str, int, str]]:
    found = compile_source(Source("npu.qpat", text), "relax", unsaid).warnings
    assert all(each.severity is Severity.WARNING for each in found)
    return [(each.code, each.span.line, each.message) for each in found if each.span is not None]


def test_what_relax_cannot_say_is_said() -> None:
    assert compiled(MIXED) == SAID
    assert compiled(MIXED, "ignore") == []
    with pytest.raises(QpatError) as caught:
        compiled(MIXED, "error")
    found = [(each.code, each.severity) for each in caught.value.diagnostics]
    assert found == [(code, Severity.ERROR) for code, _, _ in SAID]


def test_check_says_it_of_forms_that_are_marked_for_relax() -> None:
    assert check_targets(Source("npu.qpat", MIXED)) == ()
    marked = MIXED.replace("form b {", "form b on relax {")
    found = check_targets(Source("npu.qpat", marked))
    assert [each.code for each in found] == ["QP092"]


def test_check_says_it_of_fragments_that_have_such_forms() -> None:
    text = """compiler "npu"

fragment padded(x) -> out {
  form here on relay { out = nn.relu(x) }
  form there on relax { out = nn.pad(x, 0) }
}

pattern uses(x: int8) -> y: int8 { y = padded(x) }

pattern relays(x: int8) -> y: int8 { y = nn.mirror_pad(x) }
"""
    [found] = check_targets(Source("npu.qpat", text))
    assert (found.code, found.message) == ("QP093", "nothing of `uses` can be said on Relax")


def test_rows_and_patterns_are_those_that_can_be_said() -> None:
    module = compile_source(Source("npu.qpat", MIXED), "relax").module
    assert [(each.name, len(each.rows)) for each in module.patterns] == [("both", 1), ("part", 1)]
    other = compile_source(Source("npu.qpat", MIXED)).module
    assert [each.name for each in other.patterns] == ["both", "part", "relays", "marked"]


def test_parameter_of_the_other_target_is_a_field() -> None:
    text = MIXED.replace("form a {", "form a on relay {").replace("form b {", "form b on relax {")
    for target in ("relay", "relax"):
        made = compile_source(Source("npu.qpat", text), target, "ignore").text
        [part] = [
            node
            for node in ast.parse(made).body
            if isinstance(node, ast.ClassDef) and node.name == "Part"
        ]
        fields = [ast.unparse(n.target) for n in part.body if isinstance(n, ast.AnnAssign)]
        assert fields == ["pattern", "form", "x", "y", "real"], target


def test_test_of_a_pattern_that_relay_does_not_have() -> None:
    text = 'compiler "npu"\n\npattern p(x: int8) -> y: int8 { form a on relax { y = abs(x) } }\n\n'
    text += 'test "t" """\ndef @main(%x: Tensor[(4), int8]) { abs(%x) }""" { match p }\n'
    [found] = check_targets(Source("npu.qpat", text))
    assert found.code == "QP159" and found.severity is Severity.ERROR


def test_nothing_at_all(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "npu.qpat"
    path.write_text('compiler "npu"\n\npattern p(x: int8) -> y: int8 { y = qnn.sigmoid(x, ..) }\n')
    assert main(["compile", str(path), "--target", "relax"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "warning[QP093]: nothing of `p` can be said on Relax" in said.err
    assert "error[QP118]: no pattern of this file can be said on Relax" in said.err


def test_output(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "npu.qpat").write_text(MIXED)
    out = tmp_path / "npu.py"
    command = ["compile", str(tmp_path / "npu.qpat"), "--target", "relax", "-o", str(out)]
    assert main([*command, "--unsaid", "error"]) == 1
    assert not out.exists()
    capsys.readouterr()
    assert main(command) == 0
    said = capsys.readouterr()
    assert said.out == f"{out}: 2 patterns, 2 rows\n"
    assert said.err.count("warning[") == 3
    assert "FusionPattern" in out.read_text()


@pytest.mark.parametrize("target", ["relay", "relax"])
@pytest.mark.parametrize("text", BLOCKS)
def test_page(text: str, target: str) -> None:
    assert compile_source(Source("page.qpat", text), target, "error").warnings == ()
    assert check_targets(Source("page.qpat", text)) == ()


def test_page_has_blocks() -> None:
    assert len(BLOCKS) == 3
