"""How far what a Relax graph computes may be from its meaning, in units of the output's last place.

Between dequantize and quantize TVM computes in float32, whose every operation rounds to within
2^-24 of its result. What that adds up to is followed from the operands to the root: the error of
each value is at most an absolute part and a part relative to the value. Sums are taken at their
worst, as the order in which TVM adds is its own. Errors of errors are in `_SECOND_ORDER`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import exp, inf, prod, sqrt
from typing import Any

import numpy as np

from qpat.records import dataclass
from qpat.semantics import ir
from qpat.verify.bounds import KEEPS_ERRORS, ROUNDS, Bound, NoBound
from qpat.verify.drafts import Graph

# Half a unit of the last of float32's 24 bits.
U = 2.0**-24
_SECOND_ORDER = 1 + 2.0**-10
# A function of the C library is within one unit of the last place.
_OF_LIBRARY = 2 * U
# What TVM computes in float32 also for a meaning, which is float64 (topi/image/resize.py).
_COARSE = ("image.resize2d",)


@dataclass(frozen=True)
class Error:
    """Of a tensor whose values are at most `most`: each is computed to within
    `absolute + relative * |value|`."""

    most: float
    absolute: float = 0.0
    relative: float = 0.0

    @property
    def whole(self) -> float:
        """The error that the largest value may have."""
        return self.absolute + _times(self.relative, self.most)


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
    least, reach = float(np.min(following.scale(row.root))), following.reach(row.root)
    real = _known((found.absolute / least + found.relative * reach) * _SECOND_ORDER)
    return Bound(steps + real, (f"qnn.quantize {steps:g}", f"float32 {real:.3g}"), relative=coarse)


def _known(units: float) -> float:
    if not np.isfinite(units):
        raise NoBound("an error in float32 that has no bound")
    return units


def _times(one: float, other: float) -> float:
    """A product in which nothing of what is without bound is nothing."""
    return 0.0 if not one or not other else one * other


class _Following:
    """The errors of the nodes of a row, each calculated once, in real units. `last` is the quantize
    that makes the output, behind which integers are only moved or cut; it rounds `steps` away, in
    the output's units, and those are in no error."""

    def __init__(self, row: ir.Row, graph: Graph) -> None:
        self.row = row
        self.graph = graph
        self.errors: dict[int, Error] = {}
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
            return Error(data.most, data.absolute + rounded, data.relative + U)
        if not self.dtype(index).startswith("float"):
            return self._of_integers(index, node, operands)
        rule = _RULES.get(node.operator)
        if rule is None and node.operator not in KEEPS_ERRORS:
            raise NoBound(f"what {node.operator} rounds away in float32 is not known")
        return joined(operands) if rule is None else rule(operands, _Call(self, index, node))

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
        type_ = self.graph.types[index]
        return str(type_.fields[0].dtype if hasattr(type_, "fields") else type_.dtype)

    def scale(self, index: int) -> Any:
        return self._drawn(index).scale

    def _zero_point(self, index: int) -> Any:
        return self._drawn(index).zero_point

    def _drawn(self, index: int) -> Any:
        number = self.space_of.get(index)
        if number is None or number not in self.graph.drawn:
            name = self.row.nodes[index]
            said = name.operator if isinstance(name, ir.Call) else "a value"
            raise NoBound(f"{said} rounds, and its scale is not known")
        return self.graph.drawn[number]

    def reach(self, index: int) -> float:
        """How far the integers of a node are from its zero point at most."""
        info, zero_point = np.iinfo(self.dtype(index)), np.float64(self._zero_point(index))
        return 1 + max(float(np.max(np.abs(end - zero_point))) for end in (info.min, info.max))


def _ends(value: Any) -> list[float]:
    return [float(np.min(value)), float(np.max(value))]


def joined(operands: Sequence[Error]) -> Error:
    """The error of what is one of several values, or between them."""
    return Error(
        max((each.most for each in operands), default=0.0),
        max((each.absolute for each in operands), default=0.0),
        max((each.relative for each in operands), default=0.0),
    )


