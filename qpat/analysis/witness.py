"""A graph that a row matches, in Relay's words, to show what is meant."""

from __future__ import annotations

from collections.abc import Iterator

from qpat.ops.table import operator
from qpat.semantics import ir

_MOST = 160


def witness(pattern: ir.Pattern, row: ir.Row) -> str:
    """A graph for a row: what its leaves are called and declared as, its calls with the attributes
    that it asks for. Constants are `meta[…]`, scales and zero points are left out."""
    writer = _Writer(pattern, row)
    body = writer.text(row.root)
    text = f"def @main({', '.join(writer.parameters())}) {{ {body} }}"
    return text if len(text) <= _MOST else f"{text[: _MOST - 1]}…"


class _Writer:
    def __init__(self, pattern: ir.Pattern, row: ir.Row) -> None:
        self.row = row
        self.dtypes = {port.name: port.dtypes for port in pattern.ports}

    def parameters(self) -> Iterator[str]:
        for index, node in enumerate(self.row.nodes):
            if isinstance(node, ir.Input) and node.constness is not ir.Constness.CONSTANT:
                dtype = next(iter(self.dtypes.get(node.name or "", ())), None)
                yield f"{self._name(index, node)}{f': {dtype}' if dtype else ''}"
            elif isinstance(node, ir.Elements):
                yield f"%{node.name}0, %{node.name}1"

    def _name(self, index: int, node: ir.Input) -> str:
        return f"%{(node.name or str(index)).replace('.', '_')}"

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
                return self._call(node)
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

    def _call(self, call: ir.Call) -> str:
        slots = ir.SlotConstant | ir.SlotTuple
        shown = [self.text(i) for i in call.operands if not self._is_slot(i)]
        if any(isinstance(self.row.nodes[i], slots) for i in call.operands):
            shown.append("..")
        shown += [f"{each.name}={self._value(call, each)}" for each in call.attributes]
        return f"{call.operator}({', '.join(shown)})"

    def _is_slot(self, index: int) -> bool:
        node = self.row.nodes[index]
        if isinstance(node, ir.Tuple):
            return bool(node.elements) and all(map(self._is_slot, node.elements))
        return isinstance(node, ir.SlotConstant | ir.SlotTuple)

    def _value(self, call: ir.Call, attribute: ir.Attribute) -> str:
        value = attribute.value
        if isinstance(value, ir.DtypeOf):
            return next(iter(self.dtypes.get(value.name, ())), f"{value.name}.dtype")
        if isinstance(value, bool):
            return str(value).lower()
        signature = operator(call.operator)
        known = signature.attributes.get(attribute.name) if signature is not None else None
        is_word = isinstance(value, str) and known is not None and known.type == "str"
        if is_word:
            return f'"{value}"'
        return str(list(value)) if isinstance(value, tuple) else str(value)
