"""Lark's parse tree to the syntax tree: one method per rule name or alias of grammar/qpat.lark.

Lark's own Transformer would call them too, and wraps each call, which takes as long as parsing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lark import Token, Tree
from lark.tree import Meta

from qpat.source import Source, Span
from qpat.syntax import tree


def _present(children: list[Any]) -> tuple[Any, ...]:
    return tuple(child for child in children if child is not None)


def _number(text: str) -> int | float:
    return int(text) if text.lstrip("-").isdigit() else float(text)


class TreeBuilder:
    """Builds tree.* nodes bottom up. `comments` are those of the whole text, in order of place.

    Where a piece of the text is parsed by itself, it begins at `offset`; `broken` is what is left
    out of it, and is put into the blocks and families around it.
    """

    def __init__(
        self,
        source: Source,
        comments: list[tree.Text],
        offset: int = 0,
        broken: Iterable[tree.Broken] = (),
    ) -> None:
        self.source = source
        self.comments = comments
        self.offset = offset
        self.broken = list(broken)
        self.docs = {
            comment.span.line: comment.text[3:].strip()
            for comment in comments
            if source.line(comment.span.line).lstrip().startswith("///")
        }

    def transform(self, parsed: Tree[Token]) -> tree.File:
        """The syntax tree of what lark parsed. Raises RecursionError where it is too deep."""
        file: tree.File = self._built(parsed)
        return file

    def _built(self, parsed: Tree[Token]) -> Any:
        children = [
            self._built(child)
            if isinstance(child, Tree)
            else self._token(child)
            if isinstance(child, Token)
            else child
            for child in parsed.children
        ]
        return getattr(self, parsed.data)(parsed.meta, children)

    def _token(self, token: Token) -> Any:
        build = getattr(self, token.type, None)
        return token if build is None else build(token)

    def _span(self, meta: Meta) -> Span:
        if meta.empty:
            return Span(self.source, 0, 0)
        return self._place(meta.start_pos, meta.end_pos)

    def _token_span(self, token: Token) -> Span:
        assert token.start_pos is not None and token.end_pos is not None
        return self._place(token.start_pos, token.end_pos)

    def _place(self, start: int, end: int) -> Span:
        # Brackets that are added behind the text, so that it parses, are no part of it.
        last = len(self.source.text)
        return Span(self.source, start + self.offset, min(end + self.offset, last))

    def _with_broken(self, children: Iterable[Any], span: Span) -> tuple[Any, ...]:
        """The children, and between them what is broken inside of the span."""
        mine = [b for b in self.broken if span.start <= b.span.start and b.span.end <= span.end]
        if not mine:
            return tuple(children)
        self.broken = [each for each in self.broken if each not in mine]
        return tuple(sorted((*children, *mine), key=lambda child: child.span.start))

    # ---- tokens ----
    def NAME(self, token: Token) -> tree.Identifier:
        return tree.Identifier(self._token_span(token), str(token))

    def STRING(self, token: Token) -> tree.Text:
        return tree.Text(self._token_span(token), token[1:-1])

    def LONGSTRING(self, token: Token) -> tree.Text:
        return tree.Text(self._token_span(token), token[3:-3])

    def INT(self, token: Token) -> int:
        return int(token)

    # ---- items ----
    def start(self, meta: Meta, children: list[Any]) -> tree.File:
        whole = Span(self.source, 0, len(self.source.text))
        return tree.File(whole, self._with_broken(children, whole), tuple(self.comments))

    def compiler(self, meta: Meta, children: list[Any]) -> tree.Compiler:
        return tree.Compiler(self._span(meta), *children)

    def import_(self, meta: Meta, children: list[Any]) -> tree.Import:
        return tree.Import(self._span(meta), *children)

    def option(self, meta: Meta, children: list[Any]) -> tree.Option:
        return tree.Option(self._span(meta), *children)

    def extern(self, meta: Meta, children: list[Any]) -> tree.Extern:
        name, formals, results, path = children
        return tree.Extern(self._span(meta), name, formals or (), results, path)

    def types(self, meta: Meta, children: list[Any]) -> tuple[tree.Type, ...]:
        return tuple(children)

    def fragment(self, meta: Meta, children: list[Any]) -> tree.Fragment:
        name, formals, out, block = children
        return tree.Fragment(self._span(meta), name, formals or (), out, block)

    def pattern(self, meta: Meta, children: list[Any]) -> tree.Pattern:
        name, ports, output, alias, after, block = children
        span, doc = self._span(meta), self._doc(self._span(meta))
        return tree.Pattern(span, name, ports or (), output, alias, after or (), block, doc)

    def for_items(self, meta: Meta, children: list[Any]) -> tree.Family:
        names, values, *items = children
        span = self._span(meta)
        return tree.Family(span, names, values, self._with_broken(items, span))

    def test(self, meta: Meta, children: list[Any]) -> tree.Test:
        name, relay, *expectations = children
        return tree.Test(self._span(meta), name, relay, tuple(expectations))

    def expect_match(self, meta: Meta, children: list[Any]) -> tree.Expectation:
        pattern, conditions = children
        return tree.Expectation(self._span(meta), pattern, None, conditions or ())

    def expect_refuse(self, meta: Meta, children: list[Any]) -> tree.Expectation:
        pattern, reason = children
        return tree.Expectation(self._span(meta), pattern, reason, ())

    def alias_string(self, meta: Meta, children: list[Any]) -> tree.Alias:
        return tree.Alias(self._span(meta), children[0].text, False)

    alias_name = alias_string

    def op_rule(self, meta: Meta, children: list[Any]) -> tree.Alias:
        return tree.Alias(self._span(meta), children[0].text, True)

    def formals(self, meta: Meta, children: list[Any]) -> tuple[tree.Formal, ...]:
        return tuple(children)

    def formal(self, meta: Meta, children: list[Any]) -> tree.Formal:
        return tree.Formal(self._span(meta), *children)

    def names(self, meta: Meta, children: list[Any]) -> tuple[tree.Identifier, ...]:
        return tuple(children)

    def _doc(self, span: Span) -> str:
        """The `///` lines that end on the line above `span`."""
        first = span.line
        while first - 1 in self.docs:
            first -= 1
        return "\n".join(self.docs[line] for line in range(first, span.line))

    # ---- ports ----
    def ports(self, meta: Meta, children: list[Any]) -> tuple[tree.Port, ...]:
        return tuple(children)

    def port(self, meta: Meta, children: list[Any]) -> tree.Port:
        name, type_, multiplicity = children
        return tree.Port(
            self._span(meta), name, type_, multiplicity == "maybe", multiplicity == "many"
        )

    def maybe(self, meta: Meta, children: list[Any]) -> str:
        return "maybe"

    def many(self, meta: Meta, children: list[Any]) -> str:
        return "many"

    def type(self, meta: Meta, children: list[Any]) -> tree.Type:
        *atoms, shape = children
        return tree.Type(self._span(meta), tuple(atoms), shape)

    def type_atom(self, meta: Meta, children: list[Any]) -> tree.TypeAtom:
        name, member = children
        return tree.TypeAtom(self._span(meta), name.text, member.text if member else None)

    def shape(self, meta: Meta, children: list[Any]) -> tuple[tree.Dimension, ...]:
        return _present(children)

    def dimension_name(self, meta: Meta, children: list[Any]) -> tree.Dimension:
        return tree.Dimension(self._span(meta), children[0].text)

    def dimension_size(self, meta: Meta, children: list[Any]) -> tree.Dimension:
        return tree.Dimension(self._span(meta), children[0])

    def any_dimension(self, meta: Meta, children: list[Any]) -> tree.Dimension:
        return tree.Dimension(self._span(meta), None)

    def any_dimensions(self, meta: Meta, children: list[Any]) -> tree.Dimension:
        return tree.Dimension(self._span(meta), None, rest=True)

    # ---- statements ----
    def block(self, meta: Meta, children: list[Any]) -> tree.Block:
        span = self._span(meta)
        return tree.Block(span, self._with_broken(children, span))

    def bind(self, meta: Meta, children: list[Any]) -> tree.Bind:
        return tree.Bind(self._span(meta), *children)

    def form(self, meta: Meta, children: list[Any]) -> tree.Form:
        return tree.Form(self._span(meta), *children)

    def where(self, meta: Meta, children: list[Any]) -> tree.Where:
        return tree.Where(self._span(meta), *children)

    def let(self, meta: Meta, children: list[Any]) -> tree.Let:
        (name, slot), value = children
        return tree.Let(self._span(meta), name, slot, value)

    def target(self, meta: Meta, children: list[Any]) -> tuple[Any, ...]:
        return tuple(children)

    def param(self, meta: Meta, children: list[Any]) -> tree.Param:
        return tree.Param(self._span(meta), *children)

    def inherit(self, meta: Meta, children: list[Any]) -> tree.Inherit:
        return tree.Inherit(self._span(meta), *children)

    def use(self, meta: Meta, children: list[Any]) -> tree.Use:
        fragment, arguments = children
        return tree.Use(self._span(meta), fragment, arguments or ())

    def meaning(self, meta: Meta, children: list[Any]) -> tree.Meaning:
        return tree.Meaning(self._span(meta), *children)

    def outs(self, meta: Meta, children: list[Any]) -> tuple[tree.Out, ...]:
        return tuple(children)

    def out(self, meta: Meta, children: list[Any]) -> tree.Out:
        name, many = children
        return tree.Out(self._span(meta), name.text, many is not None)

    # ---- structure ----
    def alternatives(self, meta: Meta, children: list[Any]) -> Any:
        if len(children) == 1:
            return children[0]
        return tree.Alternatives(self._span(meta), tuple(children))

    def ordered(self, meta: Meta, children: list[Any]) -> tree.Modified:
        return tree.Modified(self._span(meta), "ordered", *children)

    def unordered(self, meta: Meta, children: list[Any]) -> tree.Modified:
        return tree.Modified(self._span(meta), "unordered", *children)

    def shared(self, meta: Meta, children: list[Any]) -> tree.Modified:
        return tree.Modified(self._span(meta), "shared", *children)

    def const(self, meta: Meta, children: list[Any]) -> tree.Constant:
        return tree.Constant(self._span(meta), children[0], False)

    def const_maybe(self, meta: Meta, children: list[Any]) -> tree.Constant:
        return tree.Constant(self._span(meta), children[0], True)

    def variable(self, meta: Meta, children: list[Any]) -> tree.Variable:
        return tree.Variable(self._span(meta), children[0])

    def optional_pattern(self, meta: Meta, children: list[Any]) -> tree.Optional:
        return tree.Optional(self._span(meta), *children)

    def field(self, meta: Meta, children: list[Any]) -> tree.Field:
        return tree.Field(self._span(meta), *children)

    def leaf(self, meta: Meta, children: list[Any]) -> tree.Leaf:
        return tree.Leaf(self._span(meta), children[0].text)

    def wildcard(self, meta: Meta, children: list[Any]) -> tree.Wildcard:
        return tree.Wildcard(self._span(meta))

    def literal_number(self, meta: Meta, children: list[Any]) -> tree.Literal:
        return tree.Literal(self._span(meta), _number(children[0]))

    def literal_about(self, meta: Meta, children: list[Any]) -> tree.Literal:
        return tree.Literal(self._span(meta), _number(children[0]), about=True)

    def literal_true(self, meta: Meta, children: list[Any]) -> tree.Literal:
        return tree.Literal(self._span(meta), True)

    def literal_false(self, meta: Meta, children: list[Any]) -> tree.Literal:
        return tree.Literal(self._span(meta), False)

    def call(self, meta: Meta, children: list[Any]) -> tree.Call:
        operators, arguments = children
        return tree.Call(self._span(meta), operators, arguments or ())

    def composite_call(self, meta: Meta, children: list[Any]) -> tree.CompositeCall:
        composite, arguments = children
        return tree.CompositeCall(self._span(meta), composite, arguments or ())

    def op_names(self, meta: Meta, children: list[Any]) -> tuple[tree.Identifier, ...]:
        return tuple(children)

    def dotted(self, meta: Meta, children: list[Any]) -> tree.Identifier:
        return tree.Identifier(self._span(meta), ".".join(child.text for child in children))

    def tuple_pattern(self, meta: Meta, children: list[Any]) -> tree.Tuple:
        return tree.Tuple(self._span(meta), _present(children))

    def repeat(self, meta: Meta, children: list[Any]) -> tree.Repeat:
        element, _, count = children
        return tree.Repeat(self._span(meta), element, count)

    def arguments(self, meta: Meta, children: list[Any]) -> tuple[Any, ...]:
        return tuple(children)

    def keyword(self, meta: Meta, children: list[Any]) -> tree.Keyword:
        return tree.Keyword(self._span(meta), *children)

    def rest(self, meta: Meta, children: list[Any]) -> tree.Rest:
        return tree.Rest(self._span(meta))

    def slot(self, meta: Meta, children: list[Any]) -> tree.Slot:
        name, slot = children
        return tree.Slot(self._span(meta), name.text, slot.text)

    # ---- expressions ----
    def exprs(self, meta: Meta, children: list[Any]) -> tuple[Any, ...]:
        return tuple(children)

    def conditional(self, meta: Meta, children: list[Any]) -> tree.Conditional:
        return tree.Conditional(self._span(meta), *children)

    def implies(self, meta: Meta, children: list[Any]) -> tree.Operation:
        return tree.Operation(self._span(meta), "=>", tuple(children))

    def or_(self, meta: Meta, children: list[Any]) -> tree.Operation:
        return tree.Operation(self._span(meta), "or", tuple(children))

    def and_(self, meta: Meta, children: list[Any]) -> tree.Operation:
        return tree.Operation(self._span(meta), "and", tuple(children))

    def negation(self, meta: Meta, children: list[Any]) -> tree.Operation:
        return tree.Operation(self._span(meta), "not", tuple(children))

    def compare(self, meta: Meta, children: list[Any]) -> tree.Operation:
        left, operator, right = children
        return tree.Operation(self._span(meta), str(operator), (left, right))

    def contained(self, meta: Meta, children: list[Any]) -> tree.Contained:
        return tree.Contained(self._span(meta), children[0], children[1], False)

    def not_contained(self, meta: Meta, children: list[Any]) -> tree.Contained:
        return tree.Contained(self._span(meta), children[0], children[1], True)

    def range(self, meta: Meta, children: list[Any]) -> tree.Range:
        return tree.Range(self._span(meta), *children)

    def default(self, meta: Meta, children: list[Any]) -> tree.Operation:
        return tree.Operation(self._span(meta), "??", tuple(children))

    def arithmetic(self, meta: Meta, children: list[Any]) -> Any:
        value, *rest = children
        operands = list(zip(rest[::2], rest[1::2], strict=True))
        for number, (operator, operand) in enumerate(operands, start=1):
            # The last one is the whole, with the brackets that its outer operands may have.
            whole = number == len(operands)
            span = self._span(meta) if whole else value.span.to(operand.span)
            value = tree.Operation(span, str(operator), (value, operand))
        return value

    def minus(self, meta: Meta, children: list[Any]) -> tree.Operation:
        return tree.Operation(self._span(meta), "minus", tuple(children))

    def power(self, meta: Meta, children: list[Any]) -> tree.Operation:
        return tree.Operation(self._span(meta), "**", tuple(children))

    def get(self, meta: Meta, children: list[Any]) -> tree.Get:
        return tree.Get(self._span(meta), *children)

    def index(self, meta: Meta, children: list[Any]) -> tree.Index:
        value, indices = children
        return tree.Index(self._span(meta), value, indices or ())

    def slice(self, meta: Meta, children: list[Any]) -> tree.Slice:
        return tree.Slice(self._span(meta), *children)

    def apply(self, meta: Meta, children: list[Any]) -> tree.Apply:
        function, arguments = children
        return tree.Apply(self._span(meta), function, arguments or ())

    call_arguments = arguments

    def present(self, meta: Meta, children: list[Any]) -> tree.Present:
        return tree.Present(self._span(meta), *children)

    def name(self, meta: Meta, children: list[Any]) -> tree.Name:
        return tree.Name(self._span(meta), children[0].text)

    def number(self, meta: Meta, children: list[Any]) -> tree.Value:
        return tree.Value(self._span(meta), _number(children[0]))

    def string(self, meta: Meta, children: list[Any]) -> tree.Value:
        return tree.Value(self._span(meta), children[0].text)

    def true(self, meta: Meta, children: list[Any]) -> tree.Value:
        return tree.Value(self._span(meta), True)

    def false(self, meta: Meta, children: list[Any]) -> tree.Value:
        return tree.Value(self._span(meta), False)

    def none(self, meta: Meta, children: list[Any]) -> tree.Value:
        return tree.Value(self._span(meta), None)

    def raw(self, meta: Meta, children: list[Any]) -> tree.Raw:
        return tree.Raw(self._span(meta))

    def tuple_expression(self, meta: Meta, children: list[Any]) -> tree.TupleExpression:
        first, rest = children
        return tree.TupleExpression(self._span(meta), (first, *(rest or ())))

    def list_(self, meta: Meta, children: list[Any]) -> tree.ListExpression:
        return tree.ListExpression(self._span(meta), children[0] or ())

    def set_(self, meta: Meta, children: list[Any]) -> tree.SetExpression:
        return tree.SetExpression(self._span(meta), children[0] or ())
