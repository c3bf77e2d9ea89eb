"""Every pattern of the library means what TVM computes for its graphs."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from qpat.compiler import Compiled, compile_file
from qpat.verify.verification import Verdict, verify
from tests.long_run import LONG

# A few, as the whole takes minutes: docs/verify.md has the command that takes longer.
SAMPLES, INPUTS = 2, 32
PATTERNS = Path(__file__).resolve().parents[2] / "patterns"
LIBRARY = [PATTERNS / "tflite.qpat"]
# Tables of back ends. Of some patterns the conditions leave nothing that is drawn at random, or
# nobody said what they mean.
TABLES = ("cmsis_nn", "arm_compute_lib", "pytorch", *(("ethos_u", "ethos_n", "onnx") * bool(LONG)))
MORE = {"cmsis_nn": SAMPLES}
UNVERIFIED = {
    "ethos_u": {
        *("channel_pad", "conv2d_transpose", "concat", "split", "resize2d", "sum"),
        *("shl", "matmul_fixed_point", "tanh_fixed_point"),
    },
    "ethos_n": {
        *("mul_to_reinterpret_quantize", "add_to_reinterpret_quantize", "sigmoid", "tanh"),
        *("op_reshape", "op_clip", "split"),
    },
    "arm_compute_lib": {"conv2d", "avg_pool2d", "concatenate"},
    "onnx": {
        *("batch_matmul", "dense", "prelu", "global_avg_pool2d", "split"),
        *("concatenate_2", "concatenate_3"),
    },
}


@cache
def compiled(path: Path) -> Compiled:
    return compile_file(path)


CASES = [(path, pattern.name) for path in LIBRARY for pattern in compiled(path).module.patterns]


@pytest.mark.parametrize(("path", "name"), CASES, ids=[f"{p.stem}-{n}" for p, n in CASES])
def test_pattern_of_the_library_is_verified(path: Path, name: str) -> None:
    [verdicts] = verify(compiled(path), samples=SAMPLES, inputs=INPUTS, names=[name])
    for verdict in verdicts:
        assert verdict.status == "verified", said(verdict)
        assert verdict.elements > verdict.left_out
        assert verdict.inputs == verdict.instances * INPUTS
        # Each row of the form has been looked at.
        rows = sum(row.form == verdict.form for row in verdict.pattern.rows)
        assert verdict.instances >= max(1, rows)


@pytest.mark.parametrize("stem", TABLES)
def test_table_of_a_back_end_is_verified(stem: str) -> None:
    unverified: set[str] = set()
    for verdicts in verify(
        compiled(PATTERNS / f"{stem}.qpat"), samples=MORE.get(stem, 1), inputs=16
    ):
        for verdict in verdicts:
            assert verdict.status != "failed", said(verdict)
            if verdict.status == "unverified":
                unverified.add(verdict.pattern.name)
    assert unverified == UNVERIFIED.get(stem, set())


def said(verdict: Verdict) -> str:
    failures = [f"{each.compared} {each.instance.graph.root}" for each in verdict.failures]
    return "\n".join([*verdict.reasons, *failures, *verdict.lost])
