"""Names of a pattern as names of a Python module."""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Iterable


def safe(name: str, taken: Iterable[str]) -> str:
    """`name`, with an underscore behind it where Python or the module means something else."""
    reserved = keyword.iskeyword(name) or hasattr(builtins, name) or name in taken
    return f"{name}_" if reserved else name


def class_name(name: str) -> str:
    """`avg_pool2d` as `AvgPool2D`: words run together, a letter behind a digit is large too."""
    words = re.split(r"[_\W]+", name)
    text = "".join(word[:1].upper() + word[1:] for word in words)
    text = re.sub(r"(?<=\d)[a-z]", lambda match: match[0].upper(), text)
    return text if text[:1].isalpha() else f"Pattern{text}"


class Fresh:
    """Gives each wanted name once; the second asking for `x` gets `x_2`."""

    def __init__(self, taken: Iterable[str]) -> None:
        self._taken = set(taken)

    def name(self, wanted: str) -> str:
        base = re.sub(r"\W", "_", wanted)
        base = safe(base, ())
        name, count = base, 1
        while name in self._taken:
            count += 1
            name = f"{base.rstrip('_')}_{count}"
        self._taken.add(name)
        return name
