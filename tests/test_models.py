"""qpat's records against what the TFLite converter wrote, on whole models.

The oracle (tests/oracle) reads the .tflite files and the Relay calls by itself. It shares no code
with qpat, so a mistake in qpat's operator table, in how it spreads parameters or in what it
extracts shows up here.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from copy import copy
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relay

from tests.oracle import models
from tests.oracle.flatbuffer import FlatOperator
from tests.oracle.models import Case
from tests.oracle.records import (
    Port,
    fault_against_body,
    fault_against_file,
    faults_of_kind,
    ports,
)
from tests.oracle.relay_names import (
    QUANTIZED_DTYPES,
    Expr,
    composite_name,
    dtype_of,
    op_name,
    operands,
    reachable,
)

each_model = pytest.mark.parametrize("name", models.importable())


@cache
def _ports(name: str) -> list[Port]:
    case = models.case(name)
    return [port for match in case.result.matches for port in ports(case, match)]


# ---- the models ----


def test_models_are_there() -> None:
    assert len(models.importable()) == 70
    assert set(models.NOT_IMPORTABLE) & set(models.names())


@pytest.mark.parametrize("name", sorted(set(models.NOT_IMPORTABLE) & set(models.names())))
def test_frontend_refuses(name: str) -> None:
    with pytest.raises((tvm.error.OpNotImplemented, AssertionError)) as refused:
        models.import_(name)
    assert models.NOT_IMPORTABLE[name] in str(refused.value)


# ---- every tensor of every record, against the file ----

# In all of these tests faults are collected as text. An `assert` on objects of TVM would print them
# when it fails, and the text of a value in a large module is very long.


@each_model
def test_parameters_are_those_of_the_file(name: str) -> None:
    quantized = [port for port in _ports(name) if not port.is_float]
    faults = [fault for port in quantized if (fault := fault_against_file(port))]
    assert not faults, "\n".join(faults)


@each_model
def test_types_shapes_and_axes(name: str) -> None:
    faults = [fault for port in _ports(name) for fault in faults_of_kind(port)]
    assert not faults, "\n".join(faults)


@each_model
def test_float_tensors_have_no_parameters(name: str) -> None:
    faults = [
        port.label
        for port in _ports(name)
        if port.is_float and (port.tensor.scale, port.tensor.zero_point) != (None, None)
    ]
    assert not faults


@each_model
def test_per_channel_is_as_in_the_file(name: str) -> None:
    """A vector of scales where the converter wrote one, and nowhere else."""
    faults = [
        port.label
        for port in _ports(name)
        if port.named is not None and port.tensor.scale is not None
        if bool(np.ndim(port.tensor.scale)) != port.named.tensor.per_channel
    ]
    assert not faults


@each_model
def test_constants_have_their_numbers(name: str) -> None:
    """`value` is there for constants and only for them; that they are the numbers of the file, in
    Relay's layout, is checked where they are looked up."""
    faults = []
    for port in _ports(name):
        value = port.expr.data.numpy() if isinstance(port.expr, relay.Constant) else None
        if value is None or port.tensor.value is None:
            right = value is port.tensor.value
        else:
            right = value.dtype == port.tensor.value.dtype
            right = right and np.array_equal(value, port.tensor.value)
        if not right:
            faults.append(port.label)
    assert not faults


@pytest.mark.parametrize(
    ("name", "known"), [("ops/batch_matmul", 0), ("transformer_relu_int8", 88)]
)
def test_what_the_frontend_makes_up_is_in_no_record(name: str, known: int) -> None:
    """It writes scale 1.0 and zero point 0 for all tensors of a BATCH_MATMUL. In the network these
    pass through reshapes and transposes, and other calls say what is true of the same tensors."""
    doubtful = [port for port in _ports(name) if port.made_up]
    assert doubtful
    assert not [port.label for port in doubtful if port.tensor.scale == np.float32(1)]
    assert len([port for port in doubtful if port.tensor.scale is not None]) == known


