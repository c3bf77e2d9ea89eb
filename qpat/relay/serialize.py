"""A partition as JSON: plain numbers, lists and strings. docs/partition.md has the schema."""

from __future__ import annotations

from typing import Any

import numpy as np


def partition_json(partition: Any) -> dict[str, Any]:
    """A qpat.relay.partition.Partition as JSON; unknown parameters are None."""
    return {
        "compiler": partition.compiler,
        "matches": [_match_json(match) for match in partition.matches],
        "host": [
            {"op": host.op, "reason": host.reason, "location": host.location}
            for host in partition.host
        ],
        "conflicts": [
            {"first": _parameters_json(each.first), "second": _parameters_json(each.second)}
            for each in partition.conflicts
        ],
    }


def _match_json(match: Any) -> dict[str, Any]:
    return {
        "composite": match.composite,
        "op": match.op,
        "pattern": match.pattern,
        "form": match.form,
        "location": match.location,
        "tensors": {port: _port_json(tensor) for port, tensor in match.tensors.items()},
        "params": {name: _plain(value) for name, value in match.params.items()},
    }


def _port_json(tensor: Any) -> Any:
    if isinstance(tensor, tuple):
        return [_port_json(each) for each in tensor]
    if tensor is None:
        return None
    return {
        "dtype": tensor.dtype,
        "shape": list(tensor.shape),
        "input": tensor.input,
        **_parameters_json(tensor),
    }


def _parameters_json(parameters: Any) -> dict[str, Any]:
    return {
        "scale": _plain(parameters.scale),
        "zero_point": _plain(parameters.zero_point),
        "axis": parameters.axis,
    }


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    return value
