"""A Relay module as text that TVM reads back as the same module.

What TVM itself prints (`astext`) it often cannot read, or reads as something else. Told here:

- A *variable* named as no identifier (TFLite's `serving_default_x:0`, a keyword) gets a name that
  is one: every character but letters, digits, `_` and `/` becomes `_`, `v` is put before what
  begins with no letter, and `_` is appended while the name is a keyword or taken. Other names stay,
  but where several variables have one name, as in several functions, TVM numbers all but the first.
- A *floating-point scalar* and a floating-point attribute of a call are written with as many digits
  as they need. TVM writes six, which changes nearly every scale.
- *Attributes* that the text cannot spell (strings with quotes, backslashes or letters beyond ASCII,
  booleans of functions) go into the metadata section, where TVM puts tensors.
- *Comments* have the types and, for calls, the frontend's name for the result.

There is no way to write: a function that is none of Relay, a global function named as no identifier
(its name is its meaning, unlike a variable's), attributes of the module, attributes of a function
named as no identifier or, where it comes first, with a dot. The text is read back before it is
returned, so that what is not told here is found as well.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from qpat.diagnostics import QpatError, failure
from qpat.ops.table import operator
from qpat.relay.environment import listening, reason, relay_parser, require_relay
from qpat.relay.graph import post_order, rewrite, shallow_copy

Expr = Any

_IDENTIFIER = re.compile(r"[A-Za-z_/][A-Za-z0-9_/]*")
_KEYWORDS = {
    *("let", "fn", "def", "if", "else", "type", "match", "extern", "free_var"),
    *("ref", "ref_read", "ref_write"),
}
# A number that TVM printed and the mark behind it.
_MARKED = re.compile(r"[-+.0-9a-z]+ /\*@(\d+)\*/")
_CONSTANT = "relay.Constant"
_METADATA = "\n#[metadata]\n"
# A floating-point attribute as TVM prints it.
_FLOAT = re.compile(r"\b(\w+)=-?[0-9.][0-9.e+-]*f\b")
# The key of what stands in for an attribute until that is put into the metadata.
_KEPT = "qpat_kept"
_SUFFIXES = {"float16": "f16", "float32": "f", "float64": "f64"}


def relay_text(module: Any) -> str:
    """The text of a Relay module, with types inferred and with constants; `module` is not changed.

    `tvm.relay.parse` gives a module that is structurally equal to `InferType()(module)`. Raises
    QP320 where something has no form in Relay text, naming it, and where types cannot be inferred.
    """
    require_relay()
    _refuse(module)
    typed = _typed(module)
    names = _new_names(typed)
    text = _print(typed, names, _kept(typed, thorough=False))
    if _difference(text, typed) is None:
        return text
    # Trying every attribute of a call costs more than all the rest, and few models need it.
    text = _print(typed, names, _kept(typed, thorough=True))
    found = _difference(text, typed)
    if found is not None:
        raise _unwritable(found)
    return text


def _unwritable(message: str) -> QpatError:
    hint = "TVM's own JSON can hold it: tvm.ir.save_json(module)"
    return failure("QP320", f"this module cannot be written as Relay text: {message}", hint=hint)


# ---- what cannot be written ----------------------------------------------------------------------


def _refuse(module: Any) -> None:
    for variable, function in module.functions.items():
        name = str(variable.name_hint)
        if not _is_identifier(name):
            raise _unwritable(f"the name of function `{name}` is no identifier")
        if type(function).__name__ != "Function":
            raise _unwritable(f"`{name}` is no Relay function but a {type(function).__name__}")
        _refuse_keys(name, function)
    keys = list(module.attrs.keys()) if module.attrs is not None else []
    if keys:
        raise _unwritable(f"attribute `{keys[0]}` of the module has no place in it")


def _refuse_keys(name: str, function: Any) -> None:
    for inner in post_order(function, functions=True):
        keys = [str(key) for key in _dictionary(inner)] if _is(inner, "Function") else []
        for key in keys:
            if not all(_is_identifier(part) for part in key.split(".")):
                message = f"the name of attribute `{key}` of a function in `{name}`"
                raise _unwritable(f"{message} is no identifier")
        if keys and "." in keys[0]:
            message = f"attribute `{keys[0]}` of a function in `{name}` comes first and has a dot"
            raise _unwritable(f"{message}, which Relay text allows only behind another attribute")


def _is_identifier(name: str) -> bool:
    # The lexer looks for infinity before it looks for names.
    plain = _IDENTIFIER.fullmatch(name) is not None and not name.startswith("inff")
    return plain and name not in _KEYWORDS


# ---- names ---------------------------------------------------------------------------------------


def _new_names(module: Any) -> dict[Expr, str]:
    """The variables that need another name, and that name."""
    changed: dict[Expr, str] = {}
    for function in module.functions.values():
        variables = [node for node in post_order(function, functions=True) if _is(node, "Var")]
        names = {variable: str(variable.name_hint) for variable in variables}
        taken = {name for name in names.values() if _is_name(name)}
        for variable, name in names.items():
            if not _is_name(name):
                changed[variable] = _free_name(name, taken)
                taken.add(changed[variable])
    return changed


def _free_name(name: str, taken: set[str]) -> str:
    name = re.sub(r"[^A-Za-z0-9_/]", "_", name)
    # What begins as infinity is read as that, whatever follows.
    if not re.match("[A-Za-z]", name) or name.startswith("inff"):
        name = f"v{name}"
    while not _is_name(name) or name in taken:
        name = f"{name}_"
    return name


def _is_name(name: str) -> bool:
    """Whether TVM prints and reads a variable's name as it is."""
    return _is_identifier(name) and name[0] not in "_/"


