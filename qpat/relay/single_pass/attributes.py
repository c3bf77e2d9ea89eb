"""Whether a call has the attributes that a pattern asks for, as TVM's matcher compares them."""

from __future__ import annotations

from typing import Any

import tvm
from tvm.runtime import Object, _ffi_node_api

from qpat.relay.single_pass.forms import Attribute
from qpat.relay.single_pass.reading import Graph

_ABSENT = object()


def has(graph: Graph, node: int, wanted: Attribute) -> bool:
    """Whether a call has an attribute: TVM compares C++ values with their boxes, by kind."""
    found = _found(graph, node, wanted.name)
    if found is _ABSENT or found is None:
        return False
    if isinstance(found, str):
        return wanted.kind == "str" and str(found) == wanted.value
    if isinstance(found, Object):
        equal = tvm.ir.structural_equal
        return bool(equal(wanted.original, found, map_free_vars=True))
    if isinstance(found, float):
        return wanted.kind == "float" and found == wanted.value
    return wanted.kind == "int" and found == wanted.value


def _found(graph: Graph, node: int, name: str) -> Any:
    # What is called there now has no attributes.
    if node in graph.functions:
        return _ABSENT
    key = (node, name)
    known = graph.attributes.get(key, graph)
    if known is graph:
        known = graph.attributes[key] = _read_attribute(graph, node, name)
    return known


def _read_attribute(graph: Graph, node: int, name: str) -> Any:
    attrs = graph.attrs_of(node)
    if attrs is None:
        return _ABSENT
    try:
        return _ffi_node_api.NodeGetAttr(attrs, name)
    except AttributeError:
        return _ABSENT
