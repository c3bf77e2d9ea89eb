"""`qpat.partition` on Relax modules, against TVM's own pass and what the modules compute."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relax

import qpat
from qpat.compiler import compile_source
from qpat.diagnostics import QpatError
from qpat.relax.view import shown
from qpat.relay.environment import installed_ir
from qpat.relay.graph import post_order
from qpat.relay.importing import import_model
from qpat.source import Source
from tests.models import DATA
from tests.relax.networks import build
from tests.targets.bare.run_relax import computed, digest

SLOTS = ("scale", "zero_point", "dtype", "shape", "input")
NPU = Path(__file__).parent / "npu.qpat"
IRS = DATA / "language/irs.qpat"
MODELS = (
    ("tflite/ds_cnn_kws_int8.tflite", "tflite"),
    ("tflite/resnet8_cifar_int8.tflite", "tflite"),
    ("tflite/ad_autoencoder_int8.tflite", "tflite"),
    ("onnx/resnet_qdq_s8s8_pc.onnx", "onnx"),
    ("onnx/resnet_qdq_u8s8.onnx", "onnx"),
)
MANY = """compiler "n"
pattern cat(xs: int8...) -> y: int8 {
  y = qnn.quantize(concatenate((qnn.dequantize(xs, ..) ... 3)), ..)
  where xs.dtype == y.dtype and xs.dtype in {int8} else "another dtype"
  param doubled = size(xs) * 2
  param alike   = xs.qparams == y.qparams
  param differ  = xs.dtype != int8
  param shapes  = xs.shape in {[1, 4, 6], [1, 4, 2]}
  param ranks   = all(rank(xs) == 3)
}
"""


def test_this_is_relax() -> None:
    assert installed_ir() == "relax"


@pytest.mark.parametrize(("name", "patterns"), MODELS)
def test_composites_are_those_of_the_generated_module(name: str, patterns: str) -> None:
    module = import_model(DATA / name).module
    result = qpat.partition(DATA / name, patterns)
    assert result.matches
    plain = result.generated.partition(module, lambda expr: None)
    wanted = result.generated.composites(plain)
    assert Counter(each.composite for each in result.matches) == Counter(map(_composite, wanted))
    left = list(result.matches)
    for function in wanted:
        record = result.generated.extract(function)
        fits = [m for m in left if m.composite == _composite(function) and _agrees(m, record)]
        assert fits, record
        left.remove(fits[0])


def _composite(function: Any) -> str:
    return str(function.attrs["Composite"])


def _agrees(match: Any, alone: Any) -> bool:
    """The module alone knows nothing of what is inherited; all else is the same."""
    return all(
        _agree(tensor, getattr(alone, port)) for port, tensor in match.tensors.items() if tensor
    )


def _agree(found: Any, alone: Any) -> bool:
    if isinstance(found, tuple):
        return all(_agree(*pair) for pair in zip(found, alone, strict=True))
    told = [slot for slot in SLOTS if getattr(alone, slot) is not None]
    return all(digest(getattr(found, slot)) == digest(getattr(alone, slot)) for slot in told)


def test_the_module_with_composites_computes_the_same() -> None:
    result = qpat.partition(build(), NPU)
    wanted, found = computed(build()), computed(result.module.relax)
    assert all(np.array_equal(a, b) for a, b in zip(wanted, found, strict=True))


def test_what_is_inherited_is_in_the_record_and_on_the_composite() -> None:
    result = qpat.partition(build(), NPU)
    assert [match.pattern for match in result.matches] == ["conv2d", "sigmoid", "add", "max_pool2d"]
    assert not result.host
    pool = result.matches[-1]
    for port in ("x", "y"):
        tensor = pool.tensors[port]
        assert (tensor.scale, tensor.zero_point) == (np.float32(0.1), 3)
    attribute = pool.call.op.attrs["qpat_record"]
    assert attribute["tensors"]["x"]["scale"].numpy() == np.float32(0.1)


def test_matches_have_the_names_of_the_variables_before() -> None:
    result = qpat.partition(build(), NPU)
    values = [value for value in post_order(result.prepared["main"].body)]
    named = {each.span.source_name.name for each in values if each.span is not None}
    locations = [match.location for match in result.matches]
    assert len(set(locations)) == len(locations) and set(locations) <= named


def test_regions_are_functions_for_the_code_generator() -> None:
    regions = qpat.offload(build(), NPU)
    attributes = [each.attrs for each in regions.functions.values()]
    assert [each["Codegen"] for each in attributes if each and "Codegen" in each] == ["npu"]


def test_the_given_module_stays_as_it_is() -> None:
    module = build()
    text = module.script()
    qpat.partition(module, NPU)
    qpat.quantization(module)
    assert module.script() == text


def test_parameters_are_bound() -> None:
    module = build(weights="input")
    weights = np.full((3, 3, 4, 8), 3, "int8")
    bound = qpat.partition(module, NPU, params={"weights": tvm.runtime.tensor(weights)})
    assert not bound.host and len(bound.matches) == 4
    assert np.array_equal(bound.matches[0].tensors["w"].value, weights)


def test_quantization_that_a_pass_took_away_is_a_finding() -> None:
    folded = relax.transform.FoldConstant()(build())
    [found] = qpat.partition(folded, NPU).findings("model")
    assert found.code == "QP345" and "FoldConstant" in found.message
    assert not qpat.partition(build(), NPU).findings()


def test_patterns_for_relay_are_refused() -> None:
    compiled = qpat.compile_file(NPU)
    with pytest.raises(QpatError, match="compiled for relay, and this TVM has relax"):
        qpat.partition(build(), compiled)


def test_relay_alone_says_so() -> None:
    with pytest.raises(QpatError, match="has no Relay"):
        qpat.canonicalize  # noqa: B018 - the name is looked up


def test_a_long_chain_needs_no_recursion() -> None:
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((4,), "float32"))
    with builder.function("main", [x]):
        with builder.dataflow():
            value = x
            for _ in range(3_000):
                value = builder.emit(relax.op.nn.relu(value))
            given = builder.emit_output(value)
        builder.emit_func_output(given)
    view = shown(builder.get())
    assert len(post_order(view["main"].body)) == 3_001
    assert len(qpat.quantization(builder.get()).tensors()) == 3_001


def test_what_many_tensors_give_is_calculated_and_compared_tensor_by_tensor() -> None:
    """As tests/targets/test_lists.py has it for Relay."""
    builder = relax.BlockBuilder()
    xs = [relax.Var(f"x{n}", relax.TensorType((1, 4, n), "int8")) for n in (6, 2)]
    scale, zero = relax.const(0.5, "float32"), relax.const(0, "int32")
    with builder.function("main", xs):
        with builder.dataflow():
            real = [builder.emit(relax.op.dequantize(x, scale, zero, axis=0)) for x in xs]
            joined = builder.emit(relax.op.concat(real, axis=2))
            y = relax.op.quantize(joined, scale, zero, axis=0, out_dtype="int8")
            given = builder.emit_output(builder.emit(y))
        builder.emit_func_output(given)
    compiled = compile_source(Source("n.qpat", MANY), "relax")
    (match,) = qpat.partition(builder.get(), compiled).matches
    assert match.params["doubled"].tolist() == [48, 16]
    others = {name: value for name, value in match.params.items() if name != "doubled"}
    assert others == {"alike": True, "differ": False, "shapes": True, "ranks": True}


def test_names_of_the_forms_for_relay_are_absent() -> None:
    result = qpat.partition(DATA / "tflite/resnet8_cifar_int8.tflite", IRS)
    assert {(each.pattern, each.form) for each in result.matches} == {
        ("conv", "real"),
        ("sum", "real"),
    }
    params = {each.pattern: each.params for each in result.matches}
    assert params["conv"]["exact"] is False and params["conv"]["limit"] == 1
    assert params["conv"]["b"].tolist() == [0] and params["conv"]["scale"] is None
    assert params["conv"]["strides"] == (1, 1)
    assert len(params["sum"]["real"]) == 4


ABS = 'compiler "npu"\npattern abs(x: int8) -> y: int8 { y = abs(x) }\n'


def test_coverage_compiles_a_file_for_relax(tmp_path: Path) -> None:
    (tmp_path / "npu.qpat").write_text(ABS, encoding="utf-8")
    counted = qpat.coverage([_absolute("main")], tmp_path / "npu.qpat")
    assert counted.models[0].work.offloaded_calls == 1


def test_a_view_is_taken_in_the_place_of_its_module() -> None:
    first = qpat.partition(DATA / MODELS[0][0], "tflite")
    known, again = (qpat.quantization(each) for each in (first.module, first.module.relax))
    assert known.module is first.module
    assert len(known.tensors()) == len(again.tensors()) > 0
    assert known.to_json() == again.to_json()
    wanted = Counter(each.composite for each in first.matches)
    for view in (first.prepared, first.module):
        for given in (view, view.relax):
            found = qpat.partition(given, "tflite").matches
            assert Counter(each.composite for each in found) == wanted


def _absolute(name: str, branches: bool = False) -> Any:
    """A function of that name with an `abs`, and with an `if` behind it."""
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((1, 4), "int8"))
    chosen = relax.Var("chosen", relax.TensorType((), "bool"))
    with builder.function(name, [x, chosen]):
        with builder.dataflow():
            y = builder.emit_output(relax.op.abs(x))
        if branches:
            y = builder.emit(relax.If(chosen, _only(relax.op.abs(y)), _only(relax.op.negative(y))))
        builder.emit_func_output(y)
    return builder.get()


def _only(expr: Any) -> Any:
    return relax.SeqExpr([], expr)


def test_one_operator_by_itself_is_matched() -> None:
    text = 'compiler "npu"\npattern abs(x: int8) -> y: int8 { y = abs(x) }'
    result = qpat.partition(_absolute("main"), compile_source(Source("npu.qpat", text), "relax"))
    assert [each.pattern for each in result.matches] == ["abs"] and not result.host


@pytest.mark.parametrize(
    ("name", "branches", "said"),
    [
        ("other", False, "regions are made in a function `main`; this module has `other`"),
        ("main", True, "`main` has an `if`"),
    ],
)
def test_regions_that_tvm_cannot_make_are_refused(name: str, branches: bool, said: str) -> None:
    module = _absolute(name, branches)
    patterns = compile_source(Source("npu.qpat", ABS), "relax")
    result = qpat.partition(module, patterns)
    for make in (result.regions, lambda: qpat.offload(module, patterns)):
        with pytest.raises(QpatError) as caught:
            make()
        [finding] = caught.value.diagnostics
        assert finding.code == "QP341" and finding.message.startswith(said)
