"""`qpat why` names what was changed in a graph that a pattern takes, and says it with its place."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import tvm
from tvm import relay

from qpat.cli import main
from qpat.compiler import compile_file, compile_source
from qpat.diagnostics import QpatError
from qpat.relay.partition import partition
from qpat.relay.why.reasons import Obstacle
from qpat.relay.why.search import why
from qpat.source import Source
from tests.long_run import LONG
from tests.models import DATA, TFLITE_OPERATORS
from tests.why.mutate import matched_bodies, mutants, typed

LIBRARY = Path(__file__).parents[2] / "patterns" / "tflite.qpat"
MODELS = ("abs", "add_relu", "avg_pool", "conv2d_bias_relu6", "fc_bias", "hard_swish", "max_pool")
MODELS += ("mean", "mul", "resize_bilinear", "softmax", "squared_difference", "transpose_conv_bias")
# In the long run (`make fuzz`) every model of one operator and two networks, over and over.
NETWORKS = ("tflite/resnet8_cifar_int8.tflite", "tflite/op_soup_nol2_int8.tflite")
PATHS = (*TFLITE_OPERATORS, *NETWORKS) if LONG else [f"tflite/ops/{name}.tflite" for name in MODELS]
HEAD = '#[version = "0.0.5"]\n'


def test_the_first_reason_names_what_was_changed(record_property: Any) -> None:
    """At least 95 of 100 changes: an operator put between or exchanged, a constant that is an
    input, another user, attribute, zero point or dtype, operands that change places."""
    compiled, chance = compile_file(LIBRARY), random.Random(7)
    missed, named = [], 0
    for model in PATHS:
        result = partition(DATA / model, compiled)
        for function in list(matched_bodies(result)) * max(1, LONG // 500):
            for mutant in mutants(typed(function)["main"], chance):
                after = partition(mutant.module, compiled)
                found = [each.miss for each in why(after) if each.miss is not None]
                if not found:
                    continue  # taken all the same, by other patterns
                if any(mutant.names(miss.reasons[0]) for miss in found):
                    named += 1
                else:
                    missed.append((model, mutant.what, [m.reasons[0].text for m in found]))
    record_property("named", f"{named} of {named + len(missed)}")
    if LONG:
        print(f"{named} of {named + len(missed)} named; missed:", *missed, sep="\n")
    assert named >= 30
    assert len(missed) <= 0.05 * (named + len(missed)), missed


ADD = """compiler "npu"
pattern add(x: int8, x2: int8) -> y: int8 {
  s = qnn.add(x, x2, ..)
  y = clip(s, a_min=-10)
  where y.scale >= 0.5 else "output too fine"
}
"""


def said(
    relay_text: str, patterns: str = ADD, pattern: str | None = None, at: str | None = None
) -> list[Any]:
    module = relay.transform.InferType()(tvm.relay.parse(HEAD + relay_text))
    result = partition(module, compile_source(Source("npu.qpat", patterns)))
    return [each for each in why(result, pattern, at)]


def added(scale: str = "0.5f", low: int = -10, behind: str = "%1") -> str:
    return f"""def @main(%x: Tensor[(1, 4), int8], %z: Tensor[(1, 4), int8]) {{
  %0 = qnn.add(%x, %z, 0.5f, 0, 0.25f, 3, {scale}, 0);
  %1 = clip(%0, a_min={low}f, a_max=10f);
  {behind}
}}"""


@pytest.mark.parametrize(
    ("text", "obstacle", "words", "place"),
    [
        (added(scale="0.25f"), Obstacle.CONDITION, "output too fine", "y.scale >= 0.5"),
        (added(low=-20), Obstacle.ATTRIBUTE, "`a_min` is -20.0, not -10", "a_min=-10"),
        (added(behind="(%0, %1)"), Obstacle.USER, "`qnn.add` inside is used outside", "qnn.add("),
        (added(behind="(%0, abs(%0))"), Obstacle.OPERATOR, "where `clip` is wanted", "clip("),
    ],
)
def test_reason_and_place(text: str, obstacle: Obstacle, words: str, place: str) -> None:
    first = said(text)[0]
    assert first.miss.pattern.name == "add"
    reason = first.miss.reasons[0]
    assert reason.obstacle is obstacle
    assert words in reason.text
    assert reason.span is not None and reason.span.text.startswith(place)


def test_what_was_taken_before_is_named() -> None:
    """The first pattern takes the sum, so the second has nothing to take the clip with."""
    patterns = """compiler "npu"
pattern sum(x: int8, x2: int8) -> y: int8 {
  y = qnn.add(x, x2, ..)
  where x.scale >= 0.5
}
pattern clipped(x: int8, x2: int8) -> y: int8 {
  y = clip(qnn.add(x, x2, ..))
  where y.scale >= 0.25
}
"""
    [clip] = said(added(), patterns)
    assert clip.operator == "clip"
    assert "taken by `npu.sum` before" in clip.text


def test_operators_no_pattern_has_and_floats() -> None:
    text = """def @main(%x: Tensor[(1, 4), int8], %f: Tensor[(1, 4), float32]) {
  (reverse(%x, axis=0), abs(%f))
}"""
    assert [(each.operator, each.text) for each in said(text)] == [
        ("reverse", "in no pattern"),
        ("abs", "not quantized"),
    ]


def test_one_pattern_by_name() -> None:
    [found] = said(added(behind="(%1, reverse(%0, axis=0))"), pattern="add")[:1]
    assert found.miss.pattern.name == "add"
    with pytest.raises(QpatError, match="QP337"):
        said(added(), pattern="ad")


@pytest.mark.parametrize("at", ["reverse", "%2"])
def test_a_pattern_without_the_operator_that_is_asked_of(at: str) -> None:
    text = added(behind="(%1, reverse(%0, axis=0))")
    assert [each.operator for each in said(text, at=at)] == ["reverse"]
    with pytest.raises(QpatError) as caught:
        said(text, pattern="add", at=at)
    [finding] = caught.value.diagnostics
    assert finding.code == "QP351"
    assert finding.message == "`add` has no operator `reverse`: nothing there comes near it"


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "npu.qpat").write_text(ADD)
    (tmp_path / "m.relay").write_text(HEAD + added(low=-20))
    words = ["why", str(tmp_path / "m.relay"), "--patterns", str(tmp_path / "npu.qpat")]
    assert main([*words, "--json", str(tmp_path / "why.json")]) == 0
    shown = capsys.readouterr().out
    assert "npu.qpat:4:15: warning[QP350]: `qnn.add` stays on the host (%0)" in shown
    assert "`add` comes nearest, 2 of 2 operators fit: clip(qnn.add(x, x2))" in shown
    entries = json.loads((tmp_path / "why.json").read_text())
    assert [entry["op"] for entry in entries] == ["qnn.add", "clip"]
    assert entries[0]["nearest"]["reasons"][0] == {
        "about": "attribute",
        "text": "`a_min` is -20.0, not -10.0",
        "op": "clip",
        "file": str(tmp_path / "npu.qpat"),
        "line": 4,
        "column": 15,
    }
    assert main([*words, "--at", "clip"]) == 0
    assert "`qnn.add` stays" not in capsys.readouterr().out
    assert main([*words, "--at", "nn.relu"]) == 1
    assert "QP351" in capsys.readouterr().err
