"""What every generated Relax module ends with: its patterns, its extractor; see relax_graph.py."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import count
from typing import Any, NamedTuple

import numpy as np
import tvm
from tvm import relax
from tvm.relax.transform import FusionPattern

from qpat.targets.relax_graph import Graph, bindings_of, graph_of
from qpat.targets.relax_reading import composite_name
from qpat.targets.relay_reading import Mismatch, Refused
from qpat.targets.relay_slots import scalar_or_vector
from qpat.targets.relay_support import (
    Match,
    Parameters,
    Row,
    Target,
    first_taken,
    refusal,
    tried,
)

ROWS: tuple[Row, ...] = ()
COMPILER = ""
Options = Target

# ---- interface: the same in every module qpat writes -------------------------------

# Attributes of composites: what tells them apart, and what the module around them said.
NUMBER, INHERITED = "qpat_match", "qpat_inherited"
# The name under which a match captures its root.
ROOT = "qpat_root"


def patterns(
    inherited: Callable[[Any], Parameters | None] | None = None, **options: Any
) -> list[Any]:
    """A FusionPattern for every row, in order of priority, for FuseOpsByPattern.

    `inherited` gives the Parameters of a variable of the module that is matched, for the rows that
    ask; without it they refuse. What it says is kept with the composite. The other arguments are
    those of Options. Give the module to prepare() first, and leave `bind_constants` as it is.
    """
    return fusion_patterns(ROWS, inherited, Options(**options))


class Taken(NamedTuple):
    """A match that a check has accepted: its root, its names, what its values inherit as an
    attribute has it, and its record where that is wanted and does not ask for the composite."""

    root: Any
    match: Match
    told: dict[str, Any]
    record: Any


def fusion_patterns(
    rows: Iterable[Row],
    inherited: Callable[[Any], Parameters | None] | None,
    options: Options,
    taken: dict[int, Taken] | None = None,
) -> list[Any]:
    """The patterns of some rows. `taken` is told each match by its number, with its record."""
    asking = sorted({row.composite for row in ROWS if row.inherits})
    if asking and inherited is None:
        message = f"{', '.join(asking)}: refused where parameters are inherited; give `inherited`"
        warnings.warn(message, stacklevel=3)
    numbers, found = count(), []
    for row in rows:
        pattern, accepted = pattern_of(row), dict[int, Taken]()
        check = accepts(row, options, inherited, accepted, taken is not None)
        attributes = attributes_of(numbers, accepted, taken)
        found.append(FusionPattern(row.composite, pattern, {ROOT: pattern}, check, attributes))
    return found


@cache
def pattern_of(row: Row) -> Any:
    """The pattern of a row, made once."""
    return row.pattern()


def accepts(
    row: Row, options: Any, inherited: Any, accepted: dict[int, Taken], recording: bool = False
) -> Callable[[Any], bool]:
    """The check of a row as FuseOpsByPattern calls it. `accepted` is told each match by the
    identity of its root; with `recording` its record is made, too.

    TVM fuses values that others use too: such a composite has several outputs, or lacks a part of
    the pattern. Those are refused here.
    """

    def attempt(root: Any, recording: bool) -> Taken:
        asked: dict[Any, Any] = {}

        def ask(node: Any) -> Any:
            asked[node] = of_variables(inherited)(node)
            return asked[node]

        def setup(match: Match) -> None:
            match.options = options
            match.recording = recording
            match.inherited = ask if inherited is not None else match.inherited

        match, record = tried(row, root, {}, setup)
        is_whole = recording and not match.is_told
        return Taken(root, match, heard(match, asked), record if is_whole else None)

    def check(context: Any) -> bool:
        bindings = list(context.matched_bindings.items())
        if is_leaking(context, bindings):
            return False
        root = Graph(bindings).node(context.matched_expr)
        # What only a record wants is no reason to refuse: whoever reads it is told.
        for is_recording in (True, False) if recording else (False,):
            try:
                accepted[root.expr.__chandle__()] = attempt(root, is_recording)
                return True
            except Mismatch:
                return False
            except Refused:
                continue
        return False

    return check


def is_leaking(context: Any, bindings: list[tuple[Any, Any]]) -> bool:
    """Whether a value inside of a match, but for its root, has a user outside."""
    root, usages = context.matched_expr, context.var_usages
    inside = {variable.__chandle__() for variable, _ in bindings}
    for variable, value in bindings:
        if value.same_as(root):
            continue
        # Others than dataflow variables may be used outside of the block.
        if not isinstance(variable, relax.DataflowVar):
            return True
        if any(user.__chandle__() not in inside for user in usages[variable][:]):
            return True
    return False


def of_variables(inherited: Any) -> Any:
    """What asks `inherited` for a variable, given a node."""
    return lambda node: inherited(node.graph.variable(node))


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


def attributes_of(
    numbers: Iterator[int], accepted: dict[int, Taken], taken: dict[int, Taken] | None
) -> Callable[[Any], dict[str, Any]]:
    """The attributes of a composite. Each has a number: composites that differ in the contents of
    their constants only have one hash, and TVM would compare each with all others."""

    def attributes(captured: Any) -> dict[str, Any]:
        number, found = next(numbers), accepted.pop(captured[ROOT].__chandle__())
        if taken is not None:
            taken[number] = found
        return {NUMBER: number, **({INHERITED: found.told} if found.told else {})}

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

    try:
        rows = (row for row in ROWS if row.composite == name)
        return first_taken(rows, graph.node(composite.body.body), {}, setup)
    except Refused as refused:
        raise ValueError(f"{name}: {refused}") from None


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
        for _, value in bindings_of(function) if is_outer else ():
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
