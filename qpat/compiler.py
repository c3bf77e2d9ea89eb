"""A .qpat file through the whole pipeline, up to the text of the generated module."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from qpat.diagnostics import (
    MOST_REPORTS,
    Diagnostic,
    Findings,
    QpatError,
    Severity,
    did_you_mean,
    failure,
)
from qpat.records import dataclass, replace
from qpat.resources import library_file, library_names
from qpat.semantics import ir
from qpat.semantics.blocks import TARGETS
from qpat.semantics.lower import lower
from qpat.source import Source, read_source
from qpat.syntax.parser import too_deep
from qpat.syntax.program import Program, load_program


@dataclass(frozen=True)
class Compiled:
    """A compiled file: the IR that it has on its target, the text of its module, and its warnings.

    On Relax the IR is that of the rows that Relax can say.
    """

    module: ir.Module
    text: str
    warnings: tuple[Diagnostic, ...]
    target: str = "relay"


# Levels of the findings about what a target cannot say; None: none at all.
LEVELS = {"error": Severity.ERROR, "warning": Severity.WARNING, "ignore": None}
_MARKED = re.compile(r"\bon\s+relax\b")


def check_targets(source: Source) -> tuple[Diagnostic, ...]:
    """All findings in a source in order of place: of what it is on Relay, and where forms are for
    Relax, of what it is there."""
    loaded = load_program(source, open_source)
    relays, found = _checked(source, *loaded, "relay")
    program, _ = loaded
    if program is None or not any(_MARKED.search(each.text) for each in program.sources()):
        return found
    module, others = _checked(source, *loaded, "relax")
    if module is not None:
        from qpat.targets.relax_limits import for_relax

        limits = Findings()
        elsewhere = _blocks(relays)
        mine = (p for p in module.patterns if _blocks_of(p) - elsewhere.get(p.name, frozenset()))
        for_relax(replace(module, patterns=tuple(mine)), limits)
        others = (*others, *limits.diagnostics)
    # A fault is told once, though each IR tells it of forms of its own.
    told = {(each.code, each.span) for each in found}
    more = {each for each in others if (each.code, each.span) not in told}
    return tuple(sorted({*found, *more}, key=Diagnostic.sort_key))


def _blocks(module: ir.Module | None) -> dict[str, frozenset[str]]:
    """The forms and fragments of every pattern, by its name."""
    return {each.name: _blocks_of(each) for each in module.patterns} if module is not None else {}


def _blocks_of(pattern: ir.Pattern) -> frozenset[str]:
    return frozenset(block for row in pattern.rows for block in row.blocks)


def check_source(
    source: Source, target: str = "relay"
) -> tuple[ir.Module | None, tuple[Diagnostic, ...]]:
    """The IR that a source has on a target, None if it has errors, and all findings in order of
    place."""
    return _checked(source, *load_program(source, open_source), target)


def _checked(
    source: Source, program: Program | None, broken: Sequence[Diagnostic], target: str
) -> tuple[ir.Module | None, tuple[Diagnostic, ...]]:
    """What check_source gives of a program that is read, with what is broken in its text."""
    findings = Findings()
    module = None
    try:
        if program is not None:
            module = lower(program, findings, target)
        if module is not None and not broken:
            _look_at_order(module, findings)
    except RecursionError:
        findings.extend(too_deep(source).diagnostics)
    found = sorted([*broken, *findings.diagnostics], key=Diagnostic.sort_key)
    return (None if broken or findings.failed else module), tuple(_shortened(found))


def _look_at_order(module: ir.Module, findings: Findings) -> None:
    """Reports patterns that an earlier one always beats."""
    from qpat.analysis.reachability import reachability  # here, because faults come first

    answers = reachability(module)
    if any(each.by is not None for each in answers):
        from qpat.analysis.findings import report_unreachable

        report_unreachable(answers, findings)


def _shortened(found: list[Diagnostic]) -> Iterator[Diagnostic]:
    """The findings up to the most that are shown, and a last one that says there are more."""
    errors = 0
    for each in found:
        errors += each.severity is Severity.ERROR
        if errors > MOST_REPORTS:
            message = f"more is wrong from here on; this is what comes behind {MOST_REPORTS} faults"
            yield Diagnostic("QP007", message, each.span, each.place, hint="mend those first")
            return
        yield each


def compile_source(source: Source, target: str = "relay", unsaid: str = "warning") -> Compiled:
    """Compiles a source for `relay` or `relax`. Raises QpatError with every finding if one of them
    is an error.

    `unsaid` is the level of findings about what the target cannot say: `error`, `warning` or
    `ignore`. Raises ValueError where there is no such target or level.
    """
    if target not in TARGETS:
        raise ValueError(f"the target is one of {', '.join(TARGETS)}, not {target!r}")
    if unsaid not in LEVELS:
        raise ValueError(f"the level `unsaid` is one of {', '.join(LEVELS)}, not {unsaid!r}")
    module, found = check_source(source, target)
    if module is None:
        raise QpatError(found)
    if not module.patterns and not module.elsewhere:
        message = "this file has no pattern, so there is nothing to compile"
        raise failure("QP118", message, place=source.name, hint="other files can import it")
    limits = Findings()
    module = _on_target(module, target, limits)
    level = LEVELS[unsaid]
    if level is not None:
        said = [replace(each, severity=level) for each in limits.diagnostics]
        found = tuple(sorted([*found, *said], key=Diagnostic.sort_key))
    if any(each.severity is Severity.ERROR for each in found):
        raise QpatError(found)
    if not module.patterns:
        message = f"no pattern of this file can be said on {TARGETS[target]}"
        raise QpatError([*found, Diagnostic("QP118", message, place=source.name)])
    try:
        return Compiled(module, _text(module, source.name, target), found, target)
    except RecursionError:
        raise too_deep(source) from None


def _on_target(module: ir.Module, target: str, findings: Findings) -> ir.Module:
    """What a target can say of a module; of the rest there are warnings."""
    for name, span in module.elsewhere:
        message = f"no form of `{name}` is for {TARGETS[target]}"
        findings.warning("QP093", span, message, hint="the module is made without it")
    if target != "relax":
        return module
    from qpat.targets.relax_limits import for_relax

    return for_relax(module, findings)


def _text(module: ir.Module, name: str, target: str) -> str:
    """The generated module; imported here, because a check generates nothing."""
    if target == "relax":
        from qpat.targets.relax import relax_module

        return relax_module(module, name)
    from qpat.targets.relay import relay_module

    return relay_module(module, name)


def compile_file(path: str | Path, target: str = "relay", unsaid: str = "warning") -> Compiled:
    """Compiles a .qpat file for `relay` or `relax`, as compile_source() does.

    Raises QpatError where it cannot be read or has errors.
    """
    return compile_source(open_source(path), target, unsaid)


def _library_path(path: str | Path) -> str | Path:
    """A bare name means a file of the library, unless there is a file of that name."""
    if Path(path).exists():
        return path
    name = f"{path}.qpat"
    return library_file(name) if name in library_names() else path


def open_source(path: str | Path) -> Source:
    """Reads a .qpat file, or one of the library by its bare name (`tflite`).

    Raises QpatError (QP004) where it cannot be read.
    """
    try:
        return read_source(_library_path(path))
    except FileNotFoundError:
        names = [name.removesuffix(".qpat") for name in library_names() if "/" not in name]
        listed = ", ".join(f"`{name}`" for name in names)
        hint = did_you_mean(str(path), names) or f"files of the library have bare names: {listed}"
        raise failure("QP004", "no such file", place=str(path), hint=hint) from None
    except IsADirectoryError:
        raise failure("QP004", "this is a folder, not a .qpat file", place=str(path)) from None
    except UnicodeDecodeError as error:
        message = f"this is not UTF-8 text (byte {error.start})"
        raise failure("QP004", message, place=str(path)) from None
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
        raise failure("QP004", message, place=str(path)) from None
