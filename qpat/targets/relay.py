"""Pattern IR to a Python module for Relay: one file that imports TVM and NumPy and nothing else
(but the modules that its externs come from)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath

from qpat.semantics import ir
from qpat.targets.expressions import Variables, python
from qpat.targets.fixed import defined_names, fixed_part, selected
from qpat.targets.layout import INDENT, WIDTH, assigned, bracketed, comment, docstring, string
from qpat.targets.names import Fresh, class_name, safe
from qpat.targets.relay_patterns import functions_used
from qpat.targets.relay_records import ANNOTATIONS, PatternWriter

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
_TYPING = [
    "Any",
    "Callable",
    "ClassVar",
    "Dict",
    "FrozenSet",
    "Iterable",
    "List",
    "NamedTuple",
    "Optional",
    "Set",
    "Tuple",
]
# What the fixed parts import, and what the generated parts name.
_TAKEN = (
    "dataclass fields_of_class math warnings np tvm relay each given match meaning "
    "is_constant is_op is_tuple is_tuple_get_item is_var wildcard "
    "COMPILER ROWS OPERATOR_RULES Options " + " ".join(_TYPING)
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
        PatternWriter(pattern, name, reserved, externs)
        for pattern, name in zip(module.patterns, classes, strict=True)
    ]
    written = "\n\n\n".join("\n".join(writer.lines()) for writer in writers)
    options, rows = "\n".join(_options(module, externs)), _rows(module, writers)
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
    imported = "".join(
        f"from {extern.module} import {extern.function}{_renamed(extern)}\n"
        for extern in sorted(module.externs, key=lambda e: (e.module, e.function))
    )
    typing = [name for name in _TYPING if re.search(rf"\b{name}\b", body)]
    return f'''"""Patterns of the compiler {module.compiler}, from {name}.

Written by qpat; edit {name} and compile it again instead.

    module = offload(module, params)           # its regions as functions, for relay.build
    table = pattern_table()                    # for relay.transform.MergeComposite
    record = extract(composite)                # what a composite's tensors and parameters are
    module = annotate(module)                  # the same as attributes, which C++ reads

Needs TVM with Relay (0.9 to 0.19) and NumPy, and runs on Python 3.8 or later.
"""

from __future__ import annotations

{_imports(body)}from dataclasses import dataclass, fields as fields_of_class
from typing import {", ".join(typing)}

import numpy as np
import tvm
from tvm import relay
from tvm.relay.dataflow_pattern import {", ".join(functions_used(lines))}
{imported}
COMPILER = {string(module.compiler)}'''


def _imports(body: str) -> str:
    used = [name for name in ("math", "warnings") if f"{name}." in body]
    return "".join(f"import {name}\n" for name in used)


def _renamed(extern: ir.Extern) -> str:
    name = safe(extern.name, ())
    return f" as {name}" if name != extern.function else ""


# ---- options -----------------------------------------------------------------------------


def _options(module: ir.Module, externs: Mapping[str, ir.Extern]) -> list[str]:
    """The class of what pattern_table() and extract() can be told."""
    variables = Variables({}, {}, {}, "self", externs)
    names = [safe(option.name, ()) for option in module.options]
    arguments = [
        f"{name}: {_annotation(o)} = None" for name, o in zip(names, module.options, strict=True)
    ]
    lines = ["class Options(Target):"]
    lines.append(
        f'{INDENT}"""What pattern_table() and extract() can be told; None: the default."""'
    )
    lines.append("")
    header = ["self", "target: Any = None", *arguments]
    lines += bracketed("def __init__(", header, ") -> None:", 1)
    lines.append(f"{INDENT * 2}super().__init__(target)")
    for name, option in zip(names, module.options, strict=True):
        words = " ".join(option.span.text.split())
        lines += comment(words if len(words) <= WIDTH - 10 else f"{words[: WIDTH - 11]}…", 2)
        default = python(option.default, variables)
        chosen = f"{name} if {name} is not None else {default}"
        kind = string(option.kind.value)
        lines += assigned(f"self.{name}", f"typed({chosen}, {kind})", 2)
    return lines


def _annotation(option: ir.Option) -> str:
    annotation = ANNOTATIONS.get(option.kind, "Any")
    return annotation if annotation == "Any" else f"Optional[{annotation}]"


# ---- rows ----------------------------------------------------------------------------------


def _rows(module: ir.Module, writers: Sequence[PatternWriter]) -> str:
    lines: list[str] = []
    rules: dict[str, list[str]] = {}
    for pattern, writer in zip(module.patterns, writers, strict=True):
        for row, functions in zip(pattern.rows, writer.rows, strict=True):
            operators = ", ".join(string(name) for name in row.operators)
            comma = "," if len(row.operators) == 1 else ""
            items = [
                string(pattern.composite or writer.pattern.name),
                f"({operators}{comma})",
                functions.pattern,
                functions.bind,
                writer.record,
            ]
            if writer.reads.inherits(row):
                items.append("inherits=True")
            if pattern.operator_rule is not None:
                rules.setdefault(pattern.operator_rule, []).extend(
                    bracketed("Row(", items, "),", 2)
                )
            else:
                lines += bracketed("Row(", items, "),", 1)
    note = "# In order of priority: a row is tried where no earlier one has matched."
    alone = f"ROWS = ({lines[0].strip()})" if lines else "ROWS: Tuple[Row, ...] = ()"
    if not lines or (len(lines) == 1 and len(alone) <= WIDTH):
        text = f"{note}\n{alone}"
    else:
        text = "\n".join([note, "ROWS = (", *lines, ")"])
    if not rules:
        return text
    told: list[str] = []
    for name, each in rules.items():
        short = f"{INDENT}{string(name)}: ({each[0].strip()}),"
        is_short = len(each) == 1 and len(short) <= WIDTH
        told += [short] if is_short else [f"{INDENT}{string(name)}: (", *each, f"{INDENT}),"]
    note = "# Single operators that are taken as they are; no composite is made of them."
    return "\n".join([text, "", note, "OPERATOR_RULES = {", *told, "}"])
