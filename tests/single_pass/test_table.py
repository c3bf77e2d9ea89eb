"""What is left to TVM and said to be, what a table must be, and what a check may do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relay
from tvm.relay import dataflow_pattern as dfp
from tvm.relay.dataflow_pattern import is_constant, is_op, is_tuple, is_var, wildcard

import qpat
from qpat.relay.graph import post_order
from tests.single_pass.oracle import composites, must_be_equal, same_as_tvm

Expr = Any


def typed(body: Expr) -> Any:
    function = relay.Function(relay.analysis.free_vars(body), body)
    return relay.transform.InferType()(tvm.IRModule.from_expr(function))


def x(name: str = "x") -> Expr:
    return relay.var(name, shape=(4,), dtype="float32")


def unary(name: str) -> Any:
    return is_op(name)(wildcard())


def chain(*names: str) -> Expr:
    value = x()
    for name in names:
        value = relay.Call(tvm.ir.Op.get(name), [value])
    return value


# ---- rows that are left to TVM -------------------------------------------------------------------


def redirected() -> Any:
    found = wildcard()
    found.redirect_to(is_op("exp")(wildcard()))
    return is_op("abs")(found)


def redirected_to_anything() -> Any:
    found = wildcard()
    found.redirect_to(is_op("exp")(wildcard()) | wildcard())
    return is_op("abs")(found)


UNSUPPORTED: dict[str, tuple[Callable[[], Any], str]] = {
    "dominator": (
        lambda: unary("abs").dominates(unary("exp")),
        "a dominator pattern as the root of a pattern",
    ),
    "dominator below": (
        lambda: is_op("nn.relu")(unary("abs").dominates(unary("exp"))),
        "a dominator pattern",
    ),
    "callee": (lambda: wildcard()(wildcard()), "a call of a wildcard pattern"),
    "redirected": (redirected, "a wildcard that is redirected"),
    "redirected to anything": (redirected_to_anything, "a wildcard that is redirected"),
    "leaf": (is_var, "a var pattern as the root of a pattern"),
    "if": (
        lambda: is_op("abs")(dfp.is_if(wildcard(), wildcard(), wildcard())),
        "an if pattern",
    ),
    "let": (
        lambda: is_op("abs")(dfp.is_let(wildcard(), wildcard(), wildcard())),
        "a let pattern",
    ),
    "expression": (
        lambda: is_op("abs")(dfp.is_expr(x())),
        "an expression that is a Var",
    ),
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_row_is_left_to_tvm_and_the_others_are_not(name: str) -> None:
    make, reason = UNSUPPORTED[name]
    table = [
        ("first", is_op("nn.relu")(unary("exp"))),
        ("odd", make()),
        ("last", unary("exp") | unary("abs") | unary("nn.relu")),
    ]
    module = typed(chain("exp", "nn.relu", "exp", "abs", "nn.relu"))
    merged = qpat.merge_composite(table).apply(module)
    must_be_equal(relay.transform.MergeComposite(table)(module), merged.module)
    assert composites(merged.module) >= 2
    [fallback] = merged.fallbacks
    assert (fallback.rows, fallback.names, fallback.reason) == ((1,), ("odd",), reason)
    assert str(fallback) == f"odd: {reason}"
    assert [str(each) for each in qpat.merge_composite(table).explain(module)] == [str(fallback)]


def test_row_whose_root_is_absent_is_neither_read_nor_left_to_tvm() -> None:
    table = [("odd", is_op("sqrt")(wildcard()(wildcard()))), ("exp", unary("exp"))]
    assert same_as_tvm(table, typed(chain("exp", "abs"))) == 1


def test_value_without_inputs_inside_and_outside_is_one_node() -> None:
    closed = relay.abs(relay.const(np.ones(4, "float32")))
    value = relay.add(closed, relay.exp(closed))
    table = [
        ("add", is_op("add")(is_op("abs")(is_constant()), wildcard())),
        ("rest", unary("abs") | unary("exp")),
    ]
    module = typed(value)
    merged = qpat.merge_composite(table).apply(module)
    must_be_equal(relay.transform.MergeComposite(table)(module), merged.module)
    assert [each.names for each in merged.fallbacks] == [("add",)]


# ---- modules that are left to TVM ----------------------------------------------------------------


def with_let() -> Any:
    variable = relay.var("v")
    return typed(relay.Let(variable, relay.exp(x()), relay.abs(variable)))


def with_if() -> Any:
    condition = relay.var("c", shape=(), dtype="bool")
    return typed(relay.If(condition, relay.exp(x()), relay.abs(x("y"))))


def with_two_functions() -> Any:
    module = typed(relay.exp(x()))
    module["other"] = typed(relay.abs(x()))["main"]
    return relay.transform.InferType()(module)


def with_function_as_a_value() -> Any:
    argument = x("a")
    inner = relay.Function([argument], relay.exp(argument))
    return typed(relay.TupleGetItem(relay.Tuple([relay.exp(x()), inner]), 0))


def for_a_compiler() -> Any:
    module = typed(relay.exp(x()))
    module["main"] = module["main"].with_attr("Compiler", "other")
    return module


MODULES: dict[str, tuple[Callable[[], Any], str]] = {
    "let": (with_let, "a Let in the module"),
    "if": (with_if, "an If in the module"),
    "functions": (with_two_functions, "the module has functions other than `main`"),
    "function as a value": (with_function_as_a_value, "a function as a value"),
    "compiler": (for_a_compiler, "`main` is marked to be passed by"),
}


@pytest.mark.parametrize("name", MODULES)
def test_module_is_left_to_tvm(name: str) -> None:
    make, reason = MODULES[name]
    table = [("exp", unary("exp")), ("abs", unary("abs"), lambda expr: True)]
    module = make()
    merged = qpat.merge_composite(table).apply(module)
    must_be_equal(relay.transform.MergeComposite(table)(module), merged.module)
    [fallback] = merged.fallbacks
    assert (fallback.rows, fallback.reason) == ((0, 1), reason)
    assert str(fallback) == f"exp, abs: {reason}"


# ---- modules -------------------------------------------------------------------------------------


def test_module_without_types_is_given_them() -> None:
    value = chain("exp", "abs")
    module = tvm.IRModule.from_expr(relay.Function(relay.analysis.free_vars(value), value))
    assert same_as_tvm([("exp", unary("exp"))], module) == 1


def test_new_node_in_a_typed_function_is_noticed() -> None:
    """Relay's own mutators keep the type of a function whose body they change."""
    main = typed(chain("exp"))["main"]
    body = relay.abs(main.body)
    changed = relay.function.FunctionWithFields(main, None, body)
    module = tvm.IRModule.from_expr(changed)
    assert module["main"]._checked_type_ is not None
    assert same_as_tvm([("abs", is_op("abs")(unary("exp")))], module) == 1


