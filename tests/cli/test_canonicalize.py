"""`qpat canonicalize` as a user runs it."""

from __future__ import annotations

from pathlib import Path

import pytest

from qpat.cli import main
from qpat.relay.environment import relay_parser

ROOT = Path(__file__).parents[2]
MODEL = str(ROOT / "tests" / "data" / "tflite" / "ops" / "fc_bias_relu.tflite")
POOL = str(ROOT / "tests" / "data" / "tflite" / "ops" / "max_pool.tflite")


def test_it_says_what_was_rewritten_and_writes_the_module(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "canonical.relay"
    assert main(["canonicalize", MODEL, "--patterns", "tflite", "--relay", str(out)]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[-1] == f"wrote {out}"
    assert " composites are in canonical form" in said.out
    assert "rewriting" in said.err
    module = relay_parser().parse(out.read_text(encoding="utf-8"))
    text = str(module["main"])
    assert "qnn.dequantize" in text and "nn.dense" in text and "qnn.quantize" in text
    assert "qnn.dense" not in text and "Composite" not in text


def test_it_says_what_is_kept_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["canonicalize", POOL, "--patterns", "tflite"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("0 of 1 composites are in canonical form\n  tflite.max_pool2d at ")
    assert said.endswith(" is kept: scale and zero point of `x` are not known\n")


@pytest.mark.parametrize(
    "arguments, status",
    [
        (["no.tflite", "--patterns", "tflite"], 1),
        ([MODEL, "--patterns", "no.qpat"], 1),
        ([MODEL], 2),
    ],
)
def test_wrong_use_and_findings(
    arguments: list[str], status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        found = main(["canonicalize", *arguments])
    except SystemExit as stop:
        found = int(stop.code or 0)
    assert found == status
    assert capsys.readouterr().out == ""
