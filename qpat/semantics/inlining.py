"""Fragments to statements: each use becomes a block of its own, with names that no other has.

Also looks up the names of externs and options, which only the file they were written in can tell.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from qpat.diagnostics import Findings, did_you_mean
from qpat.records import dataclass, fields, replace
from qpat.semantics.definitions import Defined, Definitions
from qpat.syntax import tree

_MOST_INLINED = 200  # uses in one pattern: fragments of fragments grow fast


def inline(pattern: tree.Pattern, defined: Defined, findings: Findings) -> tree.Pattern:
    """The pattern with every use of a fragment replaced by a tree.Inlined, every call of an extern
    by a tree.ExternCall, every read of an option by a tree.OptionRead."""
    definitions = defined.definitions
    if not definitions.visible and not definitions.aliases and not _uses_any(pattern.block):
        return pattern  # most files define nothing
    inliner = _Inliner(defined, findings)
    local = bound_names(pattern.block) | {p.name.text for p in (*pattern.ports, pattern.output)}
    names = _Names(defined.definitions, {}, frozenset(local))
    inliner.check_shadowing(pattern, names)
    return replace(pattern, block=inliner.block(pattern.block, names, ()))


def _uses_any(block: tree.Block) -> bool:
    return any(
        isinstance(s, tree.Use) or (isinstance(s, tree.Form) and _uses_any(s.block))
        for s in block.statements
    )


def inline_option(
    node: tree.Option, definitions: Definitions, defined: Defined, findings: Findings
) -> tree.Expression:
    """The default of an option, with the options and externs it names looked up."""
    walk = _Walk(_Inliner(defined, findings), _Names(definitions, {}, frozenset()), (), [])
    changed: tree.Expression = walk.expression(node.value)
    return changed


@dataclass(frozen=True)
class _Names:
    """What names mean in one block: `replaced` maps a fragment's own names and formals to what they
    are in the pattern; `local` are the names that are nothing else."""

    definitions: Definitions
    replaced: Mapping[str, str | tree.Value]
    local: frozenset[str]


class _Inliner:
    def __init__(self, defined: Defined, findings: Findings) -> None:
        self.defined = defined
        self.findings = findings
        self.uses: Counter[str] = Counter()
        self.total = 0

    def check_shadowing(self, pattern: tree.Pattern, names: _Names) -> None:
        ports = [port.name for port in (*pattern.ports, pattern.output)]
        for name in (*ports, *_bindings(pattern.block)):
            found = names.definitions.visible.get(name.text)
            if found is not None:
                kind = type(found[0]).__name__.lower()
                message = f"`{name.text}` is the name of {_AN[kind]} here; take another"
                self.findings.error("QP117", name.span, message)

    # ---- statements ----
    def block(
        self, block: tree.Block, names: _Names, stack: tuple[tree.Fragment, ...]
    ) -> tree.Block:
        statements: list[tree.Statement] = []
        for statement in block.statements:
            statements += self._statement(statement, names, stack)
        return replace(block, statements=tuple(statements))

    def _statement(
        self, node: tree.Statement, names: _Names, stack: tuple[tree.Fragment, ...]
    ) -> Iterable[tree.Statement]:
        if isinstance(node, tree.Option):
            return []
        if isinstance(node, tree.Use):
            return self._use(node, names, stack)
        if isinstance(node, tree.Form):
            return [replace(node, block=self.block(node.block, names, stack))]
        before: list[tree.Statement] = []
        walk = _Walk(self, names, stack, before)
        changed = walk.statement(node)
        return [*before, changed]

    def _use(
        self, node: tree.Use, names: _Names, stack: tuple[tree.Fragment, ...]
    ) -> list[tree.Statement]:
        found = names.definitions.find(node.fragment.text)
        if found is None or not isinstance(found[0], tree.Fragment):
            if node.fragment.text not in names.definitions.lost:
                self._no_fragment(node.fragment, names.definitions)
            return [node]
        fragment, home = found[0], found[1]
        if fragment.out is not None:
            message = f"`{fragment.name.text}` gives a value, `{fragment.out.text}`"
            hint = f"write it where a value stands: `y = {node.fragment.text}(…)`"
            self.findings.error("QP154", node.fragment.span, message, hint=hint)
            return []
        before: list[tree.Statement] = []
        walk = _Walk(self, names, stack, before)
        arguments = [walk.expression(argument) for argument in node.arguments]
        inlined = self._inlined(node, node.fragment, fragment, home, arguments, stack)
        return [*before, *inlined]

    def _no_fragment(self, name: tree.Identifier, definitions: Definitions) -> None:
        message = f"no fragment `{name.text}`"
        hint = did_you_mean(name.text, definitions.fragments)
        self.findings.error("QP154", name.span, message, hint=hint)

    # ---- one use ----
    def _inlined(
        self,
        use: tree.Node,
        name: tree.Identifier,
        fragment: tree.Fragment,
        home: Definitions,
        arguments: list[Any],
        stack: tuple[tree.Fragment, ...],
    ) -> list[tree.Statement]:
        if fragment in stack:
            circle = " -> ".join(f"`{f.name.text}`" for f in (*stack, fragment))
            self.findings.error("QP154", name.span, f"a fragment uses itself: {circle}")
            return []
        if len(arguments) != len(fragment.formals):
            wanted = ", ".join(formal.name.text for formal in fragment.formals)
            message = (
                f"`{fragment.name.text}` takes {len(fragment.formals)} arguments ({wanted}), "
                f"not {len(arguments)}"
            )
            self.findings.error("QP154", name.span, message)
            return []
        self.total += 1
        if self.total == _MOST_INLINED:
            message = f"more than {_MOST_INLINED} fragments are used in one pattern"
            self.findings.error("QP154", name.span, message)
        if self.total >= _MOST_INLINED:
            return []
        instance = self._instance(fragment.name.text)
        replaced: dict[str, str | tree.Value] = {}
        statements: list[tree.Statement] = []
        for formal, argument in zip(fragment.formals, arguments, strict=True):
            replaced[formal.name.text] = self._argument(instance, formal, argument, statements)
        own = bound_names(fragment.block) - set(replaced)
        public = _public_names(fragment.block)
        replaced |= {each: f"{instance}.{each}" for each in own if each not in public}
        names = _Names(home, replaced, frozenset(own | set(replaced)))
        block = self.block(fragment.block, names, (*stack, fragment))
        block = replace(block, statements=(*statements, *block.statements))
        out = None if fragment.out is None else str(replaced.get(fragment.out.text, ""))
        if fragment.out is not None and not out:
            message = f"`{fragment.out.text}` is not bound in fragment `{fragment.name.text}`"
            self.findings.error("QP111", fragment.out.span, message)
            return []
        return [tree.Inlined(use.span, instance, out, block)]

    def _instance(self, name: str) -> str:
        self.uses[name] += 1
        return name if self.uses[name] == 1 else f"{name}_{self.uses[name]}"

    def _argument(
        self,
        instance: str,
        formal: tree.Formal,
        argument: Any,
        statements: list[tree.Statement],
    ) -> str | tree.Value:
        """What a formal stands for: a name, a literal, or a value bound for it here."""
        if isinstance(argument, tree.Name | tree.Leaf):
            return argument.name
        if isinstance(argument, tree.Value):
            return argument
        private = tree.Identifier(formal.name.span, f"{instance}.{formal.name.text}")
        if isinstance(argument, _STRUCTURES):
            out = tree.Out(argument.span, private.text, False)
            statements.append(tree.Bind(argument.span, (out,), argument))
        else:
            statements.append(tree.Let(argument.span, private, None, argument))
        return private.text


class _Walk:
    """Changes the names in one statement. `before` gets what has to stand in front of it."""

    def __init__(
        self,
        inliner: _Inliner,
        names: _Names,
        stack: tuple[tree.Fragment, ...],
        before: list[tree.Statement],
    ) -> None:
        self.inliner = inliner
        self.names = names
        self.stack = stack
        self.before = before

    def statement(self, node: tree.Statement) -> tree.Statement:
        if isinstance(node, tree.Bind):
            outs = tuple(replace(out, name=self._own(out.name)) for out in node.outs)
            return replace(node, outs=outs, value=self.structure(node.value))
        if isinstance(node, tree.Let):
            name = self._identifier(node.name)
            return replace(node, name=name, value=self.expression(node.value))
        if isinstance(node, tree.Inherit):
            return replace(node, names=tuple(self._identifier(name) for name in node.names))
        if isinstance(node, tree.Where):
            return replace(node, condition=self.expression(node.condition))
        if isinstance(node, tree.Param | tree.Meaning):
            return replace(node, value=self.expression(node.value))
        return node

    def _own(self, name: str) -> str:
        replaced = self.names.replaced.get(name, name)
        return replaced if isinstance(replaced, str) else name

    def _identifier(self, name: tree.Identifier) -> tree.Identifier:
        return replace(name, text=self._own(name.text))

    # ---- structure ----
    def structure(self, node: Any) -> Any:
        if isinstance(node, tree.Leaf):
            return self._leaf(node)
        if isinstance(node, tree.Slot):
            return replace(node, name=self._own(node.name))
        if isinstance(node, tree.Optional) and self._fragment(node.value) is not None:
            return self._optional(node)
        if isinstance(node, tree.Call):
            return self._call(node)
        if isinstance(node, tree.ListExpression):
            return self.expression(node)
        if isinstance(node, tree.Constant | tree.Variable):
            leaf = self.structure(node.leaf)
            return replace(node, leaf=leaf) if isinstance(leaf, tree.Leaf | tree.Wildcard) else leaf
        return _rebuilt(node, self.structure)

    def _leaf(self, node: tree.Leaf) -> tree.Node:
        replaced = self.names.replaced.get(node.name)
        if isinstance(replaced, str):
            return replace(node, name=replaced)
        if replaced is None:
            return node
        if isinstance(replaced.value, str):
            return tree.Text(node.span, replaced.value)
        return tree.Literal(node.span, replaced.value if replaced.value is not None else False)

    def _fragment(self, node: Any) -> tuple[tree.Fragment, Definitions] | None:
        if not isinstance(node, tree.Call) or len(node.operators) != 1:
            return None
        found = self.names.definitions.find(node.operators[0].text)
        if found is None or not isinstance(found[0], tree.Fragment):
            return None
        return found[0], found[1]

    def _call(self, node: tree.Call) -> Any:
        found = self._fragment(node)
        if found is None:
            self._check_operators(node)
            return _rebuilt(node, self.structure)
        fragment, home = found
        name = node.operators[0]
        if fragment.out is None:
            message = f"fragment `{name.text}` gives no value"
            hint = f"write `use {name.text}(…)`, or give it one: `fragment … -> out`"
            self.inliner.findings.error("QP154", name.span, message, hint=hint)
            return tree.Wildcard(node.span)
        arguments = self._arguments(node, fragment)
        inlined = self.inliner._inlined(node, name, fragment, home, arguments, self.stack)
        self.before += inlined
        if not inlined:
            return tree.Wildcard(node.span)
        last = inlined[-1]
        assert isinstance(last, tree.Inlined) and last.out is not None
        return tree.Leaf(node.span, last.out, inlined=True)

    def _check_operators(self, node: tree.Call) -> None:
        """A name of an import that has no such fragment, and a fragment among operators."""
        for name in node.operators:
            alias, _, member = name.text.partition(".")
            found = self.names.definitions.visible.get(name.text)
            if member and alias in self.names.definitions.aliases and found is None:
                if name.text not in self.names.definitions.lost:
                    self.inliner._no_fragment(name, self.names.definitions)
            elif found is not None:
                kind = type(found[0]).__name__.lower()
                message = f"`{name.text}` is {_AN[kind]}, not an operator"
                self.inliner.findings.error("QP154", name.span, message)

    def _arguments(self, node: tree.Call, fragment: tree.Fragment) -> list[Any]:
        """The arguments of a fragment in the order of its formals; they may be given by name."""
        given: list[Any] = []
        named: dict[str, Any] = {}
        for argument in node.arguments:
            if isinstance(argument, tree.Keyword):
                named[argument.name.text] = self._argument(argument.value)
            elif isinstance(argument, tree.Rest | tree.Slot):
                message = "a fragment takes values and literals as arguments"
                self.inliner.findings.error("QP154", argument.span, message)
            else:
                given.append(self._argument(argument))
        for formal in fragment.formals[len(given) :]:
            if formal.name.text in named:
                given.append(named.pop(formal.name.text))
        for name in named:
            known = [formal.name.text for formal in fragment.formals]
            message = f"fragment `{fragment.name.text}` has no argument `{name}` left"
            hint = did_you_mean(name, known)
            self.inliner.findings.error("QP154", node.operators[0].span, message, hint=hint)
        return given

    def _argument(self, node: Any) -> Any:
        """An argument of a fragment; literals become values that can stand anywhere."""
        changed = self.structure(node)
        if isinstance(changed, tree.Literal):
            return tree.Value(changed.span, changed.value)
        if isinstance(changed, tree.Text):
            return tree.Value(changed.span, changed.text)
        return changed

    def _optional(self, node: tree.Optional) -> Any:
        assert isinstance(node.value, tree.Call)
        first = node.value.arguments[0] if node.value.arguments else None
        changed = self.structure(node.value)
        if isinstance(first, tree.Slot | tree.Keyword | tree.Rest) or first is None:
            return replace(node, value=changed)
        # The inlined block has its own name for an argument that is no name.
        otherwise: Any = self._leaf(first) if isinstance(first, tree.Leaf) else self._first(changed)
        return replace(node, value=changed, otherwise=otherwise)

    def _first(self, leaf: Any) -> Any:
        last = self.before[-1] if self.before else None
        if isinstance(last, tree.Inlined):
            bind = last.block.statements[0]
            if isinstance(bind, tree.Bind):
                return tree.Leaf(bind.span, bind.outs[0].name)
        return leaf

    # ---- expressions ----
    def expression(self, node: Any) -> Any:
        if isinstance(node, tree.Name):
            return self._name(node)
        if isinstance(node, tree.Get):
            return self._get(node)
        if isinstance(node, tree.Apply):
            return self._apply(node)
        return _rebuilt(node, self.expression)

    def _name(self, node: tree.Name) -> Any:
        replaced = self.names.replaced.get(node.name)
        if isinstance(replaced, str):
            return replace(node, name=replaced)
        if replaced is not None:
            return replace(replaced, span=node.span)
        if node.name in self.names.local:
            return node
        found = self.names.definitions.find(node.name)
        if found is not None and isinstance(found[0], tree.Option):
            return tree.OptionRead(node.span, self.inliner.defined.name_of(found[0]))
        return node

    def _get(self, node: tree.Get) -> Any:
        if isinstance(node.value, tree.Name) and node.value.name in self.names.definitions.aliases:
            name = f"{node.value.name}.{node.member.text}"
            found = self.names.definitions.find(name)
            if found is not None and isinstance(found[0], tree.Option):
                return tree.OptionRead(node.span, self.inliner.defined.name_of(found[0]))
        return replace(node, value=self.expression(node.value))

    def _apply(self, node: tree.Apply) -> Any:
        arguments = tuple(self.expression(argument) for argument in node.arguments)
        found = self.names.definitions.find(_dotted(node.function))
        if found is not None and isinstance(found[0], tree.Extern):
            name = self.inliner.defined.name_of(found[0])
            return tree.ExternCall(node.span, name, arguments)
        return replace(node, arguments=arguments)


_STRUCTURES = (
    tree.Call,
    tree.CompositeCall,
    tree.Constant,
    tree.Variable,
    tree.Wildcard,
    tree.Tuple,
    tree.Field,
    tree.Optional,
    tree.Alternatives,
    tree.Modified,
)
_AN = {"fragment": "a fragment", "extern": "an extern", "option": "an option"}


def _dotted(node: tree.Expression) -> str:
    if isinstance(node, tree.Name):
        return node.name
    if isinstance(node, tree.Get):
        return f"{_dotted(node.value)}.{node.member.text}"
    return ""


def _rebuilt(node: Any, change: Any) -> Any:
    """A node with every node below it changed."""
    if isinstance(node, tuple):
        return tuple(
            _rebuilt(each, change) if isinstance(each, tuple) else change(each) for each in node
        )
    if not isinstance(node, tree.Node):
        return node
    made: dict[str, Any] = {}
    for name in fields(node):
        value = getattr(node, name)
        if isinstance(value, tuple) or (
            isinstance(value, tree.Node) and not isinstance(value, tree.Identifier)
        ):
            made[name] = _rebuilt(value, change) if isinstance(value, tuple) else change(value)
    return replace(node, **made) if made else node


# ---- the names a block binds -----------------------------------------------------------------


def _bindings(block: tree.Block) -> Iterator[tree.Identifier]:
    """Every name that a block binds, its forms' too."""
    for statement in block.statements:
        if isinstance(statement, tree.Bind):
            yield from (tree.Identifier(out.span, out.name) for out in statement.outs)
            yield from constant_names(statement.value)
        elif isinstance(statement, tree.Let) and statement.slot is None:
            yield statement.name
        elif isinstance(statement, tree.Param):
            yield from statement.names
        elif isinstance(statement, tree.Form):
            yield from _bindings(statement.block)


def bound_names(block: tree.Block) -> frozenset[str]:
    """The names that a block binds, its forms' too."""
    return frozenset(name.text for name in _bindings(block))


def _public_names(block: tree.Block) -> frozenset[str]:
    """The params of a block: fields of the record, whichever fragment says them."""
    found: set[str] = set()
    for statement in block.statements:
        if isinstance(statement, tree.Param):
            found |= {name.text for name in statement.names}
        elif isinstance(statement, tree.Form):
            found |= _public_names(statement.block)
    return frozenset(found)


def constant_names(node: object) -> Iterator[tree.Identifier]:
    """The names that stand behind `const` or `var` anywhere in a structure."""
    if isinstance(node, tree.Constant | tree.Variable):
        if isinstance(node.leaf, tree.Leaf):
            yield tree.Identifier(node.leaf.span, node.leaf.name)
        return
    for part in tree.parts(node):
        yield from constant_names(part)
