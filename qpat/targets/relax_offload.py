"""A module in, a module of regions out, in every generated Relax module; see relax_graph.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm import relax

from qpat.targets.relax_attributes import inputs_of, with_records
from qpat.targets.relax_interface import (
    NUMBER,
    ROWS,
    Options,
    Taken,
    extracted,
    fusion_patterns,
)
from qpat.targets.relax_preparation import prepared
from qpat.targets.relay_support import Match, Parameters

# ---- offload: the same in every module qpat writes ----------------------------------


def partition(
    module: Any,
    inherited: Callable[[Any], Parameters | None] | None = None,
    **options: Any,
) -> Any:
    """A module in which every match is a composite function with its record as an attribute:
    what prepare(), FuseOpsByPattern and annotate() give.

    `inherited` and the other arguments are as for patterns(). The given module is not changed.
    """
    chosen = Options(**options)
    made, operators = prepared(module)
    rows = [row for row in ROWS if operators.issuperset(row.operators)]
    taken: dict[int, Taken] = {}
    fusion = relax.transform.FuseOpsByPattern(fusion_patterns(rows, inherited, chosen, taken))
    # Composites of an earlier time have numbers of their own.
    earlier = {variable.name_hint for variable in made.get_global_vars()}

    def read(variable: Any, function: Any) -> tuple[Match, Any, dict[Any, int]]:
        is_new = variable.name_hint not in earlier
        found = taken[int(function.attrs[NUMBER])] if is_new else None
        if found is None or found.record is None:
            return *extracted(function, None, chosen), {}
        return found.match, found.record, inputs_of(found.root, function)

    return with_records(fusion(made), read)


def offload(
    module: Any,
    inherited: Callable[[Any], Parameters | None] | None = None,
    **options: Any,
) -> Any:
    """A module with one function for each region of composites, for RunCodegen: partition() and
    MergeCompositeFunctions. Each has the attribute `Codegen`, and composites in it."""
    merging = relax.transform.MergeCompositeFunctions()
    return merging(partition(module, inherited, **options))


# ---- end of offload ------------------------------------------------------------------
