"""A pattern as rows: which there are, in which order, and which of their values share a space."""

from __future__ import annotations

import pytest

from qpat.compiler import check_source
from qpat.diagnostics import Diagnostic
from qpat.ops.roles import AxisMove
from qpat.semantics import ir
from qpat.source import Source

CONV = """
  d   = nn.pad(x, x.zero_point)?
  acc = qnn.conv2d(d, const w, .., data_layout="NHWC", kernel_layout="HWIO")
  sum = nn.bias_add(acc, const bias)?
  out = qnn.requantize(sum, ..)
  y   = clip(out)?
"""
CONV_PORTS = "x: int8, w: int8, bias: int32?"


def checked(
    body: str, ports: str = "x: int8", output: str = "y: int8"
) -> tuple[ir.Module | None, tuple[Diagnostic, ...]]:
    text = f'compiler "npu"\npattern p({ports}) -> {output} {{\n{body}\n}}\n'
    return check_source(Source("case.qpat", text))


def lowered(body: str, ports: str = "x: int8", output: str = "y: int8") -> ir.Pattern:
    module, found = checked(body, ports, output)
    assert module is not None, found
    (pattern,) = module.patterns
    return pattern


def rows(body: str, ports: str = "x: int8", output: str = "y: int8") -> tuple[ir.Row, ...]:
    return lowered(body, ports, output).rows


def row(body: str, ports: str = "x: int8", output: str = "y: int8") -> ir.Row:
    (only,) = rows(body, ports, output)
    return only


def codes(body: str, ports: str = "x: int8", output: str = "y: int8") -> list[str]:
    return [found.code for found in checked(body, ports, output)[1]]


def called(each: ir.Row) -> list[str]:
    """The operators of a row's calls in the order of its nodes: operands before their users."""
    return [node.operator for node in each.nodes if isinstance(node, ir.Call)]


def call(each: ir.Row, name: str) -> ir.Call:
    node = each.nodes[each.calls[name]]
    assert isinstance(node, ir.Call)
    return node


def together(each: ir.Row) -> set[frozenset[str]]:
    """The names of each space."""
    spaces = []
    for space in each.spaces:
        names = frozenset(n for n, node in each.values.items() if node in space.members)
        spaces.append(names)
    return {names for names in spaces if names}


def space_of(each: ir.Row, name: str) -> ir.Space:
    (found,) = [space for space in each.spaces if each.values[name] in space.members]
    return found


def shape(each: ir.Row) -> list[tuple[object, ...]]:
    """The nodes of a row without their places in the text."""
    plain: list[tuple[object, ...]] = []
    for node in each.nodes:
        fields = {key: value for key, value in vars(node).items() if key != "span"}
        fields.pop("attributes", None)
        plain.append((type(node).__name__, *fields.items()))
    return plain


# ---- which rows there are ----------------------------------------------------------------


def test_convolution_has_eight_rows_the_longest_first() -> None:
    found = rows(CONV, CONV_PORTS)
    assert [each.call_count for each in found] == [5, 4, 4, 4, 3, 3, 3, 2]
    assert [each.number for each in found] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert len({tuple(called(each)) for each in found}) == 8


def test_every_row_has_what_is_not_optional() -> None:
    for each in rows(CONV, CONV_PORTS):
        assert {"qnn.conv2d", "qnn.requantize"} <= set(each.operators)
        assert ("bias" in each.absent) == ("nn.bias_add" not in each.operators)


def test_name_of_an_optional_that_is_left_out_is_its_operand() -> None:
    shortest = rows(CONV, CONV_PORTS)[-1]
    assert shortest.values["d"] == shortest.values["x"]
    assert shortest.values["sum"] == shortest.values["acc"]
    assert shortest.values["y"] == shortest.values["out"] == shortest.root
    assert set(shortest.calls) == {"acc", "out"}


def test_operands_stand_before_their_users() -> None:
    for each in rows(CONV, CONV_PORTS):
        for index, node in enumerate(each.nodes):
            assert not isinstance(node, ir.Call) or max(node.operands) < index


def test_statements_may_stand_in_any_order() -> None:
    backwards = "\n".join(reversed(CONV.strip().splitlines()))
    forwards, turned = rows(CONV, CONV_PORTS), rows(backwards, CONV_PORTS)
    assert [shape(each) for each in forwards] == [shape(each) for each in turned]


def test_alternatives_of_one_length_stay_in_the_order_written() -> None:
    found = rows("y = nn.relu(x) | clip(x) | abs(x)")
    assert [called(each) for each in found] == [["nn.relu"], ["clip"], ["abs"]]


