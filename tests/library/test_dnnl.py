"""DNNL's int8 rows: the sixteen structures of each, and the numbers that TVM's rewrite makes."""

from __future__ import annotations

from itertools import product as every
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relay
from tvm.relay.op.contrib.dnnl import legalize_qnn_for_dnnl
from tvm.relay.op.contrib.register import get_pattern_table

import qpat
from qpat.relay.graph import post_order
from tests.library.draw import Draw, number, qnn
from tests.library.verdicts import generated, typed, verdict

ZERO = relay.const(np.int32(0))
ONE = relay.const(np.float32(1))


def constant(*values: float) -> Any:
    return relay.const(np.asarray(values if len(values) > 1 else values[0], "float32"))


def chain(operator: str, bias: bool, scaled: bool, summed: bool, moved: bool, zeros: Any) -> Any:
    x, w, acc = layer(operator, zeros, (ONE, ONE))
    body = relay.cast(acc, "float32")
    shape = (3, 1, 1) if operator == "conv2d" else (3,)
    if bias:
        body = body + relay.const(np.arange(3, dtype="float32").reshape(shape))
    body = relay.clip(body * constant(0.25), 0, 255)
    body = body * constant(0.5) if scaled else body
    if summed:
        other = relay.var(
            "other", shape=[int(n) for n in typed(acc).checked_type.shape], dtype="uint8"
        )
        body = body + constant(2.0) * relay.cast(other, "float32")
    body = body + constant(7.0) if moved else body
    return relay.cast(body, "uint8")


def other_of(body: Any) -> Any:
    return relay.var("other", shape=typed(body).checked_type.shape, dtype="uint8")


def layer(operator: str, zeros: Any, scales: Any, kind: str = "uint8") -> tuple[Any, Any, Any]:
    draw = Draw(3)
    shape = [1, 2, 4, 4] if operator == "conv2d" else [1, 6]
    kernel = [3, 2, 3, 3] if operator == "conv2d" else [3, 6]
    x, w = draw.var(shape, kind), draw.weights(kernel, "int8")
    if operator == "dense":
        return x, w, qnn.dense(x, w, *zeros, *scales, 3)
    return x, w, qnn.conv2d(x, w, *zeros, *scales, (3, 3), 3)


@pytest.mark.parametrize("operator", ["conv2d", "dense"])
@pytest.mark.parametrize(
    ("bias", "scaled", "summed", "moved"), list(every([False, True], repeat=4))
)
def test_every_structure_is_taken_and_read(
    operator: str, bias: bool, scaled: bool, summed: bool, moved: bool
) -> None:
    root = typed(chain(operator, bias, scaled, summed, moved, (ZERO, ZERO)))
    theirs, ours = get_pattern_table("dnnl"), generated("dnnl")
    quantized = [row for row in theirs if ".qnn." in row[0]]
    assert verdict(quantized, root) == verdict(ours.pattern_table(), root) == f"dnnl.qnn.{operator}"
    function = relay.Function(relay.analysis.free_vars(root), root)
    module = qpat.merge_composite(ours.pattern_table())(tvm.IRModule.from_expr(function))
    record = ours.extract(module["main"].body)
    assert (record.bias is not None, record.other is not None) == (bias, summed)
    assert record.o_scale == np.float32(0.25)
    assert record.act_scale == (0.5 if scaled else 1.0)
    assert record.sum_scale == (2.0 if summed else 0.0)
    assert record.zero_point == (7.0 if moved else 0.0)
    assert (record.clip_min, record.clip_max) == (0, 255)


def test_two_zeros_need_not_be_one_constant() -> None:
    root = typed(chain("dense", True, True, True, True, (ZERO, relay.const(np.int32(0)))))
    quantized = [row for row in get_pattern_table("dnnl") if ".qnn." in row[0]]
    assert verdict(quantized, root) is None
    assert verdict(generated("dnnl").pattern_table(), root) == "dnnl.qnn.dense"


@pytest.mark.parametrize("operator", ["conv2d", "dense"])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("summed", [False, True])
@pytest.mark.parametrize("seed", range(2))
def test_numbers_are_those_of_the_rewrite(
    operator: str, bias: bool, summed: bool, seed: int
) -> None:
    """Both rewritten and read: TVM calculates in float32, this in float64."""
    draw = Draw(seed)
    scale, w_scale = draw.scale(), draw.scale()
    acc_scale = constant(float(number(scale)) * float(number(w_scale)))
    zeros = draw.zero("uint8"), ZERO
    _, _, body = layer(operator, zeros, (scale, w_scale))
    shape = (3, 1, 1) if operator == "conv2d" else (3,)
    if bias:
        body = relay.add(body, relay.const(np.array([5, -300, 70], "int32").reshape(shape)))
    out = draw.scale(), draw.zero("uint8")
    body = qnn.requantize(body, acc_scale, ZERO, *out, axis=1, out_dtype="int32")
    body = relay.cast(relay.clip(body, 0, 255), "uint8")
    if summed:
        other = relay.var(
            "other", shape=[int(n) for n in typed(body).checked_type.shape], dtype="uint8"
        )
        slots = [each for _ in range(2) for each in (draw.scale(), draw.zero("uint8"))]
        body = relay.clip(qnn.add(body, other, *out, *slots), 0, 255)
    module = tvm.IRModule.from_expr(relay.Function(relay.analysis.free_vars(body), body))
    module = relay.transform.InferType()(module)
    patterns = generated("dnnl_legalize")
    call = qpat.merge_composite(patterns.pattern_table())(module)["main"].body
    record = patterns.extract(call)
    rewritten = relay.transform.FoldConstant()(
        relay.transform.InferType()(legalize_qnn_for_dnnl(module))
    )
    wanted = constants_of(rewritten["main"].body, summed)
    for name, value in wanted.items():
        found = np.asarray(getattr(record, name)).reshape(-1)
        tolerance = {"rtol": 2e-5, "atol": 2e-5 * max(1.0, float(np.abs(value).max()))}
        np.testing.assert_allclose(found, value.reshape(-1), **tolerance, err_msg=name)


def constants_of(root: Any, summed: bool) -> dict[str, Any]:
    """The constants of what the rewrite leaves, by the operator that takes them, in order."""
    found: list[tuple[str, Any]] = []
    for call in post_order(root):
        if isinstance(call, relay.Call) and call.op.name in ("add", "multiply"):
            found += [(call.op.name, number(a)) for a in call.args if isinstance(a, relay.Constant)]
    names = ["bias_value", "o_scale", "act_scale", *(["sum_scale"] if summed else []), "zero_point"]
    assert [name for name, _ in found] == [
        "add" if name in ("bias_value", "zero_point") else "multiply" for name in names
    ]
    return {name: value for name, (_, value) in zip(names, found, strict=True)}
