"""What a frontend's module needs before patterns are matched: parameters, types, constants."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from qpat.diagnostics import failure
from qpat.ops.roles import roles
from qpat.ops.table import operator
from qpat.relay.environment import Heard, listening, reason, require_relay
from qpat.relay.graph import post_order, shallow_copy

Progress = Callable[[str], None]
Expr = Any

# What weights and biases are called, over all operators.
_WEIGHTS = {"kernel", "weight", "bias"}


def prepare(
    module: Any, params: Mapping[str, Any] | None = None, progress: Progress | None = None
) -> Any:
    """A module with `params` bound in `main`, types inferred, and constants folded where needed.

    Folding is needed where a scale, a zero point, a weight or a bias is an expression of constants;
    it is left out elsewhere since it runs TVM's compiler for each such expression. `params` are
    arrays (NumPy's or TVM's) by the name of a parameter; names that `main` does not have are left
    out. The given module is not changed. Raises QP340 where parameters cannot be bound and QP341
    where types cannot be inferred or constants not be folded.
    """
    tvm = require_relay()
    say = progress or (lambda text: None)
    prepared = shallow_copy(module)
    if params:
        say("binding parameters")
        _bind(prepared, params)
    with listening() as heard:
        say("inferring types")
        prepared = _run(tvm.relay.transform.InferType(), prepared, heard)
        if _has_hidden_constant(prepared):
            say("folding constants")
            prepared = _folded(prepared, heard)
    return prepared


def folded(module: Any) -> Any:
    """A module with types inferred and all constants folded, also those that are plain operands.
    The given module is not changed. Raises QP341 where TVM refuses."""
    tvm = require_relay()
    with listening() as heard:
        typed = _run(tvm.relay.transform.InferType(), shallow_copy(module), heard)
        return _folded(typed, heard)


def _folded(module: Any, heard: Heard) -> Any:
    tvm = require_relay()
    return _run(
        tvm.relay.transform.InferType(),
        _run(tvm.relay.transform.FoldConstant(), module, heard),
        heard,
    )


def is_prepared(module: Any) -> bool:
    """Whether a module has types, and constants where parameters are wanted, without `prepare`."""
    functions = [f for f in module.functions.values() if _is(f, "Function")]
    return all(_is_typed(function) for function in functions) and not _has_hidden_constant(module)


def _is_typed(function: Expr) -> bool:
    nodes = post_order(function, functions=True)
    return all(getattr(node, "_checked_type_", None) is not None for node in nodes)


def _run(transform: Any, module: Any, heard: Heard) -> Any:
    try:
        return transform(module)
    except Exception as error:
        message = f"TVM's {transform.info.name} refuses this module: {reason(error, heard)}"
        raise failure("QP341", message) from None


# ---- parameters ----------------------------------------------------------------------------------


def _bind(module: Any, params: Mapping[str, Any]) -> None:
    """Puts constants in the place of parameters of `main`, in this module."""
    from tvm import relay

    names = [str(variable.name_hint) for variable in module.get_global_vars()]
    if "main" not in names:
        has = ", ".join(f"`{name}`" for name in names) or "none"
        message = f"parameters are bound in a function `main`; this module has {has}"
        raise failure("QP340", message, hint="bind them in the module and pass no params")
    main = module["main"]
    counts = Counter(str(parameter.name_hint) for parameter in main.params)
    known = {name: value for name, value in params.items() if name in counts}
    twice = [name for name in known if counts[name] > 1]
    if twice:
        raise failure("QP340", f"two parameters of `main` are called `{twice[0]}`")
    arrays = {name: _array(name, value) for name, value in known.items()}
    if arrays:
        bound = relay.build_module.bind_params_by_name(main, arrays)
        module.update_func(module.get_global_var("main"), bound)


def _array(name: str, value: Any) -> Any:
    import numpy as np
    import tvm

    if isinstance(value, tvm.nd.NDArray):
        return value
    try:
        return tvm.nd.array(np.asarray(value))
    except Exception:
        message = f"parameter `{name}` is no array but a {type(value).__name__}"
        raise failure("QP340", message) from None


# ---- is folding needed? --------------------------------------------------------------------------


def _has_hidden_constant(module: Any) -> bool:
    """Whether a scale, zero point, weight or bias is an expression of constants."""
    functions = [f for f in module.functions.values() if _is(f, "Function")]
    return any(_hides_constant(function) for function in functions)


def _hides_constant(function: Expr) -> bool:
    constant: dict[Expr, bool] = {}
    for node in post_order(function, functions=True):
        constant[node] = _folds(node, constant)
        if not _is(node, "Call") or not _is(node.op, "Op"):
            continue
        if any(constant[value] and not _is_plain(value) for value in _parameters(node)):
            return True
    return False


def _folds(node: Expr, constant: Mapping[Expr, bool]) -> bool:
    """Whether FoldConstant leaves a constant here; it leaves quantized operators alone."""
    if _is(node, "Constant"):
        return True
    if _is(node, "Tuple"):
        return all(constant[part] for part in node.fields)
    if _is(node, "TupleGetItem"):
        return constant[node.tuple_value]
    if not _is(node, "Call") or not _is(node.op, "Op") or str(node.op.name).startswith("qnn."):
        return False
    return all(constant[argument] for argument in node.args)


def _parameters(call: Expr) -> list[Expr]:
    """The operands of a call that are a scale, a zero point, a weight, a bias, or a tensor that has
    a scale."""
    known = operator(str(call.op.name))
    if known is None:
        return []
    roles_of = roles(known.name)
    tensors = {group.tensor for group in roles_of.groups} | _WEIGHTS
    return [
        value
        for operand, value in zip(known.operands, call.args, strict=False)
        if operand.name in tensors or roles_of.slot(operand.name) is not None
    ]


def _is_plain(value: Expr) -> bool:
    """Whether a value needs no folding to be a constant or a tuple of them."""
    if _is(value, "Tuple"):
        return all(_is_plain(part) for part in value.fields)
    return _is(value, "Constant")


def _is(node: Expr, kind: str) -> bool:
    return type(node).__name__ == kind
