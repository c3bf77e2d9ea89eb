"""Vectors of scales beside the tensor they belong to: `w.value - w.zero_point`.

NumPy lays a vector along the last dimension, and a per-channel scale runs along its axis. So where
one operand has the elements of a tensor and the other its scale or zero point, the vector is laid
along the axis.
"""

from __future__ import annotations

from qpat.semantics import ir
from qpat.semantics.ir import Kind


def aligned(operands: list[ir.Expression]) -> list[ir.Expression]:
    """The operands of an arithmetic operator, a vector of slots laid along the other's axis."""
    if len(operands) != 2:
        return operands
    left, right = operands
    return [_along(left, right), _along(right, left)]


def _along(vector: ir.Expression, array: ir.Expression) -> ir.Expression:
    name = _tensor_of_slots(vector)
    if name is None or _tensor_of_elements(array) != name:
        return vector
    span = vector.span
    value = ir.ReadMember(name, "value", False, Kind.ARRAY, span)
    axis = ir.ReadMember(name, "axis", False, Kind.ANY, span)
    return ir.Function("along", (vector, value, axis), Kind.ARRAY, span)


def _tensor_of_elements(node: ir.Expression) -> str | None:
    """The tensor whose elements an expression has, one for one."""
    if isinstance(node, ir.ReadMember) and node.member == "value" and not node.many:
        return node.name
    if isinstance(node, ir.Function) and node.name in ("abs", "round", "floor", "ceil", "f32"):
        return _tensor_of_elements(node.arguments[0])
    if isinstance(node, ir.Operation) and node.operator in ("+", "-", "*", "/", "%", "minus"):
        found = {_tensor_of_elements(operand) for operand in node.operands} - {None}
        return found.pop() if len(found) == 1 else None
    return None


def _tensor_of_slots(node: ir.Expression) -> str | None:
    """The tensor whose scale or zero point an expression is, or is calculated from."""
    if isinstance(node, ir.ReadMember) and node.member in ("scale", "zero_point"):
        return None if node.many else node.name
    if isinstance(node, ir.Operation) and node.operator in ("+", "-", "*", "/", "minus"):
        names = [_tensor_of_slots(operand) for operand in node.operands]
        plain = [o for o, n in zip(node.operands, names, strict=True) if n is None]
        found = set(names) - {None}
        scalars = all(operand.kind in (Kind.INT, Kind.FLOAT) for operand in plain)
        return found.pop() if len(found) == 1 and scalars else None
    return None
