"""A module in, a module of regions out, in every generated Relax module; see relax_graph.py."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from tvm import relax
from tvm.relax.dpl.pattern import AttrPattern, CallPattern, ExprPattern, OrPattern, TuplePattern

from qpat.targets.relax_attributes import inputs_of, with_records
from qpat.targets.relax_interface import (
    NUMBER,
    ROWS,
    Options,
    Taken,
    extracted,
    fusion_patterns,
    pattern_of,
)
from qpat.targets.relax_preparation import Calls, prepared
from qpat.targets.relay_support import Match, Parameters, Row

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
    made, calls = prepared(module)
    rows = rows_for(calls)
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


def rows_for(calls: Calls) -> list[Row]:
    """The rows that can match at all, given what a module calls: TVM goes over all of the module
    for each row."""
    if calls.has_bodies:
        return list(ROWS)
    found = [row for row in ROWS if calls.operators.issuperset(row.operators)]
    return [row for row in found if calls.links.issuperset(links_of(row))]


@cache
def links_of(row: Row) -> frozenset[tuple[str, str]]:
    """The links that all matches of a row have."""
    return frozenset(tops_and_links(pattern_of(row))[1])


def tops_and_links(pattern: Any) -> tuple[set[str], set[tuple[str, str]]]:
    """The operators that all matches of a pattern have on top, and their links."""
    if isinstance(pattern, AttrPattern):
        return tops_and_links(pattern.pattern)
    if isinstance(pattern, OrPattern):
        first, second = tops_and_links(pattern.left), tops_and_links(pattern.right)
        return first[0] & second[0], first[1] & second[1]
    is_call = isinstance(pattern, CallPattern) and isinstance(pattern.op, ExprPattern)
    if not is_call and not isinstance(pattern, TuplePattern):
        return set(), set()
    below = [tops_and_links(each) for each in (pattern.args if is_call else pattern.fields)[:]]
    tops = {top for each, _ in below for top in each}
    links = {link for _, each in below for link in each}
    if not is_call:
        return tops, links
    operator = str(pattern.op.expr.name)
    return {operator}, links | {(operator, top) for top in tops}


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
