"""Syntax tree to pattern IR: the items of a file, each pattern by lower_pattern.py."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from qpat.diagnostics import (
    MOST_REPORTS,
    Diagnostic,
    Findings,
    Label,
    did_you_mean,
    renamed,
)
from qpat.semantics import ir
from qpat.semantics.blocks import (
    is_elsewhere,
)
from qpat.semantics.definitions import define, report_unused
from qpat.semantics.excused import LostItems, broken_spans
from qpat.semantics.families import MOST_INSTANCES, merged
from qpat.semantics.fragment_findings import FragmentFindings
from qpat.semantics.inlining import inline
from qpat.semantics.interface import lower_externs, lower_options
from qpat.semantics.loose_fragments import check_loose_fragments
from qpat.semantics.lower_pattern import lower_pattern
from qpat.semantics.names import Interface
from qpat.semantics.reports import head, report_twice
from qpat.semantics.tests import lower_tests
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
            lowered += lower_pattern(inlined, compiler, interface, lost, mine, target)
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
