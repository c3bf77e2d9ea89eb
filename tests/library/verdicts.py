"""What a table says of one graph: the first row that takes it at its root."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import tvm
from tvm import relay

from qpat.compiler import compile_file
from qpat.relay.environment import listening
from qpat.relay.loading import load
from tests.library.draw import Draw
from tests.library.operators import Body

PATTERNS = Path(__file__).parents[2] / "patterns"
CRASH = "the check raises"


@cache
def generated(stem: str) -> ModuleType:
    """The compiled module of a file of the library."""
    return load(compile_file(PATTERNS / f"{stem}.qpat"))


def typed(body: Any) -> Any | None:
    """A root with types; None where TVM's type inference refuses the graph."""
    function = relay.Function(relay.analysis.free_vars(body), body)
    with listening():
        try:
            module = relay.transform.InferType()(tvm.IRModule.from_expr(function))
        except tvm.TVMError:
            return None
    return module["main"].body


def verdict(rows: Any, root: Any) -> str | None:
    """The composite of the first row that matches at the root and whose check says yes."""
    for name, pattern, *check in rows:
        if not pattern.match(root):
            continue
        try:
            taken = not check or bool(check[0](root))
        except Exception:
            return CRASH
        if taken:
            return str(name)
    return None


def cases(body: Body, count: int, first: int = 0) -> Iterator[tuple[int, Any, frozenset[str]]]:
    """So many graphs that have types: the seed, the root, and in what the tables may differ."""
    found, seed = 0, first
    while found < count:
        draw = Draw(seed)
        root = typed(body(draw))
        if root is not None:
            yield seed, root, frozenset(draw.traits)
            found += 1
        seed += 1
        assert seed - first < 20 * count + 100, "hardly any of these graphs has types"
