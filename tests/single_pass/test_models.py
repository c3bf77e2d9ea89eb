"""Every model below tests/data with every table: the module is the one that TVM's pass gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import tvm
from tvm import relay
from tvm.relay import testing

from qpat.relay.prepare import prepare
from tests.models import IMPORTABLE, TFLITE_OPERATORS
from tests.single_pass.oracle import same_as_tvm
from tests.single_pass.real_tables import HAS_ETHOSU, NAMES, table

needs_ethosu = pytest.mark.skipif(not HAS_ETHOSU, reason="needs the package ethos-u-vela")
# TVM's pass takes minutes for one of the larger networks with the longest of them.
QUICK = ("cmsis-nn", "cmsis-nn, no checks", "ethos-u, no checks", "tflite.qpat")
FOUND: Counter[str] = Counter()


@pytest.fixture(scope="module")
def tables() -> Iterator[dict[str, Any]]:
    """All tables that can run, by name; those with checks of vela are in it only with vela."""
    yield {name: table(name) for name in NAMES if name != "ethos-u" or HAS_ETHOSU}


@pytest.mark.parametrize("name", IMPORTABLE)
def test_model_has_the_composites_of_tvm(
    name: str, model: Callable[[str], Any], tables: dict[str, Any]
) -> None:
    wanted = tables if name in TFLITE_OPERATORS else QUICK
    for each in wanted:
        FOUND[each] += same_as_tvm(tables[each], model(name))


@needs_ethosu
@pytest.mark.parametrize("name", [name for name in IMPORTABLE if name not in TFLITE_OPERATORS])
def test_checks_of_ethos_u(name: str, model: Callable[[str], Any], tables: dict[str, Any]) -> None:
    FOUND["ethos-u"] += same_as_tvm(tables["ethos-u"], model(name))


@pytest.mark.parametrize("simplified", [False, True])
def test_float_network(simplified: bool, tables: dict[str, Any]) -> None:
    module, params = testing.resnet.get_workload(num_layers=8, image_shape=(3, 28, 28))
    module = prepare(module, params)
    if simplified:
        passes = [relay.transform.SimplifyInference(), relay.transform.FoldConstant()]
        module = relay.transform.InferType()(tvm.transform.Sequential(passes)(module))
    for name in ("dnnl", "dnnl, no checks", "clml", "bnns", "cutlass", "arm_compute_lib"):
        FOUND[name] += same_as_tvm(tables[name], module)


def test_every_table_formed_composites(request: pytest.FixtureRequest) -> None:
    """Equal and empty modules would say nothing."""
    if len(request.session.items) < len(IMPORTABLE):
        pytest.skip("only some tests of this file run")
    formed = {name for name, count in FOUND.items() if count}
    assert formed >= {"ethos-u, no checks", "cmsis-nn", "dnnl, no checks", "clml", "tflite.qpat"}
