"""Programs: what is left of a function once its composites are records, of Relay and Relax alike.
Nothing in one is of TVM: a program can be pickled, sent to a device, or written out as C."""

from __future__ import annotations

import collections
import dataclasses
from typing import Any, Callable

# How often each kernel has run, by the name of its pattern.
runs: collections.Counter[str] = collections.Counter()


@dataclasses.dataclass(frozen=True, eq=False)
class Step:
    """One composite: its record, and what its inputs are by the name of the port: the number of a
    value, a constant, or a list of them where a port is many."""

    record: Any
    inputs: dict[str, Any]


@dataclasses.dataclass(frozen=True, eq=False)
class Program:
    """Values are numbered: first the function's inputs, then the result of each step."""

    steps: list[Step]
    results: list[Any]


def inputs_of(record: Any, arguments: list[Any]) -> dict[str, Any]:
    """What the ports of a record are: a constant is in the record, for anything else it says which
    argument of the composite it is. The output is neither."""

    def source(tensor: Any) -> Any:
        return arguments[tensor.input] if tensor.value is None else tensor.value

    ports = {each.name: getattr(record, each.name) for each in dataclasses.fields(record)}
    found = {}
    for name, port in ports.items():
        if isinstance(port, tuple) and port and is_tensor(port[0]):
            found[name] = [source(each) for each in port]
        elif is_tensor(port) and (port.value is not None or port.input is not None):
            found[name] = source(port)
    return found


def is_tensor(member: Any) -> bool:
    """Whether a member of a record is a Tensor, of whichever compiled module."""
    return dataclasses.is_dataclass(member) and type(member).__name__ == "Tensor"


def execute(program: Program, inputs: list[Any], run: Callable[..., Any]) -> list[Any]:
    """What the device does. `run` gives the output for a record and its tensors by name."""
    values = list(inputs)

    def value(source: Any) -> Any:
        if isinstance(source, list):
            return [value(each) for each in source]
        return values[source] if isinstance(source, int) else source

    for step in program.steps:
        runs[step.record.pattern] += 1
        tensors = {name: value(source) for name, source in step.inputs.items()}
        values.append(run(step.record, **tensors))
    return [value(each) for each in program.results]
