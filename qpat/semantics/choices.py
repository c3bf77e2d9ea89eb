"""The combinations of what a structure leaves open, one after the other."""

from __future__ import annotations

from qpat.source import Span

MOST_ROWS = 64


class Choices:
    """Walks all combinations of the choices a builder makes, the last one changing fastest."""

    def __init__(self) -> None:
        self._script: list[int] = []
        self._counts: list[int] = []
        self._next = 0
        self.seen: dict[Span, tuple[range, Span]] = {}

    def pick(self, count: int, span: Span) -> int:
        self.seen[span] = (range(count), span)
        if self._next == len(self._script):
            self._script.append(0)
            self._counts.append(count)
        self._next += 1
        return self._script[self._next - 1]

    def advance(self) -> bool:
        """To the next combination; False after the last."""
        while self._script and self._script[-1] + 1 == self._counts[-1]:
            self._script.pop()
            self._counts.pop()
        self._next = 0
        if not self._script:
            return False
        self._script[-1] += 1
        return True
