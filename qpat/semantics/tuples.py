"""Tuples of a row: of a few values, of the tensors of a variadic port, and of one structure that is
repeated for each of these.
"""

from __future__ import annotations

from typing import Protocol

from qpat.semantics import ir
from qpat.semantics.arguments import Row
from qpat.semantics.choices import MOST_ROWS, Choices
from qpat.semantics.reports import report_unbuilt
from qpat.source import Span
from qpat.syntax import tree


class RowOfChoices(Row, Protocol):
    """What tuples want of the row that is built."""

    choices: Choices


class Tuples:
    """Builds the tuples of one row. In a structure that is repeated, `leaves` are those of each
    variadic port so far, and `round` the ones of the round that is built."""

    def __init__(self, row: RowOfChoices) -> None:
        self.row = row
        self.leaves: dict[str, list[int]] | None = None
        self.round: dict[str, int] = {}

    @property
    def is_repeating(self) -> bool:
        return self.leaves is not None

    def build(self, node: tree.Tuple) -> int:
        first = node.elements[0]
        if isinstance(first, tree.Repeat):
            return self._repeat(node, first)
        elements: list[int] = []
        for element in node.elements:
            if isinstance(element, tree.Repeat):
                report_unbuilt(
                    self.row.findings, element.span, "`...` beside other fields of a tuple"
                )
                self.row.scope.excused.lacks_uses = True
            elif isinstance(element, tree.Slot):
                elements.append(self.row.slot(element))
            else:
                elements.append(self.row.structure(element)[0])
        return self.row.add(ir.Tuple(tuple(elements), node.span))

    def leaf(self, name: str, constness: ir.Constness, span: Span) -> int:
        """The tensor of a variadic port that this round of a repeat is about."""
        assert self.leaves is not None
        if name not in self.round:
            self.round[name] = self.row.add(ir.Input(name, constness, span))
            self.leaves.setdefault(name, []).append(self.round[name])
        return self.round[name]

    # ---- repeats ----
    def _repeat(self, node: tree.Tuple, repeat: tree.Repeat) -> int:
        element, findings = repeat.element, self.row.findings
        if len(node.elements) > 1:
            report_unbuilt(findings, repeat.span, "`...` beside other fields of a tuple")
            return self._faulty(node.span)
        if isinstance(element, tree.Slot):
            report_unbuilt(findings, repeat.span, "a repeat of scales or zero points")
            return self._faulty(node.span)
        if isinstance(element, tree.Leaf) and repeat.count is None:
            return self._port(node.span, repeat, element.name)
        return self._rounds(node.span, repeat, element)

    def _port(self, span: Span, repeat: tree.Repeat, name: str) -> int:
        """`(xs...)`, a tuple of any length."""
        port, draft = self.row.scope.inputs.get(name), self.row.draft
        if port is None or not port.many:
            message = f"`{name}...` wants a port that is many tensors"
            hint = f"declare it `{name}: int8...`"
            self.row.findings.error("QP114", repeat.span, message, hint=hint)
        found = draft.values.get(name)
        if found is not None and isinstance(draft.nodes[found], ir.Several):
            self._report_repeated(name, repeat.span)
            return self._faulty(span)
        if found is None:
            draft.values[name] = self.row.add(ir.Elements(name, span))
        return draft.values[name]

    def _rounds(self, span: Span, repeat: tree.Repeat, element: tree.Structure) -> int:
        """A tuple of one structure for each tensor of a variadic port; a row for each length, for
        TVM's matcher has no tuple of any."""
        findings, draft = self.row.findings, self.row.draft
        if not repeat.count:
            message = "a structure that is repeated wants the most that there may be"
            hint = "write a number behind `...`: there is a row for each length up to it"
            findings.error("QP114", repeat.span, message, hint=hint)
            return self._faulty(span)
        if repeat.count > MOST_ROWS:
            message = f"a structure is repeated {repeat.count} times, and each length has a row"
            hint = f"{MOST_ROWS} rows are the most"
            findings.error("QP120", repeat.span, message, hint=hint)
            return self._faulty(span)
        if self.is_repeating:
            report_unbuilt(findings, repeat.span, "a repeat within a repeat")
            return self._faulty(span)
        length = repeat.count - self.row.choices.pick(repeat.count, repeat.span)
        self.leaves, elements = {}, []
        faults = len(draft.faulty)
        for _ in range(length):
            self.round = {}
            elements.append(self.row.structure(element)[0])
        found, self.leaves = self.leaves, None
        if not found and len(draft.faulty) == faults:
            message = "nothing in what is repeated is many tensors"
            hint = "name a port that is: `xs: int8...`"
            findings.error("QP114", repeat.span, message, hint=hint)
        for name, leaves in found.items():
            if name in draft.values:
                self._report_repeated(name, repeat.span)
            draft.values[name] = self.row.add(ir.Several(tuple(leaves), span))
        return self.row.add(ir.Tuple(tuple(elements), span))

    def _faulty(self, span: Span) -> int:
        self.row.scope.excused.lacks_uses = True
        index = self.row.add(ir.Tuple((), span))
        self.row.draft.faulty.add(index)
        return index

    def _report_repeated(self, name: str, span: Span) -> None:
        message = f"`{name}...` stands in another tuple too, and in one it is repeated"
        hint = "a port whose tensors are repeated stands in one tuple only"
        self.row.findings.error("QP114", span, message, hint=hint)
