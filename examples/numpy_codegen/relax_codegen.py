"""The code generator for Relax: a function of composites to a program of records, and to what TVM's
virtual machine calls.

RunCodegen calls `generate` with the functions that have the attribute `Codegen="npu"`, by the name
`relax.ext.npu`. It registers a Python function under the symbol of each, which the virtual machine
finds there; no module is made and nothing is compiled.
"""

from __future__ import annotations

import itertools
from typing import Any

import kernels
import npu_relax as npu
import numpy as np
import real_kernels
import tvm
from program import Program, Step, execute, inputs_of
from tvm import relax

ARITHMETIC = {"real": real_kernels.run, "integer": kernels.run}
serial_numbers = itertools.count()


def offload(module: Any, arithmetic: str = "real") -> Any:
    """A module whose regions of composites run here, ready for tvm.compile. `arithmetic` is `real`,
    as TVM computes, or `integer`. The given module is not changed."""
    regions = npu.offload(module)
    for variable in regions.get_global_vars():
        function = regions[variable]
        if is_region(function):
            # One of its own: TVM's are made of the operators, and alike in models that are alike.
            symbol = f"{npu.COMPILER}_{next(serial_numbers)}"
            regions.update_func(variable, function.with_attr("global_symbol", symbol))
    options = {npu.COMPILER: {"arithmetic": arithmetic}}
    return relax.transform.RunCodegen(options)(regions)


def is_region(function: Any) -> bool:
    attributes = function.attrs or {}
    return "Codegen" in attributes and str(attributes["Codegen"]) == npu.COMPILER


def generate(functions: Any, options: Any, constants: Any) -> list[Any]:
    """Registers a function for each symbol. No modules are given back.

    Raises ValueError where a symbol is taken, or the arithmetic is none that there is.
    """
    arithmetic = str(options.get("arithmetic", "real"))
    if arithmetic not in ARITHMETIC:
        raise ValueError(f"the arithmetic of {npu.COMPILER} is real or integer, not {arithmetic}")
    for function in functions:
        symbol = str(function.attrs["global_symbol"])
        if tvm.get_global_func(symbol, allow_missing=True) is not None:
            raise ValueError(f"there is a function {symbol} already: give this one another symbol")
        call = caller(program_of(function), len(function.params), ARITHMETIC[arithmetic])
        tvm.register_global_func(symbol, call)
    return []


def caller(program: Program, count: int, run: Any) -> Any:
    """What the virtual machine calls with `count` inputs, and the outputs behind them."""

    def call(*tensors: Any) -> None:
        results = execute(program, [each.numpy() for each in tensors[:count]], run)
        for tensor, result in zip(tensors[count:], results, strict=True):
            tensor.copyfrom(np.ascontiguousarray(result))

    return call


def program_of(function: Any) -> Program:
    """The composites of a function, each behind those that it needs."""
    places: dict[Any, int] = {param: number for number, param in enumerate(function.params)}
    bound: dict[Any, Any] = {}
    steps = []

    def source(each: Any) -> Any:
        if isinstance(each, relax.TupleGetItem):
            return source(each.tuple_value)[each.index]
        if isinstance(each, relax.Tuple):
            return [source(field) for field in each.fields]
        return places[each] if each in places else source(bound[each])

    for binding in itertools.chain.from_iterable(each.bindings for each in function.body.blocks):
        value = binding.value
        if isinstance(value, relax.Call):
            record = npu.extract(bound[value.op])
            steps.append(Step(record, inputs_of(record, [source(each) for each in value.args])))
            places[binding.var] = len(places)
        else:
            bound[binding.var] = value
    result = source(function.body.body)
    return Program(steps, result if isinstance(result, list) else [result])


tvm.register_global_func(f"relax.ext.{npu.COMPILER}", generate, override=True)
