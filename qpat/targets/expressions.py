"""Expressions of the IR as Python text, over the functions of relay_support.py."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Mapping

from qpat.records import dataclass
from qpat.semantics import ir
from qpat.semantics.ir import Kind
from qpat.semantics.walk import children
from qpat.targets.layout import number, string
from qpat.targets.names import safe

# Python's precedence, the loosest first.
_CONDITIONAL, _OR, _AND, _NOT, _COMPARE, _ADD, _MULTIPLY, _SIGN, _POWER, _ATOM = range(10)
_ARITHMETIC = {
    "+": _ADD,
    "-": _ADD,
    "*": _MULTIPLY,
    "/": _MULTIPLY,
    "%": _MULTIPLY,
    "**": _POWER,
}
_READS = (
    ir.ReadMember,
    ir.ReadAttribute,
    ir.ReadLocal,
    ir.ReadOption,
    ir.ReadTarget,
    ir.ExternCall,
    ir.Subscript,
)
# `rank`, `size` and `dim` of many tensors give lists, of one tensor numbers, told by their kind.
_GIVE_LISTS = frozenset(["rank", "size", "dim", "pads", "axes", "along", "limits", "fixed_point"])
# What is in the bits of what they were given, or in 32.
_KEEP_BITS = frozenset(["f32", "flip", "lut", "reshape", "transpose", "zeros"])
_SCALARS = frozenset([Kind.BOOL, Kind.INT, Kind.TEXT])
# What has one truth value, be it inside `any` or `all`.
_SINGLE = frozenset([Kind.BOOL, Kind.INT, Kind.FLOAT, Kind.TEXT, Kind.NONE])
_TUPLES = frozenset(["qparams", "range"])  # members that are tuples of one tensor
_WORDS = frozenset(["dtype", "layout"])
_COMPARISONS = frozenset(["==", "!=", "<=", ">=", "<", ">"])


@dataclass(frozen=True)
class Variables:
    """What the pattern's names are called in the record function: values, calls, and locals;
    `options` is the text that gives the Options."""

    values: Mapping[str, str]
    calls: Mapping[str, str]
    locals: Mapping[str, str]
    options: str
    externs: Mapping[str, ir.Extern]
    many: frozenset[str] = frozenset()


def _is_narrow(node: ir.Expression) -> bool:
    """Whether a value is one of the graph, perhaps in few bits, or a list or a tuple."""
    if isinstance(node, ir.Function) and node.name in _KEEP_BITS:
        return True
    if node.kind in (Kind.INT, Kind.FLOAT):
        return False
    if isinstance(node, ir.Conditional):
        return _is_narrow(node.then) or _is_narrow(node.otherwise)
    if isinstance(node, ir.Operation) and node.operator == "??":
        return any(map(_is_narrow, node.operands))
    if isinstance(node, ir.Function):
        return node.name in _GIVE_LISTS
    return isinstance(node, (*_READS, ir.Sequence))


def _is_many(node: ir.Expression, members: Container[str]) -> bool:
    """Whether one of these members is read of many tensors: then its kind does not say what it
    is."""
    return isinstance(node, ir.ReadMember) and node.many and node.member in members


def _is_python(node: ir.Operation) -> bool:
    """Whether it calculates with Python's numbers, of which whole ones have no end."""
    return all(each.kind in (Kind.INT, Kind.FLOAT) for each in node.operands)


def _is_simple(node: ir.Expression) -> bool:
    """Whether no space stands around a `**` beside it: a name or a number, or minus one."""
    if isinstance(node, ir.Operation) and node.operator == "minus":
        node = node.operands[0]
    return isinstance(node, ir.Number) or (isinstance(node, ir.ReadLocal) and not _is_narrow(node))


def _literal(value: object) -> str:
    if isinstance(value, str):
        return string(value)
    return number(value) if isinstance(value, int | float) else repr(value)


def python(expression: ir.Expression, variables: Variables) -> str:
    """Python text of an expression."""
    return _Writer(variables).text(expression)[0]


