"""A module and patterns to composites, their records, and what stays on the host: on Relay, or on
Relax where that is what the TVM that is installed has."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from inspect import signature
from pathlib import Path
from types import ModuleType
from typing import Any

from qpat.compiler import Compiled, compile_file
from qpat.diagnostics import Diagnostic, did_you_mean, failure, warning
from qpat.relay.environment import installed_ir, matching, meaning
from qpat.relay.graph import post_order
from qpat.relay.importing import model_of
from qpat.relay.kinds import relay, tvm
from qpat.relay.loading import load
from qpat.relay.names import location, operator_name
from qpat.relay.parameters import is_quantized
from qpat.relay.quantization import Conflict, Quantization, analysed
from qpat.relay.serialize import partition_json
from qpat.semantics import ir
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
    applied, and `generated` the same as a Python module. On Relax both modules are views
    (qpat.relax.view.Module), which have TVM's own as `relax`."""

    compiler: str
    prepared: Any
    module: Any
    matches: tuple[Match, ...]
    host: tuple[HostOperator, ...]
    quantization: Quantization
    generated: ModuleType
    options: Mapping[str, Any]
    compiled: Compiled
    warnings: tuple[str, ...]

    def findings(self, place: str | None = None) -> tuple[Diagnostic, ...]:
        """What is wrong with the module, as warnings: QP342, QP343, and QP345 where a pass took
        its quantization away. `place` is the file of the module."""
        lost = tuple(warning("QP345", text, place=place) for text in self.warnings)
        return lost + self.quantization.findings(place)

    @property
    def conflicts(self) -> tuple[Conflict, ...]:
        """Values of which two operators say different things."""
        return self.quantization.conflicts

    def regions(self) -> Any:
        """The module with one function for each region of composites, a copy: of Relay after
        AnnotateTarget, MergeCompilerRegions and PartitionGraph, of Relax after
        MergeCompositeFunctions."""
        return matching().regions(self)

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
    """Partitions a model, a path (.tflite, .onnx, Relay text) or a Relay module, with `params` that
    are bound in `main`.

    `patterns` is the path of a .qpat file or what `qpat.compile_file` gave for the IR that is
    installed; `options` are those the file declares, and `target`. A module may be of Relax, or the
    view of one, where that is installed. The caller's module is not changed. Raises QpatError where
    the patterns, the options, the model or the environment are at fault.
    """
    say = progress or (lambda text: None)
    compiled = compiled_here(patterns)
    generated = load(compiled)
    chosen = options_of(generated, options or {})
    here = matching()
    module, bound = model_of(model, params, progress)
    prepared, warnings = here.prepared(generated, module, bound, options or {}, say)
    merged = here.merged(generated, prepared, options or {}, say)
    say("reading quantization parameters")
    try:
        merged = here.annotated(generated, prepared, merged, chosen)
    except generated.Unheld as error:
        hint = "let the extern give numbers, texts, arrays, or lists of them"
        raise failure("QP344", str(error), hint=hint) from None
    analysis = analysed(merged)
    reader = _Reader(
        generated, compiled, analysis.of, chosen, users_of(merged), here.reading(generated, merged)
    )
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
        warnings,
    )


def compiled_here(patterns: str | Path | Compiled) -> Compiled:
    """Patterns compiled for the IR that is installed; what that cannot say is left out, as the file
    itself says of which IR it is. Raises QP338 where they were compiled for the other."""
    target = installed_ir()
    if not isinstance(patterns, Compiled):
        return compile_file(patterns, target, unsaid="ignore")
    if patterns.target != target:
        message = f"the patterns were compiled for {patterns.target}, and this TVM has {target}"
        raise failure("QP338", message, hint=f'compile them with target="{target}"')
    return patterns


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
    except (generated.Refused, ValueError, TypeError, RuntimeError) as error:  # TVM's are the last
        raise failure("QP336", f"an option does not fit: {meaning(error)}") from None


@dataclass(frozen=True)
class _Reader:
    """Reads what became of each call of a module with composites."""

    generated: ModuleType
    compiled: Compiled
    known: Callable[[Any], Any]
    options: Any
    users: Mapping[Any, list[Any]]
    reading: Any

    def read(self, call: Any) -> Match | HostOperator | None:
        if isinstance(call.op, relay.Function):
            record = self.reading.record(call, self.known, self.options)
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
            location=self.reading.location(call),
        )

    def _reason(self, call: Any) -> str:
        name = call.op.name
        if not is_quantized(call):
            return "not quantized"
        root = self.reading.node(call)
        for row in self.generated.ROWS:
            refused = self.generated.refusal(row, root, self.options, self._known_of)
            if refused is not None and not isinstance(refused, self.generated.Mismatch):
                return f"{row.composite}: {refused}"
        seen = self._seen_outside(call)
        if seen is not None:
            return seen
        if name not in self._wanted:
            return "in no pattern"
        return "no pattern fits"

    @cached_property
    def _wanted(self) -> set[str]:
        """The operators that patterns have."""
        rows = (row for pattern in self.compiled.module.patterns for row in pattern.rows)
        return {n.operator for row in rows for n in row.nodes if isinstance(n, ir.Call)}

    def _seen_outside(self, root: Any) -> str | None:
        """What a row that takes a call has inside and others use too: TVM drops such a match."""
        for row in self.generated.ROWS:
            try:
                match = self.generated.tried(row, self.reading.node(root), {}, self._setup)[0]
            except self.generated.Refused:
                continue
            seen = used_outside(map(self.reading.expr, match.inner), root, self.users)
            if seen is not None:
                return f"{row.composite}: {operator_name(seen[0])} inside has a user outside"
        return None

    def _setup(self, match: Any) -> None:
        match.options, match.inherited = self.options, self._known_of

    def _known_of(self, node: Any) -> Any:
        return self.known(self.reading.expr(node))


def users_of(module: Any) -> dict[Any, list[Any]]:
    """The expressions that use each expression."""
    users: dict[Any, list[Any]] = {}
    for variable in module.get_global_vars():
        for expr in post_order(module[variable].body):
            for operand in operands_of(expr):
                users.setdefault(operand, []).append(expr)
    return users


def used_outside(
    inner: Iterable[Any], root: Any, users: Mapping[Any, Sequence[Any]]
) -> tuple[Any, Any] | None:
    """A value inside a match, other than its root, that something outside uses too, and its user:
    TVM drops such a match without a word."""
    inside = list(inner)
    for each in inside:
        others = [user for user in users.get(each, ()) if user not in inside]
        if others and not each.same_as(root):
            return each, others[0]
    return None


def _plain(attribute: str, ports: set[str]) -> str:
    """The pattern's name of a record's field: an underscore keeps it off Python's own words."""
    stripped = attribute.rstrip("_")
    return attribute if attribute in ports or not attribute.endswith("_") else stripped
