"""The tables of the library and those of TVM take the same graphs, row by row, but for what is
listed in docs/library.md."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.library import rows
from tests.library.verdicts import TABLES, cases, hand_written, verdict
from tests.long_run import LONG

# More of them in the long run (`make fuzz`).
COUNT = max(25, LONG // 10)
DOCS = (Path(__file__).parents[2] / "docs" / "library.md").read_text(encoding="utf-8")
CASES = [(name, row) for name in TABLES for row in rows.BODIES[name]]


@pytest.mark.parametrize(("name", "row"), CASES)
def test_rows_take_the_same_graphs(name: str, row: str) -> None:
    theirs, ours = hand_written(name), TABLES[name].pattern_table()
    known = rows.DIFFERENCES.get(name, {}).keys()
    taken = 0
    for seed, root, traits in cases(rows.BODIES[name][row], COUNT):
        expected, found = verdict(theirs, root), verdict(ours, root)
        taken += found is not None
        assert found == expected or traits & known, f"seed {seed}: {found}, not {expected}\n{root}"
    assert taken > 0 or row in rows.NEVER


LISTED = [(name, trait) for name, traits in rows.DIFFERENCES.items() for trait in traits]


@pytest.mark.parametrize(("name", "trait"), LISTED)
def test_listed_difference_is_one(name: str, trait: str) -> None:
    """Graphs with this trait alone that are judged differently are so in the way that is listed."""
    body, *wanted = rows.DIFFERENCES[name][trait]
    theirs, ours = hand_written(name), TABLES[name].pattern_table()
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
