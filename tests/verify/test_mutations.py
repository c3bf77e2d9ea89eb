"""Faults in what is generated are noticed; those that are not are known, with the reason.

tools/mutate_library.py counts them for the whole library.
"""

from __future__ import annotations

from functools import cache

import pytest

from qpat.compiler import Compiled, compile_file
from qpat.records import replace
from qpat.verify.verification import verify
from tests.long_run import LONG
from tests.models import ROOT
from tests.verify.mutations import changes_nothing, mutants, noticed

PATTERNS = ["mean", "strided_slice", "quantize", *(["relu"] if LONG else [])]


@cache
def library() -> Compiled:
    return compile_file(ROOT / "patterns" / "tflite.qpat")


@pytest.mark.parametrize("pattern", PATTERNS)
def test_faults_in_what_is_generated_are_noticed(
    pattern: str, record_property: pytest.RecordProperty
) -> None:
    found = list(mutants(library().text, pattern))
    assert len(found) >= 2
    how = {str(each): noticed(library(), each, 12, 12) for each in found}
    survived = [each for each, status in how.items() if status == "survived"]
    record_property("score", f"{len(how) - len(survived)} of {len(how)}")
    assert not [each for each in survived if not changes_nothing(each)]
    assert list(how.values()).count("failed") >= len(how) / 2


@pytest.mark.parametrize(
    "name",
    [
        "conv2d: wrong axis: w",
        "conv2d_transpose: swap: zero_point of y_space and acc_space",
        "reduce_max: forget an attribute: axis",
    ],
)
def test_faults_that_once_survived_are_noticed(name: str) -> None:
    found = mutants(library().text, name.partition(":")[0])
    [mutant] = [each for each in found if str(each) == name]
    assert noticed(library(), mutant, 8, 4) == "failed"


def test_a_mutant_is_another_module_and_the_original_is_none() -> None:
    texts = [each.text for each in mutants(library().text, "mean")]
    assert len(texts) == len(set(texts))
    assert library().text not in texts


def test_a_row_that_refuses_graphs_of_its_own_fails() -> None:
    """With the scales of accumulator and output exchanged it takes but those where they are one."""
    found = mutants(library().text, "dense")
    [swapped] = [m for m in found if m.kind == "swap" and "scale of bias_space" in m.what]
    changed = replace(library(), text=swapped.text)
    [verdicts] = verify(changed, names=["dense"], samples=1, inputs=1)
    said = [reason for each in verdicts for reason in each.lost]
    assert said and all("it refuses a graph that is one of its own: " in each for each in said)
