"""The count of lines counts what it says, can fail, and is what the docs say."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.count_lines import PATTERNS, TABLES, by_position, main, python_lines, qpat_lines

DOCS = (Path(__file__).parents[2] / "docs" / "library.md").read_text(encoding="utf-8")
# What frontends write, not a table of TVM's.
FRONTENDS = {"tflite.qpat", "onnx.qpat", "pytorch.qpat", "pytorch_pt2e.qpat"}

PYTHON = '''"""A module."""
# A comment.
import os


@decorated
def check(call):
    """Says
    something."""
    text = """two
lines"""  # behind code

    return call.args[0], text


class Params:
    """Parameters."""

    def check(self):
        return 1
'''


def test_code_is_counted_and_nothing_else() -> None:
    assert python_lines(PYTHON) == 1 + 5 + 3
    assert python_lines(PYTHON, ["check"]) == 5 + 2  # also the method
    assert python_lines(PYTHON, ["check", "Par*"]) == 5 + 3  # once
    with pytest.raises(LookupError, match="other"):
        python_lines(PYTHON, ["check", "other"])
    assert qpat_lines('// a\n/// b\n\ncompiler "npu"  // c\n  y = f(x)\n') == 2


def test_operands_by_position_are_found() -> None:
    assert by_position("a.py", PYTHON) == ["a.py:13"]
    assert by_position("a.py", "root.args[QConv2DArgs.IFM.value]") == ["a.py:1"]
    assert by_position("a.py", "def f(*args): return args[0]") == []
    text = 'where acc.args[3] == 1\nwhere acc.attrs.args == 1 // args\nwhere a else "args[0]"'
    assert by_position("a.qpat", text) == ["a.qpat:1", "a.qpat:2"]


def test_every_table_of_the_library_is_counted() -> None:
    counted = {name for table in TABLES.values() for name in table.files} | {"common.qpat"}
    there = {path.name for path in PATTERNS.iterdir() if path.suffix in (".qpat", ".py")}
    assert counted <= there and there - counted <= FRONTENDS


def test_library_is_within_its_limit_and_the_docs_say_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    head, *rows = (line.split() for line in printed.out.splitlines())
    assert head == ["table", "here", "TVM", "share"] and len(rows) == len(TABLES) + 2
    for name, *numbers in rows:
        cells = " | ".join([name, *numbers, *[""] * (3 - len(numbers))]).strip()
        assert f"| {cells} |".replace("|  |", "| |") in DOCS
    share = float(rows[-1][-1].rstrip("%")) / 100
    assert main(["--limit", str(share - 0.001)]) == 1
    assert "in total" in capsys.readouterr().err
