"""What Relay's operators do to dtypes and shapes: written by hand, beside their roles.

A rule holds in every graph that TVM's InferType accepts, of any TVM from 0.9 to 0.19; where they
differ the rule allows what one of them does. What is not listed is unknown, not guessed. Sources:
the type relations in `src/relay/qnn/op/*.cc`, `src/relay/op/{nn,tensor,image}/*.cc` and
`src/relay/op/type_relations.cc`. Weights whose layout the auto-scheduler or the meta-schedule
rewrote are left out of account: they come into being when a module is built, after partitioning.

A *place* is an operand's name or RESULT; that of a tuple stands for each of its fields.
"""

from __future__ import annotations

from typing import TypeAlias

from qpat.ops.roles import RESULT, roles
from qpat.records import dataclass

# ---- rules for dtypes ------------------------------------------------------------------


@dataclass(frozen=True)
class Same:
    """The places have one dtype."""

    places: tuple[str, ...]


@dataclass(frozen=True)
class Among:
    """The dtype of a place is one of these."""

    place: str
    dtypes: frozenset[str]


@dataclass(frozen=True)
class Stated:
    """An attribute names the dtype of a place; where it is unset, it is that of `otherwise`."""

    place: str
    attribute: str
    otherwise: str | None = None


DtypeRule: TypeAlias = Same | Among | Stated

# ---- rules for ranks and dimensions ------------------------------------------------------


@dataclass(frozen=True)
class OneShape:
    """The places have one shape."""

    places: tuple[str, ...]


@dataclass(frozen=True)
class OneRank:
    """The places have one rank; where `when` is given, if that attribute is true."""

    places: tuple[str, ...]
    when: str | None = None


@dataclass(frozen=True)
class Rank:
    """The rank of a place, `most` None where it has no upper end."""

    place: str
    least: int
    most: int | None = None


@dataclass(frozen=True)
class LayoutRank:
    """A place has a dimension for each letter of the layout; at least `least` in any layout."""

    place: str
    attribute: str
    least: int


@dataclass(frozen=True)
class LayoutReach:
    """A place has a dimension where the layout has these letters; other dimensions are as in the
    result. TVM does not ask for a dimension for each letter here."""

    place: str
    attribute: str
    letters: str


@dataclass(frozen=True)
class SameLetter:
    """Two places, each with its layout, have one size where that has the letter."""

    letter: str
    first: tuple[str, str]
    second: tuple[str, str]


@dataclass(frozen=True)
class Broadcast:
    """The result has the rank of the place with the most dimensions."""

    places: tuple[str, ...]


@dataclass(frozen=True)
class NoMore:
    """`smaller` has no more dimensions than `larger`."""

    smaller: str
    larger: str


@dataclass(frozen=True)
class Grown:
    """The result has more dimensions than the place: a number of them, or as an attribute says."""

    place: str
    by: int | str


@dataclass(frozen=True)
class Removed:
    """The result lacks the dimensions that the list `attribute` names. `unless` are the attributes
    that must be false for that."""

    place: str
    attribute: str
    unless: tuple[str, ...] = ()


@dataclass(frozen=True)
class AxisOf:
    """An attribute is one axis of a place, or a list of them; `spare` is 1 where it may also be
    the one behind the last."""

    place: str
    attribute: str
    spare: int = 0


@dataclass(frozen=True)
class Permuted:
    """The result is the place with its dimensions in the order of an attribute."""

    place: str
    attribute: str


@dataclass(frozen=True)
class Shaped:
    """An attribute is the shape of the result. Its sizes below 1 are computed, and those below -1
    stand for more or fewer than one dimension."""

    attribute: str


@dataclass(frozen=True)
class Padded:
    """An attribute has for each dimension of the place how much larger it is in the result: a list
    of two numbers, before and behind."""

    place: str
    attribute: str


@dataclass(frozen=True)
class SameFront:
    """The result has the dimensions of the place, but for the last."""

    place: str


ShapeRule: TypeAlias = (
    OneShape
    | OneRank
    | Rank
    | LayoutRank
    | LayoutReach
    | SameLetter
    | Broadcast
    | NoMore
    | Grown
    | Removed
    | AxisOf
    | Permuted
    | Shaped
    | Padded
    | SameFront
)


@dataclass(frozen=True)
class Types:
    """All that is known of an operator."""

    dtypes: tuple[DtypeRule, ...] = ()
    shapes: tuple[ShapeRule, ...] = ()


# ---- the table ---------------------------------------------------------------------------

BOOL = frozenset(["bool"])
FLOAT32 = frozenset(["float32"])
INT32 = frozenset(["int32"])
SIGNED = frozenset(["int4", "int8", "int16", "int32", "int64"])
UNSIGNED = frozenset(["bool", "uint4", "uint8", "uint16", "uint32", "uint64"])  # bool is uint1
_BYTES = frozenset(["int8", "uint8"])
_NARROW = _BYTES | {"int16"}
_UPTO16 = _NARROW | {"uint16"}
_WIDE = frozenset(["int32", "int64"])


