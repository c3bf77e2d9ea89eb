"""Structure to rows: alternatives and optionals expanded, operands and attributes checked."""

from __future__ import annotations

from qpat.diagnostics import Findings, Label, did_you_mean
from qpat.ops.roles import TUPLE_RESULTS
from qpat.ops.table import operator, operator_names
from qpat.semantics import ir
from qpat.semantics.arguments import Arguments
from qpat.semantics.draft import Draft, Scope, SlotUse
from qpat.semantics.reports import report_unbuilt
from qpat.source import Span
from qpat.syntax import tree

MOST_ROWS = 64


def expand(scope: Scope, findings: Findings) -> list[Draft]:
    """All rows of one form, in the order the choices are written."""
    choices = _Choices()
    drafts: list[Draft] = []
    while True:
        drafts.append(_RowBuilder(scope, choices, findings).build())
        if len(drafts) > MOST_ROWS:
            _report_too_many(scope, choices, findings)
            return drafts
        if findings.failed or not choices.advance():
            return drafts


def _report_too_many(scope: Scope, choices: _Choices, findings: Findings) -> None:
    counts = [(len(alternatives), span) for alternatives, span in choices.seen.values()]
    factors = " x ".join(str(count) for count, _ in counts)
    places = tuple(Label(span, f"{count} ways") for count, span in counts[1:8])
    where = f" in form `{scope.form}`" if scope.form is not None else ""
    message = f"`{scope.pattern}` has more than {MOST_ROWS} rows{where} ({factors})"
    hint = "write rarely used alternatives as a pattern of their own"
    findings.error(
        "QP120", counts[0][1], message, label=f"{counts[0][0]} ways", hint=hint, others=places
    )


class _Choices:
    """Walks all combinations of the choices a builder makes, the last one changing fastest."""

    def __init__(self) -> None:
        self._script: list[int] = []
        self._counts: list[int] = []
        self._next = 0
        self.seen: dict[Span, tuple[range, Span]] = {}

    def pick(self, count: int, span: Span) -> int:
        self.seen[span] = (range(count), span)
        if self._next == len(self._script):
            self._script.append(0)
            self._counts.append(count)
        self._next += 1
        return self._script[self._next - 1]

    def advance(self) -> bool:
        """To the next combination; False after the last."""
        while self._script and self._script[-1] + 1 == self._counts[-1]:
            self._script.pop()
            self._counts.pop()
        self._next = 0
        if not self._script:
            return False
        self._script[-1] += 1
        return True


