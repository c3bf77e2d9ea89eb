"""How long are the tables of the library, beside what TVM spends on the same?

python -m tools.count_lines [--limit 0.25]    (or `make count`)

Counted are lines with code: no blank lines, no comments, no docstrings, in .qpat and Python alike.
TVM's Python is counted as it is installed; its C++ is not, so those numbers are written down here.
The exit status is 1 where the library has more than the limit's share of the lines in total, or
reads an operand by its position; 2 where there is no TVM to count.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import io
import re
import sys
import tokenize
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

PATTERNS = Path(__file__).resolve().parents[1] / "patterns"
LIMIT = 0.25


@dataclass(frozen=True)
class Table:
    """A table: its files in `patterns/`; what TVM has for it in Python, names by file below
    `tvm/relay` (an ending `*` stands for any end); and in C++ that is not installed, lines by
    file below `src/relay/backend/contrib` of TVM 0.16."""

    files: tuple[str, ...]
    python: Mapping[str, tuple[str, ...]]
    cpp: Mapping[str, int]


_ACL_ROWS = (
    *("qnn_conv_pattern", "qnn_dense_pattern", "avg_pool2d_pattern", "concatenate_pattern"),
    *("check_qnn_conv", "check_qnn_dense", "check_avg_pool2d", "check_concatenate"),
    *("qnn_conv2d", "depthwise_conv2d", "qnn_dense", "check_dilation", "avg_pool2d"),
    *("global_avg_pool2d", "qnn_add", "is_per_channel_quantization", "preprocess_module"),
    *("max_pool2d", "global_max_pool2d"),
)
_ETHOS_U_ROWS = ("TensorParams", "check_*", "*Params", "*_pattern", "pattern_table")
_DNNL_ROWS = ("make_qnn_*", "LegalizeQnnOpForDnnl", "legalize_qnn_for_dnnl")
TABLES: Mapping[str, Table] = {
    "cmsis_nn": Table(
        ("cmsis_nn.qpat", "cmsis_nn_tables.py", "cmsis_nn_target.py"),
        {"op/contrib/cmsisnn.py": ("pattern_table",)},
        {
            "cmsisnn/generate_constants.cc": 75,  # GenerateConv2dRequantConstants
            "cmsisnn/relay_to_tir.cc": 497,  # EmitConv2D 131, fully connected 77, pools 83, …
            "cmsisnn/fuse_pads.cc": 143,
            "cmsisnn/compute_luts.cc": 42,
            "cmsisnn/buffer_size.cc": 122,
        },
    ),
    "ethos_u": Table(
        ("ethos_u.qpat",),
        {"op/contrib/ethosu.py": _ETHOS_U_ROWS, "backend/contrib/ethosu/util.py": ("*Args",)},
        {},
    ),
    "ethos_n": Table(
        ("ethos_n.qpat",),
        {
            "op/contrib/ethosn.py": (
                *("pattern_table", "max_pool2d", "reshape", "qnn_concatenate", "split"),
                *("depth_to_space", "clip"),
            )
        },
        {
            "ethosn/ethosn_api.cc": 878,
            "ethosn/ethosn_api.h": 201,
            "ethosn/convert_equivalent.cc": 254,
        },
    ),
    "arm_compute_lib": Table(
        ("arm_compute_lib.qpat",),
        {"op/contrib/arm_compute_lib.py": _ACL_ROWS},
        # Of convolutions 31 + 56, of dense layers 45, of average pools 16, of single operators 16.
        {"arm_compute_lib/codegen.cc": 164},
    ),
    "dnnl": Table(("dnnl.qpat", "dnnl_legalize.qpat"), {"op/contrib/dnnl.py": _DNNL_ROWS}, {}),
}
SHARED = "common.qpat"


# ---- counting -----------------------------------------------------------------------------------


def qpat_lines(text: str) -> int:
    """Lines of a pattern file with something else than a comment."""
    lines = (line.strip() for line in text.splitlines())
    return sum(bool(line) and not line.startswith("//") for line in lines)


def python_lines(text: str, names: Iterable[str] | None = None) -> int:
    """Lines with code in the functions and classes of these names, wherever they stand, counted
    once; of the whole file without names. Raises LookupError where a name is not there."""
    parsed = ast.parse(text)
    skipped = _docstrings(parsed)
    lines = _code_lines(text) - skipped
    if names is None:
        return len(lines)
    wanted: set[int] = set()
    for name in names:
        found = [node for node in _definitions(parsed) if _fits(name, node.name)]
        if not found:
            raise LookupError(name)
        for node in found:
            first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
            wanted |= set(range(first, (node.end_lineno or first) + 1))
    return len(lines & wanted)


_Definition = ast.FunctionDef | ast.ClassDef
_LAYOUT = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)


def _definitions(parsed: ast.AST) -> Iterator[_Definition]:
    return (node for node in ast.walk(parsed) if isinstance(node, _Definition))


def _fits(name: str, found: str) -> bool:
    return re.fullmatch(name.replace("*", r"\w*"), found) is not None


def _docstrings(parsed: ast.AST) -> set[int]:
    found: set[int] = set()
    for node in ast.walk(parsed):
        if not isinstance(node, ast.Module | _Definition) or not node.body:
            continue
        first = node.body[0]
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
            found |= set(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return found


def _code_lines(text: str) -> set[int]:
    found: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in _LAYOUT and token.string:
            found |= set(range(token.start[0], token.end[0] + 1))
    return found


# ---- operands by position -----------------------------------------------------------------------


def by_position(name: str, text: str) -> list[str]:
    """Where a file reads an operand of a call by its number: `args`, which the language does not
    have, in a pattern file; `.args[3]`, also with an Enum's member, in Python."""
    if name.endswith(".qpat"):
        code = [re.sub(r'"[^"]*"|//.*', "", line) for line in text.splitlines()]
        return [f"{name}:{n}" for n, line in enumerate(code, 1) if re.search(r"\bargs\b", line)]
    nodes = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Subscript))
    read = (n for n in nodes if isinstance(n.value, ast.Attribute) and n.value.attr == "args")
    return [f"{name}:{node.lineno}" for node in read]


