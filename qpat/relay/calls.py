"""Relay calls made of an operator's name and its attributes, the same way for all operators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tvm
from tvm import relay

from qpat.ops.plain import plain
from qpat.ops.table import operator


def make_call(name: str, operands: Sequence[Any], attributes: Mapping[str, Any]) -> Any:
    """A call of the operator `name`. Attributes that are not given are C++'s defaults, which the op
    table lists; one that is unset (None) is left out.

    TVM's Python builders are not used: they name and order things each in its own way. Raises what
    TVM raises where an attribute does not fit.
    """
    described = operator(name)
    op = tvm.ir.Op.get(name)
    if described is None or not op.attrs_type_key:
        return relay.Call(op, list(operands), None)
    given = {key: plain(value) for key, value in attributes.items() if value is not None}
    for key, value in given.items():
        # As Relay's builders do: `axis=0` of a reduction.
        if described.attributes[key].type == "list" and isinstance(value, int):
            given[key] = [value]
        # Of any type, in C++ an object.
        if described.attributes[key].type == "any" and type(value) is int:
            given[key] = tvm.tir.IntImm("int32", value)
    for key, attribute in described.attributes.items():
        if key not in given and not attribute.has_default:
            given[key] = "" if attribute.type in ("dtype", "str") else None
    return relay.Call(op, list(operands), tvm.ir.make_node(op.attrs_type_key, **given))


def constant(value: Any, dtype: str) -> Any:
    """A constant. `relay.const` makes int32 of int64 where it is not told otherwise."""
    return relay.Constant(tvm.nd.array(np.asarray(value, dtype)))


def variable(name: str, shape: Sequence[int], dtype: str) -> Any:
    """A free variable."""
    return relay.var(name, shape=tuple(shape), dtype=dtype)


def tuple_of(fields: Sequence[Any]) -> Any:
    """A tuple of expressions."""
    return relay.Tuple(list(fields))


def field_of(value: Any, index: int) -> Any:
    """A field of an expression that is a tuple."""
    return relay.TupleGetItem(value, index)


def typed(expr: Any) -> Any:
    """An expression with the types of all that it is made of.

    Raises what TVM raises where it has none.
    """
    function = relay.Function(relay.analysis.free_vars(expr), expr)
    return relay.transform.InferType()(tvm.IRModule.from_expr(function))["main"].body


def shape_of(expr: Any) -> tuple[int, ...]:
    """The shape of a typed tensor. Raises ValueError where a dimension is not known."""
    if not all(isinstance(each, tvm.tir.IntImm) for each in expr.checked_type.shape):
        raise ValueError("a shape that is not known")
    return tuple(int(each) for each in expr.checked_type.shape)


def dtype_of(expr: Any) -> str:
    """The dtype of a typed tensor."""
    return str(expr.checked_type.dtype)
