"""What operators say of ranks and sizes, and what follows from it in a row."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from qpat.ops import types as rules
from qpat.ops.roles import RESULT
from qpat.ops.types import types
from qpat.records import replace
from qpat.semantics import ir
from qpat.semantics.constraints import Allowed, Constraints, Fact, Variable, one_of
from qpat.semantics.facts import Bound, Largest, MovedSize, RowFacts, SameSizes, Site
from qpat.source import Span

_LAYOUT = re.compile(r"(?:\d*[A-Za-z])+")

# ---- what one call says ----------------------------------------------------------------------


def shape_facts(site: Site) -> None:  # noqa: C901 - one case for each kind of rule
    """What the operator of a call says of ranks and dimensions."""
    known = types(site.call.operator)
    for rule in known.shapes if known is not None else ():
        match rule:
            case rules.OneShape():
                site.equate("rank", rule.places)
                _same_sizes(site, rule.places)
            case rules.OneRank():
                if rule.when is None or site.is_set(rule.when, True):
                    site.equate("rank", rule.places)
            case rules.Rank():
                site.say("rank", rule.place, _between(rule.least, rule.most))
            case rules.LayoutRank():
                _layout_rank(site, rule)
            case rules.LayoutReach():
                _layout_reach(site, rule)
            case rules.SameLetter():
                _same_letter(site, rule)
            case rules.Broadcast():
                _broadcast(site, rule)
            case rules.NoMore():
                _no_more(site, rule)
            case rules.Grown():
                _grown(site, rule)
            case rules.Removed():
                _removed(site, rule)
            case rules.AxisOf():
                _axis_of(site, rule)
            case rules.Permuted():
                _permuted(site, rule)
            case rules.Shaped():
                _shaped(site, rule)
            case rules.Padded():
                _padded(site, rule)
            case rules.SameFront():
                _same_sizes(site, (rule.place, RESULT), but_last=True)


def _between(least: int, most: int | None) -> Allowed:
    return one_of(least) if least == most else Allowed(least=least, most=most)


def _same_sizes(
    site: Site, places: Iterable[str], but: frozenset[int] = frozenset(), but_last: bool = False
) -> None:
    first, *others = (node for place in places for node in site.nodes(place))
    for node in others:
        same = SameSizes(first, node, site.call.span, site.call.operator, but, but_last)
        site.facts.same.append(same)


def _layout(site: Site, name: str) -> tuple[list[str], Span] | None:
    """The dimensions of a layout that the pattern says: NCHW4c has five. A result without a layout
    of its own has the data's."""
    found = site.attribute(name)
    if found is not None and found.value == "" and name == "out_layout":
        found = site.attribute("data_layout")
    if found is None or not isinstance(found.value, str) or not _LAYOUT.fullmatch(found.value):
        return None
    return re.findall(r"[A-Za-z]", found.value), found.span


def _layout_rank(site: Site, rule: rules.LayoutRank) -> None:
    layout = _layout(site, rule.attribute)
    if layout is None:
        site.say("rank", rule.place, Allowed(least=rule.least))
    else:
        site.say("rank", rule.place, one_of(len(layout[0])), layout[1])


def _layout_reach(site: Site, rule: rules.LayoutReach) -> None:
    layout = _layout(site, rule.attribute)
    if layout is None:
        site.say("rank", rule.place, Allowed(least=len(rule.letters)))
        return
    letters, span = layout
    if not set(rule.letters) <= set(letters):
        return  # TVM takes no such layout, but that is another fault
    places = frozenset(letters.index(letter) for letter in rule.letters)
    site.say("rank", rule.place, Allowed(least=max(places) + 1), span)
    _same_sizes(site, (rule.place, RESULT), but=places)


def _same_letter(site: Site, rule: rules.SameLetter) -> None:
    ends: list[tuple[int, int]] = []
    for place, attribute in (rule.first, rule.second):
        layout = _layout(site, attribute)
        letters = layout[0] if layout is not None else []
        if letters.count(rule.letter) != 1 or rule.letter.lower() in letters:
            return
        ends.append((site.nodes(place)[0], letters.index(rule.letter)))
    site.facts.moved.append(MovedSize(*ends[0], *ends[1], site.call.span, site.call.operator))


def _broadcast(site: Site, rule: rules.Broadcast) -> None:
    nodes = tuple(node for place in rule.places for node in site.nodes(place))
    site.facts.bounds.append(Largest(nodes, site.index, site.call.span, site.call.operator))


def _no_more(site: Site, rule: rules.NoMore) -> None:
    (smaller,), (larger,) = site.nodes(rule.smaller), site.nodes(rule.larger)
    ends = (smaller, rule.smaller), (larger, rule.larger)
    site.facts.bounds.append(Bound(*ends, site.call.span, site.call.operator))


