"""How graphs are made, built and matched on the IR that is installed."""

from __future__ import annotations

from functools import cache
from typing import Any

from qpat.relay.environment import installed_ir


@cache
def graphs() -> Any:
    """The module for the IR that is installed: qpat.verify.relay_graphs or relax_graphs. Both have
    the same functions, and nodes of the kinds in qpat.relay.kinds."""
    if installed_ir() == "relax":
        from qpat.verify import relax_graphs

        return relax_graphs
    from qpat.verify import relay_graphs

    return relay_graphs
