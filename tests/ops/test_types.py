"""The table of dtypes and shapes against TVM: what InferType accepts, the table never refuses.

Every operator of the table is built by TVM's own builder with all combinations of dtypes, and with
shapes of all ranks, and TVM infers its type. The accepted call is described as a pattern row would,
operands and result declared exactly, with all of its attributes written out and with none.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import product
from random import Random
from typing import Any

import pytest
import tvm
from tvm import relay

from qpat.ops.table import operator
from qpat.ops.types import never_empty, typed_operators, types
from qpat.relay.environment import listening
from qpat.semantics import ir
from qpat.targets.relay_support import plain
from tests.ops.type_cases import CASES
from tests.ops.typed_calls import (
    Description,
    Operands,
    Shape,
    TensorType,
    Typed,
    conflicts,
    in_order,
    slots,
    tensors,
    typed,
    written_attributes,
)

DTYPES = ("int8", "uint8", "int16", "int32", "int64", "float32", "bool")
# One of each kind that the table may name beside those.
RARE = ("uint16", "uint32", "float16", "float64", "bfloat16", "int4", "uint64")
each_operator = pytest.mark.parametrize("name", typed_operators())


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """TVM prints a page for every type that it refuses."""
    with listening():
        yield


def test_every_operator_of_the_table_is_tried() -> None:
    assert set(CASES) == set(typed_operators())


@each_operator
def test_rules_name_only_what_the_operator_has(name: str) -> None:
    signature, known = operator(name), types(name)
    assert signature is not None and known is not None
    names = {o.name for o in signature.operands} | set(signature.attributes) | {"result"}
    for rule in (*known.dtypes, *known.shapes):
        for value in vars(rule).values():
            words = value if isinstance(value, tuple) else (value,)
            flat = [w for word in words for w in (word if isinstance(word, tuple) else (word,))]
            said = {word for word in flat if isinstance(word, str)} - {"", "N", "W", "HW", "DHW"}
            assert said <= names, (name, rule)


# ---- dtypes ----------------------------------------------------------------------------------


def _with_dtypes(name: str, dtypes: Mapping[str, str]) -> Operands:
    case, used = CASES[name], {**_usual_dtypes(name), **dtypes}
    operands: dict[str, TensorType | list[TensorType]] = {}
    for key, shape in case.shapes.items():
        if isinstance(shape, list):
            fields = [used.get(f"{key}{index}", used[key]) for index in range(len(shape))]
            operands[key] = [TensorType(d, s) for d, s in zip(fields, shape, strict=True)]
        else:
            operands[key] = TensorType(used[key], shape)
    for key in slots(name):
        if key in dtypes and not key.endswith("s"):
            operands[key] = TensorType(dtypes[key], ())
    return in_order(name, operands)


def _usual_dtypes(name: str) -> dict[str, str]:
    """Dtypes that the operator takes."""
    usual = "float32"
    if name.startswith("qnn.") and name != "qnn.quantize":
        usual = "int8"
    found = dict.fromkeys(CASES[name].shapes, usual)
    return {key: "int32" if key == "indices" else dtype for key, dtype in found.items()}


def _dtype_choices(name: str) -> Iterator[dict[str, str]]:
    """All combinations for the tensors; each scale and zero point, and rarer dtypes, in turn."""
    case = CASES[name]
    keys: list[str] = []
    for key, shape in case.shapes.items():
        fields = [f"{key}{index}" for index in range(len(shape))]
        keys += fields if isinstance(shape, list) else [key]
    for combination in product(DTYPES, repeat=len(keys)):
        yield dict(zip(keys, combination, strict=True))
    for key in slots(name):
        yield from ({key: dtype} for dtype in DTYPES)
    for dtype in RARE:
        yield dict.fromkeys(keys, dtype)
        yield from ({key: dtype} for key in keys)


@each_operator
def test_the_table_says_of_dtypes_what_tvm_says(name: str) -> None:
    """What TVM accepts is never refused, and what it refuses for its dtypes always is."""
    accepted = 0
    for attributes in CASES[name].dtype_attributes:
        for dtypes in _dtype_choices(name):
            call = typed(name, _with_dtypes(name, dtypes), attributes)
            if call is None:
                continue
            if call.result is None:
                assert conflicts(call, attributes=True), (dtypes, call.call)
                continue
            accepted += 1
            for written in (True, False):
                assert not conflicts(call, written), (dtypes, call.call, call.result)
    assert accepted, "TVM accepts no call at all: the case is wrong"


@each_operator
def test_result_of_another_dtype_is_refused(name: str) -> None:
    """The table says what comes out: declared otherwise, it contradicts."""
    case = CASES[name]
    for attributes in case.dtype_attributes:
        call = typed(name, _with_dtypes(name, {}), attributes)
        if call is None or call.result is None:
            continue
        for dtype in DTYPES:
            result = TensorType(dtype, call.result.shape)
            other = Typed(name, call.operands, call.call, result)
            free = {"argmax", "argmin"} if dtype in ("int32", "int64") else set()
            if dtype != call.result.dtype and name not in free:
                assert conflicts(other, attributes=True), (dtype, call.call)


# ---- ranks and sizes ---------------------------------------------------------------------------

MOST = {1: 6, 2: 5, 3: 2}


def _pool(rank: int) -> list[Shape]:
    """Shapes of one rank: of ones, of fours, of both, and with a size that is not known."""
    shapes: set[Shape] = {(1,) * rank, (4,) * rank}
    if rank:
        shapes |= {(1,) * (rank - 1) + (4,), (4,) * (rank - 1) + (1,), (4,) * (rank - 1) + (None,)}
        shapes |= {(None,) + (4,) * (rank - 1)}
    return sorted(shapes, key=str)


def _shape_choices(name: str) -> list[dict[str, Shape | list[Shape]]]:
    """The shapes of the case, and all combinations of what the pool has, or very many of them."""
    case = CASES[name]
    count = sum(len(s) if isinstance(s, list) else 1 for s in case.shapes.values())
    pool = [shape for rank in range(MOST[count] + 1) for shape in _pool(rank)]
    combinations = list(product(pool, repeat=count))
    usual = [
        shape
        for shapes in case.shapes.values()
        for shape in (shapes if isinstance(shapes, list) else [shapes])
    ]
    # Shapes that fit, with one of them replaced: most of the others fail for two reasons.
    nearly = [(*usual[:at], shape, *usual[at + 1 :]) for at in range(count) for shape in pool]
    most = 300 // len(case.shape_attributes)
    if len(combinations) > most:
        combinations = Random(name).sample(combinations, most)
    found = []
    for combination in [tuple(usual), *nearly, *combinations]:
        shapes = iter(combination)
        found.append(
            {
                key: [next(shapes) for _ in shape] if isinstance(shape, list) else next(shapes)
                for key, shape in case.shapes.items()
            }
        )
    return found


def _shaped_calls(name: str) -> Iterator[Typed]:
    dtypes = _usual_dtypes(name)
    for attributes in CASES[name].shape_attributes:
        for shapes in _shape_choices(name):
            operands: dict[str, TensorType | list[TensorType]] = {}
            for key, shape in shapes.items():
                if isinstance(shape, list):
                    operands[key] = [TensorType(dtypes[key], each) for each in shape]
                else:
                    operands[key] = TensorType(dtypes[key], shape)
            call = typed(name, in_order(name, operands), attributes)
            if call is not None:
                yield call


def _ranks(call: Typed) -> tuple[Any, ...]:
    """The ranks of a call's operands, and its attributes: what the table decides by."""
    ranks = tuple(
        tuple(len(each.shape) for each in value) if isinstance(value, list) else len(value.shape)
        for value in call.operands.values()
    )
    return (*ranks, *((each.name, each.value) for each in written_attributes(call)))


