"""A module in, a module of regions out, in every generated Relay module; see relay_support.py."""

from __future__ import annotations

from typing import Any, Callable, Dict, Optional

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
        relay.transform.InferType(),
    ]
    return tvm.transform.Sequential(passes)(copied(module))


# ---- end of offload ------------------------------------------------------------------
