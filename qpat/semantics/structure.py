"""Structure to rows: alternatives and optionals expanded, operands and attributes checked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from qpat.diagnostics import Findings, Label, did_you_mean
from qpat.ops.roles import roles
from qpat.ops.table import Operator, operator, operator_names
from qpat.semantics import ir
from qpat.semantics.unbuilt import report_unbuilt
from qpat.source import Span
from qpat.syntax import tree

MOST_ROWS = 64


@dataclass(frozen=True)
class SlotUse:
    """`x.scale` written as an operand: operand node `constant` of node `call` belongs to `name`."""

    name: str
    slot: str
    constant: int
    call: int
    span: Span


@dataclass
class Draft:
    """A row while it is built; spaces come later."""

    form: str | None
    nodes: list[ir.Node] = field(default_factory=list)
    root: int = -1
    values: dict[str, int] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)
    slot_uses: list[SlotUse] = field(default_factory=list)


@dataclass(frozen=True)
class Scope:
    """What names may stand for in one form of a pattern."""

    form: str | None
    binds: Mapping[str, tree.Bind]
    inputs: Mapping[str, tree.Port]
    output: tree.Port


def expand(scope: Scope, findings: Findings) -> list[Draft]:
    """All rows of one form, in the order the choices are written."""
    choices = _Choices()
    drafts: list[Draft] = []
    while True:
        drafts.append(_RowBuilder(scope, choices, findings).build())
        if len(drafts) > MOST_ROWS:
            _report_too_many(scope, choices, findings)
            return drafts
        if findings.failed or not choices.advance():
            return drafts


def _report_too_many(scope: Scope, choices: _Choices, findings: Findings) -> None:
    counts = [(len(alternatives), span) for alternatives, span in choices.seen.values()]
    factors = " x ".join(str(count) for count, _ in counts)
    places = tuple(Label(span, f"{count} ways") for count, span in counts[1:])
    message = f"`{scope.output.name.text}` has more than {MOST_ROWS} rows ({factors})"
    hint = "write rarely used alternatives as a pattern of their own"
    findings.error(
        "QP120", counts[0][1], message, label=f"{counts[0][0]} ways", hint=hint, others=places
    )


class _Choices:
    """Walks all combinations of the choices a builder makes, the last one changing fastest."""

    def __init__(self) -> None:
        self._script: list[int] = []
        self._counts: list[int] = []
        self._next = 0
        self.seen: dict[Span, tuple[range, Span]] = {}

    def pick(self, count: int, span: Span) -> int:
        self.seen[span] = (range(count), span)
        if self._next == len(self._script):
            self._script.append(0)
            self._counts.append(count)
        self._next += 1
        return self._script[self._next - 1]

    def advance(self) -> bool:
        """To the next combination; False after the last."""
        while self._script and self._script[-1] + 1 == self._counts[-1]:
            self._script.pop()
            self._counts.pop()
        self._next = 0
        if not self._script:
            return False
        self._script[-1] += 1
        return True


class _RowBuilder:
    """Builds one row under one combination of choices."""

    def __init__(self, scope: Scope, choices: _Choices, findings: Findings) -> None:
        self.scope = scope
        self.choices = choices
        self.findings = findings
        self.draft = Draft(scope.form)
        self.open: list[str] = []  # names being built, to see a name that needs itself

    def build(self) -> Draft:
        output = self.scope.output.name
        self.draft.root = self.value(output.text, output.span)
        for use in self.draft.slot_uses:
            if use.name not in self.draft.values:
                self.value(use.name, use.span)
        return self.draft

    # ---- names ----
    def value(self, name: str, span: Span) -> int:
        """The node a name stands for, built at its first use."""
        if name in self.draft.values:
            return self.draft.values[name]
        if name in self.open:
            self.findings.error("QP112", span, f"`{name}` is defined by itself")
            return self.add(ir.Input(name, ir.Constness.ANY, span))
        if name in self.scope.binds:
            return self.bound(name)
        if name in self.scope.inputs:
            return self.leaf(name, ir.Constness.ANY, span)
        known = [*self.scope.binds, *self.scope.inputs]
        hint = did_you_mean(name, known) or "bind it with `=`, or name it among the ports"
        self.findings.error("QP110", span, f"`{name}` is neither bound nor a port", hint=hint)
        return self.leaf(name, ir.Constness.ANY, span)

    def bound(self, name: str) -> int:
        self.open.append(name)
        index, is_call = self.structure(self.scope.binds[name].value)
        self.open.pop()
        self.draft.values[name] = index
        if is_call:
            self.draft.calls[name] = index
        return index

    def leaf(self, name: str | None, constness: ir.Constness, span: Span) -> int:
        """A leaf. Where one use of a name says `const` and another does not, it is a constant."""
        if name is None:
            return self.add(ir.Input(None, constness, span))
        if name in self.scope.binds:
            message = f"`{name}` is bound to an operator and cannot be a constant"
            self.findings.error("QP113", span, message)
            return self.value(name, span)
        port = self.scope.inputs.get(name)
        if port is not None and port.many:
            message = f"`{name}...` is many tensors; one value is wanted here"
            self.findings.error("QP114", span, message, hint=f"write `({name}...)`")
        index = self.draft.values.get(name)
        if index is None:
            index = self.add(ir.Input(name, constness, span))
            self.draft.values[name] = index
        node = self.draft.nodes[index]
        assert isinstance(node, ir.Input)
        if node.constness is ir.Constness.ANY and constness is not ir.Constness.ANY:
            self.draft.nodes[index] = ir.Input(name, constness, node.span)
        return index

    def add(self, node: ir.Node) -> int:
        self.draft.nodes.append(node)
        return len(self.draft.nodes) - 1

    # ---- structure ----
    def structure(  # noqa: C901 - one case for each kind of node
        self, node: tree.Structure
    ) -> tuple[int, bool]:
        """The node's index, and whether it is a call that was written right there."""
        match node:
            case tree.Leaf():
                return self.value(node.name, node.span), False
            case tree.Wildcard():
                return self.leaf(None, ir.Constness.ANY, node.span), False
            case tree.Literal():
                return self.add(ir.Literal(node.value, node.span)), False
            case tree.Constant():
                constness = ir.Constness.EITHER if node.maybe else ir.Constness.CONSTANT
                name = node.leaf.name if isinstance(node.leaf, tree.Leaf) else None
                return self.leaf(name, constness, node.span), False
            case tree.Call():
                return self.call(node), True
            case tree.Optional():
                return self.optional(node)
            case tree.Alternatives():
                pick = self.choices.pick(len(node.choices), node.span)
                return self.structure(node.choices[pick])
            case tree.Modified():
                # `ordered` is how every call is matched as long as nothing is swapped.
                if node.modifier != "ordered":
                    report_unbuilt(self.findings, node.span, f"`{node.modifier}`")
                return self.structure(node.value)
            case tree.Tuple():
                return self.tuple(node), False
            case tree.Field():
                value, _ = self.structure(node.value)
                return self.add(ir.Field(value, node.index, node.span)), False

    def optional(self, node: tree.Optional) -> tuple[int, bool]:
        inner = node.value
        first = inner.arguments[0] if isinstance(inner, tree.Call) and inner.arguments else None
        if first is None or isinstance(first, tree.Slot | tree.Keyword | tree.Rest):
            message = "only a call with a first operand can be optional: `f(a)?` means `f(a) | a`"
            self.findings.error("QP115", node.span, message)
            return self.structure(inner)
        if self.choices.pick(2, node.span) == 0:
            return self.structure(inner)
        return self.structure(first)[0], False

    def tuple(self, node: tree.Tuple) -> int:
        first = node.elements[0]
        if isinstance(first, tree.Repeat):
            return self.repeat(node, first)
        elements: list[int] = []
        for element in node.elements:
            if isinstance(element, tree.Repeat):
                report_unbuilt(self.findings, element.span, "`...` beside other fields of a tuple")
            elif isinstance(element, tree.Slot):
                report_unbuilt(self.findings, element.span, "a slot in a tuple")
            else:
                elements.append(self.structure(element)[0])
        return self.add(ir.Tuple(tuple(elements), node.span))

    def repeat(self, node: tree.Tuple, repeat: tree.Repeat) -> int:
        element = repeat.element
        bare = isinstance(element, tree.Leaf) and repeat.count is None and len(node.elements) == 1
        if not bare:
            report_unbuilt(self.findings, repeat.span, "a structured repeat in a tuple")
            return self.add(ir.Tuple((), node.span))
        assert isinstance(element, tree.Leaf)
        port = self.scope.inputs.get(element.name)
        if port is None or not port.many:
            message = f"`{element.name}...` wants a port that is many tensors"
            hint = f"declare it `{element.name}: int8...`"
            self.findings.error("QP114", repeat.span, message, hint=hint)
        if element.name in self.draft.values:
            return self.draft.values[element.name]
        index = self.add(ir.Elements(element.name, node.span))
        self.draft.values[element.name] = index
        return index

    # ---- calls ----
    def call(self, node: tree.Call) -> int:
        name = node.operators[0]
        if len(node.operators) > 1:
            first, last = node.operators[0].span, node.operators[-1].span
            name = node.operators[self.choices.pick(len(node.operators), first.to(last))]
        signature = operator(name.text)
        if signature is None:
            hint = did_you_mean(name.text, operator_names())
            message = f"`{name.text}` is no Relay operator"
            self.findings.error("QP101", name.span, message, hint=hint)
            return self.unknown_call(node, name.text)
        return _Arguments(self, node, signature).build()

    def unknown_call(self, node: tree.Call, name: str) -> int:
        """Goes on behind an unknown operator, so that faults in its operands are reported too."""
        skipped = tree.Keyword | tree.Rest | tree.Slot
        operands = [self.structure(a)[0] for a in node.arguments if not isinstance(a, skipped)]
        return self.add(ir.Call(name, tuple(operands), (), node.span))


