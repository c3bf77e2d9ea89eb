"""Verdicts as text and as JSON, and what is wrong as findings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qpat.diagnostics import Diagnostic, Label
from qpat.relay.environment import installed_ir
from qpat.relay.graph import post_order
from qpat.relay.kinds import relay
from qpat.semantics import ir
from qpat.verify.graphs import graphs
from qpat.verify.verification import Failure, Verdict

# Elements of a tensor that are shown in a text; in JSON all are.
_SHOWN = 1000


def line(verdict: Verdict) -> str:
    """One line: the form, what became of it, and how much was looked at."""
    said = f"{label(verdict)}: {verdict.status}"
    if verdict.instances:
        counts = f"{verdict.instances} instances, {verdict.inputs:,} inputs"
        unit = "units of the last place" if verdict.bound != 1 else "unit of the last place"
        said += f"  {counts}, worst {verdict.worst:.3g} of {verdict.bound:.3g} {unit}"
    if verdict.in_integers:
        exact = len(verdict.in_integers) - len(verdict.not_exact)
        said += f"; in integers {exact} of {len(verdict.in_integers)} bit exact"
    if verdict.left_out:
        share = 100 * verdict.left_out / verdict.elements
        said += f"; {share:.1f} % of the elements without a value"
    refused = sum(verdict.refused.values())
    if refused:
        said += f"; {refused} draws left out"
    return "\n".join([said, *(f"    {reason}" for reason in verdict.reasons)])


def details(verdict: Verdict) -> Iterator[str]:
    """Why draws were left out, and where a bound comes from."""
    for reason, count in sorted(verdict.refused.items()):
        yield f"    left out {count}: {reason}"
    if verdict.parts:
        yield f"    bound: {', '.join(verdict.parts)}"
    if verdict.instances and not graphs().IN_INTEGERS:
        yield "    not computed in integers: TVM computes in float32 here"


def label(verdict: Verdict) -> str:
    """The pattern, and its form where it has several."""
    return verdict.pattern.name + (f" ({verdict.form})" if verdict.form is not None else "")


def findings(verdict: Verdict) -> Iterator[Diagnostic]:
    """What is wrong, at the meaning of the pattern: one finding for each form."""
    meanings = [each for each in verdict.pattern.statements if isinstance(each, ir.Meaning)]
    span = meanings[0].span if meanings else verdict.pattern.span
    if verdict.failures:
        failure = max(verdict.failures, key=lambda each: each.compared.worst - each.bound.units)
        found = failure.compared
        message = f"`{label(verdict)}` does not mean what its graph computes: TVM gives "
        if failure.real.shape != failure.got.shape:
            message += f"the shape {failure.got.shape} where {failure.real.shape} is meant"
        else:
            message += f"{found.got:.10g} where {found.wanted:.10g} is meant"
        allowed = f"at most {failure.bound.units:.3g} of a unit may be rounded away"
        because = f" ({', '.join(failure.bound.parts)})" if failure.bound.parts else ""
        wrong = f"{len(verdict.failures)} of {verdict.instances} instances are wrong; "
        others = (Label(verdict.pattern.span, "the pattern"),) if not meanings else ()
        hint = f"{wrong}{allowed}{because}"
        yield Diagnostic("QP404", message, span, hint=hint, others=others)
    for reason in verdict.lost[:1]:
        message = f"`{label(verdict)}` takes a graph and gives no true record of it: {reason}"
        hint = f"so for {len(verdict.lost)} of the graphs that were drawn"
        yield Diagnostic("QP405", message, verdict.pattern.span, hint=hint)


def instance_text(failure: Failure) -> str:
    """A failing instance in full: the graph with its constants, the input, wanted and got."""
    instance = failure.instance
    lines = [f"    seed {'.'.join(str(each) for each in instance.seed)}"]
    lines += [f"    {each}" for each in graphs().text(instance.graph.root).rstrip().splitlines()]
    for name, value in constants(instance.graph.root):
        lines.append(f"    {name} = {_shown(value)}")
    for port, tensor in tensors(failure):
        scale, zero_point = _shown(tensor.scale), _shown(tensor.zero_point)
        lines.append(f"    record {port}: scale {scale}, zero point {zero_point}")
    for name, values in failure.inputs.items():
        lines.append(f"    {name} = {_shown(values)}")
    lines.append(f"    meaning = {_shown(failure.real)}")
    lines.append(f"    got = {_shown(failure.got)}")
    found = failure.compared
    if found.at or not failure.got.shape:
        at = ", ".join(str(each) for each in found.at)
        lines.append(f"    at [{at}]: wanted {found.wanted:.10g}, got {found.got:.10g}")
    return "\n".join(lines)


def tensors(failure: Failure) -> Iterator[tuple[str, Any]]:
    """The tensors of a record, those of a port that is many by number."""
    for port in failure.instance.ports:
        tensor = failure.instance.tensor(port)
        many = enumerate(tensor) if isinstance(tensor, tuple) else ()
        yield from ((f"{port}_{number}", each) for number, each in many)
        if tensor is not None and not isinstance(tensor, tuple):
            yield port, tensor


def constants(root: Any) -> Iterator[tuple[str, NDArray[Any]]]:
    """The constants of a graph that its text does not show, named as the text names them."""
    number = 0
    for node in post_order(root):
        if isinstance(node, relay.Constant) and node.data.numpy().ndim:
            yield graphs().CONSTANT.format(number), node.data.numpy()
            number += 1


def _shown(value: Any) -> str:
    if value is None:
        return "unknown"
    text = np.array2string(
        np.asarray(value), threshold=_SHOWN, separator=", ", max_line_width=10**6
    )
    return " ".join(text.split())


# ---- JSON ----------------------------------------------------------------------------------------


def as_json(verdict: Verdict) -> dict[str, Any]:
    """A verdict as plain numbers, lists and strings."""
    return {
        "pattern": verdict.pattern.name,
        "form": verdict.form,
        "status": verdict.status,
        "instances": verdict.instances,
        "inputs": verdict.inputs,
        "elements": verdict.elements,
        "elements_without_value": verdict.left_out,
        "worst": _plain(verdict.worst),
        "bound": verdict.bound,
        "bound_parts": list(verdict.parts),
        "in_integers": len(verdict.in_integers),
        "bit_exact": len(verdict.in_integers) - len(verdict.not_exact),
        "left_out": dict(sorted(verdict.refused.items())),
        "reasons": list(verdict.reasons),
        "failures": [_failure_json(each) for each in verdict.failures],
        "without_record": list(verdict.lost),
    }


def _failure_json(failure: Failure) -> dict[str, Any]:
    return {
        "seed": list(failure.instance.seed),
        installed_ir(): graphs().text(failure.instance.graph.root),
        "constants": _arrays(dict(constants(failure.instance.graph.root))),
        "record": {
            port: {"scale": _plain(tensor.scale), "zero_point": _plain(tensor.zero_point)}
            for port, tensor in tensors(failure)
        },
        "inputs": _arrays(failure.inputs),
        "meaning": _plain(failure.real),
        "got": _plain(failure.got),
        "at": list(failure.compared.at),
        "wanted": _plain(failure.compared.wanted),
        "bound": failure.bound.units,
    }


def _arrays(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _plain(value) for name, value in values.items()}


def _plain(value: Any) -> Any:
    if value is None:
        return None
    wide = np.asarray(value)
    # JSON has no infinity and no NaN.
    if wide.dtype.kind == "f" and not np.all(np.isfinite(wide)):
        plain = wide.astype(object)
        plain[~np.isfinite(wide)] = None
        return plain.tolist()
    return wide.tolist()
