"""Structure to rows: alternatives and optionals expanded, operands and attributes checked."""

from __future__ import annotations

from qpat.diagnostics import Findings, Label, did_you_mean, renamed, respelt
from qpat.ops.roles import TUPLE_RESULTS, exchange
from qpat.ops.table import operator, operator_names
from qpat.semantics import ir
from qpat.semantics.arguments import Arguments
from qpat.semantics.blocks import Block, Place, bound_values
from qpat.semantics.choices import MOST_ROWS, Choices
from qpat.semantics.draft import Draft, Scope, SlotUse
from qpat.semantics.reports import report_unbuilt
from qpat.semantics.tuples import Tuples
from qpat.semantics.uses import apart
from qpat.source import Span
from qpat.syntax import tree


def expand(scope: Scope, findings: Findings) -> list[Draft]:
    """All rows of a pattern, in the order choices are written, its own forms first."""
    choices = Choices()
    drafts: list[Draft] = []
    while True:
        drafts.append(_RowBuilder(scope, choices, findings).build())
        if len(drafts) > MOST_ROWS:
            _report_too_many(scope, choices, findings)
            scope.excused.lacks_rows = True
            return drafts
        if not choices.advance():
            return drafts


def _report_too_many(scope: Scope, choices: Choices, findings: Findings) -> None:
    counts = [(len(alternatives), span) for alternatives, span in choices.seen.values()]
    factors = " x ".join(str(count) for count, _ in counts)
    places = tuple(Label(span, f"{count} ways") for count, span in counts[1:8])
    message = f"`{scope.pattern}` has more than {MOST_ROWS} rows ({factors})"
    hint = "write rarely used alternatives as a pattern of their own"
    findings.error(
        "QP120", counts[0][1], message, label=f"{counts[0][0]} ways", hint=hint, others=places
    )


