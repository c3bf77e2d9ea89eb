"""One pattern to the IR: its ports, forms and rows, and the statements that count in them.

Ports, structure, spaces, statements and expressions have rooms of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress

from qpat.diagnostics import Findings, Fix, TooMany, did_you_mean, respelt
from qpat.ops.roles import exchange
from qpat.ops.table import operator, operator_names
from qpat.records import dataclass
from qpat.semantics import ir
from qpat.semantics.blocks import (
    Block,
    Place,
    blocks,
    bound_values,
    dropped,
    exclude,
    other_target,
    params_elsewhere,
    places,
)
from qpat.semantics.contradictions import report_contradictions
from qpat.semantics.draft import Draft, Scope
from qpat.semantics.excused import Excused, LostItems
from qpat.semantics.inlining import constant_names
from qpat.semantics.layouts import clips, layouts
from qpat.semantics.names import Filling, Interface
from qpat.semantics.ordering import ordered
from qpat.semantics.ports import lower_ports
from qpat.semantics.presence import names_read
from qpat.semantics.reports import report_twice
from qpat.semantics.row_checks import RowChecks
from qpat.semantics.spaces import derive_spaces, doubtful_nodes
from qpat.semantics.statements import Statements
from qpat.semantics.structure import expand
from qpat.semantics.uses import apart
from qpat.semantics.walk import under
from qpat.syntax import tree


def lower_pattern(
    node: tree.Pattern,
    compiler: str,
    interface: Interface,
    lost: LostItems,
    findings: Findings,
    target: str,
) -> tuple[ir.Pattern, ...]:
    """The pattern, its fragments inlined, or none where it has faults."""
    room = _Pattern(node, compiler, interface, lost, findings, target)
    try:
        pattern = room.lower()
    except TooMany:
        findings.extend(room.excused.unknown_names())
        return ()
    except RecursionError:
        if not findings.failed:  # fragments of fragments without an end are deep, too
            raise
        return ()
    return (pattern,) if pattern is not None else ()


@dataclass(frozen=True)
class _Elsewhere:
    """The blocks that a pattern has on another IR, and its rows there."""

    blocks: frozenset[str] = frozenset()
    rows: tuple[ir.Row, ...] = ()


class _Pattern:
    """Lowers one pattern, its fragments inlined."""

    def __init__(
        self,
        node: tree.Pattern,
        compiler: str,
        interface: Interface,
        lost: LostItems,
        findings: Findings,
        target: str,
    ) -> None:
        self.target = target
        self.node = node
        self.compiler = compiler
        self.interface = interface
        self.excused = Excused.of(node, lost)
        if findings.failed:
            self.excused.lose_structure()
        self.findings = findings
        self.inputs = {port.name.text: port for port in node.ports}
        self.elsewhere = _Elsewhere()

    def lower(self) -> ir.Pattern | None:
        rule = self.node.alias is not None and self.node.alias.is_operator_rule
        composite = "" if rule else self._composite()
        ports = lower_ports(self.node, self.findings, self.excused)
        before = len(self.findings.diagnostics)
        root = blocks(self.node, self.target, self.findings)
        if len(self.findings.diagnostics) > before and self.findings.failed:
            self.excused.lose_structure()
        found = places(root)
        self.elsewhere = self._elsewhere()
        rows = self._rows(root, found, ports)
        statements = self._statements(root, rows)
        self.excused.report(self.findings, self.node.block)
        if not self.findings.failed:
            self._report_unread()
        if not self.excused.is_faulty:
            report_contradictions(self.node, ports, rows, statements, self.findings)
        rule_of = self._operator_rule(rows)
        if self.findings.failed:
            return None
        return ir.Pattern(
            self.node.name.text,
            composite,
            self.node.doc,
            ports,
            rows,
            statements,
            self.node.span,
            rule_of,
            tuple(name.text for name in self.node.after),
            params_elsewhere(self.node, self.target),
        )

    def _report_unread(self) -> None:
        statements = list(tree.all_statements(self.node.block))
        if any(isinstance(each, tree.Broken) for each in statements):
            return  # it may be read there
        lets = [each for each in statements if isinstance(each, tree.Let) and each.slot is None]
        read = names_read(self.node.block) if lets else frozenset()
        for let in lets:
            if let.name.text not in read:
                message = f"`{let.name.text}` is never read"
                self.findings.warning("QP153", let.name.span, message, hint="leave it out")

    def _composite(self) -> str:
        alias = self.node.alias
        if alias is None:
            return f"{self.compiler}.{self.node.name.text}"
        if alias.text.startswith(f"{self.compiler}."):
            rest = alias.text[len(self.compiler) + 1 :]
            hint = f'write "{rest}"; the compiler\'s name is put before'
            message = f'"{alias.text}" already begins with the compiler\'s name'
            fix = Fix(alias.span, f'"{rest}"') if rest else None
            self.findings.error("QP142", alias.span, message, hint=hint, fix=fix)
        if not alias.text or '"' in alias.text:
            self.findings.error("QP142", alias.span, "a composite needs a name")
        return f"{self.compiler}.{alias.text}"

    def _operator_rule(self, rows: tuple[ir.Row, ...]) -> str | None:
        alias = self.node.alias
        if alias is None or not alias.is_operator_rule:
            return None
        if operator(alias.text) is None:
            hint = did_you_mean(alias.text, operator_names())
            fix = respelt(alias.span, alias.text, operator_names())
            message = f"`{alias.text}` is no Relay operator"
            self.findings.error("QP101", alias.span, message, hint=hint, fix=fix)
            return alias.text
        if self.excused.is_faulty:
            return alias.text  # what is said already may be why there is another call, or none
        for row in rows:
            root = row.nodes[row.root]
            calls = sum(isinstance(row.nodes[each], ir.Call) for each in under(row, row.root))
            if calls != 1 or not isinstance(root, ir.Call) or root.operator != alias.text:
                message = f'a rule for the operator "{alias.text}" matches one call of it'
                hint = (
                    f"write `{self.node.output.name.text} = {alias.text}(…)` and nothing around it"
                )
                self.findings.error("QP124", root.span, message, hint=hint)
                break
        return alias.text

    # ---- rows ----
    def _rows(
        self, root: Block, found: Mapping[str, tuple[Place, ...]], ports: tuple[ir.Port, ...]
    ) -> tuple[ir.Row, ...]:
        before = len(self.findings.diagnostics)
        scope = self._scope(root, found)
        drafts = expand(scope, self.findings)
        others = frozenset(name for row in self.elsewhere.rows for name in row.values)
        RowChecks(self.node, scope, drafts, self.findings, others).check()
        self.excused.has_faults |= len(self.findings.diagnostics) > before
        # A stable sort: forms stay in the order written.
        forms = [form.label for form in root.forms] or [None]
        drafts.sort(key=lambda draft: (forms.index(draft.form), -ir.call_count(draft.nodes)))
        names = {name for draft in drafts for name in (*draft.values, *draft.calls)}
        stated = [port for port in ports if port.dtypes and port.same_dtype_as is None]
        dtypes = {port.name: port.dtypes for port in stated}
        return tuple(
            _freeze(number, draft, names, dtypes, self.findings, self.excused)
            for number, draft in enumerate(drafts, start=1)
        )

    def _elsewhere(self) -> _Elsewhere:
        """What the pattern is on the other IR. What is wrong there is said when that is looked at:
        here it is only not held against what stands outside of its forms."""
        other = other_target(self.node, self.target)
        if other is None or self.excused.lacks_blocks:
            return _Elsewhere()
        found = Findings()
        room = _Pattern(self.node, self.compiler, self.interface, self.excused.lost, found, other)
        ports = lower_ports(self.node, Findings(), room.excused)
        root = blocks(self.node, other, found)
        rows: tuple[ir.Row, ...] = ()  # none where there are too many faults
        with suppress(TooMany):
            rows = room._rows(root, places(root), ports)
        self.excused.lacks_elsewhere = found.failed or room.excused.is_faulty
        return _Elsewhere(frozenset(block.name for block in root.all()), rows)

    def _scope(self, root: Block, found: Mapping[str, tuple[Place, ...]]) -> Scope:
        again = self._check_places(found)
        output = self.node.output
        if output.name.text not in found:
            message = f"the output `{output.name.text}` is not bound"
            hint = f"write `{output.name.text} = …`"
            is_doubtful = self.excused.lacks_structure
            unknown = self.excused.unknown(output.name.text, True, is_doubtful)
            unknown.error("QP111", output.name.span, message, hint=hint)
        values = bound_values(found)
        constants = {name for each in values.values() for v in each for name in _words(v)}
        return Scope(
            self.node.name.text,
            root,
            found,
            self.inputs,
            frozenset(constants - set(found)),
            output,
            self.excused,
            apart(values, output.name.text),
            again,
            self.interface.fragments,
        )

    def _check_places(self, found: Mapping[str, tuple[Place, ...]]) -> tuple[Place, ...]:
        """Reports names that mean something already, and returns where those are bound again."""
        again: list[Place] = []
        for name, several in found.items():
            for number, place in enumerate(several):
                out = place.bind.outs[place.position]
                identifier = tree.Identifier(out.span, name)
                earlier = [p for p in several[:number] if not exclude(p.block, place.block)]
                if earlier:
                    first = earlier[0].bind.outs[earlier[0].position]
                    report_twice(identifier, first.span, "name", self.findings)
                elif name in self.inputs and name != self.node.output.name.text:
                    report_twice(identifier, self.inputs[name].span, "port", self.findings)
                if earlier or name in self.inputs:
                    again.append(place)
                    self.excused.names.add(name)
                if out.many and (len(place.bind.outs) > 1 or name != self.node.output.name.text):
                    message = "only the output can be all the tensors of a tuple"
                    hint = "name the fields: `a, b = …`"
                    self.findings.error("QP114", out.span, message, hint=hint)
        return tuple(again)

    # ---- statements ----
    def _statements(self, root: Block, rows: tuple[ir.Row, ...]) -> tuple[ir.Statement, ...]:
        self.fillings = list(_fillings(root))
        self.every = blocks(self.node, None, Findings())
        self.places = places(self.every)
        self.built = self.elsewhere.blocks | {block.name for block in root.all()}
        return ordered(self._lowered(root, rows, None), rows, self.findings)

    def _lowered(
        self, block: Block, rows: tuple[ir.Row, ...], outer: Statements | None
    ) -> list[ir.Statement]:
        mine = tuple(row for row in rows if block.name in row.blocks)
        if not mine:
            return []
        guard = block.name if len(mine) < len(rows) else None
        statements = Statements(
            self.node,
            mine,
            tuple(row for row in self.elsewhere.rows if block.name in row.blocks),
            guard,
            self.findings,
            self.interface,
            self.fillings,
            self.excused,
            self._declared(block),
            dropped(self.every, block, self.built),
            outer,
        )
        lowered: list[ir.Statement] = []
        for part in block.parts:
            if isinstance(part, Block):
                lowered += self._lowered(part, rows, statements)
            else:
                lowered += statements.lower(part)
        if outer is not None and len(mine) == outer.rows:
            outer.take(statements)
        return lowered

    def _declared(self, block: Block) -> frozenset[str]:
        """The ports, and the names that some row with the block has bound, if the structure leads
        to them: where it does not, that is said, and not of their uses."""
        ports = {port.name.text for port in (*self.node.ports, self.node.output)}
        bound = {
            name
            for name, several in self.places.items()
            if not all(exclude(place.block, block) for place in several)
        }
        return frozenset(ports | bound)


def _words(value: tree.Structure) -> Iterable[str]:
    return (name.text for name in constant_names(value))


def _fillings(root: Block) -> Iterable[Filling]:
    for block in root.all():
        for statement in block.statements:
            if not isinstance(statement, tree.Let) or statement.slot is None:
                continue
            slots = [statement.slot.text]
            if slots == ["qparams"]:
                is_raw = isinstance(statement.value, tree.Raw)
                slots = [] if is_raw else ["scale", "zero_point"]
            for slot in slots:
                yield Filling(block.name, statement.name.text, slot)


def _freeze(
    number: int,
    draft: Draft,
    names: set[str],
    dtypes: Mapping[str, tuple[str, ...]],
    findings: Findings,
    excused: Excused,
) -> ir.Row:
    doubtful = doubtful_nodes(draft)
    excused.slots |= {
        (name, slot)
        for name, index in draft.values.items()
        for slot in ("scale", "zero_point")
        if index in doubtful
    }
    return ir.Row(
        number,
        draft.form,
        tuple(draft.nodes),
        draft.root,
        draft.values,
        draft.calls,
        absent=frozenset(names - set(draft.values)),
        spaces=derive_spaces(draft, dtypes, findings),
        blocks=frozenset(draft.blocks),
        swaps=tuple(_swaps(draft)),
        shared=tuple(sorted(draft.shared)),
        layouts=layouts(draft),
        clips=clips(draft),
    )


def _swaps(draft: Draft) -> Iterable[int]:
    """The calls that match either way round. One of the same value twice has only one way."""
    for index, node in enumerate(draft.nodes):
        signature = operator(node.operator) if isinstance(node, ir.Call) else None
        if not isinstance(node, ir.Call) or signature is None or exchange(signature) is None:
            continue
        ordered = draft.ordered.get(index, not signature.commutative)
        if not ordered and node.operands[0] != node.operands[1]:
            yield index
