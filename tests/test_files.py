"""write_atomically: whole or not at all, and one finding where it cannot be."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from qpat.diagnostics import QpatError
from qpat.files import write_atomically


def refusal(path: Path, text: str = "new") -> str:
    with pytest.raises(QpatError) as caught:
        write_atomically(path, text)
    (finding,) = caught.value.diagnostics
    assert (finding.code, finding.place) == ("QP330", str(path))
    return finding.message


def test_writes_bytes_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "out.py"
    write_atomically(path, "a\n\ttäxt\r\n")
    assert path.read_bytes() == "a\n\ttäxt\r\n".encode()
    write_atomically(str(path), "")
    assert path.read_bytes() == b""
    assert os.listdir(tmp_path) == ["out.py"]


def test_name_that_is_no_utf8(tmp_path: Path) -> None:
    write_atomically(tmp_path / "out", b"\xff".decode("utf-8", "surrogateescape"))
    assert (tmp_path / "out").read_bytes() == b"\xff"


def test_folders_are_made(tmp_path: Path) -> None:
    write_atomically(tmp_path / "build" / "deep" / "x.py", "new")
    assert (tmp_path / "build" / "deep" / "x.py").read_text() == "new"


def test_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_atomically("x.py", "new")
    assert (tmp_path / "x.py").read_text() == "new"


def test_permissions(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "fresh", "new")
    finally:
        os.umask(before)
    assert (tmp_path / "fresh").stat().st_mode & 0o777 == 0o640
    (tmp_path / "old").write_text("old")
    (tmp_path / "old").chmod(0o755)
    write_atomically(tmp_path / "old", "new")
    assert (tmp_path / "old").stat().st_mode & 0o777 == 0o755


def test_what_a_link_points_to_is_written(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(Path("real", "x.py"))
    write_atomically(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "x.py").read_text() == "new"


def test_pipe_is_written_to_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(path.read_text()))
    reader.start()
    write_atomically(path, "new")
    reader.join(timeout=10)
    assert read == ["new"]
    assert path.is_fifo()


def test_readers_never_see_a_part(tmp_path: Path) -> None:
    path = tmp_path / "out"
    texts = ["a" * 2_000_000, "b" * 2_000_000]
    write_atomically(path, texts[0])
    held = path.open()
    write_atomically(path, texts[1])
    assert held.read() == texts[0]
    held.close()
    assert path.read_text() == texts[1]


def test_folder_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert refusal(tmp_path / "out") == "cannot write the file: it is a folder"
    assert os.listdir(tmp_path) == ["out"]


def test_file_where_a_folder_is_needed(tmp_path: Path) -> None:
    (tmp_path / "build").write_text("old")
    refusal(tmp_path / "build" / "x.py")
    refusal(tmp_path / "build" / "deep" / "x.py")
    assert (tmp_path / "build").read_text() == "old"


def test_name_that_is_too_long(tmp_path: Path) -> None:
    assert refusal(tmp_path / ("x" * 300)) == "cannot write the file: File name too long"
    assert os.listdir(tmp_path) == []


def test_longest_name(tmp_path: Path) -> None:
    write_atomically(tmp_path / ("x" * 255), "new")
    assert os.listdir(tmp_path) == ["x" * 255]


@pytest.mark.parametrize("step", ["replace", "chmod"])
def test_failure_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "out"
    path.write_text("old")

    def fail(*arguments: object, **rest: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, step, fail)
    assert refusal(path) == "cannot write the file: Permission denied"
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["out"]


def test_interruption_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out"
    path.write_text("old")

    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["out"]
