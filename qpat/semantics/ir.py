"""The pattern IR: each pattern as alternation-free rows in one normal form.

A row is a list of nodes, operands before their users (the bindings), what must hold of them (the
constraints: operator, arity, attributes, constants, dtypes, `where`), and the spaces of its values.
Nothing in here depends on TVM or on a target.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import TypeAlias

from qpat.ops.roles import AxisMove, AxisRule
from qpat.records import dataclass, field
from qpat.source import Span

# ---- structure ---------------------------------------------------------------


class Constness(Enum):
    """What a leaf may be: anything, handed over as a parameter; a constant, embedded in the
    composite; either, embedded if it is a constant; or an input of the module."""

    ANY = "any"
    CONSTANT = "const"
    EITHER = "const?"
    VARIABLE = "var"


@dataclass(frozen=True)
class Input:
    """A leaf: a port, a named constant, or `_`."""

    name: str | None
    constness: Constness
    span: Span


@dataclass(frozen=True)
class Literal:
    """A scalar constant of this value after rounding to the constant's dtype; `about`: or close to
    it."""

    value: int | float | bool
    span: Span
    about: bool = False


@dataclass(frozen=True)
class SlotConstant:
    """A constant operand that is the scale or the zero point of a tensor."""

    span: Span


@dataclass(frozen=True)
class SlotTuple:
    """A tuple of such constants, one for each field of a variadic operand."""

    span: Span


@dataclass(frozen=True)
class Call:
    """A call with every operand given, by index of its node."""

    operator: str
    operands: tuple[int, ...]
    attributes: tuple[Attribute, ...]
    span: Span


@dataclass(frozen=True)
class CompositeCall:
    """A call of a composite function of this name; `operands` None: any."""

    composite: str
    operands: tuple[int, ...] | None
    span: Span


@dataclass(frozen=True)
class Tuple:
    elements: tuple[int, ...]
    span: Span


@dataclass(frozen=True)
class Elements:
    """A tuple of any length whose fields are a variadic port."""

    name: str
    span: Span


@dataclass(frozen=True)
class Several:
    """A variadic port of which each tensor is a leaf of its own, in a structure that is repeated:
    `(qnn.dequantize(xs, ..) ... 4)`. It stands for its name alone: no operand leads to it."""

    elements: tuple[int, ...]
    span: Span


@dataclass(frozen=True)
class Field:
    value: int
    index: int
    span: Span


Node: TypeAlias = (
    Input
    | Literal
    | SlotConstant
    | SlotTuple
    | Call
    | CompositeCall
    | Tuple
    | Elements
    | Several
    | Field
)


@dataclass(frozen=True)
class DtypeOf:
    """`dtype=x.dtype`: an attribute that names the dtype of a port."""

    name: str


# A list may have lists in it, as `pad_width` does.
AttributeValue: TypeAlias = "int | float | bool | str | tuple[AttributeValue, ...] | DtypeOf"


@dataclass(frozen=True)
class Attribute:
    """`name=value` on a call. Lists are compared element by element."""

    name: str
    value: AttributeValue
    span: Span


# ---- spaces ------------------------------------------------------------------


@dataclass(frozen=True)
class Site:
    """A constant that is the `slot` (scale or zero point) of a space: node `constant`, an operand
    of node `call`, which says it of node `tensor`. A vector scale runs along its axis `axis`."""

    slot: str
    constant: int
    call: int
    tensor: int
    axis: AxisRule


@dataclass(frozen=True)
class Step:
    """One move of an axis along a share: through node `call`, from its operand number `operand`
    to its result (`forward`) or back."""

    move: AxisMove
    call: int
    operand: int
    forward: bool


@dataclass(frozen=True)
class Space:
    """Values with the same scale and zero point. The first site of a slot binds it, the others
    must be equal to it by value. `steps` leads from the first scale site's tensor to each value."""

    members: frozenset[int]
    scales: tuple[Site, ...]
    zero_points: tuple[Site, ...]
    steps: Mapping[int, tuple[Step, ...]]


@dataclass(frozen=True)
class Layout:
    """What says the layout of a value: an attribute of node `call`, or with `is_result` what that
    call gives, which may have a layout of its own (`out_layout`)."""

    call: int
    attribute: str
    is_result: bool = False


# ---- expressions -------------------------------------------------------------


class Kind(Enum):
    """The static type of an expression."""

    BOOL = "bool"
    INT = "int"
    FLOAT = "float"
    TEXT = "str"
    INTS = "ints"  # a list of whole numbers, as attributes and shapes are
    ARRAY = "array"  # a NumPy array, or a number where a tensor is a scalar
    TUPLE = "tuple"
    NONE = "none"
    ANY = "any"


