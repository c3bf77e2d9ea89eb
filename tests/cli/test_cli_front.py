"""`qpat check` and `qpat compile` as a user runs them: status, streams and files."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GOOD = """compiler "npu"

/// Nothing below zero.
pattern relu(x: int8) -> y: int8 {
  y = nn.relu(x)
}
"""
BAD = GOOD.replace("nn.relu", "nn.rleu")
WARNED = GOOD.replace("  y = nn.relu(x)\n", "  y = nn.relu(x)\n  let k = 1\n")

Run = subprocess.CompletedProcess[str]
Qpat = Callable[..., Run]


@pytest.fixture
def qpat(tmp_path: Path) -> Qpat:
    """Runs `qpat` in an empty folder and looks at what holds for every run."""

    def run(*arguments: str | Path, **variables: str) -> Run:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1", **variables}
        done = subprocess.run(
            [sys.executable, "-m", "qpat", *map(str, arguments)],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="surrogateescape",
        )
        assert "Traceback" not in done.stderr, done.stderr
        assert done.returncode in (0, 1, 2)
        assert done.returncode == 0 or done.stderr
        return done

    return run


@pytest.fixture
def good(tmp_path: Path) -> Path:
    (tmp_path / "good.qpat").write_text(GOOD)
    return Path("good.qpat")


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    (tmp_path / "bad.qpat").write_text(BAD)
    return Path("bad.qpat")


def files_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


# ---- the command itself ----------------------------------------------------------------


def test_version_is_one_line_on_stdout(qpat: Qpat) -> None:
    done = qpat("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("qpat ") and done.stdout.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["chekc"],
        ["check"],
        ["compile"],
        ["compile", "a.qpat", "b.qpat"],
        ["compile", "a.qpat", "-o"],
        ["check", "--no-such-option", "a.qpat"],
        ["verify", "a.qpat", "--seed", "-5"],
    ],
    ids=" ".join,
)
def test_wrong_use_is_status_2_with_the_usage(qpat: Qpat, arguments: list[str]) -> None:
    done = qpat(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: qpat")


@pytest.mark.parametrize("arguments", [["--help"], ["check", "--help"], ["explain", "--help"]])
def test_help_is_on_stdout(qpat: Qpat, arguments: list[str]) -> None:
    done = qpat(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: qpat")


# ---- check ------------------------------------------------------------------------------


def test_check_of_a_good_file(qpat: Qpat, good: Path) -> None:
    done = qpat("check", good)
    assert (done.returncode, done.stdout, done.stderr) == (0, "good.qpat: fine\n", "")


def test_check_of_the_library(qpat: Qpat) -> None:
    library = sorted((ROOT / "patterns").rglob("*.qpat"))
    assert library
    done = qpat("check", *library)
    assert (done.returncode, done.stderr) == (0, "")


def test_check_of_a_bad_file(qpat: Qpat, bad: Path) -> None:
    done = qpat("check", bad)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        "bad.qpat:5:7: error[QP101]: `nn.rleu` is no Relay operator",
        "   |",
        " 5 |   y = nn.rleu(x)",
        "   |       ^^^^^^^",
        "   = hint: did you mean `nn.relu` or `nn.prelu`?",
        "",
        "for more about an error: qpat explain QP101",
    ]


def test_check_goes_on_behind_a_bad_file(qpat: Qpat, good: Path, bad: Path) -> None:
    done = qpat("check", "missing.qpat", bad, ".", good)
    assert (done.returncode, done.stdout) == (1, "good.qpat: fine\n")
    for start in ("missing.qpat: error[QP004]", "bad.qpat:5:7: error[QP101]", ".: error[QP004]"):
        assert any(line.startswith(start) for line in done.stderr.splitlines()), start


def test_findings_of_all_files_are_counted_once_at_the_end(qpat: Qpat, bad: Path) -> None:
    done = qpat("check", bad, "missing.qpat")
    last = ["", "2 errors", "for more about an error: qpat explain QP101"]
    assert done.stderr.splitlines()[-3:] == last
    assert done.stderr.count("for more about") == done.stderr.count("2 errors") == 1


def test_errors_and_warnings_are_counted_apart(qpat: Qpat, tmp_path: Path) -> None:
    (tmp_path / "both.qpat").write_text(WARNED + BAD.partition("\n")[2].replace("relu(", "more("))
    done = qpat("check", "both.qpat")
    last = ["", "1 error, 1 warning", "for more about an error: qpat explain QP101"]
    assert done.stderr.splitlines()[-3:] == last


def test_warning_is_shown_and_is_fine(qpat: Qpat, tmp_path: Path) -> None:
    (tmp_path / "warned.qpat").write_text(WARNED)
    done = qpat("check", "warned.qpat")
    assert (done.returncode, done.stdout) == (0, "warned.qpat: fine\n")
    assert done.stderr.startswith("warned.qpat:6:7: warning[QP153]: ")
    assert done.stderr.endswith("\n\nfor more about a warning: qpat explain QP153\n")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("missing.qpat", None, "no such file"),
        (".", None, "this is a folder"),
        ("latin.qpat", b"// caf\xe9", "not UTF-8 text (byte 6)"),
        ("empty.qpat", b"", "this file has no pattern"),
        ("good.qpat/inside", None, "error[QP004]"),
    ],
    ids=["missing", "folder", "not UTF-8", "empty", "below a file"],
)
@pytest.mark.parametrize("command", ["check", "compile"])
def test_unfit_input_is_one_finding(
    qpat: Qpat,
    good: Path,
    tmp_path: Path,
    command: str,
    name: str,
    content: bytes | None,
    said: str,
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    done = qpat(command, name)
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr and done.stderr.startswith(name)
    assert done.stderr.count("error[") == 1


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_forbidden_input_is_one_finding(qpat: Qpat, good: Path, tmp_path: Path) -> None:
    (tmp_path / good).chmod(0)
    done = qpat("check", good)
    assert done.returncode == 1
    assert done.stderr.startswith("good.qpat: error[QP004]: cannot be read")


# What a command does not need it does not import: all of it together takes longer than a check.
RARE = {"difflib", "importlib.resources", "numpy", "onnx", "secrets", "tflite", "tvm"}
RARE |= {f"qpat.{name}" for name in ("fixing", "relay", "sarif", "targets.relay")}
SHOWN = {"importlib.metadata", "qpat.explain", "qpat.pages", "qpat.rendering"}
COMPILER = {"dataclasses", "json", "lark", "qpat.compiler", "qpat.semantics", "qpat.syntax"}


@pytest.mark.parametrize(
    ("arguments", "unwanted"),
    [
        (["check", "good.qpat"], RARE | SHOWN),
        (["explain", "QP101"], RARE | COMPILER | {"importlib.metadata"}),
        (["explain"], RARE | COMPILER | {"importlib.metadata"}),
        (["--help"], RARE | COMPILER | SHOWN),
        (["check", "--help"], RARE | COMPILER | SHOWN),
        (["--version"], RARE | COMPILER - {"json"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_not_needed_is_not_imported(
    arguments: list[str], unwanted: set[str], good: Path, tmp_path: Path
) -> None:
    code = (
        "import sys\nfrom qpat.cli import main\n"
        f"try: status = main({arguments})\nexcept SystemExit as end: status = end.code\n"
        "print(); print(status, *sorted(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    status, *imported = done.stdout.splitlines()[-1].split()
    assert status == "0"
    assert {"qpat.cli", "argparse"} <= set(imported)
    assert not unwanted & set(imported)


def test_package_gives_its_names_when_they_are_asked_for(tmp_path: Path) -> None:
    code = (
        "import sys, qpat; before = set(sys.modules); "
        "needs_tvm = 'canonicalize coverage merge_composite offload partition'.split(); "
        "needs_tvm.append('quantization'); "
        "names = [getattr(qpat, name).__name__ for name in qpat.__all__ if name not in needs_tvm]; "
        "print(names, 'lark' in before, 'lark' in sys.modules); qpat.nonsense"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    wanted = ["Compiled", "Diagnostic", "QpatError", "compile_file"]
    assert done.stdout == f"{wanted} False True\n"
    assert "AttributeError: module 'qpat' has no attribute 'nonsense'" in done.stderr


# ---- compile -----------------------------------------------------------------------------


def test_compile_writes_the_module_to_stdout(qpat: Qpat, good: Path, tmp_path: Path) -> None:
    done = qpat("compile", good)
    assert (done.returncode, done.stderr) == (0, "")
    compile(done.stdout, "generated", "exec")
    assert files_in(tmp_path) == {"good.qpat"}


def test_compile_writes_the_same_to_a_file(qpat: Qpat, good: Path, tmp_path: Path) -> None:
    done = qpat("compile", good, "-o", "new/folder/out.py")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "new/folder/out.py: 1 patterns, 1 rows\n"
    assert files_in(tmp_path) == {"good.qpat", "new/folder/out.py"}
    written = (tmp_path / "new/folder/out.py").read_bytes().decode()
    assert written == qpat("compile", good).stdout


def test_compile_replaces_an_older_output(qpat: Qpat, good: Path, tmp_path: Path) -> None:
    (tmp_path / "out.py").write_text("old")
    assert qpat("compile", good, "--output", "out.py").returncode == 0
    assert (tmp_path / "out.py").read_text().startswith('"""Patterns of the compiler npu')


