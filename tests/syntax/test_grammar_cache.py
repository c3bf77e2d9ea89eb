"""The cache of the parser: whatever is in it, the parse is the same and nothing fails."""

from __future__ import annotations

import hashlib
import os
import pickle
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from lark import Lark, Token, Tree

from qpat.resources import grammar_text
from qpat.syntax import grammar as module
from qpat.syntax.grammar import grammar

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "patterns" / "tflite.qpat").read_text(encoding="utf-8")
Load = Callable[[], Lark]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for the cache, with nothing in it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    grammar.cache_clear()
    yield tmp_path / "cache" / "qpat"
    grammar.cache_clear()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What is kept of the parser."""
    path = tmp_path_factory.mktemp("whole") / "file"
    module._made(grammar_text(), path)
    return path.read_bytes()


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> tuple[Load, list[str]]:
    """Loads the parser as a new process would, and says of each time whether it had to be made."""
    made = module._made
    log: list[str] = []

    def logged(text: str, path: Path) -> Lark:
        log.append("made")
        return made(text, path)

    monkeypatch.setattr(module, "_made", logged)

    def run() -> Lark:
        grammar.cache_clear()
        return grammar()

    return run, log


def tree(parser: Lark) -> Tree[Token]:
    return parser.parse(TEXT, start="start")


WANTED = tree(Lark(grammar_text(), parser="lalr", propagate_positions=True))


def positions(parsed: Tree[Token]) -> list[tuple[int, int]]:
    spans = [each.meta for each in parsed.iter_subtrees() if not each.meta.empty]
    return [(meta.start_pos, meta.end_pos) for meta in spans]


def check(parser: Lark) -> None:
    parsed = tree(parser)
    assert parsed == WANTED
    assert positions(parsed) == positions(WANTED)
    with pytest.raises(Exception, match="(?i)unexpected"):
        parser.parse("pattern pattern", start="start")


def only(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


def test_made_once_and_kept(cache: Path, load: tuple[Load, list[str]]) -> None:
    run, log = load
    check(run())
    before = only(cache).read_bytes()
    check(run())
    assert (log, only(cache).read_bytes()) == (["made"], before)


def cut(data: bytes, percent: int) -> bytes:
    return data[: len(data) * percent // 100]


def flipped(data: bytes, percent: int) -> bytes:
    at = len(data) * percent // 100
    return data[:at] + bytes([data[at] ^ 0x40]) + data[at + 1 :]


def with_head(data: bytes) -> bytes:
    return hashlib.sha256(data).hexdigest().encode() + b"\n" + data


def damages() -> dict[str, Callable[[bytes], bytes]]:
    chance = random.Random(7)
    return {
        "empty": lambda data: b"",
        "only a newline": lambda data: b"\n",
        "without its head": lambda data: data.partition(b"\n")[2],
        "head alone": lambda data: data.partition(b"\n")[0] + b"\n",
        "random bytes": lambda data: chance.randbytes(len(data)),
        "no newline at all": lambda data: b"x" * 100_000,
        "longer": lambda data: data + b"\0",
        "twice": lambda data: data + data,
        "text": lambda data: "spoilt é".encode(),
        "lark's own cache": lambda data: b"0" * 64 + b"\n" + pickle.dumps({}) + data,
        # With a head that fits, which no accident makes.
        "something else": lambda data: with_head(pickle.dumps({"a": 1})),
        "a list": lambda data: with_head(pickle.dumps([1, 2])),
        "nothing pickled": lambda data: with_head(b"nothing"),
        "nothing behind the head": lambda data: with_head(b""),
        **{f"cut off at {n}%": partial(cut, percent=n) for n in (1, 33, 66, 99)},
        **{f"a bit changed at {n}%": partial(flipped, percent=n) for n in range(0, 100, 12)},
    }


@pytest.mark.parametrize("name", damages())
def test_damaged_file_is_made_anew(
    name: str, whole: bytes, cache: Path, load: tuple[Load, list[str]]
) -> None:
    run, log = load
    cache.mkdir(parents=True)
    path = module._cache_file(grammar_text())
    path.write_bytes(damages()[name](whole))
    check(run())
    assert log == ["made"]
    check(run())
    assert log == ["made"]  # what was made anew is kept
    assert only(cache) == path


def test_another_grammar_has_another_file(
    cache: Path, load: tuple[Load, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, log = load
    run()
    changed = grammar_text().replace('"pattern" NAME', '"muster" NAME')
    monkeypatch.setattr(module, "grammar_text", lambda: changed)
    parser = run()
    assert len(log) == len(list(cache.iterdir())) == 2
    parser.parse('compiler "n" muster p(x) -> y { y = abs(x) }', start="start")
    monkeypatch.undo()


@pytest.mark.parametrize("what", ["lark.__version__", "sys.version_info"])
def test_another_version_has_another_file(
    what: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = module._cache_file("text")
    other: Any = "9.9" if what.startswith("lark") else (9, 9, 9)
    monkeypatch.setattr(f"qpat.syntax.grammar.{what}", other)
    assert module._cache_file("text") != first
    assert module._cache_file("text").parent == first.parent


def test_folder_in_its_place(cache: Path, load: tuple[Load, list[str]]) -> None:
    run, log = load
    run()
    path = only(cache)
    path.unlink()
    path.mkdir()
    check(run())
    assert log == ["made", "made"] and [each.name for each in cache.iterdir()] == [path.name]


def test_file_that_cannot_be_read(
    cache: Path, load: tuple[Load, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, log = load
    run()

    def refuse(*arguments: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(module, "open", refuse, raising=False)
    check(run())
    assert log == ["made", "made"]


@pytest.mark.parametrize("place", ["file", "device", "below a file"])
def test_folder_that_cannot_be_made(
    place: str,
    cache: Path,
    load: tuple[Load, list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "taken").write_text("")
    places = {
        "file": str(tmp_path / "taken"),
        "device": os.devnull,
        "below a file": str(tmp_path / "taken" / "cache"),
    }
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", places[place])
    run, log = load
    check(run())
    check(run())
    assert log == ["made", "made"]
    assert [each.name for each in tmp_path.iterdir()] == ["taken"]


@pytest.mark.parametrize("value", ["", "here", "./cache"])
def test_relative_folder_is_not_taken(
    value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", value)
    assert module._cache_file("text").parent == tmp_path / ".cache" / "qpat"


@pytest.mark.parametrize("step", ["mkdir", "replace", "write"])
def test_disk_that_is_full(
    step: str, cache: Path, load: tuple[Load, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **rest: object) -> None:
        raise OSError(28, "No space left on device")

    run, log = load
    if step == "write":
        monkeypatch.setattr("qpat.files.open", fail, raising=False)
    else:
        monkeypatch.setattr(Path, step, fail)
    check(run())
    assert log == ["made"]
    assert not cache.exists() or not list(cache.iterdir())


_PROCESS = """
import hashlib, sys
from qpat.syntax.grammar import grammar
sys.stdin.read()  # all begin together
parsed = grammar().parse(open(sys.argv[1], encoding="utf-8").read(), start="start")
print(hashlib.sha256(parsed.pretty().encode()).hexdigest())
"""


@pytest.mark.parametrize("spoilt", [False, True])
def test_processes_at_once(spoilt: bool, cache: Path, load: tuple[Load, list[str]]) -> None:
    if spoilt:
        load[0]()
        only(cache).write_bytes(b"spoilt")
    command = [sys.executable, "-c", _PROCESS, str(ROOT / "patterns" / "tflite.qpat")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    processes = [
        subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for each in processes:
        assert each.stdin is not None
        each.stdin.close()
        each.stdin = None
    outputs = [each.communicate() for each in processes]
    wanted = hashlib.sha256(WANTED.pretty().encode()).hexdigest()
    assert outputs == [(f"{wanted}\n", "")] * 4
    run, log = load
    log.clear()
    check(run())
    assert log == []  # the file that they leave is whole, and there is no other
    assert len(list(cache.iterdir())) == 1
