"""Writes qpat/ops/relay.json, the table of Relay operators, from an installed TVM 0.16.

Operand names and their order are read off calls that TVM's own Python builders made, because the
argument list in TVM's operator registry is wrong for several operators.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import inspect
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tvm
from tvm import relay

TVM_VERSION = "0.16"
TABLE = Path(__file__).resolve().parents[1] / "qpat" / "ops" / "relay.json"


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Not Relay's: the other two IRs share the registry.
OTHER_IR = ("relax.", "tir.")
# Only the distribution this was dumped from has these; no other TVM does (compared with v0.16.0).
DISTRIBUTION_PREFIX = "qnn.csi."
DISTRIBUTION_OPS = words(
    "cache_conv1d cache_matmul celu hardmax segment_max segment_mean segment_min segment_prod"
    " segment_sum where_softmax nn.fsmn nn.max_pool2d_with_argmax nn.swish vision.categorical"
    " vision.extract_image_patches vision.invert_permutation vision.max_pool2d_location"
    " vision.psroipooling vision.standard_normal vision.unpooling"
)
DISTRIBUTION_ATTRIBUTES = frozenset(
    {("nn.lrn", "norm_region"), ("nn.contrib_conv2d_gemm_weight_transform", "kernel_layout")}
)

# TVM does not know this. qnn.add and qnn.mul commute when scale and zero point move along.
COMMUTATIVE = words(
    "add multiply maximum minimum equal not_equal logical_and logical_or logical_xor"
    " bitwise_and bitwise_or bitwise_xor qnn.add qnn.mul"
)

# Where the builders live, by the operator's prefix, below tvm.relay.
HOMES = {
    "": "op",
    "nn": "nn",
    "image": "image",
    "vision": "vision",
    "qnn": "qnn.op",
    "random": "random",
    "annotation": "annotation",
    "memory": "op.memory",
    "vm": "op.vm",
    # The dynamic forms come out of the ordinary builders when a shape is an expression.
    "dyn": "op",
    "dyn.nn": "nn",
    "dyn.image": "image",
}

# Plausible values for the parameters of builders that are not operands.
_VALUES: tuple[tuple[Any, str], ...] = (
    (0, "axis shift"),
    (0.5, "a_min a_max eps spatial_scale threshold iou_threshold score_threshold"),
    (4, "depth units channels repeats multiplier n_fft block_size stride stride1 stride2"),
    (4, "num_groups num_samples num_classes max_displacement tile_size tile_N tile_K"),
    (4, "max_detections max_detections_per_class feature_stride convolution_algorithm"),
    (4, "rpn_pre_nms_top_n rpn_post_nms_top_n rpn_min_size indices_or_sections"),
    (True, "is_multiply iou_loss"),
    ([2, 2], "shape newshape size strides reps window_shape begin end block_shape padding"),
    ([2, 2], "kernel_size pooled_size crop_size output_shape scales ratios"),
    ([[1, 1], [1, 1]], "pad_width paddings crops"),
    ("NCHW", "layout src_layout dst_layout kernel_layout"),
    ("float32", "dtype"),
    ("ij,jk->ik", "equation"),
    ("c", "compiler"),
    (tvm.cpu(0), "device src_device dst_device"),
)
VALUES = {name: value for value, names in _VALUES for name in names.split()}
SPECIAL_VALUES: dict[str, dict[str, Any]] = {
    "nn.correlation": {"kernel_size": 2},
    "nn.deformable_conv2d": {"channels": 4, "kernel_size": [2, 2]},  # its defaults do not build
}

# TVM's names for the types of attributes, in ours. The rest, objects and expressions, are "any".
TYPES = {
    "int": "int",
    "double": "float",
    "bool": "bool",
    "str": "str",
    "runtime.String": "str",
    "DataType": "dtype",
    "Array": "list",
    "IntImm": "int_or_none",
    "PrimExpr": "int_or_none",
}


@dataclass(frozen=True)
class Entry:
    """One operator of the table; an attribute is its type, then its default if it has one."""

    source: str
    operands: tuple[str, ...]
    tuples: tuple[str, ...]
    optional: tuple[str, ...]
    attributes: Mapping[str, tuple[Any, ...]]


# The distribution lost these three Python builders. What they call is still there; operands are
# named as the builders of v0.16.0 name them.
def _avg_pool2d(
    data: Any, input_scale: Any, input_zero_point: Any, output_scale: Any, output_zero_point: Any
) -> Any:
    quantization = (input_scale, input_zero_point, output_scale, output_zero_point)
    window = ([2, 2], [1, 1], [0, 0, 0, 0], [1, 1])
    return relay.qnn.op._make.avg_pool2d(data, *quantization, *window, False, True, "NHWC", "")


def _leaky_relu(
    x: Any, input_scale: Any, input_zero_point: Any, output_scale: Any, output_zero_point: Any
) -> Any:
    quantization = (input_scale, input_zero_point, output_scale, output_zero_point)
    return relay.qnn.op._make.leaky_relu(x, 0.5, *quantization)


def _softmax(x: Any, scale: Any, zero_point: Any, output_scale: Any, output_zero_point: Any) -> Any:
    quantization = (scale, zero_point, output_scale, output_zero_point)
    return relay.qnn.op._make.softmax(x, -1, *quantization)


# These builders take a sparse matrix as one object of three arrays.
def _sparse(builder: str) -> Callable[..., Any]:
    def build(dense_mat: Any, sparse_data: Any, sparse_indices: Any, sparse_indptr: Any) -> Any:
        return getattr(relay.nn, builder)(dense_mat, (sparse_data, sparse_indices, sparse_indptr))

    return build


def _dyn_strided_slice(data: Any, begin: Any, end: Any, strides: Any) -> Any:
    # Below the public builder, which first computes `begin` from `data`.
    return relay.op.dyn._make.strided_slice(data, begin, end, strides, "end")


def _sparse_transpose(sparse_data: Any, sparse_indices: Any, sparse_indptr: Any) -> Any:
    return relay.nn.sparse_transpose((sparse_data, sparse_indices, sparse_indptr))


# Builders that the operator's name does not lead to: a path below tvm.relay, or a function.
BUILDERS: dict[str, str | Callable[..., Any]] = {
    "contrib_reverse_reshape": "op.reverse_reshape",
    "dyn.strided_slice": _dyn_strided_slice,
    "nn.contrib_conv2d_NCHWc": "nn.contrib_conv2d_nchwc",
    "nn.contrib_depthwise_conv2d_NCHWc": "nn.contrib_depthwise_conv2d_nchwc",
    "nn.sparse_add": _sparse("sparse_add"),
    "nn.sparse_dense": _sparse("sparse_dense"),
    "nn.sparse_transpose": _sparse_transpose,
    "on_device": "annotation.on_device",
    "qnn.avg_pool2d": _avg_pool2d,
    "qnn.leaky_relu": _leaky_relu,
    "qnn.softmax": _softmax,
}
# The first two lag behind the C++ they call; the third wants a constant and looks inside it.
BROKEN_BUILDERS = frozenset({"memory.alloc_storage", "vm.invoke_tvm_op", "memory.alloc_tensor"})

# Parameters that are operands although they have a default or are in VALUES.
OPERANDS = {
    "arange": "start stop step",
    "collapse_sum_to": "shape",
    "dyn.broadcast_to": "shape",
    "dyn.expand_dims": "axis",
    "dyn.full": "shape",
    "dyn.image.resize2d": "size roi",
    "dyn.nn.pad": "pad_width pad_value",
    "dyn.nn.upsampling": "scale_h scale_w",
    "dyn.nn.upsampling3d": "scale_d scale_h scale_w",
    "dyn.one_hot": "depth",
    "dyn.ones": "shape",
    "dyn.reshape": "newshape",
    "dyn.sparse_to_dense": "output_shape default_value",
    "dyn.squeeze": "axis",
    "dyn.strided_slice": "begin end strides",
    "dyn.tile": "reps",
    "dyn.topk": "k",
    "dyn.zeros": "shape",
    "nn.pad": "pad_value",
    "qnn.simulated_dequantize": "in_dtype",
    "qnn.simulated_quantize": "out_dtype",
    "random.normal": "mean scale",
    "random.uniform": "low high",
    "sparse_to_dense": "default_value",
    "stft": "window",
    "strided_set": "begin end strides",
    "unravel_index": "shape",
    "variance": "with_mean",
    "vision.all_class_non_max_suppression": "max_output_boxes_per_class iou_threshold"
    " score_threshold",
    "vision.get_valid_counts": "score_threshold",
    "vision.non_max_suppression": "max_output_size iou_threshold",
    "vm.reshape_tensor": "shape",
}
# Parameters that take many expressions and make a tuple of them.
TUPLES = {
    "adv_index": "inputs",
    "concatenate": "data",
    "einsum": "data",
    "meshgrid": "data",
    "qnn.concatenate": "data input_scales input_zero_points",
    "stack": "data",
}

# Required attributes of operators without a builder: their fields are listed from an instance.
_FEATURE_MAPS = {"ifm_scale": 1.0, "ifm_zero_point": 0, "ofm_scale": 1.0, "ofm_zero_point": 0}
_IFM2 = {"ifm2_scale": 1.0, "ifm2_zero_point": 0, "ifm_channels": 4, "ifm2_channels": 4}
REGISTRY_VALUES: dict[str, dict[str, Any]] = {
    "auto_scheduler_layout_transform": {"src_layout": "NCHW", "dst_layout": "NHWC"},
    "contrib.ethosu.binary_elementwise": {
        **(_FEATURE_MAPS | _IFM2),
        "operator_type": "ADD",
        "ofm_dtype": "int8",
    },
    "contrib.ethosu.conv2d": {**_FEATURE_MAPS, "weight_zero_point": 0},
    "contrib.ethosu.depthwise_conv2d": {**_FEATURE_MAPS, "weight_zero_point": 0},
    "contrib.ethosu.identity": _FEATURE_MAPS,
    "contrib.ethosu.pooling": {**_FEATURE_MAPS, "pooling_type": "MAX", "ofm_dtype": "int8"},
    "contrib.ethosu.unary_elementwise": {
        **_FEATURE_MAPS,
        "operator_type": "ABS",
        "ofm_channels": 4,
    },
    "fixed_point_multiply_per_axis": {"axes": [0]},
    "memory.alloc_storage": {"dtype": "int8", "virtual_device": tvm.target.VirtualDevice()},
    "memory.alloc_tensor": {"dtype": "int8", "const_shape": None, "assert_shape": []},
    "meta_schedule_layout_transform": {"index_map": None},
    "parser.MetaRef": {"node_type_key": "", "node_index": 0},
}


def exclusion(name: str, op: Any) -> str | None:
    """Why an operator of the registry is not in the table, or None if it is."""
    if name.startswith(OTHER_IR):
        return "belongs to another IR"
    if name.startswith(DISTRIBUTION_PREFIX) or name in DISTRIBUTION_OPS:
        return "added by the distribution"
    if op.num_inputs < 0:
        # Someone set an attribute on the name, which registers it; no call can be built from it.
        return "only a name"
    return None


def resolve(path: str) -> Any:
    """The object at a dotted path below tvm.relay, or None."""
    found: Any = relay
    for part in path.split("."):
        found = getattr(found, part, None)
    return found


def builder_of(name: str) -> Callable[..., Any] | None:
    """The Python function that builds calls of this operator."""
    prefix, _, last = name.rpartition(".")
    if name in BROKEN_BUILDERS or (name not in BUILDERS and prefix not in HOMES):
        return None
    found = BUILDERS.get(name) or f"{HOMES[prefix]}.{last}"
    found = resolve(found) if isinstance(found, str) else found
    return found if callable(found) else None


def split_parameters(name: str, build: Callable[..., Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Attribute values to build with, and an expression of the same name for each operand."""
    values: dict[str, Any] = {}
    operands: dict[str, Any] = {}
    for parameter in inspect.signature(build).parameters.values():
        key, required = parameter.name, parameter.default is inspect.Parameter.empty
        if key in words(TUPLES.get(name, "")):
            operands[key] = [relay.var(f"{key}:{i}") for i in range(2)]
        elif key in words(OPERANDS.get(name, "")) or (required and key not in VALUES):
            operands[key] = relay.var(key)
        elif required:
            values[key] = VALUES[key]
    return values | SPECIAL_VALUES.get(name, {}), operands


