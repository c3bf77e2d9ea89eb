"""Expressions of `where`, `let` and `param`: names looked up, kinds inferred, presence checked."""

from __future__ import annotations

import math
import struct

from qpat.diagnostics import Findings, Fix, did_you_mean, renamed, respelt
from qpat.ops.table import operator
from qpat.records import dataclass, field
from qpat.semantics import ir
from qpat.semantics.alignment import aligned
from qpat.semantics.applications import Application
from qpat.semantics.attributes import DTYPES
from qpat.semantics.excused import Excused
from qpat.semantics.fixes import without_default
from qpat.semantics.functions import FROM_PYTHON
from qpat.semantics.ir import Kind
from qpat.semantics.kinds import NOT_NUMBERS, A, is_alone, literal_kind, nothing, operation_kind
from qpat.semantics.names import Interface, Names
from qpat.semantics.presence import absence, names_read, presence
from qpat.source import Span
from qpat.syntax import tree

_MEMBERS: dict[str, Kind] = {
    "shape": Kind.INTS,
    "dtype": Kind.TEXT,
    "scale": Kind.ARRAY,
    "zero_point": Kind.ARRAY,
    "qparams": Kind.TUPLE,
    "axis": Kind.ANY,
    "value": Kind.ARRAY,
    "range": Kind.TUPLE,
    "layout": Kind.TEXT,
}

_KNOWN_MEMBERS = frozenset([*_MEMBERS, "attrs"])
_ATTRIBUTE_KINDS: dict[str, Kind] = {
    "int": Kind.INT,
    "int_or_none": Kind.ANY,
    "float": Kind.FLOAT,
    "bool": Kind.BOOL,
    "str": Kind.TEXT,
    "dtype": Kind.TEXT,
    "list": Kind.INTS,
    "any": Kind.ANY,
}


