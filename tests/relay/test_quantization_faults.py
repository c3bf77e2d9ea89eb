"""Parameters that no tensor can have, such as are not known, and such as an operator must not pass
on: each has its reason, and none is ever taken for a tensor's parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relay

import qpat
from qpat.diagnostics import QpatError, Severity
from qpat.ops.roles import AxisRule
from qpat.relay.parameters import Unread, read
from qpat.relay.quantization import Quantization, analysed

qnn = relay.qnn.op


def f32(*values: float) -> Any:
    return relay.const(np.array(values if len(values) > 1 else values[0], "float32"))


def i32(*values: int) -> Any:
    return relay.const(np.array(values if len(values) > 1 else values[0], "int32"))


def var(name: str, shape: tuple[int, ...], dtype: str = "int8") -> Any:
    return relay.var(name, shape=shape, dtype=dtype)


def analysis(body: Any) -> tuple[Any, Quantization]:
    function = relay.Function(relay.analysis.free_vars(body), body)
    module = relay.transform.InferType()(tvm.IRModule.from_expr(function))
    return module["main"], analysed(module)


FLOAT = var("f", (2, 3), "float32")
INTEGER = var("x", (2, 3))


def quantized(scale: Any, zero_point: Any, dtype: str = "int8", axis: int = 1) -> Any:
    return qnn.quantize(FLOAT, scale, zero_point, axis=axis, out_dtype=dtype)


def convolution(kernel_zero_point: Any, layout: str = "HWIO", scale: Any = None) -> Any:
    kernel = relay.const(np.ones((3, 3, 2, 4), "int8"))
    slots = i32(0), kernel_zero_point, f32(0.5), scale or f32(0.25)
    x = var("x", (1, 8, 8, 2))
    groups, channels = (2, 8) if layout == "HWOI" else (1, 4)
    return qnn.conv2d(
        *(x, kernel, *slots, (3, 3), channels),
        groups=groups,
        data_layout="NHWC",
        kernel_layout=layout,
    )


def concatenated(scales: int, zero_points: int) -> Any:
    x, y = var("x", (2, 3)), var("y", (2, 3))
    slots = [f32(0.5)] * scales, [i32(1)] * zero_points
    return qnn.concatenate(relay.Tuple([x, y]), *map(relay.Tuple, slots), f32(0.5), i32(1), axis=0)


IMPOSSIBLE: dict[str, tuple[Callable[[], Any], str]] = {
    "zero scale": (lambda: quantized(f32(0.0), i32(1)), "its scale is 0.0, which is no positive"),
    "negative scale": (lambda: quantized(f32(-0.5), i32(1)), "its scale is -0.5, which is no"),
    "infinite scale": (lambda: quantized(f32(np.inf), i32(1)), "its scale is inf, which is no"),
    "scale that is no number": (lambda: quantized(f32(np.nan), i32(1)), "its scale is nan"),
    "one of several scales": (lambda: quantized(f32(1, 0, 1), i32(1)), "its scale is 0.0"),
    "zero point too great": (lambda: quantized(f32(1), i32(128)), "128, which is no int8"),
    "zero point too small": (lambda: quantized(f32(1), i32(-1), "uint8"), "-1, which is no uint8"),
    "one of several zero points": (
        lambda: quantized(f32(1), i32(1, -129, 3)),
        "its zero point is -129, which is no int8",
    ),
    "zero points of the kernel": (
        lambda: convolution(i32(0, 1, 2)),
        "it has 3 zero points for axis 3 of size 4",
    ),
    "zero points of a depthwise kernel": (
        lambda: convolution(i32(*range(6)), "HWOI"),
        "it has 6 zero points for axis 2 of size 2",
    ),
    "scales of channels and multipliers, zero points of channels": (
        lambda: convolution(i32(0, 1), "HWOI", f32(*[0.5] * 8)),
        "it has 8 scales and 2 zero points",
    ),
    "fewer scales than tensors": (
        lambda: concatenated(1, 2),
        "there are 1 scales and 2 zero points for 2 tensors",
    ),
    "more zero points than tensors": (
        lambda: concatenated(2, 3),
        "there are 2 scales and 3 zero points for 2 tensors",
    ),
}


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_what_cannot_be_is_reported_and_never_taken(case: str) -> None:
    make, reason = IMPOSSIBLE[case]
    _, known = analysis(make())
    assert known.faults
    for fault in known.faults:
        assert reason in fault.unread.reason
        assert known.of(fault.value) is None
        assert reason in (known.reason(fault.value) or "")
    messages = [finding for finding in known.findings("m") if finding.code == "QP343"]
    assert messages and all(reason in finding.message for finding in messages)
    assert {(each.severity, each.place) for each in messages} == {(Severity.WARNING, "m")}
    written = [fault["reason"] for fault in known.to_json()["faults"]]
    assert written == [fault.unread.reason for fault in known.faults]


def test_what_another_call_says_counts_beside_what_cannot_be() -> None:
    wrong = quantized(f32(0.0), i32(1))
    main, known = analysis(qnn.dequantize(wrong, f32(0.5), i32(3)))
    found = known.of(main.body.args[0])
    assert found is not None and (float(found.scale), int(found.zero_point)) == (0.5, 3)
    assert [finding.code for finding in known.findings()] == ["QP343"]


@pytest.mark.parametrize("shape", [(4,), (8,)])
def test_a_depthwise_kernel_may_have_scales_for_each_channel_and_multiplier(
    shape: tuple[int, ...],
) -> None:
    if shape == (4,):
        _, known = analysis(convolution(i32(0), scale=f32(*[0.5] * 3, 0.25)))
    else:
        _, known = analysis(convolution(i32(0), "HWOI", f32(*[0.5] * 7, 0.25)))
    (kernel,) = [each for each in known.tensors() if each.operator == "constant"]
    assert kernel.scale.shape == shape and not known.faults


@pytest.mark.parametrize("slot", ["scale", "zero point"])
def test_what_is_not_constant_is_a_reason_and_no_fault(slot: str) -> None:
    scale = var("s", (), "float32") if slot == "scale" else f32(0.5)
    zero_point = var("z", (), "int32") if slot == "zero point" else i32(1)
    main, known = analysis(quantized(scale, zero_point))
    assert known.of(main.body) is None
    assert known.reason(main.body) == f"qnn.quantize: its {slot} is not constant"
    assert not known.findings()


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        (AxisRule(fixed=2), "its axis is out of range for 2 dimensions"),
        (AxisRule(fixed=-1), "its axis is out of range for 2 dimensions"),
        (AxisRule(), "it has many scales or zero points, and no axis that they run along"),
        (AxisRule(attribute="nonsense"), "qnn.quantize of this TVM has no attribute nonsense"),
    ],
)
def test_an_axis_that_the_tensor_does_not_have(rule: AxisRule, reason: str) -> None:
    """No call that passes the type inference of TVM 0.16 has one."""
    main, _ = analysis(quantized(f32(0.5), i32(0)))
    found = read(f32(0.5, 0.25), i32(0), rule, main.body, main.body)
    assert found == Unread(reason, is_wrong=True)


@pytest.mark.parametrize(
    ("scale", "zero_point", "reason"),
    [
        (np.float32([[1, 2, 3]]), np.int32(0), "its scales or zero points are no vector"),
        (np.float32([]), np.int32(0), "it has no scales or zero points at all"),
        (np.int32(1), np.int32(0), "its scale is of dtype int32"),
        (np.float32(1), np.float32(0), "its zero point is of dtype float32"),
    ],
)
def test_constants_that_are_no_scale_or_no_zero_point(
    scale: Any, zero_point: Any, reason: str
) -> None:
    """Nor any that has these."""
    main, _ = analysis(quantized(f32(0.5), i32(0)))
    slots = relay.const(scale), relay.const(zero_point)
    assert read(*slots, AxisRule(fixed=1), main.body, main.body) == Unread(reason, is_wrong=True)


def test_type_inference_refuses_an_axis_out_of_range() -> None:
    body = qnn.quantize(FLOAT, f32(0.5, 0.25), i32(0), axis=5, out_dtype="int8")
    with pytest.raises(QpatError, match="QP341"):
        qpat.quantization(tvm.IRModule.from_expr(relay.Function([FLOAT], body)))


def test_scales_of_channels_and_multipliers_stay_where_they_are() -> None:
    """They run over two axes: a transpose takes these apart, even where no size changes."""
    kernel = var("w", (3, 3, 4, 4))
    scales = f32(*(2.0 ** -np.arange(16)))
    slots = i32(0), i32(0), f32(0.5), scales
    for turn, passes in (
        (relay.transpose(kernel, [0, 1, 3, 2]), False),
        (relay.copy(kernel), True),
    ):
        body = qnn.conv2d(
            *(var("x", (1, 8, 8, 4)), turn, *slots, (3, 3), 16),
            groups=4,
            data_layout="NHWC",
            kernel_layout="HWOI",
        )
        main, known = analysis(body)
        assert known.of(main.body.args[1]) is not None
        assert (known.of(main.body.args[1].args[0]) is not None) == passes


# ---- what operators must not pass on ---------------------------------------------------


def scales_of(count: int) -> tuple[Any, Any]:
    return f32(*(2.0 ** -np.arange(1, count + 1))), i32(0)


def test_zero_points_that_add_up_are_not_passed_on() -> None:
    wide = relay.cast(quantized(f32(0.5), i32(3)), "int32")
    main, known = analysis(relay.add(wide, wide))
    assert known.of(main.body.args[0]) is not None
    assert known.reason(main.body) == "add adds zero points"
    wide = relay.cast(quantized(f32(0.5), i32(0)), "int32")
    main, known = analysis(relay.add(wide, wide))
    assert known.of(main.body) is not None


def test_a_bias_has_no_zero_point_from_what_it_is_added_to() -> None:
    wide = relay.cast(quantized(f32(0.5), i32(3)), "int32")
    main, known = analysis(relay.nn.bias_add(wide, var("b", (3,), "int32")))
    assert known.of(main.params[1]) is None


@pytest.mark.parametrize(
    ("first", "second", "passes"),
    [
        ("int8", "int16", True),
        ("uint8", "int16", True),
        ("uint8", "int32", True),
        ("int8", "uint8", False),
        ("uint8", "int8", False),
        ("int8", "uint32", False),
        ("int16", "uint16", False),
    ],
)
def test_casts_that_take_integers_for_others(first: str, second: str, passes: bool) -> None:
    main, known = analysis(relay.cast(quantized(f32(0.5), i32(1), first), second))
    assert (known.of(main.body) is not None) == passes
    # And back, from a user.
    used = qnn.dequantize(relay.cast(var("x", (2, 3), first), second), f32(0.5), i32(1))
    main, known = analysis(used) if second != "uint32" else (None, None)
    if known is not None:
        assert (known.of(main.params[0]) is not None) == passes


def test_a_zero_point_that_has_no_room_is_not_passed_on() -> None:
    wide = quantized(f32(0.5), i32(1000), "int32")
    main, known = analysis(relay.cast(wide, "int8"))
    assert known.of(main.body.args[0]) is not None
    assert known.of(main.body) is None
    assert known.reason(main.body) == "the zero point is no int8"


def test_only_what_an_operator_says_of_all_fields_is_true_of_each() -> None:
    """The indices of a topk are no values."""
    values = relay.topk(quantized(f32(0.5), i32(1)), k=2, ret_type="both", dtype="int32")
    outputs = relay.Tuple([qnn.dequantize(values[0], f32(0.5), i32(1)), values[1]])
    main, known = analysis(outputs)
    assert known.of(main.body.fields[1]) is None
    lines = {each.name: each.unknown for each in known.tensors() if each.operator == "topk"}
    assert list(lines.values()) == [None, "no operator says"]


@pytest.mark.parametrize(
    ("operate", "axis_before", "axis_behind"),
    [
        (lambda x: relay.reverse(x, axis=1), 0, 0),
        (lambda x: relay.reverse(x, axis=1), 1, None),
        (lambda x: relay.reverse(x, axis=-1), 1, None),
        (lambda x: relay.strided_slice(x, [0, 0], [2, 2]), 0, 0),
        (lambda x: relay.strided_slice(x, [0, 0], [2, 2]), 1, None),
        (lambda x: relay.strided_slice(x, [0, 2], [2, -4], [1, -1]), 1, None),
        (lambda x: relay.split(x, 3, axis=1)[1], 0, 0),
        (lambda x: relay.split(x, 3, axis=1)[1], 1, None),
        (lambda x: relay.nn.pad(x, [[0, 0], [1, 0]]), 0, 0),
        (lambda x: relay.nn.pad(x, [[0, 0], [1, 0]]), 1, None),
        (lambda x: relay.concatenate([x, x], axis=0), 1, 1),
        (lambda x: relay.concatenate([x, x], axis=1), 1, None),
        (lambda x: relay.transpose(x), 1, 0),
        (lambda x: relay.reshape(x, [2, 3, 1]), 1, 1),
        (lambda x: relay.reshape(x, [3, 2]), 1, None),
        (lambda x: relay.clip(x, 0.0, 5.0), 1, 1),
        (lambda x: relay.take(x, i32(0, 1), axis=1), 1, None),
    ],
)
def test_scales_go_with_their_axis_and_nowhere_else(
    operate: Callable[[Any], Any], axis_before: int, axis_behind: int | None
) -> None:
    scale, zero_point = scales_of((2, 3)[axis_before])
    main, known = analysis(operate(quantized(scale, zero_point, axis=axis_before)))
    found = known.of(main.body)
    assert (None if found is None else found.axis) == axis_behind
    if found is None:
        assert "per-channel parameters do not survive" in (known.reason(main.body) or "")
    else:
        np.testing.assert_array_equal(found.scale, scale.data.numpy())


@pytest.mark.parametrize(("axis", "passes"), [(3, True), (2, False)])
def test_a_pool_passes_on_scales_of_channels_only(axis: int, passes: bool) -> None:
    """Over another axis it takes the greatest of numbers that mean different things, and as many
    of them as before."""
    data = qnn.quantize(
        var("f", (1, 3, 3, 3), "float32"), *scales_of(3), axis=axis, out_dtype="int8"
    )
    pooled = relay.nn.max_pool2d(data, (3, 3), padding=(1, 1), layout="NHWC")
    main, known = analysis(pooled)
    assert (known.of(main.body) is not None) == passes


def test_one_number_for_all_channels_agrees_with_itself() -> None:
    """A zero for each channel and a zero for all of them are no contradiction."""
    data = quantized(f32(0.5, 0.25, 0.125), i32(0, 0, 0))
    _, known = analysis(qnn.dequantize(data, f32(0.5, 0.25, 0.125), i32(0), axis=1))
    assert not known.conflicts
    _, known = analysis(qnn.dequantize(data, f32(0.5, 0.25, 0.25), i32(0), axis=1))
    assert len(known.conflicts) == 1


def test_scales_of_a_transposed_convolution_of_groups_do_not_run_over_rows() -> None:
    """There are six, and three output channels of two rows in each group: by accident as many."""
    call = qnn.conv2d_transpose(
        var("x", (1, 2, 8, 8)),
        relay.const(np.zeros((2, 3, 2, 2), "int8")),
        *(i32(0), i32(0), f32(0.5), f32(1, 2, 3, 4, 5, 6)),
        channels=6,
        kernel_size=(2, 2),
        groups=2,
    )
    main, known = analysis(call)
    assert known.of(main.body.args[1]) is None
    assert [each.unread.reason for each in known.faults] == ["it has 6 scales for axis 1 of size 3"]
