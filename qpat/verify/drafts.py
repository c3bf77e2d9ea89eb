"""A row of the pattern IR as a random graph: nodes, constants, scales and zero points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qpat.ops.roles import SCALAR, roles
from qpat.ops.table import operator
from qpat.relay.kinds import relay
from qpat.semantics import ir
from qpat.semantics.folding import Folding
from qpat.semantics.walk import walk
from qpat.verify.graphs import graphs
from qpat.verify.shapes import Shape, Unfit, random_shape, rule

ACCUMULATORS = ("qnn.conv2d", "qnn.conv2d_transpose", "qnn.dense", "qnn.batch_matmul")
# Operators that give another dtype than they take.
_CONVERTING = (*ACCUMULATORS, "cast", "qnn.requantize", "qnn.quantize", "qnn.dequantize")
# Operators on real numbers beside which a bias may stand.
_WEIGHTED = ("nn.conv2d", "nn.conv2d_transpose", "nn.dense", "nn.matmul")
_SHIFTS = ("left_shift", "right_shift")
_FOLDING = Folding()
_FLOATS = (0.5, 1.0, 2.0, 3.0, 1.5)


@dataclass(frozen=True, eq=False)
class Drawn:
    """What was drawn for a space: a float32, a float32 vector, or one for each of many tensors; the
    zero point is an int32, or one for each."""

    scale: Any
    zero_point: Any


@dataclass(frozen=True, eq=False)
class Graph:
    """A typed graph of a row. `inputs` are its variables by name with shape and dtype; `drawn` are
    the parameters by index of the row's space; `types` and `exprs` are those of the row's nodes, by
    index. `is_plain_sum`: every accumulator has the scale of the product of what it sums up, and no
    zero point."""

    root: Any
    inputs: Mapping[str, tuple[Shape, str]]
    drawn: Mapping[int, Drawn]
    types: Mapping[int, Any]
    exprs: Mapping[int, Any]
    is_plain_sum: bool = True


def draw_graph(
    pattern: ir.Pattern,
    row: ir.Row,
    shapes: np.random.Generator,
    values: np.random.Generator,
    scales: Mapping[int, float],
    is_one_space: bool = False,
) -> Graph:
    """A random graph of a row. `shapes` decides shapes, dtypes and attributes, `values` constants
    and parameters; `scales` are about what the scales of some spaces are to be. `is_one_space`:
    all tensors have the same scale and zero point, which some patterns ask for.

    Raises Unfit, or what TVM raises where an operator does not take what was drawn.
    """
    maker = _Maker(pattern, row, shapes, values, scales, is_one_space)
    root = graphs().typed(maker.make(row.root))
    maker.draw_what_is_open()
    if not maker.inputs:
        raise Unfit("all inputs are constants")
    if any(0 in shape for shape, _ in maker.inputs.values()) or _is_empty(root):
        raise Unfit("a tensor without elements")
    drawn = {
        space: Drawn(maker.scales[space], maker.zero_points[space])
        for space in maker.scales
        if space in maker.zero_points
    }
    is_plain = all(maker.is_plain_sum(space) for space in drawn if maker.is_accumulator(space))
    return Graph(root, dict(maker.inputs), drawn, dict(maker.types), dict(maker.exprs), is_plain)


def mentioned(pattern: ir.Pattern) -> tuple[float, ...]:
    """The numbers that stand in a pattern's conditions, those written as a fraction too."""
    found: dict[float, None] = {}
    for statement in pattern.statements:
        if isinstance(statement, ir.Where):
            for node in walk(statement.condition):
                value = _FOLDING.value(node)
                if isinstance(value, int | float) and not isinstance(value, bool):
                    found.setdefault(float(value))
    return tuple(found)


def _is_empty(root: Any) -> bool:
    if hasattr(root.checked_type, "fields"):
        raise Unfit("an output of several tensors is not compared")
    return 0 in _shape(root.checked_type)


def _shape(type_: Any) -> Shape:
    return tuple(int(each) for each in type_.shape)


