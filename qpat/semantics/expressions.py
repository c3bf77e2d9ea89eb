"""Expressions of `where`, `let` and `param`: names looked up, kinds inferred, presence checked."""

from __future__ import annotations

from dataclasses import dataclass, field

from qpat.diagnostics import Findings, did_you_mean
from qpat.ops.table import operator
from qpat.semantics import ir
from qpat.semantics.attributes import DTYPES
from qpat.semantics.functions import BUILTINS
from qpat.semantics.ir import Kind
from qpat.semantics.names import Names
from qpat.semantics.presence import absence, names_read, presence
from qpat.semantics.reports import UNBUILT_FUNCTIONS, UNBUILT_MEMBERS, report_unbuilt
from qpat.source import Span
from qpat.syntax import tree

_MEMBERS: dict[str, Kind] = {
    "shape": Kind.INTS,
    "dtype": Kind.TEXT,
    "scale": Kind.ARRAY,
    "zero_point": Kind.ARRAY,
    "axis": Kind.ANY,
    "value": Kind.ARRAY,
}

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
    """Turns syntax into ir expressions; `locals` grows with every `let`."""

    names: Names
    findings: Findings
    unbuilt: frozenset[str] = frozenset()  # reported where they are defined
    locals: dict[str, Kind] = field(default_factory=dict)
    filled: set[tuple[str, str]] = field(default_factory=set)

    def lower(  # noqa: C901 - one case for each kind of node
        self, node: tree.Expression, known: frozenset[str] = frozenset()
    ) -> ir.Expression:
        """`known` are the maybe-absent names that are present where this is evaluated."""
        match node:
            case tree.Name():
                return self._name(node, known)
            case tree.Value():
                return ir.Number(node.value, _literal_kind(node.value), node.span)
            case tree.Get():
                return self._get(node, known)
            case tree.Apply():
                return self._apply(node, known)
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
                return self._broken(node.span, "QP133", "a range stands only behind `in`")
            case tree.Raw():
                return self._broken(
                    node.span, "QP133", "`raw` stands only in `let x.qparams = raw`"
                )

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
                return self._broken(node.span, "QP134", message, hint)
            return ir.ReadLocal(name, Kind.INT, node.span)
        if name == "form" and self.names.forms:
            return ir.ReadLocal(name, Kind.TEXT, node.span)
        if name in self.names.values:
            hint = f"read one of its members: {', '.join(f'`{name}.{m}`' for m in _MEMBERS)}"
            message = f"`{name}` is a tensor, not a number"
            return self._broken(node.span, "QP131", message, hint)
        if name in DTYPES:
            return ir.Number(name, Kind.TEXT, node.span)
        return self._unknown(name, node.span)

    def _unknown(self, name: str, span: Span) -> ir.Expression:
        if name in self.unbuilt:
            return _nothing(span)
        known = [*self.names.values, *self.locals, *self.names.dimensions]
        hint = did_you_mean(name, known)
        if name in ("None", "True", "False"):
            hint = f"write `{name.lower()}`"
        return self._broken(span, "QP130", f"`{name}` is not known here", hint)

    def _get(self, node: tree.Get, known: frozenset[str]) -> ir.Expression:
        inner, member = node.value, node.member
        if isinstance(inner, tree.Get) and inner.member.text == "attrs":
            return self._attribute(node, inner, known)
        if not isinstance(inner, tree.Name):
            message = f"`.{member.text}` wants a name before it"
            return self._broken(node.span, "QP131", message)
        if inner.name not in self.names.values:
            return self._unknown(inner.name, inner.span)
        if member.text == "attrs":
            message = f"`{inner.name}.attrs` wants an attribute: `{inner.name}.attrs.axis`"
            return self._broken(node.span, "QP131", message)
        return self._member(node, inner.name, known)

    def _member(self, node: tree.Get, name: str, known: frozenset[str]) -> ir.Expression:
        member = node.member.text
        if member in UNBUILT_MEMBERS:
            report_unbuilt(self.findings, node.span, f"`.{member}`")
            return _nothing(node.span)
        if member not in _MEMBERS:
            hint = did_you_mean(member, [*_MEMBERS, "attrs"])
            if hint is None and name in self.names.calls:
                hint = f"an attribute of the call is `{name}.attrs.{member}`"
            message = f"a tensor has no `{member}`"
            return self._broken(node.member.span, "QP131", message, hint)
        if name in self.names.absent_values and name not in known:
            self._report_absent(name, node.span)
        if member in ("scale", "zero_point", "axis"):
            self._check_slot(node, name, "scale" if member == "axis" else member)
        if member == "value":
            self._check_value(node, name, known)
        many = name in self.names.many
        return ir.ReadMember(name, member, many, Kind.ANY if many else _MEMBERS[member], node.span)

    def _check_slot(self, node: tree.Get, name: str, slot: str) -> None:
        if (name, slot) not in self.names.unbound or (name, slot) in self.filled:
            return
        if name in self.names.inherited:
            what = f"reading `{node.span.text}`, which is inherited, in an expression"
            report_unbuilt(self.findings, node.span, what)
            return
        message = f"nothing in the structure says the {slot.replace('_', ' ')} of `{name}`"
        hint = f"bind it (`{name}.{slot}` as an operand, or `..`), or fill it with `let`"
        self._broken(node.span, "QP143", message, hint)

    def _check_value(self, node: tree.Get, name: str, known: frozenset[str]) -> None:
        if name in self.names.constants:
            return
        if name not in self.names.maybe_constants:
            message = f"`{name}` need not be a constant, so it has no value"
            self._broken(node.span, "QP131", message, f"write `const {name}` where it stands")
        elif f"{name}.value" not in known:
            message = f"`{name}` is a constant in some graphs only and read here without a guard"
            hint = f"give a default with `?? …`, or guard it: `{name}.value? => …`"
            self._broken(node.span, "QP134", message, hint)

    def _attribute(self, node: tree.Get, inner: tree.Get, known: frozenset[str]) -> ir.Expression:
        if not isinstance(inner.value, tree.Name):
            return self._broken(node.span, "QP131", "`.attrs` wants the name of a call before it")
        name, attribute = inner.value.name, node.member.text
        if name not in self.names.values:
            return self._unknown(name, inner.value.span)
        if name not in self.names.calls:
            message = f"`{name}` is no call, so it has no attributes"
            hint = "attributes belong to the name the call was bound to"
            return self._broken(node.span, "QP132", message, hint)
        if name in self.names.absent_calls and name not in known:
            self._report_absent(name, node.span)
        return ir.ReadAttribute(name, attribute, self._attribute_kind(node, name), node.span)

    def _attribute_kind(self, node: tree.Get, name: str) -> Kind:
        kinds: set[Kind] = set()
        for operator_name in self.names.calls[name]:
            signature = operator(operator_name)
            attribute = node.member.text
            if signature is None:
                continue
            if attribute not in signature.attributes:
                message = f"`{operator_name}` has no attribute `{attribute}`"
                hint = did_you_mean(attribute, signature.attributes)
                self._broken(node.member.span, "QP102", message, hint)
                return Kind.ANY
            kinds.add(_ATTRIBUTE_KINDS[signature.attributes[attribute].type])
        return kinds.pop() if len(kinds) == 1 else Kind.ANY

    def _report_absent(self, name: str, span: Span) -> None:
        message = f"`{name}` is absent in some rows and read here without a guard"
        hint = f"give a default with `?? …`, or guard it: `{name}? => …`"
        self.findings.error("QP134", span, message, hint=hint)

    def _present(self, node: tree.Present) -> ir.Expression:
        inner, member = node.value, None
        if isinstance(inner, tree.Get) and inner.member.text == "value":
            inner, member = inner.value, "value"
        if not isinstance(inner, tree.Name):
            return self._broken(node.span, "QP131", "`?` wants a name before it")
        name = inner.name
        if name not in self.names.values and name not in self.names.calls:
            return self._unknown(name, inner.span)
        if member is not None and name not in self.names.constants | self.names.maybe_constants:
            message = f"`{name}` need not be a constant, so it has no value"
            return self._broken(node.span, "QP131", message, f"write `const? {name}`")
        return ir.IsPresent(name, member, Kind.BOOL, node.span)

    # ---- functions ----
    def _apply(self, node: tree.Apply, known: frozenset[str]) -> ir.Expression:
        if not isinstance(node.function, tree.Name):
            return self._broken(node.span, "QP135", "only a name can be called")
        name = node.function.name
        if name in UNBUILT_FUNCTIONS:
            report_unbuilt(self.findings, node.function.span, f"the function `{name}`")
            return _nothing(node.span)
        if name in self.unbuilt:
            return _nothing(node.span)
        builtin = BUILTINS.get(name)
        if builtin is None:
            hint = did_you_mean(name, [*BUILTINS, *UNBUILT_FUNCTIONS])
            return self._broken(node.function.span, "QP135", f"no function `{name}`", hint)
        keywords = [a for a in node.arguments if isinstance(a, tree.Keyword)]
        if keywords and keywords[0].name.text in _UNBUILT_KEYWORDS:
            report_unbuilt(self.findings, keywords[0].span, f"`{keywords[0].name.text}=`")
            return _nothing(node.span)
        if keywords:
            message = f"`{name}` takes its arguments by place"
            return self._broken(keywords[0].span, "QP135", message)
        if not builtin.fewest <= len(node.arguments) <= builtin.most:
            message = f"`{name}` ({builtin.meaning}) does not take {len(node.arguments)} arguments"
            return self._broken(node.span, "QP135", message)
        arguments = tuple(
            self._argument(argument, builtin.takes if first else "expression", known)
            for first, argument in zip((True, *[False] * 9), node.arguments, strict=False)
        )
        if name == "pads" and len(arguments) == 1:
            arguments = (*arguments, self._layout(node))
        self._check_arguments(name, arguments)
        kind = arguments[0].kind if builtin.kind is None else builtin.kind
        if name in ("min", "max") and len(arguments) == 1:
            kind = Kind.INT if kind is Kind.INTS else Kind.ANY
        return ir.Function(name, arguments, kind, node.span)

    def _check_arguments(self, name: str, arguments: tuple[ir.Expression, ...]) -> None:
        first = arguments[0]
        if name in ("abs", "min", "max", "sum", "close", "f32"):
            for argument in arguments:
                if argument.kind in _NOT_NUMBERS:
                    message = f"`{name}` wants numbers, and this is {_A[argument.kind]}"
                    self._broken(argument.span, "QP138", message)
        is_wrong = isinstance(first, ir.Number) and first.value not in _INTEGERS
        if name == "limits" and is_wrong:
            message = "`limits` wants an integer dtype, such as `int8` or `x.dtype`"
            self._broken(first.span, "QP138", message)

    def _layout(self, node: tree.Apply) -> ir.Expression:
        """The layout of what a call gives: said by an attribute of the call that uses it."""
        first = node.arguments[0]
        user = self.names.layouts.get(first.name) if isinstance(first, tree.Name) else None
        if user is None:
            message = "no named call says the layout of what is padded"
            hint = 'give it: `pads(d, "NHWC")`'
            return self._broken(node.span, "QP135", message, hint)
        return ir.ReadAttribute(user[0], user[1], Kind.TEXT, node.span)

    def _argument(
        self, node: tree.Expression | tree.Keyword, takes: str, known: frozenset[str]
    ) -> ir.Expression:
        assert not isinstance(node, tree.Keyword)
        if takes == "expression" or not isinstance(node, tree.Name):
            if takes != "expression":
                return self._broken(node.span, "QP135", "the name of a tensor is wanted here")
            return self.lower(node, known)
        if takes == "call":
            return self._call_argument(node, known)
        if node.name not in self.names.values:
            return self._unknown(node.name, node.span)
        if node.name in self.names.absent_values and node.name not in known:
            self._report_absent(node.name, node.span)
        return ir.ReadValue(node.name, Kind.ANY, node.span)

    def _call_argument(self, node: tree.Name, known: frozenset[str]) -> ir.Expression:
        if node.name not in self.names.calls:
            return self._broken(node.span, "QP132", f"`{node.name}` is no call")
        if node.name in self.names.absent_calls and node.name not in known:
            self._report_absent(node.name, node.span)
        return ir.ReadValue(node.name, Kind.ANY, node.span)

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
        self._check_operands(node, operands)
        kind = _operation_kind(node.operator, operands)
        return ir.Operation(node.operator, tuple(operands), kind, node.span)

    def _check_operands(self, node: tree.Operation, operands: list[ir.Expression]) -> None:
        if node.operator in _TRUTH - _ORDER - _EQUALITY:
            wrong, wanted = _NOT_TRUTH, "a condition"
        elif node.operator in _EQUALITY:
            self._check_form(operands)
            return
        else:
            wrong, wanted = _NOT_NUMBERS, "a number"
        for operand in operands:
            if operand.kind in wrong:
                message = (
                    f"`{_symbol(node.operator)}` wants {wanted}, and this is {_A[operand.kind]}"
                )
                self._broken(operand.span, "QP138", message)

    def _check_form(self, operands: list[ir.Expression]) -> None:
        """`form == "…"` with a label that no form has."""
        labels = [each for each in operands if isinstance(each, ir.Number)]
        forms = [e for e in operands if isinstance(e, ir.ReadLocal) and e.name == "form"]
        for label in labels if forms else ():
            if label.value not in self.names.forms:
                hint = did_you_mean(str(label.value), self.names.forms)
                self._broken(label.span, "QP130", f"no form is called {label.span.text}", hint)

    def _default(self, node: tree.Operation, known: frozenset[str]) -> ir.Expression:
        """`a ?? b`: the maybe-absent names that `a` reads are present where it is evaluated."""
        maybe = self.names.absent_values | self.names.absent_calls
        maybe |= {f"{name}.value" for name in self.names.maybe_constants}
        needs = tuple(sorted((names_read(node.operands[0]) & maybe) - known))
        first = self.lower(node.operands[0], known | set(needs))
        second = self.lower(node.operands[1], known)
        if not needs:
            message = "nothing before `??` can be absent, so its default is never used"
            self.findings.error("QP136", node.span, message, hint="leave the default out")
        kind = first.kind if first.kind is second.kind else Kind.ANY
        if {first.kind, second.kind} == {Kind.INTS, Kind.INT}:
            kind = Kind.INTS
        return ir.Operation("??", (first, second), kind, node.span, needs)

    def _contained(self, node: tree.Contained, known: frozenset[str]) -> ir.Expression:
        value = self.lower(node.value, known)
        self._check_container(node.container)
        container: ir.Expression | tuple[ir.Expression, ir.Expression]
        if isinstance(node.container, tree.Range):
            first, last = node.container.first, node.container.last
            container = (self.lower(first, known), self.lower(last, known))
        else:
            container = self.lower(node.container, known)
        return ir.Contained(value, container, node.negated, Kind.BOOL, node.span)

    def _check_container(self, node: tree.Expression) -> None:
        if isinstance(node, tree.Range):
            ends = [e.value for e in (node.first, node.last) if isinstance(e, tree.Value)]
            if len(ends) == 2 and ends[0] > ends[1]:  # type: ignore[operator]
                self._broken(node.span, "QP138", "nothing lies in this range", "write it upwards")
        elif isinstance(node, tree.Value):
            message = "`in` wants a set, a list or a range"
            self._broken(node.span, "QP138", message, f"write `{{{node.span.text}}}`, or `==`")

    def _conditional(self, node: tree.Conditional, known: frozenset[str]) -> ir.Expression:
        condition = self.lower(node.condition, known)
        then = self.lower(node.then, known | presence(node.condition))
        otherwise = self.lower(node.otherwise, known | absence(node.condition))
        kind = then.kind if then.kind is otherwise.kind else Kind.ANY
        return ir.Conditional(condition, then, otherwise, kind, node.span)

    def _index(self, node: tree.Index, known: frozenset[str]) -> ir.Expression:
        value = self.lower(node.value, known)
        if len(node.indices) != 1:
            return self._broken(node.span, "QP137", "one index is wanted")
        index = self.lower(node.indices[0], known)
        if value.kind in (Kind.INT, Kind.FLOAT, Kind.BOOL, Kind.NONE):
            self._broken(node.value.span, "QP137", f"{_A[value.kind]} has no elements")
        if index.kind in _NOT_NUMBERS | {Kind.FLOAT}:
            self._broken(node.indices[0].span, "QP137", "an index is a whole number")
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

    def _broken(
        self, span: Span, code: str, message: str, hint: str | None = None
    ) -> ir.Expression:
        self.findings.error(code, span, message, hint=hint)
        return _nothing(span)


