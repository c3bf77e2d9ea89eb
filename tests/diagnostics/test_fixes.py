"""Fixes: each takes its finding away and adds none, and `--fix` changes nothing else in a file."""

from __future__ import annotations

import re
import string
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.startup import with_fragments
from qpat.cli import main
from qpat.compiler import check_source
from qpat.diagnostics import Diagnostic, Fix, QpatError, render_all
from qpat.fixing import Mended, applied, mended, write_mended
from qpat.source import Source, Span, read_source

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = (ROOT / "patterns" / "tflite.qpat").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
# Single patterns without a fault.
GOOD = [
    *(
        f'compiler "npu"\n{with_fragments(item, LIBRARY)}\n'
        for item in re.findall(r"^(?:pattern|for) (?:.|\n)*?^\}", LIBRARY, re.MULTILINE)
    ),
    *re.findall(r"^```\n(compiler .*?)^```", README, re.MULTILINE | re.DOTALL),
    """compiler "npu"
pattern sum(a: int8, b: int8 [N, H, W, C]?) -> y: int16 {
  form same { m = qnn.mul(a, b, .., lhs_axis=-1)  y = cast(m, dtype="int16") }
  form one  { n = nn.max_pool2d(a, pool_size=[2, 2], layout="NHWC", ceil_mode=false)
              y = cast(n, dtype="int16") }
  let least = limits(a.dtype)
  where form == "one" => rank(a) == 4 else "another rank"
  where b? => H in 1..4 and not same([W, C])
  param size = if b? then max(b.shape) else least[1]
}
""",
]
WORD = re.compile(r'"[^"\n]*"|//[^\n]*|[A-Za-z_][A-Za-z_0-9]{2,}')


def checked(source: Source) -> tuple[Diagnostic, ...]:
    return check_source(source)[1]


def found(text: str) -> tuple[Diagnostic, ...]:
    return checked(Source("case.qpat", text))


def said(text: str) -> set[tuple[str, str]]:
    return {(each.code, each.message) for each in found(text)}


def in_pattern(body: str, ports: str = "x: int8") -> str:
    return f'compiler "npu"\npattern p({ports}) -> y: int8 {{\n{body}\n}}\n'


