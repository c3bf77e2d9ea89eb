"""Quantization parameters read out of the calls of a Relay module by hand, op by op.

The indices are those of the built calls, from the C++ that makes and documents them (TVM 0.16,
src/relay/qnn/op: `MakeQnnConv2D` in convolution.cc, `MakeQnnConv2DTranspose` in
convolution_transpose.cc, `MakeQuantizedDense` in dense.cc, `MakeQuantizedBatchMatmul` in
batch_matmul.cc, `MakeRequantize` in requantize.cc, `MakeQuantize` in quantize.cc, `MakeDequantize`
in dequantize.cc, `MakeQnnConcatenate` in concatenate.cc, and `QnnBinaryOpArguments` in op_common.h
for add, subtract and mul). They are written out one by one on purpose: qpat has a table of its own,
and nothing here may be computed from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import relay

from tests.oracle.flatbuffer import Array
from tests.oracle.relay_names import (
    QUANTIZED_DTYPES,
    Expr,
    dtype_of,
    op_name,
    operands,
    reachable,
)


@dataclass(frozen=True, eq=False)
class Parameters:
    """What a call says of one tensor. `axis` is None where the scale is a scalar. `made_up`: the
    frontend of TFLite wrote it without looking at the file (convert_batch_matmul does so)."""

    scale: Array
    zero_point: Array
    axis: int | None
    made_up: bool = False

    def same(self, other: Parameters) -> bool:
        return np.array_equal(self.scale, other.scale) and np.array_equal(
            self.zero_point, other.zero_point
        )


Said = tuple[Expr, Parameters]


def _parameters(
    scale: Expr, zero_point: Expr, axis: int | None, made_up: bool = False
) -> Parameters:
    scales = scale.data.numpy()
    return Parameters(scales, zero_point.data.numpy(), axis if scales.ndim else None, made_up)


def _convolution(call: Expr) -> Iterator[Said]:
    """(data, weight, input_zero_point, kernel_zero_point, input_scale, kernel_scale): the zero
    points come before the scales. The weight's scales are one per output channel, "O"."""
    data, weight, data_zero, weight_zero, data_scale, weight_scale = call.args
    yield data, _parameters(data_scale, data_zero, None)
    yield weight, _parameters(weight_scale, weight_zero, call.attrs.kernel_layout.index("O"))


def _dense(call: Expr) -> Iterator[Said]:
    """(data, weight, input_zero_point, kernel_zero_point, input_scale, kernel_scale). The weight is
    (units, in): its scales are one per unit."""
    data, weight, data_zero, weight_zero, data_scale, weight_scale = call.args
    yield data, _parameters(data_scale, data_zero, None)
    yield weight, _parameters(weight_scale, weight_zero, 0)


def _batch_matmul(call: Expr) -> Iterator[Said]:
    """(x, y, x_zero_point, y_zero_point, x_scale, y_scale), and from TFLite always 0, 0, 1.0, 1.0:
    `convert_batch_matmul` does not look at the file."""
    x, y, x_zero, y_zero, x_scale, y_scale = call.args
    yield x, _parameters(x_scale, x_zero, None, made_up=True)
    yield y, _parameters(y_scale, y_zero, None, made_up=True)


def _requantize(call: Expr) -> Iterator[Said]:
    """(data, input_scale, input_zero_point, output_scale, output_zero_point): scales first. The
    output is per tensor or along the same `axis` as the input."""
    data, data_scale, data_zero, scale, zero = call.args
    axis = int(call.attrs.axis)
    made_up = _is_batch_matmul(data)
    yield data, _parameters(data_scale, data_zero, axis, made_up)
    yield call, _parameters(scale, zero, axis, made_up)


def _is_batch_matmul(data: Expr) -> bool:
    """convert_batch_matmul reshapes between the two calls."""
    while op_name(data) == "reshape":
        data = data.args[0]
    return op_name(data) == "qnn.batch_matmul"


def _binary(call: Expr) -> Iterator[Said]:
    """(lhs, rhs, lhs_scale, lhs_zero_point, rhs_scale, rhs_zero_point, output_scale,
    output_zero_point): scale and zero point in turn."""
    lhs, rhs, lhs_scale, lhs_zero, rhs_scale, rhs_zero, scale, zero = call.args
    yield lhs, _parameters(lhs_scale, lhs_zero, -1)
    yield rhs, _parameters(rhs_scale, rhs_zero, -1)
    yield call, _parameters(scale, zero, None)


def _concatenate(call: Expr) -> Iterator[Said]:
    """(data, input_scales, input_zero_points, output_scale, output_zero_point), the first three
    tuples."""
    data, scales, zeros, scale, zero = call.args
    if isinstance(data, relay.Tuple):
        for one in zip(data.fields, scales.fields, zeros.fields, strict=True):
            yield one[0], _parameters(one[1], one[2], None)
    yield call, _parameters(scale, zero, None)


def _quantize(call: Expr) -> Iterator[Said]:
    """(data, output_scale, output_zero_point)."""
    yield call, _parameters(call.args[1], call.args[2], int(call.attrs.axis))