def test_errors_leave_an_older_output_alone(qpat: Qpat, bad: Path, tmp_path: Path) -> None:
    (tmp_path / "out.py").write_text("old")
    done = qpat("compile", bad, "-o", "out.py")
    assert (done.returncode, done.stdout) == (1, "")
    assert (tmp_path / "out.py").read_text() == "old"
    assert files_in(tmp_path) == {"bad.qpat", "out.py"}


def test_errors_write_nothing(qpat: Qpat, bad: Path, tmp_path: Path) -> None:
    assert qpat("compile", bad, "-o", "new/out.py").returncode == 1
    assert files_in(tmp_path) == {"bad.qpat"} and not (tmp_path / "new").exists()


@pytest.mark.parametrize("output", [".", "good.qpat/out.py", ""], ids=["folder", "file", "empty"])
def test_unfit_output_is_one_finding(qpat: Qpat, good: Path, tmp_path: Path, output: str) -> None:
    done = qpat("compile", good, "-o", output)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("error[") == 1
    assert files_in(tmp_path) == {"good.qpat"}


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_forbidden_output_is_one_finding(qpat: Qpat, good: Path, tmp_path: Path) -> None:
    (tmp_path / "shut").mkdir(mode=0o555)
    done = qpat("compile", good, "-o", "shut/out.py")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("error[") == 1


