"""The command line. Results go to stdout, findings and progress to stderr.

Exit status: 0 fine, 1 findings in what was given, 2 the command was used wrongly.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version

from qpat.compiler import check_source, compile_file, open_source
from qpat.diagnostics import Diagnostic, QpatError, Severity, failure, render_all
from qpat.files import write_atomically
from qpat.formats import FORMATS, formatted
from qpat.options import parse_options

FINE, FINDINGS = 0, 1  # wrong use is 2, and argparse says it


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit status. Wrong use exits through argparse with 2."""
    _make_printable()
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        status = command(options)
        sys.stdout.flush()
        return status
    except QpatError as error:
        _print_findings(error.diagnostics)
        return FINDINGS
    except BrokenPipeError:
        # Whoever read our output has had enough (`qpat … | head`).
        _forget_stdout()
        return FINE
    except OSError as error:
        _forget_stdout()
        print(f"qpat: cannot write the output: {error.strerror}", file=sys.stderr)
        return FINDINGS
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _make_printable() -> None:
    """A terminal that cannot show a character shows its number; a closed one swallows all."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _forget_stdout() -> None:
    """So that the interpreter does not try to write the rest when it ends."""
    sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="qpat", description="Quantized operator patterns for TVM Relay.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"qpat {_version()}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    check = commands.add_parser("check", help="look for faults in .qpat files; needs no TVM")
    check.add_argument("files", nargs="+", metavar="FILE")
    check.add_argument(
        "--format", choices=FORMATS, default="text", help="how to print findings (default: text)"
    )
    check.set_defaults(command=_check)

    compile_ = commands.add_parser("compile", help="write the Python module of a .qpat file")
    compile_.add_argument("file", metavar="FILE")
    compile_.add_argument("-o", "--output", metavar="OUT", help="where to (default: stdout)")
    compile_.set_defaults(command=_compile)

    partition = commands.add_parser(
        "partition", help="apply patterns to a model and show what they find"
    )
    partition.add_argument("model", metavar="MODEL", help=".tflite, .onnx or Relay text (.relay)")
    partition.add_argument(
        "--patterns",
        required=True,
        metavar="FILE",
        help="a .qpat file, or a name of the library, such as tflite",
    )
    partition.add_argument("--json", metavar="OUT", help="write matches and host operators there")
    partition.add_argument("--relay", metavar="OUT", help="write the module with composites there")
    partition.add_argument(
        "--regions", metavar="OUT", help="write the module after PartitionGraph there"
    )
    _add_options(partition)
    partition.set_defaults(command=_partition)

    test = commands.add_parser("test", help="run the tests that stand in .qpat files")
    test.add_argument("files", nargs="+", metavar="FILE")
    _add_options(test)
    test.set_defaults(command=_test)
    return parser


def _add_options(command: argparse.ArgumentParser) -> None:
    """What a pattern table can be told."""
    command.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an option of the pattern file (can be given several times)",
    )
    command.add_argument("--target", metavar="TARGET", help="a TVM target: facts for the patterns")


def _version() -> str:
    try:
        return version("qpat")
    except PackageNotFoundError:
        return "(not installed)"


def _print_findings(findings: Sequence[Diagnostic]) -> None:
    if findings:
        print(render_all(findings), file=sys.stderr)


def _progress() -> Callable[[str], None]:
    """Says what is being done and how long the last step took, on stderr."""
    start = time.monotonic()

    def say(step: str) -> None:
        print(f"[{time.monotonic() - start:5.1f} s] {step}", file=sys.stderr, flush=True)

    return say


# ---- commands ---------------------------------------------------------------------------


def _check(options: argparse.Namespace) -> int:
    everything: list[Diagnostic] = []
    for path in options.files:
        found = _findings(path)
        everything += found
        if options.format == "text":
            _print_findings(found)
        if options.format == "text" and not _has_errors(found):
            print(f"{path}: fine")
    if options.format == "json" or (options.format == "github" and everything):
        print(formatted(everything, options.format))
    return FINDINGS if _has_errors(everything) else FINE


def _findings(path: str) -> tuple[Diagnostic, ...]:
    try:
        return check_source(open_source(path))[1]
    except QpatError as error:
        return error.diagnostics


def _has_errors(findings: Sequence[Diagnostic]) -> bool:
    return any(finding.severity is Severity.ERROR for finding in findings)


def _compile(options: argparse.Namespace) -> int:
    compiled = compile_file(options.file)
    _print_findings(compiled.warnings)
    if options.output is None:
        _write_module(compiled.text)
        return FINE
    if _is_one_file(options.output, options.file):
        message = "the output is the .qpat file itself"
        raise failure("QP331", message, place=options.output, hint="give another name with -o")
    write_atomically(options.output, compiled.text)
    patterns = compiled.module.patterns
    rows = sum(len(pattern.rows) for pattern in patterns)
    print(f"{options.output}: {len(patterns)} patterns, {rows} rows")
    return FINE


def _is_one_file(first: str, second: str) -> bool:
    return os.path.exists(first) and os.path.exists(second) and os.path.samefile(first, second)


def _write_module(text: str) -> None:
    """Python source is UTF-8, whatever the terminal is."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.buffer.write(text.encode("utf-8"))
    else:
        sys.stdout.write(text)


def _partition(options: argparse.Namespace) -> int:
    compiled = compile_file(options.patterns)
    _print_findings(compiled.warnings)
    say = _progress()
    say("loading TVM")
    from qpat.relay.environment import require_relay

    require_relay()
    from qpat.relay.partition import partition
    from qpat.relay.report import as_text
    from qpat.relay.text import relay_text

    chosen = parse_options(compiled.module, options.option, options.target)
    result = partition(options.model, compiled, progress=say, options=chosen)
    # All texts are made before the first is written: a fault in one leaves no other behind.
    texts: dict[str, str] = {}
    if options.json is not None:
        texts[options.json] = json.dumps(result.to_json(), indent=1) + "\n"
    if options.relay is not None:
        texts[options.relay] = relay_text(result.module)
    if options.regions is not None:
        texts[options.regions] = relay_text(result.regions())
    for path, text in texts.items():
        write_atomically(path, text)
    say("done")
    print(as_text(result))
    for path in texts:
        print(f"wrote {path}")
    return FINE


def _test(options: argparse.Namespace) -> int:
    compiled = [(path, compile_file(path)) for path in options.files]
    for _, each in compiled:
        _print_findings(each.warnings)
    from qpat.relay.environment import require_relay

    require_relay()
    from qpat.relay.testing import run_tests

    failed = 0
    for path, each in compiled:
        chosen = parse_options(each.module, options.option, options.target)
        outcomes = run_tests(each, chosen)
        for outcome in outcomes:
            print(f"{path}: {'FAILED' if outcome.findings else 'ok'}: {outcome.test.name}")
            _print_findings(outcome.findings)
        failed += sum(bool(outcome.findings) for outcome in outcomes)
        print(
            f"{path}: {len(outcomes)} tests, {failed} failed" if outcomes else f"{path}: no tests"
        )
    return FINDINGS if failed else FINE
