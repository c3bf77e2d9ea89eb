"""Finds the grammar and the pattern library, in an installed wheel and in a checkout."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path

GRAMMAR = Path("grammar", "qpat.lark")
LIBRARY = Path("patterns")


class BrokenInstallError(RuntimeError):
    """The files that belong to qpat are not where any way of installing it puts them."""


@cache
def _data_folder() -> Path:
    """The folder that holds `grammar/` and `patterns/`."""
    package = Path(str(files("qpat")))
    # A wheel carries them in `_data`; in a checkout, editable or not, they are beside the package.
    places = (package / "_data", package.parent)
    for place in places:
        if (place / GRAMMAR).is_file() and (place / LIBRARY).is_dir():
            return place
    looked = " and ".join(str(place) for place in places)
    raise BrokenInstallError(
        f"this installation of qpat is broken: {GRAMMAR.as_posix()} and {LIBRARY.as_posix()}/ "
        f"are missing (looked in {looked}); install qpat again"
    )


def grammar_text() -> str:
    """The Lark grammar of the language."""
    return (_data_folder() / GRAMMAR).read_text(encoding="utf-8")


def library_folder() -> Path:
    """The folder of the pattern library."""
    return _data_folder() / LIBRARY


def library_names() -> tuple[str, ...]:
    """The names that `library_file` takes, in alphabetical order."""
    folder = library_folder()
    return tuple(sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.qpat")))


def library_file(name: str) -> Path:
    """The library's file of that name, such as `tflite.qpat`."""
    names = library_names()
    if name not in names:
        raise FileNotFoundError(
            f"the pattern library has no {name!r}; it has {', '.join(names) or 'no files at all'}"
        )
    return library_folder() / name
