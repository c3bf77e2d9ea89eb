"""The meaning of a record in float64: TVM's float operators on dequantized values.

TVM computes it, because nobody here wrote that. What goes in is the record alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tvm
from numpy.typing import NDArray
from tvm import relay

from qpat.targets.relay_derived import along
from qpat.targets.relay_reading import Refused
from qpat.verify.calls import make_call

Array = NDArray[Any]


class Unevaluated(Exception):
    """A record whose meaning has no value; the text says why."""


class Meaning:
    """The meaning of one record as a Relay graph in float64, and what its variables stand for.

    `expr` has a variable for each port and each number, so that graphs of other parameters are
    equal. Numbers are `numbers` by the variable's name; ports are variables named after them.
    """

    def __init__(self, meaning: Any, ports: Mapping[str, Any]) -> None:
        self.numbers: dict[str, Array] = {}
        self.variables: dict[str, Any] = {}
        self._ports = ports
        self.expr = self._expr(meaning)

    def _expr(self, meaning: Any) -> Any:
        if isinstance(meaning, str):
            return self._port(meaning)
        if hasattr(meaning, "op"):
            operands = [self._expr(each) for each in meaning.operands]
            try:
                return make_call(meaning.op, operands, meaning.attributes)
            except (AttributeError, TypeError, ValueError, tvm.error.TVMError) as error:
                raise Unevaluated(f"no call of {meaning.op} can be made: {error}") from None
        name = f"number_{len(self.numbers)}"
        try:
            self.numbers[name] = np.asarray(meaning, "float64")
        except (TypeError, ValueError):
            raise Unevaluated(f"{meaning!r} is no number") from None
        return self._variable(name, self.numbers[name].shape)

    def _port(self, name: str) -> Any:
        tensor = self._ports.get(name)
        if tensor is None:
            raise Unevaluated(f"`{name}` is absent")
        if isinstance(tensor, tuple):
            names = [f"{name}_{number}" for number in range(len(tensor))]
            pairs = zip(names, tensor, strict=True)
            return relay.Tuple([self._variable(each, one.shape) for each, one in pairs])
        return self._variable(name, tensor.shape)

    def _variable(self, name: str, shape: Sequence[int | None]) -> Any:
        if name not in self.variables:
            self.variables[name] = relay.var(name, shape=tuple(shape), dtype="float64")
        return self.variables[name]


def flat(ports: Mapping[str, Any]) -> dict[str, Any]:
    """Each tensor by its variable's name: those of a port that is many are numbered."""
    found: dict[str, Any] = {}
    for name, tensor in ports.items():
        if isinstance(tensor, tuple):
            found |= {f"{name}_{number}": each for number, each in enumerate(tensor)}
        elif tensor is not None:
            found[name] = tensor
    return found


def dequantized(tensor: Any, values: Array, name: str, is_raw: bool) -> Array:
    """The real numbers, float64, that the integers of a tensor stand for by its record.

    `is_raw`: the pattern says that they are plain integers. Raises Unevaluated where the record
    does not know a scale or zero point.
    """
    wide = values.astype("float64")
    if is_raw or not tensor.dtype.startswith(("int", "uint")):
        return wide
    if tensor.scale is None or tensor.zero_point is None:
        raise Unevaluated(f"the record has no scale or zero point of `{name}`")
    try:
        zero_point = along(tensor.zero_point, values, tensor.axis)
        return np.asarray((wide - zero_point) * along(tensor.scale, values, tensor.axis))
    except Refused as refused:
        raise Unevaluated(f"`{name}`: {refused}") from None


def quantized_steps(tensor: Any, real: Array) -> Array:
    """Real numbers in the output's integers, float64, neither rounded nor cut."""
    if tensor.scale is None or tensor.zero_point is None:
        raise Unevaluated("the record has no scale or zero point of the output")
    try:
        scale = along(tensor.scale, real, tensor.axis)
        return np.asarray(real / scale + along(tensor.zero_point, real, tensor.axis))
    except Refused as refused:
        raise Unevaluated(f"the output: {refused}") from None


