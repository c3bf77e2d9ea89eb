"""The text of generated modules: formatted, Python 3.8, self-contained, typed and stable."""

from __future__ import annotations

import ast
import difflib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from qpat.compiler import compile_file, compile_source
from qpat.source import Source

ROOT = Path(__file__).resolve().parents[2]
# But for `common`, which has fragments only.
LIBRARY = [path for path in sorted((ROOT / "patterns").glob("*.qpat")) if path.stem != "common"]

_PAIR = """\
compiler "test"

/// Adds "a" and "b"
pattern add(x: int8, x2: x.dtype) -> y: int8 {
  out = qnn.add(const? x, const? x2, ..)
  y   = clip(out)?
  where x.scale == x2.scale else "two scales"
  param clip_min = y.attrs.a_min ?? none
}

/// Joins.
pattern join(xs: int8...) -> y: int8 {
  y = qnn.concatenate((xs...), ..)
  param axis = y.attrs.axis
}

pattern pool(x: int8) -> y: x.dtype {
  y = nn.max_pool2d(x, layout="NHWC")
  inherit x
}
"""

_CONVOLUTION = """\
compiler "test"
pattern conv(x: int8[N, H, W, C], w: int8, b: int32?) -> y: int8 {
  acc = qnn.conv2d(x, const w, .., data_layout="NHWC", kernel_layout="HWIO", out_dtype="int32",
                   groups=1, padding=[0, 0, 0, 0], strides=[1, 1], dilation=[1, 1])
  y   = qnn.requantize(nn.bias_add(acc, const b)?, ..)
  where N == 1 and H < 100 and W < 100 and C < 1000 and x.zero_point in -128..127 and
        max(w.scale) < 1e20 and acc.attrs.groups == 1 else "too large"
  param shape = [N, H, W, C, N * H * W * C, N + 1, H + 1, W + 1, C + 1, size(x), rank(w), size(w)]
  param most  = if C == 1 then H * W * 1000000 + 1 else (if H == 1 then W * 2000000 else C * 300000)
}
"""

_LONG = "a_name_of_a_length_that_happens"

_ONE_LINERS = {
    "one row": "y = clip(x)",
    "a reason with a backslash": r'y = clip(x) where x.shape[0] == 1 else "a\b"',
    "a reason with an apostrophe": 'y = clip(x) where x.shape[0] == 1 else "it\'s"',
    "a reason that is not ASCII": 'y = clip(x) where x.shape[0] == 1 else "größer als 1 ☃"',
    "large numbers": "y = clip(x, a_min=1e-05, a_max=1e20) where x.shape[0] < 1e16",
    "a slice from a sum": "y = clip(x) param rest = x.shape[x.shape[0] + 1:]",
    "a power of what is negative": "y = clip(x) param p = -x.shape[0] ** 2",
    "many conditions": "y = clip(x) where "
    + " and ".join(f"x.shape[{i}] == {i}" for i in range(12)),
    "a long sum": "y = clip(x) let s = "
    + " + ".join(f"x.shape[{i}]" for i in range(12))
    + " param t = s",
    "many fields": f"y = qnn.concatenate(({', '.join(['x'] * 12)}), ..)",
}

_TEXTS = {
    **{path.stem: path.read_text(encoding="utf-8") for path in LIBRARY},
    "three patterns": _PAIR,
    "a convolution": _CONVOLUTION,
    "names of Python and of the module": 'compiler "t"\n'
    "pattern none(lambda: int8, np: int8, relay: int8...) -> Value: int8 {\n"
    "  match = maximum(lambda, np)\n  Value = maximum(match, concatenate((relay...)))\n"
    "  where np.shape == lambda.shape\n  param self = match.shape\n  param tvm = np.shape\n}\n",
    "long names": 'compiler "t"\n'
    f"pattern {_LONG}(in_{_LONG}: int8, also_{_LONG}: int8) -> y: int8 {{\n"
    f"  y = qnn.add(in_{_LONG}, also_{_LONG}, ..)\n  param of_{_LONG} = in_{_LONG}.scale\n}}\n",
    "a doc that ends in a quote": '/// Says "no"\n///\n/// and \\n "never"\n'
    'pattern p(x: int8) -> y: int8 { y = clip(x) }\ncompiler "t"\n',
    **{
        name: f'compiler "t"\npattern p(x: int8) -> y: int8 {{ {body} }}\n'
        for name, body in _ONE_LINERS.items()
    },
}

each_text = pytest.mark.parametrize("name", _TEXTS)


@cache
def _generated(name: str) -> str:
    return compile_source(Source(f"{name}.qpat", _TEXTS[name])).text


# ---- what it is --------------------------------------------------------------------------


