"""Faults of the meaning: what can be read and is wrong."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TypeGuard

from qpat.ops.table import operator
from qpat.semantics.functions import BUILTINS
from qpat.syntax import tree
from tests.diagnostics.faults.places import FORMS, ITEM, STRUCTURE, Fault, Unit, nodes

Faults = Iterable[tuple[str, Fault]]


def _at(
    unit: Unit,
    node: tree.Node,
    text: str,
    code: str,
    *,
    hurts: Iterable[str] = (),
    needs: Iterable[str] = (),
    uses: str = "",
) -> Fault:
    """A fault in the place of a node."""
    start, end = node.span.start, node.span.end
    codes = frozenset([code])
    return Fault(unit, start, end, text, codes, frozenset(hurts), frozenset(needs), uses)


def _misspelt(word: str) -> str:
    """Its last two letters exchanged, or one more: near it, and another word."""
    if len(word) > 2 and word[-1] != word[-2] and word[-2] != ".":
        return f"{word[:-2]}{word[-1]}{word[-2]}"
    return f"{word}q"


# ---- calls -----------------------------------------------------------------------------------


def _calls(unit: Unit) -> Iterator[tree.Call]:
    for node in nodes(unit.node) if isinstance(unit.node, tree.Bind) else ():
        if isinstance(node, tree.Call) and operator(node.operators[0].text) is not None:
            yield node


def _operators(unit: Unit) -> Faults:
    hurts = [f"call {out}" for out in unit.outs]
    for call in _calls(unit):
        name = call.operators[-1]
        if operator(_misspelt(name.text)) is None:
            fault = _at(unit, name, _misspelt(name.text), "QP101", hurts=hurts)
            yield "operator is misspelt", fault


def _attributes(unit: Unit) -> Faults:
    for call in _calls(unit):
        known = operator(call.operators[0].text)
        for each in call.arguments:
            if not isinstance(each, tree.Keyword) or known is None:
                continue
            yield "attribute is misspelt", _at(unit, each.name, f"{each.name.text}q", "QP102")
            twice = f"{each.span.text}, {each.span.text}"
            yield "attribute stands twice", _at(unit, each, twice, "QP105")
            wrong = '"two"' if known.attributes[each.name.text].type in ("int", "float") else "2"
            yield "attribute has another type", _at(unit, each.value, wrong, "QP104")


def _operands(unit: Unit) -> Faults:
    for call in _calls(unit):
        known = operator(call.operators[0].text)
        first = call.arguments[0]
        if known is not None and len(call.arguments) == 1 and isinstance(first, tree.Leaf):
            more = ", ".join([first.name] * (len(known.operands) + 1))
            yield "one operand is too many", _at(unit, first, more, "QP103")
        for before, each in zip(call.arguments, call.arguments[1:], strict=False):
            if not isinstance(each, tree.Rest):
                continue
            yield "rest stands twice", _at(unit, each, ".., ..", "QP105")
            start, end, code = before.span.end, each.span.end, frozenset(["QP103"])
            yield "rest is missing", Fault(unit, start, end, "", code, frozenset([STRUCTURE]))


def _slots(unit: Unit) -> Faults:
    for node in nodes(unit.node) if isinstance(unit.node, tree.Bind) else ():
        if isinstance(node, tree.Slot) and node.slot != "dtype":
            text = f"{node.name}.{_misspelt(node.slot)}"
            yield "slot is misspelt", _at(unit, node, text, "QP106")


# ---- names -----------------------------------------------------------------------------------


def _used_names(unit: Unit) -> Faults:
    for call in _calls(unit):
        for node in call.arguments:
            if isinstance(node, tree.Leaf) and "$" not in node.name:
                fault = _at(unit, node, f"{node.name}q", "QP110", hurts=[STRUCTURE])
                yield "name is misspelt where it is used", fault


def _bound_names(unit: Unit) -> Faults:
    if not isinstance(unit.node, tree.Bind) or unit.pattern is None:
        return
    name, node = unit.outs[0], unit.node
    call = f"call {name}"
    again = f"{node.span.text}\n{unit.indent}{name} = nn.relu({name})"
    yield "name is bound twice", _at(unit, node, again, "QP117", hurts=[call])
    more = f"{node.span.text}\n{unit.indent}idle{unit.start} = nn.relu({name})"
    yield "name is bound and not used", _at(unit, node, more, "QP116", needs=[STRUCTURE])
    # Where it is used once, either spelling may be the right one.
    structure = (tree.Leaf, tree.Name, tree.Slot)
    found = [n for n in nodes(unit.pattern.block) if isinstance(n, structure)]
    count = sum(n.name == name for n in found) + (name == unit.pattern.output.name.text)
    forms = [f for f in unit.pattern.block.statements if isinstance(f, tree.Form)]
    in_form = any(node in form.block.statements for form in forms)
    if count > 1 and not in_form:
        hurts = [STRUCTURE, call]
        fault = _at(unit, node.outs[0], f"{name}q", "QP116", hurts=hurts, uses=name)
        yield "name is misspelt where it is bound", fault


# ---- expressions -------------------------------------------------------------------------------


def _expressions(unit: Unit) -> Iterator[tree.Node]:
    if isinstance(unit.node, tree.Where | tree.Let | tree.Param):
        yield from nodes(unit.node)


def _is_call_of(node: tree.Node, name: str) -> TypeGuard[tree.Apply]:
    return isinstance(node, tree.Apply) and node.function.span.text == name


def _is_read(unit: Unit, names: Iterable[tree.Identifier]) -> bool:
    """Whether the pattern reads what a param is: without the param those names are unknown."""
    if unit.pattern is None:
        return False
    wanted = {name.text for name in names}
    return any(isinstance(n, tree.Name) and n.name in wanted for n in nodes(unit.pattern.block))


def _read_names(unit: Unit) -> Faults:
    for node in _expressions(unit):
        if isinstance(node, tree.Apply):
            word = node.function.span.text
            yield "function is misspelt", _at(unit, node.function, f"{word}q", "QP135")
        if not isinstance(node, tree.Name) or node.name in (*BUILTINS, "form"):
            continue
        if not re.match(r"u?int\d|float\d|.*\$", node.name):
            fault = _at(unit, node, f"{node.name}{unit.start}", "QP130")
            yield "name is misspelt where it is read", fault


def _read_members(unit: Unit) -> Faults:
    # These take a tensor as well as an array.
    sized = [n.arguments for n in _expressions(unit) if _is_call_of(n, "size")]
    tensors = [argument for arguments in sized for argument in arguments]
    for node in _expressions(unit):
        if not isinstance(node, tree.Get) or "$" in node.member.text:
            continue
        name, member = node.value, node.member
        if isinstance(name, tree.Name) and member.text != "attrs":
            yield "member is misspelt", _at(unit, member, f"{member.text}q", "QP131")
        is_slot = isinstance(name, tree.Name) and member.text in ("scale", "zero_point")
        if is_slot and node not in tensors:
            fault = _at(unit, node, name.name, "QP131", needs=[STRUCTURE])
            yield "tensor is taken for a number", fault
        if isinstance(name, tree.Get) and isinstance(name.value, tree.Name):
            needs = [f"call {name.value.name}"]
            fault = _at(unit, member, f"{member.text}q", "QP102", needs=needs)
            yield "attribute is misspelt where it is read", fault


def _defaults(unit: Unit) -> Faults:
    for node in _expressions(unit):
        if isinstance(node, tree.Operation) and node.operator == "??":
            read = {n.name for n in nodes(node.operands[0]) if isinstance(n, tree.Name)}
            needs = frozenset([STRUCTURE, *(f"call {name}" for name in read)])
            start, end = node.operands[0].span.end, node.span.end
            fault = Fault(unit, start, end, "", frozenset(["QP134"]), needs=needs)
            yield "default is missing", fault


def _conditions(unit: Unit) -> Faults:
    if isinstance(unit.node, tree.Where):
        yield "condition is a number", _at(unit, unit.node.condition, "1 + 2", "QP138")
    for node in _expressions(unit):
        if isinstance(node, tree.Range):
            yield "range is of nothing", _at(unit, node, "3..1", "QP138")
        if isinstance(node, tree.Contained) and isinstance(node.container, tree.SetExpression):
            yield "`in` of a number", _at(unit, node.container, "4", "QP138")
        is_form = isinstance(node, tree.Operation) and node.operator == "=="
        if is_form and node.span.text.startswith("form =="):
            label = node.operands[1]
            yield "no form has the label", _at(unit, label, '"other"', "QP130", needs=[FORMS])


def _values(unit: Unit) -> Faults:
    node = unit.node
    if not isinstance(node, tree.Let | tree.Param) or isinstance(node.value, tree.Raw):
        return
    if isinstance(node, tree.Let) and node.slot is not None:
        yield "slot cannot be filled", _at(unit, node.slot, f"{node.slot.text}q", "QP106")
    if isinstance(node, tree.Param) and not _is_read(unit, node.names):
        text = f"param one{unit.start}, two{unit.start} = 1"
        yield "names want more values", _at(unit, node, text, "QP139")
    if isinstance(node, tree.Param) and len(node.names) > 1:
        return
    yield "text in arithmetic", _at(unit, node.value, '1 + "one"', "QP138")
    yield "element of a number", _at(unit, node.value, "3[0]", "QP137")
    yield "function takes another count", _at(unit, node.value, "close(1)", "QP135")
    ports = unit.pattern.ports if unit.pattern is not None else ()
    for port in [port for port in ports if not port.maybe][:1]:
        text = f"{port.name.text}.shape ?? 0"
        yield "default is never used", _at(unit, node.value, text, "QP136")


def _statements(unit: Unit) -> Faults:
    node = unit.node
    if isinstance(node, tree.Param) and len(node.names) == 1 and unit.pattern is not None:
        twice = f"{node.span.text}\n{unit.indent}{node.span.text}"
        yield "param stands twice", _at(unit, node, twice, "QP117")
        if not _is_read(unit, node.names):
            port = unit.pattern.output.name.text
            yield "param has the name of a port", _at(unit, node.names[0], port, "QP117")
    if isinstance(node, tree.Inherit):
        name = node.names[-1]
        fault = _at(unit, name, f"{name.text}{unit.start}", "QP110")
        yield "what inherits is no port", fault


def _merged_arguments(unit: Unit) -> Faults:
    """`f(a, (b, c))` without its comma has a call `a (b, c)` in it, of no operator."""
    for comma in unit.tokens(","):
        if unit.text.startswith(" (", comma.end()):
            start, end = comma.span()
            codes = frozenset({"QP103", "QP135", "QP145", "QP150"})
            hidden = ITEM if isinstance(unit.node, tree.Family) else STRUCTURE
            yield "comma makes a call", Fault(unit, start, end, "", codes, frozenset([hidden]))


# ---- headers -----------------------------------------------------------------------------------


def _ports(unit: Unit) -> Faults:
    if not isinstance(unit.node, tree.Pattern):
        return
    output = unit.node.output
    for port in (*unit.node.ports, output):
        for atom in port.type.atoms if port.type is not None else ():
            if atom.member is not None:
                text = f"nowhere.{atom.member}"
                yield "dtype is that of no port", _at(unit, atom, text, "QP121")
            elif "$" not in atom.name:
                yield "dtype is misspelt", _at(unit, atom, f"{atom.name}8", "QP121")
    for port in unit.node.ports:
        twice = f"{port.span.text}, {port.span.text}"
        yield "port stands twice", _at(unit, port, twice, "QP117")
    for port in unit.node.ports[:1]:
        text = f"idle{unit.start}: int8, {port.span.text}"
        yield "port is not used", _at(unit, port, text, "QP111", needs=[STRUCTURE])
    if not output.many:
        yield "output may be absent", _at(unit, output, f"{output.span.text}?", "QP119")


def _compilers(unit: Unit) -> Faults:
    if isinstance(unit.node, tree.Compiler):
        twice = f'{unit.node.span.text}\ncompiler "again"'
        yield "compiler stands twice", _at(unit, unit.node, twice, "QP117")
        yield "compiler has a dot", _at(unit, unit.node.name, '"my.npu"', "QP141")


MEANING = (
    _operators,
    _attributes,
    _operands,
    _slots,
    _used_names,
    _bound_names,
    _read_names,
    _read_members,
    _defaults,
    _conditions,
    _values,
    _statements,
    _merged_arguments,
    _ports,
    _compilers,
)
