"""The analysis on random modules whose true parameters are known: what can be derived is found,
exactly, what cannot is unknown, and contradictions are reported; before and after partitioning."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import numpy as np
import tvm
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tvm import relay
from tvm.relay.dataflow_pattern import is_constant, is_op, wildcard

from qpat.relay.quantization import Quantization, analysed
from tests.relay.random_quantized import Claim, Random, make, typed

slow = settings(
    deadline=None,
    max_examples=int(os.environ.get("QPAT_FUZZ_EXAMPLES", "60")),
    # Without the explanation of a failure: it runs TVM some thousand times.
    phases=[phase for phase in Phase if phase is not Phase.explain],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def _found(known: Quantization, expr: Any) -> Claim | None:
    parameters = known.of(expr)
    if parameters is None:
        return None
    assert parameters.axis is None and np.ndim(parameters.scale) == 0
    return float(parameters.scale), int(parameters.zero_point)


@slow
@given(st.data())
def test_what_can_be_derived_is_found_and_nothing_else(data: st.DataObject) -> None:
    maker = make(data.draw)
    module, values = typed(maker)
    known = analysed(module)
    faults = [
        f"{value.expr.op if isinstance(value.expr, relay.Call) else 'a leaf'}: {found}"
        for value, expr in values
        if (found := _found(known, expr)) != next(iter(maker.claimed(value)), None)
    ]
    assert not faults
    assert not known.findings()
    assert all((_found(known, expr) is None) == bool(known.reason(expr)) for _, expr in values)


@slow
@given(st.data())
def test_contradictions_are_reported_and_only_where_they_are(data: st.DataObject) -> None:
    """Where calls disagree somewhere in a space, that is reported, and a value of it has what one
    of them says or nothing. All other spaces are not touched by it."""
    maker = make(data.draw, lies=2)
    module, values = typed(maker)
    known = analysed(module)
    told = {expr: value for value, expr in values}
    for value, expr in values:
        claims, found = maker.claimed(value), _found(known, expr)
        if len(claims) > 1:
            assert found is None or found in claims
        else:
            assert found == next(iter(claims), None)
    doubtful = {maker.space(v.space) for v, _ in values if len(maker.claimed(v)) > 1}
    reported = [told[conflict.value] for conflict in known.conflicts if conflict.value in told]
    assert {maker.space(value.space) for value in reported} == doubtful
    for conflict in known.conflicts:
        assert conflict.first.scale != conflict.second.scale
        for source in (conflict.first_source, conflict.second_source):
            assert source.call.op.name.startswith("qnn.")


# ---- before and after -------------------------------------------------------------------


def _patterns() -> dict[str, Any]:
    x, c = wildcard(), is_constant()
    wide = is_op("cast")(is_op("nn.avg_pool2d")(is_op("cast")(x)))
    return {
        "npu.pool": wide,
        "npu.dense": is_op("qnn.requantize")(
            is_op("nn.bias_add")(is_op("qnn.dense")(x, c, c, c, c, c), c), c, c, c, c
        ),
        "npu.fake": is_op("qnn.quantize")(is_op("tanh")(is_op("qnn.dequantize")(x, c, c)), c, c),
        "npu.add": is_op("qnn.add")(x, wildcard(), c, c, c, c, c, c),
        "npu.requantize": is_op("qnn.requantize")(x, c, c, c, c),
        "npu.clip": is_op("clip")(is_op("transpose")(x)) | is_op("clip")(x),
        "npu.maximum": is_op("maximum")(x, wildcard()),
        "npu.relu": is_op("nn.relu")(x),
    }


def _lines(module: Any) -> Counter[tuple[Any, ...]]:
    known = analysed(module)
    return Counter(
        (each.operator, each.dtype, each.shape, _found(known, each.value), each.unknown)
        for each in known.tensors()
    )


@slow
@given(st.data())
def test_partitioning_changes_nothing(data: st.DataObject) -> None:
    maker = make(data.draw)
    module, _ = typed(maker)
    chosen = data.draw(st.sets(st.sampled_from(sorted(_patterns())), min_size=1))
    table = [(name, pattern) for name, pattern in _patterns().items() if name in chosen]
    composites = relay.transform.MergeComposite(table)(module)
    steps = [relay.transform.AnnotateTarget("npu"), relay.transform.PartitionGraph()]
    if data.draw(st.booleans()):
        steps.insert(1, relay.transform.MergeCompilerRegions())
    partitioned = tvm.transform.Sequential([*steps, relay.transform.InferType()])(composites)
    before = _lines(module)
    for after in (composites, partitioned):
        differing = _lines(after)
        differing.subtract(before)
        assert not [(line, count) for line, count in differing.items() if count]


def test_the_random_modules_are_of_use() -> None:
    """Many values are known only from afar, some are not known, and composites are made."""
    counts: Counter[str] = Counter()

    @settings(max_examples=60, deadline=None, database=None, derandomize=True)
    @given(st.data())
    def count(data: st.DataObject) -> None:
        maker = make(data.draw)
        module, values = typed(maker)
        known = analysed(module)
        _count(maker, known, values, counts)

    count()
    assert counts["said"] > 60 and counts["from afar"] > 60 and counts["unknown"] > 60


def _count(maker: Random, known: Quantization, values: Any, counts: Counter[str]) -> None:
    said = {space for space, _ in maker.claims}
    for value, expr in values:
        if known.of(expr) is None:
            counts["unknown"] += 1
        else:
            counts["said" if value.space in said else "from afar"] += 1