# ---- attributes ----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Kept:
    """Attributes for which something else stands in while TVM prints.

    Those of calls and single ones of functions, by their places in `objects`. What is a _Spelling
    there goes into the text in the end, and everything else into the metadata.
    """

    objects: list[Any] = field(default_factory=list)
    calls: dict[Expr, int] = field(default_factory=dict)
    functions: dict[Expr, dict[str, int]] = field(default_factory=dict)

    def add(self, value: Any) -> int:
        self.objects.append(value)
        return len(self.objects) - 1


@dataclass(frozen=True)
class _Spelling:
    """The attributes of a call as they are written between its parentheses."""

    text: str


def _kept(module: Any, *, thorough: bool) -> _Kept:
    """The attributes that TVM prints as something that it reads as something else, or not at all.

    TVM is asked about each by itself; about those of calls only if `thorough` says so, but in any
    case there are those with numbers of many digits, which are equal to TVM if they nearly are.
    """
    kept = _Kept()
    for node in _nodes(module):
        if _is(node, "Call") and _is(node.op, "Op") and node.attrs is not None:
            if _has_long_numbers(_numbers(node)) or (thorough and not _call_survives(node)):
                kept.calls[node] = kept.add(_spelling(node) or node.attrs)
        elif _is(node, "Function"):
            changed = {
                key: kept.add(value)
                for key, value in _dictionary(node).items()
                if _has_long_numbers(value) or not _value_survives(value)
            }
            kept.functions.update({node: changed} if changed else {})
    return kept


def _numbers(call: Expr) -> list[Any]:
    """The attributes of a call that may be floating-point numbers."""
    known = operator(str(call.op.name))
    attributes = known.attributes.values() if known is not None else ()
    # Another version of TVM may have others.
    return [getattr(call.attrs, a.name, None) for a in attributes if a.type in ("any", "float")]


def _has_long_numbers(value: Any) -> bool:
    """Whether a number, or one in a list, is not the one that TVM writes, with six digits."""
    if _is(value, "Array") or isinstance(value, list):
        return any(_has_long_numbers(part) for part in value)
    number = value.value if _is(value, "FloatImm") else value
    return isinstance(number, float) and float(f"{number:.6g}") != number


def _spelling(call: Expr) -> _Spelling | None:
    """The attributes of a call as TVM writes them, but with all digits; None if that is no use."""
    text = _FLOAT.sub(lambda found: _exact(found.group(1), call.attrs), _alone(call))
    # What follows the last operand.
    found = re.search(r"%a\d+, ([^%{}]*)\)\s*\}\s*$", text)
    return _Spelling(found.group(1)) if found and _reads_as(text, call.attrs) else None


def _exact(name: str, attributes: Any) -> str:
    value = getattr(attributes, name)
    return f"{name}={float(getattr(value, 'value', value))!r}f"


