"""Syntax tree to pattern IR: items, patterns, forms and their rows.

Ports, structure, spaces, statements and expressions have rooms of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from qpat.diagnostics import (
    MOST_REPORTS,
    Diagnostic,
    Findings,
    Fix,
    Label,
    TooMany,
    did_you_mean,
    renamed,
    respelt,
)
from qpat.ops.roles import exchange
from qpat.ops.table import operator, operator_names
from qpat.records import dataclass
from qpat.semantics import ir
from qpat.semantics.blocks import (
    Block,
    Place,
    blocks,
    bound_values,
    dropped,
    exclude,
    is_elsewhere,
    other_target,
    params_elsewhere,
    places,
)
from qpat.semantics.contradictions import report_contradictions
from qpat.semantics.definitions import define, report_unused
from qpat.semantics.draft import Draft, Scope
from qpat.semantics.excused import Excused, LostItems, broken_spans
from qpat.semantics.families import MOST_INSTANCES, merged
from qpat.semantics.fragment_findings import FragmentFindings
from qpat.semantics.inlining import constant_names, inline
from qpat.semantics.interface import lower_externs, lower_options
from qpat.semantics.layouts import clips, layouts
from qpat.semantics.loose_fragments import check_loose_fragments
from qpat.semantics.names import Filling, Interface
from qpat.semantics.ordering import ordered
from qpat.semantics.ports import lower_ports
from qpat.semantics.presence import names_read
from qpat.semantics.reports import head, report_twice
from qpat.semantics.row_checks import RowChecks
from qpat.semantics.spaces import derive_spaces, doubtful_nodes
from qpat.semantics.statements import Statements
from qpat.semantics.structure import expand
from qpat.semantics.tests import lower_tests
from qpat.semantics.uses import apart
from qpat.semantics.walk import under
from qpat.source import Span
from qpat.syntax import tree
from qpat.syntax.parser import blanked
from qpat.syntax.program import Program

# What AnnotateTarget and the C symbols made of it accept: it compares the text before the first dot
# of a composite's name with the target (src/relay/transforms/annotate_target.cc), and "default" is
# its word for the host.
_COMPILER_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


def lower(program: Program, findings: Findings, target: str = "relay") -> ir.Module | None:
    """The IR that a program has for a target, `relay` or `relax`, or None where one of the findings
    it reports is an error."""
    _template_names(program.file, findings)
    defined = define(program, findings)
    lost = defined.definitions.lost
    patterns = [item for item in defined.file.items if isinstance(item, tree.Pattern)]
    compiler = _compiler(defined.file, bool(patterns), findings, lost)
    interface = Interface(fragments=defined.definitions.fragments)
    lower_externs(defined, interface, findings)
    options = lower_options(defined, interface, findings)
    lowered: list[ir.Pattern] = []
    elsewhere = {p.name.text: p.name.span for p in patterns if is_elsewhere(p, target)}
    found = _Found()
    seen: dict[str, tree.Pattern] = {}
    for item in patterns:
        if item.name.text in seen:
            report_twice(item.name, seen[item.name.text].name.span, "pattern", findings)
        _check_after(item, seen, patterns, lost, findings)
        seen.setdefault(item.name.text, item)
        # Findings of its own: a fault in one pattern must not change what is said of the next.
        mine = Findings(most=MOST_REPORTS)
        inlined = inline(item, defined, mine)
        if item.name.text not in elsewhere:
            room = _Pattern(inlined, compiler, interface, lost, mine, target)
            lowered += _lowered(room, mine)
        found.add(item.span, inlined, mine)
        if found.are_too_many:
            break  # more than anybody reads
    findings.extend(found.all())
    if not seen and not defined.definitions.own and not findings.failed and not lost.kinds:
        findings.error("QP118", head(program.file.span), "this file has no pattern")
    written = _tests(defined.file, target)
    sound = {pattern.name: pattern for pattern in lowered}
    tests = lower_tests(written, sound, seen, elsewhere, interface, lost, findings)
    check_loose_fragments(defined.definitions, findings)
    # What does not parse may be where they are used.
    if seen and not findings.failed and not broken_spans(defined.file):
        report_unused(defined.definitions, findings)
    externs = tuple(interface.externs.values())
    if findings.failed:
        return None
    return ir.Module(compiler, tuple(lowered), options, externs, tests, tuple(elsewhere.items()))


def _lowered(room: _Pattern, findings: Findings) -> tuple[ir.Pattern, ...]:
    """The pattern, or none where it has faults."""
    try:
        pattern = room.lower()
    except TooMany:
        findings.extend(room.excused.unknown_names())
        return ()
    except RecursionError:
        if not findings.failed:  # fragments of fragments without an end are deep, too
            raise
        return ()
    return (pattern,) if pattern is not None else ()


def _tests(file: tree.File, target: str) -> list[tree.Test]:
    """The tests that can be run on a target: they are Relay text."""
    return [item for item in file.items if isinstance(item, tree.Test) and target == "relay"]


def _check_after(
    item: tree.Pattern,
    earlier: Mapping[str, tree.Pattern],
    patterns: Sequence[tree.Pattern],
    lost: LostItems,
    findings: Findings,
) -> None:
    """What a pattern is said to stand behind must be a pattern, and come before it."""
    others = {each.name.text: each for each in patterns}
    for name in item.after:
        if name.text in earlier or name.text in lost.patterns:
            continue
        if name.text in others:
            message = f"`{item.name.text}` is to stand after `{name.text}` and stands before it"
            label = (Label(others[name.text].name.span, f"`{name.text}` stands here"),)
            hint = "patterns are tried in the order written: move one of them"
            findings.error("QP204", name.span, message, hint=hint, others=label)
            continue
        message = f"no pattern is called `{name.text}`"
        hint = did_you_mean(name.text, earlier) or "`after` names patterns of this file"
        findings.error("QP204", name.span, message, hint=hint)


class _Found:
    """What is found in the patterns of a file, by the place of each: a family has several there."""

    def __init__(self) -> None:
        self.fragments = FragmentFindings()
        self.by_place: dict[Span, list[Findings]] = {}
        self.places: set[object] = set()
        self.total = 0

    def add(self, span: Span, inlined: tree.Pattern, found: Findings) -> None:
        self.by_place.setdefault(span, []).append(self.fragments.labelled(inlined, found))
        self.places |= {each.place_key() for each in found.diagnostics}
        self.total += len(found.diagnostics)

    @property
    def are_too_many(self) -> bool:
        return len(self.places) > MOST_REPORTS or self.total > MOST_INSTANCES * MOST_REPORTS

    def all(self) -> Iterable[Diagnostic]:
        for instances in self.by_place.values():
            yield from merged(instances)


def _family_names(items: tuple[tree.Item, ...], offset: int) -> set[str]:
    """The names of the families that an offset lies in."""
    names: set[str] = set()
    for item in items:
        if isinstance(item, tree.Family) and item.span.start <= offset < item.span.end:
            names |= {name.text for name in item.names} | _family_names(item.items, offset)
    return names


def _template_names(file: tree.File, findings: Findings) -> None:
    """`$op` stands for what a family puts there; outside of one it stands for nothing."""
    if "$" not in file.span.source.text:
        return
    families = file.items
    broken = broken_spans(file)
    for found in re.finditer(r"\$\w+|\$\{\w+\}", blanked(file.span.source)):
        span = Span(file.span.source, *found.span())
        if any(each.start <= span.start < each.end for each in broken):
            continue
        names = _family_names(families, span.start)
        word = span.text.strip("${}")
        if word not in names:
            message = f"`{span.text}` is no name of a `for … in` around it"
            place = span.last(len(span.text.lstrip("${"))).first(len(word))
            hidden = [name for name in names if name.startswith("_")]  # `$_` begins no word
            fix = renamed(place, word, names, hidden)
            findings.error("QP151", span, message, hint=did_you_mean(word, names), fix=fix)


def _compiler(file: tree.File, is_needed: bool, findings: Findings, lost: LostItems) -> str:
    stated = [item for item in file.items if isinstance(item, tree.Compiler)]
    if not stated and lost.kinds & {"compiler", ""}:
        return "unnamed"
    if not stated and not is_needed and "pattern" not in lost.kinds:
        return ""  # a file of fragments for others
    if not stated:
        hint = 'begin the file with `compiler "my-npu"`: composites are named after it'
        findings.error("QP140", head(file.span), "no `compiler` is named", hint=hint)
        return "unnamed"
    for again in stated[1:]:
        report_twice(
            tree.Identifier(again.name.span, again.name.text), stated[0].span, "compiler", findings
        )
    name = stated[0].name
    if not _COMPILER_NAME.fullmatch(name.text) or name.text == "default":
        message = f'"{name.text}" cannot name a compiler'
        hint = (
            'take letters, digits, `_` and `-`, not "default": AnnotateTarget finds a composite '
            "by the text before the first dot of its name, and passes over others without a word"
        )
        findings.error("QP141", name.span, message, hint=hint)
    return name.text


@dataclass(frozen=True)
class _Elsewhere:
    """The blocks that a pattern has on another IR, and its rows there."""

    blocks: frozenset[str] = frozenset()
    rows: tuple[ir.Row, ...] = ()


class _Pattern:
    """Lowers one pattern, its fragments inlined."""

    def __init__(
        self,
        node: tree.Pattern,
        compiler: str,
        interface: Interface,
        lost: LostItems,
        findings: Findings,
        target: str,
    ) -> None:
        self.target = target
        self.node = node
        self.compiler = compiler
        self.interface = interface
        self.excused = Excused.of(node, lost)
        if findings.failed:
            self.excused.lose_structure()
        self.findings = findings
        self.inputs = {port.name.text: port for port in node.ports}
        self.elsewhere = _Elsewhere()

    def lower(self) -> ir.Pattern | None:
        rule = self.node.alias is not None and self.node.alias.is_operator_rule
        composite = "" if rule else self._composite()
        ports = lower_ports(self.node, self.findings, self.excused)
        before = len(self.findings.diagnostics)
        root = blocks(self.node, self.target, self.findings)
        if len(self.findings.diagnostics) > before and self.findings.failed:
            self.excused.lose_structure()
        found = places(root)
        self.elsewhere = self._elsewhere()
        rows = self._rows(root, found, ports)
        statements = self._statements(root, rows)
        self.excused.report(self.findings, self.node.block)
        if not self.findings.failed:
            self._report_unread()
        if not self.excused.is_faulty:
            report_contradictions(self.node, ports, rows, statements, self.findings)
        rule_of = self._operator_rule(rows)
        if self.findings.failed:
            return None
        return ir.Pattern(
            self.node.name.text,
            composite,
            self.node.doc,
            ports,
            rows,
            statements,
            self.node.span,
            rule_of,
            tuple(name.text for name in self.node.after),
            params_elsewhere(self.node, self.target),
        )

    def _report_unread(self) -> None:
        statements = list(tree.all_statements(self.node.block))
        if any(isinstance(each, tree.Broken) for each in statements):
            return  # it may be read there
        lets = [each for each in statements if isinstance(each, tree.Let) and each.slot is None]
        read = names_read(self.node.block) if lets else frozenset()
        for let in lets:
            if let.name.text not in read:
                message = f"`{let.name.text}` is never read"
                self.findings.warning("QP153", let.name.span, message, hint="leave it out")

    def _composite(self) -> str:
        alias = self.node.alias
        if alias is None:
            return f"{self.compiler}.{self.node.name.text}"
        if alias.text.startswith(f"{self.compiler}."):
            rest = alias.text[len(self.compiler) + 1 :]
            hint = f'write "{rest}"; the compiler\'s name is put before'
            message = f'"{alias.text}" already begins with the compiler\'s name'
            fix = Fix(alias.span, f'"{rest}"') if rest else None
            self.findings.error("QP142", alias.span, message, hint=hint, fix=fix)
        if not alias.text or '"' in alias.text:
            self.findings.error("QP142", alias.span, "a composite needs a name")
        return f"{self.compiler}.{alias.text}"

    def _operator_rule(self, rows: tuple[ir.Row, ...]) -> str | None:
        alias = self.node.alias
        if alias is None or not alias.is_operator_rule:
            return None
        if operator(alias.text) is None:
            hint = did_you_mean(alias.text, operator_names())
            fix = respelt(alias.span, alias.text, operator_names())
            message = f"`{alias.text}` is no Relay operator"
            self.findings.error("QP101", alias.span, message, hint=hint, fix=fix)
            return alias.text
        if self.excused.is_faulty:
            return alias.text  # what is said already may be why there is another call, or none
        for row in rows:
            root = row.nodes[row.root]
            calls = sum(isinstance(row.nodes[each], ir.Call) for each in under(row, row.root))
            if calls != 1 or not isinstance(root, ir.Call) or root.operator != alias.text:
                message = f'a rule for the operator "{alias.text}" matches one call of it'
                hint = (
                    f"write `{self.node.output.name.text} = {alias.text}(…)` and nothing around it"
                )
                self.findings.error("QP124", root.span, message, hint=hint)
                break
        return alias.text

    # ---- rows ----
    def _rows(
        self, root: Block, found: Mapping[str, tuple[Place, ...]], ports: tuple[ir.Port, ...]
    ) -> tuple[ir.Row, ...]:
        before = len(self.findings.diagnostics)
        scope = self._scope(root, found)
        drafts = expand(scope, self.findings)
        others = frozenset(name for row in self.elsewhere.rows for name in row.values)
        RowChecks(self.node, scope, drafts, self.findings, others).check()
        self.excused.has_faults |= len(self.findings.diagnostics) > before
        # A stable sort: forms stay in the order written.
        forms = [form.label for form in root.forms] or [None]
        drafts.sort(key=lambda draft: (forms.index(draft.form), -ir.call_count(draft.nodes)))
        names = {name for draft in drafts for name in (*draft.values, *draft.calls)}
        stated = [port for port in ports if port.dtypes and port.same_dtype_as is None]
        dtypes = {port.name: port.dtypes for port in stated}
        return tuple(
            _freeze(number, draft, names, dtypes, self.findings, self.excused)
            for number, draft in enumerate(drafts, start=1)
        )

    def _elsewhere(self) -> _Elsewhere:
        """What the pattern is on the other IR. What is wrong there is said when that is looked at:
        here it is only not held against what stands outside of its forms."""
        other = other_target(self.node, self.target)
        if other is None or self.excused.lacks_blocks:
            return _Elsewhere()
        found = Findings()
        room = _Pattern(self.node, self.compiler, self.interface, self.excused.lost, found, other)
        ports = lower_ports(self.node, Findings(), room.excused)
        root = blocks(self.node, other, found)
        rows: tuple[ir.Row, ...] = ()  # none where there are too many faults
        with suppress(TooMany):
            rows = room._rows(root, places(root), ports)
        self.excused.lacks_elsewhere = found.failed or room.excused.is_faulty
        return _Elsewhere(frozenset(block.name for block in root.all()), rows)

    def _scope(self, root: Block, found: Mapping[str, tuple[Place, ...]]) -> Scope:
        again = self._check_places(found)
        output = self.node.output
        if output.name.text not in found:
            message = f"the output `{output.name.text}` is not bound"
            hint = f"write `{output.name.text} = …`"
            is_doubtful = self.excused.lacks_structure
            unknown = self.excused.unknown(output.name.text, True, is_doubtful)
            unknown.error("QP111", output.name.span, message, hint=hint)
        values = bound_values(found)
        constants = {name for each in values.values() for v in each for name in _words(v)}
        return Scope(
            self.node.name.text,
            root,
            found,
            self.inputs,
            frozenset(constants - set(found)),
            output,
            self.excused,
            apart(values, output.name.text),
            again,
            self.interface.fragments,
        )

    def _check_places(self, found: Mapping[str, tuple[Place, ...]]) -> tuple[Place, ...]:
        """Reports names that mean something already, and returns where those are bound again."""
        again: list[Place] = []
        for name, several in found.items():
            for number, place in enumerate(several):
                out = place.bind.outs[place.position]
                identifier = tree.Identifier(out.span, name)
                earlier = [p for p in several[:number] if not exclude(p.block, place.block)]
                if earlier:
                    first = earlier[0].bind.outs[earlier[0].position]
                    report_twice(identifier, first.span, "name", self.findings)
                elif name in self.inputs and name != self.node.output.name.text:
                    report_twice(identifier, self.inputs[name].span, "port", self.findings)
                if earlier or name in self.inputs:
                    again.append(place)
                    self.excused.names.add(name)
                if out.many and (len(place.bind.outs) > 1 or name != self.node.output.name.text):
                    message = "only the output can be all the tensors of a tuple"
                    hint = "name the fields: `a, b = …`"
                    self.findings.error("QP114", out.span, message, hint=hint)
        return tuple(again)

    # ---- statements ----
    def _statements(self, root: Block, rows: tuple[ir.Row, ...]) -> tuple[ir.Statement, ...]:
        self.fillings = list(_fillings(root))
        self.every = blocks(self.node, None, Findings())
        self.places = places(self.every)
        self.built = self.elsewhere.blocks | {block.name for block in root.all()}
        return ordered(self._lowered(root, rows, None), rows, self.findings)

    def _lowered(
        self, block: Block, rows: tuple[ir.Row, ...], outer: Statements | None
    ) -> list[ir.Statement]:
        mine = tuple(row for row in rows if block.name in row.blocks)
        if not mine:
            return []
        guard = block.name if len(mine) < len(rows) else None
        statements = Statements(
            self.node,
            mine,
            tuple(row for row in self.elsewhere.rows if block.name in row.blocks),
            guard,
            self.findings,
            self.interface,
            self.fillings,
            self.excused,
            self._declared(block),
            dropped(self.every, block, self.built),
            outer,
        )
        lowered: list[ir.Statement] = []
        for part in block.parts:
            if isinstance(part, Block):
                lowered += self._lowered(part, rows, statements)
            else:
                lowered += statements.lower(part)
        if outer is not None and len(mine) == outer.rows:
            outer.take(statements)
        return lowered

    def _declared(self, block: Block) -> frozenset[str]:
        """The ports, and the names that some row with the block has bound, if the structure leads
        to them: where it does not, that is said, and not of their uses."""
        ports = {port.name.text for port in (*self.node.ports, self.node.output)}
        bound = {
            name
            for name, several in self.places.items()
            if not all(exclude(place.block, block) for place in several)
        }
        return frozenset(ports | bound)


def _words(value: tree.Structure) -> Iterable[str]:
    return (name.text for name in constant_names(value))


def _fillings(root: Block) -> Iterable[Filling]:
    for block in root.all():
        for statement in block.statements:
            if not isinstance(statement, tree.Let) or statement.slot is None:
                continue
            slots = [statement.slot.text]
            if slots == ["qparams"]:
                is_raw = isinstance(statement.value, tree.Raw)
                slots = [] if is_raw else ["scale", "zero_point"]
            for slot in slots:
                yield Filling(block.name, statement.name.text, slot)


def _freeze(
    number: int,
    draft: Draft,
    names: set[str],
    dtypes: Mapping[str, tuple[str, ...]],
    findings: Findings,
    excused: Excused,
) -> ir.Row:
    doubtful = doubtful_nodes(draft)
    excused.slots |= {
        (name, slot)
        for name, index in draft.values.items()
        for slot in ("scale", "zero_point")
        if index in doubtful
    }
    return ir.Row(
        number,
        draft.form,
        tuple(draft.nodes),
        draft.root,
        draft.values,
        draft.calls,
        absent=frozenset(names - set(draft.values)),
        spaces=derive_spaces(draft, dtypes, findings),
        blocks=frozenset(draft.blocks),
        swaps=tuple(_swaps(draft)),
        shared=tuple(sorted(draft.shared)),
        layouts=layouts(draft),
        clips=clips(draft),
    )


def _swaps(draft: Draft) -> Iterable[int]:
    """The calls that match either way round. One of the same value twice has only one way."""
    for index, node in enumerate(draft.nodes):
        signature = operator(node.operator) if isinstance(node, ir.Call) else None
        if not isinstance(node, ir.Call) or signature is None or exchange(signature) is None:
            continue
        ordered = draft.ordered.get(index, not signature.commutative)
        if not ordered and node.operands[0] != node.operands[1]:
            yield index