class _RowBuilder:
    """Builds one row under one combination of choices."""

    def __init__(self, scope: Scope, choices: Choices, findings: Findings) -> None:
        self.scope = scope
        self.choices = choices
        self.findings = findings
        self.draft = Draft()
        self.open: list[str] = []  # names being built, to see a name that needs itself
        self.bound: dict[int, tuple[int, bool]] = {}  # what each statement has built
        self.written: dict[int, tree.Slot] = {}
        self.tuples = Tuples(self)
        self.by_name = {block.name: block for block in scope.root.all()}

    def build(self) -> Draft:
        if self.scope.root.forms:
            self.pick(self.scope.root)
        output = self.scope.output.name
        is_bound = output.text in self.scope.places
        self.draft.root = (
            self.value(output.text, output.span) if is_bound else self.nothing(output.span)
        )
        self._look_apart()
        self.finish_blocks(self.scope.root)
        for use in self.draft.slot_uses:
            if use.name not in self.draft.values:
                self._report_outside(use)
        return self.draft

    def _report_outside(self, use: SlotUse) -> None:
        if use.name in self.scope.places or use.name in self.scope.inputs:
            return  # what keeps it out of the structure is said
        message = f"`{use.name}` is not part of the pattern, so it has no {use.slot}"
        known = list(self.draft.values)
        hint = did_you_mean(use.name, known) or "a slot is that of a tensor in the structure"
        fix = renamed(use.span.first(len(use.name)), use.name, known)
        unknown = self.scope.excused.unknown(use.name, in_structure=True)
        unknown.error("QP110", use.span, message, hint=hint, fix=fix)

    def _look_apart(self) -> None:
        """Looks at what the output is not made of: that is reported, and so are faults in it."""
        before = set(self.draft.values)
        for name in self._apart():
            place = next((p for p in self.scope.places[name] if self._fits(p.block)), None)
            if place is not None:
                self.value(name, place.bind.outs[place.position].span)
        for place in self.scope.again:
            if self._fits(place.block):
                self.structure(place.bind.value)
        self.draft.apart = set(self.draft.values) - before - set(self.scope.inputs)

    def _apart(self) -> tuple[str, ...]:
        """The names that nothing in the pattern is made of, and in a form that is faulty those
        that nothing in the form is."""
        if not self.scope.excused.is_faulty or not self.scope.root.forms:
            return self.scope.apart
        return apart(bound_values(self.scope.places, self._fits), self.scope.output.name.text)

    # ---- blocks ----
    def pick(self, owner: Block) -> None:
        """Picks one of the forms of a block."""
        forms = owner.forms
        label = forms[self.choices.pick(len(forms), forms[0].span.to(forms[-1].span))].label
        assert label is not None
        self.draft.picked[owner.name] = label

    def finish_blocks(self, block: Block) -> None:
        """Notes which blocks count in this row, and picks forms that bind nothing in it."""
        self.draft.blocks.add(block.name)
        if block.forms and block.name not in self.draft.picked:
            self.pick(block)
        for part in block.parts:
            if not isinstance(part, Block):
                continue
            if part.label is not None:
                counts = self.draft.picked[block.name] == part.label
            else:
                counts = part.out is None or part.out in self.draft.values
            if counts:
                self.finish_blocks(part)

    def place(self, name: str, span: Span) -> Place | None:
        """Where a name is bound under the forms that are picked; picks those it depends on."""
        while True:
            places = [p for p in self.scope.places[name] if self._fits(p.block)]
            if not places:
                self._report_unbound(name, span)
                return None
            unpicked = [o for o, _ in places[0].block.picks if o not in self.draft.picked]
            if not unpicked:
                return places[0]
            self.pick(self.by_name[unpicked[0]])

    def _report_unbound(self, name: str, span: Span) -> None:
        labels = ", ".join(f"`{label}`" for label in self.draft.picked.values())
        is_doubtful = self.scope.excused.lacks_structure
        unknown = self.scope.excused.unknown(name, in_structure=True, is_doubtful=is_doubtful)
        if name == self.scope.output.name.text:
            message = f"the output `{name}` is not bound in form {labels}"
            unknown.error("QP111", span, message, hint=f"write `{name} = …`")
            return
        message = f"`{name}` is not bound in form {labels}"
        unknown.error("QP110", span, message, hint="bind it in every form")

    def _fits(self, block: Block) -> bool:
        return all(self.draft.picked.get(owner, label) == label for owner, label in block.picks)

    # ---- names ----
    def value(self, name: str, span: Span) -> int:
        """The node a name stands for, built at its first use."""
        if self.tuples.is_repeating and name in self.scope.inputs:
            return self.leaf(name, ir.Constness.ANY, span)
        if name in self.draft.values:
            return self.draft.values[name]
        if name in self.open:
            if name not in self.scope.excused:
                self.findings.error("QP112", span, f"`{name}` is defined by itself")
            return self.stand_in(span)
        if name in self.scope.places:
            place = self.place(name, span)
            if place is None:
                return self.nothing(span)
            return self.bind_once(place, span) if self.tuples.is_repeating else self.bind(place)
        if name in self.scope.inputs or name in self.scope.constants:
            return self.leaf(name, ir.Constness.ANY, span)
        known = [*self.scope.places, *self.scope.inputs]
        hint = did_you_mean(name, known) or "bind it with `=`, or name it among the ports"
        fix = renamed(span, name, known, self.open)
        message = f"`{name}` is neither bound nor a port"
        unknown = self.scope.excused.unknown(name, in_structure=True)
        unknown.error("QP110", span, message, hint=hint, fix=fix)
        return self.nothing(span)

    def stand_in(self, span: Span) -> int:
        """In the place of a value that a fault keeps from being known: any name may belong here."""
        self.scope.excused.lacks_uses = True
        return self.nothing(span)

    def nothing(self, span: Span) -> int:
        index = self.add(ir.Input(None, ir.Constness.ANY, span))
        self.draft.faulty.add(index)
        return index

    def bind(self, place: Place) -> int:
        outs = place.bind.outs
        name = outs[place.position].name
        if id(place.bind) not in self.bound:
            self.open += [out.name for out in outs]
            self.bound[id(place.bind)] = self.structure(place.bind.value)
            del self.open[-len(outs) :]
        index, is_call = self.bound[id(place.bind)]
        if len(outs) > 1:
            self._check_tuple(index, place)
            self._check_field(self.draft.nodes[index], place.position, outs[place.position].span)
            index, is_call = (
                self.add(ir.Field(index, place.position, outs[place.position].span)),
                False,
            )
        elif outs[0].many:
            self._check_tuple(index, place)
        self.draft.values[name] = index
        if is_call:
            self.draft.calls[name] = index
        return index

    def bind_once(self, place: Place, span: Span) -> int:
        """Of a name in a structure that is repeated: it is one value, so not of each round's."""
        before = dict(self.tuples.round)
        index = self.bind(place)
        if self.tuples.round != before:
            report_unbuilt(self.findings, span, "a name for a part of what is repeated")
        return index

    def _check_tuple(self, index: int, place: Place) -> None:
        node = self.draft.nodes[index]
        if index in self.draft.faulty:
            return
        if isinstance(node, ir.Call) and node.operator not in TUPLE_RESULTS:
            message = f"`{node.operator}` gives one tensor, not a tuple"
            self.findings.error(
                "QP114", place.bind.outs[0].span.to(place.bind.outs[-1].span), message
            )

    def leaf(self, name: str | None, constness: ir.Constness, span: Span) -> int:
        """A leaf. Where one use of a name says `const` and another does not, it is a constant."""
        if name is None:
            return self.add(ir.Input(None, constness, span))
        if name in self.scope.places:
            message = f"`{name}` is bound to an operator and cannot be a constant"
            self.findings.error("QP113", span, message)
            return self.stand_in(span)
        port = self.scope.inputs.get(name)
        if port is not None and port.many and self.tuples.is_repeating:
            return self.tuples.leaf(name, constness, span)
        if port is not None and port.many:
            message = f"`{name}...` is many tensors; one value is wanted here"
            self.findings.error("QP114", span, message, hint=f"write `({name}...)`")
        index = self.draft.values.get(name)
        if index is None:
            index = self.add(ir.Input(name, constness, span))
            self.draft.values[name] = index
        node = self.draft.nodes[index]
        if not isinstance(node, ir.Input):
            return index  # many, and that is said
        self._check_constness(node, constness, span)
        if node.constness is ir.Constness.ANY or constness is ir.Constness.CONSTANT:
            self.draft.nodes[index] = ir.Input(name, constness, node.span)
        return index

    def _check_constness(self, node: ir.Input, constness: ir.Constness, span: Span) -> None:
        both = {node.constness, constness}
        if ir.Constness.VARIABLE in both and both & {ir.Constness.CONSTANT, ir.Constness.EITHER}:
            message = (
                f"`{node.name}` is an input of the module in one place and a constant in another"
            )
            others = (Label(node.span, "here first"),)
            self.findings.error("QP113", span, message, others=others)

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
                index = self.value(node.name, node.span)
                return index, node.inlined and node.name in self.draft.calls
            case tree.Wildcard():
                return self.leaf(None, ir.Constness.ANY, node.span), False
            case tree.Literal():
                return self.add(ir.Literal(node.value, node.span, node.about)), False
            case tree.Constant() | tree.Variable():
                return self.marked_leaf(node), False
            case tree.Call():
                return self.call(node), True
            case tree.CompositeCall():
                return self.composite(node), False
            case tree.Optional():
                return self.optional(node)
            case tree.Alternatives():
                pick = self.choices.pick(len(node.choices), node.span)
                return self.structure(node.choices[pick])
            case tree.Modified():
                return self.modified(node)
            case tree.Tuple():
                return self.tuples.build(node), False
            case tree.Field():
                return self.field(node), False
        return self.misplaced(node)

    def misplaced(self, node: tree.Node) -> tuple[int, bool]:
        """A string where a value is wanted: an argument of a fragment that is put there."""
        message = f"`{node.span.text}` is no value"
        self.findings.error("QP114", node.span, message)
        return self.leaf(None, ir.Constness.ANY, node.span), False

    def marked_leaf(self, node: tree.Constant | tree.Variable) -> int:
        constness = ir.Constness.VARIABLE
        if isinstance(node, tree.Constant):
            constness = ir.Constness.EITHER if node.maybe else ir.Constness.CONSTANT
        name = node.leaf.name if isinstance(node.leaf, tree.Leaf) else None
        return self.leaf(name, constness, node.span)

    def modified(self, node: tree.Modified) -> tuple[int, bool]:
        """`shared`, `ordered`, `unordered` say something of a call."""
        index, is_call = self.structure(node.value)
        call = self.draft.nodes[index]
        if not isinstance(call, ir.Call):
            # An optional that is left out has nothing to say it of.
            if not isinstance(node.value, tree.Optional | tree.Alternatives):
                message = f"`{node.modifier}` is said of a call, and this is none"
                self.findings.error("QP115", node.span, message)
        elif node.modifier == "shared":
            self.draft.shared.add(index)
        else:
            self._order(node, index, call)
        return index, is_call

    def _order(self, node: tree.Modified, index: int, call: ir.Call) -> None:
        signature = operator(call.operator)
        if signature is None:
            return
        if exchange(signature) is None:
            message = f"`{call.operator}` has no two operands that could change places"
            self.findings.error("QP115", node.span, message, hint=f"leave `{node.modifier}` out")
        self.draft.ordered[index] = node.modifier == "ordered"

    def optional(self, node: tree.Optional) -> tuple[int, bool]:
        inner = node.value
        first = node.otherwise
        if first is None and isinstance(inner, tree.Call) and inner.arguments:
            given = inner.arguments[0]
            first = None if isinstance(given, tree.NO_VALUE) else given
        if first is None:
            message = "only a call with a first operand can be optional: `f(a)?` means `f(a) | a`"
            self.findings.error("QP115", node.span, message)
            return self.structure(inner)
        if self.choices.pick(2, node.span) == 0:
            return self.structure(inner)
        return self.structure(first)[0], False

    def field(self, node: tree.Field) -> int:
        value, _ = self.structure(node.value)
        inner = self.draft.nodes[value]
        gives_one = isinstance(inner, ir.Call) and inner.operator not in TUPLE_RESULTS
        if (gives_one or isinstance(inner, ir.Literal)) and value not in self.draft.faulty:
            message = "only a tuple has fields, and this is one value"
            self.findings.error("QP114", node.value.span, message)
        self._check_field(inner, node.index, node.span)
        return self.add(ir.Field(value, node.index, node.span))

    def _check_field(self, inner: ir.Node, index: int, span: Span) -> None:
        """A field that a tuple of a known length does not have."""
        count = len(inner.elements) if isinstance(inner, ir.Tuple) else _sections(inner)
        if count is not None and index >= count:
            message = f"field {index} of a tuple of {count}"
            self.findings.error("QP114", span, message, hint="fields are counted from 0")

    def slot(self, node: tree.Slot) -> int:
        """`x.scale` as an operand or as a field of a tuple of scales."""
        if node.slot not in ("scale", "zero_point"):
            hint = did_you_mean(node.slot, ("scale", "zero_point"))
            message = f"`{node.slot}` is no slot of a tensor; slots are `scale` and `zero_point`"
            word = node.span.last(len(node.slot))
            fix = respelt(word, node.slot, ("scale", "zero_point"))
            self.findings.error("QP106", node.span, message, hint=hint, fix=fix)
        constant = self.add(ir.SlotConstant(node.span))
        self.written[constant] = node
        return constant

    # ---- calls ----
    def call(self, node: tree.Call) -> int:
        name = node.operators[0]
        if len(node.operators) > 1:
            first, last = node.operators[0].span, node.operators[-1].span
            name = node.operators[self.choices.pick(len(node.operators), first.to(last))]
        signature = operator(name.text)
        if name.text in self.scope.excused.lost or "$" in name.text:
            return self.unknown_call(node, name.text)
        if signature is None:
            hint = _FROM_PYTHON.get(name.text.rsplit(".", 1)[-1])
            self.scope.excused.lacks_uses |= hint is not None  # it stands for what has a name
            known = (*operator_names(), *self.scope.fragments)
            hint = hint or did_you_mean(name.text, known)
            message = f"`{name.text}` is no Relay operator"
            fix = respelt(name.span, name.text, known)
            self.findings.error("QP101", name.span, message, hint=hint, fix=fix)
            return self.unknown_call(node, name.text)
        return Arguments(self, node, signature).build()

    def unknown_call(self, node: tree.Call, name: str) -> int:
        """Goes on behind an unknown operator, so that faults in its operands are reported too. It
        may be a fragment, which has rows without some of them."""
        self.scope.excused.lacks_rows = True
        given = [a for a in node.arguments if not isinstance(a, tree.NO_VALUE)]
        operands = [self.structure(argument)[0] for argument in given]
        index = self.add(ir.Call(name, tuple(operands), (), node.span))
        self.draft.faulty.add(index)
        return index

    def composite(self, node: tree.CompositeCall) -> int:
        """`composite "npu.conv2d"(a, b)`; `(..)` for any operands."""
        if len(node.arguments) == 1 and isinstance(node.arguments[0], tree.Rest):
            return self.add(ir.CompositeCall(node.composite.text, None, node.span))
        operands: list[int] = []
        for argument in node.arguments:
            if isinstance(argument, tree.Slot | tree.Keyword | tree.Rest):
                message = "a composite takes values only: what it is given has no names"
                hint = "write its operands in order, or `(..)` for any"
                self.findings.error("QP114", argument.span, message, hint=hint)
            else:
                operands.append(self.structure(argument)[0])
        return self.add(ir.CompositeCall(node.composite.text, tuple(operands), node.span))


# What TVM's own pattern language writes, and how it is written here.
_FROM_PYTHON = {
    "dominates": "what lies between is written out",
    "has_attr": "an attribute stands among the operands: `f(x, axis=1)`",
    "has_dtype": "a dtype is that of a port: `x: int8`",
    "has_shape": "a shape is that of a port: `x: int8 [1, _, _, C]`",
    "is_constant": "a constant is `const w`",
    "is_op": "write the operator itself: `nn.relu(x)`",
    "is_tuple": "a tuple is `(a, b)`, or `(xs...)`",
    "is_var": "an input of the module is `var x`",
    "optional": "an operator that may be missing is `f(x)?`",
    "wildcard": "anything is `_`",
}


def _sections(node: ir.Node) -> int | None:
    """How many fields a split gives, where the pattern says it."""
    if not isinstance(node, ir.Call) or node.operator != "split":
        return None
    for attribute in node.attributes:
        if attribute.name == "indices_or_sections":
            value = attribute.value
            if isinstance(value, int):
                return value
            return len(value) + 1 if isinstance(value, tuple) else None
    return None
