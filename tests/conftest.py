"""Options of the test suite, and models: each imported and prepared at most once while it runs."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any

import pytest

from tests.models import DATA


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
