"""The TVM that is installed: finding it, and putting what it says into one line."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qpat.diagnostics import QpatError, failure

RELAY_HINT = (
    'pip install "qpat[relay]" on Python 3.10 (Linux, x86-64), '
    "or use your own build of TVM 0.9 to 0.19"
)
TITLES = {"relay": "Relay", "relax": "Relax"}
RELAX_VERSIONS = ("0.26.", "0.27.")
RELAX_HINT = 'pip install "qpat[relax]", which has TVM 0.26 or 0.27'
# What pip is to be asked for. The ONNX frontend of TVM imports onnx.mapping, gone since onnx 1.19.
# TVM is Relax's; of Relay's there is more to say.
REQUIREMENTS = {
    "numpy": "numpy<2",
    "onnx": "onnx>=1.16,<1.19",
    "tflite": "tflite>=2.18,<3",
    "tvm": "apache-tvm>=0.26,<0.28",
}

# TVM numbers its levels: 10 a bug, 20 an error, 30 a warning, 40 a note, 50 help.
_ERROR = 20
_DEPRECATED = (DeprecationWarning, PendingDeprecationWarning, FutureWarning)
_LONGEST = 300
_NOISE = re.compile(
    r"\s*$|Traceback|Stack trace:|-{5,}|\s*\d+: |An error occurred during the execution of TVM"
    r"|For more information, please see"
)
_FRAME = re.compile(r'\s*File ".*", line \d+')
_PREFIX = re.compile(r"^(?:(?:\w*Error|tvm):\s*)+")
_CHECK = re.compile(r"^Check failed: \(.*?\) is false:\s*")

# Relax names an operator with all that is known of it.
_OPERATOR = re.compile(r'ir\.Op\(span=[^"]*name="([\w.]+)".*?support_level=\d+\)')
# The parser shows a word of the text with all that it knows of it.
_TOKEN = re.compile(r"Token\(span=.*?token_type=(\w+), data=.*\)$")


# ---- finding it ----------------------------------------------------------------------------------


def require_relay() -> Any:
    """The module `tvm`, with `tvm.relay` imported.

    Raises QP301 where there is no TVM or one that cannot be imported, QP302 where it has no Relay
    (0.20 and later), and QP303 where a package that it needs is missing.
    """
    tvm = _tvm()
    _import("tvm.relay", tvm.__version__)
    return tvm


def require_tvm() -> Any:
    """The module `tvm`, with the IR that models are imported as: `tvm.relay`, or `tvm.relax` where
    there is no Relay.

    Raises QP301 where there is no TVM, one that cannot be imported, or one of a version whose Relax
    is not supported, and QP303 where a package that it needs is missing.
    """
    if installed_ir() == "relay":
        return require_relay()
    tvm = _tvm()
    if not tvm.__version__.startswith(RELAX_VERSIONS):
        message = f"TVM {tvm.__version__} has Relax and no Relay, and its Relax is not supported"
        raise failure("QP301", message, hint=RELAX_HINT)
    _import("tvm.relax", tvm.__version__)
    return tvm


def installed_ir() -> str:
    """`relax` where the TVM that is installed has no Relay, else `relay`. TVM is not imported."""
    spec = importlib.util.find_spec("tvm")
    folders = [] if spec is None else list(spec.submodule_search_locations or ())
    has_relax, has_relay = (
        any((Path(folder) / ir).is_dir() for folder in folders) for ir in ("relax", "relay")
    )
    return "relax" if has_relax and not has_relay else "relay"


def matching() -> Any:
    """The functions that match patterns on the IR that is installed."""
    if installed_ir() == "relax":
        from qpat.relax import matching as relax_matching

        return relax_matching
    from qpat.relay import matching as relay_matching

    return relay_matching


def require_ir(ir: str, option: str) -> None:
    """Raises QP304 where `option` is of the IR that is not the one installed."""
    found = installed_ir()
    if found != ir:
        message = f"{option} is for TVM with {TITLES[ir]}; this one has {TITLES[found]}"
        raise failure("QP304", message, hint=f"give --{found} instead")


def _tvm() -> Any:
    tvm = _import("tvm")
    if getattr(tvm, "__version__", None) is None:
        places = ", ".join(getattr(tvm, "__path__", ["?"]))
        message = f"what Python finds as `tvm` is not TVM but {places}"
        raise failure("QP301", message, hint=f"rename that, or: {RELAY_HINT}")
    return tvm


def relay_parser() -> Any:
    """The module whose `parse` and `parse_expr` read Relay text; it moved in TVM 0.13."""
    relay = require_relay().relay
    return relay if hasattr(relay, "parse_expr") else importlib.import_module("tvm.parser")


def require_package(name: str, purpose: str) -> Any:
    """The module of a package that `purpose` needs, such as "reading a TFLite model".

    Raises QP303 where it is missing or cannot be imported.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise unfit_package(name, purpose, error) from None


def unfit_package(name: str, purpose: str, error: ImportError) -> QpatError:
    """The error for a package that `purpose` needs and that is missing or of a wrong version."""
    if _is_absence(error, name):
        message = f"{purpose} needs the Python package {name}, which is not installed"
    else:
        message = f"{purpose} does not work with {_installed(name)}: {meaning(error)}"
    return failure("QP303", message, hint=f'pip install "{REQUIREMENTS.get(name, name)}"')


