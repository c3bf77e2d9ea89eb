"""What the language derives is what TVM computes with: a convolution made anew of nothing but the
parameters of its record gives the same bits, and tables give what the graph gives."""

from __future__ import annotations

from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import tflite
import tvm
from hypothesis import given, settings
from hypothesis import strategies as st
from tvm import relay

from qpat.compiler import compile_source
from qpat.relay.calls import make_call
from qpat.relay.environment import listening
from qpat.relay.loading import load
from qpat.source import Source
from qpat.verify.building import Batch
from qpat.verify.relay_graphs import EXACT
from tests.oracle.interpreter import unary

qnn = relay.qnn.op

PATTERNS = """compiler "npu"
pattern conv2d(x: int8 | uint8, w: int8, bias: int32) -> y: int8 | uint8 {
  d   = nn.pad(x, x.zero_point)?
  acc = qnn.conv2d(d, const w, .., data_layout="NHWC", kernel_layout="HWIO")
  sum = nn.bias_add(acc, const bias)
  out = qnn.requantize(sum, ..)
  y   = clip(out)?
  param multiplier, shift = fixed_point(x.scale * w.scale / y.scale)
  param exact_multiplier, exact_shift = fixed_point(sum.scale / y.scale)
  param input_offset = -x.zero_point
  param folded = bias.value - x.zero_point * sum(w.value - w.zero_point, except="O")
  param padding = acc.attrs.padding + (pads(d) ?? 0)
  param strides = acc.attrs.strides
  param weights = transpose(w.value, "HWIO", "OHWI")
  param activation = y.range
}
pattern dense(x: int8, w: int8) -> y: int32 {
  y = qnn.dense(x, const w, ..)
  param reshaped   = reshape(w.value, [size(w)]) - w.zero_point
  param transposed = transpose(w.value, "OI", "IO") * 2
  param flipped    = -flip(w.value, "O", "OI")
  param zeros      = zeros([2]) + 2 ** 31
  param single     = f32(x.scale) * f32(w.scale)
}
pattern requantize(x: int32) -> y: int8 {
  y = qnn.requantize(x, ..)
  param multiplier, shift = fixed_point(x.scale / y.scale)
  param single, single_shift = fixed_point(f32(x.scale / y.scale))
}
pattern tanh(x: int8 | uint8 | int16) -> y: x.dtype {
  out = qnn.quantize(tanh(qnn.dequantize(x, ..)), ..)
  y   = clip(out)?
  param table = lut(x, y)
  meaning y = tanh(x)
}
pattern exp(x: int8 | int16) -> y: x.dtype {
  y = qnn.quantize(exp(qnn.dequantize(x, ..)), ..)
  param table = lut(x, y)
  meaning y = exp(x)
}
"""


@cache
def patterns() -> ModuleType:
    return load(compile_source(Source("npu.qpat", PATTERNS)))


def record_of(body: Any) -> Any:
    function = relay.Function(relay.analysis.free_vars(body), body)
    module = relay.transform.InferType()(tvm.IRModule.from_expr(function))
    merged = relay.transform.MergeComposite(patterns().pattern_table())(module)
    return patterns().extract(merged["main"].body)


def const(value: Any, dtype: str) -> Any:
    return relay.Constant(tvm.nd.array(np.asarray(value, dtype)))


# ---- fixed-point multipliers ------------------------------------------------------------------


def lowered(scale: Any, output_scale: float) -> tuple[Any, Any, Any]:
    """The record of a requantize, and multiplier and shift that TVM's lowering has for it."""
    x = relay.var("x", shape=(2, 3), dtype="int32")
    slots = const(scale, "float32"), const(0, "int32"), const(output_scale, "float32")
    body = qnn.requantize(x, *slots, const(3, "int32"), axis=1, out_dtype="int8")
    module = relay.transform.InferType()(tvm.IRModule.from_expr(relay.Function([x], body)))
    with qnn.requantize_config(**EXACT):
        made = relay.qnn.transform.CanonicalizeOps()(module)
    found: list[Any] = []
    relay.analysis.post_order_visit(
        made["main"].body,
        lambda each: (
            found.append(each)
            if isinstance(each, relay.Call) and each.op.name.startswith("fixed_point_multiply")
            else None
        ),
    )
    if not found:  # of equal scales nothing is multiplied
        return record_of(body), None, None
    [call] = found
    if call.op.name == "fixed_point_multiply":
        return record_of(body), int(call.attrs.multiplier), int(call.attrs.shift)
    multiplier, left, right = (each.data.numpy() for each in call.args[1:])
    return record_of(body), multiplier, left - right


