"""Random .qpat patterns, and random Relay graphs that often match them.

A pattern is made as a small tree first. The same tree gives the text and graphs that match it, so
that what a name must be bound to is known without qpat. All values are [1, 4], float32 ("f") or
int8 ("q"), so that almost any combination has a type.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any, TypeAlias

import numpy as np
import tvm
from hypothesis import assume
from hypothesis import strategies as st
from tvm import relay

Draw = Callable[[st.SearchStrategy[Any]], Any]

# ---- the operators --------------------------------------------------------------------


@dataclass(frozen=True)
class Operator:
    """`takes` has a kind for each operand: f, q, b (a bias), "f*" and "q*" (a tuple), s and z (a
    scale and a zero point), "s*" and "z*" (a tuple of them). `attributes` are those that a pattern
    may ask for, with the values.
    """

    name: str
    takes: tuple[str, ...]
    gives: str
    attributes: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    @property
    def shown(self) -> tuple[str, ...]:
        """The operands that are written out; `..` gives the others."""
        return tuple(kind for kind in self.takes if kind[0] not in "sz")


_CLIP = {"a_min": (-1.0, 0, 0.1), "a_max": (6.0, 6, 127.0)}
_MAX = {"axis": ((0,), (-2,)), "keepdims": (True,), "exclude": (False,)}
_BINARY_SLOTS = ("s", "z", "s", "z", "s", "z")
_QUANTIZE = {"out_dtype": ("int8",), "axis": (-1,)}

OPERATORS: tuple[Operator, ...] = (
    *(Operator(name, ("f",), "f") for name in ("nn.relu", "abs", "exp", "negative")),
    *(Operator(name, ("f", "f"), "f") for name in ("add", "multiply", "subtract", "divide")),
    *(Operator(name, (kind, kind), kind) for name in ("maximum", "minimum") for kind in "fq"),
    Operator("clip", ("f",), "f", _CLIP),
    Operator("clip", ("q",), "q", _CLIP),
    Operator("cast", ("f",), "f", {"dtype": ("float32",)}),
    Operator("nn.softmax", ("f",), "f", {"axis": (-1, 1)}),
    Operator("nn.bias_add", ("f", "b"), "f", {"axis": (1, -1)}),
    Operator("qnn.quantize", ("f", "s", "z"), "q", _QUANTIZE),
    Operator("qnn.dequantize", ("q", "s", "z"), "f", {"axis": (-1,)}),
    Operator("qnn.requantize", ("q", "s", "z", "s", "z"), "q", {"rounding": ("None",)}),
    *(Operator(f"qnn.{n}", ("q", "q", *_BINARY_SLOTS), "q") for n in ("add", "subtract", "mul")),
    # What these give has as many rows as there were fields; `max` below makes it one again.
    Operator("concatenate", ("f*",), "F", {"axis": (0,)}),
    Operator("concatenate", ("q*",), "Q", {"axis": (0,)}),
    Operator("qnn.concatenate", ("q*", "s*", "z*", "s", "z"), "Q", {"axis": (0,)}),
    Operator("max", ("F",), "f", _MAX),
    Operator("max", ("Q",), "q", _MAX),
)


def _giving(kind: str) -> list[Operator]:
    return [each for each in OPERATORS if each.gives == kind]


# ---- patterns as trees ------------------------------------------------------------------


@dataclass(frozen=True)
class Leaf:
    """`prefix` is "", "const " or "const? "; `name` "_" for any of those without a name."""

    name: str
    kind: str
    prefix: str


@dataclass(frozen=True)
class Many:
    """`(xs...)`"""

    name: str
    kind: str


@dataclass(frozen=True)
class Literal:
    value: float


@dataclass(frozen=True)
class Name:
    """A use of a name bound by a statement."""

    name: str


@dataclass(frozen=True)
class Call:
    """One operator, or a set of them that take and give the same."""

    operators: tuple[Operator, ...]
    operands: tuple[Tree, ...]
    attributes: tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Maybe:
    """`f(a)?`"""

    call: Call


@dataclass(frozen=True)
class Either:
    choices: tuple[Tree, ...]


@dataclass(frozen=True)
class Tuple:
    elements: tuple[Tree, ...]


@dataclass(frozen=True)
class SplitField:
    """`split(x)[0]`"""

    value: Tree


Tree: TypeAlias = Leaf | Many | Literal | Name | Call | Maybe | Either | Tuple | SplitField
_LEAVES = (Leaf, Many, Literal)


@dataclass(frozen=True)
class Pattern:
    """One form for each root; every form has its own statements and the ports are common."""

    ports: tuple[Leaf | Many, ...]
    forms: tuple[Mapping[str, Tree], ...]  # each binds names; "y" is the output

    @property
    def text(self) -> str:
        always = set.intersection(*(_leaves(form, way) for form, way in self.rows()))
        ports = [_port(port, port.name in always) for port in self.ports]
        output = "float32 | int8"
        lines = [f"pattern p({', '.join(ports)}) -> y: {output} {{"]
        for number, form in enumerate(self.forms):
            binds = [f"  {name} = {_text(tree)}" for name, tree in form.items()]
            one = len(self.forms) == 1
            lines += binds if one else [f"  form f{number} {{", *binds, "  }"]
        constants = [p for p in self.ports if isinstance(p, Leaf) and p.prefix == "const "]
        for port in constants:
            default = "" if port.name in always else " ?? none"
            lines.append(f"  param {port.name}_value = {port.name}.value{default}")
        return "\n".join([*lines, "}"]) + "\n"

    def rows(self) -> Iterator[tuple[Mapping[str, Tree], Way]]:
        """Each form with each way to decide what it leaves open."""
        for form in self.forms:
            counts = {id(tree): n for root in form.values() for tree, n in _choices(root)}
            for picks in product(*(range(count) for count in counts.values())):
                yield form, dict(zip(counts, picks, strict=True))


Way: TypeAlias = Mapping[int, int]


def _choices(tree: Tree) -> Iterator[tuple[Tree, int]]:
    if isinstance(tree, Maybe):
        yield tree, 2
        yield from _choices(tree.call)
    elif isinstance(tree, Either):
        yield tree, len(tree.choices)
    elif isinstance(tree, Call) and len(tree.operators) > 1:
        yield tree, len(tree.operators)
    for child in _children(tree):
        yield from _choices(child)


def _children(tree: Tree) -> tuple[Tree, ...]:
    if isinstance(tree, Call):
        return tree.operands
    if isinstance(tree, Either):
        return tree.choices
    if isinstance(tree, Tuple):
        return tree.elements
    return (tree.value,) if isinstance(tree, SplitField) else ()


def _decided(tree: Tree, way: Way) -> Tree:
    """The tree without an open choice at its top."""
    while isinstance(tree, Maybe | Either):
        pick = way[id(tree)]
        if isinstance(tree, Either):
            tree = tree.choices[pick]
        else:
            tree = tree.call if pick == 0 else tree.call.operands[0]
    return tree


def _leaves(form: Mapping[str, Tree], way: Way) -> set[str]:
    """The ports that a row has."""
    found: set[str] = set()

    def visit(tree: Tree) -> None:
        tree = _decided(tree, way)
        if isinstance(tree, Name):
            visit(form[tree.name])
        elif isinstance(tree, Leaf | Many):
            found.add(tree.name)
        for child in _children(tree):
            visit(child)

    visit(form["y"])
    return found


_DTYPES = {"f": "float32", "q": "int8", "b": "float32", "f*": "float32", "q*": "int8"}


def _port(port: Leaf | Many, always: bool) -> str:
    mark = "..." if isinstance(port, Many) else "" if always else "?"
    return f"{port.name}: {_DTYPES[port.kind]}{mark}"


def _text(tree: Tree) -> str:
    match tree:
        case Leaf():
            return f"{tree.prefix}{tree.name}"
        case Many():
            return f"({tree.name}...)"
        case Literal():
            return str(tree.value)
        case Name():
            return tree.name
        case Maybe():
            return f"{_text(tree.call)}?"
        case Either():
            return f"({' | '.join(_text(each) for each in tree.choices)})"
        case Tuple():
            fields = ", ".join(_text(each) for each in tree.elements)
            return f"({fields},)" if len(tree.elements) == 1 else f"({fields})"
        case SplitField():
            return f"split({_text(tree.value)})[0]"
        case Call():
            return _call_text(tree)


def _call_text(call: Call) -> str:
    names = [each.name for each in call.operators]
    name = names[0] if len(names) == 1 else "{" + ", ".join(names) + "}"
    items = [_text(each) for each in call.operands]
    first = call.operators[0]
    if first.shown != first.takes:
        items.append("..")
    items += [f"{key}={_attribute(value)}" for key, value in call.attributes]
    return f"{name}({', '.join(items)})"


def _attribute(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    return f"[{', '.join(map(str, value))}]" if isinstance(value, tuple) else str(value)


# ---- random patterns ----------------------------------------------------------------------

_MOST_ROWS = 12


@st.composite
def patterns(draw: Draw) -> Pattern:
    """A pattern that compiles."""
    maker = _PatternMaker(draw)
    forms = []
    for _ in range(draw(st.sampled_from([1, 1, 1, 2]))):
        forms.append(maker.form(draw(st.sampled_from("ffqqFQ"))))
    pattern = Pattern(tuple(maker.ports.values()), tuple(forms))
    ways = list(pattern.rows())
    assume(len(ways) <= _MOST_ROWS)
    # A row of nothing but a leaf is an error, and so is a `(xs...)` that some row lacks.
    for form, way in ways:
        assume(isinstance(_root(form, way), Call))
        missing = maker.ports.keys() - _leaves(form, way)
        assume(not any(isinstance(maker.ports[name], Many) for name in missing))
    return pattern


def _root(form: Mapping[str, Tree], way: Way) -> Tree:
    tree = _decided(form["y"], way)
    while isinstance(tree, Name):
        tree = _decided(form[tree.name], way)
    return tree


class _PatternMaker:
    def __init__(self, draw: Draw) -> None:
        self.draw = draw
        self.ports: dict[str, Leaf | Many] = {}

    def form(self, kind: str) -> Mapping[str, Tree]:
        self.bound: dict[str, tuple[str, Tree]] = {}
        root = self.call(kind, 3)
        self.bound["y"] = (kind, self.optional(root, kind))
        return {name: tree for name, (_, tree) in self.bound.items()}

    def optional(self, call: Call, kind: str) -> Tree:
        if call.operands and call.operators[0].takes[0] == kind and self.chance(4):
            return Maybe(call)
        return call

    def chance(self, one_in: int) -> bool:
        return bool(self.draw(st.integers(0, one_in - 1)) == one_in - 1)

    def call(self, kind: str, depth: int) -> Call:
        operator = self.draw(st.sampled_from(_giving(kind)))
        operators = [operator]
        if self.chance(5):
            alike = [o for o in _giving(kind) if o.takes == operator.takes and o != operator]
            if alike:
                operators.append(self.draw(st.sampled_from(alike)))
        attributes: list[tuple[str, Any]] = []
        if len(operators) == 1:
            for name, values in operator.attributes.items():
                if self.chance(3):
                    attributes.append((name, self.draw(st.sampled_from(values))))
        has_literal = operator.shown == ("f", "f") and self.chance(5)
        shown = operator.shown[:1] if has_literal else operator.shown
        operands: tuple[Tree, ...] = tuple(self.operand(each, depth - 1) for each in shown)
        if has_literal:
            operands = (*operands, Literal(self.draw(st.sampled_from([0.5, 3, -1.0]))))
        return Call(tuple(operators), operands, tuple(attributes))

    def operand(self, kind: str, depth: int) -> Tree:
        if kind.endswith("*"):
            return self.tuple(kind, depth)
        if kind == "b":
            return self.leaf(kind)
        if kind in "FQ":
            return self.call(kind, depth)
        names = [n for n, (its_kind, _) in self.bound.items() if its_kind == kind]
        if names and self.chance(3):
            return Name(self.draw(st.sampled_from(names)))
        if depth <= 0 or self.chance(3):
            return self.leaf(kind)
        return self.named(self.inner(kind, depth), kind)

    def inner(self, kind: str, depth: int) -> Tree:
        if self.chance(8):
            return SplitField(self.operand(kind, depth - 1))
        if self.chance(6):
            return Either((self.call(kind, depth), self.operand(kind, depth - 1)))
        return self.optional(self.call(kind, depth), kind)

    def named(self, tree: Tree, kind: str) -> Tree:
        if isinstance(tree, Name | Leaf) or self.chance(2):
            return tree
        name = f"t{len(self.ports)}_{len(self.bound)}"
        self.bound[name] = (kind, tree)
        return Name(name)

    def tuple(self, kind: str, depth: int) -> Tree:
        if self.chance(2):
            known = [p for p in self.ports.values() if isinstance(p, Many) and p.kind == kind]
            if known:
                return known[0]
            port = Many(f"xs{len(self.ports)}", kind)
            self.ports[port.name] = port
            return port
        count = self.draw(st.integers(1, 3))
        return Tuple(tuple(self.operand(kind[0], depth) for _ in range(count)))

    def leaf(self, kind: str) -> Tree:
        if self.chance(10):
            return Leaf("_", kind, self.draw(st.sampled_from(["", "const "])))
        known = [p for p in self.ports.values() if isinstance(p, Leaf) and p.kind == kind]
        if known and self.chance(3):
            found: Leaf = self.draw(st.sampled_from(known))
            return found
        prefix = self.draw(st.sampled_from(["", "", "const ", "const? "]))
        port = Leaf(f"x{len(self.ports)}", kind, prefix)
        self.ports[port.name] = port
        return port


# ---- graphs ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Node:
    """`what` is var, const, tuple, field or an operator's name; `operands` are earlier nodes."""

    what: str
    kind: str
    operands: tuple[int, ...] = ()
    attributes: tuple[tuple[str, Any], ...] = ()
    value: Any = None