def test_attributes_and_type_definitions_of_the_module_stay() -> None:
    module = typed(chain("exp")).with_attr("executor", tvm.runtime.String("aot"))
    merged = qpat.merge_composite([("exp", unary("exp"))])(module)
    assert merged.attrs["executor"] == "aot"
    must_be_equal(relay.transform.MergeComposite([("exp", unary("exp"))])(module), merged)


def test_result_is_a_module_of_its_own() -> None:
    module = typed(chain("exp"))
    merged = qpat.merge_composite([("abs", unary("abs"))])(module)
    merged["other"] = typed(chain("abs"))["main"]
    assert [variable.name_hint for variable in module.get_global_vars()] == ["main"]


def test_calls_of_functions_are_gone_into() -> None:
    argument = x("a")
    inner = relay.Function([argument], relay.abs(relay.exp(argument)))
    module = typed(relay.abs(relay.Call(inner, [relay.exp(x())])))
    assert same_as_tvm([("both", is_op("abs")(unary("exp"))), ("exp", unary("exp"))], module) == 2


def test_any_operands() -> None:
    value = relay.concatenate(relay.Tuple([x(), relay.exp(x()), relay.const(np.ones(4, "f4"))]), 0)
    table = [("any", is_op("concatenate")(is_tuple(None)))]
    assert same_as_tvm(table, typed(value)) == 1
    assert same_as_tvm([("any", dfp.CallPattern(is_op("exp"), None))], typed(chain("exp"))) == 1


def test_function_that_is_called_twice_stays_one() -> None:
    argument = x("a")
    inner = relay.Function([argument], relay.abs(relay.exp(argument)))
    value = relay.add(relay.Call(inner, [x()]), relay.Call(inner, [relay.exp(x())]))
    assert same_as_tvm([("both", is_op("abs")(unary("exp"))), ("exp", unary("exp"))], typed(value))