scales = st.floats(2.0**-20, 2.0**4, width=32)


@settings(max_examples=150, deadline=None)
@given(scales, scales)
def test_a_multiplier_is_that_of_tvm(scale: float, output_scale: float) -> None:
    record, multiplier, shift = lowered(scale, output_scale)
    if multiplier is not None:
        assert (record.multiplier, record.shift) == (multiplier, shift)
    # In single precision: one rounding of the quotient to 24 bits.
    ratio = np.float32(np.float32(scale) / np.float32(output_scale))
    mantissa, exponent = np.frexp(ratio)
    assert (record.single, record.single_shift) == (int(mantissa * 2.0**31), exponent)


@settings(max_examples=50, deadline=None)
@given(st.lists(scales, min_size=3, max_size=3, unique=True), scales)
def test_multipliers_of_channels_are_those_of_tvm(several: list[float], output: float) -> None:
    record, multiplier, shift = lowered(several, output)
    np.testing.assert_array_equal(record.multiplier, multiplier)
    np.testing.assert_array_equal(record.shift, shift)


# ---- a convolution of its parameters alone ----------------------------------------------------


def drawn_convolution(seed: int) -> Any:
    random = np.random.default_rng(seed)
    dtype = ("int8", "uint8")[seed % 2]
    info = np.iinfo(dtype)
    x = relay.var("x", shape=(1, 7, 6, 3), dtype=dtype)
    zero, out_zero = (int(each) for each in random.integers(info.min, info.max, 2, endpoint=True))
    weight_zero = int(random.integers(-3, 4)) if seed % 3 == 0 else 0
    per_channel = seed % 4 < 2
    scale = np.float32(random.uniform(0.01, 0.1))
    weight_scale = random.uniform(0.001, 0.02, 4 if per_channel else ()).astype("float32")
    product = np.asarray(scale * weight_scale, "float32")
    weights = random.integers(-127, 128, (3, 3, 3, 4), dtype="int8")
    data = x
    if seed % 5 < 3:
        widths = random.integers(0, 3, (2, 2)).tolist()
        data = relay.nn.pad(x, [[0, 0], *widths, [0, 0]], const(zero, dtype))
    acc = qnn.conv2d(
        *(data, const(weights, "int8"), const(zero, "int32"), const(weight_zero, "int32")),
        *(const(scale, "float32"), const(weight_scale, "float32"), (3, 3), 4),
        padding=tuple(random.integers(0, 2, 4).tolist()),
        strides=tuple(random.integers(1, 3, 2).tolist()),
        data_layout="NHWC",
        kernel_layout="HWIO",
    )
    total = relay.nn.bias_add(acc, const(random.integers(-5000, 5000, 4), "int32"), 3)
    slots = const(product, "float32"), const(0, "int32"), const(0.05, "float32")
    out = qnn.requantize(total, *slots, const(out_zero, "int32"), axis=3, out_dtype=dtype)
    return relay.clip(out, float(info.min + 9), float(info.max - 20)) if seed % 2 else out


def made_of(record: Any) -> Any:
    """The same convolution in plain integer operators, of the record's parameters alone."""
    x = relay.var("x", shape=record.x.shape, dtype=record.x.dtype)
    top, left, bottom, right = record.padding
    wide = relay.cast(x, "int32")
    border = const(-record.input_offset, "int32")
    wide = relay.nn.pad(wide, [[0, 0], [top, bottom], [left, right], [0, 0]], border)
    weights = record.weights.transpose(1, 2, 3, 0).astype("int32") - int(record.w.zero_point)
    acc = relay.nn.conv2d(
        *(wide, const(weights, "int32"), record.strides),
        channels=weights.shape[3],
        kernel_size=weights.shape[:2],
        data_layout="NHWC",
        kernel_layout="HWIO",
        out_dtype="int32",
    )
    acc = relay.nn.bias_add(acc, const(record.folded, "int32"), 3)
    if np.ndim(record.exact_multiplier):
        shifts = np.asarray(record.exact_shift)
        numbers = record.exact_multiplier, np.maximum(shifts, 0), np.maximum(-shifts, 0)
        slots = [const(each, "int32") for each in numbers]
        attributes = {"is_lshift_required": True, "is_rshift_required": True, "axes": [3]}
        scaled = make_call("fixed_point_multiply_per_axis", [acc, *slots], attributes)
    else:
        scaled = relay.fixed_point_multiply(acc, record.exact_multiplier, record.exact_shift)
    moved = relay.add(scaled, const(int(record.y.zero_point), "int32"))
    least, most = record.activation
    return relay.cast(relay.clip(moved, float(least), float(most)), record.y.dtype)


