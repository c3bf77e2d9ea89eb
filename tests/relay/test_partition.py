"""Partitioning: what MergeComposite forms, what is recorded of it, and what stays on the host."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import tvm
from tvm import relay

import qpat
from qpat.compiler import compile_source
from qpat.diagnostics import QpatError
from qpat.relay.graph import rewrite
from qpat.relay.partition import Partition, load, partition
from qpat.relay.testing import run_tests
from qpat.relay.text import relay_text
from qpat.source import Source

ROOT = Path(__file__).parents[2]
LIBRARY = ROOT / "patterns" / "tflite.qpat"
IRS = ROOT / "tests" / "data" / "language" / "irs.qpat"
MODELS = ROOT / "tests" / "data" / "tflite"


def compiled(text: str, compiler: str = "npu") -> qpat.Compiled:
    return compile_source(Source("npu.qpat", f'compiler "{compiler}"\n{text}'))


def partitioned(body: Any, text: str, *inputs: Any) -> Partition:
    module = tvm.IRModule.from_expr(relay.Function(list(inputs), body))
    return partition(module, compiled(text))


def int8(name: str = "x", *shape: int) -> Any:
    return relay.var(name, shape=shape or (1, 4), dtype="int8")


def slots(*pairs: tuple[float, int]) -> list[Any]:
    return [c for s, z in pairs for c in (relay.const(np.float32(s)), relay.const(np.int32(z)))]


ADD = "pattern add(x: int8, x2: int8) -> y: int8 { y = qnn.add(const? x, const? x2, ..) }"


def without_records(module: Any) -> Any:
    """A module whose composites have no attribute `qpat_record`."""

    def change(old: Any, new: Any) -> Any:
        return new.without_attr("qpat_record") if isinstance(new, relay.Function) else new

    bare = tvm.IRModule.from_expr(rewrite(module["main"], change))
    return relay.transform.InferType()(bare)


@pytest.mark.parametrize("name", ["op_soup_nol2_int8", "ds_cnn_kws_int8", "ops/concat"])
def test_partition_forms_what_merge_composite_forms(name: str) -> None:
    result = partition(MODELS / f"{name}.tflite", LIBRARY)
    table = result.generated.pattern_table()
    merged = relay.transform.MergeComposite(table)(result.prepared)
    assert tvm.ir.structural_equal(merged, without_records(result.module))
    assert result.matches


def test_the_callers_module_is_left_alone() -> None:
    x = int8()
    out = relay.qnn.op.add(x, relay.var("p", shape=(1, 4), dtype="int8"), *slots(*[(0.5, 1)] * 3))
    module = tvm.IRModule.from_expr(relay.Function(relay.analysis.free_vars(out), out))
    function, before = module["main"], tvm.ir.structural_hash(module)
    params = {"p": np.ones((1, 4), "int8")}
    result = partition(module, compiled(ADD), params)
    assert module["main"].same_as(function)
    assert tvm.ir.structural_hash(module) == before
    assert result.matches[0].tensors["x2"].value is not None


def test_parameters_are_bound_in_what_a_path_is_read_from_too(tmp_path: Path) -> None:
    path = tmp_path / "add.relay"
    x, p = int8(), int8("p")
    function = relay.Function([x, p], relay.qnn.op.add(x, p, *slots(*[(0.5, 1)] * 3)))
    path.write_text(relay_text(tvm.IRModule.from_expr(function)), encoding="utf-8")
    [free] = partition(path, compiled(ADD)).matches
    assert free.tensors["x2"].value is None
    [bound] = partition(path, compiled(ADD), {"p": np.full((1, 4), 7, "int8")}).matches
    assert bound.tensors["x2"].value.tolist() == [[7, 7, 7, 7]]


def test_parameters_move_into_the_record_by_name() -> None:
    x, x2 = int8("x"), int8("x2")
    out = relay.qnn.op.add(x, x2, *slots((0.5, 1), (0.25, 2), (1.0, 3)))
    [match] = partitioned(out, ADD, x, x2).matches
    found = {name: (t.scale, t.zero_point, t.input) for name, t in match.tensors.items()}
    assert found == {"x": (0.5, 1, 0), "x2": (0.25, 2, 1), "y": (1.0, 3, None)}
    assert {type(t.zero_point) for t in match.tensors.values()} == {np.int8}


def test_one_value_for_two_ports_is_one_input() -> None:
    x = int8()
    out = relay.qnn.op.add(x, x, *slots((0.5, 1), (0.5, 1), (1.0, 3)))
    [match] = partitioned(out, ADD, x).matches
    assert [match.tensors[port].input for port in ("x", "x2", "y")] == [0, 0, None]


def test_an_input_computed_from_a_value_inside_refuses() -> None:
    """TVM alone would compute the inner value twice, inside the composite and outside."""
    text = """
    pattern both(x: int8, x2: int8) -> y: int8 {
      c = qnn.requantize(x, ..)
      y = qnn.add(c, x2, ..)
    }"""
    x = int8("x", 1, 4, 4, 2)
    inner = relay.qnn.op.requantize(x, *slots((0.5, 1), (0.25, 2)))
    around = relay.nn.max_pool2d(inner, (1, 1), layout="NHWC")
    out = relay.qnn.op.add(inner, around, *slots((0.25, 2), (0.25, 2), (1.0, 3)))
    result = partitioned(out, text, x)
    assert not result.matches
    assert {host.op: host.reason for host in result.host}["qnn.add"].endswith("inside the match")
    kept = relay.transform.InferType()(relay.transform.DefuseOps()(result.module))
    assert tvm.ir.structural_equal(kept, result.prepared)


def test_a_refused_row_leaves_the_shorter_one() -> None:
    """A pad by something else than the zero point stays outside of the convolution."""
    text = """
    pattern conv2d(x: int8, w: int8) -> y: int8 {
      d   = nn.pad(x, x.zero_point)?
      acc = qnn.conv2d(d, const w, .., data_layout="NHWC", kernel_layout="HWIO")
      y   = qnn.requantize(acc, ..)
      param padding = acc.attrs.padding + (pads(d) ?? 0)
    }"""
    for fill, padding in ((7, (1, 2, 0, 0)), (5, (0, 0, 0, 0))):
        x = int8("x", 1, 8, 8, 2)
        d = relay.nn.pad(x, [[0, 0], [1, 0], [2, 0], [0, 0]], float(fill))
        zero = [relay.const(np.int32(7)), relay.const(np.int32(0))]
        scales = [relay.const(np.float32(0.5)), relay.const(np.float32(0.25))]
        weights = relay.const(np.ones((3, 3, 2, 4), "int8"))
        acc = relay.qnn.op.conv2d(
            d, weights, *zero, *scales, (3, 3), 4, data_layout="NHWC", kernel_layout="HWIO"
        )
        out = relay.qnn.op.requantize(acc, *slots((0.125, 0), (1.0, 3)))
        result = partitioned(out, text, x)
        [match] = result.matches
        assert match.params["padding"] == padding
        assert [host.op for host in result.host] == ([] if fill == 7 else ["nn.pad"])


def test_the_host_says_why() -> None:
    text = """
    pattern relu(x: int8) -> y: int8 {
      y = clip(x)
      where y.attrs.a_min >= 0.0 else "negative bound"
    }"""
    x, f = int8(), relay.var("f", shape=(2,), dtype="float32")
    outputs = [
        relay.clip(x, -1.0, 5.0),
        relay.abs(x),
        relay.exp(f),
    ]
    result = partitioned(relay.Tuple(outputs), text, x, f)
    assert not result.matches
    assert {host.op: host.reason for host in result.host} == {
        "clip": "npu.relu: negative bound",
        "abs": "in no pattern",
        "exp": "not quantized",
    }


def test_what_goes_wrong_in_a_condition_refuses_and_does_not_stop_the_pass() -> None:
    text = """
    pattern relu(x: int8) -> y: int8 {
      y = clip(x)
      where x.shape[7] == 1
    }"""
    x = int8()
    [host] = partitioned(relay.clip(x, 0.0, 5.0), text, x).host
    assert host.reason.startswith("npu.relu: IndexError")


@pytest.mark.parametrize(
    ("condition", "reason"),
    [
        ("size(x) == 4", "its shape is not known"),
        ("(y.zero_point - 9) ** 40 > 0", "a power is no whole number of 64 bits"),
        ("1 / (rank(x) - 2) > 0", "a number cannot be calculated: division by zero"),
        ("y.scale / (x.zero_point - 0) > 0", "a number cannot be calculated: divide by zero"),
    ],
)
def test_what_cannot_be_calculated_refuses_in_words(condition: str, reason: str) -> None:
    text = (
        f"pattern sum(x: int8, x2: int8) -> y: int8 {{ y = qnn.add(x, x2, ..)  where {condition} }}"
    )
    x = int8("x", relay.Any(), 4)
    total = relay.qnn.op.add(x, x, *slots((0.5, 0), (0.5, 0), (0.5, 0)))
    [host] = partitioned(total, text, x).host
    assert host.reason.startswith(f"npu.sum: {reason}")


def test_inherited_parameters_come_from_around_the_match() -> None:
    text = """
    pattern pool(x: int8) -> y: int8 { y = nn.max_pool2d(x)  inherit x }
    pattern requantize(x: int8) -> y: int8 { y = qnn.requantize(x, ..) }"""
    x = int8("x", 1, 4, 4, 2)
    pool = relay.nn.max_pool2d(x, (2, 2), layout="NHWC")
    alone = partitioned(pool, text, x)
    assert alone.matches[0].tensors["x"].scale is None
    out = relay.qnn.op.requantize(pool, *slots((0.5, 7), (1.0, 3)))
    first = partitioned(out, text, x).matches[0]
    assert first.pattern == "pool"
    for port in ("x", "y"):
        assert (first.tensors[port].scale, first.tensors[port].zero_point) == (0.5, 7)


def test_a_record_takes_no_side_where_the_module_contradicts_it() -> None:
    text = """
    pattern pad(x: int8) -> y: int8 { y = nn.pad(x, x.zero_point)  inherit x }
    pattern requantize(x: int8) -> y: int8 { y = qnn.requantize(x, ..) }"""
    x = int8("x", 1, 4)
    padded = relay.nn.pad(
        relay.qnn.op.requantize(x, *slots((0.5, 1), (0.25, 2))), [[0, 0], [1, 1]], 9.0
    )
    [_, match] = partitioned(padded, text, x).matches
    assert match.pattern == "pad"
    assert match.tensors["x"].scale is None and match.tensors["x"].zero_point is None


def test_regions_hold_every_composite() -> None:
    result = partition(MODELS / "ds_cnn_kws_int8.tflite", LIBRARY)
    before = tvm.ir.structural_hash(result.module)
    regions = result.regions()
    assert tvm.ir.structural_hash(result.module) == before
    names = [v.name_hint for v in regions.get_global_vars() if v.name_hint != "main"]
    assert names and all("tflite" in name for name in names)
    inside = [call for name in names for call in result.generated.composites(regions[name].body)]
    assert len(inside) == len(result.matches)
    assert not result.generated.composites(regions["main"].body)


@pytest.mark.parametrize(
    "name", ["op_soup_nol2_int8", "ds_cnn_kws_fp32", "ops/prelu", "ops/pack", "ops/dwconv"]
)
def test_the_json_is_what_its_schema_says(name: str) -> None:
    schema = json.loads((ROOT / "docs" / "partition.schema.json").read_text(encoding="utf-8"))
    data = partition(MODELS / f"{name}.tflite", LIBRARY).to_json()
    jsonschema.validate(data, schema)
    del data["host"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(data, schema)


@pytest.mark.parametrize("name", ["my-npu", "npu_2", "N"])
def test_annotate_target_finds_the_composites_of_an_accepted_compiler(name: str) -> None:
    assert _regions_of(name) == 1


@pytest.mark.parametrize("name", ["my.npu", "default"])
def test_a_compiler_whose_composites_annotate_target_passes_over_is_refused(name: str) -> None:
    """With the name that qpat refuses, TVM annotates nothing and says nothing."""
    with pytest.raises(QpatError, match="QP141"):
        compiled(ADD, name)
    assert _regions_of(name) == 0


def _regions_of(name: str) -> int:
    x = int8()
    out = relay.qnn.op.add(x, x, *slots(*[(0.5, 1)] * 3))
    module = relay.transform.InferType()(tvm.IRModule.from_expr(relay.Function([x], out)))
    [(composite, pattern, check)] = load(compiled(ADD)).pattern_table()
    table = [(composite.replace("npu", name, 1), pattern, check)]
    for step in (
        relay.transform.MergeComposite(table),
        relay.transform.AnnotateTarget(name),
        relay.transform.MergeCompilerRegions(),
        relay.transform.PartitionGraph(),
    ):
        module = step(module)
    return len(module.get_global_vars()) - 1


def test_the_json_is_plain_and_complete() -> None:
    result = partition(MODELS / "op_soup_nol2_int8.tflite", LIBRARY)
    text = json.dumps(result.to_json(), allow_nan=False)
    data = json.loads(text)
    assert set(data) == {"compiler", "matches", "host", "conflicts"}
    assert len(data["matches"]) == len(result.matches)
    for match, found in zip(data["matches"], result.matches, strict=True):
        assert match["composite"] == found.composite
        assert set(match) == {"composite", "op", "pattern", "form", "location", "tensors", "params"}
        for port, tensor in found.tensors.items():
            _same_tensor(match["tensors"][port], tensor)
    for host in data["host"]:
        assert set(host) == {"op", "reason", "location"} and host["reason"]


def _same_tensor(found: Any, tensor: Any) -> None:
    if tensor is None:
        assert found is None
    elif isinstance(tensor, tuple):
        for each, one in zip(found, tensor, strict=True):
            _same_tensor(each, one)
    else:
        assert set(found) == {"dtype", "shape", "input", "scale", "zero_point", "axis"}
        if tensor.scale is not None:
            # A float32 survives as the double that is equal to it.
            np.testing.assert_array_equal(np.float32(found["scale"]), tensor.scale)
            np.testing.assert_array_equal(found["zero_point"], tensor.zero_point)


def test_tracebacks_in_generated_code_show_its_lines() -> None:
    import linecache

    module = load(compiled(ADD))
    assert "pattern add" in "".join(linecache.getlines(str(module.__file__)))


def test_what_json_has_no_number_for_is_a_string() -> None:
    text = """