RELU = "y = nn.relu(x)\n"
# What is written, and what the fix makes of it.
CASES = {
    "QP001 string": (RELU + "where x.dtype=='int8'", RELU + 'where x.dtype=="int8"'),
    "QP001 &&": (
        RELU + "where rank(x) == 4&&size(x) > 1",
        RELU + "where rank(x) == 4 and size(x) > 1",
    ),
    "QP001 &": (
        RELU + "where rank(x) == 4 & size(x) > 1",
        RELU + "where rank(x) == 4 and size(x) > 1",
    ),
    "QP001 |": (
        RELU + "where rank(x) == 4|size(x) > 1",
        RELU + "where rank(x) == 4 or size(x) > 1",
    ),
    "QP001 !": (RELU + "where !(rank(x) == 4)", RELU + "where not (rank(x) == 4)"),
    "QP001 ^": (RELU + "where rank(x)^2 == 4", RELU + "where rank(x)**2 == 4"),
    "QP001 #": (RELU + "# says nothing", RELU + "// says nothing"),
    "QP001 ;": ("y = nn.relu(x);", "y = nn.relu(x)"),
    "QP001 ; between words": (
        "y = nn.relu(x);where rank(x) == 4",
        "y = nn.relu(x) where rank(x) == 4",
    ),
    "QP001 keyword": (RELU + "wher rank(x) == 4", RELU + "where rank(x) == 4"),
    "QP101": ("y = nn.bias_ad(x, x)", "y = nn.bias_add(x, x)"),
    "QP101 among several": ("y = {nn.bias_ad, add}(x, x)", "y = {nn.bias_add, add}(x, x)"),
    "QP102": ("y = nn.softmax(x, axes=1)", "y = nn.softmax(x, axis=1)"),
    "QP102 read": (
        "y = nn.softmax(x)\nwhere y.attrs.axes == 1",
        "y = nn.softmax(x)\nwhere y.attrs.axis == 1",
    ),
    "QP103": ("y = qnn.requantize(x)", "y = qnn.requantize(x, ..)"),
    "QP103 before a comment": (
        "y = qnn.requantize(x // the accumulator\n)",
        "y = qnn.requantize(x, .. // the accumulator\n)",
    ),
    "QP103 of a tuple": ("y = qnn.concatenate((x, (x)))", "y = qnn.concatenate((x, (x)), ..)"),
    "QP104 True": ("y = nn.max_pool2d(x, ceil_mode=True)", "y = nn.max_pool2d(x, ceil_mode=true)"),
    "QP104 two dtypes": ('y = cast(x, dtype="bfloat61")', None),
    "QP104 dtype": (
        'y = cast(cast(x, dtype="boool"), dtype="int8")',
        'y = cast(cast(x, dtype="bool"), dtype="int8")',
    ),
    "QP105": ("y = qnn.requantize(x, .., ..)", "y = qnn.requantize(x, ..)"),
    "QP105 nothing left": ("y = nn.relu(x, ..)", None),  # or another operator was meant
    "QP106": ("y = nn.pad(x, x.zeropoint)", "y = nn.pad(x, x.zero_point)"),
    "QP106 let": (RELU + "let x.scael = 1", RELU + "let x.scale = 1"),
    "QP106 far": (RELU + "let x.shape = 3", None),
    "QP145": ("y = abs(x)\nmeaning y = abss(x)", "y = abs(x)\nmeaning y = abs(x)"),
    "QP110": ("data = nn.relu(x)\ny = clip(dat)", "data = nn.relu(x)\ny = clip(data)"),
    "QP116 definition": ("data = nn.relu(x)\ny = add(dat, dat)", None),
    "QP110 circle": ("data = nn.relu(datx)\ny = clip(data)", None),
    "QP130 None": (RELU + "param k = None", RELU + "param k = none"),
    "QP130": (RELU + "let wide = 1\nparam k = wid", RELU + "let wide = 1\nparam k = wide"),
    "QP130 form": (
        'form a { y = abs(x) }\nform other { y = exp(x) }\nwhere form == "othre" or rank(x) == 4',
        'form a { y = abs(x) }\nform other { y = exp(x) }\nwhere form == "other" or rank(x) == 4',
    ),
    "QP131": (RELU + "where x.dtpye == int8", RELU + "where x.dtype == int8"),
    "QP135": (RELU + "where rnak(x) == 4", RELU + "where rank(x) == 4"),
    "QP136": (RELU + "param k = x.shape ?? 0", RELU + "param k = x.shape"),
    "QP136 brackets": (RELU + "param k = (rank(x)) ?? (3)", RELU + "param k = (rank(x))"),
    "QP136 inside": (RELU + "param k = 1 + (rank(x) ?? 3)", RELU + "param k = 1 + (rank(x))"),
    "QP136 comment": (
        RELU + "param k = rank(x) // ?? 1\n ?? 3",
        RELU + "param k = rank(x) // ?? 1",
    ),
    "QP138 in": (RELU + "where rank(x) in 3", RELU + "where rank(x) in {3}"),
    "QP138 range": (RELU + "where rank(x) in 4..1", RELU + "where rank(x) in 1..4"),
    "QP144": (
        "y = qnn.requantize(x, ..)\n  let x.scale = 1\nwhere rank(x) == 4",
        "y = qnn.requantize(x, ..)\nwhere rank(x) == 4",
    ),
    "QP144 in one line": (
        "y = qnn.requantize(x, ..) let x.scale = 1",
        "y = qnn.requantize(x, ..) ",
    ),
}
TEXTS = {
    **{
        name: (in_pattern(bad), None if good is None else in_pattern(good))
        for name, (bad, good) in CASES.items()
    },
    "QP001 item": (
        'compiler "n"\npattenr p(x) -> y { y = abs(x) }\n',
        'compiler "n"\npattern p(x) -> y { y = abs(x) }\n',
    ),
    "QP119": (
        in_pattern(RELU).replace("y: int8", "y: int8 ?"),
        in_pattern(RELU).replace("y: int8", "y: int8 "),
    ),
    "QP121": (in_pattern(RELU, "x: tenosr"), in_pattern(RELU, "x: tensor")),
    "QP121 of a port": (
        in_pattern("y = add(data, w)", "data: int8, w: dtaa.dtype"),
        in_pattern("y = add(data, w)", "data: int8, w: data.dtype"),
    ),
    "QP142": (
        in_pattern(RELU).replace("int8 {", 'int8 as "npu.r" {'),
        in_pattern(RELU).replace("int8 {", 'int8 as "r" {'),
    ),
    "QP142 nothing left": (in_pattern(RELU).replace("int8 {", 'int8 as "npu." {'), None),
    "QP151": (
        'compiler "n"\nfor name in [abs] { pattern $name(x) -> y { y = ${nmae}(x) } }\n',
        'compiler "n"\nfor name in [abs] { pattern $name(x) -> y { y = ${name}(x) } }\n',
    ),
}


