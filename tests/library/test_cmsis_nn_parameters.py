"""What CMSIS-NN's code generator in TVM calculates of a composite stands in the record.

That is C++ which no distribution of TVM on the package index has, so its formulas are written here
once more, on the Relay graph itself (src/relay/backend/contrib/cmsisnn/relay_to_tir.cc,
generate_constants.cc and fuse_pads.cc of TVM 0.16).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relay

import qpat
from tests.library.draw import number
from tests.library.rows import CMSIS_NN
from tests.library.verdicts import cases, generated

COUNT = 30


@pytest.mark.parametrize("name", CMSIS_NN)
def test_record_has_what_the_code_generator_calculates(name: str) -> None:
    patterns = generated("cmsis_nn")
    seen = 0
    for seed, root, _ in cases(CMSIS_NN[name], COUNT):
        function = relay.Function(relay.analysis.free_vars(root), root)
        table = patterns.pattern_table()
        call = qpat.merge_composite(table)(tvm.IRModule.from_expr(function))["main"].body
        if not isinstance(call.op, relay.Function):
            continue
        record = patterns.extract(call)
        for field, wanted in calculated(call.op.body).items():
            found = getattr(record, field)
            np.testing.assert_array_equal(found, wanted, f"{name} {seed}: {field}")
        seen += 1
    assert seen > COUNT // 10


def calculated(root: Any) -> Mapping[str, Any]:
    clip = root if root.op.name == "clip" else None
    body = root.args[0] if clip is not None else root
    if body.op.name == "qnn.requantize":
        return {**layer(body), "activation": activation(clip, root)}
    if body.op.name in ("qnn.mul", "qnn.add"):
        return {**binary(body), "activation": activation(clip, root)}
    if body.op.name == "qnn.quantize":
        return softmax(body)
    pool = body.args[0] if body.op.name == "cast" else body
    attributes = {name: ints(pool.attrs[name]) for name in ("strides", "padding", "pool_size")}
    return {**attributes, "activation": activation(clip, root)}


def activation(clip: Any, root: Any) -> tuple[int, int]:
    info = np.iinfo(root.checked_type.dtype)
    if clip is None:
        return info.min, info.max
    return max(info.min, int(clip.attrs.a_min)), min(info.max, int(clip.attrs.a_max))


def layer(requantize: Any) -> dict[str, Any]:
    """A convolution or a fully connected layer."""
    call = requantize.args[0]
    call = call.args[0] if call.op.name == "nn.bias_add" else call
    in_scale, out_scale = (number(requantize.args[at]).astype("float64") for at in (1, 3))
    pairs = [fixed_point(float(each)) for each in np.atleast_1d(in_scale / out_scale)]
    found: dict[str, Any] = {
        "input_offset": -int(number(call.args[2])),
        "output_offset": int(number(requantize.args[4])),
        "multiplier": [each[0] for each in pairs] if in_scale.ndim else pairs[0][0],
        "shift": [each[1] for each in pairs] if in_scale.ndim else pairs[0][1],
    }
    return {**found, **convolution(call)} if call.op.name == "qnn.conv2d" else found


def convolution(call: Any) -> dict[str, Any]:
    attrs, layout, weights = call.attrs, str(call.attrs.kernel_layout), number(call.args[1])
    channels = int(call.args[0].checked_type.shape[3])
    depthwise = attrs.groups == channels == weights.shape[layout.index("O")]
    padding = ints(attrs.padding)
    source = call.args[0]
    if isinstance(source, relay.Call) and source.op.name == "nn.pad":
        _, (top, bottom), (left, right), _ = source.attrs.pad_width
        padding = [a + int(b) for a, b in zip(padding, (top, left, bottom, right), strict=True)]
    return {
        "strides": ints(attrs.strides),
        "dilation": ints(attrs.dilation),
        "padding": padding,
        "weights": weights if depthwise else weights.transpose([layout.index(c) for c in "OHWI"]),
    }


def binary(call: Any) -> dict[str, Any]:
    scales = [float(number(call.args[at])) for at in (2, 4, 6)]
    zeros = [int(number(call.args[at])) for at in (3, 5, 7)]
    found: dict[str, Any] = {"x_offset": -zeros[0], "x2_offset": -zeros[1], "y_offset": zeros[2]}
    if call.op.name == "qnn.mul":
        multiplier, shift = fixed_point(scales[0] * scales[1] / scales[2])
        return {**found, "multiplier": multiplier, "shift": shift}
    left = 20 if call.checked_type.dtype == "int8" else 15
    twice = 2 * max(scales[:2])
    reals = {
        "x": scales[0] / twice,
        "x2": scales[1] / twice,
        "y": twice / ((1 << left) * scales[2]),
    }
    found["left_shift"] = left
    for name, real in reals.items():
        found[f"{name}_multiplier"], found[f"{name}_shift"] = fixed_point(real)
    return found


def softmax(quantize: Any) -> dict[str, Any]:
    scale = float(number(quantize.args[0].args[0].args[1]))
    if quantize.checked_type.dtype == "int16":
        multiplier, shift = fixed_point(scale / (10.0 / 65535.0))
        return {"multiplier": multiplier, "shift": shift, "diff_min": 0}
    multiplier, shift = fixed_point(min(scale * (1 << 26), (1 << 31) - 1.0))
    return {"multiplier": multiplier, "shift": shift, "diff_min": -((31 << 26) >> shift)}


def fixed_point(real: float) -> tuple[int, int]:
    """GetFixedPointMultiplierShift (src/relay/qnn/utils.cc)."""
    significand, exponent = math.frexp(real)
    multiplier = math.floor(significand * (1 << 31) + 0.5)
    return (multiplier // 2, exponent + 1) if multiplier == 1 << 31 else (multiplier, exponent)


def ints(values: Any) -> list[int]:
    return [int(each) for each in values]


def test_tables_of_a_softmax_interpolate_what_they_stand_for() -> None:
    """Of int16, between entries: within three units of exp(x) and 1 / (1 + x)."""
    from patterns.cmsis_nn_tables import softmax_tables

    key = np.arange(-32768, 32768)
    at, part = (key >> 7) + 256, key & 0x7F
    exp, over = (table.astype(int) for table in softmax_tables())
    for table, wanted in (
        (exp, np.exp((key - 32768) * 10 / 65536)),
        (over, 1 / (1 + (key + 32768) / 65536)),
    ):
        assert table.shape == (513,)
        found = table[at] + ((table[at + 1] - table[at]) * part + 64 >> 7)
        assert np.abs(found - np.minimum(wanted * 32768, 32767)).max() <= 3
