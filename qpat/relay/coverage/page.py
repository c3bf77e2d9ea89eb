"""Coverage as one HTML page that needs nothing else: page.html with page.css, page.js and the data.

What models and patterns are called goes into the page as JSON alone, in which no `<` stands, and
page.js puts it into the document as text. The page's own policy lets nothing be loaded and no other
script run.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any

from qpat.relay.coverage.data import Coverage, Graph, ModelCoverage, Node
from qpat.relay.coverage.layout import LAYER_GAP, NODE_HEIGHT, NODE_WIDTH, layout
from qpat.relay.coverage.report import as_json

_FOLDER = Path(__file__).parent


def as_html(coverage: Coverage) -> str:
    """The page; the same for the same coverage, byte by byte."""
    style, script = _part("page.css"), _part("page.js")
    policy = f"style-src {_hash_of(style)}; script-src {_hash_of(script)}"
    parts = {"policy": policy, "style": style, "script": script, "data": _data(coverage)}
    # All at once: what is put in is not looked through.
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], _part("page.html"))


def _part(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


def _hash_of(text: str) -> str:
    """How a policy names what stands between the tags of a script or a style."""
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


def _data(coverage: Coverage) -> str:
    counts = as_json(coverage)
    matched = [form.pattern for form in coverage.forms if form.matched]
    data = {
        **{key: counts[key] for key in ("patterns", "compiler", "total")},
        "legend": list(dict.fromkeys(matched)),
        "size": {"width": NODE_WIDTH, "height": NODE_HEIGHT, "gap": LAYER_GAP},
        "models": [
            {**counted, "graph": _graph(model)}
            for counted, model in zip(counts["models"], coverage.models, strict=True)
        ],
    }
    for each in (data["total"], *data["models"]):
        for form in each["forms"]:
            form["rows"] = [
                [row["structure"], row["matched"], sum(each["count"] for each in row["refusals"])]
                for row in form["rows"]
            ]
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)  # ASCII
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _graph(model: ModelCoverage) -> dict[str, Any]:
    graph: Graph = model.graph
    sources = [number for number, node in enumerate(graph.nodes) if node.kind == "input"]
    drawn = layout(len(graph.nodes), graph.edges, sources)
    places = zip(graph.nodes, drawn.across, drawn.layers, strict=True)
    edges = zip(graph.edges, drawn.bends, strict=True)
    return {
        "width": drawn.width,
        "height": drawn.height,
        "nodes": [_node(node, across, layer) for node, across, layer in places],
        "edges": [[above, below, list(bends)] for (above, below), bends in edges],
        "results": list(graph.results),
    }


def _node(node: Node, across: int, layer: int) -> dict[str, Any]:
    """What a node says, less what it does not."""
    said: dict[str, Any] = {
        "kind": node.kind,
        "title": node.title,
        "name": node.name,
        "pattern": node.pattern,
        "type": node.type,
        "macs": node.macs,
        "calls": node.calls,
        "reasons": node.reasons,
    }
    if node.record is not None:
        said |= {"form": node.record.form, "ports": node.record.ports, "params": node.record.params}
    return {"x": across, "layer": layer, **{key: value for key, value in said.items() if value}}
