"""What every generated Relay module begins with: records, reading a graph, comparing, trying rows.

`qpat compile` copies the text between the two rulers below into the module it writes, so this file
keeps to what such a module may use: Python 3.8, TVM 0.9 to 0.19 and NumPy. The same goes for
relay_conditions.py and relay_interface.py, which follow it there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Optional, Tuple

import numpy as np
import tvm
from tvm import relay

# ---- support: the same in every module qpat writes ---------------------------------


class Refused(Exception):
    """A match is refused; the text says why."""


class Mismatch(Refused):
    """The graph has another structure than the row."""


@dataclass(frozen=True, eq=False)
class Tensor:
    """One tensor of a match, as the code generator wants it.

    `scale` is a float32, or a float32 vector along `axis`; `zero_point` is in the tensor's dtype.
    Both are None where the tensor is not quantized or nothing in reach knows. A vector longer than
    the axis runs over that axis and those behind it (depthwise weights HWOI with a multiplier).
    `value` is the constant, None for anything else. `input` is the index of the composite's
    parameter that the tensor is handed over by, None for embedded constants and the output.
    """

    dtype: str
    shape: Tuple[Optional[int], ...]
    scale: Any
    zero_point: Any
    axis: Optional[int]
    value: Any
    input: Optional[int]


class Parameters(NamedTuple):
    """What `extract` wants to be told of a tensor whose parameters its composite cannot know."""

    scale: Any
    zero_point: Any
    axis: Optional[int]


class Space:
    """A scale and a zero point that several values of a match share.

    Built from the constants that say so: the first binds, the others must be equal to it by value.
    """

    def __init__(self, scale: Iterable[Any] = (), zero_point: Iterable[Any] = ()) -> None:
        self.scale = agreed(scale, "scale")
        self.zero_point = agreed(zero_point, "zero point")
        self.inherited_axis: Optional[int] = None
        self.is_disputed = False

    def fill(self, slot: str, value: Any) -> None:
        """Sets a slot that the row leaves open."""
        if getattr(self, slot) is None:
            dtype = np.float32 if slot == "scale" else np.int32
            setattr(self, slot, scalar_or_vector(np.asarray(value).astype(dtype)))


class Value:
    """One named value of a match: its expression, its space, and how to find a vector's axis."""

    def __init__(
        self,
        expr: Any,
        space: Optional[Space] = None,
        axis: Optional[Callable[[], Optional[int]]] = None,
    ) -> None:
        self.expr = expr
        self.space = space if space is not None else Space()
        self._axis = axis

    @property
    def shape(self) -> Tuple[Optional[int], ...]:
        return shape_of(self.expr)

    @property
    def dtype(self) -> str:
        return str(self.expr.checked_type.dtype)

    @property
    def attrs(self) -> Attributes:
        return Attributes(self.expr)

    @property
    def is_constant(self) -> bool:
        return isinstance(self.expr, relay.Constant)

    @property
    def value(self) -> Any:
        return constant_value(self.expr)

    @property
    def scale(self) -> Any:
        if self.space.scale is None:
            raise Refused("a scale is read that is not known")
        return self.space.scale

    @property
    def zero_point(self) -> Any:
        if self.space.zero_point is None:
            raise Refused("a zero point is read that is not known")
        return self.space.zero_point

    @property
    def axis(self) -> Optional[int]:
        if np.ndim(self.space.scale) == 0 and np.ndim(self.space.zero_point) == 0:
            return None
        if self._axis is not None:
            return self._axis()
        return self.space.inherited_axis

    def tensor(self, inputs: Dict[Any, int]) -> Tensor:
        dtype = self.dtype
        scale, zero_point, axis = self.space.scale, self.space.zero_point, self.axis
        if axis is None and (np.ndim(scale) or np.ndim(zero_point)):
            scale = zero_point = None  # a vector along an axis that is not known says nothing
        if zero_point is not None:
            zero_point = in_dtype(zero_point, dtype)
        value = self.value if self.is_constant else None
        return Tensor(dtype, self.shape, scale, zero_point, axis, value, inputs.get(self.expr))


