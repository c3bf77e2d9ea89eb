"""The page of `qpat coverage`, opened in a headless Chromium from a file."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

import qpat
from qpat.relay.coverage.data import Coverage, Node, Record
from qpat.relay.coverage.page import as_html
from tests.coverage.browser import Browser, Page
from tests.coverage.conftest import NETWORKS
from tests.models import DATA
from tests.oracle import flatbuffer

HOSTILE = (
    "</script><script>window.hacked=1</script><img src=x onerror=window.hacked=2>"
    "\"'&amp;{{data}}\u2028\udc80<!--"
)
COLOURS = """[...document.querySelectorAll('.node')].map((node) => {
  const rgb = (text) => text.match(/[\\d.]+/g).slice(0, 3).map(Number);
  return [rgb(getComputedStyle(node.querySelector('text')).fill),
          rgb(getComputedStyle(node.querySelector('rect.box')).fill)];
})"""


@pytest.fixture(scope="module")
def path(by_refusing: Coverage, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(as_html(by_refusing), encoding="utf-8")
    return path


@pytest.fixture
def page(browser: Browser, path: Path) -> Page:
    return browser.open(path)


def choose(page: Page, model: int) -> None:
    page.do(
        f"(() => {{ const select = document.getElementById('model'); select.value = {model};"
        " select.dispatchEvent(new Event('change')); })()"
    )


def node_where(coverage: Coverage, kind: str, title: str, model: int = 0) -> tuple[int, Node]:
    nodes = coverage.models[model].graph.nodes
    return next(
        (number, node)
        for number, node in enumerate(nodes)
        if (node.kind, node.title) == (kind, title)
    )


# ---- as a file -----------------------------------------------------------------------------------


def test_the_same_coverage_gives_the_same_bytes(by_refusing: Coverage, refusing: Path) -> None:
    again = qpat.coverage([DATA / name for name in NETWORKS], refusing)
    assert as_html(again) == as_html(by_refusing)


def test_it_names_nothing_outside(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert set(re.findall(r"https?://[^\s\"']+", text)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"<link|@import|url\((?!#)|\bsrc=|fetch\(|XMLHttpRequest|import\(", text)
    assert "default-src 'none'" in text


# ---- opened --------------------------------------------------------------------------------------


def test_it_opens_without_a_request_or_a_complaint(page: Page, path: Path) -> None:
    assert page.complaints() == []
    assert page.requests() == [path.as_uri()]
    assert page.text("h1") == "qpat coverage npu.qpat"
    names = page.do("[...document.querySelectorAll('#model option')].map((each) => each.text)")
    assert names == [Path(name).name for name in NETWORKS]


def test_every_model_is_drawn(page: Page, by_refusing: Coverage) -> None:
    for number, model in enumerate(by_refusing.models):
        choose(page, number)
        kinds = [node.kind for node in model.graph.nodes]
        assert page.count(".node") == len(kinds)
        assert page.count(".node:not(.input)") == len(kinds) - kinds.count("input")
        assert page.count(".node.host") == kinds.count("host")
        assert page.count("#edges path") == len(model.graph.edges)
        work = model.work
        assert f"{work.offloaded_calls} of {work.calls}" in page.text("#figures")
    assert page.complaints() == []


def test_calls_are_those_of_the_partition(by_refusing: Coverage, refusing: Path) -> None:
    for name, model in zip(NETWORKS, by_refusing.models, strict=True):
        result = qpat.partition(DATA / name, refusing)
        kinds = [node.kind for node in model.graph.nodes]
        assert len(kinds) - kinds.count("input") == len(result.matches) + len(result.host)
        assert kinds.count("host") == len(result.host)


def test_a_click_on_a_host_operator_says_why(page: Page, by_refusing: Coverage) -> None:
    number, node = node_where(by_refusing, "host", "qnn.conv2d")
    assert node.reasons[0] == "kernel larger than 1"
    page.click(f"[data-node='{number}']")
    said = page.text("#details")
    assert page.text("#details .reason") == "kernel larger than 1"
    assert "`conv2d` comes nearest" in said and "npu.qpat:8" in said
    assert page.count(".node.chosen") == 1
    neighbours = [edge for edge in by_refusing.models[0].graph.edges if number in edge]
    assert page.count("#edges path.hot") == len(neighbours) > 0


def test_a_click_on_a_composite_shows_its_record(page: Page, by_refusing: Coverage) -> None:
    """Its scale and zero point are those that the .tflite file has."""
    choose(page, 1)
    number, node = node_where(by_refusing, "composite", "conv2d", model=1)
    page.do(f"document.querySelector('[data-node=\"{number}\"]').focus()")
    page.press("Enter")
    said = page.text("#details")
    tensors = flatbuffer.tensors(DATA / NETWORKS[1])
    [made] = [
        each
        for name, each in tensors.items()
        if name.rsplit(";", 1)[-1] == node.name and not each.is_constant
    ]
    assert made.scale is not None and made.zero_point is not None
    wanted = rf"^y\tint8\t[0-9x]+\t{made.scale[0]:.6g}\t{made.zero_point[0]}$"
    assert re.search(wanted, said, re.MULTILINE), said
    assert re.search(r"^w\tint8\t1x1x64x64\t64 scales .* along axis 3\t0$", said, re.MULTILINE)
    assert "strides\t[1, 1]" in said


def test_a_rule_says_which_operator_is_taken(page: Page, by_refusing: Coverage) -> None:
    choose(page, 1)
    number, _ = node_where(by_refusing, "rule", "softmax", model=1)
    page.do(f"document.querySelector('[data-node=\"{number}\"]').focus()")
    page.press(" ")
    assert "nn.softmax, taken as it is" in page.text("#details")


def test_the_legend_highlights(page: Page) -> None:
    opacities = """[...document.querySelectorAll('.node')].map((node) =>
      [node.querySelector('text').textContent, Number(getComputedStyle(node).opacity)])"""
    choose(page, 1)
    page.click("#legend button[data-key='conv2d']")
    for title, opacity in page.do(opacities):
        assert (opacity == 1) == (title == "conv2d"), title
    page.click("#legend button[data-key='host']")
    assert page.do("document.querySelectorAll('#legend [aria-pressed=true]').length") == 1
    assert page.count(".node.lit") == page.count(".node.host") > 0
    page.click("#legend button[data-key='host']")
    assert all(opacity == 1 for _, opacity in page.do(opacities))


def test_the_legend_has_a_colour_for_each_pattern(page: Page) -> None:
    choose(page, 1)
    colours = page.do(
        "[...document.querySelectorAll('#legend .swatch')]"
        ".map((each) => getComputedStyle(each).backgroundColor)"
    )
    assert len(colours) == len(set(colours)) >= 4


def test_it_can_be_used_by_keys_alone(page: Page) -> None:
    page.do("document.querySelector('.node').focus()")
    assert page.count(".node[tabindex='0']") == 1
    page.press("ArrowDown")
    page.press("ArrowDown")
    focused = "document.activeElement.dataset.node"
    below = page.do(focused)
    assert int(below) > 0
    page.press("Enter")
    assert page.count(".node.chosen") == 1
    page.press("ArrowUp")
    assert int(page.do(focused)) < int(below)
    assert page.do("document.querySelector('.node.chosen').getAttribute('aria-label')")
    page.press("Escape")
    assert page.count(".node.chosen") == 0


def test_search_finds_names_and_operators(page: Page, by_refusing: Coverage) -> None:
    page.do("document.getElementById('search').focus()")
    for key in "qnn.add":
        page.press(key)
    nodes = by_refusing.models[0].graph.nodes
    hits = [number for number, node in enumerate(nodes) if "qnn.add" in node.calls]
    assert page.count(".node.lit") == len(hits) > 0
    for hit in hits[:2]:
        page.press("Enter")
        assert page.do("Number(document.querySelector('.node.chosen').dataset.node)") == hit


def test_it_zooms_and_pans(page: Page) -> None:
    box = "document.querySelector('.node').getBoundingClientRect()"
    width, top = page.do(f"{box}.width"), page.do(f"{box}.top")
    page.click("#zoom-in")
    assert page.do(f"{box}.width") == pytest.approx(1.25 * width, rel=0.01)
    page.click("#zoom-fit")
    assert page.do(
        "[...document.querySelectorAll('.node')].every((node) => {"
        "  const box = node.getBoundingClientRect();"
        "  return box.top >= 0 && box.bottom <= innerHeight; })"
    )
    page.send("Input.dispatchMouseEvent", type="mouseWheel", x=600, y=400, deltaX=0, deltaY=150)
    page.do("new Promise((done) => requestAnimationFrame(done))")
    assert page.do(f"{box}.top") < top


def test_the_counts_are_those_of_the_json(page: Page, by_refusing: Coverage) -> None:
    page.click("#counts-tab")
    said = page.text("#counts-view")
    for model in by_refusing.models:
        assert model.model in said
    [form] = [each for each in by_refusing.forms if each.pattern == "conv2d"]
    total = said.split("All models")[1]
    row = rf"^conv2d\t{form.matched}\t\d/\d\t{form.refused}\t{form.lost}\t{form.on_host}\t"
    assert re.search(row, total, re.MULTILINE), total
    assert "kernel larger than 1" in total and "activation, form relu" in total
    assert page.do("getComputedStyle(document.getElementById('graph-view')).display") == "none"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark(browser: Browser, path: Path, scheme: str) -> None:
    """What is written on nodes stands out by at least 4.5 to 1 (WCAG 2.1, criterion 1.4.3)."""
    page = browser.open(path, scheme=scheme)
    paper = page.do("getComputedStyle(document.body).backgroundColor")
    assert (luminance([int(each) for each in re.findall(r"\d+", paper)]) > 0.5) == (
        scheme == "light"
    )
    for ink, fill in page.do(COLOURS):
        low, high = sorted((luminance(ink), luminance(fill)))
        assert (high + 0.05) / (low + 0.05) >= 4.5
    assert page.complaints() == []


def test_dark_is_drawn_dark(browser: Browser, path: Path) -> None:
    pictures = [browser.open(path, scheme=scheme).picture() for scheme in ("light", "dark")]
    assert all(picture.startswith(b"\x89PNG") for picture in pictures)
    assert pictures[0] != pictures[1]


def luminance(colour: list[float]) -> float:
    parts = [each / 255 for each in colour[:3]]
    linear = [
        each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


# ---- names that are markup -----------------------------------------------------------------------


def test_names_are_text_and_nothing_else(
    browser: Browser, by_refusing: Coverage, tmp_path: Path
) -> None:
    """Each text that comes from a model or a pattern file is one that would run, were it markup."""
    model = by_refusing.models[0]
    record = Record(HOSTILE, ((HOSTILE,) * 5,), ((HOSTILE, HOSTILE),))
    nodes = tuple(
        replace(
            node,
            title=HOSTILE,
            name=HOSTILE,
            type=HOSTILE,
            calls=(HOSTILE,),
            record=None if node.record is None else record,
            pattern=node.pattern and HOSTILE,
            reasons=tuple(HOSTILE for _ in node.reasons),
        )
        for node in model.graph.nodes
    )
    forms = tuple(
        replace(
            form,
            pattern=HOSTILE,
            form=HOSTILE,
            target=HOSTILE,
            refusals=tuple(replace(r, reason=HOSTILE, file=HOSTILE) for r in form.refusals),
            rows=tuple(replace(row, structure=HOSTILE) for row in form.rows),
        )
        for form in model.forms
    )
    hostile = replace(model, model=HOSTILE, forms=forms, graph=replace(model.graph, nodes=nodes))
    path = tmp_path / "page.html"
    text = as_html(Coverage(HOSTILE, HOSTILE, (hostile, hostile)))
    assert text.count("</script>") == 2
    path.write_text(text, encoding="utf-8")
    page = browser.open(path)
    for selector in (".node.host", ".node.taken", "#counts-tab"):
        page.click(selector)
        assert "<img src=x" in page.text("#details") + page.text("#counts-view")
    assert page.complaints() == [] and page.requests() == [path.as_uri()]
    assert page.do("typeof window.hacked") == "undefined"
    assert (page.count("script"), page.count("img")) == (2, 0)
    assert page.do("document.getElementById('patterns').title").startswith("</script><script>")


def test_the_policy_stops_a_script_that_gets_in_all_the_same(
    browser: Browser, path: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.html"
    text = path.read_text(encoding="utf-8")
    broken.write_text(text.replace("</body>", "<script>window.hacked = 1</script></body>"))
    page = browser.open(broken)
    assert page.do("typeof window.hacked") == "undefined"
    assert any("Content Security Policy" in json.dumps(each) for each in page.complaints())


def test_a_model_whose_path_and_names_are_markup(
    browser: Browser, refusing: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "<img src=x onerror=alert(1)>"
    folder.mkdir()
    model = folder / "script>\"'<b>.relay"
    model.write_text(
        '#[version = "0.0.5"]\ndef @main(%x: Tensor[(1, 4), int8]) { clip(%x, a_min=1f, a_max=2f) }'
    )
    path = tmp_path / "page.html"
    path.write_text(as_html(qpat.coverage([model], refusing)), encoding="utf-8")
    page = browser.open(path)
    assert page.do("document.getElementById('model').selectedOptions[0].text") == str(model)
    assert (page.count("img"), page.count("b"), page.complaints()) == (0, 2, [])