@dataclass(frozen=True, eq=False)
class _Call:
    """What a rule asks of a call."""

    following: Any
    index: int
    node: ir.Call

    @property
    def attrs(self) -> Any:
        return self.following.graph.exprs[self.index].attrs

    def shape(self, operand: int) -> tuple[int, ...]:
        return tuple(int(each) for each in self.following.graph.types[self._at(operand)].shape)

    def result(self) -> tuple[int, ...]:
        return tuple(int(each) for each in self.following.graph.types[self.index].shape)

    def least(self, operand: int) -> float:
        """The smallest absolute value of an operand; 0 where it is no constant."""
        data = getattr(self.following.graph.exprs[self._at(operand)], "data", None)
        return 0.0 if data is None else float(np.min(np.abs(data.numpy()), initial=inf))

    def _at(self, operand: int) -> int:
        return self.node.operands[operand]


Rule = Callable[[Sequence[Error], _Call], Error]


def _exact_at_zero(error: Error, call: _Call) -> None:
    """Wants an error that is relative only: the function is steep near zero."""
    if error.absolute:
        raise NoBound(f"{call.node.operator} of what has an error near zero")


# ---- sums and products ---------------------------------------------------------------------------


def _sum_of_two(operands: Sequence[Error], call: _Call) -> Error:
    one, other = operands
    return Error(one.most + other.most, one.whole + other.whole, U)


def _product(operands: Sequence[Error], call: _Call) -> Error:
    one, other = operands
    absolute = _times(one.absolute, other.most) + _times(other.absolute, one.most)
    return Error(_times(one.most, other.most), absolute, one.relative + other.relative + U)


def _quotient(operands: Sequence[Error], call: _Call) -> Error:
    one, other = operands
    _exact_at_zero(other, call)
    least = call.least(1)
    absolute = (one.absolute / least if least else inf) if one.absolute else 0.0
    most = one.most / least if least else inf
    return Error(most, absolute, one.relative + other.relative + U)


def _accumulated(terms: Callable[[_Call], int]) -> Rule:
    """A sum of products of two operands: `terms` says of how many."""

    def rule(operands: Sequence[Error], call: _Call) -> Error:
        one, other = operands
        count = terms(call)
        each = _product(operands, call)
        most = count * each.most
        absolute = count * each.absolute + most * (each.relative + count * U)
        return Error(most, absolute)

    return rule


def _conv_terms(letter: str) -> Callable[[_Call], int]:
    def terms(call: _Call) -> int:
        kernel = call.shape(1)
        return prod(kernel) // max(1, kernel[str(call.attrs.kernel_layout).index(letter)])

    return terms


def _matmul_terms(call: _Call) -> int:
    return call.shape(0)[-1]


def _average(count: Callable[[_Call], int], is_divided: bool = True) -> Rule:
    """A sum of as many values of one operand, divided by how many they are or not."""

    def rule(operands: Sequence[Error], call: _Call) -> Error:
        terms, [one] = count(call), operands
        factor = 1 if is_divided else terms
        absolute = one.absolute + _times(one.most, one.relative + terms * U)
        return Error(factor * one.most, factor * absolute, U)

    return rule


def _reduced(call: _Call) -> int:
    return prod(call.shape(0)) // max(1, prod(call.result()))


def _window(call: _Call) -> int:
    return 1 + prod(int(each) for each in call.attrs.pool_size)


# ---- functions of one value ----------------------------------------------------------------------


def _sigmoid(operands: Sequence[Error], call: _Call) -> Error:
    """1 / (1 + exp(-x)): its slope is at most 1/4, and x times its slope 0.224."""
    [one] = operands
    return Error(1.0, one.absolute / 4 + 0.224 * one.relative, _OF_LIBRARY + 2 * U)


def _tanh(operands: Sequence[Error], call: _Call) -> Error:
    """(1 - e) / (1 + e) with e = exp(-2 |x|): relative to 1, as the difference is near zero too.
    Its slope is at most 1, and x times its slope 0.448."""
    [one] = operands
    return Error(1.0, one.absolute + 0.448 * one.relative + 2 * _OF_LIBRARY + 3 * U)


