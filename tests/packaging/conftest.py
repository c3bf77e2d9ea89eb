"""A copy of the checkout with the wheel of qpat built and installed, without TVM."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# What a clone would not have.
NOT_COPIED = {".git", ".venv", ".environments", "build", "dist"}


@dataclass(frozen=True)
class Plain:
    """The environment that `scripts/environment plain` makes."""

    checkout: Path
    output: str

    @property
    def folder(self) -> Path:
        return self.checkout / ".environments" / "plain"

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def wheel(self) -> Path:
        (wheel,) = (self.folder / "wheel").iterdir()
        return wheel


def _left_out(folder: str, names: list[str]) -> set[str]:
    caches = {name for name in names if name.endswith("_cache") or name == "__pycache__"}
    return caches | (NOT_COPIED & set(names) if Path(folder) == ROOT else set())


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Plain:
    """Made in a copy, so that a test never changes the environments that people work with."""
    checkout = tmp_path_factory.mktemp("packaging") / "checkout"
    shutil.copytree(ROOT, checkout, ignore=_left_out)
    done = subprocess.run(
        [checkout / "scripts" / "environment", "plain"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return Plain(checkout, done.stdout)


@pytest.fixture
def clean_environment() -> dict[str, str]:
    """The caller's environment variables without those that change what Python imports."""
    return {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
