"""What patterns find in a module that came of PyTorch, and what of it computes. Used by scripts.

Runs on TVM 0.26 and 0.27.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tvm
from numpy.lib.stride_tricks import sliding_window_view
from run_relax import host
from tvm import relax


def outcome(patterns: Any, module: Any, inputs: list[Any], wanted: list[Any]) -> dict[str, Any]:
    """The composites of a module; what stays on the host; what records say of scales, zero points,
    weights and biases; how far TVM is from what PyTorch computed; and how far integers by the
    records are from TVM. The module with composites must compute what the one without them does."""
    merged = patterns.partition(module)
    plain, found = (results(each, inputs) for each in (module, merged))
    assert all(np.array_equal(a, b) for a, b in zip(plain, found, strict=True))
    pairs = zip(found, wanted, strict=True)
    functions = patterns.composites(merged)
    records = [patterns.extract(each) for each in functions]
    weighted = [each for each in records if hasattr(each, "accumulator_bias")]
    return {
        "composites": [str(each.attrs["Composite"]).partition(".")[2] for each in functions],
        "forms": [each.form for each in records],
        "host": host(merged),
        "ranges": [list(each.y.range) for each in records if each.y.range is not None],
        "spaces": sorted(space(each.y) for each in records if each.y.scale is not None),
        "weights": sorted(tensor(each.w) for each in weighted),
        "biases": sorted(tensor(each.bias) for each in weighted if each.bias is not None),
        "distance": max(float(np.abs(a - b).max()) for a, b in pairs),
        "integers": [in_integers(f, r) for f, r in zip(functions, records, strict=True)],
    }


def space(said: Any) -> list[Any]:
    return [float(said.scale).hex(), int(said.zero_point)]


def tensor(said: Any) -> list[Any]:
    """A constant: its numbers, and its scales and zero points where it has them."""
    numbers = [said.dtype, list(said.value.shape), said.value.ravel().tolist()]
    if said.scale is None:
        return [*numbers, None, None]
    return [*numbers, *(np.ravel(each).tolist() for each in (said.scale, said.zero_point))]


def results(module: Any, arguments: list[Any]) -> list[Any]:
    machine = relax.VirtualMachine(tvm.compile(module, target="llvm"), tvm.cpu())
    found = machine["main"](*[tvm.runtime.tensor(each) for each in arguments])
    return [each.numpy() for each in ([found] if hasattr(found, "numpy") else found)]


# ---- integers ------------------------------------------------------------------------------------


def in_integers(function: Any, record: Any) -> int | None:
    """The greatest difference between what TVM computes of a composite for random integers, and
    integer arithmetic on nothing but its record; None where it has no weights."""
    if not hasattr(record, "accumulator_bias"):
        return None
    x, w, y = record.x, record.w, record.y
    # Not all over the range: that would be the ends of the output's for the most part.
    drawn = np.random.default_rng(5).normal(int(x.zero_point), 24, x.shape)
    integers = np.clip(np.rint(drawn), *x.range).astype(np.int64)
    data = integers - int(x.zero_point)
    weights = w.value.astype(np.int64) - np.asarray(w.zero_point, np.int64).reshape(along(w))
    if type(record).__name__ == "Conv2D":
        sums = convolved(data, weights, record)
    elif type(record).__name__ == "Conv2DTranspose":
        sums = spread(data, weights, record)
    else:
        sums = data @ weights.T
    axis = -1 if sums.ndim == 2 or type(record).__name__.startswith("Dense") else 1
    shape = [1] * sums.ndim
    shape[axis] = -1
    scale = np.float64(x.scale) * np.float64(w.scale) / np.float64(y.scale)
    numbers = (sums + record.accumulator_bias.reshape(shape)) * scale.reshape(
        shape if np.ndim(scale) else []
    )
    made = np.clip(np.rint(numbers) + int(y.zero_point), *record.activation)
    whole = relax.Function(function.params, function.body, function.ret_ty, True)
    alone = tvm.IRModule({"main": whole.with_attr("global_symbol", "main")})
    [found] = results(alone, [integers.astype(x.dtype)])
    assert np.unique(found).size > 1
    return int(np.abs(made - found).max())


def along(tensor: Any) -> list[int]:
    """The shape in which a vector of scales or zero points lies along its axis."""
    shape = [1] * len(tensor.shape)
    if tensor.axis is not None:
        shape[tensor.axis] = -1
    return shape


def convolved(data: Any, weights: Any, record: Any) -> Any:
    """A convolution of NCHW by OIHW."""
    top, left, bottom, right = record.padding
    data = np.pad(data, ((0, 0), (0, 0), (top, bottom), (left, right)))
    windows = sliding_window_view(data, weights.shape[2:], (2, 3))
    windows = windows[:, :, :: record.strides[0], :: record.strides[1]]
    groups = zip(np.split(windows, record.groups, 1), np.split(weights, record.groups), strict=True)
    return np.concatenate([np.einsum("nchwij,ocij->nohw", d, w) for d, w in groups], 1)


def spread(data: Any, weights: Any, record: Any) -> Any:
    """A transposed convolution of NCHW by IOHW whose windows do not overlap."""
    assert list(record.strides) == list(weights.shape[2:]) and not any(record.padding)
    whole = np.einsum("nchw,coij->nohiwj", data, weights)
    n, o, h, i, w, j = whole.shape
    return whole.reshape(n, o, h * i, w * j)
