"""What each call of a module says of quantization parameters, and which values share them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from qpat.ops.roles import RESULT, SCALAR, AxisMove, Group, Roles, Share, roles
from qpat.ops.table import operator
from qpat.relay.aliases import Aliases
from qpat.relay.kinds import relay, tvm
from qpat.relay.names import operator_name
from qpat.relay.parameters import Unread, dtypes_of, fits, holds_integers, is_integer, read
from qpat.targets import relay_slots as slots
from qpat.targets.relay_reading import Attributes, Refused, plain, shape_of
from qpat.targets.relay_support import Parameters

Expr = Any
_ELEMENTWISE = ("cast", "clip", "copy", "nn.relu")
Moved = Callable[["int | None"], "int | None"]


@dataclass(frozen=True, eq=False)
class Source:
    """A call, and of which of its tensors it says something: an operand's name, or RESULT."""

    call: Expr
    tensor: str


@dataclass(frozen=True, eq=False)
class Saying:
    """Parameters, and which call has them as its operands."""

    parameters: Parameters
    source: Source


@dataclass(frozen=True, eq=False)
class Silence:
    """A call that ought to say something of a value and does not, or nothing that can be."""

    value: Expr
    unread: Unread
    source: Source


@dataclass(frozen=True, eq=False)
class Edge:
    """`start` and `end` are in one space. `call` is the operator that makes it so, None where the
    two are fields, arguments or branches; `share` is its role."""

    start: Expr
    end: Expr
    call: Expr | None = None
    share: Share | None = None

    def carry(self, parameters: Parameters, forward: bool) -> Parameters | str:
        """What is known of one end, as it is true of the other; or why it is not."""
        start, end = (self.start, self.end) if forward else (self.end, self.start)
        dtype = dtypes_of(end)[0]
        if not fits(parameters.zero_point, dtype):
            return f"the zero point is no {dtype}"
        if self.call is None or self.share is None:
            return parameters
        if self.share.adds and np.any(np.asarray(parameters.zero_point) != 0):
            return f"{self.call.op.name} adds zero points"
        if parameters.axis is None:
            return parameters
        axis = self._axis(parameters, start, end, forward)
        if axis is None:
            return f"per-channel parameters do not survive {self.call.op.name}"
        return parameters._replace(axis=axis)

    def _axis(self, parameters: Parameters, start: Expr, end: Expr, forward: bool) -> int | None:
        assert self.call is not None and self.share is not None and parameters.axis is not None
        try:
            if not _keeps_order(self.call, parameters.axis):
                return None
            axis = _axis_move(self.call, self.share.move, start, end, forward)(parameters.axis)
        except (Refused, IndexError, ValueError):
            return None  # attributes that say of no axis what becomes of it
        if axis is None or self.call.op.name == "split":
            return axis
        before, behind = _shape(start), _shape(end)
        length = max(np.size(parameters.scale), np.size(parameters.zero_point))
        if before[parameters.axis] != length and self.call.op.name not in _ELEMENTWISE:
            return None  # it runs over the axis behind too
        same_sizes = before[parameters.axis] == behind[axis] is not None
        return axis if same_sizes else None


