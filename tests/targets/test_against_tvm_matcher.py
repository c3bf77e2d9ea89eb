"""Random patterns on random graphs: the binder against TVM's own matcher, and MergeComposite."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import tvm
from hypothesis import HealthCheck, Phase, event, given, settings
from tvm import relay

from qpat.diagnostics import QpatError
from qpat.semantics import ir
from tests.lowering import compiled as unordered
from tests.targets.strategies import Case, Pattern, cases, matching_cases

_SETTINGS = settings(
    deadline=None,
    derandomize=True,  # the same every time, and as long
    max_examples=max(400, settings.default.max_examples),
    phases=[Phase.generate, Phase.shrink],
    print_blob=False,
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
)


# ---- what must hold ---------------------------------------------------------------------


@_SETTINGS
@given(matching_cases())
def test_a_graph_made_of_a_row_is_matched_with_every_name_where_it_was_put(case: Case) -> None:
    compiled = _compiled(case.pattern)
    _, exprs = case.graph.module()
    wanted = {name: _at(exprs, place) for name, place in case.names.items()}
    root = exprs[case.root]
    found = []
    for row in compiled.rows:
        if not row.generated.pattern().match(root):
            continue
        bound = _bind(row, compiled, root, {})
        if isinstance(bound, dict):
            found.append(bound)
    assert any(_same_names(bound, wanted) for bound in found), f"bound to {found}"


@_SETTINGS
@given(cases())
def test_the_binder_binds_where_tvm_matches_and_says_why_where_it_does_not(case: Case) -> None:
    compiled = _compiled(case.pattern)
    module, _ = case.graph.module()
    for node in _nodes(module["main"].body):
        for row in compiled.rows:
            event(_compare(row, compiled, node))


@_SETTINGS
@given(cases())
def test_what_merge_composite_forms_is_extracted_and_undone(case: Case) -> None:
    compiled = _compiled(case.pattern)
    before, _ = case.graph.module()
    merged = relay.transform.MergeComposite(compiled.module.pattern_table())(before)
    calls = compiled.module.composites(merged["main"].body)
    assert len(calls) == _composite_count(merged)
    event(f"{len(calls)} composites")
    for call in calls:
        _check_record(compiled, call, alone=False)
        _check_record(compiled, call, alone=True)
    after = relay.transform.InferType()(relay.transform.DefuseOps()(merged))
    assert _equal(before, after)


def _equal(first: Any, second: Any) -> bool:
    return bool(tvm.ir.structural_equal(first["main"], second["main"], map_free_vars=True))


# ---- single cases, found by the above or on the way to it ----------------------------------

_X = relay.var("x", shape=(2, 4), dtype="float32")
_Z = relay.var("z", shape=(2, 4), dtype="float32")
_Q = relay.var("q", shape=(2, 4), dtype="int8")
_RELU = relay.nn.relu(_X)
_ROW = relay.const(np.array([1, 2, 3, 4], "float32"))
_HALF = relay.const(np.float32(0.5))
_ZERO = relay.const(np.int32(0))


def _concatenated(output_scale: Any) -> Any:
    tuples = [relay.Tuple([_Q, _Q]), relay.Tuple([_HALF, _HALF]), relay.Tuple([_ZERO, _ZERO])]
    return relay.qnn.op.concatenate(*tuples, output_scale, _ZERO, 0)


@pytest.mark.parametrize(
    ("pattern", "graph"),
    [
        pytest.param(
            "p(x: float32, x2: float32) -> y: float32 { y = maximum(nn.relu(x), x2) }",
            relay.maximum(_RELU, _RELU),
            id="an input is a value inside the match",
        ),
        pytest.param(
            "p(x: float32, xs: float32...) -> y: float32 "
            "{ y = maximum(nn.relu(x), concatenate((xs...))) }",
            relay.maximum(_RELU, relay.concatenate([_RELU], 0)),
            id="one of many inputs is a value inside the match",
        ),
        pytest.param(
            "p(x: float32, w: float32) -> y: float32 { y = maximum(nn.relu(x), const w) }",
            relay.maximum(relay.nn.relu(_ROW), _ROW),
            id="an input is the constant that is embedded",
        ),
        pytest.param(
            "p(x: float32, x2: float32) -> y: int8 { y = qnn.quantize(maximum(x, x2), ..) }",
            relay.qnn.op.quantize(relay.maximum(_X, _HALF), _HALF, _ZERO),
            id="an input is the constant that is the scale",
        ),
        pytest.param(
            "p(xs: int8...) -> y: int8 { y = qnn.concatenate((xs...), ..) }",
            _concatenated(_HALF),
            id="the scales of many and of the output are one constant",
        ),
    ],
)
def test_two_names_for_one_node_are_extracted_or_refused(pattern: str, graph: Any) -> None:
    module = _loaded(f'compiler "test"\npattern {pattern}')
    before = _module(graph)
    merged = relay.transform.MergeComposite(module.pattern_table())(before)
    for call in module.composites(merged["main"].body):
        module.extract(call)
    if not module.composites(merged["main"].body):
        assert module.refusals(before["main"].body)


@pytest.mark.parametrize(
    ("pattern", "graph"),
    [
        pytest.param(
            "p(x: float32) -> y: float32 { y = concatenate(x) }",
            relay.concatenate([_X, _Z], 0),
            id="a tuple where a tensor is declared",
        ),
        pytest.param(
            "p(x: float32) -> y: float32 { y = split(x) }",
            relay.split(_X, 2, 1).astuple(),
            id="an output that is a tuple",
        ),
        pytest.param(
            "p(xs: float32[N, C]...) -> y: float32 { y = concatenate((xs...)) param c = C }",
            relay.concatenate([_X, _Z], 0),
            id="a shape for many",
        ),
        pytest.param(
            "p(xs: float32...) -> y: xs.dtype { y = concatenate((xs...)) }",
            relay.concatenate([_X, _Z], 0),
            id="the dtype of many",
        ),
        pytest.param(
            "p(x: float32, b: float32?) -> y: b.dtype { y = abs(nn.bias_add(x, b)?) }",
            relay.abs(_X),
            id="the dtype of what is absent",
        ),
        pytest.param(
            "p(x: float32, b: float32[C]?) -> y: float32 "
            "{ y = abs(nn.bias_add(x, b)?) where C == 4 }",
            relay.abs(_X),
            id="a dimension of what is absent",
        ),
        pytest.param(
            "p(x: float32, b: float32?) -> y: float32 "
            "{ y = abs(nn.bias_add(x, const? b)?) where not b.value? }",
            relay.abs(_X),
            id="whether what is absent is a constant",
        ),
        pytest.param(
            "p(x: float32, b: float32?) -> y: float32 { y = abs(nn.bias_add(x, b)?) inherit b }",
            relay.abs(_X),
            id="inheriting for what is absent",
        ),
        pytest.param(
            "p(x: float32, b: float32?) -> y: float32 "
            "{ y = cast(nn.bias_add(x, b)?, dtype=b.dtype) }",
            relay.cast(_X, "float32"),
            id="an attribute that is the dtype of what is absent",
        ),
        pytest.param(
            "p(xs: float32...) -> y: float32 { y = concatenate((xs...)) let xs.scale = 0.5 }",
            relay.concatenate([_X, _Z], 0),
            id="filling the scale of many",
        ),
        pytest.param(
            "p(x: float32[N, t]) -> y: float32 "
            "{ t = abs(x) y = abs(t) where t.shape == x.shape param k = t }",
            relay.abs(relay.abs(_X)),
            id="a dimension that is called as a value",
        ),
    ],
)
def test_what_cannot_be_said_is_an_error_of_the_pattern_or_a_refusal_never_an_exception(
    pattern: str, graph: Any
) -> None:
    """An exception in a check would stop all of MergeComposite."""
    try:
        module = _loaded(f'compiler "test"\npattern {pattern}')
    except QpatError:
        return
    merged = relay.transform.MergeComposite(module.pattern_table())(_module(graph))
    for call in module.composites(merged["main"].body):
        module.extract(call)


@pytest.mark.parametrize(
    ("pattern", "graph"),
    [
        pytest.param(
            "p(x: float32) -> y: float32 { y = clip(x, a_min=0, a_max=6) }",
            relay.clip(_X, 0.0, 6.0),
            id="a whole number for a float attribute",
        ),
        pytest.param(
            "p(x: float32) -> y: float32 { c = 3.0 y = maximum(maximum(x, c), c) }",
            relay.maximum(relay.maximum(_X, _HALF), _HALF),
            id="a literal with a name, another value",
        ),
        pytest.param(
            "p(x: float32) -> y: float32 { c = 0.5 y = maximum(maximum(x, c), c) }",
            relay.maximum(relay.maximum(_X, _HALF), _HALF),
            id="a literal with a name",
        ),
        pytest.param(
            "p(x: float32) -> y: float32 { c = _ y = maximum(x, c) }",
            relay.maximum(_X, _HALF),
            id="anything with a name",
        ),
        pytest.param(
            "p(x: float32) -> y: float32 { c = const _ y = maximum(x, c) }",
            relay.maximum(_X, _HALF),
            id="any constant with a name",
        ),
    ],
)
def test_literals_and_leaves_match_whether_they_have_a_name_or_not(
    pattern: str, graph: Any, request: pytest.FixtureRequest
) -> None:
    module = _loaded(f'compiler "test"\npattern {pattern}')
    merged = relay.transform.MergeComposite(module.pattern_table())(_module(graph))
    found = [module.extract(call) for call in module.composites(merged["main"].body)]
    assert len(found) == (0 if "another value" in request.node.callspec.id else 1)


def test_two_uses_of_many_inputs_are_the_same_fields() -> None:
    module = _loaded(
        'compiler "test"\npattern p(xs: float32...) -> y: float32 '
        "{ y = maximum(concatenate((xs...)), concatenate((xs...))) }"
    )
    pair, other = relay.Tuple([_X, _Z]), relay.Tuple([_Z, _X])
    same = _module(relay.maximum(relay.concatenate(pair, 0), relay.concatenate(pair, 0)))
    different = _module(relay.maximum(relay.concatenate(pair, 0), relay.concatenate(other, 0)))
    merge = relay.transform.MergeComposite(module.pattern_table())
    assert len(module.composites(merge(same)["main"].body)) == 1
    assert not module.composites(merge(different)["main"].body)


def test_a_value_without_a_name_has_one_scale_all_the_same() -> None:
    module = _loaded(
        'compiler "test"\npattern p(x: float32) -> y: float32 '
        "{ y = qnn.dequantize(qnn.quantize(x, ..), ..) }"
    )
    quantized = relay.qnn.op.quantize(_X, _HALF, _ZERO)
    quarter = relay.const(np.float32(0.25))
    root = _module(relay.qnn.op.dequantize(quantized, quarter, _ZERO))["main"].body
    assert [composite for composite, _ in module.refusals(root)] == ["test.p"]


def test_a_sum_of_narrow_integers_has_not_the_zero_point_of_its_operands() -> None:
    """Adding adds the zero points too. Only what has the zero point 0 shares its space."""
    module = _loaded(
        'compiler "test"\npattern p(x: int8, x2: int8) -> y: int8 '
        "{ y = qnn.requantize(add(x, x2), ..) }"
    )
    three = relay.const(np.int32(3))
    graph = relay.qnn.op.requantize(relay.add(_Q, _Q), _HALF, three, _HALF, _ZERO, out_dtype="int8")
    merged = relay.transform.MergeComposite(module.pattern_table())(_module(graph))
    for call in module.composites(merged["main"].body):
        assert module.extract(call).x.zero_point != 3


def test_const_wins_over_a_const_that_may_be_one() -> None:
    module = _loaded(
        'compiler "test"\npattern p(x: float32, w: float32) -> y: float32 '
        "{ y = maximum(abs(const? w), maximum(x, const w)) }"
    )
    root = _module(relay.maximum(relay.abs(_Z), relay.maximum(_X, _Z)))["main"].body
    assert not module.ROWS[0].pattern().match(root)


# ---- comparing ------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Row:
    """A row as it was generated, and its IR, from which the reference below binds."""

    generated: Any
    ir: ir.Row


@dataclass(frozen=True)
class _Module:
    module: ModuleType
    rows: tuple[_Row, ...]
    ports: tuple[ir.Port, ...]


@lru_cache(maxsize=8)
def _compile(text: str) -> tuple[ModuleType, ir.Pattern]:
    compiled = unordered(text)
    module = ModuleType("generated_by_qpat")
    # The dataclasses of the module look for it by its name.
    sys.modules[module.__name__] = module
    exec(compile(compiled.text, "generated_by_qpat", "exec"), module.__dict__)
    return module, compiled.module.patterns[0]


def _loaded(text: str) -> Any:
    return _compile(text)[0]


def _compiled(pattern: Pattern) -> _Module:
    module, compiled = _compile(f'compiler "test"\n{pattern.text}')
    rows = tuple(
        _Row(generated, row) for generated, row in zip(module.ROWS, compiled.rows, strict=True)
    )
    return _Module(module, rows, compiled.ports)


def _module(expr: Any) -> Any:
    function = relay.Function(relay.analysis.free_vars(expr), expr)
    return relay.transform.InferType()(tvm.IRModule.from_expr(function))


def _nodes(expr: Any) -> list[Any]:
    found: list[Any] = []
    relay.analysis.post_order_visit(expr, found.append)
    return [node for node in found if not isinstance(node, tvm.ir.Op)]


def _at(exprs: Sequence[Any], place: Any) -> Any:
    return [exprs[i] for i in place] if isinstance(place, tuple) else exprs[place]


def _bind(row: _Row, compiled: _Module, root: Any, arguments: Mapping[Any, Any]) -> Any:
    """What the binder binds each name to, or the reason why it does not."""
    order = compiled.module.Order()
    values, first = None, None
    while values is None:
        try:
            values = row.generated.bind(root, dict(arguments), order).values
        except compiled.module.Refused as refused:
            first = first or refused
            if not order.advance():
                return first
    return {
        name: [each.expr for each in value] if isinstance(value, list) else value.expr
        for name, value in values.items()
    }


def _same_names(bound: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether the names that were bound are those wanted; only what is read is bound at all."""
    ports = {name: value for name, value in wanted.items() if name[0] in "xy"}
    return ports.keys() == bound.keys() and all(
        _same(bound[name], value) for name, value in ports.items()
    )


