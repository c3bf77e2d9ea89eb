"""The hand-written roles say what TVM computes: proved by running TVM on real-valued arithmetic.

Every operator with parameter groups is built with a scale and zero point of its own in each slot,
found through the roles; were two slots exchanged, the dequantized result could not be right. Every
share is proved by running the operator on integers and on the dequantized numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relay

from qpat.ops.roles import RESULT, AxisMove, known_operators, roles
from qpat.ops.table import operator
from qpat.relay.quantization import quantization
from qpat.targets import relay_support as support

HOST = "llvm -mtriple=x86_64-unknown-linux-gnu"
RANDOM = np.random.default_rng(20240917)


def run(output: Any) -> Any:
    """Evaluates an expression without free variables on the host."""
    module = tvm.IRModule.from_expr(relay.Function([], output))
    with tvm.transform.PassContext(opt_level=3):
        library = relay.build(module, HOST)
    graph = tvm.contrib.graph_executor.GraphModule(library["default"](tvm.cpu()))
    graph.run()
    return graph.get_output(0).numpy()


def test_roles_name_only_what_the_operators_have() -> None:
    for name in known_operators():
        signature = operator(name)
        assert signature is not None, name
        operands = {operand.name for operand in signature.operands} | {RESULT}
        for group in roles(name).groups:
            assert {group.tensor, group.scale, group.zero_point} <= operands, name
            for attribute in (group.axis.attribute, group.axis.layout):
                assert attribute is None or attribute in signature.attributes, name
        for share in roles(name).shares:
            assert share.operand in operands, name


def test_every_scale_and_zero_point_of_a_qnn_operator_has_a_role() -> None:
    for name in known_operators():
        signature = operator(name)
        assert signature is not None
        for operand in signature.operands:
            if name.startswith("qnn.") and ("scale" in operand.name or "zero" in operand.name):
                assert roles(name).slot(operand.name) is not None, (name, operand.name)


# ---- groups ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Quantized:
    """Integers with their parameters."""

    integers: Any
    scale: Any
    zero_point: int

    @property
    def real(self) -> Any:
        return (self.integers.astype(np.float64) - self.zero_point) * np.float32(self.scale)


def _quantized(shape: tuple[int, ...], scale: float, zero_point: int) -> Quantized:
    return Quantized(RANDOM.integers(-100, 100, shape).astype("int8"), scale, zero_point)


def _call(name: str, tensors: dict[str, Any], slots: dict[str, Any], **attributes: Any) -> Any:
    """Calls TVM's builder with operands by name. `slots` maps a group's tensor to what has its
    `scale` and `zero_point`."""
    signature = operator(name)
    assert signature is not None
    arguments = dict(tensors)
    for operand in signature.operands:
        role = roles(name).slot(operand.name)
        if role is None:
            continue
        group, slot = role
        dtype = "float32" if slot == "scale" else "int32"
        arguments[operand.name] = relay.const(np.asarray(getattr(slots[group.tensor], slot), dtype))
    return getattr(relay.qnn.op, name.removeprefix("qnn."))(**arguments, **attributes)


BINARY = [
    ("qnn.add", lambda a, b: a + b),
    ("qnn.subtract", lambda a, b: a - b),
    ("qnn.mul", lambda a, b: a * b),
]


@pytest.mark.parametrize(("name", "real"), BINARY)
def test_binary_groups(name: str, real: Callable[[Any, Any], Any]) -> None:
    lhs, rhs = _quantized((2, 3, 4), 0.02, 5), _quantized((2, 3, 4), 0.11, -7)
    result = Quantized(None, 0.5, 11)
    tensors = {"lhs": relay.const(lhs.integers), "rhs": relay.const(rhs.integers)}
    call = _call(name, tensors, {"lhs": lhs, "rhs": rhs, RESULT: result})
    _expect(run(call), real(lhs.real, rhs.real), result)


def _expect(integers: Any, wanted: Any, result: Quantized) -> None:
    """Equal within one step, where the result is not saturated."""
    ideal = np.clip(np.round(wanted / result.scale) + result.zero_point, -128, 127)
    assert np.max(np.abs(integers.astype(np.float64) - ideal)) <= 1


UNARY = {
    "qnn.sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "qnn.tanh": np.tanh,
    "qnn.exp": np.exp,
    "qnn.abs": np.abs,
    "qnn.hardswish": lambda x: x * np.clip(x + 3, 0, 6) / 6,
}


@pytest.mark.parametrize("name", UNARY)
def test_unary_groups(name: str) -> None:
    x, result = _quantized((4, 16), 0.02, 5), Quantized(None, 0.06, -20)
    call = _call(name, {"x": relay.const(x.integers)}, {"x": x, RESULT: result})
    _expect(run(call), UNARY[name](x.real), result)


def test_quantize_dequantize_and_requantize_groups() -> None:
    x, result = _quantized((4, 16), 0.02, 5), Quantized(None, 0.03, -20)
    data = relay.const(x.integers)
    back = _call("qnn.dequantize", {"data": data}, {"data": x})
    np.testing.assert_allclose(run(back), x.real, rtol=1e-6)
    there = _call("qnn.quantize", {"data": back}, {RESULT: result})
    _expect(run(there), x.real, result)
    again = _call("qnn.requantize", {"data": data}, {"data": x, RESULT: result})
    _expect(run(again), x.real, result)


PER_CHANNEL = np.array([0.01, 0.02, 0.04, 0.08], "float32")


def test_dense_groups_with_one_scale_a_unit() -> None:
    x, w = _quantized((3, 8), 0.02, 5), _quantized((4, 8), 0.0, 0)
    slots = {"data": x, "weight": Quantized(None, PER_CHANNEL, 0)}
    tensors = {"data": relay.const(x.integers), "weight": relay.const(w.integers)}
    integers = run(_call("qnn.dense", tensors, slots, units=4))
    group = roles("qnn.dense").groups[1]
    assert (group.tensor, group.axis.fixed) == ("weight", 0)
    weights = w.integers.astype(np.float64) * PER_CHANNEL[:, None]
    found = integers.astype(np.float64) * np.float32(x.scale) * PER_CHANNEL
    np.testing.assert_allclose(found, x.real @ weights.T, rtol=1e-6, atol=1e-9)


def test_batch_matmul_groups() -> None:
    x, y = _quantized((2, 3, 8), 0.02, 5), _quantized((2, 4, 8), 0.05, -3)
    tensors = {"x": relay.const(x.integers), "y": relay.const(y.integers)}
    integers = run(_call("qnn.batch_matmul", tensors, {"x": x, "y": y}))
    found = integers * np.float64(np.float32(x.scale)) * np.float32(y.scale)
    np.testing.assert_allclose(found, x.real @ y.real.transpose(0, 2, 1), rtol=1e-6, atol=1e-9)


CONVOLUTIONS = [
    ("qnn.conv2d", "kernel", "HWIO", 1),
    ("qnn.conv2d", "kernel", "HWOI", 4),
    ("qnn.conv2d_transpose", "weight", "IOHW", 1),
]


@pytest.mark.parametrize(("name", "kernel", "layout", "groups"), CONVOLUTIONS)
def test_convolution_groups_and_the_axis_of_the_weights(
    name: str, kernel: str, layout: str, groups: int
) -> None:
    """The letter O of the kernel's layout is the axis of a per-channel scale."""
    x = _quantized((1, 5, 5, 4), 0.02, 5)
    sizes = {"H": 3, "W": 3, "O": 4, "I": 4 if groups == 1 else 1}
    w = _quantized(tuple(sizes[letter] for letter in layout), 0.0, 0)
    shape = {"kernel_size": (3, 3), "channels": 4, "groups": groups}
    layouts = {"data_layout": "NHWC", "kernel_layout": layout}
    slots = {"data": x, kernel: Quantized(None, PER_CHANNEL, 0)}
    tensors = {"data": relay.const(x.integers), kernel: relay.const(w.integers)}
    integers = run(_call(name, tensors, slots, **shape, **layouts))
    axis = layout.index(roles(name).groups[1].axis.letter)
    along = PER_CHANNEL.reshape([4 if each == axis else 1 for each in range(4)])
    floats = [x.real.astype("float32"), (w.integers * along).astype("float32")]
    function = getattr(relay.nn, name.removeprefix("qnn."))
    real = run(function(*map(relay.const, floats), **shape, **layouts))
    found = integers * np.float32(x.scale) * PER_CHANNEL
    np.testing.assert_allclose(found, real, rtol=1e-4, atol=1e-4)


