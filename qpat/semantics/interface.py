"""Options and externs: what a compiled module is told by its callers, and what it calls."""

from __future__ import annotations

import re

from qpat.diagnostics import Findings, did_you_mean
from qpat.semantics import ir
from qpat.semantics.attributes import DTYPES
from qpat.semantics.definitions import Defined
from qpat.semantics.excused import Excused
from qpat.semantics.expressions import Lowering
from qpat.semantics.inlining import inline_option
from qpat.semantics.ir import Kind
from qpat.semantics.kinds import A
from qpat.semantics.names import NO_NAMES, Interface
from qpat.syntax import tree

# The types that are no dtype.
TYPES: dict[str, Kind] = {
    "bool": Kind.BOOL,
    "int": Kind.INT,
    "float": Kind.FLOAT,
    "str": Kind.TEXT,
    "ints": Kind.INTS,
    "tuple": Kind.TUPLE,
    "any": Kind.ANY,
}
_WHERE = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*)")


def value_type(node: tree.Type, findings: Findings) -> ir.ValueType | None:
    """The type that a param or a result of an extern is declared to have."""
    if len(node.atoms) != 1 or node.atoms[0].member is not None:
        findings.error("QP121", node.span, "one type is wanted here")
        return None
    atom = node.atoms[0]
    shape = tuple(None if d.value is None else d.value for d in node.shape or ())
    if any(isinstance(size, str) for size in shape) or any(d.rest for d in node.shape or ()):
        message = "the sizes of a type are whole numbers or `_`"
        findings.error("QP121", node.span, message)
        return None
    sizes = tuple(size for size in shape if not isinstance(size, str))
    if atom.name in DTYPES - {"bool"} or (atom.name == "bool" and node.shape is not None):
        return ir.ValueType(Kind.ARRAY, atom.name, sizes if node.shape is not None else None)
    if atom.name not in TYPES:
        known = [*TYPES, *DTYPES]
        hint = did_you_mean(atom.name, known) or f"types are {', '.join(TYPES)}, and dtypes"
        findings.error("QP121", atom.span, f"`{atom.name}` is no type", hint=hint)
        return None
    if node.shape is not None:
        findings.error("QP121", node.span, f"`{atom.name}` has no shape; a dtype has")
    return ir.ValueType(TYPES[atom.name], None, None)


# ---- options -----------------------------------------------------------------------------


def lower_options(
    defined: Defined, interface: Interface, findings: Findings
) -> tuple[ir.Option, ...]:
    """The options of a program, in the order their defaults can be calculated."""
    lowered: list[ir.Option] = []
    for name, (node, definitions) in defined.options.items():
        default = inline_option(node, definitions, defined, findings)
        excused = Excused(defined.definitions.lost)
        value = Lowering(NO_NAMES, findings, interface, excused).lower(default)
        excused.report(findings)
        kind = value.kind
        if node.type is not None:
            declared = value_type(node.type, findings)
            kind = declared.kind if declared is not None else Kind.ANY
            if not _fits(value.kind, kind):
                message = f"option `{name}` is {A[kind]}, and its default is {A[value.kind]}"
                findings.error("QP138", node.value.span, message)
        elif kind is Kind.NONE:
            kind = Kind.ANY
        interface.option_kinds[name] = kind
        lowered.append(ir.Option(name, kind, value, node.span))
    return tuple(lowered)


def _fits(given: Kind, declared: Kind) -> bool:
    if Kind.ANY in (given, declared) or given in (declared, Kind.NONE):
        return True
    return (given, declared) == (Kind.INT, Kind.FLOAT)


# ---- externs -----------------------------------------------------------------------------


def lower_externs(defined: Defined, interface: Interface, findings: Findings) -> None:
    """Adds the externs of a program to its interface."""
    for name, node in defined.externs.items():
        where = _WHERE.fullmatch(node.path.text)
        if where is None:
            message = f'"{node.path.text}" does not say where the function is'
            hint = 'write `from "module:function"`'
            findings.error("QP158", node.path.span, message, hint=hint)
            continue
        formals = [_formal(formal, findings) for formal in node.formals]
        results = [value_type(result, findings) for result in node.results]
        if None in formals or None in results:
            continue
        interface.externs[name] = ir.Extern(
            name,
            where[1],
            where[2],
            tuple(formal for formal in formals if formal is not None),
            tuple(result for result in results if result is not None),
            node.span,
        )


def _formal(node: tree.Formal, findings: Findings) -> ir.Formal | None:
    if node.type is None:
        message = f"argument `{node.name.text}` of an extern needs a type"
        hint = f"types are tensor, call, {', '.join(TYPES)}, and dtypes"
        findings.error("QP158", node.span, message, hint=hint)
        return None
    names = [atom.name for atom in node.type.atoms]
    if names in (["tensor"], ["call"]):
        return ir.Formal(node.name.text, names[0], Kind.ANY)
    declared = value_type(node.type, findings)
    return None if declared is None else ir.Formal(node.name.text, "value", declared.kind)