@dataclass
class Graph:
    nodes: list[Node] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)

    def add(self, node: Node) -> int:
        self.nodes.append(node)
        return len(self.nodes) - 1

    def of_kind(self, kind: str) -> list[int]:
        return [i for i, node in enumerate(self.nodes) if node.kind == kind]

    def module(self) -> tuple[Any, list[Any]]:
        """The typed module, and the expression of each node in it (None where it is not used)."""
        exprs: list[Any] = []
        for number, node in enumerate(self.nodes):
            exprs.append(_expression(node, [exprs[i] for i in node.operands], number))
        outputs = [exprs[i] for i in dict.fromkeys(self.outputs)]
        body = outputs[0] if len(outputs) == 1 else relay.Tuple(outputs)
        function = relay.Function(relay.analysis.free_vars(body), body)
        module = relay.transform.InferType()(tvm.IRModule.from_expr(function))
        return module, _typed(exprs, body, module["main"].body)


def _typed(exprs: list[Any], before: Any, after: Any) -> list[Any]:
    """InferType may copy what it types, in the same order as it stood."""
    first: list[Any] = []
    second: list[Any] = []
    relay.analysis.post_order_visit(before, first.append)
    relay.analysis.post_order_visit(after, second.append)
    new = dict(zip(first, second, strict=True))
    return [new.get(expr) for expr in exprs]


