"""The operator table says what TVM's calls really look like."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qpat.ops.table import Attribute, Operand, operator, operator_names

ROOT = Path(__file__).resolve().parents[2]
MODELS = sorted((ROOT / "tests" / "data").rglob("*.tflite"))
# Said in full because one distribution of TVM takes plain "llvm" for RISC-V.
HOST = "llvm -mtriple=x86_64-unknown-linux-gnu"


@pytest.fixture(scope="module")
def relay() -> Any:
    return pytest.importorskip("tvm.relay")


@pytest.fixture(scope="module")
def dump_ops(relay: Any) -> Any:
    import tvm

    if not tvm.__version__.startswith("0.16"):
        pytest.skip("the table is TVM 0.16's")
    return importlib.import_module("tools.dump_ops")


# ---- the file is what the tool writes ----


def test_table_is_a_fresh_dump(dump_ops: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert dump_ops.main(["--check"]) == 0, capsys.readouterr().out


def test_check_finds_a_difference(
    dump_ops: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stale = dump_ops.TABLE.read_text().replace('"kernel_zero_point", "input_scale"', '"b", "a"')
    monkeypatch.setattr(dump_ops, "TABLE", tmp_path / "relay.json")
    dump_ops.TABLE.write_text(stale)
    assert dump_ops.main(["--check"]) == 1
    assert '"kernel_zero_point"' in capsys.readouterr().out
    assert dump_ops.TABLE.read_text() == stale


def test_what_is_left_out(dump_ops: Any) -> None:
    import tvm

    names = set(tvm.ir.Op.list_op_names())
    assert not {n for n in operator_names() if n.startswith(("relax.", "tir.", "qnn.csi."))}
    assert set(operator_names()) <= names
    reasons = {n: dump_ops.exclusion(n, tvm.ir.Op.get(n)) for n in names - set(operator_names())}
    assert all(reasons.values())


def test_only_these_are_not_verified() -> None:
    unverified = {n for n in operator_names() if not described(n).verified}
    assert {n for n in unverified if not n.startswith(("annotation.", "memory.", "vm."))} == {
        "auto_scheduler_layout_transform",
        "call_lowered",
        *(f"contrib.ethosu.{n}" for n in ("conv2d", "depthwise_conv2d", "identity", "pooling")),
        *(f"contrib.ethosu.{n}" for n in ("binary_elementwise", "unary_elementwise")),
        *("fast_erf", "fast_exp", "fast_tanh"),
        "fixed_point_multiply_per_axis",
        "meta_schedule_layout_transform",
        *("nn.internal.sparse_dense_padded", "nn.sparse_conv2d"),
        "parser.MetaRef",
        "relay.op.annotation.simulated_quantize",
    }


# ---- operands, by calls built and type-checked here ----


def described(name: str) -> Any:
    found = operator(name)
    assert found is not None, name
    return found


def q(name: str, *shape: int, dtype: str = "int8") -> Any:
    from tvm import relay

    return relay.var(name, shape=shape, dtype=dtype)


def f(name: str, *shape: int) -> Any:
    return q(name, *shape, dtype="float32")


def parameters(names: str) -> list[Any]:
    """Scalars: float32 where the name says scale, else int32."""
    return [q(n, dtype="float32" if "scale" in n else "int32") for n in names.split()]


def conv(build: Callable[..., Any], kernel: str) -> Any:
    tensors = q("data", 1, 4, 8, 8), q(kernel, 4, 4, 3, 3)
    return build(*tensors, *parameters(CONV), kernel_size=(3, 3), channels=4)


def concatenate(build: Callable[..., Any]) -> Any:
    lists = [parameters("input_scales " * 2), parameters("input_zero_points " * 2)]
    return build([q("data", 2, 3)] * 2, *lists, *parameters(OUTPUT), axis=0)


def elementwise(name: str, operands: str, tensors: int) -> tuple[str, str, Callable[[Any], Any]]:
    def build(r: Any) -> Any:
        names = operands.split()
        first = [q(n, 2, 3) for n in names[:tensors]]
        return getattr(r.qnn.op, name)(*first, *parameters(" ".join(names[tensors:])))

    return f"qnn.{name}", operands, build


INPUT, OUTPUT = "input_scale input_zero_point", "output_scale output_zero_point"
CONV = "input_zero_point kernel_zero_point input_scale kernel_scale"
MATMUL = "x_zero_point y_zero_point x_scale y_scale"
UNARY = f"x scale zero_point {OUTPUT}"
BINARY = f"lhs rhs lhs_scale lhs_zero_point rhs_scale rhs_zero_point {OUTPUT}"
POOL = ([2, 2], [1, 1], [0, 0, 0, 0], [1, 1], False, True, "NHWC", "")

# Operator, its operands, and a function that builds a call from typed variables of these names.
# TVM's type relations then prove that what is called a scale is at the place of a scale: they want
# float32 there, and int32 for a zero point.
CASES: list[tuple[str, str, Callable[[Any], Any]]] = [
    ("qnn.conv2d", f"data kernel {CONV}", lambda r: conv(r.qnn.op.conv2d, "kernel")),
    (
        "qnn.conv2d_transpose",
        f"data weight {CONV}",
        lambda r: conv(r.qnn.op.conv2d_transpose, "weight"),
    ),
    (
        "qnn.dense",
        f"data weight {CONV}",
        lambda r: r.qnn.op.dense(q("data", 2, 4), q("weight", 3, 4), *parameters(CONV), 3),
    ),
    (
        "qnn.batch_matmul",
        f"x y {MATMUL}",
        lambda r: r.qnn.op.batch_matmul(q("x", 1, 2, 4), q("y", 1, 3, 4), *parameters(MATMUL)),
    ),
    # Here alone TVM's relation does not look at the parameters.
    (
        "qnn.contrib_dense_pack",
        f"data weight {CONV}",
        lambda r: r.qnn.op.contrib_dense_pack(
            q("data", 2, 8), q("weight", 1, 1, 8, 8), *parameters(CONV), "NC8n8c"
        ),
    ),
    *(elementwise(name, BINARY, tensors=2) for name in ("add", "subtract", "mul")),
    *(elementwise(name, UNARY, tensors=1) for name in ("abs", "erf", "exp", "hardswish", "log")),
    *(elementwise(name, UNARY, tensors=1) for name in ("rsqrt", "sigmoid", "sqrt", "tanh")),
    elementwise("requantize", f"data {INPUT} {OUTPUT}", tensors=1),
    elementwise("dequantize", f"data {INPUT}", tensors=1),
    (
        "qnn.quantize",
        f"data {OUTPUT}",
        lambda r: r.qnn.op.quantize(f("data", 2, 3), *parameters(OUTPUT)),
    ),
    (
        "qnn.concatenate",
        f"data* input_scales* input_zero_points* {OUTPUT}",
        lambda r: concatenate(r.qnn.op.concatenate),
    ),
    # These three lack a Python builder in one distribution of TVM 0.16.
    (
        "qnn.softmax",
        UNARY,
        lambda r: r.qnn.op._make.softmax(q("x", 2, 3), -1, *parameters(UNARY)[1:]),
    ),
    (
        "qnn.leaky_relu",
        f"x {INPUT} {OUTPUT}",
        lambda r: r.qnn.op._make.leaky_relu(q("x", 2), 0.5, *parameters(f"{INPUT} {OUTPUT}")),
    ),
    (
        "qnn.avg_pool2d",
        f"data {INPUT} {OUTPUT}",
        lambda r: r.qnn.op._make.avg_pool2d(
            q("data", 1, 8, 8, 4), *parameters(f"{INPUT} {OUTPUT}"), *POOL
        ),
    ),
    ("add", "lhs rhs", lambda r: r.add(f("lhs", 2), f("rhs", 2))),
    ("cast", "data", lambda r: r.cast(q("data", 2), "int32")),
    ("clip", "a", lambda r: r.clip(f("a", 2), 0.0, 6.0)),
    ("concatenate", "data*", lambda r: r.concatenate([f("data", 2), f("data", 3)], 0)),
    ("fixed_point_multiply", "data", lambda r: r.fixed_point_multiply(q("data", 2), 1 << 30, 1)),
    ("image.resize2d", "data", lambda r: r.image.resize2d(f("data", 1, 3, 4, 4), (8, 8))),
    ("mean", "data", lambda r: r.mean(f("data", 2, 3), axis=1)),
    ("nn.avg_pool2d", "data", lambda r: r.nn.avg_pool2d(f("data", 1, 3, 4, 4), (2, 2))),
    ("nn.bias_add", "data bias", lambda r: r.nn.bias_add(f("data", 2, 3), f("bias", 3))),
    ("nn.leaky_relu", "data", lambda r: r.nn.leaky_relu(f("data", 2), 0.1)),
    ("nn.max_pool2d", "data", lambda r: r.nn.max_pool2d(f("data", 1, 3, 4, 4), (2, 2))),
    ("nn.pad", "data pad_value", lambda r: r.nn.pad(f("data", 2), [[1, 1]], f("pad_value"))),
    ("nn.prelu", "data alpha", lambda r: r.nn.prelu(f("data", 1, 3, 4, 4), f("alpha", 3))),
    ("reshape", "data", lambda r: r.reshape(f("data", 2, 3), (3, 2))),
    ("dyn.reshape", "data newshape", lambda r: r.reshape(f("data", 2, 3), q("newshape", 2))),
    ("split", "data", lambda r: r.split(f("data", 4), 2)),
    ("strided_slice", "data", lambda r: r.strided_slice(f("data", 4), [0], [2])),
    ("take", "data indices", lambda r: r.take(f("data", 4), q("indices", 2, dtype="int32"), 0)),
    (
        "where",
        "condition x y",
        lambda r: r.where(q("condition", 2, dtype="bool"), f("x", 2), f("y", 2)),
    ),
]


def typed(expression: Any) -> Any:
    """The expression in a module, after TVM's type inference."""
    import tvm
    from tvm import relay

    root = expression.astuple() if hasattr(expression, "astuple") else expression
    function = relay.Function(relay.analysis.free_vars(root), root)
    return relay.transform.InferType()(tvm.IRModule.from_expr(function))


