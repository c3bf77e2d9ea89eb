"""The outline of a text: where it parses, that of its tree; where not, what people meant."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from qpat.source import Source
from qpat.syntax import tree
from qpat.syntax.outline import Part, names_bound, outline
from qpat.syntax.parser import parse
from qpat.syntax.tokens import tokens_of

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted([*(ROOT / "tests/data/language").glob("*.qpat"), *ROOT.glob("patterns/**/*.qpat")])


def parts(text: str) -> list[Part]:
    return [each for group in outline(tokens_of(text)) for top in group for each in top.walk()]


def parsed_parts(items: Iterable[tree.Item | tree.Statement]) -> Iterator[tree.Node]:
    for item in items:
        yield item
        if isinstance(item, tree.Family):
            yield from parsed_parts(item.items)
        elif isinstance(item, tree.Pattern | tree.Fragment | tree.Form):
            yield from parsed_parts(item.block.statements)


def as_written(text: str) -> str:
    return text


def at_the_margin(text: str) -> str:
    return re.sub(r"(?m)^ +", "", text)


def indented(text: str) -> str:
    return re.sub(r"(?m)^(?=.)", "    ", text)


def without_comments(text: str) -> str:
    return re.sub(r"(?m)//.*$", "", text)


def in_one_line(text: str) -> str:
    """Only a statement that binds several names is then not told apart from the one before."""
    joined = " ".join(without_comments(text).split())
    return joined if not re.search(r"\w+, \w+ = ", re.sub("param .*?=", "", joined)) else text


LAYOUTS = [as_written, at_the_margin, indented, without_comments, in_one_line]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_outline_of_a_text_that_parses_is_that_of_its_tree(
    path: Path, layout: Callable[[str], str]
) -> None:
    text = layout(path.read_text(encoding="utf-8"))
    found = parts(text)
    wanted = parsed_parts(parse(Source("a.qpat", text)).items)
    assert [(each.start, each.end) for each in found] == [
        (node.span.start, node.span.end) for node in wanted
    ]
    assert not any(part.is_unclosed for part in found)


HEAD = "pattern p(x: int8) -> y: int8 {"


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        pytest.param(f"{HEAD}\n  y = f(x)\n{HEAD}\n  y = f(x)\n}}\n", [1], id="the next begins"),
        pytest.param(f"{HEAD}\n  y = f(x)\n", [1], id="the file ends"),
        pytest.param(
            f"{HEAD}\n  form a {{\n    y = f(x)\n  form b {{\n    y = g(x)\n  }}\n}}\n",
            [2],
            id="a form before another",
        ),
        pytest.param(f"{HEAD}\n  form a {{\n    y = f(x)\n}}\n", [2], id="a form at the end"),
        pytest.param(
            f"{HEAD}\n  form a {{\n    y = f(x)\n  where rank(x) == 4\n}}\n", [2], id="a statement"
        ),
        pytest.param(
            f"{HEAD}\n  form a {{ y = f(x)\n{HEAD}\n  y = f(x)\n}}\n", [1, 2], id="both of two"
        ),
        pytest.param(
            f"for op in [a, b] {{\n  {HEAD}\n    y = $op(x)\n}}\n{HEAD}\n  y = f(x)\n}}\n",
            [2],
            id="a pattern in a family",
        ),
        pytest.param(f"{HEAD}\n  where x in {{1, 2\n}}\n", [], id="a set, which is no block"),
        pytest.param(f'{HEAD}\n  y = f(x, k="a)\n}}\n', [], id="a brace behind a string"),
        pytest.param(f"{HEAD}\n  y = f(x\n}}\n{HEAD}\n  y = f(x)\n}}\n", [], id="a bracket"),
    ],
)
def test_blocks_without_an_end(text: str, lines: list[int]) -> None:
    openers = [part.opener for part in parts(text) if part.is_unclosed]
    assert [opener.line + 1 for opener in openers if opener is not None] == lines


@pytest.mark.parametrize(
    ("statement", "names"),
    [
        ("acc = nn.relu(x", ("acc",)),
        ("acc nn.relu(x)", ("acc",)),
        ("a, b = split(x", ("a", "b")),
        ("a, b split(x)", ("a", "b")),
        ("ys... = split(x", ("ys",)),
        ("s = add(x, const k, const? m", ("s", "k", "m")),
        ('s = cast(add(x, const k), dtype="int8)', ("s", "k")),
        ("= nn.relu(x)", None),
        ("param a, b = (1", ("a", "b")),
        ("parma k = 1", ("parma", "k")),
        ("let k 3", ("k",)),
        ("let x.scale = (", ("x", "scale")),
        ("inherit x y", ("x", "y")),
        ("where rank(x == 4", ()),
        ("wher rank(x) == 4", ()),
        ("# a comment, as in Python", ()),
        ("form a on 3 { r = f(x) s g(x) }", ("a", "r")),
    ],
)
def test_names_that_a_statement_probably_binds(
    statement: str, names: tuple[str, ...] | None
) -> None:
    (_, part, *_) = parts(f"{HEAD}\n  {statement}\n}}\n")
    found = names_bound(part)
    assert (set(found) if found is not None else None) == (
        set(names) if names is not None else None
    )


def test_words_of_a_text_are_all_of_it() -> None:
    text = '''a = "b // c" // d
    f(0.5..3) """e
    g""" "open, (x)] }
    => ...'''
    tokens = tokens_of(text)
    assert [token.text for token in tokens] == [
        *("a", "=", '"b // c"', "f", "(", "0.5", "..", "3", ")", '"""e\n    g"""', '"open, (x'),
        *(")", "]", "}", "=>", "..."),
    ]
    assert all(text[token.start : token.end] == token.text for token in tokens)
    assert [token.text for token in tokens if token.is_first] == ["a", "f", "=>"]