def test_a_convolution_of_its_parameters_alone_gives_the_same_bits() -> None:
    """Multiplier, shift, input offset, folded bias, padding of both, weights, activation range."""
    bodies = [drawn_convolution(seed) for seed in range(12)]
    records = [record_of(body) for body in bodies]
    graphs = dict(enumerate([*bodies, *map(made_of, records)]))
    with listening() as heard:
        batch = Batch(graphs, heard)
    assert not batch.failed
    for run in range(4):
        given_to = {}
        for number, record in enumerate(records):
            random = np.random.default_rng([run, number])
            info = np.iinfo(record.x.dtype)
            value = random.integers(
                info.min, info.max, record.x.shape, record.x.dtype, endpoint=True
            )
            given_to[number] = given_to[number + len(records)] = {"x": value}
        found = batch.run(given_to)
        for number in range(len(records)):
            np.testing.assert_array_equal(found[number], found[number + len(records)])
    # The multiplier of the product of scales is that of the accumulator's, but for its rounding.
    for record in records:
        first, second = (
            np.ldexp(np.asarray(m, "float64"), np.asarray(s) - 31)
            for m, s in (
                (record.multiplier, record.shift),
                (record.exact_multiplier, record.exact_shift),
            )
        )
        np.testing.assert_allclose(first, second, rtol=2.0**-22)


# ---- tables -----------------------------------------------------------------------------------


def tanh(dtype: str, scale: float, zero: int, out_scale: float, out_zero: int) -> Any:
    return spelled(relay.tanh, dtype, scale, zero, out_scale, out_zero)


def spelled(
    operator: Any, dtype: str, scale: float, zero: int, out_scale: float, out_zero: int
) -> Any:
    x = relay.var("x", shape=(len(inputs(dtype)),), dtype=dtype)
    real = qnn.dequantize(x, const(scale, "float32"), const(zero, "int32"))
    slots = const(out_scale, "float32"), const(out_zero, "int32")
    return qnn.quantize(operator(real), *slots, out_dtype=dtype)


def inputs(dtype: str) -> Any:
    info = np.iinfo(dtype)
    return np.arange(info.min, info.max + 1).astype(dtype)


CASES = [
    ("int8", 0.04, 3, 1 / 128, 0),
    ("int8", 0.013, -128, 0.0085, -10),
    ("uint8", 0.05, 120, 1 / 128, 128),
    ("int16", 2.0**-12, 0, 2.0**-15, 0),
]


def test_a_table_is_what_the_graph_computes() -> None:
    """8 bits: each entry, but for values that float32 and float64 round apart, of which there are
    none here. int16: within what interpolating between 512 places leaves."""
    bodies = [tanh(*case) for case in CASES]
    with listening() as heard:
        batch = Batch(dict(enumerate(bodies)), heard)
    assert not batch.failed
    found = batch.run({n: {"x": inputs(case[0])} for n, case in enumerate(CASES)})
    for number, (case, body) in enumerate(zip(CASES, bodies, strict=True)):
        table = record_of(body).table
        if case[0] == "int16":
            assert table.shape == (513,)
            apart = np.abs(interpolated(table).astype(int) - found[number].astype(int))
            assert apart.max() <= 8
        else:
            assert table.shape == (256,)
            apart = np.abs(table.astype(int) - found[number].astype(int))
            assert apart.max() <= 1 and np.count_nonzero(apart) <= 2


def interpolated(table: Any) -> Any:
    """lut_lookup of TFLite (tensorflow/lite/kernels/internal/common.h): 9 bits choose, 7 weigh."""
    x = inputs("int16").astype(np.int64)
    index = 256 + (x >> 7)
    offset = x & 0x7F
    base = table.astype(np.int64)
    delta = (base[index + 1] - base[index]) * offset
    return (base[index] + ((delta + 64) >> 7)).astype(np.int16)


def test_arrays_in_another_order_are_calculated_with_in_full() -> None:
    """Not in the eight bits of the constant, nor in float32."""
    value = np.array([[127, -128], [100, 3]], "int8")
    slots = [relay.const(each) for each in (np.int32(0), np.int32(-100))]
    scales = np.float32(0.3), np.float32(0.7)
    x = relay.var("x", shape=(1, 2), dtype="int8")
    constants = [relay.const(each) for each in scales]
    body = qnn.dense(x, relay.const(value), *slots, *constants, 2, out_dtype="int32")
    record = record_of(body)
    wide = value.astype("int64")
    np.testing.assert_array_equal(record.reshaped, wide.reshape(-1) + 100)
    np.testing.assert_array_equal(record.transposed, wide.T * 2)
    np.testing.assert_array_equal(record.flipped, -wide[::-1])
    np.testing.assert_array_equal(record.zeros, [2**31, 2**31])
    assert record.single == float(scales[0]) * float(scales[1])