@each_text
def test_it_is_formatted_as_ruff_does(name: str, tmp_path: Path) -> None:
    path = tmp_path / "generated.py"
    path.write_text(_generated(name), encoding="utf-8")
    command = ["ruff", "format", "--isolated", "--diff", "--line-length", "100", str(path)]
    done = subprocess.run(
        [sys.executable, "-m", *command], capture_output=True, text=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stdout + done.stderr


@each_text
def test_it_is_python_3_8(name: str) -> None:
    text = _generated(name)
    ast.parse(text, feature_version=(3, 8))
    compile(text, f"{name}.py", "exec")  # what only the compiler of Python finds


@each_text
def test_it_imports_tvm_numpy_and_the_standard_library_only(name: str) -> None:
    # And the functions that a file itself names, of a module beside it.
    named = re.findall(r"^extern .* from \"(\w+):", _TEXTS[name], re.MULTILINE)
    allowed = {"tvm", "numpy", *sys.stdlib_module_names, *named}
    assert set(_imported(ast.parse(_generated(name)))) <= allowed


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module is not None
            yield node.module.split(".")[0]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("__import__", "eval", "exec")


def test_it_is_typed_strictly(tmp_path: Path) -> None:
    for number, name in enumerate(_TEXTS):
        path = tmp_path / f"generated_{number}.py"
        path.write_text(_generated(name), encoding="utf-8")
    config = tmp_path / "mypy.ini"
    # As for someone whose TVM is not in the environment that mypy looks at.
    config.write_text(
        "[mypy]\nstrict = true\npython_version = 3.10\n"
        "[mypy-tvm.*]\nignore_missing_imports = true\nfollow_imports = skip\n"
        "[mypy-cmsis_nn_tables,cmsis_nn_target]\nignore_missing_imports = true\n",
        encoding="utf-8",
    )
    paths = sorted(str(path) for path in tmp_path.glob("generated_*.py"))
    command = ["mypy", "--config-file", str(config), "--cache-dir", str(tmp_path / "cache")]
    done = subprocess.run(
        [sys.executable, "-m", *command, *paths], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout + done.stderr


# ---- what does not change it ---------------------------------------------------------------


def test_it_does_not_depend_on_the_hash_seed() -> None:
    program = (
        "import sys\nfrom qpat.compiler import compile_file\n"
        "sys.stdout.buffer.write("
        "b''.join(compile_file(p).text.encode() for p in sys.argv[1:]))"
    )
    wanted = "".join(compile_file(path).text for path in LIBRARY).encode()
    for seed in ("0", "1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", program, *map(str, LIBRARY)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=ROOT,
            capture_output=True,
        )
        assert done.returncode == 0, done.stderr.decode()
        assert done.stdout == wanted, f"PYTHONHASHSEED={seed}"


def _compiled(text: str) -> str:
    return compile_source(Source("pair.qpat", text)).text


@pytest.mark.parametrize(
    "edited",
    [
        pytest.param(_PAIR.replace('compiler "test"\n', 'compiler "test"\n\n\n'), id="blank line"),
        pytest.param(_PAIR.replace("\n/// Joins", "\n// a word\n\n/// Joins"), id="comment"),
        pytest.param(_PAIR + "\n// the end\n\n", id="comment at the end"),
        pytest.param("// first\n" + _PAIR, id="comment at the start"),
    ],
)
def test_comments_and_blank_lines_outside_of_patterns_change_nothing(edited: str) -> None:
    assert edited != _PAIR
    assert _compiled(edited) == _compiled(_PAIR)


@pytest.mark.parametrize(
    ("old", "new", "pattern"),
    [
        ('else "two scales"', 'else "unequal scales"', "add"),
        ("  y   = clip(out)?\n", "  y   = clip(nn.relu(out)?)?\n", "add"),
        ("param axis = y.attrs.axis", "param along = y.attrs.axis", "join"),
        ('  y = nn.max_pool2d(x, layout="NHWC")', "  y = abs(nn.max_pool2d(x))", "pool"),
        ("  inherit x\n", "  inherit x // a word\n", "pool"),
    ],
)
def test_editing_a_pattern_changes_its_block_and_its_rows_only(
    old: str, new: str, pattern: str
) -> None:
    edited = _PAIR.replace(old, new)
    assert edited != _PAIR
    before, after = _compiled(_PAIR), _compiled(edited)
    assert before != after
    assert _changed_blocks(before, after) <= {pattern, f"row of {pattern}"}


def test_adding_a_pattern_adds_its_block_and_its_rows_only() -> None:
    more = _PAIR + "\npattern negative(x: int8) -> y: int8 {\n  y = abs(negative(x))\n}\n"
    before, after = _compiled(_PAIR), _compiled(more)
    assert _changed_blocks(before, after) <= {"negative", "row of negative"}
    lines = difflib.ndiff(before.split("\n"), after.split("\n"))
    assert not [line for line in lines if line[0] == "-"]


_BLOCK = re.compile(r"^# ---- (?:end of )?([^-\s:]+)")
_ROW = re.compile(r"Row\([^()]*\([^()]*\)[^()]*\)")


def _changed_blocks(before: str, after: str) -> set[str]:
    """The blocks in which two modules differ, named after their rulers."""
    first, second = _blocks(before), _blocks(after)
    return {name for name in first | second if first.get(name) != second.get(name)}


def _blocks(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    block = "header"
    for line in text.split("\n"):
        ruler = _BLOCK.match(line)
        if ruler:
            block = ruler[1]
        elif line.startswith("# In order of priority"):
            block = "rows"
        if block != "rows":
            found.setdefault(block, []).append(line)
    rows = text[text.index("ROWS = (") :].split("# ---- interface")[0]
    for row in _ROW.findall(rows):
        pattern = re.search(r"_(\w+)_pattern_\d+", row)
        assert pattern is not None
        found.setdefault(f"row of {pattern[1]}", []).append(" ".join(row.split()))
    return found
