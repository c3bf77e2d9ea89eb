"""What Relay's operators do to quantization: written by hand, on top of the dumped op table.

A *group* says which operands are the scale and zero point of which tensor. A *share* says that an
operand and the result (or a field of an operand) are in one space, and how the axis of a
per-channel scale moves between the two. Sources: `src/relay/qnn/op/*.cc` (the type relations name
the axis of each scale) and `src/relay/op/{nn,tensor}/*.cc` of TVM 0.16. What is not listed is
unknown, not guessed: the accumulator of a convolution, `sum` (its zero point is multiplied),
`nn.prelu`, `where`.
"""

from __future__ import annotations

from enum import Enum

from qpat.ops.table import Operator
from qpat.records import dataclass

RESULT = "result"
"""Stands for the value of the call itself where an operand's name is wanted."""


class AxisMove(Enum):
    """How the axis of a per-channel scale moves from an operand to the result."""

    SAME = "same"
    BIAS = "bias"  # the operand is a vector along the call's attribute `axis`
    BROADCAST = "broadcast"  # axes are counted from the right
    TRANSPOSE = "transpose"  # permuted by the attribute `axes`
    RESHAPE = "reshape"  # the axis with as many elements before it
    LOST = "lost"  # only a scalar scale survives


@dataclass(frozen=True)
class AxisRule:
    """Where the axis of a vector scale is said: by an attribute, a layout, or once for all."""

    attribute: str | None = None
    layout: str | None = None
    letter: str = ""
    fixed: int | None = None


SCALAR = AxisRule()


@dataclass(frozen=True)
class Group:
    """The operands that hold the parameters of `tensor`, an operand's name or RESULT.

    Where `tensor` is a tuple, `scale` and `zero_point` are tuples with one field each.
    """

    tensor: str
    scale: str
    zero_point: str
    axis: AxisRule = SCALAR


@dataclass(frozen=True)
class Share:
    """`operand` and the result are in one space. `integers_only` for operators that also convert to
    float; `accumulators_only` where it holds for int32 and int64 only (their zero point is 0);
    `adds` where the result is a sum, so that it holds for a zero point of 0 only."""

    operand: str
    move: AxisMove
    integers_only: bool = False
    accumulators_only: bool = False
    adds: bool = False


@dataclass(frozen=True)
class Accumulation:
    """The result is a sum of products of two operands: its scale is the product of theirs, along
    the axis `channels`, and its zero point 0. A vector of the weight's scales has that axis."""

    data: str
    weight: str
    channels: AxisRule


@dataclass(frozen=True)
class Roles:
    groups: tuple[Group, ...] = ()
    shares: tuple[Share, ...] = ()
    accumulation: Accumulation | None = None

    def slot(self, operand: str) -> tuple[Group, str] | None:
        """The group an operand belongs to and whether it is its `scale` or `zero_point`."""
        for group in self.groups:
            if group.scale == operand:
                return group, "scale"
            if group.zero_point == operand:
                return group, "zero_point"
        return None


def _attribute(name: str) -> AxisRule:
    return AxisRule(attribute=name)


_OUT_CHANNEL = AxisRule(layout="kernel_layout", letter="O")
_CHANNEL = AxisRule(layout="data_layout", letter="C")
_LAST = AxisRule(fixed=-1)
_DATA_AND_KERNEL = ("input_scale", "input_zero_point"), ("kernel_scale", "kernel_zero_point")


def _weighted(kernel: str, axis: AxisRule, channels: AxisRule) -> Roles:
    (input_scale, input_zero_point), (kernel_scale, kernel_zero_point) = _DATA_AND_KERNEL
    return Roles(
        (
            Group("data", input_scale, input_zero_point),
            Group(kernel, kernel_scale, kernel_zero_point, axis),
        ),
        accumulation=Accumulation("data", kernel, channels),
    )


_BINARY = Roles(
    (
        Group("lhs", "lhs_scale", "lhs_zero_point", _attribute("lhs_axis")),
        Group("rhs", "rhs_scale", "rhs_zero_point", _attribute("rhs_axis")),
        Group(RESULT, "output_scale", "output_zero_point"),
    )
)
_UNARY = Roles(
    (
        Group("x", "scale", "zero_point"),
        Group(RESULT, "output_scale", "output_zero_point"),
    )
)


def _passes(operand: str, move: AxisMove = AxisMove.SAME) -> Roles:
    return Roles(shares=(Share(operand, move),))


