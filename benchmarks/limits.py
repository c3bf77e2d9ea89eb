"""What a benchmark ends with: its limits as a table, its figures as a file, its exit status."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

# What was measured, the figure, the limit, whether it is kept.
Judged = Sequence[tuple[str, float, float, bool]]


def concluded(judged: Judged, result: Mapping[str, object], path: str) -> int:
    """Prints the limits, writes them behind `result` as JSON, and gives 0 where all are kept."""
    print("\n| limit | measured | limit | kept |\n|---|---|---|---|")
    for what, figure, limit, kept in judged:
        print(f"| {what} | {figure:.2f} | {limit:g} | {'yes' if kept else 'NO'} |")
    limits = [
        {"of": what, "figure": figure, "limit": limit, "kept": kept}
        for what, figure, limit, kept in judged
    ]
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(
        json.dumps({**result, "limits": limits}, indent=1) + "\n", encoding="utf-8"
    )
    print(f"wrote {path}")
    return 0 if all(kept for _, _, _, kept in judged) else 1