def _same(first: Any, second: Any) -> bool:
    if isinstance(first, list) and isinstance(second, list):
        pairs = list(zip(first, second, strict=False))
        return len(first) == len(second) and all(_same(a, b) for a, b in pairs)
    return bool(first.same_as(second))


def _compare(row: _Row, compiled: _Module, node: Any) -> str:
    """Holds one row against TVM's matcher at one node, and says what came out."""
    matched = bool(row.generated.pattern().match(node))
    bound = _bind(row, compiled, node, {})
    loosely = list(_every_way(row.ir, node, strict=False))
    strictly = list(_every_way(row.ir, node, strict=True))
    assert matched or not isinstance(bound, dict), "the binder takes what TVM does not match"
    if strictly and isinstance(bound, compiled.module.Refused):
        assert all(_cuts_itself(row.ir, way) for way in strictly), f"the binder says: {bound}"
        return "an input is inside the match"
    assert bool(strictly) == isinstance(bound, dict), f"the binder says: {bound}"
    if strictly:
        ways = [{n: _fields(row.ir, w, i) for n, i in row.ir.values.items()} for w in strictly]
        assert any(all(_same(v, way[name]) for name, v in bound.items()) for way in ways)
        return "both"
    if loosely:
        assert matched, "TVM does not match what has the structure of the row"
        assert str(bound)
        return "refused for a value"
    if matched:
        # TVM tries both operand orders of these, and other places for a multiply and a divide.
        assert {"add", "multiply"} & set(row.generated.operators)
        assert isinstance(bound, compiled.module.Mismatch)
        return "another order"
    return "neither"


