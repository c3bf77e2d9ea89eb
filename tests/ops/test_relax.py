"""The counterparts of Relay's operators in Relax. That calls are built so is tested on TVM itself
(tests/targets/test_relax.py)."""

from __future__ import annotations

import pytest

from qpat.ops.relax import counterpart, known_counterparts
from qpat.ops.roles import known_operators, roles
from qpat.ops.table import operator

# Attributes that Relax has in no way.
ABSENT = {
    "broadcast_to": {"dtype"},
    "expand_dims": {"num_newaxis"},
    "gather_nd": {"index_rank"},
    "nn.conv1d": {"channels", "kernel_size"},
    "nn.conv2d": {"channels", "kernel_size"},
    "nn.conv2d_transpose": {"channels", "kernel_size"},
    "nn.conv3d": {"channels", "kernel_size"},
    "nn.matmul": {"units"},
    "reshape": {"allowzero"},
}


@pytest.mark.parametrize("name", known_counterparts())
def test_operands_and_attributes_are_all_accounted_for(name: str) -> None:
    known, found = operator(name), counterpart(name)
    assert known is not None and found is not None
    assert found.operands == len(known.operands)
    assert found.name.startswith("relax.")
    said = [found.attributes, found.renamed, found.arguments, found.fixed]
    for attribute in known.attributes:
        times = sum(attribute in each for each in said)
        assert times == (attribute not in ABSENT.get(name, ())), attribute
        assert found.has(attribute) == bool(times)
    # A value stands behind the tensors, each in a place of its own.
    places = sorted(found.arguments.values())
    assert places == list(range(found.operands, found.operands + found.values))


def test_no_counterpart_is_shared() -> None:
    names = [counterpart(name) for name in known_counterparts()]
    found = [each.name for each in names if each is not None]
    assert len(found) == len(set(found))


def test_quantization_is_said_by_two_operators_only() -> None:
    quantized = [name for name in known_operators() if roles(name).groups]
    assert [name for name in quantized if counterpart(name)] == ["qnn.dequantize", "qnn.quantize"]
    for name in ("qnn.conv2d", "nn.pad", "nn.dense", "no such operator"):
        assert counterpart(name) is None