def test_concatenate_groups() -> None:
    first, second = _quantized((2, 3), 0.02, 5), _quantized((2, 4), 0.05, -9)
    result = Quantized(None, 0.06, 3)
    names = [operand.name for operand in operator("qnn.concatenate").operands]  # type: ignore[union-attr]
    by_slot = {
        ("data", "scale"): relay.Tuple([relay.const(np.float32(q.scale)) for q in (first, second)]),
        ("data", "zero_point"): relay.Tuple(
            [relay.const(np.int32(q.zero_point)) for q in (first, second)]
        ),
        (RESULT, "scale"): relay.const(np.float32(result.scale)),
        (RESULT, "zero_point"): relay.const(np.int32(result.zero_point)),
    }
    arguments: list[Any] = [relay.Tuple([relay.const(q.integers) for q in (first, second)])]
    for name in names[1:]:
        group, slot = roles("qnn.concatenate").slot(name)  # type: ignore[misc]
        arguments.append(by_slot[group.tensor, slot])
    call = relay.qnn.op.concatenate(*arguments, 1)
    _expect(run(call), np.concatenate([first.real, second.real], 1), result)


# ---- shares --------------------------------------------------------------------------------

SCALES = np.array([0.5, 0.25, 2.0, 1.0], "float32")

# Of an operator that shares a space: how to call it on a tensor [1, 4, 4, 4] whose channels (axis
# 3) have scales of their own and zero point 0. Integers and reals must give the same real result.
SHARING: dict[str, Callable[[Any], Any]] = {
    "nn.relu": relay.nn.relu,
    "copy": relay.copy,
    "nn.pad": lambda x: relay.nn.pad(x, [[0, 0], [1, 1], [2, 0], [0, 0]], 0),
    "nn.mirror_pad": lambda x: relay.nn.mirror_pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]]),
    "nn.max_pool2d": lambda x: relay.nn.max_pool2d(x, (2, 2), (2, 2), layout="NHWC"),
    "nn.global_max_pool2d": lambda x: relay.nn.global_max_pool2d(x, layout="NHWC"),
    "image.resize2d": lambda x: relay.image.resize2d(
        x, (8, 8), layout="NHWC", method="nearest_neighbor"
    ),
    "nn.upsampling": lambda x: relay.nn.upsampling(x, 2, 2, layout="NHWC"),
    "strided_slice": lambda x: relay.strided_slice(x, [0, 1, 0, 0], [1, 4, 4, 4], [1, 2, 1, 1]),
    "split": lambda x: relay.split(x, 2, axis=1)[1],
    "concatenate": lambda x: relay.concatenate([x, x], axis=1),
    "reverse": lambda x: relay.reverse(x, 1),
    "transpose": lambda x: relay.transpose(x, [3, 0, 2, 1]),
    "broadcast_to": lambda x: relay.broadcast_to(x, [2, 4, 4, 4]),
    "reshape": lambda x: relay.reshape(x, [16, 4, 1]),
    "squeeze": lambda x: relay.squeeze(x, [0]),
    "expand_dims": lambda x: relay.expand_dims(x, 1),
    "maximum": lambda x: relay.maximum(x, x),
    "minimum": lambda x: relay.minimum(x, x),
}


