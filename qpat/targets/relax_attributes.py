"""Records as attributes of composite functions in every generated Relax module, where that differs
from Relay: each definition takes the place of the one of the same name in relay_attributes.py. See
relax_graph.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tvm

from qpat.targets.relax_interface import ROWS, Options, extracted
from qpat.targets.relax_reading import composite_name
from qpat.targets.relay_attributes import RECORD, Unheld, record_attribute
from qpat.targets.relay_support import Parameters, Real, Tensor

# ---- attributes: the same in every module qpat writes --------------------------------


def annotate(
    module: Any,
    inherited: Callable[[Any], Parameters | None] | None = None,
    options: Options | None = None,
) -> Any:
    """A module whose composites carry their record as the attribute `qpat_record`, which C++ reads.

    `module` is what FuseOpsByPattern gave, before MergeCompositeFunctions, and is not changed;
    `inherited` and `options` are as for extract(). Raises ValueError as extract() does, and Unheld,
    which is one, where a parameter is of a type that no attribute can have.
    """
    names = {row.composite for row in ROWS}
    made = tvm.IRModule(dict(module.functions.items()), attrs=module.attrs)
    for variable, function in module.functions.items():
        name = composite_name(function)
        if name not in names:
            continue
        match, record = extracted(function, inherited, options)
        try:
            attribute_value = record_attribute(match, record, function)
        except Unheld as error:
            said = f"the record of `{name}` has no place in an attribute: {error}"
            raise Unheld(said) from None
        made.update_func(variable, function.with_attr(RECORD, attribute_value))
    return made


def tensor_attribute(tensor: Tensor, expr: Any, function: Any) -> dict[str, Any]:
    """One tensor. A constant is there itself: attributes share it with the composite's body."""
    shape = [-1 if size is None else size for size in tensor.shape]
    made: dict[str, Any] = {"dtype": tensor.dtype, "shape": encoded(shape)}
    if tensor.scale is not None:
        made["scale"] = array(np.asarray(tensor.scale, "float32"))
    if tensor.zero_point is not None:
        made["zero_point"] = array(np.asarray(tensor.zero_point))
    for name in ("axis", "layout", "range", "input"):
        if getattr(tensor, name) is not None:
            made[name] = encoded(getattr(tensor, name))
    if tensor.value is not None:
        data = getattr(expr.expr, "data", None)  # `value` since TVM 0.27
        made["value"] = expr.expr.value if data is None else data
    return made


def array(value: Any) -> Any:
    return tvm.runtime.tensor(np.ascontiguousarray(value).reshape(value.shape))


def encoded(value: Any) -> Any:
    """A plain value as an attribute can have it. An array is a tensor."""
    if isinstance(value, (np.ndarray, np.generic)) and np.ndim(value) == 0:
        return encoded(value.item())
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        return array(value)
    if isinstance(value, (bool, float, str)) or value is None:
        return value
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return value
    if isinstance(value, (tuple, list)):
        return [encoded(each) for each in value]
    if isinstance(value, dict):
        return {str(name): encoded(each) for name, each in value.items()}
    if isinstance(value, Real):
        return {
            "op": value.op,
            "operands": encoded(value.operands),
            "attributes": encoded(value.attributes),
        }
    raise Unheld(f"a parameter is {value!r}, which no attribute can hold")


# ---- end of attributes ---------------------------------------------------------------
