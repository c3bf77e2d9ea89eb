"""Facts that contradict, in words: which two places disagree, about what, and what to do."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from qpat.diagnostics import Findings, Label
from qpat.ops.roles import RESULT
from qpat.semantics import ir
from qpat.semantics.constraints import Allowed, Conflict, Fact, Link, Scalar
from qpat.source import Span

_BOOL = frozenset(["bool"])
_MOST_DTYPES = 5  # that are listed one by one


def report_conflict(conflict: Conflict, ports: Iterable[ir.Port], findings: Findings) -> None:
    """Why a pattern or a form matches nothing: QP160 for dtypes, QP161 for ranks and sizes, QP162
    where conditions take part."""
    others, span, label = _places(conflict)
    message = _sentence(conflict)
    if _conditions(conflict):
        hint = "no graph fulfils this: change it or leave it out"
        findings.error("QP162", span, message, label=label, hint=hint, others=others)
    elif conflict.kind == "dtype":
        hint = _dtype_hint(conflict, {port.name: port for port in ports})
        findings.error("QP160", span, message, label=label, hint=hint, others=others)
    else:
        hint = "no graph has both: change one of the two"
        findings.error("QP161", span, message, label=label, hint=hint, others=others)


def report_alternative(operator: str, conflict: Conflict, findings: Findings) -> None:
    """Why an alternative with a call of `operator` matches nothing, in a pattern that does."""
    others, span, label = _places(conflict)
    message = f"the alternative with `{operator}` can never match: {_sentence(conflict)}"
    hint = "leave the alternative out, or change what contradicts it"
    findings.warning("QP163", span, message, label=label, hint=hint, others=others)


def _conditions(conflict: Conflict) -> list[Span]:
    """The conditions that take part, in the order of the text."""
    facts = [fact.span for fact in conflict.facts if fact.is_condition]
    links = [link.span for link in conflict.links if link.is_condition]
    return sorted({*facts, *links}, key=lambda span: (span.start, span.end))


def _places(conflict: Conflict) -> tuple[tuple[Label, ...], Span, str]:
    """What to underline, and what to write there: other places, and the one the finding is at."""
    found = [(fact.span, _label(fact)) for fact in conflict.facts if not fact.is_condition]
    found += [(span, "") for span in _conditions(conflict)]
    if len({span for span, _ in found}) == 1:
        # Two facts of one place: what ties them together is the other.
        links = [link for link in conflict.links if link.span != found[0][0]]
        found = [(link.span, _declared_or_effect(link)) for link in links[:1]] + found
    *others, (span, label) = dict(found).items()
    return tuple(Label(*other) for other in others), span, label


def _declared_or_effect(link: Link) -> str:
    said = _declared(link) if link.operator is None else f"`{link.operator}` {_effect(link)}"
    return said.replace("`", "")


# ---- sentences ---------------------------------------------------------------------------------


def _sentence(conflict: Conflict) -> str:
    conditions = [_quoted(span) for span in _conditions(conflict)]
    clauses = [_clause(fact) for fact in conflict.facts if not fact.is_condition]
    tail = _tail(conflict)
    if not conditions:
        return f"{clauses[0]}, but {', and '.join(clauses[1:])}{tail}"
    if clauses:
        also = f" together with {_listed(conditions[:-1], 'and')}" if conditions[1:] else ""
        return f"{conditions[-1]} can never hold{also}: {', and '.join(clauses)}{tail}"
    if len(conditions) > 1:
        return f"{_listed(conditions, 'and')} can never hold together{tail}"
    return f"{conditions[0]} can never hold"


def _quoted(span: Span) -> str:
    return f"`{' '.join(span.text.split())}`"


def _clause(fact: Fact) -> str:
    if fact.words is not None:
        return f"{_subject(fact)} {fact.words}"
    kind = fact.variable[0]
    if kind == "rank":
        return f"{_subject(fact)} has {_dimensions(fact.allowed)}"
    if kind == "dim":
        return f"dimension {fact.variable[2]} of {_subject(fact)} is {_said(fact.allowed)}"
    if kind == "length":
        return f"{_subject(fact)} has {_said(fact.allowed)} elements"
    return f"{_subject(fact)} is {_said(fact.allowed)}"


def _subject(fact: Fact) -> str:
    if fact.operator is None:
        return f"`{fact.place}`"
    if fact.place == RESULT:
        return f"the result of `{fact.operator}`"
    return f"`{fact.place}` of `{fact.operator}`"


def _label(fact: Fact) -> str:
    if fact.words is not None:
        return fact.words
    kind = fact.variable[0]
    said = _dimensions(fact.allowed) if kind == "rank" else _said(fact.allowed)
    if fact.operator is None:
        return said.replace("`", "")
    who = "the result" if fact.place == RESULT else fact.place
    return f"{who}: {said}".replace("`", "")


def _dimensions(allowed: Allowed) -> str:
    said = _said(allowed)
    return f"{said} dimension{'' if said == '1' else 's'}"


def _said(allowed: Allowed) -> str:
    values = allowed.values
    if (
        values is not None
        and len(values) > _MOST_DTYPES
        and all("int" in str(value) for value in values - _BOOL)
    ):
        return "an integer dtype"
    if values is not None:
        return _listed([_value(value) for value in sorted(values, key=_order)], "or")
    if allowed.least is None:
        return f"at most {allowed.most}"
    return (
        f"{allowed.least} or more" if allowed.most is None else f"{allowed.least} to {allowed.most}"
    )


def _value(value: Scalar) -> str:
    if isinstance(value, bool) or value is None:
        return f"`{str(value).lower()}`"
    return f"`{value}`" if isinstance(value, str) else str(value)


def _order(value: Scalar) -> tuple[float, str]:
    """Numbers by size, dtypes by their bits."""
    if isinstance(value, int | float):
        return value, ""
    bits = re.search(r"\d+$", value or "")
    return (int(bits.group()) if bits else 0, value or "")


def _listed(words: Sequence[str], last: str) -> str:
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {last} {words[-1]}"


def _tail(conflict: Conflict) -> str:
    """What makes two things one, where that is no condition."""
    links = [link for link in conflict.links if not link.is_condition]
    by_effect: dict[str, list[str]] = {}
    for link in links:
        if link.operator is not None:
            operators = by_effect.setdefault(_effect(link), [])
            operators += [f"`{link.operator}`"] if f"`{link.operator}`" not in operators else []
    said = [
        f"{_listed(each, 'and')} {effect if len(each) == 1 else effect.replace('s ', ' ', 1)}"
        for effect, each in by_effect.items()
    ]
    said += dict.fromkeys(_declared(link) for link in links if link.operator is None)
    return "".join(f", and {each}" for each in said)


def _effect(link: Link) -> str:
    """What an operator does between two things that are equal."""
    kind = link.first[0]
    if kind in ("rank", "dim") and link.offset:
        return f"changes the {'size' if kind == 'dim' else 'rank'} by {abs(link.offset)}"
    if kind == "dim" and link.first[2] != link.second[2]:
        return "moves the one to the other"
    return f"keeps the {'size' if kind == 'dim' else kind}"


def _declared(link: Link) -> str:
    for kind, name, *_ in (link.first, link.second):
        if kind == "size":
            return f"`{name}` is one size"
    return f"`{link.span.text}` makes them one dtype"


# ---- hints -------------------------------------------------------------------------------------


def _dtype_hint(conflict: Conflict, ports: dict[str, ir.Port]) -> str:
    declared = [fact for fact in conflict.facts if fact.operator is None and fact.place in ports]
    others = [fact for fact in conflict.facts if fact not in declared]
    values = sorted(others[0].allowed.values or (), key=_order) if others else []
    if len(declared) != 1 or len(others) != 1 or len(values) > _MOST_DTYPES:
        return "no graph has both: declare one dtype, or put a `cast` between them"
    port = ports[declared[0].place]
    convert = "convert with a `cast` or a `qnn.requantize`"
    return f"declare `{port.name}: {' | '.join(map(str, values))}`, or {convert}"
