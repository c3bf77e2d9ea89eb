"""Gives the module generated from patterns/pytorch_pt2e.qpat what was kept of PyTorch exports.

    python run_pt2e_frozen.py GENERATED.py FOLDER NAME…

FOLDER has for each name what freeze_pt2e.py has written. Prints as JSON, for each, what
pt2e_outcome.py says. Runs on TVM 0.26 and 0.27, without torch.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tvm
from pt2e_outcome import outcome
from run_relax import load
from tvm import relax


def main(generated: str, folder: str, *names: str) -> None:
    for name in ("qpat", "torch"):
        assert importlib.util.find_spec(name) is None, name + " can be imported here"
    patterns = load(Path(generated))
    found = {name: of_frozen(patterns, Path(folder) / f"pt2e_{name}") for name in names}
    print("\n" + json.dumps(found))  # a line of its own: TVM prints there too


def of_frozen(patterns: Any, path: Path) -> dict[str, Any]:
    arrays = dict(np.load(path.with_suffix(".npz")))
    module = thawed(path.with_suffix(".txt").read_text(encoding="utf-8"), arrays)
    inputs, wanted = ([arrays[each] for each in arrays if each[0] == kind] for kind in "xy")
    return outcome(patterns, module, inputs, wanted)


def thawed(text: str, arrays: dict[str, Any]) -> Any:
    """A module whose constants are kept outside of its text: as its parameters c0, c1, …"""
    constants = {name: tvm.runtime.tensor(each) for name, each in arrays.items() if name[0] == "c"}
    module = tvm.script.from_source(text)
    return relax.transform.BindParams("main", constants)(module)


if __name__ == "__main__":
    main(*sys.argv[1:])