class Spaces:
    """The values of a typed module with operands first, what is said of each by the call that makes
    it and by those that use it, who shares a space with whom, and who says nothing.

    `dropped` has the values whose parameters a frontend does not write into the module.
    """

    def __init__(self, module: Any) -> None:
        self.aliases = Aliases(module)
        self.order = self.aliases.order()
        self.said: dict[Expr, Saying] = {}
        self.wanted: dict[Expr, list[Saying]] = {}
        self.silent: list[Silence] = []
        self.dropped: dict[Expr, str] = {}
        self.into: dict[Expr, list[Edge]] = {}  # from operands, by result
        self.outof: dict[Expr, list[Edge]] = {}  # to results, by operand
        self._placeholders: set[Expr] = set()
        for value in self.order:
            self._value(value)

    def _value(self, value: Expr) -> None:
        if isinstance(value, relay.Call):
            self._call(value)
        elif isinstance(value, relay.TupleGetItem):
            self._field(value)
        elif isinstance(value, relay.If):
            for branch in (value.true_branch, value.false_branch):
                self._share(Edge(self.aliases.resolve(branch), value))

    def _call(self, call: Expr) -> None:
        function = self.aliases.function(call)
        if function is not None:
            # Called from several places: what is true of one call is true of all.
            for parameter, argument in zip(function.params, call.args, strict=False):
                self._share(Edge(self.aliases.resolve(argument), parameter))
            self._share(Edge(self.aliases.resolve(function.body), call))
        elif operator_name(call) != "Call":
            self._operator(call, roles(call.op.name))

    def _field(self, item: Expr) -> None:
        """All fields of what an operator makes are in one space where its role says so."""
        source = self.aliases.resolve(item.tuple_value)
        if isinstance(source, relay.Call) and roles(operator_name(source)).shares:
            self._share(Edge(source, item))
        elif isinstance(source, relay.Call) and self.aliases.function(source) is not None:
            body = self.aliases.resolve(self.aliases.function(source).body)
            field = self.aliases.item(body, item.index)
            if field is not None:
                self._share(Edge(field, item))

    def _share(self, edge: Edge) -> None:
        if _are_tensors_of_integers(edge.start) and _are_tensors_of_integers(edge.end):
            self.into.setdefault(edge.end, []).append(edge)
            self.outof.setdefault(edge.start, []).append(edge)

    # ---- operators ----
    def _operator(self, call: Expr, known: Roles) -> None:
        if call.op.name == "nn.prelu":
            self._drop(call, call.op.name)
        if not known.groups and not known.shares:
            return
        if self._is_placeholder(call):
            return
        for group in known.groups:
            self._group(call, group)
        for share in known.shares:
            self._shared(call, share)

    def _drop(self, call: Expr, name: str) -> None:
        """The frontend of TFLite leaves an operator's parameters out: convert_prelu and
        convert_batch_matmul in tvm/relay/frontend/tflite.py."""
        for value in (call, *map(self.aliases.resolve, call.args)):
            self.dropped.setdefault(value, name)

    def _is_placeholder(self, call: Expr) -> bool:
        """The TFLite frontend writes scale 1 and zero point 0 on every qnn.batch_matmul and on the
        requantize behind it (convert_batch_matmul in tvm/relay/frontend/tflite.py): they say
        nothing."""
        name = call.op.name
        if name == "qnn.batch_matmul" and self._says_one_and_zero(call):
            self._placeholders.add(call)
            for value in (call, *map(self.aliases.resolve, call.args[:2])):
                self.dropped.setdefault(value, name)
            return True
        if name not in ("reshape", "transpose", "qnn.requantize"):
            return False
        if self.aliases.resolve(call.args[0]) not in self._placeholders:
            return False
        if name != "qnn.requantize":
            self._placeholders.add(call)
            return False
        if self._says_one_and_zero(call):
            self.dropped.setdefault(call, "qnn.batch_matmul")
            return True
        return False

    def _says_one_and_zero(self, call: Expr) -> bool:
        tensors = [
            (group, call if group.tensor == RESULT else self._operand(call, group.tensor))
            for group in roles(call.op.name).groups
        ]
        found = [self._read(call, group, tensor) for group, tensor in tensors]
        return all(isinstance(each, Parameters) and _is_one_and_zero(each) for each in found)

    def _group(self, call: Expr, group: Group) -> None:
        source = Source(call, group.tensor)
        tensor = call if group.tensor == RESULT else self._operand(call, group.tensor)
        if tensor is None or not holds_integers(tensor):
            return
        if isinstance(tensor.checked_type, tvm.ir.TupleType):
            for value, found in self._of_fields(call, group, tensor):
                self._say(value, found, source)
            return
        self._say(tensor, self._read(call, group, tensor), source)

    def _say(self, value: Expr, found: Parameters | Unread, source: Source) -> None:
        if isinstance(found, Unread):
            self.silent.append(Silence(value, found, source))
        elif source.tensor == RESULT:
            self.said[value] = Saying(found, source)
        else:
            self.wanted.setdefault(value, []).append(Saying(found, source))

    def _of_fields(
        self, call: Expr, group: Group, tensor: Expr
    ) -> Iterator[tuple[Expr, Parameters | Unread]]:
        """What is said of each field of a tuple: one scale and zero point for each."""
        scales = self._operand(call, group.scale)
        zero_points = self._operand(call, group.zero_point)
        count = len(tensor.checked_type.fields)
        lengths = [
            len(each.fields) if isinstance(each, relay.Tuple) else None
            for each in (scales, zero_points)
        ]
        for index in range(count):
            value = self.aliases.item(tensor, index)
            if value is None:
                continue
            if None in lengths:
                yield value, Unread("its scale or zero point is not constant", is_wrong=False)
            elif lengths != [count, count]:
                has = f"{lengths[0]} scales and {lengths[1]} zero points for {count} tensors"
                yield value, Unread(f"there are {has}", is_wrong=True)
            else:
                scale = self.aliases.item(scales, index)
                zero_point = self.aliases.item(zero_points, index)
                yield value, read(scale, zero_point, SCALAR, call, value)

    def _operand(self, call: Expr, name: str) -> Expr:
        signature = operator(call.op.name)
        position = signature.operand_index(name) if signature is not None else None
        if position is None or position >= len(call.args):
            return None
        return self.aliases.resolve(call.args[position])

    def _read(self, call: Expr, group: Group, tensor: Expr) -> Parameters | Unread:
        scale, zero_point = self._operand(call, group.scale), self._operand(call, group.zero_point)
        return read(scale, zero_point, group.axis, call, tensor)

    def _shared(self, call: Expr, share: Share) -> None:
        operand = self._operand(call, share.operand)
        if operand is None or (share.accumulators_only and not _is_accumulator(call)):
            return
        starts = [operand]
        if isinstance(operand, relay.Tuple):
            starts = [self.aliases.resolve(field) for field in operand.fields]
        for start in starts:
            if call.op.name != "cast" or _keeps_integers(start, call):
                self._share(Edge(start, call, call, share))