class _Arguments:
    """Sorts the arguments of one call into operands and attributes, and fills in the rest."""

    def __init__(self, row: _RowBuilder, node: tree.Call, signature: Operator) -> None:
        self.row = row
        self.node = node
        self.signature = signature
        self.given: dict[int, int] = {}
        self.slots: list[tuple[tree.Slot, int]] = []
        self.attributes: list[ir.Attribute] = []

    def build(self) -> int:
        rest = self._collect()
        missing = [i for i in range(len(self.signature.operands)) if i not in self.given]
        if rest is not None:
            missing = [i for i in missing if not self._fill(i, rest)]
        missing = [i for i in missing if not self.signature.operands[i].optional]
        if missing:
            self._report_missing(missing, rest)
        order = sorted(self.given)
        operands = tuple(self.given[i] for i in order)
        attributes = tuple(self.attributes)
        index = self.row.add(ir.Call(self.signature.name, operands, attributes, self.node.span))
        for slot, constant in self.slots:
            use = SlotUse(slot.name, slot.slot, constant, index, slot.span)
            self.row.draft.slot_uses.append(use)
        return index

    def _collect(self) -> tree.Rest | None:
        rest: tree.Rest | None = None
        position = 0
        for argument in self.node.arguments:
            if isinstance(argument, tree.Rest):
                rest = argument
            elif isinstance(argument, tree.Keyword):
                self._keyword(argument)
            elif rest is not None:
                message = "after `..` an operand must be given by its name"
                self.row.findings.error("QP105", argument.span, message)
            else:
                self._operand(position, argument)
                position += 1
        return rest

    def _operand(self, position: int, argument: tree.Structure | tree.Slot) -> None:
        count = len(self.signature.operands)
        if position >= count:
            message = f"`{self.signature.name}` takes {self._names()}, not {position + 1} of them"
            self.row.findings.error("QP103", argument.span, message, label="one too many")
            return
        if position in self.given:
            name = self.signature.operands[position].name
            message = f"operand `{name}` of `{self.signature.name}` is given twice"
            self.row.findings.error("QP105", argument.span, message)
        self.given[position] = self._value(argument)

    def _value(self, argument: tree.Structure | tree.Slot) -> int:
        if not isinstance(argument, tree.Slot):
            return self.row.structure(argument)[0]
        if argument.slot not in ("scale", "zero_point"):
            hint = did_you_mean(argument.slot, ("scale", "zero_point"))
            message = (
                f"`{argument.slot}` is no slot of a tensor; slots are `scale` and `zero_point`"
            )
            self.row.findings.error("QP106", argument.span, message, hint=hint)
        constant = self.row.add(ir.SlotConstant(argument.span))
        self.slots.append((argument, constant))
        return constant

    def _keyword(self, keyword: tree.Keyword) -> None:
        name = keyword.name.text
        position = self.signature.operand_index(name)
        value = keyword.value
        if position is not None:
            if isinstance(value, tree.Text | tree.ListExpression):
                message = f"`{name}` is an operand of `{self.signature.name}`, not an attribute"
                self.row.findings.error("QP104", keyword.span, message)
                return
            self._operand(position, value)  # type: ignore[arg-type]
            return
        if name not in self.signature.attributes:
            self._report_unknown(keyword)
            return
        self._attribute(keyword)

    def _attribute(self, keyword: tree.Keyword) -> None:
        name, value = keyword.name.text, keyword.value
        declared = self.signature.attributes[name].type
        literal = _attribute_value(value)
        if literal is None:
            message = f"attribute `{name}` wants a literal: a string, number, `true`, or list"
            self.row.findings.error("QP104", keyword.span, message)
            return
        if not _fits(literal, declared):
            message = f"attribute `{name}` of `{self.signature.name}` is {_SAID[declared]}"
            hint = _attribute_hint(literal, declared)
            self.row.findings.error("QP104", keyword.span, message, hint=hint)
            return
        if isinstance(literal, ir.DtypeOf):
            self._require_port(literal.name, keyword.span)
        self.attributes.append(ir.Attribute(name, literal, keyword.span))

    def _require_port(self, name: str, span: Span) -> None:
        ports = [*self.row.scope.inputs, self.row.scope.output.name.text]
        if name not in ports:
            message = f"`{name}` is no port of this pattern"
            self.row.findings.error("QP110", span, message, hint=did_you_mean(name, ports))

    def _fill(self, position: int, rest: tree.Rest) -> bool:
        """Gives an operand its role. False where it has none."""
        operand = self.signature.operands[position]
        if roles(self.signature.name).slot(operand.name) is None:
            return False
        node: ir.Node = ir.SlotConstant(rest.span)
        if operand.is_tuple:
            node = ir.SlotTuple(rest.span)
        if operand.is_tuple and isinstance(self.row.draft.nodes[self.given.get(0, 0)], ir.Tuple):
            node = self._fixed_slots(rest)
        self.given[position] = self.row.add(node)
        return True

    def _fixed_slots(self, rest: tree.Rest) -> ir.Tuple:
        data = self.row.draft.nodes[self.given[0]]
        assert isinstance(data, ir.Tuple)
        slots = [self.row.add(ir.SlotConstant(rest.span)) for _ in data.elements]
        return ir.Tuple(tuple(slots), rest.span)

    # ---- reports ----
    def _names(self) -> str:
        names = [operand.name for operand in self.signature.operands]
        if not names:
            return "no operands"
        return f"{len(names)} operand{'s' if len(names) > 1 else ''} ({', '.join(names)})"

    def _report_missing(self, missing: Iterable[int], rest: tree.Rest | None) -> None:
        names = ", ".join(f"`{self.signature.operands[i].name}`" for i in missing)
        if rest is not None:
            message = f"`..` cannot give {names} of `{self.signature.name}`: no tensor's parameter"
            self.row.findings.error("QP103", rest.span, message, hint="write it as an operand")
            return
        given = len(self.given)
        message = f"`{self.signature.name}` takes {self._names()}; {given} given"
        known = roles(self.signature.name)
        by_role = all(known.slot(self.signature.operands[i].name) for i in missing)
        hint = "write `..` for the scales and zero points" if by_role else f"{names} missing"
        self.row.findings.error("QP103", self.node.span, message, hint=hint)

    def _report_unknown(self, keyword: tree.Keyword) -> None:
        name = keyword.name.text
        known = [*self.signature.attributes, *(o.name for o in self.signature.operands)]
        hint = did_you_mean(name, known)
        if hint is None and known:
            hint = f"it has {', '.join(sorted(known))}"
        message = f"`{self.signature.name}` has no attribute `{name}`"
        self.row.findings.error("QP102", keyword.name.span, message, hint=hint)


