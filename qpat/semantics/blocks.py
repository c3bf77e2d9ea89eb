"""The blocks of a pattern: its own statements, its forms, the fragments it uses and their forms.

A form is one alternative of the block around it; a row picks one form of each block that has some.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from qpat.diagnostics import Findings
from qpat.records import dataclass
from qpat.semantics.reports import report_twice
from qpat.semantics.uses import leaves
from qpat.source import Span
from qpat.syntax import tree


@dataclass(frozen=True, eq=False)
class Block:
    """`name` tells it from the pattern's other blocks: "" the pattern, "/qnn" a form of it,
    "requantize" a fragment, "requantize/shift" a form of that. `label` is a form's label.

    `parts` are the statements and the blocks in the order written. `picks` are the forms that a row
    has picked to have this block: (name of the block that has the forms, label). `out` is the name
    of a fragment's value: the block counts where that is part of the row.
    """

    name: str
    label: str | None
    span: Span
    parts: tuple[tree.Statement | Block, ...]
    picks: tuple[tuple[str, str], ...]
    out: str | None = None

    @property
    def forms(self) -> tuple[Block, ...]:
        return tuple(p for p in self.parts if isinstance(p, Block) and p.label is not None)

    @property
    def statements(self) -> Iterator[tree.Statement]:
        """Its own statements, not those of blocks in it."""
        return (part for part in self.parts if not isinstance(part, Block))

    def all(self) -> Iterator[Block]:
        """This block and all within it, outer ones first."""
        yield self
        for part in self.parts:
            if isinstance(part, Block):
                yield from part.all()


@dataclass(frozen=True)
class Place:
    """A statement that binds a name, and the block it stands in."""

    bind: tree.Bind
    position: int  # which of the names on the left
    block: Block


# What a module can be generated for, by the word in a form's `on`.
TARGETS = {"relay": "Relay", "relax": "Relax"}


def blocks(pattern: tree.Pattern, target: str | None, findings: Findings) -> Block:
    """The blocks that a pattern whose fragments are inlined has on a target; None: on any."""
    return _Blocks(pattern, target, findings).block("", None, pattern.block, pattern.span, ())


def is_elsewhere(pattern: tree.Pattern, target: str) -> bool:
    """Whether every form of a pattern is for another target."""
    forms = [each for each in pattern.block.statements if isinstance(each, tree.Form)]
    others = TARGETS.keys() - {target}
    return bool(forms) and all(
        form.target is not None and form.target.text in others for form in forms
    )


def other_target(pattern: tree.Pattern, target: str) -> str | None:
    """The other target, if the pattern, its fragments inlined, can be built for it and has a form
    for it alone."""
    forms = (each for each in tree.all_statements(pattern.block) if isinstance(each, tree.Form))
    named = {form.target.text for form in forms if form.target is not None}
    others = [each for each in TARGETS if each != target and each in named]
    return next((each for each in others if not is_elsewhere(pattern, each)), None)


def params_elsewhere(pattern: tree.Pattern, target: str) -> tuple[str, ...]:
    """The parameters that only forms for other targets have: the record has them all the same."""
    found = dict.fromkeys(_params(pattern.block, target, elsewhere=True))
    here = set(_params(pattern.block, target, elsewhere=False))
    return tuple(name for name in found if name not in here)


def _params(block: tree.Block, target: str, elsewhere: bool, inside: bool = False) -> Iterator[str]:
    """The parameters in a block; of forms for other targets, or of all else."""
    for each in block.statements:
        if isinstance(each, tree.Param) and inside == elsewhere:
            yield from (name.text for name in each.names)
        if isinstance(each, tree.Form | tree.Inlined):
            on = each.target if isinstance(each, tree.Form) else None
            is_inside = inside or (on is not None and on.text != target)
            yield from _params(each.block, target, elsewhere, is_inside)


class _Blocks:
    def __init__(self, pattern: tree.Pattern, target: str | None, findings: Findings) -> None:
        self.pattern = pattern
        self.target = target
        self.findings = findings

    def block(
        self,
        name: str,
        label: str | None,
        block: tree.Block,
        span: Span,
        picks: tuple[tuple[str, str], ...],
        out: str | None = None,
    ) -> Block:
        parts: list[tree.Statement | Block] = []
        seen: dict[str, Span] = {}
        for statement in block.statements:
            if isinstance(statement, tree.Form):
                if self._is_built(statement, seen):
                    inner = f"{name}/{statement.name.text}"
                    chosen = (*picks, (name, statement.name.text))
                    text = statement.name.text
                    parts.append(self.block(inner, text, statement.block, statement.span, chosen))
            elif isinstance(statement, tree.Inlined):
                inner, out_of = statement.name, statement.out
                parts.append(
                    self.block(inner, None, statement.block, statement.span, picks, out_of)
                )
            else:
                parts.append(statement)
        made = Block(name, label, span, tuple(parts), picks, out)
        is_broken = any(isinstance(each, tree.Broken) for each in block.statements)
        if seen and not made.forms and not is_broken and self.target is not None:
            where = f"`{self.pattern.name.text}`" if not name else f"`{name}`"
            message = f"no form of {where} is for {TARGETS[self.target]}"
            self.findings.error("QP122", self.pattern.name.span, message)
        return made

    def _is_built(self, form: tree.Form, seen: dict[str, Span]) -> bool:
        if form.name.text in seen:
            report_twice(form.name, seen[form.name.text], "form", self.findings)
            return False
        seen[form.name.text] = form.name.span
        if form.target is None or self.target in (form.target.text, None):
            return True
        if form.target.text not in TARGETS:
            message = f"`{form.target.text}` is no target; targets are `relay` and `relax`"
            self.findings.error("QP122", form.target.span, message)
        return False


def places(root: Block) -> Mapping[str, tuple[Place, ...]]:
    """Where each name is bound."""
    found: dict[str, tuple[Place, ...]] = {}
    for block in root.all():
        for statement in block.statements:
            if not isinstance(statement, tree.Bind):
                continue
            for position, out in enumerate(statement.outs):
                place = Place(statement, position, block)
                found[out.name] = (*found.get(out.name, ()), place)
    return found


@dataclass(frozen=True)
class Dropped:
    """What a block may not have because of forms for one IR of a fragment that a form for the other
    uses: they are built nowhere. `names` are those that only they bind, named constants too;
    `loose` those in the forms beside them, which would be absent in them."""

    names: frozenset[str] = frozenset()
    loose: frozenset[str] = frozenset()


def dropped(every: Block, block: Block, built: frozenset[str]) -> Dropped:
    """`every` has all that the pattern has on any IR, `built` are the blocks that some IR has."""
    inner = [each for each in every.all() if not exclude(each, block)]
    if all(each.name in built for each in inner):
        return Dropped()
    names: set[str] = set()
    known: set[str] = set()
    for each in inner:
        (known if each.name in built else names).update(_names_in(each))
    owners = [o for o in inner if any(form.name not in built for form in o.forms)]
    beside = {n for o in owners for form in o.forms for b in form.all() for n in _names_in(b)}
    return Dropped(frozenset(names - known), frozenset(beside))


def _names_in(block: Block) -> Iterator[str]:
    """The names that a block's own statements bind or are made of."""
    for statement in block.statements:
        if isinstance(statement, tree.Bind):
            yield from (out.name for out in statement.outs)
            yield from leaves(statement.value)


def bound_values(
    found: Mapping[str, tuple[Place, ...]], counts: Callable[[Block], bool] = lambda block: True
) -> Mapping[str, tuple[tree.Structure, ...]]:
    """What each name is bound to, in the blocks that count; without the names bound in none."""
    kept = {
        name: tuple(place.bind.value for place in several if counts(place.block))
        for name, several in found.items()
    }
    return {name: values for name, values in kept.items() if values}


def exclude(first: Block, second: Block) -> bool:
    """Whether no row has both blocks: they are in different forms of one block."""
    picked = dict(first.picks)
    return any(picked.get(owner, label) != label for owner, label in second.picks)
