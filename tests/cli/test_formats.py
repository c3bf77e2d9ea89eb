"""Findings for other programs: the same ones, complete, and in a form that cannot be broken."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from qpat.cli import main
from qpat.compiler import check_source
from qpat.source import Source

BROKEN = """compiler "n"
pattern p(x: int8) -> y: int8 {
  y = nn.rely(x)
}
pattern p(x: int8) -> y: int8 {
  y = abs(x)
}
"""


def run(path: Path, form: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    status = main(["check", "--format", form, str(path)])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_json_says_what_the_text_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.qpat"
    path.write_text(BROKEN)
    status, out, err = run(path, "json", capsys)
    data = json.loads(out)
    assert (status, err) == (1, "")
    _, found = check_source(Source(str(path), BROKEN))
    assert len(data) == len(found) == 2
    for each, wanted in zip(data, found, strict=True):
        assert wanted.span is not None
        assert (each["code"], each["message"], each["hint"]) == (
            wanted.code,
            wanted.message,
            wanted.hint,
        )
        lines = BROKEN.splitlines()
        assert each["file"] == str(path)
        if each["line"] == each["end_line"]:
            text = lines[each["line"] - 1][each["column"] - 1 : each["end_column"] - 1]
            assert text == wanted.span.text
    [other] = data[1]["others"]
    assert BROKEN.splitlines()[other["line"] - 1][other["column"] - 1 :].startswith("p(")
    assert other["line"] == 2


def test_fix_in_json_is_a_place_and_what_to_put_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.qpat"
    text = 'compiler "n"\npattern p(x) -> y {\n  y = nn.softmax(x, axes=1)\n}\n'
    path.write_text(text)
    [found] = json.loads(run(path, "json", capsys)[1])
    place = {"file": str(path), "line": 3, "column": 21, "end_line": 3, "end_column": 25}
    title = "replace `axes` with `axis`"
    assert found["fix"] == {"title": title, "replacement": "axis", **place}
    path.write_text(text.replace("axes", "unheard_of"))
    [found] = json.loads(run(path, "json", capsys)[1])
    assert found["fix"] is None


def test_no_findings_are_an_empty_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.qpat"
    path.write_text('compiler "n"\npattern p(x) -> y { y = abs(x) }\n')
    assert run(path, "json", capsys) == (0, "[]\n", "")
    assert run(path, "github", capsys) == (0, "", "")
    assert run(path, "text", capsys) == (0, f"{path}: fine\n", "")


def test_github_annotations_are_one_line_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "a,b:c%"
    folder.mkdir()
    path = folder / "a.qpat"
    path.write_text(BROKEN)
    status, out, _ = run(path, "github", capsys)
    assert status == 1
    shape = re.compile(r"::error file=([^,:]+),line=(\d+),endLine=\d+,col=(\d+),.*?::(.*)")
    lines = out.splitlines()
    matches = [shape.fullmatch(line) for line in lines]
    assert len(lines) == 2 and all(matches)
    escaped = str(path).replace("%", "%25").replace(":", "%3A").replace(",", "%2C")
    assert {match[1] for match in matches if match} == {escaped}
    assert "%0Ahint: did you mean `nn.relu`" in lines[0]


def test_a_file_that_cannot_be_read_has_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(Path("missing.qpat"), "json", capsys)
    [found] = json.loads(out)
    assert (status, found["code"], found["file"], found["line"]) == (
        1,
        "QP004",
        "missing.qpat",
        None,
    )
