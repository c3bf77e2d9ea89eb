"""What every generated Relax module ends with: its patterns, its extractor; see relax_graph.py."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from itertools import count
from typing import Any

import numpy as np
import tvm
from tvm import relax
from tvm.relax.backend.utils import has_leaking_intermediate_variables
from tvm.relax.transform import FusionPattern

from qpat.targets.relax_graph import Graph, graph_of
from qpat.targets.relax_reading import composite_name
from qpat.targets.relay_reading import Mismatch, Refused
from qpat.targets.relay_slots import scalar_or_vector
from qpat.targets.relay_support import Match, Parameters, Row, Target, refusal, tried

ROWS: tuple[Row, ...] = ()
COMPILER = ""
Options = Target

# ---- interface: the same in every module qpat writes -------------------------------

# Attributes of composites: what tells them apart, and what the module around them said.
NUMBER, INHERITED = "qpat_match", "qpat_inherited"
# The name under which a match captures its root, beside the names of its values.
ROOT = "qpat_root"


def patterns(
    inherited: Callable[[Any], Parameters | None] | None = None, **options: Any
) -> list[Any]:
    """A FusionPattern for every row, in order of priority, for FuseOpsByPattern.

    `inherited` gives the Parameters of a variable of the module that is matched, for the rows that
    ask; without it they refuse. What it says is kept with the composite. The other arguments are
    those of Options. Give the module to prepare() first, and leave `bind_constants` as it is.
    """
    chosen, numbers = Options(**options), count()
    asking = sorted({row.composite for row in ROWS if row.inherits})
    if asking and inherited is None:
        message = f"{', '.join(asking)}: refused where parameters are inherited; give `inherited`"
        warnings.warn(message, stacklevel=2)
    found = []
    for row in ROWS:
        root, captures = row.pattern()
        learnt: dict[Any, Any] = {}
        check, attributes = accepts(row, chosen, inherited, learnt), attributes_of(numbers, learnt)
        named = {**captures, ROOT: root}
        found.append(FusionPattern(row.composite, root, named, check, attributes))
    return found


def accepts(
    row: Row, options: Any, inherited: Any, learnt: dict[Any, Any]
) -> Callable[[Any], bool]:
    """The check of a row as FuseOpsByPattern calls it. `learnt` is told, for the root of a match,
    what it inherits.

    TVM fuses values that others use too: such a composite has several outputs, or lacks a part of
    the pattern. Those are refused here.
    """

    def check(context: Any) -> bool:
        if has_leaking_intermediate_variables(context):
            return False
        graph = Graph(dict(context.matched_bindings.items()))
        asked: dict[Any, Any] = {}

        def ask(node: Any) -> Any:
            asked[node] = of_variables(inherited)(node)
            return asked[node]

        def setup(match: Match) -> None:
            match.options = options
            match.inherited = ask if inherited is not None else match.inherited

        try:
            match = tried(row, graph.node(context.matched_expr), {}, setup)[0]
        except Refused:
            return False
        learnt[context.matched_expr] = heard(match, asked)
        return True

    return check


def of_variables(inherited: Any) -> Any:
    """What asks `inherited` for a variable, given a node."""
    return lambda node: inherited(node.graph.variables.get(node.expr, node.expr))


def heard(match: Match, asked: dict[Any, Any]) -> dict[str, Any]:
    """What was said of the values of a match, by name, as an attribute can have it."""
    found: dict[str, Any] = {}
    for name, value in match.values.items():
        several = value if isinstance(value, list) else [value]
        said = [asked.get(each.expr) for each in several]
        if any(each is not None for each in said):
            found[name] = [None if each is None else parameters_told(each) for each in said]
    return found


def parameters_told(said: Parameters) -> list[Any]:
    slots = ((said.scale, "float32"), (said.zero_point, "int32"))
    told = [None if v is None else tvm.runtime.tensor(np.asarray(v, dtype)) for v, dtype in slots]
    return [*told, said.axis]


def attributes_of(numbers: Any, learnt: dict[Any, Any]) -> Callable[[Any], dict[str, Any]]:
    """The attributes of a composite. Each has a number: composites that differ in the contents of
    their constants only have one hash, and TVM would compare each with all others."""

    def attributes(captured: Any) -> dict[str, Any]:
        told = learnt.get(captured[ROOT])
        return {NUMBER: next(numbers), **({INHERITED: told} if told else {})}

    return attributes


def extract(
    composite: Any,
    inherited: Callable[[Any], Parameters | None] | None = None,
    options: Options | None = None,
) -> Any:
    """The record of a composite function, before or after MergeCompositeFunctions.

    What the match inherited is on the function; `inherited` takes its place, and gives the
    Parameters of a parameter of the function, or of the variable that is its result. `options` are
    those the patterns were made with. Raises ValueError where this is no composite of this module.
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
        kept = kept_parameters(composite, match)
        match.inherited = kept.get if inherited is None else of_variables(inherited)

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


def kept_parameters(composite: Any, match: Match) -> dict[Any, Parameters]:
    """What the module around a composite said when it was matched, by node."""
    kept = composite.attrs.get(INHERITED, {})
    found = {}
    for name, several in kept.items():
        value = match.values.get(str(name))
        nodes = [each.expr for each in (value if isinstance(value, list) else [value]) if each]
        for node, said in zip(nodes, several, strict=False):
            if said is not None:
                scale, zero_point = (
                    None if each is None else scalar_or_vector(each.numpy()) for each in said[:2]
                )
                axis = None if said[2] is None else int(said[2])
                found[node] = Parameters(scale, zero_point, axis)
    return found


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
        reason = refusal(row, root, chosen, inherited and of_variables(inherited))
        if reason is not None and not isinstance(reason, Mismatch):
            found.append((row.composite, str(reason)))
    return found


# ---- end of interface ------------------------------------------------------------------
