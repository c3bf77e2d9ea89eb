"""What the functions of the package say of arguments that they cannot take, and what they take."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tvm import relay

import qpat

PATTERNS = 'compiler "npu"\npattern abs(x: int8) -> y: int8 { y = abs(x) }\n'
MODEL = '#[version = "0.0.5"]\ndef @main(%x: Tensor[(1, 4), int8]) { abs(%x) }\n'


@pytest.fixture
def patterns(tmp_path: Path) -> Path:
    path = tmp_path / "npu.qpat"
    path.write_text(PATTERNS, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("tvm",), "the target is one of relay, relax, not 'tvm'"),
        (("relax", "loud"), "the level `unsaid` is one of error, warning, ignore, not 'loud'"),
        (("relay", None), "the level `unsaid` is one of"),
    ],
)
def test_targets_and_levels_there_are_not(patterns: Path, given: Any, said: str) -> None:
    with pytest.raises(ValueError) as caught:
        qpat.compile_file(patterns, *given)
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize("model", [None, 5, relay.var("x")])
@pytest.mark.parametrize(
    "ask",
    [
        lambda model, patterns: qpat.quantization(model),
        lambda model, patterns: qpat.partition(model, patterns),
        lambda model, patterns: qpat.offload(model, patterns),
        lambda model, patterns: qpat.coverage(model, patterns),
        lambda model, patterns: qpat.coverage([model], patterns),
    ],
)
def test_what_is_no_model(ask: Callable[..., Any], model: Any, patterns: Path) -> None:
    with pytest.raises(TypeError, match="a model is a path or an IRModule, not of type "):
        ask(model, patterns)


def test_what_is_no_partition() -> None:
    with pytest.raises(TypeError, match="takes what partition.. gives, nothing of type str"):
        qpat.canonicalize("model.tflite")  # type: ignore[arg-type]


def test_one_model_is_covered_as_many_are(patterns: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.relay"
    path.write_text(MODEL, encoding="utf-8")
    for models in (str(path), path, relay.parse(MODEL), [path]):
        [counted] = qpat.coverage(models, patterns).models
        assert counted.work.offloaded_calls == 1