def _cuts_itself(row: ir.Row, found: Mapping[int, Any]) -> bool:
    """Whether an input is a value inside the match too, or computed from one: MergeComposite would
    replace both by a parameter, and leave nothing of what computes it, or compute it twice."""
    inputs: list[Any] = []
    inside: list[Any] = []
    for index, node in enumerate(row.nodes):
        if isinstance(node, ir.Input):
            inputs.append(found[index])
        elif isinstance(node, ir.Elements):
            inputs += found[index].fields
        else:
            inside.append(found[index])
    above = [node for one in inputs for node in _nodes(one) if isinstance(node, relay.Call)]
    return any(one.same_as(other) for one in [*inputs, *above] for other in inside)


def _fields(row: ir.Row, found: Mapping[int, Any], index: int) -> Any:
    return list(found[index].fields) if isinstance(row.nodes[index], ir.Elements) else found[index]


# ---- records ------------------------------------------------------------------------------------


def _composite_count(module: Any) -> int:
    nodes = _nodes(module["main"].body)
    return sum(isinstance(n, relay.Call) and isinstance(n.op, relay.Function) for n in nodes)


def _check_record(compiled: _Module, call: Any, alone: bool) -> None:
    """The record of a composite says of each port what stands in the body. `alone`: only the
    function is given, not its call."""
    function = call.op
    arguments = {} if alone else dict(zip(function.params, call.args, strict=True))
    try:
        record = compiled.module.extract(function if alone else call)
    except ValueError as error:
        # An honest answer where constants are arguments, and only the function was given.
        assert alone, error
        assert any(isinstance(argument, relay.Constant) for argument in call.args), error
        return
    found = list(_in_body(compiled, function.body, arguments))
    said = [all(_is(getattr(record, n), e, arguments, function) for n, e in p) for p in found]
    assert any(said), f"{record}\n{function}"


