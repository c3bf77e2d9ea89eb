"""What is read of a port that is many tensors is a list: calculated with and compared by tensor."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relay

from qpat.compiler import compile_source
from qpat.relay.partition import Partition, partition
from qpat.relay.testing import run_tests
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


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("xs.dtype == y.dtype", True),
        ("y.dtype == xs.dtype", True),
        ("xs.dtype == xs.dtype", True),
        ("xs.dtype == int8", True),
        ("xs.dtype == [int8, int8]", True),
        ("xs.dtype == [int8, int8, int8]", False),
        ("xs.dtype != [int8, int8, int8]", True),
        ("xs.dtype == uint8", False),
        ("xs.dtype != int8", False),
        ("xs.dtype != uint8", True),
        ("not (xs.dtype == int8)", False),
        ("xs.dtype in {int8}", True),
        ("xs.dtype in {int8, uint8}", True),
        ("xs.dtype in {uint8}", False),
        ("xs.dtype not in {uint8}", True),
        ("(xs.dtype, y.dtype) in {(int8, int8)}", True),
        ("(xs.dtype, y.dtype) in {(uint8, int8)}", False),
        ("(xs.dtype, y.dtype) == (int8, int8)", True),
        ("all(xs.dtype == int8)", True),
        ("any(xs.dtype == uint8)", False),
        ("all(y.dtype == int8)", True),
        ("xs.shape == y.shape", False),
        ("xs.shape != y.shape", False),  # most dimensions are the same
        ("xs.shape == xs.shape", True),
        ("xs.shape in {[1, 4, 4, 6], [1, 4, 4, 2]}", True),
        ("xs.shape in {[1, 4, 4, 6]}", False),
        ("xs.shape <= y.shape", True),
        ("xs.shape < [2, 5, 5, 7]", True),
        ("rank(xs) == 4", True),
        ("size(xs) == [96, 32]", True),
        ("size(xs) in {96, 32}", True),
        ("size(xs) in {96}", False),
        ("size(xs) in 32..96", True),
        ("[rank(y), 2] in {[4, 4], [2, 2]}", False),
        ('dim(xs, "HW", "NHWC") == (4, 4)', True),
        ('dim(xs, "HW", "NHWC") == dim(y, "HW", "NHWC")', True),
        ("xs.qparams == y.qparams", True),
        ("xs.qparams != y.qparams", False),
        ("xs.qparams == xs.qparams", True),
        ("xs.range == (-128, 127)", True),
        ("xs.range != (0, 255)", True),
        ("xs.range in {(-128, 127), (0, 255)}", True),
        ("xs.axis == none", True),
        ("xs.axis == 1", False),
        ("same(xs.dtype)", True),
        ("same(size(xs))", False),
    ],
)
def test_a_comparison_holds_where_it_holds_for_each_of_many_tensors(
    condition: str, holds: bool
) -> None:
    (match,) = partitioned(f"param p = {condition}\nparam q = if {condition} then 1 else 2").matches
    assert match.params == {"p": holds, "q": 1 if holds else 2}


def test_tensors_of_one_shape_have_that_shape() -> None:
    (match,) = partitioned(
        "param p = xs.shape == [1, 4, 4, 6]\nparam q = same(xs.shape)", 6, 6
    ).matches
    assert match.params == {"p": True, "q": True}


BESIDE = '''compiler "n"
pattern cat(xs: int8...) -> y: int8 {
  y = qnn.concatenate((xs...), ..)
  param doubled = size(xs) * 2
  param dtypes  = xs.dtype
}
test "beside" """
def @main(%x: Tensor[(1, 4), int8], %z: Tensor[(1, 4), int8]) {
  qnn.concatenate((%x, %z), (0.5f, 0.5f), (0, 0), 0.5f, 0, axis=1)
}""" {
  match cat { CONDITION }
}
'''


@pytest.mark.parametrize(
    "condition",
    [
        "rank(xs) == 2",
        "size(xs) * 2 == [8, 8]",
        "all(size(xs) > 1)",
        'dim(xs, "C", "NC") == 4',
        "xs.dtype == int8",
        "xs.dtype != uint8",
        "(xs.dtype, y.dtype) in {(int8, int8)}",
        "xs.shape == [1, 4]",
        "xs.qparams == y.qparams",
        "xs.scale == y.scale",
        "doubled == 8",
        "dtypes == int8",
        "all(dtypes == int8)",
    ],
)
def test_tests_beside_patterns_read_many_tensors_too(condition: str) -> None:
    def failed(text: str) -> bool:
        source = Source("n.qpat", BESIDE.replace("CONDITION", text))
        (outcome,) = run_tests(compile_source(source))
        assert all("does not hold" in finding.message for finding in outcome.findings)
        return bool(outcome.findings)

    assert not failed(condition)
    assert failed(f"not ({condition})")
