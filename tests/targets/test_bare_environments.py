"""Generated modules where qpat is not installed: on TVM 0.16 and on TVM 0.9 with Python 3.8."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from qpat.compiler import compile_file

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
    assert _records(_python(environment), generated, model) == here


def _python(environment: str) -> Path:
    if environment in os.environ.get("QPAT_MISSING_ENVIRONMENTS", "").split():
        pytest.skip(f"{environment} could not be made, see the output of scripts/environment")
    python = ROOT / ".environments" / environment / "bin" / "python"
    if not python.exists():
        pytest.fail(f"run this first: scripts/environment {environment}")
    return python


@cache
def _records(python: Path, generated: Path, model: str, *options: str) -> str:
    """What the script prints. It checks by itself that all stages agree."""
    variables = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    # Away from the checkout: qpat must not be found in the working folder.
    done = subprocess.run(
        [python, SCRIPT, generated, MODELS / f"{model}.tflite", *options],
        cwd=generated.parent,
        env={**variables, "PYTHONNOUSERSITE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
