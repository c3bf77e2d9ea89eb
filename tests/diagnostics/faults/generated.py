"""Valid files that nobody wrote: random chains of operators under random names, in any order."""

from __future__ import annotations

from hypothesis import strategies as st

from qpat.syntax.parser import ITEMS, STATEMENTS

_OPERATORS = (
    "nn.relu({0})",
    "clip({0}, a_min=0.0, a_max=6.0)",
    "abs({0})",
    'cast({0}, dtype="int32")',
    "qnn.add({0}, const {1}, ..)",
    "qnn.requantize({0}, ..)",
    'nn.max_pool2d({0}, pool_size=[2, 2], layout="NHWC")',
    "nn.pad({0}, {0}.zero_point)",
    "add({0}, {0})",
    "nn.relu({0})?",
    "clip({0})?",
    "{{abs, negative}}({0})",
)
_STATEMENTS = (
    'where rank({0}) == 4 else "not an image"',
    "where {0}.shape[0] in {{1, 2}}",
    "where {0}.dtype == int8 or rank({0}) in 1..4",
    "let {1} = size({0}) * 2",
    "param {1} = {0}.shape",
    "param {1} = if rank({0}) == 4 then {0}.shape[1:3] else none",
    "param {1} = max(rank({0}), 3)",
)
_WORDS = frozenset(
    [*ITEMS, *STATEMENTS, "and", "or", "not", "then", "else", "const", "shared", "ordered", "raw"]
    + ["unordered", "true", "false", "none", "from"]
)
_NAMES = st.from_regex(r"[a-z]{3,8}[0-9]?", fullmatch=True).filter(
    lambda name: not name.endswith("_") and name not in _WORDS
)


@st.composite
def patterns(draw: st.DrawFn, number: int) -> str:
    """One pattern: a chain of calls, and some statements about its input."""
    count = draw(st.integers(1, 6))
    names = draw(st.lists(_NAMES, min_size=2 * count + 5, max_size=2 * count + 5, unique=True))
    port, chain, more = names[0], names[1 : count + 1], iter(names[count + 1 :])
    lines: list[str] = []
    before = port
    for name in chain:
        # The last is the output; with everything that is optional left out a call remains.
        shape = draw(st.sampled_from(_OPERATORS if lines else _OPERATORS[:9]))
        lines.append(f"{name} = {shape.format(before, next(more))}")
        before = name
    for statement in draw(st.lists(st.sampled_from(_STATEMENTS), max_size=4)):
        lines.append(statement.format(port, next(more)))
    if draw(st.booleans()):
        lines = draw(st.permutations(lines))
    indent = draw(st.sampled_from(["  ", "    ", "\t"]))
    body = "".join(f"{indent}{line}\n" for line in lines)
    return f"pattern p{number}({port}: int8) -> {chain[-1]} {{\n{body}}}\n"
