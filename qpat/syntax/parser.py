"""Text to syntax tree: runs the grammar and words its complaints."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from functools import lru_cache

from lark import Token
from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from qpat.diagnostics import (
    Diagnostic,
    Fix,
    Label,
    QpatError,
    did_you_mean,
    failure,
    respelt,
)
from qpat.source import Source, Span
from qpat.syntax import tree
from qpat.syntax.build import TreeBuilder
from qpat.syntax.grammar import grammar

# What to call a terminal that is not written as it is named.
_TERMINALS = {
    "NAME": "a name",
    "STRING": "a string",
    "LONGSTRING": 'a text in `"""`',
    "INT": "a whole number",
    "NUMBER": "a number",
    "SIGNED": "a number",
    "COMPARE": "a comparison",
    "ADD": "`+`",
    "MUL": "`*`",
    "REST": "`...`",
    "$END": "the end of the file",
}
ITEMS = ("compiler", "import", "option", "extern", "fragment", "pattern", "for", "test")
_STATEMENTS = ("form", "where", "let", "param", "inherit", "use", "meaning", "option")
_MANY = 6  # a longer list of expected words is no help to anybody
_COMMENT_OR_STRING = re.compile(r'"""(?:.|\n)*?"""|"[^"\n]*"|//[^\n]*')
# What these mean in other languages is written so in this one.
_ELSEWHERE = {
    "#": "a comment begins with `//`",
    "'": 'a string stands in `"`',
    "&": "write `and`",
    "!": "write `not`",
    ";": "nothing is needed between two statements",
    "^": "a power is `**`",
}
_INSTEAD = {"#": "//", "&": "and", "|": "or", "!": "not", ";": "", "^": "**"}
_NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
_LONGEST_NUMBER = 40
_CLOSES = {"(": ")", "[": "]", "{": "}"}


def parse(source: Source) -> tree.File:
    """The syntax tree of a source. Raises QpatError with the place and words of a syntax error."""
    faults = [*_control_characters(source), *_numbers(source)]
    if faults:
        raise QpatError(faults)
    try:
        parsed = grammar().parse(source.text)
        return TreeBuilder(source, _comments(source)).transform(parsed)
    except UnexpectedInput as error:
        raise QpatError([_syntax_error(source, error)]) from None
    except RecursionError:
        raise too_deep(source) from None


def too_deep(source: Source) -> QpatError:
    """What is said where Python's stack is not deep enough for a text."""
    message = "something in here is nested too deeply, or a chain of names is too long"
    hint = "split it into patterns, or give its parts names"
    return failure("QP005", message, place=source.name, hint=hint)


def _control_characters(source: Source) -> Iterator[Diagnostic]:
    """They would end up in messages and in generated modules, where they do harm."""
    for match in re.finditer(r"[^\S\n\t ]|[\x00-\x08\x0e-\x1f\x7f\u2028\u2029]", source.text):
        message = f"the character U+{ord(match[0]):04X} cannot stand in a .qpat file"
        yield Diagnostic("QP001", message, Span(source, *match.span()))


def _numbers(source: Source) -> Iterator[Diagnostic]:
    text = blanked(source)
    for match in _NUMBER.finditer(text):
        span = Span(source, *match.span())
        if len(match[0]) > _LONGEST_NUMBER or math.isinf(float(match[0])):
            yield Diagnostic("QP006", "this number is too large", span)
        elif text[match.end() : match.end() + 1].isidentifier():
            message = "a number ends here and a word begins"
            hint = "numbers are decimal, such as 12, 0.5 or 1e-3; put a blank between them"
            yield Diagnostic("QP006", message, span, hint=hint)


def blanked(source: Source) -> str:
    """The text with comments and strings blanked out, everything else in its place."""

    def blanks(match: re.Match[str]) -> str:
        return re.sub(r"[^\n]", " ", match[0])

    return _COMMENT_OR_STRING.sub(blanks, source.text)


def _comments(source: Source) -> list[tree.Text]:
    found = _COMMENT_OR_STRING.finditer(source.text)
    spans = (Span(source, *match.span()) for match in found if match[0].startswith("//"))
    return [tree.Text(span, span.text) for span in spans]


# ---- wording -----------------------------------------------------------------


def _syntax_error(source: Source, error: UnexpectedInput) -> Diagnostic:
    if isinstance(error, UnexpectedCharacters):
        return _unexpected_character(source, error)
    assert isinstance(error, UnexpectedToken)
    if error.token.type == "$END":
        return _unexpected_end(source, error)
    return _unexpected_token(source, error)


def _unexpected_character(source: Source, error: UnexpectedCharacters) -> Diagnostic:
    start = error.pos_in_stream or 0
    character = source.text[start]
    span = Span(source, start, start + 1)
    if character == '"':
        line_end = source.text.find("\n", start)
        end = len(source.text) if line_end < 0 else line_end
        hint = 'close it with `"`; a string stands on one line and holds no quotes'
        return Diagnostic(
            "QP002", "this string has no end", Span(source, start, max(end, start + 1)), hint=hint
        )
    expected = _ELSEWHERE.get(character) or _expected(error.allowed or set())
    fix = _instead(span) if character in _ELSEWHERE else None
    message = f"`{character}` means nothing in qpat"
    if character.isalnum() or character in "_.<>=+-*/%(){}[],:?|!":
        message = f"`{character}` cannot stand here"
    return Diagnostic("QP001", message, span, hint=expected, fix=fix)


