"""Records as attributes of composite functions, in every generated Relay module; docs/record.md
says how they are laid out. See relay_support.py."""

from __future__ import annotations

from dataclasses import fields as fields_of_class
from typing import Any, Callable, Dict, List, Optional, Set, Tuple

import numpy as np
import tvm
from tvm import relay

from qpat.targets.relay_interface import ROWS, Options, extracted
from qpat.targets.relay_reading import composite_name, operands_of
from qpat.targets.relay_support import Match, Parameters, Real, Tensor

# ---- attributes: the same in every module qpat writes --------------------------------

RECORD = "qpat_record"
RECORD_VERSION = 1
# Parameters of so many bytes or fewer are written out even where a constant is equal to them.
COPIED = 64


class Unheld(ValueError):
    """A parameter is of a type that no attribute can have; the text says which."""


def annotate(
    module: Any,
    inherited: Optional[Callable[[Any], Optional[Parameters]]] = None,
    options: Optional[Options] = None,
) -> Any:
    """A module whose composites carry their record as the attribute `qpat_record`, which C++ reads.

    `module` is typed, with composites, before or after PartitionGraph, and is not changed;
    `inherited` and `options` are as for extract(). Raises ValueError as extract() does, and Unheld,
    which is one, where a parameter is of a type that no attribute can have.
    """
    made = copied(module)
    for variable, function in module.functions.items():
        if isinstance(function, relay.Function):
            writer = Annotator(inherited, options)
            # Operands first, so that visiting does not go deep.
            relay.analysis.post_order_visit(function.body, writer.visit)
            made.update_func(variable, writer.visit(function))
    return relay.transform.InferType()(made)


def copied(module: Any, functions: Optional[Dict[Any, Any]] = None) -> Any:
    """A module of the same functions, for passes that change theirs; or of other functions."""
    made = tvm.IRModule(functions or module.functions, module.type_definitions)
    for key, value in module.attrs.items() if module.attrs is not None else ():
        made = made.with_attr(key, tvm.runtime.convert(value))
    return made


class Annotator(relay.ExprMutator):  # type: ignore[misc]
    """Puts the record of each composite of this module on its function."""

    def __init__(self, inherited: Any, options: Any) -> None:
        super().__init__()
        self.inherited = inherited
        self.options = options
        self.names = {row.composite for row in ROWS}
        self.used: Set[Any] = set()

    def visit_call(self, call_expr: Any) -> Any:
        operator = self.visit(call_expr.op)
        arguments = [self.visit(each) for each in call_expr.args]
        if composite_name(call_expr.op) in self.names:
            match, record = extracted(call_expr, self.inherited, self.options)
            held = held_attribute(composite_name(call_expr.op), match, record, call_expr)
            operator = self.alone(call_expr.op, operator).with_attr(RECORD, held)
        attributes, types = call_expr.attrs, call_expr.type_args
        return relay.Call(operator, arguments, attributes, types, call_expr.span)

    def alone(self, old: Any, function: Any) -> Any:
        """The function, with parameters of its own where another call has had it: what is inherited
        may differ, and a parameter belongs to one function."""
        if old not in self.used:
            self.used.add(old)
            return function
        params = [relay.Var(each.name_hint, each.type_annotation) for each in function.params]
        body = relay.bind(function.body, dict(zip(function.params, params)))
        made = relay.Function(params, body, function.ret_type, function.type_params)
        for name in function.attrs.keys():
            made = made.with_attr(name, function.attrs[name])
        return made


def held_attribute(composite: Any, match: Match, record: Any, around: Any) -> Any:
    """The record of a composite as TVM objects; what they cannot be is said with its name."""
    try:
        return record_attribute(match, record, around)
    except Unheld as error:
        said = f"the record of `{composite}` has no place in an attribute: {error}"
        raise Unheld(said) from None


