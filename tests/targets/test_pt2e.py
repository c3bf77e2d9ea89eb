"""PyTorch exports that PT2E has quantized, on Relax: imported with torch where that is installed,
and as they were kept where it is not, on TVM 0.26 and 0.27 without qpat."""

from __future__ import annotations

import json
from collections import Counter
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from qpat.compiler import compile_file
from qpat.diagnostics import QpatError
from qpat.relax.pytorch import convert_map, import_exported_program
from tests.targets.bare.environments import printed, python_of, python_with_torch

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent / "bare"
KEPT = ROOT / "tests" / "data" / "pytorch"
FROZEN = ["residual", "soup", "integer_bias"]

RESIDUAL = Counter(
    conv2d=4,
    quantize=1,
    add=1,
    max_pool2d=1,
    concatenate=1,
    adaptive_avg_pool2d=1,
    reshape=1,
    dense=1,
    dequantize=1,
)
SMALL = Counter(quantize=1, conv2d=1, mean=1, dense=1, dequantize=1)
# What there are no patterns for is between these: `gelu`, and `silu` where it is whole.
BESIDE = ["quantize", "dequantize"]
ONCE = """hard_swish sigmoid tanh subtract leaky_relu hard_sigmoid avg_pool2d max_pool2d relu
transpose conv2d_transpose mean expand_dims squeeze reshape maximum minimum concatenate softmax"""
SOUP = Counter({**dict.fromkeys(ONCE.split(), 1), "conv2d": 2, "mul": 2, "dense": 2})
SOUP += Counter(dict.fromkeys(BESIDE, 3))
FOUND = {
    "residual": RESIDUAL,
    "residual_per_tensor": RESIDUAL,
    "soup": SOUP,
    "integer_bias": SMALL,
    "not_folded": SMALL,
}
HOST = {"soup": ["relax.nn.gelu", "relax.nn.silu"]}


@pytest.fixture(scope="session")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("generated") / "pt2e.py"
    compiled = compile_file(ROOT / "patterns" / "pytorch_pt2e.qpat", "relax")
    # Relax can say all of it.
    assert not [each for each in compiled.warnings if each.code in ("QP092", "QP093")]
    path.write_text(compiled.text, encoding="utf-8")
    return path


def check(name: str, found: dict[str, Any], said: dict[str, Any]) -> None:
    """What was found in a network against what PyTorch says of it, and computes."""
    assert Counter(found["composites"]) == FOUND[name]
    assert found["host"] == HOST.get(name, [])
    assert found["spaces"] == said["spaces"]
    assert found["biases"] == said["biases"]
    if name != "not_folded":
        assert found["weights"] == said["weights"]
    # PyTorch multiplies by the inverse of a scale, TVM divides: one unit of the last place.
    units = [float.fromhex(scale) for scale, _ in found["spaces"]]
    assert found["distance"] <= 1.01 * max(units)
    weighted = [each for each in found["integers"] if each is not None]
    assert (
        len(weighted)
        == sum(FOUND[name][each] for each in ("conv2d", "dense"))
        + (FOUND[name]["conv2d_transpose"])
    )
    assert max(weighted) <= 1


# ---- kept ----------------------------------------------------------------------------------


@cache
def of_frozen(environment: str, generated: Path) -> dict[str, Any]:
    script = HERE / "run_pt2e_frozen.py"
    told = printed(python_of(environment), script, generated, KEPT, *FROZEN)
    found: dict[str, Any] = json.loads(told.splitlines()[-1])
    return found


@pytest.mark.parametrize("environment", ["relax-0.27", "relax-0.26"])
@pytest.mark.parametrize("name", FROZEN)
def test_kept_exports(generated: Path, environment: str, name: str) -> None:
    found = of_frozen(environment, generated)[name]
    said = json.loads((KEPT / f"pt2e_{name}.json").read_text(encoding="utf-8"))
    check(name, found, said)
    forms = {form for form in found["forms"] if form in ("float", "integer")}
    assert forms <= {"integer" if name == "integer_bias" else "float"}
    # The quantizer of these uses 7 of 8 bits, and the clip that says so is part of the match.
    if name != "residual":
        assert all(0 <= low < high <= 127 for low, high in found["ranges"])


# ---- imported ------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def of_torch(generated: Path) -> dict[str, Any]:
    told = printed(python_with_torch(), HERE / "run_pt2e.py", generated)
    found: dict[str, Any] = json.loads(told.splitlines()[-1])
    return found


@pytest.mark.parametrize("name", FOUND)
def test_exports_imported_whole(of_torch: dict[str, Any], name: str) -> None:
    found = of_torch[name]
    check(name, found["whole"], found["said"])


@pytest.mark.parametrize("name", ["residual", "residual_per_tensor", "integer_bias"])
def test_exports_that_are_decomposed_have_the_same_records(
    of_torch: dict[str, Any], name: str
) -> None:
    found = of_torch[name]
    check(name, found["core"], found["said"])
    assert found["core"]["composites"] == found["whole"]["composites"]


def test_a_soup_that_is_decomposed(of_torch: dict[str, Any]) -> None:
    """`silu` is in parts that have a pattern; a dense layer of what is transposed is a product of
    batches, which has none."""
    found = of_torch["soup"]["core"]
    wanted = SOUP + Counter(swish=1, dequantize=1)
    wanted["dense"] -= 1
    assert Counter(found["composites"]) == wanted
    assert "relax.nn.gelu" in found["host"]


