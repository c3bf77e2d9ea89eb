"""A module in, a module of regions out, in every generated Relay module; see relay_support.py."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional

import tvm
from tvm import relay

from qpat.targets.relay_attributes import annotate, copied
from qpat.targets.relay_interface import COMPILER, Options, pattern_table
from qpat.targets.relay_operator_rules import register_operator_rules
from qpat.targets.relay_preparation import prepare
from qpat.targets.relay_support import Parameters

# ---- offload: the same in every module qpat writes, less calls of what it does not have ---


def offload(
    module: Any,
    params: Optional[Dict[str, Any]] = None,
    inherited: Optional[Callable[[Any], Optional[Parameters]]] = None,
    **options: Any,
) -> Any:
    """A module with one function for each region that this compiler takes, for relay.build.

    `params` are the frontend's, by the name of a parameter of `main`; they become constants.
    `inherited` and the other arguments are as for pattern_table(). Each function has the attribute
    `Compiler`, and its composites have their records as annotate() gives them. The given module is
    not changed.
    """
    made = copied(module)
    if params:
        main = made.get_global_var("main")
        made.update_func(main, relay.build_module.bind_params_by_name(made[main], params))
    made = relay.transform.InferType()(made)
    made = prepare(made, **options)
    made = relay.transform.MergeComposite(pattern_table(inherited, **options))(made)
    return regions(annotate(made, inherited, Options(**options)), **options)


def regions(module: Any, **options: Any) -> Any:
    """A module with composites, with one function for each region of them: AnnotateTarget,
    MergeCompilerRegions and PartitionGraph. The given module is not changed."""
    register_operator_rules(**options)
    passes = [
        relay.transform.AnnotateTarget(COMPILER),
        relay.transform.MergeCompilerRegions(),
        relay.transform.PartitionGraph(),
    ]
    made = tvm.transform.Sequential(passes)(copied(module))
    return relay.transform.InferType()(without_idle(made))


def without_idle(module: Any) -> Any:
    """A module less the functions of this compiler that call nothing: AnnotateTarget makes one of
    each field of a tuple that the host gives."""
    idle = {
        variable.name_hint: function
        for variable, function in module.functions.items()
        if isinstance(function, relay.Function) and is_idle(function)
    }
    if not idle:
        return module
    kept = {}
    for variable, function in module.functions.items():
        if variable.name_hint not in idle:
            kept[variable] = function
            if isinstance(function, relay.Function):
                changer = Inliner(idle)
                # Operands first, so that visiting does not go deep.
                relay.analysis.post_order_visit(function.body, changer.visit)
                kept[variable] = changer.visit(function)
    return copied(module, kept)


def is_idle(function: Any) -> bool:
    attributes = function.attrs
    if attributes is None or "Compiler" not in attributes.keys():
        return False
    called: List[Any] = []
    relay.analysis.post_order_visit(
        function.body, lambda each: called.append(each) if isinstance(each, relay.Call) else None
    )
    return attributes["Compiler"] == COMPILER and not called


class Inliner(relay.ExprMutator):  # type: ignore[misc]
    """Puts the bodies of functions in the place of their calls."""

    def __init__(self, functions: Dict[str, Any]) -> None:
        super().__init__()
        self.functions = functions

    def visit_call(self, call_expr: Any) -> Any:
        arguments = [self.visit(each) for each in call_expr.args]
        operator, attributes = call_expr.op, call_expr.attrs
        if isinstance(operator, tvm.ir.GlobalVar) and operator.name_hint in self.functions:
            function = self.functions[operator.name_hint]
            return relay.bind(function.body, dict(zip(function.params, arguments)))
        return relay.Call(operator, arguments, attributes, call_expr.type_args, call_expr.span)


# ---- end of offload ------------------------------------------------------------------
