"""Which expressions of a module are one value: parameters of functions and what they stand for,
calls of functions and what these return, fields of tuples, variables of Let.

What stays the same before and after MergeComposite and PartitionGraph are these values.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from qpat.relay.graph import children_of, post_order
from qpat.relay.kinds import relay, tvm

Expr = Any


class Aliases:
    """The expressions of a module by the value they are. A function that is called from several
    places has parameters of its own: `callers` has the calls of each such function."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self.callers: dict[Expr, list[Expr]] = {}
        self._bound: dict[Expr, Expr] = {}
        self._item: dict[tuple[Expr, int], Expr] = {}
        self._found: dict[Expr, Expr] = {}
        self._globals = {v.name_hint: function for v, function in module.functions.items()}
        self.nodes = [
            node
            for name in sorted(self._globals, key=lambda name: (name != "main", name))
            for node in self._nodes(self._globals[name])
        ]
        self._bind()

    def _nodes(self, function: Any) -> list[Expr]:
        # A function of C++ or TIR that was put beside those of Relay has no expressions.
        is_relay = isinstance(function, relay.Function)
        return list(post_order(function, functions=True)) if is_relay else []

    def _bind(self) -> None:
        for node in self.nodes:
            if isinstance(node, relay.Let):
                self._bound[node.var] = node.value
        for node in self.nodes:
            if isinstance(node, relay.Call):
                function = self.function(node)
                if function is not None:
                    self.callers.setdefault(function, []).append(node)
        self._called = frozenset(self.callers)
        for function, calls in list(self.callers.items()):
            if len(calls) == 1:
                self._bound.update(zip(function.params, calls[0].args, strict=False))
                del self.callers[function]
        for node in self.nodes:
            if isinstance(node, relay.TupleGetItem):
                self._item.setdefault((self.resolve(node.tuple_value), node.index), node)
        # What was found before all fields were known may be another field's twin.
        self._found.clear()

    def function(self, call: Expr) -> Any:
        """The Relay function that is called; None where an operator or anything else is."""
        target = call.op
        if isinstance(target, tvm.ir.GlobalVar):
            target = self._globals.get(target.name_hint)
        elif isinstance(target, relay.Var):
            target = self.resolve(target)
        return target if isinstance(target, relay.Function) else None

    def resolve(self, value: Expr) -> Expr:
        """The expression that stands for a value, always the same one."""
        met: list[Expr] = []
        while value not in self._found:
            met.append(value)
            self._found[value] = value
            following = self._following(value)
            if following is None:
                break
            value = following
        end = self._found[value]
        for each in met:
            self._found[each] = end
        return end

    def _following(self, value: Expr) -> Expr | None:
        if value in self._bound:
            return self._bound[value]
        if isinstance(value, relay.Let):
            return value.body
        if isinstance(value, relay.Call):
            function = self.function(value)
            return None if function is None or function in self.callers else function.body
        if isinstance(value, relay.TupleGetItem):
            source = self.resolve(value.tuple_value)
            if isinstance(source, relay.Tuple):
                return source.fields[value.index]
            return self._item.get((source, value.index))
        return None

    def item(self, source: Expr, index: int) -> Expr | None:
        """The expression that takes a field of a value, None where there is none."""
        if isinstance(source, relay.Tuple):
            return self.resolve(source.fields[index])
        return self._item.get((source, index))

    def results(self) -> list[Expr]:
        """What those functions return that are called from outside of the module only."""
        functions = (f for f in self._globals.values() if isinstance(f, relay.Function))
        return [function.body for function in functions if function not in self._called]

    def order(self) -> list[Expr]:
        """Every value once, operands first."""
        entered: set[Expr] = set()
        order: list[Expr] = []
        for root in self.nodes:
            if not isinstance(root, relay.Function):
                _append(self.resolve(root), self._below, entered, order)
        return order

    def _below(self, value: Expr) -> Iterator[Expr]:
        """The values that a value is made of."""
        if isinstance(value, relay.Call):
            function = self.function(value)
            yield from (self.resolve(argument) for argument in value.args)
            if function is not None:
                yield self.resolve(function.body)
        else:
            yield from (
                self.resolve(child)
                for child in children_of(value)
                if not isinstance(child, relay.Function)
            )


def _append(root: Expr, below: Any, entered: set[Expr], order: list[Expr]) -> None:
    stack = [(root, False)]
    while stack:
        value, ready = stack.pop()
        if ready:
            order.append(value)
        elif value not in entered:
            entered.add(value)
            stack.append((value, True))
            stack.extend((child, False) for child in reversed(list(below(value))))