_DEFAULTS: dict[str, dict[str, Any]] = {
    "clip": {"a_min": -1.0, "a_max": 6.0},
    "cast": {"dtype": "float32"},
    "nn.bias_add": {"axis": -1},
    "concatenate": {"axis": 0},
    "qnn.concatenate": {"axis": 0},
    "max": {"axis": (0,), "keepdims": True},
}
_OUT_DTYPE = {"qnn.quantize", "qnn.requantize"}


def _expression(node: Node, operands: list[Any], number: int) -> Any:
    shape = (4,) if node.kind == "b" else () if node.kind in "szl" else (1, 4)
    dtype = {"q": "int8", "z": "int32"}.get(node.kind, "float32")
    if node.what == "var":
        return relay.var(f"v{number}", shape=shape, dtype=dtype)
    if node.what == "const":
        return relay.const(np.full(shape, node.value, dtype))
    if node.what == "tuple":
        return relay.Tuple(operands)
    if node.what == "split":
        return relay.split(operands[0], 1, axis=0).astuple()
    if node.what == "field":
        return relay.TupleGetItem(operands[0], 0)
    return _call(node, operands)


def _call(node: Node, operands: list[Any]) -> Any:
    attributes = {**_DEFAULTS.get(node.what, {}), **dict(node.attributes)}
    if node.what in _OUT_DTYPE:
        attributes["out_dtype"] = "int8"
    package: Any = relay.qnn.op if node.what.startswith("qnn.") else relay
    package = relay.nn if node.what.startswith("nn.") else package
    return getattr(package, node.what.rsplit(".", 1)[-1])(*operands, **attributes)