pattern cut(x: int8) -> y: int8 {
  y = clip(x)
  param most  = y.attrs.a_max
  param pair  = [y.attrs.a_max, y.attrs.a_min]
}"""
    found = partitioned(relay.clip(x := int8(), -4.0, float("inf")), text, x).to_json()
    params = found["matches"][0]["params"]
    assert params == {"most": "inf", "pair": ["inf", -4.0]}
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_names_of_the_forms_for_relax_are_absent() -> None:
    result = qpat.partition(MODELS / "resnet8_cifar_int8.tflite", IRS)
    assert {(each.pattern, each.form) for each in result.matches} == {
        ("conv", "integer"),
        ("sum", "integer"),
    }
    params = {each.pattern: each.params for each in result.matches}
    assert params["conv"]["exact"] is True and params["conv"]["limit"] == 2
    assert params["conv"]["b"].shape == params["conv"]["scale"].shape == (64,)
    assert params["sum"] == {"real": None, "is_swapped": False}


ABS = "pattern abs(x: int8) -> y: int8 { y = abs(x) }"
OTHER = '#[version = "0.0.5"]\ndef @other(%x: Tensor[(1, 4), int8]) { abs(%x) }'
NO_MAIN = "patterns are matched in a function `main`; this module has `other`"


def test_a_module_without_main_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.relay"
    path.write_text(OTHER, encoding="utf-8")
    for model in (path, relay.parse(OTHER)):
        with pytest.raises(QpatError) as caught:
            partition(model, compiled(ABS))
        [finding] = caught.value.diagnostics
        assert (finding.code, finding.message) == ("QP341", NO_MAIN)


def test_a_test_without_main_says_so() -> None:
    text = f'{ABS}\ntest "t" """\n{OTHER}""" {{\n  match abs\n}}'
    [outcome] = run_tests(compiled(text))
    assert [(each.code, each.message) for each in outcome.findings] == [("QP341", NO_MAIN)]
