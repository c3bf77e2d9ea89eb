"""How many faults in what is generated from a .qpat file does `qpat verify` notice?

python -m tools.mutate_library [FILE] [--pattern NAME] [--samples N] [--inputs N]

Each mutant of tests/verify/mutations.py is verified by itself; those that survive are listed, and
those that change no number, as far as is known. Most faults show in a few graphs; only what these
do not notice is tried with all samples and inputs. The whole library takes about an hour.
"""

from __future__ import annotations

import argparse
from collections import Counter

from qpat.compiler import compile_file
from qpat.relay.environment import installed_ir
from tests.verify.mutations import EQUIVALENT, mutants, noticed

FEW = (2, 8)  # samples and inputs, of what is tried first


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", nargs="?", default="patterns/tflite.qpat")
    parser.add_argument("--pattern", action="append", default=[])
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--inputs", type=int, default=32)
    options = parser.parse_args()
    compiled = compile_file(options.file, installed_ir(), unsaid="ignore")
    counts: Counter[str] = Counter()
    for pattern in compiled.module.patterns:
        if options.pattern and pattern.name not in options.pattern:
            continue
        for mutant in mutants(compiled.text, pattern.name):
            how = noticed(compiled, mutant, *FEW)
            if how == "survived":
                how = noticed(compiled, mutant, options.samples, options.inputs)
            if how == "survived" and any(known in str(mutant) for known in EQUIVALENT):
                how = "equivalent"
            counts[how] += 1
            if how in ("survived", "equivalent"):
                print(f"{how}: {mutant}", flush=True)
    left = sum(counts.values()) - counts["equivalent"]
    print(f"{left - counts['survived']} of {left} that change a number noticed: {dict(counts)}")


if __name__ == "__main__":
    main()
