"""Imports PyTorch exports with qpat, and gives them to the module generated from
patterns/pytorch_pt2e.qpat.

    python run_pt2e.py GENERATED.py

Prints as JSON, for each network of pt2e_models.py, what pt2e_outcome.py says and what the export
says, imported whole and decomposed; and what is said of exports that cannot be imported. Needs
torch, torchao, TVM 0.26 or 0.27, and qpat.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import tvm
from pt2e_models import MODELS, REFUSED, said
from pt2e_outcome import outcome
from run_relax import load
from tvm.relax.frontend.torch import from_exported_program

from qpat.diagnostics import QpatError
from qpat.relax.pytorch import convert_map, import_exported_program


def main(generated: str) -> None:
    patterns = load(Path(generated))
    found: dict[str, Any] = {name: of_network(patterns, make()) for name, make in MODELS.items()}
    found["refused"] = {name: refusal(make()) for name, make in REFUSED.items()}
    print("\n" + json.dumps(found))  # a line of its own: TVM prints there too


def of_network(patterns: Any, made: Any) -> dict[str, Any]:
    inputs = [each.numpy() for each in made.inputs]
    wanted = [made.network(*made.inputs).detach().numpy()]
    modules = {
        way: import_exported_program(made.program, decompose=way == "core")
        for way in ("whole", "core")
    }
    # The map by itself, with what TVM does where nothing else is said.
    plain = from_exported_program(made.program, custom_convert_map=convert_map(made.program))
    tvm.ir.assert_structural_equal(plain, modules["core"])
    found = {way: outcome(patterns, each, inputs, wanted) for way, each in modules.items()}
    return {**found, "said": said(made.program)}


def refusal(made: Any) -> list[str]:
    try:
        import_exported_program(made.program)
    except QpatError as error:
        return [f"{each.code}: {each.message}" for each in error.diagnostics]
    return []


if __name__ == "__main__":
    main(*sys.argv[1:])
