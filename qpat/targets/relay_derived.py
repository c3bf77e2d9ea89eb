"""What parameters in a generated Relay module are derived with; see relay_support.py."""

from __future__ import annotations

import math
from typing import Any, Callable, Dict, Optional, Tuple

import numpy as np

from qpat.targets.relay_reading import Refused, number
from qpat.targets.relay_support import Match, Real, Value

# ---- derived: those in use, the same in every module qpat writes ---------------------


def tensor_of(match: Match, value: Any) -> Any:
    """A value as an extern gets it: its Tensor, or a tuple of them."""
    match.is_told = True
    if isinstance(value, list):
        return tuple(each.tensor(match.inputs) for each in value)
    return None if value is None else value.tensor(match.inputs)


def returned(value: Any, kind: str) -> Any:
    """What an extern gives, held to be something: a None is a `return` that was forgotten."""
    if value is None and kind != "any":
        raise Refused(f"None where {kind} is declared")
    return value


def typed(value: Any, kind: str) -> Any:
    """A value held to a declared type; `none` fits every type."""
    if value is None or kind == "any":
        return value
    is_scalar = isinstance(value, (np.generic, np.ndarray)) and np.ndim(value) == 0
    plain_value = value.item() if is_scalar else value
    is_number = isinstance(plain_value, (int, float)) and not isinstance(plain_value, bool)
    if kind == "bool" and isinstance(plain_value, (bool, int)):
        return bool(plain_value)
    if kind == "int" and is_number and plain_value == int(plain_value):
        return int(plain_value)
    if kind == "float" and is_number:
        return float(plain_value)
    if kind == "str" and isinstance(value, str):
        return str(value)
    is_empty = isinstance(value, (tuple, list)) and not value  # of which NumPy makes floats
    if kind == "ints" and (is_empty or np.asarray(value).dtype.kind in "iu"):
        return tuple(int(each) for each in np.ravel(value))
    if kind == "tuple" and isinstance(value, (tuple, list)):
        return tuple(value)
    raise Refused(f"{value!r} where {kind} is declared")


def array_of(value: Any, dtype: str, shape: tuple[int | None, ...] | None = None) -> Any:
    """A value as an array of a declared dtype, and of a declared shape (None: any size)."""
    if value is None:
        return None
    found = np.asarray(value)
    made = found.astype(dtype)
    if made.dtype.kind in "iub" and not np.array_equal(made, found):
        raise Refused(f"a value does not fit in {dtype}")
    if shape is not None:
        fits = made.ndim == len(shape)
        fits = fits and all(w is None or w == size for w, size in zip(shape, made.shape))
        if not fits:
            raise Refused(f"an array of shape {made.shape} where {shape} is declared")
    return made[()] if made.ndim == 0 else made


def fields_of(value: Any, *types: Tuple[str, Any]) -> Tuple[Any, ...]:
    """A tuple held to a declared type for each of its fields: a kind or dtype, and a shape."""
    given = [returned(each, kind) for each, (kind, _) in zip(unpacked(value, len(types)), types)]
    return tuple(
        typed(each, kind) if kind in KINDS else array_of(each, kind, shape)
        for each, (kind, shape) in zip(given, types)
    )


KINDS = ("bool", "int", "float", "str", "ints", "tuple", "any")


def unpacked(value: Any, count: int) -> tuple[Any, ...]:
    """The fields of a tuple of `count`."""
    if not isinstance(value, (tuple, list)) or len(value) != count:
        raise Refused(f"{count} values are wanted, and this is {value!r}")
    return tuple(value)


def real(operator: str, *operands: Any, **attributes: Any) -> Real:
    return Real(operator, operands, attributes)


def like(call: Value, *names: str, **others: Any) -> Dict[str, Any]:
    """Attributes of a call, less those that are given otherwise."""
    return {**{name: getattr(call.attrs, name) for name in names}, **others}


