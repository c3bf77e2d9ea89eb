"""Models of onnxruntime and of PyTorch: one pattern, one record, whatever the spelling."""

from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relay

import qpat
from qpat.compiler import compile_file
from qpat.relay.environment import listening
from qpat.relay.importing import import_model
from qpat.relay.partition import Match, Partition
from qpat.relay.prepare import prepare
from qpat.verify.building import Batch
from tests.models import DATA

PATTERNS = Path(__file__).parents[2] / "patterns"
QDQ = ("resnet_qdq_s8s8_pc", "opsoup_qdq_s8s8")
# Of the soup of operators: what FakeQuantizationToInteger makes of floats that have no quantize
# between them, and what stays in float then.
OTHERWISE = {
    "opsoup_qdq_s8s8": (
        Counter(quantize=4, hard_sigmoid=1, dequantize=5),
        Counter(mul=1, add=1, requantize=2, maximum=1, minimum=1, split=2, abs=1),
    )
}
IN_FLOAT = {
    "opsoup_qdq_s8s8": {
        *("clip", "maximum", "minimum", "split", "abs", "image.resize2d", "multiply", "add"),
    }
}


@cache
def imported(name: str) -> Any:
    model = import_model(DATA / "onnx" / f"{name}.onnx", None)
    return prepare(model.module, dict(model.params), None)


@cache
def partitions(name: str) -> tuple[Partition, Partition]:
    """Before FakeQuantizationToInteger and after."""
    module = imported(name)
    whole = relay.transform.FakeQuantizationToInteger()(module)
    whole = relay.transform.InferType()(whole)
    whole = relay.transform.FoldConstant(fold_qnn=True)(whole)
    patterns = compile_file(PATTERNS / "onnx.qpat")
    return qpat.partition(module, patterns), qpat.partition(whole, patterns)


@pytest.mark.parametrize("name", QDQ)
def test_patterns_are_the_same_before_and_after_the_pass(name: str) -> None:
    before, after = (Counter(m.pattern for m in each.matches) for each in partitions(name))
    assert (before - after, after - before) == OTHERWISE.get(name, (Counter(), Counter()))
    for each in partitions(name):
        assert {host.op for host in each.host} <= IN_FLOAT.get(name, set())
        assert not each.conflicts


def test_records_are_the_same_before_and_after_the_pass() -> None:
    before, after = partitions("resnet_qdq_s8s8_pc")
    pairs = list(zip(by_pattern(before), by_pattern(after), strict=True))
    assert len(pairs) > 15
    for first, second in pairs:
        assert first.pattern == second.pattern
        assert first.tensors.keys() == second.tensors.keys()
        for port, tensor in first.tensors.items():
            same_tensor(tensor, second.tensors[port], f"{first.pattern}.{port}")
        for key, value in first.params.items():
            np.testing.assert_array_equal(value, second.params[key], f"{first.pattern}.{key}")


def by_pattern(partition: Partition) -> list[Match]:
    """In order, those of one pattern together: what is independent may change places."""
    return sorted(partition.matches, key=lambda match: match.pattern)


def same_tensor(first: Any, second: Any, where: str) -> None:
    assert (first is None) == (second is None), where
    if first is None:
        return
    assert (first.dtype, first.shape) == (second.dtype, second.shape), where
    for slot in ("zero_point", "value"):
        np.testing.assert_array_equal(getattr(first, slot), getattr(second, slot), where)
    # The pass rounds the product of two scales to float32, and so did onnxruntime.
    wanted, found = (np.asarray(each.scale, "float64") for each in (first, second))
    np.testing.assert_allclose(found, wanted, rtol=2e-7, err_msg=where)


def test_shared_dequantizes_are_no_obstacle() -> None:
    """Of a residual network, where both branches read one dequantize."""
    before, _ = partitions("resnet_qdq_s8s8_pc")
    assert Counter(match.pattern for match in before.matches)["conv2d"] == 9
    users = Counter(
        id(each)
        for each in all_calls(imported("resnet_qdq_s8s8_pc"))
        for arg in each.args
        if isinstance(arg, relay.Call) and arg.op.name == "qnn.dequantize"
        for each in (arg,)
    )
    assert max(users.values()) > 1


def all_calls(module: Any) -> list[Any]:
    found: list[Any] = []
    relay.analysis.post_order_visit(module["main"], found.append)
    return [each for each in found if isinstance(each, relay.Call)]


def test_dynamic_quantization_is_refused_by_name() -> None:
    found = qpat.partition(imported("resnet_dyn_u8"), PATTERNS / "onnx.qpat")
    assert not found.matches
    reasons = {host.reason for host in found.host if host.op == "qnn.quantize"}
    assert reasons == {"onnx.quantize: the scale of y is not constant"}


# ---- PyTorch -------------------------------------------------------------------------------


