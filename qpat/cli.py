"""The command line. Results go to stdout, findings and progress to stderr.

Exit status: 0 fine, 1 findings in what was given, 2 the command was used wrongly.
"""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Callable, Sequence

from qpat.commands import files, models
from qpat.diagnostics import QpatError
from qpat.formats import FORMATS
from qpat.terminal import (
    COLOURS,
    FINDINGS,
    FINE,
    forget_stdout,
    make_printable,
    print_findings,
    print_summary,
)


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
        prog="qpat",
        description="Quantized operator patterns for TVM Relay and Relax.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    colour = argparse.ArgumentParser(add_help=False)
    colour.add_argument(
        "--color", choices=COLOURS, default="auto", help="colour what is said (default: auto)"
    )

    chosen = _chosen_options()
    model = argparse.ArgumentParser(add_help=False)
    model.add_argument("model", metavar="MODEL", help=".tflite, .onnx or Relay text (.relay)")
    patterns = argparse.ArgumentParser(add_help=False)
    patterns.add_argument(
        "--patterns",
        required=True,
        metavar="FILE",
        help="a .qpat file, or a name of the library, such as tflite",
    )
    applied = [colour, model, patterns, chosen]  # patterns to a model
    applied_to_many = [colour, patterns, chosen]

    check = commands.add_parser(
        "check", parents=[colour], help="look for faults in .qpat files; needs no TVM"
    )
    check.add_argument("files", nargs="+", metavar="FILE")
    check.add_argument(
        "--format", choices=FORMATS, default="text", help="how to print findings (default: text)"
    )
    check.add_argument("--fix", action="store_true", help="mend what can be mended, in the files")
    check.set_defaults(command=files.check)

    explain = commands.add_parser(
        "explain", parents=[colour], help="say more about a finding, or list all that there are"
    )
    explain.add_argument("code", nargs="?", metavar="CODE", help="such as QP101")
    explain.set_defaults(command=files.explain)

    compile_ = commands.add_parser(
        "compile", parents=[colour], help="write the Python module of a .qpat file"
    )
    compile_.add_argument("file", metavar="FILE")
    compile_.add_argument("-o", "--output", metavar="OUT", help="where to (default: stdout)")
    compile_.add_argument(
        "--target",
        choices=("relay", "relax"),
        default="relay",
        help="the IR that the module is for (default: relay)",
    )
    compile_.add_argument(
        "--unsaid",
        choices=("error", "warning", "ignore"),
        default="warning",
        help="the level of findings about what the target cannot say (default: warning)",
    )
    compile_.set_defaults(command=files.compile_)

    partition = commands.add_parser(
        "partition", parents=applied, help="apply patterns to a model and show what they find"
    )
    partition.add_argument("--json", metavar="OUT", help="write matches and host operators there")
    partition.add_argument("--relay", metavar="OUT", help="write the module with composites there")
    partition.add_argument("--relax", metavar="OUT", help="likewise, where TVM has Relax")
    partition.add_argument(
        "--regions", metavar="OUT", help="write the module with its regions as functions there"
    )
    partition.set_defaults(command=models.partition)

    why = commands.add_parser(
        "why", parents=applied, help="say why operators of a model stay on the host"
    )
    why.add_argument("--pattern", metavar="NAME", help="look at this pattern only")
    why.add_argument("--at", metavar="OP", help="an operator, or the name of its result")
    why.add_argument("--json", metavar="OUT", help="write every operator and reason there")
    why.set_defaults(command=models.why)

    coverage = commands.add_parser(
        "coverage",
        parents=applied_to_many,
        help="count what patterns take of models, and what refuses the rest",
    )
    coverage.add_argument(
        "models", nargs="+", metavar="MODEL", help=".tflite, .onnx or Relay text (.relay)"
    )
    coverage.add_argument("--json", metavar="OUT", help="write the counts there")
    coverage.add_argument("--html", metavar="OUT", help="write a page that draws the models there")
    coverage.set_defaults(command=models.coverage)

    canonicalize = commands.add_parser(
        "canonicalize",
        parents=applied,
        help="rewrite what patterns match as dequantize, real operator, quantize",
    )
    canonicalize.add_argument("--relay", metavar="OUT", help="write the module there")
    canonicalize.set_defaults(command=models.canonicalize)

    params = commands.add_parser(
        "params",
        parents=[colour, model],
        help="show scale and zero point of every tensor of a model",
    )
    params.add_argument("--json", metavar="OUT", help="write the parameters there")
    params.set_defaults(command=models.params)

    test = commands.add_parser(
        "test", parents=[colour, chosen], help="run the tests that stand in .qpat files"
    )
    test.add_argument("files", nargs="+", metavar="FILE")
    test.set_defaults(command=files.test)

    verify = commands.add_parser(
        "verify",
        parents=[colour, chosen],
        help="hold the meanings of patterns against what TVM computes",
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
    verify.add_argument("--seed", type=_natural, default=0, metavar="S", help="another draw (0)")
    verify.add_argument(
        "--details", action="store_true", help="also say what was left out, and why a bound is"
    )
    verify.add_argument("--json", metavar="OUT", help="write the verdicts there")
    verify.set_defaults(command=files.verify)
    return parser


def _positive(text: str) -> int:
    """A number of at least 1, for argparse."""
    return _at_least(1, text)


def _natural(text: str) -> int:
    """A number of at least 0, for argparse."""
    return _at_least(0, text)


def _at_least(least: int, text: str) -> int:
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"must be a number of at least {least}, not {text}")
    return int(text)


def _chosen_options() -> argparse.ArgumentParser:
    """What a pattern table can be told."""
    chosen = argparse.ArgumentParser(add_help=False)
    chosen.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an option of the pattern file (can be given several times)",
    )
    chosen.add_argument("--target", metavar="TARGET", help="a TVM target: facts for the patterns")
    return chosen


class _Version(argparse.Action):
    """Looks the version up only where it is asked for: that takes as long as a check."""

    def __call__(self, *_: object) -> None:
        from importlib.metadata import PackageNotFoundError, version

        try:
            print(f"qpat {version('qpat')}")
        except PackageNotFoundError:
            print("qpat (not installed)")
        sys.exit(FINE)
