"""What is wrong and where: every finding is a Diagnostic, and this one place prints them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from qpat.source import Span


class Severity(Enum):
    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True)
class Label:
    """A second place that belongs to a finding, and what it has to do with it."""

    span: Span
    text: str


@dataclass(frozen=True)
class Diagnostic:
    """One finding. `place` stands for the span of a fault that is in no .qpat text, but in a model
    or an environment."""

    code: str
    message: str
    span: Span | None = None
    place: str | None = None
    label: str = ""
    hint: str | None = None
    others: tuple[Label, ...] = ()
    severity: Severity = Severity.ERROR

    def sort_key(self) -> tuple[str, int, str, str]:
        if self.span is None:
            return (self.place or "", -1, self.code, self.message)
        return (self.span.source.name, self.span.start, self.code, self.message)


class QpatError(Exception):
    """Findings that stop a command. Carries them; the command line renders them."""

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics = tuple(sorted(set(diagnostics), key=Diagnostic.sort_key))
        super().__init__("\n".join(render(diagnostic) for diagnostic in self.diagnostics))


def failure(
    code: str, message: str, *, place: str | None = None, hint: str | None = None
) -> QpatError:
    """A QpatError of one finding that has no place in a .qpat text."""
    return QpatError([Diagnostic(code, message, place=place, hint=hint)])


class Findings:
    """Collects diagnostics, so that independent faults are reported in one run."""

    def __init__(self) -> None:
        self.diagnostics: list[Diagnostic] = []

    def error(
        self,
        code: str,
        span: Span,
        message: str,
        *,
        label: str = "",
        hint: str | None = None,
        others: tuple[Label, ...] = (),
    ) -> None:
        self.add(Diagnostic(code, message, span, None, label, hint, others))

    def warning(self, code: str, span: Span, message: str, *, hint: str | None = None) -> None:
        self.add(Diagnostic(code, message, span, hint=hint, severity=Severity.WARNING))

    def add(self, diagnostic: Diagnostic) -> None:
        # Rows repeat the statements they share, so one fault can be met several times.
        if diagnostic not in self.diagnostics:
            self.diagnostics.append(diagnostic)

    def extend(self, other: Findings) -> None:
        """Takes over what another collection found."""
        for diagnostic in other.diagnostics:
            self.add(diagnostic)

    @property
    def failed(self) -> bool:
        return any(found.severity is Severity.ERROR for found in self.diagnostics)


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """A hint that names the nearest known words, or None if none is near."""
    near = difflib.get_close_matches(word, sorted(known), n=2, cutoff=0.6)
    if not near:
        return None
    return "did you mean " + " or ".join(f"`{name}`" for name in near) + "?"


def render(diagnostic: Diagnostic) -> str:
    """Plain text: place, severity, code, message; the line with the words at fault; the hint."""
    head = f"{diagnostic.severity.value}[{diagnostic.code}]: {diagnostic.message}"
    lines = [f"{_where(diagnostic)}{head}"]
    if diagnostic.span is not None:
        lines += _excerpt(diagnostic.span, diagnostic.label)
    for other in diagnostic.others:
        where = f"{other.span.source.name}:{other.span.line}:{other.span.column}"
        lines += [f"   ::: {where}", *_excerpt(other.span, other.text)]
    if diagnostic.hint is not None:
        lines.append(f"   = hint: {diagnostic.hint}")
    return "\n".join(lines)


def render_all(diagnostics: Iterable[Diagnostic]) -> str:
    """All findings in order of place, a blank line between two."""
    return "\n\n".join(render(found) for found in sorted(diagnostics, key=Diagnostic.sort_key))


def _where(diagnostic: Diagnostic) -> str:
    if diagnostic.span is not None:
        span = diagnostic.span
        return f"{span.source.name}:{span.line}:{span.column}: "
    return f"{diagnostic.place}: " if diagnostic.place else ""


def _excerpt(span: Span, label: str) -> list[str]:
    number = str(span.line)
    text = span.source.line(span.line)
    start = span.column - 1
    # A span over several lines is underlined on its first.
    length = max(1, min(span.end - span.start, len(text) - start))
    # Tabs are kept before the marker, so that it stands under the words whatever a tab's width.
    blank = "".join("\t" if char == "\t" else " " for char in text[:start])
    gutter = " " * len(number)
    marker = f" {gutter} | {blank}{'^' * length}{' ' + label if label else ''}"
    return [f" {gutter} |", f" {number} | {text}", marker]
