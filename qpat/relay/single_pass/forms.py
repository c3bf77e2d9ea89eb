"""A DataflowPattern as plain Python objects: read from TVM once, each pattern object one form."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import tvm
from tvm import relay
from tvm.ir import Op
from tvm.relay import dataflow_pattern as dfp
from tvm.runtime import Object
from tvm.tir import FloatImm, IntImm, StringImm

from qpat.relay.single_pass.reading import Unsupported, with_article

Pattern = Any


@dataclass(frozen=True)
class Attribute:
    """A value that an attribute must have; `kind` is "int", "float", "str" or "object"."""

    name: str
    kind: str
    value: Any
    original: Any


@dataclass(eq=False)
class Callee:
    """What may be called: operators by name. `sides` are those of an alternation, else none."""

    key: int
    names: frozenset[str]
    sides: tuple[Callee, ...] = ()


@dataclass(eq=False)
class Form:
    """One pattern object. `kind` is the name of its class less "Pattern".

    `inputs` are the patterns below (of a call its arguments), None where a call or a tuple takes
    any; `value` is a tuple's index, a variable's name, a type, a shape, a dtype, a constant, or the
    `Attribute`s. `key` is the address of the pattern object, by which it is known while it lives.
    """

    key: int
    kind: str
    inputs: tuple[Form, ...] | None = ()
    callee: Callee | None = None
    value: Any = None

    @property
    def is_leaf(self) -> bool:
        """Whether what it matches is an input of the composite."""
        return self.inputs == () and self.kind != "Call"

    @property
    def calls(self) -> str | None:
        """The operator that a call calls, None where there is a choice."""
        if self.kind != "Call" or self.callee is None or self.callee.sides:
            return None
        [name] = self.callee.names
        return name


def read_form(pattern: Pattern) -> Form:
    """The form of a pattern. Raises Unsupported where it uses what is left to TVM."""
    reader = _Reader()
    form = reader.form(pattern)
    if reader.wildcards and not _are_plain(reader.wildcards):
        raise Unsupported("a wildcard that is redirected")
    return form


def _are_plain(wildcards: list[Pattern]) -> bool:
    """Whether no wildcard stands for another pattern. That cannot be read from one, and is in what
    TVM's rewriter says of a match: one that does not has nothing but itself matched."""
    probe = relay.Tuple([relay.var(f"x{at}", "int32") for at in range(len(wildcards))])
    pattern = dfp.TuplePattern(wildcards)
    sizes: list[int] = []

    def callback(before: Any, after: Any, matched: Any) -> Any:
        sizes.append(len(matched))
        return after

    wanted = dfp._DFPatternCallback(pattern, callback, False, False)
    try:
        dfp.ffi.rewrite([wanted], probe, tvm.IRModule())
    except tvm.TVMError:
        return False
    return sizes == [len(wildcards) + 1]


@lru_cache(maxsize=2048)
def roots_of(pattern: Pattern) -> frozenset[str]:
    """What a match's root can be, as in `Graph.with_root`: reads no more of a pattern than that
    takes. Raises Unsupported where it can be anything."""
    kind = type(pattern).__name__.removesuffix("Pattern")
    if kind == "Alt":
        return roots_of(pattern.left) | roots_of(pattern.right)
    if kind in _WRAPPING:
        return roots_of(pattern.pattern)
    if kind == "Tuple" and (pattern.fields is None or len(pattern.fields)):
        return frozenset({"Tuple"})
    if kind == "TupleGetItem":
        return frozenset({"TupleGetItem"})
    if kind != "Call":
        raise Unsupported(f"{_said(pattern)} as the root of a pattern")
    names = _Reader().callee(pattern.op).names
    # TVM takes (a * b) / c for a * (b / c), either way, where a pattern has both.
    if names & {"multiply", "divide"}:
        names |= {"multiply", "divide"}
    return names


_WRAPPING = {"Attr": "attrs", "Type": "type", "Shape": "shape", "DataType": "dtype"}


