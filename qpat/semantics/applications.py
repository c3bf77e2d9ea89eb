"""Calls in expressions: the functions of the language, and externs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qpat.diagnostics import Fix, did_you_mean, respelt
from qpat.semantics import ir
from qpat.semantics.attributes import DTYPES
from qpat.semantics.functions import BUILTINS, FROM_PYTHON, Builtin
from qpat.semantics.ir import Kind
from qpat.semantics.kinds import NOT_NUMBERS, A, nothing
from qpat.source import Span
from qpat.syntax import tree

if TYPE_CHECKING:
    from qpat.semantics.expressions import Lowering

_OF_ONE_TENSOR = frozenset(["broadcasts", "lut"])
_INTEGERS = frozenset(d for d in DTYPES if d.startswith(("int", "uint")))


class Application:
    """Lowers one call. `known` are the maybe-absent names that are present where it stands."""

    def __init__(self, lowering: Lowering, known: frozenset[str]) -> None:
        self.lowering = lowering
        self.names = lowering.names
        self.known = known

    def apply(self, node: tree.Apply) -> ir.Expression:
        if not isinstance(node.function, tree.Name):
            return self._no_name(node.function)
        name = node.function.name
        builtin = BUILTINS.get(name)
        if name in self.lowering.excused.lost:
            return nothing(node.span)
        if builtin is None:
            known_names = [*BUILTINS, *self.lowering.interface.externs]
            hint = FROM_PYTHON.get(name) or did_you_mean(name, known_names)
            fix = respelt(node.function.span, name, known_names)
            return self._broken(node.function.span, "QP135", f"no function `{name}`", hint, fix)
        keywords = {a.name.text: a for a in node.arguments if isinstance(a, tree.Keyword)}
        known = ("except", "layout") if builtin.reduces else ()
        wrong = next((keyword for key, keyword in keywords.items() if key not in known), None)
        if wrong is not None:
            message = f"`{name}` takes its arguments by place"
            return self._broken(wrong.span, "QP135", message)
        given = [a for a in node.arguments if not isinstance(a, tree.Keyword)]
        if not builtin.fewest <= len(given) <= builtin.most:
            fewest, most = builtin.fewest, builtin.most
            taken = f"{fewest} to {most}" if fewest < most else f"{most}"
            taken += " arguments" if most > 1 else " argument"
            message = f"`{name}` ({builtin.meaning}) takes {taken}, not {len(given)}"
            return self._broken(node.span, "QP135", message)
        takes = (*builtin.takes, *builtin.takes[-1:] * builtin.most)
        arguments = tuple(
            self._argument(argument, kind, name)
            for argument, kind in zip(given, takes, strict=False)
        )
        if "except" in keywords:
            return self._reduction(node, name, arguments, keywords)
        return self._finished(node, name, builtin, arguments)

    def _no_name(self, node: tree.Expression) -> ir.Expression:
        member = node.member.text if isinstance(node, tree.Get) else ""
        hint, fix = None, None
        if isinstance(node, tree.Get) and member in (*BUILTINS, *FROM_PYTHON):
            hint = FROM_PYTHON.get(member) or f"functions have no prefix: `{member}(…)`"
            is_prefix = isinstance(node.value, tree.Name) and node.value.name in ("np", "numpy")
            fix = Fix(node.span, member) if is_prefix and member in BUILTINS else None
        return self._broken(node.span, "QP135", "only a name can be called", hint, fix)

    def _finished(
        self,
        node: tree.Apply,
        name: str,
        builtin: Builtin,
        arguments: tuple[ir.Expression, ...],
    ) -> ir.Expression:
        first = arguments[0]
        if name == "pads" and len(arguments) == 1:
            arguments = (first, self._layout(node, first, 'pads(d, "NHWC")'))
        elif name == "dim" and len(arguments) == 2:
            layout = self._layout(node, first, f'{node.span.text[:-1].rstrip()}, "NHWC")')
            arguments = (*arguments, layout)
            self._check_letters(arguments[1], first)
        elif name == "flip" and len(arguments) == 2:
            arguments = (*arguments, self._array_layout(first, node.span))
        elif name == "limits":
            self._check_limits(first)
        elif name == "lut" and not self.names.has_meaning:
            message = "`lut` tabulates the meaning of the pattern, and this one has none"
            return self._broken(node.span, "QP135", message, "write `meaning y = …`")
        elif name == "zeros" and len(arguments) == 2:
            self._check_dtype(arguments[1])
        return ir.Function(name, arguments, self._kind(name, builtin, arguments), node.span)

    def _kind(self, name: str, builtin: Builtin, arguments: tuple[ir.Expression, ...]) -> Kind:
        first = arguments[0]
        if isinstance(first, ir.ReadValue) and first.name in self.names.many:
            return Kind.ANY
        if name == "dim":
            letters = arguments[1]
            known = letters.value if isinstance(letters, ir.Number) else None
            return Kind.INT if isinstance(known, str) and len(known) == 1 else Kind.INTS
        kind = first.kind if builtin.kind is None else builtin.kind
        if name in ("min", "max"):
            if len(arguments) == 1:
                return Kind.INT if kind is Kind.INTS else Kind.ANY
            kinds = {argument.kind for argument in arguments}
            return kind if len(kinds) == 1 else Kind.ARRAY
        if name in ("round", "floor", "ceil", "bit_length") and first.kind is Kind.INT:
            return Kind.INT
        return kind

    # ---- arguments ----
    def _argument(self, node: tree.Expression, takes: str, function: str) -> ir.Expression:
        is_name = isinstance(node, tree.Name) and node.name in self.names.values
        if takes in ("value", "call", "swap") or (takes == "sized" and is_name):
            return self._named(node, "value" if takes == "sized" else takes, function)
        lowered = self.lowering.lower(node, self.known)
        wrong = {
            "number": NOT_NUMBERS,
            "sized": NOT_NUMBERS,
            "array": NOT_NUMBERS | {Kind.INT, Kind.FLOAT},
            "list": NOT_NUMBERS | {Kind.FLOAT},
            "text": frozenset(Kind) - {Kind.TEXT, Kind.ANY},
            "letters": frozenset(Kind) - {Kind.TEXT, Kind.ANY},
        }.get(takes, frozenset())
        if lowered.kind in wrong:
            message = f"`{function}` wants {_WANTED[takes]} here, and this is {A[lowered.kind]}"
            return self._broken(lowered.span, "QP138", message)
        return lowered

    def _named(self, node: tree.Expression, takes: str, function: str) -> ir.Expression:
        if not isinstance(node, tree.Name):
            return self._broken(node.span, "QP135", "the name of a tensor is wanted here")
        name = node.name
        if name not in self.names.values:
            return self.lowering.unknown(name, node.span)
        if takes == "value":
            if name in self.names.tuples:
                message = f"`{name}` is a tuple of tensors, and `{function}` wants one"
                return self._broken(node.span, "QP131", message)
            if name in self.names.many and function in _OF_ONE_TENSOR:
                message = f"`{name}` is many tensors, and `{function}` wants one"
                return self._broken(node.span, "QP131", message)
            if name in self.names.absent_values and name not in self.known:
                self.lowering.report_absent(name, node.span)
            return ir.ReadValue(name, False, Kind.ANY, node.span)
        if name not in self.names.calls:
            return self._broken(node.span, "QP132", f"`{name}` is no call")
        is_doubtful = self.lowering.excused.is_doubtful
        if takes == "swap" and name not in self.names.swaps and not is_doubtful:
            message = f"the operands of `{name}` stand in the order written"
            hint = "say `unordered` where it is written"
            return self._broken(node.span, "QP132", message, hint)
        if name in self.names.absent_calls and name not in self.known:
            self.lowering.report_absent(name, node.span)
        return ir.ReadValue(name, True, Kind.ANY, node.span)

    def _check_letters(self, letters: ir.Expression, value: ir.Expression) -> None:
        """Letters that no layout the pattern names has."""
        if not isinstance(letters, ir.Number) or not isinstance(value, ir.ReadValue):
            return
        for layout in sorted(self.names.layouts.get(value.name, ())):
            missing = [letter for letter in str(letters.value) if letter not in layout]
            if missing:
                message = f"the layout of `{value.name}` is {layout}, which has no `{missing[0]}`"
                self._broken(letters.span, "QP156", message)
                return

    def _check_one_dtype(self, dtype: ir.Expression) -> None:
        """A dtype of many tensors where one is wanted."""
        if isinstance(dtype, ir.Conditional):
            self._check_one_dtype(dtype.then)
            self._check_one_dtype(dtype.otherwise)
            return
        read = self.lowering.lets.get(dtype.name) if isinstance(dtype, ir.ReadLocal) else dtype
        if isinstance(read, ir.ReadMember) and read.many and read.member == "dtype":
            message = f"`{read.name}` is many tensors, so it has no one dtype"
            hint = f"take that of the first: `{dtype.span.text}[0]`"
            self._broken(dtype.span, "QP138", message, hint)

    def _check_limits(self, dtype: ir.Expression) -> None:
        self._check_one_dtype(dtype)
        if not isinstance(dtype, ir.Number) or dtype.kind is Kind.ANY:
            return
        if dtype.value not in _INTEGERS:
            message = "`limits` wants an integer dtype, such as `int8` or `x.dtype`"
            self._broken(dtype.span, "QP138", message)

    def _check_dtype(self, dtype: ir.Expression) -> None:
        self._check_one_dtype(dtype)
        if isinstance(dtype, ir.Number) and dtype.value not in DTYPES:
            hint = did_you_mean(str(dtype.value), DTYPES)
            self._broken(dtype.span, "QP121", f"{dtype.span.text} is no dtype", hint)

    # ---- layouts ----
    def _layout(self, node: tree.Apply, value: ir.Expression, given: str) -> ir.Expression:
        """The layout of a value: said by the calls that use it."""
        if not isinstance(value, ir.ReadValue):
            return nothing(node.span)  # at fault, and that is said
        if value.name not in self.names.layouts:
            return self.lowering.no_layout(value.name, node.span, f"`{given}`")
        many = value.name in self.names.many
        return ir.ReadMember(value.name, "layout", many, Kind.TEXT, node.span)

    def _array_layout(self, array: ir.Expression, span: Span) -> ir.Expression:
        """The layout of an array: what it was transposed to, or that of the value it is."""
        if isinstance(array, ir.Function) and array.name == "transpose":
            return array.arguments[2]
        if isinstance(array, ir.Function) and array.name in ("abs", "flip", "round"):
            return self._array_layout(array.arguments[0], span)
        names = sorted(_values_read(array))
        if len(names) == 1 and names[0] in self.names.layouts:
            return ir.ReadMember(names[0], "layout", False, Kind.TEXT, span)
        if self.lowering.excused.is_faulty:
            return nothing(span)
        message = "no call in the match says the layout of this array"
        return self._broken(span, "QP156", message, 'give it: `layout="OIHW"`')

    def _reduction(
        self,
        node: tree.Apply,
        name: str,
        arguments: tuple[ir.Expression, ...],
        keywords: dict[str, tree.Keyword],
    ) -> ir.Expression:
        """`sum(w.value, except="O")`: over all dimensions but those."""
        if len(arguments) != 1:
            message = "`except` goes with one array"
            return self._broken(keywords["except"].span, "QP135", message)
        letters = self._argument(keywords["except"].value, "letters", name)  # type: ignore[arg-type]
        if "layout" in keywords:
            layout = self._argument(keywords["layout"].value, "text", name)  # type: ignore[arg-type]
        else:
            layout = self._array_layout(arguments[0], node.span)
        parts = (*arguments, layout, letters)
        return ir.Function(f"{name}_except", parts, Kind.ARRAY, node.span)

    # ---- externs ----
    def extern(self, node: tree.ExternCall) -> ir.Expression:
        extern = self.lowering.interface.externs.get(node.extern)
        if extern is None:
            return nothing(node.span)  # its declaration is at fault
        given = [a for a in node.arguments if not isinstance(a, tree.Keyword)]
        if len(given) != len(node.arguments):
            return self._broken(node.span, "QP135", f"`{extern.name}` takes its arguments by place")
        if len(given) != len(extern.formals):
            wanted = ", ".join(formal.name for formal in extern.formals)
            message = (
                f"`{extern.name}` takes {len(extern.formals)} arguments ({wanted}), "
                f"not {len(given)}"
            )
            return self._broken(node.span, "QP135", message)
        arguments = tuple(
            self._extern_argument(argument, formal, extern.name)
            for argument, formal in zip(given, extern.formals, strict=True)
        )
        kind = extern.results[0].kind if len(extern.results) == 1 else Kind.TUPLE
        return ir.ExternCall(extern.name, arguments, kind, node.span)

    def _extern_argument(
        self, node: tree.Expression, formal: ir.Formal, extern: str
    ) -> ir.Expression:
        if formal.takes in ("tensor", "call"):
            takes = "value" if formal.takes == "tensor" else "call"
            return self._named(node, takes, extern)
        lowered = self.lowering.lower(node, self.known)
        fits = {formal.kind, Kind.ANY} | ({Kind.INT} if formal.kind is Kind.FLOAT else set())
        if formal.kind in (Kind.ARRAY, Kind.INTS):
            fits |= {Kind.ARRAY, Kind.INTS}
        if formal.kind is not Kind.ANY and lowered.kind not in fits:
            message = (
                f"argument `{formal.name}` of `{extern}` is {A[formal.kind]}, "
                f"and this is {A[lowered.kind]}"
            )
            return self._broken(lowered.span, "QP138", message)
        return lowered

    def _broken(
        self, span: Span, code: str, message: str, hint: str | None = None, fix: Fix | None = None
    ) -> ir.Expression:
        return self.lowering.broken(span, code, message, hint, fix)


_WANTED = {
    "number": "a number",
    "array": "an array",
    "sized": "a tensor or an array",
    "list": "a list of whole numbers",
    "text": "a string",
    "letters": "letters of a layout",
}


def _values_read(node: ir.Expression) -> set[str]:
    """The names whose `.value` an expression reads."""
    if isinstance(node, ir.ReadMember):
        return {node.name} if node.member == "value" else set()
    if isinstance(node, ir.Operation):
        return {name for operand in node.operands for name in _values_read(operand)}
    if isinstance(node, ir.Function):
        return {name for argument in node.arguments for name in _values_read(argument)}
    if isinstance(node, ir.Conditional):
        return _values_read(node.then) | _values_read(node.otherwise)
    return set()
