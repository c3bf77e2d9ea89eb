"""What a command writes must be none of what it reads, and each output a file of its own."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from qpat.diagnostics import QpatError, failure

if TYPE_CHECKING:
    from qpat.compiler import Compiled

# Where commands have their outputs, and how those are given.
_OPTIONS = {
    "output": "-o",
    "json": "--json",
    "html": "--html",
    "relay": "--relay",
    "relax": "--relax",
    "regions": "--regions",
}


def require_apart(options: argparse.Namespace, compiled: Compiled | None = None) -> None:
    """Raises QP331 where an output of a command line is an input, or another output. `compiled`
    are its patterns, which have imports and externs of their own."""
    outputs = [(option, getattr(options, name, None)) for name, option in _OPTIONS.items()]
    given = [(option, path) for option, path in outputs if path is not None]
    for number, (option, path) in enumerate(given):
        if any(_is_one_file(path, other) for _, other in given[:number]):
            raise _taken("two outputs are this file", option, path)
    existing = [(option, path) for option, path in given if os.path.isfile(path)]
    if not existing:
        return
    inputs = list(_inputs(options, compiled))
    for option, path in existing:
        for what, file in inputs:
            if _is_one_file(path, file):
                raise _taken(f"the output is {what}", option, path)


def _taken(message: str, option: str, path: str) -> QpatError:
    return failure("QP331", message, place=path, hint=f"give another name with {option}")


def _inputs(options: argparse.Namespace, compiled: Compiled | None) -> Iterator[tuple[str, str]]:
    """The files that a command reads, each with what it is."""
    models = [getattr(options, "model", None), *getattr(options, "models", ())]
    yield from (("the model itself", model) for model in models if model is not None)
    patterns = getattr(options, "patterns", getattr(options, "file", None))
    if patterns is None or compiled is None:
        return
    from qpat.compiler import open_source
    from qpat.syntax.program import load_program

    own = open_source(patterns)
    yield "the .qpat file itself", own.name
    program, _ = load_program(own, open_source)
    imported = list(program.sources())[1:] if program is not None else []
    yield from (("a .qpat file that is imported", source.name) for source in imported)
    for extern in compiled.module.externs:
        folder = Path(extern.span.source.name).parent
        module = folder.joinpath(*extern.module.split(".")).with_suffix(".py")
        yield f"the module of extern `{extern.name}`", str(module)


def _is_one_file(first: str, second: str) -> bool:
    """Whether two paths are one file, which need not be there; a device is none."""
    if os.path.exists(first) and os.path.exists(second):
        return os.path.isfile(first) and os.path.samefile(first, second)
    return os.path.realpath(first) == os.path.realpath(second)
