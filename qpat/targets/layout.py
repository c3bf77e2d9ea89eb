"""Lines of generated Python, laid out as `ruff format` does: no formatter is needed at run time."""

from __future__ import annotations

from collections.abc import Sequence

WIDTH = 100
INDENT = "    "


def bracketed(
    before: str, items: Sequence[str], after: str, depth: int = 0, *, comma: bool = False
) -> list[str]:
    """`before(items)after` on one line if it fits, else its items on a line of their own, else
    each on its own. `before` ends in the opening bracket, `after` begins with the closing one."""
    margin = INDENT * depth
    trailing = "," if comma and len(items) == 1 else ""
    line = f"{margin}{before}{', '.join(items)}{trailing}{after}"
    if len(line) <= WIDTH or not items:
        return [line]
    inner = f"{margin}{INDENT}{', '.join(items)}"
    if len(inner) <= WIDTH and not comma and len(items) > 0:
        return [f"{margin}{before}", inner, f"{margin}{after}"]
    lines = [f"{margin}{INDENT}{item}," for item in items]
    return [f"{margin}{before}", *lines, f"{margin}{after}"]


def assigned(target: str, value: str, depth: int = 0) -> list[str]:
    """`target = value`; a call that is too long has its arguments on lines of their own."""
    line = f"{INDENT * depth}{target} = {value}"
    opening = value.find("(")
    if len(line) <= WIDTH or not value[:opening].isidentifier() or not _spans(value, opening):
        return [line]
    return bracketed(f"{target} = {value[: opening + 1]}", [value[opening + 1 : -1]], ")", depth)


def _spans(text: str, opening: int) -> bool:
    """Whether the bracket at `opening` is closed by the last character."""
    depth = 0
    for position in range(opening, len(text)):
        depth += {"(": 1, ")": -1}.get(text[position], 0)
        if depth == 0:
            return position == len(text) - 1
    return False


def comment(text: str, depth: int = 0) -> list[str]:
    """A comment, as many lines as the text has."""
    return [f"{INDENT * depth}# {line}".rstrip() for line in text.splitlines()]


def string(text: str) -> str:
    """A Python string literal in double quotes where that needs no escaping."""
    if '"' in text or "\\" in text or not text.isprintable():
        return repr(text)
    return f'"{text}"'