class Attributes:
    """The attributes of a call as plain Python values; lists are tuples."""

    def __init__(self, call: Any) -> None:
        self._call = call

    def __getattr__(self, name: str) -> Any:
        try:
            return plain(getattr(self._call.attrs, name))
        except AttributeError:
            raise Refused(f"{self._call.op.name} of this TVM has no attribute {name}") from None


class Match:
    """The values and calls of one row by name. `inherited` tells what lies outside the match."""

    def __init__(self, form: Optional[str], values: Dict[str, Any], calls: Dict[str, Any]) -> None:
        self.form = form
        self.values = values
        self.calls = {name: Value(call) for name, call in calls.items()}
        self.recording = False  # a check wants to know whether, not what
        self.inputs: Dict[Any, int] = {}
        self.inherited: Callable[[Any], Optional[Parameters]] = lambda expr: None

    def tensor(self, name: str) -> Any:
        """The record of a port: a Tensor, a tuple of them, or None where it is absent."""
        value = self.values.get(name)
        if not self.recording:
            return None
        if isinstance(value, list):
            return tuple(each.tensor(self.inputs) for each in value)
        return None if value is None else value.tensor(self.inputs)

    def inherit(self, value: Value) -> None:
        """Fills what the row leaves open from the analysis of the whole module.

        Where the match and the module around it disagree nothing is known: the record must not
        take sides.
        """
        found, space = self.inherited(value.expr), value.space
        if found is None or space.is_disputed:
            return
        for slot in ("scale", "zero_point"):
            bound, inherited = getattr(space, slot), getattr(found, slot)
            if bound is None:
                setattr(space, slot, inherited)
            elif inherited is not None and not same_value(bound, inherited):
                space.is_disputed = True
        space.inherited_axis = found.axis
        if space.is_disputed:
            space.scale = space.zero_point = None


class Row(NamedTuple):
    """One alternation-free structure of a pattern."""

    composite: str
    operators: Tuple[str, ...]
    pattern: Callable[[], Any]
    bind: Callable[[Any, Dict[Any, Any]], Match]
    record: Callable[[Match], Any]


# Reading a graph: each of these raises Mismatch or Refused where it does not find what is wanted.


def call(expr: Any, operator: str, operands: int) -> Any:
    """`expr` itself, a call of `operator`."""
    is_call = isinstance(expr, relay.Call) and isinstance(expr.op, tvm.ir.Op)
    if not is_call or expr.op.name != operator:
        raise Mismatch(f"{described(expr)} where {operator} is wanted")
    if len(expr.args) != operands:
        raise Mismatch(f"{operator} with {len(expr.args)} operands, not {operands}")
    return expr


def described(expr: Any) -> str:
    if isinstance(expr, relay.Call) and isinstance(expr.op, tvm.ir.Op):
        return str(expr.op.name)
    if isinstance(expr, relay.Call):
        return "a composite"
    names = {relay.Constant: "a constant", relay.Var: "a variable", relay.Tuple: "a tuple"}
    return names.get(type(expr), type(expr).__name__)


def attribute(call_expr: Any, name: str, wanted: Any) -> None:
    """Wants an attribute of a call to have a value."""
    found = getattr(Attributes(call_expr), name)
    if not holds(found, "==", wanted):
        raise Mismatch(f"{call_expr.op.name} has {name}={found!r}, not {wanted!r}")


def constant(expr: Any, arguments: Dict[Any, Any]) -> Any:
    """A constant. TVM hands one that is also an input over as an argument of the composite."""
    expr = arguments.get(expr, expr)
    if not isinstance(expr, relay.Constant):
        raise Mismatch(f"{described(expr)} where a constant is wanted")
    return expr


def literal(expr: Any, wanted: Any, arguments: Dict[Any, Any]) -> Any:
    """A scalar constant equal to `wanted`; a float dtype rounds it, an integer one does not."""
    found = constant_value(constant(expr, arguments))
    rounded = np.asarray(wanted).astype(found.dtype)
    fits = found.dtype.kind == "f" or rounded == wanted
    if found.size != 1 or not fits or found.ravel()[0] != rounded:
        raise Mismatch(f"another constant than {wanted!r}")
    return expr