def _call_survives(call: Expr) -> bool:
    return _reads_as(_alone(call), call.attrs)


def _alone(call: Expr) -> str:
    """What TVM writes for a function of nothing but this call, on parameters a0, a1, …"""
    from tvm import relay

    params = [relay.Var(f"a{index}") for index in range(len(call.args))]
    return str(relay.Function(params, relay.Call(call.op, params, call.attrs)).astext())


def _reads_as(text: str, attributes: Any) -> bool:
    """Whether TVM reads the text of a function of one call as a call with these attributes."""
    read = _read_back(text)
    return read is not None and _equal(read.body.attrs, attributes)


def _value_survives(value: Any) -> bool:
    from tvm import relay

    function = relay.Function([], relay.const(0)).with_attr("key", value)
    read = _read_back(function.astext())
    return read is not None and _equal(read.attrs, function.attrs)


def _read_back(text: str) -> Expr | None:
    """The function that TVM reads; None where it reads none."""
    with listening():
        try:
            return relay_parser().parse_expr(text)
        # Which error it is depends on where the parser trips.
        except Exception:
            return None


def _dictionary(function: Expr) -> dict[str, Any]:
    """A function's attributes, in the order in which TVM prints them."""
    attributes = function.attrs
    return {} if attributes is None else {str(key): value for key, value in attributes.items()}


# ---- printing ------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Comments:
    """What TVM puts behind each node it prints: a comment, or the mark of a scalar.

    `origin` has the node that a changed one was made of, `scalars` the constants by their marks.
    """

    origin: dict[Expr, Expr] = field(default_factory=dict)
    scalars: list[Expr] = field(default_factory=list)

    def __call__(self, node: Expr) -> str:
        if _is_marked(node):
            self.scalars.append(node)
            return f" /*@{len(self.scalars) - 1}*/"
        old = self.origin.get(node, node)
        known = getattr(old, "_checked_type_", None) if _says_type(old) else None
        parts = [] if known is None else [f"ty={known}"]
        parts += _location(old) if _is(old, "Call") else []
        return f" /* {' '.join(parts)} */" if parts else ""


def _print(module: Any, names: dict[Expr, str], kept: _Kept) -> str:
    import tvm

    comments = _Comments()

    def change(old: Expr, new: Expr) -> Expr:
        made = _changed(old, new, names, kept)
        if not made.same_as(old):
            comments.origin[made] = old
        return made

    functions = {var: rewrite(function, change) for var, function in module.functions.items()}
    copy = tvm.IRModule(functions, module.type_definitions)
    with listening():
        printed = copy.astext(show_meta_data=True, annotate=comments)
    body, _, metadata = printed.partition(_METADATA)
    literals = [_literal(scalar) for scalar in comments.scalars]
    if kept.objects or None in literals:
        lists = _lists(metadata)
        body = _put_back(body, lists, kept)
        tensors = lists.setdefault(_CONSTANT, [])
        for place in [place for place, literal in enumerate(literals) if literal is None]:
            literals[place] = f"meta[{_CONSTANT}][{len(tensors)}]"
            tensors.append(comments.scalars[place])
        metadata = _json({kind: entries for kind, entries in lists.items() if entries})
    body = _MARKED.sub(lambda found: str(literals[int(found.group(1))]), body)
    return f"{body}{_METADATA}{metadata}" if metadata else body


def _lists(metadata: str) -> dict[str, list[Any]]:
    """What the metadata section has, by type."""
    import tvm

    table = tvm.ir.load_json(metadata) if metadata else {}
    return {str(kind): list(entries) for kind, entries in table.items()}


def _json(lists: dict[str, list[Any]]) -> str:
    import tvm

    return f"{tvm.ir.save_json(tvm.runtime.convert(lists))}\n" if lists else ""


