"""Whether a record says of its tensors what the graph was made with.

A meaning does not tell all: a convolution only depends on the product of two scales.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from qpat.semantics import ir
from qpat.verify.instances import Instance


def contradiction(instance: Instance) -> str | None:
    """What a record says otherwise than the constants of its graph; None where nothing.

    Looked at are slots that constants of the graph fill, of tensors that stand where the row has
    them: of two that may change places either may be either.
    """
    for port in instance.ports:
        index = instance.row.values.get(port)
        space = next((n for n, s in enumerate(instance.row.spaces) if index in s.members), None)
        if index is None or space is None or space not in instance.graph.drawn:
            continue
        drawn, sites = instance.graph.drawn[space], instance.row.spaces[space]
        tensor = instance.tensor(port)
        if not _stands_there(instance, port, index, tensor):
            continue
        if sites.scales and not _agrees(tensor, "scale", drawn.scale):
            return _different(port, "scale", tensor, drawn.scale)
        if sites.zero_points and not _agrees(tensor, "zero_point", drawn.zero_point):
            return _different(port, "zero_point", tensor, drawn.zero_point)
    return None


def _stands_there(instance: Instance, port: str, index: int, tensor: Any) -> bool:
    node = instance.row.nodes[index]
    if isinstance(tensor, tuple) or not isinstance(node, ir.Input):
        return tensor is not None
    if tensor is None or tensor.input is None:
        return tensor is not None and node.constness is ir.Constness.CONSTANT
    argument = instance.arguments[tensor.input]
    return isinstance(argument, str) and argument == port


def _agrees(tensor: Any, slot: str, drawn: Any) -> bool:
    """Whether a slot is the drawn one; a record that does not know it says nothing wrong."""
    if isinstance(tensor, tuple):
        several = drawn if isinstance(drawn, list | np.ndarray) else [drawn] * len(tensor)
        pairs = zip(tensor, several, strict=False)
        return all(_agrees(each, slot, one) for each, one in pairs)
    said = getattr(tensor, slot)
    if said is None:
        return True
    wanted = np.asarray(drawn)
    found = np.asarray(said)
    return found.size == wanted.size and bool(np.all(found.reshape(wanted.shape) == wanted))


def _different(port: str, slot: str, tensor: Any, drawn: Any) -> str:
    several = tensor if isinstance(tensor, tuple) else (tensor,)
    said = ", ".join(str(getattr(each, slot)) for each in several)
    name = slot.replace("_", " ")
    return f"its {name} of `{port}` is {said}, and that of the graph {drawn}"
