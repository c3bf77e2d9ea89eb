"""Places of a valid file, faults in them, and files with several faults that are independent."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from hypothesis.vendor.pretty import RepresentationPrinter

from qpat.source import Source
from qpat.syntax import tree
from qpat.syntax.parser import parse

# What a fault can hide, and what another may want to be seen; also "call acc", for one call.
STRUCTURE = "structure"  # that each name leads to the output
FORMS = "forms"
ITEM = "item"

_TOKEN = re.compile(r'"[^"\n]*"|//[^\n]*|\.\.\.|\.\.|->|=>|[<>=!]=|\?\?|\*\*|\$?\w+|\S')


@dataclass(frozen=True)
class Unit:
    """What holds one fault at most: a statement, an item, or the header of one with a block."""

    text: str
    start: int
    end: int
    node: tree.Node
    item: tree.Item
    pattern: tree.Pattern | None

    def _repr_pretty_(self, printer: RepresentationPrinter, _cycle: bool) -> None:
        """What Hypothesis shows of a failure, which would be whole trees otherwise."""
        printer.text(f"Unit({self.words!r})")

    @property
    def is_header(self) -> bool:
        return isinstance(self.node, tree.Pattern | tree.Family | tree.Form)

    @property
    def outs(self) -> tuple[str, ...]:
        """The names that the unit binds, if it is a statement that binds."""
        return tuple(out.name for out in self.node.outs) if isinstance(self.node, tree.Bind) else ()

    @property
    def indent(self) -> str:
        """The blanks before its line."""
        before = self.text[: self.start].rpartition("\n")[2]
        return before[: len(before) - len(before.lstrip())]

    @property
    def words(self) -> str:
        return self.text[self.start : self.end]

    def tokens(self, *wanted: str) -> Iterator[re.Match[str]]:
        """Words, strings and signs, all or some, comments left out."""
        for token in _TOKEN.finditer(self.text, self.start, self.end):
            if not token[0].startswith("//") and (not wanted or token[0] in wanted):
                yield token


@dataclass(frozen=True)
class Fault:
    """A change of a unit: `text` in the place of `start` to `end`. One of `codes` is to be said.

    `hurts` is what it hides, `needs` what must not be hidden. `uses` is a name whose uses have to
    stand as they are, because they say which of two spellings is wrong.
    """

    unit: Unit
    start: int
    end: int
    text: str
    codes: frozenset[str]
    hurts: frozenset[str] = frozenset()
    needs: frozenset[str] = frozenset()
    uses: str = ""
    kind: str = ""

    @property
    def is_syntax(self) -> bool:
        return min(self.codes) < "QP090"


def units(text: str) -> list[Unit]:
    """The units of a file that parses, in order of place."""
    file = parse(Source("valid.qpat", text))
    return [unit for item in file.items for unit in _item_units(text, item)]


def _item_units(text: str, item: tree.Item) -> Iterator[Unit]:
    if isinstance(item, tree.Pattern):
        yield Unit(text, item.span.start, item.block.span.start + 1, item, item, item)
        yield from _statement_units(text, item.block, item)
    elif isinstance(item, tree.Family):
        opener = text.index("{", item.values.span.end)
        yield Unit(text, item.span.start, opener + 1, item, item, None)
        for inner in item.items:
            yield from _item_units(text, inner)
    else:
        yield Unit(text, item.span.start, item.span.end, item, item, None)


def _statement_units(text: str, block: tree.Block, pattern: tree.Pattern) -> Iterator[Unit]:
    for node in block.statements:
        if isinstance(node, tree.Form):
            start = node.block.span.start
            yield Unit(text, node.span.start, start + 1, node, pattern, pattern)
            yield from _statement_units(text, node.block, pattern)
        else:
            yield Unit(text, node.span.start, node.span.end, node, pattern, pattern)


def nodes(node: object) -> Iterator[tree.Node]:
    """A node and all that are in it."""
    if isinstance(node, tuple):
        for each in node:
            yield from nodes(each)
    elif isinstance(node, tree.Node):
        yield node
        yield from nodes(tuple(value for key, value in vars(node).items() if key != "span"))


# ---- several faults in a file --------------------------------------------------------------


def independent(first: Fault, second: Fault) -> bool:
    """Whether each has a place of its own, and neither hides the other."""
    if first.unit.start == second.unit.start:
        return False
    return not (_hides(first, second) or _hides(second, first))


def _hides(first: Fault, second: Fault) -> bool:
    inner, outer = second.unit.start, first.unit.item.span
    if ITEM in first.hurts and outer.start <= inner < outer.end:
        return not second.is_syntax
    if _breaks_off(first, second) or _leaves_open(first, second) or _is_used(first, second):
        return True
    form = first.unit.node
    is_lost = isinstance(form, tree.Form) and FORMS in first.hurts and not second.is_syntax
    if is_lost and form.span.start <= inner < form.span.end:
        return True
    if first.unit.pattern is not second.unit.pattern or first.unit.pattern is None:
        return False
    if first.kind == second.kind and first.text == second.text == f"{_word(first)}q":
        return True  # one name that is unknown, in two places
    if second.uses and re.search(rf"\b{re.escape(second.uses)}\b", first.unit.words):
        return True
    return bool(first.hurts & second.needs)


def _is_used(first: Fault, second: Fault) -> bool:
    """What a fragment that does not parse may have held, the patterns that use it may lack."""
    item, user = first.unit.item, second.unit.item
    if not isinstance(item, tree.Fragment) or user is item or not second.needs:
        return False
    return re.search(rf"\b{re.escape(item.name.text)}\b", user.span.text) is not None


def _breaks_off(first: Fault, second: Fault) -> bool:
    """What breaks off is seen to end where the next statement begins, so that has to be whole."""
    between = first.unit.text[first.unit.end : second.unit.start]
    return first.kind == "statement breaks off" and second.is_syntax and between.isspace()


def _leaves_open(first: Fault, second: Fault) -> bool:
    """Where two brackets of an item are not closed, which is closed by the third is a guess."""
    is_one = first.unit.item is second.unit.item
    return is_one and first.kind in _OPEN and second.kind == "block has no end"


_OPEN = ("bracket is closed by another", "closing bracket is missing")


def _word(fault: Fault) -> str:
    return fault.unit.text[fault.start : fault.end]


def injected(text: str, faults: Iterable[Fault]) -> tuple[str, list[tuple[range, Fault]]]:
    """The text with the faults in it; each fault with the lines of its unit in there."""
    edits = sorted(faults, key=lambda fault: (fault.start, fault.end))
    made, at = "", 0
    for fault in edits:
        made += text[at : fault.start] + fault.text
        at = fault.end
    placed: list[tuple[range, Fault]] = []
    for fault in edits:
        before = (each for each in edits if each.start < fault.unit.start)
        moved = sum(e.text.count("\n") - text.count("\n", e.start, e.end) for e in before)
        first = text.count("\n", 0, fault.unit.start) + 1 + moved
        lines = fault.unit.words.count("\n") + fault.text.count("\n") + 1
        placed.append((range(first, first + lines), fault))
    return made + text[at:], placed