# ---- attribute values ----------------------------------------------------------

_Value = int | float | bool | str | tuple[int, ...] | ir.DtypeOf

_SAID = {
    "int": "a whole number",
    "int_or_none": "a whole number",
    "float": "a number",
    "bool": "`true` or `false`",
    "str": "a string",
    "dtype": 'a dtype, such as "int8"',
    "list": "a list",
    "any": "anything",
}


def _attribute_value(value: object) -> _Value | None:
    match value:
        case tree.Literal():
            return value.value
        case tree.Text():
            return value.text
        case tree.Slot(slot="dtype"):
            return ir.DtypeOf(value.name)
        case tree.ListExpression():
            return _list_value(value)
        case tree.Leaf() if value.name in DTYPES:
            return value.name
    return None


def _list_value(node: tree.ListExpression) -> tuple[int, ...] | None:
    numbers: list[int] = []
    for element in node.elements:
        sign = 1
        if isinstance(element, tree.Operation) and element.operator == "minus":
            sign, element = -1, element.operands[0]
        if not isinstance(element, tree.Value) or not isinstance(element.value, int):
            return None
        numbers.append(sign * element.value)
    return tuple(numbers)


DTYPES = frozenset(
    ["bool", "bfloat16", "float16", "float32", "float64"]
    + [f"{sign}int{bits}" for sign in ("", "u") for bits in (4, 8, 16, 32, 64)]
)

_CHECKS: dict[str, Callable[[_Value], bool]] = {
    "int": lambda v: isinstance(v, int) and not isinstance(v, bool),
    "int_or_none": lambda v: isinstance(v, int) and not isinstance(v, bool),
    "float": lambda v: isinstance(v, int | float) and not isinstance(v, bool),
    "bool": lambda v: isinstance(v, bool),
    "str": lambda v: isinstance(v, str),
    "dtype": lambda v: isinstance(v, ir.DtypeOf) or v in DTYPES or v == "",
    "list": lambda v: isinstance(v, tuple),
    "any": lambda v: True,
}


def _fits(value: _Value, declared: str) -> bool:
    return _CHECKS[declared](value)


def _attribute_hint(value: _Value, declared: str) -> str | None:
    if declared == "list" and isinstance(value, int):
        return f"write `[{value}, {value}]`"
    if declared == "dtype" and isinstance(value, str):
        return did_you_mean(value, DTYPES)
    return None
