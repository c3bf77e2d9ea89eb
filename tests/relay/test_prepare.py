"""prepare: parameters, types and constants, against TVM; and the walk over graphs below it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
import tvm
from tvm import relay

from qpat.diagnostics import Diagnostic, QpatError
from qpat.ops.roles import roles
from qpat.ops.table import operator
from qpat.relay.graph import post_order, rewrite, shallow_copy
from qpat.relay.importing import ImportedModel
from qpat.relay.prepare import prepare
from tests.models import DATA, IMPORTABLE, ONNX, TFLITE

Import = Callable[[str], ImportedModel]
Expr = Any


def var(name: str, *shape: Any, dtype: str = "int8") -> Expr:
    return relay.var(name, shape=shape, dtype=dtype)


def constant(*shape: int, dtype: str = "int8") -> Expr:
    return relay.const(np.ones(shape, dtype))


def module_of(body: Expr, *params: Expr) -> Any:
    return tvm.IRModule.from_expr(
        relay.Function(list(params or relay.analysis.free_vars(body)), body)
    )


def finding_of(*arguments: Any) -> Diagnostic:
    with pytest.raises(QpatError) as caught:
        prepare(*arguments)
    (finding,) = caught.value.diagnostics
    assert "\n" not in finding.message
    return finding


def steps(module: Any, params: Any = None) -> list[str]:
    said: list[str] = []
    prepare(module, params, said.append)
    return said


def slots(function: Expr) -> list[Expr]:
    """All operands that are a scale or zero point, fields of tuples one by one."""
    found = []
    for call in post_order(function):
        if not isinstance(call, relay.Call):
            continue
        operands = operator(call.op.name).operands
        for operand, value in zip(operands, call.args, strict=True):
            if roles(call.op.name).slot(operand.name) is not None:
                found += list(value.fields) if isinstance(value, relay.Tuple) else [value]
    return found


# ---- whole models ----


@pytest.mark.parametrize("name", IMPORTABLE)
def test_models(name: str, imported: Import, model: Callable[[str], Any]) -> None:
    source, params = imported(name).module, imported(name).params
    before = tvm.ir.structural_hash(source)
    said = steps(source, params)
    assert tvm.ir.structural_hash(source) == before
    function = relay.build_module.bind_params_by_name(source["main"], params)
    expected = relay.transform.InferType()(tvm.IRModule.from_expr(function))
    assert tvm.ir.structural_equal(model(name), expected)
    assert "folding constants" not in said
    names = [parameter.name_hint for parameter in source["main"].params]
    left = [parameter.name_hint for parameter in model(name)["main"].params]
    assert left == [key for key in names if key not in params]


@pytest.mark.parametrize("name", TFLITE)
def test_scales_and_zero_points_are_constants(name: str, model: Callable[[str], Any]) -> None:
    assert all(isinstance(value, relay.Constant) for value in slots(model(name)["main"]))


def test_models_have_scales(model: Callable[[str], Any]) -> None:
    # The test above would hold for none.
    assert len(slots(model("tflite/ds_cnn_kws_int8.tflite")["main"])) == 84


def test_onnx_without_frozen_parameters(model: Callable[[str], Any]) -> None:
    graph = onnx.load(str(DATA / ONNX[2]))
    module, params = relay.frontend.from_onnx(graph, freeze_params=False)
    bound = relay.build_module.bind_params_by_name(module["main"], params)
    assert not all(isinstance(value, relay.Constant) for value in slots(bound))
    said: list[str] = []
    prepared = prepare(module, params, said.append)
    assert said == ["binding parameters", "inferring types", "folding constants"]
    assert all(isinstance(value, relay.Constant) for value in slots(prepared["main"]))
    assert tvm.ir.structural_equal(prepared["main"].body, model(ONNX[2])["main"].body, True)


# ---- when constants are folded ----


def conv(weight: Expr, scale: Expr | None = None) -> Expr:
    zero, one = relay.const(0), relay.const(1.0)
    return relay.qnn.op.conv2d(
        var("x", 1, 2, 8, 8), weight, zero, zero, scale or one, one, (3, 3), 4, padding=(1, 1)
    )


def test_weight_behind_a_transpose_is_folded() -> None:
    weight = relay.transpose(constant(3, 3, 2, 4), (3, 2, 0, 1))
    prepared = prepare(module_of(conv(weight)))
    folded = prepared["main"].body.args[1]
    assert isinstance(folded, relay.Constant)
    assert folded.checked_type == relay.TensorType((4, 2, 3, 3), "int8")


def test_bias_behind_a_cast_is_folded() -> None:
    bias = relay.cast(constant(4, dtype="int16"), "int32")
    prepared = prepare(module_of(relay.nn.bias_add(conv(constant(4, 2, 3, 3)), bias)))
    assert isinstance(prepared["main"].body.args[1], relay.Constant)


def test_scale_that_is_a_product_is_folded() -> None:
    scale = relay.const(0.5) * relay.const(0.5)
    prepared = prepare(module_of(conv(constant(4, 2, 3, 3), scale)))
    assert prepared["main"].body.args[4].data.numpy() == 0.25


def test_scale_in_a_tuple_is_folded() -> None:
    x, y = var("x", 2), var("y", 2)
    scales = relay.Tuple([relay.const(0.5), relay.const(0.5) * relay.const(0.5)])
    zeros = relay.Tuple([relay.const(0), relay.const(0)])
    joined = relay.qnn.op.concatenate(
        relay.Tuple([x, y]), scales, zeros, relay.const(0.5), relay.const(0), 0
    )
    assert all(isinstance(v, relay.Constant) for v in slots(prepare(module_of(joined))["main"]))


def test_quantized_weights_stay_quantized() -> None:
    weight = relay.qnn.op.dequantize(constant(4, 2, 3, 3), relay.const(0.5), relay.const(0))
    body = relay.nn.conv2d(var("x", 1, 2, 8, 8, dtype="float32"), weight, padding=(1, 1))
    assert steps(module_of(body)) == ["inferring types"]
    # Nor where folding is done for something else.
    added = relay.nn.bias_add(body, relay.cast(constant(4, dtype="int32"), "float32"))
    prepared = prepare(module_of(added))
    assert isinstance(prepared["main"].body.args[1], relay.Constant)
    assert prepared["main"].body.args[0].args[1].op.name == "qnn.dequantize"


@pytest.mark.parametrize(
    "body",
    [
        # Depends on the input.
        conv(constant(4, 2, 3, 3), relay.max(var("s", 3, dtype="float32"))),
        # No parameter of an operator.
        relay.add(var("x", 3), relay.reverse(constant(3), 0)),
        conv(constant(4, 2, 3, 3)),
    ],
    ids=["dynamic", "operand", "plain"],
)
def test_nothing_is_folded(body: Expr) -> None:
    assert steps(module_of(body)) == ["inferring types"]
    typed = relay.transform.InferType()(module_of(body))
    assert tvm.ir.structural_equal(prepare(module_of(body)), typed)


def test_constants_in_functions_within_are_folded() -> None:
    x = var("y", 3)
    inner = relay.Function(
        [x], relay.qnn.op.dequantize(x, relay.sqrt(relay.const(4.0)), relay.const(0))
    )
    prepared = prepare(module_of(relay.Call(inner, [var("x", 3)])))
    assert prepared["main"].body.op.body.args[1].data.numpy() == 2


# ---- parameters ----


def test_parameters_may_be_numpy_arrays_and_have_other_names() -> None:
    module = module_of(relay.add(var("x", 2), var("w", 2)))
    params = {"w": np.array([3, 4], "int8"), "nobody": np.zeros(7)}
    (parameter,) = prepare(module, params)["main"].params
    assert parameter.name_hint == "x"
    bound = prepare(module, {**params, "w": tvm.nd.array(params["w"])})
    assert bound["main"].body.args[1].data.numpy().tolist() == [3, 4]
    assert len(module["main"].params) == 2
    assert module["main"]._checked_type_ is None


def test_function_keeps_its_attributes() -> None:
    module = module_of(relay.add(var("x", 2), var("w", 2)))
    module["main"] = module["main"].with_attr("Compiler", "npu")
    prepared = prepare(module, {"w": np.array([3, 4], "int8")})
    assert prepared["main"].attrs["Compiler"] == "npu"


@pytest.mark.parametrize(
    ("module", "params", "code", "said"),
    [
        (tvm.IRModule(), {"w": np.zeros(2)}, "QP340", "this module has none"),
        (
            tvm.IRModule({"other": relay.Function([], constant(1))}),
            {"w": np.zeros(2)},
            "QP340",
            "this module has `other`",
        ),
        (
            module_of(relay.add(var("w", 2), var("w", 2))),
            {"w": np.zeros(2, "int8")},
            "QP340",
            "two parameters of `main` are called `w`",
        ),
        (
            module_of(relay.add(var("x", 2), var("w", 2))),
            {"w": object()},
            "QP340",
            "parameter `w` is no array but a object",
        ),
        (
            module_of(relay.add(var("x", 2), var("w", 2))),
            {"w": np.zeros(2, "float32")},
            "QP341",
            "InferType refuses this module: data types int8 and float32 do not match",
        ),
        (module_of(relay.add(var("x", 2), var("w", 3))), {}, "QP341", "InferType refuses"),
    ],
)
def test_refused(
    module: Any, params: Any, code: str, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    finding = finding_of(module, params)
    assert (finding.code, said in finding.message) == (code, True), finding.message
    assert capfd.readouterr() == ("", "")


# ---- modules of all kinds ----


def test_several_functions() -> None:
    y = var("y", 2)
    # TVM wants the type that a global function gives to be written.
    other = relay.Function([y], relay.nn.relu(y), y.type_annotation)
    x = var("x", 2)
    name = relay.GlobalVar("other")
    module = tvm.IRModule({name: other, "main": relay.Function([x], name(x))})
    prepared = prepare(module)
    assert prepared["main"].ret_type == relay.TensorType([2], "int8")
    assert prepared["other"].body.checked_type == relay.TensorType([2], "int8")


def test_no_main() -> None:
    y = var("y", 2)
    module = tvm.IRModule({"other": relay.Function([y], relay.nn.relu(y))})
    assert prepare(module)["other"].ret_type == relay.TensorType([2], "int8")


def test_dynamic_shapes() -> None:
    prepared = prepare(module_of(relay.nn.relu(var("x", relay.Any(), 3))))
    assert str(prepared["main"].ret_type) == "Tensor[(?, 3), int8]"


def test_type_definitions_and_attributes_of_the_module_stay() -> None:
    module = module_of(relay.nn.relu(var("x", 2)))
    module.import_from_std("prelude.rly")
    module = module.with_attr("told", tvm.runtime.convert('a "word"'))
    module = module.with_attr("number", tvm.runtime.convert(1))
    prepared = prepare(module)
    assert len(prepared.type_definitions) == len(module.type_definitions) > 0
    assert dict(prepared.attrs.items()) == {"told": 'a "word"', "number": 1}


def test_callers_module_may_be_changed_afterwards() -> None:
    module = module_of(relay.nn.relu(var("x", 2)))
    copy = shallow_copy(module)
    copy["more"] = module["main"]
    relay.qnn.transform.CanonicalizeOps()(copy)
    assert [str(name.name_hint) for name in module.get_global_vars()] == ["main"]


# ---- walking and rebuilding ----


def chain(length: int) -> Expr:
    x = value = var("x", 1)
    for index in range(length):
        value = relay.add(value, x) if index % 2 else relay.nn.relu(value)
    return relay.Function([x], value)


def test_deep_graphs() -> None:
    # TVM's own post_order_visit ends the process here.
    assert len(post_order(chain(60_000))) == 60_002
    assert len(post_order(prepare(module_of(chain(5_000).body))["main"])) == 5_002
    deep = chain(5_000)
    assert tvm.ir.structural_equal(rewrite(deep, lambda old, new: new), deep)


def test_order_is_tvms(model: Callable[[str], Any]) -> None:
    for name in ("tflite/op_soup_nol2_int8.tflite", "tflite/lstm_unrolled_int8.tflite"):
        visited: list[Expr] = []
        function = model(name)["main"]
        relay.analysis.post_order_visit(function, visited.append)
        expected = [node for node in visited if not isinstance(node, tvm.ir.Op)]
        found = post_order(function)
        assert len(found) == len(expected)
        assert all(left.same_as(right) for left, right in zip(found, expected, strict=True))


def test_functions_are_entered_where_asked() -> None:
    y = var("y", 2)
    inner = relay.Function([y], relay.nn.relu(y))
    x = var("x", 2)
    call = relay.Call(inner, [x])
    assert post_order(call) == [x, call]
    assert post_order(call, functions=True) == [y, inner.body, inner, x, call]
    assert post_order(inner) == [y, inner.body, inner]
    passed = relay.Tuple([inner, x])
    assert post_order(passed) == [inner, x, passed]
    assert post_order(passed, functions=True) == [y, inner.body, inner, x, passed]


def test_all_kinds_of_nodes_are_walked_and_rebuilt() -> None:
    source = """#[version = "0.0.5"]
    type L { Nil, Cons(int8, L), }
    def @main(%x: int8, %c: bool, %l: L) -> int8 {
      let %r = ref(%x);
      let %w = ref_write(%r, add(%x, %x));
      let %f = fn (%y: int8) -> int8 { nn.relu(%y) };
      let %t = (%x, ref_read(%r));
      if (%c) { match (%l) { Nil => { %x }, Cons(%h, _) => { %h }, } } else { @other(%f(%t.1)) }
    }
    def @other(%z: int8) -> int8 { %z }
    """
    module = relay.parse(source)
    main = module["main"]
    kinds = {type(node).__name__ for node in post_order(main, functions=True)}
    assert kinds == {
        *("Call", "Function", "If", "Let", "Match", "RefCreate", "RefRead", "RefWrite"),
        *("Tuple", "TupleGetItem", "Var", "Op", "GlobalVar", "Constructor"),
    } - {"Op", "GlobalVar", "Constructor"}

    def renamed(old: Expr, new: Expr) -> Expr:
        if isinstance(old, relay.Var):
            return relay.Var(f"{old.name_hint}_new", old.type_annotation)
        return new

    rebuilt = rewrite(main, renamed)
    assert tvm.ir.structural_equal(rebuilt, main)
    names = {v.name_hint for v in post_order(rebuilt, functions=True) if isinstance(v, relay.Var)}
    assert names == {f"{name}_new" for name in "xclrwftyh"}
    assert rewrite(main, lambda old, new: new).same_as(main)