@pytest.mark.parametrize("name", SHARING)
def test_a_share_keeps_scales_and_moves_their_axis(name: str) -> None:
    """The analysis moves the axis; the result, dequantized along it, is what the reals give."""
    integers = RANDOM.integers(-20, 20, (1, 4, 4, 4)).astype("int8")
    data = relay.var("data", shape=integers.shape, dtype="float32")
    space = relay.qnn.op.quantize(data, relay.const(SCALES), relay.const(np.int32(0)), axis=3)
    result = SHARING[name](space)
    module = relay.transform.InferType()(tvm.IRModule.from_expr(relay.Function([data], result)))
    output = module["main"].body
    output = output.fields[0] if isinstance(output, relay.Tuple) else output
    known = quantization(module).of(output)
    assert known is not None and known.axis is not None, name
    real = integers * SCALES
    wanted = run(_output(SHARING[name](relay.const(real.astype("float32")))))
    found = run(_output(SHARING[name](relay.const(integers)))).astype("float64")
    shape = [len(SCALES) if axis == known.axis else 1 for axis in range(found.ndim)]
    np.testing.assert_array_equal(found * known.scale.reshape(shape), wanted)


def _output(value: Any) -> Any:
    return value.astuple() if isinstance(value, relay.expr.TupleWrapper) else value


def test_the_bias_of_a_bias_add_has_its_scales_along_its_only_axis() -> None:
    move = next(s.move for s in roles("nn.bias_add").shares if s.operand == "bias")
    assert move is AxisMove.BIAS
    data = relay.var("data", shape=(1, 4, 4, 4), dtype="int32")
    bias = relay.var("bias", shape=(4,), dtype="int32")
    total = relay.nn.bias_add(data, bias, axis=3)
    slots = relay.const(SCALES), relay.const(np.int32(0))
    out = relay.qnn.op.requantize(
        total, *slots, relay.const(np.float32(1)), relay.const(np.int32(0)), axis=3
    )
    module = relay.transform.InferType()(tvm.IRModule.from_expr(relay.Function([data, bias], out)))
    analysis = quantization(module)
    found = [analysis.of(parameter) for parameter in module["main"].params]
    assert [each.axis for each in found if each is not None] == [3, 0]
    assert all(support.same_value(each.scale, SCALES) for each in found if each is not None)


def test_operators_that_change_their_space_share_nothing() -> None:
    """A sum multiplies the zero point, an accumulator has the product of two scales."""
    for name in ("sum", "qnn.conv2d", "qnn.dense", "nn.prelu", "where", "multiply", "argmax"):
        assert not roles(name).shares, name