_ROLES: dict[str, Roles] = {
    "qnn.conv2d": _weighted("kernel", _OUT_CHANNEL, _CHANNEL),
    "qnn.conv2d_transpose": _weighted("weight", _OUT_CHANNEL, _CHANNEL),
    "qnn.dense": _weighted("weight", AxisRule(fixed=0), _LAST),
    "qnn.contrib_dense_pack": _weighted("weight", AxisRule(fixed=0), _LAST),
    "qnn.batch_matmul": Roles(
        (Group("x", "x_scale", "x_zero_point"), Group("y", "y_scale", "y_zero_point")),
        accumulation=Accumulation("x", "y", _LAST),
    ),
    "qnn.add": _BINARY,
    "qnn.subtract": _BINARY,
    "qnn.mul": _BINARY,
    "qnn.quantize": Roles(
        (Group(RESULT, "output_scale", "output_zero_point", _attribute("axis")),)
    ),
    "qnn.dequantize": Roles(
        (Group("data", "input_scale", "input_zero_point", _attribute("axis")),)
    ),
    "qnn.simulated_quantize": Roles(
        (Group(RESULT, "output_scale", "output_zero_point", _attribute("axis")),)
    ),
    "qnn.simulated_dequantize": Roles(
        (Group("data", "input_scale", "input_zero_point", _attribute("axis")),)
    ),
    "qnn.requantize": Roles(
        (
            Group("data", "input_scale", "input_zero_point", _attribute("axis")),
            Group(RESULT, "output_scale", "output_zero_point", _attribute("axis")),
        )
    ),
    "qnn.concatenate": Roles(
        (
            Group("data", "input_scales", "input_zero_points"),
            Group(RESULT, "output_scale", "output_zero_point"),
        )
    ),
    **{
        f"qnn.{name}": _UNARY
        for name in (
            "abs",
            "erf",
            "exp",
            "hardswish",
            "log",
            "rsqrt",
            "sigmoid",
            "softmax",
            "sqrt",
            "tanh",
        )
    },
    "qnn.leaky_relu": Roles(
        (
            Group("x", "input_scale", "input_zero_point"),
            Group(RESULT, "output_scale", "output_zero_point"),
        )
    ),
    "qnn.avg_pool2d": Roles(
        (
            Group("data", "input_scale", "input_zero_point"),
            Group(RESULT, "output_scale", "output_zero_point"),
        )
    ),
    # ---- one space in, the same space out ----
    "cast": Roles(shares=(Share("data", AxisMove.SAME, integers_only=True),)),
    "nn.bias_add": Roles(
        shares=(
            Share("data", AxisMove.SAME, adds=True),
            Share("bias", AxisMove.BIAS, adds=True),
        )
    ),
    "add": Roles(
        shares=(
            Share("lhs", AxisMove.BROADCAST, accumulators_only=True, adds=True),
            Share("rhs", AxisMove.BROADCAST, accumulators_only=True, adds=True),
        )
    ),
    "maximum": Roles(shares=(Share("lhs", AxisMove.BROADCAST), Share("rhs", AxisMove.BROADCAST))),
    "minimum": Roles(shares=(Share("lhs", AxisMove.BROADCAST), Share("rhs", AxisMove.BROADCAST))),
    "clip": _passes("a"),
    "copy": _passes("data"),
    "nn.relu": _passes("data"),
    "nn.pad": _passes("data"),
    "nn.mirror_pad": _passes("data"),
    **{
        f"nn.{kind}_pool{dimensions}": _passes("data")
        for kind in ("max", "avg", "adaptive_max", "adaptive_avg")
        for dimensions in ("1d", "2d", "3d")
    },
    "nn.global_max_pool2d": _passes("data"),
    "nn.global_avg_pool2d": _passes("data"),
    "nn.upsampling": _passes("data"),
    "image.resize1d": _passes("data"),
    "image.resize2d": _passes("data"),
    "image.resize3d": _passes("data"),
    "strided_slice": _passes("data"),
    "split": _passes("data"),
    "concatenate": _passes("data"),
    "reverse": _passes("data"),
    "transpose": _passes("data", AxisMove.TRANSPOSE),
    "broadcast_to": _passes("data", AxisMove.BROADCAST),
    "reshape": _passes("data", AxisMove.RESHAPE),
    "squeeze": _passes("data", AxisMove.RESHAPE),
    "expand_dims": _passes("data", AxisMove.RESHAPE),
    "nn.batch_flatten": _passes("data", AxisMove.RESHAPE),
    **{
        name: _passes("data", AxisMove.LOST)
        for name in (
            "gather",
            "gather_nd",
            "layout_transform",
            "max",
            "mean",
            "min",
            "nn.batch_to_space_nd",
            "nn.depth_to_space",
            "nn.space_to_batch_nd",
            "nn.space_to_depth",
            "repeat",
            "stack",
            "take",
            "tile",
        )
    },
}


# Operators whose result is a tuple, from their type relations: what `t[0]` can be taken of.
TUPLE_RESULTS = frozenset(
    [
        "dyn.topk",
        "meshgrid",
        "nn.batch_norm",
        "nn.dropout",
        "random.normal",
        "random.threefry_generate",
        "random.threefry_split",
        "random.uniform",
        "sparse_fill_empty_rows",
        "sparse_reshape",
        "split",
        "topk",
        "unique",
        "vision.all_class_non_max_suppression",
        "vision.get_valid_counts",
        "vision.multibox_transform_loc",
        "vision.non_max_suppression",
        "vision.regular_non_max_suppression",
    ]
)


@dataclass(frozen=True)
class Exchange:
    """What changes places when the two tensors of a call do: pairs of operands, by position, and
    pairs of attributes."""

    operands: tuple[tuple[int, int], ...]
    attributes: tuple[tuple[str, str], ...]


def exchange(operator: Operator) -> Exchange | None:
    """How the two tensors of a call change places, each with its scale and zero point; None where
    there are not two of a kind."""
    names = [operand.name for operand in operator.operands]
    if names[:2] != ["lhs", "rhs"]:
        return None
    pairs = [
        (position, names.index(f"r{name[1:]}"))
        for position, name in enumerate(names)
        if name.startswith("lhs")
    ]
    attributes = [(name, f"r{name[1:]}") for name in operator.attributes if name.startswith("lhs")]
    return Exchange(tuple(pairs), tuple(attributes))


def roles(operator: str) -> Roles:
    """The roles of an operator; empty where nothing is known of it."""
    return _ROLES.get(operator, Roles())


def known_operators() -> tuple[str, ...]:
    """The operators something is known of, sorted."""
    return tuple(sorted(_ROLES))
