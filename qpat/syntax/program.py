"""A file with the files it imports: each parsed once, circles found."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from qpat.diagnostics import Diagnostic, QpatError
from qpat.records import dataclass
from qpat.source import Source
from qpat.syntax import tree
from qpat.syntax.recovery import parse_recovering

Opener = Callable[[str], Source]


@dataclass(frozen=True)
class Program:
    """A file's tree and the programs it imports, in the order written: those that can be read."""

    file: tree.File
    imports: tuple[tuple[tree.Import, Program], ...]

    def sources(self) -> Iterator[Source]:
        """The file's source, and behind it those of all it imports, each once."""
        waiting, seen = [self], {id(self)}
        while waiting:
            program = waiting.pop()
            yield program.file.span.source
            more = {id(other): other for _, other in program.imports if id(other) not in seen}
            seen |= more.keys()
            waiting += more.values()


def load_program(source: Source, opener: Opener) -> tuple[Program | None, tuple[Diagnostic, ...]]:
    """The program of a source, None where it is too broken to be looked at, and all findings in it
    and in what it imports. `opener` reads an imported file and raises QpatError where it cannot."""
    loader = _Loader(opener)
    return loader.load(source, ()), tuple(loader.found)


class _Loader:
    def __init__(self, opener: Opener) -> None:
        self.opener = opener
        self.found: dict[Diagnostic, None] = {}
        self.done: dict[str, Program | None] = {}

    def load(self, source: Source, above: tuple[str, ...]) -> Program | None:
        key = _identity(source.name)
        if key in self.done:
            return self.done[key]
        file, broken = parse_recovering(source)
        self.found |= dict.fromkeys(broken)
        program = None
        if file is not None:
            nodes = [item for item in file.items if isinstance(item, tree.Import)]
            imported = [(node, self._imported(node, (*above, key))) for node in nodes]
            known = tuple((node, other) for node, other in imported if other is not None)
            program = Program(file, known)
        self.done[key] = program
        return program

    def _imported(self, node: tree.Import, above: tuple[str, ...]) -> Program | None:
        path = _beside(node.span.source.name, node.path.text)
        key = _identity(path)
        if key in above:
            self._report(node, "QP152", _circle(above[above.index(key) :], key))
            return None
        try:
            source = self.opener(path)
        except QpatError as error:
            cause = error.diagnostics[0]
            message = f'"{node.path.text}" cannot be imported: {cause.message}'
            self._report(node, cause.code, message, cause.hint)
            return None
        return self.load(source, above)

    def _report(self, node: tree.Import, code: str, message: str, hint: str | None = None) -> None:
        self.found[Diagnostic(code, message, node.path.span, hint=hint)] = None


def _circle(files: tuple[str, ...], again: str) -> str:
    names = [f'"{os.path.basename(name)}"' for name in (*files, again)]
    return f"these files import each other: {' -> '.join(names)}"


def _beside(importing: str, path: str) -> str:
    """An imported path is relative to the file that imports it; a bare name may be the library."""
    beside = os.path.normpath(os.path.join(os.path.dirname(importing), path))
    is_bare = not path.endswith(".qpat") and os.path.basename(path) == path
    return path if is_bare and not os.path.exists(beside) else beside


def _identity(name: str) -> str:
    return str(Path(name).resolve())
