"""The tables of the library and those of TVM take the same graphs, row by row, but for what is
listed in docs/library.md."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.library import arm_compute_lib, ethos_n, rows
from tests.library.operators import Body
from tests.library.verdicts import cases, generated, verdict
from tests.long_run import LONG
from tests.single_pass.real_tables import HAS_ETHOSU, table

# More of them in the long run (`make fuzz`).
COUNT = max(25, LONG // 10)
DOCS = (Path(__file__).parents[2] / "docs" / "library.md").read_text(encoding="utf-8")

TABLES: Mapping[str, tuple[str, Mapping[str, Body]]] = {
    "cmsis-nn": ("cmsis_nn", rows.CMSIS_NN),
    "ethos-u": ("ethos_u", rows.ETHOS_U),
    "ethos-n": ("ethos_n", rows.ETHOS_N),
    "arm_compute_lib": ("arm_compute_lib", rows.ARM_COMPUTE_LIB),
}
CASES = [(name, row) for name, (_, bodies) in TABLES.items() for row in bodies]


@pytest.mark.parametrize(("name", "row"), CASES)
def test_rows_take_the_same_graphs(name: str, row: str) -> None:
    _, bodies = TABLES[name]
    theirs, ours = hand_written(name), library(name)
    known = rows.DIFFERENCES.get(name, {}).keys()
    taken = 0
    for seed, root, traits in cases(bodies[row], COUNT):
        expected, found = verdict(theirs, root), verdict(ours, root)
        taken += found is not None
        assert found == expected or traits & known, f"seed {seed}: {found}, not {expected}\n{root}"
    assert taken > 0 or row in rows.NEVER


LISTED = [(name, trait) for name, traits in rows.DIFFERENCES.items() for trait in traits]


@pytest.mark.parametrize(("name", "trait"), LISTED)
def test_listed_difference_is_one(name: str, trait: str) -> None:
    """Graphs with this trait alone that are judged differently are so in the way that is listed."""
    body, *wanted = rows.DIFFERENCES[name][trait]
    theirs, ours = hand_written(name), library(name)
    known = rows.DIFFERENCES[name].keys()
    differing: set[tuple[str | None, str | None]] = set()
    for _, root, traits in cases(body, 600):
        pair = verdict(theirs, root), verdict(ours, root)
        if traits & known <= {trait} and pair[0] != pair[1]:
            differing.add(pair)
            break
    first, second = (None if each is None else f"{name}.{each}" for each in wanted)
    assert differing == {(first, second)}
    assert trait in DOCS


def hand_written(name: str) -> Any:
    if name == "ethos-n":
        return ethos_n.table()
    if name == "arm_compute_lib":
        return arm_compute_lib.table()
    if name == "ethos-u" and not HAS_ETHOSU:
        pytest.skip("ethos-u-vela is not installed")
    return table(name)


def library(name: str) -> Any:
    options = {"concatenation": True} if name == "arm_compute_lib" else {}
    return generated(TABLES[name][0]).pattern_table(**options)
