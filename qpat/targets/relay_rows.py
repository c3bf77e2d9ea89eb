"""One row of a pattern as two Python functions: what TVM matches, and what finds it again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from qpat.semantics import ir
from qpat.targets.dialects import Dialect
from qpat.targets.reads import Reads
from qpat.targets.relay_binders import binder_lines
from qpat.targets.relay_patterns import pattern_lines
from qpat.targets.rows import variables


@dataclass(frozen=True)
class RowFunctions:
    """The names of a row's functions and the lines of both."""

    pattern: str
    bind: str
    pattern_lines: tuple[str, ...]
    bind_lines: tuple[str, ...]


def row_functions(
    prefix: str, row: ir.Row, reserved: Iterable[str], reads: Reads, dialect: Dialect
) -> RowFunctions:
    """Functions `{prefix}_pattern_{n}` and `{prefix}_bind_{n}`.

    `reserved` are the module's own names, `reads` tells what the pattern's record wants to know.
    """
    pattern, bind = f"{prefix}_pattern_{row.number}", f"{prefix}_bind_{row.number}"
    names = variables(row, reserved)
    return RowFunctions(
        pattern,
        bind,
        tuple(pattern_lines(pattern, row, names, dialect)),
        tuple(binder_lines(bind, row, names, reads, dialect)),
    )
