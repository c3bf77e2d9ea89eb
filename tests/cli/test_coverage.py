"""`qpat coverage` as a user runs it: what it prints, what it writes, and when it writes nothing."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest

from qpat.cli import main
from tests.coverage.conftest import REFUSING
from tests.golden import check_golden
from tests.models import DATA, ROOT

MODELS = ("resnet8_cifar_int8", "ds_cnn_kws_int8")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two models and a pattern file, which is the working folder."""
    (tmp_path / "npu.qpat").write_text(REFUSING)
    for name in MODELS:
        (tmp_path / f"{name}.tflite").symlink_to(DATA / f"tflite/{name}.tflite")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def coverage(*words: str) -> int:
    return main(["coverage", *(f"{name}.tflite" for name in MODELS), *words])


def test_it_prints_tables_and_writes_what_is_asked_for(
    folder: Path, capsys: pytest.CaptureFixture[str], pytestconfig: pytest.Config
) -> None:
    assert coverage("--patterns", "npu.qpat", "--json", "a.json", "--html", "out/a.html") == 0
    printed = capsys.readouterr()
    check_golden(pytestconfig, "coverage.txt", printed.out)
    assert "counting" in printed.err
    written = json.loads((folder / "a.json").read_text())
    schema = json.loads((ROOT / "docs" / "coverage.schema.json").read_text(encoding="utf-8"))
    jsonschema.validate(written, schema)
    assert written["total"]["forms"][0]["refusals"][0]["file"] == "npu.qpat"
    assert (folder / "out" / "a.html").read_text().startswith("<!DOCTYPE html>")


def test_options_are_those_of_the_patterns(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = REFUSING.replace("\n\n", "\n\noption most: int = 1\n\n", 1).replace("== 1 ", "<= most ")
    (folder / "npu.qpat").write_text(text)
    for words, refused in (((), 8), (("--option", "most=3"), 1)):
        assert coverage("--patterns", "npu.qpat", *words) == 0
        printed = capsys.readouterr().out
        assert re.search(rf"^ +{refused} .* kernel larger than 1", printed, re.MULTILINE)
    assert coverage("--patterns", "npu.qpat", "--option", "none=3") == 1
    assert "QP336" in capsys.readouterr().err


def test_headings_are_coloured_where_that_is_asked_for(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert coverage("--patterns", "npu.qpat", "--color", "always") == 0
    coloured = capsys.readouterr().out
    assert coverage("--patterns", "npu.qpat", "--color", "never") == 0
    plain = capsys.readouterr().out
    assert "\x1b[1mmodel" in coloured and "\x1b" not in plain
    assert coloured.replace("\x1b[1m", "").replace("\x1b[0m", "") == plain


def test_a_model_that_cannot_be_read_is_a_finding_and_nothing_is_written(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "broken.tflite").write_bytes(b"no model")
    words = ["coverage", "none.onnx", f"{MODELS[0]}.tflite", "broken.tflite"]
    status = main([*words, "--patterns", "npu.qpat", "--json", "a.json", "--html", "a.html"])
    printed = capsys.readouterr()
    assert (status, printed.out) == (1, "")
    assert "none.onnx: error[QP" in printed.err and "broken.tflite: error[QP" in printed.err
    assert not (folder / "a.json").exists() and not (folder / "a.html").exists()


def test_wrong_use(folder: Path) -> None:
    for words in (["coverage", "--patterns", "npu.qpat"], ["coverage", "x.tflite"]):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 2