class _Maker:
    """Makes the nodes of a row from the root down, each once."""

    def __init__(
        self,
        pattern: ir.Pattern,
        row: ir.Row,
        shapes: np.random.Generator,
        values: np.random.Generator,
        wanted_scales: Mapping[int, float],
        is_one_space: bool,
    ) -> None:
        self.row = row
        self.ports = {port.name: port for port in pattern.ports}
        self.output = next(port for port in pattern.ports if port.is_output)
        self.shapes = shapes
        self.values = values
        self.wanted_scales = wanted_scales
        self.is_one_space = is_one_space
        self.exprs: dict[int, Any] = {}
        self.types: dict[int, Any] = {}
        self.inputs: dict[str, tuple[Shape, str]] = {}
        self.dtypes: dict[str, str] = {}
        self.sizes: dict[str, int] = {}
        self.scales: dict[int, Any] = {}
        self.zero_points: dict[int, Any] = {}
        self.space_of = {
            member: number for number, space in enumerate(row.spaces) for member in space.members
        }
        self.sites = {
            site.constant: (number, site)
            for number, space in enumerate(row.spaces)
            for site in (*space.scales, *space.zero_points)
        }
        self.names = {
            each: f"{name}_{number}"
            for name, at in row.values.items()
            if isinstance(node := row.nodes[at], ir.Several)
            for number, each in enumerate(node.elements)
        }
        self.tail = set(_tail(row, row.root))
        self.mentioned = mentioned(pattern)

    # ---- nodes ----
    def make(self, index: int, wanted: Any = None, dtype: str | None = None, user: str = "") -> Any:
        """The expression of a node; of this shape and dtype where it can be chosen."""
        if index not in self.exprs:
            self.exprs[index] = self._made(index, wanted, dtype, user)
            self.types[index] = graphs().typed(self.exprs[index]).checked_type
        return self.exprs[index]

    def _made(self, index: int, wanted: Any, dtype: str | None, user: str) -> Any:
        node = self.row.nodes[index]
        match node:
            case ir.Input():
                return self._leaf(node, index, wanted, dtype, user)
            case ir.Literal():
                return graphs().constant(node.value, dtype or "float32")
            case ir.Call():
                return _Draft(self, index, node, wanted).call()
            case ir.Elements():
                return self._many(node, wanted)
            case ir.Tuple(elements=elements):
                shapes = wanted if isinstance(wanted, list) else [wanted] * len(elements)
                shapes += shapes[-1:] * (len(elements) - len(shapes))
                pairs = zip(elements, shapes, strict=False)
                return graphs().tuple_of([self.make(each, shape, dtype) for each, shape in pairs])
            case ir.Field(value=value, index=number):
                return graphs().field_of(self.make(value, wanted, dtype), number)
        raise Unfit(f"no instance is made of {type(node).__name__}")

    def _leaf(self, node: ir.Input, index: int, wanted: Any, dtype: str | None, user: str) -> Any:
        name = node.name or f"leaf{index}"
        chosen = self.port_dtype(name, dtype, user)
        shape = self._fitted(name, random_shape(self.shapes) if wanted is None else wanted)
        is_constant = node.constness is ir.Constness.CONSTANT
        if node.constness is ir.Constness.EITHER:
            is_constant = not self.shapes.integers(0, 4)
        if is_constant:
            return graphs().constant(self._constant(shape, chosen, user), chosen)
        name = self.names.get(index, name)
        self.inputs[name] = (shape, chosen)
        return graphs().variable(name, shape, chosen)

    def _many(self, node: ir.Elements, wanted: Any) -> Any:
        first = random_shape(self.shapes)
        shapes = wanted if isinstance(wanted, list) else [wanted or first] * 2
        chosen = self.port_dtype(node.name, None)
        fields = []
        for number, shape in enumerate(shapes):
            name = f"{node.name}_{number}"
            self.inputs[name] = (tuple(shape), chosen)
            fields.append(graphs().variable(name, shape, chosen))
        return graphs().tuple_of(fields)

    def port_dtype(self, name: str, hint: str | None, user: str = "") -> str:
        """The dtype of a port, drawn once; of what is no port the one that suits its user."""
        if name in self.dtypes:
            return self.dtypes[name]
        port = self.ports.get(name)
        allowed = list(port.dtypes) if port is not None else []
        if port is not None and port.same_dtype_as is not None:
            allowed.append(self.port_dtype(port.same_dtype_as, hint))
        if hint is not None and (hint in allowed or not allowed):
            allowed = [hint]
        if user == "qnn.dequantize":
            allowed = [each for each in allowed if each not in graphs().NOT_DEQUANTIZED]
        self.dtypes[name] = str(self.shapes.choice(allowed or ["int8"]))
        return self.dtypes[name]

    def _fitted(self, name: str, shape: Sequence[int]) -> Shape:
        """A shape with the sizes that the port's type names."""
        port = self.ports.get(name)
        if port is None or port.shape is None or "..." in port.shape:
            return tuple(shape)
        if len(port.shape) != len(shape):
            shape = random_shape(self.shapes, len(port.shape))
        fitted = []
        for stated, size in zip(port.shape, shape, strict=True):
            if isinstance(stated, str):
                size = self.sizes.setdefault(stated, size)
            fitted.append(stated if isinstance(stated, int) else size)
        return tuple(fitted)

    def _constant(self, shape: Shape, dtype: str, user: str) -> NDArray[Any]:
        """Whole numbers of 8 and 16 bits from all their range; wider ones as biases are."""
        random = self.values
        if user in _SHIFTS:
            return np.asarray(random.integers(0, 8, shape), dtype)
        if dtype.startswith("float"):
            few = np.asarray(random.choice(_FLOATS), dtype)
            return np.asarray(random.normal(0, 1, shape), dtype) if shape else few
        info = np.iinfo(dtype)
        if info.bits <= 16:
            corner = random.integers(0, 10)
            if corner < 2:
                return np.full(shape, (info.min, info.max)[corner], dtype)
            return np.asarray(random.integers(info.min, info.max, shape, endpoint=True), dtype)
        spread = 2.0 ** random.uniform(0, 14)
        return np.asarray(np.rint(random.normal(0, spread, shape)), dtype)

    # ---- scales and zero points ----
    def slot(self, index: int, draft: _Draft, position: int) -> Any:
        """The constant that stands in a slot: the space's scale or zero point."""
        if index not in self.sites:
            raise Unfit("a slot of no space")
        space, site = self.sites[index]
        count = None
        if isinstance(self.row.nodes[index], ir.SlotTuple):
            count = len(self.exprs[site.tensor].fields)
        if site.slot == "scale":
            value = self._scale(space, site, draft, count)
            dtype = "float32"
        else:
            value = self._zero_point(space, site, draft, count)
            is_operand = draft.node.operator.startswith("qnn.")
            dtype = "int32" if is_operand else draft.dtype_at(0)
        if count is None:
            return graphs().constant(value, dtype)
        return graphs().tuple_of([graphs().constant(each, dtype) for each in value])

    def _scale(self, space: int, site: ir.Site, draft: _Draft, count: int | None) -> Any:
        if self.is_one_space and self.scales:
            self.scales.setdefault(space, next(iter(self.scales.values())))
        if space not in self.scales:
            length = self._vector_length(site, draft)
            is_constant = isinstance(self.exprs.get(site.tensor), relay.Constant)
            if not is_constant and self.values.integers(0, 2):
                length = None  # a vector is for weights, mostly
            dtype = self._narrowest(space, site, draft)
            self.scales[space] = self._drawn_scale(space, dtype, count, length)
        return self.scales[space]

    def _drawn_scale(self, space: int, dtype: str, count: int | None, length: int | None) -> Any:
        """A scale with which the dtype reaches from 1/2 to 64: float32 has steps below one
        of int16 there, whatever is computed with it."""
        random = self.values
        factor = 2.0 ** random.uniform(-2, 1)
        is_power = random.integers(0, 8) == 0
        reach = 2.0 ** (random.integers(-1, 7) if is_power else random.uniform(-1, 6))
        drawn = np.float32(reach / 2.0 ** (min(np.iinfo(dtype).bits, 16) - 1))
        product = self._product(space)
        if product is not None and random.integers(0, 4):
            return product
        two = [each for each in self.scales.values() if not isinstance(each, list)][-2:]
        # As a bias has between dequantize and quantize, where nothing accumulates.
        if len(two) == 2 and count is None and bool(random.integers(0, 4)) == self.is_wide(dtype):
            return np.asarray(two[0] * two[1], "float32")
        told = self._told([each for each in self.mentioned if 0 < each < 1], self.scales)
        if told is not None:
            return np.float32(told) if count is None else np.full(count, told, "float32")
        if space in self.wanted_scales:
            return np.float32(self.wanted_scales[space] * factor)
        several = count if count is not None else length
        if several is None or (count is None and (several == 1 or random.integers(0, 2))):
            return drawn
        return np.asarray(drawn * 2.0 ** random.uniform(-2, 2, several), "float32")

    def is_wide(self, dtype: str) -> bool:
        """Whether a dtype is that of a bias where there are no accumulators."""
        return not graphs().IN_INTEGERS and np.iinfo(dtype).bits > 16

    def is_accumulator(self, space: int) -> bool:
        """Whether something is summed up in a space, of tensors whose scales are drawn."""
        return self._product(space) is not None

    def is_plain_sum(self, space: int) -> bool:
        """Whether the space of an accumulator has the scale of the product, and no zero point."""
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

    def _vector_length(self, site: ir.Site, draft: _Draft) -> int | None:
        """How long a vector scale of an operand is; None where only a scalar will do."""
        if site.axis == SCALAR or site.tensor == site.call or site.axis.attribute == "lhs_axis":
            return None
        if site.axis.attribute == "rhs_axis":
            return None
        shape = _shape(self.types[site.tensor])
        if site.axis.layout is not None:
            return int(draft.attributes["channels"])
        if site.axis.fixed is not None:
            return shape[site.axis.fixed]
        axis = int(draft.attributes[str(site.axis.attribute)])
        return shape[axis] if shape else None

    def _zero_point(self, space: int, site: ir.Site, draft: _Draft, count: int | None) -> Any:
        if self.is_one_space and self.zero_points:
            self.zero_points.setdefault(space, next(iter(self.zero_points.values())))
        if space not in self.zero_points:
            dtype = self._narrowest(space, site, draft)
            same = count is not None and bool(self.values.integers(0, 2))
            drawn = [self._drawn_zero_point(space, dtype) for _ in range(1 if same else count or 1)]
            self.zero_points[space] = drawn[0] if count is None else drawn * (count if same else 1)
        return self.zero_points[space]

    def _narrowest(self, space: int, site: ir.Site, draft: _Draft) -> str:
        """The narrowest dtype of the space's values, from which a zero point is drawn."""
        members = [*self.row.spaces[space].members, site.tensor]
        types = [self.types[member] for member in members if member in self.types]
        found = [dtype for each in types for dtype in _dtypes(each) if "int" in dtype]
        if site.tensor == site.call:
            found.append(str(draft.attributes.get("out_dtype") or draft.dtype_at(0)))
        whole = [dtype for dtype in found if "int" in dtype]
        return min(whole, key=lambda dtype: np.iinfo(dtype).bits) if whole else "int8"

    def _drawn_zero_point(self, space: int, dtype: str) -> int:
        """Zero, the ends of the range, or anything; an accumulator has none mostly."""
        random = self.values
        way = int(random.integers(0, 8))
        info = np.iinfo(dtype if np.iinfo(dtype).bits <= 16 else "int8")
        chosen = int(random.integers(info.min, info.max, endpoint=True))
        is_accumulator = self.is_accumulator(space)
        whole = [each for each in self.mentioned if info.min <= each <= info.max]
        told = self._told([each for each in whole if each == int(each)], self.zero_points)
        if told is not None and not is_accumulator and info.min <= told <= info.max:
            return int(told)
        members = self.row.spaces[space].members
        is_weight = any(isinstance(self.exprs.get(each), relay.Constant) for each in members)
        if is_accumulator:
            # Large enough to be seen in the output, whose unit is that of many sums.
            return 0 if way < 6 else int(random.integers(-(2**18), 2**18))
        if way < 2:
            return (int(info.min), int(info.max))[way]
        few = (is_weight and info.min < 0) or info.bits == 16
        if self.is_wide(dtype) and way < 7:
            return 0
        return 0 if way == 2 or (few and way < 6) else chosen

    def _told(self, numbers: Sequence[float], drawn: Mapping[int, Any]) -> float | None:
        """Now and then a number that a condition mentions, or what another space has: conditions
        ask for both."""
        way = int(self.values.integers(0, 3))
        others = [each for each in drawn.values() if np.ndim(each) == 0]
        choices = (numbers, others)[way] if way < 2 else ()
        return float(self.values.choice(choices)) if len(choices) else None

    def draw_what_is_open(self) -> None:
        """Scales and zero points that no constant of the graph says: those of the module around."""
        for number, space in enumerate(self.row.spaces):
            types = [self.types[each] for each in sorted(space.members) if each in self.types]
            whole = [dtype for each in types for dtype in _dtypes(each) if "int" in dtype]
            if not whole:
                continue
            narrow = min(whole, key=lambda dtype: np.iinfo(dtype).bits)
            if number not in self.scales:
                self.scales[number] = self._drawn_scale(number, narrow, None, None)
            if number not in self.zero_points:
                self.zero_points[number] = self._drawn_zero_point(number, narrow)