def _grown(site: Site, rule: rules.Grown) -> None:
    by: object = rule.by
    if isinstance(by, str):
        attribute = site.attribute(by)
        by = attribute.value if attribute is not None else None
    if isinstance(by, int) and by >= 0:
        for node in site.nodes(rule.place):
            first, second = ("rank", node), ("rank", site.index)
            site.facts.constraints.equate(
                first, second, site.call.span, site.call.operator, offset=by
            )


def _removed(site: Site, rule: rules.Removed) -> None:
    attribute = site.attribute(rule.attribute)
    if attribute is None or not all(site.is_set(name, False) for name in rule.unless):
        return
    axes = whole_numbers(attribute.value)
    # An axis could be named twice, from the front and from the back.
    if not axes or len({axis < 0 for axis in axes}) > 1:
        return
    if len(set(axes)) == len(axes):
        site.equate("rank", (RESULT, rule.place), offset=len(axes))


def _axis_of(site: Site, rule: rules.AxisOf) -> None:
    attribute = site.attribute(rule.attribute)
    value = attribute.value if attribute is not None else ()
    axes = value if isinstance(value, tuple) else (value,)
    needed = [axis + 1 if axis >= 0 else -axis for axis in axes if isinstance(axis, int)]
    if attribute is not None and needed:
        site.say("rank", rule.place, Allowed(least=max(needed) - rule.spare), attribute.span)


def _permuted(site: Site, rule: rules.Permuted) -> None:
    attribute = site.attribute(rule.attribute)
    axes = whole_numbers(attribute.value) if attribute is not None else None
    if attribute is None or axes is None:
        return
    site.say("rank", rule.place, one_of(len(axes)), attribute.span)
    (data,) = site.nodes(rule.place)
    for position, axis in enumerate(axes):
        ends = (data, axis), (site.index, position)
        moved = MovedSize(*ends[0], *ends[1], attribute.span, site.call.operator)
        site.facts.moved.append(moved)


def _shaped(site: Site, rule: rules.Shaped) -> None:
    attribute = site.attribute(rule.attribute)
    sizes = whole_numbers(attribute.value) if attribute is not None else None
    if attribute is None or sizes is None or any(size < -1 for size in sizes):
        return
    site.say("rank", RESULT, one_of(len(sizes)), attribute.span)
    for position, size in enumerate(sizes):
        if size > 0:
            variable = ("dim", site.index, position)
            fact = Fact(variable, one_of(size), attribute.span, RESULT, site.call.operator)
            site.facts.sizes.append(fact)


def _padded(site: Site, rule: rules.Padded) -> None:
    attribute = site.attribute(rule.attribute)
    if attribute is None or not isinstance(attribute.value, tuple):
        return
    site.say("rank", rule.place, one_of(len(attribute.value)), attribute.span)
    (data,) = site.nodes(rule.place)
    for axis, pair in enumerate(attribute.value):
        widths = whole_numbers(pair)
        if widths is not None:
            ends = (data, axis), (site.index, axis)
            where = attribute.span, site.call.operator
            site.facts.moved.append(MovedSize(*ends[0], *ends[1], *where, sum(widths)))


def whole_numbers(value: ir.AttributeValue) -> tuple[int, ...] | None:
    """The numbers of a list of whole numbers; None for anything else."""
    if not isinstance(value, tuple):
        return None
    numbers = tuple(each for each in value if isinstance(each, int) and not isinstance(each, bool))
    return numbers if len(numbers) == len(value) else None


# ---- what follows ----------------------------------------------------------------------------


def settled(facts: RowFacts) -> Constraints:
    """The constraints of a row, with what follows for sizes and for ranks that bound each other."""
    if not (facts.bounds or facts.sizes or facts.named):
        return facts.constraints
    ranks = _Ranks(facts.constraints)
    for bound in facts.bounds:
        if isinstance(bound, Largest):
            ranks.bound_largest(bound)
        else:
            ranks.bound_pair(bound)
    if facts.sizes or facts.named:
        _settle_sizes(facts, ranks)
    return facts.constraints


_ANY_RANK = (0, None)