@each_model
def test_bias_is_in_the_space_of_the_accumulator(name: str) -> None:
    """scale(bias) = scale(x) * scale(w), and its zero point is 0: quantization specification of
    TFLite, "CONV_2D", "FULLY_CONNECTED"."""
    for match in models.case(name).result.matches:
        bias = match.tensors.get("bias")
        if bias is not None:
            x, w = match.tensors["x"], match.tensors["w"]
            product = np.float32(x.scale) * np.asarray(w.scale, np.float32)
            np.testing.assert_allclose(bias.scale, product, rtol=2.0**-22)
            np.testing.assert_array_equal(bias.zero_point, np.zeros_like(bias.zero_point))


@each_model
def test_a_bias_is_there_where_the_file_has_one(name: str) -> None:
    case = models.case(name)
    at = {"CONV_2D": 2, "DEPTHWISE_CONV_2D": 2, "FULLY_CONNECTED": 2, "TRANSPOSE_CONV": 3}
    faults = []
    for match in case.result.matches:
        if "bias" in match.tensors:
            made_for = case.names.operator(_call(case, match, "qnn.requantize"))
            if made_for is None:
                faults.append(f"{match.composite} was made for no operator of the file")
                continue
            written = made_for.inputs[at[made_for.kind] :] not in ((), (None,))
            if written != (match.tensors["bias"] is not None):
                faults.append(f"{made_for.kind} {made_for.outputs[0]}")
    assert not faults


def _call(case: Case, match: Any, op: str) -> Expr:
    (found,) = (call for call in case.paired(match).calls if op_name(call) == op)
    return found


# ---- how much that was ----

# How many tensors of a network's records have parameters that Relay says, and so were compared.
COMPARED = {
    "ad_autoencoder_int8": 59,
    "ds_cnn_kws_fp32": 0,  # not quantized
    "ds_cnn_kws_int16x8": 45,
    "ds_cnn_kws_int8": 45,
    "ds_cnn_kws_int8_floatio": 47,
    "legacy_uint8_fq": 50,
    "lstm_unrolled_int8": 239,
    "mobilenet_v1_025_96_int8": 118,
    "mobilenet_v2_035_96_int8": 247,
    "op_soup_nol2_int8": 90,
    "qat_tfmot_int8": 33,
    "resnet8_cifar_int8": 54,
    "resnet8_cifar_uint8io": 58,
    "transformer_relu_int8": 277,
    "unet_64_int8": 84,
}

# Models of one operator whose Relay has no parameters of any tensor, or only made up ones. In a
# network they come from the operators around it.
SILENT = {
    "avg_pool",
    "avg_pool_relu",
    "batch_matmul",
    "max_pool",
    "maximum",
    "minimum",
    "pack",
    "pad",
    "prelu",
    "reshape",
    "resize_nearest",
    "slice",
    "split",
    "strided_slice",
    "transpose",
}


@each_model
def test_how_many_tensors_were_compared(name: str) -> None:
    told = [port for port in _ports(name) if port.said is not None]
    silent = [port for port in _ports(name) if port.said is None and not port.is_float]
    folder, _, model = name.rpartition("/")
    if folder:
        assert (not told) == (model in SILENT)
        # The input of `sum` is the only other one: its accumulator has another zero point.
        assert bool(silent) == (model in SILENT - {"split"} | {"sum"})
    else:
        assert (len(told), len(silent)) == (COMPARED[name], 0)


