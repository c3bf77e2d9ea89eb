"""Runs the scripts of this folder in environments that have a TVM and nothing of qpat."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def python_of(environment: str) -> Path:
    """The Python of an environment of scripts/environment; skips where it could not be made."""
    if environment in os.environ.get("QPAT_MISSING_ENVIRONMENTS", "").split():
        pytest.skip(f"{environment} could not be made, see the output of scripts/environment")
    python = ROOT / ".environments" / environment / "bin" / "python"
    if not python.exists():
        pytest.fail(f"run this first: scripts/environment {environment}")
    return python


def python_with_torch() -> Path:
    """The Python of the environment that has PyTorch, which is made on demand only; skips where it
    is not there."""
    python = ROOT / ".environments" / "relax-torch" / "bin" / "python"
    if not python.exists():
        pytest.skip("PyTorch is not installed; `scripts/environment relax-torch` does it")
    return python


def printed(python: Path, script: Path, generated: Path, *words: object) -> str:
    """What a script prints of a generated module. It runs away from the checkout: qpat must not be
    found in the working folder."""
    variables = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run(
        [str(each) for each in (python, script, generated, *words)],
        cwd=generated.parent,
        env={**variables, "PYTHONNOUSERSITE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
