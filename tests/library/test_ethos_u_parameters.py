"""Every field of the classes by which TVM's table for Ethos-U reads composites is in a record."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relay

import qpat
from tests.library.rows import ETHOS_U
from tests.library.verdicts import cases, generated, verdict
from tests.single_pass.real_tables import HAS_ETHOSU, table

pytestmark = pytest.mark.skipif(not HAS_ETHOSU, reason="ethos-u-vela is not installed")
COUNT = 15

Reader = Callable[[Any], Any]

# What each attribute of a class is in the record. Tensors are compared by `same_tensor`.
FIELDS: dict[str, Reader] = {
    "ifm": lambda r: r.x,
    "ifm2": lambda r: r.x2,
    "ofm": lambda r: r.y,
    "input": lambda r: r.x,
    "output": lambda r: r.y,
    "weights": lambda r: r.w,
    "biases": lambda r: getattr(r, "bias", None),  # a matmul has none
    "padding": lambda r: r.padding,
    "strides": lambda r: r.strides,
    "dilation": lambda r: r.dilation,
    "groups": lambda r: r.groups,
    "channels": lambda r: r.y.shape[3],
    "kernel_layout": lambda r: r.w.layout,
    "is_depthwise": lambda r: r.pattern == "depthwise_conv2d",
    "pool_shape": lambda r: r.pool_size,
    "count_include_pad": lambda r: False,
    "ch_padding": lambda r: r.ch_padding,
    "reversed_operands": lambda r: r.reversed_operands,
    "valid_broadcast": lambda r: True,
    "new_shape": lambda r: r.newshape,
    "begin": lambda r: r.begin,
    "end": lambda r: r.end,
    "axes": lambda r: r.axes,
    "slice_mode": lambda r: r.slice_mode,
    "axis": lambda r: r.axis,
    "keepdims": lambda r: r.keepdims,
    "height": lambda r: r.height,
    "width": lambda r: r.width,
    "alpha": lambda r: r.alpha,
    "indices_or_sections": lambda r: r.indices_or_sections,
    "size": lambda r: r.upscale_size,
    "coordinate_transformation_mode": lambda r: r.coordinates,
    "rounding_method": lambda r: r.rounding_method,
    "method": lambda r: {"linear": "linear", "nearest": "nearest_neighbor"}[r.form],
    "is_qnn_variant": lambda r: r.form == "qnn",
}
OF_TRANSPOSE: dict[str, Reader] = {
    # Theirs is one too much at the end, for a comparison that is never true; they cut it off.
    "legalize_padding": lambda r: np.add(r.padding, [0, 0, 1, 1]),
    "kernel_shape": lambda r: r.w.shape[2:],
}
# What a row fixes; it is held to that by the verdicts.
FIXED = {"operator_type", "pooling_type", "out_dtype", "roi"}
OF_TRANSPOSE_FIXED = {"padding", "strides", "dilation", "groups", "output_padding"}
# Calls of the graph, of which the fields above are read.
CALLS = {"activation", "concat", "split", "squeeze", "expand_dims"}


def hand_written(composite: str) -> Any:
    module = importlib.import_module("tvm.relay.op.contrib.ethosu")
    classes = [each for each in vars(module).values() if isinstance(each, type)]
    [found] = [each for each in classes if getattr(each, "composite_name", None) == composite]
    return found


@pytest.mark.parametrize("name", ETHOS_U)
def test_record_has_every_field(name: str) -> None:
    theirs, patterns = table("ethos-u"), generated("ethos_u")
    seen = 0
    for seed, root, _ in cases(ETHOS_U[name], COUNT):
        composite = verdict(theirs, root)
        merged = composite_of(patterns.pattern_table(), root)
        if composite is None or merged is None or merged.op.attrs["Composite"] != composite:
            continue
        record = patterns.extract(merged)
        # In a composite's body they cannot read the scales of a concatenation: MergeComposite hands
        # constants in tuples over.
        is_tuple = record.pattern == "concat"
        body = root if is_tuple else composite_of(theirs, root).op.body
        compare(hand_written(composite)(body), record, f"{name} {seed}")
        compare_activation(root, record)
        seen += 1
    assert seen > 0 or name == "reshape_to_five"


def composite_of(rows: Any, root: Any) -> Any:
    """The call of the composite with this root; None where there is none."""
    function = relay.Function(relay.analysis.free_vars(root), root)
    module = qpat.merge_composite(rows)(tvm.IRModule.from_expr(function))
    call = module["main"].body
    is_call = isinstance(call, relay.Call) and isinstance(call.op, relay.Function)
    return call if is_call else None


def compare(params: Any, record: Any, where: str) -> None:
    is_transpose = record.pattern == "conv2d_transpose"
    known: Mapping[str, Reader] = {**FIELDS, **OF_TRANSPOSE} if is_transpose else FIELDS
    left = {*FIXED, *CALLS, *(OF_TRANSPOSE_FIXED if is_transpose else ())}
    for field, value in vars(params).items():
        if field in left:
            continue
        if field in ("input_tensors", "input_scales", "input_zero_points"):
            compare_lists(field, value, record)
            continue
        assert field in known, f"{where}: nothing is compared with {field}"
        found = known[field](record)
        if hasattr(value, "q_params"):
            same_tensor(value, found, f"{where}: {field}")
        else:
            assert plain(found) == plain(value), f"{where}: {field}"


def compare_lists(field: str, values: Any, record: Any) -> None:
    assert len(values) == len(record.xs)
    for value, x in zip(values, record.xs, strict=True):
        if field == "input_tensors":
            same_tensor(value, x, field)
        else:
            assert plain(value) == plain(x.scale if field == "input_scales" else x.zero_point)


def same_tensor(theirs: Any, ours: Any, where: str) -> None:
    assert ours.dtype == theirs.dtype, where
    assert list(ours.shape) == theirs.shape, where
    if theirs.values is None:
        assert ours.value is None, where
    else:
        np.testing.assert_array_equal(ours.value, theirs.values, where)
    scale, zero = theirs.q_params.scale_f32, theirs.q_params.zero_point
    if ours.scale is None or where.startswith(("resize2d", "input_tensors")):
        # They write 1 and 0 for what they do not know, or do not read.
        assert (plain(scale), plain(zero)) == (1.0, 0), where
        return
    assert ours.scale.dtype == np.float32, where
    np.testing.assert_array_equal(ours.scale, scale, where)
    np.testing.assert_array_equal(ours.zero_point, zero, where)


def compare_activation(root: Any, record: Any) -> None:
    """The range of the output is that of the clip, as far as the dtype reaches."""
    if not hasattr(record, "activation"):
        return
    info = np.iinfo(record.y.dtype)
    wanted = (info.min, info.max)
    if root.op.name == "clip":
        low, high = root.attrs.a_min, root.attrs.a_max
        wanted = (max(info.min, int(low)), min(info.max, int(high)))
    assert tuple(record.activation) == wanted


def plain(value: Any) -> Any:
    """Lists and numbers of Python."""
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, tvm.tir.IntImm):
        return int(value)
    if isinstance(value, tvm.ir.Array | list | tuple):
        return [plain(each) for each in value]
    return np.asarray(value).tolist() if not isinstance(value, tvm.runtime.String) else str(value)
