"""What the writers of generated modules ask of a target: the differences of Relay and Relax.

Operators and attributes have Relay's names in the IR. On Relax a call may have values behind its
tensors, which Relay has as attributes (qpat/ops/relax.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from qpat.ops.relax import counterpart
from qpat.ops.table import operator
from qpat.records import dataclass
from qpat.semantics import ir
from qpat.targets.layout import literal, string

# Attribute values that a DataflowPattern compares as it should. Lists it compares by the dtype of
# their elements too (StructuralEqual, src/relay/ir/dataflow_matcher.cc), so the binder does those.
_MATCHED_BY_TVM = (str, bool, int, float)


@dataclass(frozen=True, eq=False)
class Dialect:
    """One target. `functions` are those of TVM's pattern language; `constant` and `any_tuple` the
    patterns of a constant and of a tuple of any length. `operator` gives an operator's own
    name, `values` how many arguments stand behind its tensors, `attribute` how a pattern asks for
    an attribute's value, None where it cannot; `has_attribute` says whether its calls have one at
    all."""

    name: str
    title: str
    functions: tuple[str, ...]
    constant: str
    any_tuple: str
    operator: Callable[[str], str]
    values: Callable[[str], int]
    attribute: Callable[[str, str, Any], tuple[str, str] | None]
    has_attribute: Callable[[str, str], bool]

    def asked(self, call: ir.Call) -> list[str]:
        """The attributes of a call that a pattern asks for, as items of a dictionary."""
        stated = {a.name: a.value for a in call.attributes if isinstance(a.value, _MATCHED_BY_TVM)}
        found = [self.attribute(call.operator, name, value) for name, value in stated.items()]
        return [f"{string(each[0])}: {each[1]}" for each in found if each is not None]


def _relay_attribute(operator: str, name: str, value: Any) -> tuple[str, str]:
    return name, literal(value)


RELAY = Dialect(
    name="relay",
    title="Relay",
    functions=("is_constant", "is_op", "is_tuple", "is_tuple_get_item", "is_var", "wildcard"),
    constant="is_constant()",
    any_tuple="is_tuple(None)",
    operator=lambda name: name,
    values=lambda name: 0,
    attribute=_relay_attribute,
    has_attribute=lambda name, attribute: True,
)


def _relax_name(name: str) -> str:
    found = counterpart(name)
    return found.name if found is not None else name


def _relax_values(name: str) -> int:
    found = counterpart(name)
    return found.values if found is not None else 0


def _relax_attribute(name: str, attribute: str, value: Any) -> tuple[str, str] | None:
    """One of Relax's attributes; a dtype is no text there. The binder looks at the rest."""
    found, signature = counterpart(name), operator(name)
    if found is None or signature is None:
        return None
    own = found.renamed.get(attribute, attribute if attribute in found.attributes else None)
    if own is None:
        return None
    known = signature.attributes[attribute]
    text = literal(value)
    return own, f"tvm.DataType({text})" if known.type == "dtype" else text


def _relax_has_attribute(name: str, attribute: str) -> bool:
    found = counterpart(name)
    return found is not None and found.has(attribute)


RELAX = Dialect(
    name="relax",
    title="Relax",
    functions=("is_const", "is_op", "is_tuple", "is_tuple_get_item", "wildcard"),
    constant="is_const()",
    any_tuple="wildcard()",
    operator=_relax_name,
    values=_relax_values,
    attribute=_relax_attribute,
    has_attribute=_relax_has_attribute,
)
TARGETS: Mapping[str, Dialect] = {each.name: each for each in (RELAY, RELAX)}
