"""The analysis of ONNX models against what their QuantizeLinear and DequantizeLinear nodes have.

The scales and zero points are read from the file with the `onnx` package; a call is found by the
name of its node, which the frontend writes into its span.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from tvm import relay

from qpat.relay.quantization import Quantization, analysed
from tests.models import DATA

# How many tensors each has that are quantized with constants: once for each node.
COMPARED = {
    "onnx/opsoup_qdq_s8s8.onnx": 70,
    "onnx/resnet_qdq_s8s8_pc.onnx": 68,  # one scale for each channel
    "onnx/resnet_qdq_u8s8.onnx": 54,
}


def _nodes(path: Path) -> Iterator[tuple[str, str, Any, Any, int]]:
    """Kind, name, scale, zero point and axis of each node with constants for them."""
    graph = onnx.load(str(path)).graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            continue
        scale, zero_point = (constants.get(name) for name in node.input[1:3])
        axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
        if scale is not None and zero_point is not None:
            yield node.op_type, node.name, scale, zero_point, axis


def _calls(module: Any, known: Quantization) -> dict[tuple[str, str], Any]:
    """Calls by operator and name; what an output's name is put before ends with the node's."""
    kinds = {"qnn.quantize": "QuantizeLinear", "qnn.dequantize": "DequantizeLinear"}
    found = {}
    for tensor in known.tensors():
        if tensor.operator in kinds and isinstance(tensor.value, relay.Call):
            name = str(tensor.name).rsplit("@@", 1)[-1]
            found[kinds[tensor.operator], name] = tensor.value
    return found


@pytest.mark.parametrize("name", COMPARED)
def test_every_quantized_tensor_has_the_parameters_of_the_file(
    name: str, model: Callable[[str], Any]
) -> None:
    module = model(name)
    known = analysed(module)
    calls, compared, per_channel = _calls(module, known), 0, False
    for kind, node, scale, zero_point, axis in _nodes(DATA / name):
        call = calls[kind, node]
        value = call if kind == "QuantizeLinear" else call.args[0]
        found = known.of(value)
        assert found is not None, node
        assert np.array_equal(np.ravel(found.scale), np.ravel(scale)), node
        assert np.all(np.asarray(found.zero_point) == np.ravel(zero_point)), node
        assert found.axis == (axis % len(value.checked_type.shape) if scale.size > 1 else None)
        compared += 1
        per_channel = per_channel or scale.size > 1
    assert compared == COMPARED[name]
    assert per_channel == (name == "onnx/resnet_qdq_s8s8_pc.onnx")
    assert not [finding.message for finding in known.findings()]
