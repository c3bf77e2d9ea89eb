"""A Relax module shown as Relay would have it: calls with their operands behind them whatever
variables lie between, operators and attributes under Relay's names, values behind the tensors of a
call as its attributes.

The classes have the names and the fields of those of tvm.relay, so that the analyses of qpat.relay
read both (qpat/relay/kinds.py). Nothing can be built or run from a view; `expr` is the Relax
expression, `variable` what it is bound to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import tvm
from tvm import relax

from qpat.ops.relax import Counterpart, counterpart, known_counterparts
from qpat.targets.relax_graph import CONSTANT

# ---- types -----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class TensorType:
    """A tensor; a dimension is None where it is not known."""

    shape: tuple[int | None, ...]
    dtype: str


@dataclass(frozen=True, eq=False)
class TupleType:
    fields: tuple[Any, ...]


def type_of(type_: Any) -> Any:
    """The type of a Relax expression as a view; anything but tensors and tuples as it is."""
    if isinstance(type_, relax.TupleType):
        return TupleType(tuple(type_of(each) for each in type_.fields))
    if not isinstance(type_, relax.TensorType):
        return type_
    if not isinstance(type_.shape, relax.ShapeExpr):
        return TensorType((None,) * max(type_.ndim, 0), str(type_.dtype))
    return TensorType(tuple(_size(each) for each in type_.shape.values), str(type_.dtype))


def _size(dimension: Any) -> int | None:
    """A dimension; what is symbolic has no value."""
    value = getattr(dimension, "value", None)
    return value if isinstance(value, int) else None


# ---- nodes -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class SourceName:
    name: str


@dataclass(frozen=True)
class Span:
    """Where Relay has what the frontend called a value, Relax has the name of its variable."""

    source_name: SourceName
    line: int = 0


class Expr:
    """A value of a function. Two are the same only if they are one object. `variable` is the one
    that it has its name of."""

    def __init__(self, expr: Any, variable: Any = None) -> None:
        self.expr = expr
        self.variable = variable

    @cached_property
    def checked_type(self) -> Any:
        return type_of(self.expr.ty)

    @property
    def span(self) -> Span | None:
        return None if self.variable is None else Span(SourceName(name_of(self.variable)))

    def same_as(self, other: Any) -> bool:
        return self is other


class Constant(Expr):
    """A constant tensor; `data` has `numpy()`."""

    @property
    def data(self) -> Any:
        data = getattr(self.expr, "data", None)
        return self.expr.value if data is None else data  # TVM 0.27 has another name for it


class Var(Expr):
    """A parameter of a function."""

    @property
    def name_hint(self) -> str:
        return name_of(self.expr)


class Tuple(Expr):
    def __init__(self, expr: Any, variable: Any, fields: list[Any]) -> None:
        super().__init__(expr, variable)
        self.fields = fields


class TupleGetItem(Expr):
    def __init__(self, expr: Any, variable: Any, tuple_value: Any) -> None:
        super().__init__(expr, variable)
        self.tuple_value = tuple_value
        self.index = int(expr.index)


class If(Expr):
    def __init__(self, expr: Any, variable: Any, parts: list[Any]) -> None:
        super().__init__(expr, variable)
        self.cond, self.true_branch, self.false_branch = parts


class Let(Expr):
    """Relax has bindings in its place: none is ever made."""


@dataclass(frozen=True)
class Op:
    """An operator under Relay's name, or Relax's where Relay has none."""

    name: str


@dataclass(frozen=True)
class GlobalVar:
    name_hint: str


class Call(Expr):
    """A call: `args` are its tensors, what stands behind them is among `attrs`."""

    def __init__(self, expr: Any, variable: Any, op: Any, args: list[Any]) -> None:
        super().__init__(expr, variable)
        self.op = op
        self.args = args

    @property
    def attrs(self) -> Attributes:
        return Attributes(self)


class Function(Expr):
    """A function; that of a composite stands in its calls, as on Relay."""

    def __init__(self, expr: Any, params: list[Any], body: Any) -> None:
        super().__init__(expr)
        self.params = params
        self.body = body
        self.attrs = expr.attrs


class Attributes:
    """The attributes of a call, by Relay's names, as plain values."""

    def __init__(self, call: Call) -> None:
        self._call = call

    def __getattr__(self, name: str) -> Any:
        from qpat.targets.relax_reading import plain  # it reads Relay's kinds, and those this file

        expr = self._call.expr
        known = relay_counterpart(str(expr.op.name)) if isinstance(expr.op, tvm.ir.Op) else None
        if known is None:
            return plain(getattr(expr.attrs, name))
        if name in known.fixed:
            return known.fixed[name]
        if name in known.arguments:
            return plain(expr.args[known.arguments[name]])
        return plain(getattr(expr.attrs, known.renamed.get(name, name)))