def calls_of(name: str, built: Any) -> list[Any]:
    """The calls of one operator in what a builder returned."""
    root = built.astuple() if hasattr(built, "astuple") else built
    calls: list[Any] = []

    def visit(node: Any) -> None:
        if isinstance(node, relay.Call) and isinstance(node.op, tvm.ir.Op) and node.op.name == name:
            calls.append(node)

    relay.analysis.post_order_visit(root, visit)
    return calls


def operand_name(arg: Any) -> str:
    """The parameter an argument of a built call came from."""
    names = {var.name_hint.partition(":")[0] for var in relay.analysis.free_vars(arg)}
    if len(names) != 1:
        raise ValueError(f"cannot tell which operand this is: {arg}")
    return str(names.pop())


def from_builder(name: str, build: Callable[..., Any]) -> Entry:
    """The entry of an operator as its Python builder calls it."""
    values, given = split_parameters(name, build)
    (call,) = calls_of(name, build(**values, **given))
    operands = tuple(operand_name(arg) for arg in call.args)
    if set(operands) != set(given) or len(operands) != len(given):
        raise ValueError(f"{name}: gave {sorted(given)}, the call has {operands}")

    def can_be_left_out(operand: str) -> bool:
        if inspect.signature(build).parameters[operand].default is inspect.Parameter.empty:
            return False
        rest = {key: value for key, value in given.items() if key != operand}
        return any(len(c.args) < len(given) for c in calls_of(name, build(**values, **rest)))

    return Entry(
        source="builder",
        operands=operands,
        tuples=tuple(operand_name(a) for a in call.args if isinstance(a, relay.Tuple)),
        optional=tuple(n for n in operands if can_be_left_out(n)),
        attributes=attributes_of(name, call.attrs),
    )


