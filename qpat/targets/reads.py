"""Which of a pattern's names its statements read, and which of those are absent in some rows."""

from __future__ import annotations

from qpat.semantics import ir
from qpat.semantics.ordering import expressions
from qpat.semantics.walk import tensors, walk


class Reads:
    """`values` and `calls` are what a match must hand over; `read_values` and `read_calls` are
    what the statements and the ports' types look at; of those `layouts` and `ranges` are the names
    whose layout or range is read. `guards` are the blocks that only some rows have and that say
    something; `many_results` are names for all the tensors a call gives; `sure_in_blocks` may be
    absent and are read where only rows that have them come."""

    def __init__(self, pattern: ir.Pattern) -> None:
        self.pattern = pattern
        self.read_values: set[str] = set()
        self.read_calls: set[str] = set()
        self.layouts: set[str] = set()
        self.ranges: set[str] = set()
        self.guards: set[str] = set()
        self.sure_in_blocks: set[str] = set()
        for statement in pattern.statements:
            self._statement(statement)
        for statement in pattern.statements:
            if isinstance(statement, ir.Meaning):
                self._real(statement.value)
        self.layouts |= {port.name for port in pattern.ports}
        self.ranges |= {port.name for port in pattern.ports}
        self.many_results = {p.name for p in pattern.ports if p.many and p.is_output}
        for port in pattern.ports:
            if port.dtypes or port.same_dtype_as is not None or port.shape is not None:
                self.read_values.add(port.name)
            if port.same_dtype_as is not None:
                self.read_values.add(port.same_dtype_as)
        self.values = frozenset(self.read_values | {port.name for port in pattern.ports})
        self.calls = frozenset(self.read_calls)

    def is_many(self, name: str) -> bool:
        return any(port.many and port.name == name for port in self.pattern.ports)

    def maybe_value(self, name: str) -> bool:
        return any(name not in row.values for row in self.pattern.rows)

    def maybe_call(self, name: str) -> bool:
        return any(name not in row.calls for row in self.pattern.rows)

    def order(self, name: str) -> tuple[int, str]:
        """Sorts names as the first row that has them binds them."""
        for row in self.pattern.rows:
            if name in row.values:
                return row.values[name], name
        return -1, name

    def inherits(self, row: ir.Row) -> bool:
        """Whether what is inherited decides if a row takes a match: a statement reads it."""
        inherited = {
            node
            for s in self.pattern.statements
            if isinstance(s, ir.Inherit) and s.name in row.values and counts(s, row)
            for node in tensors(row.nodes, row.values[s.name])
        }
        open_slots = {
            (member, slot)
            for space in row.spaces
            if space.members & inherited
            for slot, sites in (("scale", space.scales), ("zero_point", space.zero_points))
            if not sites
            for member in space.members
        }
        read = {
            (member, slot)
            for statement in self.pattern.statements
            if counts(statement, row) and not isinstance(statement, ir.Inherit | ir.Meaning)
            for expression in expressions(statement)
            for node in walk(expression)
            if isinstance(node, ir.ReadMember) and node.name in row.values
            for slot in _SLOTS_READ.get(node.member, ())
            for member in tensors(row.nodes, row.values[node.name])
        }
        return bool(read & open_slots)

    def _statement(self, statement: ir.Statement) -> None:
        if statement.block is not None and not is_own_form(statement.block):
            self.guards.add(statement.block)
        if isinstance(statement, ir.Fill | ir.Inherit):
            self.read_values.add(statement.name)
        for expression in expressions(statement):
            for node in walk(expression):
                self._expression(node)
                if isinstance(node, ir.ReadMember) and self._is_sure(node.name, statement):
                    self.sure_in_blocks.add(node.name)

    def _is_sure(self, name: str, statement: ir.Statement) -> bool:
        """Whether a name that may be absent is there wherever a statement of a block is reached."""
        rows = [row for row in self.pattern.rows if counts(statement, row)]
        return self.maybe_value(name) and all(name in row.values for row in rows)

    def _real(self, real: ir.Real) -> None:
        """The calls that a meaning is like, and what decides whether an optional part is there."""
        if not isinstance(real, ir.RealCall):
            return
        if real.like is not None:
            self.read_calls.add(real.like)
        for name in real.needs:
            self._present(name, None)
        for operand in real.operands:
            self._real(operand)

    def _expression(self, node: ir.Expression) -> None:
        match node:
            case ir.ReadMember():
                self.read_values.add(node.name)
                if node.member in ("layout", "range"):
                    (self.layouts if node.member == "layout" else self.ranges).add(node.name)
            case ir.ReadAttribute():
                self.read_calls.add(node.name)
            case ir.ReadValue():
                (self.read_calls if node.is_call else self.read_values).add(node.name)
            case ir.IsPresent(name="target"):
                pass
            case ir.IsPresent():
                self._present(node.name, node.member)
            case ir.Operation(operator="??"):
                for name in node.needs:
                    if name.startswith("target."):
                        continue
                    member = "value" if name.endswith(".value") else None
                    self._present(name.removesuffix(".value"), member)

    def _present(self, name: str, member: str | None) -> None:
        is_call = any(name in row.calls for row in self.pattern.rows)
        (self.read_calls if is_call and member is None else self.read_values).add(name)


_SLOTS_READ = {
    "scale": ("scale",),
    "zero_point": ("zero_point",),
    "qparams": ("scale", "zero_point"),
    "axis": ("scale",),
}


def reads_slots(statement: ir.Statement) -> bool:
    """Whether a statement reads a scale or a zero point, which may be unknown."""
    return any(
        isinstance(node, ir.ReadMember) and node.member in _SLOTS_READ
        for expression in expressions(statement)
        for node in walk(expression)
    )


def counts(statement: ir.Statement, row: ir.Row) -> bool:
    """Whether a statement is carried out in a row."""
    return statement.block is None or statement.block in row.blocks


def is_own_form(block: str) -> bool:
    """Whether a block is a form of the pattern itself, and no fragment or form of one."""
    return block.startswith("/") and "/" not in block[1:]
