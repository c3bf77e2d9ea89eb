"""relay_text: TVM reads back the same module; what cannot be written is named."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tvm
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from tvm import relay
from tvm.relay.dataflow_pattern import is_constant, is_op, wildcard

from qpat.diagnostics import Diagnostic, QpatError
from qpat.relay.graph import post_order, shallow_copy
from qpat.relay.text import relay_text
from tests.models import IMPORTABLE, TFLITE_NETWORKS

Expr = Any
Model = Callable[[str], Any]

# Parsing and comparing takes as long as it takes.
unhurried = settings(deadline=None, max_examples=60)


def var(name: str, *shape: int, dtype: str = "int8") -> Expr:
    return relay.var(name, shape=shape, dtype=dtype)


def typed(body: Expr, *params: Expr) -> Any:
    function = relay.Function(list(params or relay.analysis.free_vars(body)), body)
    return relay.transform.InferType()(tvm.IRModule.from_expr(function))


def survives(module: Any) -> Any:
    """The module that TVM reads from the text of this one, which is the same."""
    before, names = tvm.ir.structural_hash(module), names_of(module)
    text = relay_text(module)
    assert (tvm.ir.structural_hash(module), names_of(module)) == (before, names)
    read = relay.parse(text)
    tvm.ir.assert_structural_equal(read, relay.transform.InferType()(shallow_copy(module)))
    return read


def names_of(module: Any) -> list[str]:
    nodes = [node for f in module.functions.values() for node in post_order(f, functions=True)]
    return [str(node.name_hint) for node in nodes if isinstance(node, relay.Var)]


def refusal(module: Any) -> Diagnostic:
    with pytest.raises(QpatError) as caught:
        relay_text(module)
    (finding,) = caught.value.diagnostics
    assert finding.code == "QP320"
    assert "\n" not in finding.message
    return finding


# ---- whole models ----


@pytest.mark.parametrize("name", IMPORTABLE)
def test_models(name: str, model: Model, capfd: pytest.CaptureFixture[str]) -> None:
    survives(model(name))
    assert capfd.readouterr() == ("", "")


def _table() -> list[tuple[str, Any]]:
    def sandwich(name: str) -> Any:
        real = is_op(name)(is_op("qnn.dequantize")(wildcard(), is_constant(), is_constant()))
        return is_op("qnn.quantize")(real, is_constant(), is_constant())

    constants = [is_constant() for _ in range(5)]
    conv = is_op("qnn.conv2d")(wildcard(), *constants)
    sum_ = is_op("nn.bias_add")(conv, is_constant())
    out = is_op("qnn.requantize")(sum_, *constants[:4])
    return [
        ("my-npu.conv2d", out.optional(is_op("clip"))),
        ("my-npu.dense", is_op("qnn.dense")(wildcard(), *constants)),
        ("my-npu.leaky_relu", sandwich("nn.leaky_relu")),
        ("my-npu.sigmoid", sandwich("sigmoid")),
        ("my-npu.softmax", sandwich("nn.softmax")),
    ]


def merged(module: Any) -> Any:
    passes = [relay.transform.MergeComposite(_table()), relay.transform.InferType()]
    return tvm.transform.Sequential(passes)(module)


def partitioned(module: Any) -> Any:
    passes = [
        relay.transform.AnnotateTarget("my-npu"),
        relay.transform.MergeCompilerRegions(),
        relay.transform.PartitionGraph(),
        relay.transform.InferType(),
    ]
    return tvm.transform.Sequential(passes)(module)


@pytest.mark.parametrize("name", TFLITE_NETWORKS)
def test_composites_and_regions(name: str, model: Model) -> None:
    composites = merged(model(name))
    survives(composites)
    regions = partitioned(composites)
    read = survives(regions)
    assert len(read.functions) == len(regions.functions)
    if "int8" in name or "uint8" in name:
        assert '"my-npu.' in relay_text(composites)
        assert 'Compiler="my-npu"' in relay_text(regions)


def test_inputs_are_called_alike_in_all_texts(model: Model) -> None:
    module = model("tflite/unet_64_int8.tflite")
    (name,) = [str(parameter.name_hint) for parameter in module["main"].params]
    assert ":" in name
    composites = merged(module)
    for stage in (module, composites, partitioned(composites)):
        assert f"def @main(%{name.replace(':', '_')}: Tensor" in relay_text(stage)


def test_same_text_each_time(model: Model) -> None:
    module = partitioned(merged(model("tflite/op_soup_nol2_int8.tflite")))
    assert relay_text(module) == relay_text(module)


def test_text_of_a_read_text_is_that_text(model: Model) -> None:
    text = relay_text(model("tflite/op_soup_nol2_int8.tflite"))
    again = relay_text(relay.parse(text))
    assert _without_names(again) == _without_names(text)


def _without_names(text: str) -> str:
    """Without the frontend's names, which a text that is read does not have; nor its tensors do."""
    return re.sub(r" span=[^*]* \*/", " */", text).partition("#[metadata]")[0]


