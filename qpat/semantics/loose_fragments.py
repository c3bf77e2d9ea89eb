"""Fragments that no pattern of the program uses: what can be said of them by themselves.

What a fragment means is known where it is used, so this looks at names only: operators and their
attributes, functions, and what expressions read.
"""

from __future__ import annotations

from collections.abc import Iterator

from qpat.diagnostics import Findings, did_you_mean
from qpat.ops.table import operator, operator_names
from qpat.semantics.attributes import DTYPES
from qpat.semantics.definitions import Definitions
from qpat.semantics.functions import BUILTINS
from qpat.semantics.inlining import bound_names
from qpat.syntax import tree

_WORDS = frozenset(["form", "target", *DTYPES])


def check_loose_fragments(definitions: Definitions, findings: Findings) -> None:
    """Checks the fragments of a file that are used nowhere."""
    for item in definitions.own.values():
        if isinstance(item, tree.Fragment) and id(item) not in definitions.used:
            if any(isinstance(each, tree.Broken) for each in nodes(item.block)):
                continue  # what it binds is not known
            _Checker(item, definitions, findings).check()


class _Checker:
    def __init__(
        self, fragment: tree.Fragment, definitions: Definitions, findings: Findings
    ) -> None:
        self.fragment = fragment
        self.definitions = definitions
        self.findings = findings
        self.names = bound_names(fragment.block) | {f.name.text for f in fragment.formals}
        self.names |= set(self._given())
        self.lost = definitions.lost
        found = [each for each in nodes(fragment.block) if isinstance(each, tree.Meaning)]
        self.meant = {id(each) for meaning in found for each in nodes(meaning)}

    def check(self) -> None:
        for node in nodes(self.fragment.block):
            if isinstance(node, tree.Call):
                self._call(node)
            elif isinstance(node, tree.Apply):
                self._function(node)
            elif isinstance(node, tree.Leaf | tree.Name):
                self._name(node)
        out = self.fragment.out
        if out is not None and out.text not in self.names:
            message = f"`{out.text}` is not bound in fragment `{self.fragment.name.text}`"
            self.findings.error("QP111", out.span, message)

    def _given(self) -> Iterator[str]:
        """The names that other fragments are given, and may bind."""
        for node in nodes(self.fragment.block):
            if isinstance(node, tree.Use | tree.Call) and self._is_fragment(node):
                given = (a for a in node.arguments if isinstance(a, tree.Leaf | tree.Name))
                yield from (each.name for each in given)

    def _is_fragment(self, node: tree.Use | tree.Call) -> bool:
        if isinstance(node, tree.Use):
            return True
        return any(each.text in self.definitions.visible for each in node.operators)

    def _name(self, node: tree.Leaf | tree.Name) -> None:
        name = node.name
        known = {*self.names, *_WORDS, *self.definitions.visible, *self.definitions.aliases}
        if name in known or name in BUILTINS or name in self.lost:
            return
        hint = did_you_mean(name, [*self.names, *self.definitions.visible])
        self.findings.error("QP130", node.span, f"`{name}` is not known here", hint=hint)

    def _function(self, node: tree.Apply) -> None:
        if not isinstance(node.function, tree.Name):
            return
        name = node.function.name
        if id(node) in self.meant and operator(name) is not None:
            return
        if name not in BUILTINS and name not in self.definitions.visible and name not in self.lost:
            known = [*BUILTINS, *self.definitions.visible]
            hint = did_you_mean(name, known)
            self.findings.error("QP135", node.function.span, f"no function `{name}`", hint=hint)

    def _call(self, node: tree.Call) -> None:
        for name in node.operators:
            if name.text in self.definitions.visible or name.text in self.lost:
                continue
            known = operator(name.text)
            if known is None:
                hint = did_you_mean(name.text, (*operator_names(), *self.definitions.fragments))
                message = f"`{name.text}` is no Relay operator"
                self.findings.error("QP101", name.span, message, hint=hint)
                continue
            words = [*known.attributes, *(operand.name for operand in known.operands)]
            for argument in node.arguments:
                if isinstance(argument, tree.Keyword) and argument.name.text not in words:
                    message = f"`{name.text}` has no attribute `{argument.name.text}`"
                    hint = did_you_mean(argument.name.text, words)
                    self.findings.error("QP102", argument.name.span, message, hint=hint)


def nodes(node: object) -> Iterator[tree.Node]:
    """All nodes of a tree, but not the function of a call, which is looked at with it."""
    if isinstance(node, tree.Node):
        yield node
    for part in tree.parts(node):
        if not isinstance(node, tree.Apply) or part is not node.function:
            yield from nodes(part)