def _erf(operands: Sequence[Error], call: _Call) -> Error:
    """Its slope is at most 1.129, and x times its slope 0.484."""
    [one] = operands
    return Error(1.0, 1.129 * one.absolute + 0.484 * one.relative, _OF_LIBRARY)


def _exp(operands: Sequence[Error], call: _Call) -> Error:
    [one] = operands
    most = exp(one.most) if one.most < 88 else inf
    return Error(most, 0.0, one.whole + _OF_LIBRARY)


def _log(operands: Sequence[Error], call: _Call) -> Error:
    """Of float32, which has an exponent of 8 bits."""
    [one] = operands
    _exact_at_zero(one, call)
    return Error(104.0, one.relative, _OF_LIBRARY)


def _sqrt(operands: Sequence[Error], call: _Call) -> Error:
    [one] = operands
    _exact_at_zero(one, call)
    return Error(sqrt(one.most), 0.0, one.relative / 2 + U)


def _rsqrt(operands: Sequence[Error], call: _Call) -> Error:
    [one] = operands
    _exact_at_zero(one, call)
    return Error(inf, 0.0, one.relative / 2 + 2 * U)


def _power(operands: Sequence[Error], call: _Call) -> Error:
    """To a power that is a constant."""
    base, exponent = operands
    _exact_at_zero(base, call)
    return Error(inf, 0.0, _times(exponent.most, base.relative) + _OF_LIBRARY)


def _leaky_relu(operands: Sequence[Error], call: _Call) -> Error:
    """The slope is a float64 in the graph and a float32 in what is computed."""
    [one] = operands
    factor = max(1.0, abs(float(call.attrs.alpha)))
    return Error(factor * one.most, factor * one.absolute, one.relative + 2 * U)


def _prelu(operands: Sequence[Error], call: _Call) -> Error:
    one, slope = operands
    factor = max(1.0, slope.most)
    return Error(factor * one.most, factor * one.absolute, one.relative + U)


def _clip(operands: Sequence[Error], call: _Call) -> Error:
    """Its bounds are float64 in the graph and float32 in what is computed."""
    one = operands[0]
    bound = max(abs(float(call.attrs.a_min)), abs(float(call.attrs.a_max)))
    return Error(min(one.most, bound), one.absolute + U * min(bound, one.most), one.relative)


def _softmax(operands: Sequence[Error], call: _Call) -> Error:
    """exp(x - most), divided by the sum of those."""
    [one] = operands
    count = call.shape(0)[int(call.attrs.axis)]
    power = 2 * one.whole + 2 * one.most * U + _OF_LIBRARY
    return Error(1.0, 0.0, 2 * power + (count + 1) * U)


def _resize(operands: Sequence[Error], call: _Call) -> Error:
    """Between neighbours, whose places are float32: along both axes three operations, of numbers up
    to the size of the image."""
    [one] = operands
    if str(call.attrs.method) == "nearest_neighbor":
        return one
    if str(call.attrs.method) != "linear":
        raise NoBound(f"what image.resize2d rounds away by method {call.attrs.method} is not known")
    size = 1 + max(call.shape(0))
    return Error(one.most, one.absolute + one.most * U * (2 * 2 * 3 * size + 8), one.relative)


_RULES: Mapping[str, Rule] = {
    "add": _sum_of_two,
    "subtract": _sum_of_two,
    "multiply": _product,
    "divide": _quotient,
    "nn.conv2d": _accumulated(_conv_terms("O")),
    "nn.conv2d_transpose": _accumulated(_conv_terms("O")),
    "nn.matmul": _accumulated(_matmul_terms),
    "mean": _average(_reduced),
    "sum": _average(_reduced, is_divided=False),
    "nn.avg_pool2d": _average(_window),
    "sigmoid": _sigmoid,
    "tanh": _tanh,
    "erf": _erf,
    "exp": _exp,
    "log": _log,
    "sqrt": _sqrt,
    "rsqrt": _rsqrt,
    "power": _power,
    "nn.leaky_relu": _leaky_relu,
    "nn.prelu": _prelu,
    "clip": _clip,
    "nn.softmax": _softmax,
    "image.resize2d": _resize,
}
