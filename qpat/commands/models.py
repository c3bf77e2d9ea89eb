"""Commands on models: partition, why, coverage, canonicalize, params."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from qpat.commands.outputs import require_apart
from qpat.terminal import FINE, print_findings, print_summary, progress, wants_colour

if TYPE_CHECKING:
    from qpat.compiler import Compiled
    from qpat.relay.partition import Partition


def _partitioned(options: argparse.Namespace, say: Callable[[str], None]) -> Partition:
    """What every command begins with that applies patterns to a model."""
    compiled, chosen = _prepared(options, say)
    from qpat.relay.partition import partition

    return partition(options.model, compiled, progress=say, options=chosen)


def told_patterns(path: str, say: Callable[[str], None]) -> Compiled:
    """The patterns of a command line, for the IR of the TVM that is installed. Of what that cannot
    say there is a line in all: a file of one IR would have pages of it."""
    from qpat.compiler import compile_file
    from qpat.records import replace
    from qpat.relay.environment import installed_ir

    compiled = compile_file(path, installed_ir())
    unsaid = [each for each in compiled.warnings if each.code in ("QP092", "QP093")]
    if unsaid:
        count = f"{len(unsaid)} pattern{'s' if len(unsaid) > 1 else ''} or rows"
        show = f"qpat compile {path} --target {compiled.target}"
        say(f"left out, as {compiled.target} cannot say them: {count} ({show})")
    warnings = tuple(each for each in compiled.warnings if each not in unsaid)
    return replace(compiled, warnings=warnings)


def _prepared(
    options: argparse.Namespace, say: Callable[[str], None]
) -> tuple[Compiled, dict[str, Any]]:
    """The patterns of a command line, and what they are told; from here on there is a TVM."""
    from qpat.options import parse_options
    from qpat.relay.environment import require_tvm

    compiled = told_patterns(options.patterns, say)
    require_apart(options, compiled)
    print_findings(compiled.warnings, options.color)
    say("loading TVM")
    require_tvm()
    return compiled, parse_options(compiled.module, options.option, options.target)


def partition(options: argparse.Namespace) -> int:
    import json

    from qpat.files import write_atomically
    from qpat.relay.environment import require_ir

    say = progress()
    for ir in ("relay", "relax"):
        if getattr(options, ir) is not None:
            require_ir(ir, f"--{ir}")
    result = _partitioned(options, say)
    from qpat.relay.environment import matching
    from qpat.relay.report import as_text

    text_of = matching().text
    # All texts are made before the first is written: a fault in one leaves no other behind.
    texts: dict[str, str] = {}
    if options.json is not None:
        texts[options.json] = json.dumps(result.to_json(), indent=1) + "\n"
    for path in (options.relay, options.relax):
        if path is not None:
            texts[path] = text_of(result.module)
    if options.regions is not None:
        texts[options.regions] = text_of(result.regions())
    for path, text in texts.items():
        write_atomically(path, text)
    say("done")
    print_findings(result.findings(options.model), options.color)
    print(as_text(result))
    for path in texts:
        print(f"wrote {path}")
    return FINE


def why(options: argparse.Namespace) -> int:
    import json

    from qpat.files import write_atomically

    say = progress()
    result = _partitioned(options, say)
    from qpat.relay.why.report import as_json, findings
    from qpat.relay.why.search import why

    found = why(result, options.pattern, options.at)
    say("done")
    if options.json is not None:
        write_atomically(options.json, json.dumps(as_json(found), indent=1) + "\n")
    said = findings(found, options.model)
    if said:
        from qpat.rendering import joined

        print(joined(said, wants_colour(options.color, sys.stdout)))
    else:
        print("nothing stays on the host")
    if options.json is not None:
        print(f"wrote {options.json}")
    return FINE


def coverage(options: argparse.Namespace) -> int:
    import json

    from qpat.files import write_atomically

    say = progress()
    compiled, chosen = _prepared(options, say)
    from qpat.relay.coverage.corpus import coverage
    from qpat.relay.coverage.page import as_html
    from qpat.relay.coverage.report import as_json, as_text

    result = coverage(options.models, compiled, progress=say, options=chosen)
    texts: dict[str, str] = {}
    if options.json is not None:
        texts[options.json] = json.dumps(as_json(result), indent=1) + "\n"
    if options.html is not None:
        texts[options.html] = as_html(result)
    for path, text in texts.items():
        write_atomically(path, text)
    say("done")
    print(as_text(result, wants_colour(options.color, sys.stdout)))
    for path in texts:
        print(f"wrote {path}")
    return FINE


def canonicalize(options: argparse.Namespace) -> int:
    from qpat.files import write_atomically
    from qpat.relay.environment import require_relay

    require_relay()
    say = progress()
    found = _partitioned(options, say)
    from qpat.relay.canonical import canonicalize, summary
    from qpat.relay.text import relay_text

    say("rewriting")
    result = canonicalize(found)
    if options.relay is not None:
        write_atomically(options.relay, relay_text(result.module))
    say("done")
    print_findings(found.findings(options.model), options.color)
    print(summary(result))
    if options.relay is not None:
        print(f"wrote {options.relay}")
    return FINE


def params(options: argparse.Namespace) -> int:
    import json

    from qpat.files import write_atomically

    require_apart(options)
    say = progress()
    say("loading TVM")
    from qpat.relay.environment import require_tvm

    require_tvm()
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
