"""Random tables on random modules: the module, its text and what checks see are TVM's."""

from __future__ import annotations

import os
from random import Random
from typing import Any

import tvm
from hypothesis import HealthCheck, Phase, event, given, reject, settings
from hypothesis import strategies as st
from tvm import relay

import qpat
from tests.single_pass.oracle import composites, must_be_equal
from tests.single_pass.random_tables import random_module, random_table

SIZES = st.integers(3, 16)
ROWS = st.integers(1, 6)
SEEDS = st.integers(0, 2**32 - 1)
# How many of a run at least must have had composites, for it to say something.
_LEAST = 0.3

many = settings(
    deadline=None,
    max_examples=int(os.environ.get("QPAT_FUZZ_EXAMPLES", "150")),
    # What is drawn is a seed: neither smaller nor explained it says more.
    phases=[phase for phase in Phase if phase not in (Phase.explain, Phase.shrink)],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


def merged_by_tvm(table: Any, module: Any) -> Any:
    """MergeComposite fails on some tables (an attribute that is null, a `multiply` pattern that
    takes any arguments, a composite whose tuple parameter has no type): those say nothing."""
    try:
        return relay.transform.MergeComposite(table)(module)
    except (tvm.TVMError, ValueError, tvm.error.DiagnosticError):
        return reject()


def test_table_on_module() -> None:
    found: list[int] = []

    @many
    @given(SEEDS, SIZES, ROWS)
    def same(seed: int, size: int, rows: int) -> None:
        chance = Random(seed)
        found.append(compare(chance, random_module(chance, size), rows))

    same()
    assert sum(map(bool, found)) >= _LEAST * len(found), "they match too little"


def test_table_on_module_with_composites() -> None:
    """Rows go beside what is partitioned already, and not into it."""
    found: list[int] = []

    @many
    @given(SEEDS, SIZES, ROWS)
    def same(seed: int, size: int, rows: int) -> None:
        chance = Random(seed)
        module = random_module(chance, size)
        first = merged_by_tvm(random_table(chance, module, 2, []), module)
        found.append(compare(chance, first, rows) - composites(first))

    same()
    assert sum(map(bool, found)) >= _LEAST * len(found), "they match too little"


def compare(chance: Random, module: Any, rows: int) -> int:
    """The number of composites in the module that both give."""
    log: list[str] = []
    table = random_table(chance, module, rows, log)
    expected = merged_by_tvm(table, module)
    seen_by_tvm = list(log)
    log.clear()
    merged = qpat.merge_composite(table).apply(module)
    must_be_equal(expected, merged.module)
    for fallback in merged.fallbacks:
        event(fallback.reason)
    assert log == seen_by_tvm
    return composites(merged.module)
