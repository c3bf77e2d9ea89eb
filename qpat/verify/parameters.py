"""Scales and zero points of a row's spaces, drawn as its calls want them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from qpat.ops.roles import SCALAR, roles
from qpat.ops.table import operator
from qpat.relay.kinds import relay
from qpat.semantics import ir
from qpat.semantics.folding import Folding
from qpat.semantics.walk import walk
from qpat.verify.call_draft import Shape, Unfit
from qpat.verify.graphs import graphs

ACCUMULATORS = ("qnn.conv2d", "qnn.conv2d_transpose", "qnn.dense", "qnn.batch_matmul")
_FOLDING = Folding()


class Calling(Protocol):
    """A call that is being made, as far as its slots ask."""

    node: ir.Call
    attributes: dict[str, Any]

    def dtype_at(self, position: int) -> str:
        """The dtype of an operand that is made."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """What was drawn for a space: a float32, a float32 vector, or one for each of many tensors; the
    zero point is an int32, or one for each."""

    scale: Any
    zero_point: Any


def mentioned(pattern: ir.Pattern) -> tuple[float, ...]:
    """The numbers that stand in a pattern's conditions, those written as a fraction too."""
    values = map(_FOLDING.value, _conditions(pattern))
    found = (v for v in values if isinstance(v, int | float) and not isinstance(v, bool))
    return tuple(dict.fromkeys(map(float, found)))


def words(pattern: ir.Pattern) -> frozenset[str]:
    """The words that its conditions compare something with, such as dtypes."""
    found = (node.value for node in _conditions(pattern) if isinstance(node, ir.Number))
    return frozenset(each for each in found if isinstance(each, str))


def _conditions(pattern: ir.Pattern) -> Iterator[ir.Expression]:
    """The expressions of a pattern's conditions, all that is below them too."""
    for statement in pattern.statements:
        if isinstance(statement, ir.Where):
            yield from walk(statement.condition)


def shape_of(type_: Any) -> Shape:
    """The shape of the type of a tensor."""
    return tuple(int(each) for each in type_.shape)


class Case(Enum):
    """What a draw has for certain, beside what chance gives it. Patterns take the first ones; the
    others are refused by most, and show what happens where that is forgotten."""

    ONE_SPACE = "all tensors have the same scale and zero point"
    MANY_SCALES = "tensors have a scale for each channel where they can"
    SHIFTED_INPUTS = "what goes in has zero points at an end of its range"
    SHIFTED_SUMS = "accumulators have zero points"
    ONLY_SUMS = "accumulators have small zero points, and what is made of them has none"
    SHIFTED_WEIGHTS = "constants have zero points"


def dtypes_of(type_: Any) -> list[str]:
    """The dtypes of a type: of a tuple those of all its tensors."""
    fields = getattr(type_, "fields", None)
    return [str(type_.dtype)] if fields is None else [d for each in fields for d in dtypes_of(each)]


