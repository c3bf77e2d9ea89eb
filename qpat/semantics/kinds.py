"""The static types of expressions: what they are called, and what operators make of them."""

from __future__ import annotations

from qpat.semantics import ir
from qpat.semantics.ir import Kind
from qpat.semantics.walk import walk
from qpat.source import Span

NOT_NUMBERS = frozenset([Kind.TEXT, Kind.BOOL, Kind.TUPLE, Kind.NONE])
_TRUTH = frozenset(["not", "and", "or", "=>", "==", "!=", "<=", ">=", "<", ">"])
A = {
    Kind.BOOL: "a condition",
    Kind.INT: "a number",
    Kind.FLOAT: "a number",
    Kind.TEXT: "a string",
    Kind.INTS: "a list",
    Kind.ARRAY: "an array",
    Kind.TUPLE: "a tuple",
    Kind.NONE: "`none`",
}


def nothing(span: Span) -> ir.Expression:
    """Stands where an expression was faulty, so that the rest is still looked at."""
    return ir.Number(None, Kind.ANY, span)


def literal_kind(value: object) -> Kind:
    kinds = {bool: Kind.BOOL, int: Kind.INT, float: Kind.FLOAT, str: Kind.TEXT}
    return kinds.get(type(value), Kind.NONE)


def is_alone(expression: ir.Expression) -> bool:
    """Whether its kind says all: lists have elements of other kinds, and what is read of many
    tensors is a list of that kind."""
    return not any(
        isinstance(each, ir.Sequence) or (isinstance(each, ir.ReadMember) and each.many)
        for each in walk(expression)
    )


def operation_kind(operator_name: str, operands: list[ir.Expression]) -> Kind:
    kinds = {operand.kind for operand in operands}
    if operator_name in _TRUTH:
        return Kind.BOOL
    if Kind.ANY in kinds:
        return Kind.ANY
    if Kind.ARRAY in kinds:
        return Kind.ARRAY
    if operator_name == "/":
        return Kind.ARRAY if Kind.INTS in kinds else Kind.FLOAT
    if Kind.INTS in kinds:
        return Kind.ARRAY if Kind.FLOAT in kinds else Kind.INTS
    return Kind.FLOAT if Kind.FLOAT in kinds else Kind.INT
