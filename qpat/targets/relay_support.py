"""Records, matches and trying rows in every generated Relay module; see relay_reading.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Optional, Tuple

import numpy as np
import tvm

from qpat.targets.relay_reading import (
    Attributes,
    Mismatch,
    Refused,
    constant_value,
    is_embedded,
    is_tensor,
    plain,
    shape_of,
)
from qpat.targets.relay_slots import (
    agreed,
    in_dtype,
    misplaced,
    outside,
    same_value,
    scalar_or_vector,
    whole,
    wrong_numbers,
)

# ---- records and matches: the same in every module qpat writes --------------------------


@dataclass(frozen=True, eq=False)
class Tensor:
    """One tensor of a match, as the code generator wants it.

    `scale` is a float32, or a float32 vector along `axis`; `zero_point` is in the tensor's dtype.
    Both are None where the tensor is not quantized or nothing in reach knows. A vector longer than
    the axis runs over that axis and those behind it (depthwise weights HWOI with a multiplier).
    `value` is the constant, None for anything else. `input` is the index of the composite's
    parameter that the tensor is handed over by, None for embedded constants and the output.
    `layout` is what a call of the match says, None where none does; `range` the least and greatest
    integer: of the dtype, less what the match clips.
    """

    dtype: str
    shape: Tuple[Optional[int], ...]
    scale: Any
    zero_point: Any
    axis: Optional[int]
    value: Any
    input: Optional[int]
    layout: Optional[str] = None
    range: Optional[Tuple[int, int]] = None


@dataclass(frozen=True, eq=False)
class Real:
    """What a match computes on real numbers: an operator on operands, which are names of ports (all
    tensors of one that is many), numbers, or Reals; the output is cut to its range."""

    op: str
    operands: Tuple[Any, ...]
    attributes: Dict[str, Any]


class Parameters(NamedTuple):
    """What `extract` wants to be told of a tensor whose parameters its composite cannot know."""

    scale: Any
    zero_point: Any
    axis: Optional[int]


class Space:
    """A scale and a zero point that several values of a match share.

    Built from the constants that say so: the first binds, the others must be equal to it by value.
    `of` says in a reason whose they are. Refused where they can be those of no tensor.
    """

    def __init__(
        self,
        scale: Iterable[Any] = (),
        zero_point: Iterable[Any] = (),
        of: str = "a tensor",
    ) -> None:
        self.scale = agreed(scale, "scale", of)
        self.zero_point = whole(agreed(zero_point, "zero point", of))
        wrong = wrong_numbers(self.scale, self.zero_point)
        if wrong is not None:
            raise Refused(f"{of}: {wrong}")
        self.inherited_axis: Optional[int] = None
        self.is_disputed = False
        self.is_filled = False

    def fill(self, slot: str, value: Any) -> None:
        """Sets a slot that the row leaves open."""
        if getattr(self, slot) is None:
            dtype = np.float32 if slot == "scale" else np.int32
            setattr(self, slot, scalar_or_vector(np.asarray(value).astype(dtype)))
            self.is_filled = True


def spaces(tensors: List[Any], scales: List[Any], zero_points: List[Any], of: str) -> List[Space]:
    """The spaces of many tensors, whose scales and zero points stand in tuples."""
    if not len(tensors) == len(scales) == len(zero_points):
        counts = f"{len(scales)} scales and {len(zero_points)} zero points"
        raise Refused(f"{of}: there are {counts} for {len(tensors)} tensors")
    return [Space([scale], [zero], of) for scale, zero in zip(scales, zero_points)]


class Value:
    """One named value of a match: its expression, its space, and how to find the axis of a vector,
    the layout, and the calls that bound its range. `field`: one field of a call's tuple."""

    def __init__(
        self,
        expr: Any,
        space: Optional[Space] = None,
        axis: Optional[Callable[[], Optional[int]]] = None,
        layout: Optional[Callable[[], str]] = None,
        clips: Tuple[Any, ...] = (),
        field: Optional[int] = None,
    ) -> None:
        self.expr = expr
        self.space = space if space is not None else Space()
        self._axis = axis
        self._layout = layout
        self._clips = clips
        self._field = field
        # Read of the expression once they are asked for.
        self._dtype: Optional[str] = None
        self._shape: Optional[Tuple[Optional[int], ...]] = None
        # A range that is not the clips'; it is the node's, under any of its names.
        self.told: Dict[str, Any] = {}

    @property
    def node(self) -> Tuple[Any, Optional[int]]:
        """What it is a name of: values of one node share what is told of it."""
        return self.expr, self._field

    @property
    def _type(self) -> Any:
        type_ = self.expr.checked_type
        return type_ if self._field is None else type_.fields[self._field]

    @property
    def shape(self) -> Tuple[Optional[int], ...]:
        if self._shape is None:
            self._shape = shape_of(self._type)
        return self._shape

    @property
    def dtype(self) -> str:
        if self._dtype is None:
            self._dtype = str(self._type.dtype)
        return self._dtype

    @property
    def op(self) -> str:
        return str(self.expr.op.name)

    @property
    def attrs(self) -> Attributes:
        return Attributes(self.expr)

    @property
    def is_constant(self) -> bool:
        return is_embedded(self.expr)

    @property
    def value(self) -> Any:
        return constant_value(self.expr)

    @property
    def scale(self) -> Any:
        if self.space.scale is None:
            raise Refused("a scale is read that is not known")
        return self.space.scale

    @property
    def zero_point(self) -> Any:
        if self.space.zero_point is None:
            raise Refused("a zero point is read that is not known")
        return self.space.zero_point

    @property
    def qparams(self) -> Tuple[Any, Any]:
        return self.scale, self.zero_point

    @property
    def axis(self) -> Optional[int]:
        if np.ndim(self.space.scale) == 0 and np.ndim(self.space.zero_point) == 0:
            return None
        if self._axis is not None:
            return self._axis()
        return self.space.inherited_axis

    @property
    def layout(self) -> str:
        layout = self._layout() if self._layout is not None else ""
        if len(layout) != len(self.shape):
            raise Refused(f"layout {layout!r} does not fit {len(self.shape)} dimensions")
        return layout

    def layout_or_none(self) -> Optional[str]:
        layout = self._layout() if self._layout is not None else ""
        return layout if layout and len(layout) == len(self.shape) else None

    @property
    def range(self) -> Tuple[int, int]:
        """The least and greatest integer this value takes: of its dtype, less what is clipped."""
        if "range" in self.told:
            return int(self.told["range"][0]), int(self.told["range"][1])
        bits, is_signed = int(self.dtype.lstrip("uint")), self.dtype.startswith("int")
        least = -(2 ** (bits - 1)) if is_signed else 0
        most = 2 ** (bits - 1) - 1 if is_signed else 2**bits - 1
        whole = least, most
        for clip in self._clips:
            attrs = Attributes(clip)
            is_relu = clip.op.name.endswith("nn.relu")
            low, high = (0, np.inf) if is_relu else np.trunc([attrs.a_min, attrs.a_max])
            # Behind a cast to few bits what lies outside of them is another number.
            if str(clip.checked_type.dtype) != self.dtype and (low < whole[0] or high > whole[1]):
                return whole
            least, most = int(max(least, low)), int(min(most, high))
        return least, most

    def fill(self, slot: str, value: Any) -> None:
        """Sets a slot that the row leaves open."""
        if slot == "range":
            self.told["range"] = value
        elif slot == "qparams":
            self.space.fill("scale", value[0])
            self.space.fill("zero_point", value[1])
        else:
            self.space.fill(slot, value)

    def check(self, name: str) -> None:
        """Refuses where the scale and the zero point cannot be those of this tensor."""
        scale, zero_point = self.space.scale, self.space.zero_point
        is_known = scale is not None or zero_point is not None
        if not is_known or not is_tensor(self._type):
            return
        # The constants of a match have been looked at when the space was made.
        wrong = wrong_numbers(scale, zero_point) if self.space.is_filled else None
        axis = self.axis
        if wrong is None and self.dtype.startswith(("int", "uint")):
            wrong = outside(zero_point, self.dtype)
        if wrong is None and axis is not None:
            wrong = misplaced(scale, zero_point, axis, self.shape, self.layout_or_none() or "")
        if wrong is not None:
            raise Refused(f"{name}: {wrong}")

    def tensor(self, inputs: Dict[Any, int]) -> Tensor:
        dtype = self.dtype
        scale, zero_point, axis = self.space.scale, self.space.zero_point, self.axis
        if axis is None and (np.ndim(scale) or np.ndim(zero_point)):
            scale = zero_point = None  # a vector along an axis that is not known says nothing
        if zero_point is not None:
            zero_point = in_dtype(zero_point, dtype)
        value = self.value if self.is_constant else None
        layout = self.layout_or_none()
        limits = self.range if dtype.startswith(("int", "uint")) else None
        index = inputs.get(self.expr)
        return Tensor(dtype, self.shape, scale, zero_point, axis, value, index, layout, limits)


