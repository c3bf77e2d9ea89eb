"""Quantization parameters of the values of a Relay module: what operands say, carried along shares.

Forward from producers; where a value has none upstream (a graph input), backward from its users.
Goes through tuples, their fields, and composite and partitioned functions. Where two sources
disagree the value is unknown and the disagreement is kept as a conflict.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tvm
from tvm import relay

from qpat.ops.roles import RESULT, AxisMove, AxisRule, Group, Share, roles
from qpat.ops.table import operator
from qpat.relay.graph import post_order
from qpat.targets import relay_slots as slots
from qpat.targets.relay_reading import constant_value
from qpat.targets.relay_support import Parameters

Moved = Callable[["int | None"], "int | None"]


def _unmoved(axis: int | None) -> int | None:
    return axis


@dataclass(frozen=True)
class Conflict:
    """Two parameters said of one value."""

    value: Any
    first: Parameters
    second: Parameters


@dataclass
class Quantization:
    """The parameters of every value something is known of. Keys are expressions by identity."""

    known: dict[Any, Parameters] = field(default_factory=dict)
    conflicts: list[Conflict] = field(default_factory=list)

    def of(self, value: Any) -> Parameters | None:
        """Parameters of an expression of the analysed module; None where nothing is known."""
        return self.known.get(value)


@dataclass(frozen=True)
class _Edge:
    """`start` and `end` are in one space; `moved` takes an axis from one to the other."""

    start: Any
    end: Any
    moved: Moved


def quantization(module: Any) -> Quantization:
    """Analyses a typed module; see the file's docstring. Never changes the module."""
    graph = _Graph(module)
    graph.read()
    return _Solver(graph).solve()


# ---- reading the module --------------------------------------------------------------


