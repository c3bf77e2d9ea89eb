"""Which tensor of the .tflite file a value of the imported Relay module is, by its span.

`convert_op_to_relay` (tvm/relay/frontend/tflite.py of TVM 0.16) writes the names of an operator's
outputs, joined by ", ", into the span of every call that it makes for that operator; a graph input
is a Var that has the tensor's name. So a span finds the operator, and the hand-written tables below
say which of the operator's tensors a call is. The names come from the file, nothing from qpat.

A partitioned module is another module, without those spans. `pair` walks it and the module from
before side by side, looking through composites, and so finds the value that stands for each.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tvm
from tvm import relay

from tests.oracle.flatbuffer import Array, FlatModel, FlatOperator, FlatTensor

Expr = Any  # tvm.relay.Expr: TVM has no types.

# Calls that the frontend puts in front of the operator's own work. Their quantization is that of
# their first argument, their shape need not be. By operator.
_LEADING = {
    "FULLY_CONNECTED": {"reshape"},  # convert_fully_connected: to two dimensions
    "BATCH_MATMUL": {"broadcast_to", "reshape", "transpose"},  # convert_batch_matmul: to rank 3
    "PACK": {"expand_dims"},  # convert_pack
    "PRELU": {"broadcast_to", "reshape"},  # convert_prelu: flattens both
    "RELU": {"clip"},  # convert_relu clips in the input's space, then requantizes
    "RELU6": {"clip"},
    "RELU_N1_TO_1": {"clip"},
    "UNPACK": {"reshape", "split"},  # `unbind`: reshape, split, squeeze each
    "SPLIT": {"split"},
}

# Calls that already have the quantization of the operator's output, and are not the last: a fused
# activation's `clip`, or a `reshape` of convert_fully_connected or convert_strided_slice, follows.
_TRAILING = {
    "ADD": {"qnn.add"},
    "AVERAGE_POOL_2D": {"cast"},
    "CONCATENATION": {"qnn.concatenate"},
    "CONV_2D": {"qnn.requantize"},
    "DEPTHWISE_CONV_2D": {"qnn.requantize"},
    "FULLY_CONNECTED": {"qnn.requantize", "clip"},
    "MAX_POOL_2D": {"nn.max_pool2d"},
    "MUL": {"qnn.mul"},
    "PRELU": {"nn.prelu"},
    "STRIDED_SLICE": {"strided_slice"},
    "SUB": {"qnn.subtract"},
}

# Where a constant of a call comes from: (kind of operator, call, argument) to the index among the
# operator's inputs, and how the frontend permutes it. "reshape" keeps the order of the elements.
# TRANSPOSE_CONV has (output_shape, weights, data, bias), the others (data, weights, bias).
_CONSTANTS: dict[tuple[str, str, int], tuple[int, tuple[int, ...] | None]] = {
    ("CONV_2D", "qnn.conv2d", 1): (1, (1, 2, 3, 0)),  # OHWI to HWIO
    ("CONV_2D", "nn.bias_add", 1): (2, None),
    ("DEPTHWISE_CONV_2D", "qnn.conv2d", 1): (1, None),  # 1HW(C*M) reshaped to HWCM
    ("DEPTHWISE_CONV_2D", "nn.bias_add", 1): (2, None),
    ("FULLY_CONNECTED", "qnn.dense", 1): (1, None),
    ("FULLY_CONNECTED", "nn.bias_add", 1): (2, None),
    ("TRANSPOSE_CONV", "qnn.conv2d_transpose", 1): (1, (3, 0, 1, 2)),  # OHWI to IOHW
    ("TRANSPOSE_CONV", "nn.bias_add", 1): (3, None),
    ("ADD", "qnn.add", 0): (0, None),
    ("ADD", "qnn.add", 1): (1, None),
    ("SUB", "qnn.subtract", 0): (0, None),
    ("SUB", "qnn.subtract", 1): (1, None),
    ("MUL", "qnn.mul", 0): (0, None),
    ("MUL", "qnn.mul", 1): (1, None),
    ("PRELU", "broadcast_to", 0): (1, None),
    ("PRELU", "reshape", 0): (1, None),  # when constants are folded
}

QUANTIZED_DTYPES = ("int8", "uint8", "int16")


@dataclass(frozen=True, eq=False, repr=False)
class Named:
    """`same_shape`: the Relay value has the tensor's shape, not only its quantization."""

    tensor: FlatTensor
    same_shape: bool


def op_name(expr: Expr) -> str | None:
    """The operator of a call; None for anything else and for calls of functions."""
    if isinstance(expr, relay.Call) and isinstance(expr.op, tvm.ir.Op):
        return str(expr.op.name)
    return None


def dtype_of(expr: Expr) -> str | None:
    """The element type of a tensor, None for a tuple."""
    kind = expr.checked_type
    return str(kind.dtype) if isinstance(kind, relay.TensorType) else None


def shape_of(expr: Expr) -> tuple[int, ...]:
    return tuple(int(size) for size in expr.checked_type.shape)


