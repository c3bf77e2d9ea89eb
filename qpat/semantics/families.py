"""Families: `for op, name in [(add, "add"), …] { … }` becomes its items, once for each value.

`$name` or `${name}` stands for the value anywhere: a whole word may be a name, an operator, a
string or a number; a part of a word (`qnn.$op`, `dnnl_$op`) or of a string gets its letters.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from qpat.diagnostics import Diagnostic, Findings
from qpat.records import fields, replace
from qpat.syntax import tree

_Values: TypeAlias = Mapping[str, tree.Identifier | tree.Value]
# With as many faulty instances of a pattern the rest is not looked at.
MOST_INSTANCES = 40
_PLACE = re.compile(r"\$(\w+)|\$\{(\w+)\}")


def expand_families(file: tree.File, findings: Findings) -> tree.File:
    """The file with every family expanded, nested ones too. Reports values that do not fit."""
    return replace(file, items=tuple(_expanded(file.items, findings)))


def _expanded(items: tuple[tree.Item, ...], findings: Findings) -> Iterator[tree.Item]:
    for item in items:
        if not isinstance(item, tree.Family):
            yield item
            continue
        for values in _instances(item, findings):
            yield from _expanded(tuple(_filled(each, values) for each in item.items), findings)


def _instances(family: tree.Family, findings: Findings) -> Iterator[_Values]:
    assert isinstance(family.values, tree.ListExpression)
    names = [name.text for name in family.names]
    if not family.values.elements:
        findings.error("QP150", family.values.span, "a family of nothing")
    for element in family.values.elements:
        given = element.elements if isinstance(element, tree.TupleExpression) else (element,)
        values = [_value(each) for each in given]
        if len(values) != len(names):
            message = (
                f"{len(names)} names ({', '.join(names)}) want as many values, not {len(values)}"
            )
            findings.error("QP150", element.span, message)
        elif None in values:
            message = "a value of a family is a name, an operator, a string or a number"
            findings.error("QP150", element.span, message)
        else:
            yield dict(zip(names, values, strict=True))  # type: ignore[arg-type]


def _value(node: tree.Expression) -> tree.Identifier | tree.Value | None:
    if isinstance(node, tree.Name):
        return tree.Identifier(node.span, node.name)
    if isinstance(node, tree.Value) and node.value is not None:
        return node
    if isinstance(node, tree.Get):
        inner = _value(node.value)
        if isinstance(inner, tree.Identifier):
            return tree.Identifier(node.span, f"{inner.text}.{node.member.text}")
    return None


def merged(instances: list[Findings]) -> Iterator[Diagnostic]:
    """What was found in the instances of one pattern of a family. A fault of all is the family's,
    and said once."""
    counts = Counter(found.place_key() for each in instances for found in each.diagnostics)
    for number, instance in enumerate(instances):
        for found in instance.diagnostics:
            if number == 0 or counts[found.place_key()] < len(instances):
                yield found


# ---- filling in --------------------------------------------------------------------------


def _filled(node: Any, values: _Values) -> Any:
    """A copy of a tree with every `$name` replaced. Spans stay where the family is written."""
    if isinstance(node, tuple):
        return tuple(_filled(each, values) for each in node)
    if isinstance(node, str):
        return _PLACE.sub(lambda match: _letters(match, values), node)
    if not isinstance(node, tree.Node):
        return node
    whole = _whole(node, values)
    if whole is not None:
        return whole
    parts = [name for name in fields(node) if name != "span"]
    made = replace(node, **{part: _filled(getattr(node, part), values) for part in parts})
    if isinstance(made, tree.Pattern):
        # An operator's name has dots, a pattern's has none.
        return replace(made, name=replace(made.name, text=made.name.text.replace(".", "_")))
    return made


def _letters(match: re.Match[str], values: _Values) -> str:
    value = values.get(match[1] or match[2])
    if value is None:
        return match[0]  # of a family further out, or of none: reported as unknown
    return value.text if isinstance(value, tree.Identifier) else str(value.value)


def _whole(node: tree.Node, values: _Values) -> tree.Node | None:
    """What takes the place of a name that is nothing but `$name`, where that is no name itself."""
    if not isinstance(node, tree.Leaf | tree.Name):
        return None
    match = _PLACE.fullmatch(node.name)
    value = values.get(match[1] or match[2]) if match is not None else None
    if not isinstance(value, tree.Value):
        return None
    if isinstance(node, tree.Name):
        return tree.Value(node.span, value.value)
    if isinstance(value.value, str):
        return tree.Text(node.span, value.value)
    assert value.value is not None
    return tree.Literal(node.span, value.value)
