"""What a generated Relay module with rules for single operators has; see relay_support.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tvm

from qpat.targets.relay_interface import COMPILER, OPERATOR_RULES, Options
from qpat.targets.relay_reading import Refused
from qpat.targets.relay_support import Match, recorded, refusal

# ---- operator rules: the same in every module qpat writes ---------------------------


def register_operator_rules(**options: Any) -> None:
    """Tells AnnotateTarget of the single operators this compiler takes, by their attribute
    `target.<compiler>`. The arguments are those of Options. A later call takes the place of an
    earlier one."""
    chosen = Options(**options)
    for name in OPERATOR_RULES:
        operator = tvm.ir.Op.get(name)
        operator.reset_attr(f"target.{COMPILER}")
        operator.set_attr(f"target.{COMPILER}", operator_rule(name, chosen))


def operator_rule(name: str, options: Any) -> Callable[[Any], bool]:
    """Whether a call of an operator is taken."""
    rows = OPERATOR_RULES[name]
    return lambda call_expr: any(refusal(row, call_expr, options) is None for row in rows)


def extract_operator(
    call_expr: Any,
    inherited: Callable[[Any], Any] | None = None,
    options: Options | None = None,
) -> Any:
    """The record of a call that a rule takes. `input` of a tensor is the operand it is.

    Raises ValueError where no rule takes it; `inherited` and `options` are as for extract().
    """
    chosen = options if options is not None else Options()

    def setup(match: Match) -> None:
        match.options = chosen
        match.inputs = {operand: index for index, operand in enumerate(call_expr.args)}
        match.recording = True
        if inherited is not None:
            match.inherited = inherited

    reason = "no rule of this module takes this"
    for row in OPERATOR_RULES.get(str(call_expr.op.name), ()):
        try:
            return recorded(row, call_expr, {}, setup)
        except Refused as refused:
            reason = str(refused)
    raise ValueError(f"{call_expr.op.name}: {reason}")


# ---- end of operator rules -----------------------------------------------------------
