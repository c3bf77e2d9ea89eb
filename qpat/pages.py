"""The pages on findings: docs/findings/, one Markdown file for each code."""

from __future__ import annotations

import re

from qpat.records import dataclass
from qpat.resources import finding_codes, finding_page

_HEAD = re.compile(r"# (QP\d{3}): (.+)\n\nSeverity: (error|warning)\n\n")


@dataclass(frozen=True)
class Page:
    """A page: its whole text, and the parts of it that are shown alone."""

    code: str
    title: str
    severity: str
    says: str
    text: str


def page(code: str) -> Page:
    """The page on a finding. Raises KeyError where there is none."""
    if code not in finding_codes():
        raise KeyError(code)
    text = finding_page(code)
    head = _HEAD.match(text)
    if head is None or head[1] != code:
        raise ValueError(f"docs/findings/{code}.md does not begin with its title and severity")
    return Page(code, head[2], head[3], _section(text, "What it says"), text)


def pages() -> tuple[Page, ...]:
    """All pages, in order of their codes."""
    return tuple(page(code) for code in finding_codes())


def _section(text: str, heading: str) -> str:
    """The words of one section, in one line."""
    _, _, rest = text.partition(f"## {heading}\n")
    return " ".join(rest.partition("\n## ")[0].split())