@dataclass(frozen=True)
class Number:
    value: int | float | bool | str | None
    kind: Kind
    span: Span


@dataclass(frozen=True)
class ReadMember:
    """`x.shape`, `x.dtype`, `x.scale`, `x.zero_point`, `x.qparams`, `x.axis`, `x.value`, `x.range`,
    `x.layout` of a value."""

    name: str
    member: str
    many: bool
    kind: Kind
    span: Span


@dataclass(frozen=True)
class ReadAttribute:
    """`acc.attrs.k` of the call written as `acc`."""

    name: str
    attribute: str
    kind: Kind
    span: Span


@dataclass(frozen=True)
class ReadLocal:
    """A `let`, a dimension of a port's type, or `form`."""

    name: str
    kind: Kind
    span: Span


@dataclass(frozen=True)
class ReadOption:
    name: str
    kind: Kind
    span: Span


@dataclass(frozen=True)
class ReadTarget:
    """`target.mcpu`: a fact of the target the patterns are compiled for."""

    fact: str
    kind: Kind
    span: Span


@dataclass(frozen=True)
class ReadValue:
    """A value or call itself, as an argument of a function such as `rank(x)` or `pads(d)`."""

    name: str
    is_call: bool
    kind: Kind
    span: Span


@dataclass(frozen=True)
class IsPresent:
    """`d?`; `x.value?` where `member` is "value": whether a `const?` is a constant."""

    name: str
    member: str | None
    kind: Kind
    span: Span


@dataclass(frozen=True)
class Operation:
    """An operator on its operands; `needs` are the maybe-absent names a `??` guards."""

    operator: str
    operands: tuple[Expression, ...]
    kind: Kind
    span: Span
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Function:
    name: str
    arguments: tuple[Expression, ...]
    kind: Kind
    span: Span


@dataclass(frozen=True)
class ExternCall:
    """A call of an extern of the module, by name."""

    name: str
    arguments: tuple[Expression, ...]
    kind: Kind
    span: Span


@dataclass(frozen=True)
class Subscript:
    """`a[i]`, or `a[start:stop]` where `index` is None."""

    value: Expression
    index: Expression | None
    start: Expression | None
    stop: Expression | None
    kind: Kind
    span: Span


@dataclass(frozen=True)
class Contained:
    """`a in {…}`, `a in first..last`."""

    value: Expression
    container: Expression | tuple[Expression, Expression]
    negated: bool
    kind: Kind
    span: Span


@dataclass(frozen=True)
class Conditional:
    condition: Expression
    then: Expression
    otherwise: Expression
    kind: Kind
    span: Span


@dataclass(frozen=True)
class Sequence:
    """A tuple, list or set of expressions, by its bracket `(`, `[` or `{`."""

    bracket: str
    elements: tuple[Expression, ...]
    kind: Kind
    span: Span


Expression: TypeAlias = (
    Number
    | ReadMember
    | ReadAttribute
    | ReadLocal
    | ReadOption
    | ReadTarget
    | ReadValue
    | IsPresent
    | Operation
    | Function
    | ExternCall
    | Subscript
    | Contained
    | Conditional
    | Sequence
)

# ---- statements, in the order they are carried out ------------------------------
#
# `block` is the form or fragment a statement stands in: it is carried out in the rows that have it.
# None: in all rows.


@dataclass(frozen=True)
class ValueType:
    """What a param, or a result of an extern, is declared to be: a kind, a dtype for an array, and
    an array's shape where it is given (None: any size)."""

    kind: Kind
    dtype: str | None
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True)
class Where:
    condition: Expression
    reason: str
    span: Span
    block: str | None = None


@dataclass(frozen=True)
class Let:
    name: str
    value: Expression
    span: Span
    block: str | None = None


@dataclass(frozen=True)
class Fill:
    """`let x.scale = e`; `value` None for `let x.qparams = raw`."""

    name: str
    slot: str
    value: Expression | None
    span: Span
    block: str | None = None


@dataclass(frozen=True)
class Inherit:
    name: str
    many: bool
    span: Span
    block: str | None = None


@dataclass(frozen=True)
class RealInput:
    """A port, as real numbers."""

    name: str
    many: bool
    span: Span


@dataclass(frozen=True)
class RealNumber:
    value: Expression
    span: Span


@dataclass(frozen=True)
class RealCall:
    """An operator on real numbers. `attributes` are those written; others are taken over from the
    call `like`. `needs` are the names without which its first operand stands for it."""

    operator: str
    operands: tuple[Real, ...]
    attributes: tuple[tuple[str, Expression], ...]
    like: str | None
    needs: tuple[str, ...]
    span: Span