@dataclass(eq=False)
class _Reader:
    forms: dict[int, Form] = field(default_factory=dict)
    callees: dict[int, Callee] = field(default_factory=dict)
    wildcards: list[Pattern] = field(default_factory=list)

    def form(self, pattern: Pattern) -> Form:
        # Patterns are written by hand, and so not deeper than Python's stack.
        key = hash(pattern)
        known = self.forms.get(key)
        if known is None:
            known = self.forms[key] = self._read(pattern, key)
        return known

    def _read(self, pattern: Pattern, key: int) -> Form:
        kind = type(pattern).__name__.removesuffix("Pattern")
        if kind in _WRAPPING:
            value = getattr(pattern, _WRAPPING[kind])
            wanted = _attributes(value) if kind == "Attr" else value
            return Form(key, kind, (self.form(pattern.pattern),), value=wanted)
        reader = getattr(self, f"_{kind}", None)
        if reader is None:
            raise Unsupported(_said(pattern))
        form: Form = reader(pattern, key)
        return form

    def _Wildcard(self, pattern: Pattern, key: int) -> Form:
        self.wildcards.append(pattern)
        return Form(key, "Wildcard")

    def _Constant(self, pattern: Pattern, key: int) -> Form:
        return Form(key, "Constant")

    def _Var(self, pattern: Pattern, key: int) -> Form:
        return Form(key, "Var", value=str(pattern.name))

    def _Expr(self, pattern: Pattern, key: int) -> Form:
        expr = pattern.expr
        if not isinstance(expr, (relay.Constant, Op)):
            raise Unsupported(f"an expression that is {with_article(type(expr).__name__)}")
        return Form(key, "Expr", value=expr)

    def _Alt(self, pattern: Pattern, key: int) -> Form:
        return Form(key, "Alt", (self.form(pattern.left), self.form(pattern.right)))

    def _Tuple(self, pattern: Pattern, key: int) -> Form:
        return Form(key, "Tuple", self._forms(pattern.fields))

    def _TupleGetItem(self, pattern: Pattern, key: int) -> Form:
        return Form(key, "TupleGetItem", (self.form(pattern.tuple),), value=int(pattern.index))

    def _Call(self, pattern: Pattern, key: int) -> Form:
        return Form(key, "Call", self._forms(pattern.args), self.callee(pattern.op))

    def _forms(self, patterns: Any) -> tuple[Form, ...] | None:
        return None if patterns is None else tuple([self.form(each) for each in patterns])

    def callee(self, pattern: Pattern) -> Callee:
        """What a call's pattern has for the operator."""
        key = hash(pattern)
        known = self.callees.get(key)
        if known is None:
            known = self.callees[key] = self._callee(pattern, key)
        return known

    def _callee(self, pattern: Pattern, key: int) -> Callee:
        if isinstance(pattern, dfp.AltPattern):
            left, right = self.callee(pattern.left), self.callee(pattern.right)
            return Callee(key, left.names | right.names, (left, right))
        if isinstance(pattern, dfp.ExprPattern):
            expr = pattern.expr
            if isinstance(expr, Op):
                return Callee(key, frozenset({str(expr.name)}))
        raise Unsupported(f"a call of {_said(pattern)}")


def _attributes(attrs: Any) -> tuple[Attribute, ...]:
    return tuple([_attribute(str(name), attrs[name]) for name in list(attrs.keys())])


def _attribute(name: str, value: Any) -> Attribute:
    if isinstance(value, (IntImm, bool, int)):
        return Attribute(name, "int", int(value), value)
    if isinstance(value, (FloatImm, float)):
        return Attribute(name, "float", float(getattr(value, "value", value)), value)
    if isinstance(value, StringImm):
        return Attribute(name, "str", str(value.value), value)
    if isinstance(value, str):
        return Attribute(name, "str", str(value), value)
    if isinstance(value, Object):
        return Attribute(name, "object", None, value)
    raise Unsupported(f"an attribute `{name}` that is {with_article(type(value).__name__)}")


def _said(pattern: Pattern) -> str:
    """What a pattern is called in a sentence: "a dominator pattern"."""
    kind = type(pattern).__name__.removesuffix("Pattern")
    spaced = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in kind)
    return with_article(f"{spaced.strip()} pattern")
