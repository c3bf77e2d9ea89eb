"""Where the nodes of a graph are drawn: in layers from top to bottom, operands above their users.

The method of Sugiyama: an edge over several layers is cut by places it goes through, its bends,
which take part in the order of their layers like nodes; the order is that of the neighbours'
middles, swept down and up; then each layer is moved as near to its neighbours as its order allows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

NODE_WIDTH, NODE_HEIGHT, LAYER_GAP = 204, 42, 30
_NODE_GAP, _BEND_WIDTH = 24, 8
_SWEEPS = 8
# How much an edge wants to be straight, by how many of its ends are bends (Gansner and others,
# A technique for drawing directed graphs, 1993).
_STRAIGHTNESS = (1.0, 2.0, 8.0)
# And one from a node of one user that has no operands: it stands beside the way through the graph.
_LOOSE = 0.05

Edges = Sequence[tuple[int, int]]


@dataclass(frozen=True)
class Layout:
    """The middle of each node across, its layer, for each edge the places across at which it goes
    through the layers between its ends, and the size of the whole."""

    across: tuple[int, ...]
    layers: tuple[int, ...]
    bends: tuple[tuple[int, ...], ...]
    width: int
    height: int


def layout(count: int, edges: Edges, sources: Sequence[int]) -> Layout:
    """The layout of `count` nodes; every edge leads to a higher number. What does not depend on
    `sources` (constants that are computed with) stands as near as can be above its users, and so do
    the sources."""
    layers = _layers(count, edges, sources)
    drawing = _Layered(count, edges, layers)
    drawing.sort()
    across = drawing.placed()
    left = min((across[node] - drawing.width(node) / 2 for node in range(len(across))), default=0)
    right = max((across[node] + drawing.width(node) / 2 for node in range(len(across))), default=0)
    at = [round(each - left) for each in across]
    depth = max(layers, default=-1) + 1
    return Layout(
        tuple(at[:count]),
        tuple(layers),
        tuple(tuple(at[bend] for bend in bends) for bends in drawing.bends),
        round(right - left),
        max(0, depth * (NODE_HEIGHT + LAYER_GAP) - LAYER_GAP),
    )


def _layers(count: int, edges: Edges, sources: Sequence[int]) -> list[int]:
    layers, fed, given = [0] * count, [False] * count, set(sources)
    users: list[list[int]] = [[] for _ in range(count)]
    operands: list[list[int]] = [[] for _ in range(count)]
    for above, below in edges:
        users[above].append(below)
        operands[below].append(above)
    for node in range(count):
        layers[node] = max((layers[each] + 1 for each in operands[node]), default=0)
        fed[node] = node in given or any(fed[each] for each in operands[node])
    for node in reversed(range(count)):
        if users[node] and (node in given or not fed[node]):
            layers[node] = min(layers[user] for user in users[node]) - 1
    return layers


class _Layered:
    """A graph whose edges lead from a layer to the next: long ones have a bend in each between."""

    def __init__(self, count: int, edges: Edges, layers: Sequence[int]) -> None:
        self.count = count
        self.rows: list[list[int]] = [[] for _ in range(max(layers, default=-1) + 1)]
        self.layer_of = list(layers)
        self.above: list[list[int]] = [[] for _ in range(count)]
        self.below: list[list[int]] = [[] for _ in range(count)]
        self.bends: list[list[int]] = []
        for upper, lower in edges:
            self.bends.append(self._cut(upper, lower))
        for node in self._found_order():
            self.rows[self.layer_of[node]].append(node)

    def _cut(self, upper: int, lower: int) -> list[int]:
        bends, last = [], upper
        for layer in range(self.layer_of[upper] + 1, self.layer_of[lower]):
            bend = len(self.layer_of)
            self.layer_of.append(layer)
            self.above.append([])
            self.below.append([])
            self._join(last, bend)
            bends.append(bend)
            last = bend
        self._join(last, lower)
        return bends

    def _join(self, upper: int, lower: int) -> None:
        self.below[upper].append(lower)
        self.above[lower].append(upper)

    def _found_order(self) -> list[int]:
        """All nodes as a walk down from the first meets them, so that what belongs together begins
        side by side."""
        order, seen = [], [False] * len(self.layer_of)
        stack = [node for node in reversed(range(self.count)) if not self.above[node]]
        while stack:
            node = stack.pop()
            if not seen[node]:
                seen[node] = True
                order.append(node)
                stack.extend(reversed(self.below[node]))
        return order

    def width(self, node: int) -> int:
        return NODE_WIDTH if node < self.count else _BEND_WIDTH

    # ---- order in a layer ----------------------------------------------------------------------

    def sort(self) -> None:
        """Orders every layer by the middles of its neighbours; of all sweeps the one with the
        fewest crossings counts."""
        best, least = [list(row) for row in self.rows], self._crossings()
        for sweep in range(_SWEEPS):
            if least == 0:
                break
            down = sweep % 2 == 0
            for row in self.rows if down else reversed(self.rows):
                self._sort_row(row, self.above if down else self.below)
            crossings = self._crossings()
            if crossings < least:
                best, least = [list(each) for each in self.rows], crossings
        self.rows = best

    def _sort_row(self, row: list[int], neighbours: list[list[int]]) -> None:
        place: dict[int, int] = {}
        for node in row:
            for each in neighbours[node]:
                if each not in place:
                    place |= {n: i for i, n in enumerate(self.rows[self.layer_of[each]])}
        stays = {node: at for at, node in enumerate(row)}

        def middle(node: int) -> float:
            near = neighbours[node]
            return sum(place[each] for each in near) / len(near) if near else stays[node]

        row.sort(key=middle)

    def _crossings(self) -> int:
        total = 0
        for upper, lower in zip(self.rows, self.rows[1:], strict=False):
            place = {node: at for at, node in enumerate(lower)}
            ends = [p for node in upper for p in sorted(place[each] for each in self.below[node])]
            total += _inversions(ends, len(lower))
        return total

    # ---- places across -------------------------------------------------------------------------

    def placed(self) -> list[float]:
        """The middle of every node and bend."""
        across = [0.0] * len(self.layer_of)
        for row in self.rows:
            offsets = self._offsets(row)
            for node, offset in zip(row, offsets, strict=True):
                across[node] = offset - offsets[-1] / 2
        both = [[*a, *b] for a, b in zip(self.above, self.below, strict=True)]
        for sweep in range(_SWEEPS):
            down = sweep % 2 == 0
            last = sweep >= _SWEEPS - 2
            neighbours = both if last else self.above if down else self.below
            for row in self.rows if down else reversed(self.rows):
                self._place_row(row, neighbours, across)
        self._straighten(across)
        return across

    def _offsets(self, row: list[int]) -> list[float]:
        """How far each of a layer stands at least from the first."""
        offsets = [0.0]
        for left, right in zip(row, row[1:], strict=False):
            offsets.append(offsets[-1] + (self.width(left) + self.width(right)) / 2 + _NODE_GAP)
        return offsets

    def _place_row(self, row: list[int], neighbours: list[list[int]], across: list[float]) -> None:
        """Moves a layer so that the sum of squares of what it is off its neighbours is least, its
        order and gaps kept: pools of adjacent violators."""
        offsets = self._offsets(row)
        pools: list[tuple[float, float, int]] = []  # middle, weight, how many
        for node, offset in zip(row, offsets, strict=True):
            pulls = [(across[each], self._straightness(node, each)) for each in neighbours[node]]
            weight = sum(pull for _, pull in pulls) or 1e-3
            wanted = sum(at * pull for at, pull in pulls) / weight if pulls else across[node]
            pools.append((wanted - offset, weight, 1))
            while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
                (first, heavy, many), (second, light, few) = pools[-2:]
                middle = (first * heavy + second * light) / (heavy + light)
                pools[-2:] = [(middle, heavy + light, many + few)]
        middles = [middle for middle, _, many in pools for _ in range(many)]
        for node, offset, middle in zip(row, offsets, middles, strict=True):
            across[node] = middle + offset

    def _straightness(self, node: int, other: int) -> float:
        if self._is_aside(node) or self._is_aside(other):
            return _LOOSE
        return _STRAIGHTNESS[(node >= self.count) + (other >= self.count)]

    def _is_aside(self, node: int) -> bool:
        return not self.above[node] and len(self.below[node]) == 1 and self.layer_of[node] > 0

    def _straighten(self, across: list[float]) -> None:
        """Makes the bends of each edge one straight line, or few, within the room between what
        stands left and right of them."""
        beside: dict[int, tuple[int | None, int | None]] = {}
        for row in self.rows:
            for left, node, right in zip([None, *row], row, [*row[1:], None], strict=False):
                beside[node] = left, right
        for bends in self.bends:
            run: list[int] = []
            low, high = -inf, inf
            for bend in bends:
                least, most = self._room(bend, beside[bend], across)
                if max(low, least) > min(high, most):
                    self._level(run, low, high, across)
                    run, low, high = [], -inf, inf
                run.append(bend)
                low, high = max(low, least), min(high, most)
            self._level(run, low, high, across)

    def _room(
        self, node: int, beside: tuple[int | None, int | None], across: list[float]
    ) -> tuple[float, float]:
        left, right = beside
        width = self.width(node)
        least = -inf if left is None else across[left] + (self.width(left) + width) / 2 + _NODE_GAP
        most = inf if right is None else across[right] - (self.width(right) + width) / 2 - _NODE_GAP
        return min(least, across[node]), max(most, across[node])

    def _level(self, run: list[int], low: float, high: float, across: list[float]) -> None:
        if run:
            wanted = sum(across[bend] for bend in run) / len(run)
            for bend in run:
                across[bend] = min(max(wanted, low), high)


def _inversions(values: list[int], size: int) -> int:
    """How many pairs stand the wrong way round, counted with a tree of sums (Fenwick)."""
    tree, total = [0] * (size + 1), 0
    for seen, value in enumerate(values):
        at, smaller = value + 1, 0
        while at > 0:
            smaller += tree[at]
            at &= at - 1
        total += seen - smaller
        at = value + 1
        while at <= size:
            tree[at] += 1
            at += at & -at
    return total
