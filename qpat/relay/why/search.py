"""For each operator that stays on the host, the row that came nearest and what kept it away."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from qpat.diagnostics import did_you_mean, failure
from qpat.options import require_pattern
from qpat.relay.graph import post_order
from qpat.relay.kinds import relay, tvm
from qpat.relay.loading import Entry, entries
from qpat.relay.names import Names, operator_name, short
from qpat.relay.parameters import is_quantized
from qpat.relay.partition import Partition, used_outside
from qpat.relay.why.before import Before, before
from qpat.relay.why.fitting import Fit, fit
from qpat.relay.why.reasons import Miss, Obstacle, Reason, Why
from qpat.semantics import ir
from qpat.source import Span
from qpat.targets.relay_reading import composite_name

_MOST_REASONS = 5  # of one row


def why(
    partition: Partition,
    pattern: str | None = None,
    at: str | None = None,
    was: Before | None = None,
) -> tuple[Why, ...]:
    """Why each operator that stays on the host does, in the order of the module.

    `pattern` looks at one pattern only, `at` at calls of one operator or at the one whose result
    has this name. `was` is what before() gave, where the caller has asked it already. Raises QP337
    where there is no such pattern, and QP351 where there is nothing of that name.
    """
    if pattern is not None:
        require_pattern(partition.compiled.module, pattern)
    search = _Search(partition, pattern, was or before(partition))
    found = tuple(search.all(at))
    if at is not None and not found:
        if pattern is not None:
            _report_strangers(search, pattern, at)
        _report_nothing(partition, at)
    return found


def _report_strangers(search: _Search, pattern: str, at: str) -> None:
    """Says which operators of the host are at a place, where the pattern has none of them."""
    operators = sorted({each.operator for each in search.asked(at)})
    if operators:
        names = ", ".join(f"`{name}`" for name in operators)
        message = f"`{pattern}` has no operator {names}: nothing there comes near it"
        raise failure("QP351", message, hint="ask without a pattern for why it stays on the host")


def _report_nothing(partition: Partition, at: str) -> None:
    """Says what is at a place that no operator of the host is."""
    for match in partition.matches:
        if match.location is not None and at in (match.location, short(match.location)):
            message = f"`{at}` does not stay on the host: `{match.pattern}` takes it"
            raise failure("QP351", message)
    host = {each.op for each in partition.host}
    hint = did_you_mean(at, host) or (f"there are {', '.join(sorted(host))}" if host else None)
    raise failure("QP351", f"no operator on the host is `{at}`, or makes it", hint=hint)


class _Search:
    def __init__(self, partition: Partition, pattern: str | None, was: Before) -> None:
        self.partition = partition
        self.generated = partition.generated
        self.options = self.generated.Options(**partition.options)
        self.before = was
        self.named = pattern is not None
        self.entries = entries(self.generated, partition.compiled.module)
        if pattern is not None:
            self.entries = [each for each in self.entries if each.pattern.name == pattern]
        self.by_operator: dict[str, list[tuple[Entry, int]]] = {}
        for entry in self.entries:
            for index, node in enumerate(entry.row.nodes):
                if isinstance(node, ir.Call):
                    self.by_operator.setdefault(node.operator, []).append((entry, index))

    def all(self, at: str | None) -> Iterator[Why]:
        """Why each call that is asked for stays on the host."""
        for asked in self.asked(at):
            yield from self._why(asked, self.before.calls[asked.call])

    def asked(self, at: str | None) -> Iterator[Why]:
        """The calls on the host at a place, or all of them, without a reason as yet."""
        taken = {match.call for match in self.partition.matches}
        for variable in self.partition.module.get_global_vars():
            order = post_order(self.partition.module[variable].body)
            names = Names(order)
            for call in order:
                is_call = isinstance(call, relay.Call) and isinstance(call.op, tvm.ir.Op)
                if not is_call or call in taken:
                    continue
                asked = Why(call, operator_name(call), names.of(call), None, "")
                if at is None or at in (asked.operator, asked.name):
                    yield asked

    def _why(self, asked: Why, call: Any) -> Iterator[Why]:
        candidates = self.by_operator.get(asked.operator, [])
        miss = self._nearest(call, candidates) if candidates else None
        is_float = not is_quantized(asked.call)
        if miss is not None and (self.named or not is_float or _is_between(miss)):
            yield replace(asked, miss=miss, text=miss.reasons[0].text)
        elif not self.named:
            yield replace(asked, text="not quantized" if is_float else "in no pattern")

    def _nearest(self, call: Any, candidates: Iterable[tuple[Entry, int]]) -> Miss:
        """The row that fits best: all of its structure, else most of its calls. Of those that fit
        as well as each other the first."""
        found = [
            (entry, fit(entry.row, index, call, self.before.users)) for entry, index in candidates
        ]
        entry, best = max(found, key=lambda pair: _nearness(*pair))
        reasons = list(best.reasons) or [self._refused(entry, best)]
        return Miss(entry.pattern, entry.row, best.calls, tuple(reasons[:_MOST_REASONS]))

    # ---- where the structure fits ----
    def _refused(self, entry: Entry, best: Fit) -> Reason:
        root = best.at[entry.row.root]
        node = self.before.reading.node(root)
        if entry.pattern.operator_rule is not None:
            refused = self._rule_refusal(entry, node)
        else:
            refused = self.generated.refusal(entry.generated, node, self.options, self.before.known)
        if refused is not None:
            return Reason(Obstacle.CONDITION, str(refused), root, place_of(entry, str(refused)))
        return self._used_outside(entry, best) or self._taken(entry, best)

    def _taken(self, entry: Entry, best: Fit) -> Reason:
        """What was tried before and holds something that the row wants."""
        row = entry.row
        for index, expr in best.at.items():
            holder = self.before.taken.get(expr)
            if holder is not None:
                name = composite_name(holder.op)
                text = f"it fits, but `{operator_name(expr)}` inside was taken by `{name}` before"
                return Reason(Obstacle.TAKEN, text, expr, row.nodes[index].span)
        text = "it fits, but overlaps a match that was tried before it"
        root = best.at[row.root]
        return Reason(Obstacle.TAKEN, text, root, row.nodes[row.root].span)

    def _rule_refusal(self, entry: Entry, root: Any) -> Any:
        rules = self.generated.OPERATOR_RULES[entry.pattern.operator_rule]
        refused = [self.generated.refusal(rule, root, self.options) for rule in rules]
        return next((each for each in refused if each is not None), None)

    def _used_outside(self, entry: Entry, best: Fit) -> Reason | None:
        """A value inside that others use too: TVM drops such a match without a word."""
        row = entry.row
        inner = {
            best.at[index]: node
            for index, node in enumerate(row.nodes)
            if index in best.at and isinstance(node, ir.Call | ir.Tuple | ir.Field)
        }
        seen = used_outside(inner, best.at[row.root], self.before.users)
        if seen is None:
            return None
        expr, user = seen
        text = (
            f"the `{operator_name(expr)}` inside is used outside, too: by `{operator_name(user)}`"
        )
        return Reason(Obstacle.USER, text, expr, inner[expr].span)


def _nearness(entry: Entry, best: Fit) -> tuple[bool, int, int]:
    return not best.reasons, best.calls, -len(best.reasons)


def _is_between(miss: Miss) -> bool:
    """Whether a float operator stands beside what a row wants, such as a dequantize."""
    return miss.fitting > 1


# ---- where a condition stands --------------------------------------------------------------------


def place_of(entry: Entry, refused: str) -> Span:
    """The `where`, or the port, that a refusal speaks of; else the name of the pattern."""
    spoken = spoken_of(entry, refused)
    if isinstance(spoken, ir.Where):
        return spoken.condition.span
    if spoken is not None:
        return spoken.span
    span = entry.pattern.span
    return span.first(len(span.text.partition("(")[0]))


def spoken_of(entry: Entry, refused: str) -> ir.Where | ir.Port | None:
    """The `where`, or the port, that a refusal speaks of."""
    pattern = entry.pattern
    for statement in pattern.statements:
        counts = statement.block is None or statement.block in entry.row.blocks
        if isinstance(statement, ir.Where) and counts and statement.reason == refused:
            return statement
    for port in pattern.ports:
        if refused.startswith((f"{port.name} is ", f"{port.name} has ", f"{port.name}: ")):
            return port
    return None