class Parameters:
    """The parameters of the spaces of a row, each drawn once. `exprs` and `types` are those of the
    nodes that are made already, by index; who makes more adds to them."""

    def __init__(
        self,
        pattern: ir.Pattern,
        row: ir.Row,
        random: np.random.Generator,
        wanted_scales: Mapping[int, float],
        case: Case | None,
        exprs: Mapping[int, Any],
        types: Mapping[int, Any],
    ) -> None:
        self.row = row
        self.random = random
        self.wanted_scales = wanted_scales
        self.case = case
        self.exprs = exprs
        self.types = types
        self.scales: dict[int, Any] = {}
        self.zero_points: dict[int, Any] = {}
        self.sites = {
            site.constant: (number, site)
            for number, space in enumerate(row.spaces)
            for site in (*space.scales, *space.zero_points)
        }
        self.mentioned = mentioned(pattern)
        self.fills = any(isinstance(each, ir.Fill) for each in pattern.statements)

    def drawn(self) -> dict[int, Drawn]:
        """The parameters of those spaces that have both."""
        return {
            space: Drawn(scale, self.zero_points[space])
            for space, scale in self.scales.items()
            if space in self.zero_points
        }

    def are_plain_sums(self) -> bool:
        """Whether every accumulator has the scale of the product of what it sums up, and no zero
        point."""
        sums = (space for space in self.drawn() if self.is_accumulator(space))
        return all(self._is_plain_sum(space) for space in sums)

    def are_in_range(self) -> bool:
        """Whether every zero point is one of all dtypes that its space has; not all are known where
        it is drawn. What a pattern fills in is not looked at."""
        return not self.fills and all(
            np.iinfo(dtype).min <= np.min(drawn.zero_point)
            and np.max(drawn.zero_point) <= np.iinfo(dtype).max
            for space, drawn in self.drawn().items()
            for dtype in self._dtypes_in(space)
        )

    def _dtypes_in(self, space: int) -> list[str]:
        """The integer dtypes of a space's tensors, as far as they are made."""
        members = sorted(self.row.spaces[space].members)
        types = [self.types[each] for each in members if each in self.types]
        return [dtype for each in types for dtype in dtypes_of(each) if "int" in dtype]

    def slot(self, index: int, call: Calling) -> Any:
        """The constant that stands in a slot: the space's scale or zero point."""
        if index not in self.sites:
            raise Unfit("a slot of no space")
        space, site = self.sites[index]
        count = None
        if isinstance(self.row.nodes[index], ir.SlotTuple):
            count = len(self.exprs[site.tensor].fields)
        if site.slot == "scale":
            value = self._scale(space, site, call, count)
            dtype = "float32"
        else:
            value = self._zero_point(space, site, call, count)
            is_operand = call.node.operator.startswith("qnn.")
            dtype = "int32" if is_operand else call.dtype_at(0)
        if count is None:
            return graphs().constant(value, dtype)
        return graphs().tuple_of([graphs().constant(each, dtype) for each in value])

    def _scale(self, space: int, site: ir.Site, call: Calling, count: int | None) -> Any:
        if self.case is Case.ONE_SPACE and self.scales:
            self.scales.setdefault(space, next(iter(self.scales.values())))
        if space not in self.scales:
            length = self._vector_length(site, call)
            is_constant = isinstance(self.exprs.get(site.tensor), relay.Constant)
            dtype = self._narrowest(space, site, call)
            is_sum = self.is_accumulator(space) or self.is_wide(dtype)
            are_many = self.case is Case.MANY_SCALES and not is_sum
            if not is_constant and not are_many and self.random.integers(0, 2):
                length = None  # a vector is for weights, mostly
            drawn = self._drawn_scale(space, dtype, count, length)
            if are_many and length is not None:
                drawn = self._apart(np.ravel(drawn)[0], length)
            self.scales[space] = drawn
        return self.scales[space]

    def _drawn_scale(self, space: int, dtype: str, count: int | None, length: int | None) -> Any:
        """A scale with which the dtype reaches from 1/2 to 64: float32 has steps below one
        of int16 there, whatever is computed with it."""
        random = self.random
        factor = 2.0 ** random.uniform(-2, 1)
        is_power = random.integers(0, 8) == 0
        reach = 2.0 ** (random.integers(-1, 7) if is_power else random.uniform(-1, 6))
        drawn = np.float32(reach / 2.0 ** (min(np.iinfo(dtype).bits, 16) - 1))
        product = self._product(space)
        if product is not None and random.integers(0, 4):
            return product
        two = [each for each in self.scales.values() if not isinstance(each, list)][-2:]
        is_fit = len(two) == 2 and count is None and (length or not any(map(np.ndim, two)))
        # As a bias has between dequantize and quantize, where nothing accumulates.
        if is_fit and bool(random.integers(0, 4)) == self.is_wide(dtype):
            return np.asarray(two[0] * two[1], "float32")
        told = self._told([each for each in self.mentioned if 0 < each < 1], self.scales)
        if told is not None:
            return np.float32(told) if count is None else np.full(count, told, "float32")
        if space in self.wanted_scales:
            return np.float32(self.wanted_scales[space] * factor)
        several = count if count is not None else length
        if several is None or (count is None and (several == 1 or random.integers(0, 2))):
            return drawn
        return self._apart(drawn, several)

    def _apart(self, scale: np.float32, count: int) -> NDArray[np.float32]:
        """As many scales around one: a quarter of it to four times as much."""
        return np.asarray(scale * 2.0 ** self.random.uniform(-2, 2, count), "float32")

    def is_wide(self, dtype: str) -> bool:
        """Whether a dtype is that of a bias where there are no accumulators."""
        return not graphs().IN_INTEGERS and np.iinfo(dtype).bits > 16

    def is_accumulator(self, space: int) -> bool:
        """Whether something is summed up in a space, of tensors whose scales are drawn."""
        return self._product(space) is not None

    def _is_plain_sum(self, space: int) -> bool:
        is_product = np.array_equal(self.scales[space], self._product(space))
        return is_product and not np.any(self.zero_points[space])

    def _product(self, space: int) -> Any:
        """The scale of an accumulator: that of what is multiplied, in float32."""
        for member in self.row.spaces[space].members:
            node = self.row.nodes[member]
            if isinstance(node, ir.Call) and node.operator in ACCUMULATORS:
                return self._product_of(node)
        return None

    def _product_of(self, node: ir.Call) -> Any:
        described = operator(node.operator)
        product: Any = np.float32(1)
        for group in roles(node.operator).groups:
            position = described.operand_index(group.scale) if described else None
            constant = None if position is None else self.exprs.get(node.operands[position])
            if not isinstance(constant, relay.Constant):
                return None
            product = product * constant.data.numpy()
        return np.asarray(product, "float32")

    def _vector_length(self, site: ir.Site, call: Calling) -> int | None:
        """How long a vector scale of an operand is; None where only a scalar will do."""
        # RequantizeRel wants one scale for its result.
        is_result = site.tensor == site.call
        if site.axis == SCALAR or (is_result and call.node.operator == "qnn.requantize"):
            return None
        # quantize's result has the shape of what it takes.
        tensor = call.node.operands[0] if is_result else site.tensor
        shape = shape_of(self.types[tensor])
        if site.axis.attribute in ("lhs_axis", "rhs_axis") and not self._takes_vectors(call):
            return None
        if site.axis.layout is not None:
            # No axis of a transposed convolution's weights has the channels of all its groups.
            is_transposed = call.node.operator == "qnn.conv2d_transpose"
            is_grouped = is_transposed and int(call.attributes.get("groups", 1)) > 1
            return None if is_grouped else int(call.attributes["channels"])
        if site.axis.fixed is not None:
            return shape[site.axis.fixed]
        axis = int(call.attributes[str(site.axis.attribute)])
        return shape[axis] if shape else None

    def _takes_vectors(self, call: Calling) -> bool:
        """Whether TVM computes a call of two operands with vectors of scales. It does not where one
        has fewer dimensions (op_common.h), and never for a product: it reads one number (mul.cc in
        src/relay/qnn/op)."""
        first, second = (shape_of(self.types[each]) for each in call.node.operands[:2])
        return call.node.operator != "qnn.mul" and len(first) == len(second)

    def _zero_point(self, space: int, site: ir.Site, call: Calling, count: int | None) -> Any:
        if self.case is Case.ONE_SPACE and self.zero_points:
            self.zero_points.setdefault(space, next(iter(self.zero_points.values())))
        if space not in self.zero_points:
            dtype = self._narrowest(space, site, call)
            same = count is not None and bool(self.random.integers(0, 2))
            drawn = [self._drawn_zero_point(space, dtype) for _ in range(1 if same else count or 1)]
            self.zero_points[space] = drawn[0] if count is None else drawn * (count if same else 1)
        return self.zero_points[space]

    def _narrowest(self, space: int, site: ir.Site, call: Calling) -> str:
        """The narrowest dtype of the space's values, from which a zero point is drawn."""
        members = [*self.row.spaces[space].members, site.tensor]
        types = [self.types[member] for member in members if member in self.types]
        found = [dtype for each in types for dtype in dtypes_of(each) if "int" in dtype]
        if site.tensor == site.call:
            found.append(str(call.attributes.get("out_dtype") or call.dtype_at(0)))
        whole = [dtype for dtype in found if "int" in dtype]
        return min(whole, key=lambda dtype: np.iinfo(dtype).bits) if whole else "int8"

    def _drawn_zero_point(self, space: int, dtype: str) -> int:
        """Zero, the ends of the range, or anything; an accumulator has none mostly."""
        random = self.random
        way = int(random.integers(0, 8))
        info = np.iinfo(dtype if np.iinfo(dtype).bits <= 16 else "int8")
        chosen = int(random.integers(info.min, info.max, endpoint=True))
        members = self.row.spaces[space].members
        is_weight = any(isinstance(self.exprs.get(each), relay.Constant) for each in members)
        if self.is_accumulator(space):
            # Large enough to be seen in the output, whose unit is that of many sums.
            is_shifted = self.case is Case.SHIFTED_SUMS or way == 7
            drawn = int(random.integers(-(2**18), 2**18)) if is_shifted else 0
            # One that an output could have: it is read where the two change places.
            return int(random.integers(1, 128)) if self.case is Case.ONLY_SUMS else drawn
        if self.case is Case.ONLY_SUMS and any(map(self.is_accumulator, self.zero_points)):
            return 0
        if is_weight and self.case is Case.SHIFTED_WEIGHTS:
            return chosen
        is_input = any(isinstance(self.row.nodes[each], ir.Input) for each in members)
        if is_input and not is_weight and self.case is Case.SHIFTED_INPUTS:
            return int(info.max if way % 2 else info.min)
        whole = [each for each in self.mentioned if info.min <= each <= info.max]
        told = self._told([each for each in whole if each == int(each)], self.zero_points)
        if told is not None and info.min <= told <= info.max:
            return int(told)
        if way < 2:
            return (int(info.min), int(info.max))[way]
        few = (is_weight and info.min < 0) or info.bits == 16
        if self.is_wide(dtype) and way < 7:
            return 0
        return 0 if way == 2 or (few and way < 6) else chosen

    def _told(self, numbers: Sequence[float], drawn: Mapping[int, Any]) -> float | None:
        """Now and then a number that a condition mentions, or what another space has: conditions
        ask for both."""
        way = int(self.random.integers(0, 3))
        others = [each for each in drawn.values() if np.ndim(each) == 0]
        choices = (numbers, others)[way] if way < 2 else ()
        return float(self.random.choice(choices)) if len(choices) else None

    def draw_what_is_open(self) -> None:
        """Scales and zero points that no constant of the graph says: those of the module around."""
        for number in range(len(self.row.spaces)):
            whole = self._dtypes_in(number)
            if not whole:
                continue
            narrow = min(whole, key=lambda dtype: np.iinfo(dtype).bits)
            if number not in self.scales:
                self.scales[number] = self._drawn_scale(number, narrow, None, None)
            if number not in self.zero_points:
                self.zero_points[number] = self._drawn_zero_point(number, narrow)
