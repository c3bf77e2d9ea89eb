"""The JSON node that TVM makes of a composite for the Arm Compute Library.

After src/relay/backend/contrib/arm_compute_lib/codegen.cc of TVM 0.16, and what its runtime
(src/runtime/contrib/arm_compute_lib/acl_runtime.cc) reads of a node.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from tvm.relay.op.strategy.generic import is_depthwise_conv2d

from tests.library import convolutions
from tests.library.draw import number
from tests.library.parameters import Difference, Fields, Oracle, StopsError, first, ints, is_call_of


def layer(root: Any) -> tuple[Any, Any, Any, Any]:
    """The requantize, the activation, the bias, and the call that multiplies. The C++ looks for an
    addition, which the bias is by then."""
    activation, bias, call = None, None, root.args[0]
    if call.op.name == "nn.relu":
        activation, call = call, call.args[0]
    if call.op.name == "nn.bias_add":
        bias, call = call.args[1], call.args[0]
    return root, activation, bias, call


def kernel_of(call: Any) -> tuple[str, Any]:
    """The layout to which `preprocess_module` brings a kernel, and the kernel in it."""
    attrs, there = call.attrs, str(call.attrs.kernel_layout)
    sides, kernel = call.args[0].checked_type.shape, number(call.args[1])
    is_depthwise = is_depthwise_conv2d(sides, "NHWC", kernel.shape, there, attrs.groups)
    layout = "IHWO" if is_depthwise else "OHWI"
    return layout, kernel.transpose([there.index(letter) for letter in layout])


def inputs(requantize: Any, bias: Any, call: Any) -> Fields:
    return {
        "kernel": number(call.args[1]) if call.op.name == "qnn.dense" else kernel_of(call)[1],
        "input_zero_point": int(first(call.args[2])),
        "kernel_zero_point": int(first(call.args[3])),
        "input_scale": float(first(call.args[4])),
        "kernel_scale": float(first(call.args[5])),
        "bias": [] if bias is None else number(bias).reshape(-1),
        "output_scale": float(first(requantize.args[3])),
        "output_zero_point": int(first(requantize.args[4])),
    }


def inputs_of(r: Any, kernel: Any) -> Fields:
    return {
        "kernel": kernel,
        "input_zero_point": int(one(r.x.zero_point)),
        "kernel_zero_point": int(one(r.w.zero_point)),
        "input_scale": float(one(r.x.scale)),
        "kernel_scale": float(one(r.w.scale)),
        "bias": [] if r.bias is None else r.bias.value,
        "output_scale": float(one(r.y.scale)),
        "output_zero_point": int(one(r.y.zero_point)),
    }


def one(values: Any) -> Any:
    """The number of an array of one."""
    [found] = np.asarray(values).reshape(-1)
    return found


def conv2d(root: Any) -> Fields:
    found = node_of_conv2d(root)
    layout = found.pop("kernel_layout")
    if layout != ("IHWO" if found["name"] == "qnn.depthwise_conv2d" else "OHWI"):
        raise StopsError(f"the layout of the kernel is {layout}")
    return found


def node_of_conv2d(root: Any) -> dict[str, Any]:
    requantize, activation, bias, call = layer(root)
    attrs, padding = call.attrs, ints(call.attrs.padding)
    if is_call_of(call.args[0], "nn.pad"):
        _, (top, bottom), (left, right), _ = (ints(n) for n in call.args[0].attrs.pad_width)
        padding = (top, left, bottom, right)
    is_depthwise = int(attrs.channels) == attrs.groups != 1
    return {
        **inputs(requantize, bias, call),
        "name": "qnn.depthwise_conv2d" if is_depthwise else "qnn.conv2d",
        "kernel_layout": kernel_of(call)[0],
        "padding": padding,
        "strides": ints(attrs.strides),
        "dilation": ints(attrs.dilation),
        "groups": int(attrs.groups),
        "activation_type": "none" if activation is None else "relu",
    }


def conv2d_of(r: Any) -> Fields:
    return {
        **inputs_of(r, r.weights),
        "name": "qnn.conv2d" if r.groups == 1 else "qnn.depthwise_conv2d",
        "padding": r.padding,
        "strides": r.strides,
        "dilation": r.dilation,
        "groups": r.groups,
        "activation_type": r.activation,
    }


def dense(root: Any) -> Fields:
    requantize, _, bias, call = layer(root)
    return inputs(requantize, bias, call)


def dense_of(r: Any) -> Fields:
    return inputs_of(r, r.w.value)


def pool2d(root: Any) -> Fields:
    call = root.args[0] if root.op.name == "cast" else root
    if call.op.name.startswith("nn.global"):
        return {"name": call.op.name}
    attrs = call.attrs
    found = {
        "name": call.op.name,
        "padding": ints(attrs.padding),
        "strides": ints(attrs.strides),
        "pool_size": ints(attrs.pool_size),
        "ceil_mode": bool(attrs.ceil_mode),
    }
    if call.op.name == "nn.avg_pool2d":
        found["exclude_pad"] = not attrs.count_include_pad
    return found


def average_of(r: Any) -> Fields:
    if r.form == "whole":
        return {"name": "nn.global_avg_pool2d"}
    return {**window_of(r, "nn.avg_pool2d"), "exclude_pad": not r.count_include_pad}


def window_of(r: Any, name: str) -> Fields:
    return {
        "name": name,
        "padding": r.padding,
        "strides": r.strides,
        "pool_size": r.pool_size,
        "ceil_mode": r.ceil_mode,
    }


def concatenate(root: Any) -> Fields:
    return {"axis": int(root.attrs.axis), "number": len(root.args[0].checked_type.fields)}


def concatenate_of(r: Any) -> Fields:
    return {"axis": r.axis, "number": len(r.xs)}


def addition(root: Any) -> Fields:
    return {
        "scales": [float(number(root.args[at])) for at in (2, 4, 6)],
        "zero_points": [int(number(root.args[at])) for at in (3, 5, 7)],
    }


def addition_of(r: Any) -> Fields:
    tensors = (r.x, r.x2, r.y)
    return {
        "scales": [float(each.scale) for each in tensors],
        "zero_points": [int(each.zero_point) for each in tensors],
    }


def reshaped(root: Any) -> Fields:
    return {"output_shape": ints(root.checked_type.shape)}


def reshaped_of(r: Any) -> Fields:
    return {"output_shape": r.y.shape}


# ---- in what it errs -----------------------------------------------------------------------------


def conv_of(root: Any) -> Any:
    """The convolution of a composite that is one."""
    call = root.args[0] if is_call_of(root, "qnn.requantize") else root
    while is_call_of(call, "nn.relu", "nn.bias_add"):
        call = call.args[0]
    return call if is_call_of(call, "qnn.conv2d") else None


def pads_twice(root: Any) -> bool:
    conv = conv_of(root)
    return conv is not None and is_call_of(conv.args[0], "nn.pad") and any(ints(conv.attrs.padding))


def both_paddings(root: Any) -> Fields:
    conv = conv_of(root)
    _, (top, bottom), (left, right), _ = (ints(each) for each in conv.args[0].attrs.pad_width)
    return {"padding": np.add(ints(conv.attrs.padding), (top, left, bottom, right))}


def has_a_kernel_of_both_kinds(root: Any) -> bool:
    """The kernel is laid out for a depthwise convolution, which is then not taken for one."""
    conv = conv_of(root)
    if conv is None:
        return False
    groups = int(conv.attrs.groups)
    is_depthwise = kernel_of(conv)[0] == "IHWO"
    return is_depthwise and (groups == 1 or int(conv.attrs.channels) != groups)


def as_depthwise(root: Any) -> Fields:
    found = node_of_conv2d(root)
    del found["kernel_layout"]
    found["name"] = "qnn.conv2d" if found["groups"] == 1 else "qnn.depthwise_conv2d"
    return {**found, **both_paddings(root)} if pads_twice(root) else found


DIFFERENCES: Mapping[str, Difference] = {
    "a pad, and padding of the convolution": Difference(
        pads_twice, both_paddings, lambda draw: convolutions.conv2d_with_relu(draw, "HWIO")
    ),
    "one channel, or a multiplier": Difference(
        has_a_kernel_of_both_kinds,
        as_depthwise,
        lambda draw: convolutions.conv2d_with_relu(draw, "HWOI"),
    ),
}

ORACLE = Oracle(
    {
        "arm_compute_lib.qnn_conv2d": (conv2d, conv2d_of),
        "arm_compute_lib.qnn_dense": (dense, dense_of),
        "arm_compute_lib.avg_pool2d": (pool2d, average_of),
        "arm_compute_lib.concatenate": (concatenate, concatenate_of),
        "qnn.add": (addition, addition_of),
        "nn.max_pool2d": (pool2d, lambda r: window_of(r, "nn.max_pool2d")),
        "nn.global_max_pool2d": (pool2d, lambda r: {"name": "nn.global_max_pool2d"}),
        "reshape": (reshaped, reshaped_of),
    },
    DIFFERENCES,
)
