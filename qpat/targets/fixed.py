"""The parts of a generated module that are always the same: text between rulers of files here."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from importlib.resources import files

_RULER = re.compile(r"^# ---- .*\n", re.MULTILINE)
_DEFINITION = re.compile(r"^(?:@\w[^\n]*\n)*(?:def|class) (\w+)", re.MULTILINE)


@cache
def fixed_part(name: str) -> str:
    """The text between the first ruler and the last, the first included."""
    text = files("qpat.targets").joinpath(f"{name}.py").read_text(encoding="utf-8")
    found = list(_RULER.finditer(text))
    return text[found[0].start() : found[-1].start()].strip("\n")


def defined_names(*parts: str) -> frozenset[str]:
    """The functions and classes that texts define."""
    return frozenset(name for part in parts for name in _DEFINITION.findall(part))


def selected(part: str, users: Iterable[str]) -> str:
    """The definitions of a part that the users' texts need, and those that these need, in the order
    they stand in; the ruler on top. Nothing where none is needed."""
    starts = [match.start() for match in _DEFINITION.finditer(part)]
    blocks = [part[a:b].strip("\n") for a, b in zip(starts, [*starts[1:], len(part)], strict=True)]
    named = [(_DEFINITION.match(block), block) for block in blocks]
    definitions = {match[1]: block for match, block in named if match is not None}
    needed: set[str] = set()
    waiting = list(users)
    while waiting:
        words = set(re.findall(r"\w+", waiting.pop()))
        found = (words & definitions.keys()) - needed
        needed |= found
        waiting += [definitions[name] for name in found]
    if not needed:
        return ""
    kept = [block for name, block in definitions.items() if name in needed]
    ruler = part[: part.index("\n")]
    return "\n\n\n".join([ruler, *kept])