# ---- names ----


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("x", "x"),
        ("a/b_1", "a/b_1"),
        ("True", "True"),
        ("x:0", "x_0"),
        ("two words", "two_words"),
        ("größe", "gr__e"),
        ("let", "let_"),
        ("ref_read", "ref_read_"),
        ("inff", "vinff"),
        ("", "v"),
        ("_x", "v_x"),
        ("1:0", "v1_0"),
        ("%x", "v_x"),
        ("a*/b", "a_/b"),
    ],
)
def test_names(name: str, written: str) -> None:
    (parameter,) = survives(typed(relay.nn.relu(var(name, 2))))["main"].params
    assert parameter.name_hint == written


def test_names_that_would_be_one() -> None:
    names = ["a:0", "a_0", "a 0", "a_0_"]
    variables = [var(name, 2) for name in names]
    read = survives(typed(relay.Tuple(variables), *variables))
    written = [str(parameter.name_hint) for parameter in read["main"].params]
    assert written == ["a_0__", "a_0", "a_0___", "a_0_"]


identifiers = st.from_regex(r"[a-z][a-z_/0-9]{0,6}", fullmatch=True)
any_name = st.one_of(identifiers, st.text(max_size=6), st.sampled_from(["let", "if", "inff", "fn"]))


@unhurried
@given(st.lists(any_name, min_size=1, max_size=4), any_name, any_name)
def test_any_names(parameters: list[str], bound: str, inner: str) -> None:
    variables = [var(name, 2) for name in parameters]
    y, z = var(inner, 2), var(bound, 2)
    called = relay.Call(relay.Function([y], relay.nn.relu(y)), [variables[0]])
    body = relay.Let(z, called, relay.Tuple([z, *variables]))
    read = survives(typed(body, *variables))
    written = [str(parameter.name_hint) for parameter in read["main"].params]
    assert len(set(written)) == len(written)
    names = [*parameters, bound, inner]
    if len(set(names)) < len(names):
        return
    keywords = r"let|fn|def|if|else|type|match|extern|free_var|ref|ref_read|ref_write|inff.*"
    for name, new in zip(parameters, written, strict=True):
        if re.fullmatch(r"[A-Za-z][A-Za-z0-9_/]*", name) and not re.fullmatch(keywords, name):
            assert new == name


# ---- numbers ----

FLOATS = ("float16", "float32", "float64")
INTEGERS = ("bool", *(f"{sign}int{width}" for sign in ("", "u") for width in (8, 16, 32, 64)))


@unhurried
@given(st.sampled_from(FLOATS + INTEGERS).flatmap(lambda dtype: arrays.arrays(dtype, ())))
def test_any_scalar(value: Any) -> None:
    constants = [relay.Constant(tvm.nd.array(value)) for _ in range(2)]
    read = survives(typed(relay.Tuple(constants)))
    for constant in read["main"].body.fields:
        assert constant.data.dtype == str(value.dtype)
        assert constant.data.numpy().tobytes() == value.tobytes()


@pytest.mark.parametrize("dtype", FLOATS)
def test_corners_of_floats(dtype: str) -> None:
    about = np.finfo(dtype)
    corners = [about.max, about.min, about.tiny, about.smallest_subnormal, -0.0, 1 / 3]
    values = [np.array(value, dtype) for value in (*corners, np.nan, np.inf, -np.inf)]
    constants = [relay.Constant(tvm.nd.array(value)) for value in values]
    read = survives(typed(relay.Tuple(constants)))
    for constant, value in zip(read["main"].body.fields, values, strict=True):
        assert constant.data.numpy().tobytes() == value.tobytes()


def test_tvms_own_text_changes_scales() -> None:
    # The reason for writing numbers ourselves: should this fail, there is none any more.
    module = typed(relay.multiply(var("x", 2, dtype="float32"), relay.const(1 / 3)))
    assert not tvm.ir.structural_equal(relay.parse(module.astext()), module)
    assert "0.33333334f" in relay_text(module)


def test_small_numbers_stay_readable() -> None:
    text = relay_text(typed(relay.multiply(var("x", 2, dtype="float32"), relay.const(0.5))))
    assert "multiply(%x, 0.5f) /* ty=Tensor[(2), float32] */" in text