def test_longer_alternative_comes_first() -> None:
    found = rows("y = nn.relu(x) | clip(nn.relu(x))")
    assert [called(each) for each in found] == [["nn.relu", "clip"], ["nn.relu"]]


def test_operator_alternatives_are_rows() -> None:
    found = rows("a = {add, nn.bias_add}(x, const b)\ny = nn.relu(a)")
    assert [called(each)[0] for each in found] == ["add", "nn.bias_add"]
    assert all(set(each.values) == {"x", "a", "b", "y"} for each in found)


def test_operator_alternatives_may_be_optional() -> None:
    found = rows("a = {add, nn.bias_add}(x, const b)?\ny = nn.relu(a)")
    assert [called(each) for each in found] == [
        ["add", "nn.relu"],
        ["nn.bias_add", "nn.relu"],
        ["nn.relu"],
    ]
    assert [sorted(each.absent) for each in found] == [[], [], ["b"]]


def test_alternative_inside_an_operand_multiplies() -> None:
    assert len(rows("y = add(nn.relu(x) | clip(x), abs(x) | exp(x))")) == 4


def test_name_used_twice_is_one_node() -> None:
    each = row("d = nn.relu(x)\ny = multiply(d, d)")
    assert call(each, "y").operands == (each.values["d"], each.values["d"])
    assert called(each) == ["nn.relu", "multiply"]


def test_call_written_twice_is_two_nodes() -> None:
    each = row("y = multiply(nn.relu(x), nn.relu(x))")
    assert called(each) == ["nn.relu", "nn.relu", "multiply"]


def test_optional_used_twice_is_chosen_once() -> None:
    found = rows("d = nn.relu(x)?\ny = multiply(d, d)")
    assert [called(each) for each in found] == [["nn.relu", "multiply"], ["multiply"]]


@pytest.mark.parametrize(
    ("body", "ports"),
    [
        ("a = add(x, const b)\ny = multiply(a, b)", "x: int8, b: int8"),
        ("a = add(x, b)\ny = multiply(a, const b)", "x: int8, b: int8"),
        ("a = add(x, const b)\ny = multiply(a, b)", "x: int8"),
        # Fails (QP110) as long as a constant that is no port must say `const` where met first.
        ("a = add(x, b)\ny = multiply(a, const b)", "x: int8"),
    ],
    ids=["port", "port, later", "name", "name, later"],
)
def test_const_at_one_use_holds_at_all(body: str, ports: str) -> None:
    each = row(body, ports)
    node = each.nodes[each.values["b"]]
    assert isinstance(node, ir.Input) and node.constness is ir.Constness.CONSTANT


def test_field_of_a_tuple_is_a_node() -> None:
    each = row("t = split(x, indices_or_sections=2)\ny = add(t[0], t[1])")
    fields = [node for node in each.nodes if isinstance(node, ir.Field)]
    assert [(node.value, node.index) for node in fields] == [
        (each.values["t"], 0),
        (each.values["t"], 1),
    ]


# ---- forms -----------------------------------------------------------------------------------


def test_forms_stand_in_the_order_written_each_longest_first() -> None:
    found = rows("form short { y = exp(x)\n }\nform long { a = nn.relu(x)?\ny = clip(abs(a)) }")
    assert [(each.form, each.call_count) for each in found] == [
        ("short", 1),
        ("long", 3),
        ("long", 2),
    ]


def test_statements_outside_belong_to_every_form() -> None:
    body = "y = clip(m)?\nform a { m = nn.relu(x) }\nform b { m = abs(x) }"
    found = rows(body)
    assert [(each.form, called(each)) for each in found] == [
        ("a", ["nn.relu", "clip"]),
        ("a", ["nn.relu"]),
        ("b", ["abs", "clip"]),
        ("b", ["abs"]),
    ]


def test_a_form_inside_of_a_form_is_an_alternative_with_its_label() -> None:
    inner = "form b { m = nn.relu(x) }\nform c { m = abs(x) }"
    found = rows(f"form a {{ {inner}\ny = clip(m) }}\nform d {{ y = exp(x)\n }}")
    assert [(each.form, called(each)) for each in found] == [
        ("a", ["nn.relu", "clip"]),
        ("a", ["abs", "clip"]),
        ("d", ["exp"]),
    ]


def test_pattern_without_forms_has_none() -> None:
    assert row("y = nn.relu(x)").form is None


# ---- the limit -------------------------------------------------------------------------------