class GraphMaker:
    """Makes graphs that match a pattern, or nearly. `plain` gives every scale and zero point the
    same value and every leaf a node of its own, so that nothing can be refused."""

    def __init__(self, draw: Draw, plain: bool) -> None:
        self.draw = draw
        self.plain = plain
        self.graph = Graph()

    def chance(self, one_in: int) -> bool:
        return bool(self.draw(st.integers(0, one_in - 1)) == one_in - 1)

    def instance(self, pattern: Pattern) -> tuple[int, dict[str, int | tuple[int, ...]]]:
        """Adds what one row of the pattern matches: its root, and the node of every name."""
        form, way = self.draw(st.sampled_from(list(pattern.rows())))
        self.form, self.way = form, way
        self.names: dict[str, Any] = {}
        return self.tree(Name("y")), self.names

    def tree(self, tree: Tree) -> int:
        tree = _decided(tree, self.way)
        match tree:
            case Name():
                if tree.name not in self.names:
                    self.names[tree.name] = self.tree(self.form[tree.name])
                return int(self.names[tree.name])
            case Leaf():
                return self.leaf(tree)
            case Literal():
                return self.graph.add(Node("const", "l", value=tree.value))
            case SplitField():
                value = self.tree(tree.value)
                split = self.graph.add(Node("split", "t", (value,)))
                return self.graph.add(Node("field", self.graph.nodes[value].kind, (split,)))
            case Call():
                return self.call(tree)
        raise AssertionError(tree)

    def leaf(self, leaf: Leaf) -> int:
        if leaf.name != "_" and leaf.name in self.names:
            return int(self.names[leaf.name])
        index = self.value(leaf.kind, leaf.prefix == "const ")
        if leaf.name != "_":
            self.names[leaf.name] = index
        return index

    def value(self, kind: str, constant: bool) -> int:
        """A node that a leaf may stand for."""
        known = [
            i
            for i in self.graph.of_kind(kind)
            if not constant or self.graph.nodes[i].what == "const"
        ]
        if known and not self.plain and self.chance(4):
            return int(self.draw(st.sampled_from(known)))
        if constant or self.chance(6):
            return self.graph.add(Node("const", kind, value=self.draw(st.integers(1, 3))))
        return self.graph.add(Node("var", kind))

    def call(self, tree: Call) -> int:
        pick = self.way.get(id(tree), 0)
        return self.operator(tree.operators[pick], tree.operands, dict(tree.attributes))

    def operator(
        self, operator: Operator, operands: tuple[Tree, ...], attributes: dict[str, Any]
    ) -> int:
        given: list[int] = []
        shown = iter(operands)
        count = 0
        for kind in operator.takes:
            if kind in ("s", "z"):
                given.append(self.slot(kind))
            elif kind in ("s*", "z*"):
                fields = tuple(self.slot(kind[0]) for _ in range(count))
                given.append(self.graph.add(Node("tuple", kind, fields)))
            elif kind.endswith("*"):
                fields = self.fields(next(shown))
                count = len(fields)
                given.append(self.graph.add(Node("tuple", kind, fields)))
            else:
                given.append(self.tree(next(shown)))
        for name, values in operator.attributes.items():
            if name not in attributes and not self.plain and self.chance(4):
                attributes[name] = self.draw(st.sampled_from(values))
        node = Node(operator.name, operator.gives, tuple(given), tuple(attributes.items()))
        return self.graph.add(node)

    def fields(self, tree: Tree) -> tuple[int, ...]:
        if isinstance(tree, Many):
            if tree.name not in self.names:
                count = self.draw(st.integers(1, 3))
                fields = tuple(self.value(tree.kind[0], False) for _ in range(count))
                self.names[tree.name] = fields
            return tuple(self.names[tree.name])
        assert isinstance(tree, Tuple)
        return tuple(self.tree(each) for each in tree.elements)

    def slot(self, kind: str) -> int:
        known = [i for i in self.graph.of_kind(kind) if self.graph.nodes[i].what == "const"]
        if known and not self.plain and self.chance(3):
            return int(self.draw(st.sampled_from(known)))
        if self.plain:
            return self.graph.add(Node("const", kind, value=0.5 if kind == "s" else 0))
        if self.chance(12):
            return self.graph.add(Node("var", kind))
        values = [0.5, 0.5, 0.5, 0.25] if kind == "s" else [0, 0, 0, 3]
        return self.graph.add(Node("const", kind, value=self.draw(st.sampled_from(values))))

    # ---- a little off ----
    def mutate(self) -> None:
        mutations = (self.swap, self.rewire, self.rename, self.change, self.show)
        self.draw(st.sampled_from(mutations))()

    def calls(self) -> list[int]:
        others = ("var", "const", "tuple", "field", "split")
        return [i for i, node in enumerate(self.graph.nodes) if node.what not in others]

    def swap(self) -> None:
        """Two operands change places."""
        nodes = self.graph.nodes
        pairs = [
            i for i in self.calls() if len({nodes[o].kind for o in nodes[i].operands[:2]}) == 1
        ]
        pairs = [i for i in pairs if len(nodes[i].operands) > 1]
        if pairs:
            index = self.draw(st.sampled_from(pairs))
            first, second, *rest = nodes[index].operands
            nodes[index] = replace(nodes[index], operands=(second, first, *rest))

    def rewire(self) -> None:
        """An operand becomes another earlier node."""
        index = self.draw(st.sampled_from(self.calls()))
        node = self.graph.nodes[index]
        place = self.draw(st.integers(0, len(node.operands) - 1))
        kind = self.graph.nodes[node.operands[place]].kind
        others = [i for i in self.graph.of_kind(kind) if i < index] if kind in "fqsz" else []
        if others:
            operands = list(node.operands)
            operands[place] = self.draw(st.sampled_from(others))
            self.graph.nodes[index] = replace(node, operands=tuple(operands))

    def rename(self) -> None:
        """A call becomes one of another operator."""
        index = self.draw(st.sampled_from(self.calls()))
        node = self.graph.nodes[index]
        mine = [o for o in OPERATORS if o.name == node.what and o.gives == node.kind]
        alike = [o for o in _giving(node.kind) if mine and o.takes == mine[0].takes]
        if alike:
            name = self.draw(st.sampled_from(alike)).name
            self.graph.nodes[index] = replace(node, what=name, attributes=())

    def change(self) -> None:
        """A constant gets another value, or becomes a variable."""
        constants = [i for i, node in enumerate(self.graph.nodes) if node.what == "const"]
        if constants:
            index = self.draw(st.sampled_from(constants))
            node = self.graph.nodes[index]
            other = Node("var", node.kind) if self.chance(3) else replace(node, value=2)
            self.graph.nodes[index] = other

    def show(self) -> None:
        """Something inside gets a user outside: it is an output too."""
        self.graph.outputs.append(self.draw(st.sampled_from(self.calls())))


@dataclass(frozen=True)
class Case:
    """A pattern and a graph. `root` and `names` are the nodes of an instance that must match."""

    pattern: Pattern
    graph: Graph
    root: int
    names: Mapping[str, Any]

    def __repr__(self) -> str:
        module, _ = self.graph.module()
        return f"{self.pattern.text}\n{module['main']}"


@st.composite
def matching_cases(draw: Draw) -> Case:
    """A graph made of one row of the pattern, with nothing that could be refused."""
    pattern = draw(patterns())
    maker = GraphMaker(draw, plain=True)
    root, names = maker.instance(pattern)
    maker.graph.outputs.append(root)
    return Case(pattern, maker.graph, root, dict(names))


@st.composite
def cases(draw: Draw) -> Case:
    """A graph with one or two instances of the pattern that share nodes and are a little off."""
    pattern = draw(patterns())
    maker = GraphMaker(draw, plain=False)
    for _ in range(draw(st.integers(1, 2))):
        root, names = maker.instance(pattern)
        maker.graph.outputs.append(root)
    for _ in range(draw(st.sampled_from([0, 0, 1, 2]))):
        maker.mutate()
    return Case(pattern, maker.graph, root, dict(names))
