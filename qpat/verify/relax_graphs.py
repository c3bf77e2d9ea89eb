"""Graphs of Relax, as views: what qpat/verify/relay_graphs.py has for Relay.

In a module of many each graph is a function, which is called `g` and its number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import tvm
from numpy.typing import NDArray
from tvm import relax
from tvm_ffi import structural_equal

from qpat.relax.calls import constant, emitted, field_of, make_call, tuple_of, typed, variable
from qpat.relax.composed import make_real
from qpat.relax.matching import Reading
from qpat.relax.matching import text as module_text
from qpat.relax.view import Module, Var, shown
from qpat.relay.graph import post_order
from qpat.targets.relax_graph import graph_of

__all__ = ["constant", "field_of", "make_call", "make_real", "tuple_of", "typed", "variable"]

# The pass that makes composites.
PASS = "FuseOpsByPattern"
# TVM computes in float32 between dequantize and quantize.
IN_INTEGERS = False
# Integers that TVM does not dequantize, of those that ports have.
NOT_DEQUANTIZED = ("int64",)
# What TVMScript calls a constant; the class has another name in TVM 0.27.
CONSTANT = f'metadata["{type(relax.const(0)).__tvm_ffi_type_info__.type_key}"][{{}}]'
_TARGET = {"kind": "llvm", "opt-level": 0}

# A value of the module around graph `number`, for what it inherits.
Inherited = Callable[[int, Any], Any]


# ---- as expressions ------------------------------------------------------------------------------


def variables(root: Any) -> list[Any]:
    """The variables of a graph, in order of their use."""
    return [each for each in post_order(root) if isinstance(each, Var)]


def same(one: Any, other: Any) -> bool:
    """Whether two graphs are the same but for the names of their variables."""
    modules = (_module({0: each}) for each in (one, other))
    return bool(structural_equal(*(each["g0"] for each in modules), map_free_vars=True))


def text(root: Any) -> str:
    """A graph as TVMScript; what is in its constants is left out."""
    return module_text(_module({0: root}))


def check_lowering(root: Any) -> None:
    """Raises what TVM raises where it cannot lower an operator of a graph, and ValueError where it
    leaves one as it is."""
    lowered = relax.transform.LegalizeOps()(_module({0: root}))
    for value in graph_of(lowered["g0"]).bound.values():
        name = str(value.op.name) if isinstance(value, relax.Call) else ""
        if name not in ("", "relax.call_tir"):
            raise ValueError(f"it has no lowering for {name}")


# ---- matched -------------------------------------------------------------------------------------


def seen(generated: ModuleType, root: Any) -> tuple[Any, Any, list[Any]]:
    """How a generated module reads a graph: the reading, the root and the variables as it has
    them."""
    module = shown(_module({0: root}))
    function = module["g0"]
    return Reading(generated, module), function.body, function.params


def merged(
    generated: ModuleType,
    graphs: Mapping[int, Any],
    rows: Sequence[int],
    inherited: Inherited,
    options: Any,
) -> tuple[dict[int, Any], Callable[[Any], Any]]:
    """What becomes of graphs in a module of all of them when the pass is run with some `rows` of
    the table: by number what they give then, and what tells an expression's parameters. A row is
    told of the module as it stands before it."""
    made = shown(generated.prepare(_module(graphs)))
    chosen = generated.Options(**options)
    asked = _asking(made, graphs, inherited)
    for row in rows:
        patterns = generated.fusion_patterns([generated.ROWS[row]], asked, chosen)
        made = shown(relax.transform.FuseOpsByPattern(patterns)(made.relax))
        asked = _asking(made, graphs, inherited)
    return {number: made[_name(number)].body for number in graphs}, asked


def _asking(module: Module, numbers: Mapping[int, Any], inherited: Inherited) -> Any:
    """What tells the parameters of a variable of a module, or nothing of a constant."""
    owners: dict[Any, int] = {}
    for number in numbers:
        function = module[_name(number)].expr
        owners |= dict.fromkeys([*function.params, *graph_of(function).bound], number)
    return lambda expr: inherited(owners[expr], module.values[expr]) if expr in owners else None


def record(generated: ModuleType, call: Any, known: Callable[[Any], Any], options: Any) -> Any:
    """The record of the call of a composite; what it inherited is on its function."""
    return generated.extract(call.op.expr, None, options)


def name_of(variable: Any) -> str:
    """What a variable of a merged graph was called in the graph."""
    return str(variable.name_hint)


# ---- built ---------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Built:
    """Graphs that were built together: functions of their variables, by name, and constants."""

    machine: Any
    names: Mapping[int, tuple[str, ...]]
    constants: Mapping[int, Sequence[Any]]

    def run(self, inputs: Mapping[int, Mapping[str, NDArray[Any]]]) -> dict[int, NDArray[Any]]:
        """What the graphs of `inputs` give for them."""
        found: dict[int, NDArray[Any]] = {}
        for number, values in inputs.items():
            given = [tvm.runtime.tensor(values[name]) for name in self.names[number]]
            result = self.machine[_name(number)](*given, *self.constants[number])
            found[number] = result.numpy()
        return found


def build(graphs: Mapping[int, Any]) -> Built:
    """Graphs in one build. Raises what TVM raises where it has no lowering.

    Constants are handed over: TVM would put scales into the code, and compile what differs in
    nothing else for each graph anew.
    """
    builder = relax.BlockBuilder()
    constants = {n: emitted(graphs[n], _name(n), builder, lifts=True) for n in sorted(graphs)}
    executable = tvm.compile(builder.get(), target=tvm.target.Target(_TARGET))
    names = {n: tuple(each.name_hint for each in variables(graphs[n])) for n in graphs}
    return Built(relax.VirtualMachine(executable, tvm.cpu()), names, constants)


def _name(number: int) -> str:
    return f"g{number}"


def _module(graphs: Mapping[int, Any]) -> Any:
    """A module with a function for each graph."""
    builder = relax.BlockBuilder()
    for number in sorted(graphs):
        emitted(graphs[number], _name(number), builder)
    return builder.get()
