"""How far what a Relax graph computes may be from its meaning, in units of the output's last place.

Between dequantize and quantize TVM computes in float32, whose every operation rounds to within
2^-24 of its result. What that adds up to is followed from the operands to the root: the error of
each value is at most an absolute part and a part relative to the value. Sums are taken at their
worst, as the order in which TVM adds is its own. Errors of errors are in `_SECOND_ORDER`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Any

import numpy as np

from qpat.semantics import ir
from qpat.verify.bounds import KEEPS_ERRORS, ROUNDS, Bound, NoBound, no_scale
from qpat.verify.drafts import Graph
from qpat.verify.parameters import dtypes_of
from qpat.verify.real_errors import RULES, Called, Error, U, joined

_SECOND_ORDER = 1 + 2.0**-10
# What TVM computes in float32 also for a meaning, which is float64 (topi/image/resize.py).
_COARSE = ("image.resize2d",)


def derive_real_bound(row: ir.Row, graph: Graph) -> Bound:
    """The bound of a row's graph. Raises NoBound."""
    following = _Following(row, graph)
    names = {each.operator for each in row.nodes if isinstance(each, ir.Call)}
    coarse = 2 * U if names & {*_COARSE} else 0.0
    found = following.error(row.root)
    if following.dtype(row.root).startswith("float"):
        if found.absolute:
            raise NoBound("a float that has an error near zero")
        units = _known(found.relative / U * _SECOND_ORDER)
        return Bound(units, (f"float32 {units:.4g}",), in_ulps=True, relative=coarse)
    steps = following.steps
    if not found.absolute and not found.relative:
        return Bound(steps, (), relative=coarse)
    lost = min(following.lost, found.absolute)
    least, reach = float(np.min(following.scale(row.root))), following.reach(row.root)
    real = _known(((found.absolute - lost) / least + found.relative * reach) * _SECOND_ORDER)
    parts = {"qnn.quantize": steps, "rounded inside": lost / least, "float32": real}
    said = tuple(f"{name} {units:.3g}" for name, units in parts.items() if units)
    return Bound(sum(parts.values()), said, relative=coarse)


def _known(units: float) -> float:
    if not np.isfinite(units):
        raise NoBound("an error in float32 that has no bound")
    return units


class _Following:
    """The errors of the nodes of a row, each calculated once, in real units. `last` is the quantize
    that makes the output, behind which integers are only moved or cut; it rounds `steps` away, in
    the output's units, and those are in no error. `lost` is what is rounded to integers before."""

    def __init__(self, row: ir.Row, graph: Graph) -> None:
        self.row = row
        self.graph = graph
        self.errors: dict[int, Error] = {}
        self.lost = 0.0
        self.last = self._last_quantize(row.root)
        self.steps = 0.0 if self.last is None else 0.5
        self.space_of = {
            member: number for number, space in enumerate(row.spaces) for member in space.members
        }

    def error(self, index: int) -> Error:
        if index not in self.errors:
            self.errors[index] = self._error(index)
        return self.errors[index]

    def _error(self, index: int) -> Error:
        node = self.row.nodes[index]
        match node:
            case ir.Call():
                return self._of_call(index, node)
            case ir.Tuple(elements=elements):
                return joined([self.error(each) for each in elements])
            case ir.Field(value=value):
                return self.error(value)
        return Error(self._most(index))

    def _most(self, index: int) -> float:
        """The largest value of an input, as the numbers that it consists of."""
        data = getattr(self.graph.exprs[index], "data", None)
        if data is not None:
            return float(np.max(np.abs(data.numpy().astype("float64")), initial=0.0))
        return inf

    def _of_call(self, index: int, node: ir.Call) -> Error:
        if node.operator == "qnn.dequantize":
            return self._dequantized(node)
        operands = [self.error(each) for each in node.operands if each in self.graph.types]
        if node.operator == "qnn.quantize":
            [data, *_] = operands
            rounded = 0.0 if index == self.last else float(np.max(self.scale(index))) / 2
            self.lost += rounded
            return Error(data.most, data.absolute + rounded, data.relative + U)
        if not self.dtype(index).startswith("float"):
            return self._of_integers(index, node, operands)
        rule = RULES.get(node.operator)
        if rule is None and node.operator not in KEEPS_ERRORS:
            raise NoBound(f"what {node.operator} rounds away in float32 is not known")
        return joined(operands) if rule is None else rule(operands, Called(self.graph, index, node))

    def _dequantized(self, node: ir.Call) -> Error:
        """The difference is exact but for int32, which float32 has no room for."""
        data = node.operands[0]
        before = self.error(data)
        scale, zero_point = self.scale(data), self._zero_point(data)
        wide = self.dtype(data) == "int32"
        value = getattr(self.graph.exprs[data], "data", None)
        info = np.iinfo(self.dtype(data))
        ends = [info.min, info.max] if value is None else _ends(value.numpy())
        reach = max(float(np.max(np.abs(end - np.float64(zero_point)))) for end in ends)
        most = reach * float(np.max(scale))
        return Error(most, before.absolute, before.relative + (2 * U if wide else U))

    def _of_integers(self, index: int, node: ir.Call, operands: Sequence[Error]) -> Error:
        before = joined(operands)
        is_exact = not before.absolute and not before.relative
        if not is_exact and node.operator not in KEEPS_ERRORS:
            raise NoBound(f"{node.operator} works on what was rounded before")
        loss = ROUNDS.get(node.operator, 0.0)
        if not loss:
            return before
        lost = loss * float(np.max(self.scale(index)))
        self.lost += lost
        return Error(before.most, before.absolute + lost, before.relative)

    def _last_quantize(self, index: int) -> int | None:
        node = self.row.nodes[index]
        while isinstance(node, ir.Call) and node.operator != "qnn.quantize":
            tensors = [each for each in node.operands if each in self.graph.types]
            is_moved = node.operator in KEEPS_ERRORS and len(tensors) == 1
            if not is_moved or self.dtype(index).startswith("float"):
                return None
            index = tensors[0]
            node = self.row.nodes[index]
        return index if isinstance(node, ir.Call) else None

    # ---- what is known of a node ----
    def dtype(self, index: int) -> str:
        return dtypes_of(self.graph.types[index])[0]

    def scale(self, index: int) -> Any:
        return self._drawn(index).scale

    def _zero_point(self, index: int) -> Any:
        return self._drawn(index).zero_point

    def _drawn(self, index: int) -> Any:
        number = self.space_of.get(index)
        if number is None or number not in self.graph.drawn:
            raise no_scale(self.row.nodes[index])
        return self.graph.drawn[number]

    def reach(self, index: int) -> float:
        """How far the integers of a node are from its zero point at most."""
        info, zero_point = np.iinfo(self.dtype(index)), np.float64(self._zero_point(index))
        return 1 + max(float(np.max(np.abs(end - zero_point))) for end in (info.min, info.max))


def _ends(value: Any) -> list[float]:
    return [float(np.min(value)), float(np.max(value))]