def test_a_float_model_has_no_composites() -> None:
    result = models.case("ds_cnn_kws_fp32").result
    assert (len(result.matches), len(result.host)) == (0, 31)


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("scale", lambda tensor: np.nextafter(tensor.scale, np.float32(1))),
        ("scale", lambda tensor: np.asarray(tensor.scale, np.float64)),
        ("scale", lambda tensor: np.ravel(tensor.scale)[0]),
        ("scale", lambda tensor: None),
        ("zero_point", lambda tensor: np.asarray(tensor.zero_point) + 1),
        ("zero_point", lambda tensor: None),
        ("axis", lambda tensor: (tensor.axis or 0) + 1),
        ("axis", lambda tensor: None),
        ("shape", lambda tensor: tensor.shape[::-1]),
        ("dtype", lambda tensor: "uint8"),
    ],
)
def test_a_wrong_record_is_noticed(field: str, change: Callable[[Any], Any]) -> None:
    (port,) = (port for port in _ports("ops/conv2d") if port.name == "w")
    fields = ("dtype", "shape", "scale", "zero_point", "axis", "value", "input")
    wrong = SimpleNamespace(**{name: getattr(port.tensor, name) for name in fields})
    setattr(wrong, field, change(port.tensor))
    wrong_port = copy(port)
    wrong_port.tensor = wrong
    found = [fault_against_file(wrong_port), fault_against_body(wrong_port)]
    assert any([*found, *faults_of_kind(wrong_port)])


# ---- and against the calls of its own composite ----


@each_model
def test_parameters_are_those_the_composite_says(name: str) -> None:
    faults = [fault for port in _ports(name) if (fault := fault_against_body(port))]
    assert not faults, "\n".join(faults)


@each_model
def test_json_has_the_same(name: str) -> None:
    result = models.case(name).result
    document = json.loads(json.dumps(result.to_json()))
    expected = [
        (
            match.composite,
            match.pattern,
            match.form,
            {port: _in_plain(tensor) for port, tensor in match.tensors.items()},
        )
        for match in result.matches
    ]
    written = [
        (
            match["composite"],
            match["pattern"],
            match["form"],
            {port: _read_back(tensor) for port, tensor in match["tensors"].items()},
        )
        for match in document["matches"]
    ]
    assert written == expected
    host = [(left["op"], left["reason"]) for left in document["host"]]
    assert host == [(left.op, left.reason) for left in result.host]


def _in_plain(held: Any) -> Any:
    """A tensor as what JSON has, floats by their bits."""
    if held is None:
        return None
    if isinstance(held, tuple | list):
        return [_in_plain(one) for one in held]
    scale = None if held.scale is None else np.asarray(held.scale).view(np.uint32).tolist()
    zero_point = None if held.zero_point is None else np.asarray(held.zero_point).tolist()
    return held.dtype, list(held.shape), scale, zero_point, held.axis


def _read_back(written: Any) -> Any:
    if written is None:
        return None
    if isinstance(written, list):
        return [_read_back(one) for one in written]
    scale = written["scale"]
    if scale is not None:
        scale = np.asarray(scale, np.float32).view(np.uint32).tolist()
    return written["dtype"], written["shape"], scale, written["zero_point"], written["axis"]


# ---- nothing but grouping happened ----


@each_model
def test_without_composites_it_is_the_module_from_before(name: str) -> None:
    result = models.case(name).result
    # Called and not put in a Sequential: that would leave out a pass of DefuseOps' opt_level, 3.
    inlined = relay.transform.InferType()(relay.transform.DefuseOps()(result.module))
    same = tvm.ir.structural_equal(inlined, result.prepared, map_free_vars=True)
    assert same


@each_model
def test_every_composite_has_its_match(name: str) -> None:
    case = models.case(name)
    calls = {
        expr: composite_name(expr)
        for expr in reachable(case.result.module["main"].body)
        if composite_name(expr) is not None
    }
    matches = [
        (calls.get(match.call), match.composite, match.pattern) for match in case.result.matches
    ]
    faults = [(*names,) for names in matches if names != (names[1], names[1], names[1][7:])]
    assert not faults
    assert all(composite.startswith("tflite.") for _, composite, _ in matches)
    assert len(calls) == len(matches)


@each_model
def test_prepared_has_the_calls_of_the_imported_module(name: str) -> None:
    """Apart from what could be folded into constants: the network that is compared with the file is
    the one that the frontend made."""
    module, _ = models.import_(name)
    imported, prepared = reachable(module["main"].body), models.case(name).names.order
    assert _calls(imported) == _calls(prepared)


