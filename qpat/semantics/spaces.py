"""Spaces of a row: which values have the same scale and zero point, and which constants say so."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

from qpat.diagnostics import Findings
from qpat.ops.roles import RESULT, SCALAR, AxisMove, Group, roles
from qpat.ops.table import operator
from qpat.records import dataclass
from qpat.semantics import ir
from qpat.semantics.draft import Draft, SlotUse


@dataclass(frozen=True)
class _Edge:
    """Two nodes in one space. `step` leads from `start` to `end`."""

    start: int
    end: int
    step: ir.Step | None

    def reversed(self) -> _Edge:
        if self.step is None:
            return _Edge(self.end, self.start, None)
        step = ir.Step(self.step.move, self.step.call, self.step.operand, not self.step.forward)
        return _Edge(self.end, self.start, step)


def derive_spaces(
    draft: Draft, dtypes: Mapping[str, tuple[str, ...]], findings: Findings
) -> tuple[ir.Space, ...]:
    """The spaces of a row. `dtypes` are those that ports declare; a port without is not in it."""
    kinds = _Kinds(_float_nodes(draft, dtypes), _wide_nodes(draft, dtypes))
    edges = list(_edges(draft, kinds))
    component = _components(len(draft.nodes), edges)
    sites: dict[int, list[ir.Site]] = {}
    for site in (*_role_sites(draft), *_written_sites(draft, component, findings)):
        sites.setdefault(component[site.tensor], []).append(site)
    neighbours = _neighbours(edges)
    return tuple(
        _space(members, sites.get(leader, []), neighbours)
        for leader, members in _grouped(component)
    )


@dataclass(frozen=True)
class _Kinds:
    """Nodes that are certainly float, and nodes that are certainly int32 or int64."""

    floats: frozenset[int]
    wide: frozenset[int]


_ACCUMULATORS = frozenset(
    [
        "qnn.batch_matmul",
        "qnn.conv2d",
        "qnn.conv2d_transpose",
        "qnn.dense",
        "qnn.contrib_dense_pack",
    ]
)


def _wide_nodes(draft: Draft, dtypes: Mapping[str, tuple[str, ...]]) -> frozenset[int]:
    """Nodes that are certainly accumulators: of a convolution or product, cast or declared so, and
    what is added to them."""
    wide: set[int] = set()
    for index, node in enumerate(draft.nodes):
        if isinstance(node, ir.Input):
            declared = dtypes.get(node.name or "")
            if declared and set(declared) <= {"int32", "int64"}:
                wide.add(index)
        elif isinstance(node, ir.Call) and _is_wide_call(node, wide):
            wide.add(index)
    return frozenset(wide)


def _is_wide_call(call: ir.Call, wide: set[int]) -> bool:
    if call.operator in _ACCUMULATORS:
        return True
    if call.operator == "cast":
        return any(a.name == "dtype" and a.value in ("int32", "int64") for a in call.attributes)
    if call.operator.startswith("qnn."):
        return False
    return any(operand in wide for operand in call.operands)


def _float_nodes(draft: Draft, dtypes: Mapping[str, tuple[str, ...]]) -> frozenset[int]:
    """Nodes that are certainly float: behind a dequantize or a cast to float, up to a quantize."""
    float_ports = {name for name, declared in dtypes.items() if _are_floats(declared)}
    floats: set[int] = set()
    for index, node in enumerate(draft.nodes):
        if (
            isinstance(node, ir.Input)
            and node.name in float_ports
            or isinstance(node, ir.Call)
            and _is_float_call(node, floats)
        ):
            floats.add(index)
    return frozenset(floats)


def _are_floats(dtypes: tuple[str, ...]) -> bool:
    return all(dtype.startswith(("float", "bfloat")) for dtype in dtypes)


def _is_float_call(call: ir.Call, floats: set[int]) -> bool:
    if call.operator == "qnn.dequantize":
        return True
    if call.operator.startswith("qnn."):
        return False
    for attribute in call.attributes:
        if attribute.name == "dtype" and isinstance(attribute.value, str):
            return attribute.value.startswith(("float", "bfloat"))
    return any(operand in floats for operand in call.operands)


# ---- who shares with whom ------------------------------------------------------


def _edges(draft: Draft, kinds: _Kinds) -> Iterable[_Edge]:
    for index, node in enumerate(draft.nodes):
        if isinstance(node, ir.Field):
            yield _Edge(node.value, index, None)
        if isinstance(node, ir.Call) and index not in kinds.floats:
            yield from _call_edges(draft, index, node, kinds)


def _call_edges(draft: Draft, index: int, call: ir.Call, kinds: _Kinds) -> Iterable[_Edge]:
    signature = operator(call.operator)
    for share in roles(call.operator).shares:
        position = signature.operand_index(share.operand) if signature is not None else None
        if position is None or position >= len(call.operands):
            continue
        operand = call.operands[position]
        if share.integers_only and operand in kinds.floats:
            continue
        if share.accumulators_only and index not in kinds.wide:
            continue
        step = ir.Step(share.move, index, position, True)
        node = draft.nodes[operand]
        starts = node.elements if isinstance(node, ir.Tuple) else (operand,)
        yield from (_Edge(start, index, step) for start in starts)


def doubtful_nodes(draft: Draft) -> frozenset[int]:
    """The nodes whose space a fault keeps from being known: what is faulty, the operands of faulty
    calls, and all that shares a space with them or might."""
    found = set(draft.faulty)
    for index in draft.faulty:
        node = draft.nodes[index]
        found |= set(node.operands) if isinstance(node, ir.Call) else set()
    any_kind = _Kinds(frozenset(), frozenset(range(len(draft.nodes))))
    pairs = [(edge.start, edge.end) for edge in _edges(draft, any_kind)] if found else []
    size = 0
    while len(found) > size:
        size = len(found)
        for pair in (*pairs, *reversed(pairs)):
            if not found.isdisjoint(pair):
                found.update(pair)
    return frozenset(found)


def _components(count: int, edges: Iterable[_Edge]) -> list[int]:
    """For each node the smallest node it shares a space with."""
    parent = list(range(count))

    def find(node: int) -> int:
        while parent[node] != node:
            node = parent[node]
        return node

    for edge in edges:
        first, second = sorted((find(edge.start), find(edge.end)))
        parent[second] = first
    return [find(node) for node in range(count)]


def _grouped(component: list[int]) -> Iterable[tuple[int, frozenset[int]]]:
    groups: dict[int, list[int]] = {}
    for node, leader in enumerate(component):
        groups.setdefault(leader, []).append(node)
    return ((leader, frozenset(members)) for leader, members in groups.items())


# ---- which constants say so ------------------------------------------------------


def _role_sites(draft: Draft) -> Iterable[ir.Site]:
    for index, node in enumerate(draft.nodes):
        if isinstance(node, ir.Call):
            for group in roles(node.operator).groups:
                yield from _group_sites(draft, index, node, group)


def _group_sites(draft: Draft, index: int, call: ir.Call, group: Group) -> Iterable[ir.Site]:
    tensor = _operand(call, group.tensor, index)
    for slot, name in (("scale", group.scale), ("zero_point", group.zero_point)):
        constant = _operand(call, name, index)
        if tensor is None or constant is None:
            continue
        tensor_node, constant_node = draft.nodes[tensor], draft.nodes[constant]
        if isinstance(tensor_node, ir.Tuple) and isinstance(constant_node, ir.Tuple):
            pairs = zip(tensor_node.elements, constant_node.elements, strict=False)
        else:
            pairs = zip((tensor,), (constant,), strict=True)
        for at, value in pairs:
            if _is_constant(draft.nodes[value]):
                yield ir.Site(slot, value, index, at, group.axis)


def _is_constant(node: ir.Node) -> bool:
    if isinstance(node, ir.Input):
        return node.constness is ir.Constness.CONSTANT
    return isinstance(node, ir.SlotConstant | ir.SlotTuple | ir.Literal)


def _operand(call: ir.Call, name: str, index: int) -> int | None:
    """The node of an operand by name; the call itself for RESULT."""
    if name == RESULT:
        return index
    signature = operator(call.operator)
    position = signature.operand_index(name) if signature is not None else None
    if position is None or position >= len(call.operands):
        return None
    return call.operands[position]


def _written_sites(draft: Draft, component: list[int], findings: Findings) -> Iterable[ir.Site]:
    """Sites of the slots written out (`x.scale`). An operand that has a role must agree with it."""
    for use in draft.slot_uses:
        owner = draft.values.get(use.name)
        call = draft.nodes[use.call]
        if owner is None or not isinstance(call, ir.Call):
            continue
        position = _position(draft, call, use.constant)
        signature = operator(call.operator)
        name = signature.operands[position].name if signature is not None else ""
        role = roles(call.operator).slot(name)
        if role is None:
            yield ir.Site(use.slot, use.constant, use.call, owner, SCALAR)
        else:
            _check_role(draft, component, use, name, role, findings)


def _position(draft: Draft, call: ir.Call, constant: int) -> int:
    """Which operand of a call a constant is, or is a field of."""
    for position, operand in enumerate(call.operands):
        node = draft.nodes[operand]
        if operand == constant or (isinstance(node, ir.Tuple) and constant in node.elements):
            return position
    raise AssertionError("a slot that is no operand of its call")


def _tensor_of(draft: Draft, call: ir.Call, group: Group, use: SlotUse) -> int | None:
    """The node whose slot a written one is by its role; of a tuple the field at the same place."""
    tensor = _operand(call, group.tensor, use.call)
    operand = draft.nodes[call.operands[_position(draft, call, use.constant)]]
    node = draft.nodes[tensor] if tensor is not None else None
    if not isinstance(operand, ir.Tuple) or not isinstance(node, ir.Tuple):
        return tensor
    at = operand.elements.index(use.constant)
    return node.elements[at] if at < len(node.elements) else None


def _check_role(
    draft: Draft,
    component: list[int],
    use: SlotUse,
    operand: str,
    role: tuple[Group, str],
    findings: Findings,
) -> None:
    group, slot = role
    call = draft.nodes[use.call]
    assert isinstance(call, ir.Call)
    tensor = _tensor_of(draft, call, group, use)
    said = "the result" if group.tensor == RESULT else f"`{group.tensor}`"
    hint = "write `..` and the operands find their place"
    if slot != use.slot:
        message = (
            f"operand `{operand}` of `{call.operator}` is the {slot.replace('_', ' ')} of {said}, "
            f"not a {use.slot.replace('_', ' ')}"
        )
        findings.error("QP107", use.span, message, hint=hint)
    elif tensor is not None and component[tensor] != component[draft.values[use.name]]:
        if not doubtful_nodes(draft).isdisjoint((tensor, draft.values[use.name])):
            return
        message = (
            f"operand `{operand}` of `{call.operator}` belongs to {said}, which is not `{use.name}`"
        )
        findings.error("QP107", use.span, message, hint=hint)


# ---- how the axis travels ---------------------------------------------------------


_Neighbours = Mapping[int, list[_Edge]]


def _neighbours(edges: Iterable[_Edge]) -> _Neighbours:
    """The edges that lead away from each node."""
    found: dict[int, list[_Edge]] = {}
    for edge in edges:
        found.setdefault(edge.start, []).append(edge)
        found.setdefault(edge.end, []).append(edge.reversed())
    return found


def _space(members: frozenset[int], sites: Iterable[ir.Site], neighbours: _Neighbours) -> ir.Space:
    zero_points = tuple([site for site in sites if site.slot == "zero_point"])
    scales = tuple([site for site in sites if site.slot == "scale"])
    # A site that says where the axis is comes first: a scalar one could not.
    if len(scales) > 1:
        scales = tuple(sorted(scales, key=lambda site: site.axis == SCALAR))
    start = scales[0].tensor if scales else min(members)
    return ir.Space(members, scales, zero_points, _paths(start, neighbours))


def _paths(start: int, neighbours: _Neighbours) -> Mapping[int, tuple[ir.Step, ...]]:
    """The shortest way from `start` to each member, less the steps that leave the axis alone."""
    paths: dict[int, tuple[ir.Step, ...]] = {start: ()}
    if start not in neighbours:
        return paths
    queue = deque([start])
    while queue:
        node = queue.popleft()
        for edge in neighbours.get(node, []):
            if edge.end in paths:
                continue
            moves = edge.step is not None and edge.step.move is not AxisMove.SAME
            paths[edge.end] = (*paths[node], edge.step) if moves and edge.step else paths[node]
            queue.append(edge.end)
    return paths
