"""Reads a .tflite file with the `tflite` package alone: what the converter wrote is the truth that
every quantization parameter of qpat is compared with. No TVM, no qpat in here.

Field meanings are those of the TFLite schema (tensorflow/lite/schema/schema.fbs): a tensor's
`quantization` has `scale: [float]`, `zero_point: [long]` and `quantized_dimension: int`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tflite

Array = npt.NDArray[Any]

# schema.fbs, enum TensorType.
_DTYPES = {
    tflite.TensorType.FLOAT32: "float32",
    tflite.TensorType.FLOAT16: "float16",
    tflite.TensorType.INT32: "int32",
    tflite.TensorType.UINT8: "uint8",
    tflite.TensorType.INT64: "int64",
    tflite.TensorType.BOOL: "bool",
    tflite.TensorType.INT16: "int16",
    tflite.TensorType.INT8: "int8",
}


def _enum_names(enum: type) -> dict[int, str]:
    return {value: name for name, value in vars(enum).items() if isinstance(value, int)}


_OPERATORS = _enum_names(tflite.BuiltinOperator)
_OPTIONS = _enum_names(tflite.BuiltinOptions)
_ACTIVATIONS = _enum_names(tflite.ActivationFunctionType)


@dataclass(frozen=True, eq=False)
class FlatTensor:
    """A tensor of the file. `scale` and `zero_point` are None where it is not quantized."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    scale: Array | None
    zero_point: Array | None
    quantized_dimension: int
    value: Array | None

    @property
    def is_constant(self) -> bool:
        return self.value is not None

    @property
    def per_channel(self) -> bool:
        return self.scale is not None and self.scale.size > 1


@dataclass(frozen=True)
class FlatOperator:
    """An operator of the file. An input that is left out (a bias, say) is None."""

    index: int
    kind: str
    inputs: tuple[str | None, ...]
    outputs: tuple[str, ...]
    fused_activation: str

    @property
    def span(self) -> str:
        """What the frontend of TVM 0.16 writes into the span of every call that it makes for this
        operator (`convert_op_to_relay` in tvm/relay/frontend/tflite.py)."""
        return ", ".join(self.outputs)


@dataclass(frozen=True, eq=False)
class FlatModel:
    tensors: dict[str, FlatTensor]
    operators: list[FlatOperator]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def tensors(path: Path) -> dict[str, FlatTensor]:
    return read(path).tensors


def operators(path: Path) -> list[FlatOperator]:
    return read(path).operators


@cache
def read(path: Path) -> FlatModel:
    model = tflite.Model.GetRootAsModel(path.read_bytes(), 0)
    if model.SubgraphsLength() != 1:
        raise ValueError(f"{path.name} has {model.SubgraphsLength()} subgraphs")
    graph = model.Subgraphs(0)
    listed = [_tensor(model, graph.Tensors(index)) for index in range(graph.TensorsLength())]
    named = {tensor.name: tensor for tensor in listed}
    if len(named) != len(listed):
        raise ValueError(f"{path.name}: two tensors have one name")

    def names(indices: Any) -> tuple[str | None, ...]:
        return tuple(None if index < 0 else listed[index].name for index in indices)

    def present(indices: Any) -> tuple[str, ...]:
        return tuple(listed[index].name for index in indices)

    found = []
    for index in range(graph.OperatorsLength()):
        operator = graph.Operators(index)
        found.append(
            FlatOperator(
                index,
                _kind(model, operator),
                names(operator.InputsAsNumpy()),
                present(operator.OutputsAsNumpy()),
                _fused_activation(operator),
            )
        )
    return FlatModel(named, found, present(graph.InputsAsNumpy()), present(graph.OutputsAsNumpy()))


def _tensor(model: Any, tensor: Any) -> FlatTensor:
    dtype = _DTYPES[tensor.Type()]
    shape = tuple(int(size) for size in tensor.ShapeAsNumpy()) if tensor.ShapeLength() else ()
    buffer = model.Buffers(tensor.Buffer())
    value = None
    if buffer.DataLength():
        value = np.frombuffer(buffer.DataAsNumpy().tobytes(), dtype).reshape(shape)
    scale, zero_point, dimension = _quantization(tensor.Quantization())
    return FlatTensor(tensor.Name().decode(), dtype, shape, scale, zero_point, dimension, value)


def _quantization(quantization: Any) -> tuple[Array | None, Array | None, int]:
    """A float tensor may have the table with nothing in it, or with calibrated minima only."""
    if quantization is None or not quantization.ScaleLength():
        return None, None, 0
    scale = np.array(quantization.ScaleAsNumpy(), np.float32)
    zero_point = np.array(quantization.ZeroPointAsNumpy(), np.int64)
    return scale, zero_point, int(quantization.QuantizedDimension())


def _kind(model: Any, operator: Any) -> str:
    """Codes above 127 are only in the newer of the two fields, older files have the older alone
    (schema.fbs, table OperatorCode)."""
    code = model.OperatorCodes(operator.OpcodeIndex())
    return _OPERATORS[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]


def _fused_activation(operator: Any) -> str:
    name = _OPTIONS[operator.BuiltinOptionsType()]
    if name == "NONE":
        return "NONE"
    options = getattr(tflite, name)()
    if not hasattr(options, "FusedActivationFunction"):
        return "NONE"
    table = operator.BuiltinOptions()
    options.Init(table.Bytes, table.Pos)
    return _ACTIVATIONS[options.FusedActivationFunction()]
