"""The checks of TVM's table for Ethos-N, as its C++ makes them before it asks Arm's library.

That C++ is in no distribution of TVM on the package index: this says in Python, on the Relay graph,
what src/relay/backend/contrib/ethosn/ethosn_api.cc and convert_equivalent.cc of TVM 0.16 refuse.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tvm.relay.op.contrib.ethosn
from tvm.relay.op.contrib import get_pattern_table

from tests.library.draw import number

Check = Callable[[Any], bool]


def table() -> list[tuple[str, Any, Check]]:
    """The rows of TVM with these checks."""
    return [(name, pattern, CHECKS[name]) for name, pattern, _ in get_pattern_table("ethos-n")]


def is_tensor(expr: Any) -> bool:
    kind = expr.checked_type
    shape = [int(each) for each in kind.shape]
    return len(shape) <= 4 and shape[:1] == [1] and kind.dtype in ("uint8", "int8", "int32")


def has_one_dilation(call: Any) -> bool:
    return [int(each) for each in call.attrs.dilation] == [1, 1]


def conv2d(root: Any) -> bool:
    call = root.args[0].args[0]
    source = call.args[0]
    # What stands before may be a composite by now, whose operator has no name.
    is_padded = getattr(getattr(source, "op", None), "name", None) == "nn.pad"
    if is_padded and any(int(each) for each in call.attrs.padding):
        return False
    if is_padded and len(source.attrs.pad_width) != 4:
        return False
    x = source.args[0] if is_padded else source
    return has_one_dilation(call) and is_tensor(x) and is_tensor(root)


def conv2d_transpose(root: Any) -> bool:
    call = root.args[0]
    call = call.args[0] if call.op.name == "nn.bias_add" else call
    return has_one_dilation(call) and is_tensor(call.args[0]) and is_tensor(root)


def fully_connected(root: Any) -> bool:
    return is_tensor(root.args[0].args[0].args[0]) and is_tensor(root)


def avg_pool2d(root: Any) -> bool:
    pool = root.args[0]
    return pool.attrs.layout == "NHWC" and is_tensor(pool.args[0].args[0]) and is_tensor(root)


def in_space(scale: float, signed: int, unsigned: int) -> Check:
    def check(root: Any) -> bool:
        x = root.args[0].args[0].args[0]
        zero = signed if root.checked_type.dtype == "int8" else unsigned
        is_there = number(root.args[1]) == np.float32(scale) and int(number(root.args[2])) == zero
        return bool(is_there) and is_tensor(x) and is_tensor(root)

    return check


def leaky_relu(root: Any) -> bool:
    return 0 < root.args[0].attrs.alpha < 1 and is_tensor(root)


def mean(root: Any) -> bool:
    return is_tensor(root.args[0].args[0].args[0]) and is_tensor(root)


def one_operand(root: Any) -> bool:
    return is_tensor(root.args[0]) and is_tensor(root)


def addition(root: Any) -> bool:
    """What adds int32 is refused by Arm's library: that is the dtype of a bias."""
    tensors = (*root.args[:2], root)
    return all(is_tensor(each) and each.checked_type.dtype != "int32" for each in tensors)


def operands(root: Any) -> tuple[Any, Any, list[Any]]:
    """The tensor, the constant, and the numbers of both and of the result: scale, zero point."""
    x, c = root.args[:2]
    slots = [number(each) for each in root.args[2:]]
    if isinstance(x, tvm.relay.Constant):
        return c, x, [*slots[2:4], *slots[:2], *slots[4:]]
    return x, c, slots


def factor_for_all(root: Any) -> bool:
    x, c, (scale, zero, c_scale, c_zero, out, out_zero) = operands(root)
    if number(c).size != 1:
        return False
    whole = scale * c_scale * np.float32(int(number(c).reshape(-1)[0]) - int(c_zero))
    return bool(abs(np.float32(whole) - out) <= np.float32(0.004)) and is_tensor(x)


def summand_for_all(root: Any) -> bool:
    x, c, (scale, zero, c_scale, c_zero, _, out_zero) = operands(root)
    if number(c).size != 1:
        return False
    value = np.float32(int(number(c).reshape(-1)[0]) - int(c_zero)) * c_scale
    return bool(int(zero) - value / scale - int(out_zero) <= 1) and is_tensor(x)


def one_for_each_channel(root: Any) -> bool:
    x, c, _ = operands(root)
    channels = [int(each) for each in root.checked_type.shape][-1:]
    return [int(number(c).size)] == channels and is_tensor(x)


def summand_for_each_channel(root: Any) -> bool:
    """Of a number without dimensions the requantize to the bias cannot be calculated."""
    return one_for_each_channel(root) and number(operands(root)[1]).ndim > 0


CHECKS: dict[str, Check] = {
    f"ethos-n.qnn_{name}": check
    for name, check in {
        "mul_to_reinterpret_quantize": factor_for_all,
        "mul_to_depthwise": one_for_each_channel,
        "add_to_reinterpret_quantize": summand_for_all,
        "add_to_depthwise": summand_for_each_channel,
        "add": addition,
        "conv2d": conv2d,
        "conv2d_transpose": conv2d_transpose,
        "avg_pool2d": avg_pool2d,
        "sigmoid": in_space(1 / 256, -128, 0),
        "fc": fully_connected,
        "mean": mean,
        "tanh": in_space(1 / 128, 0, 128),
        "leaky_relu": leaky_relu,
        "resize": one_operand,
        "requantize": one_operand,
    }.items()
}
