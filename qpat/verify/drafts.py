"""A row of the pattern IR as a random graph: nodes, constants, scales and zero points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qpat.ops.table import operator
from qpat.semantics import ir
from qpat.verify.call_draft import Shape, Unfit, random_shape
from qpat.verify.graphs import graphs
from qpat.verify.parameters import (
    ACCUMULATORS,
    Case,
    Drawn,
    Parameters,
    dtypes_of,
    shape_of,
    words,
)
from qpat.verify.shapes import rule

# Operators that give another dtype than they take.
_CONVERTING = (*ACCUMULATORS, "cast", "qnn.requantize", "qnn.quantize", "qnn.dequantize")
# Operators on real numbers beside which a bias may stand.
_WEIGHTED = ("nn.conv2d", "nn.conv2d_transpose", "nn.dense", "nn.matmul")
_SHIFTS = ("left_shift", "right_shift")
_FLOATS = (0.5, 1.0, 2.0, 3.0, 1.5)


@dataclass(frozen=True, eq=False)
class Graph:
    """A typed graph of a row. `inputs` are its variables by name with shape and dtype; `drawn` are
    the parameters by index of the row's space; `types` and `exprs` are those of the row's nodes, by
    index. `is_plain_sum`: every accumulator has the scale of the product of what it sums up, and no
    zero point. `is_in_range`: every zero point is one of the dtypes of its tensors."""

    root: Any
    inputs: Mapping[str, tuple[Shape, str]]
    drawn: Mapping[int, Drawn]
    types: Mapping[int, Any]
    exprs: Mapping[int, Any]
    is_plain_sum: bool = True
    is_in_range: bool = True


def draw_graph(
    pattern: ir.Pattern,
    row: ir.Row,
    shapes: np.random.Generator,
    values: np.random.Generator,
    scales: Mapping[int, float],
    case: Case | None = None,
) -> Graph:
    """A random graph of a row. `shapes` decides shapes, dtypes and attributes, `values` constants
    and parameters; `scales` are about what the scales of some spaces are to be.

    Raises Unfit, or what TVM raises where an operator does not take what was drawn.
    """
    maker = _Maker(pattern, row, shapes, values, scales, case)
    root = graphs().typed(maker.make(row.root))
    maker.parameters.draw_what_is_open()
    if not maker.inputs:
        raise Unfit("all inputs are constants")
    if any(0 in shape for shape, _ in maker.inputs.values()) or _is_empty(root):
        raise Unfit("a tensor without elements")
    found = maker.parameters
    types, exprs = dict(maker.types), dict(maker.exprs)
    said = found.are_plain_sums(), found.are_in_range()
    return Graph(root, dict(maker.inputs), found.drawn(), types, exprs, *said)


def _is_empty(root: Any) -> bool:
    if hasattr(root.checked_type, "fields"):
        raise Unfit("an output of several tensors is not compared")
    return 0 in shape_of(root.checked_type)


class _Maker:
    """Makes the nodes of a row from the root down, each once."""

    def __init__(
        self,
        pattern: ir.Pattern,
        row: ir.Row,
        shapes: np.random.Generator,
        values: np.random.Generator,
        wanted_scales: Mapping[int, float],
        case: Case | None,
    ) -> None:
        self.row = row
        self.ports = {port.name: port for port in pattern.ports}
        self.output = next(port for port in pattern.ports if port.is_output)
        self.shapes = shapes
        self.values = values
        self.exprs: dict[int, Any] = {}
        self.types: dict[int, Any] = {}
        self.inputs: dict[str, tuple[Shape, str]] = {}
        self.dtypes: dict[str, str] = {}
        self.sizes: dict[str, int] = {}
        self.parameters = Parameters(
            pattern, row, values, wanted_scales, case, self.exprs, self.types
        )
        self.names = {
            each: f"{name}_{number}"
            for name, at in row.values.items()
            if isinstance(node := row.nodes[at], ir.Several)
            for number, each in enumerate(node.elements)
        }
        self.tail = set(_tail(row, row.root))
        self.told_dtypes = words(pattern)

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
        # Where a condition is about a dtype, that one is drawn more often.
        allowed += [each for each in allowed if each in self.told_dtypes] * len(allowed)
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
    """One call while it is made; what rules ask of it is described in call_draft.py."""

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
                self.maker.exprs[operand] = self.maker.parameters.slot(operand, self)
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
        return shape_of(type_.fields[0] if hasattr(type_, "fields") else type_)

    def _made(self) -> set[int]:
        pairs = enumerate(self.node.operands)
        return {position for position, index in pairs if index in self.maker.types}

    def dtype_at(self, position: int) -> str:
        return dtypes_of(self.maker.types[self.node.operands[position]])[0]

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
