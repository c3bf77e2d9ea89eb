"""The command `qpat check`: looks for faults in files, and mends what can be mended."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from qpat.compiler import check_targets, open_source
from qpat.diagnostics import Diagnostic, QpatError, Severity
from qpat.source import Source
from qpat.terminal import print_findings, print_summary


def check_files(paths: Sequence[str], form: str, colour: str, fix: bool) -> bool:
    """Checks files and prints what is found, in one of formats.FORMATS; `fix`: mends them first.

    True where no error is left. What has to be said of a file that cannot be read is a finding too.
    """
    everything: list[Diagnostic] = []
    for path in paths:
        found = _findings(path, fix)
        everything += found
        if form == "text":
            print_findings(found, colour)
        if form == "text" and not _has_errors(found):
            print(f"{path}: fine")
    if form == "text":
        print_summary(everything)
    elif form != "github" or everything:
        from qpat.formats import formatted

        print(formatted(everything, form))
    return not _has_errors(everything)


def _findings(path: str, fix: bool) -> Sequence[Diagnostic]:
    try:
        source = open_source(path)
        return _mend(source) if fix else _check(source)
    except QpatError as error:
        return error.diagnostics


def _check(source: Source) -> Sequence[Diagnostic]:
    return check_targets(source)


def _mend(source: Source) -> Sequence[Diagnostic]:
    from qpat.fixing import mended, write_mended

    result = mended(source, _check)
    if result.fixes:
        write_mended(source.name, result)
        count = len(result.fixes)
        print(f"{source.name}: {count} fix{'es' if count > 1 else ''} made", file=sys.stderr)
    return result.left


def _has_errors(findings: Sequence[Diagnostic]) -> bool:
    return any(finding.severity is Severity.ERROR for finding in findings)
