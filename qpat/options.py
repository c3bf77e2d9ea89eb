"""What words of a command line say of a pattern file: options, and names of patterns."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from qpat.diagnostics import did_you_mean, failure
from qpat.semantics import ir
from qpat.semantics.ir import Kind

_WORDS = {Kind.BOOL: "true or false", Kind.INT: "a whole number", Kind.FLOAT: "a number"}


def parse_options(
    module: ir.Module, words: Iterable[str], target: str | None = None
) -> dict[str, Any]:
    """The options that `name=value` words give, by what the file declares, and the target.

    Raises QP336 where a name is unknown or a value does not fit.
    """
    options = {option.name: option for option in module.options}
    given: dict[str, Any] = {} if target is None else {"target": target}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            raise failure("QP336", f"`{word}` is no option", hint="write `--option name=value`")
        if name not in options:
            known = f"it has {', '.join(options)}" if options else "it has none"
            hint = did_you_mean(name, options) or known
            raise failure("QP336", f"the pattern file has no option `{name}`", hint=hint)
        given[name] = _value(name, options[name].kind, text)
    return given


def require_pattern(module: ir.Module, name: str, file: str | None = None) -> None:
    """Raises QP337 where the file has no such pattern."""
    known = [pattern.name for pattern in module.patterns]
    if name in (each for each, _ in module.elsewhere):
        message = f"`{name}` cannot be said on the IR that is installed"
        raise failure("QP337", message, place=file, hint="qpat compile --target says why")
    if name not in known:
        hint = did_you_mean(name, known) or f"patterns are {', '.join(known)}"
        raise failure("QP337", f"no pattern is called `{name}`", place=file, hint=hint)


def _value(name: str, kind: Kind, text: str) -> Any:
    if kind is Kind.TEXT:
        return text
    if kind is Kind.INTS and not text.startswith("["):
        text = f"[{text}]"
    try:
        value = json.loads(text)
    except ValueError:
        if kind is Kind.ANY:
            return text
        value = None
    fits = {
        Kind.BOOL: isinstance(value, bool),
        Kind.INT: isinstance(value, int) and not isinstance(value, bool),
        Kind.FLOAT: isinstance(value, int | float) and not isinstance(value, bool),
        Kind.INTS: isinstance(value, list) and all(type(each) is int for each in value),
        Kind.NONE: value is None,
    }
    if not fits.get(kind, True):
        wanted = _WORDS.get(kind, "a list of whole numbers")
        raise failure("QP336", f"option `{name}` is {wanted}, not `{text}`")
    return value