# torch 1.12, eager mode with fbgemm: a residual network with hard swish, concatenation and
# sigmoid. `_keep`: imported with keep_quantized_weight=True.
TORCH = ("eager_fbgemm", "eager_fbgemm_keep")
FOUND = Counter(
    conv2d=3,
    quantize=1,
    add=1,
    max_pool2d=1,
    hard_swish=1,
    concatenate=1,
    adaptive_avg_pool2d=1,
    reshape=1,
    squeeze=1,
    dense=1,
    sigmoid=1,
    dequantize=1,
)


@cache
def torch_partition(name: str) -> Partition:
    text = (DATA / "pytorch" / f"{name}.json").read_text(encoding="utf-8")
    module = relay.transform.FoldConstant(fold_qnn=True)(tvm.ir.load_json(text))
    return qpat.partition(module, PATTERNS / "pytorch.qpat")


@pytest.mark.parametrize("name", TORCH)
def test_all_of_a_model_of_pytorch_is_taken(name: str) -> None:
    found = torch_partition(name)
    assert Counter(match.pattern for match in found.matches) == FOUND
    assert not found.host and not found.conflicts


def test_records_of_pytorch_do_not_depend_on_how_weights_were_imported() -> None:
    first, second = (by_pattern(torch_partition(name)) for name in TORCH)
    for one, other in zip(first, second, strict=True):
        for port in one.tensors:
            many = one.tensors[port]
            pairs = (
                zip(many, other.tensors[port], strict=True)
                if isinstance(many, tuple)
                else [(many, other.tensors[port])]
            )
            for each, its in pairs:
                same_tensor(each, its, f"{one.pattern}.{port}")


@pytest.mark.parametrize("name", TORCH)
def test_what_records_say_computes_what_pytorch_computed(name: str) -> None:
    """The canonical form, made of nothing but the records, against the output of torch itself."""
    saved = np.load(DATA / "pytorch" / "eager_fbgemm.npz")
    canonical = qpat.canonicalize(torch_partition(name))
    assert len(canonical.rewritten) == sum(FOUND.values()) and not canonical.kept
    with listening() as heard:
        batch = Batch({0: canonical.module["main"].body}, heard)
    assert not batch.failed
    found = batch.run({0: {"input": saved["x"]}})[0]
    unit = 1 / 256  # the last place of the output
    assert np.abs(found - saved["y"]).max() <= 3 * unit
    assert np.ptp(saved["y"]) > 20 * unit


# ---- QOperator models ----------------------------------------------------------------------


# What TVM's ONNX frontend makes of QLinearConv, QLinearAdd, QLinearGlobalAveragePool and QGemm.
QOPERATOR = """#[version = "0.0.5"]
def @main(%x: Tensor[(1, 2, 4, 4), uint8]) {
  %0 = cast(full(3, shape=[2, 2, 1, 1], dtype="int32"), dtype="int8");
  %1 = qnn.conv2d(%x, %0, 7, 0, 0.5f, 0.25f, channels=2, kernel_size=[1, 1], out_dtype="int32");
  %2 = nn.bias_add(%1, full(40, shape=[2], dtype="int32"));
  %3 = qnn.requantize(%2, 0.125f, 0, 0.5f, 9, axis=1, out_dtype="uint8");
  %4 = qnn.dequantize(%3, 0.5f, 9, out_dtype="float32", axis=1);
  %5 = add(%4, qnn.dequantize(%x, 0.5f, 7, out_dtype="float32", axis=1));
  %6 = qnn.quantize(%5, 0.75f, 11, out_dtype="uint8", axis=1);
  %7 = nn.global_avg_pool2d(qnn.dequantize(%6, 0.75f, 11, out_dtype="float32", axis=1));
  %8 = qnn.quantize(%7, 0.25f, 2, out_dtype="uint8", axis=1);
  %9 = cast(full(-2, shape=[3, 2], dtype="int32"), dtype="int8");
  %10 = qnn.dense(nn.batch_flatten(%8), %9, 2, 0, 0.25f, 0.5f, units=3, out_dtype="int32");
  %11 = add(%10, full(5, shape=[3], dtype="int32"));
  qnn.requantize(%11, 0.125f, 0, 1f, 4, axis=1, out_dtype="uint8")
}
"""


def test_qoperator_spellings_give_the_same_records() -> None:
    module = relay.transform.InferType()(relay.parse(QOPERATOR))
    module = relay.transform.FoldConstant()(module)
    found = qpat.partition(module, PATTERNS / "onnx.qpat")
    assert not found.host
    kinds = [match.pattern for match in found.matches]
    assert kinds == ["conv2d", "add", "global_avg_pool2d", "batch_flatten", "dense"]
    conv, add, _, _, dense = found.matches
    assert conv.tensors["w"].scale == 0.25 and conv.tensors["bias"].scale == 0.125
    assert (conv.tensors["x"].zero_point, conv.tensors["y"].zero_point) == (7, 9)
    assert {float(add.tensors[port].scale) for port in ("x", "x2")} == {0.5}
    assert (dense.form, dense.tensors["bias"].value.tolist()) == ("qnn", [5, 5, 5])
