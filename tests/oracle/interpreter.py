"""One operator of TFLite on its own: a model made by hand, run by TFLite's interpreter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flatbuffers
import numpy as np
import tflite
from numpy.typing import NDArray
from tflite_runtime.interpreter import Interpreter

_TYPES = {"int8": tflite.TensorType.INT8, "int16": tflite.TensorType.INT16}
_SCHEMA_VERSION = 3


def unary(
    operator: int, values: NDArray[Any], scales: Sequence[float], zero_points: Sequence[int]
) -> NDArray[Any]:
    """What the interpreter gives for a built-in operator of one input, int8 or int16 [N], as its
    output is; scale and zero point of input and output."""
    data = _model(operator, values.dtype.name, len(values), scales, zero_points)
    interpreter = Interpreter(model_content=data)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], values)
    interpreter.invoke()
    result: NDArray[Any] = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    return result


def _model(
    operator: int, dtype: str, length: int, scales: Sequence[float], zero_points: Sequence[int]
) -> bytes:
    builder = flatbuffers.Builder(1024)
    tensors = [
        _tensor(builder, name, dtype, length, scale, zero)
        for name, scale, zero in zip("xy", scales, zero_points, strict=True)
    ]
    tflite.BufferStart(builder)
    buffers = _offsets(builder, tflite.ModelStartBuffersVector, [tflite.BufferEnd(builder)])
    inputs, outputs = _numbers(builder, [0]), _numbers(builder, [1])
    tflite.OperatorStart(builder)
    tflite.OperatorAddOpcodeIndex(builder, 0)
    tflite.OperatorAddInputs(builder, inputs)
    tflite.OperatorAddOutputs(builder, outputs)
    call = tflite.OperatorEnd(builder)
    operators = _offsets(builder, tflite.SubGraphStartOperatorsVector, [call])
    listed = _offsets(builder, tflite.SubGraphStartTensorsVector, tensors)
    tflite.SubGraphStart(builder)
    tflite.SubGraphAddTensors(builder, listed)
    tflite.SubGraphAddInputs(builder, inputs)
    tflite.SubGraphAddOutputs(builder, outputs)
    tflite.SubGraphAddOperators(builder, operators)
    graph = tflite.SubGraphEnd(builder)
    graphs = _offsets(builder, tflite.ModelStartSubgraphsVector, [graph])
    tflite.OperatorCodeStart(builder)
    tflite.OperatorCodeAddDeprecatedBuiltinCode(builder, operator)
    tflite.OperatorCodeAddBuiltinCode(builder, operator)
    tflite.OperatorCodeAddVersion(builder, 2)  # the first that takes integers
    code = tflite.OperatorCodeEnd(builder)
    codes = _offsets(builder, tflite.ModelStartOperatorCodesVector, [code])
    tflite.ModelStart(builder)
    tflite.ModelAddVersion(builder, _SCHEMA_VERSION)
    tflite.ModelAddOperatorCodes(builder, codes)
    tflite.ModelAddSubgraphs(builder, graphs)
    tflite.ModelAddBuffers(builder, buffers)
    builder.Finish(tflite.ModelEnd(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _tensor(builder: Any, name: str, dtype: str, length: int, scale: float, zero: int) -> int:
    text = builder.CreateString(name)
    scales = builder.CreateNumpyVector(np.array([scale], "float32"))
    zeros = builder.CreateNumpyVector(np.array([zero], "int64"))
    tflite.QuantizationParametersStart(builder)
    tflite.QuantizationParametersAddScale(builder, scales)
    tflite.QuantizationParametersAddZeroPoint(builder, zeros)
    quantization = tflite.QuantizationParametersEnd(builder)
    shape = _numbers(builder, [length])
    tflite.TensorStart(builder)
    tflite.TensorAddShape(builder, shape)
    tflite.TensorAddType(builder, _TYPES[dtype])
    tflite.TensorAddBuffer(builder, 0)
    tflite.TensorAddName(builder, text)
    tflite.TensorAddQuantization(builder, quantization)
    result: int = tflite.TensorEnd(builder)
    return result


def _numbers(builder: Any, numbers: Sequence[int]) -> int:
    result: int = builder.CreateNumpyVector(np.array(numbers, "int32"))
    return result


def _offsets(builder: Any, start: Any, offsets: Sequence[int]) -> int:
    start(builder, len(offsets))
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    result: int = builder.EndVector()
    return result
