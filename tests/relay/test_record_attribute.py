"""The attribute `qpat_record`: what it says is the record, at every stage, and C++ reads it."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relay

from qpat.compiler import compile_source
from qpat.relay.environment import relay_parser
from qpat.relay.graph import post_order
from qpat.relay.partition import Partition, partition
from qpat.relay.text import relay_text
from qpat.source import Source

ROOT = Path(__file__).parents[2]
LIBRARY = ROOT / "patterns" / "tflite.qpat"
DATA = ROOT / "tests" / "data"

each_model = pytest.mark.parametrize(
    "name",
    [
        *("tflite/ds_cnn_kws_int8.tflite", "tflite/op_soup_nol2_int8.tflite"),
        *("tflite/ds_cnn_kws_int16x8.tflite", "tflite/resnet8_cifar_uint8io.tflite"),
    ],
)


@cache
def result_of(name: str) -> Partition:
    return partition(DATA / name, LIBRARY)


def composites(module: Any) -> list[Any]:
    """The composite functions of a module, by the names of its functions."""
    names = sorted(module.get_global_vars(), key=lambda each: str(each.name_hint))
    bodies = [module[name] for name in names]
    found = [each for body in bodies for each in post_order(body, functions=True)]
    return [each for each in found if isinstance(each, relay.Function) and is_composite(each)]


def is_composite(function: Any) -> bool:
    return function.attrs is not None and "Composite" in dict(function.attrs)


# ---- reading, written by hand from docs/record.md -----------------------------------------


def plain(value: Any) -> Any:
    if isinstance(value, tvm.ir.container.Map):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, tvm.ir.container.Array):
        return [plain(each) for each in value]
    if isinstance(value, tvm.nd.NDArray):
        array = value.numpy()
        values = array.ravel().tolist()
        return {"dtype": str(array.dtype), "shape": list(array.shape), "values": values}
    if isinstance(value, tvm.tir.IntImm):
        return bool(value.value) if str(value.dtype) == "bool" else int(value.value)
    if isinstance(value, tvm.tir.FloatImm):
        assert str(value.dtype) == "float64"
        return float(value.value)
    assert isinstance(value, str), type(value)
    return str(value)


def attribute(function: Any) -> Any:
    return plain(function.attrs["qpat_record"])


def constant_at(function: Any, path: list[int]) -> Any:
    at = function.body
    for index in path:
        if isinstance(at, relay.Call):
            at = at.args[index]
        else:
            at = at.fields[index] if isinstance(at, relay.Tuple) else at.tuple_value
    assert isinstance(at, relay.Constant)
    return at.data.numpy()


def array(value: Any) -> Any:
    return np.array(value["values"], value["dtype"]).reshape(value["shape"])


def same_array(first: Any, second: Any) -> bool:
    first, second = np.asarray(first), np.asarray(second)
    alike = (first.dtype, first.shape) == (second.dtype, second.shape)
    return alike and first.tobytes() == second.tobytes()


def check_tensor(said: Any, tensor: Any, function: Any) -> None:
    assert said["dtype"] == tensor.dtype
    assert said["shape"] == [-1 if size is None else size for size in tensor.shape]
    for name in ("scale", "zero_point"):
        value = getattr(tensor, name)
        assert (name in said) == (value is not None)
        assert value is None or same_array(array(said[name]), value)
    for name in ("axis", "layout", "input"):
        assert said.get(name) == getattr(tensor, name)
    assert said.get("range") == (None if tensor.range is None else list(tensor.range))
    assert ("constant" in said) == (tensor.value is not None)
    if tensor.value is not None:
        assert same_array(constant_at(function, said["constant"]), tensor.value)


# ---- models ---------------------------------------------------------------------------------


@each_model
def test_it_says_what_the_record_says(name: str) -> None:
    matches = [match for match in result_of(name).matches if match.composite is not None]
    assert matches
    for match in matches:
        said = attribute(match.call.op)
        assert (said["version"], said["pattern"]) == (1, match.pattern)
        assert said.get("form") == match.form
        assert said["tensors"].keys() == {n for n, t in match.tensors.items() if t is not None}
        for port, tensor in match.tensors.items():
            if isinstance(tensor, tuple):
                for one, other in zip(said["tensors"][port], tensor, strict=True):
                    check_tensor(one, other, match.call.op)
            elif tensor is not None:
                check_tensor(said["tensors"][port], tensor, match.call.op)
        wanted = {k: as_plain(v) for k, v in match.params.items() if v is not None}
        assert said["params"] == wanted
        assert said["meaning"] == as_plain(match.record.meaning)


def as_plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {n: as_plain(getattr(value, n)) for n in ("op", "operands", "attributes")}
    if isinstance(value, dict):
        return {key: as_plain(each) for key, each in value.items()}
    if isinstance(value, tuple):
        return [as_plain(each) for each in value]
    if isinstance(value, np.ndarray | np.generic) and np.ndim(value) == 0:
        return value.item()
    return {} if value is None else value


@each_model
def test_it_survives_every_stage(name: str) -> None:
    result = result_of(name)
    records = [attribute(each) for each in composites(result.module)]
    assert len(records) == sum(match.op is None for match in result.matches)
    annotated = relay.transform.AnnotateTarget(result.compiler)(result.module)
    assert [attribute(each) for each in composites(annotated)] == records
    regions = result.regions()
    in_regions = [attribute(each) for each in composites(regions)]
    assert in_text(in_regions) == in_text(records)
    for module in (result.module, regions):
        before = [attribute(each) for each in composites(module)]
        for again in (
            tvm.ir.load_json(tvm.ir.save_json(module)),
            relay_parser().parse(relay_text(module)),
        ):
            found = composites(again)
            assert [attribute(each) for each in found] == before
            for function in found:
                check_constants(function)


def in_text(records: list[Any]) -> list[str]:
    """Partitioning moves composites into functions, and so changes their order."""
    return sorted(json.dumps(each, sort_keys=True) for each in records)


def check_constants(function: Any) -> None:
    for tensor in attribute(function)["tensors"].values():
        if isinstance(tensor, dict) and "constant" in tensor:
            value = constant_at(function, tensor["constant"])
            assert (str(value.dtype), list(value.shape)) == (tensor["dtype"], tensor["shape"])


@each_model
def test_what_was_inherited_is_in_it(name: str) -> None:
    """A composite's body alone does not know it."""
    result = result_of(name)
    inherited = 0
    for function in composites(result.module):
        try:
            alone = result.generated.extract(function)
        except ValueError as error:
            assert "extract() needs the call" in str(error)
            continue
        for port, said in attribute(function)["tensors"].items():
            tensor = getattr(alone, port, None)
            if isinstance(said, dict) and "scale" in said and tensor.scale is None:
                inherited += 1
    assert inherited or "int16" in name or "ds_cnn" in name