@dataclass(frozen=True)
class _Verdicts:
    """What was found for the shapes of an operator: those that TVM accepts and the table refuses,
    how many it accepts, and the ranks that it took with none of the shapes."""

    wrong: tuple[Typed, ...]
    accepted: int
    refused_ranks: int
    agreed_ranks: int


@cache
def _verdicts(name: str) -> _Verdicts:
    wrong: list[Typed] = []
    accepted: set[tuple[Any, ...]] = set()
    refused: dict[tuple[Any, ...], Typed] = {}
    for call in _shaped_calls(name):
        if call.result is None:
            refused.setdefault(_ranks(call), call)
            continue
        accepted.add(_ranks(call))
        if conflicts(call, attributes=True) or conflicts(call, attributes=False):
            wrong.append(call)
    never = [call for ranks, call in refused.items() if ranks not in accepted]
    agreed = sum(bool(conflicts(call, attributes=True)) for call in never)
    return _Verdicts(tuple(wrong), len(accepted), len(never), agreed)


@each_operator
def test_shapes_that_tvm_accepts_are_never_refused(name: str) -> None:
    found = _verdicts(name)
    assert not found.wrong, [(w.operands, w.call.attrs, w.result) for w in found.wrong[:3]]
    assert found.accepted, "TVM accepts no call at all: the case is wrong"


