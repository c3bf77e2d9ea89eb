"""How a generated Relay module reads a graph and compares: Mismatch or Refused is raised where
it does not find what is wanted.

`qpat compile` copies what is needed between the two rulers below into the module it writes, so this
file keeps to what such a module may use: Python 3.8, TVM 0.9 to 0.19 and NumPy. The same goes for
the other files that say so.
"""

from __future__ import annotations

from typing import Any, Dict, Iterable, List, Optional, Tuple

import numpy as np

from qpat.relay.kinds import relay, tvm

# ---- reading a graph ------------------------------------------------------------------


class Refused(Exception):
    """A match is refused; the text says why."""


class Mismatch(Refused):
    """The graph has another structure than the row."""


class Attributes:
    """The attributes of a call as plain Python values; lists are tuples."""

    def __init__(self, call: Any) -> None:
        self._call = call

    def __getattr__(self, name: str) -> Any:
        try:
            found = plain(getattr(self._call.attrs, name))
            return whole_padding(self._call.op.name, found) if name == "padding" else found
        except AttributeError:
            raise Refused(f"{self._call.op.name} of this TVM has no attribute {name}") from None


def whole_padding(operator: str, padding: Any) -> Any:
    """The padding of a convolution or pool before and behind each dimension, however it is said:
    one number for all, one for each dimension, or both (get_pad_tuple2d in tvm/relay/op/nn)."""
    dimensions = {"1d": 1, "2d": 2, "3d": 3}.get(operator.replace("_transpose", "")[-2:])
    if dimensions is None or not isinstance(padding, tuple) or len(padding) == 2 * dimensions:
        return padding
    each = padding * dimensions if len(padding) == 1 else padding
    return each * 2


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


def call(expr: Any, operator: str, operands: int) -> Any:
    """`expr` itself, a call of `operator`."""
    is_call = isinstance(expr, relay.Call) and isinstance(expr.op, tvm.ir.Op)
    if not is_call or expr.op.name != operator:
        raise Mismatch(f"{described(expr)} where {operator} is wanted")
    if len(expr.args) != operands:
        raise Mismatch(f"{operator} with {len(expr.args)} operands, not {operands}")
    return expr


def composite_call(expr: Any, composite: str, operands: Optional[int]) -> Any:
    """`expr` itself, a call of a composite function; `operands` None: however many."""
    name = composite_name(expr.op) if isinstance(expr, relay.Call) else None
    if name != composite:
        raise Mismatch(f"{described(expr)} where {composite} is wanted")
    if operands is not None and len(expr.args) != operands:
        raise Mismatch(f"{composite} with {len(expr.args)} operands, not {operands}")
    return expr


def composite_name(function: Any) -> Optional[str]:
    """The name of a composite function; None for anything else."""
    if not isinstance(function, relay.Function) or not function.attrs:
        return None
    # Asked with `keys`: what an attribute that is not there raises is different in each TVM.
    named = "Composite" in function.attrs.keys()
    return str(function.attrs["Composite"]) if named else None


def described(expr: Any) -> str:
    if isinstance(expr, relay.Call) and isinstance(expr.op, tvm.ir.Op):
        return str(expr.op.name)
    if isinstance(expr, relay.Call):
        return composite_name(expr.op) or "a call of a function"
    names = {relay.Constant: "a constant", relay.Var: "a variable", relay.Tuple: "a tuple"}
    return names.get(type(expr), type(expr).__name__)


def attribute(call_expr: Any, name: str, wanted: Any) -> None:
    """Wants an attribute of a call to have a value."""
    found = getattr(Attributes(call_expr), name)
    wanted = whole_padding(call_expr.op.name, wanted) if name == "padding" else wanted
    if not holds(found, "==", wanted):
        raise Mismatch(f"{call_expr.op.name} has {name}={found!r}, not {wanted!r}")


def constant(expr: Any, arguments: Dict[Any, Any]) -> Any:
    """A constant. TVM hands one that is also an input over as an argument of the composite."""
    expr = arguments.get(expr, expr)
    if not is_embedded(expr):
        raise Mismatch(f"{described(expr)} where a constant is wanted")
    return expr