def _instead(span: Span) -> Fix | None:
    """The fix for what another language writes, set apart from the words around it."""
    text, character = span.source.text, span.text
    if character == "'":
        quoted = re.compile(r"'([^'\"\n]*)'").match(text, span.start)
        whole = Span(span.source, *quoted.span()) if quoted is not None else None
        return Fix(whole, f'"{quoted[1]}"') if quoted is not None and whole is not None else None
    end = span.end + (text[span.end : span.end + 1] == character)  # also `&&`
    before = "" if text[span.start - 1 : span.start].isspace() else " "
    behind = "" if text[end : end + 1].isspace() else " "
    word = _INSTEAD[character]
    if word.isalpha():
        word = f"{before}{word}{behind}"
    elif not word:
        word = before and behind
    return Fix(Span(span.source, span.start, end), word)


def _unexpected_end(source: Source, error: UnexpectedToken) -> Diagnostic:
    end = len(blanked(source).rstrip())
    span = Span(source, max(0, end - 1), end)
    opener = _unclosed(source, end)
    if opener is None:
        message = "the file ends in the middle of something"
        return Diagnostic("QP003", message, span, hint=_expected(_accepted(error)))
    return _not_closed(source, opener, span, "the file ends")


def _not_closed(source: Source, opener: int, span: Span, what: str) -> Diagnostic:
    character = source.text[opener]
    label = Label(Span(source, opener, opener + 1), f"this `{character}` is not closed")
    hint = f"write `{_CLOSES[character]}` where it ends"
    message = f"{what} before `{_CLOSES[character]}`"
    return Diagnostic("QP003", message, span, hint=hint, others=(label,))


def _accepted(error: UnexpectedToken) -> set[str]:
    """What really could stand there: `expected` also names what leads nowhere from here."""
    return set(error.accepts or error.expected)


def _unclosed(source: Source, end: int) -> int | None:
    """Offset of the innermost bracket that is still open at `end`."""
    open_at: list[int] = []
    for offset, character in enumerate(blanked(source)[:end]):
        if character in _CLOSES:
            open_at.append(offset)
        elif character in _CLOSES.values() and open_at:
            open_at.pop()
    return open_at[-1] if open_at else None


def _unexpected_token(source: Source, error: UnexpectedToken) -> Diagnostic:
    token, expected = error.token, _accepted(error)
    assert token.start_pos is not None and token.end_pos is not None
    span = Span(source, token.start_pos, token.end_pos)
    before = error.token_history[-1] if error.token_history else None
    if before is not None and before.start_pos is not None and before.end_pos is not None:
        word = Span(source, before.start_pos, before.end_pos)
        opener = _unclosed(source, word.start)
        if before.type == "NAME" and str(before) in ITEMS and opener is not None:
            return _not_closed(source, opener, word, f"a `{before}` begins")
        if hint := _misspelt(before, token, expected):
            message, fix = f"`{before}` starts no statement", respelt(word, before, _STATEMENTS)
            return Diagnostic("QP001", message, word, hint=hint, fix=fix)
    message, fix = f"`{_shortened(token)}` cannot stand here", None
    if "COMPILER" in expected:
        fix = respelt(span, str(token), ITEMS)
    elif str(token) == "|" and "OR" in expected:
        fix = _instead(span)
    return Diagnostic("QP001", message, span, hint=_token_hint(token, expected), fix=fix)


def _token_hint(token: Token, expected: set[str]) -> str | None:
    if "COMPILER" in expected:
        return did_you_mean(str(token), ITEMS) or f"here stands one of {', '.join(ITEMS)}"
    if token.type == "COMPARE":
        return "compare twice with `and`, or write a range: `k in 1..4`"
    if str(token) == "|" and "OR" in expected:
        return "write `or`"
    is_word = token.type != "NAME" and str(token).isidentifier()
    if is_word and "NAME" in expected:
        return f"`{token}` is a word of the language; take another name"
    return _expected(expected)


def _shortened(token: Token) -> str:
    first = str(token).splitlines()[0]
    return first if len(first) <= 40 else f"{first[:39]}…"


def _misspelt(before: Token, token: Token, expected: set[str]) -> str | None:
    """A hint where the word before was taken for a name but looks like a keyword (`wher x > 1`)."""
    if before.type != "NAME" or token.type not in ("NAME", "STRING", "SIGNED", "NUMBER", "INT"):
        return None
    if not {"EQUAL", "COMMA"} & set(expected):
        return None
    return did_you_mean(str(before), _STATEMENTS)


def _expected(terminals: set[str]) -> str | None:
    names = set(terminals)
    if "FORM" in names and "WHERE" in names:
        words = ", ".join(_STATEMENTS)
        return f"a statement is `name = …`, or starts with one of {words}"
    if {"NAME", "LPAR", "NUMBER"} <= names or {"NAME", "LPAR", "SIGNED"} <= names:
        return "expected a value"
    # After a complete value nearly everything may follow; naming operators says nothing.
    names -= {"VBAR", "QMARK", "LSQB", "DOT", "REST", "ADD", "MUL", "MINUS", "COMPARE"}
    shown = sorted({_terminal(name) for name in names or terminals})
    if not shown or len(shown) > _MANY:
        return None
    return "expected " + (
        " or ".join((", ".join(shown[:-1]), shown[-1])) if shown[1:] else shown[0]
    )


@lru_cache(maxsize=128)
def _terminal(name: str) -> str:
    if name in _TERMINALS:
        return _TERMINALS[name]
    for terminal in grammar().terminals:
        if terminal.name == name and terminal.pattern.type == "str":
            return f"`{terminal.pattern.value}`"
    return name.lower()
