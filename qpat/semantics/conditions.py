"""What the conditions of a pattern say of dtypes, ranks, sizes and attributes in a row.

Only what must hold wherever the condition does becomes a fact, as the generated modules compare
(qpat/targets/relay_support.py): of a list all elements, so of an empty one nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TypeGuard

from qpat.ops.table import operator
from qpat.ops.types import never_empty
from qpat.records import dataclass, field, replace
from qpat.semantics import ir
from qpat.semantics.constraints import Allowed, Fact, Scalar, Variable, one_of
from qpat.semantics.facts import NamedSize, RowFacts
from qpat.semantics.folding import UNKNOWN, Folding
from qpat.source import Span

FLIPPED = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_SHORT_PADDING = 3  # so many numbers or fewer may be written for more
SCALAR_TYPES = frozenset(["int", "int_or_none", "float", "bool", "str", "dtype"])


@dataclass
class Conditions:
    """Adds what conditions say to the facts of a row.

    `sizes` are the names that ports give their dimensions, `many` the ports that are many tensors.
    `refusal` is the first condition that is false in this row whatever the graph.
    """

    facts: RowFacts
    folding: Folding
    sizes: frozenset[str]
    many: frozenset[str]
    refusal: Fact | None = None
    _lists: dict[tuple[int, str], list[Fact]] = field(default_factory=dict)
    _elements: set[tuple[int, str, int]] = field(default_factory=set)
    _known: set[tuple[int, str]] = field(default_factory=set)

    def assume(self, condition: ir.Expression) -> None:
        """Takes a condition for true."""
        # What a `let` stands for is shown where it is written.
        node = self.folding.resolved(condition)
        value = self.folding.value(node)
        if value is not UNKNOWN:
            if value is False and self.refusal is None:
                self.refusal = self._fact(("condition",), Allowed(frozenset()), node.span)
            return
        match node:
            case ir.Operation(operator="and"):
                for operand in node.operands:
                    self.assume(operand)
            case ir.Operation(operator="=>"):
                if self.folding.value(node.operands[0]) is True:
                    self.assume(node.operands[1])
            case ir.Operation(operator="not"):
                self._truth(self.folding.resolved(node.operands[0]), False, node.span)
            case ir.Operation() if node.operator in FLIPPED:
                self._comparison(node.operator, node.operands[0], node.operands[1], node.span)
            case ir.Contained():
                self._contained(node, node.span)
            case _:
                self._truth(node, True, node.span)

    def finish(self) -> None:
        """Adds what is said of all elements of lists that have one."""
        for (node, name), said in self._lists.items():
            call = self.facts.row.nodes[node]
            assert isinstance(call, ir.Call)
            if never_empty(call.operator, name):
                for fact in said:
                    self.facts.constraints.say(fact)
            for its_node, its_name, index in sorted(self._elements):
                if (its_node, its_name) == (node, name):
                    variable: Variable = ("attr", node, name, index)
                    for fact in said:
                        self.facts.constraints.say(replace(fact, variable=variable))

    # ---- conditions ----
    def _truth(self, node: ir.Expression, wanted: bool, span: Span) -> None:
        if isinstance(node, ir.ReadAttribute) and node.kind is ir.Kind.BOOL:
            self._say(node, one_of(wanted), span)

    def _comparison(
        self, relation: str, left: ir.Expression, right: ir.Expression, span: Span
    ) -> None:
        left, right = self.folding.resolved(left), self.folding.resolved(right)
        first, second = self.folding.value(left), self.folding.value(right)
        if is_scalar(second):
            self._say(left, compared(relation, second), span)
        elif is_scalar(first):
            self._say(right, compared(FLIPPED[relation], first), span)
        elif isinstance(right, ir.Sequence) and right.bracket == "[":
            self._compare_list(relation, left, right, span)
        elif isinstance(left, ir.Sequence) and left.bracket == "[":
            self._compare_list(FLIPPED[relation], right, left, span)
        elif relation == "==":
            self._equate(left, right, span)

    def _contained(self, node: ir.Contained, span: Span) -> None:
        value = self.folding.resolved(node.value)
        if isinstance(node.container, tuple):
            ends = [self.folding.value(end) for end in node.container]
            least, most = (end if isinstance(end, int | float) else None for end in ends)
            if not node.negated:
                self._say(value, Allowed(least=least, most=most), span)
            return
        container = self.folding.resolved(node.container)
        if not isinstance(container, ir.Sequence):
            return
        elements = [self.folding.resolved(element) for element in container.elements]
        if isinstance(value, ir.Sequence) and value.bracket == "(" and not node.negated:
            self._contained_tuple(value, elements, span)
            return
        values = [self.folding.value(element) for element in elements]
        scalars = [each for each in values if is_scalar(each)]
        if node.negated:
            self._say(value, Allowed(excluded=frozenset(scalars)), span, scalars_only=True)
        elif len(scalars) == len(values):
            self._say(value, Allowed(frozenset(scalars)), span)

    def _contained_tuple(
        self, value: ir.Sequence, elements: list[ir.Expression], span: Span
    ) -> None:
        """`(x.dtype, form) in {(int8, "a"), …}`: what each field may be in what is left."""
        rows = []
        for element in elements:
            if not isinstance(element, ir.Sequence) or len(element.elements) != len(value.elements):
                return
            rows.append([self.folding.value(each) for each in element.elements])
        known = [self.folding.value(each) for each in value.elements]
        rows = [row for row in rows if all(map(_may_be_equal, known, row))]
        if not rows:
            self.refusal = self.refusal or self._fact(("condition",), Allowed(frozenset()), span)
        for index, each in enumerate(value.elements):
            column = [row[index] for row in rows]
            scalars = [field for field in column if is_scalar(field)]
            if len(scalars) == len(column):
                self._say(self.folding.resolved(each), Allowed(frozenset(scalars)), span)

    # ---- what a condition is about ----
    def _say(
        self, node: ir.Expression, allowed: Allowed, span: Span, scalars_only: bool = False
    ) -> None:
        """Says what the value of an expression may be, if it is one that facts are kept of."""
        if self._is_list(node):
            if isinstance(node, ir.ReadAttribute) and not scalars_only:
                self._say_list(node, allowed, span)
            return
        size = self._size(node)
        if size is not None:
            self.facts.sizes.append(self._fact(("dim", *size), allowed, span))
            self._reach(size, span)
            return
        variable = self._variable(node)
        if variable is not None:
            self.facts.constraints.say(self._fact(variable, allowed, span))

    def _fact(self, variable: Variable, allowed: Allowed, span: Span) -> Fact:
        return Fact(variable, allowed, span, span.text, is_condition=True)

    def _reach(self, size: tuple[int, int], span: Span) -> None:
        """A dimension that is read is there."""
        node, index = size
        least = index + 1 if index >= 0 else -index
        self.facts.constraints.say(self._fact(("rank", node), Allowed(least=least), span))

    def _equate(self, left: ir.Expression, right: ir.Expression, span: Span) -> None:
        if self._is_list(left) or self._is_list(right):
            return
        sizes = [self._size(left), self._size(right)]
        variables = [
            ("size", f"at {span.start}") if size is not None else self._variable(node)
            for node, size in zip((left, right), sizes, strict=True)
        ]
        first, second = variables
        if first is None or second is None:
            return
        for size, other in ((sizes[0], second), (sizes[1], first)):
            if size is not None:
                self.facts.named.append(NamedSize(*size, other, span, True))
        if sizes == [None, None]:
            self.facts.constraints.equate(first, second, span, is_condition=True)

    def _node(self, name: str) -> int | None:
        """The tensor that a name stands for in this row."""
        return None if name in self.many else self.facts.row.values.get(name)

    def _variable(self, node: ir.Expression) -> Variable | None:
        match node:
            case ir.ReadMember(member="dtype"):
                index = self._node(node.name)
                return None if index is None else ("dtype", index)
            case ir.Function(name="rank", arguments=(ir.ReadValue() as value,)):
                index = self._node(value.name)
                return None if index is None else ("rank", index)
            case ir.ReadLocal() if node.name in self.sizes:
                return ("size", node.name)
            case ir.ReadAttribute() if self._type(node) in SCALAR_TYPES:
                return ("attr", self._call(node), node.attribute)
            case ir.Subscript(value=ir.ReadAttribute() as read) if self._type(read) == "list":
                return self._element(read, self.folding.value(node.index) if node.index else None)
        return None

    def _size(self, node: ir.Expression) -> tuple[int, int] | None:
        """The node and the index of `x.shape[i]`."""
        if not isinstance(node, ir.Subscript) or node.index is None:
            return None
        read, index = self.folding.resolved(node.value), self.folding.value(node.index)
        if not isinstance(read, ir.ReadMember) or read.member != "shape" or read.many:
            return None
        tensor = self._node(read.name)
        return (tensor, index) if tensor is not None and type(index) is int else None

    # ---- attributes ----
    def _call(self, node: ir.ReadAttribute) -> int:
        """The call whose attribute is read; what is written there of the attribute counts too."""
        index = self.facts.row.calls[node.name]
        if (index, node.attribute) not in self._known:
            self._known.add((index, node.attribute))
            self._written(index, node.attribute)
        return index

    def _type(self, node: ir.ReadAttribute) -> str | None:
        index = self.facts.row.calls.get(node.name)
        if index is None:
            return None
        call = self.facts.row.nodes[index]
        signature = operator(call.operator) if isinstance(call, ir.Call) else None
        attribute = signature.attributes.get(node.attribute) if signature is not None else None
        return attribute.type if attribute is not None else None

    def _written(self, index: int, name: str) -> None:
        call = self.facts.row.nodes[index]
        assert isinstance(call, ir.Call)
        if index in self.facts.row.swaps:
            return  # where operands change places, so do some attributes
        say = self.facts.constraints.say
        for attribute in call.attributes:
            if attribute.name != name or isinstance(attribute.value, ir.DtypeOf):
                continue
            where = attribute.span, name, call.operator
            if not isinstance(attribute.value, tuple):
                say(Fact(("attr", index, name), one_of(attribute.value), *where))
                continue
            if name == "padding" and len(attribute.value) <= _SHORT_PADDING:
                continue
            say(Fact(("length", index, name), one_of(len(attribute.value)), *where))
            for position, value in enumerate(attribute.value):
                if isinstance(value, bool | int | float | str):
                    say(Fact(("attr", index, name, position), one_of(value), *where))
                self._elements.add((index, name, position))

    def _is_list(self, node: ir.Expression) -> bool:
        return isinstance(node, ir.ReadAttribute) and self._type(node) == "list"

    def _say_list(self, node: ir.ReadAttribute, allowed: Allowed, span: Span) -> None:
        index = self._call(node)
        variable: Variable = ("attr", index, node.attribute, "each")
        said = self._lists.setdefault((index, node.attribute), [])
        said.append(self._fact(variable, allowed, span))

    def _element(self, node: ir.ReadAttribute, index: object) -> Variable | None:
        """An element of a list. One that is read is there."""
        if type(index) is not int:
            return None
        call = self._call(node)
        self._elements.add((call, node.attribute, index))
        return ("attr", call, node.attribute, index)

    def _compare_list(
        self, relation: str, node: ir.Expression, other: ir.Sequence, span: Span
    ) -> None:
        """Lists of different lengths are not equal, nor is one larger."""
        values = [self.folding.value(element) for element in other.elements]
        if relation == "!=" or not all(is_scalar(value) for value in values):
            return
        length = one_of(len(values))
        allowed = [compared(relation, value) for value in values if is_scalar(value)]
        if isinstance(node, ir.ReadMember) and node.member == "shape" and not node.many:
            tensor = self._node(node.name)
            if tensor is not None:
                self.facts.constraints.say(self._fact(("rank", tensor), length, span))
                for index, each in enumerate(allowed):
                    self.facts.sizes.append(self._fact(("dim", tensor, index), each, span))
        elif isinstance(node, ir.ReadAttribute) and self._is_list(node):
            call, name = self._call(node), node.attribute
            self.facts.constraints.say(self._fact(("length", call, name), length, span))
            for index, each in enumerate(allowed):
                self.facts.constraints.say(self._fact(("attr", call, name, index), each, span))
                self._elements.add((call, name, index))


def is_scalar(value: object) -> TypeGuard[Scalar]:
    return value is None or isinstance(value, bool | int | float | str)


def _may_be_equal(first: object, second: object) -> bool:
    return first is UNKNOWN or second is UNKNOWN or first == second


def compared(relation: str, value: Scalar) -> Allowed:
    """What is allowed on the left of a comparison with a value."""
    if relation == "==":
        return one_of(value)
    if relation == "!=":
        return Allowed(excluded=frozenset([value]))
    if not isinstance(value, int | float):
        return Allowed()
    if relation in ("<", "<="):
        return Allowed(most=value, open=frozenset(["most"] if relation == "<" else []))
    return Allowed(least=value, open=frozenset(["least"] if relation == ">" else []))


def conditions_of(statements: Iterable[ir.Statement], row: ir.Row) -> list[ir.Where]:
    """The conditions that a row must fulfil."""
    return [
        statement
        for statement in statements
        if isinstance(statement, ir.Where) and statement.block in (None, *row.blocks)
    ]


def lets_of(
    statements: Iterable[ir.Statement], blocks: Collection[str | None]
) -> dict[str, ir.Expression]:
    """What the names of `let` stand for where these blocks count, and outside of them. One that a
    `param` takes too is left out."""
    mine = [each for each in statements if each.block is None or each.block in blocks]
    params = {name for each in mine if isinstance(each, ir.Param) for name in each.names}
    lets = [each for each in mine if isinstance(each, ir.Let)]
    return {let.name: let.value for let in lets if let.name not in params}