def lut(meaning: Optional[Real], name: str, x: Value, y: Value) -> Any:
    """What the output is for each value of the input `name`, where the meaning has no other input.

    8 bits: 256 values, the first for the least input. int16: 513 values and the error between two
    of them spread, as gen_lut in tensorflow/lite/kernels/internal/common.h does. None in a check.
    """
    if meaning is None:
        return None
    if np.ndim(x.scale) or np.ndim(y.scale):
        raise Refused("no look-up table: a scale is a vector")

    def quantized(values: Any) -> Any:
        found = elementwise(meaning, {name: (values - float(x.zero_point)) * float(x.scale)})
        return found / float(y.scale)

    least, most = y.range
    info = np.iinfo(x.dtype)
    if info.bits == 8:
        values = rounded(quantized(np.arange(info.min, info.max + 1.0))) + float(y.zero_point)
        return np.clip(values, least, most).astype(y.dtype)
    if info.bits != 16:
        raise Refused(f"no look-up table for {x.dtype}")
    at = np.linspace(info.min, info.max, 513)
    exact, between = quantized(at), quantized((at[:-1] + at[1:]) / 2)
    samples = rounded(exact)
    error = rounded((exact[1:] + samples[:-1]) / 2) - rounded(between)
    samples[:-1] -= rounded(error / 2)
    return np.clip(samples, least, most).astype(y.dtype)


def elementwise(meaning: Any, inputs: Dict[str, Any]) -> Any:
    """A meaning in float64 whose operators work element by element."""
    if isinstance(meaning, str):
        if meaning not in inputs:
            raise Refused(f"no look-up table: {meaning} is another input")
        return inputs[meaning]
    if not isinstance(meaning, Real):
        return np.float64(meaning)
    if meaning.op not in ELEMENTWISE:
        raise Refused(f"no look-up table: {meaning.op} does not work element by element")
    operands = [elementwise(operand, inputs) for operand in meaning.operands]
    with np.errstate(all="ignore"):
        return ELEMENTWISE[meaning.op](*operands, **meaning.attributes)


ELEMENTWISE: Dict[str, Callable[..., Any]] = {
    "abs": np.abs,
    "add": np.add,
    "ceil": np.ceil,
    "clip": lambda x, a_min, a_max: np.clip(x, a_min, a_max),
    "cos": np.cos,
    "divide": np.divide,
    "erf": np.vectorize(math.erf, otypes=[float]),
    "exp": np.exp,
    "floor": np.floor,
    "log": np.log,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "multiply": np.multiply,
    "negative": np.negative,
    "nn.leaky_relu": lambda x, alpha: np.where(x > 0, x, x * alpha),
    "nn.relu": lambda x: np.maximum(x, 0.0),
    "power": np.power,
    "round": lambda x: rounded(x),
    "rsqrt": lambda x: 1.0 / np.sqrt(x),
    "sigmoid": lambda x: 1.0 / (1.0 + np.exp(-x)),
    "sin": np.sin,
    "sqrt": np.sqrt,
    "subtract": np.subtract,
    "tanh": np.tanh,
}


def dim(value: Value, letters: str, layout: str) -> Any:
    """The size of a dimension by its letter in a layout; of several letters a tuple."""
    if len(layout) != len(value.shape):
        raise Refused(f"layout {layout} does not fit {len(value.shape)} dimensions")
    sizes = tuple(size_at(value, position) for position in positions(letters, layout))
    return sizes[0] if len(letters) == 1 else sizes


def size_at(value: Value, position: int) -> int:
    size = value.shape[position]
    if size is None:
        raise Refused("its shape is not known")
    return size


def positions(letters: str, layout: str) -> list[int]:
    """Where each letter stands in a layout of single letters."""
    if not layout.isalpha() or len(set(layout)) != len(layout):
        raise Refused(f"layout {layout} has no plain letters")
    missing = [letter for letter in letters if letter not in layout]
    if missing:
        raise Refused(f"layout {layout} has no {missing[0]}")
    return [layout.index(letter) for letter in letters]


