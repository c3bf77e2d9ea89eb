"""Which names a structure uses, and which of its statements the output is made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from qpat.syntax import tree

# What each name is bound to, in each form that binds it.
Values = Mapping[str, tuple[tree.Structure, ...]]


def leaves(node: object) -> frozenset[str]:
    """The names that stand for a value anywhere in a structure. A slot (`x.scale`) is none."""
    return frozenset(_leaves(node))


def _leaves(node: object) -> Iterator[str]:
    waiting = [node]
    while waiting:
        each = waiting.pop()
        if isinstance(each, tree.Leaf):
            yield each.name
        else:
            waiting += tree.parts(each)


def reached(values: Values, names: Iterable[str]) -> frozenset[str]:
    """The names, and all that they are made of."""
    found: set[str] = set()
    _reach(values, names, found)
    return frozenset(found)


def _reach(values: Values, names: Iterable[str], found: set[str]) -> None:
    waiting = [name for name in names if name not in found]
    found.update(waiting)
    while waiting:
        new = leaves(values.get(waiting.pop(), ())) - found
        found |= new
        waiting += new


def apart(values: Values, output: str) -> tuple[str, ...]:
    """The bound names that nothing is made of, though they are not the output, in order; of names
    that only need each other the first."""
    seen = set(reached(values, [output]))
    ends = [name for name in values if name not in seen]
    inner = [leaves(values[name]) - {name} for name in ends]
    used = frozenset[str]().union(*inner)
    found: list[str] = []
    for name in [*(n for n in ends if n not in used), *(n for n in ends if n in used)]:
        if name not in seen:
            found.append(name)
            _reach(values, [name], seen)
    return tuple(found)
