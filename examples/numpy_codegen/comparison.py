"""What compare.py and relax_compare.py share: a model is computed in two ways on random inputs, and
what differs is counted."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tflite
from program import runs


def parser_of(description: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", metavar="MODEL", type=Path)
    parser.add_argument("--inputs", default=10, type=int, help="random inputs for each (10)")
    return parser


def imported(path: Path, frontend: Callable[[Any], Any]) -> Any:
    """What a frontend makes of a .tflite file; None where there is none or it is refused, and the
    reason is printed."""
    try:
        return frontend(tflite.Model.GetRootAsModel(path.read_bytes(), 0))
    except Exception as error:  # those of TVM are of many classes
        said = str(error).strip().splitlines() or [type(error).__name__]
        print(f"{path.name} is not read: {said[0]}", file=sys.stderr)
        return None


def is_same(
    alone: Callable[[list[Any]], list[Any]],
    together: Callable[[list[Any]], list[Any]],
    types: list[tuple[list[int], str]],
    count: int,
) -> bool:
    """Whether both ways give the same for random inputs of these shapes and dtypes, and some kernel
    runs. Prints what ran and what differs."""
    random = np.random.default_rng(0)
    runs.clear()
    different = total = most = 0
    for _ in range(count):
        inputs = [drawn(random, shape, dtype) for shape, dtype in types]
        for one, other in zip(alone(inputs), together(inputs)):
            different += int(np.sum(one != other))
            total += one.size
            most = max(most, np.max(np.abs(np.subtract(one, other, dtype="float64"))))
    print(f"  kernels that ran: {listed(runs)}")
    if different:
        print(f"  {different} of {total} numbers are not those of TVM, by at most {most:g}")
    else:
        print(f"  bit for bit equal to TVM on {count} inputs: {total} numbers")
    return not different and bool(runs)


def drawn(random: Any, shape: list[int], dtype: str) -> Any:
    if dtype.startswith("float"):
        return random.uniform(-1, 1, shape).astype(dtype)
    least, most = np.iinfo(dtype).min, np.iinfo(dtype).max
    return random.integers(least, most, shape, dtype, endpoint=True)


def listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {times}" for name, times in sorted(counts.items())) or "nothing"
