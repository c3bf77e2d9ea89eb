"""Every model below tests/data with every table: the module is the one that TVM's pass gives."""

from __future__ import annotations

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
        same_as_tvm(tables[each], model(name))


@needs_ethosu
@pytest.mark.parametrize("name", [name for name in IMPORTABLE if name not in TFLITE_OPERATORS])
def test_checks_of_ethos_u(name: str, model: Callable[[str], Any], tables: dict[str, Any]) -> None:
    same_as_tvm(tables["ethos-u"], model(name))


@pytest.mark.parametrize("simplified", [False, True])
def test_float_network(simplified: bool, tables: dict[str, Any]) -> None:
    module, params = testing.resnet.get_workload(num_layers=8, image_shape=(3, 28, 28))
    module = prepare(module, params)
    if simplified:
        passes = [relay.transform.SimplifyInference(), relay.transform.FoldConstant()]
        module = relay.transform.InferType()(tvm.transform.Sequential(passes)(module))
    names = ("dnnl", "dnnl, no checks", "clml", "bnns", "cutlass", "arm_compute_lib")
    formed = {name for name in names if same_as_tvm(tables[name], module)}
    assert formed == {"dnnl, no checks", "clml", "cutlass", "arm_compute_lib"}


@pytest.mark.parametrize(
    "name", [pytest.param("ethos-u", marks=needs_ethosu), "ethos-u, no checks", "cmsis-nn"]
)
def test_table_forms_composites(
    name: str, model: Callable[[str], Any], tables: dict[str, Any]
) -> None:
    """Equal modules without any would say little."""
    assert same_as_tvm(tables[name], model("tflite/resnet8_cifar_int8.tflite")) >= 15
