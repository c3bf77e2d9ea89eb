"""Which strings an attribute can be: by hand, from the Python builders and the C++ of TVM 0.16.

TVM takes any string for most of them and compares it when a pattern is matched, so a misspelt one
never matches. What is not listed can be anything.
"""

from __future__ import annotations

import re

from qpat.ops.table import Operator

_RESIZE: dict[str, tuple[str, ...]] = {
    "method": ("nearest_neighbor", "linear", "cubic"),
    "coordinate_transformation_mode": (
        "half_pixel",
        "align_corners",
        "asymmetric",
        "pytorch_half_pixel",
        "tf_half_pixel_for_nn",
        "tf_crop_and_resize",
    ),
    "rounding_method": ("", "round", "floor", "ceil", "round_prefer_floor", "round_prefer_ceil"),
}
_SPACE: dict[str, tuple[str, ...]] = {"mode": ("DCR", "CDR")}
_UPSAMPLING: dict[str, tuple[str, ...]] = {
    "method": ("nearest_neighbor", "bilinear", "trilinear", "bicubic")
}

_VALUES: dict[str, dict[str, tuple[str, ...]]] = {
    "image.resize1d": _RESIZE,
    "image.resize2d": _RESIZE,
    "image.resize3d": _RESIZE,
    "nn.depth_to_space": _SPACE,
    "nn.space_to_depth": _SPACE,
    "nn.mirror_pad": {"mode": ("SYMMETRIC", "REFLECT")},
    "nn.pad": {"pad_mode": ("constant", "edge", "reflect")},
    "nn.upsampling": _UPSAMPLING,
    "nn.upsampling3d": _UPSAMPLING,
    "qnn.requantize": {
        "rounding": ("None", "UPWARD", "TONEAREST"),
        "compute_dtype": ("None", "int64", "float32", "float64"),
    },
    "strided_slice": {"slice_mode": ("end", "size")},
    "take": {"mode": ("clip", "wrap", "fast")},
}


def allowed(operator: Operator, attribute: str) -> tuple[str, ...]:
    """The strings an attribute can be; none where it can be anything."""
    return _VALUES.get(operator.name, {}).get(attribute, ())


def layout_letters(operator: Operator, attribute: str) -> str | None:
    """The letters a layout must have, sorted, such as CHNW: those of the default; None where the
    attribute is no layout or has no default that would tell."""
    if not attribute.endswith("layout"):
        return None
    known = operator.attributes.get(attribute)
    default = known.default if known is not None else None
    if attribute == "out_layout":
        data = operator.attributes.get("data_layout") or operator.attributes.get("layout")
        default = data.default if data is not None else None
    return "".join(sorted(default)) if isinstance(default, str) and default else None


def is_layout(text: str, letters: str) -> bool:
    """Whether a layout has each of the letters once; `NCHW4c` splits one of them."""
    main = re.findall(r"[A-Z]|\d+[a-z]", text)
    rest = re.sub(r"[A-Z]|\d+[a-z]", "", text)
    found = "".join(sorted(part for part in main if part.isupper()))
    return not rest and found == letters
