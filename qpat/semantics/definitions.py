"""What the items of a file can name: its fragments, externs and options, and those it imports.

Fragments, externs and options of one file share one set of names. An import without `as` adds the
names of the other file, one with `as lib` adds them as `lib.name`. Patterns are not imported.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from qpat.diagnostics import Findings, Label
from qpat.ops.table import operator
from qpat.records import dataclass, field
from qpat.semantics.excused import NOTHING_LOST, LostItems, lost_items
from qpat.semantics.families import expand_families
from qpat.semantics.reports import check_name, report_twice
from qpat.source import Span
from qpat.syntax import tree
from qpat.syntax.program import Program

Definition = tree.Fragment | tree.Extern | tree.Option
# Of offload() and pattern_table() in the generated module, and of what is made of the options.
_ARGUMENTS = frozenset(["inherited", "module", "params", "self"])
_KINDS = {tree.Fragment: "fragment", tree.Extern: "extern", tree.Option: "option"}


@dataclass(eq=False)
class Definitions:
    """The names one file can use. `own` are those it defines, `visible` all of them with the file
    each comes from; `lost` those that may be missing. `used` grows while names are
    looked up: definitions and import aliases."""

    own: dict[str, Definition] = field(default_factory=dict)
    visible: dict[str, tuple[Definition, Definitions]] = field(default_factory=dict)
    aliases: dict[str, Definitions] = field(default_factory=dict)
    imports: list[tuple[tree.Import, Definitions]] = field(default_factory=list)
    lost: LostItems = NOTHING_LOST
    used: set[int] = field(default_factory=set)

    @property
    def fragments(self) -> tuple[str, ...]:
        """The names of those that are fragments."""
        return tuple(n for n, (d, _) in self.visible.items() if isinstance(d, tree.Fragment))

    def find(self, name: str) -> tuple[Definition, Definitions] | None:
        """The definition that `name` or `alias.name` stands for, and the file it comes from."""
        found = self.visible.get(name)
        if found is not None:
            self.used.add(id(found[0]))
            found[1].used.add(id(found[0]))
        return found


@dataclass(frozen=True)
class Defined:
    """The file's families expanded, what it can name, and every extern and option of the program,
    by the names that the compiled module gives them, imported ones first."""

    file: tree.File
    definitions: Definitions
    externs: Mapping[str, tree.Extern]
    options: Mapping[str, tuple[tree.Option, Definitions]]
    names: Mapping[int, str]  # the compiled module's name of an extern or option, by its identity

    def name_of(self, definition: tree.Extern | tree.Option) -> str:
        return self.names[id(definition)]


def define(program: Program, findings: Findings) -> Defined:
    """Looks at what a program defines. Reports names defined twice and names that mislead."""
    collector = _Collector(findings)
    definitions, file = collector.collect(program)
    return Defined(file, definitions, collector.externs, collector.options, collector.names)


class _Collector:
    def __init__(self, findings: Findings) -> None:
        self.findings = findings
        self.done: dict[int, tuple[Definitions, tree.File]] = {}
        self.externs: dict[str, tree.Extern] = {}
        self.options: dict[str, tuple[tree.Option, Definitions]] = {}
        self.names: dict[int, str] = {}

    def collect(self, program: Program) -> tuple[Definitions, tree.File]:
        if id(program) in self.done:
            return self.done[id(program)]
        file = expand_families(program.file, self.findings)
        definitions = Definitions(lost=lost_items(file))
        self.done[id(program)] = definitions, file
        known = [node for node, _ in program.imports]
        for item in file.items:
            if isinstance(item, tree.Import) and item not in known:
                definitions.lost = definitions.lost.without_import(item)
        for node, imported in program.imports:
            self._import(definitions, node, self.collect(imported)[0])
        for item in _defined(file.items):
            self._add(definitions, item)
        for name, item in definitions.own.items():
            definitions.visible[name] = item, definitions
        return definitions, file

    def _import(self, into: Definitions, node: tree.Import, other: Definitions) -> None:
        into.lost = into.lost.with_imported(other.lost, node)
        into.imports.append((node, other))
        if node.alias is not None:
            if node.alias.text in into.aliases:
                first = next(
                    n for n, _ in into.imports if n.alias and n.alias.text == node.alias.text
                )
                assert first.alias is not None
                report_twice(node.alias, first.alias.span, "import", self.findings)
            into.aliases[node.alias.text] = other
        prefix = f"{node.alias.text}." if node.alias is not None else ""
        for name, item in other.own.items():
            taken = into.visible.get(f"{prefix}{name}")
            if taken is not None and taken[0] is not item:
                others = (Label(taken[0].name.span, "this one"), Label(item.name.span, "and this"))
                message = f"two imported files define `{name}`"
                hint = "import one of them with `as`"
                self.findings.error("QP117", node.path.span, message, hint=hint, others=others)
            into.visible.setdefault(f"{prefix}{name}", (item, other))

    def _add(self, into: Definitions, item: Definition) -> None:
        name = item.name.text
        taken = into.own.get(name) or (into.visible[name][0] if name in into.visible else None)
        if taken is not None:
            report_twice(item.name, taken.name.span, _KINDS[type(item)], self.findings)
            return
        self._check(item.name)
        into.own[name] = item
        if isinstance(item, tree.Extern):
            self._extern(item)
        elif isinstance(item, tree.Option):
            self._option(item, into)

    def _check(self, name: tree.Identifier) -> None:
        check_name(self.findings, name)
        if operator(name.text) is not None or name.text == "target":
            what = "what is known of the target" if name.text == "target" else "a Relay operator"
            message = f"`{name.text}` is {what}; take another name"
            self.findings.error("QP117", name.span, message)

    def _extern(self, item: tree.Extern) -> None:
        """Externs of two files may have one name: only the compiled module tells them apart."""
        name, count = item.name.text, 1
        while name in self.externs:
            count += 1
            name = f"{item.name.text}_{count}"
        self.externs[name] = item
        self.names[id(item)] = name

    def _option(self, item: tree.Option, home: Definitions) -> None:
        name = item.name.text
        if name in _ARGUMENTS:
            message = f"`{name}` is an argument of the functions that options are given to"
            hint = "take another name"
            self.findings.error("QP117", item.name.span, message, hint=hint)
        if name in self.options:
            others = (Label(self.options[name][0].name.span, "here too"),)
            message = f"two files have an option `{name}`, and the pattern table takes it once"
            self.findings.error("QP117", item.name.span, message, others=others)
        self.options[name] = item, home
        self.names[id(item)] = name


def _defined(items: Iterable[tree.Item]) -> Iterator[Definition]:
    """What a file defines; an option may also stand in a block."""
    for item in items:
        if isinstance(item, tree.Fragment | tree.Extern | tree.Option):
            yield item
        if isinstance(item, tree.Fragment | tree.Pattern):
            yield from _options(item.block)


def _options(block: tree.Block) -> Iterator[tree.Option]:
    for statement in block.statements:
        if isinstance(statement, tree.Option):
            yield statement
        elif isinstance(statement, tree.Form):
            yield from _options(statement.block)


def report_unused(definitions: Definitions, findings: Findings) -> None:
    """Warns of what a file with patterns defines or imports and never uses."""
    for item in definitions.own.values():
        if id(item) not in definitions.used:
            _unused(item.name.span, f"{_KINDS[type(item)]} `{item.name.text}`", findings)
    for node, other in definitions.imports:
        if other.lost == NOTHING_LOST and not any(
            id(item) in definitions.used for item in other.own.values()
        ):
            _unused(node.path.span, f'the import of "{node.path.text}"', findings)


def _unused(span: Span, what: str, findings: Findings) -> None:
    findings.warning("QP153", span, f"{what} is never used", hint="leave it out")