def _in_body(
    compiled: _Module, body: Any, arguments: Mapping[Any, Any]
) -> Iterator[list[tuple[str, Any]]]:
    for row in compiled.rows:
        for found in _every_way(row.ir, body, True, arguments):
            names = [(port.name, row.ir.values.get(port.name)) for port in compiled.ports]
            yield [(n, None if i is None else _fields(row.ir, found, i)) for n, i in names]


def _is(tensor: Any, expr: Any, arguments: Mapping[Any, Any], function: Any) -> bool:
    if tensor is None or expr is None:
        return tensor is None and expr is None
    if isinstance(tensor, tuple) or isinstance(expr, list):
        pairs = list(zip(tensor, expr, strict=True))
        return all(_is(one, its, arguments, function) for one, its in pairs)
    shape = tuple(int(d) for d in expr.checked_type.shape)
    if (tensor.dtype, tensor.shape) != (expr.checked_type.dtype, shape):
        return False
    places = [i for i, param in enumerate(function.params) if param.same_as(expr)]
    if places and tensor.input == places[0]:
        return True
    # A constant that TVM has made an argument, because it is an input too, is a constant still.
    expr = arguments.get(expr, expr)
    if not isinstance(expr, relay.Constant):
        return tensor.input is None and not places
    return tensor.input is None and np.array_equal(tensor.value, expr.data.numpy())


