"""Text to syntax tree: what parses, as what, and where each node says it stands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from qpat.compiler import open_source
from qpat.diagnostics import Diagnostic, QpatError
from qpat.source import Source, read_source
from qpat.syntax import tree
from qpat.syntax.parser import parse

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted([*(ROOT / "tests/data/language").glob("*.qpat"), *ROOT.glob("patterns/**/*.qpat")])
NAMES = [path.relative_to(ROOT).as_posix() for path in FILES]

Kind = TypeVar("Kind", bound=tree.Node)


def parsed(text: str) -> tree.File:
    return parse(Source("case.qpat", text))


def fault(text: str) -> Diagnostic:
    with pytest.raises(QpatError) as caught:
        parsed(text)
    (diagnostic,) = caught.value.diagnostics
    return diagnostic


def pattern_text(body: str) -> str:
    return f'compiler "npu"\npattern p(x: int8) -> y: int8 {{\n{body}\n}}\n'


def statement(body: str) -> tree.Statement:
    """The only statement of a pattern."""
    item = parsed(pattern_text(body)).items[1]
    assert isinstance(item, tree.Pattern)
    (only,) = item.block.statements
    return only


def expression(text: str) -> tree.Expression:
    only = statement(f"let k = {text}")
    assert isinstance(only, tree.Let)
    return only.value


def structure(text: str) -> tree.Structure:
    only = statement(f"y = {text}")
    assert isinstance(only, tree.Bind)
    return only.value


def children(node: tree.Node) -> Iterator[tree.Node]:
    """The nodes right below, in the fields and in tuples in them."""
    for name, value in vars(node).items():
        if name != "span":
            yield from _nodes(value)


def _nodes(value: object) -> Iterator[tree.Node]:
    if isinstance(value, tree.Node):
        yield value
    elif isinstance(value, tuple):
        for each in value:
            yield from _nodes(each)


def walk(node: tree.Node) -> Iterator[tree.Node]:
    yield node
    for child in children(node):
        yield from walk(child)


def found(kind: type[Kind], file: tree.File) -> list[Kind]:
    return [node for node in walk(file) if isinstance(node, kind)]


def sketch(node: object) -> str:
    """An expression with every bracket written out."""
    match node:
        case tree.Name():
            return node.name
        case tree.Value():
            return repr(node.value)
        case tree.Operation(operator="not" | "minus"):
            return f"({node.operator} {sketch(node.operands[0])})"
        case tree.Operation():
            return f"({f' {node.operator} '.join(sketch(o) for o in node.operands)})"
        case tree.Contained():
            word = "not in" if node.negated else "in"
            return f"({sketch(node.value)} {word} {sketch(node.container)})"
        case tree.Range():
            return f"{sketch(node.first)}..{sketch(node.last)}"
        case tree.Conditional():
            parts = (node.condition, node.then, node.otherwise)
            return "(if {} then {} else {})".format(*(sketch(part) for part in parts))
        case tree.Get():
            return f"{sketch(node.value)}.{node.member.text}"
        case tree.Present():
            return f"{sketch(node.value)}?"
    raise AssertionError(node)


# ---- whole files ---------------------------------------------------------------------


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_file_parses(path: Path) -> None:
    assert parse(read_source(path)).items


def test_there_are_files_to_parse() -> None:
    assert {"corner.qpat", "ethos_u.qpat", "more.qpat", "prelude.qpat", "tflite.qpat"} <= {
        path.name for path in FILES
    }


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_every_span_lies_in_that_of_its_parent(path: Path) -> None:
    for node in walk(parse(read_source(path))):
        for child in children(node):
            assert node.span.start <= child.span.start, (node, child)
            assert child.span.end <= node.span.end, (node, child)


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_no_span_is_empty_or_begins_or_ends_in_blanks(path: Path) -> None:
    file = parse(read_source(path))
    for node in walk(file):
        if node is not file:
            assert node.span.text and node.span.text == node.span.text.strip(), node


def bare(node: object) -> object:
    """A tree without its spans, to compare two."""
    if isinstance(node, tree.Node):
        fields = {k: bare(v) for k, v in vars(node).items() if k not in ("span", "doc")}
        return type(node).__name__, tuple(fields.items())
    return tuple(bare(each) for each in node) if isinstance(node, tuple) else node


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_text_of_a_pattern_parses_as_that_pattern(path: Path) -> None:
    for node in found(tree.Pattern, parse(read_source(path))):
        (again,) = parsed(node.span.text).items
        assert bare(again) == bare(node)


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_text_of_a_statement_parses_as_that_statement(path: Path) -> None:
    for block in found(tree.Block, parse(read_source(path))):
        for node in block.statements:
            assert bare(statement(node.span.text)) == bare(node)


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_text_of_a_call_parses_as_that_call(path: Path) -> None:
    for node in found(tree.Call, parse(read_source(path))):
        assert bare(structure(node.span.text)) == bare(node)


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_text_of_a_condition_parses_as_that_condition(path: Path) -> None:
    for node in found(tree.Where, parse(read_source(path))):
        assert bare(expression(node.condition.span.text)) == bare(node.condition)


@pytest.mark.parametrize("text", ["(a + b) * c", "a * (b + c)", "(a)", "((a) + (b))"])
def test_text_of_arithmetic_with_brackets_parses_as_that_arithmetic(text: str) -> None:
    # Fails as long as the span begins or ends inside a bracket: `a + b) * c`.
    node = expression(text)
    assert bare(expression(node.span.text)) == bare(node)


# ---- comments ------------------------------------------------------------------------


def test_doc_comment_is_the_lines_right_above() -> None:
    text = "/// not this\n\n/// first\n/// second\npattern p(x) -> y { y = f(x) }"
    (pattern,) = found(tree.Pattern, parsed(text))
    assert pattern.doc == "first\nsecond"


def test_ordinary_comment_is_no_doc() -> None:
    (pattern,) = found(tree.Pattern, parsed("// plain\npattern p(x) -> y { y = f(x) }"))
    assert pattern.doc == ""


def test_second_pattern_has_its_own_doc() -> None:
    text = "/// a\npattern a(x) -> y { y = f(x) }\npattern b(x) -> y { y = f(x) }"
    assert [pattern.doc for pattern in found(tree.Pattern, parsed(text))] == ["a", ""]


def test_comment_behind_the_pattern_above_is_no_doc() -> None:
    # Fails as long as any `///` on the line above counts, also one behind code.
    text = "pattern a(x) -> y { y = f(x) } /// of a\npattern b(x) -> y { y = f(x) }"
    assert [pattern.doc for pattern in found(tree.Pattern, parsed(text))] == ["", ""]


def test_comments_are_kept_in_order_of_place() -> None:
    file = parsed('// one\ncompiler "// no comment"  // two\n/// three')
    assert [comment.text for comment in file.comments] == ["// one", "// two", "/// three"]


def test_slashes_in_relay_text_are_no_comment() -> None:
    file = parsed('test "t" """\n// relay\n""" { match p }')
    assert file.comments == ()


