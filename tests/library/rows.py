"""For each row of a hand-written table, graphs drawn around it, and in what the tables differ."""

from __future__ import annotations

import numpy as np
from tvm import relay

from tests.library import convolutions, operators
from tests.library.operators import Body, extreme, fake, moved, quantized_binary


def _activation(name: str) -> Body:
    return fake(lambda draw, real: getattr(relay, name)(real))


CMSIS_NN: dict[str, Body] = {
    "conv2d": lambda draw: convolutions.conv2d(draw, "HWIO"),
    "depthwise_conv2d": lambda draw: convolutions.conv2d(draw, "HWOI"),
    "fully_connected": convolutions.dense,
    "avg_pool2d": operators.avg_pool2d,
    "max_pool2d": operators.max_pool2d,
    "mul": quantized_binary("mul"),
    "add": quantized_binary("add"),
    "softmax": operators.softmax_in_its_space,
}

ETHOS_U: dict[str, Body] = {
    "conv2d": lambda draw: convolutions.conv2d(draw, "HWIO"),
    "depthwise_conv2d": lambda draw: convolutions.conv2d(draw, "HWOI"),
    "conv2d_of_many_weights": convolutions.lots_of_weights,
    "conv2d_transpose": convolutions.conv2d_transpose,
    "fully_connected": convolutions.dense,
    "max_pool2d": operators.max_pool2d,
    "avg_pool2d": operators.avg_pool2d,
    "pad": operators.pad,
    **{name: quantized_binary(name) for name in ("add", "subtract", "mul")},
    **{name: extreme(name) for name in ("minimum", "maximum")},
    "shl": operators.shl,
    "reshape": moved(lambda draw, x: relay.reshape(x, [-1])),
    "reshape_to_five": moved(lambda draw, x: relay.reshape(x, [1, 1, 1, 1, -1])),
    "strided_slice": moved(operators.sliced),
    "expand_dims": moved(lambda draw, x: relay.expand_dims(x, 0)),
    "squeeze": moved(lambda draw, x: relay.squeeze(x)),
    **{name: _activation(name) for name in ("abs", "tanh", "sigmoid")},
    "leaky_relu": fake(lambda draw, real: relay.nn.leaky_relu(real, 0.25)),
    "softmax": fake(operators.softmax_of),
    "hard_swish": fake(operators.hard_swish_of),
    "resize2d": operators.resize2d,
    "mean": operators.mean,
    "sum": operators.total,
    "concatenate": operators.concatenate,
    "split": operators.split,
    "requantize": operators.requantize,
}


ETHOS_N: dict[str, Body] = {
    "mul": operators.with_constant("mul"),
    "add": operators.with_constant("add"),
    "add_of_two": quantized_binary("add"),
    "conv2d": lambda draw: convolutions.conv2d(draw, "HWIO"),
    "depthwise_conv2d": lambda draw: convolutions.conv2d(draw, "HWOI"),
    "conv2d_transpose": convolutions.conv2d_transpose,
    "fully_connected": convolutions.dense,
    "avg_pool2d": operators.avg_pool2d,
    "sigmoid": operators.in_its_space("sigmoid", 1 / 256, -128, 0),
    "tanh": operators.in_its_space("tanh", 1 / 128, 0, 128),
    "leaky_relu": fake(operators.leaky_relu_of),
    "mean": operators.mean,
    "resize2d": operators.resize2d,
    "requantize": operators.requantize,
}

ARM_COMPUTE_LIB: dict[str, Body] = {
    "conv2d": lambda draw: convolutions.conv2d_with_relu(draw, "HWIO"),
    "depthwise_conv2d": lambda draw: convolutions.conv2d_with_relu(draw, "HWOI"),
    "dense": convolutions.dense,
    "avg_pool2d": operators.avg_pool2d,
    "global_avg_pool2d": operators.global_avg_pool2d,
    "concatenate": operators.plain_concatenate,
}

