"""Which of a pattern's names its statements read, and which of those are absent in some rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from qpat.semantics import ir


class Reads:
    """`values` and `calls` are what a match must hand over; `read_values` and `read_calls` are
    what the statements and the ports' types look at."""

    def __init__(self, pattern: ir.Pattern) -> None:
        self.pattern = pattern
        self.read_values: set[str] = set()
        self.read_calls: set[str] = set()
        for statement in pattern.statements:
            self._statement(statement)
        for port in pattern.ports:
            if port.dtypes or port.same_dtype_as is not None or port.shape is not None:
                self.read_values.add(port.name)
            if port.same_dtype_as is not None:
                self.read_values.add(port.same_dtype_as)
        self.values = frozenset(self.read_values | {port.name for port in pattern.ports})
        self.calls = frozenset(self.read_calls)

    def maybe_value(self, name: str) -> bool:
        return any(name not in row.values for row in self.pattern.rows)

    def maybe_call(self, name: str) -> bool:
        return any(name not in row.calls for row in self.pattern.rows)

    def has_other_form(self, form: str) -> bool:
        return any(row.form != form for row in self.pattern.rows)

    def order(self, name: str) -> tuple[int, str]:
        """Sorts names as the first row that has them binds them."""
        for row in self.pattern.rows:
            if name in row.values:
                return row.values[name], name
        return -1, name

    def _statement(self, statement: ir.Statement) -> None:
        if isinstance(statement, ir.Fill | ir.Inherit):
            self.read_values.add(statement.name)
        expression = statement.condition if isinstance(statement, ir.Where) else None
        if isinstance(statement, ir.Let | ir.Param | ir.Fill):
            expression = statement.value
        for node in _walk(expression):
            self._expression(node)

    def _expression(self, node: ir.Expression) -> None:
        match node:
            case ir.ReadMember():
                self.read_values.add(node.name)
            case ir.ReadAttribute():
                self.read_calls.add(node.name)
            case ir.Function(name="pads" | "axes", arguments=(ir.ReadValue() as first, *_)):
                self.read_calls.add(first.name)
            case ir.Function(arguments=(ir.ReadValue() as first, *_)):
                self.read_values.add(first.name)
            case ir.IsPresent():
                self._present(node.name, node.member)
            case ir.Operation(operator="??"):
                for name in node.needs:
                    member = "value" if name.endswith(".value") else None
                    self._present(name.removesuffix(".value"), member)

    def _present(self, name: str, member: str | None) -> None:
        is_call = any(name in row.calls for row in self.pattern.rows)
        (self.read_calls if is_call and member is None else self.read_values).add(name)


def _walk(expression: ir.Expression | None) -> Iterator[ir.Expression]:
    """An expression and all below it."""
    if expression is None:
        return
    yield expression
    for child in _children(expression):
        yield from _walk(child)


def _children(node: ir.Expression) -> Iterable[ir.Expression | None]:
    match node:
        case ir.Operation():
            return node.operands
        case ir.Function():
            return node.arguments
        case ir.Subscript():
            return (node.value, node.index, node.start, node.stop)
        case ir.Contained():
            container = node.container
            return (node.value, *(container if isinstance(container, tuple) else (container,)))
        case ir.Conditional():
            return (node.condition, node.then, node.otherwise)
        case ir.Sequence():
            return node.elements
    return ()
