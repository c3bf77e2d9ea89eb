"""Ways in which Relay's matcher fails without a word, and what qpat says instead.

Each case is a pattern as one writes it in Python, a graph it was meant for, and its twin in qpat.
Of the Python it is shown that TVM forms no such composite, raises nothing and prints nothing; the
twin gives a finding, a match, or a refusal by name.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relay
from tvm.relay.dataflow_pattern import (
    is_constant,
    is_expr,
    is_op,
    is_tuple,
    is_tuple_get_item,
    wildcard,
)

from qpat.compiler import check_source, compile_source
from qpat.diagnostics import Severity, render_all
from qpat.relay.partition import partition
from qpat.source import Source

Table = list[Any]


@dataclass(frozen=True)
class Silence:
    """`python` gives the rows of a table, the first is the one that is missed; `graph` is what it
    was written for; `says` is the code of a finding, "match", or the reason of a refusal."""

    python: Callable[[], Table]
    graph: Callable[[], Any]
    qpat: str
    says: str


# ---- graphs ------------------------------------------------------------------------------------


def var(name: str = "x", shape: tuple[int, ...] = (1, 8, 8, 4), dtype: str = "int8") -> Any:
    return relay.var(name, shape=shape, dtype=dtype)


def const(value: Any, dtype: str) -> Any:
    return relay.const(np.asarray(value, dtype))


def half() -> Any:
    return const(0.5, "float32")


def zero() -> Any:
    return const(0, "int32")


def weights() -> Any:
    return const(np.ones((3, 3, 4, 4)), "int8")


def conv(data: Any, **attributes: Any) -> Any:
    stated = {
        "kernel_size": (3, 3),
        "channels": 4,
        "data_layout": "NHWC",
        "kernel_layout": "HWIO",
        **attributes,
    }
    return relay.qnn.op.conv2d(data, weights(), zero(), zero(), half(), half(), **stated)


def requantized(acc: Any) -> Any:
    return relay.qnn.op.requantize(acc, half(), zero(), half(), zero(), out_dtype="int8")


def binary(operator: str, lhs: Any, rhs: Any) -> Any:
    slots = [make() for _ in range(3) for make in (half, zero)]
    return getattr(relay.qnn.op, operator)(lhs, rhs, *slots)


def padded(value: float = 0) -> Any:
    widths = [[0, 0], [1, 1], [1, 1], [0, 0]]
    return relay.nn.pad(var(), widths, const(value, "int8"))


def channel() -> Any:
    return const(np.arange(4), "int8")


# ---- patterns ------------------------------------------------------------------------------------


def constants(count: int) -> list[Any]:
    return [is_constant() for _ in range(count)]


def conv_pattern(data: Any) -> Any:
    return is_op("qnn.conv2d")(data, *constants(5))


def one(pattern: Any, *check: Any) -> Table:
    return [("s.p", pattern, *check)]


CONV = "acc = qnn.conv2d(x, const w, ..{})\n  y = acc"
PORTS = "x: int8, w: int8"


def pattern(body: str, ports: str = "x: int8", output: str = "y: int8", name: str = "p") -> str:
    return f"pattern {name}({ports}) -> {output} {{\n  {body}\n}}\n"


SILENCES = {
    # ---- attributes ----
    "a misspelt attribute": Silence(
        lambda: one(conv_pattern(wildcard()).has_attr({"groupz": 1})),
        lambda: conv(var()),
        pattern(CONV.format(", groupz=1"), PORTS, "y: int32"),
        "QP102",
    ),
    "an attribute of another operator": Silence(
        lambda: one(conv_pattern(wildcard()).has_attr({"axis": 3})),
        lambda: conv(var()),
        pattern(CONV.format(", axis=3"), PORTS, "y: int32"),
        "QP102",
    ),
    "an equals sign in the name of an attribute": Silence(
        lambda: one(is_op("transpose")(wildcard()).has_attr({"axes=": [0, 3, 1, 2]})),
        lambda: relay.transpose(var(), [0, 3, 1, 2]),
        pattern("y = transpose(x, axes==[0, 3, 1, 2])"),
        "QP001",
    ),
    "a string where a number is": Silence(
        lambda: one(conv_pattern(wildcard()).has_attr({"groups": "1"})),
        lambda: conv(var()),
        pattern(CONV.format(', groups="1"'), PORTS, "y: int32"),
        "QP104",
    ),
    "a layout with a wrong letter": Silence(
        lambda: one(conv_pattern(wildcard()).has_attr({"data_layout": "NHWK"})),
        lambda: conv(var()),
        pattern(CONV.format(', data_layout="NHWK"'), PORTS, "y: int32"),
        "QP104",
    ),
    "a misspelt mode": Silence(
        lambda: one(is_op("image.resize2d")(wildcard()).has_attr({"method": "nearest_neighbour"})),
        lambda: relay.image.resize2d(var(), (4, 4), layout="NHWC", method="nearest_neighbor"),
        pattern('y = image.resize2d(x, method="nearest_neighbour")'),
        "QP104",
    ),
    "a misspelt dtype": Silence(
        lambda: one(is_op("cast")(wildcard()).has_attr({"dtype": "int23"})),
        lambda: relay.cast(var(), "int32"),
        pattern('y = cast(x, dtype="int23")', output="y: int32"),
        "QP104",
    ),
    "padding of two numbers where four are stored": Silence(
        lambda: one(conv_pattern(wildcard()).has_attr({"padding": [1, 1]})),
        lambda: conv(var(), padding=(1, 1)),
        pattern(CONV.format(", padding=[1, 1]"), PORTS, "y: int32"),
        "match",
    ),
    "a whole number where a float is stored": Silence(
        lambda: one(is_op("clip")(wildcard()).has_attr({"a_min": 0})),
        lambda: relay.clip(var(), 0, 6),
        pattern("y = clip(x, a_min=0)"),
        "match",
    ),
    "list elements of another integer type": Silence(
        lambda: one(
            is_op("strided_slice")(wildcard()).has_attr(
                {"begin": [tvm.tir.IntImm("int64", 0), tvm.tir.IntImm("int64", 1)]}
            )
        ),
        lambda: relay.strided_slice(var(shape=(2, 4)), [0, 1], [2, 3]),
        pattern("y = strided_slice(x, begin=[0, 1])"),
        "match",
    ),
    "an attribute said of the operator, before the call": Silence(
        lambda: one(is_op("clip").has_attr({"a_min": 0.0})(wildcard())),
        lambda: relay.clip(var(), 0, 6),
        pattern("y = clip(x, a_min=0.0)"),
        "match",
    ),
    # ---- operands ----
    "an operand too few": Silence(
        lambda: one(is_op("qnn.conv2d")(wildcard(), *constants(4))),
        lambda: conv(var()),
        pattern("y = qnn.conv2d(x, const w, 0, 0, x.scale)", PORTS, "y: int32"),
        "QP103",
    ),
    "an operand too many": Silence(
        lambda: one(is_op("nn.relu")(wildcard(), wildcard())),
        lambda: relay.nn.relu(var()),
        pattern("y = nn.relu(x, x2)", "x: int8, x2: int8"),
        "QP103",
    ),
    "scale and zero point in each other's place": Silence(
        lambda: one(
            is_op("qnn.requantize")(
                wildcard(), is_expr(zero()), is_constant(), is_constant(), is_constant()
            )
        ),
        lambda: requantized(var(dtype="int32")),
        pattern("y = qnn.requantize(x, x.zero_point, x.scale, ..)", "x: int32"),
        "QP107",
    ),
    "an attribute given as an operand": Silence(
        lambda: one(is_op("qnn.concatenate")(*[wildcard()] * 5, wildcard())),
        lambda: relay.qnn.op.concatenate(
            relay.Tuple([var(), var()]),
            relay.Tuple([half(), half()]),
            relay.Tuple([zero(), zero()]),
            half(),
            zero(),
            3,
        ),
        pattern("y = qnn.concatenate((xs...), .., 3)", "xs: int8..."),
        "QP105",
    ),
    "a tuple of another length": Silence(
        lambda: one(is_op("concatenate")(is_tuple([wildcard()]))),
        lambda: relay.concatenate([var(), var("x2")], 3),
        pattern("y = concatenate(x)", "x: int8"),
        "QP114",
    ),
    "a field that a split does not have": Silence(
        lambda: one(
            is_op("abs")(
                is_tuple_get_item(
                    is_op("split")(wildcard()).has_attr({"indices_or_sections": 2}), 2
                )
            )
        ),
        lambda: relay.abs(relay.split(var(), 2, axis=3)[1]),
        pattern("t = split(x, indices_or_sections=2)\n  y = abs(t[2])"),
        "QP114",
    ),
    # ---- operands the other way round ----
    "qnn.add with the constant first": Silence(
        lambda: one(is_op("qnn.add")(wildcard(), *constants(7))),
        lambda: binary("add", channel(), var()),
        pattern("y = qnn.add(x, const c, ..)", "x: int8, c: int8"),
        "match",
    ),
    "qnn.mul with the constant first": Silence(
        lambda: one(is_op("qnn.mul")(wildcard(), *constants(7))),
        lambda: binary("mul", channel(), var()),
        pattern("y = qnn.mul(x, const c, ..)", "x: int8, c: int8"),
        "match",
    ),
    "maximum with the constant first": Silence(
        lambda: one(is_op("maximum")(wildcard(), is_constant())),
        lambda: relay.maximum(channel(), var()),
        pattern("y = maximum(x, const c)", "x: int8, c: int8"),
        "match",
    ),
    "minimum of a call and a value": Silence(
        lambda: one(is_op("minimum")(is_op("abs")(wildcard()), wildcard())),
        lambda: relay.minimum(var("x2"), relay.abs(var())),
        pattern("y = minimum(abs(x), x2)", "x: int8, x2: int8"),
        "match",
    ),
    "one of two operators, the other way round": Silence(
        lambda: one((is_op("add") | is_op("nn.bias_add"))(is_op("abs")(wildcard()), is_constant())),
        lambda: relay.add(channel(), relay.abs(var())),
        pattern("y = {add, nn.bias_add}(abs(x), const c)", "x: int8, c: int8"),
        "match",
    ),
    # ---- alternation and order ----
    "an alternative that would have to be taken back": Silence(
        lambda: (lambda s: one(is_op("add")(is_op("abs")(s) | s, is_op("negative")(s))))(
            wildcard()
        ),
        lambda: (lambda a: relay.add(a, relay.negative(a)))(relay.abs(var())),
        pattern("y = add(abs(x) | x, negative(x))"),
        "match",
    ),
    "the general pattern before the special one": Silence(
        lambda: [
            ("s.q", is_op("abs")(wildcard())),
            ("s.p", is_op("clip")(is_op("abs")(wildcard()))),
        ],
        lambda: relay.clip(relay.abs(var()), 0, 6),
        pattern("y = abs(x)", name="q") + pattern("y = clip(abs(x))"),
        "QP201",
    ),
    "a row that stands twice": Silence(
        lambda: [
            ("s.q", is_op("clip")(wildcard())),
            ("s.p", is_op("clip")(wildcard())),
        ],
        lambda: relay.clip(var(), 0, 6),
        pattern("y = clip(x)", name="q") + pattern("y = clip(x)"),
        "QP201",
    ),
    "a refused check that blocks the shorter match": Silence(
        lambda: one(
            is_op("maximum")(wildcard(), wildcard()).optional(is_op("clip")),
            lambda root: root.op.name != "clip",
        ),
        lambda: relay.clip(relay.maximum(var(), var("x2")), 0, 6),
        pattern(
            'm = maximum(x, x2)\n  y = clip(m)?\n  where not y? else "clipped"', "x: int8, x2: int8"
        ),
        "match",
    ),
    "a pad that does not fit refuses the convolution": Silence(
        lambda: one(
            conv_pattern(is_op("nn.pad")(wildcard(), is_constant()) | wildcard()),
            lambda root: bool(
                isinstance(root.args[0], relay.Var) or root.args[0].args[1].data.numpy() == 0
            ),
        ),
        lambda: conv(padded(3)),
        pattern(
            "d = nn.pad(x, x.zero_point)?\n  y = qnn.conv2d(d, const w, ..)", PORTS, "y: int32"
        ),
        "match",
    ),
    # ---- nodes and constants ----
    "two equal constants where one object is written": Silence(
        lambda: (
            lambda z: one(is_op("qnn.conv2d")(wildcard(), is_constant(), z, z, *constants(2)))
        )(is_expr(zero())),
        lambda: conv(var()),
        pattern("y = qnn.conv2d(x, const w, 0, 0, ..)", PORTS, "y: int32"),
        "match",
    ),
    "a literal of another dtype": Silence(
        lambda: one(is_op("add")(wildcard(), is_expr(relay.const(3.0)))),
        lambda: relay.add(var(dtype="float16"), relay.const(3.0, "float16")),
        pattern("y = add(x, 3.0)", "x: float16", "y: float16"),
        "match",
    ),
    "two convolutions behind one pad": Silence(
        lambda: one(conv_pattern(is_op("nn.pad")(wildcard(), is_constant()))),
        lambda: (lambda d: relay.Tuple([conv(d), conv(d)]))(padded()),
        pattern("y = qnn.conv2d(shared nn.pad(x, 0), const w, ..)", PORTS, "y: int32"),
        "match",
    ),
    "an inner value with a user outside": Silence(
        lambda: one(is_op("clip")(is_op("abs")(wildcard()))),
        lambda: (lambda a: relay.Tuple([relay.clip(a, 0, 6), a]))(relay.abs(var())),
        pattern("y = clip(abs(x))"),
        "s.p: abs inside has a user outside",
    ),
    "a dtype that never comes": Silence(
        lambda: one(conv_pattern(wildcard()).has_attr({"out_dtype": "int8"})),
        lambda: conv(var()),
        pattern("y = qnn.conv2d(x, const w, ..)", PORTS, "y: int8"),
        "QP160",
    ),
    "a scale compared with a number that is no float32": Silence(
        lambda: one(
            is_op("qnn.requantize")(wildcard(), *constants(4)),
            lambda root: float(root.args[3].data.numpy()) == 0.1,
        ),
        lambda: relay.qnn.op.requantize(
            var(dtype="int32"), half(), zero(), const(0.1, "float32"), zero(), out_dtype="int8"
        ),
        pattern("y = qnn.requantize(x, ..)\n  where y.scale == 0.1", "x: int32"),
        "QP157",
    ),
    "a check that refuses and says nothing": Silence(
        lambda: one(conv_pattern(wildcard()), lambda root: int(root.attrs.strides[0]) == 1),
        lambda: conv(var(), strides=(2, 2)),
        pattern(
            CONV.format("") + '\n  where acc.attrs.strides == 1 else "stride larger than 1"',
            PORTS,
            "y: int32",
        ),
        "s.p: stride larger than 1",
    ),
}

each_silence = pytest.mark.parametrize("name", SILENCES)


def module_of(expr: Any) -> Any:
    function = relay.Function(relay.analysis.free_vars(expr), expr)
    return relay.transform.InferType()(tvm.IRModule.from_expr(function))


@each_silence
def test_tvm_says_nothing(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    silence = SILENCES[name]
    module = module_of(silence.graph())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        merged = relay.transform.MergeComposite(silence.python())(module)
    assert '"s.p"' not in merged.astext(show_meta_data=False)
    assert capfd.readouterr() == ("", "")


@each_silence
def test_qpat_says_it(name: str) -> None:
    silence = SILENCES[name]
    source = Source("p.qpat", f'compiler "s"\n{silence.qpat}')
    if silence.says.startswith("QP"):
        _, found = check_source(source)
        errors = {each.code for each in found if each.severity is Severity.ERROR}
        assert errors == {silence.says}, render_all(found)
        return
    result = partition(module_of(silence.graph()), compile_source(source))
    if silence.says == "match":
        assert any(match.pattern == "p" for match in result.matches), result.host
    else:
        assert silence.says in [host.reason for host in result.host]


def test_there_are_thirty() -> None:
    assert len(SILENCES) >= 30
