"""records.dataclass gives what dataclasses.dataclass gives, for what the compiler uses of it."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qpat import records


@records.dataclass(frozen=True)
class Point:
    """With a docstring."""

    x: int
    y: int = 2


@records.dataclass(frozen=True)
class Named(Point):
    name: str = "p"


@records.dataclass(frozen=True)
class Pair:
    x: int
    y: int = 2


@records.dataclass(frozen=True, eq=False)
class Alone:
    x: int


@records.dataclass
class Draft:
    name: str
    parts: list[int] = records.field(default_factory=list)

    @property
    def size(self) -> int:
        return len(self.parts)


@dataclasses.dataclass(frozen=True)
class StandardPoint:
    x: int
    y: int = 2


@dataclasses.dataclass(frozen=True)
class StandardNamed(StandardPoint):
    name: str = "p"


VALUES = st.one_of(st.integers(), st.text(max_size=3), st.none(), st.tuples(st.integers()))


@given(VALUES, VALUES, VALUES, VALUES)
def test_equality_and_hash_are_those_of_the_values(a: Any, b: Any, c: Any, d: Any) -> None:
    assert (Point(a, b) == Point(c, d)) == (StandardPoint(a, b) == StandardPoint(c, d))
    assert hash(Point(a, b)) == hash(StandardPoint(a, b))
    assert Point(a, b) != Pair(a, b) and Point(a, b) != Named(a, b)
    assert Point(a, b) != (a, b)
    assert len({Point(a, b), Point(a, b), Point(a, b)}) == 1


@given(VALUES, VALUES)
def test_shown_like_the_standard_one(a: Any, b: Any) -> None:
    assert repr(Point(a, b)) == repr(StandardPoint(a, b)).removeprefix("Standard")
    assert repr(Named(a, b)) == repr(StandardNamed(a, b)).removeprefix("Standard")


def test_arguments() -> None:
    assert (Point(1).y, Point(1, 3).y, Point(y=4, x=1).y) == (2, 3, 4)
    assert Named(1, 2, "q") == Named(1, name="q")
    for wrong in ((), (1, 2, 3)):
        with pytest.raises(TypeError):
            Point(*wrong)
    with pytest.raises(TypeError):
        Point(1, z=3)  # type: ignore[call-arg]


def test_frozen() -> None:
    point = Point(1)
    with pytest.raises(AttributeError, match="cannot assign to field 'x'"):
        point.x = 2  # type: ignore[misc]
    with pytest.raises(AttributeError):
        del point.x
    assert point == Point(1)


def test_not_frozen_has_no_hash_and_defaults_of_its_own() -> None:
    first, second = Draft("a"), Draft("a")
    assert first == second
    first.parts.append(1)
    assert (second.parts, first.size, first == second) == ([], 1, False)
    assert Draft("a", [3]).parts == [3]
    with pytest.raises(TypeError):
        hash(first)


def test_without_equality_an_instance_is_itself() -> None:
    assert Alone(1) != Alone(1)
    assert len({Alone(1), Alone(1)}) == 2


def test_fields_and_replace() -> None:
    assert records.fields(Named) == records.fields(Named(1)) == ("x", "y", "name")
    assert records.replace(Named(1), y=5) == Named(1, 5)
    with pytest.raises(TypeError):
        records.replace(Point(1), z=1)


def test_the_standard_functions_work_too() -> None:
    assert dataclasses.is_dataclass(Point) and dataclasses.is_dataclass(Named(1))
    names = [each.name for each in dataclasses.fields(Named)]  # type: ignore[arg-type]
    assert names == ["x", "y", "name"]
    assert dataclasses.replace(Named(1), y=5) == Named(1, 5)  # type: ignore[type-var]
    assert dataclasses.asdict(Point(1)) == {"x": 1, "y": 2}  # type: ignore[call-overload]


def test_copies_and_patterns() -> None:
    point = Named(1, 2, "q")
    assert copy.copy(point) == copy.deepcopy(point) == pickle.loads(pickle.dumps(point)) == point
    match point:
        case Named(x, y, name):
            assert (x, y, name) == (1, 2, "q")
        case _:
            raise AssertionError