def chain(length: int) -> str:
    """A chain of optionals: 2 ** length rows."""
    names = ["x", *(f"a{i}" for i in range(1, length + 1))]
    lines = [f"{b} = nn.relu({a})?" for a, b in zip(names, names[1:], strict=False)]
    return "\n".join([*lines, f"y = clip({names[-1]})"])


def test_sixty_four_rows_are_built() -> None:
    assert len(rows(chain(6))) == 64


def test_more_rows_are_one_error_that_names_the_factors() -> None:
    _, found = checked(chain(7))
    (only,) = found
    assert only.code == "QP120"
    assert "2 x 2 x 2 x 2 x 2 x 2 x 2" in only.message
    assert only.span is not None
    places = [only.span.text, *(label.span.text for label in only.others)]
    assert sorted(places) == sorted(line[5:] for line in chain(7).splitlines()[:-1])


def test_very_many_rows_are_not_all_built() -> None:
    assert codes(chain(60)) == ["QP120"]


def test_rows_of_all_forms_count() -> None:
    assert codes(f"form a {{ {chain(6)} }}\nform b {{ y = clip(x) }}") == ["QP120"]


# ---- slots -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "operands",
    [
        "x.zero_point, w.zero_point, x.scale, w.scale",
        "x.zero_point, ..",
        "x.zero_point, w.zero_point, ..",
        "input_zero_point=x.zero_point, kernel_zero_point=w.zero_point, "
        "input_scale=x.scale, kernel_scale=w.scale",
        ".., kernel_scale=w.scale",
        "kernel_scale=w.scale, ..",
    ],
)
def test_slots_written_out_mean_the_same_as_the_rest(operands: str) -> None:
    def built(slots: str) -> ir.Row:
        return row(f"acc = qnn.conv2d(x, const w, {slots})\ny = qnn.requantize(acc, ..)", ports)

    ports = "x: int8, w: int8"
    written, rest = built(operands), built("..")
    for name in ("x", "w"):
        ours, theirs = space_of(written, name), space_of(rest, name)
        for slot in ("scales", "zero_points"):
            positions = [
                [call(each, "acc").operands.index(site.constant) for site in getattr(own, slot)]
                for each, own in ((written, ours), (rest, theirs))
            ]
            assert positions[0] == positions[1]
    assert together(written) == together(rest)


def test_operands_may_be_given_by_name() -> None:
    named = row("y = qnn.add(rhs=x2, lhs=x, ..)", "x: int8, x2: int8")
    operands = call(named, "y").operands
    assert operands[:2] == (named.values["x"], named.values["x2"])


@pytest.mark.parametrize(
    "slots",
    [
        "x.scale, x.zero_point, w.scale, w.zero_point",  # as the registry says
        "w.zero_point, x.zero_point, w.scale, x.scale",
        "x.zero_point, w.zero_point, w.scale, x.scale",
    ],
)
def test_slots_in_the_wrong_order_are_an_error(slots: str) -> None:
    body = f"acc = qnn.conv2d(x, const w, {slots})\ny = qnn.requantize(acc, ..)"
    assert set(codes(body, "x: int8, w: int8")) == {"QP107"}


def test_slot_of_the_output_stands_on_the_requantize() -> None:
    each = row("y = qnn.requantize(x, x.scale, x.zero_point, y.scale, y.zero_point)")
    assert [site.tensor for site in space_of(each, "y").scales] == [each.root]


def test_slot_of_another_name_in_the_same_space_is_right() -> None:
    each = row("d = nn.pad(x, x.zero_point)\ny = qnn.requantize(d, x.scale, d.zero_point, ..)")
    assert together(each) == {frozenset({"x", "d"}), frozenset({"y"})}


def test_slot_without_a_role_is_a_site_too() -> None:
    each = row("d = nn.pad(x, x.zero_point)\ny = qnn.requantize(d, ..)")
    pad = call(each, "d")
    assert pad.operands[1] in [site.constant for site in space_of(each, "x").zero_points]


# ---- spaces ----------------------------------------------------------------------------------


def test_spaces_of_a_convolution() -> None:
    longest = rows(CONV, CONV_PORTS)[0]
    assert together(longest) == {
        frozenset({"x", "d"}),
        frozenset({"w"}),
        frozenset({"acc", "sum", "bias"}),
        frozenset({"out", "y"}),
    }


def test_accumulator_has_the_input_scale_of_its_requantize() -> None:
    for each in rows(CONV, CONV_PORTS):
        out = call(each, "out")
        (scale,) = space_of(each, "acc").scales
        (zero_point,) = space_of(each, "acc").zero_points
        assert (scale.constant, zero_point.constant) == (out.operands[1], out.operands[2])