def _words(text: str) -> list[str]:
    return text.split()


def _elementwise(*places: str) -> Types:
    """One dtype and one shape for all."""
    return Types((Same((*places, RESULT)),), (OneShape((*places, RESULT)),))


def _broadcast(*places: str) -> Types:
    return Types((Same((*places, RESULT)),), (Broadcast(places),))


def _kept(place: str, *shapes: ShapeRule) -> Types:
    """The result has the dtype of the place."""
    return Types((Same((place, RESULT)),), shapes)


def _slots(name: str, *free: str) -> tuple[DtypeRule, ...]:
    """Scales are float32 and zero points int32, but for those TVM does not look at (`free`)."""
    rules: list[DtypeRule] = []
    for group in roles(name).groups:
        rules += [Among(group.scale, FLOAT32), Among(group.zero_point, INT32)]
    return tuple(rule for rule in rules if not (isinstance(rule, Among) and rule.place in free))


def _product(
    name: str, operands: tuple[str, str], dtypes: tuple[frozenset[str], ...], *free: str
) -> tuple[DtypeRule, ...]:
    """A quantized convolution or product: what its operands and its result may be."""
    places = (*operands, RESULT)
    among = tuple(Among(place, each) for place, each in zip(places, dtypes, strict=True))
    return (*among, Stated(RESULT, "out_dtype"), *_slots(name, *free))


def _convolution(weight: str, rank: int) -> tuple[ShapeRule, ...]:
    """Layouts are bijective with one of `rank` letters; a result without one has the data's."""
    return (
        LayoutRank("data", "data_layout", rank),
        LayoutRank(weight, "kernel_layout", rank),
        LayoutRank(RESULT, "out_layout", rank),
        SameLetter("N", ("data", "data_layout"), (RESULT, "out_layout")),
    )


def _float_product(first: str) -> tuple[DtypeRule, ...]:
    return (Stated(RESULT, "out_dtype", first),)


_DENSE_SHAPES = (
    OneRank(("data", RESULT)),
    Rank("data", 1),
    Rank("weight", 2, 2),
    SameFront("data"),
)
_MATMUL_RANKS = (OneRank(("tensor_a", RESULT)), Rank("tensor_a", 1), Rank("tensor_b", 2, 2))


def _three(first: str, second: str) -> tuple[ShapeRule, ...]:
    return tuple(Rank(place, 3, 3) for place in (first, second, RESULT))


def _qnn_unary(name: str, dtypes: frozenset[str], shapes: tuple[ShapeRule, ...]) -> Types:
    tensor = roles(name).groups[0].tensor
    return Types((Same((tensor, RESULT)), Among(tensor, dtypes), *_slots(name)), shapes)


_UNARY = _words(
    "abs acos acosh asin asinh atan atanh bitwise_not ceil copy cos cosh erf exp floor"
    " log log10 log2 logical_not negative ones_like round rsqrt sigmoid sign sin"
    " sinh sqrt tan tanh trunc zeros_like nn.leaky_relu nn.relu fixed_point_multiply"
    " nn.l2_normalize nn.lrn"
)
_BINARY = _words(
    "add bitwise_and bitwise_or bitwise_xor divide floor_divide floor_mod left_shift logical_and"
    " logical_or logical_xor maximum minimum mod multiply power right_shift subtract trunc_divide"
    " trunc_mod"
)
_COMPARISONS = _words("equal greater greater_equal less less_equal not_equal")
_QNN_UNARY = _words("abs erf exp hardswish log rsqrt sigmoid sqrt tanh")
_REDUCTIONS = _words("all any max mean min prod sum")

_REDUCED = (
    NoMore(RESULT, "data"),
    OneRank(("data", RESULT), when="keepdims"),
    Removed("data", "axis", unless=("keepdims", "exclude")),
    AxisOf("data", "axis"),
)
_SOFTMAX = Types((Same(("data", RESULT)),), (OneShape(("data", RESULT)), AxisOf("data", "axis")))

