"""Records as attributes of composite functions in every generated Relax module, where that differs
from Relay: each definition takes the place of the one of the same name in relay_attributes.py. See
relax_graph.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tvm

from qpat.targets.relax_graph import (
    CallNode,
    FieldNode,
    TupleNode,
    VariableNode,
    bindings_of,
    parts_of,
)
from qpat.targets.relax_interface import ROWS, Options, extracted
from qpat.targets.relax_preparation import of_functions
from qpat.targets.relax_reading import composite_name, contents, operands_of
from qpat.targets.relay_attributes import RECORD, Unheld, held_attribute, tensor_parts
from qpat.targets.relay_support import Match, Parameters, Real, Tensor

# ---- attributes: the same in every module qpat writes --------------------------------

# What the address of a tensor's numbers is a multiple of, in bytes (kAllocAlignment in
# include/tvm/runtime/device_api.h).
ALIGNMENT = 64


def annotate(
    module: Any,
    inherited: Callable[[Any], Parameters | None] | None = None,
    options: Options | None = None,
) -> Any:
    """A module whose composites carry their record as the attribute `qpat_record`, which C++ reads.

    `module` is what FuseOpsByPattern gave, before MergeCompositeFunctions, and is not changed;
    `inherited` and `options` are as for extract(). Raises ValueError as extract() does, and Unheld,
    which is one, where a parameter is of a type that no attribute can have.
    """

    def read(variable: Any, function: Any) -> tuple[Match, Any, dict[Any, int]]:
        return *extracted(function, inherited, options), {}

    return with_records(module, read)


def with_records(module: Any, read: Callable[[Any, Any], tuple[Match, Any, dict[Any, int]]]) -> Any:
    """A module whose composites carry what is read of them: a match, its record, and which
    parameter of the composite a node is where the record does not say."""
    names = {row.composite for row in ROWS}
    made = dict(module.functions.items())
    for variable, function in made.items():
        name = composite_name(function)
        if name in names:
            match, record, inputs = read(variable, function)
            held = held_attribute(name, match, record, inputs)
            made[variable] = function.with_attr(RECORD, held)
    return of_functions(made, module)


def inputs_of(root: Any, function: Any) -> dict[Any, int]:
    """Which parameter of a composite each node is that its match has from outside. `root` is the
    match in the module, which the composite's body is a copy of."""
    indices = {each.__chandle__(): index for index, each in enumerate(function.params[:])}
    if len(indices) == 1:
        return {each: 0 for each in root.graph.nodes.values() if isinstance(each, VariableNode)}
    bound = {variable.__chandle__(): value for variable, value in bindings_of(function)}
    found: dict[Any, int] = {}
    seen: set[Any] = set()
    waiting = [(root, function.body.body)]
    while waiting:
        node, expr = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        handle = expr.__chandle__()
        if handle in indices:
            found[node] = indices[handle]
        elif isinstance(node, (CallNode, TupleNode, FieldNode)):
            waiting += zip(operands_of(node), parts_of(bound.get(handle, expr)), strict=False)
    return found


def tensor_attribute(tensor: Tensor, expr: Any, inputs: dict[Any, int]) -> dict[str, Any]:
    """One tensor. A constant is there itself: attributes share it with the composite's body."""
    made = tensor_parts(tensor)
    if expr in inputs:
        made["input"] = encoded(inputs[expr])
    if tensor.value is not None:
        made["value"] = contents(expr)
    return made


def array(value: Any) -> Any:
    """An array as a tensor of its own. It lies where TVM wants it, which copies slowly itself."""
    found = np.empty(value.nbytes + ALIGNMENT, "uint8")
    start = -found.ctypes.data % ALIGNMENT
    found = found[start : start + value.nbytes].view(value.dtype).reshape(value.shape)
    found[...] = value
    return tvm.runtime.from_dlpack(found)


def encoded(value: Any) -> Any:
    """A plain value as an attribute can have it. An array is a tensor."""
    if type(value) in (str, float, bool) or value is None:
        return value
    if isinstance(value, (np.ndarray, np.generic)) and np.ndim(value) == 0:
        return encoded(value.item())
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        return array(value)
    if isinstance(value, (bool, float, str)):
        return value
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return value
    if isinstance(value, (tuple, list)):
        return [encoded(each) for each in value]
    if isinstance(value, dict):
        return {str(name): encoded(each) for name, each in value.items()}
    if isinstance(value, Real):
        return {
            "op": value.op,
            "operands": encoded(value.operands),
            "attributes": encoded(value.attributes),
        }
    raise Unheld(f"a parameter is {value!r}, which no attribute can hold")


# ---- end of attributes ---------------------------------------------------------------
