"""Tests beside patterns: what they expect, with names looked up in the record of the pattern."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping

from qpat.diagnostics import Findings, did_you_mean
from qpat.records import replace
from qpat.semantics import ir
from qpat.semantics.excused import Excused, LostItems
from qpat.semantics.expressions import Lowering
from qpat.semantics.names import NO_NAMES, Interface
from qpat.syntax import tree


def lower_tests(
    tests: Iterable[tree.Test],
    patterns: Mapping[str, ir.Pattern],
    names: Iterable[str],
    elsewhere: Container[str],
    interface: Interface,
    lost: LostItems,
    findings: Findings,
) -> tuple[ir.Test, ...]:
    """The tests of a file. `names` are those of all patterns, `patterns` those without faults,
    `elsewhere` those that have no form for Relay."""
    known = set(names)
    lowered: list[ir.Test] = []
    for test in tests:
        if not test.expectations:
            hint = 'write `match pattern` or `refuse pattern "reason"`'
            findings.error("QP159", test.name.span, "this test expects nothing", hint=hint)
        expectations: list[ir.Expectation] = []
        for node in test.expectations:
            name = node.pattern.text
            if name in lost.patterns:
                pass  # it does not parse, and that is said
            elif name not in known:
                message = f"no pattern `{name}` in this file"
                near = did_you_mean(name, known)
                findings.error("QP159", node.pattern.span, message, hint=near)
            elif name in elsewhere:
                message = f"no form of `{name}` is for Relay, and a test is Relay text"
                findings.error("QP159", node.pattern.span, message)
            elif name in patterns:
                expectations.append(_expectation(node, patterns[name], interface, lost, findings))
        lowered.append(ir.Test(test.name.text, test.relay.span, tuple(expectations), test.span))
    return tuple(lowered)


def _expectation(
    node: tree.Expectation,
    pattern: ir.Pattern,
    interface: Interface,
    lost: LostItems,
    findings: Findings,
) -> ir.Expectation:
    excused = Excused(lost)
    lowering = _lowering(pattern, interface, excused, findings)
    conditions = tuple(lowering.lower(condition) for condition in node.conditions)
    excused.report(findings)
    for condition in conditions:
        if condition.kind not in (ir.Kind.BOOL, ir.Kind.ANY):
            message = "a condition is wanted here, something that holds or does not"
            findings.error("QP138", condition.span, message)
    refused = node.refused.text if node.refused is not None else None
    return ir.Expectation(pattern.name, refused, conditions, node.span)


def _lowering(
    pattern: ir.Pattern, interface: Interface, excused: Excused, findings: Findings
) -> Lowering:
    """What a condition can read: the tensors of the record and its parameters."""
    ports = frozenset(port.name for port in pattern.ports)
    maybe = frozenset(port.name for port in pattern.ports if port.maybe)
    names = replace(
        NO_NAMES,
        values=ports,
        many=frozenset(port.name for port in pattern.ports if port.many),
        absent_values=maybe,
        optional=maybe,
        constants=ports,
        forms=tuple(dict.fromkeys(row.form for row in pattern.rows if row.form is not None)),
    )
    lowering = Lowering(names, findings, interface, excused)
    for statement in pattern.statements:
        if isinstance(statement, ir.Param):
            kind = statement.value.kind if len(statement.names) == 1 else ir.Kind.ANY
            lowering.locals.update({name: kind for name in statement.names})
    return lowering
