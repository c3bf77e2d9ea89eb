"""On every model the library's composites are those of TVM's own tables, structure and all."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import tvm
from tvm import relay

import qpat
from qpat.relay.graph import post_order
from qpat.relay.importing import import_model
from qpat.relay.prepare import prepare
from tests.library.oracles import ORACLES, compared
from tests.library.verdicts import TABLES, generated, hand_written
from tests.models import DATA, IMPORTABLE
from tests.single_pass.real_tables import HAS_ETHOSU

ONLY_THEIRS = {
    # Floats, of which the library has nothing.
    ("arm_compute_lib", "onnx/opsoup_qdq_s8s8.onnx"): Counter({"arm_compute_lib.concatenate": 2}),
    # docs/library.md says why: operands of two shapes, groups.
    ("cmsis-nn", "tflite/lstm_unrolled_int8.tflite"): Counter({"cmsis-nn.qnn_add": 5}),
    ("cmsis-nn", "tflite/op_soup_nol2_int8.tflite"): Counter({"cmsis-nn.qnn_mul": 1}),
    ("cmsis-nn", "tflite/transformer_relu_int8.tflite"): Counter({"cmsis-nn.qnn_mul": 8}),
    ("ethos-n", "tflite/ops/conv2d_group2.tflite"): Counter({"ethos-n.qnn_conv2d": 1}),
}
# And here.
ONLY_OURS = {
    ("ethos-u", "tflite/ds_cnn_kws_int16x8.tflite"): Counter({"ethos-u.matmul": 1}),
    ("ethos-n", "tflite/ops/conv2d_group2.tflite"): Counter({"ethos-n.qnn_requantize": 1}),
}


@pytest.mark.parametrize("model", IMPORTABLE)
def test_composites_of_a_model_are_those_of_the_tables(model: str) -> None:
    imported = import_model(DATA / model, None)
    module = prepare(imported.module, dict(imported.params), None)
    for name, library in TABLES.items():
        if name == "ethos-u" and not HAS_ETHOSU:
            continue
        patterns = generated(library.stem)
        copied = patterns.prepare(module) if hasattr(patterns, "prepare") else module
        theirs = composites(qpat.merge_composite(hand_written(name))(module))
        merged = qpat.merge_composite(library.pattern_table())(copied)
        ours = composites(merged)
        assert names(theirs - ours) == ONLY_THEIRS.get((name, model), Counter()), name
        assert names(ours - theirs) == ONLY_OURS.get((name, model), Counter()), name
        if name in ORACLES:
            compared(name, merged, model)


def names(composites: Counter[tuple[str, Any]]) -> Counter[str]:
    return Counter(name for name, _ in composites.elements())


def composites(module: Any) -> Counter[tuple[str, Any]]:
    """Names and structures. What is embedded and what is handed over is left out of account: a
    table takes a constant for any value where a pattern says that it may be one."""
    return Counter(
        (str(call.op.attrs["Composite"]), structure(call.op.body))
        for call in post_order(module["main"].body)
        if isinstance(call, relay.Call)
        and isinstance(call.op, relay.Function)
        and call.op.attrs is not None
        and "Composite" in call.op.attrs
    )


def structure(expr: Any) -> Any:
    """The operators of an expression, nested as they are."""
    if isinstance(expr, relay.Call):
        name = expr.op.name if isinstance(expr.op, tvm.ir.Op) else "a function"
        inner = [structure(each) for each in expr.args]
        return name, tuple(each for each in inner if each is not None)
    if isinstance(expr, relay.Tuple):
        inner = [structure(each) for each in expr.fields]
        return "a tuple", tuple(each for each in inner if each is not None)
    if isinstance(expr, relay.TupleGetItem):
        return expr.index, structure(expr.tuple_value)
    return None