def test_ranks_that_tvm_refuses_are_refused_mostly() -> None:
    found = [_verdicts(name) for name in typed_operators()]
    refused = sum(each.refused_ranks for each in found)
    assert refused > 3000
    assert sum(each.agreed_ranks for each in found) / refused > 0.95


# ---- lists --------------------------------------------------------------------------------------


def _never_empty() -> Iterator[tuple[str, str]]:
    for name in typed_operators():
        signature = operator(name)
        assert signature is not None
        yield from ((name, each) for each in signature.attributes if never_empty(name, each))


def _with_list(call: Any, name: str, values: tuple[int, ...]) -> Any:
    """The call with other values for a list among its attributes, also some no builder takes."""
    graph = json.loads(tvm.ir.save_json(call.attrs))
    nodes = graph["nodes"]
    first = len(nodes)
    for value in values:
        attrs = {"dtype": "int32", "span": "0", "value": str(value)}
        nodes.append({"type_key": "IntImm", "attrs": attrs})
    nodes[graph["root"]]["attrs"][name] = str(len(nodes))
    nodes.append({"type_key": "Array", "data": list(range(first, len(nodes)))})
    return relay.Call(call.op, call.args, tvm.ir.load_json(json.dumps(graph)))


@pytest.mark.parametrize(("name", "attribute"), list(_never_empty()))
def test_list_that_is_never_empty_is_refused_when_it_is(name: str, attribute: str) -> None:
    known = typed(name, _with_dtypes(name, {}), CASES[name].dtype_attributes[0])
    assert known is not None
    values = plain(getattr(known.call.attrs, attribute))
    accepted = []
    for given in (values, ()):
        call = _with_list(known.call, attribute, given)
        function = relay.Function(relay.analysis.free_vars(call), call)
        try:
            relay.transform.InferType()(tvm.IRModule.from_expr(function))
        except tvm.TVMError:
            continue
        accepted.append(given)
    assert accepted == [values]


# ---- whole graphs ------------------------------------------------------------------------------


def _random_graph(random: Random, attributes: bool) -> Description:
    """Some calls on each other's results, as TVM types them."""
    row = Description()
    known: list[tuple[int, TensorType]] = []

    def operand(usual: TensorType) -> tuple[int, TensorType]:
        if known and random.random() < 0.7:
            return random.choice(known)
        known.append((row.leaf(usual), usual))
        return known[-1]

    for _ in range(12):
        name = random.choice(typed_operators())
        case = CASES[name]
        given: dict[str, list[tuple[int, TensorType]]] = {}
        for key, shape in case.shapes.items():
            shapes = shape if isinstance(shape, list) else [shape]
            dtype = _usual_dtypes(name)[key]
            given[key] = [operand(TensorType(dtype, each)) for each in shapes]
        types_: dict[str, TensorType | list[TensorType]] = {
            key: [type_ for _, type_ in fields]
            if isinstance(case.shapes[key], list)
            else fields[0][1]
            for key, fields in given.items()
        }
        operands = in_order(name, types_)
        call = typed(name, operands, random.choice(case.attributes))
        if call is None or call.result is None:
            continue
        places = [_place(row, given.get(key), type_) for key, type_ in operands.items()]
        known.append((row.call(call, places, attributes), call.result))
    return row


def _place(row: Description, given: list[tuple[int, TensorType]] | None, type_: Any) -> int:
    """The node of an operand; a scale or a zero point is a leaf of its own."""
    if isinstance(type_, list):
        fields = [node for node, _ in given] if given else [row.leaf(each) for each in type_]
        return row.tuple(fields)
    return given[0][0] if given else row.leaf(type_)


@pytest.mark.parametrize("attributes", [True, False])
def test_graphs_that_tvm_types_are_never_refused(attributes: bool) -> None:
    random, calls = Random(1), 0
    for _ in range(400):
        row = _random_graph(random, attributes)
        calls += sum(isinstance(node, ir.Call) for node in row.nodes)
        assert not row.conflicts(), row.nodes
    assert calls > 1500


@each_operator
def test_every_tensor_operand_has_a_shape_in_its_case(name: str) -> None:
    assert list(CASES[name].shapes) == tensors(name)
