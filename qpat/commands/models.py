"""Commands on models: partition, why, coverage, canonicalize, params."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from qpat.terminal import FINE, print_findings, print_summary, progress, wants_colour

if TYPE_CHECKING:
    from qpat.compiler import Compiled
    from qpat.relay.partition import Partition


def _partitioned(options: argparse.Namespace, say: Callable[[str], None]) -> Partition:
    """What every command begins with that applies patterns to a model."""
    compiled, chosen = _prepared(options, say)
    from qpat.relay.partition import partition

    return partition(options.model, compiled, progress=say, options=chosen)


def _prepared(
    options: argparse.Namespace, say: Callable[[str], None]
) -> tuple[Compiled, dict[str, Any]]:
    """The patterns of a command line, and what they are told; from here on there is a TVM."""
    from qpat.compiler import compile_file
    from qpat.options import parse_options

    compiled = compile_file(options.patterns)
    print_findings(compiled.warnings, options.color)
    say("loading TVM")
    from qpat.relay.environment import require_relay

    require_relay()
    return compiled, parse_options(compiled.module, options.option, options.target)


def partition(options: argparse.Namespace) -> int:
    import json

    from qpat.files import write_atomically

    say = progress()
    result = _partitioned(options, say)
    from qpat.relay.report import as_text
    from qpat.relay.text import relay_text

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

    say = progress()
    found = _partitioned(options, say)
    from qpat.relay.canonical import canonicalize, summary
    from qpat.relay.text import relay_text

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


def params(options: argparse.Namespace) -> int:
    import json

    from qpat.files import write_atomically

    say = progress()
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
