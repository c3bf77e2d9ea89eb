"""The analysis of whole models: every tensor against what the TFLite converter wrote, and the same
before and after composites and partitioned functions are made.

The oracle (tests/oracle) says which tensor of the file a value is, and shares no code with qpat.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
from tvm import relay

from qpat.relay.quantization import Quantization, analysed
from tests.oracle import models
from tests.oracle.flatbuffer import FlatTensor
from tests.oracle.models import Case
from tests.oracle.records import same_scale, same_zero_point
from tests.oracle.relay_names import op_name

each_model = pytest.mark.parametrize("name", models.importable())

# Models of one operator whose Relay says nothing of some tensors: how many of the file's, and why.
NOBODY = "no operator says"
UNKNOWN = {
    "ops/avg_pool": {NOBODY: 2},
    "ops/avg_pool_relu": {NOBODY: 2},
    "ops/batch_matmul": {"dropped by the frontend (qnn.batch_matmul)": 3},
    "ops/greater_select": {NOBODY: 2},  # the selected values: nothing is known of `where`
    "ops/max_pool": {NOBODY: 2},
    "ops/maximum": {NOBODY: 3},
    "ops/minimum": {NOBODY: 3},
    "ops/pack": {NOBODY: 3},
    "ops/pad": {NOBODY: 2},
    "ops/prelu": {"dropped by the frontend (nn.prelu)": 3},
    "ops/reshape": {NOBODY: 2},
    "ops/resize_nearest": {NOBODY: 2},
    "ops/slice": {NOBODY: 2},
    "ops/split": {NOBODY: 4},
    "ops/strided_slice": {NOBODY: 2},
    "ops/sum": {NOBODY: 1},  # the requantize behind says what the sum is, not what was added
    "ops/transpose": {NOBODY: 2},
}


@cache
def _known(name: str) -> Quantization:
    return analysed(models.case(name).result.prepared)


def _values(case: Case) -> Iterator[tuple[Any, FlatTensor, bool]]:
    """Every value of the prepared module that is a tensor of the file, with it; and whether it is a
    bias, of which Relay has the frontend's own product of scales."""
    for expr in case.names.order:
        named = case.names.tensor(expr)
        if named is not None:
            yield expr, named.tensor, False
        for index, operand in enumerate(expr.args if isinstance(expr, relay.Call) else ()):
            if isinstance(operand, relay.Constant):
                held = case.names.constant(expr, index, operand.data.numpy())
                if held is not None:
                    yield operand, held.tensor, op_name(expr) == "nn.bias_add"


def _is_right(known: Any, flat: FlatTensor, is_bias: bool) -> bool:
    assert flat.scale is not None and flat.zero_point is not None
    if is_bias:
        # One rounding each may differ; see tests/oracle/records.py.
        fits = np.size(known.scale) == flat.scale.size
        right = fits and bool(np.allclose(known.scale, flat.scale, rtol=2.0**-22, atol=0))
    else:
        right = same_scale(known.scale, flat.scale)
    return right and same_zero_point(known.zero_point, flat.zero_point)


@each_model
def test_every_tensor_has_the_parameters_of_the_file(name: str) -> None:
    """Those that the file has, or a reason; and none where the file has none."""
    known, faults = _known(name), []
    for expr, flat, is_bias in _values(models.case(name)):
        found = known.of(expr)
        if flat.scale is None:
            right = found is None and known.reason(expr) in ("float", "bool")
        else:
            right = found is None or _is_right(found, flat, is_bias)
        if not right:
            faults.append(f"{flat.name} has {flat.scale}/{flat.zero_point}, not {found}")
    assert not faults, "\n".join(faults)


@each_model
def test_tensors_are_unknown_only_where_the_module_says_nothing(name: str) -> None:
    known = _known(name)
    reasons = {
        flat.name: known.reason(expr)
        for expr, flat, _ in _values(models.case(name))
        if flat.scale is not None and known.of(expr) is None
    }
    assert Counter(reasons.values()) == UNKNOWN.get(name, {})


@each_model
def test_every_quantized_tensor_of_the_file_was_compared(name: str) -> None:
    case = models.case(name)
    compared = {flat.name for _, flat, _ in _values(case)}
    used = {key for op in case.file.operators for key in (*op.inputs, *op.outputs) if key}
    left = {key for key in used - compared if case.file.tensors[key].scale is not None}
    assert not left


@each_model
def test_models_have_no_conflicts_and_no_faults(name: str) -> None:
    messages = [finding.message for finding in _known(name).findings()]
    assert not messages


def _lines(known: Quantization) -> list[tuple[Any, ...]]:
    return [
        (
            each.name,
            each.operator,
            each.dtype,
            each.shape,
            *(None if v is None else (v.dtype, v.tobytes()) for v in _arrays(each)),
            each.axis,
            each.unknown,
        )
        for each in known.tensors()
    ]


def _arrays(tensor: Any) -> Iterator[Any]:
    for each in (tensor.scale, tensor.zero_point):
        yield None if each is None else np.asarray(each)


@each_model
def test_the_same_is_known_of_composites_and_of_partitioned_functions(name: str) -> None:
    result = models.case(name).result
    before = _lines(_known(name))
    for stage, module in (("composites", result.module), ("regions", result.regions())):
        after = _lines(analysed(module))
        # Texts: what pytest prints of two long lists takes it minutes.
        differing = Counter(after)
        differing.subtract(Counter(before))
        faults = [f"{stage}: {line[:4]} {count:+}" for line, count in differing.items() if count]
        assert before and not faults


def test_what_the_frontend_makes_up_is_not_believed() -> None:
    """Around a BATCH_MATMUL it contradicts what is true, in a model that has no conflicts above."""
    case = models.case("transformer_relu_int8")
    made_up = [expr for expr in case.names.order if case.reading.is_made_up(expr)]
    assert made_up
    known = _known("transformer_relu_int8")
    said = [known.of(expr) for expr in made_up]
    assert not [each for each in said if each is not None and each.scale == np.float32(1)]


def _real(values: Any, scale: Any, axis: int) -> Any:
    """The real numbers that weights stand for, sorted: so it does not matter how they are laid out.
    Scales may run along an axis, or along that and the one behind it."""
    sizes = [1] * values.ndim
    sizes[axis] = len(scale)
    if values.shape[axis] != len(scale):
        sizes[axis : axis + 2] = values.shape[axis : axis + 2]
    return np.sort((values.astype(np.float64) * np.reshape(scale, sizes)).ravel())


@each_model
def test_scales_of_weights_run_along_their_axis(name: str) -> None:
    known, faults = _known(name), []
    for expr, flat, is_bias in _values(models.case(name)):
        if flat.value is None or not flat.per_channel or is_bias:
            continue
        found = known.of(expr)
        assert found is not None and found.axis is not None and flat.scale is not None
        ours = _real(expr.data.numpy(), found.scale, found.axis)
        theirs = _real(flat.value, flat.scale, flat.quantized_dimension)
        if not np.array_equal(ours, theirs):
            faults.append(f"{flat.name}: axis {found.axis}")
    assert not faults
