"""What is said to be beaten forms no composite under TVM's own MergeComposite."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relay

from qpat.analysis.answers import Verdict
from qpat.compiler import Compiled
from qpat.relay.loading import load
from qpat.semantics import ir
from qpat.targets.relay import relay_module
from tests.analysis.small import LEAVES, Graph, Pattern, Row, module_text, rows_of
from tests.analysis.test_brute_force import candidates, sampled_modules

MODULES = 40
MOST_GRAPHS = 150
TOGETHER = 50


def table(module: ir.Module) -> Any:
    """The generated table, its composites renamed by the number of the row."""
    rows = load(Compiled(module, relay_module(module, "p.qpat"), ())).pattern_table()
    return [(f"s.row{number}", *rest) for number, (_, *rest) in enumerate(rows)]


def outputs(graph: Graph, x: Any, dtype: str) -> list[Any]:
    """A graph on a variable, with nodes of its own."""
    nodes = [x if leaf == "x" else relay.const(np.asarray(leaf, dtype)) for leaf in LEAVES]
    for call in graph.calls:
        operands = [nodes[operand] for operand in call.operands]
        if call.operator == "clip":
            nodes.append(relay.clip(operands[0], 0, call.limit))
        else:
            nodes.append({"add": relay.add, "nn.relu": relay.nn.relu}[call.operator](*operands))
    return [nodes[n] for n in graph.nodes if n >= len(LEAVES) and not graph.users(n)]


def merged(rows: Any, graphs: Sequence[Graph], dtype: str) -> str:
    """The text of many graphs, side by side in functions of one variable, after MergeComposite."""
    texts = []
    for start in range(0, len(graphs), TOGETHER):
        x = relay.var("x", shape=(1, 4), dtype=dtype)
        found = [each for g in graphs[start : start + TOGETHER] for each in outputs(g, x, dtype)]
        module = tvm.IRModule.from_expr(relay.Function([x], relay.Tuple(found)))
        module = relay.transform.InferType()(module)
        merged_module = relay.transform.MergeComposite(rows)(module)
        texts.append(merged_module.astext(show_meta_data=False))
    return "\n".join(texts)


def beaten_modules() -> Iterator[tuple[tuple[Pattern, ...], ir.Module, list[int]]]:
    """Random modules of which a row is said to be beaten, with the numbers of those."""
    for patterns, module, answers in sampled_modules():
        beaten = [n for n, each in enumerate(answers) if each.verdict is Verdict.BEATEN]
        if beaten:
            yield patterns, module, beaten


def chosen(row: Row, chance: random.Random) -> list[Graph]:
    """Graphs that have all operators of a row: all of up to two calls, and some of three."""
    found = candidates(row)
    small = [graph for graph in found if len(graph.calls) < 3]
    large = [graph for graph in found if len(graph.calls) == 3]
    return [*small, *chance.sample(large, min(len(large), MOST_GRAPHS))]


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_beaten_rows_form_no_composite(dtype: str) -> None:
    chance = random.Random(7)
    checked = others = 0
    for patterns, module, beaten in beaten_modules():
        rows = rows_of(patterns)
        graphs = list({graph for number in beaten for graph in chosen(rows[number], chance)})
        text = merged(table(module), graphs, dtype)
        for number in beaten:
            assert f'"s.row{number}"' not in text, module_text(patterns)
        checked += len(beaten)
        others += any(f'"s.row{n}"' in text for n in range(len(rows)) if n not in beaten)
        if checked >= MODULES:
            break
    # The graphs are such that something forms on them.
    assert checked >= MODULES and others >= checked // 4
