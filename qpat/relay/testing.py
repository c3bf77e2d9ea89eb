"""Running the tests that stand beside patterns: Relay text, partitioned, held to expectations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tvm
from tvm import relay

from qpat.compiler import Compiled
from qpat.diagnostics import Diagnostic, QpatError
from qpat.relay.graph import post_order
from qpat.relay.importing import parse_relay
from qpat.relay.partition import Match, Partition, partition
from qpat.relay.prepare import folded
from qpat.semantics import ir
from qpat.semantics.walk import walk
from qpat.source import Span
from qpat.targets import relay_conditions, relay_derived, relay_reading, relay_slots
from qpat.targets.expressions import Variables, python

_VERSION = '#[version = "0.0.5"]'


@dataclass(frozen=True)
class Outcome:
    """What became of one test: nothing found is a pass."""

    test: ir.Test
    findings: tuple[Diagnostic, ...]


def run_tests(compiled: Compiled, options: Mapping[str, Any] | None = None) -> list[Outcome]:
    """Runs the tests of a compiled file. Raises QpatError where options or externs are at fault."""
    return [_run(test, compiled, options or {}) for test in compiled.module.tests]


def _run(test: ir.Test, compiled: Compiled, options: Mapping[str, Any]) -> Outcome:
    try:
        # Relay text has no constants of int8 but casts of int32.
        module = folded(_module(test.relay))
        result = partition(module, compiled, options=options)
    except QpatError as error:
        return Outcome(test, error.diagnostics)
    found: list[Diagnostic] = []
    for expectation in test.expectations:
        found += _unmet(expectation, result, compiled)
    return Outcome(test, tuple(found))


def _module(text: Span) -> Any:
    """The module of a Relay text in a .qpat file, so placed that TVM counts the file's lines."""
    body = text.text[3:-3]
    line, column = text.line, text.column + 3
    if body.lstrip().startswith("#["):
        return parse_relay(body, f"{text.source.name}:{line}")
    placed = f"{_VERSION}{chr(10) * (line - 1)}{' ' * (column - 1)}{body}"
    return parse_relay(placed, text.source.name)


# ---- expectations --------------------------------------------------------------------------


def _unmet(
    expectation: ir.Expectation, result: Partition, compiled: Compiled
) -> Iterable[Diagnostic]:
    matches = [match for match in result.matches if match.pattern == expectation.pattern]
    refused = sorted(set(_refusals(result, expectation.pattern, compiled)))
    if expectation.refused is not None:
        yield from _not_refused(expectation, matches, refused)
        return
    if not matches:
        others = sorted({match.pattern for match in result.matches})
        message = f"`{expectation.pattern}` does not match"
        reasons = f"; it says: {'; '.join(refused)}" if refused else ""
        hint = f"what matches is {', '.join(others)}" if others else "nothing matches"
        yield Diagnostic("QP401", f"{message}{reasons}", expectation.span, hint=hint)
        return
    unmet = [_failing(expectation, match) for match in matches]
    if all(unmet):
        yield from unmet[0]


def _not_refused(
    expectation: ir.Expectation, matches: list[Match], refused: list[str]
) -> Iterable[Diagnostic]:
    wanted = expectation.refused
    if matches:
        message = f"`{expectation.pattern}` matches, and a refusal is expected"
        yield Diagnostic("QP403", message, expectation.span)
    elif wanted not in refused:
        message = f'`{expectation.pattern}` is not refused for "{wanted}"'
        said = "; ".join(f'"{reason}"' for reason in refused)
        hint = f"it says {said}" if said else "no call has its structure"
        yield Diagnostic("QP403", message, expectation.span, hint=hint)


def _refusals(result: Partition, pattern: str, compiled: Compiled) -> Iterable[str]:
    """Why rows of a pattern that have the structure of a call refuse it."""
    generated = result.generated
    wanted = next(p for p in compiled.module.patterns if p.name == pattern)
    for function in result.prepared.functions.values():
        for call in post_order(function.body):
            if not isinstance(call, relay.Call) or not isinstance(call.op, tvm.ir.Op):
                continue
            if wanted.operator_rule is not None:
                yield from _rule_refusals(generated, call, result)
            for composite, reason in generated.refusals(
                call, None, generated.Options(**result.options)
            ):
                if composite == wanted.composite:
                    yield reason


def _rule_refusals(generated: Any, call: Any, result: Partition) -> Iterable[str]:
    if call.op.name not in generated.OPERATOR_RULES:
        return
    for row in generated.OPERATOR_RULES[call.op.name]:
        reason = generated.refusal(row, call, generated.Options(**result.options))
        if reason is not None:
            yield str(reason)


# ---- conditions ------------------------------------------------------------------------------


class _View:
    """A tensor of a record, as conditions read it."""

    def __init__(self, tensor: Any) -> None:
        self._tensor = tensor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tensor, name)

    @property
    def is_constant(self) -> bool:
        return self._tensor.value is not None

    @property
    def qparams(self) -> Any:
        return self._tensor.scale, self._tensor.zero_point


_FUNCTIONS: dict[str, Any] = {
    name: value
    for module in (relay_reading, relay_slots, relay_conditions, relay_derived)
    for name, value in vars(module).items()
    if not name.startswith("__")
}


def _failing(expectation: ir.Expectation, match: Match) -> list[Diagnostic]:
    names = {name: f"port_{number}" for number, name in enumerate(match.tensors)}
    params = {name: f"param_{number}" for number, name in enumerate(match.params)}
    many = frozenset(name for name, tensor in match.tensors.items() if isinstance(tensor, tuple))
    variables = Variables(names, {}, {**params, "form": "form"}, "options", {}, many)
    scope = {**_FUNCTIONS, "np": np, "form": match.form}
    scope |= {names[name]: _viewed(tensor) for name, tensor in match.tensors.items()}
    scope |= {params[name]: value for name, value in match.params.items()}
    return [
        each
        for condition in expectation.conditions
        for each in _unheld(condition, variables, scope)
    ]


def _viewed(tensor: Any) -> Any:
    if isinstance(tensor, tuple):
        return [_View(each) for each in tensor]
    return None if tensor is None else _View(tensor)


def _unheld(
    condition: ir.Expression, variables: Variables, scope: Mapping[str, Any]
) -> Iterable[Diagnostic]:
    words = " ".join(condition.span.text.split())
    try:
        if np.all(eval(python(condition, variables), dict(scope))):
            return
    except Exception as error:
        message = f"`{words}` cannot be calculated: {error}"
        yield Diagnostic("QP402", message, condition.span)
        return
    said = sorted(set(_values(condition, variables, scope)))
    hint = f"here {', '.join(said)}" if said else None
    yield Diagnostic("QP402", f"`{words}` does not hold", condition.span, hint=hint)


def _values(
    condition: ir.Expression, variables: Variables, scope: Mapping[str, Any]
) -> Iterable[str]:
    """What the parts of a condition that were read are."""
    for node in walk(condition):
        if isinstance(node, ir.ReadMember | ir.ReadLocal):
            value = eval(python(node, variables), dict(scope))
            yield f"`{node.span.text}` is {value}"
