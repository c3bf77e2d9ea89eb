"""Text to syntax tree: runs the grammar and words its complaints."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import chain, islice

from lark import Token, Tree
from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from qpat.diagnostics import (
    MOST_REPORTS,
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
from qpat.syntax.tokens import Token as Word
from qpat.syntax.tokens import tokens_of

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
STATEMENTS = ("form", "where", "let", "param", "inherit", "use", "meaning", "option")
_MANY = 6  # a longer list of expected words is no help to anybody
_CONTROL_CHARACTER = re.compile(r"[^\S\n\t ]|[\x00-\x08\x0e-\x1f\x7f\u2028\u2029]")
_COMMENT_OR_STRING = re.compile(r'"""(?:.|\n)*?"""|"[^"\n]*"?|//[^\n]*')
# What these mean in other languages is written so in this one.
_ELSEWHERE = {
    "#": "a comment begins with `//`",
    "'": 'a string stands in `"`',
    "&": "write `and`",
    "!": "write `not`",
    ";": "nothing is needed between two statements",
    "^": "a power is `**`",
}
# Words that other languages begin a statement with, or go on with behind a value.
_FOREIGN = {
    "assert": 'what must hold is `where … else "reason"`',
    "and": "what must hold as well is a `where` of its own",
    "def": "a pattern is `pattern name(x: int8) -> y: int8 { … }`",
    "if": 'what must hold is `where … else "reason"`; a value is `if c then a else b`',
    "is": "write `==`",
    "optional": "what may be missing has a `?`: `f(a)?`",
    "or": "alternatives are `f(a) | g(a)`",
    "require": 'what must hold is `where … else "reason"`',
    "return": "bind the output by its name: `y = …`",
    "unless": 'what must hold is `where not … else "reason"`',
    "when": 'what must hold is `where … else "reason"`',
}
_INSTEAD = {"#": "//", "&": "and", "|": "or", "!": "not", ";": "", "^": "**"}
_NUMBER = re.compile(r"(?:(?<![\w.])|(?<=\.\.))\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
_LONGEST_NUMBER = 40
_CLOSES = {"(": ")", "[": "]", "{": "}"}
_DEEPEST = 200  # brackets in brackets that are still told apart


def parse(source: Source) -> tree.File:
    """The syntax tree of a source. Raises QpatError with the place and words of a syntax error."""
    if faults := letter_faults(source):
        raise QpatError(faults)
    try:
        return TreeBuilder(source, comments(source)).transform(lark_tree(source.text))
    except UnexpectedInput as error:
        raise QpatError([syntax_error(source, error)]) from None
    except RecursionError:
        raise too_deep(source) from None


def lark_tree(text: str, rule: str = "start") -> Tree[Token]:
    """What lark makes of a text (`rule` may be "block", too). Raises UnexpectedInput."""
    return grammar().parse(text, start=rule)


def letter_faults(source: Source) -> list[Diagnostic]:
    """What is wrong with characters and numbers wherever they stand, as far as it is shown."""
    found = chain(_control_characters(source), _numbers(source))
    return sorted(islice(found, MOST_REPORTS + 1), key=Diagnostic.sort_key)


def too_deep(source: Source) -> QpatError:
    """What is said where Python's stack is not deep enough for a text."""
    message = "something in here is nested too deeply, or a chain of names is too long"
    hint = "split it into patterns, or give its parts names"
    return failure("QP005", message, place=source.name, hint=hint)


def without_control_characters(text: str) -> str:
    """The text with a blank in the place of each, which is at fault wherever it stands."""
    return _CONTROL_CHARACTER.sub(" ", text)


def _control_characters(source: Source) -> Iterator[Diagnostic]:
    """They would end up in messages and in generated modules, where they do harm."""
    for match in _CONTROL_CHARACTER.finditer(source.text):
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


def comments(source: Source) -> list[tree.Text]:
    found = _COMMENT_OR_STRING.finditer(source.text)
    spans = (Span(source, *match.span()) for match in found if match[0].startswith("//"))
    return [tree.Text(span, span.text) for span in spans]


# ---- wording -----------------------------------------------------------------


def syntax_error(source: Source, error: UnexpectedInput, piece: Span | None = None) -> Diagnostic:
    """What is wrong, in words. `piece` is the part of the source that was parsed by itself."""
    if isinstance(error, UnexpectedCharacters):
        return _unexpected_character(source, error)
    assert isinstance(error, UnexpectedToken)
    whole = piece or Span(source, 0, len(source.text))
    end = whole.end if error.token.type == "$END" else min(whole.end, error.token.start_pos or 0)
    opener = _unclosed(whole, end)
    if opener is not None:
        return not_closed(opener)
    if end == whole.end:
        return _incomplete(whole, error)
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


def _incomplete(piece: Span, error: UnexpectedToken) -> Diagnostic:
    end = piece.start + len(blanked(piece.source)[piece.start : piece.end].rstrip())
    span = Span(piece.source, max(0, end - 1), end)
    word = re.search(r"\b[a-z]+$", piece.source.text[piece.start : end])
    if word is not None and word[0] in _FOREIGN and {"EQUAL", "COMMA"} & _accepted(error):
        return _foreign(Span(piece.source, piece.start + word.start(), end))
    what = "the file" if piece.end == len(piece.source.text) else "this"
    message = f"{what} ends in the middle of something"
    return Diagnostic("QP003", message, span, hint=_expected(_accepted(error)))


