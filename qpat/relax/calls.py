"""Relax calls made of a Relay operator's name and its attributes: what qpat/relay/calls.py is on
Relay. What is made are views (qpat/relax/view.py); each call is bound to a variable of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from inspect import signature
from typing import Any

import numpy as np
import tvm
from tvm import relax

from qpat.ops.plain import plain
from qpat.ops.relax import Counterpart, Unsaid, counterpart
from qpat.ops.table import operator
from qpat.relax import view
from qpat.relay.graph import post_order

# What Relay says beside the weights, and Relax reads off them.
_OF_WEIGHTS = ("channels", "kernel_size", "units")
_BUILDER = relax.BlockBuilder()


def make_call(name: str, operands: Sequence[Any], attributes: Mapping[str, Any]) -> view.Call:
    """A call of the counterpart of the Relay operator `name`. Attributes that are not given are the
    defaults of TVM's builder; one that is unset (None) is left out.

    Raises Unsaid where there is no counterpart or it lacks an attribute, and what TVM raises where
    an operand or an attribute does not fit.
    """
    known = counterpart(name)
    if known is None:
        raise Unsaid(f"Relax has no counterpart of {name}")
    given = dict(zip(known.places, map(bound_to, operands), strict=False))
    for key, value in attributes.items():
        place = _place(name, known, key, value)
        if place is not None:
            given[place] = plain(value)
    builder = _builder(known.name)
    for place in given:
        if place not in signature(builder).parameters:
            raise Unsaid(f"TVM's builder of {known.name} takes no {place}")
    return called(builder(**given), name, operands)


def called(call: Any, name: str, operands: Sequence[Any]) -> view.Call:
    """The view of a Relax call under Relay's name; its tensors are those of `operands`."""
    typed_call = _BUILDER.normalize(call)
    variable = relax.DataflowVar("lv", typed_call.ty)
    return view.Call(typed_call, variable, view.Op(name), list(operands))


@cache
def _builder(name: str) -> Callable[..., Any]:
    """TVM's builder of a Relax operator: `relax.nn.conv2d` is `tvm.relax.op.nn.conv2d`."""
    found: Any = relax.op
    for part in name.split(".")[1:]:
        found = getattr(found, part)
    made: Callable[..., Any] = found
    return made


def _place(name: str, known: Counterpart, key: str, value: Any) -> str | None:
    """What the builder calls an attribute; None where there is nothing to be said."""
    if key in known.fixed and plain(value) == known.fixed[key]:
        return None
    if value is None or value == "" or (key in _OF_WEIGHTS and not known.has(key)):
        return None
    if key in known.arguments:
        return known.places[known.arguments[key]]
    if key in known.renamed or key in known.attributes:
        return known.renamed.get(key, key)
    described = operator(name)
    default = described.attributes[key] if described is not None else None
    if default is not None and default.has_default and default.default == plain(value):
        return None
    raise Unsaid(f"{known.name} has no {key} of {value}")


def bound_to(expr: Any) -> Any:
    """What stands for an expression among the arguments of a Relax call: its variable."""
    return expr.expr if expr.variable is None else expr.variable


def constant(value: Any, dtype: str) -> view.Constant:
    """A constant tensor."""
    return view.Constant(relax.const(np.asarray(value, dtype), dtype))


def variable(name: str, shape: Sequence[int], dtype: str) -> view.Var:
    """A parameter of a function that is being made."""
    return view.Var(relax.Var(name, relax.TensorType(tuple(shape), dtype)))


def tuple_of(fields: Sequence[Any]) -> view.Tuple:
    """A tuple of expressions."""
    made = _BUILDER.normalize(relax.Tuple([bound_to(each) for each in fields]))
    return view.Tuple(made, None, list(fields))


def field_of(value: Any, index: int) -> view.TupleGetItem:
    """A field of an expression that is a tuple."""
    made = _BUILDER.normalize(relax.TupleGetItem(bound_to(value), index))
    return view.TupleGetItem(made, relax.DataflowVar("lv", made.ty), value)


def typed(expr: Any) -> Any:
    """The expression itself: every view has its type."""
    return expr


def emitted(root: Any, name: str, builder: Any, lifts: bool = False) -> list[tvm.runtime.Tensor]:
    """Adds what a view shows to a builder, as a function of its variables, in order of their use.

    With `lifts` its constants are parameters, too, behind those; they are returned, in order.
    """
    order = post_order(root)
    constants = [each for each in order if isinstance(each, view.Constant)] if lifts else []
    made: dict[Any, Any] = {each: each.expr for each in order if isinstance(each, view.Constant)}
    variables = [each for each in order if isinstance(each, view.Var)]
    made |= {each: relax.Var(each.name_hint, each.expr.ty) for each in variables}
    for number, each in enumerate(constants):
        made[each] = relax.Var(f"constant_{number}", each.expr.ty)
    parameters = [made[each] for each in [*variables, *constants]]
    with builder.function(name, parameters, {"global_symbol": name}):
        with builder.dataflow():
            for each in order:
                if each not in made:
                    made[each] = _remade(each, made, builder)
            result = builder.emit_output(made[root])
        builder.emit_func_output(result)
    return [each.data for each in constants]


def _remade(expr: Any, made: Mapping[Any, Any], builder: Any) -> Any:
    """An expression of what its operands were made to."""
    if isinstance(expr, view.Tuple):
        return relax.Tuple([made[each] for each in expr.fields])
    if isinstance(expr, view.TupleGetItem):
        return builder.emit(relax.TupleGetItem(made[expr.tuple_value], expr.index))
    call = expr.expr
    operands = [made[each] for each in expr.args]
    values = list(call.args[len(operands) :])
    return builder.emit(relax.Call(call.op, [*operands, *values], call.attrs, call.ty_args))