class _Ranks:
    """The least and the greatest rank of each node, as far as facts say; None for no end."""

    def __init__(self, constraints: Constraints) -> None:
        self.constraints = constraints
        self.ends: dict[Variable, tuple[int, int | None]] = {}
        for fact in constraints.facts:
            if fact.variable[0] == "rank":
                self._narrow(fact)

    def _narrow(self, fact: Fact) -> None:
        root, offset = self.constraints.root(fact.variable)
        allowed = fact.allowed.shifted(-offset)
        least, most = self.ends.get(root, _ANY_RANK)
        numbers = [value for value in allowed.values or () if isinstance(value, int)]
        lows = [least, allowed.least, min(numbers, default=None)]
        tops = [most, allowed.most, max(numbers, default=None)]
        self.ends[root] = (
            max(low for low in lows if isinstance(low, int)),
            min((top for top in tops if isinstance(top, int)), default=None),
        )

    def of(self, node: int) -> tuple[int, int | None] | None:
        """None where what is said contradicts itself: nothing follows from that."""
        root, offset = self.constraints.root(("rank", node))
        least, most = self.ends.get(root, _ANY_RANK)
        if most is not None and least > most:
            return None
        return max(0, least + offset), None if most is None else most + offset

    def known(self, node: int) -> int | None:
        """The rank of a node where there is but one."""
        ends = self.of(node)
        return ends[0] if ends is not None and ends[0] == ends[1] else None

    def _derive(self, fact: Fact) -> None:
        self.constraints.say(fact)
        self._narrow(fact)

    def bound_pair(self, bound: Bound) -> None:
        (smaller, small_place), (larger, large_place) = bound.smaller, bound.larger
        small, large = self.of(smaller), self.of(larger)
        if small is None or large is None:
            return
        where = bound.span
        if small[0] > large[0]:
            allowed = Allowed(least=small[0])
            self._derive(Fact(("rank", larger), allowed, where, large_place, bound.operator))
        elif large[1] is not None and (small[1] is None or large[1] < small[1]):
            allowed = Allowed(most=large[1])
            self._derive(Fact(("rank", smaller), allowed, where, small_place, bound.operator))

    def bound_largest(self, bound: Largest) -> None:
        ends = [self.of(node) for node in bound.nodes]
        mine = self.of(bound.result)
        known = [end for end in ends if end is not None]
        if mine is None or len(known) < len(ends):
            return
        least = max(end[0] for end in known)
        tops = [end[1] for end in known if end[1] is not None]
        most = max(tops) if len(tops) == len(known) else None
        if least > mine[0] or (most is not None and (mine[1] is None or most < mine[1])):
            allowed = _between(least, most)
            fact = Fact(("rank", bound.result), allowed, bound.span, RESULT, bound.operator)
            self._derive(fact)


def _settle_sizes(facts: RowFacts, ranks: _Ranks) -> None:
    constraints = facts.constraints
    for named in facts.named:
        variable = _dimension(ranks, named.node, named.axis)
        if variable is not None:
            constraints.equate(
                named.variable, variable, named.span, is_condition=named.is_condition
            )
    for moved in (*_same_sizes_moved(facts, ranks), *facts.moved):
        first = _dimension(ranks, moved.first, moved.first_axis)
        second = _dimension(ranks, moved.second, moved.second_axis)
        if first is not None and second is not None:
            constraints.equate(first, second, moved.span, moved.operator, offset=moved.offset)
    for fact in facts.sizes:
        _, node, index = fact.variable
        variable = _dimension(ranks, int(node), int(index))
        if variable is not None:
            constraints.say(replace(fact, variable=variable))


def _same_sizes_moved(facts: RowFacts, ranks: _Ranks) -> Iterator[MovedSize]:
    """Nodes with equal dimensions, dimension by dimension."""
    indices = sorted(set(_indices(facts, ranks)))
    for same in facts.same:
        for index in indices:
            if _is_same(same, index, ranks):
                yield MovedSize(same.first, index, same.second, index, same.span, same.operator)


def _dimension(ranks: _Ranks, node: int, index: int) -> Variable | None:
    """A dimension, counted from the front where the rank is known; None where there is none."""
    if ranks.of(node) is None:
        return None
    rank = ranks.known(node)
    if rank is None:
        return ("dim", node, index)
    place = index + rank if index < 0 else index
    return ("dim", node, place) if 0 <= place < rank else None


def _indices(facts: RowFacts, ranks: _Ranks) -> Iterator[int]:
    """The indices of dimensions that may matter."""
    for same in facts.same:
        yield from range(ranks.known(same.first) or 0)
    for fact in facts.sizes:
        yield int(fact.variable[2])
    for named in facts.named:
        yield named.axis


def _is_same(same: SameSizes, index: int, ranks: _Ranks) -> bool:
    rank = ranks.known(same.first)
    if same.but_last:
        return rank is not None and 0 <= index < rank - 1
    if same.but:
        return index >= 0 and index not in same.but
    return rank is None or index >= 0
