"""Coverage of two networks by the library and by patterns that refuse, counted once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.coverage.browser import Browser, executable
from tests.models import DATA, ROOT

if TYPE_CHECKING:
    from qpat.relay.coverage.data import Coverage

LIBRARY = ROOT / "patterns" / "tflite.qpat"
REFUSING = """compiler "npu"

pattern conv2d(x: int8, w: int8, bias: int32?) -> y: int8 {
  acc = qnn.conv2d(x, const w, .., data_layout="NHWC", kernel_layout="HWIO")
  sum = nn.bias_add(acc, const bias)?
  out = qnn.requantize(sum, ..)
  y   = clip(out)?
  where w.shape[0] == 1        else "kernel larger than 1"
  where acc.attrs.strides < 2  else "strides of 2"
  param strides = acc.attrs.strides
}

pattern activation(x: int8) -> y: int8 {
  form clip { y = clip(x) }
  form relu { y = nn.relu(x) }
}

pattern softmax(x: float32) -> y: float32 as op "nn.softmax" {
  y = nn.softmax(x)
  where x.shape[1] > 10  else "few classes"
}
"""
NETWORKS = ("tflite/resnet8_cifar_int8.tflite", "tflite/ds_cnn_kws_int8.tflite")


@pytest.fixture(scope="session")
def by_library() -> Coverage:
    import qpat

    return qpat.coverage([DATA / name for name in NETWORKS], LIBRARY)


@pytest.fixture(scope="session")
def refusing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("patterns") / "npu.qpat"
    path.write_text(REFUSING)
    return path


@pytest.fixture(scope="session")
def by_refusing(refusing: Path) -> Coverage:
    import qpat

    return qpat.coverage([DATA / name for name in NETWORKS], refusing)


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Skips where `make test` has found none and nobody counts on it."""
    if "chromium" in os.environ.get("QPAT_MISSING_ENVIRONMENTS", "").split():
        pytest.skip("this machine has no Chromium, see the output of scripts/browser")
    program = executable()
    if program is None:
        pytest.fail("this machine has no Chromium, run this first: scripts/browser")
    with Browser(program, tmp_path_factory.mktemp("profile")) as started:
        yield started