def _dequantize(call: Expr) -> Iterator[Said]:
    """(data, input_scale, input_zero_point)."""
    yield call.args[0], _parameters(call.args[1], call.args[2], int(call.attrs.axis))


_SAYS: dict[str, Callable[[Expr], Iterator[Said]]] = {
    "qnn.conv2d": _convolution,
    "qnn.conv2d_transpose": _convolution,
    "qnn.dense": _dense,
    "qnn.batch_matmul": _batch_matmul,
    "qnn.requantize": _requantize,
    "qnn.add": _binary,
    "qnn.subtract": _binary,
    "qnn.mul": _binary,
    "qnn.concatenate": _concatenate,
    "qnn.quantize": _quantize,
    "qnn.dequantize": _dequantize,
}

# Calls that compute on the stored integers as they are, and which of their arguments therefore have
# the parameters of the result. In TFLite their tensors must have equal parameters (the quantization
# specification's "restriction: input and outputs must all have same scale/zero_point"); a mean or a
# maximum has a qnn.requantize behind it that says the argument's. Not so `sum`: n numbers with zero
# point z have n * z in their sum, though _convert_reduce writes z.
_SHARES: dict[str, tuple[int, ...]] = {
    "cast": (0,),
    "clip": (0,),
    "expand_dims": (0,),
    "image.resize2d": (0,),
    "max": (0,),
    "maximum": (0, 1),
    "mean": (0,),
    "min": (0,),
    "minimum": (0, 1),
    "nn.avg_pool2d": (0,),
    "nn.bias_add": (0, 1),
    "nn.max_pool2d": (0,),
    "nn.pad": (0,),
    "reshape": (0,),
    "split": (0,),
    "squeeze": (0,),
    "strided_slice": (0,),
    "transpose": (0,),
    "where": (1, 2),
}
# The arguments are the fields of a tuple.
_SHARES_FIELDS = {"concatenate"}

_INTEGERS = (*QUANTIZED_DTYPES, "int32", "int64")


def says(call: Expr) -> list[Said]:
    """What one call itself says of its result and its arguments."""
    reader = _SAYS.get(op_name(call) or "")
    return [] if reader is None else list(reader(call))


def shares(expr: Expr) -> list[Expr]:
    """The values that have the parameters of `expr` because of what `expr` is. A tuple stands for
    all of its fields: nothing but `split` and `concatenate` makes or takes one."""
    if isinstance(expr, relay.TupleGetItem):
        whole = expr.tuple_value
        return [whole.fields[expr.index] if isinstance(whole, relay.Tuple) else whole]
    name = op_name(expr) or ""
    if name in _SHARES_FIELDS:
        return operands(expr.args[0])
    # float32 in the middle of a dequantized region has no parameters at all
    if dtype_of(expr) not in (None, *_INTEGERS):
        return []
    return [expr.args[index] for index in _SHARES.get(name, ())]


class Reading:
    """What a set of calls says, with everything that shares parameters put together."""

    def __init__(self, calls: Iterable[Expr]) -> None:
        self._parent: dict[Expr, Expr] = {}
        self._said: dict[Expr, list[Parameters]] = {}
        self._along: dict[Expr, int] = {}
        heard: list[Said] = []
        for expr in calls:
            for other in shares(expr):
                self._join(expr, other)
            if op_name(expr) == "nn.bias_add":
                self._along[expr.args[1]] = 0
            heard += says(expr)
        for expr, parameters in heard:
            self._said.setdefault(self._find(expr), []).append(parameters)

    def of(self, expr: Expr) -> list[Parameters]:
        """Every statement about this value, made about it or about one that shares with it."""
        return self._said.get(self._find(expr), [])

    def one(self, expr: Expr) -> Parameters | None:
        """What is said of this value, None where nothing is but what is made up. Two statements
        that differ are a module that this oracle does not understand."""
        found = [said for said in self.of(expr) if not said.made_up]
        if not found:
            return None
        if not all(found[0].same(other) for other in found):
            raise AssertionError(f"{expr} is said to have different parameters")
        first = found[0]
        axis = self._along.get(expr, first.axis) if first.scale.ndim else None
        return Parameters(first.scale, first.zero_point, axis)

    def is_made_up(self, expr: Expr) -> bool:
        """Whether something made up is said of this value, whatever else is said of it."""
        return any(said.made_up for said in self.of(expr))

    def _find(self, expr: Expr) -> Expr:
        while expr in self._parent:
            expr = self._parent[expr]
        return expr

    def _join(self, one: Expr, other: Expr) -> None:
        one, other = self._find(one), self._find(other)
        if not one.same_as(other):
            self._parent[one] = other


def of_module(module: Any) -> Reading:
    """All that a whole module says. A value that this knows nothing of is one that no reader of
    Relay could know anything of."""
    return Reading(reachable(module["main"].body))


def of_body(calls: Iterable[Expr]) -> Reading:
    """What the body of one composite says by itself, given its calls."""
    return Reading(calls)