def calls(module: Any) -> list[Any]:
    import tvm
    from tvm import relay

    found: list[Any] = []
    relay.analysis.post_order_visit(module["main"].body, found.append)
    return [c for c in found if isinstance(c, relay.Call) and isinstance(c.op, tvm.ir.Op)]


def spelled(argument: Any) -> str:
    """The name of a variable; for a tuple of variables their common name and a star."""
    if not hasattr(argument, "fields"):
        return str(argument.name_hint)
    (name,) = {var.name_hint for var in argument.fields}
    return f"{name}*"


@pytest.mark.parametrize(("name", "operands", "build"), CASES, ids=[case[0] for case in CASES])
def test_operands(relay: Any, name: str, operands: str, build: Callable[[Any], Any]) -> None:
    (call,) = (c for c in calls(typed(build(relay))) if c.op.name == name)
    entry = described(name)
    assert [spelled(argument) for argument in call.args] == operands.split()
    assert [o.name + "*" * o.is_tuple for o in entry.operands] == operands.split()
    assert entry.verified


def test_every_quantized_operator_has_a_case() -> None:
    quantized = {n for n in operator_names() if n.startswith("qnn.")}
    # No frontend emits these; their builders reshape the parameters first.
    simulated = {"qnn.simulated_quantize", "qnn.simulated_dequantize"}
    assert quantized - simulated <= {case[0] for case in CASES}