class _Graph:
    """Values in an order with operands first, what is said of them, and who shares with whom."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self.order: list[Any] = []
        self.said: dict[Any, Parameters] = {}  # by the operator that makes the value
        self.wanted: dict[Any, list[Parameters]] = {}  # by operators that use it
        self.into: dict[Any, list[_Edge]] = {}  # from operands, by result
        self.outof: dict[Any, list[_Edge]] = {}  # to results, by operand
        self._bound: dict[Any, Any] = {}  # a function's parameter to the argument it stands for
        self._placeholders: set[Any] = set()
        self._entered: set[str] = set()

    def read(self) -> None:
        for variable, function in self.module.functions.items():
            if not _is_partitioned(function):
                self._entered.add(variable.name_hint)
                self._body(function.body)

    def _body(self, body: Any) -> None:
        for value in post_order(body):
            self.order.append(value)
            if isinstance(value, relay.Call):
                self._call(value)
            elif isinstance(value, relay.TupleGetItem):
                self._field(value)

    def _call(self, call: Any) -> None:
        if isinstance(call.op, relay.Function):
            self._enter(call, call.op)
        elif isinstance(call.op, tvm.ir.GlobalVar):
            self._enter_global(call)
        elif isinstance(call.op, tvm.ir.Op):
            self._operator(call)

    def _enter(self, call: Any, function: Any) -> None:
        for parameter, argument in zip(function.params, call.args, strict=True):
            self._bound[parameter] = argument
            self.order.append(parameter)
            self._share(argument, parameter)
        self._body(function.body)
        self._share(function.body, call)

    def _enter_global(self, call: Any) -> None:
        name = call.op.name_hint
        if name in self._entered or name not in {v.name_hint for v in self.module.functions}:
            return
        self._entered.add(name)
        self._enter(call, self.module[name])

    def resolve(self, value: Any) -> Any:
        """What a function's parameter stands for, as far out as it is known."""
        while value in self._bound:
            value = self._bound[value]
        return value

    def _field(self, item: Any) -> None:
        source = self.resolve(item.tuple_value)
        if isinstance(source, relay.Tuple):
            self._share(source.fields[item.index], item)
        else:
            self._share(item.tuple_value, item)

    # ---- operators ----
    def _operator(self, call: Any) -> None:
        known = roles(call.op.name)
        if not known.groups and not known.shares:
            return
        if self._is_placeholder(call):
            return
        for group in known.groups:
            self._group(call, group)
        for share in known.shares:
            self._shared(call, share)

    def _is_placeholder(self, call: Any) -> bool:
        """The TFLite frontend writes scale 1 and zero point 0 on every qnn.batch_matmul and on the
        requantize behind it (convert_batch_matmul in tvm/relay/frontend/tflite.py): they say
        nothing."""
        name = call.op.name
        if name == "qnn.batch_matmul":
            slots = [self._parameters(call, group, None) for group in roles(name).groups]
            if all(slot is not None and _is_one_and_zero(slot) for slot in slots):
                self._placeholders.add(call)
                return True
        elif name in ("reshape", "transpose") and self.resolve(call.args[0]) in self._placeholders:
            self._placeholders.add(call)
        elif name == "qnn.requantize" and self.resolve(call.args[0]) in self._placeholders:
            slots = [self._parameters(call, group, None) for group in roles(name).groups]
            return all(slot is not None and _is_one_and_zero(slot) for slot in slots)
        return False

    def _group(self, call: Any, group: Group) -> None:
        if group.tensor == RESULT:
            found = self._parameters(call, group, call)
            if found is not None and _is_integer(call):
                self.said[call] = found
            return
        tensor = self._operand(call, group.tensor)
        if isinstance(self.resolve(tensor), relay.Tuple):
            self._tuple_group(call, group, self.resolve(tensor))
            return
        found = self._parameters(call, group, tensor)
        if found is not None:
            self.wanted.setdefault(tensor, []).append(found)

    def _tuple_group(self, call: Any, group: Group, tensor: Any) -> None:
        scales = self.resolve(self._operand(call, group.scale))
        zero_points = self.resolve(self._operand(call, group.zero_point))
        if not isinstance(scales, relay.Tuple) or not isinstance(zero_points, relay.Tuple):
            return
        slots = zip(tensor.fields, scales.fields, zero_points.fields, strict=False)
        for value, scale, zero_point in slots:
            found = self._read(scale, zero_point, None)
            if found is not None:
                self.wanted.setdefault(value, []).append(found)

    def _operand(self, call: Any, name: str) -> Any:
        signature = operator(call.op.name)
        position = signature.operand_index(name) if signature is not None else None
        return call.args[position] if position is not None and position < len(call.args) else None

    def _parameters(self, call: Any, group: Group, tensor: Any) -> Parameters | None:
        scale, zero_point = self._operand(call, group.scale), self._operand(call, group.zero_point)
        axis = None if tensor is None else _said_axis(call, group.axis, tensor)
        return self._read(scale, zero_point, axis)

    def _read(self, scale: Any, zero_point: Any, axis: int | None) -> Parameters | None:
        scale, zero_point = self.resolve(scale), self.resolve(zero_point)
        if not isinstance(scale, relay.Constant) or not isinstance(zero_point, relay.Constant):
            return None
        values = [slots.scalar_or_vector(constant_value(each)) for each in (scale, zero_point)]
        is_vector = any(np.ndim(value) for value in values)
        return Parameters(values[0], values[1], axis if is_vector else None)

    def _shared(self, call: Any, share: Share) -> None:
        operand = self._operand(call, share.operand)
        if operand is None:
            return
        if share.accumulators_only and not _is_accumulator(call):
            return
        source = self.resolve(operand)
        starts = source.fields if isinstance(source, relay.Tuple) else [operand]
        for start in starts:
            if _is_integer(start) and _is_integer(call):
                there, back = (_axis_move(call, share.move, start, way) for way in (True, False))
                self._share(start, call, there, back)

    def _share(self, start: Any, end: Any, there: Moved = _unmoved, back: Moved = _unmoved) -> None:
        """`there` and `back` take an axis of `start` to one of `end`, and the other way round."""
        self.into.setdefault(end, []).append(_Edge(start, end, there))
        self.outof.setdefault(start, []).append(_Edge(start, end, back))


def _is_partitioned(function: Any) -> bool:
    return bool(function.attrs) and "Compiler" in function.attrs.keys()  # noqa: SIM118 - a TVM map


def _is_one_and_zero(parameters: Parameters) -> bool:
    return slots.same_value(parameters.scale, np.float32(1)) and slots.same_value(
        parameters.zero_point, np.int32(0)
    )


def dtypes_of(value: Any) -> list[str]:
    """The dtypes of a typed expression: of a tuple those of all its tensors."""
    return _type_dtypes(value.checked_type)


def _type_dtypes(type_: Any) -> list[str]:
    if isinstance(type_, tvm.ir.TupleType):
        return [dtype for each in type_.fields for dtype in _type_dtypes(each)]
    return [str(type_.dtype)] if isinstance(type_, tvm.ir.TensorType) else []


