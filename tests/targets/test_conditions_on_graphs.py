"""Conditions that hold together on a graph are never said to contradict each other.

Many random conditions are put on a graph and evaluated as generated modules do. Those that are true
there are given to `qpat check` together, with ports declared as the graph has them and attributes
written out: whatever it makes of them, they hold together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relay

from qpat.compiler import check_source
from qpat.diagnostics import render_all
from qpat.ops.table import operator
from qpat.semantics import ir, lower_pattern
from qpat.semantics.contradictions import row_conflicts
from qpat.source import Source
from qpat.targets import relay_conditions, relay_support
from qpat.targets.expressions import Variables, python

SPACE = {**vars(relay_support), **vars(relay_conditions), "np": np}
DTYPES = ("int8", "uint8", "int16", "int32", "float32")


@dataclass(frozen=True)
class Graph:
    """A typed graph: its values and calls by the names that `structure` gives them. `{name}` in
    there is where attributes of that call may be written."""

    structure: str
    values: Mapping[str, Any]
    inputs: tuple[str, ...]

    @property
    def calls(self) -> list[str]:
        return [name for name in self.values if name not in self.inputs]


def _typed(structure: str, inputs: Mapping[str, Any], **calls: Any) -> Graph:
    """The graph whose last call is its output."""
    output = list(calls.values())[-1]
    function = relay.Function(relay.analysis.free_vars(output), output)
    module = relay.transform.InferType()(tvm.IRModule.from_expr(function))
    before: list[Any] = []
    after: list[Any] = []
    relay.analysis.post_order_visit(output, before.append)
    relay.analysis.post_order_visit(module["main"].body, after.append)
    new = dict(zip(before, after, strict=True))
    values = {name: new[expr] for name, expr in {**inputs, **calls}.items()}
    return Graph(structure, values, tuple(inputs))


def _convolution(random: Random) -> Graph:
    x = relay.var("x", shape=(1, 8, random.choice([8, 8, relay.Any()]), 4), dtype="int8")
    w = relay.const(np.ones((3, 3, 4, 8), "int8"))
    bias = relay.const(np.ones(8, "int32"))
    scale, zero = relay.const(np.float32(0.5)), relay.const(np.int32(0))
    d = relay.nn.pad(x, [[0, 0], [1, 1], [random.choice([0, 1]), 1], [0, 0]], 0)
    window = {"strides": random.choice([(1, 1), (2, 1), (2, 2)]), "padding": (0, 0)}
    layout = {"data_layout": "NHWC", "kernel_layout": "HWIO"}
    acc = relay.qnn.op.conv2d(d, w, zero, zero, scale, scale, (3, 3), 8, **window, **layout)
    add = relay.nn.bias_add(acc, bias, axis=3)
    out_dtype = random.choice(["int8", "uint8", "int16"])
    out = relay.qnn.op.requantize(add, scale, zero, scale, zero, axis=3, out_dtype=out_dtype)
    y = relay.clip(out, 0.0, random.choice([6.0, 6.5]))
    structure = (
        "d = nn.pad(x, _{d})\nacc = qnn.conv2d(d, const w, ..{acc})\n"
        "add = nn.bias_add(acc, const bias{add})\nout = qnn.requantize(add, ..{out})\n"
        "y = clip(out{y})"
    )
    inputs = {"x": x, "w": w, "bias": bias}
    return _typed(structure, inputs, d=d, acc=acc, add=add, out=out, y=y)


def _reduction(random: Random) -> Graph:
    x = relay.var("x", shape=random.choice([(2, 3, 4), (1, 4, 1, 1), (4, 4)]), dtype="uint8")
    wide = relay.cast(x, "int32")
    axis = random.choice([[0], [1], [0, 1], [-1], []])
    flags = {"keepdims": random.choice([True, False]), "exclude": random.choice([True, False])}
    y = random.choice([relay.sum, relay.max, relay.mean])(wide, axis=axis, **flags)
    name = y.op.name
    return _typed(f"wide = cast(x{{wide}})\ny = {name}(wide{{y}})", {"x": x}, wide=wide, y=y)


def _movement(random: Random) -> Graph:
    shape = random.choice([(2, 3, 4), (4, 4, 4), (1, 2, 2), (relay.Any(), 2, 3)])
    x = relay.var("x", shape=shape, dtype="float32")
    x2 = relay.var("x2", shape=random.choice([(), (1,), (1, 1)]), dtype="float32")
    t = relay.transpose(x, random.choice([[0, 1, 2], [2, 0, 1], [0, 2, -2]]))
    e = relay.expand_dims(t, axis=random.choice([0, -1, 2]), num_newaxis=random.choice([1, 2]))
    y = relay.add(relay.nn.relu(e), x2)
    structure = "t = transpose(x{t})\ne = expand_dims(t{e})\ny = add(nn.relu(e), x2)"
    return _typed(structure, {"x": x, "x2": x2}, t=t, e=e, y=y)


def _pool(random: Random) -> Graph:
    x = relay.var("x", shape=(1, 8, 8, 4), dtype="int8")
    window = {
        "strides": random.choice([(1, 1), (2, 1)]),
        "padding": random.choice([(0, 0), (1, 0)]),
    }
    p = relay.nn.max_pool2d(x, (2, random.choice([1, 2])), **window, layout="NHWC")
    y = relay.reshape(p, random.choice([[1, -1], [-1], [0, 0, -1]]))
    return _typed("p = nn.max_pool2d(x{p})\ny = reshape(p{y})", {"x": x}, p=p, y=y)


GRAPHS = {"convolution": _convolution, "reduction": _reduction, "move": _movement, "pool": _pool}


class _Writer:
    """A pattern of a graph, all that it declares true, with random conditions."""

    def __init__(self, random: Random, graph: Graph) -> None:
        self.random = random
        self.graph = graph
        self.sizes = 0

    def text(self) -> str:
        ports = [self._port(name) for name in self.graph.inputs]
        written = {name: self._written(name) for name in self.graph.calls}
        structure = self.graph.structure.format(**written)
        lines = [f"where {self._condition()}" for _ in range(40)]
        body = "\n".join([structure, *lines])
        return f'compiler "n"\npattern p({", ".join(ports)}) -> {self._port("y")} {{\n{body}\n}}\n'

    def _port(self, name: str) -> str:
        type_ = self.graph.values[name].checked_type
        dtypes = {str(type_.dtype), *self.random.sample(DTYPES, self.random.choice([0, 1]))}
        text = f"{name}: {' | '.join(sorted(dtypes))}"
        if self.random.random() < 0.3 or name in ("w", "bias"):
            return text
        sizes = [self._size(size) for size in relay_support.shape_of(self.graph.values[name])]
        if self._maybe(0.4):
            first = self.random.randint(0, len(sizes))
            sizes[first : self.random.randint(first, len(sizes))] = ["..."]
        return f"{text} [{', '.join(sizes)}]"

    def _size(self, size: int | None) -> str:
        """A size, or a name; two that are equal may have one name."""
        self.sizes += 1
        choices = ["_", f"S{size}", f"T{self.sizes}"]
        return self.random.choice(choices if size is None else [*choices, str(size), str(size)])

    def _attributes(self, name: str) -> dict[str, Any]:
        call = self.graph.values[name]
        signature = operator(call.op.name)
        assert signature is not None
        found = {}
        for key in signature.attributes:
            value = relay_support.plain(getattr(call.attrs, key))
            kind = {"dtype": str, "bool": bool}.get(signature.attributes[key].type)
            found[key] = value if kind is None or value is None else kind(value)
        return {key: value for key, value in found.items() if value is not None}

    def _written(self, name: str) -> str:
        parts = []
        for key, value in self._attributes(name).items():
            is_list = isinstance(value, tuple) and all(type(e) in (int, tuple) for e in value)
            if (is_list or isinstance(value, bool | int | float | str)) and self._maybe(0.4):
                parts.append(f", {key}={_literal(value)}")
        return "".join(parts)

    def _maybe(self, probability: float) -> bool:
        return self.random.random() < probability

    # ---- conditions ----
    def _condition(self, depth: int = 1) -> str:
        kind = self.random.choice(
            ["dtype", "rank", "size", "size", "attribute", "attribute", "more"]
        )
        if kind == "more" and depth:
            first, second = self._condition(0), self._condition(0)
            return self.random.choice(
                [
                    f"({first}) and ({second})",
                    f"({first}) or ({second})",
                    f"not ({first})",
                    f"({first}) => ({second})",
                    f"if {first} then {second} else {first}",
                    f"(1 == {self.random.choice([1, 2])}) => ({second})",
                    f"if 2 > {self.random.choice([1, 3])} then ({first}) else ({second})",
                    self._pair(),
                ]
            )
        if kind in ("dtype", "more"):
            return self._dtype()
        if kind == "rank":
            return self._compared(f"rank({self._name()})", f"rank({self._name()})", [1, 2, 3, 4, 5])
        return self._of_shape() if kind == "size" else self._of_attribute()

    def _name(self) -> str:
        return self.random.choice(list(self.graph.values))

    def _dtype(self) -> str:
        name, other = f"{self._name()}.dtype", f"{self._name()}.dtype"
        first, second = self.random.sample(DTYPES, 2)
        return self.random.choice(
            [
                f"{name} {self.random.choice(['==', '!='])} {first}",
                f"{name} {self.random.choice(['==', '!='])} {other}",
                f"{name} {self.random.choice(['in', 'not in'])} {{{first}, {second}}}",
            ]
        )

    def _pair(self) -> str:
        pairs = [
            f"({self.random.choice(DTYPES)}, {self.random.choice([2, 3, 4])})" for _ in range(4)
        ]
        return f"({self._name()}.dtype, rank({self._name()})) in {{{', '.join(pairs)}}}"

    def _compared(self, value: str, other: str, numbers: list[Any]) -> str:
        choose = self.random.choice
        first, second = choose(numbers), choose(numbers)
        least, most = min(first, second), max(first, second)
        relation = choose(["==", "!=", "<", "<=", ">", ">="])
        return choose(
            [
                f"{value} {relation} {first}",
                f"{first} {relation} {value}",
                f"{value} {choose(['in', 'not in'])} {{{first}, {second}}}",
                f"{value} {choose(['in', 'not in'])} {least}..{most}",
                f"{value} {relation} {other}",
            ]
        )

    def _of_shape(self) -> str:
        name, index = self._name(), self.random.choice([0, 1, 2, 3, -1, -2, -3, -4])
        if self._maybe(0.2):
            sizes = relay_support.shape_of(self.graph.values[name])
            wanted = [self.random.choice([1, 4, size or 2, size or 2]) for size in sizes]
            return f"{name}.shape {self.random.choice(['==', '<=', '>=', '!='])} {wanted}"
        other = f"{self._name()}.shape[{self.random.choice([0, 1, -1])}]"
        return self._compared(f"{name}.shape[{index}]", other, [1, 2, 3, 4, 8])

    def _of_attribute(self) -> str:
        name = self.random.choice(self.graph.calls)
        attributes = self._attributes(name)
        if not attributes:
            return self._dtype()
        key = self.random.choice(list(attributes))
        value, read = attributes[key], f"{name}.attrs.{key}"
        if isinstance(value, bool):
            return self.random.choice([read, f"not {read}", f"{read} == true"])
        if isinstance(value, str):
            choices = f'{{"{value}", "int16"}}'
            relation = self.random.choice(["==", "!="])
            return self.random.choice([f'{read} {relation} "{value}"', f"{read} in {choices}"])
        if isinstance(value, tuple):
            return self._of_list(read, value)
        return self._compared(read, read, [0, 1, 2, 3, 6.0, 6.5, -1])

    def _of_list(self, read: str, value: tuple[Any, ...]) -> str:
        plain = all(type(each) is int for each in value)
        if plain and self._maybe(0.3):
            near = [each + self.random.choice([0, 0, 0, 1]) for each in value]
            near = near[self.random.choice([0, 0, 0, 1]) :]
            return f"{read} {self.random.choice(['==', '<=', '>=', '!='])} {near}"
        if self._maybe(0.4):
            read = f"{read}[{self.random.choice([0, 1, -1, 3])}]"
        return self._compared(read, read, [0, 1, 2, 3, -1])


def _literal(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, tuple):
        return f"[{', '.join(_literal(each) for each in value)}]"
    return str(value)


def _lowered(text: str) -> ir.Pattern:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lower_pattern, "report_contradictions", lambda *_: None)
        module, found = check_source(Source("case.qpat", text))
    assert module is not None, render_all(found)
    return module.patterns[0]


def _is_true(where: ir.Where, graph: Graph, row: ir.Row) -> bool:
    space: dict[str, Any] = dict(SPACE)
    names = {name: f"value_{name}" for name in graph.values}
    space |= {names[name]: relay_support.Value(expr) for name, expr in graph.values.items()}
    text = python(
        where.condition, Variables(names, {n: names[n] for n in row.calls}, {}, "options", {})
    )
    try:
        return bool(np.all(eval(text, space)))
    except Exception:
        return False  # it refuses the match, as any exception in a check does


@pytest.mark.parametrize("kind", GRAPHS)
def test_conditions_that_hold_on_a_graph_hold_together(kind: str) -> None:
    random, true = Random(kind), 0
    for _ in range(60):
        graph = GRAPHS[kind](random)
        text = _Writer(random, graph).text()
        pattern = _lowered(text)
        (row,) = pattern.rows
        wheres = [each for each in pattern.statements if isinstance(each, ir.Where)]
        holding = [each for each in wheres if _is_true(each, graph, row)]
        true += len(holding)
        found = row_conflicts(row, pattern.ports, holding, frozenset(row.calls))
        assert not found, (text, found)
    assert true > 500


@pytest.mark.parametrize("kind", GRAPHS)
def test_a_condition_that_does_not_hold_is_often_seen(kind: str) -> None:
    """Of those that a graph fulfils in part, the others must contradict something."""
    random, seen, false = Random(kind), 0, 0
    for _ in range(20):
        graph = GRAPHS[kind](random)
        pattern = _lowered(_Writer(random, graph).text())
        (row,) = pattern.rows
        wheres = [each for each in pattern.statements if isinstance(each, ir.Where)]
        for where in wheres:
            if not _is_true(where, graph, row):
                others = [each for each in wheres if _is_true(each, graph, row)]
                false += 1
                calls = frozenset(row.calls)
                seen += bool(row_conflicts(row, pattern.ports, [*others, where], calls))
    assert seen > 0.3 * false, (seen, false)