# ---- what a record can hold -------------------------------------------------------------------


def partitioned(body: Any, text: str) -> Partition:
    module = tvm.IRModule.from_expr(relay.Function(relay.analysis.free_vars(body), body))
    return partition(module, compile_source(Source("npu.qpat", f'compiler "npu"\n{text}')))


def dense(weights: Any) -> Any:
    def slot(value: Any, dtype: str) -> Any:
        return relay.const(np.array(value, dtype))

    x = relay.var("x", shape=(2, weights.shape[1]), dtype="int8")
    acc = relay.qnn.op.dense(
        *(x, relay.const(weights), slot(0, "int32"), slot(0, "int32")),
        *(slot(0.5, "float32"), slot(0.25, "float32")),
        units=weights.shape[0],
    )
    numbers = slot(0.125, "float32"), slot(0, "int32"), slot(1, "float32"), slot(3, "int32")
    return relay.qnn.op.requantize(acc, *numbers, out_dtype="int8")


DENSE = """pattern dense(x: int8, w: int8) -> y: int8 {
  y = qnn.requantize(qnn.dense(x, const w, ..), ..)
  param weights = w.value
  param sums = sum(w.value)
  param few = w.value - 1
  param list = [1, -2.5, "text", true]
  param nothing = none
  param at = (1, none)
  param multiplier, shift = fixed_point(x.scale * w.scale / y.scale)
}"""


def test_parameters_of_all_kinds_and_large_constants_are_referred_to() -> None:
    weights = np.arange(128, dtype="int8").reshape(4, 32)
    result = partitioned(dense(weights), DENSE)
    [function] = composites(result.module)
    params = attribute(function)["params"]
    assert params["weights"] == {"value_of": "w"}
    assert params["sums"] == int(weights.astype("int64").sum())
    np.testing.assert_array_equal(array(params["few"]), weights.astype("int64") - 1)
    assert params["list"] == [1, -2.5, "text", True]
    assert "nothing" not in params
    assert params["at"] == [1, {}]
    assert (params["multiplier"], params["shift"]) == (1 << 30, -2)


