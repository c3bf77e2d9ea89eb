"""Every composite as dequantize -> real operator -> quantize, with the parameters of its record.

What a pattern means on real numbers (`meaning`) takes the place of what a frontend has spelled in
integers: one form for all of them, for those who start from real operators.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tvm
from tvm import relay

from qpat.relay.calls import constant, make_call, typed
from qpat.relay.environment import listening, reason
from qpat.relay.graph import rewrite, shallow_copy
from qpat.relay.partition import Match, Partition
from qpat.semantics import ir
from qpat.targets.relay_derived import along

# What qnn.dequantize takes and qnn.quantize gives (their type relations, TVM 0.16).
_DEQUANTIZED = ("int8", "uint8", "int16", "int32")
_QUANTIZED = ("int8", "uint8", "int16", "int32")


@dataclass(frozen=True, eq=False)
class Canonical:
    """`module` is typed and has no composites but those `kept`, each with the reason; `rewritten`
    are the matches of `partition` that were replaced."""

    module: Any
    partition: Partition
    rewritten: tuple[Match, ...]
    kept: tuple[tuple[Match, str], ...]


class Kept(Exception):
    """A composite that stays as it is; the text says why."""


def canonicalize(partition: Partition) -> Canonical:
    """Replaces every composite, and every operator that a rule takes, whose record knows all: its
    meaning, and scale and zero point of each tensor of integers.

    The result of each is within one unit of the last place of what it was, where its pattern is
    verified (docs/canonicalize.md says what is rounded where). The partition is not changed.
    """
    if not isinstance(partition, Partition):
        found = type(partition).__name__
        raise TypeError(f"canonicalize() takes what partition() gives, nothing of type {found}")
    patterns = {pattern.name: pattern for pattern in partition.compiled.module.patterns}
    matches = {match.call: match for match in partition.matches}
    rewritten: list[Match] = []
    kept: list[tuple[Match, str]] = []

    def change(old: Any, new: Any) -> Any:
        match = matches.get(old)
        if match is None:
            return new
        try:
            made = canonical_call(match, new.args, patterns[match.pattern])
        except Kept as why:
            kept.append((match, str(why)))
            return new
        rewritten.append(match)
        return made

    module = shallow_copy(partition.module)
    for variable in module.get_global_vars():
        module.update_func(variable, rewrite(partition.module[variable], change))
    module = relay.transform.InferType()(module)
    return Canonical(module, partition, tuple(rewritten), tuple(kept))


def _raw_ports(pattern: ir.Pattern) -> frozenset[str]:
    """The ports whose integers stand for themselves: `let x.qparams = raw`."""
    fills = (each for each in pattern.statements if isinstance(each, ir.Fill))
    return frozenset(each.name for each in fills if each.value is None)


def _output(pattern: ir.Pattern) -> str:
    return next(port.name for port in pattern.ports if port.is_output)


def canonical_call(match: Match, arguments: Any, pattern: ir.Pattern) -> Any:
    """A match in canonical form, of these arguments. Raises Kept where that cannot be."""
    output, raw = _output(pattern), _raw_ports(pattern)
    meaning = getattr(match.record, "meaning", None)
    if meaning is None:
        raise Kept("its pattern has no meaning, or one that needs what is not known")
    if isinstance(match.tensors[output], tuple):
        raise Kept("it gives several tensors")
    # Variables stand for the arguments while types are inferred, not all that is behind them.
    variables = [relay.Var(f"x{n}", each.checked_type) for n, each in enumerate(match.call.args)]
    reals: dict[str, Any] = {}

    def port(name: str) -> Any:
        if name not in reals:
            reals[name] = _real_port(name, match.tensors[name], variables, name in raw)
        return reals[name]

    with listening() as heard:
        try:
            real = _expression(meaning, port)
            made = _quantized(real, output, match.tensors[output], output in raw)
            _check_type(made, match)
        # What TVM raises where an attribute does not fit, or shapes do not, is of all kinds.
        except (AttributeError, TypeError, ValueError, tvm.error.TVMError) as error:
            raise Kept(f"TVM does not type its meaning: {reason(error, heard)}") from None
    return relay.bind(made, dict(zip(variables, arguments, strict=True)))


def _expression(meaning: Any, port: Callable[[str], Any]) -> Any:
    if isinstance(meaning, str):
        return port(meaning)
    if hasattr(meaning, "op"):
        operands = [_expression(each, port) for each in meaning.operands]
        return make_call(meaning.op, operands, meaning.attributes)
    return constant(meaning, "float32")


def _check_type(made: Any, match: Match) -> None:
    """What comes out must be of the type that the composite had."""
    found, wanted = typed(made).checked_type, match.call.checked_type
    if not tvm.ir.structural_equal(found, wanted):
        raise Kept(f"its meaning is of type {found}, and it is of type {wanted}")


# ---- from integers to real numbers and back ------------------------------------------------------


def _real_port(name: str, tensor: Any, arguments: Any, is_raw: bool) -> Any:
    if tensor is None:
        raise Kept(f"its meaning reads `{name}`, which is absent")
    if isinstance(tensor, tuple):
        return relay.Tuple([_real(name, each, arguments, is_raw) for each in tensor])
    return _real(name, tensor, arguments, is_raw)


def _real(name: str, tensor: Any, arguments: Any, is_raw: bool) -> Any:
    """A tensor in float32: dequantized where it is one of integers."""
    is_constant = tensor.value is not None
    if not is_constant and tensor.input is None:
        raise Kept(f"`{name}` is neither a constant nor an argument")
    value = constant(tensor.value, tensor.dtype) if is_constant else arguments[tensor.input]
    if not _is_whole(tensor):
        return value if tensor.dtype == "float32" else relay.cast(value, "float32")
    scale, zero_point = _slots(name, tensor, is_raw)
    if tensor.dtype in _DEQUANTIZED and _is_plain(tensor):
        return relay.qnn.op.dequantize(
            value,
            constant(scale, "float32"),
            constant(zero_point, "int32"),
            axis=-1 if tensor.axis is None else tensor.axis,
        )
    if not is_constant:
        raise Kept(f"qnn.dequantize takes no {tensor.dtype} as `{name}` has it")
    # Scales over two axes, of the weights of a depthwise convolution, or a bias of int64.
    wide = tensor.value.astype("float64") - along(zero_point, tensor.value, tensor.axis)
    return constant(wide * along(scale, tensor.value, tensor.axis), "float32")


def _is_plain(tensor: Any) -> bool:
    """Whether its scales run along one axis."""
    return tensor.axis is None or tensor.shape[tensor.axis] in (
        max(np.size(tensor.scale), np.size(tensor.zero_point)),
    )


def _quantized(real: Any, name: str, tensor: Any, is_raw: bool) -> Any:
    if not _is_whole(tensor):
        return real if tensor.dtype == "float32" else relay.cast(real, tensor.dtype)
    if tensor.dtype not in _QUANTIZED:
        raise Kept(f"qnn.quantize gives no {tensor.dtype}")
    scale, zero_point = _slots(name, tensor, is_raw)
    made = relay.qnn.op.quantize(
        real,
        constant(scale, "float32"),
        constant(zero_point, "int32"),
        axis=-1 if tensor.axis is None else tensor.axis,
        out_dtype=tensor.dtype,
    )
    info = np.iinfo(tensor.dtype)
    if tensor.range in (None, (info.min, info.max)):
        return made
    return relay.clip(made, *map(float, tensor.range))


def _is_whole(tensor: Any) -> bool:
    return str(tensor.dtype).startswith(("int", "uint"))


def _slots(name: str, tensor: Any, is_raw: bool) -> tuple[Any, Any]:
    if is_raw:
        return np.float32(1), np.int32(0)
    if tensor.scale is None or tensor.zero_point is None:
        raise Kept(f"scale and zero point of `{name}` are not known")
    return tensor.scale, tensor.zero_point


def summary(canonical: Canonical) -> str:
    """How many composites were rewritten, and a line for each that was not."""
    total = len(canonical.partition.matches)
    lines = [f"{len(canonical.rewritten)} of {total} composites are in canonical form"]
    for match, why in canonical.kept:
        place = f" at {match.location}" if match.location else ""
        lines.append(f"  {match.composite or match.op}{place} is kept: {why}")
    return "\n".join(lines)
