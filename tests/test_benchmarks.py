"""The benchmarks measure what they say. How fast it is depends on the machine and is no test."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.startup import LIMIT, PATTERNS, hundred_patterns
from qpat.compiler import check_source
from qpat.diagnostics import render_all
from qpat.source import Source

ROOT = Path(__file__).resolve().parents[1]


def test_file_has_a_hundred_patterns_without_a_fault() -> None:
    module, found = check_source(Source("hundred.qpat", hundred_patterns()))
    assert module is not None and not found, render_all(found)
    assert len(module.patterns) == PATTERNS == 100


def test_figures_are_printed_and_written(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks/startup.py", "--runs", "1", "--json", "figures.json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["limit"] == LIMIT == 3
    spent = figures["milliseconds"]
    assert spent["python"] < spent["import_lark"] < spent["check"]
    assert figures["ratio"] == (spent["check"] - spent["parse"]) / spent["import_lark"]
    assert done.returncode == (figures["ratio"] > LIMIT)
    assert f"{figures['ratio']:.2f}, at most 3" in done.stdout.splitlines()[-2]