class Order:
    """Which way round the commutative calls of a row are read: all ways in turn, the written one
    first. Goes back to the last call that was met, so what fails early is not tried again."""

    def __init__(self) -> None:
        self._ways: List[bool] = []
        self._met = 0
        self._swapped: Dict[Any, bool] = {}

    def operands(self, call_expr: Any, pairs: Iterable[Tuple[int, int]]) -> List[Any]:
        """The operands of a call; swapped, each of a pair in the other's place."""
        if self._met == len(self._ways):
            self._ways.append(False)
        swapped = self._ways[self._met]
        self._met += 1
        self._swapped[call_expr] = swapped
        found = list(call_expr.args)
        for first, second in pairs if swapped else ():
            found[first], found[second] = found[second], found[first]
        return found

    def is_swapped(self, call_expr: Any) -> bool:
        return self._swapped.get(call_expr, False)

    def advance(self) -> bool:
        """To the next way; False after the last."""
        while self._ways and self._ways[-1]:
            self._ways.pop()
        self._met = 0
        self._swapped = {}
        if not self._ways:
            return False
        self._ways[-1] = True
        return True


class Match:
    """The values and calls of one row by name. `inner` is all that a composite would hold, `blocks`
    are the forms and fragments that only some rows have, `shared` the calls that may have other
    users, `inherited` tells what lies outside the match."""

    def __init__(
        self,
        form: Optional[str],
        values: Dict[str, Any],
        calls: Dict[str, Any],
        inner: Tuple[Any, ...],
        blocks: Tuple[str, ...] = (),
        order: Optional[Order] = None,
        shared: Tuple[Any, ...] = (),
    ) -> None:
        self.form = form
        self.values = values
        self.calls = {name: Value(call) for name, call in calls.items()}
        self.blocks = blocks
        self.order = order if order is not None else Order()
        self.inner = inner
        self.shared = shared
        self.options: Any = None
        self.recording = False  # a check wants to know whether, not what
        self.is_told = False  # an extern was given tensors, with their inputs
        self.inputs: Dict[Any, int] = {}
        self.inherited: Callable[[Any], Optional[Parameters]] = lambda expr: None
        told: Dict[Any, Dict[str, Any]] = {}
        for value in values.values():
            if isinstance(value, Value):
                value.told = told.setdefault(value.node, value.told)

    def tensor(self, name: str) -> Any:
        """The record of a port: a Tensor, a tuple of them, or None where it is absent."""
        value = self.values.get(name)
        if not self.recording:
            return None
        if isinstance(value, list):
            return tuple(each.tensor(self.inputs) for each in value)
        return None if value is None else value.tensor(self.inputs)

    def check(self, filled: bool) -> None:
        """Refuses where a tensor has a scale, a zero point or an axis that it cannot have."""
        for name, value in self.values.items():
            for each in value if isinstance(value, list) else [value]:
                if each.space.is_filled == filled:
                    each.check(name)

    def inherit(self, value: Value) -> None:
        """Fills what the row leaves open from the analysis of the whole module.

        Where the match and the module around it disagree nothing is known: the record must not
        take sides.
        """
        found, space = self.inherited(value.expr), value.space
        if found is None or space.is_disputed:
            return
        for slot in ("scale", "zero_point"):
            bound, inherited = getattr(space, slot), getattr(found, slot)
            if isinstance(inherited, float) and slot == "scale":
                inherited = np.float32(inherited)
            if bound is None:
                setattr(space, slot, inherited)
            elif inherited is not None and not same_value(bound, inherited):
                space.is_disputed = True
        space.inherited_axis, space.is_filled = found.axis, True
        if space.is_disputed:
            space.scale = space.zero_point = None


