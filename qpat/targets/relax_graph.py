"""How a generated Relax module sees a function: calls with their operands behind them, as the rows
are written, whatever variables lie between. The other parts read these nodes.

`qpat compile` copies what is needed between the two rulers below into the module it writes, so this
file keeps to what such a module may use: Python 3.10, TVM 0.26 and 0.27, and NumPy. The same goes
for the other files whose names begin with `relax_` and that have rulers.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import tvm
from tvm import relax

OPERANDS: dict[str, int] = {}

# ---- graph: the same in every module qpat writes ---------------------------------------

# TVM 0.27 has another name for it.
CONSTANT = getattr(relax, "Constant", None) or tvm.ir.GenericConst


# The names of operators by identity: an operator is there as long as TVM is.
NAMES: dict[int, str] = {}


def operator_of(expr: Any) -> str:
    """The name of the operator that an expression calls; empty for anything else."""
    operator = expr.op if isinstance(expr, relax.Call) else None
    if not isinstance(operator, tvm.ir.Op):
        return ""
    handle = operator.__chandle__()
    if handle not in NAMES:
        NAMES[handle] = str(operator.name)
    return NAMES[handle]


class Node:
    """An expression of a function; variables are looked through to what they are bound to."""

    __slots__ = ("expr", "graph")

    def __init__(self, expr: Any, graph: Graph) -> None:
        self.expr = expr
        self.graph = graph

    @property
    def checked_type(self) -> Any:
        return self.expr.ty

    def same_as(self, other: Any) -> bool:
        return self is other


class ConstantNode(Node):
    """A constant tensor."""

    __slots__ = ()


class VariableNode(Node):
    """A parameter of the function, or a value that no binding in view makes."""

    __slots__ = ()


class CallNode(Node):
    """A call. `args` are its tensors; the values behind them are read as attributes."""

    def __init__(self, expr: Any, graph: Graph) -> None:
        super().__init__(expr, graph)
        self.operator = operator_of(expr)
        self.operands: list[Any] | None = None  # once they are asked for
        self.known: dict[str, Any] = {}  # attributes that have been read

    @property
    def op(self) -> Any:
        return self.expr.op

    @property
    def attrs(self) -> Any:
        return self.expr.attrs

    @property
    def args(self) -> list[Any]:
        if self.operands is None:
            exprs = self.expr.args[:]
            tensors = exprs[: OPERANDS.get(self.operator, len(exprs))]
            self.operands = [self.graph.node(each) for each in tensors]
        return self.operands


class TupleNode(Node):
    @property
    def fields(self) -> list[Any]:
        return [self.graph.node(each) for each in self.expr.fields[:]]


class FieldNode(Node):
    @property
    def index(self) -> int:
        return int(self.expr.index)

    @property
    def tuple_value(self) -> Any:
        return self.graph.node(self.expr.tuple_value)


NODES: tuple[tuple[Any, type[Node]], ...] = (
    (relax.Call, CallNode),
    (CONSTANT, ConstantNode),
    (relax.Var, VariableNode),
    (relax.Tuple, TupleNode),
    (relax.TupleGetItem, FieldNode),
)


@cache
def kind_of(type_: Any) -> type[Node]:
    """What the expressions of a class of TVM's are nodes of."""
    return next((kind for each, kind in NODES if issubclass(type_, each)), Node)


class Graph:
    """The nodes of a function, each there once. `bindings` are its variables with the values that
    they are bound to. Expressions are told apart by their identity: TVM compares them slowly."""

    def __init__(self, bindings: list[tuple[Any, Any]]) -> None:
        self.bindings = bindings
        self.bound = {variable.__chandle__(): value for variable, value in bindings}
        self.nodes: dict[int, Node] = {}

    def node(self, expr: Any) -> Node:
        handle = expr.__chandle__()
        while handle in self.bound:
            expr = self.bound[handle]
            handle = expr.__chandle__()
        found = self.nodes.get(handle)
        if found is None:
            type_: Any = type(expr)
            found = self.nodes[handle] = kind_of(type_)(expr, self)
        return found

    def variable(self, node: Node) -> Any:
        """The variable that is bound to the expression of a node; that itself where none is."""
        return next((v for v, value in self.bindings if value.same_as(node.expr)), node.expr)


def bindings_of(function: Any) -> list[tuple[Any, Any]]:
    """The variables that a function binds, each with its value, in order."""
    blocks = function.body.blocks[:] if isinstance(function.body, relax.SeqExpr) else ()
    found = [each for block in blocks for each in block.bindings[:]]
    return [(each.var, each.value) for each in found if hasattr(each, "value")]


def parts_of(value: Any) -> list[Any]:
    """What a value is made of: the arguments of a call, the fields of a tuple, the tuple that a
    field is taken of."""
    if isinstance(value, relax.Call):
        return list(value.args[:])
    if isinstance(value, relax.Tuple):
        return list(value.fields[:])
    return [value.tuple_value] if isinstance(value, relax.TupleGetItem) else []


def graph_of(function: Any) -> Graph:
    """The graph of a function: of all its bindings."""
    return Graph(bindings_of(function))


# ---- end of graph ------------------------------------------------------------------------
