"""What makes a Relax module ready for the patterns; see relax_graph.py."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import tvm
from tvm import relax

from qpat.targets.relax_graph import CONSTANT, bindings_of, operator_of, parts_of

# ---- preparation: the same in every module qpat writes ------------------------------

DEQUANTIZE = "relax.dequantize"


def prepare(module: Any) -> Any:
    """A module in which the patterns can match, and which computes the same.

    Dataflow blocks are made, aliases and dead code are gone, tuples stand where they are used, and
    each region of real operators has a dequantize of its own. The given module is not changed.
    Warns where a pass has already folded the quantization of weights away, or lowered it.
    """
    return prepared(module)[0]


class Calls(NamedTuple):
    """The operators that functions call, and the links: each with one whose result it uses. With
    `has_bodies` there are branches or functions inside of them, which nobody has looked at."""

    operators: set[str]
    links: set[tuple[str, str]]
    has_bodies: bool


def calls_of(functions: list[Bindings]) -> Calls:
    operators = {each for bindings in functions for each in bindings.operators.values()}
    links = {
        (operator, below)
        for bindings in functions
        for handle, operator in bindings.operators.items()
        for below in bindings.operators_below(handle)
    }
    values = (value for bindings in functions for value in bindings.values.values())
    bodies = (relax.If, relax.Function, relax.SeqExpr)
    return Calls(operators, links, any(isinstance(each, bodies) for each in values))


def prepared(module: Any) -> tuple[Any, Calls]:
    """As prepare(); and what the module calls, but for its composites."""
    transform = relax.transform
    # ConvertToDataflow ends with CanonicalizeBindings.
    start = [transform.Normalize(), transform.ConvertToDataflow(min_size=1)]
    made = tvm.transform.Sequential([*start, transform.DeadCodeElimination()])(module)
    functions = dict(made.functions.items())
    found: list[Bindings] = []
    reasons: set[str] = set()
    is_changed = False
    for variable, function in functions.items():
        bindings = Bindings(function) if isinstance(function, relax.Function) else None
        if bindings is not None:
            reasons |= lost_quantization(bindings)
        if bindings is None or is_composite(function):
            continue
        found.append(bindings)
        if is_shared(bindings):
            functions[variable] = Regions(function, bindings).rebuilt()
            is_changed = True
    for reason in reasons:
        warnings.warn(reason, stacklevel=3)
    if not is_changed:
        return made, calls_of(found)
    ending = [transform.Normalize(), transform.CanonicalizeBindings()]
    made = of_functions(functions, made)
    made = tvm.transform.Sequential([*ending, transform.DeadCodeElimination()])(made)
    return made, calls_of(found)


def of_functions(functions: dict[Any, Any], module: Any) -> Any:
    """A module of other functions; the rest is that of the given one."""
    return tvm.IRModule(functions, attrs=module.attrs, global_infos=module.global_infos)


def is_composite(function: Any) -> bool:
    attributes = function.attrs.keys() if function.attrs else ()
    return "Composite" in attributes or "Codegen" in attributes


def is_real(type_: Any) -> bool:
    """Whether a type is that of real numbers, or of a tuple with some."""
    if isinstance(type_, relax.TupleType):
        return any(is_real(each) for each in type_.fields)
    return isinstance(type_, relax.TensorType) and "float" in str(type_.dtype)


class Bindings:
    """The bindings of a function, each read once. By the identity of its variable: the value, the
    operator that it calls, empty where it is no such call, and the variables that it uses, each as
    often as it does."""

    def __init__(self, function: Any) -> None:
        self.pairs = bindings_of(function)
        self.values: dict[int, Any] = {}
        self.operators: dict[int, str] = {}
        self.uses: dict[int, list[Any]] = {}
        for variable, value in self.pairs:
            handle = variable.__chandle__()
            self.values[handle] = value
            self.operators[handle] = operator_of(value)
            self.uses[handle] = variables_in(value)

    def operator(self, variable: Any) -> str:
        """The operator whose result a variable is; empty where it is none's."""
        return self.operators.get(variable.__chandle__(), "")

    def operators_below(self, handle: int) -> Iterator[str]:
        """The operators whose results a value uses, also through tuples and other calls."""
        for used in self.uses.get(handle, ()):
            operator = self.operator(used)
            if operator:
                yield operator
            else:
                yield from self.operators_below(used.__chandle__())


def variables_in(value: Any) -> list[Any]:
    """The variables that a value uses, each as often as it does."""
    found = []
    for part in [value] if isinstance(value, relax.Var) else parts_of(value):
        if isinstance(part, relax.Var):
            found.append(part)
        elif isinstance(part, relax.Tuple):
            found += variables_in(part)
    return found


def is_shared(bindings: Bindings) -> bool:
    """Whether something may stand where it is used by others, too: a dequantize, or a tuple."""
    seen: set[int] = set()
    for used in (each for several in bindings.uses.values() for each in several):
        handle = used.__chandle__()
        if isinstance(bindings.values.get(handle), relax.Tuple):
            return True
        if bindings.operators.get(handle) == DEQUANTIZE:
            if handle in seen or not isinstance(used, relax.DataflowVar):
                return True
            seen.add(handle)
    return False


