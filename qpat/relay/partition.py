"""A Relay module and patterns to composites, their records, and what stays on the host."""

from __future__ import annotations

import linecache
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from types import ModuleType
from typing import Any

import tvm
from tvm import relay

from qpat.compiler import Compiled, compile_file
from qpat.relay.graph import post_order, shallow_copy
from qpat.relay.importing import import_model
from qpat.relay.prepare import prepare
from qpat.relay.quantization import Conflict, dtypes_of, is_integer, quantization
from qpat.relay.serialize import partition_json

Progress = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Match:
    """One composite. `tensors` maps each port to its tensor, to a tuple of them where it is many,
    or to None where it is absent; `params` are the pattern's own parameters; `call` is the call in
    `Partition.module`; `location` is what the frontend called the result."""

    composite: str
    pattern: str
    form: str | None
    tensors: Mapping[str, Any]
    params: Mapping[str, Any]
    record: Any
    call: Any
    location: str | None


@dataclass(frozen=True, eq=False)
class HostOperator:
    """A call that stays on the host, and why in a word."""

    op: str
    reason: str
    location: str | None


@dataclass(frozen=True, eq=False)
class Partition:
    """`prepared` is the module before, `module` the one with composites, `generated` the compiled
    patterns as a Python module."""

    compiler: str
    prepared: Any
    module: Any
    matches: tuple[Match, ...]
    host: tuple[HostOperator, ...]
    conflicts: tuple[Conflict, ...]
    generated: ModuleType

    def regions(self) -> Any:
        """The module with one function for each region of composites: AnnotateTarget,
        MergeCompilerRegions and PartitionGraph of TVM, on a copy."""
        passes = tvm.transform.Sequential(
            [
                relay.transform.AnnotateTarget(self.compiler),
                relay.transform.MergeCompilerRegions(),
                relay.transform.PartitionGraph(),
                relay.transform.InferType(),
            ]
        )
        return passes(shallow_copy(self.module))

    def to_json(self) -> dict[str, Any]:
        """What docs/partition.md describes: plain numbers, lists and strings."""
        return partition_json(self)


def partition(
    model: Any,
    patterns: str | Path | Compiled,
    params: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Partition:
    """Partitions a model: a path (.tflite, .onnx, Relay text) or a Relay module with its `params`.

    `patterns` is the path of a .qpat file or what `qpat.compile_file` gave. The caller's module is
    not changed. Raises QpatError where the patterns, the model or the environment are at fault.
    """
    say = progress or (lambda text: None)
    compiled = patterns if isinstance(patterns, Compiled) else compile_file(patterns)
    generated = load(compiled)
    if isinstance(model, tvm.IRModule):
        module, bound = model, dict(params or {})
    else:
        imported = import_model(model, progress)
        module, bound = imported.module, dict(imported.params)
    prepared = prepare(module, bound, progress)
    say("matching")
    merged = relay.transform.MergeComposite(_table(generated, prepared))(shallow_copy(prepared))
    say("reading quantization parameters")
    analysis = quantization(merged)
    matches, host = [], []
    for call in _calls(merged):
        if isinstance(call.op, relay.Function):
            matches.append(_match(generated, compiled, call, analysis.of))
        elif isinstance(call.op, tvm.ir.Op):
            host.append(_host(generated, call))
    return Partition(
        compiled.module.compiler,
        prepared,
        merged,
        tuple(matches),
        tuple(host),
        tuple(analysis.conflicts),
        generated,
    )


def load(compiled: Compiled) -> ModuleType:
    """The generated module, imported from its text. Tracebacks show its lines."""
    name = f"qpat_generated_{compiled.module.compiler.replace('-', '_')}"
    filename = f"<qpat {name}>"
    module = ModuleType(name)
    module.__file__ = filename
    lines = compiled.text.splitlines(keepends=True)
    linecache.cache[filename] = (len(compiled.text), None, lines, filename)
    # Dataclasses look their module up by name while they are made.
    sys.modules[name] = module
    exec(compile(compiled.text, filename, "exec"), module.__dict__)
    return module


def _table(generated: ModuleType, module: Any) -> list[tuple[str, Any, Any]]:
    """The pattern table less the rows that need an operator the module does not have: they cannot
    match, and MergeComposite walks and types the whole module for every row it is given."""
    calls = _calls(module)
    present = {call.op.name for call in calls if isinstance(call.op, tvm.ir.Op)}
    rows = zip(generated.ROWS, generated.pattern_table(), strict=True)
    return [entry for row, entry in rows if present.issuperset(row.operators)]


def _calls(module: Any) -> list[Any]:
    return [
        value
        for variable in module.get_global_vars()
        for value in post_order(module[variable].body)
        if isinstance(value, relay.Call)
    ]


def _match(
    generated: ModuleType, compiled: Compiled, call: Any, known: Callable[[Any], Any]
) -> Match:
    record = generated.extract(call, known)
    pattern = next(p for p in compiled.module.patterns if p.name == record.pattern)
    ports = {port.name for port in pattern.ports}
    names = {_plain(field.name, ports): field.name for field in fields(record)}
    values = {name: getattr(record, attribute) for name, attribute in names.items()}
    form = values.pop("form")
    return Match(
        composite=str(call.op.attrs["Composite"]),
        pattern=pattern.name,
        form=form,
        tensors={name: value for name, value in values.items() if name in ports},
        params={name: value for name, value in values.items() if name not in ports},
        record=record,
        call=call,
        location=_location(call.op.body) or _location(call),
    )


def _plain(attribute: str, ports: set[str]) -> str:
    """The pattern's name of a record's field: an underscore keeps it off Python's own words."""
    stripped = attribute.rstrip("_")
    return attribute if attribute in ports or not attribute.endswith("_") else stripped


def _location(value: Any) -> str | None:
    span = getattr(value, "span", None)
    name = getattr(getattr(span, "source_name", None), "name", None)
    return str(name) if name else None


# ---- the host ------------------------------------------------------------------------------


def _host(generated: ModuleType, call: Any) -> HostOperator:
    return HostOperator(call.op.name, _reason(generated, call), _location(call))


def _reason(generated: ModuleType, call: Any) -> str:
    name = call.op.name
    if not any(is_integer(dtype) for each in (call, *call.args) for dtype in dtypes_of(each)):
        return "not quantized"
    refused = generated.refusals(call)
    if refused:
        composite, reason = refused[0]
        return f"{composite}: {reason}"
    if all(name not in row.operators for row in generated.ROWS):
        return "in no pattern"
    return "no pattern fits"