def test_kernel_scale_runs_along_its_output_channels() -> None:
    (scale,) = space_of(rows(CONV, CONV_PORTS)[0], "w").scales
    assert (scale.axis.layout, scale.axis.letter) == ("kernel_layout", "O")


def test_axis_of_a_bias_is_moved_and_that_of_the_accumulator_is_not() -> None:
    longest = rows(CONV, CONV_PORTS)[0]
    steps = space_of(longest, "bias").steps
    (step,) = steps[longest.values["bias"]]
    assert (step.move, step.call, step.operand, step.forward) == (
        AxisMove.BIAS,
        longest.calls["sum"],
        1,
        False,
    )
    assert steps[longest.values["acc"]] == () == steps[longest.values["sum"]]


def test_float_between_dequantize_and_quantize_has_no_space() -> None:
    each = row("d = qnn.dequantize(x, ..)\nr = nn.relu(d)\ny = qnn.quantize(r, ..)")
    assert together(each) >= {frozenset({"x"}), frozenset({"y"})}
    assert not {frozenset({"d", "r"}), frozenset({"r", "y"})} & together(each)


def test_cast_between_integers_shares() -> None:
    each = row('a = cast(x, dtype="int32")\nb = nn.avg_pool2d(a)\ny = cast(b, dtype="int8")')
    assert together(each) == {frozenset({"x", "a", "b", "y"})}


def test_cast_to_float_shares_nothing() -> None:
    each = row('a = cast(x, dtype="float32")\ny = qnn.quantize(a, ..)')
    assert not any({"x", "a"} <= names for names in together(each))


def test_minimum_of_two_ports_puts_both_into_one_space() -> None:
    each = row("m = minimum(x, x2)\ny = qnn.requantize(m, ..)", "x: int8, x2: int8")
    assert together(each) == {frozenset({"x", "x2", "m"}), frozenset({"y"})}


def test_sum_of_accumulators_is_in_their_space() -> None:
    body = "acc = qnn.dense(x, const w, ..)\nsum = add(acc, const b)\ny = qnn.requantize(sum, ..)"
    each = row(body, "x: int8, w: int8, b: int32")
    assert frozenset({"acc", "sum", "b"}) in together(each)


def test_sum_of_int8_is_in_no_space_of_its_operands() -> None:
    # Fails as long as `Share.accumulators_only` is not looked at: their zero points would add up.
    each = row("s = add(x, x2)\ny = qnn.requantize(s, ..)", "x: int8, x2: int8")
    assert not any({"x", "s"} <= names or {"x2", "s"} <= names for names in together(each))


def test_each_field_of_a_tuple_has_its_own_slots() -> None:
    each = row("y = qnn.concatenate((a, b), ..)", "a: int8, b: int8")
    assert together(each) == {frozenset({"a"}), frozenset({"b"}), frozenset({"y"})}
    sites = [space_of(each, name).scales[0].constant for name in ("a", "b", "y")]
    assert len(set(sites)) == 3


def test_concatenate_keeps_one_space() -> None:
    each = row("y = concatenate((a, b))", "a: int8, b: int8")
    assert together(each) == {frozenset({"a", "b", "y"})}


def test_variadic_port_has_a_tuple_for_each_slot() -> None:
    each = row("y = qnn.concatenate((xs...), ..)", "xs: int8...")
    kinds = [type(each.nodes[operand]) for operand in call(each, "y").operands]
    assert kinds == [ir.Elements, ir.SlotTuple, ir.SlotTuple, ir.SlotConstant, ir.SlotConstant]
    assert len(space_of(each, "xs").scales) == 1


@pytest.mark.parametrize(
    "condition",
    [
        "not bias? or bias.dtype == int32",
        "bias? and bias.dtype == int32",
        "bias? => bias.dtype == int32",
        "if bias? then bias.dtype == int32 else true",
        "if not bias? then true else bias.dtype == int32",
        "(bias.dtype ?? int32) == int32",
    ],
)
def test_what_may_be_absent_can_be_read_behind_a_guard(condition: str) -> None:
    body = """
      acc = qnn.conv2d(x, const w, ..)
      sum = nn.bias_add(acc, const bias)?
      y   = qnn.requantize(sum, ..)"""
    text = f"pattern p(x: int8, w: int8, bias: int32?) -> y: int8 {{ {body} where {condition} }}"
    module, found = check_source(Source("n.qpat", f'compiler "n"\n{text}'))
    assert module is not None, found