# ---- the report -------------------------------------------------------------------------------


def counted(tvm: Path) -> list[tuple[str, int, int]]:
    """For each table: its name, its lines here, and those of the original. `tvm`: the package.

    Raises LookupError where the installed TVM has not what is counted."""
    rows = []
    for name, table in TABLES.items():
        ours = sum(_lines_of(each) for each in table.files)
        theirs = sum(table.cpp.values())
        for path, names in table.python.items():
            source = tvm / "relay" / path
            if not source.is_file():
                raise LookupError(path)
            theirs += python_lines(source.read_text(encoding="utf-8"), names)
        rows.append((name, ours, theirs))
    return [*rows, ("common", _lines_of(SHARED), 0)]


def _lines_of(name: str) -> int:
    text = (PATTERNS / name).read_text(encoding="utf-8")
    return qpat_lines(text) if name.endswith(".qpat") else python_lines(text)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--limit", type=float, default=LIMIT, help="the largest share (0.25)")
    limit = parser.parse_args(arguments).limit
    found = importlib.util.find_spec("tvm")
    if found is None or found.origin is None:
        print("count_lines: there is no TVM to count", file=sys.stderr)
        return 2
    try:
        rows = counted(Path(found.origin).parent)
    except LookupError as missing:
        print(f"count_lines: this TVM has no {missing}", file=sys.stderr)
        return 2
    total = ("total", sum(row[1] for row in rows), sum(row[2] for row in rows))
    print(f"{'table':<16} {'here':>5} {'TVM':>6}  share")
    for name, ours, theirs in (*rows, total):
        share = f"{ours / theirs:.1%}" if theirs else ""
        print(f"{name:<16} {ours:>5} {theirs or '':>6}  {share}".rstrip())
    files = [each for table in TABLES.values() for each in table.files] + [SHARED]
    places = [p for f in files for p in by_position(f, (PATTERNS / f).read_text(encoding="utf-8"))]
    for place in places:
        print(f"{place}: an operand by its position", file=sys.stderr)
    if total[1] > limit * total[2]:
        print(f"count_lines: more than {limit:.0%} in total", file=sys.stderr)
    return int(bool(places) or total[1] > limit * total[2])


if __name__ == "__main__":
    sys.exit(main())
