"""Keeps what PyTorch exports become on Relax, for tests where there is no torch.

    python freeze_pt2e.py FOLDER NAME…

Writes three files for each network of pt2e_models.py: the module as TVMScript, with its constants
as parameters; those, inputs and what PyTorch computes for them (.npz); and what the export says of
its tensors (.json). Needs torch, torchao, TVM 0.27, and qpat on the path.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tvm
from pt2e_models import MODELS, said
from run_pt2e_frozen import thawed

from qpat.relax.pytorch import import_exported_program


def main(folder: str, *names: str) -> None:
    for name in names:
        made = MODELS[name]()
        text, arrays = frozen(import_exported_program(made.program))
        arrays |= {f"x{i}": each.numpy() for i, each in enumerate(made.inputs)}
        arrays["y0"] = made.network(*made.inputs).detach().numpy()
        path = Path(folder) / f"pt2e_{name}"
        path.with_suffix(".txt").write_text(text, encoding="utf-8")
        np.savez_compressed(path.with_suffix(".npz"), **arrays)
        path.with_suffix(".json").write_text(json.dumps(said(made.program)) + "\n")


def frozen(module: Any) -> tuple[str, dict[str, Any]]:
    """The text of a module and its constants by name; read back they are the same module."""
    constants = constants_of(module)
    arrays = {f"c{i}": each.value.numpy() for i, each in enumerate(constants)}
    text = str(module.script(show_meta=False))
    for i in reversed(range(len(constants))):
        text = text.replace(f'metadata["ir.GenericConst"][{i}]', f"c{i}")
    parameters = [
        f'c{i}: R.Tensor({tuple(each.shape)!r}, dtype="{each.dtype}")'
        for i, each in enumerate(arrays.values())
    ]
    head, _, rest = text.partition(") -> ")
    text = f"{head}, {', '.join(parameters)}) -> {rest}"
    tvm.ir.assert_structural_equal(thawed(text, arrays), module)
    return text, arrays


def constants_of(module: Any) -> list[Any]:
    """The constants that TVMScript has no literals for, in the order of its text."""
    found: list[Any] = []

    def visit(expr: Any) -> None:
        is_new = not any(expr.same_as(each) for each in found)
        if isinstance(expr, tvm.ir.GenericConst) and expr.value.numpy().ndim and is_new:
            found.append(expr)

    for block in module["main"].body.blocks:
        for binding in block.bindings:
            for argument in getattr(binding.value, "args", ()):
                visit(argument)
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
