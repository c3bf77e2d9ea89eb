"""The analysis of a whole module: forward, backward, through tuples and functions; conflicts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relay

from qpat.relay.graph import post_order
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


# ---- functions, tuples, Let and If ------------------------------------------------------


def module_of(body: Any) -> Any:
    function = relay.Function(relay.analysis.free_vars(body), body)
    return relay.transform.InferType()(tvm.IRModule.from_expr(function))


def pair(parameters: Any) -> tuple[float, int] | None:
    return None if parameters is None else (float(parameters.scale), int(parameters.zero_point))


def test_each_of_several_outputs_of_a_partitioned_function_has_its_own() -> None:
    """PartitionGraph makes a tuple of what leaves a region at several places."""
    x = int8("x", 1, 4)
    first = relay.clip(requantize(x, 0.5, 0.25), 0.0, 5.0)
    second = relay.nn.relu(requantize(first, 0.25, 0.125))
    outputs = relay.Tuple([relay.abs(first), relay.abs(second)])
    module = module_of(outputs)
    wildcard, is_op = relay.dataflow_pattern.wildcard, relay.dataflow_pattern.is_op
    table = [
        ("npu.clip", is_op("clip")(wildcard()), lambda _: True),
        ("npu.relu", is_op("nn.relu")(wildcard()), lambda _: True),
        ("npu.scale", is_op("qnn.requantize")(*[wildcard() for _ in range(5)]), lambda _: True),
    ]
    for step in (
        relay.transform.MergeComposite(table),
        relay.transform.AnnotateTarget("npu"),
        relay.transform.MergeCompilerRegions(),
        relay.transform.PartitionGraph(),
        relay.transform.InferType(),
    ):
        module = step(module)
    values = post_order(module["main"].body)
    fields = [each for each in values if isinstance(each, relay.TupleGetItem)]
    assert {type(each.tuple_value.op) for each in fields} == {tvm.ir.GlobalVar}
    known = quantization(module)
    assert [pair(known.of(each)) for each in fields] == [(0.25, 2), (0.125, 2)]
    assert pair(known.of(module["main"].params[0])) == (0.5, 1)


def called_twice(first: tuple[float, float], second: tuple[float, float]) -> Any:
    parameter = int8("p", 4)
    function = relay.Function([parameter], relay.clip(parameter, 0.0, 5.0))
    x, y = int8("x", 4), int8("y", 4)
    calls = [function(requantize(each, *two)) for each, two in ((x, first), (y, second))]
    return module_of(relay.Tuple(calls))


def test_a_function_called_twice_with_the_same_parameters() -> None:
    module = called_twice((0.5, 0.25), (1.0, 0.25))
    known = quantization(module)
    assert [pair(known.of(call)) for call in module["main"].body.fields] == [(0.25, 2)] * 2
    assert not known.conflicts


def test_a_function_called_twice_with_different_parameters_has_none_inside() -> None:
    module = called_twice((0.5, 0.25), (0.5, 0.125))
    known = quantization(module)
    first, second = module["main"].body.fields
    assert [pair(known.of(call.args[0])) for call in (first, second)] == [(0.25, 2), (0.125, 2)]
    assert known.of(first) is None and known.of(first.op.body) is None
    assert known.reason(first.op.params[0]) == "operators disagree"
    assert len(known.conflicts) == 1


def test_a_global_function_without_attributes_is_gone_through() -> None:
    parameter, x = int8("p", 4), int8("x", 4)
    module = tvm.IRModule()
    clipped = relay.GlobalVar("clipped")
    kind = relay.TensorType((4,), "int8")
    module[clipped] = relay.Function([parameter], relay.clip(parameter, 0.0, 5.0), kind)
    module["main"] = relay.Function([x], clipped(requantize(x, 0.5, 0.25)))
    module = relay.transform.InferType()(module)
    known = quantization(module)
    assert pair(known.of(module["main"].body)) == (0.25, 2)
    assert pair(known.of(module["clipped"].params[0])) == (0.25, 2)


def test_functions_that_call_themselves_do_not_hang() -> None:
    parameter, x = int8("p", 4), int8("x", 4)
    module = tvm.IRModule()
    loop, lost = relay.GlobalVar("loop"), relay.GlobalVar("lost")
    kind = relay.TensorType((4,), "int8")
    module[loop] = relay.Function([parameter], loop(relay.nn.relu(parameter)), kind)
    other = int8("q", 4)
    module[lost] = relay.Function([other], lost(other), kind)
    module["main"] = relay.Function([x], loop(requantize(x, 0.5, 0.25)), kind)
    known = quantization(relay.transform.InferType()(module))
    assert pair(known.of(known.module["loop"].params[0])) == (0.25, 2)
    assert known.of(known.module["lost"].body) is None


def test_through_let_and_if_and_a_function_in_a_variable() -> None:
    x, flag = int8("x", 4), relay.var("flag", shape=(), dtype="bool")
    first, second, third = (relay.var(name) for name in ("a", "b", "c"))
    inner = int8("p", 4)
    function = relay.Function([inner], relay.nn.relu(inner))
    choice = relay.If(flag, relay.clip(first, 0.0, 5.0), first)
    rest = relay.Let(second, function, relay.Let(third, choice, third))
    module = module_of(relay.Let(first, requantize(x, 0.5, 0.25), rest))
    known = quantization(module)
    assert pair(known.of(module["main"].body)) == (0.25, 2)
    called = relay.Let(second, function, relay.Call(second, [requantize(x, 0.5, 0.25)]))
    module = module_of(called)
    assert pair(quantization(module).of(module["main"].body)) == (0.25, 2)


def test_fields_of_an_input_that_is_a_tuple_are_tensors_of_their_own() -> None:
    kind = relay.TupleType([relay.TensorType((4,), "int8")] * 2)
    both = relay.var("both", type_annotation=kind)
    outputs = [requantize(relay.TupleGetItem(both, i), 0.5 / (i + 1), 1.0) for i in (0, 1, 1)]
    module = module_of(relay.Tuple(outputs))
    known = quantization(module)
    fields = [call.args[0] for call in module["main"].body.fields]
    assert [pair(known.of(each)) for each in fields] == [(0.5, 1), (0.25, 1), (0.25, 1)]
    assert [each.operator for each in known.tensors()].count("input") == 2


# ---- what disagrees ----------------------------------------------------------------------


def test_both_calls_of_a_conflict_are_named_with_what_they_say() -> None:
    x = int8("x", 4)
    module = module_of(relay.nn.relu(requantize(relay.clip(requantize(x, 0.5, 0.25), 0, 1), 2, 3)))
    [finding] = quantization(module).findings("model.relay")
    assert (finding.code, finding.severity.value, finding.place) == (
        "QP342",
        "warning",
        "model.relay",
    )
    assert finding.message == (
        "two operators disagree about `clip` at %1: the result of `qnn.requantize` at %0 has "
        "scale 0.25, zero point 2; the data of `qnn.requantize` at %2 has scale 2, zero point 1"
    )


@pytest.mark.parametrize("operation", ["maximum", "minimum", "concatenate", "stack"])
def test_operands_that_must_be_equal_and_are_not(operation: str) -> None:
    x, y = int8("x", 4), int8("y", 4)
    operands = [requantize(x, 0.5, 0.25), requantize(y, 0.5, 0.125)]
    joins = operation in ("concatenate", "stack")
    made = getattr(relay, operation)(*([operands, 0] if joins else operands))
    module = module_of(made)
    known = quantization(module)
    assert known.of(module["main"].body) is None
    assert known.reason(module["main"].body) == "operators disagree"
    assert len(known.conflicts) == 1


def test_a_disagreement_is_said_once_along_a_chain() -> None:
    x = int8("x", 4)
    value = requantize(x, 0.5, 0.25)
    for _ in range(5):
        value = relay.nn.relu(value)
    known = quantization(module_of(requantize(value, 2, 3)))
    assert len(known.conflicts) == 1


# ---- what is analysed ---------------------------------------------------------------------


def test_a_typed_module_is_analysed_as_it_is_and_any_other_in_a_copy() -> None:
    x = int8("x", 4)
    untyped = tvm.IRModule.from_expr(relay.Function([x], requantize(x, 0.5, 0.25)))
    known = quantization(untyped)
    assert not known.module.same_as(untyped)
    assert pair(known.of(known.module["main"].params[0])) == (0.5, 1)
    assert quantization(known.module).module.same_as(known.module)


def test_parameters_are_bound_and_folded() -> None:
    x, s = int8("x", 4), relay.var("s", shape=(), dtype="float32")
    half = relay.multiply(s, relay.const(np.float32(0.5)))
    body = relay.qnn.op.requantize(x, half, zero_point(1), scale(1.0), zero_point(2))
    module = tvm.IRModule.from_expr(relay.Function([x, s], body))
    known = quantization(module, {"s": np.float32(0.5)})
    assert pair(known.of(known.module["main"].params[0])) == (0.25, 1)
    known = quantization(module)
    assert (
        known.reason(known.module["main"].params[0]) == "qnn.requantize: its scale is not constant"
    )
