"""Syntax tree to pattern IR: items, ports, forms and statements.

Structure, spaces and expressions have rooms of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from qpat.diagnostics import Findings, Label, did_you_mean
from qpat.ops.table import operator
from qpat.semantics import ir
from qpat.semantics.expressions import Lowering, Names
from qpat.semantics.spaces import derive_spaces
from qpat.semantics.structure import DTYPES, MOST_ROWS, Draft, Scope, expand
from qpat.semantics.unbuilt import report_unbuilt
from qpat.source import Span
from qpat.syntax import tree

# What AnnotateTarget and the C symbols made of it accept: it compares the text before the first dot
# of a composite's name with the target (src/relay/transforms/annotate_target.cc), and "default" is
# its word for the host.
_COMPILER_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")

_UNBUILT_ITEMS = {
    tree.Import: "`import`",
    tree.Option: "`option`",
    tree.Extern: "`extern`",
    tree.Fragment: "`fragment`",
    tree.Family: "`for … in`",
    tree.Test: "`test`",
}


def lower(file: tree.File, findings: Findings) -> ir.Module | None:
    """The IR of a file, or None where one of the findings it reports is an error."""
    compiler = _compiler(file, findings)
    patterns: list[ir.Pattern] = []
    seen: dict[str, tree.Pattern] = {}
    for item in file.items:
        if type(item) in _UNBUILT_ITEMS:
            report_unbuilt(findings, _head(item.span), _UNBUILT_ITEMS[type(item)])
        if not isinstance(item, tree.Pattern):
            continue
        if item.name.text in seen:
            _report_twice(item.name, seen[item.name.text].name.span, "pattern", findings)
            continue
        seen[item.name.text] = item
        # Findings of its own: a fault in one pattern must not change what is said of the next.
        mine = Findings()
        pattern = _Pattern(item, compiler, mine).lower()
        findings.extend(mine)
        if pattern is not None:
            patterns.append(pattern)
    if not seen and not findings.failed:
        findings.error("QP118", _head(file.span), "this file has no pattern")
    return None if findings.failed else ir.Module(compiler, tuple(patterns))


def _head(span: Span) -> Span:
    """The first word of a long span: what a message underlines."""
    word = re.match(r"\S*", span.source.text[span.start :])
    return Span(span.source, span.start, span.start + (word.end() if word else 0))


def _report_twice(name: tree.Identifier, first: Span, what: str, findings: Findings) -> None:
    message = f"{what} `{name.text}` is defined twice"
    others = (Label(first, "first here"),)
    findings.error("QP117", name.span, message, others=others)


def _compiler(file: tree.File, findings: Findings) -> str:
    stated = [item for item in file.items if isinstance(item, tree.Compiler)]
    if not stated:
        hint = 'begin the file with `compiler "my-npu"`: composites are named after it'
        findings.error("QP140", _head(file.span), "no `compiler` is named", hint=hint)
        return "unnamed"
    for again in stated[1:]:
        _report_twice(
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

    def __init__(self, node: tree.Pattern, compiler: str, findings: Findings) -> None:
        self.node = node
        self.compiler = compiler
        self.findings = findings
        self.inputs = {port.name.text: port for port in node.ports}
        self.common = tuple(s for s in node.block.statements if not isinstance(s, tree.Form))

    def lower(self) -> ir.Pattern | None:
        composite = self._composite()
        ports = self._ports()
        forms = self._forms()
        rows = self._rows(forms)
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

    # ---- ports ----
    def _ports(self) -> tuple[ir.Port, ...]:
        seen: dict[str, Span] = {}
        for port in (*self.node.ports, self.node.output):
            if port.name.text in seen:
                _report_twice(port.name, seen[port.name.text], "port", self.findings)
            seen.setdefault(port.name.text, port.name.span)
        output = self.node.output
        if output.many:
            report_unbuilt(self.findings, output.span, "an output that is many tensors")
        if output.maybe:
            self.findings.error("QP119", output.span, "the output of a pattern cannot be absent")
        inputs = tuple(self._port(port, False) for port in self.node.ports)
        return (*inputs, self._port(output, True))

    def _port(self, port: tree.Port, is_output: bool) -> ir.Port:
        dtypes: list[str] = []
        same: str | None = None
        for atom in port.type.atoms if port.type is not None else ():
            if atom.member is not None:
                same = self._same_dtype(port, atom)
            elif atom.name in DTYPES:
                dtypes.append(atom.name)
            elif atom.name != "tensor":
                hint = did_you_mean(atom.name, [*DTYPES, "tensor"])
                message = f"`{atom.name}` is no dtype"
                self.findings.error("QP121", atom.span, message, hint=hint)
        name = port.name.text
        shape = self._shape(port)
        span = port.span
        return ir.Port(name, tuple(dtypes), same, shape, port.maybe, port.many, is_output, span)

    def _same_dtype(self, port: tree.Port, atom: tree.TypeAtom) -> str | None:
        assert port.type is not None
        if len(port.type.atoms) > 1:
            report_unbuilt(self.findings, port.type.span, "another port's dtype among several")
        known = [*self.inputs, self.node.output.name.text]
        if atom.member != "dtype":
            message = f"a type can be `{atom.name}.dtype`, not `{atom.name}.{atom.member}`"
            self.findings.error("QP121", atom.span, message)
        elif atom.name not in known or atom.name == port.name.text:
            hint = did_you_mean(atom.name, [k for k in known if k != port.name.text])
            message = f"`{atom.name}` is no other port of this pattern"
            self.findings.error("QP121", atom.span, message, hint=hint)
        else:
            return atom.name
        return None

    def _shape(self, port: tree.Port) -> tuple[int | str | None, ...] | None:
        if port.type is None or port.type.shape is None:
            return None
        for dimension in port.type.shape:
            taken = isinstance(dimension.value, str) and dimension.value in self.inputs
            if taken:
                message = f"`{dimension.value}` is a port and cannot be a dimension too"
                self.findings.error("QP117", dimension.span, message)
        if sum(dimension.rest for dimension in port.type.shape) > 1:
            message = "a shape can have one `...`"
            self.findings.error("QP121", port.type.span, message)
        return tuple("..." if d.rest else d.value for d in port.type.shape)

    # ---- rows ----
    def _forms(self) -> tuple[_FormBlock, ...]:
        nodes = [s for s in self.node.block.statements if isinstance(s, tree.Form)]
        if not nodes:
            return (_FormBlock(None, (), self.node.span),)
        seen: dict[str, Span] = {}
        for form in nodes:
            if form.name.text in seen:
                _report_twice(form.name, seen[form.name.text], "form", self.findings)
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
        for statement in form.block.statements:
            if isinstance(statement, tree.Form):
                report_unbuilt(self.findings, _head(statement.span), "a form inside a form")

    def _rows(self, forms: tuple[_FormBlock, ...]) -> tuple[ir.Row, ...]:
        drafts: list[Draft] = []
        for form in forms:
            scope = self._scope(form)
            if scope is None:
                continue
            mine = expand(scope, self.findings)
            if not self.findings.failed:
                self._check_rows(scope, mine)
            drafts += sorted(mine, key=_call_count, reverse=True)
        if self.findings.failed:
            return ()
        if len(drafts) > MOST_ROWS:
            message = (
                f"`{self.node.name.text}` has {len(drafts)} rows; at most {MOST_ROWS} are built"
            )
            hint = "write rarely used forms as a pattern of their own"
            self.findings.error("QP120", self.node.name.span, message, hint=hint)
        names = {name for draft in drafts for name in (*draft.values, *draft.calls)}
        floats = frozenset(p.name for p in self._ports() if p.dtypes and _is_float(p.dtypes))
        return tuple(
            _freeze(number, draft, names, floats, self.findings)
            for number, draft in enumerate(drafts, start=1)
        )

    def _scope(self, form: _FormBlock) -> Scope | None:
        binds: dict[str, tree.Bind] = {}
        for statement in (*self.common, *form.statements):
            if isinstance(statement, tree.Bind):
                self._add_bind(binds, statement)
        output = self.node.output
        if output.name.text not in binds:
            where = f" in form `{form.name}`" if form.name is not None else ""
            message = f"the output `{output.name.text}` is not bound{where}"
            hint = f"write `{output.name.text} = …`"
            self.findings.error("QP111", output.name.span, message, hint=hint)
            return None
        return Scope(form.name, binds, self.inputs, output)

    def _add_bind(self, binds: dict[str, tree.Bind], bind: tree.Bind) -> None:
        if len(bind.outs) > 1 or bind.outs[0].many:
            report_unbuilt(self.findings, bind.span, "binding the fields of a tuple")
            return
        out = bind.outs[0]
        name = tree.Identifier(out.span, out.name)
        if out.name in binds:
            _report_twice(name, binds[out.name].span, "name", self.findings)
        elif out.name in self.inputs:
            _report_twice(name, self.inputs[out.name].span, "port", self.findings)
        binds[out.name] = bind

    def _check_rows(self, scope: Scope, drafts: list[Draft]) -> None:
        used = {name for draft in drafts for name in draft.values}
        for name, bind in scope.binds.items():
            if name not in used:
                message = f"`{name}` is bound and not part of the pattern"
                hint = f"no operand leads from `{scope.output.name.text}` to it"
                self.findings.error("QP116", bind.outs[0].span, message, hint=hint)
        for draft in drafts:
            self._check_row(scope, draft)

    def _check_row(self, scope: Scope, draft: Draft) -> None:
        if not isinstance(draft.nodes[draft.root], ir.Call):
            message = "with all that is optional left out, no operator remains"
            output = scope.binds[scope.output.name.text]
            self.findings.error("QP123", output.span, message)
            return
        where = f" in form `{scope.form}`" if scope.form is not None else ""
        used_somewhere = {leaf.name for leaf in draft.nodes if isinstance(leaf, ir.Input)}
        for port in self.node.ports:
            if port.name.text in draft.values or port.maybe:
                continue
            missing = [n for n in scope.binds if n in draft.values and n not in draft.calls]
            given = used_somewhere or missing
            hint = f"declare it `{port.name.text}: …?` if it may be absent" if given else None
            message = f"port `{port.name.text}` is not bound in every row{where}"
            self.findings.error("QP111", port.name.span, message, hint=hint)

    # ---- statements ----
    def _statements(
        self, forms: tuple[_FormBlock, ...], rows: tuple[ir.Row, ...]
    ) -> tuple[ir.Statement, ...]:
        built = {form.name for form in forms}
        common = _Statements(self, rows, None)
        lowered: list[ir.Statement] = []
        for statement in self.node.block.statements:
            if not isinstance(statement, tree.Form):
                lowered += common.lower(statement)
            elif statement.name.text in built:
                mine = tuple(row for row in rows if row.form == statement.name.text)
                inner = _Statements(self, mine, statement.name.text)
                inner.lowering.locals.update(common.lowering.locals)
                inner.params = common.params
                for nested in statement.block.statements:
                    lowered += inner.lower(nested)
        return tuple(lowered)


def _call_count(draft: Draft) -> int:
    return sum(isinstance(node, ir.Call) for node in draft.nodes)


def _is_float(dtypes: Iterable[str]) -> bool:
    return all(dtype.startswith(("float", "bfloat")) for dtype in dtypes)


def _freeze(
    number: int, draft: Draft, names: set[str], floats: frozenset[str], findings: Findings
) -> ir.Row:
    spaces = derive_spaces(draft, floats, findings)
    absent = frozenset(names - set(draft.values))
    nodes = tuple(draft.nodes)
    return ir.Row(number, draft.form, nodes, draft.root, draft.values, draft.calls, absent, spaces)


class _Statements:
    """Lowers the statements of a pattern (`form` None) or of one of its forms."""

    def __init__(self, pattern: _Pattern, rows: tuple[ir.Row, ...], form: str | None) -> None:
        self.pattern = pattern
        self.findings = pattern.findings
        self.form = form
        self.params: dict[str, Span] = {}
        self.lowering = Lowering(_names(pattern, rows), self.findings)

    def lower(self, statement: tree.Statement) -> list[ir.Statement]:
        match statement:
            case tree.Where():
                return [self._where(statement)]
            case tree.Let():
                return self._let(statement)
            case tree.Param():
                return [self._param(statement)]
            case tree.Inherit():
                return [self._inherit(name) for name in statement.names]
            case tree.Use():
                report_unbuilt(self.findings, _head(statement.span), "`use`")
            case tree.Option():
                report_unbuilt(self.findings, _head(statement.span), "`option`")
            case tree.Meaning():
                message = "`meaning` is not built yet; it is read and changes nothing"
                self.findings.warning("QP091", _head(statement.span), message)
            case tree.Bind() | tree.Form():
                pass  # structure, expanded into rows
        return []

    def _where(self, node: tree.Where) -> ir.Where:
        condition = self.lowering.lower(node.condition)
        if condition.kind not in (ir.Kind.BOOL, ir.Kind.ANY, ir.Kind.ARRAY):
            message = "a condition is wanted here, something that holds or does not"
            self.findings.error("QP138", node.condition.span, message)
        words = " ".join(node.condition.span.text.split())
        reason = node.reason.text if node.reason is not None else f"not {words}"
        return ir.Where(condition, reason, node.span, self.form)

    def _let(self, node: tree.Let) -> list[ir.Statement]:
        if node.slot is not None:
            return self._fill(node, node.slot)
        name = node.name.text
        if name in self.lowering.names.values or name in self.lowering.locals:
            message = f"`{name}` already means something here"
            self.findings.error("QP117", node.name.span, message)
        value = self.lowering.lower(node.value)
        self.lowering.locals[name] = value.kind
        return [ir.Let(name, value, node.span, self.form)]

    def _fill(self, node: tree.Let, slot: tree.Identifier) -> list[ir.Statement]:
        name = node.name.text
        if name not in self.lowering.names.values:
            hint = did_you_mean(name, self.lowering.names.values)
            self.findings.error("QP130", node.name.span, f"`{name}` is not known here", hint=hint)
            return []
        if slot.text == "qparams" and isinstance(node.value, tree.Raw):
            return [ir.Fill(name, "raw", None, node.span, self.form)]
        if slot.text not in ("scale", "zero_point"):
            hint = did_you_mean(slot.text, ("scale", "zero_point", "qparams"))
            message = f"`{slot.text}` cannot be filled"
            self.findings.error("QP106", slot.span, message, hint=hint)
            return []
        value = self.lowering.lower(node.value)
        return [ir.Fill(name, slot.text, value, node.span, self.form)]

    def _param(self, node: tree.Param) -> ir.Param:
        taken = {port.name.text for port in (*self.pattern.node.ports, self.pattern.node.output)}
        for name in node.names:
            if name.text in taken or name.text in ("form", "pattern"):
                message = f"the record already has a field `{name.text}`"
                self.findings.error("QP117", name.span, message)
            elif name.text in self.params and self.form is None:
                _report_twice(name, self.params[name.text], "param", self.findings)
            self.params.setdefault(name.text, name.span)
        if node.type is not None:
            report_unbuilt(self.findings, node.type.span, "a type on a `param`")
        value = self.lowering.lower(node.value)
        kind = value.kind if len(node.names) == 1 else ir.Kind.ANY
        self.lowering.locals.update({name.text: kind for name in node.names})
        if len(node.names) > 1 and value.kind not in (ir.Kind.TUPLE, ir.Kind.ANY):
            message = f"{len(node.names)} names want a tuple of as many values"
            self.findings.error("QP139", node.value.span, message)
        return ir.Param(tuple(name.text for name in node.names), value, node.span, self.form)

    def _inherit(self, name: tree.Identifier) -> ir.Inherit:
        ports = [*self.pattern.inputs, self.pattern.node.output.name.text]
        if name.text not in ports:
            message = f"`{name.text}` is no port; only a port's parameters can be inherited"
            self.findings.error("QP110", name.span, message, hint=did_you_mean(name.text, ports))
        port = self.pattern.inputs.get(name.text)
        return ir.Inherit(name.text, port is not None and port.many, name.span, self.form)


def _names(pattern: _Pattern, rows: tuple[ir.Row, ...]) -> Names:
    """What the names mean in all of `rows`."""
    values = frozenset(name for row in rows for name in row.values)
    operators: dict[str, set[str]] = {}
    for row in rows:
        for name, index in row.calls.items():
            node = row.nodes[index]
            assert isinstance(node, ir.Call)
            operators.setdefault(name, set()).add(node.operator)
    calls = {name: tuple(sorted(found)) for name, found in operators.items()}
    ports = (*pattern.node.ports, pattern.node.output)
    shapes = [port.type.shape for port in ports if port.type is not None and port.type.shape]
    return Names(
        values=values,
        many=frozenset(port.name.text for port in ports if port.many),
        calls=calls,
        absent_values=frozenset(n for n in values if any(n not in row.values for row in rows)),
        absent_calls=frozenset(n for n in calls if any(n not in row.calls for row in rows)),
        inherited=_inherited_only(pattern, rows),
        dimensions=frozenset(
            d.value for shape in shapes for d in shape if isinstance(d.value, str)
        ),
        layouts=_layouts(rows),
        has_forms=any(row.form is not None for row in rows),
    )


def _layouts(rows: tuple[ir.Row, ...]) -> Mapping[str, tuple[str, str]]:
    """For each named call the named call that uses it and has an attribute for its layout."""
    found: dict[str, tuple[str, str]] = {}
    for row in rows:
        for user, index in row.calls.items():
            node = row.nodes[index]
            assert isinstance(node, ir.Call)
            signature = operator(node.operator)
            known = signature.attributes if signature is not None else {}
            attribute = next((name for name in ("data_layout", "layout") if name in known), None)
            if attribute is None or not node.operands:
                continue
            data = node.operands[0]
            names = [name for name, at in row.calls.items() if at == data]
            found.update({name: (user, attribute) for name in names})
    return found


def _inherited_only(pattern: _Pattern, rows: tuple[ir.Row, ...]) -> frozenset[str]:
    """Names whose parameters come from `inherit` alone in some row."""
    inherited = _inherit_statements(pattern.node.block.statements)
    if not inherited:
        return frozenset()
    found: set[str] = set()
    for row in rows:
        space_of: Mapping[int, ir.Space] = {m: space for space in row.spaces for m in space.members}
        for name, index in row.values.items():
            space = space_of.get(index)
            if space is not None and not space.scales:
                found.add(name)
    return frozenset(found)


def _inherit_statements(statements: Iterable[tree.Statement]) -> list[tree.Inherit]:
    found: list[tree.Inherit] = []
    for statement in statements:
        if isinstance(statement, tree.Inherit):
            found.append(statement)
        elif isinstance(statement, tree.Form):
            found += _inherit_statements(statement.block.statements)
    return found