def same_node(expr: Any, first: Any) -> None:
    if not expr.same_as(first):
        raise Mismatch("two different values where one is wanted twice")


def same_fields(expr: Any, first: List[Any]) -> None:
    for each, other in zip(fields(expr, len(first)), first):
        same_node(each, other)


def apart(inputs: Iterable[Any], inside: Iterable[Any]) -> None:
    """Wants no input to be a value of the match itself, or computed from one: TVM would cut the
    composite off there, or compute the value twice."""
    inner, seen, waiting = set(inside), set(), list(inputs)
    while waiting:
        expr = waiting.pop()
        if expr in inner:
            raise Refused("an input is computed from a value inside the match")
        if expr not in seen:
            seen.add(expr)
            waiting += operands_of(expr)


def operands_of(expr: Any) -> List[Any]:
    if isinstance(expr, relay.Call):
        return list(expr.args)
    if isinstance(expr, relay.Tuple):
        return list(expr.fields)
    return [expr.tuple_value] if isinstance(expr, relay.TupleGetItem) else []


def fields(expr: Any, count: Optional[int] = None) -> List[Any]:
    """The fields of a tuple."""
    if not isinstance(expr, relay.Tuple):
        raise Mismatch(f"{described(expr)} where a tuple is wanted")
    if count is not None and len(expr.fields) != count:
        raise Mismatch(f"a tuple of {len(expr.fields)}, not {count}")
    return list(expr.fields)


def field(expr: Any, index: int) -> Any:
    """The tuple that `expr` takes field `index` of."""
    if not isinstance(expr, relay.TupleGetItem) or expr.index != index:
        raise Mismatch(f"{described(expr)} where field {index} of a tuple is wanted")
    return expr.tuple_value


def field_constants(expr: Any, arguments: Dict[Any, Any]) -> List[Any]:
    """The fields of a tuple of constants. TVM hands these to the composite as arguments."""
    return [constant(each, arguments) for each in fields(expr)]


def constant_value(expr: Any) -> Any:
    if not isinstance(expr, relay.Constant):
        raise Refused(f"{described(expr)} where a constant is wanted")
    return np.asarray(expr.data.numpy())


def shape_of(expr: Any) -> Tuple[Optional[int], ...]:
    """The shape of an expression; None for a dimension that is not known."""
    dimensions = expr.checked_type.shape
    return tuple(int(d) if isinstance(d, tvm.tir.IntImm) else None for d in dimensions)


def elements(shape: Iterable[Any]) -> int:
    """The number of elements of a shape."""
    return int(np.prod([int(each) for each in shape], dtype=np.int64))


def plain(value: Any) -> Any:
    """An attribute as a plain Python value."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, (tvm.tir.IntImm, tvm.tir.FloatImm)):
        return value.value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, (tvm.ir.Array, list, tuple)):
        return tuple(plain(each) for each in value)
    return value


# Scales and zero points.


def agreed(constants: Iterable[Any], what: str) -> Any:
    """The value that all constants agree on; None if there are none."""
    values = [scalar_or_vector(constant_value(each)) for each in constants]
    for other in values[1:]:
        if not same_value(values[0], other):
            raise Refused(f"two {what}s for one tensor: {values[0]} and {other}")
    return values[0] if values else None


def scalar_or_vector(value: Any) -> Any:
    """A scalar for anything with one element, so that per-tensor is spelled one way."""
    return value.reshape(())[()] if value.size == 1 else value


def same_value(first: Any, second: Any) -> bool:
    return np.shape(first) == np.shape(second) and bool(np.all(np.asarray(first) == second))


def in_dtype(zero_point: Any, dtype: str) -> Any:
    """A zero point in the tensor's own dtype, where NumPy has it and the value fits."""
    try:
        wanted = np.dtype(dtype)
    except TypeError:
        return zero_point
    if wanted.kind not in "iu" or not holds(
        np.asarray(zero_point).astype(wanted), "==", zero_point
    ):
        return zero_point
    return np.asarray(zero_point).astype(wanted)[()]


