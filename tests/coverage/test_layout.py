"""Where nodes are drawn: nothing overlaps, edges lead down and around nodes."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from qpat.relay.coverage.layout import NODE_WIDTH, layout

Edges = list[tuple[int, int]]


@st.composite
def graphs(draw: st.DrawFn) -> tuple[int, Edges]:
    count = draw(st.integers(1, 24))
    edges = set()
    for node in range(1, count):
        for _ in range(draw(st.integers(0, 3))):
            edges.add((draw(st.integers(0, node - 1)), node))
    return count, sorted(edges)


@given(graphs(), st.integers(0, 3))
def test_nothing_overlaps_and_edges_lead_down(graph: tuple[int, Edges], inputs: int) -> None:
    count, edges = graph
    found = layout(count, edges, range(min(inputs, count)))
    assert len(found.across) == len(found.layers) == count
    in_layer: dict[int, list[int]] = {}
    for across, layer in zip(found.across, found.layers, strict=True):
        assert layer >= 0
        in_layer.setdefault(layer, []).append(across)
        assert NODE_WIDTH / 2 - 1 <= across <= found.width - NODE_WIDTH / 2 + 1
    for row in in_layer.values():
        row.sort()
        assert all(b - a >= NODE_WIDTH + 8 for a, b in zip(row, row[1:], strict=False))
    for (above, below), bends in zip(edges, found.bends, strict=True):
        assert len(bends) == found.layers[below] - found.layers[above] - 1 >= 0
        for layer, bend in enumerate(bends, start=found.layers[above] + 1):
            assert all(abs(bend - node) > NODE_WIDTH / 2 for node in in_layer[layer])


def test_a_chain_is_a_straight_line_and_a_skip_connection_one_beside_it() -> None:
    count = 12
    chain = [(node, node + 1) for node in range(count - 1)]
    straight = layout(count, chain, [0])
    assert len(set(straight.across)) == 1 and straight.layers == tuple(range(count))
    skipped = layout(count, [*chain, (2, 9)], [0])
    bends = skipped.bends[-1]
    assert len(bends) == 6 and len(set(bends)) == 1


def test_what_is_computed_from_constants_stands_beside_its_user() -> None:
    chain = [(0, 1), (1, 2), (2, 3), (3, 5)]
    found = layout(6, [*chain, (4, 5)], [0])
    assert found.layers == (0, 1, 2, 3, 3, 4)


def test_an_empty_graph_and_a_large_one() -> None:
    empty = layout(0, [], [])
    assert (empty.width, empty.height) == (0, 0)
    count = 5000
    started = time.process_time()
    edges = [(node - step, node) for node in range(9, count) for step in (1, 9)]
    large = layout(count, edges, range(9))
    assert max(large.layers) >= (count - 9) // 9
    assert time.process_time() - started < 30
