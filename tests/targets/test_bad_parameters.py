"""What cannot be a tensor's scale, zero point or axis refuses a match with a reason, in the check
and in `extract`, on TVM 0.16 and on TVM 0.9 with Python 3.8."""

from __future__ import annotations

import json
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relay

from qpat.compiler import compile_file, compile_source
from qpat.relay.loading import load
from qpat.source import Source
from tests.targets.bare.environments import printed, python_of

SCRIPT = Path(__file__).parent / "bare" / "bad_parameters.py"
PATTERNS = Path(__file__).parent / "bad_parameters.qpat"

RECORD = "a record"
UNTYPED = "TVM does not type it"
EXPECTED = {
    "fine": RECORD,
    "a zero scale": "x: its scale is 0.0, which is no positive number",
    "a negative scale": "x: its scale is -0.5, which is no positive number",
    "an infinite scale": "x: its scale is inf, which is no positive number",
    "a scale that is no number": "x: its scale is nan, which is no positive number",
    "a scale that is not constant": "the scale of x is not constant",
    "a zero point that is not constant": "the zero point of x is not constant",
    "a zero point above int8": "x: its zero point is 128, which is no int8",
    "a zero point below int8": "x: its zero point is -129, which is no int8",
    "a zero point below uint8": "x: its zero point is -1, which is no uint8",
    "a zero scale of the output": "y: its scale is 0.0, which is no positive number",
    "a zero point of the output": "y: its zero point is 1000, which is no int8",
    "per channel": RECORD,
    "per channel, from behind": RECORD,
    "one of several scales": "y: its scale is 0.0, which is no positive number",
    "an axis out of range": UNTYPED,
    "an axis before the first": UNTYPED,
    "two scales for three channels": UNTYPED,
    "two zero points for three channels": UNTYPED,
    "one of several zero points": "y: its zero point is 200, which is no int8",
    "a dense layer": RECORD,
    "scales within rounding": RECORD,
    "another scale of the accumulator": "the accumulator of qnn.dense has scale 0.125100002, and "
    "the product of its operands' is 0.125",
    "a zero point of the accumulator": "the accumulator of qnn.dense has zero point 4, not 0",
    "an accumulator per channel": RECORD,
    "one channel of the accumulator": "the accumulator of qnn.dense has scale 2.5, and the product "
    "of its operands' is 2",
    "one scale for several channels": "the accumulator of qnn.dense has scale 0.5, and the product "
    "of its operands' is 1",
    "an accumulator along the batch": "the accumulator of qnn.dense has scales along another axis "
    "than channels",
    "a zero scale of the weights": "w: its scale is 0.0, which is no positive number",
    "zero points of the weights": "w: it has 3 zero points for axis 0 of size 4",
    "scales of channels and multipliers": RECORD,
    "scales that fit no kernel": UNTYPED,
    "fewer scales than tensors": "xs: there are 1 scales and 2 zero points for 2 tensors",
    "more zero points than tensors": "xs: there are 2 scales and 3 zero points for 2 tensors",
}


@pytest.fixture(scope="session")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("generated") / "npu_patterns.py"
    path.write_text(compile_file(PATTERNS).text, encoding="utf-8")
    return path


@pytest.mark.parametrize("environment", ["here", "tvm-0.16", "tvm-0.9"])
def test_each_has_its_reason_in_the_check_and_in_extract(generated: Path, environment: str) -> None:
    found = _outcomes(_python(environment), generated)
    assert found.keys() == EXPECTED.keys()
    for case, expected in EXPECTED.items():
        outcome = found[case]
        assert outcome["untyped"] == (expected == UNTYPED), case
        assert outcome["composites"] == (expected == RECORD), case
        if expected == RECORD:
            assert (outcome["reasons"], outcome["extract"]) == ([], [RECORD]), case
        elif expected != UNTYPED:
            assert outcome["reasons"] == [expected], case
            [said] = outcome["extract"]
            assert said.endswith(f": {expected}"), case


def _python(environment: str) -> Path:
    return Path(sys.executable) if environment == "here" else python_of(environment)


@cache
def _outcomes(python: Path, generated: Path) -> Any:
    return json.loads(printed(python, SCRIPT, generated).splitlines()[-1])


# ---- what is inherited or filled ---------------------------------------------------------

POOL = "pattern pool(x: int8) -> y: int8 { y = nn.max_pool2d(x)  inherit x }"


def module_of(text: str) -> ModuleType:
    return load(compile_source(Source("npu.qpat", f'compiler "npu"\n{text}')))


def pool_of(patterns: ModuleType) -> Any:
    body = relay.nn.max_pool2d(relay.var("x", shape=(1, 3, 4, 4), dtype="int8"))
    function = relay.Function(relay.analysis.free_vars(body), body)
    module = relay.transform.InferType()(tvm.IRModule.from_expr(function))
    return relay.transform.MergeComposite(patterns.pattern_table())(module)["main"].body


@pytest.mark.parametrize(
    "parameters, reason",
    [
        ((0.0, 0, None), "its scale is 0.0, which is no positive number"),
        ((np.float32([1, 2, -3]), 0, 1), "its scale is -3.0, which is no positive number"),
        ((0.5, 128, None), "its zero point is 128, which is no int8"),
        ((0.5, 0.5, None), "its zero point is of dtype float64"),
        ((1, 0, None), "its scale is of dtype int64"),
        ((np.float32([1, 2]), 0, 1), "it has 2 scales for axis 1 of size 3"),
        ((np.float32([1, 2, 3]), np.int32([0, 0]), 1), "it has 3 scales and 2 zero points"),
        ((0.5, np.int32([0, 0]), 1), "it has 2 zero points for axis 1 of size 3"),
        ((np.float32([1, 2, 3]), 0, 4), "its axis is out of range for 4 dimensions"),
        ((np.float32([1, 2, 3]), 0, -1), "its axis is out of range for 4 dimensions"),
        ((np.ones((3, 1), "float32"), 0, 1), "its scales or zero points are no vector"),
        ((np.ones(0, "float32"), 0, 1), "it has no scales or zero points at all"),
    ],
)
def test_what_is_inherited_is_held_to_the_same(parameters: Any, reason: str) -> None:
    patterns = module_of(POOL)
    call = pool_of(patterns)
    given = patterns.Parameters(*parameters)
    with pytest.raises(ValueError, match=f"npu.pool: x: {reason}"):
        patterns.extract(call, lambda expr: given)


@pytest.mark.parametrize(
    "fill, reason",
    [
        ("let x.scale = 3 - rank(x)", "its scale is -1.0, which is no positive number"),
        ("let x.zero_point = 200", "its zero point is 200, which is no int8"),
        ("let x.scale = 1e-60", "its scale is 0.0, which is no positive number"),
    ],
)
def test_what_is_filled_is_held_to_the_same(fill: str, reason: str) -> None:
    patterns = module_of(POOL.replace("inherit x", fill))
    call = pool_of(patterns)
    assert isinstance(call.op, tvm.ir.Op)  # its check refuses too
    [(_, said)] = patterns.refusals(call)
    assert said.endswith(reason)


def test_what_is_inherited_is_recorded_in_the_dtype_of_a_scale() -> None:
    patterns = module_of(POOL)
    record = patterns.extract(pool_of(patterns), lambda expr: patterns.Parameters(0.1, 3, None))
    assert (type(record.x.scale), type(record.x.zero_point)) == (np.float32, np.int8)
    assert record.x.scale == np.float32(0.1)