class _RowBuilder:
    """Builds one row under one combination of choices."""

    def __init__(self, scope: Scope, choices: _Choices, findings: Findings) -> None:
        self.scope = scope
        self.choices = choices
        self.findings = findings
        self.draft = Draft(scope.form)
        self.open: list[str] = []  # names being built, to see a name that needs itself

    def build(self) -> Draft:
        output = self.scope.output.name
        self.draft.root = self.value(output.text, output.span)
        for use in self.draft.slot_uses:
            if use.name not in self.draft.values:
                self._report_outside(use)
        return self.draft

    def _report_outside(self, use: SlotUse) -> None:
        message = f"`{use.name}` is not part of the pattern, so it has no {use.slot}"
        known = list(self.draft.values)
        hint = did_you_mean(use.name, known) or "a slot is that of a tensor in the structure"
        self.findings.error("QP110", use.span, message, hint=hint)

    # ---- names ----
    def value(self, name: str, span: Span) -> int:
        """The node a name stands for, built at its first use."""
        if name in self.draft.values:
            return self.draft.values[name]
        if name in self.open:
            self.findings.error("QP112", span, f"`{name}` is defined by itself")
            return self.add(ir.Input(name, ir.Constness.ANY, span))
        if name in self.scope.binds:
            return self.bound(name)
        if name in self.scope.inputs or name in self.scope.constants:
            return self.leaf(name, ir.Constness.ANY, span)
        known = [*self.scope.binds, *self.scope.inputs]
        hint = did_you_mean(name, known) or "bind it with `=`, or name it among the ports"
        self.findings.error("QP110", span, f"`{name}` is neither bound nor a port", hint=hint)
        return self.leaf(name, ir.Constness.ANY, span)

    def bound(self, name: str) -> int:
        self.open.append(name)
        index, is_call = self.structure(self.scope.binds[name].value)
        self.open.pop()
        self.draft.values[name] = index
        if is_call:
            self.draft.calls[name] = index
        return index

    def leaf(self, name: str | None, constness: ir.Constness, span: Span) -> int:
        """A leaf. Where one use of a name says `const` and another does not, it is a constant."""
        if name is None:
            return self.add(ir.Input(None, constness, span))
        if name in self.scope.binds:
            message = f"`{name}` is bound to an operator and cannot be a constant"
            self.findings.error("QP113", span, message)
            return self.add(ir.Input(None, constness, span))
        port = self.scope.inputs.get(name)
        if port is not None and port.many:
            message = f"`{name}...` is many tensors; one value is wanted here"
            self.findings.error("QP114", span, message, hint=f"write `({name}...)`")
        index = self.draft.values.get(name)
        if index is None:
            index = self.add(ir.Input(name, constness, span))
            self.draft.values[name] = index
        node = self.draft.nodes[index]
        assert isinstance(node, ir.Input)
        if node.constness is ir.Constness.ANY or constness is ir.Constness.CONSTANT:
            self.draft.nodes[index] = ir.Input(name, constness, node.span)
        return index

    def add(self, node: ir.Node) -> int:
        self.draft.nodes.append(node)
        return len(self.draft.nodes) - 1

    # ---- structure ----
    def structure(  # noqa: C901 - one case for each kind of node
        self, node: tree.Structure
    ) -> tuple[int, bool]:
        """The node's index, and whether it is a call that was written right there."""
        match node:
            case tree.Leaf():
                return self.value(node.name, node.span), False
            case tree.Wildcard():
                return self.leaf(None, ir.Constness.ANY, node.span), False
            case tree.Literal():
                return self.add(ir.Literal(node.value, node.span)), False
            case tree.Constant():
                constness = ir.Constness.EITHER if node.maybe else ir.Constness.CONSTANT
                name = node.leaf.name if isinstance(node.leaf, tree.Leaf) else None
                return self.leaf(name, constness, node.span), False
            case tree.Call():
                return self.call(node), True
            case tree.Optional():
                return self.optional(node)
            case tree.Alternatives():
                pick = self.choices.pick(len(node.choices), node.span)
                return self.structure(node.choices[pick])
            case tree.Modified():
                # `ordered` is how every call is matched as long as nothing is swapped.
                if node.modifier != "ordered":
                    report_unbuilt(self.findings, node.span, f"`{node.modifier}`")
                return self.structure(node.value)
            case tree.Tuple():
                return self.tuple(node), False
            case tree.Field():
                return self.field(node), False

    def optional(self, node: tree.Optional) -> tuple[int, bool]:
        inner = node.value
        first = inner.arguments[0] if isinstance(inner, tree.Call) and inner.arguments else None
        if first is None or isinstance(first, tree.Slot | tree.Keyword | tree.Rest):
            message = "only a call with a first operand can be optional: `f(a)?` means `f(a) | a`"
            self.findings.error("QP115", node.span, message)
            return self.structure(inner)
        if self.choices.pick(2, node.span) == 0:
            return self.structure(inner)
        return self.structure(first)[0], False

    def field(self, node: tree.Field) -> int:
        value, _ = self.structure(node.value)
        inner = self.draft.nodes[value]
        tuples = TUPLE_RESULTS | self.scope.unbuilt
        gives_one = isinstance(inner, ir.Call) and inner.operator not in tuples
        if gives_one or isinstance(inner, ir.Input | ir.Literal):
            message = "only a tuple has fields, and this is one value"
            self.findings.error("QP114", node.value.span, message)
        return self.add(ir.Field(value, node.index, node.span))

    def tuple(self, node: tree.Tuple) -> int:
        first = node.elements[0]
        if isinstance(first, tree.Repeat):
            return self.repeat(node, first)
        elements: list[int] = []
        for element in node.elements:
            if isinstance(element, tree.Repeat):
                report_unbuilt(self.findings, element.span, "`...` beside other fields of a tuple")
            elif isinstance(element, tree.Slot):
                report_unbuilt(self.findings, element.span, "a slot in a tuple")
            else:
                elements.append(self.structure(element)[0])
        return self.add(ir.Tuple(tuple(elements), node.span))

    def repeat(self, node: tree.Tuple, repeat: tree.Repeat) -> int:
        element = repeat.element
        bare = isinstance(element, tree.Leaf) and repeat.count is None and len(node.elements) == 1
        if not bare:
            report_unbuilt(self.findings, repeat.span, "a structured repeat in a tuple")
            return self.add(ir.Tuple((), node.span))
        assert isinstance(element, tree.Leaf)
        port = self.scope.inputs.get(element.name)
        if port is None or not port.many:
            message = f"`{element.name}...` wants a port that is many tensors"
            hint = f"declare it `{element.name}: int8...`"
            self.findings.error("QP114", repeat.span, message, hint=hint)
        if element.name in self.draft.values:
            return self.draft.values[element.name]
        index = self.add(ir.Elements(element.name, node.span))
        self.draft.values[element.name] = index
        return index

    # ---- calls ----
    def call(self, node: tree.Call) -> int:
        name = node.operators[0]
        if len(node.operators) > 1:
            first, last = node.operators[0].span, node.operators[-1].span
            name = node.operators[self.choices.pick(len(node.operators), first.to(last))]
        signature = operator(name.text)
        if name.text in self.scope.unbuilt or "$" in name.text:
            return self.unknown_call(node, name.text)
        if signature is None:
            hint = did_you_mean(name.text, operator_names())
            message = f"`{name.text}` is no Relay operator"
            self.findings.error("QP101", name.span, message, hint=hint)
            return self.unknown_call(node, name.text)
        return Arguments(self, node, signature).build()

    def unknown_call(self, node: tree.Call, name: str) -> int:
        """Goes on behind an unknown operator, so that faults in its operands are reported too."""
        skipped = tree.Keyword | tree.Rest | tree.Slot
        operands = [self.structure(a)[0] for a in node.arguments if not isinstance(a, skipped)]
        return self.add(ir.Call(name, tuple(operands), (), node.span))