def _calls(order: list[Expr]) -> Counter[str | None]:
    """How often each operator is called on something that depends on an input. `order` has the
    operands of a value in front of it, and the frontend's `new_const` names unbound parameters."""
    depends: set[Expr] = set()
    for expr in order:
        if isinstance(expr, relay.Var):
            varies = not str(expr.name_hint).startswith("_param")
        else:
            varies = any(operand in depends for operand in operands(expr))
        if varies:
            depends.add(expr)
    return Counter(op_name(expr) for expr in depends if isinstance(expr, relay.Call))


# ---- what is left on the host ----

# Calls that may stay, by the TFLite operator they were made for. Anything else that was made for an
# operator with a quantized tensor is in a composite.
LEFT = {
    # The frontend writes scale 1.0 and zero point 0 for all three tensors whatever the file says
    # (convert_batch_matmul): no record of it could be right. The requantize behind it is on int32,
    # and so is the reshape between.
    "BATCH_MATMUL": {"qnn.batch_matmul", "reshape", "qnn.requantize"},
    # The frontend drops all parameters (convert_prelu).
    "PRELU": {"nn.prelu", "broadcast_to"},
    # Several results; the library has no pattern of such a kind.
    "SPLIT": {"split"},
    "UNPACK": {"split"},
    # They compare and select stored integers whatever their parameters (convert_greater,
    # convert_select): not what the file means where these differ.
    "GREATER": {"greater"},
    "SELECT": {"where"},
}


@each_model
def test_nothing_quantized_is_left_on_the_host(name: str) -> None:
    case = models.case(name)
    faults = []
    for call in case.pairing.host:
        made_for = case.names.operator(call)
        if made_for is None or not _is_quantized(case, made_for):
            continue
        allowed = op_name(call) in LEFT.get(made_for.kind, ())
        # What BATCH_MATMUL reshapes in the middle, not what it reshapes in front.
        if not allowed or (op_name(call) == "reshape" and dtype_of(call) != "int32"):
            faults.append(f"{op_name(call)} of {made_for.kind} {made_for.outputs[0]}")
    assert not faults


def _is_quantized(case: Case, operator: FlatOperator) -> bool:
    tensors = (case.file.tensors[key] for key in (*operator.inputs, *operator.outputs) if key)
    return any(tensor.dtype in QUANTIZED_DTYPES for tensor in tensors)


@each_model
def test_host_is_what_is_outside_of_composites(name: str) -> None:
    case = models.case(name)
    outside = Counter(op_name(call) for call in case.pairing.host)
    assert Counter(left.op for left in case.result.host) == outside
    unexplained = [left.op for left in case.result.host if not left.reason]
    assert not unexplained


# ---- one composite for each operator of the file ----

# Kind of operator: the call that does its work, and the pattern that must have taken it.
PATTERNS = {
    "ABS": ("abs", "abs"),
    "ADD": ("qnn.add", "add"),
    "AVERAGE_POOL_2D": ("nn.avg_pool2d", "avg_pool2d"),
    "CONCATENATION": ("qnn.concatenate", "concatenate"),
    "CONV_2D": ("qnn.conv2d", "conv2d"),
    "DEPTHWISE_CONV_2D": ("qnn.conv2d", "depthwise_conv2d"),
    "DEQUANTIZE": ("qnn.dequantize", "dequantize"),
    "EXP": ("exp", "exp"),
    "FULLY_CONNECTED": ("qnn.dense", "dense"),
    "HARD_SWISH": ("divide", "hard_swish"),
    "LEAKY_RELU": ("nn.leaky_relu", "leaky_relu"),
    "LOGISTIC": ("sigmoid", "sigmoid"),
    "LOG_SOFTMAX": ("nn.log_softmax", "log_softmax"),
    "MAXIMUM": ("maximum", "maximum"),
    "MAX_POOL_2D": ("nn.max_pool2d", "max_pool2d"),
    "MEAN": ("mean", "mean"),
    "MINIMUM": ("minimum", "minimum"),
    "MUL": ("qnn.mul", "mul"),
    "NEG": ("negative", "negative"),
    "PACK": ("concatenate", "concatenate"),
    "PAD": ("nn.pad", "pad"),
    "QUANTIZE": ("qnn.quantize", "quantize"),  # or qnn.requantize, requantize: see _anchor
    "REDUCE_MAX": ("max", "reduce_max"),
    "RELU": ("qnn.requantize", "relu"),
    "RELU6": ("qnn.requantize", "relu"),
    "RESHAPE": ("reshape", "reshape"),
    "RESIZE_BILINEAR": ("image.resize2d", "resize2d"),
    "RESIZE_NEAREST_NEIGHBOR": ("image.resize2d", "resize2d"),
    "RSQRT": ("rsqrt", "rsqrt"),
    "SLICE": ("strided_slice", "strided_slice"),
    "SOFTMAX": ("nn.softmax", "softmax"),
    "SQUARE": ("power", "power"),
    "SQUARED_DIFFERENCE": ("multiply", "squared_difference"),
    "STRIDED_SLICE": ("strided_slice", "strided_slice"),
    "SUB": ("qnn.subtract", "subtract"),
    "SUM": ("sum", "reduce_sum"),
    "TANH": ("tanh", "tanh"),
    "TRANSPOSE": ("transpose", "transpose"),
    "TRANSPOSE_CONV": ("qnn.conv2d_transpose", "conv2d_transpose"),
}