def test_kept_exports_are_what_is_imported(of_torch: dict[str, Any]) -> None:
    """The files in tests/data are up to date; freeze_pt2e.py writes them."""
    for name in FROZEN:
        found = of_torch[name]["said"]
        said = json.loads((KEPT / f"pt2e_{name}.json").read_text(encoding="utf-8"))
        # Another processor may add up in another order.
        assert [len(found[each]) for each in found] == [len(said[each]) for each in found]
        scales = [[float.fromhex(each) for each, _ in of["spaces"]] for of in (found, said)]
        assert np.allclose(*scales, rtol=1e-2)


def test_exports_that_are_refused(of_torch: dict[str, Any]) -> None:
    refused = of_torch["refused"]
    dynamic = refused["dynamic"]
    assert all(each.startswith("QP360: ") for each in dynamic)
    assert any("choose_qparams.tensor): it computes scale" in each for each in dynamic)
    assert any("quantize_per_tensor.tensor): its scale is not constant" in each for each in dynamic)
    [message] = refused["no converter"]
    assert message.startswith("QP361: TVM's importer refuses this program: Unsupported function")


# ---- what cannot be converted, without torch and TVM -----------------------------------------


class Array:
    """Stands for a tensor of PyTorch's."""

    def __init__(self, *numbers: float, dtype: str = "float32") -> None:
        self.found = np.array(numbers, dtype)

    def detach(self) -> Array:
        return self

    cpu = detach

    def numpy(self) -> Any:
        return self.found


def program(
    operator: str,
    *operands: Any,
    changed: tuple[str, ...] = (),
    in_branch: bool = False,
    **more: Any,
) -> Any:
    """Stands for an exported program of one call; operands that are tensors are buffers of it."""
    graph, branch = SimpleNamespace(nodes=[]), SimpleNamespace(nodes=[])
    tensors = {f"b{i}": each for i, each in enumerate(operands) if isinstance(each, Array)}
    arguments = []
    for i, each in enumerate(operands):
        is_node = isinstance(each, Array) or each == "computed"
        kind = "call_function" if each == "computed" else "placeholder"
        where = branch if in_branch else graph
        node = SimpleNamespace(op=kind, name=f"b{i}", graph=where, target=None)
        node.graph.nodes += [node] if is_node else []
        arguments.append(node if is_node else each)
    target = SimpleNamespace(namespace="quantized_decomposed", __name__=operator)
    call = SimpleNamespace(op="call_function", name="call", target=target)
    call.args, call.kwargs = (None, *arguments), more
    (branch if in_branch else graph).nodes.append(call)
    modules = [SimpleNamespace(graph=graph), SimpleNamespace(graph=branch)]
    names = {each: each for each in [*tensors, *(["p"] if in_branch else [])]}
    signature = SimpleNamespace(
        inputs_to_parameters={},
        inputs_to_buffers=names,
        inputs_to_lifted_tensor_constants={},
        buffers_to_mutate={f"out_{each}": each for each in changed},
    )
    held = {**tensors, **({"p": Array(1)} if in_branch else {})}
    found = SimpleNamespace(modules=lambda: modules)
    return SimpleNamespace(
        graph_signature=signature, state_dict=held, constants={}, graph_module=found
    )


SCALE, ZERO = Array(0.5), Array(3, dtype="int64")
TENSOR = "quantize_per_tensor.tensor"
CHANNEL = "dequantize_per_channel.default"
INT8 = (-128, 127, "torch.int8")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            program(TENSOR, "computed", ZERO, *INT8),
            "its scale is not constant but computed by `b0`",
        ),
        (program(TENSOR, SCALE, ZERO, *INT8, changed=("b0",)), "its scale is not constant"),
        (program(TENSOR, SCALE, ZERO, *INT8, in_branch=True), "its scale is not constant"),
        (program(TENSOR, SCALE, Array(0.5), *INT8), "its zero_point is no integer of 32 bits"),
        (program(TENSOR, SCALE, Array(2**40, dtype="int64"), *INT8), "is no integer of 32 bits"),
        (program(TENSOR, Array(1, 2), ZERO, *INT8), "its scale has 2 numbers where one is wanted"),
        (program(TENSOR, SCALE, ZERO, 0, 9, "torch.int32"), "int32 where Relax has int8"),
        (program(TENSOR, SCALE, ZERO, 0, 9, "torch.float8_e4m3fn"), "float8_e4m3fn where Relax"),
        (program(CHANNEL, SCALE, Array(0.5), 0, *INT8), "its zero_points is no integer"),
        (program(CHANNEL, SCALE, ZERO, 0, *INT8, out_dtype="torch.float16"), "float16 where Relax"),
        (program("choose_qparams.tensor", *INT8), "dynamic quantization"),
        (program("quantize_per_token.default", SCALE, ZERO, *INT8), "Relax has no counterpart"),
    ],
)
def test_what_cannot_be_constant_is_refused_by_name(given: Any, message: str) -> None:
    with pytest.raises(QpatError) as refused:
        convert_map(given)
    [found] = refused.value.diagnostics
    assert found.code == "QP360" and found.message.startswith("`call` (quantized_decomposed.")
    assert message in found.message


def test_what_can_be_constant_is_not() -> None:
    more = ("quantize_per_tensor.default", 0.5, 3, *INT8)
    for each in (more, (TENSOR, SCALE, ZERO, *INT8), (CHANNEL, Array(1, 2), None, 0, *INT8)):
        assert set(convert_map(program(*each))) >= {each[0]}


def test_another_tvm_is_named() -> None:
    with pytest.raises(QpatError, match="needs TVM 0.26 or 0.27, and this is 0.16") as refused:
        import_exported_program(program(TENSOR, SCALE, ZERO, *INT8))
    assert refused.value.diagnostics[0].code == "QP303"
