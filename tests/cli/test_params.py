"""`qpat params` as a user runs it: status, the table, the JSON and its schema."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

import qpat
from qpat.cli import main

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / "tests" / "data"
SCHEMA = json.loads((ROOT / "docs" / "params.schema.json").read_text(encoding="utf-8"))
FAULTY = """#[version = "0.0.5"]
def @main(%x: Tensor[(4), float32]) -> Tensor[(4), float32] {
  %0 = qnn.quantize(%x, 0.5f, 3, out_dtype="int8", axis=0);
  %1 = nn.relu(%0);
  %2 = qnn.dequantize(%1, 0.25f, 300, out_dtype="float32", axis=0);
  %3 = qnn.dequantize(%1, 0.25f, 3, out_dtype="float32", axis=0);
  add(%2, %3)
}
"""


def run(*arguments: str | Path) -> int:
    return main(["params", *map(str, arguments)])


def written(model: Path, tmp_path: Path) -> Any:
    assert run(model, "--json", tmp_path / "out.json") == 0
    return json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))


def test_the_table_has_a_line_for_each_tensor(capsys: pytest.CaptureFixture[str]) -> None:
    model = MODELS / "tflite" / "ops" / "conv2d.tflite"
    assert run(model) == 0
    lines = capsys.readouterr().out.splitlines()
    assert " ".join(lines[0].split()) == "name operator dtype shape scale zero point axis"
    known = qpat.quantization(model)
    assert lines[len(known.tensors()) + 1 :] == ["", "6 tensors, the parameters of 6 known"]
    columns = [lines[0].index(f"  {word}") for word in ("operator", "dtype", "shape", "scale")]
    for line, tensor in zip(lines[1:], known.tensors(), strict=False):
        assert line.startswith(f"{tensor.name}  ")
        assert all(line[at : at + 2] == "  " != line[at + 2 : at + 3] for at in columns)
    said = "serving_default_x:0 input int8 1x8x8x6 0.044682514 -12 -"
    assert " ".join(lines[1].split()) == said
    assert lines[2].split()[-2:] == ["0", "3"] and "10 from 0.00664 to 0.0114" in lines[2]


def test_what_is_unknown_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(MODELS / "tflite" / "ops" / "prelu.tflite") == 0
    out = capsys.readouterr().out
    assert out.count("(dropped by the frontend (nn.prelu))\n") == 7
    assert out.endswith("not known:\n  7x  dropped by the frontend (nn.prelu)\n")
    assert run(MODELS / "onnx" / "resnet_dyn_u8.onnx") == 0
    out = capsys.readouterr().out
    assert "(float)" in out and "(qnn.quantize: its scale is not constant)" in out


@pytest.mark.parametrize(
    "name",
    [
        "tflite/op_soup_nol2_int8.tflite",
        "tflite/ops/prelu.tflite",
        "tflite/ops/split.tflite",
        "tflite/ops/dwconv.tflite",
        "onnx/resnet_dyn_u8.onnx",
    ],
)
def test_the_json_is_what_its_schema_says(
    name: str, tmp_path: Path, model: Callable[[str], Any]
) -> None:
    data = written(MODELS / name, tmp_path)
    jsonschema.validate(data, SCHEMA)
    tensors = qpat.quantization(model(name)).tensors()
    assert len(data["tensors"]) == len(tensors)
    for found, tensor in zip(data["tensors"], tensors, strict=True):
        assert (found["name"], found["operator"], found["unknown"]) == (
            tensor.name,
            tensor.operator,
            tensor.unknown,
        )
        if tensor.scale is not None:
            # A float32 survives as the double that is equal to it.
            np.testing.assert_array_equal(np.float32(found["scale"]), tensor.scale)
            np.testing.assert_array_equal(found["zero_point"], tensor.zero_point)


@pytest.mark.parametrize(
    "change",
    [
        {"unknown": "a reason, and parameters"},
        {"scale": None},
        {"scale": 0.0},
        {"scale": [0.5]},
        {"zero_point": 0.5},
        {"said_by": None},
        {"more": 1},
    ],
)
def test_the_schema_refuses_what_contradicts_itself(change: dict[str, Any], tmp_path: Path) -> None:
    data = written(MODELS / "tflite" / "ops" / "add.tflite", tmp_path)
    jsonschema.validate(data, SCHEMA)
    data["tensors"][0].update(change)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(data, SCHEMA)


def test_conflicts_and_faults_are_warnings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "faulty.relay"
    model.write_text(FAULTY)
    data = written(model, tmp_path)
    jsonschema.validate(data, SCHEMA)
    err = capsys.readouterr().err
    assert err.count("warning[QP342]") == err.count("warning[QP343]") == 1
    assert "qpat explain QP342" in err
    [conflict], [fault] = data["conflicts"], data["faults"]
    assert [conflict[each]["name"] for each in ("first", "second")] == ["%0", "%3"]
    assert conflict["first"]["scale"] == 0.5 and conflict["second"]["scale"] == 0.25
    assert (fault["operator"], fault["name"], fault["tensor"]) == ("qnn.dequantize", "%2", "data")
    assert fault["reason"] == "its zero point is 300, which is no int8"
    assert conflict["message"] in err and fault["message"] in err


def test_a_model_that_cannot_be_read_leaves_nothing_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path / "nothing.tflite", "--json", tmp_path / "out.json") == 1
    captured = capsys.readouterr()
    assert "error[QP310]" in captured.err and captured.out == ""
    assert not list(tmp_path.iterdir())


def test_output_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(MODELS / "tflite" / "ops" / "add.tflite", "--json", tmp_path) == 1
    captured = capsys.readouterr()
    assert "error[QP330]" in captured.err and captured.out == ""


def test_without_a_model_it_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exited:
        run()
    assert exited.value.code == 2
    assert "MODEL" in capsys.readouterr().err
