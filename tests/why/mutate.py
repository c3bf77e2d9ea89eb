"""Graphs that a pattern takes, each with one thing changed, and what `why` has to name then."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tvm
from tvm import relay

from qpat.relay.graph import post_order, rewrite
from qpat.relay.names import operator_name
from qpat.relay.why.reasons import Reason


@dataclass(frozen=True, eq=False)
class Mutant:
    """A module that one change has been made in; `names` tells whether a reason speaks of it."""

    what: str
    module: Any
    names: Callable[[Reason], bool]


def matched_bodies(partition: Any) -> Iterator[Any]:
    """The functions of a partition's composites, with constants that they are given put in."""
    for match in partition.matches:
        if match.composite is None:
            continue
        function, given = match.call.op, match.call.args
        constants = {
            parameter: argument
            for parameter, argument in zip(function.params, given, strict=True)
            if isinstance(argument, relay.Constant)
        }
        body = relay.bind(function.body, constants)
        yield relay.Function(relay.analysis.free_vars(body), body)


def mutants(function: Any, chance: random.Random) -> Iterator[Mutant]:
    """One of each kind, where the kind has a place in the function."""
    calls = [e for e in post_order(function.body) if isinstance(e, relay.Call)]
    for make in KINDS:
        places = list(make(function, calls))
        if places:
            yield chance.choice(places)()


# ---- kinds ---------------------------------------------------------------------------------------


def _inserted(function: Any, calls: list[Any]) -> Iterator[Callable[[], Mutant]]:
    """An operator between two calls."""
    for user in calls:
        for position, operand in enumerate(user.args):
            if operand in calls and _is_tensor(operand):
                yield lambda user=user, position=position: _between(function, user, position)


def _between(function: Any, user: Any, position: int) -> Mutant:
    def change(old: Any, new: Any) -> Any:
        if not old.same_as(user):
            return new
        args = list(new.args)
        args[position] = relay.op.reverse(args[position], axis=0)
        return relay.Call(new.op, args, new.attrs)

    return Mutant(
        f"reverse before {operator_name(user)}",
        _module(function, change),
        lambda reason: "reverse" in reason.text,
    )


def _replaced(function: Any, calls: list[Any]) -> Iterator[Callable[[], Mutant]]:
    """Another operator in the place of one with one operand, not the only one."""
    for call in calls:
        if len(call.args) == 1 and len(calls) > 1 and _same_type(call):
            yield lambda call=call: _other(function, call)


def _other(function: Any, call: Any) -> Mutant:
    def change(old: Any, new: Any) -> Any:
        return relay.op.reverse(new.args[0], axis=0) if old.same_as(call) else new

    return Mutant(
        f"reverse for {operator_name(call)}",
        _module(function, change),
        lambda reason: "reverse" in reason.text or operator_name(call) in reason.text,
    )


def _variable(function: Any, calls: list[Any]) -> Iterator[Callable[[], Mutant]]:
    """An input of the module in the place of a constant."""
    for call in calls:
        for position, operand in enumerate(call.args):
            if isinstance(operand, relay.Constant):
                yield lambda call=call, position=position: _lifted(function, call, position)


def _lifted(function: Any, call: Any, position: int) -> Mutant:
    fresh = relay.Var("lifted", call.args[position].checked_type)

    def change(old: Any, new: Any) -> Any:
        if not old.same_as(call):
            return new
        args = list(new.args)
        args[position] = fresh
        return relay.Call(new.op, args, new.attrs)

    return Mutant(
        f"operand {position} of {operator_name(call)} is no constant",
        _module(function, change),
        lambda reason: getattr(reason.expr, "name_hint", "") == "lifted",
    )


def _extra_user(function: Any, calls: list[Any]) -> Iterator[Callable[[], Mutant]]:
    """A value inside is a result of the module, too."""
    for call in calls:
        if not call.same_as(function.body) and _is_tensor(call):
            yield lambda call=call: _seen(function, call)


def _seen(function: Any, call: Any) -> Mutant:
    body = relay.Tuple([function.body, relay.op.reverse(call, axis=0)])
    return Mutant(
        f"{operator_name(call)} has another user",
        typed(relay.Function(relay.analysis.free_vars(body), body)),
        lambda reason: "used outside" in reason.text and operator_name(call) in reason.text,
    )


_OTHER_VALUES = {
    "layout": {"NHWC": "NCHW"},
    "method": {"linear": "cubic", "nearest_neighbor": "cubic"},
}


