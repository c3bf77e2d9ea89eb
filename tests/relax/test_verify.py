"""`qpat verify` on Relax: the library is verified, and what is wrong is found."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import tvm
from tvm import relax

from qpat.cli import main
from qpat.compiler import Compiled, compile_file, compile_source
from qpat.ops.relax import Unsaid
from qpat.relax.calls import constant, emitted, make_call, variable
from qpat.relax.composed import make_real
from qpat.relay.environment import listening
from qpat.source import Source
from qpat.verify.graphs import graphs
from qpat.verify.verification import Verdict, verify
from tests.long_run import LONG
from tests.verify.mutations import changes_nothing, mutants, noticed

ONNX = Path(__file__).resolve().parents[2] / "patterns" / "onnx.qpat"
NO_MEANING = {"split", "concatenate_2", "concatenate_3"}
REAL = "  y = qnn.quantize({}, ..)\n"
X = "qnn.dequantize(x, ..)"
CONV = (
    f"  acc = nn.conv2d({X}, qnn.dequantize(const w, ..)"
    ', data_layout="NHWC", kernel_layout="HWIO")\n'
)


@cache
def library() -> Compiled:
    return compile_file(ONNX, "relax", unsaid="ignore")


def text(body: str, ports: str = "x: int8", output: str = "y: int8") -> str:
    return f'compiler "npu"\npattern p({ports}) -> {output} {{\n{body}}}\n'


def verdict(body: str, ports: str = "x: int8", output: str = "y: int8", **how: int) -> Verdict:
    compiled = compile_source(Source("npu.qpat", text(body, ports, output)), "relax")
    [[found]] = verify(compiled, **{"samples": 4, "inputs": 12, **how})
    return found


# ---- what is right -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [each.name for each in library().module.patterns])
def test_pattern_of_the_library_is_verified(name: str) -> None:
    [verdicts] = verify(library(), samples=1, inputs=10, names=[name])
    for found in verdicts:
        said = [*found.reasons, *(str(each.compared) for each in found.failures)]
        said += [reason for reason in found.lost]
        if name in NO_MEANING:
            assert (found.status, found.reasons) == ("unverified", ["it has no meaning"])
            continue
        assert found.status == "verified", said
        assert found.elements > found.left_out
        assert found.inputs == 10 * found.instances
        assert found.instances >= sum(row.form == found.form for row in found.pattern.rows)
        # TVM computes no integers that could be computed again.
        assert not found.in_integers


def test_a_bound_is_half_a_unit_and_what_float32_adds() -> None:
    found = verdict(REAL.format(f"abs({X})") + "  meaning y = abs(x)\n", inputs=64)
    assert found.status == "verified"
    assert 0.49 < found.worst <= found.bound < 0.501
    exact = verdict(
        "  y = maximum(x, x2)\n  inherit x, x2\n  meaning y = maximum(x, x2)\n", "x: int8, x2: int8"
    )
    assert (exact.status, exact.bound) == ("verified", 0.0)


def test_half_a_unit_alone_would_be_too_little() -> None:
    """An output of 16 bits shows what float32 rounds away."""
    body = REAL.format(f"rsqrt({X})") + "  meaning y = rsqrt(x)\n"
    found = verdict(body, "x: int16", "y: int16", samples=24, inputs=64)
    assert found.status == "verified"
    assert 0.5 + 5e-4 < found.worst <= found.bound < 0.52
    assert found.parts[0] == "qnn.quantize 0.5"


def test_a_sum_of_products_is_bounded_by_what_float32_can_lose() -> None:
    body = CONV + "  y = qnn.quantize(acc, ..)\n  meaning y = nn.conv2d(x, w, like=acc)\n"
    wide = verdict(body, "x: int16, w: int8", "y: int16", samples=4, inputs=16)
    narrow = verdict(body, "x: int8, w: int8", "y: int8", samples=4, inputs=16)
    assert (wide.status, narrow.status) == ("verified", "verified")
    assert narrow.bound < 0.505 < wide.bound


def test_constants_that_are_handed_over_change_no_bit() -> None:
    """TVM has them in its code otherwise, and compiles every graph anew."""
    random = np.random.default_rng(3)
    x = variable("x", (1, 6, 6, 3), "int8")
    weights = random.integers(-128, 128, (3, 3, 3, 4))
    scales = random.uniform(0.001, 0.1, 4)
    read = make_call("qnn.dequantize", [x, constant(0.037, "float32"), constant(-7, "int32")], {})
    of = [constant(weights, "int8"), constant(scales, "float32"), constant(0, "int32")]
    kernel = make_call("qnn.dequantize", of, {"axis": 3})
    layouts = {"data_layout": "NHWC", "kernel_layout": "HWIO"}
    acc = make_call("nn.conv2d", [read, kernel], layouts)
    slots = [constant(0.0211, "float32"), constant(3, "int32")]
    root = make_call("qnn.quantize", [acc, *slots], {"out_dtype": "int8"})
    builder = relax.BlockBuilder()
    assert emitted(root, "main", builder) == []
    plain = relax.VirtualMachine(
        tvm.compile(builder.get(), target=tvm.target.Target("llvm")), tvm.cpu()
    )
    built = graphs().build({0: root})
    for _ in range(8):
        given = random.integers(-128, 128, (1, 6, 6, 3)).astype("int8")
        wanted = plain["main"](tvm.runtime.tensor(given)).numpy()
        np.testing.assert_array_equal(built.run({0: {"x": given}})[0], wanted)


# ---- what is wrong -------------------------------------------------------------------------------

CLIPPED = f"  c = clip({X})\n" + REAL.format("c")
WRONG = {
    "another operator": (REAL.format(f"sigmoid({X})") + "  meaning y = tanh(x)\n", "x: int8"),
    "operands that changed places": (
        REAL.format(f"subtract({X}, qnn.dequantize(x2, ..))") + "  meaning y = x2 - x\n",
        "x: int8, x2: int8",
    ),
    "an attribute that is forgotten": (
        f"  m = mean({X})\n"
        + REAL.format("m")
        + "  meaning y = mean(x, axis=0, keepdims=m.attrs.keepdims)\n",
        "x: int8",
    ),
    "a factor": (REAL.format(f"abs({X})") + "  meaning y = abs(x) * 1.01\n", "x: int8"),
    "an offset of one step": (
        "  y = maximum(x, x2)\n  inherit x, x2\n  meaning y = maximum(x, x2) + x.scale\n",
        "x: int8, x2: int8",
    ),
    "a clip that is forgotten": (CLIPPED + "  meaning y = x\n", "x: int8"),
    "an addend that is no bias": (
        CONV
        + "  s = add(acc, qnn.dequantize(const bias, ..))\n"
        + REAL.format("s")
        + "  meaning y = nn.bias_add(nn.conv2d(x, w, like=acc), bias, axis=2)\n",
        "x: int8, w: int8, bias: int32",
    ),
    "a scale that is filled": (
        "  y = maximum(x, x2)\n  let x.scale = 0.5\n  let x.zero_point = 3\n"
        "  let x2.scale = 0.5\n  let x2.zero_point = 3\n  let y.scale = 0.5\n"
        "  let y.zero_point = 3\n  meaning y = 2 * maximum(x, x2)\n",
        "x: int8, x2: int8",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_a_pattern_does_not_mean_is_found(case: str) -> None:
    body, ports = WRONG[case]
    found = verdict(body, ports, samples=6, inputs=16)
    assert found.status == "failed", found.reasons
    if found.failures:
        failure = found.failures[0]
        assert failure.compared.worst > failure.bound.units


LONGER = ["leaky_relu", "softmax", "mean"] if LONG else []


@pytest.mark.parametrize("pattern", ["quantize", *LONGER])
def test_faults_in_what_is_generated_are_noticed(pattern: str) -> None:
    found = list(mutants(library().text, pattern))
    assert len(found) >= 2
    how = {str(each): noticed(library(), each, 8 if LONG else 3, 8) for each in found}
    survived = [each for each, status in how.items() if status == "survived"]
    # `exclude` can have one value on Relax.
    assert not [each for each in survived if not changes_nothing(each, "attribute: exclude")]
    assert list(how.values()).count("failed") >= len(how) / 2


# ---- what was not looked at ----------------------------------------------------------------------


def test_a_meaning_that_relax_cannot_compute_is_unverified_with_the_reason() -> None:
    found = verdict(REAL.format(f"sigmoid({X})") + "  meaning y = left_shift(x, 1)\n")
    assert found.status == "unverified"
    assert found.reasons[0].endswith("its meaning: Relax has no counterpart of left_shift")


def test_no_bound_is_made_up_for_what_is_steep_near_an_error() -> None:
    body = REAL.format(f"log(add({X}, qnn.dequantize(x2, ..)))") + "  meaning y = log(x + x2)\n"
    found = verdict(body, "x: int8, x2: int8")
    assert found.status == "unverified"
    assert "log of what has an error near zero" in found.reasons[0]


# ---- calls ---------------------------------------------------------------------------------------

CALLS = {
    "clip": ({"a_min": -1.5, "a_max": 2.0}, {}),
    "reshape": ({"newshape": (2, 12)}, {}),
    "mean": ({"axis": (1,), "keepdims": True, "exclude": False}, {}),
    "transpose": ({"axes": (1, 0, 2)}, {}),
    "tile": ({"reps": (1, 2, 1)}, {}),
    "expand_dims": ({"axis": (1,), "num_newaxis": 1}, {"num_newaxis"}),
    "reverse": ({"axis": 1}, {}),
    "nn.leaky_relu": ({"alpha": 0.25}, {}),
    "cast": ({"dtype": "float64"}, {"dtype"}),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_is_made_and_read_by_the_names_of_relay(name: str) -> None:
    attributes, not_read = CALLS[name]
    call = make_call(name, [variable("x", (2, 3, 4), "float32")], attributes)
    for key in set(attributes) - set(not_read):
        assert getattr(call.attrs, key) == attributes[key]


@pytest.mark.parametrize(
    ("name", "attributes"),
    [("mean", {"exclude": True}), ("expand_dims", {"axis": 0, "num_newaxis": 2}), ("nn.pad", {})],
)
def test_what_relax_cannot_say_is_refused(name: str, attributes: dict[str, object]) -> None:
    with pytest.raises(Unsaid):
        make_call(name, [variable("x", (2, 3, 4), "float32")], attributes)


def composed() -> Iterator[tuple[str, list[np.ndarray], dict[str, object], np.ndarray]]:
    """Calls of operators that Relax has not, with what NumPy makes of them."""
    random = np.random.default_rng(5)
    x, image = random.normal(size=(3, 4)), random.normal(size=(2, 3, 4, 5))
    w, b = random.normal(size=(6, 4)), random.normal(size=3)
    many, others = random.normal(size=(2, 3, 4)), random.normal(size=(2, 5, 4))
    widths = ((0, 0), (1, 2), (0, 1), (2, 0))
    fill = np.asarray(0.75)
    yield "nn.bias_add", [image, b], {"axis": 1}, image + b[:, None, None]
    yield "nn.bias_add", [image, b[:2]], {"axis": -4}, image + b[:2, None, None, None]
    yield "nn.dense", [x, w], {"units": 6}, x @ w.T
    yield "nn.batch_matmul", [many, others], {}, many @ others.transpose(0, 2, 1)
    turned = {"transpose_a": True, "transpose_b": False}
    yield "nn.batch_matmul", [many, many], turned, many.transpose(0, 2, 1) @ many
    yield "nn.batch_flatten", [image], {}, image.reshape(2, -1)
    yield "nn.global_avg_pool2d", [image], {}, image.mean(axis=(2, 3), keepdims=True)
    last = {"layout": "NHWC"}
    yield "nn.global_max_pool2d", [image], last, image.max(axis=(1, 2), keepdims=True)
    padded = np.pad(image, widths, constant_values=0.75)
    yield "nn.pad", [image, fill], {"pad_width": widths}, padded


def test_what_relax_says_with_several_operators_computes_what_relay_means() -> None:
    cases = dict(enumerate(composed()))
    made, given = {}, {}
    for number, (name, operands, attributes, _) in cases.items():
        given[number] = {f"v{place}": each for place, each in enumerate(operands)}
        variables = [variable(key, each.shape, "float64") for key, each in given[number].items()]
        made[number] = make_real(name, variables, attributes)
    found = graphs().build(made).run(given)
    for number, (name, _, _, wanted) in cases.items():
        np.testing.assert_allclose(found[number], wanted, atol=1e-12, err_msg=name)


# ---- the command ---------------------------------------------------------------------------------


def run(tmp_path: Path, body: str, *more: str) -> int:
    (tmp_path / "npu.qpat").write_text(text(body))
    return main(["verify", str(tmp_path / "npu.qpat"), "--samples", "2", "--inputs", "8", *more])


def test_command_shows_a_failure_in_full(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "verdicts.json"
    body = REAL.format(f"sigmoid({X})") + "  meaning y = tanh(x)\n"
    assert run(tmp_path, body, "--json", str(out)) == 1
    captured = capsys.readouterr()
    assert "error[QP404]: `p` does not mean what its graph computes" in captured.err
    for part in ("R.sigmoid(", "record x: scale ", "x = [", "got = [", "wanted "):
        assert part in captured.out
    [found] = json.loads(out.read_text())
    failure = found["failures"][0]
    assert "R.quantize(" in failure["relax"]
    assert np.shape(failure["got"]) == np.shape(failure["meaning"])


def test_command_says_what_was_verified_and_what_relax_cannot_say(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, REAL.format(f"sigmoid({X})") + "  meaning y = sigmoid(x)\n") == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines()[0].startswith("p: verified  2 instances, 16 inputs, worst 0")
    assert captured.err == ""
    assert main(["verify", "onnx", "--pattern", "quantize", "--samples", "1", "--inputs", "4"]) == 0
    assert "left out, as relax cannot say them: " in capsys.readouterr().err


def test_errors_of_tvm_are_short() -> None:
    """TVM 0.27 writes all that it knows of an operator."""
    shapes = [variable("x", (2, 3), "float32"), variable("x2", (4,), "float32")]
    from qpat.relay.environment import reason

    with listening() as heard, pytest.raises(ValueError) as raised:
        make_call("add", shapes, {})
    said = reason(raised.value, heard)
    assert said.startswith("In relax.add, the first input shape")
