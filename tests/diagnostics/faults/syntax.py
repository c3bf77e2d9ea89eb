"""Faults of the syntax: what cannot be read."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from qpat.syntax import tree
from tests.diagnostics.faults.places import FORMS, ITEM, STRUCTURE, Fault, Unit


def _broken(unit: Unit, start: int, end: int, text: str, *codes: str) -> Fault:
    node = unit.node
    hurts: set[str] = set()
    if isinstance(node, tree.Bind):
        hurts = {STRUCTURE, *(f"call {name}" for name in unit.outs)}
    elif isinstance(node, tree.Form):
        binds = [each for each in node.block.statements if isinstance(each, tree.Bind)]
        hurts = {STRUCTURE, FORMS, *(f"call {out.name}" for bind in binds for out in bind.outs)}
    elif isinstance(node, tree.Pattern | tree.Family):
        hurts = {ITEM}
    return Fault(unit, start, end, text, frozenset(codes), frozenset(hurts))


# ---- one word is another -----------------------------------------------------------------


def _closing(word: str) -> str | None:
    return "" if word in (")", "]") else None


def _opening(word: str) -> str | None:
    return " " if word in ("(", "[") else None


def _wrong_bracket(word: str) -> str | None:
    return {")": "]", "]": ")"}.get(word)


def _number(word: str) -> str | None:
    return "0x1F" if word.isdigit() else None


def _large_number(word: str) -> str | None:
    return "1e999" if word.isdigit() else None


def _single_quotes(word: str) -> str | None:
    return f"'{word[1:-1]}'" if word.startswith('"') else None


_WORDS: dict[str, tuple[Callable[[str], str | None], tuple[str, ...]]] = {
    "closing bracket is missing": (_closing, ("QP003", "QP001")),
    "opening bracket is missing": (_opening, ("QP001", "QP003")),
    "bracket is closed by another": (_wrong_bracket, ("QP003", "QP001")),
    "comma is missing": ({",": ""}.get, ("QP001", "QP003")),
    "comma stands twice": ({",": ",,"}.get, ("QP001",)),
    "arrow is missing": ({"->": ""}.get, ("QP001",)),
    "quotes are single": (_single_quotes, ("QP001",)),
    "number is hexadecimal": (_number, ("QP006",)),
    "number is too large": (_large_number, ("QP006",)),
    "comparison is an assignment": ({"==": "="}.get, ("QP001",)),
    "comparison is turned": ({"<=": "=<"}.get, ("QP001",)),
    "`and` is that of C": ({"and": "&&"}.get, ("QP001",)),
    "`not` is that of C": ({"not": "!"}.get, ("QP001",)),
}
_IN_STATEMENTS = {
    "closing brace of a set is missing": ({"}": ""}.get, ("QP003", "QP001")),
    "opening brace of a set is missing": ({"{": ""}.get, ("QP001", "QP003")),
}


def _changed_words(unit: Unit) -> Iterable[tuple[str, Fault]]:
    kinds = _WORDS if unit.is_header else {**_WORDS, **_IN_STATEMENTS}
    for token in unit.tokens():
        for kind, (change, codes) in kinds.items():
            text = change(token[0])
            # `(a,)`, a comma at the end of a line, a call `a (b, c)`, and `a [b]` are other cases.
            is_fit = token[0] != "," or re.match(r" (?![(\[])", unit.text[token.end() :])
            if text is not None and is_fit:
                yield kind, _broken(unit, *token.span(), text, *codes)


# ---- what stands at the end ----------------------------------------------------------------


def _behind(unit: Unit) -> Iterable[tuple[str, Fault]]:
    if unit.text[unit.end : unit.end + 1] == "\n":
        text = "  # as it should be"
        yield "comment is that of Python", _broken(unit, unit.end, unit.end, text, "QP001")
    if not unit.is_header:
        semicolon = _broken(unit, unit.end, unit.end, ";", "QP001")
        yield "semicolon stands at the end", semicolon
        yield "bracket closes nothing", _broken(unit, unit.end, unit.end, ")", "QP001")


def _strings(unit: Unit) -> Iterable[tuple[str, Fault]]:
    for token in unit.tokens():
        # Not where the line holds another string, whose quotes would then pair the wrong way.
        rest = unit.text[token.end() :].partition("\n")[0]
        if token[0].startswith('"') and '"' not in rest:
            fault = _broken(unit, token.end() - 1, token.end(), "", "QP002")
            yield "string has no end", fault


# ---- statements and headers ------------------------------------------------------------------


def _equals(unit: Unit) -> Iterable[tuple[str, Fault]]:
    if isinstance(unit.node, tree.Bind | tree.Let | tree.Param):
        equals = next(unit.tokens("="))
        yield "`=` is missing", _broken(unit, *equals.span(), "", "QP001", "QP003")


def _keywords(unit: Unit) -> Iterable[tuple[str, Fault]]:
    kinds = tree.Where | tree.Let | tree.Param | tree.Inherit | tree.Pattern | tree.Compiler
    if isinstance(unit.node, kinds):
        word = next(unit.tokens())
        spelt = f"{word[0][:-2]}{word[0][-1]}{word[0][-2]}" if word[0] != "let" else "lett"
        yield "keyword is misspelt", _broken(unit, *word.span(), spelt, "QP001", "QP003")


def _halves(unit: Unit) -> Iterable[tuple[str, Fault]]:
    """Not before `param k = 1`: `y =` then says that `y` is `param`, and `k` is bound. Not where a
    constant stands, which is then named nowhere."""
    behind = re.match(r"\s*(param |let |meaning |option |where \()", unit.text[unit.end :])
    is_constant = isinstance(unit.node, tree.Bind) and "const" in unit.words
    if behind is not None or is_constant:
        return
    at = None
    if isinstance(unit.node, tree.Bind | tree.Let | tree.Param):
        at = next(unit.tokens("=")).end()
    elif isinstance(unit.node, tree.Where):
        at = unit.start + len("where")
    if at is not None:
        yield "statement breaks off", _broken(unit, at, unit.end, "", "QP003", "QP001")


def _headers(unit: Unit) -> Iterable[tuple[str, Fault]]:
    if isinstance(unit.node, tree.Pattern):
        for token in unit.tokens(":"):
            yield "colon is missing", _broken(unit, *token.span(), "", "QP001")
    if not isinstance(unit.node, tree.Pattern | tree.Form) or unit.text[unit.end] != "\n":
        return
    opener = _broken(unit, unit.end - 1, unit.end, "", "QP001", "QP003")
    yield "block has no beginning", opener
    # Said at the `{`. Nothing is hidden by it.
    end = unit.node.block.span.end
    yield "block has no end", Fault(unit, end - 1, end, "", frozenset(["QP003"]))


SYNTAX = (_changed_words, _behind, _strings, _equals, _keywords, _halves, _headers)
