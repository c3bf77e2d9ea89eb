"""A partitioned model computes what the model computed: bit for bit, and as TFLite did."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import tflite
import tvm
from numpy.typing import NDArray
from tvm import relay
from tvm.contrib.graph_executor import GraphModule

from qpat.compiler import compile_file

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / "tests" / "data" / "tflite"
# A plain `llvm` means RISC-V in the distribution of TVM that is on the package index.
HOST = "llvm -mtriple=x86_64-unknown-linux-gnu"
# Without it the lowering of requantize depends on the target.
EXACT = {"rounding": "UPWARD", "compute_dtype": "int64"}

Arrays = Sequence[NDArray[Any]]

each_model = pytest.mark.parametrize("model", ["ds_cnn_kws_int8"])


@each_model
def test_a_defused_partition_computes_what_the_model_computed(model: str) -> None:
    prepared, defused = _prepared(model), _defused(model)
    assert prepared is not defused
    before, after = _executor(model, False), _executor(model, True)
    for inputs in _inputs(model):
        for was, is_now in zip(_run(before, inputs), _run(after, inputs), strict=True):
            np.testing.assert_array_equal(was, is_now)


@each_model
def test_a_defused_partition_computes_what_tflite_computed_within_one_step(model: str) -> None:
    stored = _stored(model)
    if not stored:
        pytest.skip(f"{model} has no stored outputs")
    executor = _executor(model, True)
    for number, inputs in enumerate(_inputs(model)):
        found = _run(executor, inputs)
        for kind in ("builtin", "ref"):
            for place, value in enumerate(found):
                wanted = stored[f"{kind}_out{place}_{number}"].astype(np.int64)
                assert np.max(np.abs(wanted - value.astype(np.int64))) <= 1


# ---- the models --------------------------------------------------------------------------


@cache
def _prepared(model: str) -> Any:
    data = (MODELS / f"{model}.tflite").read_bytes()
    module, params = relay.frontend.from_tflite(tflite.Model.GetRootAsModel(data, 0))
    module["main"] = relay.build_module.bind_params_by_name(module["main"], params)
    return relay.transform.InferType()(module)


@cache
def _defused(model: str) -> Any:
    patterns = _patterns()
    merged = relay.transform.MergeComposite(patterns.pattern_table())(_prepared(model))
    assert patterns.composites(merged["main"].body)
    return relay.transform.InferType()(relay.transform.DefuseOps()(merged))


@cache
def _patterns() -> Any:
    module = ModuleType("generated_tflite_patterns")
    sys.modules[module.__name__] = module  # its dataclasses look for it there
    text = compile_file(ROOT / "patterns" / "tflite.qpat").text
    exec(compile(text, module.__name__, "exec"), module.__dict__)
    return module


@cache
def _executor(model: str, defused: bool) -> Any:
    module = _defused(model) if defused else _prepared(model)
    with relay.qnn.op.requantize_config(**EXACT), tvm.transform.PassContext(opt_level=1):
        library = relay.build(module, target=HOST)
    return GraphModule(library["default"](tvm.cpu()))


@cache
def _stored(model: str) -> dict[str, NDArray[Any]]:
    path = MODELS / f"{model}.npz"
    if not path.exists():
        return {}
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


@cache
def _inputs(model: str) -> tuple[tuple[NDArray[Any], ...], ...]:
    """The stored inputs, one tuple for each run; random ones where there are none."""
    stored, parameters = _stored(model), _prepared(model)["main"].params
    runs = sum(name.startswith("in0_") for name in stored)
    if runs:
        return tuple(
            tuple(stored[f"in{i}_{run}"] for i in range(len(parameters))) for run in range(runs)
        )
    random = np.random.default_rng(0)
    shapes = [tuple(int(d) for d in each.checked_type.shape) for each in parameters]
    draw = [random.integers(-128, 128, (4, *shape)).astype("int8") for shape in shapes]
    return tuple(tuple(each[run] for each in draw) for run in range(4))


def _run(executor: Any, inputs: Arrays) -> Arrays:
    for index, value in enumerate(inputs):
        executor.set_input(index, value)
    executor.run()
    return [executor.get_output(i).numpy() for i in range(executor.get_num_outputs())]
