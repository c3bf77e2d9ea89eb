"""`qpat.merge_composite(table)`: MergeComposite for any pattern table, in one pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tvm import relay
from tvm.ir import IRModule
from tvm.relay.dataflow_pattern import DFPattern

from qpat.relay.graph import shallow_copy
from qpat.relay.single_pass.building import Builder
from qpat.relay.single_pass.forms import roots_of
from qpat.relay.single_pass.groups import form_groups
from qpat.relay.single_pass.patterns import compiled
from qpat.relay.single_pass.reading import Graph, Unsupported, Untyped, read, with_article

Module = Any
Check = Callable[[Any], Any]

# A function with one of these is passed by by every pass of Relay.
_SKIPPED = frozenset({"Compiler", "SkipOptimization"})


@dataclass(frozen=True)
class Row:
    """A row of a table: the composite's name, a DataflowPattern, and what has the last word."""

    name: str
    pattern: Any
    check: Check | None = None


@dataclass(frozen=True)
class Fallback:
    """Rows that TVM's MergeComposite was given, by their place in the table, and why."""

    rows: tuple[int, ...]
    names: tuple[str, ...]
    reason: str

    def __str__(self) -> str:
        return f"{', '.join(dict.fromkeys(self.names))}: {self.reason}"


@dataclass(frozen=True, eq=False)
class Merged:
    """A module with composites, and what TVM's MergeComposite did of it."""

    module: Module
    fallbacks: tuple[Fallback, ...]


@dataclass(frozen=True)
class MergeComposite:
    """A pattern table, to be applied to modules."""

    rows: tuple[Row, ...]

    def __call__(self, module: Module) -> Module:
        """A module structurally equal to, and with the same text as, that of
        `relay.transform.MergeComposite(table)(module)`. (Behind the text, in the JSON of constants,
        an object may stand once that is there twice: InferType copies it.) The given module is not
        changed.

        Types are taken to be those of the nodes, as InferType left them; a module without them is
        given them first. What a check raises is raised.
        """
        return self.apply(module).module

    def explain(self, module: Module) -> tuple[Fallback, ...]:
        """Which rows TVM's MergeComposite is given for a module and why: none where all is done in
        one pass. To know it the table is applied, checks included."""
        return self.apply(module).fallbacks

    def apply(self, module: Module) -> Merged:
        """The module, and what `explain` gives."""
        return _Application(self.rows, module).run()


def merge_composite(table: Iterable[Sequence[Any]]) -> MergeComposite:
    """A pattern table, such as those in `tvm.relay.op.contrib`, as a function of modules.

    Rows are `(name, pattern)` or `(name, pattern, check)`; a check is given the root of a match and
    says with a bool whether it is taken. Raises TypeError for anything else.
    """
    return MergeComposite(tuple([_row(at, row) for at, row in enumerate(table)]))


def _row(at: int, row: Sequence[Any]) -> Row:
    if not isinstance(row, (tuple, list)) or len(row) not in (2, 3):
        raise TypeError(f"row {at} of the table is no (name, pattern) or (name, pattern, check)")
    name, pattern, *check = row
    if not isinstance(name, str):
        raise TypeError(f"the name in row {at} of the table is {_kind(name)}")
    if not isinstance(pattern, DFPattern):
        raise TypeError(f"the pattern of {name} is no DFPattern but {_kind(pattern)}")
    if check and not callable(check[0]):
        raise TypeError(f"the check of {name} cannot be called")
    return Row(str(name), pattern, *check)


class _Application:
    """A table and a module, and how far it has got."""

    def __init__(self, rows: tuple[Row, ...], module: Module) -> None:
        self._rows = rows
        self._module = module
        self._graph: Graph | None = None
        self._builder: Builder | None = None
        self._fallbacks: list[Fallback] = []

    def run(self) -> Merged:
        rest = list(range(len(self._rows)))
        try:
            self._open()
            while rest:
                reason = self._failure(self._rows[rest[0]])
                at = rest.pop(0)
                if reason is not None:
                    self._leave_to_tvm([at], reason)
                    self._open()
        except Unsupported as reason:
            if rest:
                self._leave_to_tvm(rest, str(reason))
            self._graph = None
        return Merged(self._closed(), tuple(self._fallbacks))

    def _open(self) -> None:
        """Reads the module. Raises Unsupported."""
        self._graph = self._builder = None
        main = _main(self._module)
        try:
            if main.ret_type is None:
                raise Untyped
            self._graph = read(main)
        except Untyped:
            self._module = relay.transform.InferType()(self._module)
            try:
                self._graph = read(_main(self._module))
            except Untyped:
                raise Unsupported("a node to which InferType gives no type") from None
        self._builder = Builder(self._graph)

    def _closed(self) -> Module:
        """The module as it stands."""
        graph, builder = self._graph, self._builder
        if graph is None or builder is None or not graph.functions:
            return shallow_copy(self._module)
        variable = self._module.get_global_var("main")
        return shallow_copy(self._module, {variable: builder.expr(graph.root)})

    def _leave_to_tvm(self, places: list[int], reason: str) -> None:
        rows = [self._rows[at] for at in places]
        entries = [
            (row.name, row.pattern, *([] if row.check is None else [row.check])) for row in rows
        ]
        self._module = relay.transform.MergeComposite(entries)(self._closed())
        names = tuple([row.name for row in rows])
        self._fallbacks.append(Fallback(tuple(places), names, reason))

    def _failure(self, row: Row) -> str | None:
        """Applies a row, or says why that is left to TVM; then nothing of it has been done."""
        graph, builder = self._graph, self._builder
        assert graph is not None and builder is not None
        try:
            candidates = _candidates(graph, roots_of(row.pattern))
            if not candidates:
                return None
            groups = form_groups(graph, compiled(row.pattern), candidates)
        except Unsupported as reason:
            return str(reason)
        # TVM asks for the whole row before it changes anything.
        accepted = [group for group in groups if _accepts(row, builder, group.root)]
        for group in accepted:
            builder.accept(group, row.name)
        return None


def _main(module: Module) -> Any:
    """The function of a module that has just one, `main`. Raises Unsupported."""
    if not isinstance(module, IRModule):
        raise TypeError(f"this is no IRModule but {_kind(module)}")
    names = [str(variable.name_hint) for variable in module.get_global_vars()]
    if names != ["main"]:
        raise Unsupported("the module has functions other than `main`")
    main = module["main"]
    if not isinstance(main, relay.Function):
        raise Unsupported(f"`main` is {_kind(main)}")
    attrs = main.attrs
    if attrs is not None and _SKIPPED.intersection(attrs.keys()):
        raise Unsupported("`main` is marked to be passed by")
    return main


def _candidates(graph: Graph, roots: frozenset[str]) -> list[int]:
    """The nodes that may be roots of a match, of all the kinds that are asked for."""
    return [
        node
        for root in roots
        for node in graph.with_root.get(root, ())
        if node not in graph.dead and node not in graph.functions and node not in graph.partitioned
    ]


def _accepts(row: Row, builder: Builder, root: int) -> bool:
    if row.check is None:
        return True
    answer = row.check(builder.expr(root))
    if isinstance(answer, (bool, int)) or type(answer).__name__ == "bool_":
        return bool(answer)
    raise TypeError(f"the check of {row.name} returned no bool but {_kind(answer)}")


def _kind(value: Any) -> str:
    return with_article(type(value).__name__)