class _Writer:
    """`elementwise` comparisons give an array (inside `any` and `all`), others one truth value."""

    def __init__(self, variables: Variables, elementwise: bool = False) -> None:
        self.variables = variables
        self.elementwise = elementwise

    def at(self, expression: ir.Expression, precedence: int) -> str:
        """Text in brackets where its operator binds less than `precedence`."""
        text, own = self.text(expression)
        return text if own >= precedence else f"({text})"

    def text(  # noqa: C901 - one case for each kind of node
        self, node: ir.Expression
    ) -> tuple[str, int]:
        """Python text of a node and the precedence of its operator."""
        match node:
            case ir.Number():
                negative = isinstance(node.value, int | float) and node.value < 0
                return _literal(node.value), _SIGN if negative else _ATOM
            case ir.ReadMember():
                return self._member(node), _ATOM
            case ir.ReadAttribute():
                return f"{self.variables.calls[node.name]}.attrs.{node.attribute}", _ATOM
            case ir.ReadLocal():
                return self.variables.locals[node.name], _ATOM
            case ir.ReadOption():
                return f"{self.variables.options}.{safe(node.name, ())}", _ATOM
            case ir.ReadTarget():
                return self._fact(node.fact), _ATOM
            case ir.ReadValue():
                return self._named(node), _ATOM
            case ir.ExternCall():
                return self._extern(node), _ATOM
            case ir.IsPresent():
                return self._present(node)
            case ir.Operation():
                return self._operation(node)
            case ir.Contained():
                return self._contained(node)
            case ir.Conditional():
                return self._conditional(node)
            case ir.Subscript():
                return self._subscript(node), _ATOM
            case ir.Sequence():
                return self._sequence(node), _ATOM
            case ir.Function():
                return self._function(node)

    # ---- reads ----
    def _value_variable(self, name: str) -> str:
        return self.variables.values.get(name) or self.variables.calls[name]

    def _named(self, node: ir.ReadValue) -> str:
        return (self.variables.calls if node.is_call else self.variables.values)[node.name]

    def _extern(self, node: ir.ExternCall) -> str:
        """A call of an extern; what it gives is held to what it is declared to give."""
        extern = self.variables.externs[node.name]
        arguments: list[str] = []
        for argument, formal in zip(node.arguments, extern.formals, strict=True):
            text = self.text(argument)[0]
            arguments.append(f"tensor_of(match, {text})" if formal.takes == "tensor" else text)
        called = f"{safe(extern.name, ())}({', '.join(arguments)})"
        if len(extern.results) == 1:
            result = extern.results[0]
            if result.kind is not Kind.ANY:
                called = f"returned({called}, {string(result.dtype or result.kind.value)})"
            return typed(called, result)
        kinds = [f"({string(t.dtype or t.kind.value)}, {t.shape})" for t in extern.results]
        return f"fields_of({called}, {', '.join(kinds)})"

    def _member(self, node: ir.ReadMember) -> str:
        variable = self._value_variable(node.name)
        if node.many:
            return f"[each.{node.member} for each in {variable}]"
        return f"{variable}.{node.member}"

    def _present(self, node: ir.IsPresent) -> tuple[str, int]:
        if node.name == "target":
            return f"{self._fact(node.member or '')} is not None", _COMPARE
        if node.member == "value":
            value = self._value_variable(node.name)
            return f"{value} is not None and {value}.is_constant", _AND
        variable = self.variables.calls.get(node.name) or self.variables.values[node.name]
        return f"{variable} is not None", _COMPARE

    def _fact(self, fact: str) -> str:
        return f"{self.variables.options}.fact({string(fact)})"

    def _number(self, node: ir.Expression, precedence: int) -> str:
        """An operand to calculate with: what was read from the graph is widened first, and Python's
        lists and tuples do not calculate."""
        if _is_narrow(node):
            return f"number({self.text(node)[0]})"
        return self.at(node, precedence)

    def _word(self, node: ir.Expression, precedence: int) -> str:
        """A word to compare element by element, or many of them."""
        if node.kind is Kind.TEXT:
            return self.at(node, precedence)
        return f"np.asarray({self.text(node)[0]})"

    # ---- operators ----
    def _operation(self, node: ir.Operation) -> tuple[str, int]:
        if node.operator in _ARITHMETIC:
            return self._arithmetic(node)
        if node.operator in _COMPARISONS:
            return self._comparison(node)
        first = node.operands[0]
        if node.operator == "minus":
            is_power = isinstance(first, ir.Operation) and first.operator == "**"
            return f"-{self._number(first, _ATOM if is_power else _SIGN)}", _SIGN
        if node.operator == "??":
            return self._default(node)
        if node.operator == "not" and self._is_of_each(first):
            return f"np.logical_not({self.text(first)[0]})", _ATOM
        if node.operator == "not":
            return f"not {self.at(first, _NOT)}", _NOT
        if node.operator == "=>" and self._is_of_each(first):
            texts = [self.text(each)[0] for each in node.operands]
            return f"np.logical_or(np.logical_not({texts[0]}), {texts[1]})", _ATOM
        if node.operator == "=>":
            return f"not {self.at(first, _COMPARE)} or {self._truth(node.operands[1], _OR)}", _OR
        return self._joined(node)

    def _joined(self, node: ir.Operation) -> tuple[str, int]:
        """`and` and `or`. What has a truth value for each element comes last: the others may say
        that there is nothing to look at."""
        precedence = _AND if node.operator == "and" else _OR
        of_each = [each for each in node.operands if self._is_of_each(each)]
        single = [each for each in node.operands if not self._is_of_each(each)]
        parts = [self._truth(operand, precedence + 1) for operand in single]
        if of_each:
            whole, *others = (self.text(each)[0] for each in of_each)
            for other in others:
                whole = f"np.logical_{node.operator}({whole}, {other})"
            parts.append(whole if others else self.at(of_each[0], precedence + 1))
        return f" {node.operator} ".join(parts), _ATOM if len(parts) == 1 else precedence

    def _truth(self, node: ir.Expression, precedence: int) -> str:
        """An operand of `and` or `or`: Python would give what is no truth value on as it is."""
        if node.kind is Kind.BOOL or self._is_of_each(node):
            return self.at(node, precedence)
        return f"bool({self.text(node)[0]})"

    def _is_of_each(self, node: ir.Expression) -> bool:
        """Whether a condition inside `any` or `all` has a truth value for each element."""
        if not self.elementwise or (isinstance(node, ir.Function) and node.kind is Kind.BOOL):
            return False
        is_many = isinstance(node, ir.ReadMember) and node.many
        below = (each for each in children(node) if each is not None)
        return is_many or node.kind not in _SINGLE or any(map(self._is_of_each, below))

    def _conditional(self, node: ir.Conditional) -> tuple[str, int]:
        if self._is_of_each(node.condition):
            texts = [self.text(each)[0] for each in (node.condition, node.then, node.otherwise)]
            return f"np.where({', '.join(texts)})", _ATOM
        then, condition = self.at(node.then, _OR), self.at(node.condition, _OR)
        return f"{then} if {condition} else {self.text(node.otherwise)[0]}", _CONDITIONAL

    def _arithmetic(self, node: ir.Operation) -> tuple[str, int]:
        precedence = _ARITHMETIC[node.operator]
        left, right = node.operands
        if node.operator == "**" and left.kind is not Kind.FLOAT and not _is_python(node):
            return f"raised({self.plain(node.operands)})", _ATOM
        if node.operator == "**":
            text = f"{self._number(left, _ATOM)}**{self._number(right, _SIGN)}"
            simple = all(map(_is_simple, node.operands))
            return (text if simple else text.replace("**", " ** ", 1)), precedence
        first = self._number(left, precedence)
        return f"{first} {node.operator} {self._number(right, precedence + 1)}", precedence

    def _comparison(self, node: ir.Operation) -> tuple[str, int]:
        left, right = node.operands
        if self.elementwise:
            is_of_words = any(n.kind is Kind.TEXT or _is_many(n, _WORDS) for n in node.operands)
            operand = self._word if is_of_words else self._number
            return f"{operand(left, _ADD)} {node.operator} {operand(right, _ADD)}", _COMPARE
        is_many = any(_is_many(each, _TUPLES) for each in node.operands)
        is_of_tuples = is_many or Kind.TUPLE in (left.kind, right.kind)
        if is_of_tuples and node.operator in ("==", "!="):
            texts = f"({self.text(left)[0]}, {self.text(right)[0]})"
            if node.operator == "!=" and is_many:
                return f"differs{texts}", _ATOM
            text = f"matches{texts}"
            return (text, _ATOM) if node.operator == "==" else (f"not {text}", _NOT)
        if {left.kind, right.kind} <= _SCALARS:
            return f"{self.at(left, _ADD)} {node.operator} {self.at(right, _ADD)}", _COMPARE
        relation = string(node.operator)
        return f"holds({self.text(left)[0]}, {relation}, {self.text(right)[0]})", _ATOM

    def _default(self, node: ir.Operation) -> tuple[str, int]:
        tests = [self._guard(name) for name in node.needs]
        first = self.at(node.operands[0], _OR)
        return (
            f"{first} if {' and '.join(tests)} else {self.text(node.operands[1])[0]}",
            _CONDITIONAL,
        )

    def _guard(self, name: str) -> str:
        """A test for what a `??` needs: a name, a constant's value, a fact of the target."""
        if name.startswith("target."):
            return f"{self._fact(name.removeprefix('target.'))} is not None"
        if name.endswith(".value"):
            value = self._value_variable(name.removesuffix(".value"))
            return f"{value} is not None and {value}.is_constant"
        return f"{self.variables.calls.get(name) or self.variables.values[name]} is not None"

    def _contained(self, node: ir.Contained) -> tuple[str, int]:
        if self._is_of_each(node.value):
            is_range = isinstance(node.container, tuple)
            operands = tuple(each for each in children(node) if each is not None)
            text = f"{'within' if is_range else 'among'}({self.plain(operands)})"
            return (f"np.logical_not({text})" if node.negated else text), _ATOM
        if isinstance(node.container, tuple):
            first, last = node.container
            if {node.value.kind, first.kind, last.kind} == {Kind.INT}:
                parts = [self.at(each, _ADD) for each in (first, node.value, last)]
                text, precedence = " <= ".join(parts), _COMPARE
            else:
                value = self.text(node.value)[0]
                ends = f"{self.text(first)[0]}, {self.text(last)[0]}"
                if node.negated:
                    return f"not np.any(within({value}, {ends}))", _NOT
                text, precedence = f"between({value}, {ends})", _ATOM
        else:
            text = f"({self.text(node.value)[0]}, {self.text(node.container)[0]})"
            return ("excluded" if node.negated else "contained") + text, _ATOM
        if not node.negated:
            return text, precedence
        return f"not {text if precedence > _NOT else f'({text})'}", _NOT

    # ---- the rest ----
    def _subscript(self, node: ir.Subscript) -> str:
        value = self.at(node.value, _ATOM)
        if node.index is not None:
            return f"{value}[{self.text(node.index)[0]}]"
        start = "" if node.start is None else self.text(node.start)[0]
        stop = "" if node.stop is None else self.text(node.stop)[0]
        # The colon is an operator like any other where what it stands between is no single word.
        wide = any(part and not re.fullmatch(r"-?\w+", part) for part in (start, stop))
        before, after = (" " if wide and part else "" for part in (start, stop))
        return f"{value}[{start}{before}:{after}{stop}]"

    def _sequence(self, node: ir.Sequence) -> str:
        items = [self.text(element)[0] for element in node.elements]
        if node.bracket == "[":
            return f"[{', '.join(items)}]"
        return f"({', '.join(items)}{',' if len(items) == 1 else ''})"

    def _function(self, node: ir.Function) -> tuple[str, int]:
        if node.name in ("any", "all"):
            inner = _Writer(self.variables, elementwise=True).text(node.arguments[0])[0]
            return f"bool(np.{node.name}({inner}))", _ATOM
        return _FUNCTIONS[node.name](self, node.arguments), _ATOM

    def is_many(self, node: ir.Expression) -> bool:
        return isinstance(node, ir.ReadValue) and node.name in self.variables.many

    def plain(self, arguments: tuple[ir.Expression, ...]) -> str:
        return ", ".join(self.text(argument)[0] for argument in arguments)


