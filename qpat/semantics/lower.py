"""Syntax tree to pattern IR: items, patterns, forms and their rows.

Ports, structure, spaces, statements and expressions have rooms of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from qpat.diagnostics import Findings, did_you_mean
from qpat.ops.roles import TUPLE_RESULTS
from qpat.semantics import ir
from qpat.semantics.draft import Draft, Scope
from qpat.semantics.families import expand_families
from qpat.semantics.ports import lower_ports
from qpat.semantics.reports import head, report_twice, report_unbuilt
from qpat.semantics.spaces import derive_spaces
from qpat.semantics.statements import Statements
from qpat.semantics.structure import MOST_ROWS, expand
from qpat.source import Span
from qpat.syntax import tree
from qpat.syntax.parser import blanked

# What AnnotateTarget and the C symbols made of it accept: it compares the text before the first dot
# of a composite's name with the target (src/relay/transforms/annotate_target.cc), and "default" is
# its word for the host.
_COMPILER_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")

_UNBUILT_ITEMS = {
    tree.Import: "`import`",
    tree.Option: "`option`",
    tree.Extern: "`extern`",
    tree.Fragment: "`fragment`",
    tree.Test: "`test`",
}


def lower(file: tree.File, findings: Findings) -> ir.Module | None:
    """The IR of a file, or None where one of the findings it reports is an error."""
    _template_names(file, findings)
    file = expand_families(file, findings)
    compiler = _compiler(file, findings)
    unbuilt = frozenset(_unbuilt_names(file))
    patterns: list[ir.Pattern] = []
    seen: dict[str, tree.Pattern] = {}
    for item in file.items:
        if type(item) in _UNBUILT_ITEMS:
            report_unbuilt(findings, head(item.span), _UNBUILT_ITEMS[type(item)])
        if not isinstance(item, tree.Pattern):
            continue
        if item.name.text in seen:
            report_twice(item.name, seen[item.name.text].name.span, "pattern", findings)
            continue
        seen[item.name.text] = item
        # Findings of its own: a fault in one pattern must not change what is said of the next.
        mine = Findings()
        pattern = _Pattern(item, compiler, unbuilt, mine).lower()
        findings.extend(mine)
        if pattern is not None:
            patterns.append(pattern)
    if not seen and not findings.failed:
        findings.error("QP118", head(file.span), "this file has no pattern")
    return None if findings.failed else ir.Module(compiler, tuple(patterns))


def _unbuilt_names(file: tree.File) -> Iterable[str]:
    for item in file.items:
        if isinstance(item, tree.Option | tree.Extern | tree.Fragment):
            yield item.name.text


def _family_names(items: tuple[tree.Item, ...], offset: int) -> set[str]:
    """The names of the families that an offset lies in."""
    names: set[str] = set()
    for item in items:
        if isinstance(item, tree.Family) and item.span.start <= offset < item.span.end:
            names |= {name.text for name in item.names} | _family_names(item.items, offset)
    return names


def _template_names(file: tree.File, findings: Findings) -> None:
    """`$op` stands for what a family puts there; outside of one it stands for nothing."""
    families = file.items
    for found in re.finditer(r"\$\w+|\$\{\w+\}", blanked(file.span.source)):
        span = Span(file.span.source, *found.span())
        names = _family_names(families, span.start)
        if span.text.strip("${}") not in names:
            message = f"`{span.text}` is no name of a `for … in` around it"
            hint = did_you_mean(span.text.strip("${}"), names)
            findings.error("QP151", span, message, hint=hint)


def _compiler(file: tree.File, findings: Findings) -> str:
    stated = [item for item in file.items if isinstance(item, tree.Compiler)]
    if not stated:
        hint = 'begin the file with `compiler "my-npu"`: composites are named after it'
        findings.error("QP140", head(file.span), "no `compiler` is named", hint=hint)
        return "unnamed"
    for again in stated[1:]:
        report_twice(
            tree.Identifier(again.name.span, again.name.text), stated[0].span, "compiler", findings
        )
    name = stated[0].name
    if not _COMPILER_NAME.fullmatch(name.text) or name.text == "default":
        message = f'"{name.text}" cannot name a compiler'
        hint = (
            'take letters, digits, `_` and `-`, not "default": AnnotateTarget finds a composite '
            "by the text before the first dot of its name, and passes over others without a word"
        )
        findings.error("QP141", name.span, message, hint=hint)
    return name.text


@dataclass(frozen=True)
class _FormBlock:
    """One alternative of a pattern: its own statements; the pattern's common ones come on top."""

    name: str | None
    statements: tuple[tree.Statement, ...]
    span: Span