def name_of(variable: Any) -> str:
    # TVM 0.26 has the one, 0.27 the other.
    return str(getattr(variable, "name", None) or variable.name_hint)


# ---- operators -------------------------------------------------------------------------------


@cache
def _names() -> dict[str, str]:
    """Relay's name of each Relax operator that is a counterpart."""
    found: dict[str, str] = {}
    for name in known_counterparts():
        known = counterpart(name)
        assert known is not None
        found.setdefault(known.name, name)
    return found


def relay_counterpart(operator: str) -> Counterpart | None:
    """What is known of a Relax operator as the counterpart of one of Relay."""
    name = _names().get(operator)
    return None if name is None else counterpart(name)


# ---- modules ---------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Module:
    """The functions of a Relax module but for composites; `relax` is the module itself. `values`
    are its nodes by what they show: variables, and the expressions they are bound to."""

    relax: Any
    functions: Mapping[GlobalVar, Function]
    type_definitions: Mapping[Any, Any]
    values: Mapping[Any, Expr]

    def get_global_vars(self) -> list[GlobalVar]:
        return list(self.functions)

    def __getitem__(self, name: GlobalVar | str) -> Function:
        return self.functions[name if isinstance(name, GlobalVar) else GlobalVar(name)]


def shown(module: Any) -> Module:
    """The view of a Relax module. TIR functions beside it are not in it."""
    showing = _Showing(module)
    functions = {
        GlobalVar(str(variable.name_hint)): showing.function(function)
        for variable, function in module.functions.items()
        if isinstance(function, relax.Function) and not _is_composite(function)
    }
    return Module(module, functions, {}, showing.made)


def _is_composite(function: Any) -> bool:
    names = function.attrs.keys() if function.attrs else ()
    return "Composite" in names


class _Showing:
    """Makes the nodes of a module; each variable's value is one node."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self.made: dict[Any, Expr] = {}  # by variable, and by what that is bound to
        self.composites: dict[Any, Function] = {}

    def function(self, function: Any) -> Function:
        parameters = [Var(each) for each in function.params]
        self.made |= dict(zip(function.params, parameters, strict=True))
        return Function(function, list(parameters), self.sequence(function.body))

    def sequence(self, body: Any) -> Expr:
        """What a body gives, bindings first: those come in the order in which they are used."""
        if not isinstance(body, relax.SeqExpr):
            return self.value(body)
        for block in body.blocks:
            for binding in block.bindings:
                self.made[binding.var] = self.value(binding.value, binding.var)
        return self.value(body.body)

    def value(self, expr: Any, variable: Any = None) -> Expr:
        if expr not in self.made:
            self.made[expr] = self.node(expr, variable)
        return self.made[expr]

    def node(self, expr: Any, variable: Any) -> Expr:
        if isinstance(expr, relax.Call):
            return self.call(expr, variable)
        if isinstance(expr, relax.Tuple):
            return Tuple(expr, variable, [self.value(each) for each in expr.fields])
        if isinstance(expr, relax.TupleGetItem):
            return TupleGetItem(expr, variable, self.value(expr.tuple_value))
        if isinstance(expr, relax.If):
            branches = [self.sequence(each) for each in (expr.true_branch, expr.false_branch)]
            return If(expr, variable, [self.value(expr.cond), *branches])
        if isinstance(expr, relax.Function):
            return self.function(expr)
        if isinstance(expr, relax.Var):
            return Var(expr)
        if isinstance(expr, CONSTANT):
            return Constant(expr)
        return Expr(expr, variable)

    def call(self, expr: Any, variable: Any) -> Call:
        arguments = [self.value(each) for each in self.tensors(expr)]
        return Call(expr, variable, self.callee(expr.op), arguments)

    def tensors(self, expr: Any) -> Iterator[Any]:
        """The operands of a call that are tensors, or tuples of them."""
        known = relay_counterpart(str(expr.op.name)) if isinstance(expr.op, tvm.ir.Op) else None
        if known is not None:
            return iter(expr.args[: known.operands])
        kinds = (relax.TensorType, relax.TupleType)
        return (each for each in expr.args if isinstance(getattr(each, "ty", None), kinds))

    def callee(self, op: Any) -> Any:
        if isinstance(op, tvm.ir.Op):
            return Op(_names().get(str(op.name), str(op.name)))
        if not isinstance(op, tvm.ir.GlobalVar):
            return self.value(op)
        function = self.module[op]
        if not isinstance(function, relax.Function) or not _is_composite(function):
            return GlobalVar(str(op.name_hint))
        if op not in self.composites:
            self.composites[op] = self.function(function)
        return self.composites[op]
