"""The parameters of every tensor of a Relax module, against what the TFLite converter wrote."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tvm.script import ir as I
from tvm.script import relax as R

import qpat
from qpat.diagnostics import QpatError
from tests.models import DATA, TFLITE_NETWORKS, TFLITE_OPERATORS
from tests.oracle.flatbuffer import FlatTensor, read
from tests.relax.networks import build

# What the frontend of TVM 0.27 does not import, and what is said of it.
REFUSED = {
    "ds_cnn_kws_int16x8": "it does not support activations of int16",
    "lstm_unrolled_int8": "'SPLIT', 'UNPACK' in integers",
    "mobilenet_v1_025_96_int8": "'PAD' in integers",
    "mobilenet_v2_035_96_int8": "'PAD' in integers",
    "op_soup_nol2_int8": "'PAD', 'RESIZE_NEAREST_NEIGHBOR', 'SPLIT', 'STRIDED_SLICE', 'TRANSPOSE'",
    "transformer_relu_int8": "'BATCH_MATMUL', 'TRANSPOSE' in integers",
    "unet_64_int8": "'RESIZE_NEAREST_NEIGHBOR' in integers",
    "batch_matmul": "'BATCH_MATMUL' in integers",
    "conv2d_explicit_pad": "'PAD' in integers",
    "greater_select": "'SELECT' in integers",
    "pack": "'PACK' in integers",
    "pad": "'PAD' in integers",
    "prelu": "'PRELU' in integers",
    "resize_nearest": "'RESIZE_NEAREST_NEIGHBOR' in integers",
    "slice": "'SLICE' in integers",
    "split": "'SPLIT' in integers",
    "strided_slice": "'STRIDED_SLICE' in integers",
    "transpose": "'TRANSPOSE' in integers",
}
# Tensors of integers of which the module says nothing, and there is nobody who could.
UNKNOWN = {"avg_pool": 4, "avg_pool_relu": 5, "max_pool": 2, "reshape": 2}
ALL = TFLITE_NETWORKS + TFLITE_OPERATORS


def _is(tensor: Any, flat: FlatTensor) -> bool:
    """Whether a tensor has dtype, size and parameters of one of the file. Weights may lie
    otherwise, and then have another axis."""
    if flat.scale is None or flat.zero_point is None or tensor.dtype != flat.dtype:
        return False
    sizes = int(np.prod(tensor.shape)), int(np.prod(flat.shape))
    scale, zero_point = np.ravel(tensor.scale), np.ravel(tensor.zero_point)
    fits = sizes[0] == sizes[1] and scale.size in (1, flat.scale.size)
    return fits and bool(np.all(scale == flat.scale) and np.all(zero_point == flat.zero_point))


@pytest.mark.parametrize("name", ALL)
def test_every_tensor_is_one_of_the_file(name: str) -> None:
    stem = Path(name).stem
    if stem in REFUSED:
        with pytest.raises(QpatError, match="cannot import this model") as refused:
            qpat.quantization(DATA / name)
        assert REFUSED[stem] in str(refused.value)
        return
    flat = [each for each in read(DATA / name).tensors.values() if each.dtype != "float32"]
    found = qpat.quantization(DATA / name)
    assert not found.conflicts and not found.faults
    whole = [each for each in found.tensors() if each.dtype in ("int8", "uint8", "int32")]
    known = [each for each in whole if each.unknown is None]
    assert len(whole) - len(known) == UNKNOWN.get(stem, 0)
    # The sums of the pools are int32 in the module and not in the file.
    wide = Counter(each.operator for each in known if each.dtype == "int32")
    assert set(wide) <= {"constant", "cast", "nn.avg_pool2d"}
    mine = [each for each in known if each.dtype != "int32" or each.operator == "constant"]
    strange = [each.name for each in mine if not any(_is(each, other) for other in flat)]
    assert not strange
    if stem not in UNKNOWN:
        quantized = [each for each in flat if each.scale is not None and each.dtype != "int32"]
        assert all(any(_is(each, other) for each in mine) for other in quantized)


def test_a_variable_of_the_module_can_be_asked_for() -> None:
    module = build()
    found = qpat.quantization(module)
    x = module["main"].params[0]
    known = found.of(x)
    assert known is not None and known.scale == np.float32(0.02) and found.reason(x) is None
    [pooled] = [each for each in found.tensors() if each.operator == "nn.max_pool2d"]
    assert (pooled.scale, pooled.zero_point) == (np.float32(0.1), 3)
    assert found.of(pooled.value.variable) == found.of(pooled.value)


@I.ir_module
class Branching:
    @R.function
    def main(condition: R.Tensor((), "bool"), x: R.Tensor((2, 4), "int8")) -> R.Tensor(
        (2, 4), "float32"
    ):
        if condition:
            a = R.reshape(x, (2, 4))
            y = a
        else:
            b = R.flip(x, axis=0)
            y = b
        z = R.dequantize(y, R.const(0.5, "float32"), R.const(3, "int32"), axis=0)
        return z


def test_branches_are_of_one_space() -> None:
    known = qpat.quantization(Branching)
    found = {each.name: (each.operator, each.scale, each.zero_point) for each in known.tensors()}
    half = np.float32(0.5)
    assert found["x"] == ("input", half, 3) and found["y"] == ("If", half, 3)
    assert found["a"] == ("reshape", half, 3) and found["b"] == ("reverse", half, 3)
    result = qpat.partition(Branching, Path(__file__).parent / "npu.qpat")
    assert [each.op for each in result.host] == ["reshape", "reverse", "qnn.dequantize"]


def test_parameters_are_the_same_with_composites_and_regions() -> None:
    result = qpat.partition(build(), Path(__file__).parent / "npu.qpat")
    before = qpat.quantization(build())
    for module in (result.module.relax, result.regions()):
        after = qpat.quantization(module)
        assert _spaces(after) == _spaces(before)


def _spaces(known: Any) -> Counter[tuple[Any, ...]]:
    found = [each for each in known.tensors() if each.dtype != "float32"]
    return Counter((e.operator, e.shape, float(np.ravel(e.scale)[0])) for e in found)