def _is_absence(error: BaseException | None, name: str) -> bool:
    """Whether an error is, or came of, there being no module of that name."""
    if error is None:
        return False
    absent = isinstance(error, ModuleNotFoundError) and error.name == name
    return absent or _is_absence(error.__context__, name)


def _installed(name: str) -> str:
    try:
        return f"{name} {importlib.metadata.version(name)}"
    except importlib.metadata.PackageNotFoundError:
        return name


def _import(name: str, version: str = "") -> Any:
    """`tvm` or, where that is of this version, a module of it."""
    try:
        # Results go to stdout; what a TVM prints when it is imported is none.
        with redirect_stdout(sys.stderr):
            return importlib.import_module(name)
    except ImportError as error:
        raise _import_failure(name, version, error) from None
    # A half-built TVM, or one built for another NumPy, fails in any way there is.
    except Exception as error:
        raise _broken(error) from None


def _import_failure(name: str, version: str, error: ImportError) -> QpatError:
    absent = error.name if isinstance(error, ModuleNotFoundError) else None
    if absent == "tvm":
        return failure("QP301", "this needs TVM, which is not installed", hint=RELAY_HINT)
    if absent == "tvm.relay":
        message = f"TVM {version} has no Relay: it was removed in TVM 0.20"
        relax = "`qpat partition` works on Relax too"
        return failure("QP302", message, hint=f"{relax}; for Relay: {RELAY_HINT}")
    package = _missing_in(error)
    return _broken(error) if package is None else unfit_package(package, "TVM", error)


def _missing_in(error: ImportError) -> str | None:
    """The package whose absence made an import of TVM fail."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        root = error.name.partition(".")[0]
        return None if root == "tvm" else root
    named = re.match(r"The (\w+) package must be installed", str(error))
    return named.group(1) if named else None


def _broken(error: Exception) -> QpatError:
    hint = RELAY_HINT
    if isinstance(error, OSError) and error.filename == ".pkl_memoize_py3":
        hint = "TVM makes a folder where it is imported: run where you can write"
    return failure("QP301", f"TVM cannot be imported: {meaning(error)}", hint=hint)


# ---- listening to it -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Complaint:
    """One diagnostic of TVM. Line and column count from 1; they are None where it gave none."""

    message: str
    line: int | None = None
    column: int | None = None


@dataclass(frozen=True)
class Heard:
    """The errors among TVM's last diagnostics, and the warnings that Python code gave, in a line
    each. Warnings are known when listening is over."""

    errors: list[Complaint] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@contextmanager
def listening() -> Iterator[Heard]:
    """While this lasts TVM renders no diagnostics (they are in the result) and keeps off stdout.

    Warnings are in the result, too, but not those that something is deprecated: they are about
    TVM's calls into NumPy, onnx and itself, which nobody who uses it can mend.
    """
    tvm = require_tvm()
    heard = Heard()
    rendering = _kept_from_rendering(tvm, heard) if installed_ir() == "relay" else nullcontext()
    with rendering, redirect_stdout(sys.stderr), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for category in _DEPRECATED:
            warnings.simplefilter("ignore", category)
        try:
            yield heard
        finally:
            heard.warnings.extend(_one_line(str(warning.message)) for warning in caught)


@contextmanager
def _kept_from_rendering(tvm: Any, heard: Heard) -> Iterator[None]:
    """While this lasts diagnostics go to what is heard. (A TVM with Relax alone has none.)"""
    diagnostics = tvm.ir.diagnostics
    before = tvm.get_global_func("diagnostics.OverrideRenderer", allow_missing=True)
    # It is called for every context, also where nothing is wrong.
    diagnostics.override_renderer(lambda context: _hear(context, heard))
    try:
        yield
    finally:
        diagnostics.override_renderer(None)
        if before is not None:
            tvm.register_func("diagnostics.OverrideRenderer", before, override=True)


def _hear(context: Any, heard: Heard) -> None:
    errors = [found for found in context.diagnostics if int(found.level) <= _ERROR]
    if errors:
        # Those before were of something that TVM tried and got over.
        heard.errors[:] = [_complaint(found) for found in errors]


def _complaint(diagnostic: Any) -> Complaint:
    span = diagnostic.span
    place = (None, None) if span is None else (int(span.line), int(span.column))
    return Complaint(_TOKEN.sub(r"\1", _one_line(str(diagnostic.message))), *place)


def reason(error: BaseException, heard: Heard) -> str:
    """Why something failed, in one line: the diagnostic that an error points to, or its meaning."""
    points = type(error).__name__ == "DiagnosticError" and heard.errors
    return heard.errors[0].message if points else meaning(error)


def meaning(error: BaseException) -> str:
    """What an error says, in one line without a backtrace. TVM puts its C++ one into the text."""
    lines = str(error).splitlines()
    frames = [index for index, line in enumerate(lines) if _FRAME.match(line)]
    said = lines[frames[-1] + 1 :] if frames else lines
    told = " ".join(line for line in said if not _NOISE.match(line))
    text = _one_line(_OPERATOR.sub(r"\1", told))
    text = _CHECK.sub("", _PREFIX.sub("", text))
    return text or type(error).__name__


def _one_line(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
