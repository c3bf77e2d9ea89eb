"""Golden texts: what a test produces, kept in a file under tests/golden/ and read by people.

`pytest --update-golden` writes the files anew; `git diff` then shows what changed.
"""

from __future__ import annotations

import difflib
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent / "golden"


def check_golden(config: pytest.Config, name: str, text: str) -> None:
    """Fails where `text` is not what tests/golden/`name` holds, byte for byte."""
    path = FOLDER / name
    if config.getoption("--update-golden", default=False):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
        return
    if not path.is_file():
        pytest.fail(f"tests/golden/{name} is missing; `pytest --update-golden` writes it")
    wanted = path.read_bytes().decode()
    if wanted == text:
        return
    lines = difflib.unified_diff(
        wanted.splitlines(), text.splitlines(), f"tests/golden/{name}", "now", lineterm=""
    )
    shown = "\n".join(lines) or "only in its newlines"
    pytest.fail(f"not what tests/golden/{name} holds:\n{shown}", pytrace=False)