def not_closed(opener: Span, behind: Span | None = None) -> Diagnostic:
    """What is said of a bracket without a partner; `behind` is what begins where that should be."""
    hint = f"write `{_CLOSES[opener.text]}` where it ends"
    message = f"this `{opener.text}` is not closed"
    others = (Label(behind, f"a `{behind.text}` begins here"),) if behind is not None else ()
    return Diagnostic("QP003", message, opener, hint=hint, others=others)


def _accepted(error: UnexpectedToken) -> set[str]:
    """What really could stand there: `expected` also names what leads nowhere from here."""
    return set(error.accepts or error.expected)


def _unclosed(piece: Span, end: int) -> Span | None:
    """The innermost bracket that stands before `end` and is closed nowhere in the piece."""
    still_open: list[Word] = []
    unclosed: list[Word] = []
    for token in tokens_of(piece.text):
        if token.text in _CLOSES:
            still_open.append(token)
        elif token.text in [_CLOSES[each.text] for each in still_open[-_DEEPEST:]]:
            while _CLOSES[still_open[-1].text] != token.text:
                unclosed.append(still_open.pop())
            still_open.pop()
    starts = [piece.start + token.start for token in (*unclosed, *still_open)]
    start = max((start for start in starts if start < end), default=None)
    return None if start is None else Span(piece.source, start, start + 1)


def _unexpected_token(source: Source, error: UnexpectedToken) -> Diagnostic:
    token, expected = error.token, _accepted(error)
    assert token.start_pos is not None and token.end_pos is not None
    span = Span(source, token.start_pos, token.end_pos)
    before = error.token_history[-1] if error.token_history else None
    if before is not None and before.start_pos is not None and before.end_pos is not None:
        word = Span(source, before.start_pos, before.end_pos)
        if before in _FOREIGN and {"EQUAL", "COMMA"} & expected:
            return _foreign(word)
        for known in (("else",), STATEMENTS) if token.type == "STRING" else (STATEMENTS,):
            if hint := _misspelt(before, token, expected, known):
                message, fix = f"`{before}` starts no statement", respelt(word, before, known)
                return Diagnostic("QP001", message, word, hint=hint, fix=fix)
    message, fix = f"`{_shortened(token)}` cannot stand here", None
    if "COMPILER" in expected:
        fix = respelt(span, str(token), ITEMS)
    elif str(token) == "|" and "OR" in expected:
        fix = _instead(span)
    elif token.type == "NAME" and expected == {"STRING"}:
        fix = Fix(span, f'"{token}"')
    hint = _attribute_hint(source, span) or _token_hint(token, expected)
    return Diagnostic("QP001", message, span, hint=hint, fix=fix)


def _foreign(word: Span) -> Diagnostic:
    message = f"`{word.text}` cannot stand here"
    return Diagnostic("QP001", message, word, hint=_FOREIGN[word.text])


def _attribute_hint(source: Source, span: Span) -> str | None:
    """A hint where an attribute is given what is calculated: `channels=w.shape[3]`."""
    if span.text[:1] not in "[+-*/":
        return None
    before = re.search(r"(\w+)=\w+\.\w+$", source.text[: span.start])
    if before is None:
        return None
    return (
        "an attribute is compared with a constant here, and with all else in a `where`: "
        f"`acc.attrs.{before[1]} == …`"
    )


def _token_hint(token: Token, expected: set[str]) -> str | None:
    if "COMPILER" in expected:
        return did_you_mean(str(token), ITEMS) or f"here stands one of {', '.join(ITEMS)}"
    if token.type == "COMPARE":
        return "compare twice with `and`, or write a range: `k in 1..4`"
    if str(token) == "|" and "OR" in expected:
        return "write `or`"
    if token.type == "EQUAL" and "COMPARE" in expected:
        return "two values are compared with `==`"
    if [_terminal(name) for name in expected] == ["`->`"]:
        return "name the output: `-> y: int8`"
    if str(token) == "*" and "UNDERSCORE" in expected:
        return "any value is `_`"
    is_word = token.type != "NAME" and str(token).isidentifier()
    if is_word and "NAME" in expected:
        return f"`{token}` is a word of the language; take another name"
    return _expected(expected)


def _shortened(token: Token) -> str:
    first = str(token).splitlines()[0]
    return first if len(first) <= 40 else f"{first[:39]}…"


def _misspelt(
    before: Token, token: Token, expected: set[str], known: tuple[str, ...]
) -> str | None:
    """A hint where the word before was taken for a name but looks like a keyword (`wher x > 1`)."""
    if before.type != "NAME" or token.type not in ("NAME", "STRING", "SIGNED", "NUMBER", "INT"):
        return None
    if not {"EQUAL", "COMMA"} & set(expected):
        return None
    return did_you_mean(str(before), known)


def _expected(terminals: set[str]) -> str | None:
    names = set(terminals)
    if "FORM" in names and "WHERE" in names:
        words = ", ".join(STATEMENTS)
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
