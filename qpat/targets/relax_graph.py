"""How a generated Relax module sees a function: calls with their operands behind them, as the rows
are written, whatever variables lie between. The other parts read these nodes.

`qpat compile` copies what is needed between the two rulers below into the module it writes, so this
file keeps to what such a module may use: Python 3.10, TVM 0.26 and 0.27, and NumPy. The same goes
for the other files whose names begin with `relax_` and that have rulers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tvm
from tvm import relax

OPERANDS: dict[str, int] = {}

# ---- graph: the same in every module qpat writes ---------------------------------------

# TVM 0.27 has another name for it.
CONSTANT = getattr(relax, "Constant", None) or tvm.ir.GenericConst


class Node:
    """An expression of a function; variables are looked through to what they are bound to."""

    def __init__(self, expr: Any, graph: Graph) -> None:
        self.expr = expr
        self.graph = graph
        self.operands: list[Any] | None = None  # of a call, once they are asked for

    @property
    def checked_type(self) -> Any:
        return self.expr.ty

    def same_as(self, other: Any) -> bool:
        return self is other


class ConstantNode(Node):
    """A constant tensor."""


class VariableNode(Node):
    """A parameter of the function, or a value that no binding in view makes."""


class CallNode(Node):
    """A call. `args` are its tensors; the values behind them are read as attributes."""

    @property
    def op(self) -> Any:
        return self.expr.op

    @property
    def attrs(self) -> Any:
        return self.expr.attrs

    @property
    def args(self) -> list[Any]:
        if self.operands is None:
            exprs = list(self.expr.args)
            name = self.op.name if isinstance(self.op, tvm.ir.Op) else ""
            tensors = exprs[: OPERANDS.get(name, len(exprs))]
            self.operands = [self.graph.node(each) for each in tensors]
        return self.operands


class TupleNode(Node):
    @property
    def fields(self) -> list[Any]:
        return [self.graph.node(each) for each in self.expr.fields]


class FieldNode(Node):
    @property
    def index(self) -> int:
        return int(self.expr.index)

    @property
    def tuple_value(self) -> Any:
        return self.graph.node(self.expr.tuple_value)


NODES: tuple[tuple[Any, Callable[[Any, Any], Node]], ...] = (
    (relax.Call, CallNode),
    (CONSTANT, ConstantNode),
    (relax.Var, VariableNode),
    (relax.Tuple, TupleNode),
    (relax.TupleGetItem, FieldNode),
)


class Graph:
    """The nodes of a function, each there once. `bound` is what each variable is bound to."""

    def __init__(self, bound: dict[Any, Any]) -> None:
        self.bound = bound
        self.variables = {value: variable for variable, value in bound.items()}
        self.nodes: dict[Any, Node] = {}

    def node(self, expr: Any) -> Node:
        while isinstance(expr, relax.Var) and expr in self.bound:
            expr = self.bound[expr]
        found = self.nodes.get(expr)
        if found is None:
            kind = next((kind for type_, kind in NODES if isinstance(expr, type_)), Node)
            found = self.nodes[expr] = kind(expr, self)
        return found


def graph_of(function: Any) -> Graph:
    """The graph of a function: of all its bindings."""
    blocks = function.body.blocks if isinstance(function.body, relax.SeqExpr) else ()
    bindings = [each for block in blocks for each in block.bindings]
    return Graph({each.var: each.value for each in bindings if hasattr(each, "value")})


# ---- end of graph ------------------------------------------------------------------------
