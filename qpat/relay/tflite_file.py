"""Whether a TFLite file is whole: a flatbuffer does not say so, and readers go beyond its end."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from typing import Any


def whole_model(tflite: Any, data: bytes) -> Any:
    """The model of a file, with the package `tflite`. Raises some error where what the file says of
    its own parts cannot be: a flatbuffer is read where it is used, so that shows up as anything."""
    # `tflite.Model` is the class, and in old releases the module that has it.
    model = getattr(tflite.Model, "Model", tflite.Model).GetRootAsModel(data, 0)
    _check_model(model, len(data))
    return model


def is_damage(error: Exception) -> bool:
    """Whether an error is how reading beyond a flatbuffer's end, or nonsense in it, shows."""
    if isinstance(error, struct.error | UnicodeDecodeError | IndexError):
        return True
    nonsense = r"buffer is smaller than|buffer size must be|bad number .* for type"
    return re.match(nonsense, str(error)) is not None


def _check_model(model: Any, size: int) -> None:
    codes = _count(model.OperatorCodesLength(), size)
    buffers = _count(model.BuffersLength(), size)
    for index in range(buffers):
        model.Buffers(index).DataAsNumpy()
    if _count(model.SubgraphsLength(), size) == 0:
        raise ValueError("no subgraph")
    for index in range(model.SubgraphsLength()):
        _check_subgraph(model.Subgraphs(index), size, codes, buffers)


def _check_subgraph(graph: Any, size: int, codes: int, buffers: int) -> None:
    tensors = _count(graph.TensorsLength(), size)
    for index in range(tensors):
        tensor = graph.Tensors(index)
        (tensor.Name() or b"").decode("utf-8")
        tensor.ShapeAsNumpy()
        if tensor.Quantization() is not None:
            tensor.Quantization().ScaleAsNumpy()
            tensor.Quantization().ZeroPointAsNumpy()
        _require(tensor.Buffer() < max(buffers, 1))
    _check_indices(_list(graph.InputsAsNumpy()), tensors)
    _check_indices(_list(graph.OutputsAsNumpy()), tensors)
    for index in range(_count(graph.OperatorsLength(), size)):
        operator = graph.Operators(index)
        _require(operator.OpcodeIndex() < codes)
        # An operand that is left out is -1.
        _check_indices((i for i in _list(operator.InputsAsNumpy()) if i != -1), tensors)
        _check_indices(_list(operator.OutputsAsNumpy()), tensors)


def _list(vector: Any) -> list[int]:
    # A vector that is not there is 0.
    return [] if isinstance(vector, int) else [int(value) for value in vector]


def _check_indices(indices: Iterable[int], length: int) -> None:
    _require(all(0 <= index < length for index in indices))


def _count(length: int, size: int) -> int:
    """The length of a vector, of which each element takes four bytes of the file at least."""
    _require(length * 4 <= size)
    return length


def _require(holds: bool) -> None:
    if not holds:
        raise ValueError("no such part")
