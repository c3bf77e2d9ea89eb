"""The functions of the language: what they take, what they give, what they mean."""

from __future__ import annotations

from dataclasses import dataclass

from qpat.semantics.ir import Kind


@dataclass(frozen=True)
class Builtin:
    """A function of the language: how many arguments, what they are, and what it gives.

    `takes` is "value" for a tensor, "call" for the call a name stands for, "expression" otherwise.
    `kind` None: that of the first argument.
    """

    takes: str
    fewest: int
    most: int
    kind: Kind | None
    meaning: str


BUILTINS: dict[str, Builtin] = {
    "rank": Builtin("value", 1, 1, Kind.INT, "number of dimensions"),
    "size": Builtin("value", 1, 1, Kind.INT, "number of elements"),
    "pads": Builtin("call", 1, 2, Kind.INTS, "top, left, bottom, right of an nn.pad"),
    "axes": Builtin("call", 1, 1, Kind.INTS, "reduced axes: sorted, not negative, not excluded"),
    "abs": Builtin("expression", 1, 1, None, "absolute value"),
    "min": Builtin("expression", 1, 9, None, "the smallest element or argument"),
    "max": Builtin("expression", 1, 9, None, "the largest element or argument"),
    "sum": Builtin("expression", 1, 1, Kind.ARRAY, "sum of all elements"),
    "any": Builtin("expression", 1, 1, Kind.BOOL, "holds for some element"),
    "all": Builtin("expression", 1, 1, Kind.BOOL, "holds for every element"),
    "same": Builtin("expression", 1, 1, Kind.BOOL, "all elements of a list are equal"),
    "close": Builtin("expression", 2, 3, Kind.BOOL, "equal within a relative tolerance of 1e-5"),
    "limits": Builtin("expression", 1, 1, Kind.TUPLE, "least and greatest value of a dtype"),
    "f32": Builtin("expression", 1, 1, Kind.ARRAY, "rounded to float32"),
}
