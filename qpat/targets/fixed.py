"""The parts of a generated module that are always the same: text between rulers of files here."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from importlib.resources import files

_RULER = re.compile(r"^# ---- .*\n", re.MULTILINE)
_DEFINITION = re.compile(
    r"^(?:@\w[^\n]*\n)*(?:(?:def|class) (?P<name>\w+)|(?P<constant>[A-Z_]+)(?:: [^=\n]+)? = )",
    re.MULTILINE,
)


@cache
def fixed_part(name: str) -> str:
    """The text between the first ruler and the last, the first included."""
    text = files("qpat.targets").joinpath(f"{name}.py").read_text(encoding="utf-8")
    found = list(_RULER.finditer(text))
    return text[found[0].start() : found[-1].start()].strip("\n")


def defined_names(*parts: str) -> frozenset[str]:
    """The functions, classes and constants that texts define."""
    return frozenset(_name(found) for part in parts for found in _DEFINITION.finditer(part))


def _name(found: re.Match[str]) -> str:
    return found["name"] or found["constant"]


def selected(part: str, users: Iterable[str]) -> str:
    """The definitions of a part that the users' texts need, and those that these need, in the order
    they stand in; the ruler on top. Nothing where none is needed."""
    definitions = dict(_definitions(part))
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
    text = "\n\n\n".join([ruler, *kept])
    # Constants in a row stand close together.
    return re.sub(r"(?<=\n)([A-Z_]+ = [^\n]+)\n\n\n(?=[A-Z_]+ = )", r"\1\n", text)


def overridden(part: str, differences: str) -> str:
    """A part in which the definitions of another one stand in the place of those of the same name;
    those that it has alone come last."""
    others = dict(_definitions(differences))
    own = [(name, others.pop(name, block)) for name, block in _definitions(part)]
    ruler = part[: part.index("\n")]
    return "\n\n\n".join([ruler, *(block for _, block in own), *others.values()])


def _definitions(part: str) -> list[tuple[str, str]]:
    """Name and text of each definition, in the order they stand in."""
    starts = [match.start() for match in _DEFINITION.finditer(part)]
    blocks = [part[a:b].strip("\n") for a, b in zip(starts, [*starts[1:], len(part)], strict=True)]
    named = [(_DEFINITION.match(block), block) for block in blocks]
    return [(_name(match), block) for match, block in named if match is not None]
