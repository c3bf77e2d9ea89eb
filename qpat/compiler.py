"""A .qpat file through the whole pipeline, up to the text of the generated module."""

from __future__ import annotations

from collections.abc import Iterator
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
from qpat.records import dataclass
from qpat.resources import library_file, library_names
from qpat.semantics import ir
from qpat.semantics.lower import lower
from qpat.source import Source, read_source
from qpat.syntax.parser import too_deep
from qpat.syntax.program import load_program


@dataclass(frozen=True)
class Compiled:
    """A compiled file: its IR, the text of its Relay module, and its warnings."""

    module: ir.Module
    text: str
    warnings: tuple[Diagnostic, ...]


def check_source(source: Source) -> tuple[ir.Module | None, tuple[Diagnostic, ...]]:
    """The IR of a source, None if it has errors, and all findings in order of place."""
    program, broken = load_program(source, open_source)
    findings = Findings()
    module = None
    try:
        if program is not None:
            module = lower(program, findings)
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


def compile_source(source: Source) -> Compiled:
    """Compiles a source. Raises QpatError with every finding if one of them is an error."""
    module, found = check_source(source)
    if module is None:
        raise QpatError(found)
    if not module.patterns:
        message = "this file has no pattern, so there is nothing to compile"
        raise failure("QP118", message, place=source.name, hint="other files can import it")
    from qpat.targets.relay import relay_module  # here, because a check generates nothing

    try:
        text = relay_module(module, source.name)
    except RecursionError:
        raise too_deep(source) from None
    return Compiled(module, text, found)


def compile_file(path: str | Path) -> Compiled:
    """Compiles a .qpat file. Raises QpatError where it cannot be read or has errors."""
    return compile_source(open_source(path))


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
