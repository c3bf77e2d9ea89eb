"""What makes a Relax module ready for the patterns; see relax_graph.py."""

from __future__ import annotations

import warnings
from typing import Any

import tvm
from tvm import relax

from qpat.targets.relax_graph import CONSTANT, graph_of

# ---- preparation: the same in every module qpat writes ------------------------------


def prepare(module: Any) -> Any:
    """A module in which the patterns can match, and which computes the same.

    Dataflow blocks are made, aliases and dead code are gone, tuples stand where they are used, and
    each region of real operators has a dequantize of its own. The given module is not changed.
    Warns where a pass has already folded the quantization of weights away, or lowered it.
    """
    for reason in lost_quantization(module):
        warnings.warn(reason, stacklevel=2)
    tidy = [relax.transform.CanonicalizeBindings(), relax.transform.DeadCodeElimination()]
    start = [relax.transform.Normalize(), relax.transform.ConvertToDataflow()]
    made = tvm.transform.Sequential([*start, *tidy])(module)
    for variable, function in made.functions.items():
        if isinstance(function, relax.Function) and not is_composite(function):
            made.update_func(variable, Regions(function).rebuilt())
    return tvm.transform.Sequential([relax.transform.Normalize(), *tidy])(made)


def is_composite(function: Any) -> bool:
    attributes = function.attrs.keys() if function.attrs else ()
    return "Composite" in attributes or "Codegen" in attributes


def operator_of(value: Any) -> str:
    is_operator = isinstance(value, relax.Call) and isinstance(value.op, tvm.ir.Op)
    return str(value.op.name) if is_operator else ""


def is_real(type_: Any) -> bool:
    """Whether a type is that of real numbers, or of a tuple with some."""
    if isinstance(type_, relax.TupleType):
        return any(is_real(each) for each in type_.fields)
    return isinstance(type_, relax.TensorType) and "float" in str(type_.dtype)


def variables_in(value: Any) -> list[Any]:
    """The variables that a value uses, each as often as it does."""
    if isinstance(value, relax.Var):
        return [value]
    if isinstance(value, relax.TupleGetItem):
        return variables_in(value.tuple_value)
    parts = value.args if isinstance(value, relax.Call) else ()
    parts = value.fields if isinstance(value, relax.Tuple) else parts
    return [each for part in parts for each in variables_in(part)]


class Regions:
    """The regions of a function: values that operators on real numbers connect, with a dequantize
    or quantize at every end. Each gets dequantizes of its own: a value inside of a match must have
    no user outside."""

    def __init__(self, function: Any) -> None:
        self.function = function
        self.bound = graph_of(function).bound
        self.above: dict[Any, Any] = {}
        for variable, value in self.bound.items():
            for used in variables_in(value) if not self.is_end(variable) else ():
                if is_real(used.ty) and used in self.bound and not self.is_end(used):
                    self.join(self.region(variable), self.region(used))

    def region(self, variable: Any) -> Any:
        """What stands for the region of a variable."""
        top = variable
        while top in self.above:
            top = self.above[top]
        while variable in self.above:
            above, self.above[variable] = self.above[variable], top
            variable = above
            if variable.same_as(top):
                break
        return top

    def join(self, region: Any, other: Any) -> None:
        if not region.same_as(other):
            self.above[region] = other

    def is_end(self, variable: Any) -> bool:
        """Whether a variable is a dequantize, where a region begins."""
        return operator_of(self.bound.get(variable)) == "relax.dequantize"

    def rebuilt(self) -> Any:
        """The function, with a dequantize for each region that uses one."""
        if not isinstance(self.function.body, relax.SeqExpr):
            return self.function
        self.copies: dict[Any, dict[Any, Any]] = {}
        blocks = [self.block(each) for each in self.function.body.blocks]
        body = relax.SeqExpr(blocks, self.function.body.body)
        old = self.function
        return relax.Function(old.params, body, old.ret_ty, old.is_pure, old.attrs)

    def block(self, block: Any) -> Any:
        if not isinstance(block, relax.DataflowBlock):
            return block
        bindings: list[Any] = []
        self.here = {each.var for each in block.bindings}
        for binding in block.bindings:
            if isinstance(binding, relax.VarBinding):
                value = self.value(binding.value, self.region(binding.var), bindings)
                bindings.append(relax.VarBinding(binding.var, value))
            else:
                bindings.append(binding)
        return relax.DataflowBlock(bindings)

    def value(self, value: Any, region: Any, bindings: list[Any]) -> Any:
        """A value of a region, with the region's own dequantizes; those are bound before it."""
        if isinstance(value, relax.Var):
            bound = self.bound.get(value)
            if isinstance(bound, relax.Tuple):
                return self.value(bound, region, bindings)
            if not self.is_end(value) or value not in self.here:
                return value
            # One that leaves the block stays what it is for those outside.
            first = {region: value} if isinstance(value, relax.DataflowVar) else {}
            copies = self.copies.setdefault(value, first)
            if region not in copies:
                call = self.bound[value]
                copies[region] = relax.DataflowVar(name_of(value), value.ty)
                bindings.append(relax.VarBinding(copies[region], remade(call, call.args)))
            return copies[region]
        parts = value.args if isinstance(value, relax.Call) else ()
        parts = value.fields if isinstance(value, relax.Tuple) else parts
        made = [self.value(each, region, bindings) for each in parts]
        if all(new is old or new.same_as(old) for new, old in zip(made, parts, strict=True)):
            return value
        if isinstance(value, relax.Tuple):
            return relax.Tuple(made)
        return remade(value, made)


def remade(value: Any, arguments: Any) -> Any:
    """A call of other arguments, or another one of the same: TVM goes from a call to its variable,
    so two variables must not be bound to one call."""
    return relax.Call(value.op, list(arguments), value.attrs, value.ty_args, value.span)


def name_of(variable: Any) -> str:
    return str(getattr(variable, "name", None) or variable.name_hint)


def lost_quantization(module: Any) -> set[str]:
    """What earlier passes have done to the quantization of a module, so that nothing will match."""
    found: set[str] = set()
    for function in module.functions.values():
        graph = graph_of(function) if isinstance(function, relax.Function) else None
        for value in graph.bound.values() if graph is not None else ():
            reason = folded(value, graph) or lowered(value)
            found |= {reason} if reason is not None else set()
    return found


WEIGHTED = ("relax.matmul", "relax.nn.conv1d", "relax.nn.conv2d", "relax.nn.conv2d_transpose")


def folded(value: Any, graph: Any) -> str | None:
    if operator_of(value) not in WEIGHTED:
        return None
    data, weight = (graph.node(each).expr for each in value.args)
    if operator_of(data) != "relax.dequantize" or not isinstance(weight, CONSTANT):
        return None
    return (
        "weights of real numbers beside a quantized input: has FoldConstant been run before? "
        "It takes scales and zero points away"
    )


def lowered(value: Any) -> str | None:
    if operator_of(value) != "relax.call_tir":
        return None
    name = name_of(value.args[0]) if isinstance(value.args[0], tvm.ir.GlobalVar) else ""
    if not name.rstrip("0123456789").endswith("quantize"):
        return None
    return "quantization is lowered to TIR already: give the module before LegalizeOps"


# ---- end of preparation --------------------------------------------------------------