@pytest.mark.parametrize("name", TEXTS)
def test_fix_makes_of_a_text_what_was_meant(name: str) -> None:
    text, wanted = TEXTS[name]
    code = name.partition(" ")[0]
    fixes = [each.fix for each in found(text) if each.code == code and each.fix is not None]
    assert any(each.code == code for each in found(text)), render_all(found(text))
    assert [applied(text, [fix]) for fix in fixes] == ([] if wanted is None else [wanted])
    if wanted is not None:
        assert code not in {each.code for each in found(wanted)}
        assert said(wanted) <= said(text)


def test_cases_cover_every_code_that_has_a_fix() -> None:
    """A fix is made in a line or two before the code it belongs to."""
    made = re.compile(r"fix\b")
    codes = set()
    for path in [*(ROOT / "qpat/semantics").glob("*.py"), ROOT / "qpat/syntax/parser.py"]:
        for line in path.read_text(encoding="utf-8").splitlines():
            if (code := re.search(r'"(QP\d{3})"', line)) and made.search(line):
                codes.add(code[1])
    with_a_fix = {name.partition(" ")[0] for name, (_, wanted) in TEXTS.items() if wanted}
    assert codes == with_a_fix


# ---- any slip of the finger --------------------------------------------------------------------


@st.composite
def slips(draw: st.DrawFn) -> str:
    """A pattern without a fault in which one letter of one word is wrong."""
    text = draw(st.sampled_from(GOOD))
    words = [match for match in WORD.finditer(text) if not match[0].startswith("//")]
    match = draw(st.sampled_from([match for match in words if len(match[0].strip('"')) > 2]))
    quoted = match[0].startswith('"')
    letters = list(match[0].strip('"'))
    at = draw(st.integers(0, len(letters) - 2))
    how = draw(st.sampled_from(["delete", "exchange", "replace", "insert"]))
    letter = draw(st.sampled_from(string.ascii_lowercase))
    if how == "delete":
        del letters[at]
    elif how == "exchange":
        letters[at], letters[at + 1] = letters[at + 1], letters[at]
    elif how == "replace":
        letters[at] = letter
    else:
        letters.insert(at, letter)
    word = "".join(letters)
    return text[: match.start()] + (f'"{word}"' if quoted else word) + text[match.end() :]


@pytest.mark.parametrize("text", GOOD)
def test_patterns_of_the_property_have_no_fault(text: str) -> None:
    assert not found(text)


@given(slips())
@settings(deadline=None, max_examples=1000)
def test_fix_takes_its_finding_away_and_adds_none(text: str) -> None:
    before = found(text)
    for each in before:
        if each.fix is None:
            continue
        after = found(applied(text, [each.fix]))
        assert (each.code, each.message) not in {(f.code, f.message) for f in after}
        assert {(f.code, f.message) for f in after} <= {(f.code, f.message) for f in before}


@given(st.lists(slips(), min_size=1, max_size=4))
@settings(deadline=None, max_examples=100)
def test_all_fixes_of_a_file_at_once(texts: list[str]) -> None:
    bodies = (re.sub(r"\A\w*ompiler.*\n", "", each) for each in texts)
    numbered = (re.sub(r"^pattern (\w+)", rf"pattern \g<1>_{i}", b) for i, b in enumerate(bodies))
    source = Source("case.qpat", 'compiler "npu"\n' + "".join(numbered))
    result = mended(source, checked)
    assert set(result.fixes) <= {each.fix for each in checked(source)}
    assert result.source.text == applied(source.text, result.fixes)
    assert places(result.left) == places(found(result.source.text))


def places(diagnostics: Iterable[Diagnostic]) -> list[tuple[str, str, int, int]]:
    """What is said where, without the source, which is another object each time."""
    return [(d.code, d.message, d.span.start, d.span.end) for d in diagnostics if d.span]


# ---- which fixes go together -------------------------------------------------------------------


def at(source: Source, start: int, end: int, text: str, code: str = "QP101") -> Diagnostic:
    span = Span(source, start, end)
    return Diagnostic(code, f"{start} to {end}", span, fix=Fix(span, text))


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ([(0, 2, "x"), (2, 4, "y")], "xyefgh"),
        ([(2, 2, "x"), (2, 4, "y")], "abxyefgh"),
        ([(0, 3, "x"), (2, 4, "y")], "xdefgh"),  # the first of two that overlap
        ([(2, 4, "y"), (0, 8, "x")], "x"),
        ([(2, 4, "x"), (2, 4, "y"), (6, 8, "z")], "abcdefz"),  # neither of two that disagree
        ([(3, 3, "x"), (3, 3, "y")], "abcdefgh"),
        ([(2, 4, "x"), (2, 4, "x")], "abxefgh"),  # said twice
        ([], "abcdefgh"),
    ],
)
def test_fixes_that_overlap(changes: list[tuple[int, int, str]], wanted: str) -> None:
    source = Source("case.qpat", "abcdefgh")

    def check(given: Source) -> list[Diagnostic]:
        return [at(source, *change) for change in changes] if given is source else []

    assert mended(source, check).source.text == wanted