_TYPES: dict[str, Types] = {
    # ---- element by element ----
    **{name: _elementwise("data") for name in _UNARY},
    "clip": _elementwise("a"),
    **{name: _broadcast("lhs", "rhs") for name in _BINARY},
    **{
        name: Types((Same(("lhs", "rhs")), Among(RESULT, BOOL)), (Broadcast(("lhs", "rhs")),))
        for name in _COMPARISONS
    },
    **{
        name: Types((Among(RESULT, BOOL),), (OneShape(("data", RESULT)),))
        for name in ("isfinite", "isinf", "isnan")
    },
    "where": Types((Same(("x", "y", RESULT)),), (Broadcast(("condition", "x", "y")),)),
    "cast": Types((Stated(RESULT, "dtype"),), (OneShape(("data", RESULT)),)),
    "cast_like": Types((Same(("dtype_like", RESULT)),), (OneShape(("data", RESULT)),)),
    "full_like": _kept("data", OneShape(("data", RESULT)), Rank("fill_value", 0, 0)),
    "nn.softmax": _SOFTMAX,
    "nn.log_softmax": _SOFTMAX,
    "nn.fast_softmax": _SOFTMAX,
    "nn.bias_add": Types(
        (Same(("data", "bias", RESULT)),),
        (OneShape(("data", RESULT)), Rank("bias", 1, 1), AxisOf("data", "axis")),
    ),
    "nn.prelu": Types(
        (Same(("data", "alpha", RESULT)),),
        (OneShape(("data", RESULT)), Rank("alpha", 1, 1), AxisOf("data", "axis")),
    ),
    # ---- quantized ----
    "qnn.conv2d": Types(
        _product(
            "qnn.conv2d",
            ("data", "kernel"),
            (_NARROW, _NARROW, _WIDE | {"int16"}),
            "kernel_zero_point",
        ),
        _convolution("kernel", 4),
    ),
    "qnn.conv2d_transpose": Types(
        _product("qnn.conv2d_transpose", ("data", "weight"), (_UPTO16, _BYTES, _WIDE | {"int16"})),
        _convolution("weight", 4),
    ),
    "qnn.dense": Types(
        _product("qnn.dense", ("data", "weight"), (_UPTO16, _BYTES, _WIDE), "kernel_zero_point"),
        _DENSE_SHAPES,
    ),
    "qnn.batch_matmul": Types(
        _product("qnn.batch_matmul", ("x", "y"), (_BYTES, _BYTES, INT32)), _three("x", "y")
    ),
    **{
        f"qnn.{name}": Types(
            (Same(("lhs", "rhs", RESULT)), *_slots(f"qnn.{name}")), (Broadcast(("lhs", "rhs")),)
        )
        for name in ("add", "mul", "subtract")
    },
    "qnn.quantize": Types(
        (
            Among("data", FLOAT32),
            Among(RESULT, _UPTO16 | INT32),
            Stated(RESULT, "out_dtype"),
            *_slots("qnn.quantize"),
        ),
        (OneShape(("data", RESULT)),),
    ),
    "qnn.dequantize": Types(
        (
            Among("data", _UPTO16 | INT32),
            Among(RESULT, frozenset(["float16", "float32"])),
            Stated(RESULT, "out_dtype"),
            *_slots("qnn.dequantize"),
        ),
        (OneShape(("data", RESULT)),),
    ),
    "qnn.requantize": Types(
        (
            Among("data", _NARROW | _WIDE),
            Among(RESULT, _NARROW | INT32),
            Stated(RESULT, "out_dtype"),
            *_slots("qnn.requantize"),
        ),
        (OneShape(("data", RESULT)),),
    ),
    "qnn.concatenate": Types(
        (Same(("data", RESULT)), *_slots("qnn.concatenate")),
        (OneRank(("data", RESULT)), Rank(RESULT, 1), AxisOf(RESULT, "axis")),
    ),
    **{
        f"qnn.{name}": _qnn_unary(f"qnn.{name}", _BYTES, (OneShape(("x", RESULT)),))
        for name in (*_QNN_UNARY, "leaky_relu")
    },
    "qnn.softmax": _qnn_unary("qnn.softmax", frozenset(["int8"]), (OneShape(("x", RESULT)),)),
    "qnn.avg_pool2d": _qnn_unary(
        "qnn.avg_pool2d", _BYTES, (OneRank(("data", RESULT)), LayoutReach("data", "layout", "HW"))
    ),
    # ---- convolutions, products ----
    **{
        f"nn.conv{rank - 2}d{kind}": Types(_float_product("data"), _convolution("weight", rank))
        for rank in (3, 4, 5)
        for kind in ("", "_transpose")
    },
    "nn.dense": Types(_float_product("data"), _DENSE_SHAPES),
    "nn.matmul": Types(_float_product("tensor_a"), _MATMUL_RANKS),
    "nn.batch_matmul": Types(_float_product("tensor_a"), _three("tensor_a", "tensor_b")),
    # ---- pools, resizing ----
    **{
        f"nn.{kind}{len(letters)}d": _kept(
            "data", OneRank(("data", RESULT)), LayoutReach("data", "layout", letters)
        )
        for letters in ("W", "HW", "DHW")
        for kind in ("max_pool", "avg_pool", "adaptive_max_pool", "adaptive_avg_pool")
    },
    **{
        f"nn.global_{kind}_pool2d": _kept(
            "data", OneRank(("data", RESULT)), LayoutReach("data", "layout", "HW")
        )
        for kind in ("max", "avg")
    },
    "nn.upsampling": _kept("data", OneRank(("data", RESULT)), LayoutRank("data", "layout", 4)),
    **{
        f"image.resize{rank - 2}d": Types(
            (Stated(RESULT, "out_dtype", "data"),),
            (OneRank(("data", RESULT)), LayoutRank("data", "layout", rank)),
        )
        for rank in (3, 4, 5)
    },
    # ---- reductions ----
    **{name: _kept("data", *_REDUCED) for name in _REDUCTIONS},
    # TVM 0.9 gives int32, later ones the dtype of the sizes in the shape.
    **{name: Types((Among(RESULT, _WIDE),), _REDUCED) for name in ("argmax", "argmin")},
    # ---- moving elements ----
    "nn.pad": _kept("data", OneRank(("data", RESULT)), Padded("data", "pad_width")),
    "nn.mirror_pad": _kept("data", OneRank(("data", RESULT)), Padded("data", "pad_width")),
    "reverse": _kept("data", OneShape(("data", RESULT)), AxisOf("data", "axis")),
    "concatenate": _kept(
        "data", OneRank(("data", RESULT)), Rank(RESULT, 1), AxisOf(RESULT, "axis")
    ),
    "split": _kept("data", OneRank(("data", RESULT)), Rank("data", 1), AxisOf("data", "axis")),
    "stack": _kept("data", Grown("data", 1), AxisOf("data", "axis", spare=1)),
    "reshape": _kept("data", Shaped("newshape")),
    # TVM does not ask whether the data can be broadcast to that shape.
    "broadcast_to": _kept("data", Shaped("shape")),
    "transpose": _kept("data", OneRank(("data", RESULT)), Permuted("data", "axes")),
    "squeeze": _kept(
        "data", NoMore(RESULT, "data"), Removed("data", "axis"), AxisOf("data", "axis")
    ),
    "expand_dims": _kept(
        "data",
        NoMore("data", RESULT),
        Grown("data", "num_newaxis"),
        AxisOf("data", "axis", spare=1),
    ),
    "nn.batch_flatten": _kept("data", Rank(RESULT, 2, 2), Rank("data", 1)),
    "strided_slice": _kept("data", OneRank(("data", RESULT)), AxisOf("data", "axes")),
    "take": Types((Same(("data", RESULT)), Among("indices", SIGNED | UNSIGNED))),
    "gather": Types(
        (Same(("data", RESULT)), Among("indices", SIGNED)),
        (OneRank(("data", "indices", RESULT)), OneShape(("indices", RESULT)), Rank("data", 1)),
    ),
    "gather_nd": _kept("data"),
    "tile": _kept("data", NoMore("data", RESULT)),
    "repeat": _kept("data"),
    "layout_transform": _kept(
        "data", LayoutRank("data", "src_layout", 1), LayoutRank(RESULT, "dst_layout", 1)
    ),
    "nn.depth_to_space": _kept("data", OneRank(("data", RESULT)), LayoutRank("data", "layout", 4)),
    "nn.space_to_depth": _kept("data", OneRank(("data", RESULT)), LayoutRank("data", "layout", 4)),
    "nn.batch_to_space_nd": _kept("data", OneRank(("data", RESULT))),
    "nn.space_to_batch_nd": _kept("data", OneRank(("data", RESULT))),
    "reshape_like": _kept("data"),
    "broadcast_to_like": Types(
        (Same(("data", "broadcast_type", RESULT)),),
        (OneShape(("broadcast_type", RESULT)), NoMore("data", RESULT)),
    ),
    "collapse_sum_like": Types(
        (Same(("data", "collapse_type", RESULT)),), (OneShape(("collapse_type", RESULT)),)
    ),
}

# Calls whose windows TVM reads these lists of when it infers their types, so that no graph has an
# empty one.
_SLIDING = frozenset(
    [f"nn.conv{n}d{kind}" for n in (1, 2, 3) for kind in ("", "_transpose")]
    + [f"nn.{kind}_pool{n}d" for n in (1, 2, 3) for kind in ("max", "avg")]
    + ["qnn.conv2d", "qnn.conv2d_transpose", "qnn.avg_pool2d"]
)
_WINDOW = frozenset(["strides", "padding", "dilation", "kernel_size", "pool_size"])


def never_empty(operator: str, attribute: str) -> bool:
    """Whether a list among the attributes of an operator has an element in every graph."""
    return operator in _SLIDING and attribute in _WINDOW


def types(operator: str) -> Types | None:
    """What is known of an operator's dtypes and shapes; None where nothing is."""
    return _TYPES.get(operator)


def typed_operators() -> tuple[str, ...]:
    """The operators something is known of, sorted."""
    return tuple(sorted(_TYPES))
