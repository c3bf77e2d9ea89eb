"""Values of attributes in a structure: which literals there are, and which type takes which."""

from __future__ import annotations

from collections.abc import Callable

from qpat.diagnostics import Fix, did_you_mean, respelt
from qpat.semantics import ir
from qpat.syntax import tree

_Value = ir.AttributeValue

SAID = {
    "int": "a whole number",
    "int_or_none": "a whole number",
    "float": "a number",
    "bool": "`true` or `false`",
    "str": "a string",
    "dtype": 'a dtype, such as "int8"',
    "list": "a list",
    "any": "anything",
}


def attribute_value(value: object) -> _Value | None:
    match value:
        case tree.Literal(about=False):
            return value.value
        case tree.Text():
            return value.text
        case tree.Slot(slot="dtype"):
            return ir.DtypeOf(value.name)
        case tree.ListExpression():
            return _list_value(value)
        case tree.Leaf() if value.name in DTYPES:
            return value.name
    return None


def _list_value(node: tree.ListExpression) -> tuple[_Value, ...] | None:
    """A list of numbers, strings, truth values, and lists of them."""
    values: list[_Value] = []
    for element in node.elements:
        sign = 1
        if isinstance(element, tree.Operation) and element.operator == "minus":
            sign, element = -1, element.operands[0]
        if isinstance(element, tree.ListExpression):
            inner = _list_value(element)
            if inner is None or sign < 0:
                return None
            values.append(inner)
        elif isinstance(element, tree.Value) and element.value is not None:
            number = isinstance(element.value, int | float)
            if sign < 0 and not number:
                return None
            values.append(-element.value if sign < 0 else element.value)  # type: ignore[operator]
        else:
            return None
    return tuple(values)


DTYPES = frozenset(
    ["bool", "bfloat16", "float16", "float32", "float64"]
    + [f"{sign}int{bits}" for sign in ("", "u") for bits in (4, 8, 16, 32, 64)]
)

_CHECKS: dict[str, Callable[[_Value], bool]] = {
    "int": lambda v: isinstance(v, int) and not isinstance(v, bool),
    "int_or_none": lambda v: isinstance(v, int) and not isinstance(v, bool),
    "float": lambda v: isinstance(v, int | float) and not isinstance(v, bool),
    "bool": lambda v: isinstance(v, bool),
    "str": lambda v: isinstance(v, str),
    "dtype": lambda v: isinstance(v, ir.DtypeOf) or v in DTYPES or v == "",
    "list": lambda v: isinstance(v, tuple) and not any(isinstance(e, bool) for e in v),
    "any": lambda v: True,
}


def fits(value: _Value, declared: str) -> bool:
    return _CHECKS[declared](value)


def attribute_hint(value: _Value, declared: str) -> str | None:
    if declared == "list" and isinstance(value, int):
        return f"write `[{value}, {value}]`"
    if declared == "dtype" and isinstance(value, str):
        return did_you_mean(value, DTYPES)
    return None


def attribute_fix(node: object, declared: str) -> Fix | None:
    """The fix of a value that is misspelt, or written as in Python."""
    if isinstance(node, tree.Leaf) and node.name in ("True", "False"):
        return Fix(node.span, node.name.lower())
    if isinstance(node, tree.Tuple) and all(isinstance(e, tree.Literal) for e in node.elements):
        return Fix(node.span, f"[{node.span.text[1:-1].strip()}]")
    if declared == "dtype" and isinstance(node, tree.Text):
        return respelt(node.span, node.text, DTYPES)
    return None
