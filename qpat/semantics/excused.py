"""What faulty places might have said. Nothing of it is held against the rest of a pattern.

A fault is reported once, where it is. A statement that does not parse may have bound the names on
its left; a name that nothing binds may be one that is bound and misspelt; behind an operator that
does not exist nothing is known of scales. Other passes ask here before they complain.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from qpat.diagnostics import MOST_REPORTS, Diagnostic, Findings, TooMany
from qpat.records import dataclass, field, replace
from qpat.semantics.presence import names_read
from qpat.source import Span
from qpat.syntax import tree

# What can be part of the structure, and may have been.
_STRUCTURAL = frozenset(["bind", "form", "use"])
_MOST_UNUSED = 100  # among which the one is looked for that an unknown name may be
_FILLS = frozenset(["let", "inherit", "form", "use"])


@dataclass(frozen=True)
class LostItems:
    """What the items that do not parse may have defined. They are reported."""

    names: frozenset[str]
    kinds: frozenset[str]
    anything: bool  # a file whose name is not known
    patterns: frozenset[str]

    def __contains__(self, name: str) -> bool:
        """Whether a fragment, a function or what an import brings may be lost."""
        return self.anything or name in self.names or name.partition(".")[0] in self.names

    def without_import(self, node: tree.Import) -> LostItems:
        """Where an imported file cannot be read."""
        if node.alias is None:
            return replace(self, anything=True)
        return replace(self, names=self.names | {node.alias.text})

    def with_imported(self, other: LostItems, node: tree.Import) -> LostItems:
        """Where things are lost in an imported file, too."""
        names = {f"{node.alias.text}.{name}" if node.alias else name for name in other.names}
        anything = self.anything or (other.anything and node.alias is None)
        if other.anything and node.alias is not None:
            names.add(node.alias.text)
        return replace(self, names=self.names | names, anything=anything)


NOTHING_LOST = LostItems(frozenset(), frozenset(), False, frozenset())


def lost_items(file: tree.File) -> LostItems:
    """The items of a file that do not parse, those of families included."""
    lost = [item for item in _items(file.items) if isinstance(item, tree.Broken)]
    kinds = frozenset(item.what for item in lost)
    # Nothing in a pattern names another pattern.
    named = [item.names for item in lost if item.what != "pattern"]
    names = frozenset(name for each in named for name in each or ())
    patterns = frozenset(name for item in lost for name in item.names or ())
    return LostItems(names, kinds, None in named, patterns)


def _items(items: Iterable[tree.Item]) -> Iterator[tree.Item]:
    for item in items:
        yield item
        if isinstance(item, tree.Family):
            yield from _items(item.items)


def broken_spans(file: tree.File) -> list[Span]:
    """The stretches of a file that do not parse."""
    spans: list[Span] = []
    for item in _items(file.items):
        if isinstance(item, tree.Broken):
            spans.append(item.span)
        elif isinstance(item, tree.Pattern | tree.Fragment):
            spans += (each.span for each in _broken(item.block))
    return spans


def _broken(block: tree.Block) -> Iterator[tree.Broken]:
    return (each for each in tree.all_statements(block) if isinstance(each, tree.Broken))


def lacks_structure(statements: Iterable[tree.Statement]) -> bool:
    """Whether something that is reported and left out may have been part of the structure."""
    return any(_lacks_structure(each) for each in statements)


def _lacks_structure(statement: tree.Statement) -> bool:
    if isinstance(statement, tree.Broken):
        return statement.what in _STRUCTURAL
    if isinstance(statement, tree.Form | tree.Inlined):
        return lacks_structure(statement.block.statements)
    return isinstance(statement, tree.Use)


def certain(pattern: tree.Pattern) -> frozenset[str]:
    """The inputs that are there in every row."""
    inputs = frozenset(port.name.text for port in pattern.ports if not port.maybe)
    return inputs - {pattern.output.name.text}


def _is_in_fragment(statements: Iterable[tree.Statement]) -> Iterator[bool]:
    """Whether something in a fragment does not parse: there its names are others."""
    for statement in statements:
        if isinstance(statement, tree.Inlined):
            yield any(_broken(statement.block))
        elif isinstance(statement, tree.Form):
            yield from _is_in_fragment(statement.block.statements)


@dataclass
class Excused:
    """What is excused in one pattern, and the names that want looking at once all are known."""

    lost: LostItems  # also what is reported where it is defined
    names: set[str] = field(default_factory=set)
    slots: set[tuple[str, str]] = field(default_factory=set)  # (name, slot)
    absent: set[str] = field(default_factory=set)  # ports that some row lacks and should not
    anything: bool = False  # any name may be bound by what does not parse
    lacks_fills: bool = False
    lacks_forms: bool = False
    lacks_guards: bool = False  # in the statement that is looked at
    lacks_rows: bool = False  # too many to build them all, or hidden in a fragment that is lost
    lacks_elsewhere: bool = False  # something is wrong with the rows of another IR
    lacks_uses: bool = False  # an operand is wrong or missing, so a name may lack its use
    lacks_structure: bool = False
    lacks_blocks: bool = False
    has_faults: bool = False  # in the structure that there is
    _unknown: dict[str, Findings] = field(default_factory=dict)
    _structural: set[str] = field(default_factory=set)  # of the unknown ones
    _unused: dict[str, Findings] = field(default_factory=dict)
    _doubtful: set[str] = field(default_factory=set)  # as far as what is left says

    @classmethod
    def of(cls, pattern: tree.Pattern, lost: LostItems) -> Excused:
        """What the statements excuse that do not parse."""
        broken = list(_broken(pattern.block))
        kinds = {each.what for each in broken}
        made = cls(lost)
        made.names = {name for each in broken for name in each.names or ()}
        made.anything = any(each.names is None for each in broken)
        made.lacks_fills = bool(kinds & _FILLS)
        made.lacks_forms = "form" in kinds
        if made.lacks_forms:
            made.names.add("form")
        if lacks_structure(pattern.block.statements):
            made.lacks_structure = True
        if any(_is_in_fragment(pattern.block.statements)):
            made.anything = True
        return made

    def lose_structure(self) -> None:
        """Where a fragment cannot be put in its place, or there is no form."""
        self.lacks_blocks = self.lacks_structure = self.anything = True

    def __contains__(self, name: str) -> bool:
        """Whether something faulty may have bound the name."""
        known = name in self.names or name in self._unknown or name in self.lost.names
        return self.anything or known or "$" in name

    def excuses_slot(self, name: str, slot: str) -> bool:
        """Whether something faulty may have bound or filled a slot."""
        missing = self.lacks_fills or self.lacks_structure or bool(self._structural)
        return missing or (name, slot) in self.slots

    @property
    def is_faulty(self) -> bool:
        """Whether something is wrong with the structure, so that little can be said of it."""
        return self.lacks_structure or self.has_faults or bool(self._structural)

    @property
    def is_doubtful(self) -> bool:
        """Whether something is wrong with the structure here or on another IR."""
        return self.is_faulty or self.lacks_elsewhere

    # ---- names that do not fit together ----
    def unknown(self, name: str, in_structure: bool = False, is_doubtful: bool = False) -> Findings:
        """Takes what is to be said of a name that nothing binds. One report stands for all. Where
        it is doubtful, it is only said if an unused name explains it."""
        if name not in self._unknown and name in self:
            return Findings()
        if is_doubtful:
            self._doubtful.add(name)
        if in_structure:
            self._structural.add(name)
        if len(self._unknown) > MOST_REPORTS:
            raise TooMany
        return self._unknown.setdefault(name, Findings())

    def unused(self, name: str, is_doubtful: bool = False) -> Findings:
        """Takes what is to be said of a name that nothing uses. Where it is doubtful, it is only
        said if that explains an unknown name."""
        if is_doubtful:
            self._doubtful.add(name)
        return self._unused.setdefault(name, Findings())

    def unknown_names(self) -> Iterator[Diagnostic]:
        """What is to be said of the names that nothing binds."""
        for name, found in self._unknown.items():
            if found.diagnostics and name not in self._doubtful:
                yield _first(found)

    def report(self, findings: Findings, block: tree.Block | None = None) -> None:
        """Reports the names of a pattern that do not fit together; `block` is the pattern's.

        An unknown name and an unused one that look alike are one fault: in the definition, where
        the unknown one is used more than once, else in the use.
        """
        unknown, unused = dict(self._unknown), dict(self._unused)
        if not unknown and not unused:
            return
        import difflib  # here, because a file without faults needs none of it

        read = names_read(block)
        for name in list(unknown):
            near = difflib.get_close_matches(name, list(unused)[:_MOST_UNUSED], n=1)
            if not near:
                continue
            use, definition = unknown.pop(name), unused.pop(near[0])
            is_output = any(found.code == "QP111" for found in use.diagnostics)
            if (is_output or len(use.diagnostics) > 1) and near[0] not in read:
                found = _first(definition)
                findings.add(replace(found, hint=f"did you mean `{name}`?"))
            else:
                findings.add(_first(use))
        for name, each in unknown.items():
            if name not in self._doubtful:
                findings.add(_first(each))
        # What is made of an unknown name may be what leads to the others.
        if not self.lacks_uses and not self._structural & set(unknown):
            for name, each in unused.items():
                if name not in self._doubtful:
                    findings.add(_first(each))


def _first(findings: Findings) -> Diagnostic:
    return min(findings.diagnostics, key=Diagnostic.sort_key)