def is_integer(dtype: str) -> bool:
    return dtype.startswith(("int", "uint"))


def _is_integer(value: Any) -> bool:
    return all(is_integer(dtype) for dtype in dtypes_of(value))


def _is_accumulator(value: Any) -> bool:
    return all(dtype in ("int32", "int64") for dtype in dtypes_of(value))


# ---- axes ------------------------------------------------------------------------------


def _said_axis(call: Any, rule: AxisRule, tensor: Any) -> int | None:
    if rule.layout is not None:
        return slots.layout_axis(call, rule.layout, rule.letter)
    if rule.attribute is not None and len(dtypes_of(tensor)) == 1:
        return slots.attribute_axis(call, rule.attribute, tensor)
    return rule.fixed


def _axis_move(call: Any, move: AxisMove, operand: Any, forward: bool) -> Moved:
    """How an axis goes from `operand` to the result of `call`, or back."""
    start, end = (operand, call) if forward else (call, operand)
    bias = slots.biased_axis if forward else slots.bias_axis
    moves: Mapping[AxisMove, Moved] = {
        AxisMove.SAME: _unmoved,
        AxisMove.LOST: lambda axis: None,
        AxisMove.BIAS: lambda axis: bias(call, axis),
        AxisMove.BROADCAST: lambda axis: slots.broadcast_axis(start, end, axis),
        AxisMove.TRANSPOSE: lambda axis: slots.transposed_axis(call, forward, axis),
        AxisMove.RESHAPE: lambda axis: slots.reshaped_axis(start, end, axis),
    }
    return moves[move]


# ---- solving -----------------------------------------------------------------------------


class _Solver:
    """Producers first; then users, for values that nothing upstream says anything of; until nothing
    new is learnt."""

    def __init__(self, graph: _Graph) -> None:
        self.graph = graph
        self.result = Quantization()
        self.disagreed: set[Any] = set()

    def solve(self) -> Quantization:
        self.result.known.update(self.graph.said)
        learnt = True
        while learnt:
            learnt = self._forward()
            learnt = self._backward() or learnt
        self._contradictions()
        return self.result

    def _forward(self) -> bool:
        """Every value from its operands. True where one was learnt."""
        learnt = False
        for value in self.graph.order:
            edges = self.graph.into.get(value, ())
            learnt = self._learn(value, self._arriving(edges, forward=True)) or learnt
        return learnt

    def _backward(self) -> bool:
        """Values whose operands say nothing, from their users."""
        learnt = False
        for value in reversed(self.graph.order):
            said = list(self.graph.wanted.get(value, ()))
            said += self._arriving(self.graph.outof.get(value, ()), forward=False)
            learnt = self._learn(value, said) or learnt
        return learnt

    def _arriving(self, edges: Iterable[_Edge], forward: bool) -> list[Parameters]:
        found: list[Parameters] = []
        for edge in edges:
            source = self.result.of(edge.start if forward else edge.end)
            moved = None if source is None else _moved(source, edge.moved)
            if moved is not None:
                found.append(moved)
        return found

    def _learn(self, value: Any, said: list[Parameters]) -> bool:
        if value in self.result.known or value in self.disagreed or not said:
            return False
        other = next((each for each in said if not _equal(said[0], each)), None)
        if other is not None:
            self.disagreed.add(value)
            self.result.conflicts.append(Conflict(value, said[0], other))
            return False
        self.result.known[value] = said[0]
        return True

    def _contradictions(self) -> None:
        """Users that say something else than what is known."""
        for value in self.graph.order:
            known = self.result.of(value)
            if known is None:
                continue
            for wanted in self.graph.wanted.get(value, ()):
                if not _equal(known, wanted):
                    self.result.conflicts.append(Conflict(value, known, wanted))


def _moved(parameters: Parameters, moved: Moved) -> Parameters | None:
    """The same parameters behind a move; None where a vector loses its axis."""
    if parameters.axis is None:
        is_scalar = np.ndim(parameters.scale) == 0 and np.ndim(parameters.zero_point) == 0
        return parameters if is_scalar else None
    axis = moved(parameters.axis)
    return None if axis is None else parameters._replace(axis=axis)


def _equal(first: Parameters, second: Parameters) -> bool:
    return (
        slots.same_value(first.scale, second.scale)
        and slots.same_value(first.zero_point, second.zero_point)
        and first.axis == second.axis
    )
