"""Compiled patterns as a Python module that is loaded, with the functions its externs name."""

from __future__ import annotations

import importlib
import linecache
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from qpat.compiler import Compiled
from qpat.diagnostics import Diagnostic, QpatError
from qpat.semantics import ir


def load(compiled: Compiled) -> ModuleType:
    """The generated module, imported from its text. Tracebacks show its lines.

    The module of an extern is looked for beside the .qpat file that names it, then wherever Python
    looks. Raises QP335 where it cannot be imported or has no such function.
    """
    name = f"qpat_generated_{compiled.module.compiler.replace('-', '_')}"
    filename = f"<qpat {name}>"
    module = ModuleType(name)
    module.__file__ = filename
    lines = compiled.text.splitlines(keepends=True)
    linecache.cache[filename] = (len(compiled.text), None, lines, filename)
    # Dataclasses look their module up by name while they are made.
    sys.modules[name] = module
    with _beside(compiled.module.externs):
        for extern in compiled.module.externs:
            _check(extern)
        exec(compile(compiled.text, filename, "exec"), module.__dict__)
    return module


@dataclass(frozen=True, eq=False)
class Entry:
    """A row of a pattern, and what it became in the generated module."""

    pattern: ir.Pattern
    row: ir.Row
    generated: Any


def entries(generated: ModuleType, module: ir.Module) -> list[Entry]:
    """Every row of every pattern, in order, those of rules for single operators included."""
    rows = iter(generated.ROWS)
    rules = {name: iter(each) for name, each in getattr(generated, "OPERATOR_RULES", {}).items()}
    return [
        Entry(pattern, row, next(rows if rule is None else rules[rule]))
        for pattern in module.patterns
        for rule in [pattern.operator_rule]
        for row in pattern.rows
    ]


@contextmanager
def _beside(externs: tuple[ir.Extern, ...]) -> Iterator[None]:
    folders = {str(Path(extern.span.source.name).resolve().parent) for extern in externs}
    before = list(sys.path)
    sys.path[:0] = sorted(folders)
    try:
        yield
    finally:
        sys.path[:] = before


def _check(extern: ir.Extern) -> None:
    try:
        module = importlib.import_module(extern.module)
    # Code of a user, which may raise anything.
    except Exception as error:
        message = f"the module of extern `{extern.name}` cannot be imported: {error}"
        hint = f"put {extern.module}.py beside the .qpat file, or on Python's path"
        raise QpatError([Diagnostic("QP335", message, extern.span, hint=hint)]) from None
    if not callable(getattr(module, extern.function, None)):
        message = f"module `{extern.module}` has no function `{extern.function}`"
        raise QpatError([Diagnostic("QP335", message, extern.span)])
