"""A graph that a row matches, in Relay's words, to show what is meant."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

from qpat.analysis.knowledge import Knowledge
from qpat.analysis.terms import node_of
from qpat.ops.table import operator
from qpat.semantics import ir
from qpat.semantics.constraints import Allowed, Scalar

Chosen: TypeAlias = Mapping[tuple[int, str], Scalar]
_MOST = 160


def witness(pattern: ir.Pattern, row: ir.Row, chosen: Chosen | None = None) -> str:
    """A graph for a row: what its leaves are called and declared as, its calls with the attributes
    that it asks for. Constants are `meta[…]`, scales and zero points are left out. `chosen` are
    the values of attributes, by call and name, that fulfil conditions."""
    writer = _Writer(pattern, row, chosen or {})
    body = writer.text(row.root)
    text = f"def @main({', '.join(writer.parameters())}) {{ {body} }}"
    return text if len(text) <= _MOST else f"{text[: _MOST - 1]}…"


def chosen_values(known: Knowledge, *others: Mapping[tuple[int, str], list[Allowed]]) -> Chosen:
    """A value for each attribute that conditions of a row, and `others`, are about; none for lists,
    and for what no value is found for."""
    wanted = attribute_conditions(known)
    for each in others:
        for key, allowed in each.items():
            wanted.setdefault(key, []).extend(allowed)
    found = {key: _value_in(allowed) for key, allowed in wanted.items()}
    return {key: value for key, value in found.items() if value is not None}


def attribute_conditions(known: Knowledge) -> dict[tuple[int, str], list[Allowed]]:
    """What the conditions of a row allow of attributes, by call and name."""
    return {
        (node_of(term), str(term[2])): list(allowed)
        for term, allowed in known.said.items()
        if term[0] == "attr" and known.terms.is_scalar(term) and known.written(term) is None
    }


def _value_in(allowed: Iterable[Allowed]) -> Scalar:
    """A value that is in all of them: one that they name, or next to one."""
    every = list(allowed)
    named = [value for each in every for value in sorted(each.values or (), key=str)]
    ends = [end for each in every for end in (each.least, each.most) if end is not None]
    excluded = [v for each in every for v in each.excluded if isinstance(v, int | float)]
    near = [end + step for end in (*ends, *excluded) for step in (0, 1, -1)]
    candidates = [*named, *near]
    return next((v for v in candidates if all(each.has(v) for each in every)), None)


class _Writer:
    def __init__(self, pattern: ir.Pattern, row: ir.Row, chosen: Chosen) -> None:
        self.row = row
        self.chosen = chosen
        self.dtypes = {port.name: port.dtypes for port in pattern.ports}
        self.numbers = {
            each: number
            for node in row.nodes
            if isinstance(node, ir.Several)
            for number, each in enumerate(node.elements)
        }

    def parameters(self) -> Iterator[str]:
        for index, node in enumerate(self.row.nodes):
            if isinstance(node, ir.Input) and node.constness is not ir.Constness.CONSTANT:
                dtype = next(iter(self.dtypes.get(node.name or "", ())), None)
                yield f"{self._name(index, node)}{f': {dtype}' if dtype else ''}"
            elif isinstance(node, ir.Elements):
                yield f"%{node.name}0, %{node.name}1"

    def _name(self, index: int, node: ir.Input) -> str:
        return f"%{(node.name or str(index)).replace('.', '_')}{self.numbers.get(index, '')}"

    def text(self, index: int) -> str:
        node = self.row.nodes[index]
        match node:
            case ir.Input(constness=ir.Constness.CONSTANT):
                return f"meta[{node.name or '_'}]"
            case ir.Input():
                return self._name(index, node)
            case ir.Literal():
                return str(node.value).lower() if isinstance(node.value, bool) else str(node.value)
            case ir.Call():
                return self._call(index, node)
            case ir.CompositeCall():
                shown = ", ".join(map(self.text, node.operands or ()))
                return f'@"{node.composite}"({shown})'
            case ir.Tuple():
                fields = ", ".join(map(self.text, node.elements))
                return f"({fields}{',' if len(node.elements) == 1 else ''})"
            case ir.Elements():
                return f"(%{node.name}0, %{node.name}1)"
            case ir.Field():
                return f"{self.text(node.value)}.{node.index}"
        return ".."

    def _call(self, index: int, call: ir.Call) -> str:
        slots = ir.SlotConstant | ir.SlotTuple
        shown = [self.text(i) for i in call.operands if not self._is_slot(i)]
        if any(isinstance(self.row.nodes[i], slots) for i in call.operands):
            shown.append("..")
        attributes = {each.name: each.value for each in call.attributes}
        for (node, name), value in self.chosen.items():
            if node == index and value is not None:
                attributes.setdefault(name, value)
        shown += [f"{name}={self._value(call, name, v)}" for name, v in attributes.items()]
        return f"{call.operator}({', '.join(shown)})"

    def _is_slot(self, index: int) -> bool:
        node = self.row.nodes[index]
        if isinstance(node, ir.Tuple):
            return bool(node.elements) and all(map(self._is_slot, node.elements))
        return isinstance(node, ir.SlotConstant | ir.SlotTuple)

    def _value(self, call: ir.Call, name: str, value: ir.AttributeValue) -> str:
        if isinstance(value, ir.DtypeOf):
            return next(iter(self.dtypes.get(value.name, ())), f"{value.name}.dtype")
        if isinstance(value, bool):
            return str(value).lower()
        signature = operator(call.operator)
        known = signature.attributes.get(name) if signature is not None else None
        is_word = isinstance(value, str) and known is not None and known.type == "str"
        if is_word:
            return f'"{value}"'
        return str(list(value)) if isinstance(value, tuple) else str(value)
