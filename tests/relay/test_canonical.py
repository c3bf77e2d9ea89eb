"""The canonical form computes what the composites computed, within one unit for each operator."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relay
from tvm.contrib.graph_executor import GraphModule

from qpat.compiler import compile_source
from qpat.diagnostics import QpatError
from qpat.relay.canonical import Canonical, canonical_call, canonicalize, summary
from qpat.relay.environment import listening
from qpat.relay.graph import post_order
from qpat.relay.partition import partition
from qpat.source import Source
from qpat.verify.building import Batch
from qpat.verify.relay_graphs import EXACT, HOST

ROOT = Path(__file__).parents[2]
LIBRARY = ROOT / "patterns" / "tflite.qpat"
MODELS = ROOT / "tests" / "data" / "tflite"
OPERATORS = sorted(path.stem for path in (MODELS / "ops").glob("*.tflite"))
COMPOSITES = ["ds_cnn_kws_int16x8", "op_soup_nol2_int8", "legacy_uint8_fq"]
WHOLE = [
    *("ds_cnn_kws_int8", "ad_autoencoder_int8", "resnet8_cifar_int8"),
    *("op_soup_nol2_int8", "legacy_uint8_fq"),
]


@cache
def canonical(name: str) -> Canonical:
    return canonicalize(partition(MODELS / f"{name}.tflite", LIBRARY))


def alone(call: Any, graph: Any) -> Any:
    """An expression of a call's arguments: those that are no constants are variables."""
    named: dict[Any, Any] = {}

    def argument(expr: Any) -> Any:
        if isinstance(expr, relay.Constant):
            return expr
        if isinstance(expr, relay.Tuple):
            return relay.Tuple([argument(each) for each in expr.fields])
        if expr not in named:
            type_ = expr.checked_type
            named[expr] = relay.var(f"x{len(named)}", type_)
        return named[expr]

    return graph([argument(each) for each in call.args])


def original(match: Any) -> Any:
    if not isinstance(match.call.op, relay.Function):
        call = match.call
        return alone(call, lambda args: relay.Call(call.op, args, call.attrs))
    function = match.call.op
    return alone(
        match.call,
        lambda args: relay.bind(function.body, dict(zip(function.params, args, strict=True))),
    )


def rewritten(result: Canonical) -> list[Any]:
    """For each match that was rewritten, its canonical form alone."""
    patterns = {pattern.name: pattern for pattern in result.partition.compiled.module.patterns}

    def graph(match: Any) -> Any:
        pattern = patterns[match.pattern]
        return alone(match.call, lambda args: canonical_call(match, args, pattern))

    return [graph(match) for match in result.rewritten]


def differences(results: list[Canonical]) -> list[tuple[Any, float]]:
    """For each match that was rewritten the largest difference, in units of the last place, between
    what it gives and what its canonical form gives, over some inputs."""
    before = [original(match) for result in results for match in result.rewritten]
    after = [each for result in results for each in rewritten(result)]
    graphs = dict(enumerate([*before, *after]))
    with listening() as heard:
        batch = Batch(graphs, heard)
    assert not batch.failed
    found = [0.0] * len(before)
    for seed in range(8):
        given = {
            number: {each.name_hint: drawn(seed, each) for each in relay.analysis.free_vars(graph)}
            for number, graph in graphs.items()
        }
        outputs = batch.run(given)
        for number in range(len(before)):
            apart = worst(outputs[number], outputs[number + len(before)])
            found[number] = max(found[number], apart)
    matches = [match for result in results for match in result.rewritten]
    return list(zip(matches, found, strict=True))


def drawn(seed: int, variable: Any) -> Any:
    """Integers of the whole range, and all at one end or the other, where sums are greatest."""
    type_ = variable.type_annotation
    random = np.random.default_rng([seed, *variable.name_hint.encode()])
    shape = [int(each) for each in type_.shape]
    if type_.dtype.startswith("float"):
        return random.uniform(-4, 4, shape).astype(type_.dtype)
    info = np.iinfo(type_.dtype)
    if seed < 2:
        return np.full(shape, (info.min, info.max)[seed], type_.dtype)
    return random.integers(info.min, info.max, shape, type_.dtype, endpoint=True)


def worst(before: Any, after: Any) -> float:
    assert (before.dtype, before.shape) == (after.dtype, after.shape)
    wide = np.abs(before.astype("float64") - after.astype("float64"))
    if before.dtype.kind == "f":
        wide = wide / np.spacing(np.maximum(np.abs(before), np.float32(1e-30))).astype("float64")
    return float(np.max(wide, initial=0.0))


def allowed(match: Any) -> float:
    """One unit of the last place; a mean is cut off in units of its input before it is scaled."""
    if match.pattern != "mean":
        return 1.0
    return 1.0 + float(match.tensors["x"].scale / match.tensors["y"].scale)


def check(results: list[Canonical]) -> None:
    found = differences(results)
    assert found
    for match, apart in found:
        assert apart <= allowed(match), (match.pattern, match.location)


# ---- each composite by itself --------------------------------------------------------------------


def test_every_operator_of_the_library() -> None:
    """One model for each operator; where nobody knows a scale, the composite is kept."""
    results = []
    for name in OPERATORS:
        try:
            results.append(canonical(f"ops/{name}"))
        except QpatError:
            continue  # not to be imported: prelu and others
    check(results)
    seen = {match.pattern for result in results for match in result.rewritten}
    assert len(seen) > 25
    for result in results:
        for match, why in result.kept:
            assert "are not known" in why or "no meaning" in why, (match.pattern, why)


