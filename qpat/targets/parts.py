"""What the modules of all targets have alike around their patterns: imports, options, the table of
their rows."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from qpat.semantics import ir
from qpat.targets.expressions import Variables, python
from qpat.targets.layout import INDENT, WIDTH, assigned, bracketed, comment, string
from qpat.targets.names import safe
from qpat.targets.relay_records import ANNOTATIONS, PatternWriter

TYPING = [
    "Any",
    "Callable",
    "ClassVar",
    "Dict",
    "FrozenSet",
    "Iterable",
    "Iterator",
    "List",
    "NamedTuple",
    "Optional",
    "Set",
    "Tuple",
]


def standard_imports(body: str) -> str:
    used = [name for name in ("math", "warnings") if f"{name}." in body]
    return "".join(f"import {name}\n" for name in used)


def extern_imports(module: ir.Module) -> str:
    return "".join(
        f"from {extern.module} import {extern.function}{_renamed(extern)}\n"
        for extern in sorted(module.externs, key=lambda e: (e.module, e.function))
    )


def typing_imports(body: str) -> str:
    return ", ".join(name for name in TYPING if re.search(rf"\b{name}\b", body))


def _renamed(extern: ir.Extern) -> str:
    name = safe(extern.name, ())
    return f" as {name}" if name != extern.function else ""


# ---- options -----------------------------------------------------------------------------


def options_lines(module: ir.Module, externs: Mapping[str, ir.Extern]) -> list[str]:
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


def rows_text(module: ir.Module, writers: Sequence[PatternWriter]) -> str:
    lines: list[str] = []
    rules: dict[str, list[str]] = {}
    for pattern, writer in zip(module.patterns, writers, strict=True):
        for row, functions in zip(pattern.rows, writer.rows, strict=True):
            operators = ", ".join(string(writer.dialect.operator(name)) for name in row.operators)
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