def record_attribute(match: Match, record: Any, around: Any) -> Any:
    """A record as TVM objects: see docs/record.md of qpat. `around` is for tensor_attribute()."""
    tensors: Dict[str, Any] = {}
    parameters: Dict[str, Any] = {}
    constants: Dict[str, Any] = {}
    made: Dict[str, Any] = {"version": encoded(RECORD_VERSION), "pattern": record.pattern}
    for field_of_class in fields_of_class(record):
        name = getattr(record, "RENAMED", {}).get(field_of_class.name, field_of_class.name)
        value: Any = getattr(record, field_of_class.name)
        expr: Any = match.values.get(name)
        if value is None:
            continue
        if isinstance(value, Tensor):
            tensors[name] = tensor_attribute(value, expr.expr, around)
            constants[name] = value.value
        elif isinstance(value, tuple) and value and isinstance(value[0], Tensor):
            pairs = zip(value, expr)
            tensors[name] = [tensor_attribute(t, e.expr, around) for t, e in pairs]
        elif name in ("form", "meaning"):
            made[name] = encoded(value)
        else:
            parameters[name] = value
    made["tensors"] = tensors
    made["params"] = {name: parameter(each, constants) for name, each in parameters.items()}
    return tvm.runtime.convert(made)


def tensor_attribute(tensor: Tensor, expr: Any, call_expr: Any) -> Dict[str, Any]:
    """One tensor. A constant is said by where it stands, not copied."""
    made = tensor_parts(tensor)
    if tensor.value is not None:
        arguments = [n for n, each in enumerate(call_expr.args) if each.same_as(expr)]
        place = path_to(call_expr.op.body, expr)
        made.update({"constant": encoded(place)} if place is not None else {})
        made.update({"input": encoded(arguments[0])} if place is None and arguments else {})
    return made


def tensor_parts(tensor: Tensor) -> Dict[str, Any]:
    """What is said of every tensor."""
    shape = [-1 if size is None else size for size in tensor.shape]
    made: Dict[str, Any] = {"dtype": tensor.dtype, "shape": encoded(shape)}
    if tensor.scale is not None:
        made["scale"] = array(np.asarray(tensor.scale, "float32"))
    if tensor.zero_point is not None:
        made["zero_point"] = array(np.asarray(tensor.zero_point))
    for name in ("axis", "layout", "range", "input"):
        if getattr(tensor, name) is not None:
            made[name] = encoded(getattr(tensor, name))
    return made


def path_to(body: Any, wanted: Any) -> Optional[List[int]]:
    """The operands to go to from the root of a body, one after the other; None if it is not in."""
    start: List[int] = []
    waiting: List[Tuple[Any, List[int]]] = [(body, start)]
    seen = set()
    while waiting:
        expr, path = waiting.pop()
        if expr.same_as(wanted):
            return path
        if expr not in seen:
            seen.add(expr)
            below = list(enumerate(operands_of(expr)))
            waiting += [(each, [*path, index]) for index, each in reversed(below)]
    return None


def parameter(value: Any, constants: Dict[str, Any]) -> Any:
    """A parameter; one that is a constant itself is said by the tensor's name."""
    if isinstance(value, np.ndarray) and value.nbytes > COPIED:
        for name, constant in constants.items():
            is_array = constant is not None and constant.dtype == value.dtype
            if is_array and np.array_equal(constant, value):
                return {"value_of": name}
    return encoded(value)


def array(value: Any) -> Any:
    return tvm.nd.array(np.ascontiguousarray(value).reshape(value.shape))


def encoded(value: Any) -> Any:  # noqa: C901 - one case for each kind of value
    """A plain value as TVM objects. An array is a NDArray, None an empty map."""
    if isinstance(value, (np.ndarray, np.generic)) and np.ndim(value) == 0:
        return encoded(value.item())
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        return array(value)
    if isinstance(value, bool):
        return tvm.tir.IntImm("bool", int(value))
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return tvm.tir.IntImm("int64", value)
    if isinstance(value, float):
        return tvm.tir.FloatImm("float64", value)
    if isinstance(value, str):
        return str(value)
    if value is None:
        return {}
    if isinstance(value, (tuple, list)):
        return [encoded(each) for each in value]
    if isinstance(value, dict):
        return {str(name): encoded(each) for name, each in value.items()}
    if isinstance(value, Real):
        return {
            "op": value.op,
            "operands": encoded(value.operands),
            "attributes": encoded(value.attributes),
        }
    raise Unheld(f"a parameter is {value!r}, which no attribute can hold")


# ---- end of attributes ---------------------------------------------------------------