@unhurried
@given(st.floats(width=32, allow_nan=False), st.floats(allow_nan=False))
def test_any_floating_point_attribute(alpha: float, a_min: float) -> None:
    x = var("x", 2, dtype="float32")
    body = relay.clip(relay.nn.leaky_relu(x, alpha), a_min, 1 / 3)
    read = survives(typed(body))["main"].body
    assert (read.args[0].attrs.alpha, read.attrs.a_min, read.attrs.a_max) == (alpha, a_min, 1 / 3)


def test_attributes_are_written_where_they_can_be() -> None:
    x = var("x", 2, dtype="float32")
    text = relay_text(typed(relay.clip(relay.nn.leaky_relu(x, 1 / 3), -0.1, 6.0)))
    assert "nn.leaky_relu(%x, alpha=0.3333333333333333f)" in text
    assert "a_min=-0.1f, a_max=6f)" in text
    assert "metadata" not in text


# ---- attributes of calls and functions ----


def test_attributes_of_calls() -> None:
    x = var("x", 1, 4, 4, 2)
    body = relay.nn.pad(x, ((0, 0), (1, 1), (1, 2), (0, 0)), relay.const(-3, "int8"))
    body = relay.cast(body, "uint8")
    body = relay.sum(body, axis=None)
    survives(typed(relay.Tuple([body, relay.split(x, (1, 3), axis=1)[2]])))


# TVM ends a string where there is a zero.
text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
plain = st.one_of(
    text,
    st.integers(-(2**31), 2**31 - 1),
    st.booleans(),
    st.floats(allow_nan=False).map(lambda value: tvm.tir.FloatImm("float64", value)),
    st.floats(width=32, allow_nan=False).map(lambda value: tvm.tir.FloatImm("float32", value)),
    st.integers(0, 1).map(lambda value: tvm.tir.IntImm("bool", value)),
    st.integers(-(2**63), 2**63 - 1).map(lambda value: tvm.tir.IntImm("int64", value)),
)
values = st.recursive(
    plain,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(text, inner, max_size=3)),
    max_leaves=6,
)


@unhurried
@given(st.dictionaries(st.from_regex("[a-z][a-z_]{0,5}x", fullmatch=True), values, max_size=6))
def test_any_attributes_of_functions(attributes: dict[str, Any]) -> None:
    x, y = var("x", 2), var("y", 2)
    inner = relay.Function([y], relay.nn.relu(y))
    outer = relay.Function(
        [x], relay.Call(inner.with_attr(attributes) if attributes else inner, [x])
    )
    outer = outer.with_attr(attributes) if attributes else outer
    survives(relay.transform.InferType()(tvm.IRModule.from_expr(outer)))


def with_attributes(**attributes: Any) -> Any:
    x = var("x", 2)
    function = relay.Function([x], relay.nn.relu(x))
    return tvm.IRModule.from_expr(function.with_attr(attributes))


def test_record_of_a_composite() -> None:
    record = {"scale": tvm.tir.FloatImm("float32", 0.1), "name": 'a "quoted" \\ word', "of": [1, 2]}
    tensor = tvm.nd.array(np.arange(3))
    module = with_attributes(Composite="npu.op", **{"qpat.record": record, "qpat.lut": tensor})
    read = survives(module)["main"].attrs
    assert read["qpat.record"]["name"] == 'a "quoted" \\ word'
    assert read["qpat.lut"].numpy().tolist() == [0, 1, 2]


@pytest.mark.parametrize("text", ['"', "\\", "a\nb", "größe", "meta[Map][0]", "*/", "/*@0*/", "%x"])
def test_strings_beside_tensors(text: str) -> None:
    x = var("x", 3)
    function = relay.Function([x], relay.add(x, relay.const(np.arange(3, dtype="int8"))))
    module = tvm.IRModule.from_expr(function.with_attr({"text": text, "map": {"text": text}}))
    assert survives(module)["main"].attrs["text"] == text


# ---- comments ----


@pytest.mark.parametrize("name", ["a*/b", "/*", "*", "a/", "a\nb", "größe", "x:0;y"])
def test_names_of_results_do_not_end_comments(name: str) -> None:
    x = var("x", 2)
    span = relay.Span(tvm.ir.SourceName(name), 0, 0, 0, 0)
    call = relay.Call(tvm.ir.Op.get("nn.relu"), [x], span=span)
    module = typed(relay.Call(tvm.ir.Op.get("nn.relu"), [call], span=span))
    survives(module)
    assert (f"span={name}" in relay_text(module)) == (name not in ("a*/b", "/*", "*", "a\nb"))


