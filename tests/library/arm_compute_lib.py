"""The quantized rows of TVM's table for the Arm Compute Library, with concatenation turned on."""

from __future__ import annotations

from typing import Any

from tvm.relay.op.contrib.arm_compute_lib import arm_compute_lib_pattern_table

QUANTIZED = {"qnn_conv2d", "qnn_dense", "avg_pool2d", "concatenate"}


def table() -> list[Any]:
    rows = arm_compute_lib_pattern_table(disabled_ops=[])
    return [row for row in rows if row[0].split(".")[1] in QUANTIZED]