class _Pattern:
    """Lowers one pattern."""

    def __init__(
        self, node: tree.Pattern, compiler: str, unbuilt: frozenset[str], findings: Findings
    ) -> None:
        self.node = node
        self.compiler = compiler
        self.unbuilt = unbuilt
        self.findings = findings
        self.inputs = {port.name.text: port for port in node.ports}
        self.common = tuple(s for s in node.block.statements if not isinstance(s, tree.Form))

    def lower(self) -> ir.Pattern | None:
        composite = self._composite()
        ports = lower_ports(self.node, self.findings)
        if any(port.name.text == self.node.output.name.text for port in self.node.ports):
            return None  # said already, and nothing below would make sense of it
        forms = self._forms()
        rows = self._rows(forms, ports)
        if not rows:
            return None
        statements = self._statements(forms, rows)
        return ir.Pattern(
            self.node.name.text,
            composite,
            self.node.doc,
            ports,
            rows,
            statements,
            self.node.span,
        )

    def _composite(self) -> str:
        alias = self.node.alias
        if alias is None:
            return f"{self.compiler}.{self.node.name.text}"
        if alias.is_operator_rule:
            report_unbuilt(self.findings, alias.span, "a single-op rule (`as op`)")
        if alias.text.startswith(f"{self.compiler}."):
            rest = alias.text[len(self.compiler) + 1 :]
            hint = f'write "{rest}"; the compiler\'s name is put before'
            message = f'"{alias.text}" already begins with the compiler\'s name'
            self.findings.error("QP142", alias.span, message, hint=hint)
        if not alias.text or '"' in alias.text:
            self.findings.error("QP142", alias.span, "a composite needs a name")
        return f"{self.compiler}.{alias.text}"

    # ---- rows ----
    def _forms(self) -> tuple[_FormBlock, ...]:
        nodes = [s for s in self.node.block.statements if isinstance(s, tree.Form)]
        if not nodes:
            return (_FormBlock(None, (), self.node.span),)
        seen: dict[str, Span] = {}
        for form in nodes:
            if form.name.text in seen:
                report_twice(form.name, seen[form.name.text], "form", self.findings)
            seen.setdefault(form.name.text, form.name.span)
            self._check_form(form)
        blocks = [
            _FormBlock(form.name.text, form.block.statements, form.span)
            for form in nodes
            if form.target is None or form.target.text == "relay"
        ]
        if not blocks:
            message = f"no form of `{self.node.name.text}` is for Relay"
            self.findings.error("QP122", self.node.name.span, message)
        return tuple(blocks)

    def _check_form(self, form: tree.Form) -> None:
        if form.target is not None and form.target.text not in ("relay", "relax"):
            message = f"`{form.target.text}` is no target; targets are `relay` and `relax`"
            self.findings.error("QP122", form.target.span, message)
        if form.target is not None and form.target.text == "relax":
            report_unbuilt(self.findings, form.target.span, "a form on relax")
        for statement in form.block.statements:
            if isinstance(statement, tree.Form):
                report_unbuilt(self.findings, head(statement.span), "a form inside a form")

    def _rows(
        self, forms: tuple[_FormBlock, ...], ports: tuple[ir.Port, ...]
    ) -> tuple[ir.Row, ...]:
        drafts: list[Draft] = []
        for form in forms:
            scope = self._scope(form)
            if scope is None:
                continue
            mine = expand(scope, self.findings)
            if not self.findings.failed:
                self._check_rows(scope, mine)
            drafts += sorted(mine, key=lambda draft: ir.call_count(draft.nodes), reverse=True)
        if not self.findings.failed:
            self._check_ports(drafts)
        if self.findings.failed:
            return ()
        if len(drafts) > MOST_ROWS:
            message = (
                f"`{self.node.name.text}` has {len(drafts)} rows; at most {MOST_ROWS} are built"
            )
            hint = "write rarely used forms as a pattern of their own"
            self.findings.error("QP120", self.node.name.span, message, hint=hint)
        names = {name for draft in drafts for name in (*draft.values, *draft.calls)}
        dtypes = {port.name: port.dtypes for port in ports if port.dtypes}
        return tuple(
            _freeze(number, draft, names, dtypes, self.findings)
            for number, draft in enumerate(drafts, start=1)
        )

    def _scope(self, form: _FormBlock) -> Scope | None:
        binds: dict[str, tree.Bind] = {}
        for statement in (*self.common, *form.statements):
            if isinstance(statement, tree.Bind):
                self._add_bind(binds, statement)
        output = self.node.output
        if output.name.text not in binds:
            if self.findings.failed:
                return None  # what would bind it is not built, and that is said
            where = f" in form `{form.name}`" if form.name is not None else ""
            message = f"the output `{output.name.text}` is not bound{where}"
            hint = f"write `{output.name.text} = …`"
            self.findings.error("QP111", output.name.span, message, hint=hint)
            return None
        constants = {name for bind in binds.values() for name in _constants(bind.value)}
        return Scope(
            self.node.name.text,
            form.name,
            binds,
            self.inputs,
            frozenset(constants) - set(binds),
            output,
            self.unbuilt,
        )

    def _add_bind(self, binds: dict[str, tree.Bind], bind: tree.Bind) -> None:
        if len(bind.outs) > 1 or bind.outs[0].many:
            report_unbuilt(self.findings, bind.span, "binding the fields of a tuple")
            # Known all the same, so that their uses are not reported as well.
            binds.update({out.name: bind for out in bind.outs})
            return
        out = bind.outs[0]
        name = tree.Identifier(out.span, out.name)
        if out.name in binds:
            report_twice(name, binds[out.name].span, "name", self.findings)
        elif out.name in self.inputs and out.name != self.node.output.name.text:
            report_twice(name, self.inputs[out.name].span, "port", self.findings)
        binds[out.name] = bind

    def _check_ports(self, drafts: list[Draft]) -> None:
        """A port that no row binds is a slip, also where it may be absent."""
        for port in self.node.ports:
            if port.maybe and not any(port.name.text in draft.values for draft in drafts):
                known = {n for draft in drafts for n in draft.values} - set(self.inputs)
                hint = did_you_mean(port.name.text, known)
                message = f"port `{port.name.text}` is not used"
                self.findings.error("QP111", port.name.span, message, hint=hint)

    def _check_rows(self, scope: Scope, drafts: list[Draft]) -> None:
        used = {name for draft in drafts for name in draft.values}
        for name, bind in scope.binds.items():
            if name not in used:
                message = f"`{name}` is bound and not part of the pattern"
                hint = f"no operand leads from `{scope.output.name.text}` to it"
                self.findings.error("QP116", bind.outs[0].span, message, hint=hint)
        where = f" in form `{scope.form}`" if scope.form is not None else ""
        for port in self.node.ports:
            if port.name.text not in used and not port.maybe:
                message = f"port `{port.name.text}` is not used{where}"
                near = did_you_mean(port.name.text, used - set(self.inputs))
                self.findings.error("QP111", port.name.span, message, hint=near)
                return
        for draft in drafts:
            self._check_row(scope, draft)

    def _check_row(self, scope: Scope, draft: Draft) -> None:
        root = draft.nodes[draft.root]
        if isinstance(root, ir.Call) and root.operator in TUPLE_RESULTS:
            report_unbuilt(self.findings, root.span, "an output that is many tensors")
        if not isinstance(root, ir.Call):
            output = scope.binds[scope.output.name.text]
            message = "with all that is optional left out, no operator remains"
            if isinstance(output.value, tree.Leaf | tree.Wildcard | tree.Literal | tree.Constant):
                message = f"`{output.value.span.text}` is no call, so there is nothing to match"
            self.findings.error("QP123", output.span, message)
            return
        where = f" in form `{scope.form}`" if scope.form is not None else ""
        for port in self.node.ports:
            if port.name.text in draft.values or port.maybe:
                continue
            message = f"port `{port.name.text}` is absent in some rows{where}"
            hint = f"declare it `{port.name.text}: …?` if it may be"
            self.findings.error("QP111", port.name.span, message, hint=hint)

    # ---- statements ----
    def _statements(
        self, forms: tuple[_FormBlock, ...], rows: tuple[ir.Row, ...]
    ) -> tuple[ir.Statement, ...]:
        built = {form.name for form in forms}
        common = Statements(self.node, rows, None, self.findings, self.unbuilt)
        lowered: list[ir.Statement] = []
        for statement in self.node.block.statements:
            if not isinstance(statement, tree.Form):
                lowered += common.lower(statement)
            elif statement.name.text in built:
                mine = tuple(row for row in rows if row.form == statement.name.text)
                inner = Statements(
                    self.node, mine, statement.name.text, self.findings, self.unbuilt, common
                )
                for nested in statement.block.statements:
                    lowered += inner.lower(nested)
        return tuple(lowered)


def _constants(node: object) -> Iterable[str]:
    """The names that stand behind `const` anywhere in a structure."""
    if isinstance(node, tree.Constant) and isinstance(node.leaf, tree.Leaf):
        yield node.leaf.name
    elif isinstance(node, tuple):
        for child in node:
            yield from _constants(child)
    elif isinstance(node, tree.Node):
        yield from _constants(tuple(v for key, v in vars(node).items() if key != "span"))


def _freeze(
    number: int,
    draft: Draft,
    names: set[str],
    dtypes: Mapping[str, tuple[str, ...]],
    findings: Findings,
) -> ir.Row:
    spaces = derive_spaces(draft, dtypes, findings)
    absent = frozenset(names - set(draft.values))
    nodes = tuple(draft.nodes)
    return ir.Row(number, draft.form, nodes, draft.root, draft.values, draft.calls, absent, spaces)