def _extreme(name: str, pairwise: str) -> Callable[[_Writer, tuple[ir.Expression, ...]], str]:
    def write(writer: _Writer, arguments: tuple[ir.Expression, ...]) -> str:
        numbers = [writer._number(argument, _CONDITIONAL) for argument in arguments]
        text = numbers[0]
        if len(numbers) == 1:
            return f"np.{name}({text})"
        for other in numbers[1:]:
            text = f"np.{pairwise}({text}, {other})"
        return text

    return write


_Arguments = tuple[ir.Expression, ...]


def _plain(name: str) -> Callable[[_Writer, _Arguments], str]:
    return lambda writer, arguments: f"{name}({writer.plain(arguments)})"


def _numeric(name: str) -> Callable[[_Writer, _Arguments], str]:
    """A function of one number; the text of it is widened first where it was read."""
    return lambda writer, arguments: f"{name}({writer._number(arguments[0], _CONDITIONAL)})"


def _each(write: Callable[[str, str], str]) -> Callable[[_Writer, _Arguments], str]:
    """A function of a value: of a port that is many, a list of what it gives for each."""

    def written(writer: _Writer, arguments: _Arguments) -> str:
        value, rest = writer.text(arguments[0])[0], writer.plain(arguments[1:])
        is_list = any(isinstance(a, ir.ReadMember) and a.many for a in arguments)
        if is_list or writer.is_many(arguments[0]):
            layout = ", ".join([rest.split(", ")[0], "each.layout"]) if is_list else rest
            return f"[{write('each', layout)} for each in {value}]"
        return write(value, rest)

    return written


