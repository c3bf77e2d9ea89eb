"""These tests run where TVM has Relax: `make test` runs them there, in .environments/relax."""

from __future__ import annotations

from qpat.relay.environment import installed_ir

collect_ignore_glob = ["test_*.py"] if installed_ir() == "relay" else []
