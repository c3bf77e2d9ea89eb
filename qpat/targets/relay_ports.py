"""The dtypes and shapes that ports declare, as checks."""

from __future__ import annotations

from collections.abc import Iterable

from qpat.semantics import ir
from qpat.targets.expressions import Variables
from qpat.targets.layout import INDENT, bracketed, string


def dimensions(ports: Iterable[ir.Port]) -> list[str]:
    shapes = [port.shape for port in ports if port.shape is not None]
    return [d for shape in shapes for d in shape if isinstance(d, str) and d != "..."]


class PortChecks:
    """The dtypes and shapes that ports declare. A dimension's first place names it, others must be
    equal to it."""

    def __init__(self, variables: Variables, many: frozenset[str]) -> None:
        self.variables = variables
        self.many = many
        self.named: set[str] = set()

    def lines(self, port: ir.Port) -> list[str]:
        variable = self.variables.values.get(port.name)
        if variable is None:
            return []
        dtypes = [string(dtype) for dtype in port.dtypes]
        if port.same_dtype_as is not None:
            other = self.variables.values[port.same_dtype_as]
            first = "[0]" if port.same_dtype_as in self.many else ""
            dtypes.append(f"{other}{first}.dtype")
        lines: list[str] = []
        if dtypes:
            lines = bracketed("require_dtype(", [string(port.name), variable, *dtypes], ")", 1)
        if port.shape is None:
            return lines
        if port.many:
            return [*lines, *self._shapes(port, variable)]
        if port.maybe:
            return [*lines, f"{INDENT}if {variable} is not None:", *self._shape(port, variable, 2)]
        return [*lines, *self._shape(port, variable, 1)]

    def _shapes(self, port: ir.Port, variable: str) -> list[str]:
        """Of a port that is many each tensor; the first one names the dimensions."""
        assert port.shape is not None
        first = f"{variable}[0]"
        lines = bracketed("require(", [variable, string(f"{port.name} is none at all")], ")", 1)
        lines += self._shape(port, first, 1)
        lines.append(f"{INDENT}for each in {variable}[1:]:")
        return [*lines, *self._shape(port, "each", 2)]

    def _shape(self, port: ir.Port, variable: str, depth: int) -> list[str]:
        assert port.shape is not None
        rest = port.shape.index("...") if "..." in port.shape else len(port.shape)
        fewest = len(port.shape) - ("..." in port.shape)
        exactly = "..." not in port.shape
        items = [string(port.name), variable, str(fewest), f"exactly={exactly}"]
        lines = bracketed("require_rank(", items, ")", depth)
        for position, dimension in enumerate(port.shape):
            if dimension is None or dimension == "...":
                continue
            index = position if position < rest else position - len(port.shape)
            lines += self._dimension(port, f"{variable}.shape[{index}]", dimension, depth)
        return lines

    def _dimension(self, port: ir.Port, place: str, dimension: int | str, depth: int) -> list[str]:
        wanted = str(dimension)
        if isinstance(dimension, str):
            wanted = self.variables.locals[dimension]
            if dimension not in self.named:
                self.named.add(dimension)
                return [f"{INDENT * depth}{wanted} = {place}"]
        reason = string(f"{port.name} has another {dimension} in its shape")
        return bracketed("require(", [f"{place} == {wanted}", reason], ")", depth)
