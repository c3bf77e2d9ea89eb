"""The Relax frontends of TFLite and ONNX, called as those of Relay are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def from_tflite(model: Any) -> tuple[Any, dict[str, Any]]:
    """A TFLite model as a module; its tensors are constants in it."""
    from tvm.relax.frontend import tflite

    return tflite.from_tflite(model), {}


def from_onnx(
    model: Any, shape: Mapping[str, tuple[int, ...]], freeze_params: bool
) -> tuple[Any, dict[str, Any]]:
    """An ONNX model as a module; its tensors are constants in it, or else parameters of `main`."""
    from tvm.relax.frontend import onnx

    keeps = not freeze_params
    shapes = {name: list(each) for name, each in shape.items()}
    return onnx.from_onnx(model, shape_dict=shapes, keep_params_in_input=keeps), {}
