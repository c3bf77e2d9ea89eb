"""A module in, a module of regions out, in every generated Relax module; see relax_graph.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm import relax

from qpat.targets.relax_attributes import annotate
from qpat.targets.relax_interface import Options, patterns
from qpat.targets.relax_preparation import prepare
from qpat.targets.relay_support import Parameters

# ---- offload: the same in every module qpat writes ----------------------------------


def partition(
    module: Any,
    inherited: Callable[[Any], Parameters | None] | None = None,
    **options: Any,
) -> Any:
    """A module in which every match is a composite function with its record as an attribute:
    prepare(), FuseOpsByPattern and annotate().

    `inherited` and the other arguments are as for patterns(). The given module is not changed.
    """
    fusion = relax.transform.FuseOpsByPattern(patterns(inherited, **options))
    return annotate(fusion(prepare(module)), inherited, Options(**options))


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