def test_row_that_turns_operands_round_changes_the_order_of_the_next() -> None:
    """TVM goes through the module from its end, and the operands of a composite are in the order
    of its parameters: that of the pattern."""
    value = relay.add(relay.abs(x()), relay.exp(relay.abs(x("y"))))
    turned = is_op("add")(unary("exp"), wildcard())
    module = typed(value)
    assert same_as_tvm([("turned", turned), ("abs", unary("abs"))], module) == 3
    merged = qpat.merge_composite([("turned", turned), ("abs", unary("abs"))])(module)
    unturned = qpat.merge_composite([("abs", unary("abs"))])(module)
    assert [first_parameter(merged, name) for name in "xy"] == ["0", "1"]
    assert [first_parameter(unturned, name) for name in "xy"] == ["1", "0"]


def first_parameter(module: Any, name: str) -> str:
    """The number of the match in the parameter of the composite that is called with a variable."""
    calls = [each for each in post_order(module["main"]) if isinstance(each, relay.Call)]
    [call] = [each for each in calls if getattr(each.args[0], "name_hint", "") == name]
    return str(call.op.params[0].name_hint).split("_")[1]


@pytest.mark.parametrize("turned", [False, True])
def test_quotient_of_a_product_is_taken_for_a_product_with_a_quotient(turned: bool) -> None:
    """Both factors are tried below; what the first try has bound is forgotten."""
    a, b, c = x("a"), x("b"), x("c")
    quotient = relay.divide(b, c)
    value = relay.multiply(quotient, a) if turned else relay.multiply(a, quotient)
    product = is_op("multiply")(wildcard(), is_var("b"))
    assert same_as_tvm([("row", is_op("divide")(product, is_var("c")))], typed(value)) == 1
    product = is_op("multiply")(is_var("b"), wildcard())
    assert same_as_tvm([("row", is_op("divide")(product, is_var("c")))], typed(value)) == 1
    back = relay.divide(relay.multiply(a, b), c)
    quotient_pattern = is_op("divide")(is_var("b"), wildcard())
    table = [("row", is_op("multiply")(is_var("a"), quotient_pattern))]
    same_as_tvm(table, typed(back))
    table = [("row", is_op("multiply")(quotient_pattern, is_var("a")))]
    same_as_tvm(table, typed(back))


@pytest.mark.parametrize(("names", "taken"), [("ab", 1), ("ba", 1), ("ax", 0), ("xy", 0)])
def test_product_that_is_passed_by_binds_its_factors(names: str, taken: int) -> None:
    """Of a product that is met as a * (b / c) only the factors are bound, and then they are bound
    where it is met again."""
    product = is_op("multiply")(wildcard(), wildcard())
    pattern = is_op("subtract")(is_op("divide")(product, is_var("c")), product)
    a, b, c = x("a"), x("b"), x("c")
    by_name = {"a": a, "b": b, "x": x(), "y": x("y")}
    other = relay.multiply(*(by_name[name] for name in names))
    value = relay.subtract(relay.multiply(a, relay.divide(b, c)), other)
    assert same_as_tvm([("row", pattern)], typed(value)) == taken


@pytest.mark.parametrize(
    ("names", "taken"), [(("exp", "exp"), 1), (("abs", "abs"), 1), (("exp", "abs"), 0)]
)
def test_choice_of_operators_that_is_met_twice_is_one_operator(
    names: tuple[str, ...], taken: int
) -> None:
    either = is_op("exp") | is_op("abs")
    table = [("row", either(either(wildcard())))]
    assert same_as_tvm(table, typed(chain(*names))) == taken


def test_inside_of_composites_there_is_no_root() -> None:
    module = typed(chain("exp", "abs", "nn.relu", "exp"))
    first = relay.transform.MergeComposite([("both", is_op("abs")(unary("exp")))])(module)
    assert same_as_tvm([("exp", unary("exp")), ("abs", unary("abs"))], first) == 2


# ---- attributes ----------------------------------------------------------------------------------

SHAPED = relay.var("x", shape=(1, 4, 4, 4))
CALLS = {
    "sum": relay.sum(SHAPED, axis=1, keepdims=True),
    "nn.conv2d": relay.nn.conv2d(SHAPED, relay.var("w", shape=(4, 4, 1, 1)), channels=4),
    "nn.pad": relay.nn.pad(SHAPED, ((0, 0), (0, 0), (1, 1), (1, 1))),
    "clip": relay.clip(SHAPED, 0.0, 6.0),
    "cast": relay.cast(SHAPED, "int8"),
    "squeeze": relay.squeeze(SHAPED, axis=[0]),
    "nn.softmax": relay.nn.softmax(SHAPED, axis=-1),
}
# As they may be written in a table, and as they come from the attributes of another call.
VALUES: tuple[Any, ...] = (
    *(0, 1, 4, -1, True, False, 0.0, 6.0, "", "int8", "float32", "NCHW", "constant", "None"),
    *([1], [0], [1, 1], (0, 0), [1.0], [[0, 0], [0, 0], [1, 1], [1, 1]], ["int8"]),
    *(tvm.tir.IntImm("int64", 1), tvm.tir.IntImm("int32", 4), tvm.tir.IntImm("bool", 1)),
    *(tvm.tir.FloatImm("float64", 6.0), tvm.tir.StringImm("NCHW"), tvm.runtime.String("int8")),
    *(tvm.tir.IntImm("int32", 1), tvm.runtime.convert([tvm.tir.IntImm("int64", 1)])),
)


