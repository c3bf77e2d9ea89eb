"""Findings in fragments: said once however often the fragment is used, with a use that shows it."""

from __future__ import annotations

from collections.abc import Iterator

from qpat.diagnostics import Diagnostic, Findings, Label
from qpat.records import replace
from qpat.source import Span
from qpat.syntax import tree


class FragmentFindings:
    """Remembers what was said of fragments."""

    def __init__(self) -> None:
        self.said: set[tuple[str, Span, str]] = set()

    def labelled(self, pattern: tree.Pattern, found: Findings) -> Findings:
        """What is to be said of the findings of one pattern whose fragments are inlined."""
        uses = list(_uses(pattern.block))
        labelled = Findings()
        for each in found.diagnostics:
            around = [use for use in uses if each.span is not None and _holds(use, each.span)]
            if not around or each.span is None:
                labelled.add(each)
                continue
            key = (each.code, each.span, each.message)
            if key not in self.said:
                self.said.add(key)
                labelled.add(_labelled(each, around, uses))
        return labelled


def _labelled(
    found: Diagnostic, around: list[tree.Inlined], uses: list[tree.Inlined]
) -> Diagnostic:
    """With the use that it is found in, and the uses around that."""
    labels = list(found.others)
    use: tree.Inlined | None = min(around, key=lambda u: u.block.span.end - u.block.span.start)
    while use is not None:
        labels.append(Label(use.span, "used here"))
        use = next((other for other in uses if _holds(other, use.span)), None)
    return replace(found, others=tuple(labels))


def _holds(use: tree.Inlined, span: Span) -> bool:
    block = use.block.span
    return block.source is span.source and block.start <= span.start and span.end <= block.end


def _uses(block: tree.Block) -> Iterator[tree.Inlined]:
    for statement in block.statements:
        if isinstance(statement, tree.Inlined):
            yield statement
        if isinstance(statement, tree.Inlined | tree.Form):
            yield from _uses(statement.block)
