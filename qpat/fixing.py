"""Applies the fixes of findings to the text they are about."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from qpat.diagnostics import Diagnostic, Fix, QpatError, failure
from qpat.files import write_atomically
from qpat.records import dataclass
from qpat.source import Source

Check = Callable[[Source], Sequence[Diagnostic]]


@dataclass(frozen=True)
class Mended:
    """A source with fixes applied, those fixes, and what is found in it then."""

    source: Source
    fixes: tuple[Fix, ...]
    left: tuple[Diagnostic, ...]


def mended(source: Source, check: Check) -> Mended:
    """Applies the fixes of what `check` finds, as many as do not overlap.

    A family's or a fragment's text has several meanings, and what mends one may break another: a
    fix is taken back where the words it wrote are themselves found to be at fault.
    """
    found = tuple(check(source))
    fixes = _together(source, found)
    while fixes:
        fixed = Source(source.name, applied(source.text, fixes))
        left = tuple(check(fixed))
        good = [fix for fix, at in zip(fixes, _places(fixes), strict=True) if at not in _at(left)]
        if len(good) == len(fixes):
            return Mended(fixed, tuple(fixes), left)
        fixes = good
    return Mended(source, (), found)


def applied(text: str, fixes: Iterable[Fix]) -> str:
    """A text with fixes applied that do not overlap."""
    for fix in _backwards(fixes):
        text = text[: fix.span.start] + fix.text + text[fix.span.end :]
    return text


def write_mended(path: str, result: Mended) -> None:
    """Writes the fixes into the file that the source was read from.

    Everything else of it stays as it is, newlines and a byte order mark too. Raises QP330 where it
    cannot be written, or was changed meanwhile.
    """
    try:
        raw = Path(path).read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError):
        raise _changed(path) from None
    mark = "\ufeff" if raw.startswith("\ufeff") else ""
    raw = raw.removeprefix(mark)
    # Reading makes one `\n` of each newline, so places in the file may lie further behind.
    offsets = [match.start() for match in re.finditer(r"\r\n|[\s\S]", raw)] + [len(raw)]
    text = raw
    for fix in _backwards(result.fixes):
        if fix.span.end >= len(offsets):
            break
        start, end = offsets[fix.span.start], offsets[fix.span.end]
        text = text[:start] + fix.text + text[end:]
    if text.replace("\r\n", "\n").replace("\r", "\n") != result.source.text:
        raise _changed(path)
    write_atomically(path, mark + text)


def _changed(path: str) -> QpatError:
    message = "the file was changed by another program while it was checked"
    return failure("QP330", message, place=path, hint="run the command again")


def _backwards(fixes: Iterable[Fix]) -> list[Fix]:
    """From the last to the first, so that none moves the place of the next."""
    return sorted(fixes, key=lambda fix: (fix.span.start, fix.span.end), reverse=True)


def _together(source: Source, found: Iterable[Diagnostic]) -> list[Fix]:
    """The fixes in a source that can be made at once, in order of place: the first of two that
    overlap, and neither of two that would write different words in one place."""
    wanted = dict.fromkeys(each.fix for each in found if each.fix is not None)
    fixes = [fix for fix in wanted if fix.span.source is source]
    places = [fix.span for fix in fixes]
    chosen: list[Fix] = []
    for fix in sorted(fixes, key=lambda fix: (fix.span.start, fix.span.end)):
        is_free = not chosen or fix.span.start >= chosen[-1].span.end
        if is_free and places.count(fix.span) == 1:
            chosen.append(fix)
    return chosen


def _places(fixes: Iterable[Fix]) -> Iterable[tuple[int, int]]:
    """Where the words that fixes write stand afterwards."""
    shift = 0
    for fix in fixes:
        start = fix.span.start + shift
        yield start, start + len(fix.text)
        shift += len(fix.text) - (fix.span.end - fix.span.start)


def _at(found: Iterable[Diagnostic]) -> set[tuple[int, int]]:
    """The places of findings, and those inside their quotes."""
    spans = [each.span for each in found if each.span is not None]
    inner = {(s.start + 1, s.end - 1) for s in spans if s.text.startswith('"')}
    return {(span.start, span.end) for span in spans} | inner
