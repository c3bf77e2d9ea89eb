"""What is read of a port that is many tensors is a list: calculated with tensor by tensor."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relay

from qpat.compiler import compile_source
from qpat.relay.partition import Partition, partition
from qpat.source import Source

SCALE, ZERO = relay.const(np.float32(0.5)), relay.const(np.int32(3))


def joined(*channels: int, dtype: str = "int8") -> Any:
    """Tensors of so many channels one behind the other."""
    xs = [
        relay.var(f"x{place}", shape=(1, 4, 4, size), dtype=dtype)
        for place, size in enumerate(channels)
    ]
    scales, zeros = relay.Tuple([SCALE for _ in xs]), relay.Tuple([ZERO for _ in xs])
    body = relay.qnn.op.concatenate(relay.Tuple(xs), scales, zeros, SCALE, ZERO, axis=3)
    return relay.transform.InferType()(tvm.IRModule.from_expr(relay.Function(xs, body)))


def partitioned(statement: str, *channels: int, dtype: str = "int8") -> Partition:
    """What becomes of a concatenation under a pattern with this statement."""
    head = f"pattern cat(xs: {dtype}...) -> y: {dtype}"
    text = f'compiler "n"\n{head} {{ y = qnn.concatenate((xs...), ..)\n{statement} }}'
    compiled = compile_source(Source("n.qpat", text))
    return partition(joined(*channels or (6, 2), dtype=dtype), compiled)


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        ("size(xs) * 2", [192, 64]),
        ("2 * size(xs)", [192, 64]),
        ("size(xs) + size(xs)", [192, 64]),
        ("rank(xs) * 2", [8, 8]),
        ("size(xs) - 1", [95, 31]),
        ("size(xs) / 2", [48.0, 16.0]),
        ("size(xs) % 5", [1, 2]),
        ("size(xs) ** 2", [9216, 1024]),
        ("-size(xs)", [-96, -32]),
        ("abs(size(xs))", [96, 32]),
        ("max(size(xs), 40)", [96, 40]),
        ("max(size(xs))", 96),
        ("sum(size(xs))", 128),
        ('dim(xs, "C", "NHWC") * 2', [12, 4]),
        ('dim(xs, "HC", "NHWC") + 1', [[5, 7], [5, 3]]),
        ("(if rank(xs) == 4 then size(xs) else 0) * 2", [192, 64]),
        ("size(xs) * xs.scale", [48.0, 16.0]),
        ("all(rank(xs) == 4)", True),
        ("all(size(xs) > 32)", False),
        ("any(size(xs) > 32)", True),
    ],
)
def test_what_many_tensors_give_is_calculated_with_tensor_by_tensor(
    expression: str, wanted: Any
) -> None:
    (match,) = partitioned(f"param p = {expression}").matches
    assert np.asarray(match.params["p"]).tolist() == wanted


def test_what_a_name_stands_for_is_calculated_with_likewise() -> None:
    (match,) = partitioned("let sizes = size(xs)\nparam p = sizes * 2").matches
    assert match.params["p"].tolist() == [192, 64]
