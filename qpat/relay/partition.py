"""A Relay module and patterns to composites, their records, and what stays on the host."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from inspect import signature
from itertools import groupby
from pathlib import Path
from types import ModuleType
from typing import Any

import tvm
from tvm import relay

from qpat.compiler import Compiled, compile_file
from qpat.diagnostics import did_you_mean, failure
from qpat.relay.graph import post_order, shallow_copy
from qpat.relay.importing import import_model
from qpat.relay.loading import load
from qpat.relay.names import location, operator_name
from qpat.relay.parameters import is_quantized
from qpat.relay.prepare import prepare
from qpat.relay.quantization import Conflict, Quantization, analysed
from qpat.relay.serialize import partition_json
from qpat.relay.single_pass.table import merge_composite
from qpat.targets.relay_reading import operands_of

Progress = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Match:
    """One composite, or one operator `op` that a rule takes as it is. `tensors` maps each port to
    its tensor, to a tuple of them where it is many, or to None where it is absent; `params` are the
    pattern's own parameters; `call` is the call in `Partition.module`; `location` is what the
    frontend called the result."""

    composite: str | None
    op: str | None
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
    """`prepared` is the module before, `module` the one with composites, which have their records
    as attributes, `quantization` what is known of its tensors, `compiled` the patterns that were
    applied, and `generated` the same as a Python module."""

    compiler: str
    prepared: Any
    module: Any
    matches: tuple[Match, ...]
    host: tuple[HostOperator, ...]
    quantization: Quantization
    generated: ModuleType
    options: Mapping[str, Any]
    compiled: Compiled

    @property
    def conflicts(self) -> tuple[Conflict, ...]:
        """Values of which two operators say different things."""
        return self.quantization.conflicts

    def regions(self) -> Any:
        """The module with one function for each region of composites: AnnotateTarget,
        MergeCompilerRegions and PartitionGraph of TVM, on a copy."""
        try:
            return self.generated.regions(self.module, **self.options)
        finally:
            for name in getattr(self.generated, "OPERATOR_RULES", {}):
                tvm.ir.Op.get(name).reset_attr(f"target.{self.compiler}")

    def to_json(self) -> dict[str, Any]:
        """What docs/partition.md describes: plain numbers, lists and strings."""
        return partition_json(self)


def partition(
    model: Any,
    patterns: str | Path | Compiled,
    params: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    options: Mapping[str, Any] | None = None,
) -> Partition:
    """Partitions a model: a path (.tflite, .onnx, Relay text) or a Relay module with its `params`.

    `patterns` is the path of a .qpat file or what `qpat.compile_file` gave; `options` are those the
    file declares, and `target`. The caller's module is not changed. Raises QpatError where the
    patterns, the options, the model or the environment are at fault.
    """
    say = progress or (lambda text: None)
    compiled = patterns if isinstance(patterns, Compiled) else compile_file(patterns)
    generated = load(compiled)
    chosen = options_of(generated, options or {})
    if isinstance(model, tvm.IRModule):
        module, bound = model, dict(params or {})
    else:
        imported = import_model(model, progress)
        module, bound = imported.module, dict(imported.params)
    prepared = prepare(module, bound, progress)
    if hasattr(generated, "prepare"):
        say("copying shared values")
        prepared = generated.prepare(prepared, **(options or {}))
    say("matching")
    merged = _merged(generated, prepared, options or {})
    say("reading quantization parameters")
    merged = _annotated(generated, merged, chosen)
    analysis = analysed(merged)
    reader = _Reader(generated, compiled, analysis.of, chosen, users_of(merged))
    found = [reader.read(call) for call in all_calls(merged)]
    matches = [each for each in found if isinstance(each, Match)]
    host = [each for each in found if isinstance(each, HostOperator)]
    return Partition(
        compiled.module.compiler,
        prepared,
        merged,
        tuple(matches),
        tuple(host),
        analysis,
        generated,
        dict(options or {}),
        compiled,
    )


def offload(
    model: Any,
    patterns: str | Path | Compiled,
    params: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    options: Mapping[str, Any] | None = None,
) -> Any:
    """A model as the module that `relay.build` takes: each region of composites is a function with
    the attribute `Compiler`, for the code generator `relay.ext.<compiler>`, and what no pattern
    takes stays in `main`. Arguments and errors are those of `partition`.
    """
    return partition(model, patterns, params, progress, options).regions()


def _merged(generated: ModuleType, prepared: Any, options: Mapping[str, Any]) -> Any:
    """The module with composites. They are made one row after another, so a row that asks for
    inherited parameters is given those of the module as it stands before it."""
    module = shallow_copy(prepared)
    for ask, rows in groupby(_present(generated, prepared), key=lambda entry: entry[1].inherits):
        for segment in ([each] for each in rows) if ask else [list(rows)]:
            known = analysed(module).of if ask else _nothing_known
            table = generated.pattern_table(inherited=known, **options)
            entries = [table[number] for number, _ in segment]
            module = merge_composite(entries)(module)
    return module


def _annotated(generated: ModuleType, module: Any, options: Any) -> Any:
    """The module whose composites have their records as attributes. Raises QP344."""
    try:
        return generated.annotate(module, analysed(module).of, options)
    except generated.Unheld as error:
        hint = "let the extern give numbers, texts, arrays, or lists of them"
        raise failure("QP344", str(error), hint=hint) from None


def _nothing_known(expr: Any) -> None:
    return None


def _present(generated: ModuleType, module: Any) -> Iterator[tuple[int, Any]]:
    """The rows by number, less those that need an operator the module does not have: they cannot
    match, and for one that asks for inherited parameters the whole module is analysed."""
    calls = all_calls(module)
    present = {call.op.name for call in calls if isinstance(call.op, tvm.ir.Op)}
    for number, row in enumerate(generated.ROWS):
        if present.issuperset(row.operators):
            yield number, row


def all_calls(module: Any) -> list[Any]:
    """The calls of a module, operands first; those inside of composites are not among them."""
    return [
        value
        for variable in module.get_global_vars()
        for value in post_order(module[variable].body)
        if isinstance(value, relay.Call)
    ]


def options_of(generated: ModuleType, options: Mapping[str, Any]) -> Any:
    """The Options of a generated module. Raises QP336 where one is unknown or does not fit."""
    known = [name for name in signature(generated.Options).parameters]
    for name in options:
        if name not in known:
            hint = did_you_mean(name, known) or f"options are {', '.join(known)}"
            raise failure("QP336", f"the patterns have no option `{name}`", hint=hint)
    try:
        return generated.Options(**options)
    except (generated.Refused, ValueError, TypeError) as error:
        raise failure("QP336", f"an option does not fit: {error}") from None


@dataclass(frozen=True)
class _Reader:
    """Reads what became of each call of a module with composites."""

    generated: ModuleType
    compiled: Compiled
    known: Callable[[Any], Any]
    options: Any
    users: Mapping[Any, list[Any]]

    def read(self, call: Any) -> Match | HostOperator | None:
        if isinstance(call.op, relay.Function):
            record = self.generated.extract(call, self.known, self.options)
            return self._match(call, record)
        if not isinstance(call.op, tvm.ir.Op):
            return None
        if self._is_taken(call):
            record = self.generated.extract_operator(call, self.known, self.options)
            return self._match(call, record)
        return HostOperator(call.op.name, self._reason(call), location(call))

    def _is_taken(self, call: Any) -> bool:
        """Whether a rule for single operators takes a call."""
        rules = getattr(self.generated, "OPERATOR_RULES", {})
        return call.op.name in rules and bool(
            self.generated.operator_rule(call.op.name, self.options)(call)
        )

    def _match(self, call: Any, record: Any) -> Match:
        pattern = next(p for p in self.compiled.module.patterns if p.name == record.pattern)
        ports = {port.name for port in pattern.ports}
        names = {_plain(field.name, ports): field.name for field in fields(record)}
        values = {name: getattr(record, attribute) for name, attribute in names.items()}
        form = values.pop("form")
        values.pop("meaning", None)
        is_composite = isinstance(call.op, relay.Function)
        return Match(
            composite=str(call.op.attrs["Composite"]) if is_composite else None,
            op=None if is_composite else str(call.op.name),
            pattern=pattern.name,
            form=form,
            tensors={name: value for name, value in values.items() if name in ports},
            params={name: value for name, value in values.items() if name not in ports},
            record=record,
            call=call,
            location=(location(call.op.body) if is_composite else None) or location(call),
        )

    def _reason(self, call: Any) -> str:
        name = call.op.name
        if not is_quantized(call):
            return "not quantized"
        refused = self.generated.refusals(call, self.known, self.options)
        if refused:
            composite, reason = refused[0]
            return f"{composite}: {reason}"
        seen = self._seen_outside(call)
        if seen is not None:
            return seen
        if all(name not in row.operators for row in self.generated.ROWS):
            return "in no pattern"
        return "no pattern fits"

    def _seen_outside(self, root: Any) -> str | None:
        """What a row that takes a call has inside and others use too: TVM drops such a match."""
        for row in self.generated.ROWS:
            try:
                match = self.generated.tried(row, root, {}, self._setup)[0]
            except self.generated.Refused:
                continue
            for each in match.inner:
                others = [user for user in self.users.get(each, ()) if user not in match.inner]
                if others and not each.same_as(root):
                    name = operator_name(each)
                    return f"{row.composite}: {name} inside has a user outside"
        return None

    def _setup(self, match: Any) -> None:
        match.options, match.inherited = self.options, self.known


def users_of(module: Any) -> dict[Any, list[Any]]:
    """The expressions that use each expression."""
    users: dict[Any, list[Any]] = {}
    for variable in module.get_global_vars():
        for expr in post_order(module[variable].body):
            for operand in operands_of(expr):
                users.setdefault(operand, []).append(expr)
    return users


def _plain(attribute: str, ports: set[str]) -> str:
    """The pattern's name of a record's field: an underscore keeps it off Python's own words."""
    stripped = attribute.rstrip("_")
    return attribute if attribute in ports or not attribute.endswith("_") else stripped
