"""The functions of the language: what they take, what they give, what they mean."""

from __future__ import annotations

from qpat.records import dataclass
from qpat.semantics.ir import Kind


@dataclass(frozen=True)
class Builtin:
    """A function of the language: what it takes and gives.

    `takes` has a word for each argument, the last one for all behind it: "value" a tensor, "call"
    the call a name stands for, "swap" a call whose operands may change places, "array" or "number"
    something to calculate with, "letters" letters of a layout, "text" a string, "list" a list of
    numbers, "any". `kind` None: that of the first argument. `reduces`: takes `except="O"`.
    """

    takes: tuple[str, ...]
    fewest: int
    most: int
    kind: Kind | None
    meaning: str
    reduces: bool = False


def _one(takes: str, kind: Kind | None, meaning: str) -> Builtin:
    return Builtin((takes,), 1, 1, kind, meaning)


BUILTINS: dict[str, Builtin] = {
    "rank": _one("value", Kind.INT, "number of dimensions"),
    "size": _one("sized", Kind.INT, "number of elements"),
    "dim": Builtin(
        ("value", "letters", "text"), 2, 3, None, "sizes of dimensions, by layout letter"
    ),
    "broadcasts": Builtin(("value",), 2, 2, Kind.BOOL, "the first can be broadcast to the second"),
    "swapped": _one("swap", Kind.BOOL, "the operands stand the other way round"),
    "pads": Builtin(("call", "text"), 1, 2, Kind.INTS, "top, left, bottom, right of an nn.pad"),
    "axes": _one("call", Kind.INTS, "reduced axes: sorted, not negative, not excluded"),
    "abs": _one("number", None, "absolute value"),
    "round": _one("number", Kind.ARRAY, "nearest whole number, halves away from zero"),
    "floor": _one("number", Kind.ARRAY, "greatest whole number not above"),
    "ceil": _one("number", Kind.ARRAY, "least whole number not below"),
    "sqrt": _one("number", Kind.ARRAY, "square root"),
    "exp": _one("number", Kind.ARRAY, "e to the power of it"),
    "log2": _one("number", Kind.ARRAY, "logarithm to base 2"),
    "bit_length": _one("number", Kind.ARRAY, "bits that a whole number takes, less its sign"),
    "min": Builtin(("number",), 1, 9, None, "the smallest element or argument", reduces=True),
    "max": Builtin(("number",), 1, 9, None, "the largest element or argument", reduces=True),
    "sum": Builtin(("number",), 1, 1, Kind.ARRAY, "sum of all elements", reduces=True),
    "any": _one("any", Kind.BOOL, "holds for some element"),
    "all": _one("any", Kind.BOOL, "holds for every element"),
    "same": _one("any", Kind.BOOL, "all elements of a list are equal"),
    "close": Builtin(("number",), 2, 3, Kind.BOOL, "equal within a relative tolerance of 1e-5"),
    "limits": _one("any", Kind.TUPLE, "least and greatest value of a dtype"),
    "f32": _one("number", Kind.ARRAY, "rounded to float32"),
    "fixed_point": _one("number", Kind.TUPLE, "multiplier and shift of a real multiplier"),
    "transpose": Builtin(
        ("array", "text", "text"), 3, 3, Kind.ARRAY, "dimensions in another order"
    ),
    "flip": Builtin(("array", "letters", "text"), 2, 3, Kind.ARRAY, "reversed along dimensions"),
    "reshape": Builtin(("array", "list"), 2, 2, Kind.ARRAY, "the same elements in another shape"),
    "lut": Builtin(("value",), 2, 2, Kind.ARRAY, "the output for each value of an input"),
    "zeros": Builtin(("list", "text"), 1, 2, Kind.ARRAY, "an array of zeros, int32 if not told"),
}

# How many values a function gives that gives a tuple.
RESULTS = {"fixed_point": 2, "limits": 2}

# What Python, NumPy and TFLite call it.
FROM_PYTHON = {
    "QuantizeMultiplier": "`fixed_point(…)` gives multiplier and shift",
    "array_equal": "lists are compared with `==`",
    "float": "numbers need no conversion",
    "get_fixed_point_multiplier_shift": "`fixed_point(…)` gives multiplier and shift",
    "int": "numbers need no conversion",
    "isclose": "write `close(a, b)`",
    "isinstance": "write what must be there in the structure",
    "len": "`rank(x)` is the number of dimensions, `size(a)` that of elements",
    "ndim": "write `rank(x)`",
    "numpy": "the value of a constant is `w.value`",
    "prod": "write `size(x)`",
    "quantize_multiplier": "`fixed_point(…)` gives multiplier and shift",
    "range": "write `first..last`, both ends included",
}