def composite_name(expr: Expr) -> str | None:
    """The name of the composite that is called, None where none is."""
    if not isinstance(expr, relay.Call) or not isinstance(expr.op, relay.Function):
        return None
    attrs = expr.op.attrs
    return str(attrs["Composite"]) if attrs and "Composite" in attrs.keys() else None  # noqa: SIM118


def operands(expr: Expr) -> list[Expr]:
    """What the value is made from, without looking into functions."""
    if isinstance(expr, relay.Call):
        return list(expr.args)
    if isinstance(expr, relay.Tuple):
        return list(expr.fields)
    if isinstance(expr, relay.TupleGetItem):
        return [expr.tuple_value]
    return []


def reachable(root: Expr) -> list[Expr]:
    """Every value that `root` is made from, each once, operands first. Not recursive: a deep
    network is deeper than Python's stack."""
    seen: set[Expr] = set()
    order: list[Expr] = []
    stack: list[tuple[Expr, bool]] = [(root, False)]
    while stack:
        expr, ready = stack.pop()
        if ready:
            order.append(expr)
        elif expr not in seen:
            seen.add(expr)
            stack.append((expr, True))
            stack += [(operand, False) for operand in reversed(operands(expr))]
    return order


class Names:
    """The names of the values of `prepared`, an imported and not yet partitioned module."""

    def __init__(self, prepared: Any, model: FlatModel) -> None:
        self.model = model
        self._by_span = {operator.span: operator for operator in model.operators}
        main = prepared["main"]
        self.order = reachable(main.body)
        self._users: dict[Expr, list[Expr]] = defaultdict(list)
        for expr in self.order:
            for operand in operands(expr):
                self._users[operand].append(expr)
        results = main.body.fields if isinstance(main.body, relay.Tuple) else [main.body]
        self._results = set(results)

    def operator(self, expr: Expr) -> FlatOperator | None:
        """The operator of the file that the frontend made this call for."""
        for span in _spans(expr):
            if span in self._by_span:
                return self._by_span[span]
        return None

    def tensor(self, expr: Expr) -> Named | None:
        """The tensor of the file that this value is, None where the file has no such tensor."""
        if isinstance(expr, relay.Var):
            return self._named(str(expr.name_hint), True)
        operator = self.operator(expr)
        if operator is None or isinstance(expr, relay.Tuple | relay.Constant):
            return None
        if len(operator.outputs) > 1:
            return self._one_of_many(expr, operator)
        if self._leaves(expr, operator):
            return self._named(operator.outputs[0], True)
        return self._inside(expr, operator)

    def constant(self, call: Expr, argument: int, value: Array) -> Named | None:
        """The tensor of the file that a constant argument of a call is. That the numbers are those
        of the file, in the layout that Relay wants, is checked here, so no wrong one is taken."""
        operator = self.operator(call)
        if operator is None:
            return None
        where = _CONSTANTS.get((operator.kind, op_name(call) or "", argument))
        if where is None or where[0] >= len(operator.inputs):
            return None
        name = operator.inputs[where[0]]
        named = None if name is None else self._named(name, where[1] is None)
        if named is None or named.tensor.value is None:
            return None
        held = named.tensor.value
        laid_out = held if where[1] is None else held.transpose(where[1])
        if laid_out.size != value.size:  # PRELU's slope, once it is broadcast
            laid_out = np.broadcast_to(laid_out, value.shape)
        if not np.array_equal(laid_out.reshape(value.shape), value):
            raise AssertionError(f"{name} is not the constant in argument {argument} of {call.op}")
        return Named(named.tensor, held.shape == value.shape and named.same_shape)

    def _named(self, name: str, same_shape: bool) -> Named | None:
        tensor = self.model.tensors.get(name)
        return None if tensor is None else Named(tensor, same_shape)

    def _leaves(self, expr: Expr, operator: FlatOperator) -> bool:
        """Whether the value is used by another operator, or is a result of the module."""
        return expr in self._results or any(
            self._belongs_elsewhere(user, operator) for user in self._users[expr]
        )

    def _belongs_elsewhere(self, user: Expr, operator: FlatOperator) -> bool:
        """A tuple that collects the arguments of `qnn.concatenate`, say, is its user's."""
        if isinstance(user, relay.Tuple) and self.operator(user) is None:
            return any(self._belongs_elsewhere(further, operator) for further in self._users[user])
        return self.operator(user) is not operator

    def _inside(self, expr: Expr, operator: FlatOperator) -> Named | None:
        if dtype_of(expr) not in QUANTIZED_DTYPES:
            return None
        if op_name(expr) in _LEADING.get(operator.kind, ()):
            source = self._argument(expr)
            return None if source is None else Named(source.tensor, False)
        if op_name(expr) in _TRAILING.get(operator.kind, ()):
            return self._named(operator.outputs[0], False)
        return None

    def _argument(self, call: Expr) -> Named | None:
        if isinstance(call.args[0], relay.Constant):
            return self.constant(call, 0, call.args[0].data.numpy())
        return self.tensor(call.args[0])

    def _one_of_many(self, expr: Expr, operator: FlatOperator) -> Named | None:
        """SPLIT is `split`, then a field of it. UNPACK is `reshape`, `split`, a `squeeze` of each
        field, a tuple of these, and a field of that tuple again."""
        if isinstance(expr, relay.TupleGetItem):
            last = operator.kind == "SPLIT" or isinstance(expr.tuple_value, relay.Tuple)
            return self._named(operator.outputs[expr.index], last)
        if op_name(expr) == "squeeze" and isinstance(expr.args[0], relay.TupleGetItem):
            return self._named(operator.outputs[expr.args[0].index], True)
        return self._inside(expr, operator)


