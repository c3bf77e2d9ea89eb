"""docs/language.md executes: every block compiles or gives the findings it announces, and its tests
pass."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from qpat.compiler import check_source, compile_source
from qpat.diagnostics import Severity, render_all
from qpat.source import Source

PAGE = Path(__file__).resolve().parents[1] / "docs" / "language.md"
_BLOCK = re.compile(r"^```qpat( in [^\n]*)?\n(.*?)^```", re.MULTILINE | re.DOTALL)
_ANNOUNCED = re.compile(r"// error: (QP\d+)")


@dataclass(frozen=True)
class Block:
    """One block as a file of its own; `line` is where it begins on the page."""

    line: int
    text: str

    def __str__(self) -> str:
        return f"line {self.line}"


def _blocks() -> list[Block]:
    page = PAGE.read_text(encoding="utf-8")
    found = []
    for match in _BLOCK.finditer(page):
        line = page.count("\n", 0, match.start()) + 1
        interface, text = match[1], match[2]
        if interface is not None:
            text = f"pattern {interface.removeprefix(' in ')} {{\n{text}}}\n"
        if "compiler " not in text:
            text = f'compiler "npu" {text}'
        found.append(Block(line, text))
    return found


each_block = pytest.mark.parametrize("block", _blocks(), ids=str)


@each_block
def test_a_block_gives_what_it_announces(block: Block) -> None:
    _, found = check_source(Source(f"docs/language.md line {block.line}", block.text))
    lines = block.text.splitlines()
    announced = [
        (number, code)
        for number, line in enumerate(lines, start=1)
        for code in _ANNOUNCED.findall(line)
    ]
    told = [(each.span.line, each.code) for each in found if each.span is not None]
    assert sorted(told) == announced, render_all(found)
    assert all(each.severity is Severity.ERROR for each in found)


@pytest.mark.parametrize("block", [b for b in _blocks() if "\ntest " in b.text], ids=str)
def test_the_tests_of_a_block_pass(block: Block) -> None:
    from qpat.relay.testing import run_tests

    compiled = compile_source(Source("language.qpat", block.text))
    for outcome in run_tests(compiled):
        assert not outcome.findings, render_all(outcome.findings)


def test_blocks_are_found() -> None:
    assert len(_blocks()) >= 12
    assert PAGE.read_text(encoding="utf-8").count("```qpat") == len(_blocks())