Real: TypeAlias = RealInput | RealNumber | RealCall


@dataclass(frozen=True)
class Meaning:
    """What the output is on real numbers, before it is quantized and cut to its range."""

    value: Real
    span: Span
    block: str | None = None


@dataclass(frozen=True)
class Param:
    """Fields of the record. `type` is what they are declared as."""

    names: tuple[str, ...]
    value: Expression
    span: Span
    type: ValueType | None = None
    block: str | None = None


Statement: TypeAlias = Where | Let | Fill | Inherit | Param | Meaning


# ---- patterns ----------------------------------------------------------------


@dataclass(frozen=True)
class Port:
    """One tensor of the interface. `dtypes` empty: any. `same_dtype_as`: another port's name.
    `shape` holds sizes, names and None; `...` in a shape is the string "..."."""

    name: str
    dtypes: tuple[str, ...]
    same_dtype_as: str | None
    shape: tuple[int | str | None, ...] | None
    maybe: bool
    many: bool
    is_output: bool
    span: Span


def call_count(nodes: Iterable[Node]) -> int:
    """How many calls a row has: the more, the more specific it is."""
    return sum(isinstance(node, Call) for node in nodes)


@dataclass(frozen=True)
class Row:
    """One alternation-free structure. `values` maps each name to its node, `calls` each name whose
    call stands in this row to that call; `absent` are the names that other rows have.

    `form` is the pattern's own form, `blocks` are all forms and fragments that count here. `swaps`
    are the calls whose two tensors may change places, `shared` those that may have other users.
    `layouts` says where the layout of a node is said, `clips` the calls that bound a node's range.
    """

    number: int
    form: str | None
    nodes: tuple[Node, ...]
    root: int
    values: Mapping[str, int]
    calls: Mapping[str, int]
    absent: frozenset[str]
    spaces: tuple[Space, ...]
    blocks: frozenset[str] = frozenset()
    swaps: tuple[int, ...] = ()
    shared: tuple[int, ...] = ()
    layouts: Mapping[int, Layout] = field(default_factory=dict)
    clips: Mapping[int, tuple[int, ...]] = field(default_factory=dict)

    @property
    def operators(self) -> tuple[str, ...]:
        """The operators of the row's calls, sorted, each once."""
        return tuple(sorted({node.operator for node in self.nodes if isinstance(node, Call)}))

    @property
    def call_count(self) -> int:
        return call_count(self.nodes)


@dataclass(frozen=True)
class Pattern:
    """`composite` is the whole name, compiler and all. `operator_rule`: the operator that is
    annotated as it stands, and no composite is made. `after`: patterns that it is meant to follow.
    `params_elsewhere` are those of other targets only: the record has them all the same, as None.
    """

    name: str
    composite: str
    doc: str
    ports: tuple[Port, ...]
    rows: tuple[Row, ...]
    statements: tuple[Statement, ...]
    span: Span
    operator_rule: str | None = None
    after: tuple[str, ...] = ()
    params_elsewhere: tuple[str, ...] = ()


@dataclass(frozen=True)
class Option:
    """An argument of the pattern table."""

    name: str
    kind: Kind
    default: Expression
    span: Span


@dataclass(frozen=True)
class Formal:
    """An argument of an extern: `takes` is "tensor", "call" or "value"."""

    name: str
    takes: str
    kind: Kind


@dataclass(frozen=True)
class Extern:
    """A Python function by module and name; `results` are several where it gives a tuple."""

    name: str
    module: str
    function: str
    formals: tuple[Formal, ...]
    results: tuple[ValueType, ...]
    span: Span


@dataclass(frozen=True)
class Expectation:
    """What a test expects of a pattern: a match for which all conditions hold, or to be refused for
    a reason."""

    pattern: str
    refused: str | None
    conditions: tuple[Expression, ...]
    span: Span


@dataclass(frozen=True)
class Test:
    """A test beside the patterns; `relay` is its text in the file, quotes included."""

    name: str
    relay: Span
    expectations: tuple[Expectation, ...]
    span: Span


@dataclass(frozen=True)
class Module:
    """The patterns that a file has on one target, in order of priority; `elsewhere` are the names
    of the others, and where they stand."""

    compiler: str
    patterns: tuple[Pattern, ...]
    options: tuple[Option, ...] = ()
    externs: tuple[Extern, ...] = ()
    tests: tuple[Test, ...] = ()
    elsewhere: tuple[tuple[str, Span], ...] = ()
