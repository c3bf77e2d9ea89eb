"""What a condition says of the names that are absent in some rows, and which names one reads."""

from __future__ import annotations

from qpat.semantics.functions import BUILTINS
from qpat.syntax import tree


def presence(node: tree.Expression) -> frozenset[str]:
    """Names that are certainly present where a condition holds."""
    if isinstance(node, tree.Present) and isinstance(node.value, tree.Name):
        return frozenset([node.value.name])
    if isinstance(node, tree.Present):
        return _guarded(node.value)
    if isinstance(node, tree.Operation) and node.operator == "and":
        return frozenset().union(*(presence(operand) for operand in node.operands))
    return frozenset()


def absence(node: tree.Expression) -> frozenset[str]:
    """Names that are certainly present where a condition does not hold: `not d?`."""
    if isinstance(node, tree.Operation) and node.operator == "not":
        return presence(node.operands[0])
    return frozenset()


def _guarded(node: tree.Expression) -> frozenset[str]:
    """What is present where `x.value` or `target.mcpu` is, as words; nothing for anything else."""
    if not isinstance(node, tree.Get) or not isinstance(node.value, tree.Name):
        return frozenset()
    word = f"{node.value.name}.{node.member.text}"
    if node.value.name == "target":
        return frozenset([word])
    return frozenset([word, node.value.name]) if node.member.text == "value" else frozenset()


def _is_builtin(function: tree.Expression) -> bool:
    return isinstance(function, tree.Name) and function.name in BUILTINS


def names_read(node: object) -> frozenset[str]:
    """All names read anywhere in an expression, and `x.value` or `target.mcpu` where that is. What
    the language calls its functions is no name of the pattern there."""
    found: set[str] = set()
    waiting = [node]
    while waiting:
        each = waiting.pop()
        if isinstance(each, tree.Name):
            found.add(each.name)
        elif isinstance(each, tree.Get) and (words := _guarded(each)):
            found |= words
        elif isinstance(each, tree.Apply) and _is_builtin(each.function):
            waiting += each.arguments
        else:
            waiting += tree.parts(each)
    return frozenset(found)
