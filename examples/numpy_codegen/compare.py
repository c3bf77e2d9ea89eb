"""Runs int8 models on the toy accelerator and on TVM alone, and holds the results together.

    python compare.py MODEL.tflite... [--inputs N]

Exit status: 0 where all results are equal bit for bit, 1 where one is not, or where the accelerator
takes nothing of a model.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tflite
import tvm
from tvm import relay
from tvm.contrib import graph_executor

try:
    import npu_patterns as npu
except ModuleNotFoundError:
    sys.exit("There is no npu_patterns.py yet. Run: qpat compile npu.qpat -o npu_patterns.py")
import codegen  # registers itself with TVM


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", metavar="MODEL", type=Path)
    parser.add_argument("--inputs", default=10, type=int, help="random inputs for each (10)")
    options = parser.parse_args(arguments)
    # All, also behind one that differs.
    return int(not all([compare(model, options.inputs) for model in options.models]))


def compare(path: Path, count: int) -> bool:
    """Whether both ways give the same for random inputs, and something runs on the accelerator."""
    module, params = relay.frontend.from_tflite(tflite.Model.GetRootAsModel(path.read_bytes(), 0))
    offloaded = npu.offload(module, params)
    print(f"{path.name}: {described(offloaded)}", flush=True)
    alone, together = executor(module, params), executor(offloaded, {})
    random = np.random.default_rng(0)
    codegen.runs.clear()
    different = total = 0
    for _ in range(count):
        inputs = {
            each.name_hint: drawn(random, each.checked_type) for each in offloaded["main"].params
        }
        for one, other in zip(results(alone, inputs), results(together, inputs)):
            different += int(np.sum(one != other))
            total += one.size
    print(f"  kernels that ran: {listed(codegen.runs)}")
    if different:
        print(f"  {different} of {total} numbers are not those of TVM")
    else:
        print(f"  bit for bit equal to TVM on {count} inputs: {total} numbers")
    return not different and bool(codegen.runs)


def described(module: Any) -> str:
    """What runs where."""
    functions = [module[each] for each in module.get_global_vars() if each.name_hint != "main"]
    composites = sum(len(npu.composites(each.body)) for each in functions)
    host: Counter[str] = Counter()

    def count(node: Any) -> None:
        if isinstance(node, relay.Call) and isinstance(node.op, tvm.ir.Op):
            host[node.op.name] += 1

    relay.analysis.post_order_visit(module["main"].body, count)
    return f"composites {composites}, functions {len(functions)}\n  on the host: {listed(host)}"


def listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {times}" for name, times in sorted(counts.items())) or "nothing"


def executor(module: Any, params: dict[str, Any]) -> Any:
    """A built module. TVM's way of rounding is named: its default depends on the processor."""
    pinned = relay.qnn.op.requantize_config(rounding="UPWARD", compute_dtype="int64")
    with pinned, tvm.transform.PassContext(opt_level=2):
        built = relay.build(module, target=codegen.HOST, params=params)
    return graph_executor.GraphModule(built["default"](tvm.cpu()))


def drawn(random: Any, of_type: Any) -> Any:
    shape = [int(size) for size in of_type.shape]
    if of_type.dtype.startswith("float"):
        return random.uniform(-1, 1, shape).astype(of_type.dtype)
    least, most = np.iinfo(of_type.dtype).min, np.iinfo(of_type.dtype).max
    return random.integers(least, most, shape, of_type.dtype, endpoint=True)


def results(executor: Any, inputs: dict[str, Any]) -> list[Any]:
    executor.run(**inputs)
    return [executor.get_output(each).numpy() for each in range(executor.get_num_outputs())]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
