"""How a generated Relax module reads a graph, where that differs from Relay: each definition takes
the place of the one of the same name in relay_reading.py. See relax_graph.py."""

from __future__ import annotations

from typing import Any

import numpy as np
import tvm
from tvm import relax

from qpat.targets.relax_graph import (
    CallNode,
    ConstantNode,
    FieldNode,
    Node,
    TupleNode,
    VariableNode,
)
from qpat.targets.relay_reading import Mismatch, Refused, whole_padding

ARGUMENTS: dict[str, dict[str, int]] = {}
RENAMED: dict[str, dict[str, str]] = {}
FIXED: dict[str, dict[str, Any]] = {}

# ---- reading a graph ------------------------------------------------------------------


class Attributes:
    """The attributes of a call as plain Python values, by the names that the patterns use; lists
    are tuples. Relax has some of them among the arguments."""

    def __init__(self, call: Any) -> None:
        self._call = call

    def __getattr__(self, name: str) -> Any:
        known = self._call.known
        if name not in known:
            known[name] = self._read(name)
        return known[name]

    def _read(self, name: str) -> Any:
        operator = self._call.operator
        fixed, places = FIXED.get(operator, {}), ARGUMENTS.get(operator, {})
        if name in fixed:
            return fixed[name]
        if name in places:
            return plain(self._call.expr.args[places[name]])
        try:
            own = RENAMED.get(operator, {}).get(name, name)
            found = plain(getattr(self._call.attrs, own))
            return whole_padding(operator, found) if name == "padding" else found
        except AttributeError:
            raise Refused(f"{operator} of this TVM has no attribute {name}") from None


def plain(value: Any) -> Any:
    """An attribute, or an argument that is no tensor, as a plain Python value."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, str):
        return str(value)
    if hasattr(value, "value"):
        return plain(value.value)
    if isinstance(value, (list, tuple, tvm.ir.Array)):
        return tuple(plain(each) for each in value[:])
    if isinstance(value, relax.ShapeExpr):
        return tuple(plain(each) for each in value.values[:])
    return value


def call(expr: Any, operator: str, operands: int) -> Any:
    """`expr` itself, a call of `operator`."""
    if not isinstance(expr, CallNode) or expr.operator != operator:
        raise Mismatch(f"{described(expr)} where {operator} is wanted")
    if len(expr.args) != operands:
        raise Mismatch(f"{operator} with {len(expr.args)} operands, not {operands}")
    return expr


def composite_name(function: Any) -> str | None:
    """The name of a composite function; None for anything else."""
    if not isinstance(function, relax.Function) or not function.attrs:
        return None
    return str(function.attrs["Composite"]) if "Composite" in function.attrs else None


def described(expr: Any) -> str:
    if isinstance(expr, CallNode):
        return expr.operator or "a call of a function"
    names = {ConstantNode: "a constant", VariableNode: "a variable", TupleNode: "a tuple"}
    return names.get(type(expr), "another expression")


def operands_of(expr: Any) -> list[Any]:
    if isinstance(expr, CallNode):
        return expr.args
    if isinstance(expr, TupleNode):
        return expr.fields
    return [expr.tuple_value] if isinstance(expr, FieldNode) else []


def fields(expr: Any, count: int | None = None) -> list[Any]:
    """The fields of a tuple."""
    if not isinstance(expr, TupleNode):
        raise Mismatch(f"{described(expr)} where a tuple is wanted")
    found = expr.fields
    if count is not None and len(found) != count:
        raise Mismatch(f"a tuple of {len(found)}, not {count}")
    return found


def field(expr: Any, index: int) -> Any:
    """The tuple that `expr` takes field `index` of."""
    if not isinstance(expr, FieldNode) or expr.index != index:
        raise Mismatch(f"{described(expr)} where field {index} of a tuple is wanted")
    return expr.tuple_value


def is_embedded(expr: Any) -> bool:
    return isinstance(expr, ConstantNode)


def is_tensor(type_: Any) -> bool:
    return isinstance(type_, relax.TensorType)


def constant_value(expr: Any) -> Any:
    if not is_embedded(expr):
        raise Refused(f"{described(expr)} where a constant is wanted")
    return numbers_of(contents(expr))


def contents(expr: Any) -> Any:
    """The tensor that a constant has."""
    data = getattr(expr.expr, "data", None)  # `value` since TVM 0.27
    return expr.expr.value if data is None else data


def numbers_of(tensor: Any) -> Any:
    """The numbers of a tensor, copied. NumPy takes them much faster than TVM gives them, but does
    not have all dtypes, and does not reach all devices."""
    try:
        return np.array(np.from_dlpack(tensor))
    except (AttributeError, BufferError, RuntimeError, TypeError, ValueError):
        return np.asarray(tensor.numpy())


def shape_of(typed_or_type: Any) -> tuple[int | None, ...]:
    """The shape of an expression or of a type; None for a dimension that is not known."""
    is_node = isinstance(typed_or_type, Node)
    type_ = typed_or_type.checked_type if is_node else typed_or_type
    if not is_tensor(type_):
        raise Refused("its shape is not known")
    if not isinstance(type_.shape, relax.ShapeExpr):
        if type_.ndim < 0:
            raise Refused("its shape is not known")
        return tuple(None for _ in range(type_.ndim))
    sizes = [getattr(each, "value", None) for each in type_.shape.values[:]]
    return tuple(each if isinstance(each, int) else None for each in sizes)


# ---- end of reading ---------------------------------------------------------------------