@pytest.mark.parametrize("case", CASES[:4], ids=[case[0] for case in CASES[:4]])
def test_registry_names_a_wrong_order(relay: Any, case: Any) -> None:
    """Why the table is not read off the registry: in its order, TVM refuses the operands."""
    import tvm

    name, operands, build = case
    (call,) = calls(typed(build(relay)))
    kinds = [argument.name.rpartition("_")[2] for argument in call.op.arguments[2:]]
    assert kinds == ["scale", "point", "scale", "point"]
    data, kernel, input_zero, kernel_zero, input_scale, kernel_scale = call.args
    claimed = [data, kernel, input_scale, input_zero, kernel_scale, kernel_zero]
    with pytest.raises(tvm.error.TVMError):
        typed(relay.Call(call.op, claimed, call.attrs))


# ---- the calls of real models ----


def test_there_are_models() -> None:
    assert MODELS


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_calls_of_a_model(relay: Any, path: Path) -> None:
    tflite = pytest.importorskip("tflite")
    import tvm

    try:
        model = tflite.Model.GetRootAsModel(path.read_bytes(), 0)
        module, _ = relay.frontend.from_tflite(model)
    except (tvm.error.OpNotImplemented, AssertionError) as error:
        pytest.skip(f"TVM does not import it: {error}")
    for call in calls(relay.transform.InferType()(module)):
        entry = described(call.op.name)
        tuples = [isinstance(a.checked_type, tvm.ir.TupleType) for a in call.args]
        assert tuples == [operand.is_tuple for operand in entry.operands], call.op.name
        assert set(call.attrs.keys() if call.attrs else ()) == set(entry.attributes), call.op.name


# ---- commutativity ----


def swapped_groups(relay: Any, name: str, swap: bool) -> Any:
    """A quantized operator; the operands are swapped with their scales and zero points."""
    lhs = (q("qa", 4), relay.const(0.5), relay.const(3))
    rhs = (q("qb", 4), relay.const(0.25), relay.const(-7))
    a, b = (rhs, lhs) if swap else (lhs, rhs)
    output = relay.const(0.125), relay.const(1)
    return getattr(relay.qnn.op, name.removeprefix("qnn."))(a[0], b[0], *a[1:], *b[1:], *output)


