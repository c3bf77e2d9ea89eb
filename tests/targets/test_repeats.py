"""Structures that are repeated in a tuple: a row for each length, one port for all tensors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relay

import qpat
from qpat.cli import main
from qpat.compiler import check_source, compile_source
from qpat.relay.partition import Partition
from qpat.semantics import ir
from qpat.source import Source

MOST = 3
TEXT = f"""compiler "npu"

pattern concatenate(xs: int8 | uint8...) -> y: int8 | uint8 {{
  out = concatenate((shared qnn.dequantize(const? xs, ..) ... {MOST}))
  y   = qnn.quantize(out, ..)
  where same(xs.dtype)     else "tensors of two dtypes"
  where max(xs.scale) < 1  else "a scale of 1 or more"
  param axis   = out.attrs.axis
  param finest = min(xs.scale)
  meaning y = concatenate(xs, like=out)
}}
"""


def dequantized(tensor: Any, scale: float, zero_point: int) -> Any:
    return relay.qnn.op.dequantize(tensor, relay.const(scale), relay.const(zero_point))


def joined(reals: Sequence[Any]) -> Any:
    real = relay.concatenate(reals, axis=1)
    return relay.qnn.op.quantize(real, relay.const(0.75), relay.const(-3), out_dtype="int8")


def found(body: Any) -> Partition:
    module = tvm.IRModule.from_expr(relay.Function(relay.analysis.free_vars(body), body))
    return qpat.partition(module, compile_source(Source("npu.qpat", TEXT)))


def inputs(count: int, dtype: str = "int8") -> list[Any]:
    return [relay.var(f"x{n}", shape=(1, n + 1), dtype=dtype) for n in range(count)]


@pytest.mark.parametrize("count", range(1, MOST + 2))
def test_each_length_up_to_the_most(count: int) -> None:
    scales = [0.5 / (n + 1) for n in range(count)]
    pairs = zip(inputs(count), scales, strict=True)
    reals = [dequantized(x, scale, n) for n, (x, scale) in enumerate(pairs)]
    partition = found(joined(reals))
    if count > MOST:
        assert not partition.matches
        return
    [match] = partition.matches
    assert not partition.host
    tensors = match.tensors["xs"]
    assert isinstance(tensors, tuple)
    assert [each.shape for each in tensors] == [(1, n + 1) for n in range(count)]
    assert [float(each.scale) for each in tensors] == [float(np.float32(s)) for s in scales]
    assert [int(each.zero_point) for each in tensors] == list(range(count))
    assert [each.input for each in tensors] == list(range(count))
    assert match.params == {"axis": 1, "finest": float(np.float32(scales[-1]))}
    assert (float(match.tensors["y"].scale), int(match.tensors["y"].zero_point)) == (0.75, -3)


def test_one_tensor_twice_and_a_constant() -> None:
    [x] = inputs(1)
    constant = relay.const(np.array([[7, -7]], "int8"))
    reals = [dequantized(x, 0.5, 1), dequantized(constant, 0.25, 2), dequantized(x, 0.125, 3)]
    [match] = found(joined(reals)).matches
    first, second, third = match.tensors["xs"]
    assert first.input == third.input == 0 and second.input is None
    assert second.value.tolist() == [[7, -7]]
    assert [float(each.scale) for each in (first, second, third)] == [0.5, 0.25, 0.125]


def test_one_dequantize_for_two_is_copied() -> None:
    [x] = inputs(1)
    real = dequantized(x, 0.5, 1)
    body = relay.Tuple([joined([real, real]), joined([real])])
    assert [len(match.tensors["xs"]) for match in found(body).matches] == [2, 1]


def test_conditions_look_at_all_of_them() -> None:
    mixed = [dequantized(inputs(1)[0], 0.5, 1), dequantized(inputs(1, "uint8")[0], 0.5, 1)]
    coarse = [dequantized(x, scale, 0) for x, scale in zip(inputs(2), (0.5, 1.0), strict=True)]
    for reals, reason in ((mixed, "tensors of two dtypes"), (coarse, "a scale of 1 or more")):
        partition = found(joined(reals))
        assert not partition.matches
        assert reason in {host.reason.partition(": ")[2] for host in partition.host}


def test_rows_and_spaces() -> None:
    module, said = check_source(Source("npu.qpat", TEXT))
    assert module is not None and not said
    rows = module.patterns[0].rows
    lengths = []
    for row in rows:
        port = row.nodes[row.values["xs"]]
        assert isinstance(port, ir.Several)
        spaces = [s for s in row.spaces if not s.members.isdisjoint(port.elements)]
        assert len(spaces) == len(port.elements)
        assert all(len(s.scales) == len(s.zero_points) == 1 for s in spaces)
        lengths.append(len(port.elements))
    assert lengths == list(range(MOST, 0, -1))


def test_meaning_is_what_tvm_computes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "npu.qpat"
    path.write_text(TEXT)
    assert main(["verify", str(path), "--samples", "4"]) == 0
    assert "1 verified, 0 failed, 0 unverified" in capsys.readouterr().out
