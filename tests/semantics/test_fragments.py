"""Fragments and imports: using one is the same as writing its statements out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from qpat.compiler import check_source, compile_file, compile_source
from qpat.diagnostics import Diagnostic, QpatError, render_all
from qpat.semantics import ir
from qpat.source import Source, read_source


def checked(text: str) -> tuple[ir.Module | None, tuple[Diagnostic, ...]]:
    return check_source(Source("n.qpat", f'compiler "n"\n{text}'))


def lowered(text: str) -> ir.Module:
    module, found = checked(text)
    assert module is not None, render_all(found)
    return module


def codes(text: str) -> list[str]:
    return [found.code for found in checked(text)[1]]


def code_of(text: str) -> str:
    """The generated code less the comments that quote the .qpat text."""
    made = compile_source(Source("n.qpat", f'compiler "n"\n{text}')).text
    return re.sub(r"^ *#.*\n", "", made, flags=re.MULTILINE)


SAME = {
    "statements": (
        """
        fragment small(n, most) {
          let widest = max(n.attrs.strides)
          where widest <= most else "stride"
          param strides = n.attrs.strides
        }
        pattern p(x: int8, w: int8) -> y: int8 {
          acc = qnn.conv2d(x, const w, ..)
          y = qnn.requantize(acc, ..)
          use small(acc, 3)
        }""",
        """
        pattern p(x: int8, w: int8) -> y: int8 {
          acc = qnn.conv2d(x, const w, ..)
          y = qnn.requantize(acc, ..)
          let small_widest = max(acc.attrs.strides)
          where small_widest <= 3 else "stride"
          param strides = acc.attrs.strides
        }""",
    ),
    "a value": (
        """
        fragment quantized(v) -> out { out = qnn.quantize(sigmoid(v), ..) }
        pattern p(x: int8) -> y: int8 { y = quantized(qnn.dequantize(x, ..)) }
        """,
        """
        pattern p(x: int8) -> y: int8 {
          y = qnn.quantize(sigmoid(v), ..)
          v = qnn.dequantize(x, ..)
        }""",
    ),
    "a value that may be missing": (
        """
        fragment cut(v) -> out { out = clip(v) }
        pattern p(x: int8, x2: int8) -> y: int8 { y = cut(qnn.add(x, x2, ..))? }
        """,
        """
        pattern p(x: int8, x2: int8) -> y: int8 { s = qnn.add(x, x2, ..)  y = clip(s)? }
        """,
    ),
    "forms": (
        """
        fragment narrowed(v) -> out {
          form qnn   { out = qnn.requantize(v, ..) }
          form plain { out = cast(v, dtype="int8") }
        }
        pattern p(x: int8, w: int8) -> y: int8 { y = narrowed(qnn.dense(x, const w, ..)) }
        """,
        """
        pattern p(x: int8, w: int8) -> y: int8 {
          y = qnn.requantize(acc, ..) | cast(acc, dtype="int8")
          acc = qnn.dense(x, const w, ..)
        }""",
    ),
    "fragments in fragments": (
        """
        fragment inner(v) -> out { out = nn.relu(v) }
        fragment outer(v) -> out { a = inner(v)  out = clip(inner(a)) }
        pattern p(x: int8) -> y: int8 { y = outer(x) }
        """,
        "pattern p(x: int8) -> y: int8 { y = clip(nn.relu(nn.relu(x))) }",
    ),
    "literals": (
        """
        fragment pooled(v, how) -> out { out = nn.max_pool2d(v, layout=how) }
        pattern p(x: int8) -> y: int8 { y = pooled(x, "NHWC") }
        """,
        'pattern p(x: int8) -> y: int8 { y = nn.max_pool2d(x, layout="NHWC") }',
    ),
}


@pytest.mark.parametrize("name", SAME)
def test_a_fragment_is_its_statements_written_out(name: str) -> None:
    used, written = SAME[name]
    first, second = lowered(used).patterns[0], lowered(written).patterns[0]
    assert [_structure(row) for row in first.rows] == [_structure(row) for row in second.rows]
    assert [s.reason for s in first.statements if isinstance(s, ir.Where)] == [
        s.reason for s in second.statements if isinstance(s, ir.Where)
    ]
    if name == "statements":
        assert code_of(used).replace("small_most", "3").count("small_widest") == code_of(
            written
        ).count("small_widest")


def _structure(row: ir.Row) -> str:
    def shown(index: int) -> str:
        node = row.nodes[index]
        if isinstance(node, ir.Call):
            attributes = [f"{a.name}={a.value}" for a in node.attributes]
            return f"{node.operator}({', '.join([*map(shown, node.operands), *attributes])})"
        return f"{type(node).__name__} {getattr(node, 'name', '')}"

    return shown(row.root)


def test_two_uses_have_names_of_their_own() -> None:
    module = lowered("""
        fragment scaled(v) -> out {
          out = right_shift(v, const k)
          where k.value in 0..31 else "shift"
          let out.scale = v.scale * 2 ** k.value
        }
        pattern p(x: int8, w: int8) -> y: int32 {
          acc = qnn.dense(x, const w, ..)
          let acc.scale = x.scale * w.scale
          y = scaled(scaled(acc))
        }""")
    (row,) = module.patterns[0].rows
    assert {"scaled.k", "scaled_2.k"} <= set(row.values)
    assert row.values["scaled.k"] != row.values["scaled_2.k"]


def test_forms_of_an_optional_fragment_cost_rows_only_where_it_stands() -> None:
    module = lowered("""
        fragment narrowed(v) -> out {
          form a { out = clip(v) }
          form b { out = nn.relu(v) }
          form c { out = abs(v) }
        }
        pattern p(x: int8, x2: int8) -> y: int8 { y = narrowed(qnn.add(x, x2, ..))? }
        """)
    pattern = module.patterns[0]
    assert [row.call_count for row in pattern.rows] == [2, 2, 2, 1]


def test_a_form_reads_what_a_fragment_in_it_binds() -> None:
    """Under a name that the form gives it; two forms may give the same."""
    text = """
    fragment widest(n, found) { let found = max(n.attrs.strides) }
    pattern p(x: int8) -> y: int8 {
      form sum {
        y = nn.avg_pool2d(x)
        use widest(y, stride)
        where stride <= 3
      }
      form most {
        m = nn.max_pool2d(x)
        y = m
        use widest(m, stride)
        param most = stride
      }
    }"""
    [pattern] = lowered(text).patterns
    kinds = [type(each) for each in pattern.statements]
    assert kinds == [ir.Let, ir.Where, ir.Let, ir.Param]
    assert codes(text.replace("where stride", "where strides")) == ["QP130"]
    # Nothing of it is known in the other form.
    assert codes(text.replace("use widest(m, stride)", "")) == ["QP130"]


def test_conditions_of_a_form_hold_where_it_is_picked() -> None:
    module = lowered("""
        fragment narrowed(v) -> out {
          form qnn   { out = qnn.requantize(v, ..) }
          form shift {
            out = cast(right_shift(v, const k), dtype="int8")
            where k.value >= 0 else "negative"
          }
        }
        pattern p(x: int8, w: int8) -> y: int8 { y = narrowed(qnn.dense(x, const w, ..)) }""")
    pattern = module.patterns[0]
    (where,) = [s for s in pattern.statements if isinstance(s, ir.Where)]
    assert where.block == "narrowed/shift"
    assert [where.block in row.blocks for row in pattern.rows] == [False, True] or [
        where.block in row.blocks for row in pattern.rows
    ] == [True, False]


FAULTS = {
    "unknown": ("pattern p(x: int8) -> y: int8 { y = clip(x)  use smal(x) }", "QP154"),
    "too few arguments": (
        "fragment f(a, b) { where rank(a) == b }\n"
        "pattern p(x: int8) -> y: int8 { y = clip(x)  use f(x) }",
        "QP154",
    ),
    "a value used": (
        "fragment f(a) -> out { out = clip(a) }\n"
        "pattern p(x: int8) -> y: int8 { y = clip(x)  use f(x) }",
        "QP154",
    ),
    "no value": (
        "fragment f(a) { where rank(a) == 4 }\npattern p(x: int8) -> y: int8 { y = clip(f(x)) }",
        "QP154",
    ),
    "itself": (
        "fragment f(a) -> out { out = f(a) }\npattern p(x: int8) -> y: int8 { y = clip(f(x)) }",
        "QP154",
    ),
    "twice": (
        "fragment f(a) { where rank(a) == 4 }\nfragment f(a) { where rank(a) == 3 }\n"
        "pattern p(x: int8) -> y: int8 { y = clip(x) use f(x) }",
        "QP117",
    ),
    "named as an operator": (
        "fragment clip(a) -> out { out = nn.relu(a) }\n"
        "pattern p(x: int8) -> y: int8 { y = clip(x) }",
        "QP117",
    ),
    "never used": (
        "fragment f(a) { where rank(a) == 4 }\npattern p(x: int8) -> y: int8 { y = clip(x) }",
        "QP153",
    ),
    "its value is not bound": (
        "fragment f(a) -> out { o = clip(a) }\npattern p(x: int8) -> y: int8 { y = abs(f(x)) }",
        "QP111",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_one_finding(name: str) -> None:
    text, code = FAULTS[name]
    assert codes(text) == [code]


def test_a_fault_in_a_fragment_is_said_once_with_a_use() -> None:
    _, found = checked("""
        fragment f(a) -> out { out = clipp(a) }
        pattern p(x: int8) -> y: int8 { y = abs(f(x)) }
        pattern q(x: int8) -> y: int8 { y = abs(f(f(x))) }""")
    (only,) = found
    assert only.code == "QP101"
    assert [label.text for label in only.others] == ["used here"]


def test_growing_without_end_is_a_finding() -> None:
    lines = ["fragment f0(a) -> out { out = clip(a) }"]
    for n in range(1, 12):
        lines.append(f"fragment f{n}(a) -> out {{ out = f{n - 1}(f{n - 1}(a)) }}")
    lines.append("pattern p(x: int8) -> y: int8 { y = f11(x) }")
    assert "QP154" in codes("\n".join(lines))


# ---- imports ---------------------------------------------------------------------------------


def written(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.qpat").write_text(text, encoding="utf-8")
    return folder / "main.qpat"


PRELUDE = """
option most: int = 3
extern heavy(x: tensor) -> bool from "m:heavy"
fragment small(n) { where n.attrs.strides <= most and not heavy_or(n) else "stride" }
"""


def test_an_imported_fragment_sees_the_names_of_its_own_file(tmp_path: Path) -> None:
    main = written(
        tmp_path,
        inner="option most: int = 3\nfragment limited(n) { where n.attrs.strides <= most }\n",
        outer='import "inner.qpat" as deep\nfragment every(n) { use deep.limited(n) }\n',
        main='compiler "n"\nimport "outer.qpat" as lib\n'
        "pattern p(x: int8, w: int8) -> y: int32 {\n"
        "  y = qnn.conv2d(x, const w, ..) use lib.every(y) }\n",
    )
    compiled = compile_file(main)
    assert [option.name for option in compiled.module.options] == ["most"]
    assert "match.options.most" in compiled.text


@pytest.mark.parametrize(
    ("imported", "used"),
    [('import "lib.qpat"', "small"), ('import "lib.qpat" as l', "l.small")],
)
def test_names_come_with_or_without_an_alias(tmp_path: Path, imported: str, used: str) -> None:
    main = written(
        tmp_path,
        lib="fragment small(n) { where rank(n) == 4 }\n",
        main=f'compiler "n"\n{imported}\n'
        f"pattern p(x: int8) -> y: int8 {{ y = clip(x) use {used}(x) }}",
    )
    assert compile_file(main).warnings == ()


def test_a_file_imported_twice_is_one(tmp_path: Path) -> None:
    main = written(
        tmp_path,
        lib="fragment small(n) { where rank(n) == 4 }\n",
        a='import "lib.qpat"\nfragment one(n) { use small(n) }\n',
        b='import "lib.qpat"\nfragment two(n) { use small(n) }\n',
        main='compiler "n"\nimport "a.qpat"\nimport "b.qpat"\n'
        "pattern p(x: int8) -> y: int8 { y = clip(x) use one(x) use two(x) }",
    )
    assert compile_file(main).warnings == ()


def test_findings_are_shown_in_the_file_they_are_in(tmp_path: Path) -> None:
    main = written(
        tmp_path,
        lib="fragment small(n) { where rank(m) == 4 }\n",
        main='compiler "n"\nimport "lib.qpat"\n'
        "pattern p(x: int8) -> y: int8 { y = clip(x) use small(x) }",
    )
    with pytest.raises(QpatError) as caught:
        compile_file(main)
    (found,) = caught.value.diagnostics
    assert found.span is not None and found.span.source.name.endswith("lib.qpat")
    assert found.others[0].span.source.name.endswith("main.qpat")


IMPORT_FAULTS = {
    "missing": ({"main": 'compiler "n"\nimport "no.qpat"\n'}, "QP004"),
    "circle": ({"a": 'import "main.qpat"\n', "main": 'compiler "n"\nimport "a.qpat"\n'}, "QP152"),
    "itself": ({"main": 'compiler "n"\nimport "main.qpat"\n'}, "QP152"),
    "two of a name": (
        {
            "a": "fragment f(n) { where rank(n) == 4 }\n",
            "b": "fragment f(n) { where rank(n) == 3 }\n",
            "main": 'compiler "n"\nimport "a.qpat"\nimport "b.qpat"\n',
        },
        "QP117",
    ),
    "nothing used": (
        {"a": "fragment f(n) { where rank(n) == 4 }\n", "main": 'compiler "n"\nimport "a.qpat"\n'},
        "QP153",
    ),
    "a fault of syntax": (
        {"a": "fragment f(n) { where rank(n == 4 }\n", "main": 'compiler "n"\nimport "a.qpat"\n'},
        "QP003",
    ),
}


@pytest.mark.parametrize("name", IMPORT_FAULTS)
def test_a_fault_of_an_import_is_one_finding(tmp_path: Path, name: str) -> None:
    files, code = IMPORT_FAULTS[name]
    use = " use f(x)" if name == "a fault of syntax" else ""
    main = files["main"] + f"pattern p(x: int8) -> y: int8 {{ y = clip(x){use} }}\n"
    path = written(tmp_path, **{**files, "main": main})
    _, found = check_source(read_source(path))
    assert [each.code for each in found] == [code], render_all(found)


def test_a_fragment_nobody_uses_may_say_all_that_another_does() -> None:
    """A meaning has operators, and a fragment that is used may bind what it is given."""
    text = """
    fragment widest(n, found) { let found = max(n.attrs.strides) }
    fragment pooled(x) -> out {
      out = nn.max_pool2d(x)
      use widest(out, stride)
      where stride <= 3
      meaning y = clip(nn.max_pool2d(x, like=out), 0, 6)
    }
    pattern p(x: int8) -> y: int8 { y = abs(x) }"""
    assert set(codes(text)) == {"QP153"}
    assert codes(text.replace("clip(", "cilp(")) == ["QP135"]


def test_a_file_of_fragments_needs_no_compiler(tmp_path: Path) -> None:
    path = written(tmp_path, main="fragment small(n) { where rank(n) == 4 }\n")
    assert check_source(read_source(path))[1] == ()
