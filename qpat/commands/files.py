"""Commands on .qpat files: check, explain, compile, test, verify."""

from __future__ import annotations

import argparse
import gc
import io
import sys

from qpat.commands.outputs import require_apart
from qpat.diagnostics import QpatError
from qpat.terminal import FINDINGS, FINE, WRONG_USE, print_findings, progress


def check(options: argparse.Namespace) -> int:
    # Nothing of a check is garbage before its end, and looking for some takes a quarter of it.
    gc.disable()
    try:
        from qpat.check import check_files

        fine = check_files(options.files, options.format, options.color, options.fix)
    finally:
        gc.enable()
    return FINE if fine else FINDINGS


def explain(options: argparse.Namespace) -> int:
    from qpat.explain import explain

    try:
        explain(options.code, options.color)
    except QpatError as error:
        print_findings(error.diagnostics, options.color)
        return WRONG_USE
    return FINE


def compile_(options: argparse.Namespace) -> int:
    from qpat.compiler import compile_file
    from qpat.files import write_atomically

    compiled = compile_file(options.file, options.target, options.unsaid)
    print_findings(compiled.warnings, options.color)
    if options.output is None:
        _write_module(compiled.text)
        return FINE
    require_apart(options, compiled)
    write_atomically(options.output, compiled.text)
    patterns = compiled.module.patterns
    rows = sum(len(pattern.rows) for pattern in patterns)
    print(f"{options.output}: {len(patterns)} patterns, {rows} rows")
    return FINE


def _write_module(text: str) -> None:
    """Python source is UTF-8, whatever the terminal is."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.buffer.write(text.encode("utf-8"))
    else:
        sys.stdout.write(text)


def test(options: argparse.Namespace) -> int:
    from qpat.compiler import compile_file
    from qpat.options import parse_options

    compiled = [(path, compile_file(path)) for path in options.files]
    for _, each in compiled:
        print_findings(each.warnings, options.color)
    from qpat.relay.environment import require_relay

    require_relay()
    from qpat.relay.testing import run_tests

    failed = 0
    for path, each in compiled:
        chosen = parse_options(each.module, options.option, options.target)
        outcomes = run_tests(each, chosen)
        for outcome in outcomes:
            print(f"{path}: {'FAILED' if outcome.findings else 'ok'}: {outcome.test.name}")
            sys.stdout.flush()
            print_findings(outcome.findings, options.color)
        wrong = sum(bool(outcome.findings) for outcome in outcomes)
        failed += wrong
        print(f"{path}: {f'{len(outcomes)} tests, {wrong} failed' if outcomes else 'no tests'}")
    return FINDINGS if failed else FINE


def verify(options: argparse.Namespace) -> int:
    import json

    from qpat.commands.models import told_patterns
    from qpat.files import write_atomically
    from qpat.options import parse_options, require_pattern

    compiled = told_patterns(options.file, progress())
    require_apart(options, compiled)
    print_findings(compiled.warnings, options.color)
    for name in options.pattern:
        require_pattern(compiled.module, name, options.file)
    from qpat.relay.environment import require_tvm

    require_tvm()
    from qpat.verify import report
    from qpat.verify.verification import verify

    verdicts = []
    for found in verify(
        compiled,
        samples=options.samples,
        inputs=options.inputs,
        seed=options.seed,
        names=options.pattern,
        options=parse_options(compiled.module, options.option, options.target),
    ):
        for verdict in found:
            print(report.line(verdict))
            if options.details:
                print("\n".join(report.details(verdict)))
            for failure in verdict.failures[:1]:
                print(report.instance_text(failure))
            sys.stdout.flush()
            print_findings(tuple(report.findings(verdict)), options.color)
        verdicts += found
    if options.json is not None:
        text = json.dumps([report.as_json(each) for each in verdicts], indent=1) + "\n"
        write_atomically(options.json, text)
    counts = {s: sum(v.status == s for v in verdicts) for s in ("verified", "failed", "unverified")}
    print(", ".join(f"{count} {status}" for status, count in counts.items()))
    return FINDINGS if counts["failed"] else FINE
