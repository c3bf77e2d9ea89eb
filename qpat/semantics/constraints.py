"""Values that are equal, what is said of each, and where two of these sayings contradict."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import TypeAlias

from qpat.records import dataclass, field, replace
from qpat.source import Span

Scalar: TypeAlias = int | float | bool | str | None
Variable: TypeAlias = tuple[str | int, ...]
"""A dtype, rank, size or attribute: its kind, then which one it is."""


@dataclass(frozen=True)
class Allowed:
    """The values something may have: one of `values` (None: any), and from `least` to `most` (None:
    no end), those left out where they are in `open`; but none of `excluded`."""

    values: frozenset[Scalar] | None = None
    least: int | float | None = None
    most: int | float | None = None
    open: frozenset[str] = frozenset()
    excluded: frozenset[Scalar] = frozenset()

    def has(self, value: Scalar) -> bool:
        """Whether a value is one of them. What is no number lies in no range."""
        if value in self.excluded or (self.values is not None and value not in self.values):
            return False
        if self.least is None and self.most is None:
            return True
        return isinstance(value, int | float) and self._reaches(value)

    def _reaches(self, value: int | float) -> bool:
        if (self.least is not None and value < self.least) or (
            self.most is not None and value > self.most
        ):
            return False
        is_least = value == self.least and "least" in self.open
        is_most = value == self.most and "most" in self.open
        return not is_least and not is_most

    def shifted(self, by: int) -> Allowed:
        """The same for a number that is larger by `by`."""
        if by == 0:
            return self
        return replace(
            self,
            values=None if self.values is None else frozenset(_moved(self.values, by)),
            least=None if self.least is None else self.least + by,
            most=None if self.most is None else self.most + by,
            excluded=frozenset(_moved(self.excluded, by)),
        )


def _moved(values: Iterable[Scalar], by: int) -> Iterator[Scalar]:
    return (value + by for value in values if isinstance(value, int | float))


def one_of(*values: Scalar) -> Allowed:
    return Allowed(frozenset(values))


def impossible(allowed: Iterable[Allowed]) -> bool:
    """Whether no value is in all of them."""
    every = list(allowed)
    sets = [each.values for each in every if each.values is not None]
    if sets:
        smallest = min(sets, key=len)
        return not any(all(each.has(value) for each in every) for value in smallest)
    least = max((each.least for each in every if each.least is not None), default=None)
    most = min((each.most for each in every if each.most is not None), default=None)
    if least is None or most is None or least < most:
        return False
    return least > most or not all(each.has(least) for each in every)


@dataclass(frozen=True)
class Fact:
    """What a place in the text says of a variable.

    `place` is the name of a port, or an operand or attribute of `operator` ("result" for what it
    gives). `is_condition` for what a `where` says: its words are those of `span`. `words` say what
    is allowed, where the values themselves would say it badly.
    """

    variable: Variable
    allowed: Allowed
    span: Span
    place: str
    operator: str | None = None
    is_condition: bool = False
    words: str | None = None


@dataclass(frozen=True)
class Link:
    """Two variables that are equal, the second less `offset`, and what makes them so."""

    first: Variable
    second: Variable
    offset: int
    span: Span
    operator: str | None
    is_condition: bool


@dataclass(frozen=True)
class Conflict:
    """Facts that cannot all hold, in the order of the text, and the links between them."""

    facts: tuple[Fact, ...]
    links: tuple[Link, ...]

    @property
    def kind(self) -> str:
        """What the facts are about: dtype, rank, dim, size, attr, length or condition."""
        return str(self.facts[0].variable[0])

    @property
    def key(self) -> tuple[str, tuple[Span, ...]]:
        """What disagrees, and where: the same in every row that has this conflict."""
        return self.kind, tuple(fact.span for fact in self.facts)


@dataclass
class Constraints:
    """Facts of variables, and which variables are equal."""

    facts: list[Fact] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    _parents: dict[Variable, tuple[Variable, int]] = field(default_factory=dict)

    def root(self, variable: Variable) -> tuple[Variable, int]:
        """What stands for all that are equal to a variable, and `variable` minus that."""
        chain = []
        while variable in self._parents:
            chain.append(variable)
            variable = self._parents[variable][0]
        offset = 0
        for each in reversed(chain):
            offset += self._parents[each][1]
            self._parents[each] = (variable, offset)
        return variable, offset

    def say(self, fact: Fact) -> None:
        self.facts.append(fact)

    def equate(
        self,
        first: Variable,
        second: Variable,
        span: Span,
        operator: str | None = None,
        *,
        offset: int = 0,
        is_condition: bool = False,
    ) -> None:
        """Says that `second` is `first` plus `offset`."""
        (root, here), (other, there) = self.root(first), self.root(second)
        if root == other:
            return
        self._parents[other] = (root, here + offset - there)
        self.links.append(Link(first, second, offset, span, operator, is_condition))

    def conflicts(self) -> list[tuple[Conflict, ...]]:
        """For each class of equal variables that cannot be, the pairs of facts that contradict;
        three or more facts where only those do."""
        groups: dict[Variable, list[tuple[Fact, Allowed]]] = {}
        for fact in self.facts:
            root, offset = self.root(fact.variable)
            groups.setdefault(root, []).append((fact, fact.allowed.shifted(-offset)))
        found = []
        for group in groups.values():
            if len(group) > 1 and impossible(allowed for _, allowed in group):
                found.append(tuple(self._conflict(facts) for facts in _disputes(group)))
        return found

    def _conflict(self, facts: tuple[Fact, ...]) -> Conflict:
        links = [
            link
            for first, second in zip(facts, facts[1:], strict=False)
            for link in self._way(first.variable, second.variable)
        ]
        ordered = sorted(facts, key=lambda fact: (fact.span.start, fact.is_condition))
        return Conflict(tuple(ordered), tuple(dict.fromkeys(links)))

    def _way(self, start: Variable, end: Variable) -> tuple[Link, ...]:
        """The chain of links between two variables that are equal."""
        neighbours: dict[Variable, list[tuple[Variable, Link]]] = {}
        for link in self.links:
            neighbours.setdefault(link.first, []).append((link.second, link))
            neighbours.setdefault(link.second, []).append((link.first, link))
        ways: dict[Variable, tuple[Link, ...]] = {start: ()}
        queue = deque([start])
        while queue and end not in ways:
            here = queue.popleft()
            for there, link in neighbours.get(here, []):
                if there not in ways:
                    ways[there] = (*ways[here], link)
                    queue.append(there)
        return ways[end]


def _disputes(group: list[tuple[Fact, Allowed]]) -> Iterator[tuple[Fact, ...]]:
    pairs = [
        (first, second)
        for index, (first, allowed) in enumerate(group)
        for second, other in group[index + 1 :]
        if impossible((allowed, other))
    ]
    if pairs:
        yield from pairs
        return
    # Leaves out one after the other as long as the rest still contradicts.
    needed = list(group)
    for each in group:
        rest = [other for other in needed if other is not each]
        if impossible(allowed for _, allowed in rest):
            needed = rest
    yield tuple(fact for fact, _ in needed)
