"""The tables of the library and those of TVM, and what one says of a graph: the first row that
takes it at its root."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import tvm
from tvm import relay

from qpat.compiler import compile_file
from qpat.relay.environment import listening
from qpat.relay.loading import load
from tests.library import arm_compute_lib, ethos_n
from tests.library.draw import Draw
from tests.library.operators import Body
from tests.single_pass.real_tables import HAS_ETHOSU, table

PATTERNS = Path(__file__).parents[2] / "patterns"
CRASH = "the check raises"


@dataclass(frozen=True)
class Library:
    """A file of the library, and the options with which it is a table of TVM."""

    stem: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def pattern_table(self) -> Any:
        return generated(self.stem).pattern_table(**self.options)


TABLES: Mapping[str, Library] = {
    "cmsis-nn": Library("cmsis_nn"),
    "ethos-u": Library("ethos_u"),
    "ethos-n": Library("ethos_n"),
    "arm_compute_lib": Library("arm_compute_lib", {"concatenation": True}),
}


def hand_written(name: str) -> Any:
    """The rows of TVM's table, for Ethos-N with its checks written in Python. Skips a test where
    the table is not installed."""
    if name == "ethos-n":
        return ethos_n.table()
    if name == "arm_compute_lib":
        return arm_compute_lib.table()
    if name == "ethos-u" and not HAS_ETHOSU:
        pytest.skip("ethos-u-vela is not installed")
    return table(name)


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


def cases(
    body: Body, count: int, first: int = 0, kind: type[Draw] = Draw
) -> Iterator[tuple[int, Any, frozenset[str]]]:
    """So many graphs that have types: the seed, the root, and in what the tables may differ."""
    found, seed = 0, first
    while found < count:
        draw = kind(seed)
        root = typed(body(draw))
        if root is not None:
            yield seed, root, frozenset(draw.traits)
            found += 1
        seed += 1
        assert seed - first < 20 * count + 100, "hardly any of these graphs has types"
