"""The analysis of a whole module: forward, backward, through tuples and functions; conflicts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relay

from qpat.relay.quantization import quantization


def scale(value: float) -> Any:
    return relay.const(np.float32(value))


def zero_point(value: int) -> Any:
    return relay.const(np.int32(value))


def int8(name: str, *shape: int) -> Any:
    return relay.var(name, shape=shape, dtype="int8")


def requantize(value: Any, first: float, second: float) -> Any:
    slots = scale(first), zero_point(1), scale(second), zero_point(2)
    return relay.qnn.op.requantize(value, *slots)


def analysed(inputs: list[Any], *outputs: Any) -> list[tuple[float, int] | None]:
    """Scale and zero point of each output, then of each input."""
    body = relay.Tuple(list(outputs)) if len(outputs) > 1 else outputs[0]
    module = tvm.IRModule.from_expr(relay.Function(inputs, body))
    module = relay.transform.InferType()(module)
    main = module["main"]
    analysis = quantization(module)
    values = [*(main.body.fields if len(outputs) > 1 else [main.body]), *main.params]
    found = [analysis.of(value) for value in values]
    return [
        None if each is None else (round(float(each.scale), 6), int(each.zero_point))
        for each in found
    ]


def test_a_producer_is_carried_forward() -> None:
    x = int8("x", 1, 4, 4, 2)
    pooled = relay.nn.max_pool2d(requantize(x, 0.5, 0.25), (2, 2), layout="NHWC")
    assert analysed([x], relay.reshape(pooled, [18])) == [(0.25, 2), (0.5, 1)]


def test_a_graph_input_is_known_from_its_users() -> None:
    x = int8("x", 1, 4, 4, 2)
    shaped = relay.squeeze(relay.transpose(x, [0, 3, 1, 2]), [0])
    assert analysed([x], requantize(shaped, 0.5, 0.25)) == [(0.25, 2), (0.5, 1)]


def test_a_graph_input_is_known_from_a_user_behind_split_and_squeeze() -> None:
    x = int8("x", 2, 4)
    parts = relay.split(x, 2, axis=0)
    first = requantize(relay.squeeze(parts[0], [0]), 0.5, 0.25)
    assert analysed([x], first, parts[1]) == [(0.25, 2), (0.5, 1), (0.5, 1)]


def test_fields_of_a_tuple_are_kept_apart() -> None:
    x, y = int8("x", 2, 2), int8("y", 2, 2)
    joined = relay.qnn.op.concatenate(
        relay.Tuple([x, y]),
        relay.Tuple([scale(0.5), scale(0.25)]),
        relay.Tuple([zero_point(1), zero_point(2)]),
        scale(1.0),
        zero_point(3),
        axis=0,
    )
    assert analysed([x, y], joined) == [(1.0, 3), (0.5, 1), (0.25, 2)]


def test_users_that_disagree_leave_a_value_unknown_and_are_reported() -> None:
    x = int8("x", 4)
    outputs = requantize(x, 0.5, 1.0), requantize(x, 0.25, 1.0)
    assert analysed([x], *outputs) == [(1.0, 2), (1.0, 2), None]
    function = relay.Function([x], relay.Tuple(list(outputs)))
    module = relay.transform.InferType()(tvm.IRModule.from_expr(function))
    [conflict] = quantization(module).conflicts
    assert {float(conflict.first.scale), float(conflict.second.scale)} == {0.5, 0.25}


def test_a_user_that_contradicts_the_producer_is_reported_and_does_not_win() -> None:
    x = int8("x", 4)
    output = requantize(requantize(x, 0.5, 0.25), 0.125, 1.0)
    module = relay.transform.InferType()(tvm.IRModule.from_expr(relay.Function([x], output)))
    analysis = quantization(module)
    inner = analysis.of(module["main"].body.args[0])
    assert inner is not None and float(inner.scale) == 0.25
    assert len(analysis.conflicts) == 1


def test_floats_have_no_parameters_and_pass_none_on() -> None:
    x = relay.var("x", shape=(4,), dtype="float32")
    quantized = relay.qnn.op.quantize(relay.nn.relu(x), scale(0.5), zero_point(1))
    assert analysed([x], quantized) == [(0.5, 1), None]


def test_the_placeholders_of_a_tflite_batch_matmul_say_nothing() -> None:
    x, y = int8("x", 2, 3, 4), int8("y", 2, 5, 4)
    slots = zero_point(0), zero_point(0), scale(1.0), scale(1.0)
    product = relay.reshape(relay.qnn.op.batch_matmul(x, y, *slots), [1, 2, 3, 5])
    ones = scale(1.0), zero_point(0), scale(1.0), zero_point(0)
    narrow = relay.qnn.op.requantize(product, *ones)
    assert analysed([x, y], narrow) == [None, None, None]
    used = requantize(relay.reshape(narrow, [30]), 0.5, 0.25)
    assert analysed([x, y], narrow, used) == [(0.5, 1), (0.25, 2), None, None]


def test_real_parameters_of_a_batch_matmul_count() -> None:
    x, y = int8("x", 2, 3, 4), int8("y", 2, 5, 4)
    slots = zero_point(3), zero_point(0), scale(0.5), scale(1.0)
    product = relay.qnn.op.batch_matmul(x, y, *slots)
    assert analysed([x, y], product) == [None, (0.5, 3), (1.0, 0)]


@pytest.mark.parametrize("stage", ["composites", "partitioned"])
def test_the_same_is_known_through_functions(stage: str) -> None:
    """Before MergeComposite, after it, and after PartitionGraph."""
    x = int8("x", 1, 4, 4, 2)
    pooled = relay.nn.max_pool2d(x, (2, 2), layout="NHWC")
    body = requantize(relay.clip(pooled, -5.0, 5.0), 0.5, 0.25)
    module = relay.transform.InferType()(tvm.IRModule.from_expr(relay.Function([x], body)))
    pattern = relay.dataflow_pattern.is_op("clip")(
        relay.dataflow_pattern.is_op("nn.max_pool2d")(relay.dataflow_pattern.wildcard())
    )
    module = relay.transform.MergeComposite([("npu.pool", pattern, lambda _: True)])(module)
    if stage == "partitioned":
        for step in (
            relay.transform.AnnotateTarget("npu"),
            relay.transform.MergeCompilerRegions(),
            relay.transform.PartitionGraph(),
            relay.transform.InferType(),
        ):
            module = step(module)
    analysis = quantization(module)
    main = module["main"]
    assert isinstance(main.body.args[0].op, relay.Function | tvm.ir.GlobalVar)
    for value in (main.params[0], main.body.args[0]):
        known = analysis.of(value)
        assert known is not None and (float(known.scale), int(known.zero_point)) == (0.5, 1)


def test_a_per_channel_scale_that_loses_its_axis_is_not_known() -> None:
    x = relay.var("x", shape=(2, 4), dtype="float32")
    scales = relay.const(np.array([0.5, 0.25], "float32"))
    quantized = relay.qnn.op.quantize(x, scales, zero_point(0), axis=0)
    kept, lost = relay.reshape(quantized, [2, 2, 2]), relay.reshape(quantized, [8])
    module = tvm.IRModule.from_expr(relay.Function([x], relay.Tuple([kept, lost])))
    module = relay.transform.InferType()(module)
    analysis = quantization(module)
    first, second = (analysis.of(value) for value in module["main"].body.fields)
    assert first is not None and first.axis == 0
    assert second is None


def test_the_module_is_not_changed() -> None:
    x = int8("x", 4)
    module = relay.transform.InferType()(
        tvm.IRModule.from_expr(relay.Function([x], requantize(x, 0.5, 0.25)))
    )
    before = tvm.ir.structural_hash(module)
    quantization(module)
    assert tvm.ir.structural_hash(module) == before