# Calls that the frontend makes beside the operator's own, each on stored integers and so each in a
# composite of its own: (kind of operator, call) to pattern.
BESIDE = {
    ("BATCH_MATMUL", "reshape"): "reshape",  # to rank 3
    ("BATCH_MATMUL", "transpose"): "transpose",  # unless adj_y
    ("FULLY_CONNECTED", "reshape"): "reshape",  # to rank 2, and back with keep_num_dims
    ("PACK", "expand_dims"): "expand_dims",
    ("PRELU", "reshape"): "reshape",  # flat, and back
    ("STRIDED_SLICE", "reshape"): "reshape",  # for masks that drop an axis
    ("UNPACK", "reshape"): "reshape",
    ("UNPACK", "squeeze"): "squeeze",
}

CONV, DEPTHWISE = "CONV_2D", "DEPTHWISE_CONV_2D"

# Float operators that the converter put between a DEQUANTIZE and a QUANTIZE, and that have a
# pattern: the three are one composite. ELU has none: it is on the host, with a composite each side.
BETWEEN = {"NEG", "SQUARE"}


@each_model
def test_each_operator_is_in_the_composite_of_its_kind(name: str) -> None:
    case = models.case(name)
    wrong = []
    for operator in case.file.operators:
        if operator.kind in PATTERNS and _is_in_integers(case, operator):
            call, pattern = _anchor(case, operator)
            found = _takers(case, operator, call)
            if found != [pattern]:
                wrong.append(f"{operator.kind} {operator.outputs[0]}: {found}, not {pattern}")
    assert not wrong, "\n".join(wrong)


@each_model
def test_as_many_composites_as_operators(name: str) -> None:
    case = models.case(name)
    expected = Counter(
        _anchor(case, operator)[1]
        for operator in case.file.operators
        if operator.kind in PATTERNS and _is_in_integers(case, operator)
        if not _is_part_of_another(case, operator)
    )
    for expr in case.names.order:
        made_for = case.names.operator(expr)
        if made_for is not None and dtype_of(expr) in QUANTIZED_DTYPES:
            expected[BESIDE.get((made_for.kind, op_name(expr) or ""), "")] += 1
    del expected[""]
    found = Counter(match.pattern for match in case.result.matches)
    assert found == expected


# Patterns with several inputs of a kind, and the call whose arguments they are in order.
ORDERED = {
    "add": "qnn.add",
    "concatenate": None,  # qnn.concatenate or concatenate
    "maximum": "maximum",
    "minimum": "minimum",
    "mul": "qnn.mul",
    "squared_difference": "subtract",
    "subtract": "qnn.subtract",
}


