"""How long `qpat check` takes as a whole process, on a file of a hundred patterns.

python -m benchmarks.startup [--runs N] [--json OUT]    (or `make benchmark`)

The file is the library's patterns for PyTorch over and over, under other names. They are Relay's
alone: a file that has forms for Relax is checked for both, which takes longer. The limit: a check
takes no longer than three times what `python -c "import lark"` and the parse of the file take
together. What the check adds to the parse is shown beside it, in imports of lark. What is measured
is processor time, which on an idle machine is the time one waits: everything is run in turn, and of
each the fastest run counts, for what is slower is the machine's other work.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PATTERNS = 100
LIMIT = 3.0
# What the command `qpat` runs.
_QPAT = ("-c", "import sys; from qpat.cli import run; sys.exit(run())")
# Times the parse of the file in argv[1], from text to syntax tree with the grammar loaded, and
# prints it in seconds.
_PARSE = """
import sys, time
from qpat.compiler import open_source
from qpat.syntax.grammar import grammar
from qpat.syntax.recovery import parse_recovering
source = open_source(sys.argv[1])
grammar()
start = time.process_time()
parse_recovering(source)
print(time.process_time() - start)
"""


def hundred_patterns() -> str:
    """A file of PATTERNS patterns: the library's, one after the other, with numbered names, and
    with a condition that tells each from the copies before it; and the fragments that they use."""
    library = (ROOT / "patterns" / "pytorch.qpat").read_text(encoding="utf-8")
    items = re.findall(r"^(?:///.*\n)*pattern (?:.|\n)*?^\}\n", library, re.MULTILINE)
    numbered = (
        re.sub(r"^pattern (\w+)", rf"pattern \1_{at}", items[at % len(items)], flags=re.MULTILINE)
        .rstrip()
        .removesuffix("}")
        + f"  where y.shape[-1] == {at + 1}\n}}\n"
        for at in range(PATTERNS)
    )
    return 'compiler "npu"\n\n' + with_fragments("\n".join(numbered), library)


def with_fragments(text: str, library: str) -> str:
    """Patterns of a file behind those of its fragments that they use, and that these use."""
    blocks = re.findall(r"^fragment (?:.|\n)*?^\}\n", library, re.MULTILINE)
    named = {block.split("(")[0].removeprefix("fragment "): block for block in blocks}
    used = [name for name in named if re.search(rf"\b{name}\(", text)]
    needed = [named[name] for name in used if named[name] not in text]
    return with_fragments("\n".join([*needed, text]), library) if needed else text


def measure(runs: int) -> dict[str, float]:
    """The fastest of so many runs of each, in milliseconds."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "hundred.qpat")
        path.write_text(hundred_patterns(), encoding="utf-8")
        environment = {
            **{k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"},
            # An installed qpat is compiled to bytecode; so is this one after the first run.
            "PYTHONPYCACHEPREFIX": folder,
            "PYTHONPATH": str(ROOT),
            "XDG_CACHE_HOME": folder,
        }

        def run(*arguments: str) -> str:
            command = [sys.executable, *arguments]
            done = subprocess.run(
                command, env=environment, cwd=folder, check=True, capture_output=True, text=True
            )
            return done.stdout

        steps: dict[str, Callable[[], float]] = {
            "python": lambda: _timed(lambda: run("-c", "pass")),
            "import_lark": lambda: _timed(lambda: run("-c", "import lark")),
            "parse": lambda: float(run("-c", _PARSE, str(path))),
            "check": lambda: _timed(lambda: run(*_QPAT, "check", str(path))),
            "check_of_one": lambda: _timed(lambda: run(*_QPAT, "check", "one.qpat")),
            "version": lambda: _timed(lambda: run(*_QPAT, "--version")),
            "explain": lambda: _timed(lambda: run(*_QPAT, "explain", "QP101")),
        }
        one = 'compiler "npu"\npattern relu(x: int8) -> y: int8 { y = nn.relu(x) }\n'
        Path(folder, "one.qpat").write_text(one, encoding="utf-8")
        run(*_QPAT, "check", str(path))  # writes the cache of the grammar
        run("-c", "import lark")
        seconds = {name: step() for name, step in steps.items()}
        for _ in range(runs - 1):
            seconds = {name: min(seconds[name], step()) for name, step in steps.items()}
    return {name: 1000 * each for name, each in seconds.items()}


def _timed(action: Callable[[], object]) -> float:
    """The processor time of the process that an action starts."""
    start = resource.getrusage(resource.RUSAGE_CHILDREN)
    action()
    end = resource.getrusage(resource.RUSAGE_CHILDREN)
    return end.ru_utime - start.ru_utime + end.ru_stime - start.ru_stime


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--json", metavar="OUT", default=str(ROOT / "build" / "startup.json"))
    options = parser.parse_args()
    figures = measure(options.runs)
    ratio = figures["check"] / (figures["import_lark"] + figures["parse"])
    added = (figures["check"] - figures["parse"]) / figures["import_lark"]
    print("| what | ms |\n|---|---:|")
    for name, each in figures.items():
        print(f"| {name.replace('_', ' ')} | {each:.1f} |")
    print(f"| (check - parse) / import lark | {added:.2f} |")
    print(f"| check / (import lark + parse) | {ratio:.2f}, at most {LIMIT:.0f} |")
    result = {
        "milliseconds": figures,
        "ratio": ratio,
        "limit": LIMIT,
        "added": added,
        "patterns": PATTERNS,
    }
    Path(options.json).parent.mkdir(parents=True, exist_ok=True)
    Path(options.json).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {options.json}")
    return 0 if ratio <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