def variable(expr: Any, arguments: Dict[Any, Any]) -> Any:
    """An input of the module."""
    if not isinstance(arguments.get(expr, expr), relay.Var):
        raise Mismatch(f"{described(expr)} where an input of the module is wanted")
    return expr


def literal(expr: Any, wanted: Any, arguments: Dict[Any, Any], about: bool = False) -> Any:
    """A scalar constant equal to `wanted`; a float dtype rounds it, an integer one does not. With
    `about` a relative difference of 1e-5 is no difference."""
    found = constant_value(constant(expr, arguments))
    if about and found.size == 1 and np.allclose(found, wanted, rtol=1e-5, atol=0.0):
        return expr
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


def fields_handed_over(expr: Any, arguments: Dict[Any, Any]) -> List[Any]:
    """The fields of a tuple of scales or zero points. TVM hands these to the composite."""
    return [arguments.get(each, each) for each in fields(expr)]


def is_embedded(expr: Any) -> bool:
    return isinstance(expr, relay.Constant)


def is_tensor(type_: Any) -> bool:
    return isinstance(type_, tvm.ir.TensorType)


def constant_value(expr: Any) -> Any:
    if not is_embedded(expr):
        raise Refused(f"{described(expr)} where a constant is wanted")
    return np.asarray(expr.data.numpy())


def shape_of(typed_or_type: Any) -> Tuple[Optional[int], ...]:
    """The shape of an expression or of a type; None for a dimension that is not known."""
    dimensions = getattr(typed_or_type, "checked_type", typed_or_type).shape
    return tuple(int(d) if isinstance(d, tvm.tir.IntImm) else None for d in dimensions)


def elements(shape: Iterable[Any]) -> int:
    """The number of elements of a shape. Refuses where a dimension is not known."""
    known = list(shape)
    if None in known:
        raise Refused("the size of a dimension is not known")
    return int(np.prod([int(each) for each in known], dtype=np.int64))


def number(value: Any) -> Any:
    """A value to calculate with: float64, int64 or a Python number, never a narrow type."""
    if isinstance(value, list) and is_uneven(value):
        raise Refused("what is calculated with is not alike for all tensors")
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise Refused(f"{value!r} is not a number")
    return array.astype(np.float64 if array.dtype.kind == "f" else np.int64)[()]


def holds(left: Any, relation: str, right: Any) -> bool:
    """A comparison that holds for all elements. Lists of different lengths are not equal."""
    if is_list_of_many(left) or is_list_of_many(right):
        found = pairs_of_many(left, right)
        return relation == "!=" if found is None else all(holds(a, relation, b) for a, b in found)
    if left is None or right is None or isinstance(left, str) or isinstance(right, str):
        return bool(compared(left, relation, right))
    first, second = number(left), number(right)
    if np.ndim(first) and np.ndim(second) and np.shape(first) != np.shape(second):
        return relation == "!="
    return bool(np.all(compared(first, relation, second)))


def is_list_of_many(value: Any) -> bool:
    """Whether a list has what is no number for each of many tensors: dtypes, shapes, axes; or one
    scale for some and a vector for others."""
    if not isinstance(value, list):
        return False
    is_of_words = any(each is None or isinstance(each, (str, tuple)) for each in value)
    return is_of_words or is_uneven(value)


def is_uneven(values: List[Any]) -> bool:
    """Whether a list for many tensors is no array: it has a number for one, a vector for others."""
    return len({np.shape(each) for each in values}) > 1


def pairs_of_many(left: Any, right: Any) -> Optional[List[Tuple[Any, Any]]]:
    """What is compared with what where one side is a list for many tensors: another such list place
    by place, anything else with each. None for lists of different lengths."""
    if nesting(left) != nesting(right):
        is_left = nesting(left) > nesting(right)
        return [(each, right) for each in left] if is_left else [(left, each) for each in right]
    return list(zip(left, right)) if len(left) == len(right) else None


def nesting(value: Any) -> int:
    """How deep lists and tuples stand in each other; an array counts as a number."""
    if not isinstance(value, (list, tuple)):
        return 0
    return 1 + max(map(nesting, value), default=0)


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


# ---- end of reading ---------------------------------------------------------------------
