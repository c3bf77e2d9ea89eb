"""scripts/environment: which Python it takes, what it says where there is none, when it works."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.packaging.conftest import Plain

ROOT = Path(__file__).resolve().parents[2]
VERSIONS = {"relay": "3.10", "tvm-0.16": "3.10", "tvm-0.9": "3.8", "plain": "3.10"}
VERSIONS |= {"relax-0.27": "3.10", "relax-0.26": "3.10", "relax-torch": "3.11"}


class Machine:
    """A machine with no Python but those that a test adds, and a checkout with no environment."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.bin = folder / "bin"
        self.checkout = folder / "checkout"
        for made in (self.home, self.bin, self.checkout / "scripts"):
            made.mkdir(parents=True)
        for tool in ("bash", "cat", "flock", "make", "mkdir", "mv", "rm", "sed"):
            # flock is optional for the script; without another of them it would fail below.
            if found := shutil.which(tool):
                (self.bin / tool).symlink_to(found)
        shutil.copy(ROOT / "pyproject.toml", self.checkout)
        shutil.copy(ROOT / "Makefile", self.checkout)
        shutil.copy(ROOT / "scripts" / "environment", self.checkout / "scripts")

    def add(self, path: Path, script: str) -> Path:
        """A program at that path."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!{shutil.which('bash')}\n{script}\n")
        path.chmod(0o755)
        return path

    def add_python(self, path: Path, version: str, *, complete: bool = True) -> Path:
        """Answers as an interpreter of that version does, until it has to make an environment."""
        return self.add(
            path,
            f"""case "$*" in
              *"-m venv"*) echo 'Error: no space left' >&2; exit 1 ;;
              *ensurepip*) exit {0 if complete else 1} ;;
              *) [ "${{!#}}" = {version} ] && echo "$0" ;;
            esac""",
        )

    def run(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Runs a command in the checkout; `scripts/environment` by its full path."""
        return subprocess.run(
            command,
            cwd=self.checkout,
            env={"PATH": str(self.bin), "HOME": str(self.home), **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )

    def environment(self, name: str) -> subprocess.CompletedProcess[str]:
        return self.run("bash", str(self.checkout / "scripts" / "environment"), name)

    def environments(self) -> list[Path]:
        """What it has made in the checkout, but for its locks."""
        made = [self.checkout / ".venv", *self.checkout.glob(".environments/[!.]*")]
        return [path for path in made if path.exists()]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize("name", VERSIONS)
def test_without_a_python_it_says_how_to_get_one(machine: Machine, name: str) -> None:
    version = VERSIONS[name]
    # As pyenv does for a version that is installed and not active.
    machine.add(machine.bin / f"python{version}", "echo 'command not found' >&2; exit 127")
    machine.add_python(machine.bin / "python3", "3.9")
    done = machine.environment(name)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"environment {name}: this machine has no Python {version}" in done.stderr
    for command in ("uv python install", "pyenv install", "apt install python"):
        assert re.search(rf"^  {command} ?{version}\b", done.stderr, re.MULTILINE), done.stderr
    assert machine.environments() == []


def test_python_without_venv_is_named(machine: Machine) -> None:
    found = machine.add_python(machine.bin / "python3.10", "3.10", complete=False)
    done = machine.environment("relay")
    assert done.returncode == 2
    assert f"There is {found}, but it lacks the modules ensurepip and venv" in done.stderr
    assert "apt install python3.10-venv" in done.stderr


@pytest.mark.parametrize("way", ["uv", "on PATH", "pyenv", "python3"])
def test_finds_python(machine: Machine, way: str) -> None:
    if way == "uv":
        found = machine.add_python(machine.home / "uv" / "python", "3.10")
        machine.add(machine.bin / "uv", f'[ "$*" = "python find --system 3.10" ] && echo {found}')
    elif way == "on PATH":
        found = machine.add_python(machine.bin / "python3.10", "3.10")
    elif way == "pyenv":
        machine.add(machine.bin / "python3.10", "exit 127")
        versions = machine.home / ".pyenv" / "versions"
        for other in ("3.10.9", "3.10-dev", "3.1.5", "3.10.9/envs/x"):
            machine.add_python(versions / other / "bin" / "python", "3.10")
        found = machine.add_python(versions / "3.10.13" / "bin" / "python", "3.10")
    else:
        found = machine.add_python(machine.bin / "python3", "3.10")
    done = machine.environment("relay")
    assert f"making .venv with Python 3.10 ({found})" in done.stdout
    # The interpreter's own words, and that it was not a success.
    assert done.returncode == 1
    assert "Error: no space left" in done.stderr


def test_plain_takes_a_newer_python(machine: Machine) -> None:
    found = machine.add_python(machine.bin / "python3.12", "3.12")
    assert f"with Python 3.12 ({found})" in machine.environment("plain").stdout


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["relay", "plain"]])
def test_wrong_use(machine: Machine, arguments: list[str]) -> None:
    done = machine.run("bash", "scripts/environment", *arguments)
    assert done.returncode == 2
    assert "usage: scripts/environment NAME" in done.stderr


