"""Of CMSIS-NN: what its tables stand for, and a pad that TVM folds though it is none."""

from __future__ import annotations

from typing import Any

import numpy as np
import tvm
from tvm import relay

import qpat
from qpat.relay.graph import post_order
from tests.library.oracles import compared
from tests.library.parameters import is_call_of
from tests.library.rows import CMSIS_NN
from tests.library.verdicts import TABLES, cases, hand_written


def test_tables_of_a_softmax_interpolate_what_they_stand_for() -> None:
    """Of int16, between entries: within three units of exp(x) and 1 / (1 + x)."""
    from patterns.cmsis_nn_tables import softmax_tables

    key = np.arange(-32768, 32768)
    at, part = (key >> 7) + 256, key & 0x7F
    exp, over = (table.astype(int) for table in softmax_tables())
    for table, wanted in (
        (exp, np.exp((key - 32768) * 10 / 65536)),
        (over, 1 / (1 + (key + 32768) / 65536)),
    ):
        assert table.shape == (513,)
        found = table[at] + ((table[at + 1] - table[at]) * part + 64 >> 7)
        assert np.abs(found - np.minimum(wanted * 32768, 32767)).max() <= 3


def test_a_pad_by_another_value_stays_outside() -> None:
    """Inside of TVM's composite, whose code generator adds it to the padding of the convolution."""
    other = "pads by another value than the zero point"
    differing = 0
    for seed, root, traits in cases(CMSIS_NN["conv2d"], 60):
        if other not in traits or "pads more than height and width" in traits:
            continue
        function = relay.Function(relay.analysis.free_vars(root), root)
        module = tvm.IRModule.from_expr(function)
        theirs = qpat.merge_composite(hand_written("cmsis-nn"))(module)
        ours = qpat.merge_composite(TABLES["cmsis-nn"].pattern_table())(module)
        inside = composite_of(theirs)
        if inside is None or not has_pad(inside):
            continue
        assert not has_pad(composite_of(ours)) and compared("cmsis-nn", ours, f"seed {seed}")[0]
        differing += 1
    assert differing > 0


def composite_of(module: Any) -> Any:
    """The body of the composite that gives the result; None where there is none."""
    call = module["main"].body
    return call.op.body if isinstance(call.op, relay.Function) else None


def has_pad(body: Any) -> bool:
    return any(is_call_of(each, "nn.pad") for each in post_order(body))
