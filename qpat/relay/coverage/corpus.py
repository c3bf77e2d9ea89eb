"""`qpat.coverage`: a pattern file held against several models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from qpat.compiler import Compiled
from qpat.diagnostics import Diagnostic, QpatError
from qpat.relay.coverage.counting import forms_of
from qpat.relay.coverage.data import Coverage, ModelCoverage, Work
from qpat.relay.coverage.graph import graph_of
from qpat.relay.coverage.macs import macs, operator_calls
from qpat.relay.importing import is_path
from qpat.relay.partition import Partition, Progress, all_calls, compiled_here, partition
from qpat.relay.why.before import before


def coverage(
    models: Any,
    patterns: str | Path | Compiled,
    progress: Progress | None = None,
    options: Mapping[str, Any] | None = None,
) -> Coverage:
    """What patterns take of each model and of all, and what refuses them how often.

    `models` are what `qpat.partition` takes, paths or modules, or one of them; `patterns` and
    `options` are as there. Raises QpatError where patterns or options are at fault, and with the
    findings of all models that are.
    """
    say = progress or (lambda text: None)
    compiled = compiled_here(patterns)
    several = models if isinstance(models, Iterable) and not isinstance(models, str) else [models]
    found: list[ModelCoverage] = []
    faults: list[Diagnostic] = []
    for number, model in enumerate(several, start=1):
        is_file = is_path(model)
        name = str(model) if is_file else f"module {number}"
        if is_file:
            say(name)
        try:
            result = partition(model, compiled, progress=progress, options=options)
        except QpatError as error:
            faults += error.diagnostics
            continue
        if not faults:  # else the rest is only read, to name all that cannot be
            say("counting")
            found.append(covered(name, result))
    if faults:
        raise QpatError(faults)  # one that is the patterns' is found with each model, and said once
    file = compiled.module.patterns[0].span.source.name
    return Coverage(file, compiled.module.compiler, tuple(found))


def covered(name: str, result: Partition) -> ModelCoverage:
    """What a partition took of a model, which is called `name`, and what refused its patterns."""
    was = before(result)
    return ModelCoverage(name, _work(result), forms_of(result, was), graph_of(result, was))


def _work(result: Partition) -> Work:
    matched = {match.call for match in result.matches}
    total = Work()
    for call in all_calls(result.module):
        calls, count = len(operator_calls(call)), macs(call)
        known = count or 0
        is_taken = call in matched
        total += Work(
            calls,
            calls if is_taken else 0,
            known,
            known if is_taken else 0,
            1 if count is None else 0,
        )
    return total
