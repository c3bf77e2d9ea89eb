"""Faults put into a generated module, one at a time: what a wrong compiler or pattern would do.

They are changes of the syntax tree of one pattern's functions: in all its rows, as a mistake in a
pattern file or in a table would be.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass

from qpat.compiler import Compiled
from qpat.records import replace
from qpat.verify.verification import verify

Functions = list[ast.FunctionDef]
Change = Callable[[Functions], int]


@dataclass(frozen=True)
class Mutant:
    """A fault of a kind in a pattern, and the text of the module that has it."""

    pattern: str
    kind: str
    what: str
    text: str

    def __str__(self) -> str:
        return f"{self.pattern}: {self.kind}: {self.what}"


# Their result has one scale: RequantizeRel takes no other.
_REQUANTIZED = ("conv2d", "depthwise_conv2d", "conv2d_transpose", "dense", "mean", "requantize")
_REQUANTIZED += ("relu", "reduce_max", "reduce_min", "reduce_sum")
# What no graph can show, by words of the mutant's text.
_EQUIVALENT = {
    **{f"{name}: wrong axis: y": "a requantize has one scale" for name in _REQUANTIZED},
    "swap the operands of a meaning": "they may change places",
    "mul: wrong axis": "TVM reads one scale of a qnn.mul, and no vectors are drawn",
    "space_to_depth: forget an attribute: mode": "there is one",
    "slice_mode": "`end` is the default, and what is drawn",
    "axes": "none are drawn: all axes are cut",
    "dilation": "pools of more than one are refused by the lowering",
    "out_layout": "it is the layout of the data",
    "channels": "TVM counts them in the weights",
    "kernel_size": "TVM reads it off the weights",
    "conv2d_transpose: forget an attribute: kernel_layout": "it is the default",
    "dense: forget an attribute: units": "TVM reads it off the weights",
    "dense: forget an attribute: axis": "of two dimensions, the default is the last",
    "avg_pool2d: forget an attribute: count_include_pad": "nothing is padded where it is set",
    "cubic_": "of another method",
    "extrapolation_value": "nothing is drawn outside of the image",
    "allowzero": "no dimension is 0",
}


def changes_nothing(mutant: str, *others: str) -> bool:
    """Whether no graph can show a mutant, by its text; `others` are known for one IR alone."""
    return any(re.search(rf"\b{known}", mutant) for known in (*_EQUIVALENT, *others))


def noticed(compiled: Compiled, mutant: Mutant, samples: int, inputs: int) -> str:
    """What `verify` says of a mutant: `failed` (a graph computes something else, or there is no
    record), `unverified` (no graph is taken or has a meaning any more), or `survived`."""
    changed = replace(compiled, text=mutant.text)
    [verdicts] = verify(changed, names=[mutant.pattern], samples=samples, inputs=inputs)
    for status in ("failed", "unverified"):
        if any(verdict.status == status for verdict in verdicts):
            return status
    return "survived"


def mutants(text: str, pattern: str) -> Iterator[Mutant]:
    """All mutants of one pattern of a generated module. Those that change nothing are left out."""
    tree = ast.parse(text)
    is_relax = "class ConstantNode" in text
    zero = "ConstantNode(relax.const(0), None)" if is_relax else "relay.const(np.int32(0))"
    for kind, what, change in _changes(_functions(tree, pattern), zero):
        copy = deepcopy(tree)
        if change(_functions(copy, pattern)):
            yield Mutant(pattern, kind, what, ast.unparse(copy))


def _functions(tree: ast.Module, pattern: str) -> Functions:
    name = re.compile(rf"_{re.escape(pattern)}_(bind_\d+|record)")
    return [n for n in tree.body if isinstance(n, ast.FunctionDef) and name.fullmatch(n.name)]


def _changes(functions: Functions, zero: str) -> Iterator[tuple[str, str, Change]]:
    names = list(dict.fromkeys(name for each in functions for name in _spaces(each)))
    for slot in ("scale", "zero_point"):
        for first, second in zip(names, names[1:], strict=False):
            what = f"{slot} of {first} and {second}"
            yield "swap", what, _swap(slot, first, second)
    for name in names:
        yield "drop a zero point", name, _no_zero_point(name, zero)
    values = list(dict.fromkeys(name for each in functions for name in _with_axis(each)))
    for name in values:
        yield "wrong axis", name, _wrong_axis(name)
    yield "forget the clip", "all", _no_clips
    for name in _taken(functions):
        yield "forget an attribute", name, _without_attribute(name)
    for number in range(len(_calls(functions, "require"))):
        yield "forget a condition", str(number), _without_condition(number)
    yield "swap the operands of a meaning", "all", _swapped_operands
    for number in range(len(_operators(functions))):
        yield "another operator in the meaning", str(number), _other_operator(number)


# ---- spaces --------------------------------------------------------------------------------------


def _spaces(function: ast.FunctionDef) -> dict[str, ast.Call]:
    """The spaces that a row binds, by the name of the variable."""
    return {
        target.id: node.value
        for node in ast.walk(function)
        if isinstance(node, ast.Assign)
        and isinstance(target := node.targets[0], ast.Name)
        and isinstance(node.value, ast.Call)
        and _name(node.value) == "Space"
        and node.value.keywords
    }


def _name(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else ""


def _slot(space: ast.Call, slot: str) -> ast.keyword | None:
    return next((each for each in space.keywords if each.arg == slot), None)


def _swap(slot: str, first: str, second: str) -> Change:
    def change(functions: Functions) -> int:
        count = 0
        for function in functions:
            spaces = _spaces(function)
            if first not in spaces or second not in spaces:
                continue
            one, other = _slot(spaces[first], slot), _slot(spaces[second], slot)
            if one is not None and other is not None:
                one.value, other.value = other.value, one.value
                count += 1
        return count

    return change


def _no_zero_point(name: str, zero: str) -> Change:
    def change(functions: Functions) -> int:
        count = 0
        for function in functions:
            found = _spaces(function).get(name)
            slot = None if found is None else _slot(found, "zero_point")
            if slot is not None:
                slot.value = ast.parse(f"[{zero}]", mode="eval").body
                count += 1
        return count

    return change


# ---- values --------------------------------------------------------------------------------------


def _values(function: ast.FunctionDef) -> dict[str, ast.Call]:
    """The values that a row binds, by name."""
    return {
        str(key.value): value
        for node in ast.walk(function)
        if isinstance(node, ast.Dict)
        for key, value in zip(node.keys, node.values, strict=True)
        if isinstance(key, ast.Constant) and isinstance(value, ast.Call) and _name(value) == "Value"
    }


def _with_axis(function: ast.FunctionDef) -> list[str]:
    found = _values(function).items()
    return [name for name, value in found if len(value.args) > 2]


def _wrong_axis(name: str) -> Change:
    def change(functions: Functions) -> int:
        found = [each[name] for function in functions if name in (each := _values(function))]
        changed = [value for value in found if len(value.args) > 2]
        for value in changed:
            new = "lambda: 1" if _is_first(value.args[2]) else "lambda: 0"
            value.args[2] = ast.parse(new, mode="eval").body
        return len(changed)

    return change


def _is_first(axis: ast.expr) -> bool:
    """Whether an axis is the first one: a bias has no other."""
    body = axis.body if isinstance(axis, ast.Lambda) else axis
    if isinstance(body, ast.Call):
        return _name(body) == "bias_axis"
    return isinstance(body, ast.Constant) and body.value == 0


def _no_clips(functions: Functions) -> int:
    count = 0
    for function in functions:
        for value in _values(function).values():
            kept = [each for each in value.keywords if each.arg != "clips"]
            count += len(value.keywords) - len(kept)
            value.keywords = kept
    return count


# ---- meanings and conditions ---------------------------------------------------------------------


def _calls(functions: Functions, name: str) -> list[ast.Call]:
    nodes = [node for function in functions for node in ast.walk(function)]
    return [node for node in nodes if isinstance(node, ast.Call) and _name(node) == name]


def _taken(functions: Functions) -> list[str]:
    """The attributes that meanings take over or are given."""
    calls = _calls(functions, "like")
    taken = [str(each.value) for c in calls for each in c.args if isinstance(each, ast.Constant)]
    given = [str(each.arg) for call in calls for each in call.keywords]
    return list(dict.fromkeys([*taken, *given]))


def _without_attribute(name: str) -> Change:
    def change(functions: Functions) -> int:
        count = 0
        for call in _calls(functions, "like"):
            before = len(call.args) + len(call.keywords)
            call.args = [
                each
                for each in call.args
                if not (isinstance(each, ast.Constant) and each.value == name)
            ]
            call.keywords = [each for each in call.keywords if each.arg != name]
            count += before - len(call.args) - len(call.keywords)
        return count

    return change


def _without_condition(number: int) -> Change:
    def change(functions: Functions) -> int:
        call = _calls(functions, "require")[number]
        call.args[0] = ast.Constant(True)
        return 1

    return change


def _operators(functions: Functions) -> list[ast.Call]:
    return [call for call in _calls(functions, "real") if str(_first(call)) in _OTHERS]


def _first(call: ast.Call) -> object:
    return call.args[0].value if isinstance(call.args[0], ast.Constant) else None


# Operators that take the same operands and attributes.
_OTHERS = {
    "add": "subtract",
    "subtract": "add",
    "multiply": "divide",
    "divide": "multiply",
    "maximum": "minimum",
    "minimum": "maximum",
    "mean": "sum",
    "sum": "mean",
    "max": "min",
    "min": "max",
    "sigmoid": "tanh",
    "tanh": "sigmoid",
    "exp": "sigmoid",
    "log": "sqrt",
    "sqrt": "rsqrt",
    "rsqrt": "sqrt",
    "abs": "negative",
    "negative": "abs",
    "nn.softmax": "nn.log_softmax",
    "nn.log_softmax": "nn.softmax",
}


def _other_operator(number: int) -> Change:
    def change(functions: Functions) -> int:
        call = _operators(functions)[number]
        call.args[0] = ast.Constant(_OTHERS[str(_first(call))])
        return 1

    return change


def _swapped_operands(functions: Functions) -> int:
    count = 0
    for call in _calls(functions, "real"):
        if len(call.args) > 2 and not isinstance(call.args[2], ast.Starred):
            call.args[1], call.args[2] = call.args[2], call.args[1]
            count += 1
    return count