def broadcasts(value: Value, other: Value) -> bool:
    """Whether `value` can be broadcast to the shape of `other`."""
    if len(value.shape) > len(other.shape):
        return False
    pairs = zip(reversed(value.shape), reversed(other.shape))
    return all(mine is not None and mine in (1, theirs) for mine, theirs in pairs)


def along(vector: Any, array: Any, axis: int | None) -> Any:
    """A per-channel vector laid along an axis of an array, and along those behind it where it is
    longer than that one; a scalar as it is."""
    wide = number(vector)
    if np.ndim(wide) == 0:
        return wide
    if axis is None:
        raise Refused("a vector of scales along an axis that is not known")
    shape = np.shape(array)
    for stop in range(axis + 1, len(shape) + 1):
        if math.prod(shape[axis:stop]) == wide.size:
            return wide.reshape(shape[axis:stop] + (1,) * (len(shape) - stop))
    raise Refused(f"{wide.size} scales do not fit axis {axis} of {shape}")


def reduced(reduce: Callable[..., Any], array: Any, layout: str, kept: str) -> Any:
    """A reduction over all dimensions but those whose letters are kept."""
    if np.ndim(array) != len(layout):
        raise Refused(f"layout {layout} does not fit {np.ndim(array)} dimensions")
    stay = positions(kept, layout)
    return reduce(array, axis=tuple(i for i in range(len(layout)) if i not in stay))


def rounded(value: Any) -> Any:
    """The nearest whole number, halves away from zero, as C++ rounds."""
    found = np.asarray(value)
    if found.dtype.kind in "iu":
        return value
    return (np.sign(found) * np.floor(np.abs(found) + 0.5))[()]


def bit_length(value: Any) -> Any:
    """The bits of whole numbers less their signs, as Python's int.bit_length."""
    found = np.asarray(value)
    lengths = np.frompyfunc(lambda each: int(each).bit_length(), 1, 1)(found)
    return np.asarray(lengths).astype(np.int64)[()]


def fixed_point(multiplier: Any) -> tuple[Any, Any]:
    """Multiplier (int32, 31 fractional bits) and shift of a real multiplier, or of many.

    In float64, as GetFixedPointMultiplierShift in src/relay/qnn/utils.cc: x is about
    multiplier * 2 ** (shift - 31).
    """
    found = np.asarray(multiplier, dtype=np.float64)
    if not np.all(np.isfinite(found)) or np.any(found < 0):
        raise Refused(f"{multiplier} is no multiplier")
    if found.ndim == 0:
        significand, exponent = math.frexp(found)
        fixed = math.floor(significand * 2.0**31 + 0.5)
        return (fixed // 2, exponent + 1) if fixed == 2**31 else (fixed, exponent)
    significands, exponents = np.frexp(found)
    several = np.floor(significands * 2.0**31 + 0.5).astype(np.int64)
    whole = several == 2**31
    several = np.where(whole, several // 2, several).astype(np.int32)
    return several, np.where(whole, exponents + 1, exponents).astype(np.int32)


def transposed(array: Any, layout: str, wanted: str) -> Any:
    """An array of one layout in another; `HWIO` and `OHWI`."""
    found = np.asarray(array)
    if found.ndim != len(layout) or sorted(layout) != sorted(wanted):
        raise Refused(f"an array of {found.ndim} dimensions cannot go from {layout} to {wanted}")
    return found.transpose(positions(wanted, layout))


def flipped(array: Any, letters: str, layout: str) -> Any:
    """An array reversed along the dimensions of some letters."""
    return np.flip(np.asarray(array), positions(letters, layout))


def zeros(shape: Any, dtype: str = "int32") -> Any:
    return np.zeros(shape, dtype)


# ---- end of derived -------------------------------------------------------------------
