"""What it costs, where that is a number: reads through the FFI, work for rows, depth."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import tvm
from tvm import relay
from tvm.relay.dataflow_pattern import is_constant, is_op, wildcard
from tvm.runtime import _ffi_api, _ffi_node_api

import qpat
from benchmarks.partition import residual_network
from qpat.relay.graph import children_of, post_order
from qpat.relay.single_pass import table as table_module
from tests.single_pass.oracle import composites, same_as_tvm

EDGES = ("op", "args", "fields", "tuple_value", "body")
TABLE = [
    ("conv2d", is_op("qnn.requantize")(*[wildcard() for _ in range(5)])),
    ("add", is_op("qnn.add")(*[wildcard() for _ in range(8)])),
    ("pool", is_op("nn.max_pool2d")(wildcard())),
]


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[int, str]]:
    """How often each field of each object, and each item of each array, is asked for."""
    counts: Counter[tuple[int, str]] = Counter()
    attribute, item = _ffi_node_api.NodeGetAttr, _ffi_api.ArrayGetItem

    def counted_attribute(node: Any, name: str) -> Any:
        counts[hash(node), name] += 1
        return attribute(node, name)

    def counted_item(array: Any, at: int) -> Any:
        counts[hash(array), str(at)] += 1
        return item(array, at)

    monkeypatch.setattr(_ffi_node_api, "NodeGetAttr", counted_attribute)
    monkeypatch.setattr(_ffi_api, "ArrayGetItem", counted_item)
    return counts


def test_every_edge_is_read_once(reads: Counter[tuple[int, str]]) -> None:
    module = residual_network(160)
    nodes = post_order(module["main"])
    parameters = len(module["main"].params)
    edges = sum(len(children_of(node)) for node in nodes) - parameters
    arrays = [node.args for node in nodes if isinstance(node, relay.Call)]
    merge = qpat.merge_composite(TABLE)
    expected = composites(merge(module))  # compiles the patterns
    reads.clear()
    merged = merge(module)
    taken = dict(reads)
    assert composites(merged) == expected > 60
    of_nodes = {
        (hash(node), name): taken.get((hash(node), name), 0) for node in nodes for name in EDGES
    }
    of_arrays = {
        (hash(array), at): taken.get((hash(array), str(at)), 0)
        for array in arrays
        for at in range(len(array))
    }
    assert set(of_arrays.values()) == {1}
    calls = sum(isinstance(node, relay.Call) for node in nodes)
    # Of a call its operator and the array of its arguments, and then the arguments; of `main` its
    # body.
    assert set(of_nodes.values()) == {0, 1}
    assert sum(of_nodes.values()) == 2 * calls + 1
    assert edges == calls + sum(of_arrays.values()) + 1


def test_rows_without_a_root_are_not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[Any] = []
    before = table_module.compiled

    def counted(pattern: Any) -> Any:
        compiled.append(pattern)
        return before(pattern)

    monkeypatch.setattr(table_module, "compiled", counted)
    absent = [(f"absent{at}", is_op("sqrt")(is_op("abs")(wildcard()))) for at in range(50)]
    merged = qpat.merge_composite([*absent, *TABLE, *absent])(residual_network(40))
    assert [id(each) for each in compiled] == [id(row[1]) for row in TABLE]
    assert composites(merged) > 10


CHAIN = [
    ("both", is_op("nn.relu")(is_op("add")(wildcard(), is_constant()))),
    ("never", is_op("nn.relu")(wildcard()), lambda expr: False),
]


def chain(calls: int) -> Any:
    value = variable = relay.var("x", shape=(1, 4), dtype="int8")
    one = relay.const(1, "int8")
    for _ in range(calls // 2):
        value = relay.nn.relu(relay.add(value, one))
    function = relay.Function([variable], value)
    return relay.transform.InferType()(tvm.IRModule.from_expr(function))


def test_chain() -> None:
    assert same_as_tvm(CHAIN, chain(1000)) == 500


def test_chain_that_is_deeper_than_any_stack() -> None:
    """Against composites made by hand: on 50,000 calls TVM's pass takes minutes."""
    calls = 50_000
    merged = qpat.merge_composite(CHAIN)(chain(calls))
    assert tvm.ir.structural_equal(merged, composites_in_a_row(calls // 2))


def composites_in_a_row(count: int) -> Any:
    value = variable = relay.var("x", shape=(1, 4), dtype="int8")
    one = relay.const(1, "int8")
    for at in range(count):
        # TVM goes through a module from its end.
        inner = relay.var(f"FunctionVar_{count - 1 - at}_0", shape=(1, 4), dtype="int8")
        body = relay.nn.relu(relay.add(inner, one))
        function = relay.Function([inner], body)
        function = function.with_attr("PartitionedFromPattern", "add_nn.relu_")
        value = relay.Call(function.with_attr("Composite", "both"), [value])
    function = relay.Function([variable], value)
    return relay.transform.InferType()(tvm.IRModule.from_expr(function))
