"""The code generator: a function of composites to a program of records, and to what TVM links.

TVM calls `generate` for each function with the attribute `Compiler`, by the name `relay.ext.npu`.
It makes a list of steps, and a function for TVM's runtime that carries them out. No C compiler is
needed: TVM itself compiles the call.
"""

from __future__ import annotations

import itertools
import platform
from typing import Any

import kernels
import npu_patterns as npu
import numpy as np
import tvm
from program import Program, Step, execute, inputs_of
from tvm import relay, te

# Said in full: a plain `llvm` means RISC-V in the distribution of TVM that is on the package index.
HOST = f"llvm -mtriple={platform.machine()}-unknown-linux-gnu"
serial_numbers = itertools.count()


def program_of(function: Any) -> Program:
    """The composites of a function, each behind those that it needs."""
    numbers: dict[Any, int] = {param: number for number, param in enumerate(function.params)}
    steps = []

    def source(each: Any) -> Any:
        if isinstance(each, relay.Constant):
            return each.data.numpy()
        if isinstance(each, relay.TupleGetItem):
            return source(each.tuple_value.fields[each.index])
        return numbers[each]

    for call in npu.composites(function.body):
        record = npu.extract(call)
        steps.append(Step(record, inputs_of(record, [source(each) for each in call.args])))
        numbers[call] = len(numbers)
    body = function.body
    results = body.fields if isinstance(body, relay.Tuple) else [body]
    return Program(steps, [source(each) for each in results])


def generate(function: Any) -> Any:
    """A module with one function of the name that the host calls."""
    symbol = str(function.attrs["global_symbol"])
    program = program_of(function)

    def call(*tensors: Any) -> None:
        count = len(function.params)
        results = execute(program, [each.numpy() for each in tensors[:count]], kernels.run)
        for tensor, result in zip(tensors[count:], results):
            tensor.copyfrom(np.ascontiguousarray(result))

    # With a number, because the symbols of two models are the same.
    name = f"{npu.COMPILER}.{symbol}.{next(serial_numbers)}"
    tvm.register_func(name, call)
    inputs = [placeholder(param.checked_type) for param in function.params]
    returned = function.ret_type
    types = returned.fields if isinstance(returned, tvm.ir.TupleType) else [returned]
    made = te.extern(
        [shape_of(each) for each in types],
        inputs,
        lambda ins, outs: tvm.tir.call_packed(name, *ins, *outs),
        dtype=[str(each.dtype) for each in types],
        name="outputs",
    )
    outputs = list(made) if len(types) > 1 else [made]
    schedule = te.create_schedule(outputs[0].op)
    return tvm.build(schedule, inputs + outputs, target=HOST, name=symbol)


def placeholder(of_type: Any) -> Any:
    return te.placeholder(shape_of(of_type), str(of_type.dtype))


def shape_of(of_type: Any) -> list[int]:
    return [int(size) for size in of_type.shape]


tvm.register_func(f"relay.ext.{npu.COMPILER}", generate, override=True)
