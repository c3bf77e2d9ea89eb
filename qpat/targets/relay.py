"""Pattern IR to a Python module for Relay: one file that imports TVM and NumPy and nothing else
(but the modules that its externs come from)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePath

from qpat.semantics import ir
from qpat.targets.dialects import RELAY
from qpat.targets.fixed import defined_names, fixed_part, selected
from qpat.targets.layout import docstring, string
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

_FIXED = (
    "reading",
    "slots",
    "support",
    "conditions",
    "derived",
    "interface",
    "attributes",
    "operator_rules",
    "preparation",
    "offload",
)
# What the fixed parts import, and what the generated parts name.
_TAKEN = (
    "dataclass fields_of_class math warnings np tvm relay each given match meaning "
    "is_constant is_op is_tuple is_tuple_get_item is_var wildcard "
    "COMPILER ROWS OPERATOR_RULES Options " + " ".join(TYPING)
).split()


def relay_module(module: ir.Module, source_name: str) -> str:
    """The text of the generated module. Depends on nothing but its arguments and qpat itself."""
    fixed = {name: fixed_part(f"relay_{name}") for name in _FIXED}
    externs = {extern.name: extern for extern in module.externs}
    taken = defined_names(*fixed.values()) | {*_TAKEN, *(safe(name, ()) for name in externs)}
    fresh = Fresh(taken)
    classes = [fresh.name(class_name(pattern.name)) for pattern in module.patterns]
    reserved = frozenset(taken | set(classes))
    writers = [
        PatternWriter(pattern, name, reserved, externs, RELAY)
        for pattern, name in zip(module.patterns, classes, strict=True)
    ]
    written = "\n\n\n".join("\n".join(writer.lines()) for writer in writers)
    options, rows = "\n".join(options_lines(module, externs)), rows_text(module, writers)
    has_rules = any(pattern.operator_rule is not None for pattern in module.patterns)
    is_shared = any(row.shared for pattern in module.patterns for row in pattern.rows)
    rules = fixed["operator_rules"] if has_rules else ""
    preparation = fixed["preparation"] if is_shared else ""
    offload = fixed["offload"]
    for part, call in ((rules, "register_operator_rules"), (preparation, "prepare")):
        offload = offload if part else _without_call(offload, call)
    ending = [rows, fixed["interface"], fixed["attributes"], rules, preparation, offload]
    # What others use is there: derived values use conditions, both use what reads the graph.
    users = [written, options, *ending, fixed["support"]]
    derived = selected(fixed["derived"], users)
    conditions = selected(fixed["conditions"], [*users, derived])
    slots = selected(fixed["slots"], [*users, derived, conditions])
    reading = selected(fixed["reading"], [*users, derived, conditions, slots])
    body = [reading, slots, fixed["support"], conditions, derived, options, written, *ending]
    header = _header(module, source_name, writers, "\n".join(body))
    return "\n\n\n".join(part.strip("\n") for part in [header, *body] if part) + "\n"


def _without_call(text: str, function: str) -> str:
    """A text less the lines that call a function which the module does not have."""
    return re.sub(rf"^.*\b{function}\(.*\n", "", text, flags=re.MULTILINE)


def _header(
    module: ir.Module, source_name: str, writers: Sequence[PatternWriter], body: str
) -> str:
    name = docstring(PurePath(source_name).name)
    lines = [line for writer in writers for row in writer.rows for line in row.pattern_lines]
    return f'''"""Patterns of the compiler {module.compiler}, from {name}.

Written by qpat; edit {name} and compile it again instead.

    module = offload(module, params)           # its regions as functions, for relay.build
    table = pattern_table()                    # for relay.transform.MergeComposite
    record = extract(composite)                # what a composite's tensors and parameters are
    module = annotate(module)                  # the same as attributes, which C++ reads

Needs TVM with Relay (0.9 to 0.19) and NumPy, and runs on Python 3.8 or later.
"""

from __future__ import annotations

{standard_imports(body)}from dataclasses import dataclass, fields as fields_of_class
from typing import {typing_imports(body)}

import numpy as np
import tvm
from tvm import relay
from tvm.relay.dataflow_pattern import {", ".join(functions_used(lines, RELAY))}
{extern_imports(module)}
COMPILER = {string(module.compiler)}'''
