"""`qpat why` on Relax: the first reason names what was changed in a network that is taken whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tvm import relax

import qpat
from qpat.relay.why.reasons import Obstacle
from qpat.relay.why.search import why
from tests.relax.networks import build

NPU = Path(__file__).parent / "npu.qpat"
# The change, the operator that is asked about, what the reason is about, and its words.
CHANGES = (
    ({"strides": (3, 3)}, "nn.conv2d", Obstacle.CONDITION, "strides above 2"),
    ({"kernel": 7}, "nn.conv2d", Obstacle.CONDITION, "kernels higher than 5"),
    (
        {"weights": "input"},
        "nn.conv2d",
        Obstacle.CONSTANT,
        "`w` is an input, and a constant is wanted",
    ),
    (
        {"bias_operator": relax.op.maximum},
        "nn.conv2d",
        Obstacle.OPERATOR,
        "`maximum` behind `nn.conv2d`, where `add` is wanted",
    ),
    (
        {"activation": relax.op.tanh},
        "qnn.quantize",
        Obstacle.OPERATOR,
        "tanh where `add` is wanted",
    ),
    ({"out_dtype": "uint8"}, "sigmoid", Obstacle.CONDITION, "y is uint8, not int8"),
    (
        {"extra_user": True},
        "nn.conv2d",
        Obstacle.USER,
        "the `nn.conv2d` inside is used outside, too: by `negative`",
    ),
    (
        {"pool_layout": "NCHW"},
        "nn.max_pool2d",
        Obstacle.ATTRIBUTE,
        '`layout` is "NCHW", not "NHWC"',
    ),
)


def test_nothing_is_said_where_nothing_stays() -> None:
    assert why(qpat.partition(build(), NPU)) == ()


@pytest.mark.parametrize(("change", "operator", "obstacle", "text"), CHANGES)
def test_the_first_reason_is_the_change(
    change: dict[str, Any], operator: str, obstacle: Obstacle, text: str
) -> None:
    found = why(qpat.partition(build(**change), NPU), at=operator)
    assert found and all(each.miss is not None for each in found)
    reasons = [each.miss.reasons[0] for each in found if each.miss is not None]
    assert (obstacle, text) in [(each.obstacle, each.text) for each in reasons]


def test_an_operator_can_be_asked_for_by_its_variable() -> None:
    result = qpat.partition(build(strides=(3, 3)), NPU)
    [host] = [each for each in result.host if each.op == "nn.conv2d"]
    assert host.location is not None
    [found] = why(result, at=host.location)
    assert (found.operator, found.text) == ("nn.conv2d", "strides above 2")