def from_registry(name: str, op: Any) -> Entry:
    """The entry of an operator nothing in Python builds: what its registration says."""
    operands = tuple(arg.name for arg in op.arguments)
    attrs = None
    if op.attrs_type_key:
        attrs = tvm.ir.make_node(op.attrs_type_key, **REGISTRY_VALUES.get(name, {}))
    return Entry(
        source="registry",
        operands=operands,
        tuples=tuple(arg.name for arg in op.arguments if "Tuple" in arg.type_info),
        optional=(),
        attributes=attributes_of(name, attrs),
    )


def attributes_of(name: str, attrs: Any) -> dict[str, tuple[Any, ...]]:
    """Name, normalised type and declared default of every attribute, in declared order."""
    if attrs is None:
        return {}
    # Not attrs.list_field_info(): some attribute classes have no Python class to have the method.
    fields = tvm.ir._ffi_api.AttrsListFieldInfo(attrs)
    return {
        info.name: attribute(info.type_info)
        for info in fields
        if (name, info.name) not in DISTRIBUTION_ATTRIBUTES
    }


def attribute(type_info: str) -> tuple[Any, ...]:
    """TVM's description, such as `int, default=1`, as a type and, if there is one, a default."""
    declared, has_default, text = type_info.partition(", default=")
    null = text == "(nullptr)"
    kind = TYPES.get(declared, "any")
    if declared in ("IntImm", "PrimExpr") and has_default and not null:
        kind = "bool" if text.startswith("T.bool") else "int"
    if not has_default:
        return (kind,)
    if null:
        return (kind, None)
    # A default that is an object, such as a virtual device, cannot be written down.
    return (kind,) if kind == "any" else (kind, default(kind, text))


