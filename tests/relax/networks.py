"""A small Relax network of npu.qpat's operators, with one thing changed where that is asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import relax


def build(**changes: Any) -> Any:
    """conv2d with bias and clip, sigmoid, a sum of both, a pool: int8 [1, 8, 8, 4] to [1, 4, 4, 8].

    Changes, one for each test: `strides`; `kernel`, the height of the weights; `weights="input"`,
    which are no constant then; `bias_operator` in the place of add; `activation` in that of
    sigmoid, `out_dtype` behind it, and then no sum; `pool_layout`; `extra_user`, of what the
    convolution accumulates.
    """
    random = np.random.default_rng(3)
    builder = relax.BlockBuilder()
    emit = builder.emit
    x = relax.Var("x", relax.TensorType((1, 8, 8, 4), "int8"))
    height = changes.get("kernel", 3)
    values = random.integers(-127, 128, (height, 3, 4, 8), dtype="int8")
    weights: Any = relax.const(values)
    parameters = [x]
    if changes.get("weights") == "input":
        weights = relax.Var("weights", relax.TensorType(values.shape, "int8"))
        parameters.append(weights)
    with builder.function("main", parameters):
        with builder.dataflow():
            summed = emit(
                relax.op.nn.conv2d(
                    emit(_dequantize(x, 0.02)),
                    emit(_dequantize(weights, 0.01)),
                    changes.get("strides", (1, 1)),
                    (height // 2, 1, height // 2, 1),
                    data_layout="NHWC",
                    kernel_layout="HWIO",
                )
            )
            bias = relax.const(random.integers(-999, 999, 8, dtype="int32"))
            biased_by = changes.get("bias_operator", relax.op.add)
            biased = emit(biased_by(summed, emit(_dequantize(bias, 0.0002))))
            clipped = emit(relax.op.clip(emit(_quantize(biased, 0.1)), -100, 100))
            activation = changes.get("activation", relax.op.sigmoid)
            dtype = changes.get("out_dtype", "int8")
            active = emit(activation(emit(_dequantize(clipped, 0.1))))
            squeezed = emit(_quantize(active, 0.004, 0, dtype))
            added = squeezed
            if dtype == "int8":
                both = [emit(_dequantize(clipped, 0.1)), emit(_dequantize(squeezed, 0.004))]
                added = emit(_quantize(emit(relax.op.add(*both)), 0.1, 3))
            layout = changes.get("pool_layout", "NHWC")
            result = emit(relax.op.nn.max_pool2d(added, (2, 2), (2, 2), layout=layout))
            if changes.get("extra_user"):
                result = relax.Tuple([result, emit(relax.op.negative(summed))])
            given = builder.emit_output(result)
        builder.emit_func_output(given)
    return builder.get()


def _dequantize(value: Any, scale: float) -> Any:
    return relax.op.dequantize(value, *_constants(scale, 0), axis=0)


def _quantize(value: Any, scale: float, zero_point: int = 0, dtype: str = "int8") -> Any:
    return relax.op.quantize(value, *_constants(scale, zero_point), axis=0, out_dtype=dtype)


def _constants(scale: float, zero_point: int) -> tuple[Any, Any]:
    return relax.const(scale, "float32"), relax.const(zero_point, "int32")