def _is_one_and_zero(parameters: Parameters) -> bool:
    return slots.same_value(parameters.scale, np.float32(1)) and slots.same_value(
        parameters.zero_point, np.int32(0)
    )


def _are_tensors_of_integers(value: Expr) -> bool:
    """Of a tuple's fields one may have parameters that the others do not, unless an operator made
    them all."""
    return holds_integers(value) and not isinstance(value, relay.Tuple)


def _is_accumulator(value: Expr) -> bool:
    return all(dtype in ("int32", "int64") for dtype in dtypes_of(value))


def _keeps_integers(start: Expr, end: Expr) -> bool:
    """Whether a cast leaves the integers what they are, as far as a value goes that was widened and
    is made narrow again. Between int8 and uint8 some become others."""
    first, second = dtypes_of(start)[0], dtypes_of(end)[0]
    if not is_integer(first) or not is_integer(second):
        return False
    if first.startswith("u") == second.startswith("u"):
        return True
    unsigned, signed = (first, second) if first.startswith("u") else (second, first)
    return int(signed.lstrip("int")) > int(unsigned.lstrip("uint"))


# ---- axes ------------------------------------------------------------------------------


def _shape(value: Expr) -> tuple[int | None, ...]:
    """The shape of a tensor, or of the first of several."""
    type_ = value.checked_type
    return shape_of(type_.fields[0] if isinstance(type_, tvm.ir.TupleType) else type_)


def _keeps_order(call: Expr, axis: int) -> bool:
    """Whether an operator that leaves a tensor its axes leaves each place along one where it is."""
    name, attributes = call.op.name, Attributes(call)
    if name in ("split", "reverse"):
        rank = len(shape_of(call.args[0]))
        return bool(axis != int(attributes.axis) % max(rank, 1))
    if name == "strided_slice":
        return all(int(step) > 0 for step in attributes.strides or ())
    if name in ("nn.pad", "nn.mirror_pad"):
        return not any(plain(attributes.pad_width)[axis])
    layout = getattr(call.attrs, "layout", None)
    if layout is None or name == "layout_transform":
        return True
    # A pool or a resize mixes what is along the other axes.
    return str(layout)[axis : axis + 1] in ("N", "C")


def _axis_move(call: Expr, move: AxisMove, start: Expr, end: Expr, forward: bool) -> Moved:
    """How an axis goes from one end of a share to the other."""
    bias = slots.biased_axis if forward else slots.bias_axis
    moves: Mapping[AxisMove, Moved] = {
        AxisMove.SAME: lambda axis: axis,
        AxisMove.LOST: lambda axis: None,
        AxisMove.BIAS: lambda axis: bias(call, axis),
        AxisMove.BROADCAST: lambda axis: slots.broadcast_axis(start, end, axis),
        AxisMove.TRANSPOSE: lambda axis: slots.transposed_axis(call, forward, axis),
        AxisMove.RESHAPE: lambda axis: slots.reshaped_axis(start, end, axis),
    }
    return moves[move]