def test_types_and_results_are_in_comments(model: Model) -> None:
    lines = relay_text(model("tflite/ops/sigmoid.tflite")).splitlines()
    assert lines[:2] == [
        '#[version = "0.0.5"]',
        "def @main(%serving_default_x_0: Tensor[(1, 8, 8, 6), int8], "
        'output_tensor_names=["PartitionedCall_0"]) -> Tensor[(1, 8, 8, 6), int8] {',
    ]
    assert lines[3].endswith(" /* ty=Tensor[(1, 8, 8, 6), float32] span=PartitionedCall:0 */;")


# ---- modules of all kinds ----


def test_without_types() -> None:
    x = var("x", 2)
    module = tvm.IRModule.from_expr(relay.Function([x], relay.nn.relu(x)))
    survives(module)
    assert module["main"]._checked_type_ is None


def test_all_kinds_of_nodes() -> None:
    source = """#[version = "0.0.5"]
    type L { Nil, Cons(int8, L), }
    def @main(%x: int8, %c: bool, %l: L) -> int8 {
      let %f = fn (%y: int8) -> int8 { nn.relu(%y) };
      let %t = (%x, add(%x, %x));
      if (%c) { match (%l) { Nil => { %x }, Cons(%h, _) => { %h }, } } else { @other(%f(%t.1)) }
    }
    def @other(%z: int8) -> int8 { %z }
    """
    survives(relay.parse(source))


def test_dynamic_shapes() -> None:
    survives(typed(relay.nn.relu(relay.var("x", shape=(relay.Any(), 2), dtype="int8"))))


def test_deep_modules() -> None:
    x = value = var("x:0", 2)
    for index in range(3000):
        value = relay.add(value, x) if index % 2 else relay.nn.relu(value)
    survives(typed(value))


# ---- what cannot be written ----


@pytest.mark.parametrize("name", ["my.function", "two words", "let", "inff", "0x", "größe"])
def test_name_of_a_global_function(name: str) -> None:
    x = var("x", 2)
    module = tvm.IRModule({relay.GlobalVar(name): relay.Function([x], relay.nn.relu(x))})
    assert f"the name of function `{name}` is no identifier" in refusal(module).message


@pytest.mark.parametrize("key", ["two words", "let", "", "a..b", "größe"])
def test_name_of_an_attribute(key: str) -> None:
    message = refusal(with_attributes(Composite="x", **{key: 1})).message
    assert f"attribute `{key}` of a function in `main` is no identifier" in message


def test_name_of_an_attribute_within() -> None:
    x, y = var("x", 2), var("y", 2)
    inner = relay.Function([y], relay.nn.relu(y)).with_attr("no name", 1)
    module = typed(relay.Call(inner, [x]))
    assert "attribute `no name` of a function in `main`" in refusal(module).message


def test_first_attribute_with_a_dot() -> None:
    message = refusal(with_attributes(**{"qpat.record": 1})).message
    assert "attribute `qpat.record` of a function in `main` comes first and has a dot" in message


def test_attributes_of_the_module() -> None:
    x = var("x", 2)
    module = tvm.IRModule.from_expr(relay.Function([x], relay.nn.relu(x)))
    module = module.with_attr("executor", tvm.runtime.convert("aot"))
    finding = refusal(module)
    assert "attribute `executor` of the module" in finding.message
    assert finding.hint == "TVM's own JSON can hold it: tvm.ir.save_json(module)"


def test_functions_that_are_not_relays() -> None:
    a = tvm.tir.decl_buffer((1,), name="a")
    function = tvm.tir.PrimFunc([a.data], tvm.tir.Evaluate(0))
    module = tvm.IRModule({"lowered": function})
    assert "`lowered` is no Relay function but a PrimFunc" in refusal(module).message


def test_type_that_has_no_text() -> None:
    x, r = var("x"), relay.Var("r")
    module = typed(relay.Let(r, relay.RefCreate(x), relay.RefRead(r)), x)
    assert "TVM does not read it back: " in refusal(module).message


def test_map_that_tvm_cannot_keep() -> None:
    # In TVM's JSON both keys are the empty string.
    message = refusal(with_attributes(map={"": 1, "\0": 2})).message
    assert message.endswith(": TVM reads back another module")


def test_types_that_do_not_fit(capfd: pytest.CaptureFixture[str]) -> None:
    body = relay.add(var("x", 2), var("y", 3))
    module = tvm.IRModule.from_expr(relay.Function(relay.analysis.free_vars(body), body))
    assert "its types cannot be inferred: " in refusal(module).message
    assert capfd.readouterr() == ("", "")
