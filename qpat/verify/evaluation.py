"""The meaning of a record in float64: TVM's float operators on dequantized values.

TVM computes it, because nobody here wrote that. What goes in is the record alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qpat.ops.relax import Unsaid
from qpat.relay.environment import Heard, reason
from qpat.targets.relay_derived import along
from qpat.targets.relay_reading import Refused
from qpat.verify.graphs import graphs

Array = NDArray[Any]


class Unevaluated(Exception):
    """A record whose meaning has no value; the text says why."""


class Contradiction(Exception):
    """A record that cannot be right; the text says why."""


class Meaning:
    """The meaning of one record as a graph in float64, and what its variables stand for.

    `expr` has a variable for each port and each number, so that graphs of other parameters are
    equal. Numbers are `numbers` by the variable's name; ports are variables named after them.
    Raises Contradiction where TVM does not type it, and Unevaluated where a port is absent or Relax
    has no such operator.
    """

    def __init__(self, meaning: Any, ports: Mapping[str, Any], heard: Heard) -> None:
        self.numbers: dict[str, Array] = {}
        self.variables: dict[str, Any] = {}
        self._ports = ports
        try:
            self.expr = self._expr(meaning)
            graphs().typed(self.expr)
        except Unsaid as error:
            raise Unevaluated(f"its meaning: {error}") from None
        except Unevaluated:
            raise
        # What TVM raises where an attribute does not fit, or shapes do not, is of all kinds.
        except Exception as error:
            raise Contradiction(f"its meaning has no value: {reason(error, heard)}") from None

    def is_like(self, other: Meaning) -> bool:
        """Whether it is the same graph, with other numbers."""
        return bool(graphs().same(self.expr, other.expr))

    def _expr(self, meaning: Any) -> Any:
        if isinstance(meaning, str):
            return self._port(meaning)
        if hasattr(meaning, "op"):
            operands = [self._expr(each) for each in meaning.operands]
            return graphs().make_real(meaning.op, operands, meaning.attributes)
        name = f"number_{len(self.numbers)}"
        self.numbers[name] = np.asarray(meaning, "float64")
        return self._variable(name, self.numbers[name].shape)

    def _port(self, name: str) -> Any:
        tensor = self._ports.get(name)
        if tensor is None:
            raise Unevaluated(f"`{name}` is absent")
        if isinstance(tensor, tuple):
            names = [f"{name}_{number}" for number in range(len(tensor))]
            pairs = zip(names, tensor, strict=True)
            return graphs().tuple_of([self._variable(each, one.shape) for each, one in pairs])
        return self._variable(name, tensor.shape)

    def _variable(self, name: str, shape: Sequence[int | None]) -> Any:
        if name not in self.variables:
            self.variables[name] = graphs().variable(name, shape, "float64")
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


def needs_parameters(
    tensors: Mapping[str, Any], wanted: set[str], is_raw: Callable[[str], bool]
) -> None:
    """Raises Unevaluated where a record does not know what a tensor's integers stand for, and
    Contradiction where its scales do not fit the tensor."""
    for name, tensor in tensors.items():
        if name in wanted and not is_raw(name) and _is_whole(tensor):
            if tensor.scale is None or tensor.zero_point is None:
                raise Unevaluated(f"the record has no scale or zero point of `{name}`")
            shape = [size or 1 for size in tensor.shape]
            _steps(tensor, np.zeros(shape), name)


def _is_whole(tensor: Any) -> bool:
    return str(tensor.dtype).startswith(("int", "uint"))


def _steps(tensor: Any, values: Array, name: str) -> tuple[Any, Any]:
    """Scale and zero point of a tensor, laid beside its values."""
    try:
        return (
            along(tensor.scale, values, tensor.axis),
            along(tensor.zero_point, values, tensor.axis),
        )
    except Refused as refused:
        raise Contradiction(f"`{name}`: {refused}") from None


def dequantized(tensor: Any, values: Array, name: str, is_raw: bool) -> Array:
    """The real numbers, float64, that the integers of a tensor stand for by its record.

    `is_raw`: the pattern says that they are plain integers. What it needs is known to be there
    (`needs_parameters`).
    """
    wide = values.astype("float64")
    if is_raw or not _is_whole(tensor):
        return wide
    scale, zero_point = _steps(tensor, values, name)
    return np.asarray((wide - zero_point) * scale)


def quantized_steps(tensor: Any, real: Array) -> Array:
    """Real numbers in the output's integers, float64, neither rounded nor cut."""
    scale, zero_point = _steps(tensor, real, "the output")
    return np.asarray(real / scale + zero_point)
