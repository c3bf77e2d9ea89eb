"""Runs examples/numpy_codegen where there is a TVM and nothing of qpat."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.models import DATA, ROOT
from tests.targets.bare.environments import python_of

EXAMPLE = ROOT / "examples" / "numpy_codegen"
README = (EXAMPLE / "README.md").read_text(encoding="utf-8")
DS_CNN = ROOT / "examples" / "ds_cnn_kws_int8.tflite"
MODELS = DATA / "tflite"
WRITTEN = shutil.ignore_patterns("npu_patterns.py", "npu_relax.py", "__pycache__")
COMPILE = {
    "relay": "qpat compile npu.qpat --unsaid ignore -o npu_patterns.py",
    "relax": "qpat compile npu.qpat --target relax --unsaid ignore -o npu_relax.py",
}


def copied(folder: Path) -> Path:
    """A copy of the example, without what was compiled there."""
    shutil.copytree(EXAMPLE, folder, ignore=WRITTEN)
    return folder


def compiled(folder: Path, target: str, changes: dict[str, str]) -> Path:
    """A copy of the example, its patterns compiled, with changes of the pattern file."""
    copied(folder)
    text = (folder / "npu.qpat").read_text(encoding="utf-8")
    for old, new in changes.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    (folder / "npu.qpat").write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", *COMPILE[target].split()]
    variables = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return folder


def run(folder: Path, environment: str, *words: object) -> subprocess.CompletedProcess[str]:
    """What Python gives there, in an environment that has TVM and nothing of qpat."""
    variables = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    return subprocess.run(
        [str(each) for each in (python_of(environment), *words)],
        cwd=folder,
        env={**variables, "PYTHONNOUSERSITE": "1"},
        capture_output=True,
        text=True,
    )


def reports(text: str) -> dict[str, str]:
    """What is said of each model, by its name."""
    found = re.findall(r"^(\S+)\.tflite: (.*?)(?=^\S|\Z)", text, re.DOTALL | re.M)
    return dict(found)


def kernels_of(report: str) -> dict[str, int]:
    """How often each kernel ran."""
    [ran] = re.findall("kernels that ran: (.*)", report)
    return {name: int(count) for name, count in re.findall(r"(\w+) (\d+)", ran)}


def equal_kernels(text: str, inputs: int) -> dict[str, dict[str, int]]:
    """How often each kernel ran, by the name of the model; all of them equal to TVM."""
    found = {}
    for model, report in reports(text).items():
        assert f"bit for bit equal to TVM on {inputs} inputs" in report, report
        found[model] = kernels_of(report)
    return found


def shown(command: str) -> str:
    """What the README shows behind the commands that end with this one."""
    blocks: list[str] = re.findall(r"^```\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    [place] = [i for i, each in enumerate(blocks) if each.splitlines()[-1] == command]
    return blocks[place + 1]
