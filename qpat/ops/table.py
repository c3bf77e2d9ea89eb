"""The operators of Relay: their operands by name and order, and their attributes.

The table was dumped from TVM 0.16 by tools/dump_ops.py; reading it needs no TVM.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from qpat.records import dataclass


@dataclass(frozen=True)
class Operand:
    """One argument of a call, named as TVM's Python builder names it.

    A tuple operand takes any number of tensors as one tuple. An optional one may be missing.
    """

    name: str
    is_tuple: bool
    optional: bool


@dataclass(frozen=True)
class Attribute:
    """One attribute, as the C++ attribute class declares it.

    `type` is int, float, bool, str, dtype, list, int_or_none or any; a list may be unset (None).
    The default is C++'s, which a builder may override; a list is a tuple, an unset dtype is "".
    """

    name: str
    type: str
    default: object | None
    has_default: bool


@dataclass(frozen=True, eq=False)
class Operator:
    """One operator. `operands` are in the order of a call's arguments, and their number is fixed.

    `verified` says that the names were read off a call TVM's Python builder made. Where it is false
    they are the registry's, which is known to be wrong for some operators.
    """

    name: str
    operands: tuple[Operand, ...]
    attributes: Mapping[str, Attribute]
    commutative: bool
    verified: bool

    def operand_index(self, name: str) -> int | None:
        """The position of the operand with this name."""
        for index, operand in enumerate(self.operands):
            if operand.name == name:
                return index
        return None


@cache
def operator(name: str) -> Operator | None:
    """The operator with this name, or None if TVM has none."""
    entry = _entries().get(name)
    return None if entry is None else _operator(name, entry)


@cache
def operator_names() -> tuple[str, ...]:
    """The names of all operators, sorted."""
    return tuple(sorted(_entries()))


@cache
def _entries() -> dict[str, dict[str, Any]]:
    text = (Path(__file__).parent / "relay.json").read_text(encoding="utf-8")
    entries: dict[str, dict[str, Any]] = json.loads(text)["operators"]
    return entries


def _operator(name: str, entry: dict[str, Any]) -> Operator:
    tuples, optional = entry.get("tuples", ()), entry.get("optional", ())
    attributes = {
        key: _attribute(key, *value) for key, value in entry.get("attributes", {}).items()
    }
    return Operator(
        name=name,
        operands=tuple(Operand(n, n in tuples, n in optional) for n in entry["operands"]),
        attributes=MappingProxyType(attributes),
        commutative=entry.get("commutative", False),
        verified=entry["source"] == "builder",
    )


def _attribute(name: str, kind: str, *default: Any) -> Attribute:
    """An attribute from its type and, if it has one, its default."""
    value = default[0] if default else None
    value = tuple(value) if isinstance(value, list) else value
    return Attribute(name, kind, value, has_default=bool(default))
