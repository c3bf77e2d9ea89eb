"""Rows that are said to match nothing, against generated modules on graphs: they match nothing.

Random patterns get random declarations and conditions, many of which hold on the graphs they are
tried on. A row is judged as `qpat check` does it; the module of the same pattern, compiled without
that judgement, must refuse every node of the graph for each row that was ruled out.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from tvm import relay

from qpat.compiler import compile_source
from qpat.diagnostics import QpatError
from qpat.semantics import lower_pattern
from qpat.semantics.contradictions import row_conflicts
from qpat.source import Source
from tests.targets.strategies import Call, Case, cases, matching_cases

Draw = Callable[[st.SearchStrategy[Any]], Any]

_SETTINGS = settings(
    deadline=None,
    derandomize=True,
    max_examples=120,
    phases=[Phase.generate, Phase.shrink],
    print_blob=False,
    suppress_health_check=list(HealthCheck),
)
_DTYPES = ("float32", "float32", "int8", "int8", "int16", "float16")
_SHAPES = (
    "[1, 4]",
    "[N, C]",
    "[N, 4]",
    "[N, N]",
    "[1, _]",
    "[N, ..., C]",
    "[..., 4]",
    "[4]",
    "[2, 4]",
)
_RELATIONS = ("==", "==", "!=", "<=", ">=", "<", ">")


@st.composite
def described(draw: Draw, source: st.SearchStrategy[Case]) -> tuple[str, Case]:
    """A pattern with conditions, and a graph it often matches."""
    case = draw(source)
    writer = _Writer(draw, case)
    return writer.text(), case


class _Writer:
    def __init__(self, draw: Draw, case: Case) -> None:
        self.draw = draw
        self.case = case
        self.ports = [port.name for port in case.pattern.ports]
        text = case.pattern.text
        self.optional = {n for n in self.ports if re.search(rf"\b{n}: \w+\?", text)}
        self.many = {n for n in self.ports if f"({n}...)" in text}
        forms = case.pattern.forms
        self.bound = list(forms[0]) if len(forms) == 1 else ["y"]
        self.calls = {
            name: tree.operators[0]
            for name, tree in (forms[0] if len(forms) == 1 else {}).items()
            if isinstance(tree, Call)
        }

    def pick(self, *choices: Any) -> Any:
        return self.draw(st.sampled_from(choices))

    def text(self) -> str:
        text = re.sub(r"(\w+): (float32|int8)(?=[,?)])", self._port, self.case.pattern.text)
        lines = [self._statement(index) for index in range(self.draw(st.integers(0, 4)))]
        body = "".join(f"  {line}\n" for line in lines)
        return f'compiler "test"\n{text.rstrip()[:-1]}{body}}}\n'

    def _port(self, found: re.Match[str]) -> str:
        name, dtype = found.groups()
        dtype = self.pick(dtype, dtype, dtype, f"{dtype} | int16", "int16", "int16 | float16")
        shape = self.pick("", "", f" {self.pick(*_SHAPES)}") if name not in self.many else ""
        return f"{name}: {dtype}{shape}"

    def _statement(self, index: int) -> str:
        if self.pick(0, 0, 0, 0, 1):
            guard, condition = self._guarded()
            if not guard:
                return f"let k{index} = {condition}  where k{index}"
        guard, condition = self._guarded()
        return f"where {guard}{condition}"

    def _guarded(self) -> tuple[str, str]:
        """A guard, or none, and a condition on things that are there."""
        names = [name for name in (*self.ports, *self.bound) if name not in self.many]
        here = self.pick(*names)
        others = [name for name in names if name not in self.optional or name == here]
        condition = self._condition(here, self.pick(*others))
        guard = f"{here}? => " if here in self.optional else ""
        return guard, condition

    def _condition(self, name: str, other: str) -> str:
        kind = self.pick(
            "dtype", "dtype", "rank", "rank", "size", "size", "attribute", "both", "if"
        )
        if kind == "both":
            return f"{self._plain(name, other)} and {self._plain(other, name)}"
        if kind == "if":
            return (
                f"if 1 == {self.pick(1, 2)} then {self._plain(name, other)} else rank({name}) <= 4"
            )
        return self._plain(name, other) if kind != "attribute" else self._attribute(name)

    def _plain(self, name: str, other: str) -> str:
        kind = self.pick("dtype", "rank", "size", "not", "pair")
        if kind == "dtype":
            return self._dtype(name, other)
        if kind == "not":
            return f"not ({self._dtype(name, other)})"
        if kind == "pair":
            pairs = [f"({self.pick(*_DTYPES)}, {self.pick(1, 2, 3)})" for _ in range(2)]
            return f"({name}.dtype, rank({other})) in {{{', '.join(pairs)}}}"
        return self._rank(name, other) if kind == "rank" else self._size(name, other)

    def _dtype(self, name: str, other: str) -> str:
        first, second = self.pick(*_DTYPES), self.pick(*_DTYPES)
        return self.pick(
            f"{name}.dtype == {first}",
            f"{name}.dtype != {first}",
            f"{name}.dtype == {other}.dtype",
            f"{name}.dtype in {{{first}, {second}}}",
            f"{name}.dtype not in {{{first}, {second}}}",
        )

    def _number(self, value: str, other: str, *numbers: int) -> str:
        first, second = self.pick(*numbers), self.pick(*numbers)
        least, most = sorted((first, second))
        return self.pick(
            f"{value} {self.pick(*_RELATIONS)} {first}",
            f"{first} {self.pick(*_RELATIONS)} {value}",
            f"{value} in {{{first}, {second}}}",
            f"{value} not in {{{first}, {second}}}",
            f"{value} in {least}..{most}",
            f"{value} == {other}",
        )

    def _rank(self, name: str, other: str) -> str:
        return self._number(f"rank({name})", f"rank({other})", 1, 2, 2, 2, 3)

    def _size(self, name: str, other: str) -> str:
        index = self.pick(0, 1, -1, -2, 2)
        if self.pick(0, 0, 0, 1):
            return f"{name}.shape {self.pick('==', '<=')} {self.pick('[1, 4]', '[2, 4]', '[4]')}"
        second = f"{other}.shape[{self.pick(0, 1, -1)}]"
        return self._number(f"{name}.shape[{index}]", second, 1, 1, 4, 4, 2)

    def _attribute(self, name: str) -> str:
        choices = [(call, a) for call, op in self.calls.items() for a in op.attributes]
        if not choices:
            return self._dtype(name, name)
        call, attribute = self.pick(*choices)
        read = f"{call}.attrs.{attribute}"
        is_list = self.calls[call].name == "max" and attribute == "axis"
        if attribute in ("keepdims", "exclude"):
            return self.pick(read, f"not {read}", f"{read} == true")
        if attribute in ("dtype", "out_dtype", "rounding"):
            return f'{read} {self.pick("==", "!=")} "{self.pick("int8", "float32", "None")}"'
        if is_list:
            other = self.pick("[0]", "[1]", "0", "1", "[0, 1]")
            return self.pick(f"{read} == {other}", f"{read}[0] in {{0, 1}}", f"{read} in -1..1")
        return self._number(read, read, 0, 1, -1, 6, 127)


def _judged(text: str) -> tuple[Any, list[bool]]:
    """The module of a pattern, whatever is said of its rows, and for each row whether it is said
    to match nothing."""
    dead: list[bool] = []

    def judge(node: Any, ports: Any, rows: Any, statements: Any, findings: Any) -> None:
        calls = frozenset(name for row in rows for name in row.calls)
        dead.extend(bool(row_conflicts(row, ports, statements, calls)) for row in rows)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lower_pattern, "report_contradictions", judge)
        text = compile_source(Source("random.qpat", text)).text
    name = "qpat_judged"
    module = sys.modules[name] = ModuleType(name)  # dataclasses look for their module
    exec(compile(text, f"{name}.py", "exec"), vars(module))
    return module, dead


def _nodes(expression: Any) -> Iterator[Any]:
    found: list[Any] = []
    relay.analysis.post_order_visit(expression, found.append)
    return (node for node in found if isinstance(node, relay.Call))


def _try(text: str, case: Case, seen: Counter[str]) -> None:
    try:
        module, dead = _judged(text)
    except QpatError:
        assume(False)
    graph, _ = case.graph.module()
    for row, is_dead in zip(module.ROWS, dead, strict=True):
        matches = any(
            module.refusal(row, node, module.Options()) is None
            for node in _nodes(graph["main"].body)
        )
        seen[f"{'dead' if is_dead else 'alive'}, {'matches' if matches else 'refuses'}"] += 1
        assert not (matches and is_dead), f"{text}\n{graph['main']}"


@pytest.mark.parametrize("source", [matching_cases(), cases()], ids=["matching", "nearly"])
def test_a_row_that_matches_a_graph_is_never_ruled_out(source: st.SearchStrategy[Case]) -> None:
    seen: Counter[str] = Counter()

    @_SETTINGS
    @given(described(source))
    def run(found: tuple[str, Case]) -> None:
        _try(*found, seen)

    run()
    # It would hold if nothing was ever ruled out, and if nothing ever matched.
    assert seen["dead, refuses"] > 75 and seen["alive, matches"] > 25, seen