# ---- numbers, strings, dots --------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", 1), ("0.5", 0.5), ("1e3", 1e3), ("2.5E-2", 2.5e-2), ("007", 7), ("0", 0)],
)
def test_number(text: str, value: float) -> None:
    node = expression(text)
    assert isinstance(node, tree.Value)
    assert node.value == value and type(node.value) is type(value)


@pytest.mark.parametrize(("text", "value"), [("-3", -3), ("-0.5", -0.5), ("1e-3", 1e-3)])
def test_literal_operand_has_its_sign(text: str, value: float) -> None:
    node = structure(f"add(x, {text})")
    assert isinstance(node, tree.Call) and isinstance(node.arguments[1], tree.Literal)
    assert node.arguments[1].value == value


@pytest.mark.parametrize("text", ["1..3", "1 .. 3", "1 ..3", "1.. 3"])
def test_dots_between_whole_numbers_are_a_range(text: str) -> None:
    assert sketch(expression(f"k in {text}")) == "(k in 1..3)"


def test_range_of_fractions_and_expressions() -> None:
    assert sketch(expression("k in 0.5..1.5")) == "(k in 0.5..1.5)"
    assert sketch(expression("k in a - 1..b")) == "(k in (a - 1)..b)"


def test_number_does_not_end_in_a_dot() -> None:
    assert fault(pattern_text("where k in 1.")).code == "QP001"


def test_two_dots_are_the_rest_and_three_are_many() -> None:
    call = structure("concatenate((xs...), ..)")
    assert isinstance(call, tree.Call)
    fields, rest = call.arguments
    assert isinstance(rest, tree.Rest) and isinstance(fields, tree.Tuple)
    assert isinstance(fields.elements[0], tree.Repeat)


def test_three_dots_are_no_range() -> None:
    assert fault(pattern_text("where k in 1...3")).code == "QP001"


def test_string_is_taken_as_it_stands() -> None:
    node = expression(r'"a \n // b"')
    assert isinstance(node, tree.Value) and node.value == r"a \n // b"


def test_string_without_end_is_one_finding_up_to_the_end_of_its_line() -> None:
    diagnostic = fault('compiler "npu\npattern p(x) -> y { y = f(x) }')
    assert diagnostic.code == "QP002"
    assert diagnostic.span is not None and diagnostic.span.text == '"npu'


# ---- precedence --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a + b * c ** 2", "(a + (b * (c ** 2)))"),
        ("a - b - c", "((a - b) - c)"),
        ("a / b * c % d", "(((a / b) * c) % d)"),
        ("(a + b) * c", "((a + b) * c)"),
        ("2 ** 3 ** 2", "(2 ** (3 ** 2))"),
        ("-x ** 2", "(minus (x ** 2))"),
        ("2 ** -x", "(2 ** (minus x))"),
        ("a - -b", "(a - (minus b))"),
        ("not a and b or c => d", "((((not a) and b) or c) => d)"),
        ("a => b => c", "(a => (b => c))"),
        ("a or b and c", "(a or (b and c))"),
        ("not a == b", "(not (a == b))"),
        ("a ?? b + 1", "(a ?? (b + 1))"),
        ("a ?? b ?? c", "(a ?? (b ?? c))"),
        ("a + b ?? c == d", "(((a + b) ?? c) == d)"),
        ("a + b <= c * d", "((a + b) <= (c * d))"),
        ("a in 1..b + 1 and c", "((a in 1..(b + 1)) and c)"),
        ("not a not in b", "(not (a not in b))"),
        ("if a then b else c + 1", "(if a then b else (c + 1))"),
        ("if a then b else if c then d else e", "(if a then b else (if c then d else e))"),
        ("d? => e", "(d? => e)"),
        ("a.b? and not c", "(a.b? and (not c))"),
        ("-a.b ** 2", "(minus (a.b ** 2))"),
    ],
)
def test_precedence(text: str, wanted: str) -> None:
    assert sketch(expression(text)) == wanted


