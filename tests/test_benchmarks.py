"""The benchmarks measure what they say. How fast it is depends on the machine and is no test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import partition, relax
from benchmarks.startup import LIMIT, PATTERNS, hundred_patterns
from qpat.compiler import check_source, compile_file
from qpat.diagnostics import render_all
from qpat.relay.graph import post_order
from qpat.source import Source
from tests.targets.bare.environments import printed, python_of

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
    assert figures["ratio"] == spent["check"] / (spent["import_lark"] + spent["parse"])
    assert figures["added"] == (spent["check"] - spent["parse"]) / spent["import_lark"]
    assert done.returncode == (figures["ratio"] > LIMIT)
    assert f"{figures['ratio']:.2f}, at most 3" in done.stdout.splitlines()[-2]


def test_network_has_the_calls_it_is_asked_for() -> None:
    for calls in (40, 160):
        function = partition.residual_network(calls)["main"]
        found = [each for each in post_order(function) if type(each).__name__ == "Call"]
        assert len(found) == calls


def test_merge_composite_is_measured_beside_tvm(tmp_path: Path) -> None:
    arguments = ["--calls", "16", "--runs", "1", "--json", "figures.json"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.partition", *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "figures.json").read_text())
    composites = {record["table"]: record["composites"] for record in figures["records"]}
    assert composites["ethos-u, no checks"] == composites["tflite.qpat"] == 8
    assert all(record["tvm"] > record["qpat"] > 0 for record in figures["records"])
    # Nothing is said of modules of another size than the limits are of.
    assert figures["limits"] == []
    for record in figures["records"]:
        assert partition.line(record) in done.stdout


def test_limits_are_judged() -> None:
    small = {"table": "ethos-u, no checks", "calls": 1280, "tvm": 9.0, "qpat": 0.1}
    large = {**small, "calls": 5120, "tvm": None, "qpat": 0.47}
    judged = partition.judge([{**small, "infer_type": 0.19}, {**large, "infer_type": 1.0}])
    assert [(figure, kept) for _, figure, _, kept in judged] == [
        (pytest.approx(90), False),
        (pytest.approx(0.526, abs=0.001), False),
        (pytest.approx(4.7), False),
    ]
    faster = {**small, "qpat": 0.08, "infer_type": 0.2}
    judged = partition.judge([faster, {**large, "qpat": 0.33, "infer_type": 1.0}])
    assert [kept for *_, kept in judged] == [True, True, True]


def test_partition_on_relax_is_measured_beside_tvm(tmp_path: Path) -> None:
    generated = tmp_path / "tflite_relax.py"
    text = compile_file(ROOT / "patterns/tflite.qpat", "relax").text
    generated.write_text(text, encoding="utf-8")
    # Whether limits are kept depends on the machine, and is the exit code.
    script = tmp_path / "measure.py"
    script.write_text(
        f"import runpy, sys\nsys.path.insert(0, {str(ROOT)!r})\n"
        "try:\n    runpy.run_module('benchmarks.relax', run_name='__main__')\n"
        "except SystemExit as ended:\n    print(ended.code)\n",
        encoding="utf-8",
    )
    options = ["--operators", "14", "28", "--runs", "1", "--json", "figures.json"]
    told = printed(python_of("relax-0.27"), script, generated, *options)
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert [each["composites"] for each in figures["records"]] == [2, 4]
    assert all(each["rows"] == 8 for each in figures["records"]) and figures["rows"] > 80
    for record in figures["records"]:
        assert relax.line(record) in told
    kept = [each["kept"] for each in figures["limits"]]
    assert len(kept) == 2
    assert told.splitlines()[-1] == str(int(not all(kept)))


def test_limits_on_relax_are_judged() -> None:
    small = {"operators": 1000, "plain": 1.0, "match": 0.5, "partition": 1.5}
    large = {"operators": 5000, "plain": 9.0, "match": 9.9, "partition": 9.0}
    judged = relax.judge([{**small, "operators": 100}, small, large])
    assert [(figure, kept) for _, figure, _, kept in judged] == [
        (0.5, True),
        (0.5, True),
        (1.5, False),
        (pytest.approx(1.1), False),
        (1.0, True),
        (6.0, True),
    ]
