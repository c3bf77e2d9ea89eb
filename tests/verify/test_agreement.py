"""A record that says otherwise than its graph is noticed, though no result shows it."""

from __future__ import annotations

import pytest

from qpat.cli import main
from qpat.compiler import Compiled, compile_source
from qpat.records import replace
from qpat.source import Source
from qpat.verify.report import findings
from qpat.verify.verification import Verdict, verify
from tests.verify.mutations import mutants

DENSE = """compiler "npu"
pattern dense(x: int8, w: int8) -> y: int8 {
  acc = qnn.dense(x, const w, ..)
  y   = qnn.requantize(acc, ..)
  where close(acc.scale, x.scale * w.scale)
  where acc.zero_point == 0
  meaning y = nn.dense(x, w, like=acc)
}
"""


def dense() -> Compiled:
    return compile_source(Source("npu.qpat", DENSE))


def verdict(compiled: Compiled, samples: int = 6) -> Verdict:
    [[found]] = verify(compiled, samples=samples, inputs=4)
    return found


def test_the_right_record_agrees() -> None:
    assert verdict(dense()).status == "verified"


@pytest.mark.parametrize(
    ("mutant", "said"),
    [
        # The product stays the same.
        ("dense: swap: scale of x_space and w_space", "its scale of `x` is"),
    ],
)
def test_a_wrong_record_is_noticed(mutant: str, said: str) -> None:
    compiled = dense()
    [text] = [each.text for each in mutants(compiled.text, "dense") if str(each) == mutant]
    found = verdict(replace(compiled, text=text))
    assert found.status == "failed"
    assert any(said in reason for reason in found.lost), found.lost
    assert "QP405" in [each.code for each in findings(found)]


def test_a_wrong_axis_is_noticed() -> None:
    """Of another size the axis refuses the match; of the same size the numbers differ."""
    compiled = dense()
    mutant = "dense: wrong axis: w"
    [text] = [each.text for each in mutants(compiled.text, "dense") if str(each) == mutant]
    assert verdict(replace(compiled, text=text), samples=60).status == "failed"


def test_a_composite_that_is_not_formed_is_a_finding(
    tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    compiled = dense()
    # The pattern for TVM's matcher wants another operator than the binder.
    text = compiled.text.replace('is_op("qnn.requantize")', 'is_op("qnn.quantize")')
    assert text != compiled.text
    found = verdict(replace(compiled, text=text))
    assert found.status == "failed"
    assert "MergeComposite forms nothing" in found.lost[0]
    path = tmp_path_factory.mktemp("npu") / "npu.qpat"
    path.write_text(DENSE)
    assert main(["verify", str(path), "--samples", "2", "--inputs", "2"]) == 0
    assert "in integers 2 of 2 bit exact" in capsys.readouterr().out
