"""Runs int8 models on the toy accelerator and on TVM alone, and holds the results together.

    python compare.py MODEL.tflite... [--inputs N]

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
from tvm import relay
from tvm.contrib import graph_executor

try:
    import npu_patterns as npu
except ModuleNotFoundError:
    command = "qpat compile npu.qpat --unsaid ignore -o npu_patterns.py"
    sys.exit(f"There is no npu_patterns.py yet. Run: {command}")
import codegen  # registers itself with TVM


def main(arguments: list[str]) -> int:
    options = parser_of(__doc__).parse_args(arguments)
    # All, also behind one that differs.
    return int(not all([compare(model, options.inputs) for model in options.models]))


def compare(path: Path, count: int) -> bool:
    """Whether both ways give the same for random inputs, and something runs on the accelerator."""
    read = imported(path, relay.frontend.from_tflite)
    if read is None:
        return False
    module, params = read
    offloaded = npu.offload(module, params)
    print(f"{path.name}: {described(offloaded)}", flush=True)
    alone, together = executor(module, params), executor(offloaded, {})
    variables = offloaded["main"].params
    names = [each.name_hint for each in variables]
    types = [(codegen.shape_of(each.checked_type), each.checked_type.dtype) for each in variables]
    same: bool = is_same(
        lambda inputs: results(alone, dict(zip(names, inputs))),
        lambda inputs: results(together, dict(zip(names, inputs))),
        types,
        count,
    )
    return same


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


def executor(module: Any, params: dict[str, Any]) -> Any:
    """A built module. TVM's way of rounding is named: its default depends on the processor."""
    pinned = relay.qnn.op.requantize_config(rounding="UPWARD", compute_dtype="int64")
    with pinned, tvm.transform.PassContext(opt_level=2):
        built = relay.build(module, target=codegen.HOST, params=params)
    return graph_executor.GraphModule(built["default"](tvm.cpu()))


def results(executor: Any, inputs: dict[str, Any]) -> list[Any]:
    executor.run(**inputs)
    return [executor.get_output(each).numpy() for each in range(executor.get_num_outputs())]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
