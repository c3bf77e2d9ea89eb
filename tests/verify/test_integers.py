"""Relay's integer arithmetic in NumPy is TVM's, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from tvm import relay

from qpat.compiler import compile_file
from qpat.relay.environment import Heard
from qpat.verify.building import Batch
from qpat.verify.fixed import multiplied, requantized
from qpat.verify.integers import computed
from qpat.verify.verification import verify
from tests.models import ROOT

LIBRARY = compile_file(ROOT / "patterns" / "tflite.qpat")


class Output:
    """What requantized() asks of a tensor of a record."""

    def __init__(self, scale: float, zero_point: int) -> None:
        self.scale = np.float32(scale)
        self.zero_point = np.int32(zero_point)


def by_tvm(values: np.ndarray, scale: np.float32, zero_point: int, output: Output) -> np.ndarray:
    x = relay.var("x", shape=values.shape, dtype="int32")
    constants = [scale, np.int32(zero_point), output.scale, output.zero_point]
    call = relay.qnn.op.requantize(x, *map(relay.const, constants), out_dtype="int32")
    module = relay.transform.InferType()(tvm.IRModule.from_expr(call))
    batch = Batch({0: module["main"].body}, Heard())
    assert not batch.failed
    return batch.run({0: {"x": values}})[0]


def test_halves_are_rounded_up() -> None:
    halves = np.arange(-7, 8, 2)
    assert list(multiplied(halves, 0.5)) == [-3, -2, -1, 0, 1, 2, 3, 4]
    exact = by_tvm(halves.astype("int32"), np.float32(0.5), 0, Output(1.0, 0))
    assert list(exact) == [-3, -2, -1, 0, 1, 2, 3, 4]


@pytest.mark.parametrize("seed", range(6))
def test_a_requantize_is_that_of_tvm(seed: int) -> None:
    random = np.random.default_rng(seed)
    scale, new = np.float32(2.0 ** random.uniform(-12, 3, 2))
    output = Output(new, int(random.integers(-128, 128)))
    zero_point = int(random.integers(-100, 100))
    limit = int(min(2**24, 2**30 * new / scale))
    values = random.integers(-limit, limit, 5000).astype("int32")
    found = requantized(values, scale, zero_point, output)
    np.testing.assert_array_equal(found, by_tvm(values, scale, zero_point, output))


def test_equal_scales_are_not_multiplied() -> None:
    values = np.array([-(2**30), -1, 0, 1, 2**30])
    found = requantized(values, np.float32(0.1), 3, Output(0.1, -4))
    np.testing.assert_array_equal(found, values - 7)
    exact = by_tvm(values.astype("int32"), np.float32(0.1), 3, Output(0.1, -4))
    np.testing.assert_array_equal(found, exact)


IN_INTEGERS = [
    *("conv2d", "depthwise_conv2d", "dense", "add", "subtract", "mul", "requantize"),
    "avg_pool2d",
]


@pytest.mark.parametrize("name", IN_INTEGERS)
def test_records_in_integers_are_bit_exact(name: str) -> None:
    [[verdict]] = verify(LIBRARY, samples=6, inputs=40, seed=11, names=[name])
    assert not verdict.not_exact
    # A pool that counts its padding, and what else there is no way for, are few.
    assert len(verdict.in_integers) >= verdict.instances / 2 > 0


def test_no_result_is_made_up_for_a_meaning_without_a_way() -> None:
    [[verdict]] = verify(LIBRARY, samples=2, inputs=2, names=["sigmoid"])
    assert not verdict.in_integers
    assert verdict.status == "verified"
    assert computed(None, {"": _tensor()}, {}) is None


def _tensor() -> Output:
    output = Output(1.0, 0)
    output.dtype = "int8"  # type: ignore[attr-defined]
    return output
