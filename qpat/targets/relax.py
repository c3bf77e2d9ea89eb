"""Pattern IR to a Python module for Relax: the Relay module with the parts changed that look at a
graph. Records, conditions, expressions and derived parameters are the same text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from qpat.ops.relax import Counterpart, counterpart
from qpat.semantics import ir
from qpat.targets.dialects import RELAX
from qpat.targets.fixed import defined_names, fixed_part, overridden, selected
from qpat.targets.layout import INDENT, WIDTH, docstring, literal, string
from qpat.targets.names import Fresh, class_name, safe
from qpat.targets.parts import (
    TYPING,
    extern_imports,
    options_lines,
    rows_text,
    standard_imports,
    typing_imports,
)
from qpat.targets.relay_patterns import functions_used
from qpat.targets.relay_records import PatternWriter

# The parts that are Relay's, and those of Relax alone.
_SHARED = ("slots", "support", "conditions", "derived")
_OWN = ("graph", "interface", "preparation", "offload")
# What the fixed parts import, and what the generated parts name.
_TAKEN = (
    "dataclass fields_of_class cache count warnings math np tvm relax each given match meaning "
    "FusionPattern AttrPattern CallPattern ExprPattern OrPattern TuplePattern "
    "COMPILER ROWS Options OPERANDS ARGUMENTS RENAMED FIXED "
    + " ".join([*TYPING, *RELAX.functions])
).split()


def relax_module(module: ir.Module, source_name: str) -> str:
    """The text of the generated module; of rows that Relax can say (qpat/targets/relax_limits.py).

    Depends on nothing but its arguments and qpat itself.
    """
    fixed = {name: fixed_part(f"relay_{name}") for name in _SHARED}
    fixed |= {name: fixed_part(f"relax_{name}") for name in _OWN}
    fixed["reading"] = overridden(fixed_part("relay_reading"), fixed_part("relax_reading"))
    fixed["attributes"] = overridden(fixed_part("relay_attributes"), fixed_part("relax_attributes"))
    externs = {extern.name: extern for extern in module.externs}
    taken = defined_names(*fixed.values()) | {*_TAKEN, *(safe(name, ()) for name in externs)}
    fresh = Fresh(taken)
    classes = [fresh.name(class_name(pattern.name)) for pattern in module.patterns]
    reserved = frozenset(taken | set(classes))
    writers = [
        PatternWriter(pattern, name, reserved, externs, RELAX)
        for pattern, name in zip(module.patterns, classes, strict=True)
    ]
    written = "\n\n\n".join("\n".join(writer.lines()) for writer in writers)
    options, rows = "\n".join(options_lines(module, externs)), rows_text(module, writers)
    interface, offload = fixed["interface"], fixed["offload"]
    attributes = selected(fixed["attributes"], [offload])
    ending = [rows, interface, attributes, fixed["preparation"], offload]
    users = [written, options, *ending, fixed["support"]]
    derived = selected(fixed["derived"], users)
    conditions = selected(fixed["conditions"], [*users, derived])
    slots = selected(fixed["slots"], [*users, derived, conditions])
    reading = selected(fixed["reading"], [*users, derived, conditions, slots])
    graph = [_operators(module), fixed["graph"], reading, slots]
    body = [*graph, fixed["support"], conditions, derived, options, written, *ending]
    header = _header(module, source_name, writers, "\n".join(body))
    return "\n\n\n".join(part.strip("\n") for part in [header, *body] if part) + "\n"


def _operators(module: ir.Module) -> str:
    """What the operators in use have otherwise than the patterns say."""
    names = {
        node.operator
        for pattern in module.patterns
        for row in pattern.rows
        for node in row.nodes
        if isinstance(node, ir.Call)
    }
    found = [each for name in sorted(names) if (each := counterpart(name)) is not None]
    operands = {each.name: each.operands for each in found if each.values}
    lines = ["# How many operands are tensors, where others stand behind them."]
    lines += _table("OPERANDS: dict[str, int]", operands)
    lines.append(
        "# Attributes of the patterns that are such operands, by position; that have another"
    )
    lines.append("# name; and that can have one value only.")
    lines += _table("ARGUMENTS: dict[str, dict[str, int]]", _told(found, "arguments"))
    lines += _table("RENAMED: dict[str, dict[str, str]]", _told(found, "renamed"))
    lines += _table("FIXED: dict[str, dict[str, Any]]", _told(found, "fixed"))
    return "\n".join(lines)


def _told(found: Sequence[Counterpart], what: str) -> dict[str, Any]:
    return {each.name: getattr(each, what) for each in found if getattr(each, what)}


def _table(target: str, table: dict[str, Any]) -> list[str]:
    items = [f"{string(name)}: {_entry(value)}" for name, value in table.items()]
    line = f"{target} = {{{', '.join(items)}}}"
    if len(line) <= WIDTH:
        return [line]
    return [f"{target} = {{", *(f"{INDENT}{item}," for item in items), "}"]


def _entry(value: Any) -> str:
    if not hasattr(value, "items"):
        return literal(value)
    return f"{{{', '.join(f'{string(key)}: {literal(each)}' for key, each in value.items())}}}"


def _header(
    module: ir.Module, source_name: str, writers: Sequence[PatternWriter], body: str
) -> str:
    name = docstring(PurePath(source_name).name)
    lines = [line for writer in writers for row in writer.rows for line in row.pattern_lines]
    return f'''"""Patterns of the compiler {module.compiler}, from {name}.

Written by qpat; edit {name} and compile it again instead.

    module = partition(module)                 # prepare() and FuseOpsByPattern(patterns())
    for function in composites(module):
        record = extract(function)             # what its tensors and parameters are
    module = offload(module)                   # its regions as functions, for RunCodegen

Needs TVM with Relax (0.26 or 0.27) and NumPy, and runs on Python 3.10 or later.
"""

from __future__ import annotations

{standard_imports(body)}from dataclasses import dataclass, fields as fields_of_class
from functools import cache
from itertools import count
from typing import {typing_imports(body)}

import numpy as np
import tvm
from tvm import relax
from tvm.relax.dpl import {", ".join(functions_used(lines, RELAX))}
from tvm.relax.dpl.pattern import AttrPattern, CallPattern, ExprPattern, OrPattern, TuplePattern
from tvm.relax.transform import FusionPattern
{extern_imports(module)}
COMPILER = {string(module.compiler)}'''
