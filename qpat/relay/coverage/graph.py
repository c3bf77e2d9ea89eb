"""The graph of a partitioned module, to be drawn: its calls and inputs, and what to say of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

import numpy as np

from qpat.relay.coverage.data import Graph, Node, Record
from qpat.relay.coverage.macs import macs, operator_calls
from qpat.relay.graph import children_of, post_order
from qpat.relay.kinds import relay, tvm
from qpat.relay.names import Names, operator_name, short
from qpat.relay.partition import Match, Partition
from qpat.relay.report import scale_text, shape_text, tensors_of, zero_point_text
from qpat.relay.why.before import Before
from qpat.relay.why.reasons import Why
from qpat.relay.why.report import nearest_text
from qpat.relay.why.search import why
from qpat.targets.relay_reading import shape_of

_MOST_NUMBERS = 16  # of a parameter that are shown


def graph_of(partition: Partition, was: Before | None = None) -> Graph:
    """The graph of a partition. Constants are not in it; tuples, and fields of them, are what they
    are made of. `was` is what before() gave, where the caller has asked it already."""
    said: dict[Any, Match | Why] = {match.call: match for match in partition.matches}
    said |= {each.call: each for each in why(partition, was=was)}
    drawing = _Drawing(said)
    for variable in partition.module.get_global_vars():
        drawing.add(partition.module[variable])
    return Graph(tuple(drawing.nodes), tuple(drawing.edges), tuple(drawing.results))


class _Drawing:
    def __init__(self, said: Mapping[Any, Match | Why]) -> None:
        self.said = said
        self.nodes: list[Node] = []
        self.edges: dict[tuple[int, int], None] = {}
        self.results: dict[int, None] = {}

    def add(self, function: Any) -> None:
        order = post_order(function.body)
        names = Names(order)
        of: dict[Any, list[int]] = {}  # the nodes that an expression is drawn as
        for expr in order:
            operands = list(dict.fromkeys(node for e in _operands(expr) for node in of.get(e, ())))
            if not isinstance(expr, relay.Call | relay.Var):
                of[expr] = operands
                continue
            number = len(self.nodes)
            of[expr] = [number]
            self.nodes.append(self._node(expr, names.of(expr)))
            self.edges |= dict.fromkeys((operand, number) for operand in operands)
        self.results |= dict.fromkeys(of[function.body])

    def _node(self, expr: Any, name: str | None) -> Node:
        type_ = _type_text(expr.checked_type)
        if isinstance(expr, relay.Var):
            return Node("input", str(expr.name_hint), name, type=type_)
        calls = tuple(operator_name(call) for call in operator_calls(expr))
        said, count = self.said.get(expr), macs(expr) or 0
        if isinstance(said, Match):
            return Node(
                "composite" if said.composite is not None else "rule",
                said.pattern,
                short(said.location) if said.location else name,
                said.pattern,
                type_,
                count,
                calls,
                _record(said),
            )
        reasons = _reasons(said) if said is not None else ("it calls no operator",)
        return Node("host", operator_name(expr), name, None, type_, count, calls, None, reasons)


def _operands(expr: Any) -> Iterable[Any]:
    """What an expression is computed from. An operator, and a composite's function, is no operand,
    and of a tuple that is written out a field is that field alone."""
    if isinstance(expr, relay.Call):
        return cast(Iterable[Any], expr.args)
    if isinstance(expr, relay.TupleGetItem) and isinstance(expr.tuple_value, relay.Tuple):
        return [expr.tuple_value.fields[expr.index]]
    return children_of(expr)


def _reasons(found: Why) -> tuple[str, ...]:
    """Why an operator stays on the host, then what came nearest, where, and what else keeps it."""
    miss = found.miss
    if miss is None:
        return (found.text,)
    first, *others = miss.reasons
    place = () if first.span is None else (f"{first.span.source.name}:{first.span.line}",)
    also = dict.fromkeys(f"also: {each.text}" for each in others)
    return (found.text, nearest_text(miss), *place, *also)


def _record(match: Match) -> Record:
    ports = tuple(
        (name, each.dtype, shape_text(each.shape), scale_text(each), zero_point_text(each))
        for name, each in tensors_of(match.tensors)
    )
    params = tuple((name, _value_text(value)) for name, value in match.params.items())
    return Record(match.form, ports, params)


def _value_text(value: Any) -> str:
    if isinstance(value, np.ndarray) and value.size > _MOST_NUMBERS:
        return f"{value.dtype} {shape_text(value.shape)}"
    if isinstance(value, np.ndarray | np.generic):
        return str(value.tolist())
    if isinstance(value, tuple | list) and len(value) > _MOST_NUMBERS:
        return f"{len(value)} values, the first {_value_text(value[0])}"
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_value_text, value))}]"
    return "none" if value is None else str(value)


def _type_text(type_: Any) -> str:
    if isinstance(type_, tvm.ir.TupleType):
        return f"({', '.join(map(_type_text, type_.fields))})"
    if isinstance(type_, tvm.ir.TensorType):
        return f"{type_.dtype} {shape_text(shape_of(type_))}"
    return "no tensor"