def _nothing(span: Span) -> ir.Expression:
    """Stands where an expression was faulty, so that the rest is still looked at."""
    return ir.Number(None, Kind.ANY, span)


def _literal_kind(value: object) -> Kind:
    kinds = {bool: Kind.BOOL, int: Kind.INT, float: Kind.FLOAT, str: Kind.TEXT}
    return kinds.get(type(value), Kind.NONE)


_EQUALITY = frozenset(["==", "!="])
_ORDER = frozenset(["<=", ">=", "<", ">"])
_TRUTH = frozenset(["not", "and", "or", "=>"]) | _EQUALITY | _ORDER
_NOT_NUMBERS = frozenset([Kind.TEXT, Kind.BOOL, Kind.TUPLE, Kind.NONE])
_NOT_TRUTH = frozenset(Kind) - {Kind.BOOL, Kind.ANY}
_INTEGERS = frozenset(d for d in DTYPES if d.startswith(("int", "uint")))
_UNBUILT_KEYWORDS = frozenset(["except"])
_A = {
    Kind.BOOL: "a condition",
    Kind.INT: "a number",
    Kind.FLOAT: "a number",
    Kind.TEXT: "a string",
    Kind.INTS: "a list",
    Kind.ARRAY: "an array",
    Kind.TUPLE: "a tuple",
    Kind.NONE: "`none`",
}


def _symbol(operator_name: str) -> str:
    return "-" if operator_name == "minus" else operator_name


def _operation_kind(operator_name: str, operands: list[ir.Expression]) -> Kind:
    kinds = {operand.kind for operand in operands}
    if operator_name in _TRUTH:
        return Kind.BOOL
    if Kind.ANY in kinds:
        return Kind.ANY
    if Kind.ARRAY in kinds:
        return Kind.ARRAY
    if operator_name == "/":
        return Kind.ARRAY if Kind.INTS in kinds else Kind.FLOAT
    if Kind.INTS in kinds:
        return Kind.ARRAY if Kind.FLOAT in kinds else Kind.INTS
    return Kind.FLOAT if Kind.FLOAT in kinds else Kind.INT
