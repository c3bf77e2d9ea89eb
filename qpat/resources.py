"""Finds the grammar, the pattern library and the pages on findings, in an installed wheel and in a
checkout."""

from __future__ import annotations

from functools import cache
from pathlib import Path

GRAMMAR = Path("grammar", "qpat.lark")
LIBRARY = Path("patterns")
PAGES = Path("docs", "findings")


class BrokenInstallError(RuntimeError):
    """The files that belong to qpat are not where any way of installing it puts them."""


@cache
def _data_folder() -> Path:
    """The folder that holds `grammar/`, `patterns/` and `docs/findings/`."""
    package = Path(__file__).parent
    # A wheel carries them in `_data`; in a checkout, editable or not, they are beside the package.
    places = (package / "_data", package.parent)
    for place in places:
        folders = (place / LIBRARY, place / PAGES)
        if (place / GRAMMAR).is_file() and all(folder.is_dir() for folder in folders):
            return place
    looked = " and ".join(str(place) for place in places)
    raise BrokenInstallError(
        f"this installation of qpat is broken: {GRAMMAR.as_posix()}, {LIBRARY.as_posix()}/ or "
        f"{PAGES.as_posix()}/ is missing (looked in {looked}); install qpat again"
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


@cache
def finding_codes() -> tuple[str, ...]:
    """The codes of the findings that have a page, in order."""
    return tuple(sorted(path.stem for path in (_data_folder() / PAGES).glob("QP*.md")))


def finding_page(code: str) -> str:
    """The page on a finding, as Markdown. `code` is one of `finding_codes()`."""
    return (_data_folder() / PAGES / f"{code}.md").read_text(encoding="utf-8")
