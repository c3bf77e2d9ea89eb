"""Runs int8 models on the toy accelerator and on Relax alone, and holds the results together.

    python relax_compare.py MODEL.tflite... [--inputs N] [--integers]

Exit status: 0 where all results are equal bit for bit, 1 where one is not, or where the accelerator
takes nothing of a model.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import tvm
from comparison import imported, is_same, listed, parser_of
from tvm import relax
from tvm.relax.frontend.tflite import from_tflite

try:
    import npu_relax as npu
except ModuleNotFoundError:
    command = "qpat compile npu.qpat --target relax --unsaid ignore -o npu_relax.py"
    sys.exit(f"There is no npu_relax.py yet. Run: {command}")
import relax_codegen  # registers itself with TVM


def main(arguments: list[str]) -> int:
    parser = parser_of(__doc__)
    parser.add_argument("--integers", action="store_true", help="compute in integers")
    options = parser.parse_args(arguments)
    arithmetic = "integer" if options.integers else "real"
    # All, also behind one that differs.
    return int(not all([compare(each, options.inputs, arithmetic) for each in options.models]))


def compare(path: Path, count: int, arithmetic: str) -> bool:
    """Whether both ways give the same for random inputs, and something runs on the accelerator."""
    module = imported(path, from_tflite)
    if module is None:
        return False
    print(f"{path.name}: {described(npu.offload(module))}", flush=True)
    alone, together = machine(module), machine(relax_codegen.offload(module, arithmetic))
    types = [type_of(each) for each in module["main"].params]
    same: bool = is_same(
        lambda inputs: results(alone, inputs),
        lambda inputs: results(together, inputs),
        types,
        count,
    )
    return same


def described(module: Any) -> str:
    """What runs where."""
    functions = [each for each in module.functions.values() if relax_codegen.is_region(each)]
    bindings = [each for block in module["main"].body.blocks for each in block.bindings]
    calls = [each.value for each in bindings if isinstance(each.value, relax.Call)]
    host = Counter(str(each.op.name) for each in calls if isinstance(each.op, tvm.ir.Op))
    composites = len(npu.composites(module))
    return f"composites {composites}, functions {len(functions)}\n  on the host: {listed(host)}"


def machine(module: Any) -> Any:
    return relax.VirtualMachine(tvm.compile(module, target="llvm"), tvm.cpu())


def type_of(variable: Any) -> tuple[list[int], str]:
    return [int(size) for size in variable.ty.shape.values], str(variable.ty.dtype)


def results(machine: Any, inputs: list[Any]) -> list[Any]:
    found = machine["main"](*[tvm.runtime.tensor(each) for each in inputs])
    return [each.numpy() for each in ([found] if hasattr(found, "numpy") else found)]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