class Target:
    """What is known of the target: of the one given, or of that of the `with` block around."""

    def __init__(self, target: Any = None) -> None:
        chosen = target if target is not None else tvm.target.Target.current(allow_none=True)
        if isinstance(chosen, str) and not chosen.strip():
            raise Refused("the target is blank")  # TVM 0.16 crashes on it
        if chosen is not None and not isinstance(chosen, (str, dict, tvm.target.Target)):
            raise Refused(f"the target is neither a text nor a dict: {chosen!r}")
        self.target = tvm.target.Target(chosen) if isinstance(chosen, (str, dict)) else chosen

    def fact(self, name: str) -> Any:
        """An attribute of the target, such as `mcpu`; `kind` and `keys` too; None if not said."""
        if self.target is None:
            return None
        if name == "kind":
            return str(self.target.kind.name)
        if name == "keys":
            return tuple(str(key) for key in self.target.keys)
        found = self.target.attrs.get(name) if hasattr(self.target.attrs, "get") else None
        return plain(found)


class Row(NamedTuple):
    """One alternation-free structure of a pattern. `inherits`: what the module around a match says
    of its tensors decides whether it is taken."""

    composite: str
    operators: Tuple[str, ...]
    pattern: Callable[[], Any]
    bind: Callable[[Any, Dict[Any, Any], Order], Match]
    record: Callable[[Match], Any]
    inherits: bool = False


