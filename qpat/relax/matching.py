"""Patterns on a Relax module: what qpat/relay/matching.py is on Relay.

Analyses see views; the module that `qpat compile --target relax` writes does the matching.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from itertools import groupby
from types import ModuleType
from typing import TYPE_CHECKING, Any

import tvm
from tvm import relax

from qpat.diagnostics import failure
from qpat.relax.pairing import paired
from qpat.relax.view import If, Module, shown
from qpat.relay.environment import listening, reason
from qpat.relay.graph import post_order
from qpat.relay.names import location, no_main
from qpat.relay.quantization import analysed

if TYPE_CHECKING:
    from qpat.relay.partition import Partition


def is_module(model: Any) -> bool:
    """Whether something is a module or the view of one, and not the path of a model."""
    return isinstance(model, tvm.IRModule | Module)


def viewed(model: Any, params: Mapping[str, Any]) -> Module:
    """The view of a module with `params` bound; a view as it is where there are none."""
    if isinstance(model, Module) and not params:
        return model
    return shown(bound(model, params))


def prepared(
    generated: ModuleType,
    module: Any,
    params: Mapping[str, Any],
    options: Mapping[str, Any],
    say: Callable[[str], None],
) -> tuple[Module, tuple[str, ...]]:
    """The view of a module in which the patterns of a generated module can match, and what its
    prepare() warns of. Raises QP340 and QP341."""
    module = bound(module, params)
    say("preparing")
    with listening() as heard:
        try:
            made = generated.prepare(module)
        except Exception as error:
            message = f"TVM cannot prepare the module: {reason(error, heard)}"
            raise failure("QP341", message) from None
    return shown(made), tuple(heard.warnings)


def bound(module: Any, params: Mapping[str, Any]) -> Any:
    """A module, or that of a view, with `params` bound in `main`. Raises QP340 where they do not
    fit."""
    if isinstance(module, Module):
        module = module.relax
    if not params:
        return module
    with listening() as heard:
        try:
            return relax.transform.BindParams("main", dict(params))(module)
        except Exception as error:
            message = f"the parameters cannot be bound: {reason(error, heard)}"
            raise failure("QP340", message) from None


def merged(
    generated: ModuleType, module: Module, options: Mapping[str, Any], say: Callable[[str], None]
) -> Module:
    """The module with composites. They are made one row after another, so a row that asks for
    inherited parameters is given those of the module as it stands before it."""
    say("matching")
    made, chosen = module, generated.Options(**options)
    bindings = [generated.Bindings(each.expr) for each in module.functions.values()]
    rows = generated.rows_for(generated.calls_of(bindings))
    for ask, group in groupby(rows, key=lambda row: row.inherits):
        for segment in ([each] for each in group) if ask else [list(group)]:
            known = _known_in(made, analysed(made).of) if ask else _nothing_known
            patterns = generated.fusion_patterns(segment, known, chosen)
            made = shown(relax.transform.FuseOpsByPattern(patterns)(made.relax))
    return made


def _known_in(module: Module, known: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """What is known of a variable of a module, or of a constant in it."""
    return lambda expr: known(module.values[expr]) if expr in module.values else None


def _nothing_known(expr: Any) -> None:
    return None


def annotated(generated: ModuleType, before: Module, module: Module, options: Any) -> Module:
    """The module whose composites have their records as attributes. Raises what the generated
    annotate() does. Its values have the names that they had before: the pass gives others."""
    made = shown(generated.annotate(module.relax, _known_in(module, analysed(module).of), options))
    for new, old in paired(before, made)[0].items():
        new.variable = old.variable
    return made


def regions(partition: Partition) -> Any:
    """MergeCompositeFunctions of TVM. Raises QP341 where that refuses the module."""
    module = partition.module
    _require_regions(module)
    with listening() as heard:
        try:
            return relax.transform.MergeCompositeFunctions()(module.relax)
        except Exception as error:
            message = f"TVM's MergeCompositeFunctions refuses this module: {reason(error, heard)}"
            raise failure("QP341", message) from None


def _require_regions(module: Module) -> None:
    """Raises QP341 where TVM makes no regions: it does in `main` alone, and where that has no
    branches."""
    variables = list(module.get_global_vars())
    if "main" not in [variable.name_hint for variable in variables]:
        raise no_main("regions are made", variables)
    if any(isinstance(each, If) for each in post_order(module["main"].body)):
        message = "`main` has an `if`, and TVM's MergeCompositeFunctions takes no branches"
        hint = "give the parts before and behind it as modules of their own"
        raise failure("QP341", message, hint=hint)


def text(module: Any) -> str:
    """A module, or the view of one, as TVMScript to read. What is in its constants is left out: TVM
    0.26 and 0.27 crash where they are to write it."""
    return str(getattr(module, "relax", module).script()) + "\n"


class Reading:
    """How a generated module reads expressions: as nodes of its own."""

    def __init__(self, generated: ModuleType, module: Module) -> None:
        self.generated = generated
        self.module = module

    @cached_property
    def graph(self) -> Any:
        """The nodes of all functions of the module."""
        functions = self.module.functions.values()
        bound = [each for f in functions for each in self.generated.bindings_of(f.expr)]
        return self.generated.Graph(bound)

    def node(self, expr: Any) -> Any:
        """An expression as the generated module takes it."""
        return self.graph.node(expr.expr)

    def expr(self, node: Any) -> Any:
        """The expression that the generated module means."""
        return self.module.values.get(node.expr)

    def record(self, call: Any, known: Callable[[Any], Any], options: Any) -> Any:
        """The record of a call of a composite."""
        return self.generated.extract(call.op.expr, _known_in(self.module, known), options)

    def location(self, call: Any) -> str | None:
        """The variable that a match is bound to."""
        return location(call)

    def body(self, call: Any) -> tuple[Any, dict[Any, Any], dict[Any, Any]]:
        """Of a call of a composite: the root of its body, the arguments by parameter, which are
        none here, and what its ends are outside."""
        function = call.op.expr
        graph = self.generated.graph_of(function)
        root = graph.node(function.body.body)
        ends = dict(zip(map(graph.node, function.params), call.args, strict=True))
        return root, {}, {**ends, root: call}


def reading(generated: ModuleType, module: Module) -> Reading:
    """How a generated module reads the expressions of a module."""
    return Reading(generated, module)