@dataclass
class Lowering:
    """Turns syntax into ir expressions; `locals` and `lets` grow with every `let`. `options` are
    those that can be read here."""

    names: Names
    findings: Findings
    interface: Interface
    excused: Excused
    certain: frozenset[str] = frozenset()  # there in every row
    declared: frozenset[str] = (
        frozenset()
    )  # where the structure leaves one of them out, that is said
    locals: dict[str, Kind] = field(default_factory=dict)
    lets: dict[str, ir.Expression] = field(default_factory=dict)
    filled: set[tuple[str, str]] = field(default_factory=set)

    def lower(  # noqa: C901 - one case for each kind of node
        self, node: tree.Expression, known: frozenset[str] = frozenset()
    ) -> ir.Expression:
        """`known` are the maybe-absent names that are present where this is evaluated."""
        match node:
            case tree.Name():
                return self._name(node, known)
            case tree.Value():
                return ir.Number(node.value, literal_kind(node.value), node.span)
            case tree.Get():
                return self._get(node, known)
            case tree.Apply():
                return Application(self, known).apply(node)
            case tree.ExternCall():
                return Application(self, known).extern(node)
            case tree.OptionRead():
                return self._option(node)
            case tree.Present():
                return self._present(node)
            case tree.Operation():
                return self._operation(node, known)
            case tree.Contained():
                return self._contained(node, known)
            case tree.Conditional():
                return self._conditional(node, known)
            case tree.Index():
                return self._index(node, known)
            case tree.Slice():
                return self._slice(node, known)
            case tree.TupleExpression():
                return self._sequence("(", node.elements, Kind.TUPLE, node.span, known)
            case tree.ListExpression():
                return self._sequence("[", node.elements, Kind.INTS, node.span, known)
            case tree.SetExpression():
                return self._sequence("{", node.elements, Kind.ANY, node.span, known)
            case tree.Range():
                return self.broken(node.span, "QP133", "a range stands only behind `in`")
            case tree.Raw():
                return self.broken(node.span, "QP133", "`raw` stands only in `let x.qparams = raw`")

    # ---- names ----
    def _name(self, node: tree.Name, known: frozenset[str]) -> ir.Expression:
        name = node.name
        if name in self.locals:
            return ir.ReadLocal(name, self.locals[name], node.span)
        if name in self.names.dimensions:
            ports = self.names.dimensions[name]
            if ports and not known & set(ports):
                message = f"`{name}` is a dimension of `{ports[0]}`, which may be absent"
                hint = f"guard it: `{ports[0]}? => …`"
                return self.broken(node.span, "QP134", message, hint)
            return ir.ReadLocal(name, Kind.INT, node.span)
        if name == "form" and self.names.forms:
            return ir.ReadLocal(name, Kind.TEXT, node.span)
        if name in self.names.values:
            hint = f"read one of its members: {', '.join(f'`{name}.{m}`' for m in _MEMBERS)}"
            message = f"`{name}` is a tensor, not a number"
            return self.broken(node.span, "QP131", message, hint)
        if name in DTYPES:
            return ir.Number(name, Kind.TEXT, node.span)
        if name == "target":
            hint = "read a fact of it: `target.mcpu`"
            return self.broken(node.span, "QP131", "`target` is no value", hint)
        return self.unknown(name, node.span)

    def _option(self, node: tree.OptionRead) -> ir.Expression:
        kind = self.interface.option_kinds.get(node.option)
        if kind is None:
            message = f"option `{node.option}` is read before it has a value"
            return self.broken(node.span, "QP130", message, "define it further up")
        return ir.ReadOption(node.option, kind, node.span)

    def unknown(self, name: str, span: Span) -> ir.Expression:
        if name in self.excused.lost or name in self.declared:
            return nothing(span)
        known = [*self.names.values, *self.locals, *self.names.dimensions]
        hint, fix = did_you_mean(name, known), renamed(span, name, known)
        if name in ("None", "True", "False"):
            hint, fix = f"write `{name.lower()}`", Fix(span, name.lower())
        unknown = self.excused.unknown(name)
        unknown.error("QP130", span, f"`{name}` is not known here", hint=hint, fix=fix)
        return nothing(span)

    def _get(self, node: tree.Get, known: frozenset[str]) -> ir.Expression:
        inner, member = node.value, node.member
        if isinstance(inner, tree.Get) and inner.member.text == "attrs":
            return self._attribute(node, inner, known)
        if not isinstance(inner, tree.Name):
            message = f"`.{member.text}` wants a name before it"
            hint = "give the value a name where it stands, and read that"
            return self.broken(node.span, "QP131", message, hint)
        if inner.name == "target" and "target" not in self.names.values:
            return self._target(node, known)
        is_excused = inner.name in self.declared or inner.name in self.excused
        is_wrong = is_excused and member.text not in _KNOWN_MEMBERS
        if inner.name not in self.names.values and not is_wrong:
            return self.unknown(inner.name, inner.span)
        if member.text == "attrs":
            message = f"`{inner.name}.attrs` wants an attribute: `{inner.name}.attrs.axis`"
            return self.broken(node.span, "QP131", message)
        return self._member(node, inner.name, known)

    def _target(self, node: tree.Get, known: frozenset[str]) -> ir.Expression:
        fact = node.member.text
        if f"target.{fact}" not in known:
            message = f"a target need not say its `{fact}`, and this is read without a guard"
            hint = f"give a default: `target.{fact} ?? …`"
            return self.broken(node.span, "QP134", message, hint)
        return ir.ReadTarget(fact, Kind.ANY, node.span)

    def _member(self, node: tree.Get, name: str, known: frozenset[str]) -> ir.Expression:
        member = node.member.text
        if name in self.names.tuples:
            fields = f"name its fields: `{name}0, {name}1 = …`, or all of them: `{name}... = …`"
            return self.broken(node.span, "QP131", f"`{name}` is a tuple of tensors", fields)
        if member not in _MEMBERS:
            return self._no_member(node, name)
        if name in self.names.absent_values and name not in known:
            self.report_absent(name, node.span)
        slots = {"axis": ("scale",), "qparams": ("scale", "zero_point")}
        for slot in slots.get(member, (member,)):
            if slot in ("scale", "zero_point"):
                self._check_slot(node, name, slot)
        if member == "value":
            self._check_value(node, name, known)
        if member == "layout" and name not in self.names.layouts:
            return self.no_layout(name, node.span, "")
        many = name in self.names.many
        return ir.ReadMember(name, member, many, Kind.ANY if many else _MEMBERS[member], node.span)

    def _no_member(self, node: tree.Get, name: str) -> ir.Expression:
        member = node.member.text
        hint: str | None = did_you_mean(member, [*_MEMBERS, "attrs"])
        fix = respelt(node.member.span, member, [*_MEMBERS, "attrs"], ("attrs",))
        signatures = [operator(each) for each in self.names.calls.get(name, ())]
        if any(each is not None and member in each.attributes for each in signatures):
            hint = f"an attribute of the call is `{name}.attrs.{member}`"
            fix = Fix(node.member.span, f"attrs.{member}")
        elif member in FROM_PYTHON:
            hint, fix = FROM_PYTHON[member], None
        elif member == "args":
            hint, fix = "operands have names: give one where it stands, and read that", None
        return self.broken(node.member.span, "QP131", f"a tensor has no `{member}`", hint, fix)

    def no_layout(self, name: str, span: Span, given: str) -> ir.Expression:
        if self.excused.is_doubtful or name in self.excused:
            return nothing(span)
        message = f"no call in the match says the layout of `{name}`"
        hint = f"give it: {given}" if given else "compare with what it should be"
        return self.broken(span, "QP156", message, hint)

    def _check_slot(self, node: tree.Get, name: str, slot: str) -> None:
        if (name, slot) not in self.names.unbound or self.excused.excuses_slot(name, slot):
            return
        if name in self.names.inherited:
            return
        message = f"nothing in the structure says the {slot.replace('_', ' ')} of `{name}`"
        hint = f"bind it (`{name}.{slot}` as an operand, or `..`), or fill it with `let`"
        self.broken(node.span, "QP143", message, hint)

    def _check_value(self, node: tree.Get, name: str, known: frozenset[str]) -> None:
        if name in self.names.constants or name in self.excused or self.excused.lacks_guards:
            return
        if name not in self.names.maybe_constants:
            message = f"`{name}` need not be a constant, so it has no value"
            self.broken(node.span, "QP131", message, f"write `const {name}` where it stands")
        elif f"{name}.value" not in known:
            message = f"`{name}` is a constant in some graphs only and read here without a guard"
            hint = f"give a default with `?? …`, or guard it: `{name}.value? => …`"
            self.broken(node.span, "QP134", message, hint)

    def _attribute(self, node: tree.Get, inner: tree.Get, known: frozenset[str]) -> ir.Expression:
        if not isinstance(inner.value, tree.Name):
            return self.broken(node.span, "QP131", "`.attrs` wants the name of a call before it")
        name, attribute = inner.value.name, node.member.text
        if name not in self.names.values:
            return self.unknown(name, inner.value.span)
        if name in self.names.calls and not self.names.calls[name]:
            return nothing(node.span)
        if name not in self.names.calls:
            message = f"`{name}` is no call, so it has no attributes"
            hint = "attributes belong to the name the call was bound to"
            return self.broken(node.span, "QP132", message, hint)
        if name in self.names.absent_calls and name not in known:
            self.report_absent(name, node.span)
        return ir.ReadAttribute(name, attribute, self._attribute_kind(node, name), node.span)

    def _attribute_kind(self, node: tree.Get, name: str) -> Kind:
        kinds: set[Kind] = set()
        for operator_name in self.names.calls[name]:
            signature = operator(operator_name)
            attribute = node.member.text
            if signature is None or "$" in attribute:
                continue
            if attribute not in signature.attributes:
                message = f"`{operator_name}` has no attribute `{attribute}`"
                hint = did_you_mean(attribute, signature.attributes)
                fix = respelt(node.member.span, attribute, signature.attributes)
                self.broken(node.member.span, "QP102", message, hint, fix)
                return Kind.ANY
            kinds.add(_ATTRIBUTE_KINDS[signature.attributes[attribute].type])
        return kinds.pop() if len(kinds) == 1 else Kind.ANY

    def report_absent(self, name: str, span: Span) -> None:
        is_said = name in self.certain or name in self.excused.absent
        if is_said or name in self.excused or self.excused.lacks_guards:
            return
        message = f"`{name}` is absent in some rows and read here without a guard"
        hint = f"give a default with `?? …`, or guard it: `{name}? => …`"
        self.findings.error("QP134", span, message, hint=hint)

    def _present(self, node: tree.Present) -> ir.Expression:
        inner: tree.Expression = node.value
        member: str | None = None
        if _is_target(inner) and "target" not in self.names.values:
            assert isinstance(inner, tree.Get)
            return ir.IsPresent("target", inner.member.text, Kind.BOOL, node.span)
        if isinstance(inner, tree.Get) and inner.member.text == "value":
            inner, member = inner.value, "value"
        if not isinstance(inner, tree.Name):
            self.excused.lacks_guards = True
            return self.broken(node.span, "QP131", "`?` wants a name before it")
        name = inner.name
        if name not in self.names.values and name not in self.names.calls:
            self.excused.lacks_guards = True
            return self.unknown(name, inner.span)
        if member is not None and name not in self.names.constants | self.names.maybe_constants:
            message = f"`{name}` need not be a constant, so it has no value"
            return self.broken(node.span, "QP131", message, f"write `const? {name}`")
        return ir.IsPresent(name, member, Kind.BOOL, node.span)

    # ---- operators ----
    def _operation(self, node: tree.Operation, known: frozenset[str]) -> ir.Expression:
        if node.operator == "??":
            return self._default(node, known)
        operands: list[ir.Expression] = []
        guarded = known
        for operand in node.operands:
            operands.append(self.lower(operand, guarded))
            if node.operator in ("and", "=>"):
                guarded |= presence(operand)
            elif node.operator == "or":
                guarded |= absence(operand)
        before = len(self.findings.diagnostics)
        self._check_operands(node, operands)
        if node.operator in _ARITHMETIC:
            operands = aligned(operands)
        is_faulty = len(self.findings.diagnostics) > before
        kind = Kind.ANY if is_faulty else operation_kind(node.operator, operands)
        return ir.Operation(node.operator, tuple(operands), kind, node.span)

    def _check_operands(self, node: tree.Operation, operands: list[ir.Expression]) -> None:
        if node.operator in _TRUTH - _ORDER - _EQUALITY:
            wrong, wanted = _NOT_TRUTH, "a condition"
        elif node.operator in _EQUALITY:
            self._check_form(operands)
            self._check_scale(operands[0], operands[1])
            self._check_scale(operands[1], operands[0])
            self._check_alike(operands[0], operands[1])
            return
        else:
            wrong, wanted = NOT_NUMBERS, "a number"
        for operand in operands:
            if operand.kind in wrong:
                message = (
                    f"`{_symbol(node.operator)}` wants {wanted}, and this is {A[operand.kind]}"
                )
                self.broken(operand.span, "QP138", message)
                return

    def _check_form(self, operands: list[ir.Expression]) -> None:
        """`form == "…"` with a label that no form has."""
        labels = [each for each in operands if isinstance(each, ir.Number)]
        forms = [e for e in operands if isinstance(e, ir.ReadLocal) and e.name == "form"]
        for label in labels if forms else ():
            if label.value not in self.names.forms and not self.excused.lacks_forms:
                hint = did_you_mean(str(label.value), self.names.forms)
                fix = renamed(label.span, str(label.value), self.names.forms)
                message = f"no form is called {label.span.text}"
                self.broken(label.span, "QP130", message, hint, fix)

    def _check_scale(self, value: ir.Expression, other: ir.Expression) -> None:
        """A scale is a float32: it is never equal to most numbers that are written."""
        is_scale = isinstance(value, ir.ReadMember) and value.member == "scale"
        number = other.value if isinstance(other, ir.Number) else None
        if not is_scale or not isinstance(number, float) or _float32(number) == number:
            return
        message = f"a scale is a float32, and none of them is exactly {other.span.text}"
        hint = f"write `f32({other.span.text})`, or `close(…, {other.span.text})`"
        self.broken(other.span, "QP157", message, hint)

    def _check_alike(self, value: ir.Expression, other: ir.Expression) -> None:
        """A string is equal to no number, list or array."""
        words = [each for each in (value, other) if each.kind is Kind.TEXT]
        if len(words) != 1 or not (is_alone(value) and is_alone(other)):
            return
        found = other if words[0] is value else value
        if found.kind in (Kind.NONE, Kind.ANY):
            return
        wrong, right = (other, value) if isinstance(other, ir.Number) else (value, other)
        message = f"this is {A[wrong.kind]}, and never equal to {A[right.kind]}"
        hint = f"`{right.span.text}` is {A[right.kind]}"
        self.broken(wrong.span, "QP138", message, hint)

    def _default(self, node: tree.Operation, known: frozenset[str]) -> ir.Expression:
        """`a ?? b`: the maybe-absent names that `a` reads are present where it is evaluated."""
        maybe = self.names.optional - self.certain
        read = names_read(node.operands[0])
        facts = {word for word in read if word.startswith("target.")}
        needs = tuple(sorted(((read & maybe) | facts) - known))
        before = len(self.findings.diagnostics)
        first = self.lower(node.operands[0], known | set(needs))
        is_fine = len(self.findings.diagnostics) == before
        second = self.lower(node.operands[1], known)
        if not needs and is_fine and not self.may_be_absent(node.operands[0]):
            message = "nothing before `??` can be absent, so its default is never used"
            fix = without_default(node)
            hint = "leave the default out"
            return self.broken(node.span, "QP136", message, hint, fix)
        kind = first.kind if first.kind is second.kind else Kind.ANY
        if {first.kind, second.kind} == {Kind.INTS, Kind.INT}:
            kind = Kind.INTS
        return ir.Operation("??", (first, second), kind, node.span, needs)

    def may_be_absent(self, node: tree.Expression) -> bool:
        """Whether something faulty keeps it from being known."""
        read = {word.removesuffix(".value") for word in names_read(node) - self.certain}
        if any(name in self.excused for name in read):
            return True
        is_hidden = self.excused.is_faulty and bool(read & self.declared)
        lacks_rows = self.excused.lacks_rows or self.excused.lacks_elsewhere
        return is_hidden or (lacks_rows and bool(read))

    def _contained(self, node: tree.Contained, known: frozenset[str]) -> ir.Expression:
        value = self.lower(node.value, known)
        self._check_container(node.container)
        container: ir.Expression | tuple[ir.Expression, ir.Expression]
        if isinstance(node.container, tree.Range):
            first, last = node.container.first, node.container.last
            container = (self.lower(first, known), self.lower(last, known))
            for end in container:
                if end.kind in NOT_NUMBERS:
                    message = f"a range goes between numbers, and this is {A[end.kind]}"
                    self.broken(end.span, "QP138", message)
        else:
            container = self.lower(node.container, known)
            for element in container.elements if isinstance(container, ir.Sequence) else ():
                self._check_scale(value, element)
                self._check_alike(value, element)
        return ir.Contained(value, container, node.negated, Kind.BOOL, node.span)

    def _check_container(self, node: tree.Expression) -> None:
        if isinstance(node, tree.Range):
            stated = [e.value for e in (node.first, node.last) if isinstance(e, tree.Value)]
            ends = [value for value in stated if isinstance(value, int | float)]
            if len(ends) == 2 and ends[0] > ends[1]:
                fix = Fix(node.span, f"{node.last.span.text}..{node.first.span.text}")
                message = "nothing lies in this range"
                self.broken(node.span, "QP138", message, "write it upwards", fix)
        elif isinstance(node, tree.Value):
            message = "`in` wants a set, a list or a range"
            braced = f"{{{node.span.text}}}"
            fix = Fix(node.span, braced)
            self.broken(node.span, "QP138", message, f"write `{braced}`, or `==`", fix)

    def _conditional(self, node: tree.Conditional, known: frozenset[str]) -> ir.Expression:
        condition = self.lower(node.condition, known)
        then = self.lower(node.then, known | presence(node.condition))
        otherwise = self.lower(node.otherwise, known | absence(node.condition))
        kind = then.kind if then.kind is otherwise.kind else Kind.ANY
        return ir.Conditional(condition, then, otherwise, kind, node.span)

    def _index(self, node: tree.Index, known: frozenset[str]) -> ir.Expression:
        inner, key = node.value, node.indices[0] if len(node.indices) == 1 else None
        is_record = isinstance(inner, tree.Get) and inner.member.text == "attrs"
        if is_record and isinstance(key, tree.Value) and isinstance(key.value, str):
            said = f"{inner.span.text}.{key.value}"
            message, fix = "attributes are read with a dot", Fix(node.span, said)
            return self.broken(node.span, "QP131", message, f"write `{said}`", fix)
        value = self.lower(node.value, known)
        if len(node.indices) != 1:
            return self.broken(node.span, "QP137", "one index is wanted")
        index = self.lower(node.indices[0], known)
        if value.kind in (Kind.INT, Kind.FLOAT, Kind.BOOL, Kind.NONE):
            self.broken(node.value.span, "QP137", f"{A[value.kind]} has no elements")
        if index.kind in NOT_NUMBERS | {Kind.FLOAT}:
            self.broken(node.indices[0].span, "QP137", "an index is a whole number")
        # An element of a list may be a list itself, as in `pad_width[1]`.
        return ir.Subscript(value, index, None, None, Kind.ANY, node.span)

    def _slice(self, node: tree.Slice, known: frozenset[str]) -> ir.Expression:
        value = self.lower(node.value, known)
        start = None if node.start is None else self.lower(node.start, known)
        stop = None if node.stop is None else self.lower(node.stop, known)
        return ir.Subscript(value, None, start, stop, value.kind, node.span)

    def _sequence(
        self,
        bracket: str,
        elements: tuple[tree.Expression, ...],
        kind: Kind,
        span: Span,
        known: frozenset[str],
    ) -> ir.Expression:
        lowered = tuple(self.lower(element, known) for element in elements)
        if kind is Kind.INTS and any(e.kind in (Kind.TEXT, Kind.FLOAT) for e in lowered):
            kind = Kind.ANY
        return ir.Sequence(bracket, lowered, kind, span)

    def broken(
        self, span: Span, code: str, message: str, hint: str | None = None, fix: Fix | None = None
    ) -> ir.Expression:
        self.findings.error(code, span, message, hint=hint, fix=fix)
        return nothing(span)


_ARITHMETIC = frozenset(["+", "-", "*", "/", "%"])
_EQUALITY = frozenset(["==", "!="])
_ORDER = frozenset(["<=", ">=", "<", ">"])
_TRUTH = frozenset(["not", "and", "or", "=>"]) | _EQUALITY | _ORDER
_NOT_TRUTH = frozenset(Kind) - {Kind.BOOL, Kind.ANY}


def _is_target(node: tree.Expression) -> bool:
    return (
        isinstance(node, tree.Get)
        and isinstance(node.value, tree.Name)
        and node.value.name == "target"
    )


def _float32(number: float) -> float:
    try:
        return float(struct.unpack("f", struct.pack("f", number))[0])
    except OverflowError:
        return math.inf


def _symbol(operator_name: str) -> str:
    return "-" if operator_name == "minus" else operator_name
