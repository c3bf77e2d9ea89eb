"""What the code generator of a back end in TVM reads of a composite, beside what a record says.

Those of CMSIS-NN, Ethos-N and the Arm Compute Library are C++ that no distribution of TVM on the
package index has. `cmsis_nn_parameters`, `ethos_n_parameters` and `arm_compute_lib_parameters` say
once more what that C++ calculates: they walk the body by the positions of its operands, and know
nothing of the pattern files.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import relay

from tests.library.draw import number
from tests.library.operators import Body

Fields = Mapping[str, Any]
OfCall = Callable[[Any], Fields]
OfRecord = Callable[[Any], Fields]


@dataclass(frozen=True)
class Difference:
    """In what the C++ does other than it should. `holds` says of which calls; `meant` is what the
    fields should be there; `shown` draws graphs of which some differ; `only` is the one composite
    that is concerned where the call does not tell."""

    holds: Callable[[Any], bool]
    meant: OfCall
    shown: Body
    only: str | None = None


class StopsError(Exception):
    """The C++ ends with an error where it should read parameters."""


@dataclass(frozen=True)
class Oracle:
    """For the name of each composite, or of a single operator: the fields that the C++ calculates
    of its body (or of the call), and the same of a record; and by trait, where they differ."""

    fields: Mapping[str, tuple[OfCall, OfRecord]]
    differences: Mapping[str, Difference]

    def compare(self, name: str, call: Any, record: Any, where: str) -> set[str]:
        """Fails where a field is not the same; gives the traits by which one differs."""
        of_call, of_record = self.fields[name]
        traits = {
            trait: each.meant(call)
            for trait, each in self.differences.items()
            if each.only in (None, name) and each.holds(call)
        }
        try:
            theirs = dict(of_call(call))
        except StopsError:
            assert traits, f"{where}: the C++ stops"
            theirs = {}
        wanted = dict(theirs)
        for meant in traits.values():
            wanted |= meant
        found = of_record(record)
        assert wanted.keys() == found.keys(), where
        for field, value in wanted.items():
            assert same(value, found[field]), f"{where}: {field} is {found[field]}, not {value}"
        return {
            trait
            for trait, meant in traits.items()
            if any(field not in theirs or not same(theirs[field], meant[field]) for field in meant)
        }


def same(first: Any, second: Any) -> bool:
    """Equal to the last bit, in shape too; lists and tuples element by element."""
    if isinstance(first, list | tuple) and isinstance(second, list | tuple):
        return len(first) == len(second) and all(map(same, first, second))
    a, b = np.asarray(first), np.asarray(second)
    return a.shape == b.shape and bool(np.all(a == b))


# ---- the graph by position -------------------------------------------------------------------


def is_call_of(expr: Any, *names: str) -> bool:
    return isinstance(expr, relay.Call) and getattr(expr.op, "name", None) in names


def shape(expr: Any) -> tuple[int, ...]:
    return ints(expr.checked_type.shape)


def dtype(expr: Any) -> str:
    return str(expr.checked_type.dtype)


def ints(values: Any) -> tuple[int, ...]:
    return tuple(int(each) for each in values)


def first(constant: Any) -> Any:
    """The number of a constant, or the first of many."""
    return number(constant).reshape(-1)[0]


def fixed_point(real: float) -> tuple[int, int]:
    """GetFixedPointMultiplierShift (src/relay/qnn/utils.cc)."""
    significand, exponent = math.frexp(real)
    multiplier = math.floor(significand * (1 << 31) + 0.5)
    return (multiplier // 2, exponent + 1) if multiplier == 1 << 31 else (multiplier, exponent)
