"""What a row of a table would take: groups of nodes, formed for the whole row before any check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qpat.relay.single_pass.patterns import Captures, Compiled
from qpat.relay.single_pass.reading import Graph, Unsupported


@dataclass(frozen=True, eq=False)
class Group:
    """A match that becomes a composite if the check agrees.

    `number` counts the matches of the row, those too that were refused: it is in the names of the
    parameters. `inputs` are in the order of the parameters, `inner` is in post-order, `root` last.
    """

    root: int
    number: int
    inputs: tuple[int, ...]
    inner: tuple[int, ...]
    name: str


def form_groups(graph: Graph, compiled: Compiled, candidates: Sequence[int]) -> list[Group]:
    """The groups of a row in the order in which TVM runs their checks; `candidates` are the nodes
    that may be roots. Raises Unsupported where a group is to be left to TVM."""
    hits: list[tuple[int, Captures]] = []
    for node in candidates:
        captures: Captures = {}
        if compiled.match(graph, node, captures):
            hits.append((node, captures))
    if len(hits) > 1:
        order = graph.order()
        # TVM goes through the module from its end.
        hits.sort(key=lambda hit: -order[hit[0]])
    taken: set[int] = set()
    groups: list[Group] = []
    number = 0
    for root, captures in hits:
        if root in taken:
            continue
        group = _group(graph, compiled, root, captures, number)
        number += 1
        if _is_free(graph, group, taken):
            taken.update(group.inner)
            groups.append(group)
    # A group is not in another's inner nodes, so that from the end is against post-order.
    groups.reverse()
    return groups


def _group(graph: Graph, compiled: Compiled, root: int, captures: Captures, number: int) -> Group:
    inputs = _inputs(graph, compiled, captures)
    inner: list[int] = []
    words: list[str] = []
    done: set[int] = set(inputs)
    stack = [root]
    while stack:
        node = stack.pop()
        if node < 0:
            inner.append(~node)
            words.append(_word(graph, ~node))
        elif node not in done and graph.kinds[node] not in ("Constant", "Function"):
            done.add(node)
            stack.append(~node)
            stack.extend(reversed(graph.children[node]))
    return Group(root, number, inputs, tuple(inner), "".join(words))


def _inputs(graph: Graph, compiled: Compiled, captures: Captures) -> tuple[int, ...]:
    """The operands of a composite: what the leaves of the pattern matched, each once."""
    inputs: dict[int, None] = {}
    for leaf in compiled.leaves:
        node = captures.get(leaf.key)
        if node is None:
            continue
        for each in graph.children[node] if leaf.opens else (node,):
            if graph.kinds[each] == "Function":
                continue
            if not (leaf.embeds and graph.kinds[each] == "Constant"):
                inputs[each] = None
    return tuple(inputs)


def _word(graph: Graph, node: int) -> str:
    """What a node adds to the name of a match."""
    kind = graph.kinds[node]
    if kind == "Call":
        return f"{graph.operators[node] or 'Call'}_"
    if kind == "TupleGetItem":
        return f"TupleGetItem{graph.exprs[node].index}_"
    return "Tuple_" if kind == "Tuple" else ""


def _is_free(graph: Graph, group: Group, taken: set[int]) -> bool:
    """Whether a group overlaps with no other of its row, and what of it is used outside comes back
    to its root in every way."""
    inner = set(group.inner)
    if not inner.isdisjoint(taken):
        return False
    ends: set[int] = set()
    twice = False
    for node in group.inner:
        if node == group.root:
            continue
        for user in graph.users[node]:
            if user in inner:
                continue
            if not _is_dominated(graph, user, group.root, ends):
                return False
            twice = twice or _is_closed(graph, node, inner)
    if twice:
        # It would be one node in TVM, in the composite and outside of it.
        raise Unsupported("a value without inputs that is used inside of a match and outside")
    return True


def _is_dominated(graph: Graph, node: int, root: int, dominated: set[int]) -> bool:
    """Whether every way from a node to the end of the function is through `root`. What was found to
    be so is added to `dominated`."""
    stack, seen = [node], {node}
    while stack:
        node = stack.pop()
        users = graph.users[node]
        # Operands have lower numbers, also those of composites.
        if node > root or not users:
            return False
        for user in users:
            if user != root and user not in seen and user not in dominated:
                seen.add(user)
                stack.append(user)
    dominated |= seen
    return True


def _is_closed(graph: Graph, node: int, inner: set[int]) -> bool:
    """Whether an inner node is computed from constants alone that are inside as well."""
    stack = [node]
    while stack:
        node = stack.pop()
        if node in inner:
            stack.extend(graph.children[node])
        elif graph.kinds[node] != "Constant":
            return False
    return True
