"""What a value of a module is called when it is spoken of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from qpat.diagnostics import QpatError, failure
from qpat.relay.kinds import relay, tvm


def no_main(message: str, names: Iterable[Any]) -> QpatError:
    """QP341: what wants a function `main` has a module of others, whose variables these are."""
    has = ", ".join(f"`{variable.name_hint}`" for variable in names) or "none"
    hint = "call the function of the model `main`"
    return failure("QP341", f"{message} in a function `main`; this module has {has}", hint=hint)


def location(value: Any) -> str | None:
    """What the frontend called a value: the name in its span; of several spans, as a pass writes
    them that makes one call out of several, the last. None for a value of Relay text: the parser
    writes the file's name, and the place where the value is used last."""
    span = getattr(value, "span", None)
    spans = getattr(span, "spans", None)
    last = list(spans)[-1] if spans else span
    if last is None or int(last.line) > 0:
        return None
    return str(last.source_name.name) or None


def short(name: str) -> str:
    """The last of the names that TFLite joins when it fuses operators."""
    return name.rsplit(";", 1)[-1]


class Names:
    """What the values of a module are called: inputs by their own name, calls by what the frontend
    called them, and where it did not by their number among such calls and tuples, `%0`, `%1`, ….
    Constants and fields have no name."""

    def __init__(self, order: Iterable[Any]) -> None:
        unnamed = (each for each in order if isinstance(each, relay.Call | relay.Tuple))
        unnamed = (each for each in unnamed if location(each) is None)
        self._numbers = {value: number for number, value in enumerate(unnamed)}

    def of(self, value: Any) -> str | None:
        if isinstance(value, relay.Var):
            return str(value.name_hint)
        if value in self._numbers:
            return f"%{self._numbers[value]}"
        said = location(value)
        return None if said is None else short(said)

    def of_fields(self, call: Any, count: int) -> list[str]:
        """The names of what a call makes: the frontend of TFLite joins those of an operator."""
        names = (location(call) or "").split(", ")
        if len(names) == count:
            return [short(name) for name in names]
        return [f"{self.of(call)}[{index}]" for index in range(count)]


def operator_name(expr: Any) -> str:
    """The operator of a call; the kind of node of anything else."""
    is_operator = isinstance(expr, relay.Call) and isinstance(expr.op, tvm.ir.Op)
    return str(expr.op.name) if is_operator else type(expr).__name__
