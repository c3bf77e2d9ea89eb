"""The commands on models where TVM has Relax: status, what is printed and written."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from qpat.cli import main

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "examples" / "ds_cnn_kws_int8.tflite"


def schema(name: str) -> Any:
    return json.loads((ROOT / "docs" / f"{name}.schema.json").read_text(encoding="utf-8"))


def run(*arguments: str | Path) -> int:
    return main([*map(str, arguments)])


def test_partition(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found, text, regions = tmp_path / "out.json", tmp_path / "out.py", tmp_path / "regions.py"
    given = ("--json", found, "--relax", text, "--regions", regions)
    assert run("partition", MODEL, "--patterns", "tflite", *given) == 0
    said = capsys.readouterr()
    assert "nothing stays on the host" in said.out
    assert "left out, as relax cannot say them" in said.err
    data = json.loads(found.read_text(encoding="utf-8"))
    jsonschema.validate(data, schema("partition"))
    names = [match["pattern"] for match in data["matches"]]
    assert names.count("conv2d") + names.count("depthwise_conv2d") == 9
    assert '"Composite": "tflite.conv2d"' in text.read_text(encoding="utf-8")
    assert '"Codegen": "tflite"' in regions.read_text(encoding="utf-8")


def test_the_other_ir_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.relay"
    assert run("partition", MODEL, "--patterns", "tflite", "--relay", out) == 1
    said = capsys.readouterr().err
    assert "error[QP304]: --relay is for TVM with Relay" in said and "--relax" in said
    assert run("canonicalize", MODEL, "--patterns", "tflite", "--relay", out) == 1
    assert "error[QP302]" in capsys.readouterr().err
    relay = tmp_path / "model.relay"
    relay.write_text("def @main() { 1 }", encoding="utf-8")
    assert run("params", relay) == 1
    said = capsys.readouterr().err
    assert "error[QP302]" in said and "QP311" not in said
    assert not out.exists()


def test_params(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = tmp_path / "out.json"
    assert run("params", MODEL, "--json", found) == 0
    assert "98 tensors, the parameters of 44 known" in capsys.readouterr().out
    jsonschema.validate(json.loads(found.read_text(encoding="utf-8")), schema("params"))


def test_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = tmp_path / "out.json"
    npu = Path(__file__).parent / "npu.qpat"
    assert run("why", MODEL, "--patterns", npu, "--at", "nn.softmax", "--json", found) == 0
    assert "`nn.softmax` stays on the host" in capsys.readouterr().out
    [softmax] = json.loads(found.read_text(encoding="utf-8"))
    assert (softmax["op"], softmax["reason"]) == ("nn.softmax", "not quantized")


def test_a_pattern_of_relay_is_not_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    given = ("--patterns", "tflite", "--pattern", "strided_slice")
    assert run("why", MODEL, *given) == 1
    assert "`strided_slice` cannot be said on the IR that is installed" in capsys.readouterr().err


def test_coverage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found, page = tmp_path / "out.json", tmp_path / "out.html"
    given = ("--json", found, "--html", page)
    assert run("coverage", MODEL, "--patterns", "tflite", *given) == 0
    assert "100 %" in capsys.readouterr().out
    data = json.loads(found.read_text(encoding="utf-8"))
    jsonschema.validate(data, schema("coverage"))
    text = page.read_text(encoding="utf-8")
    assert "depthwise_conv2d" in text
    assert re.search(r"https?://(?!www\.w3\.org/)", text) is None