def test_comparisons_do_not_chain() -> None:
    diagnostic = fault(pattern_text("where 1 <= k <= 3"))
    assert diagnostic.code == "QP001"
    assert diagnostic.span is not None and diagnostic.span.text == "<="


def test_bar_binds_looser_than_question_mark() -> None:
    node = structure("f(x)? | g(x)")
    assert isinstance(node, tree.Alternatives)
    assert isinstance(node.choices[0], tree.Optional)


# ---- words that are also names -------------------------------------------------------------


@pytest.mark.parametrize("name", ["where", "match", "form", "test", "option", "in", "let"])
def test_operator_may_have_the_name_of_a_keyword(name: str) -> None:
    call = structure(f"{name}(c, a, b)")
    assert isinstance(call, tree.Call) and call.operators[0].text == name


def test_statements_need_no_separator() -> None:
    text = pattern_text("a = where(x, x, x) where a.shape == 1 form f { y = g(a) where true }")
    (pattern,) = found(tree.Pattern, parsed(text))
    kinds = [type(each) for each in pattern.block.statements]
    assert kinds == [tree.Bind, tree.Where, tree.Form]


# ---- bytes and lines -----------------------------------------------------------------------


def test_newlines_mean_nothing() -> None:
    text = pattern_text("y = f(x, a=1)\nwhere x.shape == 3")
    assert bare(parsed(text)) == bare(parsed(text.replace(" ", "\n")))


def test_every_newline_convention_reads_the_same(tmp_path: Path) -> None:
    text = "// a\n" + pattern_text("y = f(x)")
    trees = []
    for number, newline in enumerate(("\n", "\r\n", "\r")):
        path = tmp_path / f"{number}.qpat"
        path.write_bytes(text.replace("\n", newline).encode())
        trees.append(parse(read_source(path)))
    assert bare(trees[0]) == bare(trees[1]) == bare(trees[2])
    assert found(tree.Pattern, trees[1])[0].span.line == 3


def test_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "bom.qpat"
    path.write_bytes(b'\xef\xbb\xbfcompiler "npu"\n')
    (item,) = parse(read_source(path)).items
    assert (item.span.line, item.span.column) == (1, 1)


def test_tab_is_one_column() -> None:
    (pattern,) = found(tree.Pattern, parsed("\t\tpattern p(x) -> y {\n\ty = f(x) }"))
    assert (pattern.span.line, pattern.span.column) == (1, 3)
    assert pattern.block.statements[0].span.column == 2


@pytest.mark.parametrize("text", ["", "\n", "  \t\n", "// only a comment"])
def test_file_without_items_parses(text: str) -> None:
    assert parsed(text).items == ()


def test_file_that_is_not_utf8_is_a_finding_with_its_path(tmp_path: Path) -> None:
    path = tmp_path / "latin.qpat"
    path.write_bytes(b'compiler "npu"\n// caf\xe9\n')
    with pytest.raises(QpatError) as caught:
        open_source(path)
    (diagnostic,) = caught.value.diagnostics
    assert (diagnostic.code, diagnostic.place) == ("QP004", str(path))


@pytest.mark.parametrize("opener", ["(", "[", "{"])
def test_bracket_without_end_is_shown(opener: str) -> None:
    text = "pattern p(x) -> y " if opener == "{" else "pattern p(x) -> y { let k = "
    diagnostic = fault(f"{text}{opener}")
    assert diagnostic.code == "QP003"
    assert diagnostic.span is not None and diagnostic.span.text == opener


@pytest.mark.parametrize("text", ["}", "pattern", "pattern p", "compiler npu", "?", "é", "\0"])
def test_broken_text_is_one_finding_inside_the_text(text: str) -> None:
    diagnostic = fault(text)
    assert diagnostic.span is not None
    assert 0 <= diagnostic.span.start < diagnostic.span.end <= len(text)


# Fails with a RecursionError or a ValueError in lark's VisitError as long as nothing limits the
# depth of a text and the length of its numbers.
@pytest.mark.parametrize(
    "value",
    ["(" * 3000 + "1" + ")" * 3000, "- " * 3000 + "1", "9" * 5000, "1" + " ?? 1" * 3000],
    ids=["brackets", "signs", "digits", "defaults"],
)
def test_monstrous_expression_is_a_finding_or_parses(value: str) -> None:
    try:
        expression(value)
    except QpatError as error:
        assert len(error.diagnostics) == 1