def _dtypes(type_: Any) -> list[str]:
    fields = getattr(type_, "fields", None)
    return [str(type_.dtype)] if fields is None else [d for each in fields for d in _dtypes(each)]


def _tail(row: ir.Row, index: int) -> list[int]:
    """The calls from the root up to those that decide its dtype."""
    node = row.nodes[index]
    if not isinstance(node, ir.Call):
        return []
    found = [index]
    if node.operator not in _CONVERTING:
        for operand in node.operands:
            found += _tail(row, operand)
    return found


class _Draft:
    """One call while it is made; what shapes.py asks of it is described there."""

    def __init__(self, maker: _Maker, index: int, node: ir.Call, wanted: Any) -> None:
        self.maker = maker
        self.index = index
        self.node = node
        self.wanted = wanted
        self.random = maker.shapes
        self.values = maker.values
        described = operator(node.operator)
        names = [each.name for each in described.operands] if described is not None else []
        self.positions = {name: place for place, name in enumerate(names)}
        slots = (ir.SlotConstant, ir.SlotTuple)
        pairs = zip(names, node.operands, strict=False)
        self.tensors = tuple(n for n, o in pairs if not isinstance(maker.row.nodes[o], slots))
        self.attributes: dict[str, Any] = {}
        for each in node.attributes:
            value = each.value
            is_dtype = isinstance(value, ir.DtypeOf)
            self.attributes[each.name] = (
                maker.port_dtype(value.name, None) if is_dtype else value  # type: ignore[union-attr]
            )

    def call(self) -> Any:
        """The call with all its operands."""
        if not self.tensors:
            raise Unfit(f"no instance is made of {self.node.operator}, which takes no tensor")
        rule(self.node.operator)(self)
        operands = []
        for position, operand in enumerate(self.node.operands):
            is_slot = isinstance(self.maker.row.nodes[operand], ir.SlotConstant | ir.SlotTuple)
            if is_slot and operand not in self.maker.exprs:
                self.maker.exprs[operand] = self.maker.slot(operand, self, position)
            hint = self.dtype_at(0) if position else None
            operands.append(self.maker.make(operand, (), hint, self.node.operator))
        return graphs().make_call(self.node.operator, operands, self.attributes)

    # ---- what rules ask ----
    def pick(self, name: str, *choices: Any) -> Any:
        drawn = choices[int(self.random.integers(0, len(choices)))]
        return self.attributes.setdefault(name, drawn)

    def value(self, name: str, *choices: Any) -> Any:
        drawn = choices[int(self.values.integers(0, len(choices)))]
        return self.attributes.setdefault(name, drawn)

    def tensor(self, name: str, wanted: Any = None) -> Shape:
        position = self.positions[name]
        index = self.node.operands[position]
        hint = self.dtype_at(0) if position and 0 in self._made() else None
        # A weight is as it likes; the others of a call are mostly of one dtype.
        hint = None if name in ("kernel", "weight") and hint and "int" in hint else hint
        self.maker.make(index, wanted, hint, self.node.operator)
        type_ = self.maker.types[index]
        return _shape(type_.fields[0] if hasattr(type_, "fields") else type_)

    def _made(self) -> set[int]:
        pairs = enumerate(self.node.operands)
        return {position for position, index in pairs if index in self.maker.types}

    def dtype_at(self, position: int) -> str:
        return _dtypes(self.maker.types[self.node.operands[position]])[0]

    def dtype(self, name: str) -> str:
        return self.dtype_at(self.positions[name])

    def is_leaf(self, name: str) -> bool:
        node = self.maker.row.nodes[self.node.operands[self.positions[name]]]
        return isinstance(node, ir.Input)

    def is_bias(self, name: str) -> bool:
        nodes = self.maker.row.nodes
        beside = nodes[self.node.operands[0]]
        if not isinstance(beside, ir.Call) or beside.operator not in _WEIGHTED:
            return False
        node = nodes[self.node.operands[self.positions[name]]]
        return isinstance(node, ir.Call) and self.is_constant(name)

    def is_constant(self, name: str) -> bool:
        nodes = self.maker.row.nodes
        node = nodes[self.node.operands[self.positions[name]]]
        while isinstance(node, ir.Call) and node.operands:
            node = nodes[node.operands[0]]
        return isinstance(node, ir.Input) and node.constness is ir.Constness.CONSTANT

    def channel_axis(self, rank: int) -> int:
        """Of the convolution whose accumulator this is."""
        index: int = self.node.operands[0]
        while isinstance(node := self.maker.row.nodes[index], ir.Call):
            if node.operator.endswith(("conv2d", "conv2d_transpose")):
                stated = {each.name: each.value for each in node.attributes}
                layout = str(stated.get("data_layout", "NHWC"))
                return -1 if layout.endswith("C") else layout.index("C")
            index = node.operands[0]
        return -1

    def final_dtype(self) -> str:
        """The dtype of the pattern's output."""
        return self.maker.port_dtype(self.maker.output.name, None)

    def output_dtype(self) -> str:
        if self.index in self.maker.tail:
            return self.final_dtype()
        first = self.dtype_at(0)
        if self.node.operator == "cast":
            return "int32" if "int" in first else "float32"
        return first if first in ("int8", "uint8", "int16") else "int8"
