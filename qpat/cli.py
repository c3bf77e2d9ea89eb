"""The command line. Results go to stdout, findings and progress to stderr.

Exit status: 0 fine, 1 findings in what was given, 2 the command was used wrongly.
"""

from __future__ import annotations

import argparse
import gc
import io
import os
import sys
from collections.abc import Callable, Sequence

from qpat.diagnostics import QpatError
from qpat.formats import FORMATS
from qpat.terminal import COLOURS, forget_stdout, make_printable, print_findings, print_summary

FINE, FINDINGS, WRONG_USE = 0, 1, 2  # argparse says wrong use of options


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit status. Wrong use exits through argparse with 2."""
    make_printable()
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        status = command(options)
        sys.stdout.flush()
        return status
    except QpatError as error:
        print_findings(error.diagnostics, options.color)
        print_summary(error.diagnostics)
        return FINDINGS
    except BrokenPipeError:
        # Whoever read our output has had enough (`qpat … | head`).
        forget_stdout()
        return FINE
    except OSError as error:
        forget_stdout()
        print(f"qpat: cannot write the output: {error.strerror}", file=sys.stderr)
        return FINDINGS
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def run() -> int:
    """`main`, and nothing after it: what the command `qpat` is."""
    status = main()
    gc.freeze()  # or the interpreter looks for garbage before it ends, and takes 15 ms for it
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="qpat", description="Quantized operator patterns for TVM Relay.", allow_abbrev=False
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    colour = argparse.ArgumentParser(add_help=False)
    colour.add_argument(
        "--color", choices=COLOURS, default="auto", help="colour what is said (default: auto)"
    )

    check = commands.add_parser(
        "check", parents=[colour], help="look for faults in .qpat files; needs no TVM"
    )
    check.add_argument("files", nargs="+", metavar="FILE")
    check.add_argument(
        "--format", choices=FORMATS, default="text", help="how to print findings (default: text)"
    )
    check.add_argument("--fix", action="store_true", help="mend what can be mended, in the files")
    check.set_defaults(command=_check)

    explain = commands.add_parser(
        "explain", parents=[colour], help="say more about a finding, or list all that there are"
    )
    explain.add_argument("code", nargs="?", metavar="CODE", help="such as QP101")
    explain.set_defaults(command=_explain)

    compile_ = commands.add_parser(
        "compile", parents=[colour], help="write the Python module of a .qpat file"
    )
    compile_.add_argument("file", metavar="FILE")
    compile_.add_argument("-o", "--output", metavar="OUT", help="where to (default: stdout)")
    compile_.set_defaults(command=_compile)

    partition = commands.add_parser(
        "partition", parents=[colour], help="apply patterns to a model and show what they find"
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

    canonicalize = commands.add_parser(
        "canonicalize",
        parents=[colour],
        help="rewrite what patterns match as dequantize, real operator, quantize",
    )
    canonicalize.add_argument("model", metavar="MODEL", help=".tflite, .onnx or Relay text")
    canonicalize.add_argument(
        "--patterns", required=True, metavar="FILE", help="a .qpat file, or a name of the library"
    )
    canonicalize.add_argument("--relay", metavar="OUT", help="write the module there")
    _add_options(canonicalize)
    canonicalize.set_defaults(command=_canonicalize)

    params = commands.add_parser(
        "params", parents=[colour], help="show scale and zero point of every tensor of a model"
    )
    params.add_argument("model", metavar="MODEL", help=".tflite, .onnx or Relay text (.relay)")
    params.add_argument("--json", metavar="OUT", help="write the parameters there")
    params.set_defaults(command=_params)

    test = commands.add_parser(
        "test", parents=[colour], help="run the tests that stand in .qpat files"
    )
    test.add_argument("files", nargs="+", metavar="FILE")
    _add_options(test)
    test.set_defaults(command=_test)

    verify = commands.add_parser(
        "verify", parents=[colour], help="hold the meanings of patterns against what TVM computes"
    )
    verify.add_argument("file", metavar="FILE", help="a .qpat file, or a name of the library")
    verify.add_argument(
        "--pattern", action="append", default=[], metavar="NAME", help="this one (several times)"
    )
    verify.add_argument(
        "--samples", type=_positive, default=8, metavar="N", help="graphs for each form (8)"
    )
    verify.add_argument(
        "--inputs", type=_positive, default=64, metavar="N", help="inputs for each graph (64)"
    )
    verify.add_argument("--seed", type=int, default=0, metavar="S", help="another draw (0)")
    verify.add_argument(
        "--details", action="store_true", help="also say what was left out, and why a bound is"
    )
    verify.add_argument("--json", metavar="OUT", help="write the verdicts there")
    _add_options(verify)
    verify.set_defaults(command=_verify)
    return parser


def _positive(text: str) -> int:
    """A number of at least 1, for argparse."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


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