# ---- the reference: a row of the IR against a graph, as plainly as can be --------------------


def _every_way(
    row: ir.Row, root: Any, strict: bool, arguments: Mapping[Any, Any] | None = None
) -> Iterator[Mapping[int, Any]]:
    """The matches of a row at a root, with its commutative calls read either way round."""
    for count in range(len(row.swaps) + 1):
        for swapped in combinations(row.swaps, count):
            found = _Reference(row, strict, arguments, swapped).bind(root)
            if found is not None:
                yield found


class _Reference:
    """Finds the expression of every node of a row. `swapped` are the calls whose first two operands
    stand the other way round. `strict` also looks at what TVM's matcher does
    not: list attributes, literals by value, and that all constants of a space are equal.
    `arguments` are what a composite's parameters stand for."""

    def __init__(
        self,
        row: ir.Row,
        strict: bool,
        arguments: Mapping[Any, Any] | None = None,
        swapped: Collection[int] = (),
    ) -> None:
        self.swapped = swapped
        self.row = row
        self.strict = strict
        self.arguments = dict(arguments or {})
        self.found: dict[int, Any] = {}

    def bind(self, root: Any) -> Mapping[int, Any] | None:
        if not self._is(self.row.root, root):
            return None
        if self.strict and not all(self._agree(space) for space in self.row.spaces):
            return None
        return self.found

    def _is(self, index: int, expr: Any) -> bool:
        if index in self.found:
            first = self.found[index]
            if isinstance(self.row.nodes[index], ir.Elements) and isinstance(expr, relay.Tuple):
                return _same(list(first.fields), list(expr.fields)) or not self.strict
            return bool(first.same_as(expr))
        if not self._fits(index, self.row.nodes[index], expr):
            return False
        self.found[index] = expr
        return True

    def _fits(self, index: int, node: ir.Node, expr: Any) -> bool:
        match node:
            case ir.Input(constness=constness):
                return constness is not ir.Constness.CONSTANT or self._constant(expr) is not None
            case ir.SlotConstant():
                return self._constant(expr) is not None
            case ir.Literal(value=value):
                return self._literal(expr, value)
            case ir.SlotTuple():
                return isinstance(expr, relay.Tuple) and self._constants(expr)
            case ir.Elements():
                return isinstance(expr, relay.Tuple)
            case ir.Tuple(elements=elements):
                return isinstance(expr, relay.Tuple) and self._all(elements, expr.fields)
            case ir.Field(value=value, index=number):
                is_field = isinstance(expr, relay.TupleGetItem) and expr.index == number
                return is_field and self._is(value, expr.tuple_value)
            case ir.Call():
                return self._call(node, expr, index in self.swapped)

    def _call(self, node: ir.Call, expr: Any, swapped: bool) -> bool:
        if not isinstance(expr, relay.Call) or not isinstance(expr.op, tvm.ir.Op):
            return False
        operands = list(expr.args)
        if swapped:
            operands[:2] = operands[1::-1]
            operands[2:6] = [*operands[4:6], *operands[2:4]]
        if expr.op.name != node.operator or not self._all(node.operands, operands):
            return False
        for attribute in node.attributes:
            value = attribute.value
            if isinstance(value, tuple) and not self.strict:
                continue
            there = getattr(expr.attrs, attribute.name)
            if isinstance(value, tuple):
                there = tuple(int(each) for each in there)
            if there != value:
                return False
        return True

    def _all(self, indices: Sequence[int], exprs: Sequence[Any]) -> bool:
        pairs = zip(indices, exprs, strict=False)
        return len(indices) == len(exprs) and all(self._is(i, expr) for i, expr in pairs)

    # ---- constants ----
    def _constant(self, expr: Any) -> Any:
        expr = self.arguments.get(expr, expr)
        return expr.data.numpy() if isinstance(expr, relay.Constant) else None

    def _literal(self, expr: Any, value: float) -> bool:
        found = self._constant(expr)
        if found is None or not self.strict:
            return found is not None
        return bool(found.size == 1 and found.reshape(()) == np.asarray(value, found.dtype))

    def _constants(self, expr: Any) -> bool:
        return not self.strict or all(self._constant(e) is not None for e in expr.fields)

    def _agree(self, space: ir.Space) -> bool:
        for sites in (space.scales, space.zero_points):
            constants = [self._constant(self.found[s.constant]) for s in sites if self._single(s)]
            if any(not np.array_equal(constants[0], other) for other in constants[1:]):
                return False
        return True

    def _single(self, site: ir.Site) -> bool:
        return not isinstance(self.row.nodes[site.constant], ir.SlotTuple)
