"""An output that is an input, or another output, is refused and nothing is written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from qpat.cli import main

MODEL = '#[version = "0.0.5"]\ndef @main(%x: Tensor[(1, 4), int8]) { abs(%x) }\n'
PATTERNS = """compiler "npu"
import "lib.qpat"
extern limit(x: tensor) -> int from "ext:limit"
pattern abs(x: int8) -> y: int8 {
  y = absolute(x)
  param most = limit(x)
}
"""
LIBRARY = "fragment absolute(x) -> y {\n  y = abs(x)\n}\n"
EXTERN = "def limit(x):\n    return 1\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    files = {"m.relay": MODEL, "p.qpat": PATTERNS, "lib.qpat": LIBRARY, "ext.py": EXTERN}
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    os.symlink("p.qpat", tmp_path / "link.qpat")
    monkeypatch.chdir(tmp_path)
    return tmp_path


APPLIED = "m.relay --patterns p.qpat"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (f"partition {APPLIED} --json p.qpat", "the output is the .qpat file itself"),
        (f"partition {APPLIED} --relay ./link.qpat", "the output is the .qpat file itself"),
        (f"partition {APPLIED} --json m.relay", "the output is the model itself"),
        (f"partition {APPLIED} --json o --regions ./o", "two outputs are this file"),
        (f"why {APPLIED} --json lib.qpat", "the output is a .qpat file that is imported"),
        (f"coverage {APPLIED} --json c --html c", "two outputs are this file"),
        (f"coverage {APPLIED} --html ext.py", "the output is the module of extern `limit`"),
        (f"canonicalize {APPLIED} --relay m.relay", "the output is the model itself"),
        ("params m.relay --json m.relay", "the output is the model itself"),
        ("verify p.qpat --json p.qpat", "the output is the .qpat file itself"),
        ("compile p.qpat -o ../{folder}/p.qpat", "the output is the .qpat file itself"),
        ("compile p.qpat -o lib.qpat", "the output is a .qpat file that is imported"),
        ("compile p.qpat -o ext.py", "the output is the module of extern `limit`"),
    ],
)
def test_an_output_that_is_read_is_refused(
    words: str, said: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert main(words.format(folder=folder.name).split()) == 1
    assert f"error[QP331]: {said}" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_outputs_of_an_earlier_run_and_devices_are_no_inputs(folder: Path) -> None:
    for _ in range(2):
        assert main(f"partition {APPLIED} --json o --relay r".split()) == 0
        assert main(f"coverage {APPLIED} --json /dev/null --html /dev/null".split()) == 0
    assert (folder / "o").exists() and (folder / "r").exists()
