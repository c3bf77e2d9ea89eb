"""The tensors of an analysed module one by one, and what is wrong with them in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from qpat.ops.roles import RESULT, roles
from qpat.ops.table import operator
from qpat.relay.kinds import relay, tvm
from qpat.relay.names import Names, operator_name
from qpat.relay.parameters import worded
from qpat.targets.relay_reading import shape_of

if TYPE_CHECKING:
    from qpat.relay.quantization import Conflict, Quantization
    from qpat.relay.spaces import Silence, Source, Spaces


@dataclass(frozen=True, eq=False)
class TensorQuantization:
    """One tensor: what it is called (None where nothing has a name), the operator that makes it, or
    `input` or `constant`, and its parameters.

    `scale` is a float32, or a float32 vector along `axis`; `zero_point` an integer, or as many.
    `said_by` is the call that has them as operands, and which of its tensors they are of there.
    Where they are unknown all of these are None and `unknown` says why. `value` is the expression.
    """

    name: str | None
    operator: str
    dtype: str
    shape: tuple[int | None, ...]
    scale: Any
    zero_point: Any
    axis: int | None
    said_by: Source | None
    unknown: str | None
    value: Any = field(repr=False)


def tensors(spaces: Spaces, known: Quantization) -> tuple[TensorQuantization, ...]:
    """Every tensor once, operands first. Constants that are only scales or zero points are none."""
    uses = _uses(spaces, known.names)
    return tuple(each for value in spaces.order for each in _of_value(value, spaces, known, uses))


def _of_value(
    value: Any, spaces: Spaces, known: Quantization, uses: dict[Any, str | None]
) -> Iterator[TensorQuantization]:
    type_ = value.checked_type
    if isinstance(value, relay.Constant) and value not in uses:
        return
    if isinstance(type_, tvm.ir.TensorType) and not _is_field_of_call(value, spaces):
        name = uses.get(value) if isinstance(value, relay.Constant) else known.names.of(value)
        yield _tensor(name, _made_by(value), value, type_, known)
    elif isinstance(value, relay.Call) and isinstance(type_, tvm.ir.TupleType):
        names = known.names.of_fields(value, len(type_.fields))
        for index, each in enumerate(type_.fields):
            if isinstance(each, tvm.ir.TensorType):
                item = spaces.aliases.item(value, index)
                found = value if item is None else item
                yield _tensor(names[index], _made_by(value), found, each, known)


def _tensor(name: str | None, made_by: str, value: Any, type_: Any, known: Quantization) -> Any:
    found = known.of(value)
    scale, zero_point, axis = (None, None, None) if found is None else found
    return TensorQuantization(
        name,
        made_by,
        str(type_.dtype),
        shape_of(type_),
        scale,
        zero_point,
        axis,
        known.source(value),
        known.reason(value),
        value,
    )


def _is_field_of_call(value: Any, spaces: Spaces) -> bool:
    """The fields of what a call makes are listed with the call."""
    return isinstance(value, relay.TupleGetItem) and isinstance(
        spaces.aliases.resolve(value.tuple_value), relay.Call
    )


def _made_by(value: Any) -> str:
    if isinstance(value, relay.Var | relay.TupleGetItem):
        return "input"
    return "constant" if isinstance(value, relay.Constant) else operator_name(value)


def _uses(spaces: Spaces, names: Names) -> dict[Any, str | None]:
    """The constants that are tensors, with a name made from how they are used."""
    resolve = spaces.aliases.resolve
    uses = [use for value in spaces.order for use in _operands(value, names)]
    uses += [(None, result) for result in spaces.aliases.results()]
    found: dict[Any, str | None] = {}
    for name, used in uses:
        value = resolve(used)
        for each in value.fields if isinstance(value, relay.Tuple) else (value,):
            found.setdefault(resolve(each), name)
    return found


def _operands(value: Any, names: Names) -> Iterator[tuple[str | None, Any]]:
    """What a value is made from but for scales and zero points, each with a name for a constant."""
    if not isinstance(value, relay.Call):
        return
    signature = operator(operator_name(value))
    made = names.of(value)
    for index, argument in enumerate(value.args):
        in_table = signature is not None and index < len(signature.operands)
        operand = signature.operands[index].name if signature is not None and in_table else ""
        if operand and roles(operator_name(value)).slot(operand) is not None:
            continue
        yield (f"{operand} of {made}" if operand and made else operand or None), argument


# ---- words -------------------------------------------------------------------------------------


def _described(value: Any, names: Names) -> str:
    """A value in the middle of a sentence."""
    made_by, name = _made_by(value), names.of(value)
    if made_by == "input":
        return f"input `{name}`" if name else "an input"
    what = "a constant" if made_by == "constant" else f"`{made_by}`"
    return f"{what} at {name}" if name else what


def source_text(source: Source, names: Names) -> str:
    """`the lhs of `qnn.add` at model/add`, or the result of it."""
    tensor = "result" if source.tensor == RESULT else source.tensor
    return f"the {tensor} of {_described(source.call, names)}"


def conflict_text(conflict: Conflict, names: Names) -> str:
    """One sentence that names the value and both calls."""
    first, second = (
        f"{source_text(source, names)} has {worded(parameters)}"
        for source, parameters in (
            (conflict.first_source, conflict.first),
            (conflict.second_source, conflict.second),
        )
    )
    return f"two operators disagree about {_described(conflict.value, names)}: {first}; {second}"


def silence_text(silence: Silence, names: Names) -> str:
    """One sentence that names the call and what it says that cannot be."""
    return f"nothing can be read of {source_text(silence.source, names)}: {silence.unread.reason}"
