"""Composites and what stands around them as TVM's nodes, each made once and with its type.

TVM's functions for a node with other operands keep its type, its attributes and its span. What has
no node that it comes of is made field by field, since the constructors leave the type out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tvm import relay
from tvm.ir import _ffi_api as ir
from tvm.relay import _ffi_api as make
from tvm.runtime import String, _ffi_api, _ffi_node_api

from qpat.relay.single_pass.groups import Group
from qpat.relay.single_pass.reading import LEAVES, PARTITIONED, Graph

Expr = Any

# What a constructor gives an expression; the printer and comparisons want it in place of nothing.
_UNPLACED = _ffi_node_api.NodeGetAttr(relay.Tuple([]), "virtual_device_")
# Arrays are made by TVM's function: a list that is passed is converted item by item in Python.
_array = _ffi_api.Array
_EMPTY = _array()


@dataclass(eq=False)
class Builder:
    """Makes the expressions of a graph as it stands."""

    graph: Graph
    # Nodes that are not what was read, as far as they have been asked for and still hold.
    _built: dict[int, Expr] = field(default_factory=dict)
    _attrs: dict[tuple[str, str], Any] = field(default_factory=dict)

    def expr(self, node: int) -> Expr:
        """The expression of a node with the composites below it. What has none is what was read."""
        graph, built = self.graph, self._built
        if node not in graph.dirty:
            return graph.exprs[node]
        stack = [node]
        while stack:
            at = stack[-1]
            missing = [
                child for child in graph.children[at] if child in graph.dirty and child not in built
            ]
            if missing:
                stack.extend(missing)
                continue
            stack.pop()
            if at not in built:
                built[at] = self._rebuilt(at)
        return built[node]

    def accept(self, group: Group, composite: str) -> None:
        """Puts a call of a composite in the place of a group's root."""
        graph, root = self.graph, group.root
        graph.functions[root] = self._function(group, composite)
        before = graph.children[root]
        graph.kinds[root], graph.operators[root] = "Call", None
        graph.children[root] = group.inputs
        graph.forget_order()
        for each in group.inputs:
            if graph.kinds[each] not in LEAVES:
                graph.users[each].add(root)
        self._release(root, set(before).difference(group.inputs))
        self._touch(root)

    def _release(self, user: int, operands: set[int]) -> None:
        """Takes a user from nodes that it no longer uses; those without any are gone."""
        graph = self.graph
        stack = [(user, operand) for operand in operands]
        while stack:
            user, node = stack.pop()
            if graph.kinds[node] in LEAVES:
                continue
            users = graph.users[node]
            users.discard(user)
            if not users and node not in graph.dead:
                graph.dead.add(node)
                stack.extend((node, child) for child in graph.children[node])

    def _touch(self, root: int) -> None:
        """Drops what was built on a node that has changed."""
        graph, built = self.graph, self._built
        stack = [root]
        while stack:
            node = stack.pop()
            if node in graph.dirty and built.pop(node, None) is None and node != root:
                # Nothing above it is built either, and all above it is known to be dirty.
                continue
            graph.dirty.add(node)
            stack.extend(graph.users[node])

    # ---- nodes -----------------------------------------------------------------------------------

    def _rebuilt(self, node: int) -> Expr:
        graph = self.graph
        old = graph.exprs[node]
        children = [self._known(child) for child in graph.children[node]]
        function = graph.functions.get(node)
        if function is not None:
            return _call(function, children, graph.type_of(node))
        kind = graph.kinds[node]
        if kind == "Call" and graph.operators[node] is None:
            arguments = _array(*children[1:])
            return make.CallWithFields(old, children[0], arguments, None, None, None, None)
        return _WITH_OPERANDS[kind](old, children)

    def _known(self, node: int) -> Expr:
        return self._built[node] if node in self.graph.dirty else self.graph.exprs[node]

    def _function(self, group: Group, composite: str) -> Expr:
        graph = self.graph
        made: dict[int, Expr] = {}
        types = [graph.type_of(each) for each in group.inputs]
        for at, (each, its_type) in enumerate(zip(group.inputs, types, strict=True)):
            made[each] = _variable(f"FunctionVar_{group.number}_{at}", its_type)
        parameters = _array(*made.values())
        for node in group.inner:
            children = graph.children[node]
            if any(child in made for child in children):
                operands = [
                    made[child] if child in made else graph.exprs[child] for child in children
                ]
                made[node] = _WITH_OPERANDS[graph.kinds[node]](graph.exprs[node], operands)
        # Of constants alone, the result is what it was.
        body = made.get(group.root, graph.exprs[group.root])
        result = graph.type_of(group.root)
        return _ffi_node_api.MakeNode(
            *("relay.Function", "params", parameters, "body", body),
            *("ret_type", result, "type_params", _EMPTY),
            *("attrs", self._attributes(group.name, composite)),
            *("virtual_device_", _UNPLACED, "span", None),
            *("_checked_type_", ir.FuncType(_array(*types), result, _EMPTY, _EMPTY)),
        )

    def _attributes(self, name: str, composite: str) -> Any:
        """What marks the function; in this order, as it is in the text."""
        key = (name, composite)
        if key not in self._attrs:
            empty = relay.Function([], relay.Tuple([]))
            marked = empty.with_attr(PARTITIONED, name).with_attr("Composite", composite)
            self._attrs[key] = marked.attrs
        return self._attrs[key]


def _call(function: Expr, operands: list[Expr], result: Any) -> Expr:
    return _ffi_node_api.MakeNode(
        *("relay.Call", "op", function, "args", _array(*operands)),
        *("attrs", None, "type_args", _EMPTY),
        *("virtual_device_", _UNPLACED, "span", None, "_checked_type_", result),
    )


def _variable(name: str, its_type: Any) -> Expr:
    # A name that is no String would be stored as another kind of object.
    identity = _ffi_node_api.MakeNode("relay.Id", "name_hint", String(name))
    return _ffi_node_api.MakeNode(
        *("relay.Var", "vid", identity, "type_annotation", its_type),
        *("virtual_device_", _UNPLACED, "span", None, "_checked_type_", its_type),
    )


# Of a node: it with other operands.
_WITH_OPERANDS = {
    "Call": lambda old, new: make.CallWithFields(old, None, _array(*new), None, None, None, None),
    "Tuple": lambda old, new: make.TupleWithFields(old, _array(*new), None, None),
    "TupleGetItem": lambda old, new: make.TupleGetItemWithFields(old, new[0], None, None, None),
    "Function": lambda old, new: relay.function.FunctionWithFields(old, None, new[0]),
}
