"""The pages on findings: one for each code, and what they show is what is said."""

from __future__ import annotations

import ast
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from qpat.cli import main
from qpat.compiler import check_targets
from qpat.diagnostics import Diagnostic, Severity, render_all
from qpat.pages import Page, page, pages
from qpat.source import Source
from tools.list_findings import OUTPUT, overview

ROOT = Path(__file__).resolve().parents[2]
PAGES = pages()
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# What a console block shows is run, but where it takes a TVM that is broken or a Python prompt.
RUN = ["QP004", "QP005", "QP007", "QP152", "QP310", "QP311", "QP312", "QP330", "QP331", "QP332"]
RUN += ["QP342", "QP343"]
# The models of those two.
RELAY = """#[version = "0.0.5"]
def @main(%x: Tensor[(4), float32]) -> Tensor[(4), {dtype}] {{
{body}
}}
"""
DISAGREE = """  %0 = qnn.quantize(%x, 0.5f, 3, out_dtype="int8", axis=0);
  qnn.dequantize(%0, 0.25f, 3, out_dtype="float32", axis=0)"""
IMPOSSIBLE = """  qnn.quantize(%x, 0.5f, 200, out_dtype="int8", axis=0)"""


def used() -> Iterator[tuple[str, str]]:
    """Every code in the sources with its severity."""
    for path in sorted((ROOT / "qpat").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                for given in node.args:
                    if isinstance(given, ast.Constant) and _is_code(given.value):
                        yield str(given.value), "warning" if name == "warning" else "error"


def _is_code(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"QP\d{3}", value) is not None


def blocks(about: Page) -> list[tuple[str, str]]:
    return BLOCK.findall(about.text)


def found(text: str) -> tuple[Diagnostic, ...]:
    return check_targets(Source("case.qpat", text))


def test_every_code_has_a_page_and_every_page_a_code() -> None:
    severities: dict[str, set[str]] = {}
    for code, severity in used():
        severities.setdefault(code, set()).add(severity)
    assert {each.code: {each.severity} for each in PAGES} == severities
    # The walk above sees every code that is written in the sources.
    texts = (path.read_text(encoding="utf-8") for path in (ROOT / "qpat").rglob("*.py"))
    assert {code for text in texts for code in re.findall(r'"(QP\d{3})"', text)} == set(severities)


def test_titles_are_unique() -> None:
    assert len({each.title for each in PAGES}) == len(PAGES)
    assert max(len(each.title) for each in PAGES) <= 80


@pytest.mark.parametrize("about", PAGES, ids=lambda about: about.code)
def test_page_has_its_sections(about: Page) -> None:
    kind = "an error" if about.severity == "error" else "a warning"
    last = "Write instead" if blocks(about)[0][0] == "qpat" else "What to do"
    wanted = ["What it says", f"Why it is {kind}", "Example", last]
    assert re.findall(r"^## (.*)$", about.text, re.MULTILINE) == wanted
    assert about.says and "\n\n\n" not in about.text and about.text.endswith("\n")
    outside = BLOCK.sub("", about.text)
    assert all(len(line) <= 100 for line in outside.splitlines())


QPAT_PAGES = [each for each in PAGES if blocks(each)[0][0] == "qpat"]


@pytest.mark.parametrize("about", QPAT_PAGES, ids=lambda about: about.code)
def test_first_example_gives_this_code_alone(about: Page) -> None:
    (_, bad), _ = blocks(about)
    assert {each.code for each in found(bad)} == {about.code}
    assert {each.severity.value for each in found(bad)} == {about.severity}


@pytest.mark.parametrize("about", QPAT_PAGES, ids=lambda about: about.code)
def test_second_example_is_free_of_findings(about: Page) -> None:
    _, (_, good) = blocks(about)
    assert not found(good), render_all(found(good))


@pytest.mark.parametrize("about", QPAT_PAGES, ids=lambda about: about.code)
def test_fix_of_an_example_leads_to_a_text_without_errors(about: Page) -> None:
    text = blocks(about)[0][1]
    for each in found(text):
        if each.fix is not None:
            span = each.fix.span
            mended = text[: span.start] + each.fix.text + text[span.end :]
            assert not any(f.severity is Severity.ERROR for f in found(mended))


def test_only_what_no_text_can_show_is_shown_as_a_command() -> None:
    others = {each.code for each in PAGES} - {each.code for each in QPAT_PAGES}
    assert others == {"QP004", "QP005", "QP007", "QP152"} | {
        c for c in {p.code for p in PAGES} if c >= "QP300"
    }
    for code in others:
        (kind, text), *rest = blocks(page(code))
        assert (kind, rest) == ("console", [])
        assert f"{page(code).severity}[{code}]: " in text


@pytest.mark.parametrize("code", RUN)
def test_command_of_a_page_says_what_it_shows(
    code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    [(_, text)] = blocks(page(code))
    command, *shown = text.splitlines()
    (tmp_path / "npu.qpat").write_text(blocks(page("QP101"))[1][1])
    chain = "".join(f"  a{i} = nn.relu(a{i + 1})\n" for i in range(3000))
    deep = f'compiler "n"\npattern p(x) -> a0 {{\n{chain}  a3000 = nn.relu(x)\n}}\n'
    (tmp_path / "generated.qpat").write_text(deep)
    old = "".join(f"pattern p{i}(x: int8) -> y: int8 {{ y = nn.rellu(x) }}\n" for i in range(30))
    (tmp_path / "old.qpat").write_text(f'compiler "n"\n{old}')
    (tmp_path / "model.pb").write_bytes(b"anything")
    shutil.copy(ROOT / "tests/data/tflite/ds_cnn_kws_dynrange.tflite", tmp_path / "model.tflite")
    for name, other in (("one", "two"), ("two", "one")):
        (tmp_path / f"{name}.qpat").write_text(f'import "{other}.qpat"\n')
    for name, body, dtype in (
        ("disagree", DISAGREE, "float32"),
        ("impossible", IMPOSSIBLE, "int8"),
    ):
        (tmp_path / f"{name}.relay").write_text(RELAY.format(body=body, dtype=dtype))
    monkeypatch.chdir(tmp_path)
    status = main(command.removeprefix("$ qpat ").split())
    assert status == (2 if code == "QP332" else int(page(code).severity == "error"))
    assert "\n".join(shown) + "\n" in capsys.readouterr().err


# ---- qpat explain --------------------------------------------------------------------------


def test_explain_without_a_code_lists_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert captured.out.splitlines() == [f"{each.code}  {each.title}" for each in PAGES]


@pytest.mark.parametrize("about", PAGES, ids=lambda about: about.code)
def test_explain_prints_a_page(about: Page, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", about.code.lower()]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    first, *_ = captured.out.splitlines()
    assert first == f"{about.code}: {about.title}"
    # Nothing is lost but the marks of headings and the fences of code.
    words = re.sub(r"^(#+ |```\w*)", "", about.text, flags=re.MULTILINE).split()
    assert captured.out.split() == words


def test_explain_in_colour(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "QP101", "--color", "always"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("\x1b[1mQP101: unknown operator\x1b[0m\n")
    assert main(["explain", "QP101", "--color", "never"]) == 0
    assert capsys.readouterr().out == re.sub(r"\x1b\[[\d;]*m", "", out)


@pytest.mark.parametrize(
    ("code", "hint"), [("QP1O1", "did you mean `QP"), ("nonsense", "`qpat explain` alone")]
)
def test_explain_of_an_unknown_code_is_wrong_use(
    code: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", code]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"error[QP332]: no finding has the code `{code}`" in captured.err
    assert hint in captured.err


def test_overview_is_up_to_date() -> None:
    assert OUTPUT.read_text(encoding="utf-8") == overview(), "`make findings` writes it anew"
    links = re.findall(r"\((findings/QP\d+\.md)\)", overview())
    assert len(links) == len(PAGES)
    assert all((OUTPUT.parent / link).is_file() for link in links)