def test_input_is_not_overwritten_by_the_output(qpat: Qpat, good: Path, tmp_path: Path) -> None:
    # Fails as long as `-o` may name the .qpat file itself.
    assert qpat("compile", good, "-o", "./good.qpat").returncode != 0
    assert (tmp_path / "good.qpat").read_text() == GOOD


def test_warnings_do_not_mix_with_the_module(qpat: Qpat, tmp_path: Path) -> None:
    (tmp_path / "warned.qpat").write_text(WARNED)
    done = qpat("compile", "warned.qpat")
    assert done.returncode == 0
    assert "warning[QP153]" in done.stderr and "QP153" not in done.stdout
    compile(done.stdout, "generated", "exec")


@pytest.mark.parametrize("seed", ["0", "1", "4242"])
def test_module_does_not_depend_on_the_hash_seed(qpat: Qpat, good: Path, seed: str) -> None:
    library = ROOT / "patterns" / "tflite.qpat"
    wanted = qpat("compile", library, PYTHONHASHSEED="7").stdout
    assert qpat("compile", library, PYTHONHASHSEED=seed).stdout == wanted


# ---- colour ---------------------------------------------------------------------------------

ESCAPE = re.compile(r"\x1b\[[\d;]*m")


def test_colour_is_for_terminals(qpat: Qpat, bad: Path) -> None:
    plain = qpat("check", bad)
    always = qpat("check", bad, "--color", "always", NO_COLOR="1")
    assert "\x1b" not in plain.stderr
    assert always.stderr.startswith("bad.qpat:5:7: \x1b[1;31merror[QP101]\x1b[0m: ")
    assert ESCAPE.sub("", always.stderr) == plain.stderr
    compiled = qpat("compile", bad, "--color", "always")
    assert compiled.stderr == always.stderr


