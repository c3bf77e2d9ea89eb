"""Shapes and attributes of what goes over an image by windows: convolutions and pools."""

from __future__ import annotations

import itertools

from qpat.verify.call_draft import Draft, Unfit, image, size_of, wide

# ---- convolutions ---------------------------------------------------------------------------


def conv2d(draft: Draft) -> None:
    random = draft.random
    layout = str(draft.pick("data_layout", "NHWC"))
    default = "HWIO" if layout == "NHWC" else "OIHW"
    kernel_layout = str(draft.pick("kernel_layout", default))
    is_depthwise = kernel_layout == "HWOI"
    channels = int(random.integers(2, 5)) if is_depthwise else int(random.choice([1, 2, 3, 4]))
    shape = draft.tensor("data", draft.wanted or image(random, layout, channels))
    channels = size_of(layout, shape, "C")
    per_group = int(random.integers(1, 3))
    split = channels if is_depthwise else int(random.choice([1, 1, 1, 2, channels]))
    groups = int(draft.pick("groups", split if channels % split == 0 else 1))
    outputs = groups * per_group if groups > 1 else int(random.integers(1, 5))
    sizes = {"H": int(random.integers(1, 4)), "W": int(random.integers(1, 4))}
    if is_depthwise:
        sizes |= {"O": channels, "I": outputs // channels}
    else:
        sizes |= {"O": outputs, "I": channels // groups}
    kernel = tuple(sizes[letter] for letter in kernel_layout)
    draft.pick("channels", outputs)
    draft.pick("kernel_size", (sizes["H"], sizes["W"]))
    _window(draft)
    draft.tensor(draft.tensors[1], kernel)
    data, weights = draft.dtype("data"), draft.dtype(draft.tensors[1])
    is_mixed = data != weights and (data, weights) != ("uint8", "int8")
    if layout == "NCHW" and is_mixed:
        raise Unfit("TVM convolves no such dtypes in NCHW")
    draft.pick("out_dtype", *wide(draft.dtype("data")))


def conv2d_transpose(draft: Draft) -> None:
    random = draft.random
    layout = str(draft.pick("data_layout", "NCHW"))
    kernel_layout = str(draft.pick("kernel_layout", "IOHW"))
    shape = draft.tensor("data", draft.wanted or image(random, layout))
    channels = size_of(layout, shape, "C")
    many = next(n for n in (2, 3, 1) if channels % n == 0)
    groups = int(draft.pick("groups", 1, 1, many))
    sizes = {"I": channels, "O": int(random.integers(1, 5))}
    sizes |= {"H": int(random.integers(1, 4)), "W": int(random.integers(1, 4))}
    draft.pick("channels", sizes["O"] * groups)
    draft.pick("kernel_size", (sizes["H"], sizes["W"]))
    first, second = draft.pick("strides", (1, 1), (2, 2), (2, 1))
    draft.pick("output_padding", (0, 0), (first - 1, second - 1))
    draft.pick("padding", (0, 0, 0, 0), tuple(int(n) for n in random.integers(0, 2, 4)))
    draft.tensor("weight", tuple(sizes[letter] for letter in kernel_layout))
    draft.pick("out_dtype", *wide(draft.dtype("data")))


def _window(draft: Draft) -> None:
    random = draft.random
    draft.pick("strides", *((n, m) for n in (1, 2) for m in (1, 2, 3)))
    draft.pick("padding", (0, 0, 0, 0), tuple(int(n) for n in random.integers(0, 3, 4)))
    draft.pick("dilation", (1, 1), (1, 1), (2, 1))


# ---- pools ----------------------------------------------------------------------------------


def pool(draft: Draft) -> None:
    random = draft.random
    layout = str(draft.pick("layout", "NHWC", "NCHW"))
    shape = draft.tensor("data", draft.wanted or image(random, layout))
    size = tuple(int(n) for n in random.integers(1, 4, 2))
    size = tuple(draft.pick("pool_size", size))
    is_ceiled = draft.pick("ceil_mode", False, False, True)
    extents = (shape[layout.index("H")], shape[layout.index("W")])
    steps = _cut_off(extents, size) if is_ceiled else [(1, 1), (2, 2), size]
    strides = draft.pick("strides", *steps)
    widths = tuple(int(random.integers(0, n)) for n in (*size, *size))
    padding = draft.pick("padding", (0, 0, 0, 0), (0, 0, 0, 0) if is_ceiled else widths)
    draft.pick("dilation", (1, 1))
    may_be_ceiled = not any(padding) and all(n <= m for n, m in zip(strides, size, strict=False))
    # TVM divides by the number of elements in a window, also where that is zero, and is killed.
    reach = (*size, *size)[: len(padding)]
    is_empty = any(width >= n for width, n in zip(padding, reach, strict=False))
    if is_empty or (is_ceiled and not may_be_ceiled):
        raise Unfit("a window may lie in the padding altogether")
    # TVM divides what is left towards zero, gives one window then, and reads beyond the tensor.
    around = [sum(padding[axis::2]) * (1 if len(padding) == 4 else 2) for axis in (0, 1)]
    room = [extent + more for extent, more in zip(extents, around, strict=True)]
    if any(n > most for n, most in zip(size, room, strict=True)):
        raise Unfit("a window is larger than the tensor")


def _cut_off(extents: tuple[int, ...], size: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The strides with which a last window would go beyond a tensor, if there are any."""
    every = itertools.product(*(range(1, n + 1) for n in size))
    is_cut = [
        strides
        for strides in every
        if any((n - m) % step for n, m, step in zip(extents, size, strides, strict=True))
    ]
    return is_cut or [(1, 1)]


def avg_pool(draft: Draft) -> None:
    pool(draft)
    draft.pick("count_include_pad", False, False, True)
