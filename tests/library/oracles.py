"""The composites of a module held against what the C++ of their back end would read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tvm import relay

from qpat.relay.partition import all_calls
from tests.library import arm_compute_lib_parameters, cmsis_nn_parameters, ethos_n_parameters
from tests.library.parameters import Oracle
from tests.library.verdicts import TABLES, generated

ORACLES: Mapping[str, Oracle] = {
    "cmsis-nn": cmsis_nn_parameters.ORACLE,
    "ethos-n": ethos_n_parameters.ORACLE,
    "arm_compute_lib": arm_compute_lib_parameters.ORACLE,
}


def compared(name: str, module: Any, where: str) -> tuple[int, set[str]]:
    """How many composites and single operators of a module that a table has been applied to were
    compared, and the traits by which they differ."""
    patterns = generated(TABLES[name].stem)
    options = patterns.Options(**TABLES[name].options)
    rules = getattr(patterns, "OPERATOR_RULES", {})
    seen, traits = 0, set[str]()
    for call in all_calls(module):
        if isinstance(call.op, relay.Function):
            read, body = str(call.op.attrs["Composite"]), call.op.body
            record = patterns.extract(call, options=options)
        elif call.op.name in rules and patterns.operator_rule(call.op.name, options)(call):
            read, body = call.op.name, call
            record = patterns.extract_operator(call, options=options)
        else:
            continue
        seen += 1
        traits |= ORACLES[name].compare(read, body, record, f"{where}, {read}")
    return seen, traits
