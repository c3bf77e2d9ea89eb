"""The two rows of Ethos-U that the installed table lacks, against an oracle written by hand.

A number of these graphs is an integer with `31 - shift` fractional bits, by the shift of the
outermost fixed_point_multiply: its scale is 1 / 2 ** fraction, its zero point 0.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relay
from tvm.relay.dataflow_pattern import is_op, wildcard

import qpat
from tests.library.draw import Draw
from tests.library.verdicts import cases, generated, verdict

COUNT = 300
# fixed_point_multiply is defined for int32, and the rows say so.
WIDENED = "widened to int64"
DOCS = (Path(__file__).parents[2] / "docs" / "library.md").read_text(encoding="utf-8")
FRACTIONS = [0, 1, 7, 15, 16]
OUTSIDE = [-1, 17, 31, 40]


def multiplied(draw: Draw, body: Any) -> Any:
    fraction = draw.mostly(FRACTIONS, OUTSIDE)
    multiplier = int(draw.random.integers(1, 2**31 - 1))
    return relay.fixed_point_multiply(body, multiplier=multiplier, shift=31 - fraction)


def widened(draw: Draw, x: Any) -> Any:
    dtype = draw.mostly(["int32"], ["int64"])
    draw.note(WIDENED, dtype == "int64")
    return multiplied(draw, relay.cast(x, dtype))


def matmul(draw: Draw) -> Any:
    kinds = [draw.mostly(["int16"], ["int8", "int32"]) for _ in range(3)]
    depth = draw.mostly([4, 65536], [65537])
    shape = draw.mostly([[1, depth], [3, depth]], [[2, 2, depth], [65537, depth]])
    x, w = draw.var(shape, kinds[0]), draw.var([draw.mostly([2], [65537]), depth], kinds[1])
    acc = relay.nn.dense(widened(draw, x), widened(draw, w), out_dtype=draw.one(["", "int32"]))
    return relay.cast(multiplied(draw, acc), kinds[2])


def tanh(draw: Draw) -> Any:
    kind = draw.mostly(["int8", "int16"], ["uint8", "int32"])
    shape = draw.mostly([[4], [2, 3], [1, 2, 3, 4], [65536], [1, 1, 2, 2, 3]], [[2, 65537]])
    body = relay.tanh(widened(draw, draw.var(shape, kind)))
    return relay.cast(multiplied(draw, body), draw.mostly([kind], ["int8", "int16"]))


# ---- the oracle ----------------------------------------------------------------------------------


def _fixed(inner: Any) -> Any:
    return is_op("fixed_point_multiply")(inner)


def _source(fixed: Any) -> Any:
    """What was widened and multiplied."""
    return fixed.args[0].args[0]


def matmul_tensors(root: Any) -> dict[str, Any]:
    dense = root.args[0].args[0]
    return {"x": _source(dense.args[0]), "w": _source(dense.args[1]), "y": root}


def tanh_tensors(root: Any) -> dict[str, Any]:
    return {"x": _source(root.args[0].args[0].args[0]), "y": root}


def fraction_of(root: Any) -> int:
    return 31 - int(root.args[0].attrs.shift)


def _sides(tensor: Any) -> list[int]:
    return [int(n) for n in tensor.checked_type.shape]


def takes_matmul(root: Any) -> bool:
    tensors = matmul_tensors(root)
    return (
        all(each.checked_type.dtype == "int16" for each in tensors.values())
        and 0 <= fraction_of(root) <= 16
        and len(_sides(tensors["x"])) == 2
        and max(_sides(tensors["x"]) + _sides(root)) <= 65536
    )


def takes_tanh(root: Any) -> bool:
    x = tanh_tensors(root)["x"]
    return (
        x.checked_type.dtype == root.checked_type.dtype in ("int8", "int16")
        and 0 <= fraction_of(root) <= 16
        and max(_sides(x)) <= 65536
    )


_OPERAND = _fixed(is_op("cast")(wildcard()))
_OTHER = _fixed(is_op("cast")(wildcard()))
ORACLE: dict[str, tuple[Any, Any, Any, Callable[[Any], dict[str, Any]]]] = {
    "matmul_fixed_point": (
        matmul,
        is_op("cast")(_fixed(is_op("nn.dense")(_OPERAND, _OTHER))),
        takes_matmul,
        matmul_tensors,
    ),
    "tanh_fixed_point": (
        tanh,
        is_op("cast")(_fixed(is_op("tanh")(_OPERAND))),
        takes_tanh,
        tanh_tensors,
    ),
}


@pytest.mark.parametrize("name", ORACLE)
def test_row_takes_and_reads_what_the_oracle_does(name: str) -> None:
    body, pattern, check, tensors = ORACLE[name]
    ours = generated("ethos_u")
    table, oracle = ours.pattern_table(), [(f"ethos-u.{name}", pattern, check)]
    fractions: set[int] = set()
    refused = widened_to_int64 = 0
    for seed, root, traits in cases(body, COUNT):
        expected, found = verdict(oracle, root), verdict(table, root)
        if traits:
            assert found is None
            widened_to_int64 += expected is not None
            continue
        assert found == expected, f"seed {seed}: {found}, not {expected}\n{root}"
        if found is None:
            refused += 1
            continue
        function = relay.Function(relay.analysis.free_vars(root), root)
        module = qpat.merge_composite(table)(tvm.IRModule.from_expr(function))
        record = ours.extract(module["main"].body)
        fraction = fraction_of(root)
        for port, tensor in tensors(root).items():
            read = getattr(record, port)
            assert (read.scale, read.zero_point) == (np.float32(1 / 2**fraction), 0), seed
            assert read.dtype == tensor.checked_type.dtype and list(read.shape) == _sides(tensor)
        fractions.add(fraction)
    assert fractions == set(FRACTIONS)
    assert refused > 20 and widened_to_int64 > 0 and WIDENED in DOCS


@pytest.mark.parametrize("name", ORACLE)
@pytest.mark.parametrize("fraction", range(-2, 20))
def test_only_the_outermost_shift_counts(name: str, fraction: int) -> None:
    """The others stand at another shift, also one beyond the limits."""
    for other in (3, 31, 40):
        x, w = (relay.var(each, shape=(2, 4), dtype="int16") for each in "xw")
        inner = [
            relay.fixed_point_multiply(relay.cast(each, "int32"), multiplier=1 << 30, shift=other)
            for each in (x, w)
        ]
        made = relay.nn.dense(*inner) if name == "matmul_fixed_point" else relay.tanh(inner[0])
        fixed = relay.fixed_point_multiply(made, multiplier=1 << 30, shift=31 - fraction)
        body = relay.cast(fixed, "int16")
        function = relay.Function(relay.analysis.free_vars(body), body)
        module = relay.transform.InferType()(tvm.IRModule.from_expr(function))
        found = verdict(generated("ethos_u").pattern_table(), module["main"].body)
        assert found == (f"ethos-u.{name}" if 0 <= fraction <= 16 else None)