class _Version(argparse.Action):
    """Looks the version up only where it is asked for: that takes as long as a check."""

    def __call__(self, *_: object) -> None:
        from importlib.metadata import PackageNotFoundError, version

        try:
            print(f"qpat {version('qpat')}")
        except PackageNotFoundError:
            print("qpat (not installed)")
        sys.exit(FINE)


def _progress() -> Callable[[str], None]:
    """Says what is being done and how long the last step took, on stderr."""
    import time

    start = time.monotonic()

    def say(step: str) -> None:
        print(f"[{time.monotonic() - start:5.1f} s] {step}", file=sys.stderr, flush=True)

    return say


# ---- commands ---------------------------------------------------------------------------


def _check(options: argparse.Namespace) -> int:
    # Nothing of a check is garbage before its end, and looking for some takes a quarter of it.
    gc.disable()
    try:
        from qpat.check import check_files

        fine = check_files(options.files, options.format, options.color, options.fix)
    finally:
        gc.enable()
    return FINE if fine else FINDINGS


def _explain(options: argparse.Namespace) -> int:
    from qpat.explain import explain

    try:
        explain(options.code, options.color)
    except QpatError as error:
        print_findings(error.diagnostics, options.color)
        return WRONG_USE
    return FINE


def _compile(options: argparse.Namespace) -> int:
    from qpat.compiler import compile_file
    from qpat.diagnostics import failure
    from qpat.files import write_atomically

    compiled = compile_file(options.file)
    print_findings(compiled.warnings, options.color)
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
    import json

    from qpat.compiler import compile_file
    from qpat.files import write_atomically
    from qpat.options import parse_options

    compiled = compile_file(options.patterns)
    print_findings(compiled.warnings, options.color)
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
    print_findings(result.quantization.findings(options.model), options.color)
    print(as_text(result))
    for path in texts:
        print(f"wrote {path}")
    return FINE


def _canonicalize(options: argparse.Namespace) -> int:
    from qpat.compiler import compile_file
    from qpat.files import write_atomically
    from qpat.options import parse_options

    compiled = compile_file(options.patterns)
    print_findings(compiled.warnings, options.color)
    say = _progress()
    say("loading TVM")
    from qpat.relay.environment import require_relay

    require_relay()
    from qpat.relay.canonical import canonicalize, summary
    from qpat.relay.partition import partition
    from qpat.relay.text import relay_text

    chosen = parse_options(compiled.module, options.option, options.target)
    found = partition(options.model, compiled, progress=say, options=chosen)
    say("rewriting")
    result = canonicalize(found)
    if options.relay is not None:
        write_atomically(options.relay, relay_text(result.module))
    say("done")
    print_findings(found.quantization.findings(options.model), options.color)
    print(summary(result))
    if options.relay is not None:
        print(f"wrote {options.relay}")
    return FINE


def _params(options: argparse.Namespace) -> int:
    import json

    from qpat.files import write_atomically

    say = _progress()
    say("loading TVM")
    from qpat.relay.environment import require_relay

    require_relay()
    from qpat.relay.quantization import quantization
    from qpat.relay.report import tensors_as_text

    result = quantization(options.model, progress=say)
    if options.json is not None:
        text = json.dumps(result.to_json(), indent=1, allow_nan=False) + "\n"
        write_atomically(options.json, text)
    say("done")
    findings = result.findings(options.model)
    print_findings(findings, options.color)
    print(tensors_as_text(result))
    if options.json is not None:
        print(f"wrote {options.json}")
    sys.stdout.flush()
    print_summary(findings)
    return FINE


def _test(options: argparse.Namespace) -> int:
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


def _verify(options: argparse.Namespace) -> int:
    import json

    from qpat.compiler import compile_file
    from qpat.files import write_atomically
    from qpat.options import parse_options

    compiled = compile_file(options.file)
    print_findings(compiled.warnings, options.color)
    known = [pattern.name for pattern in compiled.module.patterns]
    for name in options.pattern:
        _require_pattern(name, known, options.file)
    from qpat.relay.environment import require_relay

    require_relay()
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


def _require_pattern(name: str, known: list[str], file: str) -> None:
    """Raises QP337 where the file has no such pattern."""
    from qpat.diagnostics import did_you_mean, failure

    if name not in known:
        hint = did_you_mean(name, known) or f"patterns are {', '.join(known)}"
        raise failure("QP337", f"no pattern is called `{name}`", place=file, hint=hint)
