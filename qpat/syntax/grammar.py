"""The parser made of grammar/qpat.lark, and its cache: making it takes longer than most checks.

The cache is a convenience. Whatever is wrong with it, the parser is made anew and is the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import sys
from functools import cache
from pathlib import Path

import lark
from lark import Lark

from qpat.resources import grammar_text

_LONGEST_HEAD = 100
_STARTS = ["start", "block"]  # blocks, too, are parsed by themselves behind a syntax error


@cache
def grammar() -> Lark:
    """The parser of the language."""
    text = grammar_text()
    path = _cache_file(text)
    return _kept(path) or _made(text, path)


def _cache_file(text: str) -> Path:
    """Where the parser of a grammar is kept, apart for each version of what reads and writes it."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):  # which XDG's rules want
        base = os.path.expanduser("~/.cache")
    versions = f"{lark.__version__} {sys.implementation.cache_tag} {sys.version_info[:2]}"
    key = hashlib.sha256(f"{versions}\n{_STARTS}\n{text}".encode()).hexdigest()
    return Path(base, "qpat", f"grammar-{key[:16]}.lark")


def _kept(path: Path) -> Lark | None:
    """What `_made` kept there; None where there is nothing, or not what was written."""
    try:
        with open(path, "rb") as file:
            head, data = file.readline(_LONGEST_HEAD), file.read()
    except OSError:
        return None
    if head != _head(data):
        return None
    # Nothing but a change of lark without a change of its version can fail here, or of Python.
    try:
        return Lark.load(io.BytesIO(data))
    except Exception:
        return None


def _made(text: str, path: Path) -> Lark:
    made = Lark(
        text,
        parser="lalr",
        start=_STARTS,
        propagate_positions=True,
        maybe_placeholders=True,
    )
    from qpat.files import replace_file

    buffer = io.BytesIO()
    made.save(buffer)
    data = buffer.getvalue()
    with contextlib.suppress(OSError):  # then the next run makes it again
        replace_file(path, _head(data) + data)
    return made


def _head(data: bytes) -> bytes:
    """The first line of the file: half a file, or a changed one, must not become a parser."""
    return f"{hashlib.sha256(data).hexdigest()}\n".encode()
