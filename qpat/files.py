"""Writing results to files: whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from pathlib import Path

from qpat.diagnostics import failure


def write_atomically(path: str | Path, text: str) -> None:
    """Writes text as UTF-8 with `\\n` at the ends of lines, making the folders that are not there.

    Whoever reads it sees the old file or the new one, and a failure leaves the old one. Where the
    path is a symbolic link, what it points to is written; a file that is there keeps its
    permissions; a device or a pipe is written to as it is. Raises QP330 where it cannot be written.
    """
    # Back to the bytes that a name had which is no UTF-8.
    data = text.encode("utf-8", "surrogateescape")
    try:
        mode = _mode(Path(path))
        if mode is not None and stat.S_ISDIR(mode):
            raise IsADirectoryError(0, "it is a folder")
        if mode is None or stat.S_ISREG(mode):
            replace_file(Path(os.path.realpath(path)), data, mode)
        else:
            Path(path).write_bytes(data)
    except OSError as error:
        why = error.strerror or str(error)
        raise failure("QP330", f"cannot write the file: {why}", place=str(path)) from None


def _mode(path: Path) -> int | None:
    try:
        return path.stat().st_mode
    except FileNotFoundError:
        return None


def replace_file(target: Path, data: bytes, mode: int | None = None) -> None:
    """Puts a file there as a whole, making the folders that are not there. Raises OSError."""
    folder = target.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(0, f"{folder} is no folder") from None
    # In the same folder: only within a file system is a move atomic.
    temporary = folder / f".qpat-{os.getpid()}-{secrets.token_hex(4)}.tmp"
    try:
        with open(temporary, "xb") as file:
            file.write(data)
        if mode is not None:
            temporary.chmod(stat.S_IMODE(mode))
        temporary.replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
