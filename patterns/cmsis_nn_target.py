"""The work space, in bytes, that CMSIS-NN needs for an operator on one processor.

After TVM's src/relay/backend/contrib/cmsisnn/buffer_size.cc and src/target/parsers/mprofile.cc.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_VECTORS = ("cortex-m55", "cortex-m85")
_SIGNALS = ("cortex-m4", "cortex-m7", "cortex-m33", "cortex-m35p", *_VECTORS)
# How many channels a depthwise convolution with vectors takes at once.
_BLOCK = 124


def features(mcpu: str) -> tuple[bool, bool]:
    """Whether a processor has the instructions for signals (DSP) and for vectors (MVE)."""
    signals = mcpu.startswith(_SIGNALS) and "+nodsp" not in mcpu
    return signals, signals and mcpu.startswith(_VECTORS) and "+nomve" not in mcpu


def space_of_pool(x: Any, mcpu: str) -> int:
    """Of an average pool of `x`, NHWC."""
    signals, vectors = features(mcpu)
    return 4 * x.shape[3] if signals and not vectors else 0


def space_of_convolution(
    acc: Any, x: Any, w: Any, y: Any, padding: Sequence[int], depth_multiplier: int, mcpu: str
) -> int:
    """Of a convolution `acc` of `x`, NHWC; `depth_multiplier` is -1 where it is not depthwise."""
    kernel = [w.shape[str(acc.attrs.kernel_layout).index(side)] for side in "HW"]
    patch = x.shape[3] * kernel[0] * kernel[1]
    is_dilated = any(side != 1 for side in acc.attrs.dilation)
    signals, vectors = features(mcpu)
    if depth_multiplier != -1:
        fits = not is_dilated and signals
        if x.dtype == "int16":
            if not fits or depth_multiplier != 1 or patch >= 512:
                return 0
            return 8 * patch + 8 if vectors else 2 * patch
        if not fits or x.shape[3] != y.shape[3] or x.shape[0] != 1:
            return 0
        return 4 * _BLOCK * kernel[0] * kernel[1] if vectors else 2 * patch
    if x.dtype == "int16":
        return 4 * patch if signals and not vectors and patch < 512 and not is_dilated else 0
    is_plain = all(side == 1 for side in (*kernel, *acc.attrs.strides)) and not is_dilated
    if is_plain and x.shape[3] % 4 == 0 and not any(padding[:2]):
        return 0
    if not vectors:
        return 4 * patch
    is_row = x.shape[0] == x.shape[1] == y.shape[1] == kernel[0] == 1 and y.shape[2] % 4 == 0
    return 0 if is_row and not is_dilated else 32 * ((patch + 7) // 8)