def attribute_axis(call_expr: Any, name: str, tensor: Any) -> int:
    """An axis said by an attribute, counted from the front."""
    axis = int(getattr(Attributes(call_expr), name))
    return axis + len(shape_of(tensor)) if axis < 0 else axis


def layout_axis(call_expr: Any, name: str, letter: str) -> Optional[int]:
    """The axis that a layout gives a letter, such as the O of HWIO."""
    position = str(getattr(Attributes(call_expr), name)).find(letter)
    return None if position < 0 else position


def bias_axis(call_expr: Any, axis: Optional[int]) -> Optional[int]:
    """The axis of a bias, from that of what it is added to: its only one."""
    return 0 if axis == attribute_axis(call_expr, "axis", call_expr) else None


def biased_axis(call_expr: Any, axis: Optional[int]) -> Optional[int]:
    """The axis of what a bias is added to, from that of the bias."""
    return attribute_axis(call_expr, "axis", call_expr) if axis == 0 else None


def broadcast_axis(start: Any, end: Any, axis: Optional[int]) -> Optional[int]:
    """An axis counted from the right stays the same one when shapes are broadcast."""
    if axis is None:
        return None
    moved = axis - len(shape_of(start)) + len(shape_of(end))
    return moved if moved >= 0 and shape_of(end)[moved] == shape_of(start)[axis] else None


def transposed_axis(call_expr: Any, forward: bool, axis: Optional[int]) -> Optional[int]:
    """Where a transpose moves an axis to, or where it came from."""
    rank = len(shape_of(call_expr))
    axes = Attributes(call_expr).axes
    order = [int(a) % rank for a in axes] if axes else list(range(rank))[::-1]
    if axis is None:
        return None
    return order.index(axis) if forward else order[axis]


def reshaped_axis(start: Any, end: Any, axis: Optional[int]) -> Optional[int]:
    """The axis of `end` that has the size and the elements before it that `axis` has in `start`."""
    old, new = shape_of(start), shape_of(end)
    if axis is None or None in old or None in new:
        return None
    before = elements(old[:axis])
    for candidate, size_there in enumerate(new):
        if size_there == old[axis] and elements(new[:candidate]) == before:
            return candidate
    return None


# Comparing.


def number(value: Any) -> Any:
    """A value to calculate with: float64, int64 or a Python number, never a narrow type."""
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise Refused(f"{value!r} is not a number")
    return array.astype(np.float64 if array.dtype.kind == "f" else np.int64)[()]


def holds(left: Any, relation: str, right: Any) -> bool:
    """A comparison that holds for all elements. Lists of different lengths are not equal."""
    if left is None or right is None or isinstance(left, str) or isinstance(right, str):
        return bool(compared(left, relation, right))
    first, second = number(left), number(right)
    if np.ndim(first) and np.ndim(second) and np.shape(first) != np.shape(second):
        return relation == "!="
    return bool(np.all(compared(first, relation, second)))


def compared(left: Any, relation: str, right: Any) -> Any:
    if relation == "==":
        return left == right
    if relation == "!=":
        return left != right
    if relation == "<=":
        return left <= right
    if relation == ">=":
        return left >= right
    return left < right if relation == "<" else left > right


# Trying a row.


def recorded(row: Row, root: Any, arguments: Dict[Any, Any], setup: Callable[[Match], None]) -> Any:
    """The record of a row at `root`. Raises Refused, also for whatever goes wrong in a condition:
    any exception in a check would stop all of MergeComposite."""
    try:
        match = row.bind(root, arguments)
        setup(match)
        return row.record(match)
    except Refused:
        raise
    except Exception as error:
        raise Refused(f"{type(error).__name__}: {error}") from error


def refusal(row: Row, root: Any) -> Optional[Refused]:
    """Why a row does not take `root`, a call in the graph with its operands behind it."""
    try:
        recorded(row, root, {}, lambda match: None)
    except Refused as refused:
        return refused
    return None


def accepts(row: Row) -> Callable[[Any], bool]:
    """The check of a row as MergeComposite calls it."""
    return lambda root: refusal(row, root) is None


# ---- end of support ------------------------------------------------------------------
