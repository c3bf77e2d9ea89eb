"""A partition, and the parameters of every tensor, as tables to read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from qpat.relay.names import short

if TYPE_CHECKING:
    from qpat.relay.partition import Partition
    from qpat.relay.quantization import Quantization


def as_text(partition: Partition) -> str:
    """Every composite with its tensors, then what stays on the host, grouped."""
    lines: list[str] = []
    for number, match in enumerate(partition.matches, start=1):
        form = f" (form {match.form})" if match.form is not None else ""
        place = f"  {short(match.location)}" if match.location else ""
        lines.append(f"{number:3}. {match.composite or match.op}{form}{place}")
        lines += [f"       {line}" for line in _tensor_lines(match.tensors)]
    lines += ["", *_summary(partition)]
    return "\n".join(lines)


def tensors_as_text(quantization: Quantization) -> str:
    """A line for each tensor, and how many are known, and why the others are not."""
    tensors = quantization.tensors()
    head = ("name", "operator", "dtype", "shape", "scale", "zero point", "axis")
    rows: list[tuple[str, ...]] = [head]
    rows += [(*_what(tensor), *_numbers(tensor)) for tensor in tensors]
    unknown = Counter(tensor.unknown for tensor in tensors if tensor.unknown is not None)
    known = len(tensors) - unknown.total()
    lines = [*aligned(rows), "", f"{len(tensors)} tensors, the parameters of {known} known"]
    counted: list[tuple[str, ...]] = [
        (f"{count}x", reason) for reason, count in sorted(unknown.items())
    ]
    if counted:
        lines += ["not known:", *(f"  {line}" for line in aligned(counted))]
    return "\n".join(lines)


def _what(tensor: Any) -> tuple[str, ...]:
    return tensor.name or "-", tensor.operator, tensor.dtype, shape_text(tensor.shape)


def _numbers(tensor: Any) -> tuple[str, ...]:
    """Scale, zero point and axis; the first has the reason where nothing is known."""
    if tensor.unknown is not None:
        return f"({tensor.unknown})", "", ""
    scale = f"{tensor.scale:.8g}" if np.ndim(tensor.scale) == 0 else _range_of(tensor.scale)
    return scale, _some(tensor.zero_point), "-" if tensor.axis is None else str(tensor.axis)


def _range_of(scales: Any) -> str:
    return f"{len(scales)} from {np.min(scales):.3g} to {np.max(scales):.3g}"


def _tensor_lines(tensors: Mapping[str, Any]) -> list[str]:
    rows: list[tuple[str, ...]] = [
        (name, each.dtype, shape_text(each.shape), *_quantization(each))
        for name, each in tensors_of(tensors)
    ]
    return aligned(rows)


def tensors_of(tensors: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The tensors of a record with what they are called, less those that are absent."""
    for port, tensor in tensors.items():
        many = tensor if isinstance(tensor, tuple) else (tensor,)
        for index, each in enumerate(many):
            name = f"{port}[{index}]" if isinstance(tensor, tuple) else port
            if each is not None:
                yield name, each


def shape_text(shape: Iterable[int | None]) -> str:
    """A shape in a word: `1x49x10x1`."""
    return "x".join("?" if size is None else str(size) for size in shape) or "scalar"


def _quantization(tensor: Any) -> tuple[str, str]:
    """Scale and zero point in words; per-channel ones as their number and range."""
    scale, zero_point = scale_text(tensor), zero_point_text(tensor)
    if scale and np.ndim(tensor.scale) == 0:
        scale = f"scale {scale}"
    return scale, f"zero point {zero_point}" if zero_point else ""


def scale_text(tensor: Any) -> str:
    """The scale of a tensor of a record, nothing where it can have none; per-channel ones as their
    number, range and axis."""
    if tensor.dtype.startswith(("float", "bfloat", "bool")):
        return ""
    if tensor.scale is None:
        return "unknown"
    if np.ndim(tensor.scale) == 0:
        return f"{tensor.scale:.6g}"
    least, most = np.min(tensor.scale), np.max(tensor.scale)
    return f"{len(tensor.scale)} scales {least:.3g} to {most:.3g} along axis {tensor.axis}"


def zero_point_text(tensor: Any) -> str:
    """The zero point of a tensor of a record, nothing where it has none."""
    is_float = tensor.dtype.startswith(("float", "bfloat", "bool"))
    return "" if is_float or tensor.zero_point is None else _some(tensor.zero_point)


def _some(zero_point: Any) -> str:
    if np.ndim(zero_point) == 0:
        return str(zero_point)
    least, most = np.min(zero_point), np.max(zero_point)
    return str(least) if least == most else f"{least} to {most}"


def aligned(rows: list[tuple[str, ...]]) -> list[str]:
    """Rows of cells as lines, each column as wide as its widest cell."""
    if not rows:
        return []
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _summary(partition: Partition) -> list[str]:
    composites = Counter(match.composite or f"{match.op} as it is" for match in partition.matches)
    counted = ", ".join(f"{count} {name}" for name, count in sorted(composites.items()))
    lines = [f"{len(partition.matches)} composites: {counted}" if composites else "no composites"]
    if partition.conflicts:
        lines.append(f"{len(partition.conflicts)} values have contradictory parameters")
    if not partition.host:
        return [*lines, "nothing stays on the host"]
    groups = Counter((host.op, host.reason) for host in partition.host)
    rows: list[tuple[str, ...]] = [
        (f"{count}x", op, reason) for (op, reason), count in sorted(groups.items())
    ]
    head = f"{len(partition.host)} operators stay on the host:"
    return [*lines, head, *(f"  {line}" for line in aligned(rows))]
