"""What float32 makes of the errors of operands, operator by operator; see real_bounds.py.

Every operation of float32 rounds to within 2^-24 of its result. Sums are taken at their worst, as
the order in which TVM adds is its own. Errors of errors are left out here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import exp, inf, log, prod, sqrt
from typing import Any

import numpy as np

from qpat.records import dataclass
from qpat.semantics import ir
from qpat.verify.bounds import NoBound
from qpat.verify.drafts import Graph

# Half a unit of the last of float32's 24 bits.
U = 2.0**-24
# A function of the C library is within one unit of the last place.
_OF_LIBRARY = 2 * U


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


def _times(one: float, other: float) -> float:
    """A product in which nothing of what is without bound is nothing."""
    return 0.0 if not one or not other else one * other


def joined(operands: Sequence[Error]) -> Error:
    """The error of what is one of several values, or between them."""
    return Error(
        max((each.most for each in operands), default=0.0),
        max((each.absolute for each in operands), default=0.0),
        max((each.relative for each in operands), default=0.0),
    )


@dataclass(frozen=True, eq=False)
class Called:
    """What a rule asks of a call of a graph."""

    graph: Graph
    index: int
    node: ir.Call

    @property
    def attrs(self) -> Any:
        return self.graph.exprs[self.index].attrs

    def shape(self, operand: int) -> tuple[int, ...]:
        return tuple(int(each) for each in self.graph.types[self._at(operand)].shape)

    def result(self) -> tuple[int, ...]:
        return tuple(int(each) for each in self.graph.types[self.index].shape)

    def least(self, operand: int) -> float:
        """The smallest absolute value of an operand; 0 where it is no constant."""
        data = getattr(self.graph.exprs[self._at(operand)], "data", None)
        return 0.0 if data is None else float(np.min(np.abs(data.numpy()), initial=inf))

    def _at(self, operand: int) -> int:
        return self.node.operands[operand]


Rule = Callable[[Sequence[Error], Called], Error]


def _exact_at_zero(error: Error, call: Called) -> None:
    """Wants an error that is relative only: the function is steep near zero."""
    if error.absolute:
        raise NoBound(f"{call.node.operator} of what has an error near zero")


# ---- sums and products ---------------------------------------------------------------------------


def _sum_of_two(operands: Sequence[Error], call: Called) -> Error:
    one, other = operands
    return Error(one.most + other.most, one.whole + other.whole, U)


def _product(operands: Sequence[Error], call: Called) -> Error:
    one, other = operands
    absolute = _times(one.absolute, other.most) + _times(other.absolute, one.most)
    return Error(_times(one.most, other.most), absolute, one.relative + other.relative + U)


def _quotient(operands: Sequence[Error], call: Called) -> Error:
    one, other = operands
    _exact_at_zero(other, call)
    least = call.least(1)
    absolute = (one.absolute / least if least else inf) if one.absolute else 0.0
    most = one.most / least if least else inf
    return Error(most, absolute, one.relative + other.relative + U)


def _accumulated(terms: Callable[[Called], int]) -> Rule:
    """A sum of products of two operands: `terms` says of how many."""

    def rule(operands: Sequence[Error], call: Called) -> Error:
        one, other = operands
        count = terms(call)
        each = _product(operands, call)
        most = count * each.most
        absolute = count * each.absolute + most * (each.relative + count * U)
        return Error(most, absolute)

    return rule


def _conv_terms(letter: str) -> Callable[[Called], int]:
    def terms(call: Called) -> int:
        kernel = call.shape(1)
        return prod(kernel) // max(1, kernel[str(call.attrs.kernel_layout).index(letter)])

    return terms


def _matmul_terms(call: Called) -> int:
    return call.shape(0)[-1]


def _average(count: Callable[[Called], int], is_divided: bool = True) -> Rule:
    """A sum of as many values of one operand, divided by how many they are or not."""

    def rule(operands: Sequence[Error], call: Called) -> Error:
        terms, [one] = count(call), operands
        factor = 1 if is_divided else terms
        absolute = one.absolute + _times(one.most, one.relative + terms * U)
        return Error(factor * one.most, factor * absolute, U)

    return rule


def _reduced(call: Called) -> int:
    return prod(call.shape(0)) // max(1, prod(call.result()))


def _window(call: Called) -> int:
    return 1 + prod(int(each) for each in call.attrs.pool_size)


# ---- functions of one value ----------------------------------------------------------------------


def _sigmoid(operands: Sequence[Error], call: Called) -> Error:
    """1 / (1 + exp(-x)): its slope is at most 1/4, and x times its slope 0.224."""
    [one] = operands
    return Error(1.0, one.absolute / 4 + 0.224 * one.relative, _OF_LIBRARY + 2 * U)


def _tanh(operands: Sequence[Error], call: Called) -> Error:
    """(1 - e) / (1 + e) with e = exp(-2 |x|): relative to 1, as the difference is near zero too.
    Its slope is at most 1, and x times its slope 0.448."""
    [one] = operands
    return Error(1.0, one.absolute + 0.448 * one.relative + 2 * _OF_LIBRARY + 3 * U)


def _erf(operands: Sequence[Error], call: Called) -> Error:
    """Its slope is at most 1.129, and x times its slope 0.484."""
    [one] = operands
    return Error(1.0, 1.129 * one.absolute + 0.484 * one.relative, _OF_LIBRARY)


def _exp(operands: Sequence[Error], call: Called) -> Error:
    [one] = operands
    most = exp(one.most) if one.most < 88 else inf
    return Error(most, 0.0, one.whole + _OF_LIBRARY)


def _log(operands: Sequence[Error], call: Called) -> Error:
    """Of float32, which has an exponent of 8 bits."""
    [one] = operands
    _exact_at_zero(one, call)
    return Error(104.0, one.relative, _OF_LIBRARY)


def _sqrt(operands: Sequence[Error], call: Called) -> Error:
    [one] = operands
    _exact_at_zero(one, call)
    return Error(sqrt(one.most), 0.0, one.relative / 2 + U)


def _rsqrt(operands: Sequence[Error], call: Called) -> Error:
    [one] = operands
    _exact_at_zero(one, call)
    return Error(inf, 0.0, one.relative / 2 + 2 * U)


def _power(operands: Sequence[Error], call: Called) -> Error:
    """To a power that is a constant."""
    base, exponent = operands
    _exact_at_zero(base, call)
    return Error(inf, 0.0, _times(exponent.most, base.relative) + _OF_LIBRARY)


def _leaky_relu(operands: Sequence[Error], call: Called) -> Error:
    """The slope is a float64 in the graph and a float32 in what is computed."""
    [one] = operands
    factor = max(1.0, abs(float(call.attrs.alpha)))
    return Error(factor * one.most, factor * one.absolute, one.relative + 2 * U)


def _prelu(operands: Sequence[Error], call: Called) -> Error:
    one, slope = operands
    factor = max(1.0, slope.most)
    return Error(factor * one.most, factor * one.absolute, one.relative + U)


def _clip(operands: Sequence[Error], call: Called) -> Error:
    """Its bounds are float64 in the graph and float32 in what is computed."""
    one = operands[0]
    bound = max(abs(float(call.attrs.a_min)), abs(float(call.attrs.a_max)))
    return Error(min(one.most, bound), one.absolute + U * min(bound, one.most), one.relative)


def _softmax(operands: Sequence[Error], call: Called) -> Error:
    """exp(x - most), divided by the sum of those."""
    [one] = operands
    count = call.shape(0)[int(call.attrs.axis)]
    power = 2 * one.whole + 2 * one.most * U + _OF_LIBRARY
    return Error(1.0, 0.0, 2 * power + (count + 1) * U)


def _log_softmax(operands: Sequence[Error], call: Called) -> Error:
    """x - most - log(sum(exp(x - most))): its slopes add up to 2 at most."""
    [one] = operands
    count = call.shape(0)[int(call.attrs.axis)]
    power = 2 * one.most * U + _OF_LIBRARY + count * U
    absolute = 2 * one.whole + 2 * one.most * U + power + _OF_LIBRARY * log(max(2, count))
    return Error(2 * one.most + log(max(2, count)), absolute, U)


def _resize(operands: Sequence[Error], call: Called) -> Error:
    """Between neighbours, whose places are float32: along both axes three operations, of numbers up
    to the size of the image."""
    [one] = operands
    if str(call.attrs.method) == "nearest_neighbor":
        return one
    if str(call.attrs.method) != "linear":
        raise NoBound(f"what image.resize2d rounds away by method {call.attrs.method} is not known")
    size = 1 + max(call.shape(0))
    return Error(one.most, one.absolute + one.most * U * (2 * 2 * 3 * size + 8), one.relative)


RULES: Mapping[str, Rule] = {
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
    "nn.log_softmax": _log_softmax,
    "image.resize2d": _resize,
}