@pytest.mark.skipif(os.name != "posix", reason="no pseudo-terminals")
@pytest.mark.parametrize(
    ("arguments", "variables", "coloured"),
    [
        ([], {}, True),
        (["--color", "never"], {}, False),
        ([], {"NO_COLOR": "1"}, False),
        ([], {"TERM": "dumb"}, False),
    ],
)
def test_colour_on_a_terminal(
    bad: Path, tmp_path: Path, arguments: list[str], variables: dict[str, str], coloured: bool
) -> None:
    import pty

    ours, theirs = pty.openpty()
    environment = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "TERM")}
    done = subprocess.run(
        [sys.executable, "-m", "qpat", "check", str(bad), *arguments],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(ROOT), "TERM": "xterm", **variables},
        stderr=theirs,
    )
    os.close(theirs)
    said = os.read(ours, 100_000).decode()
    os.close(ours)
    assert done.returncode == 1
    assert ("\x1b[1;31merror[QP101]\x1b[0m" in said) == ("\x1b" in said) == coloured


# ---- odd surroundings ----------------------------------------------------------------------


def test_works_where_no_cache_can_be_kept(qpat: Qpat, good: Path) -> None:
    assert qpat("check", good, XDG_CACHE_HOME=os.devnull).returncode == 0


def test_works_with_a_spoilt_cache(qpat: Qpat, good: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    assert qpat("check", good, XDG_CACHE_HOME=str(cache)).returncode == 0
    for path in cache.rglob("*.lark"):
        path.write_bytes(b"spoilt")
    done = qpat("check", good, XDG_CACHE_HOME=str(cache))
    assert (done.returncode, done.stderr) == (0, "")


def test_reader_who_has_enough_is_no_fault(good: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        f'"{sys.executable}" -m qpat compile good.qpat | head -n 1',
        shell=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.stderr == "" and done.stdout.count("\n") == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_full_disk_is_no_traceback(good: Path, tmp_path: Path) -> None:
    # Fails as long as an OSError of stdout is not caught.
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "qpat", "compile", "good.qpat"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr


def test_terminal_that_knows_only_ascii(qpat: Qpat, tmp_path: Path) -> None:
    # Fails with a UnicodeEncodeError as long as stdout is strict about what it cannot show.
    (tmp_path / "é.qpat").write_text(GOOD.replace("Nothing", "Très peu"), encoding="utf-8")
    strict = {"PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    assert qpat("check", "é.qpat", **strict).returncode == 0
    assert qpat("compile", "é.qpat", **strict).returncode == 0


@pytest.mark.parametrize(
    ("doc", "name"),
    [
        ('Say "yes"', "good.qpat"),  # the docstring ends in four quotes
        ("ends in \\", "good.qpat"),
        ('""" + 1 + """', "good.qpat"),
        ("plain", 'a""" + str(1 % 0) + """.qpat'),  # the name is written into the docstring
        ("plain", "a\\N.qpat"),
        ("nul \0", "good.qpat"),  # Python source may not hold one
    ],
    ids=["quote", "backslash", "quotes", "quotes in name", "backslash in name", "nul"],
)
def test_module_is_python_whatever_comments_and_file_names_hold(
    qpat: Qpat, tmp_path: Path, doc: str, name: str
) -> None:
    # Most fail as long as the generated docstrings take them as they are.
    (tmp_path / name).write_text(GOOD.replace("Nothing below zero.", doc))
    done = qpat("compile", name)
    if done.returncode == 1:
        assert "error[" in done.stderr
        return
    code = compile(done.stdout, "generated", "exec")
    assert isinstance(code.co_consts[0], str) and code.co_consts[0].startswith("Patterns of")
