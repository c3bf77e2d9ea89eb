"""Whether this is the long run (`make fuzz`), which takes cases that take minutes."""

from __future__ import annotations

import os

LONG = int(os.environ.get("QPAT_FUZZ_EXAMPLES", "0"))
"""How many examples the long run wants; 0 in any other."""