def test_fix_whose_words_are_at_fault_is_taken_back() -> None:
    source = Source("case.qpat", "abcdefgh")

    def check(given: Source) -> list[Diagnostic]:
        if given is source:
            return [at(source, 0, 2, "long"), at(source, 4, 6, "wrong")]
        start = given.text.find("wrong")
        return [] if start < 0 else [at(given, start, start + 5, "ef")]

    result = mended(source, check)
    assert result.source.text == "longcdefgh"
    assert len(result.fixes) == 1


def test_family_is_not_mended_for_one_value_and_broken_for_another() -> None:
    text = """compiler "n"
for op in [nn.softmax, nn.max_pool2d] {
  pattern $op(x) -> y { y = $op(x, axes=1) }
}
"""
    result = mended(Source("case.qpat", text), checked)
    assert any(each.fix is not None for each in found(text))
    assert (result.source.text, result.fixes) == (text, ())
    assert places(result.left) == places(found(text))


# ---- in files ----------------------------------------------------------------------------------

BROKEN = 'compiler "n"\n\n/// é 漢\npattern p(x) -> y { y = nn.bias_ad(x, x) where rnak(x) == 1 }\n'
FIXED = BROKEN.replace("bias_ad", "bias_add").replace("rnak", "rank")


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = main(["check", *arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_rest_of_the_file_stays_as_it_is(
    newline: str, mark: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.qpat"
    path.write_bytes((mark + BROKEN).replace("\n", newline).encode())
    path.chmod(0o640)
    status, out, err = run(capsys, "--fix", str(path))
    assert (status, out, err) == (0, f"{path}: fine\n", f"{path}: 2 fixes made\n")
    assert path.read_bytes() == (mark + FIXED).replace("\n", newline).encode()
    assert path.stat().st_mode & 0o777 == 0o640
    assert [each.name for each in tmp_path.iterdir()] == ["a.qpat"]


def test_newlines_may_differ_within_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.qpat"
    raw = (
        'compiler "n"\r\n\n\rpattern p(x)\r\n-> y {\n let y.scale = 1\r\n y = nn.bias_ad(x, x)\r }'
    )
    path.write_bytes(raw.encode())
    result = mended(read_source(path), checked)
    write_mended(str(path), result)
    assert path.read_bytes() == raw.replace("bias_ad", "bias_add").encode()


def test_file_without_fixes_is_not_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.qpat"
    path.write_text(FIXED)
    before = path.stat().st_mtime_ns, path.stat().st_ino
    assert run(capsys, "--fix", str(path)) == (0, f"{path}: fine\n", "")
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == before


def test_how_many_were_made_and_what_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.qpat"
    bad = "pattern q(x) -> y { y = nn.relu(x) where rnak(x) == 4 where x.dtpye == int8 where x }\n"
    path.write_text(BROKEN + bad)
    status, out, err = run(capsys, "--fix", "--format", "json", str(path))
    assert status == 1 and '"QP131"' in out
    assert err == f"{path}: 4 fixes made\n"
    assert "bias_add(x, x) where rank" in path.read_text()
    assert "where rank(x) == 4 where x.dtype == int8 where x }" in path.read_text()


def test_file_that_cannot_be_written_is_a_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.qpat"
    path.write_text(BROKEN)

    def fail(*arguments: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "replace", fail)
    status, out, err = run(capsys, "--fix", str(path))
    assert (status, out) == (1, "")
    assert err.startswith(f"{path}: error[QP330]: cannot write the file: Permission denied\n")
    assert path.read_text() == BROKEN


@pytest.mark.parametrize("now", [b"", b"short", BROKEN.encode() + b"more", b"\xff"])
def test_file_that_changed_meanwhile_is_left_alone(now: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.qpat"
    path.write_text(BROKEN)
    result = mended(read_source(path), checked)
    path.write_bytes(now)
    with pytest.raises(QpatError) as caught:
        write_mended(str(path), result)
    assert [each.code for each in caught.value.diagnostics] == ["QP330"]
    assert path.read_bytes() == now


def test_fix_in_another_source_is_not_made() -> None:
    source, other = Source("case.qpat", "abcdefgh"), Source("other.qpat", "abcdefgh")
    found_there = [at(other, 0, 2, "x")]
    assert mended(source, lambda _: found_there) == Mended(source, (), tuple(found_there))
