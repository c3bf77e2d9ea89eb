"""Finds for every tensor of qpat's records what it is in the module and in the file, and compares.

Nothing is computed here but comparisons: what is expected comes from `flatbuffer` and from
`relay_reading`, where a tensor is comes from `relay_names`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import relay

from tests.oracle.flatbuffer import Array
from tests.oracle.models import Case
from tests.oracle.relay_names import (
    ConstantUse,
    Expr,
    Named,
    Paired,
    dtype_of,
    op_name,
    shape_of,
)
from tests.oracle.relay_reading import Parameters, of_body

# The patterns of patterns/tflite.qpat name their results so.
_RESULTS = ("y", "ys")

# Which calls hold the constant of a port, for ports that must be constants.
_HOLDERS = {
    "w": {"qnn.conv2d", "qnn.conv2d_transpose", "qnn.dense"},
    "bias": {"nn.bias_add"},
}


@dataclass(eq=False, repr=False)
class Port:
    """One tensor of a record. `expr` is it in the prepared module, `named` in the file, and `body`
    is what the calls of its composite say of it by themselves."""

    label: str
    name: str
    tensor: Any
    expr: Expr
    named: Named | None
    body: Parameters | None
    said: Parameters | None
    made_up: bool

    @property
    def is_float(self) -> bool:
        return dtype_of(self.expr) == "float32"

    @property
    def is_bias(self) -> bool:
        return self.name == "bias"


def ports(case: Case, match: Any) -> list[Port]:
    """Every tensor of a record that is there."""
    paired = case.paired(match)
    body = of_body(paired.calls)
    found = []
    for name, index, tensor in _tensors(match):
        expr, named = _locate(case, paired, name, index, tensor)
        found.append(
            Port(
                label=f"{match.composite}.{name}" + ("" if index is None else f"[{index}]"),
                name=name,
                tensor=tensor,
                expr=expr,
                named=named,
                body=body.one(expr),
                said=case.reading.one(expr),
                made_up=case.reading.is_made_up(expr),
            )
        )
    return found


def _tensors(match: Any) -> Iterator[tuple[str, int | None, Any]]:
    for name, held in match.tensors.items():
        if isinstance(held, tuple | list):
            yield from ((name, index, tensor) for index, tensor in enumerate(held))
        elif held is not None:
            yield name, None, held


def _locate(
    case: Case, paired: Paired, name: str, index: int | None, tensor: Any
) -> tuple[Expr, Named | None]:
    if name in _RESULTS:
        return paired.root, case.names.tensor(paired.root)
    if tensor.input is None:
        return _constant(case, _use(paired, name, tensor))
    expr = paired.arguments[tensor.input]
    if isinstance(expr, relay.Tuple):
        assert index is not None, f"{name} is one tensor, its argument a tuple"
        expr = expr.fields[index]
    if isinstance(expr, relay.Constant):
        (use,) = (use for use in paired.constants if use.expr.same_as(expr))
        return _constant(case, use)
    return expr, case.names.tensor(expr)


def _constant(case: Case, use: ConstantUse) -> tuple[Expr, Named | None]:
    return use.expr, case.names.constant(use.call, use.argument, use.value)


def _use(paired: Paired, name: str, tensor: Any) -> ConstantUse:
    """The one constant in the composite that holds these very numbers in a fitting place."""
    assert tensor.value is not None, f"{name} is neither a parameter nor a constant"
    fitting = [
        use
        for use in paired.constants
        if name not in _HOLDERS or (op_name(use.call) in _HOLDERS[name] and use.argument == 1)
        if use.value.dtype == tensor.value.dtype and np.array_equal(use.value, tensor.value)
    ]
    assert len(fitting) == 1, f"{name} fits {len(fitting)} constants of its composite"
    return fitting[0]


# ---- comparing ----


def same_scale(held: Any, expected: Array) -> bool:
    """Bit by bit: a float32 scalar, or a float32 vector where there is more than one."""
    if held is None or np.asarray(held).dtype != np.float32:
        return False
    if np.shape(held) != (() if expected.size == 1 else (expected.size,)):
        return False
    wanted = np.asarray(expected, np.float32)
    return np.asarray(held).tobytes() == wanted.tobytes()


def same_zero_point(held: Any, expected: Array) -> bool:
    """Exactly. TFLite writes a zero for each channel, Relay one for all of them: both are right."""
    if held is None or np.asarray(held).dtype.kind not in "iu":
        return False
    if np.ndim(held) and np.shape(held) != np.shape(expected):
        return False
    return bool(np.all(np.asarray(expected) == held))


def faults_of_kind(port: Port) -> Iterator[str]:
    """Element type, shape and axis."""
    tensor = port.tensor
    if (tensor.dtype, tuple(tensor.shape)) != (dtype_of(port.expr), shape_of(port.expr)):
        yield f"{port.label} is {dtype_of(port.expr)}{shape_of(port.expr)}, not {_kind(tensor)}"
    if port.named is not None:
        held = port.named.tensor
        if tensor.dtype != held.dtype:
            yield f"{port.label} is {held.dtype} in the file, not {tensor.dtype}"
        if port.named.same_shape and tuple(tensor.shape) != held.shape:
            yield f"{port.label} is {held.shape} in the file, not {tuple(tensor.shape)}"
    if np.ndim(tensor.scale):
        yield from _faults_of_axis(port)
    elif tensor.axis is not None:
        yield f"{port.label} has axis {tensor.axis} and no vector of scales"


def _faults_of_axis(port: Port) -> Iterator[str]:
    axis, shape = port.tensor.axis, tuple(port.tensor.shape)
    if axis is None or not 0 <= axis < len(shape):
        yield f"{port.label} has a vector of scales and axis {axis}"
    elif shape[axis] != len(port.tensor.scale):
        yield f"{port.label}: axis {axis} of {shape} for {len(port.tensor.scale)} scales"


def _kind(tensor: Any) -> str:
    return f"{tensor.dtype}{tuple(tensor.shape)}"


def fault_against_file(port: Port) -> str | None:
    """A tensor of which Relay says something has the parameters that the converter wrote, also when
    something made up is said of it as well. One of which Relay says nothing else is unknown, or has
    them nevertheless; never has it what is made up."""
    if port.named is None:
        return f"{port.label} is no tensor of the file"
    flat = port.named.tensor
    if flat.scale is None or flat.zero_point is None:
        return f"{port.label}: {flat.name} is not quantized in the file"
    scale, zero_point = port.tensor.scale, port.tensor.zero_point
    if port.said is None and scale is None and zero_point is None:
        return None
    if port.said is None and scale is None and same_zero_point(zero_point, flat.zero_point):
        return None
    right = _bias_scale(port, flat.scale) if port.is_bias else same_scale(scale, flat.scale)
    if right and same_zero_point(zero_point, flat.zero_point):
        return None
    return (
        f"{port.label}: {flat.name} has {_short(flat.scale)}/{_short(flat.zero_point)} in the file,"
        f" the record {_short(scale)}/{_short(zero_point)}"
        + (" (something made up is said of it)" if port.made_up else "")
        + (" (nothing is said of it)" if port.said is None and not port.made_up else "")
    )


def _bias_scale(port: Port, expected: Array) -> bool:
    """What Relay says of a bias is the frontend's own product of two scales, in float32; converters
    compute it in other ways (TF1 and QAT). A float32 has 24 bits: one rounding each may differ."""
    if port.tensor.scale is None or np.size(port.tensor.scale) != expected.size:
        return False
    return bool(np.allclose(port.tensor.scale, expected, rtol=2.0**-22, atol=0))


def fault_against_body(port: Port) -> str | None:
    """What the composite's own calls say is what its record has, bit by bit."""
    if port.body is None:
        return None
    tensor, body = port.tensor, port.body
    axis = None if body.axis is None else body.axis % len(tensor.shape)
    right = same_scale(tensor.scale, body.scale)
    right = right and same_zero_point(tensor.zero_point, body.zero_point)
    if right and tensor.axis == axis:
        return None
    return (
        f"{port.label}: the calls say {_short(body.scale)}/{_short(body.zero_point)} along {axis},"
        f" the record {_short(tensor.scale)}/{_short(tensor.zero_point)} along {tensor.axis}"
    )


def _short(value: Any) -> str:
    if np.size(value) > 4:
        return f"{np.ravel(value)[:3].tolist()}.. ({np.size(value)})"
    return str(np.asarray(value).tolist())
