"""How many faults in what is generated from a .qpat file does `qpat verify` notice?

python -m tools.mutate_library [FILE] [--pattern NAME] [--samples N] [--inputs N] [--jobs N]

Each mutant of tests/verify/mutations.py is verified by itself; those that survive are listed, and
those that change no number, as far as is known. Most faults show in a few graphs; only what these
do not notice is tried with all samples and inputs. The whole library takes a quarter of an hour on
two cores.

Mutants are verified in other processes: TVM writes beyond its memory where a meaning is wrong in
some ways, and ends the process or, worse, a later mutant's.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from multiprocessing import Pipe, get_context
from multiprocessing.connection import Connection
from threading import local

from qpat.compiler import Compiled, compile_file
from qpat.relay.environment import installed_ir
from tests.verify.mutations import Mutant, changes_nothing, mutants, noticed

Sizes = tuple[int, int]  # samples and inputs
FEW = (2, 8)  # of what is tried first


@cache
def compiled_once(file: str) -> Compiled:
    return compile_file(file, installed_ir(), unsaid="ignore")


def judged(file: str, mutant: Mutant, sizes: Sizes) -> str:
    """What becomes of a mutant: failed, unverified, survived or equivalent."""
    compiled = compiled_once(file)
    how = noticed(compiled, mutant, *FEW)
    if how == "survived":
        how = noticed(compiled, mutant, *sizes)
    if how == "survived" and changes_nothing(str(mutant)):
        return "equivalent"
    return how


def serve(pipe: Connection, file: str, sizes: Sizes) -> None:
    """What another process does: says of each mutant it is sent what becomes of it."""
    # None is sent any more where whoever counts is gone.
    with suppress(EOFError):
        while True:
            pipe.send(judged(file, pipe.recv(), sizes))


class Worker:
    """A process that verifies mutants. Where it has died it is made anew, and has another try."""

    def __init__(self, file: str, sizes: Sizes) -> None:
        self.arguments = file, sizes
        self.pipe = self._started()

    def judge(self, mutant: Mutant) -> str:
        for _ in range(2):
            try:
                self.pipe.send(mutant)
                return str(self.pipe.recv())
            except (EOFError, ConnectionError):
                self.pipe = self._started()
        return "crashed"

    def _started(self) -> Connection:
        ours, its = Pipe()
        make = get_context("spawn").Process
        make(target=serve, args=(its, *self.arguments), daemon=True).start()
        its.close()
        return ours


def outcomes(file: str, some: list[Mutant], sizes: Sizes, jobs: int) -> Iterator[str]:
    """What becomes of each mutant, in their order; so many are verified at a time."""
    mine = local()

    def judge(mutant: Mutant) -> str:
        if not hasattr(mine, "worker"):
            mine.worker = Worker(file, sizes)
        return str(mine.worker.judge(mutant))

    with ThreadPoolExecutor(jobs) as threads:
        yield from threads.map(judge, some)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", nargs="?", default="patterns/tflite.qpat")
    parser.add_argument("--pattern", action="append", default=[])
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--inputs", type=int, default=32)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    sizes = options.samples, options.inputs
    compiled = compiled_once(options.file)
    counts: Counter[str] = Counter()
    names = options.pattern or [each.name for each in compiled.module.patterns]
    some = [mutant for name in names for mutant in mutants(compiled.text, name)]
    found = outcomes(options.file, some, sizes, options.jobs)
    for mutant, how in zip(some, found, strict=True):
        counts[how] += 1
        if how in ("survived", "equivalent", "crashed"):
            print(f"{how}: {mutant}", flush=True)
    left = sum(counts.values()) - counts["equivalent"]
    print(f"{left - counts['survived']} of {left} that change a number noticed: {dict(counts)}")


if __name__ == "__main__":
    main()
