"""What is wrong and where: every finding is a Diagnostic, collected in Findings.

qpat/rendering.py shows them to people, qpat/formats.py to programs.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable
from enum import Enum
from functools import lru_cache

from qpat.records import dataclass
from qpat.source import Span

_LONGEST_QUOTE = 40
# How alike a word must be to be put in the place of another, and how much more than the next one.
_NEAR, _NEARER = 0.7, 0.15
# More faults in one file are more than anybody reads, and are not looked for.
MOST_REPORTS = 25


class Severity(Enum):
    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True)
class Label:
    """A second place that belongs to a finding, and what it has to do with it."""

    span: Span
    text: str


@dataclass(frozen=True)
class Fix:
    """A change of the text that mends a finding: `text` in the place of `span`."""

    span: Span
    text: str

    @property
    def title(self) -> str:
        """What it does, in words: replace, remove or insert something."""
        old, new = _quoted(self.span.text), _quoted(self.text)
        if not self.text.strip():
            return f"remove {old}"
        return f"replace {old} with {new}" if self.span.text.strip() else f"insert {new}"


def _quoted(text: str) -> str:
    words = " ".join(text.split())
    return f"`{words}`" if len(words) <= _LONGEST_QUOTE else f"`{words[: _LONGEST_QUOTE - 1]}…`"


@dataclass(frozen=True)
class Diagnostic:
    """One finding. `place` stands for the span of a fault that is in no .qpat text, but in a model
    or an environment; `fix` is given where there is one way to mend it."""

    code: str
    message: str
    span: Span | None = None
    place: str | None = None
    label: str = ""
    hint: str | None = None
    others: tuple[Label, ...] = ()
    severity: Severity = Severity.ERROR
    fix: Fix | None = None

    def place_key(self) -> tuple[object, ...]:
        """The same for findings of one code at one place, whatever they say."""
        if self.span is None:
            return (self.code, self.place, self.message)
        return (self.code, self.span.start, self.span.end)

    def sort_key(self) -> tuple[str, int, str, str]:
        if self.span is None:
            return (self.place or "", -1, self.code, self.message)
        return (self.span.source.name, self.span.start, self.code, self.message)


class QpatError(Exception):
    """Findings that stop a command. Carries them; the command line renders them."""

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics = tuple(sorted(set(diagnostics), key=Diagnostic.sort_key))
        super().__init__(self.diagnostics)

    def __str__(self) -> str:
        return "\n".join(render(diagnostic) for diagnostic in self.diagnostics)


def failure(
    code: str, message: str, *, place: str | None = None, hint: str | None = None
) -> QpatError:
    """A QpatError of one finding that has no place in a .qpat text."""
    return QpatError([Diagnostic(code, message, place=place, hint=hint)])


def warning(
    code: str, message: str, *, place: str | None = None, hint: str | None = None
) -> Diagnostic:
    """A finding that stops nothing and has no place in a .qpat text."""
    return Diagnostic(code, message, place=place, hint=hint, severity=Severity.WARNING)


class TooMany(Exception):
    """There are more findings than are shown; nothing is gained by looking for more."""


class Findings:
    """Collects diagnostics, so that independent faults are reported in one run.

    With `most`, adding one more error raises TooMany.
    """

    def __init__(self, most: int | None = None) -> None:
        self.most = most
        self.errors = 0
        self.diagnostics: list[Diagnostic] = []
        self._seen: set[object] = set()

    def error(
        self,
        code: str,
        span: Span,
        message: str,
        *,
        label: str = "",
        hint: str | None = None,
        others: tuple[Label, ...] = (),
        fix: Fix | None = None,
    ) -> None:
        self.add(Diagnostic(code, message, span, None, label, hint, others, fix=fix))

    def warning(
        self,
        code: str,
        span: Span,
        message: str,
        *,
        label: str = "",
        hint: str | None = None,
        others: tuple[Label, ...] = (),
        fix: Fix | None = None,
    ) -> None:
        severity = Severity.WARNING
        self.add(Diagnostic(code, message, span, None, label, hint, others, severity, fix))

    def add(self, diagnostic: Diagnostic) -> None:
        """Takes a finding, unless one with its code is there for its place: rows repeat statements
        and alternatives of an operator its arguments, so one fault can be met several times."""
        self._add(diagnostic, diagnostic.place_key())
        if self.most is not None and self.errors > self.most:
            raise TooMany

    def _add(self, diagnostic: Diagnostic, key: object) -> None:
        if key not in self._seen:
            self._seen.add(key)
            self.diagnostics.append(diagnostic)
            self.errors += diagnostic.severity is Severity.ERROR

    def extend(self, other: Iterable[Diagnostic]) -> None:
        """Takes over what was found elsewhere, each thing once."""
        for diagnostic in other:
            self._add(diagnostic, diagnostic)

    @property
    def failed(self) -> bool:
        return self.errors > 0


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """A hint that names the nearest known words, or None if none is near."""
    near = _near(word, tuple(sorted(known)))
    if not near:
        return None
    return "did you mean " + " or ".join(f"`{name}`" for name in near) + "?"


def respelt(span: Span, word: str, known: Iterable[str], taken: Container[str] = ()) -> Fix | None:
    """The fix that goes with `did_you_mean`: where one known word is near, or far nearer than any
    other, and the span holds nothing but the word (a string also its quotes). `taken` are words
    that cannot be put there.

    What is changed without asking is to be nearer than what is asked: `shape` is no `scale`.
    """
    near = _near(word, tuple(sorted(known)))
    if not near or near[0] in taken:
        return None
    first, second = (_likeness(word, each) for each in (near[0], near[-1]))
    if first < _NEAR or (len(near) > 1 and second > first - _NEARER):
        return None
    if span.text == f'"{word}"':
        span = Span(span.source, span.start + 1, span.end - 1)
    return Fix(span, near[0]) if span.text == word else None


def renamed(span: Span, word: str, known: Iterable[str], taken: Container[str] = ()) -> Fix | None:
    """`respelt` for a name that the text itself defines: where it stands more than once, it may be
    the definition that is misspelt."""
    places = re.findall(rf"\b{re.escape(word)}\b", span.source.text)
    return respelt(span, word, known, taken) if len(places) == 1 else None


@lru_cache(maxsize=256)  # rows repeat the statements they share
def _near(word: str, known: tuple[str, ...]) -> list[str]:
    import difflib  # here, because a file without faults needs none of it

    return difflib.get_close_matches(word, known, n=2, cutoff=0.6)


def _likeness(word: str, other: str) -> float:
    import difflib

    return difflib.SequenceMatcher(None, other, word).ratio()


def render(diagnostic: Diagnostic) -> str:
    """Plain text: place, severity, code, message; the line with the words at fault; the hint."""
    from qpat.rendering import rendered  # here, for the same reason

    return rendered(diagnostic)


def render_all(diagnostics: Iterable[Diagnostic]) -> str:
    """All findings in order of place, a blank line between two."""
    from qpat.rendering import joined

    return joined(diagnostics)
