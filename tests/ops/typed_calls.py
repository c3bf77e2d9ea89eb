"""Calls of every operator in qpat/ops/types.py, as TVM's own builders make them, and their types.

A call is described by the dtypes and shapes of its operands and by attributes; TVM infers the type
of the result or refuses. The same call becomes a row, so that what qpat says of it can be compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import tvm
from tvm import relay

from qpat.ops.roles import roles
from qpat.ops.table import operator
from qpat.semantics import ir
from qpat.semantics.constraints import Conflict
from qpat.semantics.contradictions import row_conflicts
from qpat.source import Source, Span
from qpat.targets.relay_support import plain
from tools.dump_ops import builder_of, calls_of

Shape: TypeAlias = tuple[int | None, ...]
"""A shape; None for a dimension that is not known."""

# Every node of a row stands at a place of its own in this text.
_TEXT = Source("call.qpat", " ".join(f"w{number}" for number in range(500)))


def span(number: int) -> Span:
    start = _TEXT.text.index(f"w{number} ")
    return Span(_TEXT, start, start + len(f"w{number}"))


@dataclass(frozen=True)
class TensorType:
    dtype: str
    shape: Shape

    @property
    def var(self) -> Any:
        shape = [relay.Any() if size is None else size for size in self.shape]
        return relay.var("operand", shape=shape, dtype=self.dtype)


@dataclass(frozen=True)
class Case:
    """How an operator is called: operands that work, and the attributes to try it with. Those of a
    tuple are a list of shapes."""

    shapes: Mapping[str, Shape | list[Shape]]
    attributes: tuple[Mapping[str, Any], ...] = ({},)

    @property
    def dtype_attributes(self) -> tuple[Mapping[str, Any], ...]:
        """Those that say a dtype, or the first where none do."""
        found = [each for each in self.attributes if {"dtype", "out_dtype"} & set(each)]
        return tuple(found) or self.attributes[:1]

    @property
    def shape_attributes(self) -> tuple[Mapping[str, Any], ...]:
        """Those that differ in more than a dtype."""
        found = {
            repr({key: value for key, value in each.items() if "dtype" not in key}): each
            for each in reversed(self.attributes)
        }
        return tuple(found.values())


Operands: TypeAlias = Mapping[str, TensorType | list[TensorType]]


def tensors(name: str) -> list[str]:
    """The operands of an operator that are no scales and zero points."""
    signature = operator(name)
    assert signature is not None
    return [o.name for o in signature.operands if roles(name).slot(o.name) is None]


def slots(name: str) -> dict[str, str]:
    """The scales and zero points of an operator, with their dtypes."""
    signature = operator(name)
    assert signature is not None
    found = {o.name: roles(name).slot(o.name) for o in signature.operands}
    return {
        key: "float32" if role[1] == "scale" else "int32" for key, role in found.items() if role
    }


@dataclass(frozen=True)
class Typed:
    """A call and the type TVM infers for its result, None where it refuses. Of a tuple the type of
    its first field: in the table all fields are alike."""

    name: str
    operands: Operands
    call: Any
    result: TensorType | None


def typed(name: str, operands: Operands, attributes: Mapping[str, Any]) -> Typed | None:
    """Builds a call and has TVM infer its type. None where the builder itself refuses."""
    build = builder_of(name)
    assert build is not None, name
    given = {
        key: [each.var for each in value] if isinstance(value, list) else value.var
        for key, value in operands.items()
    }
    try:
        (call,) = calls_of(name, build(**given, **attributes))
    except (tvm.TVMError, TypeError, ValueError):
        return None
    function = relay.Function(relay.analysis.free_vars(call), call)
    try:
        module = relay.transform.InferType()(tvm.IRModule.from_expr(function))
    except tvm.TVMError:
        return Typed(name, operands, call, None)
    return Typed(name, operands, call, _tensor_type(module["main"].body.checked_type))


def _tensor_type(inferred: Any) -> TensorType:
    if isinstance(inferred, relay.TupleType):
        return _tensor_type(inferred.fields[0])
    shape = tuple(int(d) if isinstance(d, tvm.tir.IntImm) else None for d in inferred.shape)
    return TensorType(str(inferred.dtype), shape)


# ---- the same call as a row ------------------------------------------------------------------


class Description:
    """A row in which every value is a port, declared with the dtype and the shape TVM says."""

    def __init__(self) -> None:
        self.nodes: list[ir.Node] = []
        self.ports: list[ir.Port] = []
        self.values: dict[str, int] = {}

    def leaf(self, type_: TensorType) -> int:
        self.nodes.append(ir.Input(None, ir.Constness.ANY, span(len(self.nodes))))
        return self._declare(type_)

    def tuple(self, fields: Iterable[int]) -> int:
        self.nodes.append(ir.Tuple(tuple(fields), span(len(self.nodes))))
        return len(self.nodes) - 1

    def call(self, call: Typed, operands: Iterable[int], attributes: bool) -> int:
        """`attributes`: all that the call has are written. A result TVM has not typed is free."""
        written = tuple(written_attributes(call)) if attributes else ()
        self.nodes.append(ir.Call(call.name, tuple(operands), written, span(len(self.nodes))))
        return len(self.nodes) - 1 if call.result is None else self._declare(call.result)

    def _declare(self, type_: TensorType) -> int:
        node = len(self.nodes) - 1
        # What is not known has one name everywhere: two unknown sizes are equal in a match.
        shape = tuple("unknown" if size is None else size for size in type_.shape)
        where = span(node + 200)
        self.values[f"p{node}"] = node
        self.ports.append(
            ir.Port(f"p{node}", (type_.dtype,), None, shape, False, False, False, where)
        )
        return node

    def conflicts(self) -> list[tuple[Conflict, ...]]:
        """What qpat says contradicts itself in the row."""
        root, nodes = len(self.nodes) - 1, tuple(self.nodes)
        row = ir.Row(1, None, nodes, root, self.values, {}, frozenset(), ())
        return row_conflicts(row, self.ports)


def conflicts(call: Typed, attributes: bool) -> list[tuple[Conflict, ...]]:
    """What qpat says contradicts itself in one call."""
    row = Description()
    places = [
        row.tuple([row.leaf(each) for each in type_])
        if isinstance(type_, list)
        else row.leaf(type_)
        for type_ in call.operands.values()
    ]
    row.call(call, places, attributes)
    return row.conflicts()


def written_attributes(call: Typed) -> Iterator[ir.Attribute]:
    """The attributes of a call that a pattern can write."""
    signature = operator(call.name)
    assert signature is not None
    for index, (name, attribute) in enumerate(signature.attributes.items()):
        value = plain(getattr(call.call.attrs, name))
        if attribute.type == "dtype":
            value = str(value)
        if isinstance(value, bool | int | float | str) or _is_list(value):
            yield ir.Attribute(name, value, span(400 + index))


def _is_list(value: Any) -> bool:
    """A list of whole numbers, or of lists of them."""
    if not isinstance(value, tuple):
        return False
    return all(type(each) is int or (isinstance(each, tuple) and _is_list(each)) for each in value)


def in_order(name: str, operands: Mapping[str, TensorType | list[TensorType]]) -> Operands:
    """Operands in the order of the call, scales and zero points filled in."""
    signature = operator(name)
    assert signature is not None
    filled: dict[str, TensorType | list[TensorType]] = {
        key: TensorType(dtype, ()) for key, dtype in slots(name).items()
    }
    data = operands.get("data")
    for operand in signature.operands:
        if operand.is_tuple and operand.name in filled and isinstance(data, list):
            scalar = filled[operand.name]
            assert isinstance(scalar, TensorType)
            filled[operand.name] = [scalar] * len(data)
    filled.update(operands)
    return {operand.name: filled[operand.name] for operand in signature.operands}