@pytest.mark.parametrize("name", CALLS)
def test_attributes_are_compared_as_tvm_does(name: str) -> None:
    call = CALLS[name]
    module = typed(call)
    operands = [wildcard() for _ in call.args]
    taken = refused = 0
    for key in (*map(str, list(call.attrs.keys())), "absent"):
        for value in VALUES:
            pattern = is_op(name)(*operands).has_attr({key: value})
            table = [("row", pattern)]
            try:
                expected = relay.transform.MergeComposite(table)(module)
            except tvm.TVMError:
                # Of an attribute that is null, and of one that is a dtype and meets something else.
                assert not composites(qpat.merge_composite(table)(module))
                continue
            merged = qpat.merge_composite(table)(module)
            assert composites(merged) == composites(expected), (key, value)
            taken += composites(merged)
            refused += not composites(merged)
    assert taken and refused


def test_composite_has_no_attributes() -> None:
    """Those of the call that it took the place of are gone, also where they have been asked for."""
    value = relay.nn.relu(relay.clip(relay.exp(x()), 0.0, 6.0))
    asks = is_op("nn.relu")(wildcard().has_attr({"a_min": 0.0}))
    never = ("never", asks, lambda expr: False)
    table = [never, ("clip", unary("clip")), ("asks", asks)]
    assert same_as_tvm(table, typed(value)) == 1
    assert same_as_tvm(table[2:], typed(value)) == 1


# ---- checks --------------------------------------------------------------------------------------


def test_check_sees_what_earlier_rows_made() -> None:
    seen: list[str] = []

    def check(expr: Expr) -> bool:
        seen.append(expr.astext())
        assert expr.checked_type == expr.args[0].checked_type
        return True

    table = [("exp", unary("exp")), ("abs", unary("abs"), check)]
    module = typed(chain("exp", "abs", "abs"))
    assert same_as_tvm(table, module) == 3
    by_tvm, ours = seen[:2], seen[2:]
    assert ours == by_tvm and all('Composite="exp"' in text for text in ours)


class Odd(Exception):
    pass


def test_what_a_check_raises_is_raised() -> None:
    def check(expr: Expr) -> bool:
        raise Odd

    with pytest.raises(Odd):
        qpat.merge_composite([("exp", unary("exp"), check)])(typed(chain("exp")))


@pytest.mark.parametrize("answer", [True, False, 1, 0, np.bool_(True)])
def test_answers_of_checks(answer: Any) -> None:
    merged = qpat.merge_composite([("exp", unary("exp"), lambda expr: answer)])
    assert composites(merged(typed(chain("exp")))) == int(answer)


@pytest.mark.parametrize("answer", [None, "yes", 1.0, relay.const(1)])
def test_check_without_an_answer_is_no_refusal(answer: Any) -> None:
    merged = qpat.merge_composite([("exp", unary("exp"), lambda expr: answer)])
    with pytest.raises(TypeError, match="the check of exp returned no bool but a "):
        merged(typed(chain("exp")))


# ---- tables --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        (("exp",), r"row 1 of the table is no \(name, pattern\) or \(name, pattern, check\)"),
        ("exp", r"row 1 of the table is no \(name, pattern\)"),
        ((1, unary("exp")), "the name in row 1 of the table is an int"),
        (("exp", "exp"), "the pattern of exp is no DFPattern but a str"),
        (("exp", unary("exp"), True), "the check of exp cannot be called"),
    ],
)
def test_what_is_no_table_is_refused(row: Any, fault: str) -> None:
    with pytest.raises(TypeError, match=fault):
        qpat.merge_composite([("fine", unary("abs")), row])


def test_what_is_no_module_is_refused() -> None:
    with pytest.raises(TypeError, match="this is no IRModule but a Function"):
        qpat.merge_composite([])(typed(chain("exp"))["main"])
