"""The outline of a text that does not parse: its items, their blocks and their statements.

Nothing in the language depends on newlines, but people write one statement a line. So a statement
ends where the next one begins: where a word stands behind a complete value, or where a line begins
as only a statement does. An item ends where a line begins as only an item does. An unclosed bracket
hides neither. Where the braces of an item do not pair, indentation says which of them is at fault.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import takewhile

from qpat.syntax.parser import ITEMS, STATEMENTS
from qpat.syntax.tokens import BEHIND_VALUES, Token

_MOST_NAMES = 32  # on the left of one `=`, as far as it is looked for
_DEEPEST = 200  # brackets in brackets that are still told apart
_OF_STATEMENTS = ("pattern", "fragment", "form")
_WITH_BLOCK = (*_OF_STATEMENTS, "for")
_WITH_EQUALS = ("bind", "let", "param", "meaning", "option")
_CONSTANT = re.compile(r"\bconst\s*\??\s*([A-Za-z_]\w*)")
# What stands behind the name that these words have behind them.
_BEHIND_NAMES = {
    "let": ("=", "."),
    "meaning": ("=", "..."),
    "option": ("=", ":"),
    "param": ("=", ":", ","),
    "form": ("{", "on"),
}
_PAIRS = {")": "(", "]": "[", "}": "{"}


@dataclass
class Part:
    """An item or a statement. `tokens` are its own, `parts` those in its block.

    `kind` is the keyword it begins with, or was meant to; "#" for a comment as in other languages,
    "bind" for another statement that has none, "" for an item. `brackets` are open while it is
    read. Where its block `is_unclosed`, a `}` is missing before the token `behind`, or at the end.
    """

    kind: str
    is_item: bool
    tokens: list[Token] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    brackets: list[str] = field(default_factory=list)
    has_block: bool = False
    opener: Token | None = None  # of its block, where that has a `{`
    is_unclosed: bool = False
    behind: Token | None = None
    end: int = 0

    @property
    def start(self) -> int:
        return self.tokens[0].start

    @property
    def indent(self) -> int:
        return self.tokens[0].indent

    @property
    def own_end(self) -> int:
        """Where its own text ends: the header of its block, or the whole."""
        return self.tokens[-1].end

    def walk(self) -> Iterator[Part]:
        """The part and all parts in it, outer ones first."""
        waiting = [self]
        while waiting:
            part = waiting.pop()
            yield part
            waiting += reversed(part.parts)


# ---- what a broken part binds ----------------------------------------------------------


def names_bound(part: Part) -> tuple[str, ...] | None:
    """The names that a part probably binds; None where that cannot be told."""
    own = _own_names(part)
    is_nameless = part.kind == "bind" and any(token.text == "=" for token in part.tokens)
    if not own and (is_nameless or part.kind in ("use", "import")):
        return None
    names = [*own, *_constants(part.tokens)]
    for each in part.walk() if part.kind == "form" else ():
        names += (*_own_names(each), *_constants(each.tokens))
    return tuple(dict.fromkeys(names))


def _own_names(part: Part) -> list[str]:
    words = [token.text for token in part.tokens if token.is_word]
    if part.kind in ("extern", "form", "fragment", "pattern", ""):
        return words[1:2]
    if part.kind == "import":
        return words[-1:] if "as" in words else []
    if part.kind == "inherit":
        return words[1:]
    if part.kind in _WITH_EQUALS:
        return _left(part.tokens[part.tokens[0].text == part.kind :])
    return []


def _left(tokens: list[Token]) -> list[str]:
    """The words on the left of `=`; the first ones, with commas between, where there is none."""
    left = list(takewhile(lambda token: token.text not in ("=", "(", "{"), tokens))
    if len(left) < len(tokens) and tokens[len(left)].text == "=":
        return [token.text for token in left if token.is_word]
    names = takewhile(lambda i: i == 0 or left[i - 1].text == ",", range(0, len(left), 2))
    return [left[i].text for i in names if left[i].is_word]


def _constants(tokens: list[Token]) -> list[str]:
    """The names behind `const`, which may be bound by standing there; also in a string without an
    end, which is more than what was meant to be one."""
    return _CONSTANT.findall(" ".join(token.text for token in tokens))


# ---- groups ------------------------------------------------------------------------------


def outline(tokens: list[Token]) -> Iterator[list[Part]]:
    """The items of a text in groups that brackets cannot reach out of: what begins at the margin
    as an item does is one, whatever is open above it."""
    starts = [index for index in _margins(tokens) if index]
    for start, end in zip([0, *starts], [*starts, len(tokens)], strict=True):
        yield _Reader(tokens[start:end], tokens[end] if end < len(tokens) else None).read()


def _margins(tokens: list[Token]) -> Iterator[int]:
    depth, is_flat_family = 0, False
    for index, token in enumerate(tokens):
        if _is_at_margin(tokens, index) and not (is_flat_family and depth > 0):
            yield index
            depth, is_flat_family = 0, token.text == "for" and _is_flat(tokens, index)
        depth += (token.text == "{") - (token.text == "}")


def _is_at_margin(tokens: list[Token], index: int) -> bool:
    token = tokens[index]
    if not token.is_first or token.indent or token.text == "option":
        return False
    if token.text in ITEMS:
        return not _is_any(tokens, index + 1, "=", ",", "...", ".")
    is_shaped = any(_is_item(tokens, index, word) for word in ("compiler", "pattern", "for"))
    return token.is_word and is_shaped and _meant(token.text, ITEMS) != ""


def _is_flat(tokens: list[Token], index: int) -> bool:
    """Whether the items of a family begin at the margin, too."""
    while index + 1 < len(tokens) and tokens[index].text != "{":
        index += 1
    return index + 1 < len(tokens) and _is_at_margin(tokens, index + 1)


# ---- words in their places -----------------------------------------------------------------


def _is_any(tokens: list[Token], index: int, *texts: str) -> bool:
    return index < len(tokens) and tokens[index].text in texts


def _is_word(tokens: list[Token], index: int) -> bool:
    return index < len(tokens) and tokens[index].is_word


def _binds(tokens: list[Token], index: int) -> bool:
    """`a =`, `a, b =` or `a... =`."""
    for _ in range(_MOST_NAMES):
        if not _is_word(tokens, index):
            return False
        index += 2 if _is_any(tokens, index + 1, "...") else 1
        if not _is_any(tokens, index, ","):
            return _is_any(tokens, index, "=")
        index += 1
    return False


def _is_statement(tokens: list[Token], index: int) -> bool:
    """Whether this can be nothing but a keyword with what belongs to it."""
    word = tokens[index].text
    if word not in STATEMENTS or index + 1 == len(tokens):
        return False
    behind = tokens[index + 1]
    if word == "where" and (behind.kind in ("number", "string") or behind.text in ("not", "[")):
        return True
    return behind.is_word and behind.text not in BEHIND_VALUES


def _is_item(tokens: list[Token], index: int, word: str) -> bool:
    """Whether this can be nothing but the keyword `word` with what belongs to it."""
    if word in ("compiler", "import", "test"):
        return index + 1 < len(tokens) and tokens[index + 1].kind == "string"
    if word not in ("extern", "fragment", "pattern", "for") or not _is_word(tokens, index + 1):
        return False
    return _is_any(tokens, index + 2, *(("in", ",") if word == "for" else ("(",)))


@lru_cache(maxsize=1024)
def _meant(word: str, known: tuple[str, ...]) -> str:
    """The keyword that a word was meant to be, or nothing. Statements may well begin with a name,
    so there it has to be nearer."""
    if word in ITEMS or word in STATEMENTS or len(word) > 12:
        return ""
    import difflib  # here, because a file without faults needs none of it

    near = difflib.get_close_matches(word, known, n=1, cutoff=0.75 if known is STATEMENTS else 0.6)
    return near[0] if near else ""


# ---- parts -----------------------------------------------------------------------------------


class _Reader:
    """Reads the parts of one group."""

    def __init__(self, tokens: list[Token], behind: Token | None) -> None:
        self.tokens = tokens
        self.behind = behind
        self.file = Part("file", True)
        self.blocks = [self.file]
        self.piece: Part | None = None  # what is being read
        braces = [token.text for token in tokens if token.text in ("{", "}")]
        surplus = 2 * braces.count("{") - len(braces)
        self.missing, self.excess = max(0, surplus), max(0, -surplus)

    def read(self) -> list[Part]:
        for index, token in enumerate(self.tokens):
            self._read(index, token)
        self._finish()
        while len(self.blocks) > 1:
            self._leave(self.behind)
        return self.file.parts

    def _read(self, index: int, token: Token) -> None:
        if self._is_item(index, token):
            self._finish()
            while self._in_statements():
                self._leave(token)
        elif token.text == "}" and self._ends_block(index, token):
            self._finish()
            self._end_block(token)
            return
        elif self.piece is not None and self._begins(self.piece, index, token):
            self._finish(token)
            self._leave_form(token)
        if self.piece is None:
            self.piece = Part(self._kind(index), not self._in_statements())
        self._take(self.piece, token)

    def _take(self, piece: Part, token: Token) -> None:
        piece.tokens.append(token)
        if token.text == "{" and piece.kind in _WITH_BLOCK and "{" not in piece.brackets:
            self._enter(piece, token)
        elif token.text in _PAIRS.values() and len(piece.brackets) < _DEEPEST:
            piece.brackets.append(token.text)
        elif _PAIRS.get(token.text) in piece.brackets:
            while piece.brackets.pop() != _PAIRS[token.text]:
                pass  # not closed

    def _in_statements(self) -> bool:
        return self.blocks[-1].kind in _OF_STATEMENTS

    def _kind(self, index: int) -> str:
        word = self.tokens[index].text
        if not self._in_statements():
            return word if word in ITEMS else _meant(word, ITEMS)
        if word in STATEMENTS or word == "#":
            return word
        guess = "" if _binds(self.tokens, index) else _meant(word, STATEMENTS)
        signs = _BEHIND_NAMES.get(guess)
        is_fit = guess != "" and (signs is None or _is_any(self.tokens, index + 2, *signs))
        return guess if is_fit else "bind"

    # ---- where a part ends -------------------------------------------------------------------
    def _finish(self, behind: Token | None = None) -> None:
        """Ends what is being read. A header without a `{` has its block all the same, where what
        stands behind it is a statement of it."""
        piece, self.piece = self.piece, None
        if piece is None:
            return
        is_deeper = behind is not None and behind.is_first and behind.indent > piece.indent
        is_header = piece.kind in ("pattern", "fragment") or piece.kind == "form" and is_deeper
        if behind is not None and is_header:
            self._enter(piece, None)
            return
        piece.end = piece.own_end
        self.blocks[-1].parts.append(piece)

    def _enter(self, part: Part, opener: Token | None) -> None:
        self.piece = None
        part.has_block, part.opener = True, opener
        if opener is None:  # and so there is a `}` less too many
            self.missing += self.excess <= 0
            self.excess -= 1
        self.blocks[-1].parts.append(part)
        self.blocks.append(part)

    def _leave(self, behind: Token | None) -> None:
        """Ends a block that has no `}`."""
        part = self.blocks.pop()
        part.end = part.parts[-1].end if part.parts else part.own_end
        self.missing -= 1
        part.is_unclosed, part.behind = part.opener is not None, behind

    def _leave_form(self, token: Token) -> None:
        """Ends a form without a `}` where a statement begins that is indented like the form."""
        form = self.blocks[-1]
        is_left = form.kind == "form" and token.is_first and token.indent <= form.indent
        if is_left and (self.missing > 0 or form.opener is None):
            self._leave(token)

    def _end_block(self, token: Token) -> None:
        """Ends a block at its `}`, and those in it whose own is missing: the indentation says."""
        while len(self.blocks) > 2 and self.missing > 0 and token.is_first:
            if not self.blocks[-2].indent <= token.indent < self.blocks[-1].indent:
                break
            self._leave(token)
        self.blocks.pop().end = token.end

    def _ends_block(self, index: int, token: Token) -> bool:
        """Whether a `}` ends a block, and not a set or nothing."""
        block = self.blocks[-1]
        if block is self.file:
            return False
        is_in_place = token.is_first and token.indent <= block.indent
        if self.piece is not None and "{" in self.piece.brackets:
            return self.missing > 0 and is_in_place
        if is_in_place or token.line == block.tokens[-1].line:
            return True
        if self.excess > 0:
            self.excess -= 1
            return False
        if self._may_follow(block, index + 1):
            return True
        self.missing += 1  # it has no partner, so the braces pair because another is missing
        return False

    def _may_follow(self, block: Part, index: int) -> bool:
        """Whether what stands there can stand behind a block."""
        if index == len(self.tokens) or self.tokens[index].text == "}":
            return True
        word = self.tokens[index].text
        if block.is_item:
            return word in ITEMS or _meant(word, ITEMS) != ""
        return self.tokens[index].is_word

    # ---- where a part begins -----------------------------------------------------------------
    def _is_item(self, index: int, token: Token) -> bool:
        if not _is_item(self.tokens, index, token.text):
            return False
        is_open = self.piece is not None and bool(self.piece.brackets)
        return token.is_first or (not is_open and self.tokens[index - 1].ends_value)

    def _begins(self, piece: Part, index: int, token: Token) -> bool:
        if self._in_statements():
            return self._begins_statement(piece, index, token)
        if piece.kind in ("pattern", "fragment") and token.is_first:
            is_statement = _is_statement(self.tokens, index) or _binds(self.tokens, index)
            is_deeper = len(piece.tokens) > 2 and token.indent > piece.indent
            return is_statement or (is_deeper and self._stands_apart(piece, index, token))
        if token.text == "option" and _is_statement(self.tokens, index) and not piece.brackets:
            return self.tokens[index - 1].ends_value
        stands_apart = self._stands_apart(piece, index, token)
        return stands_apart and (piece.kind != "" or _meant(token.text, ITEMS) != "")

    def _begins_statement(self, piece: Part, index: int, token: Token) -> bool:
        before = self.tokens[index - 1]
        is_alone = len(piece.tokens) == 1 and before.text in STATEMENTS
        is_behind_value = before.ends_value and not is_alone
        if _is_statement(self.tokens, index):
            return token.is_first or is_behind_value
        if not token.is_word or (piece.brackets and not token.is_first):
            return False
        is_where = token.text == "where"
        if not is_where and not _binds(self.tokens, index):
            return self._stands_apart(piece, index, token)
        if before.text == "," and all(each.is_word for each in piece.tokens[:_MOST_NAMES:2]):
            return False  # `a,` on one line and `b = …` on the next
        if piece.brackets or not is_behind_value:
            return token.is_first and token.indent <= piece.indent
        is_single = is_where or _is_any(self.tokens, index + 1, "=")
        return token.is_first or (is_single and _is_complete(piece))

    def _stands_apart(self, piece: Part, index: int, token: Token) -> bool:
        """Whether a word begins a line behind a complete value: no value goes on like that."""
        is_word = token.is_word and token.text not in BEHIND_VALUES
        if not is_word or not token.is_first or not self.tokens[index - 1].ends_value:
            return False
        return not piece.brackets or token.indent <= piece.indent


def _is_complete(piece: Part) -> bool:
    """Whether another statement may follow it in its line."""
    return piece.kind not in _WITH_EQUALS or any(token.text == "=" for token in piece.tokens)