def _put_back(body: str, lists: dict[str, list[Any]], kept: _Kept) -> str:
    """The body with attributes that are text; other attributes are put into `lists`."""
    for kind in ("DictAttrs", "Map"):
        stay: list[Any] = []
        written: list[str] = []
        for entry in lists.get(kind, []):
            value = kept.objects[int(entry[_KEPT])] if _KEPT in entry else entry
            spelled = isinstance(value, _Spelling)
            written.append(value.text if spelled else f"meta[{kind}][{len(stay)}]")
            stay += [] if spelled else [value]
        lists[kind] = stay
        body = re.sub(
            rf"meta\[{kind}\]\[(\d+)\]",
            lambda found, written=written: written[int(found.group(1))],  # type: ignore[misc]
            body,
        )
    return body


def _changed(old: Expr, new: Expr, names: dict[Expr, str], kept: _Kept) -> Expr:
    """The node as it is printed.

    What stands in for attributes, TVM puts into the metadata: for a call since it has not the type
    of its operator's attributes, for a function since it is a map.
    """
    import tvm
    from tvm import relay

    if old in names:
        return relay.Var(names[old], old.type_annotation)
    if old in kept.calls:
        stand_in = tvm.ir.make_node("DictAttrs", **{_KEPT: kept.calls[old]})
        return relay.Call(new.op, new.args, stand_in, new.type_args)
    if old in kept.functions:
        plain = relay.Function(new.params, new.body, new.ret_type, new.type_params, old.attrs)
        places = kept.functions[old].items()
        return plain.with_attr({key: {_KEPT: position} for key, position in places})
    return new


def _says_type(node: Expr) -> bool:
    """Whether the type is worth a comment: not behind a scalar or where it is written anyway."""
    if _is(node, "Constant"):
        return len(node.data.shape) > 0
    if _is(node, "Var"):
        return node.type_annotation is None
    return type(node).__name__ in ("Call", "Tuple", "TupleGetItem")


def _location(call: Expr) -> list[str]:
    """What the frontend called a call's result, unless that could end the comment it stands in."""
    name = getattr(getattr(call.span, "source_name", None), "name", None)
    fits = name is not None and str(name).isprintable() and "*" not in str(name)
    return [f"span={name}"] if fits else []


def _is_marked(node: Expr) -> bool:
    """Whether a node is a scalar that TVM prints as a number that may be another."""
    if not _is(node, "Constant") or node.data.shape:
        return False
    smallest = str(node.data.dtype) == "int64" and int(node.data.numpy()) == np.iinfo("int64").min
    return smallest or str(node.data.dtype) in _SUFFIXES


def _literal(scalar: Expr) -> str | None:
    """A scalar as the shortest number that is read as exactly it; None where there is none."""
    dtype = str(scalar.data.dtype)
    value = scalar.data.numpy()
    tiny = dtype == "float64" and 0 < abs(value) < np.finfo("float64").tiny
    if dtype not in _SUFFIXES or not np.isfinite(value) or tiny:
        return None
    # The parser, too, reads a double and then narrows it, if it is not above the largest there is.
    largest = float(np.finfo(dtype).max)
    exact = (
        text
        for text in (f"{float(value):.{digits}g}" for digits in range(6, 18))
        if abs(float(text)) <= largest and value.dtype.type(float(text)) == value
    )
    return next(exact) + _SUFFIXES[dtype]


# ---- reading back --------------------------------------------------------------------------------


def _difference(text: str, module: Any) -> str | None:
    """What keeps TVM from reading `text` as `module`; None where it does."""
    with listening() as heard:
        try:
            read = relay_parser().parse(text)
        # Which error it is depends on where the parser trips.
        except Exception as error:
            return f"TVM does not read it back: {reason(error, heard)}"
    return None if _equal(read, module) else "TVM reads back another module"


def _typed(module: Any) -> Any:
    from tvm import relay

    with listening() as heard:
        try:
            return relay.transform.InferType()(shallow_copy(module))
        except Exception as error:
            raise _unwritable(f"its types cannot be inferred: {reason(error, heard)}") from None


def _equal(left: Any, right: Any) -> bool:
    import tvm

    try:
        # Global variables are free ones to TVM 0.9, and a free one is equal to itself alone.
        return bool(tvm.ir.structural_equal(left, right, map_free_vars=True))
    # Maps of different sizes are an error.
    except Exception:
        return False


def _nodes(module: Any) -> list[Expr]:
    functions = module.functions.values()
    return [node for function in functions for node in post_order(function, functions=True)]


def _is(node: Expr, kind: str) -> bool:
    return type(node).__name__ == kind
