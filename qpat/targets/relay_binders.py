"""One row of a pattern as a binder: it finds the nodes that TVM has matched again, in the graph and
in a composite's body alike, names them, and says what their spaces are."""

from __future__ import annotations

from collections.abc import Mapping

from qpat.ops.roles import SCALAR, AxisMove, AxisRule, exchange, roles
from qpat.ops.table import operator
from qpat.records import dataclass
from qpat.semantics import ir
from qpat.semantics.walk import below, tensors
from qpat.targets.dialects import Dialect
from qpat.targets.layout import INDENT, assigned, bracketed, laid_out, literal, string
from qpat.targets.names import Fresh
from qpat.targets.reads import Reads
from qpat.targets.rows import is_slot


def binder_lines(
    name: str, row: ir.Row, names: Mapping[int, str], reads: Reads, dialect: Dialect
) -> list[str]:
    """The binder of a row. `reads` tells what the pattern's record wants to know."""
    return _Binder(row, names, reads, dialect).lines(name)


@dataclass(frozen=True)
class _Accumulator:
    """A call that sums products up, its data and its weights, and where its channels lie."""

    tensors: tuple[int, int, int]
    channels: AxisRule


class _Binder:
    """Walks from the root down, names every node, then says what its spaces are."""

    def __init__(
        self, row: ir.Row, names: Mapping[int, str], reads: Reads, dialect: Dialect
    ) -> None:
        self.dialect = dialect
        self.row = row
        self.names = names
        self.reads = reads
        self.body: list[str] = []
        self.at: dict[int, str] = {}  # how to reach each node that has been met
        self.tuples: dict[int, str] = {}  # each tuple itself: `at` has the list of its fields

    def lines(self, name: str) -> list[str]:
        self._visit(self.row.root, "root")
        self._dtypes()
        self._apart()
        self._spaces()
        self._result()
        takes = ["root: Any", "arguments: Dict[Any, Any]", "order: Order"]
        return [*bracketed(f"def {name}(", takes, ") -> Match:"), *self.body]

    def _add(self, *lines: str) -> None:
        self.body += [f"{INDENT}{line}" for line in lines]

    # ---- structure ----
    def _visit(self, index: int, place: str) -> None:  # noqa: C901 - one case for each kind of node
        node = self.row.nodes[index]
        if index in self.at:
            kind = "fields" if isinstance(node, ir.Elements) else "node"
            self._add(f"same_{kind}({place}, {self.at[index]})")
            return
        match node:
            case ir.Call():
                self._call(index, node, place)
            case ir.CompositeCall():
                self._composite(index, node, place)
            case ir.Input():
                self._input(index, node, place)
            case ir.Literal():
                self.at[index] = place
                about = ", about=True" if node.about else ""
                self._add(f"literal({place}, {literal(node.value)}, arguments{about})")
            case ir.SlotConstant():
                self.at[index] = f"handed_over({place}, arguments)"
            case ir.SlotTuple():
                self.at[index] = f"fields_handed_over({place}, arguments)"
            case ir.Elements():
                self.at[index] = self.names[index]
                self._add(f"{self.names[index]} = fields({place})")
            case ir.Tuple():
                self._tuple(index, node, place)
            case ir.Field():
                self.at[index] = self.names[index]
                self._add(f"{self.names[index]} = {place}")
                self._visit(node.value, f"field({place}, {node.index})")

    def _call(self, index: int, call: ir.Call, place: str) -> None:
        name = self.names[index]
        self.at[index] = name
        count = len(call.operands)
        own = string(self.dialect.operator(call.operator))
        self._add(f"{name} = call({place}, {own}, {count})")
        for attribute in call.attributes:
            if not isinstance(attribute.value, ir.DtypeOf):
                key, value = string(attribute.name), literal(attribute.value)
                self._add(f"attribute({name}, {key}, {value})")
        operands = f"{name}.args"
        if index in self.row.swaps:
            operands = f"{name}_args"
            self._add(f"{operands} = order.operands({name}, {_pairs(call)})")
        for position, operand in enumerate(call.operands):
            self._visit(operand, f"{operands}[{position}]")

    def _composite(self, index: int, node: ir.CompositeCall, place: str) -> None:
        name = self.names[index]
        self.at[index] = name
        count = "None" if node.operands is None else len(node.operands)
        self._add(f"{name} = composite_call({place}, {string(node.composite)}, {count})")
        for position, operand in enumerate(node.operands or ()):
            self._visit(operand, f"{name}.args[{position}]")

    def _input(self, index: int, node: ir.Input, place: str) -> None:
        wanted = {
            ir.Constness.CONSTANT: f"constant({place}, arguments)",
            ir.Constness.VARIABLE: f"variable({place}, arguments)",
        }.get(node.constness)
        if node.name is None:
            self.at[index] = place
            if wanted is not None:
                self._add(wanted)
            return
        self.at[index] = self.names[index]
        self._add(f"{self.names[index]} = {wanted or place}")

    def _tuple(self, index: int, node: ir.Tuple, place: str) -> None:
        slots = all(is_slot(self.row.nodes[each]) for each in node.elements)
        name = self.names[index]
        self.at[index] = name
        self.tuples[index] = place
        self._add(f"{name} = fields({place}, {len(node.elements)})")
        if slots and not node.elements:
            return
        for position, element in enumerate(node.elements):
            self._visit(element, f"{name}[{position}]")

    def _dtypes(self) -> None:
        """`dtype=x.dtype`, when both the call and `x` have been met."""
        for index, node in enumerate(self.row.nodes):
            for attribute in node.attributes if isinstance(node, ir.Call) else ():
                value = attribute.value
                if isinstance(value, ir.DtypeOf) and value.name in self.row.values:
                    port = self.at[self.row.values[value.name]]
                    wanted = f"str({port}.checked_type.dtype)"
                    key = string(attribute.name)
                    self._add(f"attribute({self.at[index]}, {key}, {wanted})")

    def _apart(self) -> None:
        """An input must not be an inner value that does not lie on its own way to the root."""
        for index, node in enumerate(self.row.nodes):
            is_input = isinstance(node, ir.Input) and node.constness is not ir.Constness.CONSTANT
            if not is_input and not isinstance(node, ir.Elements):
                continue
            above = self._above(index)
            inner = [
                self.at[other]
                for other, each in enumerate(self.row.nodes)
                if isinstance(each, ir.Call | ir.CompositeCall | ir.Field)
                and other != self.row.root
                and other not in above
            ]
            place = self.at[index] if is_input else f"*{self.at[index]}"
            if inner:
                self._add(f"apart([{place}], [{', '.join(inner)}])")

    def _above(self, index: int) -> set[int]:
        """The nodes that are computed from a node."""
        found = {index}
        for other, node in enumerate(self.row.nodes):
            if found & set(below(node)):
                found.add(other)
        return found

    # ---- spaces ----
    def _spaces(self) -> None:
        self.space_of: dict[int, str] = {}
        fresh = Fresh(self.names.values())
        sums = self._accumulators()
        summed = frozenset(index for each in sums for index in each.tensors)
        for space in self.row.spaces:
            name = self._space_name(space)
            if name is None and not (summed & space.members and space.scales):
                self._unread(space)
                continue
            variable = fresh.name(f"{name or self._said(space)}_space")
            self._space(space, variable)
            for member in space.members:
                self.space_of[member] = variable
        for each in sums:
            self._accumulates(each)

    def _accumulators(self) -> list[_Accumulator]:
        """The calls that sum products up, where the match says the scales of all three tensors."""
        bound = {index for space in self.row.spaces if space.scales for index in space.members}
        found = []
        for index, node in enumerate(self.row.nodes):
            said = roles(node.operator).accumulation if isinstance(node, ir.Call) else None
            signature = operator(node.operator) if isinstance(node, ir.Call) else None
            if said is None or signature is None or not isinstance(node, ir.Call):
                continue
            names = [each.name for each in signature.operands]
            data, weight = (node.operands[names.index(n)] for n in (said.data, said.weight))
            each = _Accumulator((index, data, weight), said.channels)
            if bound.issuperset(each.tensors):
                found.append(each)
        return found

    def _accumulates(self, each: _Accumulator) -> None:
        """The accumulator has the scale of a product, whatever the requantize behind it says."""
        call = self.at[each.tensors[0]]
        spaces = [self.space_of[index] for index in each.tensors]
        if each.channels.layout is not None:
            layout = f"result_layout({call}, {string(each.channels.layout)})"
            channels = f'{layout}.find("{each.channels.letter}")'
        else:
            channels = f"len(shape_of({call})) - 1"
        axes = f"lambda: ({self._axis(each.tensors[0])}, {channels})"
        self.body += bracketed("accumulates(", [call, *spaces, axes], ")", 1)

    def _names_in(self, space: ir.Space) -> list[str]:
        values, nodes = self.row.values.items(), self.row.nodes
        return [n for n, at in values if not space.members.isdisjoint(tensors(nodes, at))]

    def _said(self, space: ir.Space) -> str:
        """A name for a space that nothing named is in."""
        names = self._names_in(space)
        return names[0].replace(".", "_") if names else "inner"

    def _space_name(self, space: ir.Space) -> str | None:
        """A space is named after the first used name in it; None where none is."""
        return next((name for name in self._names_in(space) if name in self.reads.values), None)

    def _unread(self, space: ir.Space) -> None:
        """Constants that nobody reads must be constants, and agree, all the same."""
        if self._is_many(space):
            self.body += bracketed("spaces(", self._many_items(space), ")", 1)
        elif space.scales or space.zero_points:
            self.body += bracketed("Space(", [*self._sites(space), self._of(space)], ")", 1)

    def _of(self, space: ir.Space) -> str:
        """Whose space it is, for whoever reads a reason."""
        names = self._names_in(space)
        ports = [port.name for port in self.reads.pattern.ports if port.name in names]
        return f"of={string((ports or names or ['a value inside'])[0])}"

    def _sites(self, space: ir.Space) -> list[str]:
        return [
            f"{slot}=[{', '.join(self.at[site.constant] for site in sites)}]"
            for slot, sites in (("scale", space.scales), ("zero_point", space.zero_points))
            if sites
        ]

    def _space(self, space: ir.Space, variable: str) -> None:
        if self._is_many(space):
            self._many_spaces(space, variable)
            return
        items = self._sites(space)
        items += [self._of(space)] if items else []
        self.body += bracketed(f"{variable} = Space(", items, ")", 1)

    def _is_many(self, space: ir.Space) -> bool:
        sites = (*space.scales, *space.zero_points)
        return any(isinstance(self.row.nodes[site.constant], ir.SlotTuple) for site in sites)

    def _many_spaces(self, space: ir.Space, variable: str) -> None:
        """A list of spaces, one for each field of a variadic operand."""
        self.body += bracketed(f"{variable} = spaces(", self._many_items(space), ")", 1)

    def _many_items(self, space: ir.Space) -> list[str]:
        nodes = enumerate(self.row.nodes)
        many = (i for i, node in nodes if i in space.members and isinstance(node, ir.Elements))
        sites = space.scales[0], space.zero_points[0]
        return [self.at[next(many)], *(self.at[s.constant] for s in sites), self._of(space)]

    # ---- the match ----
    def _result(self) -> None:
        values = [
            f"{string(name)}: {self._value(index)}"
            for name, index in self.row.values.items()
            if name in self.reads.values
        ]
        calls = [
            f"{string(name)}: {self.at[index]}"
            for name, index in self.row.calls.items()
            if name in self.reads.calls
        ]
        form = string(self.row.form) if self.row.form is not None else "None"
        self.body += _dictionary("values", values)
        self.body += _dictionary("calls", calls)
        inside = ir.Call | ir.CompositeCall | ir.Tuple | ir.Field
        inner = [
            self.tuples.get(i, self.at[i])
            for i, node in enumerate(self.row.nodes)
            if isinstance(node, inside)
        ]
        self.body += assigned("inner", _tuple(inner), 1)
        items = [form, "values", "calls", "inner", *self._details()]
        self.body += bracketed("return Match(", items, ")", 1)

    def _details(self) -> list[str]:
        """What only some rows have to say of their match."""
        found: list[str] = []
        told = sorted(self.reads.guards & self.row.blocks)
        if told:
            found.append(f"blocks={literal(tuple(told))}")
        if self.row.swaps:
            found.append("order=order")
        if self.row.shared:
            found.append(f"shared={_tuple([self.at[index] for index in self.row.shared])}")
        return found

    def _value(self, index: int) -> str:
        node = self.row.nodes[index]
        if isinstance(node, ir.Several):
            return f"[{', '.join(self._value(each) for each in node.elements)}]"
        place = self.at[index]
        space = self.space_of.get(index)
        if isinstance(node, ir.Call) and index in self._many_results():
            return f"results({place}{f', {space}' if space else ''})"
        if isinstance(node, ir.Elements):
            if space is None:
                return f"[Value(each) for each in {place}]"
            if self._is_many(self._space_object(index)):
                return f"[Value(each, space) for each, space in zip({place}, {space})]"
            return f"[Value(each, {space}) for each in {place}]"
        items = [place, *([space] if space is not None else [])]
        axis = self._axis(index) if space is not None else None
        if axis is not None:
            items.append(f"lambda: {axis}")
        in_layout = axis is not None and self._space_object(index).scales[0].axis.layout is not None
        items += self._layout(index, is_wanted=in_layout)
        return f"Value({', '.join(items)})"

    def _many_results(self) -> set[int]:
        return {index for name, index in self.row.values.items() if name in self.reads.many_results}

    def _layout(self, index: int, is_wanted: bool) -> list[str]:
        """What says the layout and the range of a value, where the pattern reads them. `is_wanted`:
        the layout says how vectors lie."""
        found: list[str] = []
        names = {name for name, at in self.row.values.items() if at == index}
        layout = self.row.layouts.get(index)
        if layout is not None and (is_wanted or names & self.reads.layouts):
            call, attribute = self.at[layout.call], layout.attribute
            text = f"{call}, {string(attribute)}"
            function = "result_layout" if layout.is_result else "layout_of"
            found.append(f"layout=lambda: {function}({text})")
        if names & self.reads.ranges and index in self.row.clips:
            calls = [self.at[each] for each in self.row.clips[index]]
            found.append(f"clips={_tuple(calls)}")
        return found

    def _space_object(self, index: int) -> ir.Space:
        return next(space for space in self.row.spaces if index in space.members)

    def _axis(self, index: int) -> str | None:
        """An expression for the axis of a vector scale; None where no site says one."""
        space = self._space_object(index)
        if not space.scales or space.scales[0].axis == SCALAR:
            return None
        site = space.scales[0]
        call, rule = self.at[site.call], site.axis
        if rule.layout is not None:
            text = f'layout_axis({call}, "{rule.layout}", "{rule.letter}")'
        elif rule.attribute is not None:
            name = self._attribute(site, rule.attribute)
            text = f"attribute_axis({call}, {name}, {self.at[site.tensor]})"
        else:
            text = str(rule.fixed)
        for step in space.steps.get(index, ()):
            text = self._moved(step, text)
        return text

    def _attribute(self, site: ir.Site, name: str) -> str:
        """The attribute that says an axis: the other tensor's where the call is swapped."""
        call = self.row.nodes[site.call]
        signature = operator(call.operator) if isinstance(call, ir.Call) else None
        exchanged = exchange(signature) if signature is not None else None
        if site.call not in self.row.swaps or exchanged is None:
            return string(name)
        others = {a: b for first in exchanged.attributes for a, b in (first, first[::-1])}
        if name not in others:
            return string(name)
        swapped = f"order.is_swapped({self.at[site.call]})"
        return f"{string(others[name])} if {swapped} else {string(name)}"

    def _moved(self, step: ir.Step, axis: str) -> str:
        call = self.at[step.call]
        node = self.row.nodes[step.call]
        assert isinstance(node, ir.Call)
        operand = f"{call}.args[{step.operand}]"
        start, end = (operand, call) if step.forward else (call, operand)
        match step.move:
            case AxisMove.BIAS:
                function = "biased_axis" if step.forward else "bias_axis"
                return f"{function}({call}, {axis})"
            case AxisMove.BROADCAST:
                return f"broadcast_axis({start}, {end}, {axis})"
            case AxisMove.TRANSPOSE:
                return f"transposed_axis({call}, {step.forward}, {axis})"
            case AxisMove.RESHAPE:
                return f"reshaped_axis({start}, {end}, {axis})"
            case AxisMove.LOST:
                return "None"
            case AxisMove.SAME:
                return axis


def _dictionary(name: str, items: list[str]) -> list[str]:
    if not items:
        return [f"{INDENT}{name}: Dict[str, Any] = {{}}"]
    line = f"{INDENT}{name} = {{{', '.join(items)}}}"
    # One name a line reads better than a wrapped line, and edits stay local.
    if len(line) <= 76:
        return [line]
    lines = [line for item in items for line in laid_out("", item, ",", 2)]
    return [f"{INDENT}{name} = {{", *lines, f"{INDENT}}}"]


def _pairs(call: ir.Call) -> str:
    signature = operator(call.operator)
    exchanged = exchange(signature) if signature is not None else None
    assert exchanged is not None
    return literal(exchanged.operands)


def _tuple(items: list[str]) -> str:
    return f"({', '.join(items)}{',' if len(items) == 1 else ''})"