def _attribute(function: Any, calls: list[Any]) -> Iterator[Callable[[], Mutant]]:
    """Another value of an attribute."""
    for call in calls:
        for name in call.attrs.keys() if call.attrs is not None else ():
            other = _OTHER_VALUES.get(str(name), {}).get(str(getattr(call.attrs, name)))
            if other is not None:
                yield lambda call=call, name=str(name), other=other: _set(
                    function, call, name, other
                )


def _set(function: Any, call: Any, name: str, other: str) -> Mutant:
    def change(old: Any, new: Any) -> Any:
        if not old.same_as(call):
            return new
        values = {str(key): getattr(new.attrs, key) for key in new.attrs.keys()}  # noqa: SIM118
        attrs = tvm.ir.make_node(
            f"relay.attrs.{type(new.attrs).__name__}", **{**values, name: other}
        )
        return relay.Call(new.op, new.args, attrs)

    return Mutant(
        f"{name} of {operator_name(call)} is {other}",
        _module(function, change),
        lambda reason: f"`{name}`" in reason.text and other in reason.text,
    )


def _flipped(function: Any, calls: list[Any]) -> Iterator[Callable[[], Mutant]]:
    """A zero point of weights that is not 0: what a `where` of the library refuses."""
    for call in calls:
        if operator_name(call) in ("qnn.conv2d", "qnn.dense") and _is_zero(call.args[3]):
            yield lambda call=call: _shifted(function, call)


def _shifted(function: Any, call: Any) -> Mutant:
    def change(old: Any, new: Any) -> Any:
        if not old.same_as(call):
            return new
        args = list(new.args)
        args[3] = relay.const(5, "int32")
        return relay.Call(new.op, args, new.attrs)

    return Mutant(
        f"weights of {operator_name(call)} have a zero point",
        _module(function, change),
        lambda reason: "asymmetric" in reason.text or "zero point" in reason.text,
    )


def _dtypes(function: Any, calls: list[Any]) -> Iterator[Callable[[], Mutant]]:
    """Another dtype of what an operator gives that says which."""
    for call in calls:
        if operator_name(call) in _WITH_DTYPE and call.same_as(function.body):
            yield lambda call=call: _widened(function, call)


_WITH_DTYPE = {"qnn.requantize": "out_dtype", "qnn.quantize": "out_dtype", "cast": "dtype"}


def _widened(function: Any, call: Any) -> Mutant:
    found = _set(function, call, _WITH_DTYPE[operator_name(call)], "int32")
    return replace(found, names=lambda reason: "int32" in reason.text)


def _turned(function: Any, calls: list[Any]) -> Iterator[Callable[[], Mutant]]:
    """The operands of an operator the other way round, where that is another operator."""
    for call in calls:
        if operator_name(call) in _ORDERED and _same_type(call):
            yield lambda call=call: _reversed(function, call)


_ORDERED = ("subtract", "divide", "power", "greater", "less", "nn.dense", "nn.batch_matmul")


def _reversed(function: Any, call: Any) -> Mutant:
    def change(old: Any, new: Any) -> Any:
        return relay.Call(new.op, list(new.args)[::-1], new.attrs) if old.same_as(call) else new

    return Mutant(
        f"operands of {operator_name(call)} change places",
        _module(function, change),
        lambda reason: operator_name(call) in reason.text,
    )


KINDS = (
    _inserted,
    _replaced,
    _variable,
    _extra_user,
    _attribute,
    _flipped,
    _dtypes,
    _turned,
)


# ---- helpers -------------------------------------------------------------------------------------


def _module(function: Any, change: Callable[[Any, Any], Any]) -> Any:
    body = rewrite(function.body, change)
    return typed(relay.Function(relay.analysis.free_vars(body), body))


def typed(function: Any) -> Any:
    return relay.transform.InferType()(tvm.IRModule.from_expr(function))


def _is_tensor(expr: Any) -> bool:
    kind = expr.checked_type
    return isinstance(kind, tvm.ir.TensorType) and len(kind.shape) > 0


def _same_type(call: Any) -> bool:
    operand = call.args[0].checked_type
    return _is_tensor(call) and tvm.ir.structural_equal(operand, call.checked_type)


def _is_zero(expr: Any) -> bool:
    return isinstance(expr, relay.Constant) and not np.any(expr.data.numpy())