@pytest.mark.parametrize("dtype", ["int8", "int16"])
def test_a_table_does_not_leave_the_range(dtype: str) -> None:
    body = relay.clip(tanh(dtype, 0.05, 0, 1 / 64, 0), -20.0, 30.0)
    table = record_of(body).table
    assert (table.min(), table.max()) == (-20, 30)


def test_tables_of_int8_are_those_of_tflite() -> None:
    """LUTPopulateInt8 of TFLite (kernels/internal/common.h), which calculates in float32."""
    random = np.random.default_rng(0)
    for _ in range(40):
        scale, out_scale = (np.float32(2.0 ** random.uniform(-9, -3)) for _ in range(2))
        zero, out_zero = (int(each) for each in random.integers(-128, 128, 2))
        table = record_of(tanh("int8", scale, zero, out_scale, out_zero)).table
        real = scale * np.arange(-128 - zero, 128 - zero).astype("float32")
        scaled = np.tanh(real).astype("float32") * (np.float32(1) / out_scale)
        np.testing.assert_array_equal(table, np.clip(away(scaled) + out_zero, -128, 127))


def test_tables_of_int16_are_those_of_tflite() -> None:
    """gen_lut of TFLite (kernels/internal/common.h), in float64."""
    random = np.random.default_rng(0)
    for _ in range(20):
        scale = np.float32(2.0 ** random.uniform(-15, -9))
        table = record_of(tanh("int16", scale, 0, 2.0**-15, 0)).table
        low, high = float(scale) * -32768, float(scale) * 32767
        step = (high - low) / 512

        def sample(at: float) -> float:  # of the output, whose scale is 2**-15
            return float(np.tanh(at)) * 32768.0

        wanted = []
        for place in range(512):
            start = away(sample(low + place * step))
            between = away((sample(low + (place + 1) * step) + start) / 2)
            error = between - away(sample(low + place * step + step / 2))
            wanted.append(start - away(error / 2))
        wanted.append(away(sample(high)))
        np.testing.assert_array_equal(table, np.clip(wanted, -32768, 32767))


@pytest.mark.parametrize("name", ["exp", "tanh"])
def test_tables_of_int8_give_what_the_interpreter_of_tflite_gives(name: str) -> None:
    """Bit for bit, for every input."""
    operator = getattr(tflite.BuiltinOperator, name.upper())
    random = np.random.default_rng(1)
    for _ in range(20):
        scales = [float(np.float32(2.0 ** random.uniform(-9, -4))) for _ in range(2)]
        zeros = [int(each) for each in random.integers(-128, 128, 2)]
        body = spelled(getattr(relay, name), "int8", scales[0], zeros[0], scales[1], zeros[1])
        found = record_of(body).table[inputs("int8").astype(int) + 128]
        np.testing.assert_array_equal(found, unary(operator, inputs("int8"), scales, zeros))


def test_tables_of_int16_give_what_the_interpreter_of_tflite_gives() -> None:
    """Its exp of int16 takes the 65,535 steps of the output for 65,536 (LUTPopulateInt16 in
    kernels/internal/common.h), so it is that of a scale as much finer; and it samples in float32,
    so that now and then an entry is another."""
    random = np.random.default_rng(1)
    differing = 0
    for _ in range(20):
        scales = [float(np.float32(2.0 ** random.uniform(-15, -10))) for _ in range(2)]
        body, finer = (
            spelled(relay.exp, "int16", scales[0], 0, each, 0)
            for each in (scales[1], scales[1] * 65535 / 65536)
        )
        found = unary(tflite.BuiltinOperator.EXP, inputs("int16"), scales, (0, 0)).astype(int)
        apart = np.abs(interpolated(record_of(finer).table) - found)
        differing += np.count_nonzero(apart)
        assert apart.max() <= 1
        assert np.abs(interpolated(record_of(body).table) - found).max() <= 2
    assert differing <= 0.002 * 20 * 65536, differing


def away(value: Any) -> Any:
    """To the nearest whole number, halves away from zero."""
    return np.sign(value) * np.floor(np.abs(value) + np.float32(0.5))
