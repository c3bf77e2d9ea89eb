"""Syntax tree to pattern IR: items, patterns, forms and their rows.

Ports, structure, spaces, statements and expressions have rooms of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from qpat.diagnostics import Findings, Fix, did_you_mean, renamed, respelt
from qpat.ops.roles import exchange
from qpat.ops.table import operator, operator_names
from qpat.semantics import ir
from qpat.semantics.blocks import Block, Place, blocks, exclude, places
from qpat.semantics.contradictions import report_contradictions
from qpat.semantics.definitions import define, report_unused
from qpat.semantics.draft import Draft, Scope
from qpat.semantics.fragment_findings import FragmentFindings
from qpat.semantics.inlining import constant_names, inline
from qpat.semantics.interface import lower_externs, lower_options
from qpat.semantics.layouts import clips, layouts
from qpat.semantics.loose_fragments import check_loose_fragments
from qpat.semantics.names import Filling, Interface
from qpat.semantics.ordering import ordered
from qpat.semantics.ports import lower_ports
from qpat.semantics.reports import head, report_twice
from qpat.semantics.row_checks import RowChecks
from qpat.semantics.spaces import derive_spaces
from qpat.semantics.statements import Statements
from qpat.semantics.structure import expand
from qpat.semantics.tests import lower_tests
from qpat.source import Span
from qpat.syntax import tree
from qpat.syntax.parser import blanked
from qpat.syntax.program import Program

# What AnnotateTarget and the C symbols made of it accept: it compares the text before the first dot
# of a composite's name with the target (src/relay/transforms/annotate_target.cc), and "default" is
# its word for the host.
_COMPILER_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


def lower(program: Program, findings: Findings) -> ir.Module | None:
    """The IR of a program, or None where one of the findings it reports is an error."""
    _template_names(program.file, findings)
    defined = define(program, findings)
    patterns = [item for item in defined.file.items if isinstance(item, tree.Pattern)]
    compiler = _compiler(defined.file, bool(patterns), findings)
    interface = Interface(defined.definitions.is_whole)
    lower_externs(defined, interface, findings)
    options = lower_options(defined, interface, findings)
    lowered: list[ir.Pattern] = []
    found = FragmentFindings(findings)
    seen: dict[str, tree.Pattern] = {}
    for item in patterns:
        if item.name.text in seen:
            report_twice(item.name, seen[item.name.text].name.span, "pattern", findings)
            continue
        seen[item.name.text] = item
        # Findings of its own: a fault in one pattern must not change what is said of the next.
        mine = Findings()
        inlined = inline(item, defined, mine)
        pattern = _Pattern(inlined, compiler, interface, mine).lower()
        found.add(inlined, mine)
        if pattern is not None:
            lowered.append(pattern)
    if not seen and not defined.definitions.own and not findings.failed:
        findings.error("QP118", head(program.file.span), "this file has no pattern")
    written = [item for item in defined.file.items if isinstance(item, tree.Test)]
    sound = {pattern.name: pattern for pattern in lowered}
    tests = lower_tests(written, sound, seen, interface, findings)
    check_loose_fragments(defined.definitions, findings)
    if seen and not findings.failed:
        report_unused(defined.definitions, findings)
    if findings.failed:
        return None
    return ir.Module(compiler, tuple(lowered), options, tuple(interface.externs.values()), tests)


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
    for found in re.finditer(r"\$\w+|\$\{\w+\}", blanked(file.span.source)):
        span = Span(file.span.source, *found.span())
        names = _family_names(families, span.start)
        word = span.text.strip("${}")
        if word not in names:
            message = f"`{span.text}` is no name of a `for … in` around it"
            place = span.last(len(span.text.lstrip("${"))).first(len(word))
            hidden = [name for name in names if name.startswith("_")]  # `$_` begins no word
            fix = renamed(place, word, names, hidden)
            findings.error("QP151", span, message, hint=did_you_mean(word, names), fix=fix)


def _compiler(file: tree.File, is_needed: bool, findings: Findings) -> str:
    stated = [item for item in file.items if isinstance(item, tree.Compiler)]
    if not stated and not is_needed:
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


class _Pattern:
    """Lowers one pattern, its fragments inlined."""

    def __init__(
        self, node: tree.Pattern, compiler: str, interface: Interface, findings: Findings
    ) -> None:
        self.node = node
        self.compiler = compiler
        self.interface = interface
        self.findings = findings
        self.inputs = {port.name.text: port for port in node.ports}

    def lower(self) -> ir.Pattern | None:
        rule = self.node.alias is not None and self.node.alias.is_operator_rule
        composite = "" if rule else self._composite()
        ports = lower_ports(self.node, self.findings)
        if any(port.name.text == self.node.output.name.text for port in self.node.ports):
            return None  # said already, and nothing below would make sense of it
        root = blocks(self.node, self.findings)
        rows = self._rows(root, ports)
        if not rows:
            return None
        statements = self._statements(root, rows)
        report_contradictions(self.node, ports, rows, statements, self.findings)
        return ir.Pattern(
            self.node.name.text,
            composite,
            self.node.doc,
            ports,
            rows,
            statements,
            self.node.span,
            self._operator_rule(rows),
        )

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
        for row in rows:
            root = row.nodes[row.root]
            if row.call_count != 1 or not isinstance(root, ir.Call) or root.operator != alias.text:
                message = f'a rule for the operator "{alias.text}" matches one call of it'
                hint = (
                    f"write `{self.node.output.name.text} = {alias.text}(…)` and nothing around it"
                )
                self.findings.error("QP124", root.span, message, hint=hint)
                break
        return alias.text

    # ---- rows ----
    def _rows(self, root: Block, ports: tuple[ir.Port, ...]) -> tuple[ir.Row, ...]:
        scope = self._scope(root)
        if scope is None:
            return ()
        drafts = expand(scope, self.findings)
        if not self.findings.failed:
            RowChecks(self.node, scope, drafts, self.findings).check()
        if self.findings.failed:
            return ()
        # A stable sort: forms stay in the order written.
        forms = [form.label for form in root.forms] or [None]
        drafts.sort(key=lambda draft: (forms.index(draft.form), -ir.call_count(draft.nodes)))
        names = {name for draft in drafts for name in (*draft.values, *draft.calls)}
        stated = [port for port in ports if port.dtypes and port.same_dtype_as is None]
        dtypes = {port.name: port.dtypes for port in stated}
        return tuple(
            _freeze(number, draft, names, dtypes, self.findings)
            for number, draft in enumerate(drafts, start=1)
        )

    def _scope(self, root: Block) -> Scope | None:
        found = places(root)
        self._check_places(found)
        output = self.node.output
        if output.name.text not in found:
            if self.findings.failed:
                return None  # what would bind it is at fault, and that is said
            message = f"the output `{output.name.text}` is not bound"
            hint = f"write `{output.name.text} = …`"
            self.findings.error("QP111", output.name.span, message, hint=hint)
            return None
        constants = {
            name.text
            for several in found.values()
            for place in several
            for name in constant_names(place.bind.value)
        }
        return Scope(
            self.node.name.text,
            root,
            found,
            self.inputs,
            frozenset(constants) - set(found),
            output,
            self.interface.is_whole,
        )

    def _check_places(self, found: Mapping[str, tuple[Place, ...]]) -> None:
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
                if out.many and (len(place.bind.outs) > 1 or name != self.node.output.name.text):
                    message = "only the output can be all the tensors of a tuple"
                    hint = "name the fields: `a, b = …`"
                    self.findings.error("QP114", out.span, message, hint=hint)

    # ---- statements ----
    def _statements(self, root: Block, rows: tuple[ir.Row, ...]) -> tuple[ir.Statement, ...]:
        self.fillings = list(_fillings(root))
        return ordered(self._lowered(root, rows, None), rows, self.findings)

    def _lowered(
        self, block: Block, rows: tuple[ir.Row, ...], outer: Statements | None
    ) -> list[ir.Statement]:
        mine = tuple(row for row in rows if block.name in row.blocks)
        if not mine:
            return []
        guard = block.name if len(mine) < len(rows) else None
        statements = Statements(
            self.node, mine, guard, self.findings, self.interface, self.fillings, outer
        )
        lowered: list[ir.Statement] = []
        for part in block.parts:
            if isinstance(part, Block):
                lowered += self._lowered(part, rows, statements)
            else:
                lowered += statements.lower(part)
        if outer is not None and guard == outer.block:
            outer.take(statements)
        return lowered


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
) -> ir.Row:
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
