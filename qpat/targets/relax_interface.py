"""What every generated Relax module ends with: its patterns, its extractor; see relax_graph.py."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from itertools import count
from typing import Any

import tvm
from tvm import relax
from tvm.relax.backend.utils import has_leaking_intermediate_variables
from tvm.relax.transform import FusionPattern

from qpat.targets.relax_graph import Graph, graph_of
from qpat.targets.relax_reading import composite_name
from qpat.targets.relay_reading import Mismatch, Refused
from qpat.targets.relay_support import Match, Parameters, Row, Target, refusal, tried

ROWS: tuple[Row, ...] = ()
COMPILER = ""
Options = Target

# ---- interface: the same in every module qpat writes -------------------------------


def patterns(
    inherited: Callable[[Any], Parameters | None] | None = None, **options: Any
) -> list[Any]:
    """A FusionPattern for every row, in order of priority, for FuseOpsByPattern.

    `inherited` gives the Parameters of an expression of the module that is matched, for the rows
    that ask; without it they refuse. The other arguments are those of Options. Give the module to
    prepare() first, and leave `bind_constants` as it is.
    """
    chosen, numbers = Options(**options), count()
    asking = sorted({row.composite for row in ROWS if row.inherits})
    if asking and inherited is None:
        message = f"{', '.join(asking)}: refused where parameters are inherited; give `inherited`"
        warnings.warn(message, stacklevel=2)
    found = []
    for row in ROWS:
        root, captures = row.pattern()
        check = accepts(row, chosen, inherited)
        found.append(FusionPattern(row.composite, root, captures, check, numbered(numbers)))
    return found


def accepts(row: Row, options: Any, inherited: Any) -> Callable[[Any], bool]:
    """The check of a row as FuseOpsByPattern calls it.

    TVM fuses values that others use too: such a composite has several outputs, or lacks a part of
    the pattern. Those are refused here.
    """

    def check(context: Any) -> bool:
        if has_leaking_intermediate_variables(context):
            return False
        graph = Graph(dict(context.matched_bindings.items()))
        root = graph.node(context.matched_expr)
        return refusal(row, root, options, of_exprs(inherited)) is None

    return check


def of_exprs(inherited: Any) -> Any:
    """What asks `inherited` for an expression of TVM's."""
    return None if inherited is None else lambda node: inherited(node.expr)


def numbered(numbers: Any) -> Callable[[Any], dict[str, Any]]:
    """Gives each composite a number. Composites that differ in the contents of their constants only
    have one hash, and TVM would compare each with all others."""
    return lambda captured: {"qpat_match": next(numbers)}


def extract(
    composite: Any,
    inherited: Callable[[Any], Parameters | None] | None = None,
    options: Options | None = None,
) -> Any:
    """The record of a composite function, before or after MergeCompositeFunctions.

    `inherited` gives the Parameters of a parameter of the function, or of the variable that is its
    result, where the module around it knows them; `options` are those the patterns were made with.
    Raises ValueError where this is no composite of this module.
    """
    return extracted(composite, inherited, options)[1]


def extracted(
    composite: Any,
    inherited: Callable[[Any], Parameters | None] | None,
    options: Options | None,
) -> tuple[Match, Any]:
    """The match in the body of a composite, and its record; as extract()."""
    name = composite_name(composite)
    if name is None:
        raise ValueError("extract() takes a composite function")
    graph = graph_of(composite)
    chosen = options if options is not None else Options()

    def setup(match: Match) -> None:
        match.options = chosen
        match.inputs = {graph.node(each): index for index, each in enumerate(composite.params)}
        match.recording = True
        if inherited is not None:
            result = {graph.node(composite.body.body): composite.body.body}
            match.inherited = lambda node: inherited(result.get(node, node.expr))

    reasons = []
    for row in ROWS:
        if row.composite != name:
            continue
        try:
            return tried(row, graph.node(composite.body.body), {}, setup)
        except Mismatch:
            continue
        except Refused as refused:
            reasons.append(str(refused))
    reason = reasons[0] if reasons else "no pattern of this module has this body"
    raise ValueError(f"{name}: {reason}")


def composites(module: Any) -> list[Any]:
    """The composite functions of this module in the order of their calls, also those that
    MergeCompositeFunctions has put into functions."""
    names, found = {row.composite for row in ROWS}, []
    for function in module.functions.values():
        is_outer = isinstance(function, relax.Function) and composite_name(function) is None
        for value in graph_of(function).bound.values() if is_outer else ():
            callee = value.op if isinstance(value, relax.Call) else value
            callee = module[callee] if isinstance(callee, tvm.ir.GlobalVar) else callee
            if composite_name(callee) in names:
                found.append(callee)
    return found


def refusals(
    function: Any,
    variable: Any,
    inherited: Callable[[Any], Parameters | None] | None = None,
    options: Options | None = None,
) -> list[tuple[str, str]]:
    """(composite, reason) of every row that has the structure at a variable of a function and
    refuses it."""
    chosen = options if options is not None else Options()
    root = graph_of(function).node(variable)
    found = []
    for row in ROWS:
        reason = refusal(row, root, chosen, of_exprs(inherited))
        if reason is not None and not isinstance(reason, Mismatch):
            found.append((row.composite, str(reason)))
    return found


# ---- end of interface ------------------------------------------------------------------