class Regions:
    """The regions of a function: values that operators on real numbers connect, with a dequantize
    or quantize at every end. Each gets dequantizes of its own: a value inside of a match must have
    no user outside."""

    def __init__(self, function: Any, bindings: Bindings) -> None:
        self.function = function
        self.bindings = bindings
        self.above: dict[int, int] = {}
        for handle, uses in bindings.uses.items():
            for used in uses if bindings.operators[handle] != DEQUANTIZE else ():
                other = used.__chandle__()
                is_inner = other in bindings.values and bindings.operators[other] != DEQUANTIZE
                if is_inner and is_real(used.ty):
                    self.join(self.region(handle), self.region(other))

    def region(self, handle: int) -> int:
        """What stands for the region of a variable."""
        top = handle
        while top in self.above:
            top = self.above[top]
        while handle != top:
            above, self.above[handle] = self.above[handle], top
            handle = above
        return top

    def join(self, region: int, other: int) -> None:
        if region != other:
            self.above[region] = other

    def rebuilt(self) -> Any:
        """The function, with a dequantize for each region that uses one."""
        self.copies: dict[int, dict[int, Any]] = {}
        blocks = [self.block(each) for each in self.function.body.blocks[:]]
        body = relax.SeqExpr(blocks, self.function.body.body)
        old = self.function
        return relax.Function(old.params, body, old.ret_ty, old.is_pure, old.attrs)

    def block(self, block: Any) -> Any:
        if not isinstance(block, relax.DataflowBlock):
            return block
        old = block.bindings[:]
        variables = [each.var for each in old]
        self.here = {each.__chandle__() for each in variables}
        bindings: list[Any] = []
        for binding, variable in zip(old, variables, strict=True):
            if isinstance(binding, relax.VarBinding):
                value = self.bindings.values[variable.__chandle__()]
                made = self.value(value, self.region(variable.__chandle__()), bindings)
                binding = binding if made is value else relax.VarBinding(variable, made)
            bindings.append(binding)
        return relax.DataflowBlock(bindings)

    def value(self, value: Any, region: int, bindings: list[Any]) -> Any:
        """A value of a region, with the region's own dequantizes; those are bound before it."""
        if isinstance(value, relax.Var):
            return self.variable(value, region, bindings)
        if not isinstance(value, (relax.Call, relax.Tuple)):
            return value
        parts = parts_of(value)
        made = [self.value(each, region, bindings) for each in parts]
        if all(new is old for new, old in zip(made, parts, strict=True)):
            return value
        return relax.Tuple(made) if isinstance(value, relax.Tuple) else remade(value, made)

    def variable(self, variable: Any, region: int, bindings: list[Any]) -> Any:
        """What stands in a region for a variable: a tuple itself, a dequantize of its own."""
        handle = variable.__chandle__()
        bound: Any = self.bindings.values.get(handle)
        if isinstance(bound, relax.Tuple):
            return self.value(bound, region, bindings)
        if self.bindings.operator(variable) != DEQUANTIZE or handle not in self.here:
            return variable
        # One that leaves the block stays what it is for those outside.
        first = {region: variable} if isinstance(variable, relax.DataflowVar) else {}
        copies = self.copies.setdefault(handle, first)
        if region not in copies:
            copies[region] = relax.DataflowVar(name_of(variable), variable.ty)
            bindings.append(relax.VarBinding(copies[region], remade(bound, bound.args[:])))
        found = copies[region]
        return variable if found.same_as(variable) else found


def remade(value: Any, arguments: Any) -> Any:
    """A call of other arguments, or another one of the same: TVM goes from a call to its variable,
    so two variables must not be bound to one call."""
    return relax.Call(value.op, list(arguments), value.attrs, value.ty_args, value.span)


def name_of(variable: Any) -> str:
    return str(getattr(variable, "name", None) or variable.name_hint)


def lost_quantization(bindings: Bindings) -> set[str]:
    """What earlier passes have done to the quantization of a function: nothing will match."""
    found = set()
    for handle, operator in bindings.operators.items():
        if operator in WEIGHTED and is_folded(bindings, bindings.values[handle]):
            found.add(FOLDED)
        elif operator == "relax.call_tir" and is_quantization(bindings.values[handle]):
            found.add(LOWERED)
    return found


FOLDED = (
    "weights of real numbers beside a quantized input: has FoldConstant been run before? "
    "It takes scales and zero points away"
)
LOWERED = "quantization is lowered to TIR already: give the module before LegalizeOps"
WEIGHTED = ("relax.matmul", "relax.nn.conv1d", "relax.nn.conv2d", "relax.nn.conv2d_transpose")


def is_folded(bindings: Bindings, value: Any) -> bool:
    """Whether an operator takes a quantized input and constant weights of real numbers."""
    data, weight = parts_of(value)
    is_variable = isinstance(data, relax.Var)
    is_dequantized = is_variable and bindings.operator(data) == DEQUANTIZE
    return is_dequantized and isinstance(weight, CONSTANT)


def is_quantization(value: Any) -> bool:
    """Whether a call of a TIR function quantizes or dequantizes."""
    function = parts_of(value)[0]
    name = name_of(function) if isinstance(function, tvm.ir.GlobalVar) else ""
    return name.rstrip("0123456789").endswith("quantize")


# ---- end of preparation --------------------------------------------------------------