def default(kind: str, text: str) -> Any:
    """A default as a JSON value, from the text TVM prints for it."""
    if kind == "str":
        return text
    if kind == "dtype":
        return "" if text == "void" else text
    value = ast.literal_eval(re.sub(r"T\.\w+\(([^()]*)\)", r"\1", text))
    return bool(value) if kind == "bool" else float(value) if kind == "float" else value


def dump() -> dict[str, Entry]:
    """Every operator of the table, by name."""
    table: dict[str, Entry] = {}
    for name in sorted(tvm.ir.Op.list_op_names()):
        op = tvm.ir.Op.get(name)
        if exclusion(name, op):
            continue
        build = builder_of(name)
        table[name] = from_registry(name, op) if build is None else from_builder(name, build)
    return table


def render(table: Mapping[str, Entry]) -> str:
    """The table as JSON with a line for each list of operands and each attribute."""
    operators = ",\n".join(render_entry(name, entry) for name, entry in table.items())
    return f'{{\n"tvm": "{TVM_VERSION}",\n"operators": {{\n{operators}\n}}\n}}\n'


def render_entry(name: str, entry: Entry) -> str:
    lines = [f'  "source": "{entry.source}"', f'  "operands": {json.dumps(entry.operands)}']
    for key in ("tuples", "optional"):
        if getattr(entry, key):
            lines.append(f'  "{key}": {json.dumps(getattr(entry, key))}')
    if name in COMMUTATIVE:
        lines.append('  "commutative": true')
    if entry.attributes:
        attributes = (f'    "{k}": {json.dumps(v)}' for k, v in entry.attributes.items())
        lines.append('  "attributes": {\n' + ",\n".join(attributes) + "\n  }")
    return f'"{name}": {{\n' + ",\n".join(lines) + "\n}"


def difference(old: str, new: str) -> str:
    """The first lines of a diff from the table in the repository to a fresh one."""
    texts = old.splitlines(), new.splitlines()
    lines = list(difflib.unified_diff(*texts, "checked in", "TVM", lineterm="", n=1))
    return "\n".join([*lines[:40], f"({len(lines)} lines of difference)"])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare, do not write")
    options = parser.parse_args(arguments)
    if not tvm.__version__.startswith(TVM_VERSION):
        print(f"the table is TVM {TVM_VERSION}'s, this is {tvm.__version__}", file=sys.stderr)
        return 2
    text = render(dump())
    if not options.check:
        TABLE.write_text(text, encoding="utf-8")
        return 0
    checked_in = TABLE.read_text(encoding="utf-8") if TABLE.exists() else ""
    if text == checked_in:
        return 0
    print(difference(checked_in, text))
    return 1


if __name__ == "__main__":
    sys.exit(main())