def test_a_constant_that_is_an_argument_of_the_composite_is_said_as_that() -> None:
    text = "pattern add(x: int8, c: int8) -> y: int8 { y = qnn.add(x, c, ..) }"
    x = relay.var("x", shape=(1, 4), dtype="int8")
    slots = [relay.const(v) for _ in range(3) for v in (np.float32(0.5), np.int32(1))]
    body = relay.qnn.op.add(x, relay.const(np.ones((1, 4), "int8")), *slots)
    [function] = composites(partitioned(body, text).module)
    said = attribute(function)["tensors"]["c"]
    assert "constant" in said or "input" in said
    if "constant" in said:
        np.testing.assert_array_equal(constant_at(function, said["constant"]), np.ones((1, 4)))


def test_two_calls_of_one_function_have_records_of_their_own() -> None:
    """What is inherited differs, so the function does."""
    text = "pattern pool(x: int8) -> y: int8 { y = nn.max_pool2d(x, pool_size=[2, 2])  inherit x }"
    generated = partitioned(
        relay.nn.max_pool2d(relay.var("x", shape=(1, 1, 4, 4), dtype="int8"), (2, 2)), text
    )
    function = composites(generated.module)[0]
    plain_function = relay.Function(function.params, function.body).with_attr(
        "Composite", "npu.pool"
    )
    x = relay.var("x", shape=(1, 1, 4, 4), dtype="float32")
    calls = [
        relay.Call(
            plain_function,
            [relay.qnn.op.quantize(x, relay.const(np.float32(s)), relay.const(np.int32(0)))],
        )
        for s in (0.5, 0.25)
    ]
    module = tvm.IRModule.from_expr(relay.Function([x], relay.Tuple(calls)))
    module = relay.transform.InferType()(module)
    from qpat.relay.quantization import analysed

    made = generated.generated.annotate(module, analysed(module).of)
    scales = [attribute(call.op)["tensors"]["x"]["scale"] for call in made["main"].body.fields]
    assert [each["values"] for each in scales] == [[0.5], [0.25]]
    assert "qpat_record" not in str(module["main"].body.fields[0].op.attrs)


def test_a_parameter_that_has_no_place_in_an_attribute_is_named() -> None:
    from qpat.relay.loading import load

    module = load(compile_source(Source("npu.qpat", f'compiler "npu"\n{DENSE}')))
    with pytest.raises(ValueError, match="which no attribute can hold"):
        module.encoded(1 << 64)
    with pytest.raises(ValueError, match="which no attribute can hold"):
        module.encoded((object(),))


# ---- C++ ----------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def read_record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example, compiled against the headers and the library of the TVM that is installed."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("there is no g++")
    home = Path(tvm.__path__[0])
    program = tmp_path_factory.mktemp("read_record") / "read_record"
    script = ROOT / "examples" / "read_record" / "build"
    done = subprocess.run([script, home, program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return program


@each_model
def test_a_program_in_cpp_reads_every_record(name: str, read_record: Path, tmp_path: Path) -> None:
    result = result_of(name)
    for module in (result.module, result.regions()):
        path = tmp_path / "module.json"
        path.write_text(tvm.ir.save_json(module), encoding="utf-8")
        done = subprocess.run([read_record, path], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        found = [json.loads(line) for line in done.stdout.splitlines()]
        functions = composites(module)
        names = [str(each.attrs["Composite"]) for each in functions]
        assert sorted(each["composite"] for each in found) == sorted(names)
        assert in_text([each["record"] for each in found]) == in_text(
            [attribute(each) for each in functions]
        )
        for each in found:
            for port, values in each["constants"].items():
                tensor = each["record"]["tensors"][port]
                assert values["dtype"] == tensor["dtype"]
                assert len(values["values"]) == np.prod(tensor["shape"])


def test_what_a_meaning_calculates_is_plain_too() -> None:
    """Numbers and lists, as in params."""
    text = """pattern pool(x: int8) -> y: int8 {
      p = nn.max_pool2d(x)
      y = clip(p)
      let more = p.attrs.padding + 1
      let most = y.attrs.a_max / 4
      meaning y = clip(nn.max_pool2d(x, like=p, padding=more), 0, most)
    }"""
    x = relay.var("x", shape=(1, 1, 4, 4), dtype="int8")
    body = relay.clip(relay.nn.max_pool2d(x, (2, 2), padding=(1, 1)), 0, 6)
    [match] = partitioned(body, text).matches
    meaning = match.record.meaning
    assert meaning.attributes == {"a_min": 0, "a_max": 1.5}
    padding = meaning.operands[0].attributes["padding"]
    assert padding == (2, 2, 2, 2)
    assert {type(each) for each in (*padding, *meaning.attributes.values())} == {int, float}
