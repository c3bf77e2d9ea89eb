"""What the names of a pattern stand for, seen over a set of its rows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from qpat.ops.roles import TUPLE_RESULTS
from qpat.records import dataclass, field, replace
from qpat.semantics import ir
from qpat.semantics.blocks import Dropped
from qpat.semantics.walk import tensors
from qpat.syntax import tree


@dataclass(frozen=True)
class Names:
    """What a pattern's names are. `absent_values` and `absent_calls` are missing in some rows;
    `optional` are the names that a row of any IR lacks, and `x.value` where one has `const? x`.

    `dimensions` has the ports that each is read off, or none where one of them is always there;
    `layouts` the names whose layout every row that has them says, with what it is where the
    pattern says that too.
    """

    values: frozenset[str]
    many: frozenset[str]
    calls: Mapping[str, tuple[str, ...]]  # the operators each call's name can stand for
    absent_values: frozenset[str]
    absent_calls: frozenset[str]
    optional: frozenset[str]
    inherited: frozenset[str]  # in one space with a port that inherits
    open: frozenset[tuple[str, str]]  # (name, slot) that some row's structure does not say
    unbound: frozenset[tuple[str, str]]  # of those, what no `let` fills in such a row either
    constants: frozenset[str]
    maybe_constants: frozenset[str]
    dimensions: Mapping[str, tuple[str, ...]]
    layouts: Mapping[str, frozenset[str]]
    swaps: frozenset[str]  # calls whose operands may change places
    tuples: frozenset[str]  # names of calls that give a tuple
    forms: tuple[str, ...]
    has_meaning: bool


NO_NAMES = Names(
    values=frozenset(),
    many=frozenset(),
    calls={},
    absent_values=frozenset(),
    absent_calls=frozenset(),
    optional=frozenset(),
    inherited=frozenset(),
    open=frozenset(),
    unbound=frozenset(),
    constants=frozenset(),
    maybe_constants=frozenset(),
    dimensions={},
    layouts={},
    swaps=frozenset(),
    tuples=frozenset(),
    forms=(),
    has_meaning=False,
)
"""What there is outside of a pattern."""


@dataclass
class Interface:
    """What there is for every pattern of a program. `option_kinds` grows while options are looked
    at."""

    externs: dict[str, ir.Extern] = field(default_factory=dict)
    option_kinds: dict[str, ir.Kind] = field(default_factory=dict)
    fragments: tuple[str, ...] = ()  # what a misspelt operator may have been


@dataclass(frozen=True)
class Filling:
    """`let x.scale = …`, in a block of a pattern."""

    block: str
    name: str
    slot: str


def names_of(
    pattern: tree.Pattern,
    rows: tuple[ir.Row, ...],
    fillings: Collection[Filling],
    elsewhere: tuple[ir.Row, ...],
    dropped: Dropped,
) -> Names:
    """What the names mean in all of `rows`. Those that only the rows of another IR have, which are
    `elsewhere`, mean what they do there, and are absent here; so are the `dropped` ones, which no
    row has at all."""
    here = _names_in(pattern, rows, fillings)
    if elsewhere:
        here = _with_others(here, _names_in(pattern, elsewhere, fillings))
    here = replace(here, optional=here.optional | (dropped.loose & here.values))
    more = dropped.names - here.values
    if not more:
        return here
    return replace(
        here,
        values=here.values | more,
        calls={**dict.fromkeys(more, ()), **here.calls},
        absent_values=here.absent_values | more,
        absent_calls=here.absent_calls | more,
        optional=here.optional | more,
        constants=here.constants | more,
        layouts={**dict.fromkeys(more, frozenset[str]()), **here.layouts},
        swaps=here.swaps | more,
    )


def _with_others(here: Names, there: Names) -> Names:
    """The names of one IR, and those that only the other has."""
    more, new_calls = there.values - here.values, there.calls.keys() - here.calls.keys()
    one_ir_alone = (here.values ^ there.values) | (here.calls.keys() ^ there.calls.keys())
    return replace(
        here,
        values=here.values | more,
        calls={**here.calls, **{name: there.calls[name] for name in new_calls}},
        absent_values=here.absent_values | more,
        absent_calls=here.absent_calls | new_calls,
        optional=here.optional | there.optional | one_ir_alone,
        inherited=here.inherited | (there.inherited & more),
        open=here.open | there.open,
        constants=here.constants | (there.constants & more),
        maybe_constants=here.maybe_constants | (there.maybe_constants & more),
        layouts={**{n: there.layouts[n] for n in there.layouts.keys() & more}, **here.layouts},
        swaps=here.swaps | (there.swaps & new_calls),
        tuples=here.tuples | (there.tuples & more),
        forms=tuple(dict.fromkeys([*here.forms, *there.forms])),
    )


def _names_in(
    pattern: tree.Pattern, rows: tuple[ir.Row, ...], fillings: Collection[Filling]
) -> Names:
    """What the names mean in rows of one IR."""
    values = frozenset(name for row in rows for name in row.values)
    operators: dict[str, set[str]] = {}
    for row in rows:
        for name, index in row.calls.items():
            node = row.nodes[index]
            if isinstance(node, ir.Call):
                operators.setdefault(name, set()).add(node.operator)
    calls = {name: tuple(sorted(found)) for name, found in operators.items()}
    ports = (*pattern.ports, pattern.output)
    many = _many(pattern.block)
    tuples = frozenset(n for n, found in operators.items() if found <= TUPLE_RESULTS) - many
    absent_values = frozenset(n for n in values if any(n not in row.values for row in rows))
    absent_calls = frozenset(n for n in calls if any(n not in row.calls for row in rows))
    maybe_constants = _constant_names(rows, ir.Constness.EITHER)
    optional_values = frozenset(f"{name}.value" for name in maybe_constants)
    return Names(
        values=values,
        many=frozenset(port.name.text for port in ports if port.many) | many,
        calls=calls,
        absent_values=absent_values,
        absent_calls=absent_calls,
        optional=absent_values | absent_calls | optional_values,
        inherited=_inherited(pattern, rows),
        open=_unbound(rows, ()),
        unbound=_unbound(rows, fillings),
        constants=_constant_names(rows, ir.Constness.CONSTANT),
        maybe_constants=maybe_constants,
        forms=tuple(dict.fromkeys(row.form for row in rows if row.form is not None)),
        dimensions=_dimensions(ports),
        layouts=_layouts(rows),
        swaps=frozenset(n for row in rows for n, at in row.calls.items() if at in row.swaps),
        tuples=tuples,
        has_meaning=_has_meaning(pattern.block),
    )


def _dimensions(ports: Iterable[tree.Port]) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[tree.Port]] = {}
    for port in ports:
        shape = port.type.shape if port.type is not None else None
        for dimension in shape or ():
            if isinstance(dimension.value, str):
                found.setdefault(dimension.value, []).append(port)
    return {
        name: tuple(port.name.text for port in by) if all(port.maybe for port in by) else ()
        for name, by in found.items()
    }


def _has_meaning(block: tree.Block) -> bool:
    return any(isinstance(each, tree.Meaning) for each in tree.all_statements(block))


def _many(block: tree.Block) -> frozenset[str]:
    """The names that stand for all fields of a tuple: `ys... = split(x)`."""
    binds = (each for each in tree.all_statements(block) if isinstance(each, tree.Bind))
    return frozenset(out.name for bind in binds for out in bind.outs if out.many)


def _layouts(rows: tuple[ir.Row, ...]) -> Mapping[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    unknown: set[str] = set()
    for row in rows:
        for name, index in row.values.items():
            layout = row.layouts.get(index)
            if layout is None:
                unknown.add(name)
                continue
            call = row.nodes[layout.call]
            assert isinstance(call, ir.Call)
            stated = found.setdefault(name, set())
            stated |= {str(a.value) for a in call.attributes if a.name == layout.attribute}
    return {name: frozenset(stated) for name, stated in found.items() if name not in unknown}


def _unbound(rows: tuple[ir.Row, ...], fillings: Collection[Filling]) -> frozenset[tuple[str, str]]:
    """The (name, slot) that in some row no constant of the structure says, and no filling."""
    found: set[tuple[str, str]] = set()
    for row in rows:
        filled = {(row.values.get(f.name), f.slot) for f in fillings if f.block in row.blocks}
        space_of = {member: space for space in row.spaces for member in space.members}
        for name, index in row.values.items():
            space = space_of.get(tensors(row.nodes, index)[0])
            members = space.members if space is not None else frozenset([index])
            for slot in ("scale", "zero_point"):
                said = space is not None and (
                    space.scales if slot == "scale" else space.zero_points
                )
                if not said and not any((member, slot) in filled for member in members):
                    found.add((name, slot))
    return frozenset(found)


def _sites(space: ir.Space, slot: str) -> tuple[ir.Site, ...]:
    return space.scales if slot == "scale" else space.zero_points


def _constant_names(rows: tuple[ir.Row, ...], constness: ir.Constness) -> frozenset[str]:
    return frozenset(
        node.name
        for row in rows
        for node in row.nodes
        if isinstance(node, ir.Input) and node.name is not None and node.constness is constness
    )


def _inherited(pattern: tree.Pattern, rows: tuple[ir.Row, ...]) -> frozenset[str]:
    """The names in one space with a port that inherits, in some row."""
    statements = tree.all_statements(pattern.block)
    ports = {name.text for s in statements if isinstance(s, tree.Inherit) for name in s.names}
    found: set[str] = set()
    for row in rows:
        for space in row.spaces:
            names = {
                name
                for name, index in row.values.items()
                if not space.members.isdisjoint(tensors(row.nodes, index))
            }
            if names & ports:
                found |= names
    return frozenset(found | ports)
