"""Lines of generated Python, laid out as `ruff format` does: no formatter is needed at run time."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

WIDTH = 100
INDENT = "    "
_OPEN, _CLOSE = "([{", ")]}"
# Where a long expression is broken: the operators that bind the least, tried in this order.
_BREAKS = (r" (?=if |else )", r" (?=or )", r" (?=and )", r" (?=[+-] )", r" (?=[*/%] )")


def bracketed(before: str, items: Sequence[str], after: str, depth: int = 0) -> list[str]:
    """`before(items)after`: `before` ends in the opening bracket, `after` begins with the other."""
    margin = INDENT * depth
    line = f"{margin}{before}{', '.join(items)}{after}"
    if len(line) <= WIDTH or not items:
        return [line]
    inner = f"{margin}{INDENT}{', '.join(items)}"
    # A tuple or a list that is broken has a line for each element, which arguments have not.
    is_call = _follows(before, len(before) - 1)
    if len(inner) <= WIDTH and (is_call or len(items) == 1):
        return [f"{margin}{before}", inner, f"{margin}{after}"]
    lines = [line for item in items for line in laid_out("", item, ",", depth + 1)]
    return [f"{margin}{before}", *lines, f"{margin}{after}"]


def assigned(target: str, value: str, depth: int = 0) -> list[str]:
    """`target = value`."""
    return laid_out(f"{target} = ", value, "", depth)


def laid_out(before: str, text: str, after: str, depth: int) -> list[str]:
    """An expression between two pieces of text, broken at its last bracket or at its operators."""
    line = f"{INDENT * depth}{before}{text}{after}"
    if len(line) <= WIDTH:
        return [line]
    parts = _parts(text)
    inner = f"{INDENT * (depth + 1)}{text}"
    if len(parts) > 1 and before.endswith("= ") and not _ends_in_brackets(before, parts, depth):
        if len(inner) <= WIDTH:
            return [f"{INDENT * depth}{before}(", inner, f"{INDENT * depth}){after}"]
        return [
            f"{INDENT * depth}{before}(",
            *(line for part in parts for line in laid_out("", part, "", depth + 1)),
            f"{INDENT * depth}){after}",
        ]
    if len(parts) > 1 and not before.endswith("= "):
        ends = [*[""] * (len(parts) - 1), after]
        pairs = zip(parts, ends, strict=True)
        return [line for part, end in pairs for line in laid_out("", part, end, depth)]
    opening = _last_bracket(text)
    if opening is None:
        return [line]
    head, tail = f"{before}{text[: opening + 1]}", f"{text[-1]}{after}"
    items = list(_split(text[opening + 1 : -1].removesuffix(","), r", "))
    if len(items) == 1 and _only_groups(text, opening):
        # A comma behind the only item would make a tuple of it.
        margin = INDENT * depth
        return [f"{margin}{head}", *laid_out("", items[0], "", depth + 1), f"{margin}{tail}"]
    return bracketed(head, items, tail, depth)


def _ends_in_brackets(before: str, parts: Sequence[str], depth: int) -> bool:
    """Whether of two parts the second ends in brackets, and what stands before these has room in
    one line: then they are what is broken."""
    opening = _last_bracket(parts[-1])
    if len(parts) != 2 or opening is None or len(parts[-1]) - opening <= 2:
        return False
    head = f"{INDENT * depth}{before}{parts[0]} {parts[-1][: opening + 1]}"
    return len(head) <= WIDTH


def _only_groups(text: str, opening: int) -> bool:
    """Whether the bracket that opens there and ends the text is an index or holds together what is
    in it: it is no call, tuple, list or set."""
    wanted = "[" if _follows(text, opening) else "("
    return text[opening] == wanted and not text.endswith((",)", ",]"))


def _parts(text: str) -> list[str]:
    for pattern in _BREAKS:
        parts = list(_split(text, pattern))
        if len(parts) > 1 and not text.startswith("lambda"):
            return parts
    return [text]


def _split(text: str, separator: str) -> Iterator[str]:
    """The pieces of a text between separators that stand in no bracket and no string."""
    start = 0
    bare = _bare(text)
    for match in re.finditer(separator, bare):
        yield text[start : match.start()]
        start = match.end()
    yield text[start:]


def _bare(text: str) -> str:
    """The text with everything in brackets and strings replaced by dots, brackets included."""
    bare = list(text)
    for start, end in _enclosed(text):
        bare[start:end] = "." * (end - start)
    return "".join(bare)


def _enclosed(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of each outermost bracket or string of a text, in order."""
    start, depth = 0, 0
    for match in re.finditer(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|[()\[\]{}]", text):
        piece = match[0]
        if piece in _CLOSE:
            depth -= 1
        if depth == 0 and piece not in _CLOSE:
            start = match.start()
        if piece in _OPEN:
            depth += 1
        if depth == 0:
            yield start, match.end()


def _last_bracket(text: str) -> int | None:
    """Where the bracket opens that closes at the end of the text; None where none does."""
    if not text or text[-1] not in _CLOSE:
        return None
    return list(_enclosed(text))[-1][0]


def _follows(text: str, opening: int) -> bool:
    """Whether a bracket belongs to what stands before it: a call or an index."""
    return opening > 0 and (text[opening - 1].isalnum() or text[opening - 1] in "_)]")


def comment(text: str, depth: int = 0) -> list[str]:
    """A comment, as many lines as the text has."""
    return [f"{INDENT * depth}# {line}".rstrip() for line in text.splitlines()]


def string(text: str) -> str:
    """A string literal in the quotes that need the least escaping, double ones if in doubt."""
    if '"' in text and "'" not in text:
        return repr(text)
    escaped = repr(f"'{text}")[2:-1] if '"' not in text else repr(text)[1:-1].replace('"', '\\"')
    return f'"{escaped}"'.replace("\\'", "'")


def number(value: int | float) -> str:
    """A number literal as ruff writes it: `1e20`."""
    return repr(value).replace("e+", "e")


def literal(value: object) -> str:
    """A literal of an attribute: a string, a number, or a tuple of them."""
    if isinstance(value, str):
        return string(value)
    if isinstance(value, tuple):
        return f"({', '.join(map(literal, value))}{',' if len(value) == 1 else ''})"
    return number(value) if isinstance(value, int | float) else repr(value)


def docstring(text: str) -> str:
    """A line that can stand in a docstring, also as its last."""
    printable = "".join(char if char.isprintable() else "?" for char in text)
    escaped = printable.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    is_open = escaped.endswith('"') and not escaped.endswith('\\"')
    return f'{escaped[:-1]}\\"' if is_open else escaped
