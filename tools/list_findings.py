"""Writes docs/findings.md, the overview of all findings, from the pages in docs/findings/.

python tools/list_findings.py    (or `make findings`)
"""

from __future__ import annotations

from pathlib import Path

from qpat.pages import Page, pages

OUTPUT = Path(__file__).resolve().parents[1] / "docs" / "findings.md"
_HEAD = """# Findings

What `qpat` can find, by code. `qpat explain CODE` prints the page of one. A finding whose severity
is a warning leaves the exit status at 0; an error makes it 1.

`qpat check` prints findings for people, or with `--format` for programs: `json`, `sarif` (2.1.0) or
`github` (annotations of workflow commands). `qpat check --fix` makes the changes that a finding
names as its fix, and then reports what is left.

<!-- written by tools/list_findings.py from the pages in findings/ -->

| code | finding | severity |
|---|---|---|
"""


def overview() -> str:
    """The text of docs/findings.md."""
    return _HEAD + "".join(_row(each) for each in pages())


def _row(page: Page) -> str:
    return f"| [{page.code}](findings/{page.code}.md) | {page.title} | {page.severity} |\n"


if __name__ == "__main__":
    OUTPUT.write_text(overview(), encoding="utf-8")
