"""The command `qpat explain`: the page on a finding, or a list of all."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from qpat.diagnostics import did_you_mean, failure
from qpat.pages import page, pages
from qpat.rendering import painted
from qpat.resources import finding_codes
from qpat.terminal import wants_colour


def explain(code: str | None, colour: str) -> None:
    """Prints the page of a code to stdout, or all codes with their titles where none is given.

    Raises QP332 where no finding has that code.
    """
    in_colour = wants_colour(colour, sys.stdout)
    if code is None:
        for each in pages():
            print(f"{painted(each.code, each.severity, in_colour)}  {each.title}")
        return
    name = code.upper()
    if name not in finding_codes():
        hint = did_you_mean(name, finding_codes()) or "`qpat explain` alone lists them all"
        raise failure("QP332", f"no finding has the code `{code}`", hint=hint)
    print("\n".join(_shown(page(name).text, in_colour)))


def _shown(text: str, colour: bool) -> Iterable[str]:
    """Markdown as it is, but headings without their marks, and code indented, not fenced."""
    in_code = False
    for line in text.rstrip().splitlines():
        if line.startswith("```"):
            in_code = not in_code
        elif in_code:
            yield f"    {line}".rstrip()
        elif line.startswith("#"):
            yield painted(line.lstrip("# "), "bold", colour)
        else:
            yield line
