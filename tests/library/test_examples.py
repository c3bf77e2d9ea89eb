"""The idioms of other integrations: their files test themselves, take what tables written by hand
take, mean what TVM computes, and read out what a code generator needs."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relay

import qpat
from qpat.compiler import Compiled, compile_file
from qpat.relay.environment import listening
from qpat.relay.graph import post_order
from qpat.relay.loading import load
from qpat.relay.testing import run_tests
from qpat.verify.building import Batch
from qpat.verify.verification import verify
from tests.library import example_graphs as graphs
from tests.library.draw import Draw, number, product, qnn
from tests.library.operators import Body
from tests.library.verdicts import PATTERNS, cases, typed, verdict
from tests.long_run import LONG

EXAMPLES = sorted((PATTERNS / "examples").glob("*.qpat"))
COUNT = 150

# In what respect the hand-written table does otherwise: what it says, and what the example says.
SHIFTED = {
    "clips to more than the output holds": ("taken", None),
    "no bias of the channels": ("taken", None),
}
LOOKED_UP = {
    "an index of int8": ("taken", None),
    "no table of 256": ("taken", None),
    "no bias of the channels": ("taken", None),
}
GEMMINI = {
    "asymmetric weights": ("taken", None),
    "a scale for each channel": ("taken", None),
    "limits that exclude each other": ("taken", None),
    "the upper limit stands first": (None, "taken"),
}
VTA = {"fine scales that are not the product": ("taken", None)}
# The pad stays outside then, which the composite of the hand-written table takes in.
PADDED = "pads by another value than the zero point"

DIANA = {"analog": True, "digital": True, "output": "int8"}
DIGITAL = {"analog": False, "digital": True, "output": "int8"}
ANALOG = {"analog": True, "digital": False, "output": "int8"}
MATCH = {"analog": False, "digital": True, "output": "uint8"}
BLOCKS = {"block_in": 4, "block_out": 4, "batch": 2}
TABLES: dict[str, tuple[str, dict[str, Any], Body, list[Any], dict[str, Any]]] = {
    **{
        name: ("shift_requantize", o, graphs.shift_requantized, graphs.shift_table(**o), SHIFTED)
        for name, o in {
            "DIANA": DIANA,
            "digital": DIGITAL,
            "analog": ANALOG,
            "MATCH": MATCH,
        }.items()
    },
    "lookup": ("lookup_table", {}, graphs.looked_up, graphs.lookup_table(), LOOKED_UP),
    "Gemmini": ("gemmini", {}, graphs.gemmini_conv2d, graphs.gemmini_table(), GEMMINI),
    "VTA": ("vta", BLOCKS, graphs.vta_layer, graphs.vta_table(), VTA),
}


@cache
def compiled(stem: str) -> Compiled:
    return compile_file(PATTERNS / "examples" / f"{stem}.qpat")


@cache
def generated(stem: str) -> Any:
    return load(compiled(stem))


def module_of(root: Any) -> Any:
    return tvm.IRModule.from_expr(relay.Function(relay.analysis.free_vars(root), root))


# ---- the files themselves ----------------------------------------------------------------------


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_of_the_file_passes(path: Path) -> None:
    outcomes = run_tests(compiled(path.stem))
    assert len(outcomes) >= 3
    assert [each.test.name for each in outcomes if each.findings] == []


# What has no instance, and why: nothing that is drawn at random is so.
UNVERIFIED = {
    "shift_requantize": {
        "analog_conv2d": "weights that are too large",
        "analog_dense": "weights that are too large",
        # Without a bias; with one it is verified.
        "digital_conv2d (vector)": "does not keep the size",
    },
    "lookup_table": {"conv2d (table)": "no table of 256", "dense (table)": "no table of 256"},
    "vta": {"conv2d": "no whole number of bits", "dense": "no whole number of bits"},
}
SAMPLES = {"shift_requantize": 4, "gemmini": 4}


@pytest.mark.parametrize("path", EXAMPLES if LONG else EXAMPLES[:1], ids=lambda path: path.stem)
def test_meaning_is_what_tvm_computes(path: Path) -> None:
    reasons = UNVERIFIED.get(path.stem, {})
    for pattern in compiled(path.stem).module.patterns:
        samples = 1 if pattern.name in reasons else SAMPLES.get(path.stem, 1)
        [verdicts] = verify(compiled(path.stem), samples=samples, inputs=8, names=[pattern.name])
        for each in verdicts:
            name = pattern.name + (f" ({each.form})" if each.form else "")
            reason = reasons.get(name, reasons.get(pattern.name))
            status = "verified" if reason is None else "unverified"
            assert each.status == status, f"{name}: {each.status} {each.reasons}"
            assert reason is None or any(reason in said for said in each.refused)


# ---- beside tables written by hand ---------------------------------------------------------------


@pytest.mark.parametrize("name", TABLES)
def test_takes_what_the_hand_written_table_takes(name: str) -> None:
    stem, options, body, theirs, known = TABLES[name]
    ours = generated(stem).pattern_table(**options)
    shown: dict[str, set[Any]] = {trait: set() for trait in known}
    taken: set[str] = set()
    for seed, root, traits in cases(body, COUNT):
        expected, found = verdict(theirs, root), verdict(ours, root)
        strange = traits & known.keys()
        if expected != found:
            assert strange, f"seed {seed}: {found}, not {expected}\n{root}"
            [*only] = strange
            if len(only) == 1:
                shown[only[0]].add(tuple(each and "taken" for each in (expected, found)))
        elif found is not None and not strange and PADDED not in traits:
            taken.add(found)
            assert composites(ours, root) == composites(theirs, root), f"seed {seed}\n{root}"
    assert taken == {composite for composite, *_ in theirs}
    assert shown == {trait: {pair} for trait, pair in known.items()}


def composites(rows: Any, root: Any) -> list[tuple[str, list[str]]]:
    """What MergeComposite makes of a graph: names, and the operators in each."""
    module = relay.transform.MergeComposite(rows)(module_of(root))
    calls = [each for each in post_order(module["main"].body) if isinstance(each, relay.Call)]
    functions = [each.op for each in calls if isinstance(each.op, relay.Function)]
    return [(str(f.attrs["Composite"]), operators(f.body)) for f in functions]


def operators(body: Any) -> list[str]:
    return [each.op.name for each in post_order(body) if isinstance(each, relay.Call)]


# ---- what is read out ----------------------------------------------------------------------------


def records(name: str, count: int = 60) -> Iterator[tuple[Any, dict[str, Any], Any]]:
    """Graphs that the example takes at their root: the root, its calls by operator, the record."""
    stem, options, body, _, _ = TABLES[name]
    ours = generated(stem)
    for _, root, _ in cases(body, count):
        if verdict(ours.pattern_table(**options), root) is None:
            continue
        call = qpat.merge_composite(ours.pattern_table(**options))(module_of(root))["main"].body
        yield root, graphs.walked(root), ours.extract(call, options=ours.Options(**options))


def test_shift_is_the_scale_of_the_output() -> None:
    found = set()
    for _, calls, record in records("DIANA"):
        assert record.shift == int(number(calls["right_shift"].args[1]))
        assert record.y.scale == 2.0**record.shift and record.y.zero_point == 0
        clip = calls["clip"].attrs
        assert record.y.range == record.activation == (int(clip.a_min), int(clip.a_max))
        found.add(record.shift)
    assert found == {0, 1, 7, 30, 31}


def test_gemmini_has_a_default_for_what_is_absent() -> None:
    ways = set()
    for root, calls, record in records("Gemmini"):
        pool, relu6, pad = ("nn.max_pool2d" in calls, "minimum" in calls, record.padding)
        acc = calls["qnn.conv2d"]
        padding = np.array([int(n) for n in acc.attrs.padding])
        taken_in = isinstance(acc.args[0], relay.Call) and number(acc.args[0].args[1]) == number(
            acc.args[2]
        )
        assert list(pad) == list(padding + np.array([1, 0, 0, 2]) * taken_in)
        assert list(record.pool_size) == ([2, 2] if pool else [1, 1])
        strides = [int(n) for n in root.attrs.strides] if pool else [1, 1]
        assert list(record.pool_strides) == strides and not any(record.pool_padding)
        inner = calls["qnn.requantize"] if not relu6 else calls["minimum"].args[0]
        inner = calls["minimum"].args[1] if isinstance(inner, relay.Constant) else inner
        assert record.scale == np.float32(number(inner.args[1]) / number(inner.args[3]))
        assert record.form == ("relu6" if relu6 else "linear")
        if relu6:
            outer = calls["qnn.requantize"]
            assert record.relu6_scale == np.float32(number(outer.args[1]) / number(outer.args[3]))
            [six] = (each for each in calls["minimum"].args if isinstance(each, relay.Constant))
            assert list(record.relu6) == [int(calls["clip"].attrs.a_min), int(number(six))]
        ways.add((pool, relu6, bool(taken_in)))
    assert len(ways) == 8


def test_vta_shifts_as_tvm_requantizes() -> None:
    """Integers alone: (sum + half) >> shift, cut to the range."""
    draw, ours = Draw(1), generated("vta")
    for bits in (0, 1, 4, 9):
        x = draw.var([2, 4], "int8")
        w = draw.weights([4, 4], "int8")
        scales = draw.scale(), draw.scale()
        zero, scale = relay.const(np.int32(0)), product(*scales)
        bias = relay.const(np.asarray(draw.random.integers(-999, 999, 4), "int32"))
        acc = relay.nn.bias_add(qnn.dense(x, w, zero, zero, *scales, 4, "int32"), bias)
        output = relay.const(number(scale) * np.float32(2.0**bits))
        root = typed(relay.clip(qnn.requantize(acc, scale, zero, output, zero), -100, 90))
        table = ours.pattern_table(**BLOCKS)
        call = qpat.merge_composite(table)(module_of(root))["main"].body
        record = ours.extract(call, options=ours.Options(**BLOCKS))
        assert (record.shift, record.activation) == (bits, (-100, 90))
        value = np.asarray(draw.random.integers(-128, 128, (2, 4)), "int8")
        total = value.astype("int64") @ record.w.value.T.astype("int64") + record.bias.value
        shifted = (total + (1 << bits >> 1)) >> record.shift
        assert np.array_equal(np.clip(shifted, *record.activation), computed(root, value))


def computed(root: Any, value: Any) -> Any:
    """What TVM gives for a graph of one input."""
    [name] = (each.name_hint for each in relay.analysis.free_vars(root))
    with listening() as heard:
        return Batch({0: root}, heard).run({0: {name: value}})[0]


@pytest.mark.parametrize("name", ["tanh", "sigmoid"])
@pytest.mark.parametrize("seed", range(4))
def test_table_of_a_function_is_that_of_tvm(name: str, seed: int) -> None:
    """TVM writes such an activation as `take`, which the layers of the example take in."""
    draw, ours = Draw(seed), generated("lookup_table")
    acc, drawn = graphs.layer(draw, "dense")
    x = draw.requantized(acc, product(*drawn["scales"]), "int8", axis=1)
    slots = [*x.args[3:], draw.scale(), draw.zero("int8")]
    variable = relay.var("v", shape=(2, 3), dtype="int8")
    whole = typed(getattr(qnn, name)(variable, *slots))
    merged = qpat.merge_composite(ours.pattern_table())(module_of(whole))["main"].body
    made = ours.extract(merged).table

    take = relay.qnn.transform.Legalize()(module_of(whole))["main"].body
    assert operators(take) == ["reinterpret", "take"]
    look_up = relay.take(take.args[0], relay.reinterpret(x, "uint8"))
    layer = qpat.merge_composite(ours.pattern_table())(module_of(typed(look_up)))["main"].body
    record = ours.extract(layer)
    assert record.form == "table"
    # By bits there, from the least value here.
    np.testing.assert_array_equal(np.roll(record.table, 128), made)
