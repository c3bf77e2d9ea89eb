"""What is said to be beaten forms no composite under TVM's own MergeComposite."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import tvm
from hypothesis import HealthCheck, Phase, event, given, note, reject, settings
from hypothesis import strategies as st
from tvm import relay

from qpat.analysis.answers import Verdict
from qpat.analysis.reachability import reachability
from qpat.compiler import Compiled
from qpat.diagnostics import QpatError
from qpat.relay.loading import load
from qpat.semantics import ir
from qpat.targets.relay import relay_module
from tests.analysis.small import LEAVES, Graph, Pattern, Row, module_text, rows_of
from tests.analysis.test_brute_force import candidates, sampled_modules
from tests.lowering import lowered
from tests.targets.strategies import Case, cases

MODULES = 20
MOST_GRAPHS = 100
TOGETHER = 50


def table(module: ir.Module) -> Any:
    """The generated table, its composites renamed by the number of the row."""
    text = relay_module(module, "p.qpat")
    rows = load(Compiled(module, text, ())).pattern_table()
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


# ---- richer patterns: tuples, scales, fields, forms ----------------------------------------------

# What makes another pattern of a random one: more general ones often beat it.
CHANGES = {
    "the same": (),
    "anything for constants": ((r"const\?? ", ""), (r"  param .*\n", "")),
    "no attributes": ((r", (?:a_min|a_max|axis|out_dtype|rounding)=[^,)]*", ""),),
    "any dtype": ((r": (?:float32|int8)(?=[,)])", ""),),
}


@settings(
    deadline=None,
    derandomize=True,
    max_examples=200,
    phases=[Phase.generate, Phase.shrink],
    print_blob=False,
    suppress_health_check=list(HealthCheck),
)
@given(cases(), st.sampled_from(sorted(CHANGES)), st.booleans())
def test_beaten_rows_of_richer_patterns_form_no_composite(
    case: Case, change: str, is_first: bool
) -> None:
    other = case.pattern.text.replace("pattern p(", "pattern q(")
    for old, new in CHANGES[change]:
        other = re.sub(old, new, other)
    texts = [other, case.pattern.text] if is_first else [case.pattern.text, other]
    text = "\n".join(['compiler "s"', *texts])
    note(text)
    try:
        module = lowered(text)
    except QpatError:
        reject()
    answers = reachability(module)
    before, _ = case.graph.module()
    merge = relay.transform.MergeComposite(table(module))
    after = merge(before).astext(show_meta_data=False)
    formed = [n for n in range(len(answers)) if f'"s.row{n}"' in after]
    assert not [n for n in formed if answers[n].verdict is Verdict.BEATEN]
    event(f"{change}, {'first' if is_first else 'last'}: {len(formed) > 0}")
    event(f"beaten: {sum(each.verdict is Verdict.BEATEN for each in answers) * 4 // len(answers)}")
