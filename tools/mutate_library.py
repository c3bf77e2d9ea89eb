"""How many faults in what is generated from a .qpat file does `qpat verify` notice?

python -m tools.mutate_library [FILE] [--pattern NAME] [--samples N] [--inputs N] [--jobs N]

Each mutant of tests/verify/mutations.py is verified by itself; those that survive are listed, and
those that change no number, as far as is known. Most faults show in a few graphs; only what these
do not notice is tried with all samples and inputs. The whole library takes about an hour.

Mutants are verified in other processes: TVM writes beyond its memory where a meaning is wrong in
some ways, and ends the process or, worse, a later mutant's.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context

from qpat.compiler import Compiled, compile_file
from qpat.relay.environment import installed_ir
from tests.verify.mutations import EQUIVALENT, Mutant, mutants, noticed

FEW = (2, 8)  # samples and inputs, of what is tried first


@dataclass(frozen=True)
class Sizes:
    """What is drawn for each form of a mutant's pattern."""

    samples: int
    inputs: int


@cache
def compiled_once(file: str) -> Compiled:
    return compile_file(file, installed_ir(), unsaid="ignore")


def judged(file: str, mutant: Mutant, sizes: Sizes) -> str:
    """What becomes of a mutant: failed, unverified, survived or equivalent."""
    compiled = compiled_once(file)
    how = noticed(compiled, mutant, *FEW)
    if how == "survived":
        how = noticed(compiled, mutant, sizes.samples, sizes.inputs)
    if how == "survived" and any(known in str(mutant) for known in EQUIVALENT):
        return "equivalent"
    return how


def judged_apart(file: str, mutant: Mutant, sizes: Sizes) -> str:
    """The same in a process of its own, which TVM may end."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
        try:
            return alone.submit(judged, file, mutant, sizes).result()
        except BrokenProcessPool:
            return "crashed"


def outcomes(
    file: str, some: list[Mutant], sizes: Sizes, jobs: int
) -> Iterator[tuple[Mutant, str]]:
    """Each mutant and what becomes of it, so many at a time."""
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as processes:
        futures = [processes.submit(judged, file, mutant, sizes) for mutant in some]
        for mutant, future in zip(some, futures, strict=True):
            try:
                how = future.result()
            except BrokenProcessPool:
                how = judged_apart(file, mutant, sizes)
            yield mutant, how


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", nargs="?", default="patterns/tflite.qpat")
    parser.add_argument("--pattern", action="append", default=[])
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--inputs", type=int, default=32)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    sizes = Sizes(options.samples, options.inputs)
    compiled = compiled_once(options.file)
    counts: Counter[str] = Counter()
    for pattern in compiled.module.patterns:
        if options.pattern and pattern.name not in options.pattern:
            continue
        some = list(mutants(compiled.text, pattern.name))
        for mutant, how in outcomes(options.file, some, sizes, options.jobs):
            counts[how] += 1
            if how in ("survived", "equivalent", "crashed"):
                print(f"{how}: {mutant}", flush=True)
    left = sum(counts.values()) - counts["equivalent"]
    print(f"{left - counts['survived']} of {left} that change a number noticed: {dict(counts)}")


if __name__ == "__main__":
    main()
