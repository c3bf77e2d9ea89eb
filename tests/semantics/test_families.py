"""Families: `for … in` is the same as writing its items out."""

from __future__ import annotations

import pytest

from qpat.compiler import check_source, compile_source
from qpat.diagnostics import render_all
from qpat.semantics import ir
from qpat.source import Source


def lowered(text: str) -> ir.Module:
    module, found = check_source(Source("n.qpat", f'compiler "n"\n{text}'))
    assert module is not None, render_all(found)
    return module


def shape(module: ir.Module) -> list[tuple[object, ...]]:
    """What a module says, without the places it says it at."""
    return [
        (
            pattern.name,
            pattern.composite,
            pattern.doc,
            [(port.name, port.dtypes, port.maybe, port.many) for port in pattern.ports],
            [[_node(node) for node in row.nodes] for row in pattern.rows],
            [[sorted(space.members) for space in row.spaces] for row in pattern.rows],
        )
        for pattern in module.patterns
    ]


def _node(node: ir.Node) -> tuple[object, ...]:
    if isinstance(node, ir.Call):
        attributes = [(each.name, each.value) for each in node.attributes]
        return ("call", node.operator, node.operands, attributes)
    return tuple(value for key, value in vars(node).items() if key != "span")


FAMILIES = {
    "an operator and a string": (
        """
        for op, name in [(add, "plus"), (mul, "times")] {
          /// The $op of two tensors.
          pattern $op(x: int8, x2: int8) -> y: int8 as $name { y = qnn.$op(x, x2, ..) }
        }""",
        """
        /// The add of two tensors.
        pattern add(x: int8, x2: int8) -> y: int8 as "plus" { y = qnn.add(x, x2, ..) }
        /// The mul of two tensors.
        pattern mul(x: int8, x2: int8) -> y: int8 as "times" { y = qnn.mul(x, x2, ..) }""",
    ),
    "an attribute, a literal and a condition": (
        """
        for layout, k in [("HWIO", 1), ("HWOI", 4)] {
          pattern c_${layout}x(x: int8, w: int8) -> y: int32 {
            a = qnn.conv2d(x, const w, .., kernel_layout=$layout, groups=$k)
            y = add(a, $k)
            where $layout == "HWIO" or rank(x) == $k
          }
        }""",
        """
        pattern c_HWIOx(x: int8, w: int8) -> y: int32 {
          a = qnn.conv2d(x, const w, .., kernel_layout="HWIO", groups=1)
          y = add(a, 1)
          where "HWIO" == "HWIO" or rank(x) == 1
        }
        pattern c_HWOIx(x: int8, w: int8) -> y: int32 {
          a = qnn.conv2d(x, const w, .., kernel_layout="HWOI", groups=4)
          y = add(a, 4)
          where "HWOI" == "HWIO" or rank(x) == 4
        }""",
    ),
    "a family in a family": (
        """
        for op in [nn.relu, abs] {
          for d in [int8, uint8] { pattern p_${op}_$d(x: $d) -> y: $d { y = $op(x) } }
        }""",
        """
        pattern p_nn_relu_int8(x: int8) -> y: int8 { y = nn.relu(x) }
        pattern p_nn_relu_uint8(x: uint8) -> y: uint8 { y = nn.relu(x) }
        pattern p_abs_int8(x: int8) -> y: int8 { y = abs(x) }
        pattern p_abs_uint8(x: uint8) -> y: uint8 { y = abs(x) }""",
    ),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_its_items_written_out(name: str) -> None:
    family, written_out = FAMILIES[name]
    assert shape(lowered(family)) == shape(lowered(written_out))


def test_a_fault_in_a_family_is_reported_where_it_is_written() -> None:
    text = 'compiler "n"\nfor op in [abs, exp] {\n  pattern $op(x) -> y { y = $op(x, foo=1) }\n}'
    module, found = check_source(Source("n.qpat", text))
    assert module is None
    assert [(each.code, each.span.line) for each in found if each.span] == [("QP102", 3)]


def test_a_fault_of_some_values_of_a_family_is_reported_for_each_of_them() -> None:
    text = """compiler "n"
for op in [abs, epx, exp, sgn] {
  pattern $op(x) -> y {
    y = $op(x)
    where rnak(x) == 4
  }
}"""
    _, found = check_source(Source("n.qpat", text))
    assert [(each.code, each.span.line) for each in found if each.span] == [
        ("QP101", 4),
        ("QP101", 4),
        ("QP135", 5),
    ]


def test_a_dollar_in_a_string_or_comment_is_a_dollar() -> None:
    text = 'pattern p(x) -> y { y = abs(x) where rank(x) == 4 else "costs $5" } // $y'
    [where] = lowered(text).patterns[0].statements
    assert isinstance(where, ir.Where) and where.reason == "costs $5"


def test_generated_code_of_a_family_is_that_of_its_items() -> None:
    family, _ = FAMILIES["an operator and a string"]
    text = compile_source(Source("n.qpat", f'compiler "n"\n{family}')).text
    assert '"n.plus"' in text and '"n.times"' in text
    assert "class Add:" in text and "class Mul:" in text
