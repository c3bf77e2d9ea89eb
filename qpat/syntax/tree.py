"""The syntax tree of a .qpat file: what was written, with spans, nothing looked up yet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

from qpat.records import dataclass
from qpat.source import Span


@dataclass(frozen=True)
class Node:
    span: Span


@dataclass(frozen=True)
class Identifier(Node):
    """A word, or words joined by dots (`nn.conv2d`)."""

    text: str


@dataclass(frozen=True)
class Text(Node):
    """A string literal without its quotes."""

    text: str


# ---- structure ---------------------------------------------------------------


@dataclass(frozen=True)
class Leaf(Node):
    """A name where a value is wanted. `inlined`: it stands for the call of a fragment, and the call
    that the fragment ends in counts as written there."""

    name: str
    inlined: bool = False


@dataclass(frozen=True)
class Wildcard(Node):
    pass


@dataclass(frozen=True)
class Literal(Node):
    """A number or truth value; `about` (`~0.7`) for one that need only be close."""

    value: int | float | bool
    about: bool = False


@dataclass(frozen=True)
class Slot(Node):
    """`x.scale`, `x.zero_point` as an operand."""

    name: str
    slot: str


@dataclass(frozen=True)
class Constant(Node):
    """`const w`; `const? w` where `maybe`."""

    leaf: Leaf | Wildcard
    maybe: bool


@dataclass(frozen=True)
class Variable(Node):
    """`var x`: an input of the module."""

    leaf: Leaf | Wildcard


@dataclass(frozen=True)
class Keyword(Node):
    """`name=value` among the arguments of a call, in a structure or in an expression."""

    name: Identifier
    value: Structure | Slot | Text | ListExpression | Expression


@dataclass(frozen=True)
class Rest(Node):
    """`..`: the operands not yet given, each by its role."""


@dataclass(frozen=True)
class Call(Node):
    """`op(a, b, k=v)`, or `{op, op}(a, b)` with several names. A fragment takes strings and lists
    by place too."""

    operators: tuple[Identifier, ...]
    arguments: tuple[Structure | Slot | Keyword | Rest | Text | ListExpression, ...]


@dataclass(frozen=True)
class CompositeCall(Node):
    """`composite "npu.conv2d"(a, b)`: a call of a composite function of that name."""

    composite: Text
    arguments: tuple[Structure | Slot | Keyword | Rest, ...]


@dataclass(frozen=True)
class Repeat(Node):
    """`xs...` or `p ... 8` inside a tuple."""

    element: Structure | Slot
    count: int | None


@dataclass(frozen=True)
class Tuple(Node):
    elements: tuple[Structure | Slot | Repeat, ...]


@dataclass(frozen=True)
class Field(Node):
    value: Structure
    index: int


@dataclass(frozen=True)
class Optional(Node):
    """`f(a)?`: `f(a) | a`. `otherwise` is that `a` where `f` was a fragment, now inlined."""

    value: Structure
    otherwise: Structure | None = None


@dataclass(frozen=True)
class Alternatives(Node):
    choices: tuple[Structure, ...]


@dataclass(frozen=True)
class Modified(Node):
    """`shared p`, `ordered p`, `unordered p`."""

    modifier: str
    value: Structure


Structure: TypeAlias = (
    Leaf
    | Wildcard
    | Literal
    | Constant
    | Variable
    | Call
    | CompositeCall
    | Tuple
    | Field
    | Optional
    | Alternatives
    | Modified
)


# ---- expressions -------------------------------------------------------------


@dataclass(frozen=True)
class Name(Node):
    name: str


@dataclass(frozen=True)
class Value(Node):
    """A number, string, `true`, `false` or `none`."""

    value: int | float | str | bool | None


@dataclass(frozen=True)
class Raw(Node):
    """`raw`: plain integers without a space."""


@dataclass(frozen=True)
class Get(Node):
    value: Expression
    member: Identifier


@dataclass(frozen=True)
class Index(Node):
    value: Expression
    indices: tuple[Expression, ...]


@dataclass(frozen=True)
class Slice(Node):
    value: Expression
    start: Expression | None
    stop: Expression | None


@dataclass(frozen=True)
class Apply(Node):
    function: Expression
    arguments: tuple[Expression | Keyword, ...]


@dataclass(frozen=True)
class ExternCall(Node):
    """A call of an extern: an Apply whose name has been looked up. `extern` is what the module
    calls it."""

    extern: str
    arguments: tuple[Expression | Keyword, ...]


@dataclass(frozen=True)
class OptionRead(Node):
    """A name that has been looked up and is an option."""

    option: str


@dataclass(frozen=True)
class Present(Node):
    """`d?`"""

    value: Expression


@dataclass(frozen=True)
class Operation(Node):
    """`not`, `minus`, `and`, `or`, `=>`, `??`, `+ - * / % **`, `== != <= >= < >`."""

    operator: str
    operands: tuple[Expression, ...]


@dataclass(frozen=True)
class Contained(Node):
    """`a in b`, `a not in b`."""

    value: Expression
    container: Expression
    negated: bool


@dataclass(frozen=True)
class Range(Node):
    """`1..3`, both ends included."""

    first: Expression
    last: Expression


@dataclass(frozen=True)
class Conditional(Node):
    condition: Expression
    then: Expression
    otherwise: Expression


@dataclass(frozen=True)
class TupleExpression(Node):
    elements: tuple[Expression, ...]


@dataclass(frozen=True)
class ListExpression(Node):
    elements: tuple[Expression, ...]


@dataclass(frozen=True)
class SetExpression(Node):
    elements: tuple[Expression, ...]


Expression: TypeAlias = (
    Name
    | Value
    | Raw
    | Get
    | Index
    | Slice
    | Apply
    | ExternCall
    | OptionRead
    | Present
    | Operation
    | Contained
    | Range
    | Conditional
    | TupleExpression
    | ListExpression
    | SetExpression
)


# What may stand among the arguments of a call and is no value of the graph.
NO_VALUE = Slot | Keyword | Rest | Text | ListExpression


# ---- what does not parse -----------------------------------------------------


@dataclass(frozen=True)
class Broken(Node):
    """A statement or an item with a syntax error, which is reported.

    `what` is the keyword it begins with, "bind" for a statement that has none, "" for an item.
    `names` are those that it probably binds, None where that cannot be told.
    """

    what: str
    names: tuple[str, ...] | None


# ---- statements --------------------------------------------------------------


@dataclass(frozen=True)
class Out(Node):
    """A name on the left of `=`; `many` for `ys...`."""

    name: str
    many: bool


@dataclass(frozen=True)
class Bind(Node):
    outs: tuple[Out, ...]
    value: Structure


@dataclass(frozen=True)
class Form(Node):
    name: Identifier
    target: Identifier | None
    block: Block


@dataclass(frozen=True)
class Where(Node):
    condition: Expression
    reason: Text | None


@dataclass(frozen=True)
class Let(Node):
    """`let k = e` (`slot` is None) or `let x.scale = e`."""

    name: Identifier
    slot: Identifier | None
    value: Expression


@dataclass(frozen=True)
class Param(Node):
    names: tuple[Identifier, ...]
    type: Type | None
    value: Expression


@dataclass(frozen=True)
class Inherit(Node):
    names: tuple[Identifier, ...]


@dataclass(frozen=True)
class Use(Node):
    fragment: Identifier
    arguments: tuple[Expression, ...]


@dataclass(frozen=True)
class Meaning(Node):
    out: Out
    value: Expression


@dataclass(frozen=True)
class Option(Node):
    name: Identifier
    type: Type | None
    value: Expression


@dataclass(frozen=True)
class Inlined(Node):
    """A fragment in the place of its use: `name` tells it from other uses in the pattern, `out` is
    what its result is called (None for `use f(…)`), `span` is the use."""

    name: str
    out: str | None
    block: Block


Statement: TypeAlias = (
    Bind | Form | Where | Let | Param | Inherit | Use | Meaning | Option | Inlined | Broken
)


@dataclass(frozen=True)
class Block(Node):
    statements: tuple[Statement, ...]


# ---- items -------------------------------------------------------------------


@dataclass(frozen=True)
class TypeAtom(Node):
    """`int8`; `x.dtype` where `member` is given."""

    name: str
    member: str | None


@dataclass(frozen=True)
class Dimension(Node):
    """A name, a size, or None for `_`; `rest` for `...`."""

    value: str | int | None
    rest: bool = False


@dataclass(frozen=True)
class Type(Node):
    atoms: tuple[TypeAtom, ...]
    shape: tuple[Dimension, ...] | None


@dataclass(frozen=True)
class Port(Node):
    name: Identifier
    type: Type | None
    maybe: bool
    many: bool


@dataclass(frozen=True)
class Alias(Node):
    """The composite's name (`as "name"`), or a single-op rule's operator (`as op "nn.relu"`)."""

    text: str
    is_operator_rule: bool


@dataclass(frozen=True)
class Compiler(Node):
    name: Text


@dataclass(frozen=True)
class Import(Node):
    path: Text
    alias: Identifier | None


@dataclass(frozen=True)
class Formal(Node):
    name: Identifier
    type: Type | None


@dataclass(frozen=True)
class Extern(Node):
    """`results` are several where the function gives a tuple."""

    name: Identifier
    formals: tuple[Formal, ...]
    results: tuple[Type, ...]
    path: Text


@dataclass(frozen=True)
class Fragment(Node):
    name: Identifier
    formals: tuple[Formal, ...]
    out: Identifier | None
    block: Block


@dataclass(frozen=True)
class Pattern(Node):
    """`doc` is the text of the `///` lines right above it. It is meant to stand behind the patterns
    `after`."""

    name: Identifier
    ports: tuple[Port, ...]
    output: Port
    alias: Alias | None
    after: tuple[Identifier, ...]
    block: Block
    doc: str


@dataclass(frozen=True)
class Family(Node):
    """`for op, name in […] { … }`."""

    names: tuple[Identifier, ...]
    values: Expression
    items: tuple[Item, ...]


@dataclass(frozen=True)
class Expectation(Node):
    pattern: Identifier
    refused: Text | None
    conditions: tuple[Expression, ...]


@dataclass(frozen=True)
class Test(Node):
    name: Text
    relay: Text
    expectations: tuple[Expectation, ...]


Item: TypeAlias = Compiler | Import | Option | Extern | Fragment | Pattern | Family | Test | Broken


@dataclass(frozen=True)
class File(Node):
    """A whole file; `comments` are kept in order of place, for tools that print the file again."""

    items: tuple[Item, ...]
    comments: tuple[Text, ...]


# ---- walking -----------------------------------------------------------------


def parts(node: object) -> Iterable[object]:
    """The nodes, and the tuples of nodes, that a node or a tuple is directly made of."""
    if isinstance(node, tuple):
        return node
    if not isinstance(node, Node):
        return ()
    return [value for value in vars(node).values() if isinstance(value, Node | tuple)]


def all_statements(block: Block) -> Iterator[Statement]:
    """The statements of a block, and those of the forms and fragments in it, in order."""
    for statement in block.statements:
        yield statement
        if isinstance(statement, Form | Inlined):
            yield from all_statements(statement.block)
