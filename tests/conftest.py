"""Options of the test suite, and models: each imported and prepared at most once while it runs."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any

import pytest
from hypothesis import settings

from tests.models import DATA

# `make fuzz` asks for more than a run of all tests has time for.
_EXAMPLES = int(os.environ.get("QPAT_FUZZ_EXAMPLES", "0"))
if _EXAMPLES:
    settings.register_profile("long", max_examples=_EXAMPLES)
    settings.load_profile("long")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write tests/golden/ anew")


@pytest.fixture(scope="session")
def imported() -> Callable[[str], Any]:
    """What `import_model` gave for a file below tests/data, such as `tflite/ops/add.tflite`."""
    # TVM takes seconds to import; most tests do without it.
    from qpat.relay.importing import import_model

    return lru_cache(maxsize=None)(lambda name: import_model(DATA / name))


@pytest.fixture(scope="session")
def model(imported: Callable[[str], Any]) -> Callable[[str], Any]:
    """The prepared module of a file below tests/data; each time another one, of the same functions,
    so that a pass which changes a module in place changes no other test's."""
    from qpat.relay.graph import shallow_copy
    from qpat.relay.prepare import prepare

    @cache
    def prepared(name: str) -> Any:
        return prepare(imported(name).module, imported(name).params)

    return lambda name: shallow_copy(prepared(name))