@pytest.mark.parametrize("name", COMPOSITES)
def test_every_composite_of_a_model(name: str) -> None:
    result = canonical(name)
    assert result.rewritten and not result.kept
    check([result])


# ---- whole models --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_model_agrees_with_the_original(name: str) -> None:
    """What one operator rounds otherwise the next ones may make larger, but not by much."""
    result = canonical(name)
    before, after = (executor(each) for each in (result.partition.prepared, result.module))
    steps: list[float] = []
    for seed in range(2, 8):
        for index, variable in enumerate(result.module["main"].params):
            value = drawn(seed, relay.var(f"in{index}", variable.checked_type))
            before.set_input(index, value)
            after.set_input(index, value)
        before.run()
        after.run()
        for output in range(before.get_num_outputs()):
            pair = [each.get_output(output).numpy() for each in (before, after)]
            assert (pair[0].dtype, pair[0].shape) == (pair[1].dtype, pair[1].shape)
            apart = np.abs(pair[0].astype("float64") - pair[1].astype("float64"))
            unit = 1.0 if pair[0].dtype.kind in "iu" else FLOAT_UNIT
            steps.append(float(np.max(apart)) / unit)
    assert max(steps) <= len(result.rewritten), steps


# The last layer of a model with floats outside is a softmax in 1/256.
FLOAT_UNIT = 1 / 256


def executor(module: Any) -> GraphModule:
    with relay.qnn.op.requantize_config(**EXACT):
        lowered = relay.qnn.transform.CanonicalizeOps()(module)
        # A reshape of a constant that is not folded stops TVM's planning of memory.
        lowered = relay.transform.FoldConstant()(lowered)
        with tvm.transform.PassContext(opt_level=2):
            library = relay.build(lowered, target=HOST)
    return GraphModule(library["default"](tvm.cpu()))


# ---- what is made --------------------------------------------------------------------------------


def test_it_is_dequantize_the_real_operator_and_quantize() -> None:
    result = canonical("ds_cnn_kws_int8")
    calls = [each for each in post_order(result.module["main"].body) if is_call(each)]
    names = {str(each.op.name) for each in calls}
    assert {name for name in names if name.startswith("qnn.")} == {"qnn.dequantize", "qnn.quantize"}
    assert {"nn.conv2d", "nn.dense", "nn.avg_pool2d", "nn.softmax"} <= names
    for call in calls:
        if call.op.name in ("nn.conv2d", "nn.dense"):
            assert call.checked_type.dtype == "float32"


def is_call(expr: Any) -> bool:
    return isinstance(expr, relay.Call)


def made(body: Any, text: str) -> Canonical:
    module = tvm.IRModule.from_expr(relay.Function(relay.analysis.free_vars(body), body))
    compiled = compile_source(Source("npu.qpat", f'compiler "npu"\n{text}'))
    return canonicalize(partition(module, compiled))


def int8(*shape: int) -> Any:
    return relay.var("x", shape=shape, dtype="int8")


@pytest.mark.parametrize(
    "text, why",
    [
        ("pattern p(x: int8) -> y: int8 { y = clip(x) }", "its pattern has no meaning"),
        (
            "pattern p(x: int8) -> y: int8 { y = clip(x)  inherit x  meaning y = x }",
            "scale and zero point of `x` are not known",
        ),
        (
            "pattern p(x: int8) -> y: int8 { y = clip(x)  let x.scale = 1 let x.zero_point = 0 "
            "meaning y = reshape(x, newshape=[8]) }",
            "its meaning is of type",
        ),
    ],
)
def test_what_cannot_be_rewritten_is_kept_with_the_reason(text: str, why: str) -> None:
    result = made(relay.clip(int8(2, 4), -5, 5), text)
    [(match, said)] = result.kept
    assert why in said
    assert not result.rewritten
    assert isinstance(result.module["main"].body.op, relay.Function)
    assert said in summary(result) and "0 of 1 composites" in summary(result)


def test_plain_integers_stand_for_themselves() -> None:
    text = "pattern p(x: int32) -> y: int32 { y = negative(x)  let x.qparams = raw "
    text += " let y.qparams = raw  meaning y = -x }"
    x = relay.var("x", shape=(2, 3), dtype="int32")
    result = made(relay.negative(x), text)
    assert not result.kept
    value = np.array([[1, -2, 3], [0, 1000, -7]], "int32")
    run = executor(result.module)
    run.set_input(0, value)
    run.run()
    np.testing.assert_array_equal(run.get_output(0).numpy(), -value)


def test_an_operator_that_a_rule_takes_is_rewritten_too() -> None:
    text = 'pattern pool(x: int8) -> y: int8 as op "nn.max_pool2d" { y = nn.max_pool2d(x) '
    text += " inherit x  meaning y = nn.max_pool2d(x, like=y) }"
    x = relay.var("x", shape=(1, 2, 4, 4), dtype="float32")
    slots = relay.const(np.float32(0.5)), relay.const(np.int32(3))
    result = made(relay.nn.max_pool2d(relay.qnn.op.quantize(x, *slots), (2, 2)), text)
    [match] = result.rewritten
    assert match.op == "nn.max_pool2d"
    assert result.module["main"].body.op.name == "qnn.quantize"


def test_the_partition_is_left_alone() -> None:
    result = canonical("ops/relu")
    before = tvm.ir.structural_hash(result.partition.module)
    canonicalize(result.partition)
    assert tvm.ir.structural_hash(result.partition.module) == before