BODIES: dict[str, dict[str, Body]] = {
    "cmsis-nn": CMSIS_NN,
    "ethos-u": ETHOS_U,
    "ethos-n": ETHOS_N,
    "arm_compute_lib": ARM_COMPUTE_LIB,
}

# Rows of which no graph here is taken.
NEVER = {"reshape_to_five"}

# In what respect a table of TVM does what it should not: a graph that shows it (or a row, some of
# whose graphs do), what the table says, and what the library says.
NO_BIAS = np.zeros(2, "int32")
DIFFERENCES: dict[str, dict[str, tuple[Body, str | None, str | None]]] = {
    "cmsis-nn": {
        "groups that do not divide the channels": (
            CMSIS_NN["depthwise_conv2d"],
            "qnn_conv2d",
            None,
        ),
        "operands of two shapes": (CMSIS_NN["add"], "qnn_add", None),
        "a scale for each output": (convolutions.dense_of_channels, "qnn_fully_connected", None),
        "counts what is padded": (CMSIS_NN["avg_pool2d"], "qnn_avg_pool2d", None),
        "a dilated pool": (CMSIS_NN["max_pool2d"], "qnn_max_pool2d", None),
        "softmax over another axis": (CMSIS_NN["softmax"], "qnn_softmax", None),
    },
    "ethos-u": {
        "pads by another value than the zero point": (ETHOS_U["conv2d"], None, "qnn_conv2d"),
        "pads more than height and width": (ETHOS_U["depthwise_conv2d"], None, "depthwise_conv2d"),
        "a pad too large to be folded": (ETHOS_U["conv2d"], None, "qnn_conv2d"),
        "one output channel": (ETHOS_U["conv2d"], None, "qnn_conv2d"),
        "a dilation that is not square": (
            lambda _: convolutions.plain_conv2d((64, 2), (1, 2), NO_BIAS),
            None,
            "qnn_conv2d",
        ),
        "int16": (ETHOS_U["tanh"], None, "tanh"),
        "softmax over another axis": (ETHOS_U["softmax"], "softmax", None),
        "constants that are no hard swish": (ETHOS_U["hard_swish"], "hard_swish", None),
        "a resize that changes the space": (ETHOS_U["resize2d"], "resize2d", None),
        "a concatenation that changes the space": (ETHOS_U["concatenate"], "concat", None),
        "a dilated pool": (ETHOS_U["max_pool2d"], "maxpool2d", None),
        "a negative axis": (ETHOS_U["mean"], None, "mean"),
        "width alone, limited like height": (operators.mean_over_width, None, "mean"),
    },
    "arm_compute_lib": {
        "a result of another dtype": (ARM_COMPUTE_LIB["avg_pool2d"], "avg_pool2d", None),
    },
    "ethos-n": {
        "a sum that changes the space": (
            ETHOS_N["add"],
            "qnn_add_to_reinterpret_quantize",
            None,
        ),
        "a product that moves the zero point": (
            operators.product_that_moves,
            "qnn_mul_to_reinterpret_quantize",
            None,
        ),
        "a pad, and padding of the convolution": (
            ETHOS_N["conv2d"],
            "qnn_requantize",
            "qnn_conv2d",
        ),
        "a result of another dtype": (ETHOS_N["leaky_relu"], "qnn_leaky_relu", None),
        "groups that are no depthwise convolution": (
            ETHOS_N["depthwise_conv2d"],
            "qnn_conv2d",
            "qnn_requantize",
        ),
        "a bias of int64": (ETHOS_N["conv2d"], "qnn_conv2d", None),
        "a number beside one channel": (ETHOS_N["add"], None, "qnn_add_to_depthwise"),
        "padding of the output": (
            ETHOS_N["conv2d_transpose"],
            "qnn_conv2d_transpose",
            "qnn_requantize",
        ),
        "counts what is padded": (ETHOS_N["avg_pool2d"], "qnn_avg_pool2d", None),
        "a dilated pool": (ETHOS_N["avg_pool2d"], "qnn_avg_pool2d", None),
    },
}
