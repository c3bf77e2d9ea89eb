"""What a condition says of the names that are absent in some rows, and which names one reads."""

from __future__ import annotations

from qpat.syntax import tree


def presence(node: tree.Expression) -> frozenset[str]:
    """Names that are certainly present where a condition holds."""
    if isinstance(node, tree.Present) and isinstance(node.value, tree.Name):
        return frozenset([node.value.name])
    if isinstance(node, tree.Present) and (member := _constant_value(node.value)):
        return frozenset([member, member.removesuffix(".value")])
    if isinstance(node, tree.Operation) and node.operator == "and":
        return frozenset().union(*(presence(operand) for operand in node.operands))
    return frozenset()


def absence(node: tree.Expression) -> frozenset[str]:
    """Names that are certainly present where a condition does not hold: `not d?`."""
    if isinstance(node, tree.Operation) and node.operator == "not":
        return presence(node.operands[0])
    return frozenset()


def _constant_value(node: tree.Expression) -> str | None:
    """`x.value` as a word, if this is that."""
    if isinstance(node, tree.Get) and isinstance(node.value, tree.Name):
        return f"{node.value.name}.value" if node.member.text == "value" else None
    return None


def names_read(node: object) -> frozenset[str]:
    """All names read anywhere in an expression, and `x.value` where that is read."""
    if isinstance(node, tree.Name):
        return frozenset([node.name])
    if isinstance(node, tree.Get) and (member := _constant_value(node)):
        return frozenset([member, member.removesuffix(".value")])
    if isinstance(node, tuple):
        return frozenset().union(*(names_read(child) for child in node))
    if not isinstance(node, tree.Node):
        return frozenset()
    children = (value for key, value in vars(node).items() if key != "span")
    return frozenset().union(*(names_read(child) for child in children))