def results(expr: Any, space: Optional[Space] = None) -> List[Value]:
    """The tensors of the tuple that a call gives."""
    count = len(expr.checked_type.fields)
    return [Value(expr, space, field=number) for number in range(count)]


def recorded(row: Row, root: Any, arguments: Dict[Any, Any], setup: Callable[[Match], None]) -> Any:
    """The record of a row at `root`. Raises Refused, also for whatever goes wrong in a condition:
    any exception in a check would stop all of MergeComposite."""
    return tried(row, root, arguments, setup)[1]


def tried(
    row: Row, root: Any, arguments: Dict[Any, Any], setup: Callable[[Match], None]
) -> Tuple[Match, Any]:
    """The match and the record of a row at `root`, its commutative calls read every way round.

    TVM has matched one way already and cut the composite out there, so another way counts only
    where it has the same calls inside.
    """
    order, refused, inner = Order(), [], None
    while True:
        try:
            match = row.bind(root, arguments, order)
            if inner is None or inner == set(match.inner):
                inner = set(match.inner)
                setup(match)
                return match, checked_record(row, match)
        except Refused as error:
            refused.append(error)
        except ArithmeticError as error:
            refused.append(Refused(f"a number cannot be calculated: {error}"))
        except Exception as error:
            refused.append(Refused(f"{type(error).__name__}: {' '.join(str(error).split())}"))
        if not order.advance():
            raise next((each for each in refused if not isinstance(each, Mismatch)), refused[0])


def checked_record(row: Row, match: Match) -> Any:
    """The record of a match. What is divided by zero, or has no room in int64, is an error."""
    with np.errstate(divide="raise", invalid="raise", over="raise"):
        match.check(filled=False)
        record = row.record(match)
        match.check(filled=True)
    return record


def first_taken(
    rows: Iterable[Row], root: Any, arguments: Dict[Any, Any], setup: Callable[[Match], None]
) -> Tuple[Match, Any]:
    """The match and the record of the first row that takes `root`. Raises Refused with the reason
    of the first that has the structure."""
    reasons = []
    for row in rows:
        try:
            return tried(row, root, arguments, setup)
        except Mismatch:
            continue
        except Refused as refused:
            reasons.append(str(refused))
    raise Refused(reasons[0] if reasons else "no pattern of this module has this body")


def refusal(
    row: Row,
    root: Any,
    options: Any,
    inherited: Optional[Callable[[Any], Optional[Parameters]]] = None,
) -> Optional[Refused]:
    """Why a row does not take `root`, a call in the graph with its operands behind it."""

    def setup(match: Match) -> None:
        match.options = options
        if inherited is not None:
            match.inherited = inherited

    try:
        recorded(row, root, {}, setup)
    except Refused as refused:
        return refused
    return None


# ---- end of records ---------------------------------------------------------------------
