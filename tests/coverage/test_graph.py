"""What is drawn of a module: its calls and inputs, and which uses which."""

from __future__ import annotations

from collections import Counter
from typing import Any

import tvm
from tvm import relay

from qpat.compiler import compile_source
from qpat.relay.coverage.data import Coverage, Graph
from qpat.relay.coverage.graph import graph_of
from qpat.relay.partition import partition
from qpat.source import Source
from tests.coverage.conftest import NETWORKS
from tests.models import DATA
from tests.oracle import flatbuffer

PATTERNS = """compiler "npu"
pattern relu(x: float32) -> y: float32 { y = nn.relu(x) }
"""


def graph(body: Any) -> Graph:
    compiled = compile_source(Source("npu.qpat", PATTERNS))
    return graph_of(partition(tvm.IRModule.from_expr(body), compiled))


def named_edges(found: Graph) -> list[tuple[str, str]]:
    return [(found.nodes[above].title, found.nodes[below].title) for above, below in found.edges]


def test_edges_lead_through_tuples_and_fields() -> None:
    x = relay.var("x", shape=(1, 4))
    parts = relay.split(x, 2, axis=1)
    both = relay.Tuple([relay.nn.relu(parts[0]), relay.exp(parts[1])])
    first = relay.tanh(relay.TupleGetItem(both, 0))
    out = relay.concatenate([first, relay.TupleGetItem(both, 1)], axis=1)
    found = graph(out)
    assert Counter(named_edges(found)) == Counter(
        [
            ("x", "split"),
            ("split", "relu"),
            ("split", "exp"),
            ("relu", "tanh"),
            ("tanh", "concatenate"),
            ("exp", "concatenate"),
        ]
    )
    assert [found.nodes[each].title for each in found.results] == ["concatenate"]


def test_both_branches_and_other_functions_are_drawn() -> None:
    module = tvm.relay.fromtext("""#[version = "0.0.5"]
def @f(%a: Tensor[(1, 4), float32]) -> Tensor[(1, 4), float32] { nn.relu(%a) }
def @main(%x: Tensor[(1, 4), float32], %c: bool) -> Tensor[(1, 4), float32] {
  let %y = exp(%x);
  if (%c) { nn.relu(%y) } else { @f(tanh(%y)) }
}""")
    compiled = compile_source(Source("npu.qpat", PATTERNS))
    found = graph_of(partition(module, compiled))
    titles = Counter(node.title for node in found.nodes if node.kind != "input")
    assert titles["exp"] == titles["tanh"] == 1 and titles["relu"] == 2
    assert len(found.results) >= 2


def test_edges_are_those_of_the_file(by_library: Coverage) -> None:
    """Every operator becomes a composite there; the frontend puts a reshape before a dense layer,
    which is one more of both."""
    model = flatbuffer.read(DATA / NETWORKS[0])
    found = by_library.models[0].graph
    wanted = sum(
        len({each for each in op.inputs if each and not model.tensors[each].is_constant})
        for op in model.operators
    )
    kinds = Counter(node.kind for node in found.nodes)
    more = sum(op.kind == "FULLY_CONNECTED" for op in model.operators)
    assert kinds == {"input": len(model.inputs), "composite": len(model.operators) + more}
    assert len(found.edges) == wanted + more
