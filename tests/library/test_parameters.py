"""What the C++ of three back ends would read of a composite is what stands in its record."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relay
from tvm.relay.op.contrib.arm_compute_lib import preprocess_module

import qpat
from qpat.relay.graph import post_order
from tests.library import rows
from tests.library.arm_compute_lib_parameters import kernel_of
from tests.library.convolutions import conv2d_with_relu
from tests.library.draw import Draw, DrawInt16, number
from tests.library.operators import Body
from tests.library.oracles import ORACLES, compared
from tests.library.parameters import is_call_of
from tests.library.verdicts import TABLES, cases
from tests.long_run import LONG

# More of them in the long run (`make fuzz`).
COUNT = max(15, LONG // 25)
DOCS = (Path(__file__).parents[2] / "docs" / "library.md").read_text(encoding="utf-8")
CASES = [(name, row) for name in ORACLES for row in rows.BODIES[name]]
PROCESSORS = (
    *("cortex-m0", "cortex-m7", "cortex-m55", "cortex-m55+nomve", "cortex-m4+nodsp"),
    *("cortex-m85+nodsp", None),
)


@pytest.mark.parametrize(("name", "row"), CASES)
def test_records_have_what_the_code_generator_reads(name: str, row: str) -> None:
    assert sum(seen for seen, _ in over_graphs(name, rows.BODIES[name][row], COUNT)) > 0


@pytest.mark.parametrize("row", rows.CMSIS_NN)
def test_records_of_int16_have_too(row: str) -> None:
    body = rows.CMSIS_NN[row]
    assert sum(seen for seen, _ in over_graphs("cmsis-nn", body, 2 * COUNT, DrawInt16)) > 0


LISTED = [(name, trait) for name, oracle in ORACLES.items() for trait in oracle.differences]


@pytest.mark.parametrize(("name", "trait"), LISTED)
def test_what_the_code_generator_does_otherwise_is_listed(name: str, trait: str) -> None:
    body = ORACLES[name].differences[trait].shown
    assert any(trait in traits for _, traits in over_graphs(name, body, 200))
    assert trait in DOCS


@pytest.mark.parametrize("layout", ["HWIO", "HWOI"])
def test_kernel_is_in_the_layout_to_which_tvm_brings_it(layout: str) -> None:
    compared_kernels = 0
    for _, root, _ in cases(lambda draw: conv2d_with_relu(draw, layout), 6):
        function = relay.Function(relay.analysis.free_vars(root), root)
        with tvm.transform.PassContext(opt_level=3):
            module = preprocess_module(tvm.IRModule.from_expr(function))
        [before], [after] = (
            [each for each in post_order(body) if is_call_of(each, "qnn.conv2d")]
            for body in (root, module["main"].body)
        )
        wanted, kernel = kernel_of(before)
        assert str(after.attrs.kernel_layout) == wanted
        np.testing.assert_array_equal(number(after.args[1]), kernel)
        compared_kernels += 1
    assert compared_kernels > 0


def over_graphs(name: str, body: Body, count: int, kind: type[Draw] = Draw) -> Any:
    """Of each of so many graphs, how many matches were compared, and in what they differ."""
    for seed, root, _ in cases(body, count, kind=kind):
        module = tvm.IRModule.from_expr(relay.Function(relay.analysis.free_vars(root), root))
        with processor(name, seed):
            merged = qpat.merge_composite(TABLES[name].pattern_table())(module)
            yield compared(name, merged, f"seed {seed}")


def processor(name: str, number: int) -> AbstractContextManager[Any]:
    """Each in turn, for the table that asks what it can do."""
    cpu = PROCESSORS[number % len(PROCESSORS)]
    if name != "cmsis-nn" or cpu is None:
        return nullcontext()
    target: AbstractContextManager[Any] = tvm.target.Target(f"c -mcpu={cpu}")
    return target
