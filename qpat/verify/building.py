"""Many small graphs in one build of TVM: building is the cost, running is nearly free."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from typing import Any

from numpy.typing import NDArray

from qpat.relay.environment import Heard, reason
from qpat.verify.graphs import graphs as installed


class Batch:
    """Built graphs by number. `failed` says of each that TVM cannot build why it cannot."""

    def __init__(self, graphs: Mapping[int, Any], heard: Heard) -> None:
        self.failed: dict[int, str] = {}
        self._heard = heard
        self._dropped: set[int] = set()
        self._built: list[tuple[Sequence[int], Any]] = []
        self._build(sorted(graphs), graphs)

    def _build(self, numbers: Sequence[int], graphs: Mapping[int, Any]) -> None:
        """Builds all at once, and halves where that fails."""
        if not numbers:
            return
        try:
            built = installed().build({number: graphs[number] for number in numbers})
            self._built.append((numbers, built))
        # TVM raises all kinds of errors where it has no schedule or no lowering for something.
        except Exception as error:
            if len(numbers) == 1:
                self.failed[numbers[0]] = reason(error, self._heard)
                return
            half = len(numbers) // 2
            self._build(numbers[:half], graphs)
            self._build(numbers[half:], graphs)

    def without(self, numbers: Iterable[int]) -> Batch:
        """The same graphs, built already, less some."""
        others = copy(self)
        dropped = set(numbers)
        others.failed = {n: why for n, why in self.failed.items() if n not in dropped}
        others._dropped = self._dropped | dropped
        return others

    def run(self, inputs: Mapping[int, Mapping[str, NDArray[Any]]]) -> dict[int, NDArray[Any]]:
        """Runs every graph that `inputs` has values for, and returns what each gives."""
        found: dict[int, NDArray[Any]] = {}
        for numbers, built in self._built:
            wanted = [n for n in numbers if n in inputs and n not in self._dropped]
            found |= built.run({number: inputs[number] for number in wanted})
        return found