def test_help(machine: Machine) -> None:
    done = machine.run("bash", "scripts/environment", "--help")
    assert done.returncode == 0
    assert all(name in done.stdout for name in VERSIONS)


def test_failed_install_is_shown_and_leaves_no_stamp(
    machine: Machine, clean_environment: dict[str, str]
) -> None:
    stamp = machine.checkout / ".environments" / "plain" / ".stamp"
    stamp.parent.mkdir(parents=True)
    stamp.write_text("of an earlier state\n")
    # With no index and no local folder of packages, pip finds nothing.
    clean_environment.pop("PIP_FIND_LINKS", None)
    clean_environment |= {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull}
    done = machine.run("bash", "scripts/environment", "plain", **clean_environment)
    assert done.returncode == 1
    assert "No matching distribution found for hatchling" in done.stderr
    assert done.stderr.endswith("environment plain: pip wheel failed, see above\n")
    assert not stamp.exists()
    assert "hatchling" in stamp.with_name("pip.log").read_text()


def state(folder: Path) -> dict[Path, tuple[int, int]]:
    """When each file was last written, and how long it is."""
    found = {}
    for path in folder.rglob("*"):
        status = path.lstat()
        found[path] = (status.st_mtime_ns, status.st_size)
    return found


def again(plain: Plain, machine: Machine) -> subprocess.CompletedProcess[str]:
    """Calls the script once more, where there is no Python to make anything with."""
    return machine.run("bash", str(plain.checkout / "scripts" / "environment"), "plain")


def test_first_call_says_what_it_does_and_how_long_that_takes(plain: Plain) -> None:
    lines = plain.output.splitlines()
    assert re.search(r"making \.environments/plain with Python 3\.\d+ ", lines[0])
    assert "about a quarter of a minute" in lines[1]
    assert re.fullmatch(r"environment plain: ready after \d+ s", lines[-1])


def test_second_call_is_instant_and_changes_nothing(plain: Plain, machine: Machine) -> None:
    before = state(plain.checkout)
    started = time.monotonic()
    done = again(plain, machine)
    assert time.monotonic() - started < 2
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert state(plain.checkout) == before


@pytest.fixture(params=["pyproject.toml", "scripts/environment", "qpat/resources.py"])
def changed(request: pytest.FixtureRequest, plain: Plain) -> Iterator[str]:
    """A file of the checkout that is not as it was when the environment was made."""
    path = plain.checkout / request.param
    was = path.read_text("utf-8")
    path.write_text(was + "# changed\n", "utf-8")
    yield request.param
    path.write_text(was, "utf-8")


def test_change_is_noticed(plain: Plain, machine: Machine, changed: str) -> None:
    before = state(plain.folder)
    done = again(plain, machine)
    # It would have made it anew; there being no Python for that, it left alone what there was.
    assert done.returncode == 2, changed
    assert state(plain.folder) == before


def test_tvm_is_the_same_with_and_without_qpat() -> None:
    script = (ROOT / "scripts" / "environment").read_text("utf-8")
    block = re.search(r"\n  tvm-0\.16\)\n.*?requirements=\((.*?)\)", script, re.DOTALL)
    assert block
    pyproject = (ROOT / "pyproject.toml").read_text("utf-8")
    for requirement in shlex.split(block[1]):
        assert re.search(rf'"{re.escape(requirement)}["; ]', pyproject), requirement


