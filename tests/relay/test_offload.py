"""A model to a module of regions in one call, with qpat and with the generated module alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relay

import qpat
from qpat.compiler import compile_source
from qpat.relay.importing import import_model
from qpat.relay.loading import load
from qpat.source import Source
from tests.models import DATA, ROOT

LIBRARY = ROOT / "patterns" / "tflite.qpat"
# Nothing is inherited here, so a record is the same whoever reads it.
PATTERNS = """compiler "my-npu"
option most: int = 3
pattern conv2d(x: int8, w: int8, bias: int32?) -> y: int8 {
  d   = shared nn.pad(x, x.zero_point)?
  acc = {qnn.conv2d}(d, const w, .., data_layout="NHWC", kernel_layout="HWIO")
  sum = nn.bias_add(acc, const bias)?
  out = qnn.requantize(sum, ..)
  y   = clip(out)?
  where acc.attrs.strides <= most else "stride"
}
pattern dense(x: int8, w: int8, bias: int32?) -> y: int8 {
  acc = qnn.dense(x, const w, ..)
  sum = nn.bias_add(acc, const bias)?
  out = qnn.requantize(sum, ..)
  y   = clip(out)?
}
pattern reshape(x: int8) -> y: int8 as op "reshape" { y = reshape(x) }
"""


def functions_of(module: Any) -> dict[str, Any]:
    names = [variable.name_hint for variable in module.get_global_vars()]
    return {name: module[name] for name in names if name != "main"}


def operators(function: Any) -> list[str]:
    found: list[str] = []

    def visit(node: Any) -> None:
        if isinstance(node, relay.Call) and isinstance(node.op, tvm.ir.Op):
            found.append(node.op.name)

    relay.analysis.post_order_visit(function, visit)
    return found


def composites(function: Any) -> list[Any]:
    found: list[Any] = []

    def visit(node: Any) -> None:
        if isinstance(node, relay.Function) and node.attrs and "Composite" in node.attrs:
            found.append(node)

    relay.analysis.post_order_visit(function, visit)
    return found


def model(name: str) -> tuple[Any, Any]:
    imported = import_model(DATA / "tflite" / f"{name}.tflite")
    return imported.module, imported.params


@pytest.mark.parametrize("name", ["ds_cnn_kws_int8", "mobilenet_v1_025_96_int8"])
def test_every_region_is_a_function_for_the_code_generator(name: str) -> None:
    module, params = model(name)
    before = tvm.ir.structural_hash(module)
    offloaded = qpat.offload(module, LIBRARY, params)
    assert tvm.ir.structural_hash(module) == before
    found = qpat.partition(module, LIBRARY, params)
    functions = functions_of(offloaded)
    inside = [each for function in functions.values() for each in composites(function)]
    assert len(inside) == len(found.matches) and not found.host
    for symbol, function in functions.items():
        assert function.attrs["Compiler"] == "tflite"
        assert function.attrs["global_symbol"] == symbol
    for composite in inside:
        assert composite.attrs["Composite"].startswith("tflite.")
        assert composite.attrs["qpat_record"]["pattern"] in composite.attrs["Composite"]
    # Only the input is left, and nothing but calls of the regions.
    assert len(offloaded["main"].params) == 1 and not operators(offloaded["main"])


@pytest.mark.parametrize("name", ["ds_cnn_kws_int8", "resnet8_cifar_int8", "unet_64_int8"])
def test_the_generated_module_does_the_same_alone(name: str) -> None:
    compiled = compile_source(Source("npu.qpat", PATTERNS))
    module, params = model(name)
    alone = load(compiled).offload(module, params)
    together = qpat.offload(module, compiled, params)
    assert tvm.ir.structural_equal(alone, together)
    assert set(functions_of(alone)) == set(functions_of(together)) != set()


def test_options_are_handed_on() -> None:
    compiled = compile_source(Source("npu.qpat", PATTERNS))
    module, params = model("resnet8_cifar_int8")
    left = {}
    for most in (1, 2):
        alone = load(compiled).offload(module, params, most=most)
        together = qpat.offload(module, compiled, params, options={"most": most})
        assert tvm.ir.structural_equal(alone, together)
        left[most] = operators(alone["main"]).count("qnn.conv2d")
    assert left[2] == 0 < left[1]


def test_a_value_that_two_matches_share_and_a_single_operator_go_along() -> None:
    generated = load(compile_source(Source("npu.qpat", PATTERNS)))
    zero, half, quarter = (
        relay.const(0),
        relay.const(np.float32(0.5)),
        relay.const(np.float32(0.25)),
    )
    pad = relay.nn.pad(
        relay.var("x", shape=(1, 4, 4, 3), dtype="int8"), [[0, 0], [1, 1], [1, 1], [0, 0]]
    )
    made = []
    for name in "vw":
        weights = relay.var(name, shape=(3, 3, 3, 2), dtype="int8")
        acc = relay.qnn.op.conv2d(
            pad,
            weights,
            zero,
            zero,
            half,
            half,
            (3, 3),
            2,
            data_layout="NHWC",
            kernel_layout="HWIO",
        )
        out = relay.qnn.op.requantize(acc, quarter, zero, half, zero, out_dtype="int8")
        made.append(relay.reshape(out, [-1]))
    body = relay.Tuple(made)
    module = tvm.IRModule.from_expr(relay.Function(relay.analysis.free_vars(body), body))
    params = {name: np.ones((3, 3, 3, 2), "int8") for name in "vw"}
    offloaded = generated.offload(module, params)
    inside = [call for each in functions_of(offloaded).values() for call in operators(each)]
    assert sorted(inside).count("nn.pad") == 2 and sorted(inside).count("reshape") == 2
    assert not operators(offloaded["main"])
    assert len(module["main"].params) == 3
    tvm.ir.Op.get("reshape").reset_attr("target.my-npu")


def test_a_field_of_a_tuple_of_the_host_makes_no_function() -> None:
    """TVM alone gives a function that returns its argument for each."""
    compiled = compile_source(Source("npu.qpat", PATTERNS))
    module, params = model("ops/split")
    found = qpat.partition(module, compiled, params)
    passes = (
        relay.transform.AnnotateTarget("my-npu"),
        relay.transform.MergeCompilerRegions(),
        relay.transform.PartitionGraph(),
    )
    assert len(functions_of(tvm.transform.Sequential(passes)(found.module))) == 3
    offloaded = qpat.offload(module, compiled, params)
    assert not functions_of(offloaded)
    assert tvm.ir.structural_equal(offloaded["main"], found.module["main"])


def test_a_model_without_a_match_stays_as_it_is() -> None:
    module, params = model("ops/elu")
    offloaded = qpat.offload(module, compile_source(Source("npu.qpat", PATTERNS)), params)
    assert not functions_of(offloaded)
    assert operators(offloaded["main"])


def test_what_is_wrong_is_said_as_partition_says_it(tmp_path: Path) -> None:
    with pytest.raises(qpat.QpatError, match="QP004"):
        qpat.offload(tmp_path / "none.tflite", tmp_path / "none.qpat")
    with pytest.raises(qpat.QpatError, match="QP336"):
        qpat.offload(*model("ops/add")[:1], LIBRARY, options={"none": 1})