def _spans(expr: Expr) -> Iterator[str]:
    """A pass that makes one call out of several gives it all their spans."""
    span = expr.span
    if span is None:
        return
    for one in span.spans if hasattr(span, "spans") else [span]:
        yield str(one.source_name.name)


@dataclass(eq=False, repr=False)
class ConstantUse:
    """A constant in a composite: argument `argument` of `call`, a call of the prepared module."""

    call: Expr
    argument: int

    @property
    def expr(self) -> Expr:
        return self.call.args[self.argument]

    @property
    def value(self) -> Array:
        return np.asarray(self.expr.data.numpy())


@dataclass(eq=False, repr=False)
class Paired:
    """What a call of a composite stands for in the prepared module."""

    root: Expr
    arguments: dict[int, Expr] = field(default_factory=dict)
    calls: list[Expr] = field(default_factory=list)
    constants: list[ConstantUse] = field(default_factory=list)


@dataclass(eq=False, repr=False)
class Pairing:
    composites: dict[Expr, Paired] = field(default_factory=dict)
    host: list[Expr] = field(default_factory=list)


def pair(module: Any, prepared: Any) -> Pairing:
    """Walks both modules from their results to their inputs, side by side."""
    return _Pairer(module["main"], prepared["main"]).run()


class _Pairer:
    """A piece of work is a value of the partitioned module, the prepared value that it must be, and
    the composite whose body it stands in (None: none)."""

    def __init__(self, main: Any, prepared: Any) -> None:
        if len(main.params) != len(prepared.params):
            raise AssertionError("the two modules have different inputs")
        self.inputs = dict(zip(main.params, prepared.params, strict=True))
        self.work: list[tuple[Expr, Expr, Expr | None]] = [(main.body, prepared.body, None)]
        self.done: dict[tuple[Expr, Expr | None], Expr] = {}
        self.pairing = Pairing()

    def run(self) -> Pairing:
        while self.work:
            ours, theirs, inside = self.work.pop()
            known = self.done.get((ours, inside))
            if known is None:
                self.done[ours, inside] = theirs
                self._step(ours, theirs, inside)
            elif not _same(known, theirs):
                raise AssertionError(f"{_head(ours)} stands for two values: {_head(theirs)}")
        return self.pairing

    def _step(self, ours: Expr, theirs: Expr, inside: Expr | None) -> None:
        if isinstance(ours, relay.Var):
            self._variable(ours, theirs, inside)
        elif composite_name(ours) is not None:
            if ours not in self.pairing.composites:
                self.pairing.composites[ours] = Paired(theirs)
                self.work.append((ours.op.body, theirs, ours))
        else:
            self._same_kind(ours, theirs, inside)

    def _variable(self, ours: Expr, theirs: Expr, inside: Expr | None) -> None:
        if inside is None:
            if not self.inputs[ours].same_as(theirs):
                raise AssertionError(f"input {ours.name_hint} stands for {_head(theirs)}")
            return
        index = next(i for i, param in enumerate(inside.op.params) if param.same_as(ours))
        self.pairing.composites[inside].arguments[index] = theirs
        self.work.append((inside.args[index], theirs, None))

    def _same_kind(self, ours: Expr, theirs: Expr, inside: Expr | None) -> None:
        below, opposite = operands(ours), operands(theirs)
        if _head(ours) != _head(theirs) or len(below) != len(opposite):
            raise AssertionError(f"{_head(ours)} stands for {_head(theirs)}")
        if isinstance(ours, relay.Call):
            calls = self.pairing.host
            if inside is not None:
                calls = self.pairing.composites[inside].calls
                self.pairing.composites[inside].constants += _constants(theirs)
            if not any(call.same_as(theirs) for call in calls):
                calls.append(theirs)
        self.work += [(a, b, inside) for a, b in zip(below, opposite, strict=True)]


def _constants(call: Expr) -> Iterator[ConstantUse]:
    for argument, value in enumerate(call.args):
        if isinstance(value, relay.Constant):
            yield ConstantUse(call, argument)


def _same(one: Expr, other: Expr) -> bool:
    """One constant may be held once or several times; anything else is one node."""
    if isinstance(one, relay.Constant) and isinstance(other, relay.Constant):
        return bool(tvm.ir.structural_equal(one, other))
    return bool(one.same_as(other))


def _head(expr: Expr) -> str:
    if isinstance(expr, relay.TupleGetItem):
        return f"field {expr.index}"
    return op_name(expr) or type(expr).__name__
