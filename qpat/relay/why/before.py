"""The module as it was before composites were cut out, and what became of its calls.

A row is held against what it was tried on: what it wanted may be part of a composite by now, often
of one that took what was left.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from qpat.relay.environment import installed_ir, matching
from qpat.relay.graph import post_order, rewrite
from qpat.relay.kinds import relay
from qpat.relay.partition import Partition, users_of
from qpat.relay.quantization import analysed
from qpat.semantics import ir
from qpat.targets.relay_reading import composite_name


@dataclass(frozen=True, eq=False)
class Before:
    """`calls` leads from calls of the module with composites to those of `module`, `taken` from
    calls of `module` to the call of the composite, in the module with composites, that holds them
    now; `reading` is how generated code reads the expressions of `module`."""

    module: Any
    calls: Mapping[Any, Any]
    taken: Mapping[Any, Any]
    reading: Any

    @cached_property
    def known(self) -> Callable[[Any], Any]:
        """What is known of the parameters of a value, as generated code reads it."""
        known = analysed(self.module).of
        return lambda node: known(self.reading.expr(node))

    @cached_property
    def users(self) -> Mapping[Any, Sequence[Any]]:
        """The expressions of `module` that use each."""
        return users_of(self.module)


def before(partition: Partition) -> Before:
    """The module in which patterns were matched; on Relay with the composites that patterns ask for
    by name, which Relax does not have."""
    if installed_ir() == "relax":
        from qpat.relax.pairing import paired

        module = partition.prepared
        calls, taken = paired(module, partition.module)
    else:
        module, calls, taken = _with_bodies(partition)
    return Before(module, calls, taken, matching().reading(partition.generated, module))


def _with_bodies(partition: Partition) -> tuple[Any, dict[Any, Any], dict[Any, Any]]:
    """Puts the bodies of composites in the place of their calls, except of those that patterns ask
    for by name."""
    import tvm

    kept = _asked_for(partition)
    calls: dict[Any, Any] = {}
    taken: dict[Any, Any] = {}

    def change(old: Any, new: Any) -> Any:
        name = composite_name(new.op) if isinstance(new, relay.Call) else None
        if name is None or name in kept:
            calls[old] = new
            return new
        return _inlined(new, old, taken)

    functions = {
        variable: rewrite(function, change)
        for variable, function in partition.module.functions.items()
    }
    module = tvm.IRModule(functions, partition.module.type_definitions)
    plain = _order(module)
    typed = relay.transform.InferType()(module)
    found = dict(zip(plain, _order(typed), strict=True))
    return (
        typed,
        {old: found[new] for old, new in calls.items() if new in found},
        {found[call]: holder for call, holder in taken.items() if call in found},
    )


def _asked_for(partition: Partition) -> set[str]:
    return {
        node.composite
        for pattern in partition.compiled.module.patterns
        for row in pattern.rows
        for node in row.nodes
        if isinstance(node, ir.CompositeCall)
    }


def _inlined(call: Any, holder: Any, taken: dict[Any, Any]) -> Any:
    given = dict(zip(call.op.params, call.args, strict=True))

    def change(old: Any, new: Any) -> Any:
        if old in given:
            return given[old]
        if isinstance(new, relay.Call):
            taken[new] = holder
        return new

    return rewrite(call.op.body, change)


def _order(module: Any) -> list[Any]:
    return [
        each
        for variable in module.get_global_vars()
        for each in post_order(module[variable], functions=True)
    ]
