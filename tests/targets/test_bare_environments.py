"""Generated modules where qpat is not installed: on TVM 0.16 and on TVM 0.9 with Python 3.8."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

import pytest

from qpat.compiler import compile_file
from tests.targets.bare.environments import printed, python_of

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / "tests" / "data" / "tflite"
SCRIPT = Path(__file__).parent / "bare" / "run_generated.py"

each_model = pytest.mark.parametrize(
    "model", ["ds_cnn_kws_int8", "op_soup_nol2_int8", "ops/concat", "ops/pack"]
)


@pytest.fixture(scope="session")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("generated") / "tflite_patterns.py"
    path.write_text(compile_file(ROOT / "patterns" / "tflite.qpat").text, encoding="utf-8")
    return path


@each_model
@pytest.mark.parametrize("environment", ["tvm-0.16", "tvm-0.9"])
def test_records_are_the_same_without_qpat_and_at_every_stage(
    generated: Path, environment: str, model: str
) -> None:
    here = _records(Path(sys.executable), generated, model, "--qpat-is-here")
    assert _records(python_of(environment), generated, model) == here


@cache
def _records(python: Path, generated: Path, model: str, *options: str) -> str:
    """What the script prints. It checks by itself that all stages agree."""
    return printed(python, SCRIPT, generated, MODELS / f"{model}.tflite", *options)
