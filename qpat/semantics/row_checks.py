"""What a pattern's rows must have in common: every port bound, every name part of something."""

from __future__ import annotations

from qpat.diagnostics import Findings, did_you_mean
from qpat.ops.roles import TUPLE_RESULTS
from qpat.semantics import ir
from qpat.semantics.blocks import Block, bound_values, exclude
from qpat.semantics.choices import MOST_ROWS
from qpat.semantics.draft import Draft, Scope
from qpat.semantics.excused import lacks_structure
from qpat.semantics.uses import apart, reached
from qpat.syntax import tree


class RowChecks:
    """Checks the rows of one pattern before spaces are derived. `elsewhere` are the names that rows
    of another IR have."""

    def __init__(
        self,
        node: tree.Pattern,
        scope: Scope,
        drafts: list[Draft],
        findings: Findings,
        elsewhere: frozenset[str] = frozenset(),
    ) -> None:
        self.node = node
        self.scope = scope
        self.drafts = drafts
        self.findings = findings
        self.elsewhere = elsewhere
        self.excused = scope.excused
        self._inner_names: dict[str, frozenset[str]] = {}

    def check(self) -> None:
        self._names()
        root = self.scope.root
        for form in root.forms or (root,):
            self._form(form, [draft for draft in self.drafts if draft.form == form.label])
        if not self._lacks(root, inner=True) and not self.excused.lacks_elsewhere:
            self._unused_ports()
        if len(self.drafts) > MOST_ROWS and not self.scope.excused.lacks_rows:
            count, name = len(self.drafts), self.node.name.text
            message = f"`{name}` has {count} rows; at most {MOST_ROWS} are built"
            hint = "write rarely used forms as a pattern of their own"
            self.findings.error("QP120", self.node.name.span, message, hint=hint)

    def _names(self) -> None:
        """A bound name must be part of a row that has the block it is bound in."""
        for name, places in self.scope.places.items():
            for place in places:
                rows = [draft for draft in self.drafts if place.block.name in draft.blocks]
                if any(name in draft.values and name not in draft.apart for draft in rows):
                    continue
                if place in self.scope.again or not rows or name in self._inner(place.block):
                    continue  # said already
                message = f"`{name}` is bound and not part of the pattern"
                hint = f"no operand leads from `{self.scope.output.name.text}` to it"
                span = place.bind.outs[place.position].span
                unused = self.excused.unused(name, self._lacks(place.block))
                unused.error("QP116", span, message, hint=hint)

    def _inner(self, block: Block) -> frozenset[str]:
        """The names that, in a block, only lead to others that are not part of the pattern: those
        are said."""
        if block.name not in self._inner_names:
            values = bound_values(self.scope.places, lambda other: not exclude(other, block))
            output = self.scope.output.name.text
            ends = apart(values, output)
            inner = reached(values, ends) - reached(values, [output]) - set(ends)
            self._inner_names[block.name] = inner
        return self._inner_names[block.name]

    def _lacks(self, block: Block, inner: bool = False) -> bool:
        """Whether something broken may have been part of the rows that have the block, or, with
        `inner`, of any within it."""
        return self.excused.lacks_blocks or any(
            lacks_structure(each.statements)
            for each in self.scope.root.all()
            if inner or not exclude(each, block)
        )

    def _form(self, form: Block, drafts: list[Draft]) -> None:
        label, lacks = form.label, self._lacks(form)
        used = {name for draft in drafts for name in draft.values}
        where = f" in form `{label}`" if label is not None else ""
        unused = [p for p in self.node.ports if not p.maybe and p.name.text not in used]
        led = self._led_to(form, used) if unused or self.excused.is_faulty else frozenset()
        for port in unused:
            if port.name.text not in led:
                message = f"port `{port.name.text}` is not used{where}"
                near = did_you_mean(port.name.text, used - set(self.scope.inputs))
                found = self.excused.unused(port.name.text, lacks)
                found.error("QP111", port.name.span, message, hint=near)
        for draft in drafts:
            self._row(draft, where, used)

    def _led_to(self, form: Block, used: set[str]) -> frozenset[str]:
        """The names that a form only uses in what it binds for nothing: that is said. What a faulty
        form does not lead to may be there all the same."""
        bound = bound_values(self.scope.places, lambda block: not exclude(block, form))
        missing = {name: values for name, values in bound.items() if name not in used}
        if self.excused.is_faulty:
            self.excused.absent |= missing.keys()
        if form.label is None:
            return frozenset()
        own = bound_values(self.scope.places, lambda block: block.picks == form.picks)
        return reached(missing, missing.keys() & own.keys())

    def _row(self, draft: Draft, where: str, used: set[str]) -> None:
        root = draft.nodes[draft.root]
        if draft.root in draft.faulty or self.excused.lacks_blocks:
            return
        output = self.node.output
        place = self.scope.places[output.name.text][0]
        if isinstance(root, ir.Call) and (root.operator in TUPLE_RESULTS) != output.many:
            name = output.name.text
            message = f"`{root.operator}` gives a tuple, so the output is many tensors"
            hint = f"write `{name}... = {root.operator}(…)` and `-> {name}: …...`"
            if output.many:
                message = f"the output is many tensors, and `{root.operator}` gives one"
                hint = f"write `-> {name}` without `...`"
            self.findings.error("QP114", root.span, message, hint=hint)
        elif (
            isinstance(root, ir.Call | ir.CompositeCall) and place.bind.outs[0].many != output.many
        ):
            message = f"`{output.name.text}` is many tensors in one place and one in another"
            self.findings.error("QP114", place.bind.outs[0].span, message)
        if not isinstance(root, ir.Call | ir.CompositeCall):
            self._no_call(place.bind)
            return
        for port in self.node.ports:
            name = port.name.text
            if name in draft.values or port.maybe or name not in used:
                continue
            self.excused.absent.add(name)
            message = f"port `{port.name.text}` is absent in some rows{where}"
            hint = f"declare it `{port.name.text}: …?` if it may be"
            self.findings.error("QP111", port.name.span, message, hint=hint)

    def _no_call(self, bind: tree.Bind) -> None:
        message = "with all that is optional left out, no operator remains"
        plain = tree.Leaf | tree.Wildcard | tree.Literal | tree.Constant | tree.Variable
        if isinstance(bind.value, plain):
            message = f"`{bind.value.span.text}` is no call, so there is nothing to match"
        elif isinstance(bind.value, tree.Tuple | tree.Field):
            found = "a tuple" if isinstance(bind.value, tree.Tuple) else "a field of a tuple"
            message = f"a pattern gives what an operator gives, and this is {found}"
        self.findings.error("QP123", bind.span, message)

    def _unused_ports(self) -> None:
        """A port that no row binds is a slip, also where it may be absent."""
        used = {name for draft in self.drafts for name in draft.values} | self.elsewhere
        for port in self.node.ports:
            if port.maybe and port.name.text not in used:
                known = used - set(self.scope.inputs)
                hint = did_you_mean(port.name.text, known)
                message = f"port `{port.name.text}` is not used"
                self.excused.unused(port.name.text).error(
                    "QP111", port.name.span, message, hint=hint
                )
