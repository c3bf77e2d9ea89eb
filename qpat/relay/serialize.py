"""A partition, and the parameters of every tensor, as JSON: plain numbers, lists and strings.

docs/partition.schema.json and docs/params.schema.json are the schemas.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from qpat.relay.names import Names, operator_name
from qpat.relay.tensors import conflict_text, silence_text


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


def quantization_json(quantization: Any) -> dict[str, Any]:
    """A qpat.relay.quantization.Quantization as JSON; unknown parameters are None."""
    names = quantization.names
    return {
        "tensors": [_tensor_json(tensor, names) for tensor in quantization.tensors()],
        "conflicts": [
            {
                "message": conflict_text(each, names),
                "first": _parameters_json(each.first) | _source_json(each.first_source, names),
                "second": _parameters_json(each.second) | _source_json(each.second_source, names),
            }
            for each in quantization.conflicts
        ],
        "faults": [
            {"message": silence_text(each, names), "reason": each.unread.reason}
            | _source_json(each.source, names)
            for each in quantization.faults
        ],
    }


def _tensor_json(tensor: Any, names: Names) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "operator": tensor.operator,
        "dtype": tensor.dtype,
        "shape": list(tensor.shape),
        **_parameters_json(tensor),
        "said_by": None if tensor.said_by is None else _source_json(tensor.said_by, names),
        "unknown": tensor.unknown,
    }


def _source_json(source: Any, names: Names) -> dict[str, Any]:
    return {
        "operator": operator_name(source.call),
        "name": names.of(source.call),
        "tensor": source.tensor,
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
    """A value as JSON has it: what is no finite number is its name, "inf", "-inf" or "nan"."""
    if isinstance(value, np.ndarray | np.generic):
        is_known = value.dtype.kind != "f" or bool(np.all(np.isfinite(value)))
        return value.tolist() if is_known else _plain(value.tolist())
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    is_odd = isinstance(value, float) and not math.isfinite(value)
    return str(value) if is_odd else value