@each_model
def test_operands_are_in_the_order_of_the_file(name: str) -> None:
    """The frontend keeps it, and nothing makes a pattern turn it round."""
    case = models.case(name)
    faults = []
    for match in case.result.matches:
        if match.pattern in ORDERED:
            call = _own_call(case, match)
            made_for = case.names.operator(call)
            inputs = [port for port in ports(case, match) if port.name in ("x", "x2", "xs")]
            found = [port.named.tensor.name if port.named else None for port in inputs]
            if made_for is None or found != list(made_for.inputs):
                faults.append(f"{match.composite}: {found}, not {made_for}")
    assert not faults, "\n".join(faults)


def _own_call(case: Case, match: Any) -> Expr:
    wanted = {ORDERED[match.pattern]} - {None} or {"qnn.concatenate", "concatenate"}
    (found,) = (call for call in case.paired(match).calls if op_name(call) in wanted)
    return found


@each_model
def test_fused_activations_are_in_the_composite(name: str) -> None:
    """The frontend makes a clip of each, behind the operator's other calls."""
    case = models.case(name)
    roots = [case.paired(match).root for match in case.result.matches if match.pattern != "clip"]
    clipped = [case.names.operator(root) for root in roots if op_name(root) == "clip"]
    expected = [
        operator
        for operator in case.file.operators
        if (operator.fused_activation != "NONE" and _is_quantized(case, operator))
        or (operator.kind in ("RELU", "RELU6") and _is_clipped_before(case, operator))
    ]
    assert Counter(clipped) == Counter(expected)


def _takers(case: Case, operator: FlatOperator, call: str) -> list[str]:
    """The patterns of the composites that the operator's own call is in."""
    return [
        match.pattern
        for match in case.result.matches
        for inside in case.paired(match).calls
        if op_name(inside) == call and case.names.operator(inside) is operator
    ]


def _anchor(case: Case, operator: FlatOperator) -> tuple[str, str]:
    """The operator's own call, and the pattern of the composite that this is in."""
    call, pattern = PATTERNS[operator.kind]
    host = _host_of(case, operator)
    if host is not None:
        return call, PATTERNS[host.kind][1]
    if operator.kind == "QUANTIZE" and _input_dtype(case, operator) != "float32":
        return "qnn.requantize", "requantize"
    if operator.kind in ("RELU", "RELU6") and _is_clipped_before(case, operator):
        return call, "requantize"
    return call, pattern


def _host_of(case: Case, operator: FlatOperator) -> FlatOperator | None:
    """The operator whose composite this one is a part of, None where it has its own.

    A PAD that only one convolution uses: the frontend pads with the zero point, as the padding of
    the convolution does. And the ends of a NEG or SQUARE that the converter left in float.
    """
    users = [one for one in case.file.operators if operator.outputs[0] in one.inputs]
    if operator.kind == "PAD" and [user.kind for user in users] in ([CONV], [DEPTHWISE]):
        return users[0]
    if operator.kind == "DEQUANTIZE" and len(users) == 1 and _is_between(case, users[0]):
        return users[0]
    producer = _producer(case, operator.inputs[0])
    if operator.kind == "QUANTIZE" and producer is not None and _is_between(case, producer):
        return producer
    return None


def _is_part_of_another(case: Case, operator: FlatOperator) -> bool:
    return _host_of(case, operator) is not None


def _producer(case: Case, name: str | None) -> FlatOperator | None:
    return next((one for one in case.file.operators if name in one.outputs), None)


def _input_dtype(case: Case, operator: FlatOperator) -> str:
    (name,) = operator.inputs
    assert name is not None
    return case.file.tensors[name].dtype


def _is_between(case: Case, operator: FlatOperator) -> bool:
    return operator.kind in BETWEEN and not _is_quantized(case, operator)


def _is_in_integers(case: Case, operator: FlatOperator) -> bool:
    return _is_quantized(case, operator) or _is_between(case, operator)


def _is_clipped_before(case: Case, relu: FlatOperator) -> bool:
    """Behind a NEG, a RELU's clip is taken as the activation of the NEG: its requantize is left."""
    quantize = _producer(case, relu.inputs[0])
    host = None if quantize is None else _host_of(case, quantize)
    return host is not None and host.kind == "NEG"
