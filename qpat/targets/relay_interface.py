"""What every generated Relay module ends with: its table, its extractor; see relay_support.py."""

from __future__ import annotations

import warnings
from typing import Any, Callable, List, Optional, Tuple

from tvm import relay

from qpat.targets.relay_reading import Mismatch, Refused, composite_name
from qpat.targets.relay_support import Match, Parameters, Row, Target, first_taken, refusal

ROWS: Tuple[Row, ...] = ()
OPERATOR_RULES: Any = {}
COMPILER = ""
Options = Target

# ---- interface: the same in every module qpat writes -------------------------------


def pattern_table(
    inherited: Optional[Callable[[Any], Optional[Parameters]]] = None, **options: Any
) -> List[Tuple[str, Any, Callable[[Any], bool]]]:
    """(composite, pattern, check) of every row, in order of priority, for MergeComposite.

    `inherited` gives the Parameters of an expression of the module that is matched, for the rows
    that ask; without it they refuse. The other arguments are those of Options.
    register_pattern_table(COMPILER, pattern_table) takes the function itself.
    """
    chosen = Options(**options)
    asking = sorted({row.composite for row in ROWS if row.inherits})
    if asking and inherited is None:
        message = f"{', '.join(asking)}: refused where parameters are inherited; give `inherited`"
        warnings.warn(message, stacklevel=2)
    return [(row.composite, row.pattern(), accepts(row, chosen, inherited)) for row in ROWS]


def accepts(row: Row, options: Any, inherited: Any = None) -> Callable[[Any], bool]:
    """The check of a row as MergeComposite calls it."""
    return lambda root: refusal(row, root, options, inherited) is None


def extract(
    composite: Any,
    inherited: Optional[Callable[[Any], Optional[Parameters]]] = None,
    options: Optional[Options] = None,
) -> Any:
    """The record of a composite: a call of a composite function (best), or the function alone.

    Works before and after PartitionGraph. `inherited` gives the Parameters of an argument of the
    call, or of the call itself, where the module around it knows them; `qpat.partition` passes its
    analysis. `options` are those the table was made with. Raises ValueError where this is no
    composite of this module, or a tuple's scales are arguments of the composite and only the
    function was given.
    """
    return extracted(composite, inherited, options)[1]


def extracted(
    composite: Any,
    inherited: Optional[Callable[[Any], Optional[Parameters]]],
    options: Optional[Options],
) -> Tuple[Match, Any]:
    """The match in the body of a composite, and its record; as extract()."""
    function = composite.op if isinstance(composite, relay.Call) else composite
    name = composite_name(function)
    if name is None:
        raise ValueError("extract() takes a composite function or a call of one")
    arguments = {}
    if isinstance(composite, relay.Call):
        arguments = dict(zip(function.params, composite.args))
    outer = dict(arguments)
    outer[function.body] = composite
    chosen = options if options is not None else Options()

    def setup(match: Match) -> None:
        match.options = chosen
        match.inputs = {parameter: index for index, parameter in enumerate(function.params)}
        match.recording = True
        if inherited is not None:
            match.inherited = lambda expr: inherited(outer[expr]) if expr in outer else None

    try:
        rows = (row for row in ROWS if row.composite == name)
        return first_taken(rows, function.body, arguments, setup)
    except Refused as refused:
        needed = "; if its constants are arguments, extract() needs the call"
        is_call = isinstance(composite, relay.Call)
        raise ValueError(f"{name}: {refused}{'' if is_call else needed}") from None


def composites(expr: Any) -> List[Any]:
    """The calls of this module's composites in an expression (such as the body of a partitioned
    function), operands before their users."""
    found: List[Any] = []
    names = {row.composite for row in ROWS}

    def visit(node: Any) -> None:
        if isinstance(node, relay.Call) and composite_name(node.op) in names:
            found.append(node)

    relay.analysis.post_order_visit(expr, visit)
    return found


def refusals(
    root: Any,
    inherited: Optional[Callable[[Any], Optional[Parameters]]] = None,
    options: Optional[Options] = None,
) -> List[Tuple[str, str]]:
    """(composite, reason) of every row that has the structure at `root` and refuses it."""
    chosen = options if options is not None else Options()
    found = []
    for row in ROWS:
        reason = refusal(row, root, chosen, inherited)
        if reason is not None and not isinstance(reason, Mismatch):
            found.append((row.composite, str(reason)))
    return found


# ---- end of interface ------------------------------------------------------------------
