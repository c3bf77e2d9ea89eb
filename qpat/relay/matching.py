"""Patterns on a Relay module: what qpat/relax/matching.py is on Relax."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from types import ModuleType
from typing import TYPE_CHECKING, Any

import tvm
from tvm import relay

from qpat.relay.graph import post_order, shallow_copy
from qpat.relay.names import location, no_main, operator_name
from qpat.relay.prepare import prepare
from qpat.relay.quantization import analysed
from qpat.relay.single_pass.table import merge_composite
from qpat.relay.text import relay_text

if TYPE_CHECKING:
    from qpat.relay.partition import Partition


def is_module(model: Any) -> bool:
    """Whether something is a module, and not the path of a model."""
    return isinstance(model, tvm.IRModule)


def prepared(
    generated: ModuleType,
    module: Any,
    params: Mapping[str, Any],
    options: Mapping[str, Any],
    say: Callable[[str], None],
) -> tuple[Any, tuple[str, ...]]:
    """A module in which the patterns of a generated module can match, and what is to be warned of,
    which is nothing here. Raises QP340 and QP341."""
    _require_main(module)
    found = prepare(module, params, say)
    if hasattr(generated, "prepare"):
        say("copying shared values")
        found = generated.prepare(found, **options)
    return found, ()


def _require_main(module: Any) -> None:
    """Raises QP341 where a module has no function `main`: MergeComposite looks at no other."""
    variables = list(module.get_global_vars())
    names = [str(variable.name_hint) for variable in variables]
    if "main" not in names or not isinstance(module["main"], relay.Function):
        raise no_main("patterns are matched", variables)


def merged(
    generated: ModuleType, module: Any, options: Mapping[str, Any], say: Callable[[str], None]
) -> Any:
    """The module with composites. They are made one row after another, so a row that asks for
    inherited parameters is given those of the module as it stands before it."""
    say("matching")
    made = shallow_copy(module)
    for ask, rows in groupby(_present(generated, module), key=lambda entry: entry[1].inherits):
        for segment in ([each] for each in rows) if ask else [list(rows)]:
            known = analysed(made).of if ask else _nothing_known
            table = generated.pattern_table(inherited=known, **options)
            entries = [table[number] for number, _ in segment]
            made = merge_composite(entries)(made)
    return made


def _present(generated: ModuleType, module: Any) -> Iterator[tuple[int, Any]]:
    """The rows by number, less those that need an operator the module does not have: they cannot
    match, and for one that asks for inherited parameters the whole module is analysed."""
    values = (each for v in module.get_global_vars() for each in post_order(module[v].body))
    operators = {operator_name(each) for each in values}
    for number, row in enumerate(generated.ROWS):
        if operators.issuperset(row.operators):
            yield number, row


def _nothing_known(expr: Any) -> None:
    return None


def annotated(generated: ModuleType, before: Any, module: Any, options: Any) -> Any:
    """The module whose composites have their records as attributes. Raises what the generated
    annotate() does. `before` is the module without."""
    return generated.annotate(module, analysed(module).of, options)


def regions(partition: Partition) -> Any:
    """AnnotateTarget, MergeCompilerRegions and PartitionGraph of TVM, on a copy."""
    generated = partition.generated
    try:
        return generated.regions(partition.module, **partition.options)
    finally:
        for name in getattr(generated, "OPERATOR_RULES", {}):
            tvm.ir.Op.get(name).reset_attr(f"target.{partition.compiler}")


def text(module: Any) -> str:
    """A module as Relay text that parses back."""
    return relay_text(module)


@dataclass(frozen=True, eq=False)
class Reading:
    """How a generated module reads expressions: as they are."""

    generated: ModuleType

    def node(self, expr: Any) -> Any:
        """An expression as the generated module takes it."""
        return expr

    def expr(self, node: Any) -> Any:
        """The expression that the generated module means."""
        return node

    def record(self, call: Any, known: Callable[[Any], Any], options: Any) -> Any:
        """The record of a call of a composite."""
        return self.generated.extract(call, known, options)

    def location(self, call: Any) -> str | None:
        """What the frontend called the result of a match."""
        is_composite = isinstance(call.op, relay.Function)
        return (location(call.op.body) if is_composite else None) or location(call)

    def body(self, call: Any) -> tuple[Any, dict[Any, Any], dict[Any, Any]]:
        """Of a call of a composite: the root of its body, the arguments by parameter, and what its
        ends are outside."""
        function = call.op
        arguments = dict(zip(function.params, call.args, strict=True))
        return function.body, arguments, {**arguments, function.body: call}


def reading(generated: ModuleType, module: Any) -> Reading:
    """How a generated module reads the expressions of a module."""
    return Reading(generated)
