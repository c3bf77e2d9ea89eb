"""What of a module Relax cannot say: rows are left out, each for a reason that has its place.

Relax has no QNN dialect, and FuseOpsByPattern takes calls only (src/relax/transform/fuse_ops.cc).
"""

from __future__ import annotations

from collections.abc import Iterator

from qpat.diagnostics import Findings, Label
from qpat.ops.relax import counterpart
from qpat.records import dataclass, replace
from qpat.semantics import ir
from qpat.semantics.ordering import expressions
from qpat.semantics.reports import head
from qpat.semantics.walk import walk
from qpat.source import Span
from qpat.targets.reads import counts


@dataclass(frozen=True)
class Reason:
    """Why Relax cannot say a row, and where it stands."""

    span: Span
    message: str
    hint: str


_QNN = "write dequantize, the operator on real numbers, quantize; or say `form … on relay`"
_RELAY_ONLY = "say `form … on relay`, and another form for Relax"


def for_relax(module: ir.Module, findings: Findings) -> ir.Module:
    """A module of the rows that Relax can say; what is left out is a warning. A pattern without any
    is for elsewhere."""
    kept: list[ir.Pattern] = []
    elsewhere = list(module.elsewhere)
    for pattern in module.patterns:
        reasons = {row.number: tuple(_reasons(pattern, row)) for row in pattern.rows}
        rows = tuple(row for row in pattern.rows if not reasons[row.number])
        refused = tuple(dict.fromkeys(each for several in reasons.values() for each in several))
        if rows:
            kept.append(_with_rows(pattern, rows))
            _report_rows(pattern, refused, findings)
        else:
            _report_pattern(pattern, refused, findings)
            elsewhere.append((pattern.name, head(pattern.span)))
    return replace(module, patterns=tuple(kept), elsewhere=tuple(elsewhere))


def _report_rows(pattern: ir.Pattern, reasons: tuple[Reason, ...], findings: Findings) -> None:
    for each in reasons:
        message = f"{each.message}; what has it of `{pattern.name}` is left out"
        findings.warning("QP092", each.span, message, hint=each.hint)


def _report_pattern(pattern: ir.Pattern, reasons: tuple[Reason, ...], findings: Findings) -> None:
    message = f"nothing of `{pattern.name}` can be said on Relax"
    others = tuple(Label(each.span, each.message) for each in reasons[:3])
    span = head(pattern.span)
    findings.warning("QP093", span, message, hint=reasons[0].hint, others=others)


def _with_rows(pattern: ir.Pattern, rows: tuple[ir.Row, ...]) -> ir.Pattern:
    """A pattern of some of its rows, without the statements that count in none of them. A parameter
    that is gone with them stays a field of the record."""
    statements = tuple(s for s in pattern.statements if any(counts(s, row) for row in rows))
    gone = dict.fromkeys([*_params(pattern.statements), *pattern.params_elsewhere])
    left = set(_params(statements))
    elsewhere = tuple(name for name in gone if name not in left)
    return replace(pattern, rows=rows, statements=statements, params_elsewhere=elsewhere)


def _params(statements: tuple[ir.Statement, ...]) -> Iterator[str]:
    for statement in statements:
        if isinstance(statement, ir.Param):
            yield from statement.names


def _reasons(pattern: ir.Pattern, row: ir.Row) -> Iterator[Reason]:
    if pattern.operator_rule is not None:
        message = "a rule for a single operator is AnnotateTarget's, which Relax does not have"
        yield Reason(head(pattern.span), message, "leave `op` out: a composite of one call is made")
    for node in row.nodes:
        yield from _reasons_of(node)
    root = row.nodes[row.root]
    if not isinstance(root, ir.Call | ir.CompositeCall):
        message = "FuseOpsByPattern takes no pattern that ends in anything but a call"
        yield Reason(root.span, message, _RELAY_ONLY)
    for statement in pattern.statements:
        if counts(statement, row):
            yield from _reads(statement, row)


def _reasons_of(node: ir.Node) -> Iterator[Reason]:
    if isinstance(node, ir.Call):
        yield from _reasons_of_call(node)
    elif isinstance(node, ir.CompositeCall):
        message = "FuseOpsByPattern does not look at composites that are there already"
        yield Reason(node.span, message, _RELAY_ONLY)
    elif isinstance(node, ir.Input) and node.constness is ir.Constness.VARIABLE:
        message = "a pattern of Relax cannot tell an input of the module from other values"
        yield Reason(node.span, message, "leave `var` out, or say `form … on relay`")


def _reasons_of_call(call: ir.Call) -> Iterator[Reason]:
    found = counterpart(call.operator)
    if found is None:
        message = f"Relax has no counterpart of `{call.operator}`"
        is_qnn = call.operator.startswith("qnn.")
        yield Reason(call.span, message, _QNN if is_qnn else _RELAY_ONLY)
        return
    for attribute in call.attributes:
        if not found.has(attribute.name):
            message = f"`{found.name}` has no attribute `{attribute.name}`"
            yield Reason(attribute.span, message, "leave it out, or say `form … on relay`")
        elif found.fixed.get(attribute.name, attribute.value) != attribute.value:
            only = found.fixed[attribute.name]
            message = f"`{found.name}` is always as if `{attribute.name}` were {only}"
            yield Reason(attribute.span, message, _RELAY_ONLY)


def _reads(statement: ir.Statement, row: ir.Row) -> Iterator[Reason]:
    """The attributes that a statement reads and a call of Relax does not have."""
    for expression in expressions(statement):
        for node in walk(expression):
            if not isinstance(node, ir.ReadAttribute) or node.name not in row.calls:
                continue
            call = row.nodes[row.calls[node.name]]
            found = counterpart(call.operator) if isinstance(call, ir.Call) else None
            if found is not None and not found.has(node.attribute):
                message = f"`{found.name}` has no attribute `{node.attribute}`"
                yield Reason(node.span, message, _RELAY_ONLY)
