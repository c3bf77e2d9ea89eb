"""The streams of the command line: what can be printed, in colour or not, and how findings end."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from qpat.diagnostics import Diagnostic

FINE, FINDINGS, WRONG_USE = 0, 1, 2  # exit statuses; argparse says wrong use of options
COLOURS = ("auto", "always", "never")


def make_printable() -> None:
    """A terminal that cannot show a character shows its number; a closed one swallows all."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def forget_stdout() -> None:
    """So that the interpreter does not try to write the rest when it ends."""
    sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


def wants_colour(choice: str, stream: TextIO) -> bool:
    """Whether to colour what goes to a stream; `choice` is one of COLOURS.

    The rule for "auto" is that of no-color.org: a terminal, unless NO_COLOR is set to something.
    """
    if choice != "auto":
        return choice == "always"
    is_plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return stream.isatty() and not is_plain


def print_findings(findings: Sequence[Diagnostic], colour: str) -> None:
    """Findings as people read them, on stderr; `colour` is one of COLOURS."""
    if findings:
        from qpat.rendering import joined

        print(joined(findings, wants_colour(colour, sys.stderr)), file=sys.stderr)


def print_summary(findings: Sequence[Diagnostic]) -> None:
    """What comes below all findings: how many there are, and where to read on about the first."""
    if not findings:
        return
    from qpat.diagnostics import Severity
    from qpat.rendering import summary
    from qpat.resources import finding_codes

    lines = [summary(findings)] if len(findings) > 1 else []
    # Errors before warnings; `sorted` leaves the rest in order.
    first = sorted(findings, key=lambda found: found.severity is not Severity.ERROR)[0]
    if first.code in finding_codes():
        article = "an" if first.severity is Severity.ERROR else "a"
        said = f"for more about {article} {first.severity.value}"
        lines.append(f"{said}: qpat explain {first.code}")
    if lines:
        print("", *lines, sep="\n", file=sys.stderr)


def progress() -> Callable[[str], None]:
    """Says what is being done and how long the last step took, on stderr."""
    import time

    start = time.monotonic()

    def say(step: str) -> None:
        print(f"[{time.monotonic() - start:5.1f} s] {step}", file=sys.stderr, flush=True)

    return say
