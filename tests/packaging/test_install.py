"""qpat, installed: from a wheel where there is no TVM, and in editable mode."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

from qpat import resources

if TYPE_CHECKING:
    from tests.packaging.conftest import Plain

ROOT = Path(__file__).resolve().parents[2]
VERSION = "0.1.0"

PRINT_RESOURCES = """
import json, qpat.resources as r
print(json.dumps({
    "grammar": r.grammar_text(),
    "folder": str(r.library_folder()),
    "library": {name: r.library_file(name).read_text("utf-8") for name in r.library_names()},
}))
"""
PRINT_FOUND = "import importlib.util as u; print([n for n in ('tvm', 'tflite') if u.find_spec(n)])"


class Run(Protocol):
    def __call__(self, *command: str | Path) -> subprocess.CompletedProcess[str]: ...


@pytest.fixture
def run(tmp_path: Path, clean_environment: dict[str, str]) -> Run:
    """Runs a command away from the checkout, where only what is installed can be found."""

    def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=tmp_path, env=clean_environment, capture_output=True, text=True
        )

    return run


@pytest.fixture(params=["wheel", "editable"])
def python(request: pytest.FixtureRequest) -> Path:
    """The interpreter of an environment in which qpat is installed in that way."""
    if request.param == "editable":
        return Path(sys.executable)
    plain: Plain = request.getfixturevalue("plain")
    return plain.python


def library_in_checkout() -> dict[str, str]:
    """Text by name."""
    folder = ROOT / "patterns"
    files = folder.rglob("*.qpat")
    return {path.relative_to(folder).as_posix(): path.read_text("utf-8") for path in files}


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_wheel_contains_the_package_and_its_data_and_nothing_else(plain: Plain) -> None:
    names = names_in(plain.wheel)
    package = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "qpat").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    library = {f"qpat/_data/patterns/{name}" for name in library_in_checkout()}
    pages = {f"qpat/_data/docs/findings/{code}.md" for code in resources.finding_codes()}
    assert library and pages
    assert package | library | pages | {"qpat/_data/grammar/qpat.lark", "qpat/py.typed"} <= names
    assert {name.split("/")[0] for name in names} == {"qpat", f"qpat-{VERSION}.dist-info"}


def test_wheel_requires_lark_and_numpy_only(plain: Plain) -> None:
    with zipfile.ZipFile(plain.wheel) as archive:
        metadata = Parser().parsestr(archive.read(f"qpat-{VERSION}.dist-info/METADATA").decode())
    always = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert always == ["lark<2,>=1.2", "numpy>=1.23"]
    assert metadata.get_all("Provides-Extra") == ["dev", "pytorch", "relax", "relay"]


def test_sdist_has_all_that_the_wheel_is_made_of(plain: Plain, tmp_path: Path, run: Run) -> None:
    # `build` makes the wheel out of the sdist, not out of the checkout.
    built = run(sys.executable, "-m", "build", "--outdir", tmp_path, plain.checkout)
    assert built.returncode == 0, built.stdout + built.stderr
    with tarfile.open(tmp_path / f"qpat-{VERSION}.tar.gz") as archive:
        names = archive.getnames()
    assert f"qpat-{VERSION}/grammar/qpat.lark" in names
    assert names_in(tmp_path / plain.wheel.name) == names_in(plain.wheel)


def test_finds_grammar_and_library(python: Path, run: Run) -> None:
    done = run(python, "-c", PRINT_RESOURCES)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["grammar"] == (ROOT / "grammar" / "qpat.lark").read_text("utf-8")
    assert found["library"] == library_in_checkout()


def test_editable_install_reads_the_checkout_itself() -> None:
    assert resources.library_folder() == ROOT / "patterns"


def test_version(python: Path, run: Run) -> None:
    for command in ([python.with_name("qpat")], [python, "-m", "qpat"]):
        done = run(*command, "--version")
        assert (done.returncode, done.stdout, done.stderr) == (0, f"qpat {VERSION}\n", "")


def test_wheel_brings_no_tvm(plain: Plain, run: Run) -> None:
    done = run(plain.python, "-c", PRINT_FOUND)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


def test_checks_the_library(python: Path, run: Run) -> None:
    files = [ROOT / "patterns" / name for name in library_in_checkout()]
    done = run(python.with_name("qpat"), "check", *files)
    assert done.returncode == 0, done.stdout + done.stderr


def test_explains_every_finding(python: Path, run: Run) -> None:
    done = run(python.with_name("qpat"), "explain")
    assert (done.returncode, done.stderr) == (0, "")
    codes = [line.partition(" ")[0] for line in done.stdout.splitlines()]
    assert codes == [path.stem for path in sorted((ROOT / "docs" / "findings").glob("*.md"))]
    done = run(python.with_name("qpat"), "explain", "QP101")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("QP101: unknown operator\n")


def test_broken_install_says_so(tmp_path: Path, run: Run) -> None:
    package = tmp_path / "qpat"
    package.mkdir()
    (package / "__init__.py").touch()
    shutil.copy(ROOT / "qpat" / "resources.py", package)
    done = run(sys.executable, "-c", "import qpat.resources as r; r.grammar_text()")
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert "BrokenInstallError: this installation of qpat is broken: grammar/qpat.lark" in last
    assert str(package / "_data") in last


def test_unknown_library_file_names_those_there_are() -> None:
    known = resources.library_names()[0]
    with pytest.raises(FileNotFoundError, match=f"no 'no_such.qpat'; it has .*{known}"):
        resources.library_file("no_such.qpat")
    # Not a way out of the library either.
    with pytest.raises(FileNotFoundError):
        resources.library_file("../grammar/qpat.lark")