class TestMakeTest:
    """`make test` where there is no Python 3.8, and where there is no browser."""

    @pytest.fixture(autouse=True)
    def no_python_3_8(self, machine: Machine) -> None:
        machine.add(
            machine.checkout / "scripts" / "environment",
            '[ "$1" != tvm-0.9 ] || { echo "no Python 3.8" >&2; exit 2; }',
        )
        machine.add(
            machine.checkout / ".venv" / "bin" / "python",
            'echo "$*: missing <$QPAT_MISSING_ENVIRONMENTS>"',
        )
        machine.add(
            machine.checkout / ".environments" / "relax" / "bin" / "python", 'echo "on Relax: $*"'
        )
        shutil.copy(ROOT / "scripts" / "browser", machine.checkout / "scripts")
        self.browser = machine.add(machine.bin / "chromium", "exit 0")

    def test_goes_on_without_a_browser(self, machine: Machine) -> None:
        self.browser.unlink()
        done = machine.run("make", "test")
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip().endswith(": missing <tvm-0.9 chromium>")
        assert "this machine has no Chromium" in done.stderr
        assert "apt install chromium" in done.stderr
        assert "the tests that need a browser will be skipped" in done.stderr

    def test_goes_on_and_says_so(self, machine: Machine) -> None:
        done = machine.run("make", "test")
        assert done.returncode == 0, done.stderr
        relax, relay = done.stdout.splitlines()
        assert relax.startswith("on Relax: -m pytest ") and " tests/relax" in relax
        assert relay.startswith("-m pytest ") and relay.endswith(": missing <tvm-0.9>")
        assert "no Python 3.8" in done.stderr
        assert "the tests that need tvm-0.9 will be skipped" in done.stderr

    def test_is_a_failure_under_ci(self, machine: Machine) -> None:
        done = machine.run("make", "test", CI="true")
        assert done.returncode != 0
        assert "pytest" not in done.stdout

    def test_a_failure_on_relax_is_one(self, machine: Machine) -> None:
        machine.add(machine.checkout / ".environments" / "relax" / "bin" / "python", "exit 1")
        done = machine.run("make", "test")
        assert done.returncode != 0
        assert done.stdout.startswith("-m pytest ")


class TestMakeDemo:
    """`make demo` where there is no Python 3.10."""

    def test_goes_to_relax_and_says_so(self, machine: Machine) -> None:
        status = '[ "$1" != relay ] || { echo "no Python 3.10" >&2; exit 2; }'
        script = machine.add(machine.checkout / "scripts" / "environment", status)
        qpat = machine.checkout / ".environments" / "relax" / "bin" / "qpat"
        machine.add(qpat, 'echo "did: $*"')
        done = machine.run("make", "demo")
        assert done.returncode == 0, done.stderr
        assert "no Python 3.10" in done.stderr and "has Relax in the place of Relay" in done.stderr
        did = [line for line in done.stdout.splitlines() if line.startswith("did: ")]
        assert [line.split()[1] for line in did] == ["compile", "partition"]
        assert "--target relax" in did[0] and "--relax build/demo/" in did[1]
        machine.add(script, "exit 1")
        assert machine.run("make", "demo").returncode != 0


class TestBrowser:
    """scripts/browser on a machine without one."""

    @pytest.fixture(autouse=True)
    def script(self, machine: Machine) -> None:
        shutil.copy(ROOT / "scripts" / "browser", machine.checkout / "scripts")

    def test_installs_no_browser_but_under_ci(self, machine: Machine) -> None:
        record = machine.home / "asked"
        machine.add(machine.bin / "apt-get", f'echo "$*" >>{record}')
        assert machine.run("scripts/browser").returncode == 2
        assert not record.exists()

    def test_browser_that_cannot_be_installed(self, machine: Machine) -> None:
        machine.add(machine.bin / "sudo", "exit 1")
        done = machine.run("scripts/browser", CI="true")
        assert done.returncode == 2
        assert "no apt-get to install it with" in done.stderr

    @pytest.mark.skipif(os.geteuid() != 0, reason="would ask for a password")
    def test_installs_a_browser_under_ci(self, machine: Machine) -> None:
        for tool in ("env", "ln", "mktemp"):
            (machine.bin / tool).symlink_to(str(shutil.which(tool)))
        ended = machine.run("scripts/browser", CI="true")
        assert ended.returncode == 2
        machine.add(machine.bin / "apt-get", "echo no such package; exit 100")
        failed = machine.run("scripts/browser", CI="true")
        assert failed.returncode == 1 and "no such package" in failed.stderr
        made = machine.bin / "chromium"
        install = f'[ "$1" = update ] || ln -s {shutil.which("true")} {made}'
        machine.add(machine.bin / "apt-get", install)
        assert machine.run("scripts/browser", CI="true").returncode == 0
        assert made.exists()
        # Where there is one nothing is asked for.
        machine.add(machine.bin / "apt-get", "exit 100")
        assert machine.run("scripts/browser", CI="true").returncode == 0