def swapped(relay: Any, name: str, swap: bool) -> Any:
    """A plain operator on two vectors that tell its operands apart if anything does."""
    kind, dtype = "f", "float32"
    if name.startswith("logical_"):
        kind, dtype = "b", "bool"
    if name.startswith("bitwise_") or name.endswith("_shift"):
        kind, dtype = "i", "int32"
    a, b = q(f"{kind}a", 4, dtype=dtype), q(f"{kind}b", 4, dtype=dtype)
    return getattr(relay, name)(*((b, a) if swap else (a, b)))


def test_commutative_means_that_swapping_changes_nothing(relay: Any) -> None:
    """All binary operators, both ways, in one module: equal exactly where the table says."""
    import tvm
    from tvm.contrib import graph_executor

    described_names = {n: [o.name for o in described(n).operands] for n in operator_names()}
    plain = [n for n, operands in described_names.items() if operands == ["lhs", "rhs"]]
    quantized = ["qnn.add", "qnn.mul", "qnn.subtract"]
    results = [swapped(relay, n, swap) for n in plain for swap in (False, True)]
    results += [swapped_groups(relay, n, swap) for n in quantized for swap in (False, True)]
    # Variables of one name become one input.
    variables = relay.analysis.free_vars(relay.Tuple(results))
    inputs = {v.name_hint: v for v in variables}
    body = relay.bind(relay.Tuple(results), {v: inputs[v.name_hint] for v in variables})
    module = tvm.IRModule.from_expr(relay.Function(list(inputs.values()), body))
    with tvm.transform.PassContext(opt_level=1):
        library = relay.build(module, target=HOST)
    executor = graph_executor.GraphModule(library["default"](tvm.cpu()))
    for name, variable in inputs.items():
        values = [1, 2, 3, 4] if name.endswith("a") else [2, 2, 1, 5]
        dtype = variable.type_annotation.dtype
        executor.set_input(
            name, np.array([v % 2 for v in values] if dtype == "bool" else values, dtype)
        )
    executor.run()
    outputs = [executor.get_output(i).numpy() for i in range(len(results))]
    pairs = zip(plain + quantized, outputs[::2], outputs[1::2], strict=True)
    same = {name: np.array_equal(first, second) for name, first, second in pairs}
    assert same == {name: described(name).commutative for name in same}
    assert {n for n in operator_names() if described(n).commutative} <= set(same)


# ---- the loader ----


def test_unknown_operators() -> None:
    assert operator("nn.conv2D") is None
    assert operator("") is None
    assert operator("relax.add") is None


def test_names_are_sorted() -> None:
    assert list(operator_names()) == sorted(operator_names())
    assert "where" in operator_names()


def test_operand_index() -> None:
    conv = described("qnn.conv2d")
    assert conv.operand_index("kernel_scale") == 5
    assert conv.operand_index("strides") is None
    assert conv is operator("qnn.conv2d")
    assert hash(conv)


def test_attributes_have_types_and_defaults() -> None:
    requantize = described("qnn.requantize").attributes
    assert requantize["axis"] == Attribute("axis", "int", -1, True)
    assert requantize["rounding"] == Attribute("rounding", "str", "None", True)
    assert requantize["out_dtype"] == Attribute("out_dtype", "dtype", "", True)
    conv = described("nn.conv2d").attributes
    assert conv["strides"] == Attribute("strides", "list", (1, 1), True)
    assert conv["channels"] == Attribute("channels", "int_or_none", None, True)
    assert described("clip").attributes["a_min"] == Attribute("a_min", "float", None, False)
    assert described("cumsum").attributes["exclusive"].type == "bool"
    with pytest.raises(TypeError):
        conv["strides"] = conv["channels"]


def test_one_name_may_be_operand_and_attribute() -> None:
    for name, both in (("dyn.image.resize2d", "size"), ("dyn.one_hot", "depth")):
        assert both in described(name).attributes
        assert Operand(both, is_tuple=False, optional=False) in described(name).operands


def test_names_are_unambiguous() -> None:
    for name in operator_names():
        names = [operand.name for operand in described(name).operands]
        assert len(set(names)) == len(names), name
        assert all(n.isidentifier() for n in [*names, *described(name).attributes])


def test_reading_the_table_does_not_import_tvm() -> None:
    code = "import sys, qpat.ops.table as t; t.operator('add'); sys.exit('tvm' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
