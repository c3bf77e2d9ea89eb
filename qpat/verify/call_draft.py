"""A call that is being made, as the rules for shapes and attributes see it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

Shape = tuple[int, ...]


class Unfit(Exception):
    """What was drawn cannot be an instance; the text says why."""


class Draft(Protocol):
    """A call that is being made; drafts.py has it. `wanted` is the shape its user would like."""

    random: np.random.Generator  # decides shapes and attributes
    values: np.random.Generator  # decides what may change from one set of parameters to the next
    wanted: Shape | None
    tensors: tuple[str, ...]  # the operands that are tensors, by name

    def pick(self, name: str, *choices: Any) -> Any:
        """An attribute: what the pattern wants it to be, or one of the choices."""

    def value(self, name: str, *choices: Any) -> Any:
        """The same for an attribute that changes with the parameters, not with the shapes."""

    def tensor(self, name: str, wanted: Any = None) -> Shape:
        """Makes an operand, of this shape if that is possible. Returns the shape it has."""

    def dtype(self, name: str) -> str:
        """The dtype of an operand that was made."""

    def is_leaf(self, name: str) -> bool:
        """Whether an operand can be given any shape."""

    def is_constant(self, name: str) -> bool:
        """Whether an operand is a constant, or is made of one alone."""

    def is_bias(self, name: str) -> bool:
        """Whether an operand is a constant that is dequantized beside an accumulator of reals."""

    def channel_axis(self, rank: int) -> int:
        """The axis of the channels: of the convolution that the operand comes from, else -1."""

    def final_dtype(self) -> str:
        """The dtype of the pattern's output."""

    def output_dtype(self) -> str:
        """The dtype of what this call gives where the pattern decides it."""


Rule = Callable[[Draft], None]


def random_shape(random: np.random.Generator, rank: int | None = None) -> Shape:
    """A small shape; of 2 or 4 dimensions most of the time, and few of a single element. A third
    of them are one image, which many patterns ask for."""
    chosen = rank if rank is not None else int(random.choice([1, 2, 2, 3, 3, 4, 4, 4]))
    shape = tuple(int(each) for each in random.choice([1, 2, 2, 3, 3, 4, 5], chosen))
    return (1, *shape[1:]) if chosen > 1 and not random.integers(0, 3) else shape


def image(random: np.random.Generator, layout: str, channels: int | None = None) -> Shape:
    sizes = {
        "N": int(random.choice([1, 1, 2])),
        "H": int(random.integers(4, 8)),
        "W": int(random.integers(4, 8)),
        "C": channels if channels is not None else int(random.integers(1, 5)),
    }
    return tuple(sizes.get(letter, 1) for letter in layout)


def size_of(layout: str, shape: Shape, letter: str) -> int:
    return shape[layout.index(letter)]


def wide(dtype: str) -> tuple[str, ...]:
    """The dtypes that an accumulator may have; a float convolution gives what it takes."""
    if dtype.startswith("float"):
        return ("",)
    return ("int32", "int64") if dtype == "int16" else ("int32",)