def _size(writer: _Writer, arguments: _Arguments) -> str:
    if isinstance(arguments[0], ir.ReadValue):
        return _each(lambda value, rest: f"size({value})")(writer, arguments)
    return f"np.size({writer.plain(arguments)})"


def _table(writer: _Writer, arguments: _Arguments) -> str:
    first = arguments[0]
    name = string(first.name) if isinstance(first, ir.ReadValue) else "None"
    return f"lut(meaning, {name}, {writer.plain(arguments)})"


def _reduced(name: str) -> Callable[[_Writer, _Arguments], str]:
    def write(writer: _Writer, arguments: _Arguments) -> str:
        array = writer._number(arguments[0], _CONDITIONAL)
        return f"reduced(np.{name}, {array}, {writer.plain(arguments[1:])})"

    return write


_FUNCTIONS: dict[str, Callable[[_Writer, _Arguments], str]] = {
    "rank": _each(lambda value, rest: f"len({value}.shape)"),
    "size": _size,
    "dim": _each(lambda value, rest: f"dim({value}, {rest})"),
    "broadcasts": _plain("broadcasts"),
    "swapped": lambda writer, arguments: f"match.order.is_swapped({writer.plain(arguments)}.expr)",
    "pads": _plain("pads"),
    "axes": _plain("axes"),
    "along": _plain("along"),
    "abs": _numeric("abs"),
    "round": _numeric("rounded"),
    "floor": _numeric("np.floor"),
    "ceil": _numeric("np.ceil"),
    "sqrt": _numeric("np.sqrt"),
    "exp": _numeric("np.exp"),
    "log2": _numeric("np.log2"),
    "bit_length": _numeric("bit_length"),
    "min": _extreme("min", "minimum"),
    "max": _extreme("max", "maximum"),
    "sum": _numeric("np.sum"),
    "min_except": _reduced("min"),
    "max_except": _reduced("max"),
    "sum_except": _reduced("sum"),
    "same": _plain("same"),
    "close": _plain("close"),
    "limits": _plain("limits"),
    "f32": _plain("np.float32"),
    "fixed_point": _numeric("fixed_point"),
    "transpose": _plain("transposed"),
    "flip": _plain("flipped"),
    "reshape": _plain("np.reshape"),
    "lut": _table,
    "zeros": _plain("zeros"),
}


def typed(text: str, declared: ir.ValueType) -> str:
    """A value held to the type it is declared to have."""
    if declared.kind is Kind.ANY:
        return text
    if declared.dtype is None:
        return f"typed({text}, {string(declared.kind.value)})"
    shape = f", {declared.shape}" if declared.shape is not None else ""
    return f"array_of({text}, {string(declared.dtype)}{shape})"
