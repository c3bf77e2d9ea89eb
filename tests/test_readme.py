"""The README says what is true: its demo output, its patterns and its messages are compared."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

from qpat.cli import main
from qpat.compiler import check_source
from qpat.diagnostics import render_all
from qpat.source import Source

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def test_the_demo_prints_what_the_readme_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commands are the Makefile's, run where its demo runs; only the folder is another."""
    recipe = re.search(
        r"^demo-relay:\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE
    )
    assert recipe is not None
    commands = re.findall(r"\$\(QPAT\) (.*)", recipe[1].replace("\\\n", " "))
    assert [command.split()[0] for command in commands] == ["compile", "partition"]
    monkeypatch.chdir(ROOT)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        for command in commands:
            words = command.replace("build/demo", str(tmp_path)).split()
            assert main(words) == 0
    shown = README.split("<!-- demo:")[1].split("```\n")[1]
    assert printed.getvalue().replace(str(tmp_path), "build/demo") == shown
    assert {path.suffix for path in tmp_path.iterdir()} == {".py", ".json", ".relay"}


def test_the_patterns_of_the_readme_compile() -> None:
    texts = [text for _, text in BLOCKS if text.startswith("compiler ")]
    assert texts
    for text in texts:
        module, found = check_source(Source("npu.qpat", text))
        assert module is not None, render_all(found)


def test_the_message_of_the_readme_is_what_is_said() -> None:
    [shown] = [text for _, text in BLOCKS if text.startswith("npu.qpat:")]
    line = re.search(r"^ 6 \| (.*)$", shown, re.MULTILINE)
    assert line is not None
    text = f'compiler "n"\n\n\n\npattern p(x: int8, w: int8) -> acc: int32 {{\n{line[1]}\n}}'
    _, found = check_source(Source("npu.qpat", text))
    assert render_all(found) + "\n" == shown


def test_the_canonical_form_of_the_readme_is_what_is_written(tmp_path: Path) -> None:
    before, after = (text for _, text in BLOCKS if text.startswith("#[version"))
    model, written = tmp_path / "small.relay", tmp_path / "canonical.relay"
    model.write_text(before)
    assert main(["canonicalize", str(model), "--patterns", "tflite", "--relay", str(written)]) == 0
    assert re.sub(r" /\* ty=[^*]*\*/", "", written.read_text()).rstrip() + "\n" == after
