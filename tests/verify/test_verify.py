"""`qpat verify`: what is wrong is found and shown, and what was not looked at is said."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from qpat.cli import main
from qpat.compiler import compile_source
from qpat.source import Source
from qpat.verify.verification import Verdict, verify

ACCUMULATED = """  acc = qnn.dense(x, const w, ..)
  y   = qnn.requantize(acc, ..)
"""
MEANT = "  meaning y = nn.dense(x, w, like=acc)\n"
DENSE = "x: int8, w: int8"


def text(body: str, ports: str = "x: int8", output: str = "y: int8") -> str:
    return f'compiler "npu"\npattern p({ports}) -> {output} {{\n{body}}}\n'


def verdicts(body: str, ports: str = "x: int8", output: str = "y: int8", **how: int) -> Verdict:
    compiled = compile_source(Source("npu.qpat", text(body, ports, output)))
    [[found]] = verify(compiled, **{"samples": 6, "inputs": 16, **how})
    return found


# ---- right and wrong -----------------------------------------------------------------------------


def test_a_dense_layer_is_verified_as_its_accumulator_has_the_scale_of_the_product() -> None:
    """No pattern has to say so: graphs in which it has not are refused."""
    found = verdicts(ACCUMULATED + MEANT, DENSE)
    assert (found.status, found.instances, found.inputs) == ("verified", 6, 96)
    # A requantize rounds to nearest, so the bound is reached and not passed.
    assert 0.4 < found.worst <= 0.5 + 1e-3
    assert found.bound == 0.5


WRONG = {
    "another operator": (ACCUMULATED + MEANT.replace("y = ", "y = -"), DENSE),
    "operands that changed places": (
        "  y = qnn.subtract(x, x2, ..)\n  meaning y = x2 - x\n",
        "x: int8, x2: int8",
    ),
    "an attribute that is forgotten": (
        "  m = mean(cast(x, dtype=int32))\n  y = qnn.requantize(m, ..)\n"
        "  meaning y = mean(x, axis=0, keepdims=m.attrs.keepdims)\n",
        "x: int8",
    ),
    "a factor": ("  y = qnn.requantize(x, ..)\n  meaning y = x * 1.01\n", "x: int8"),
    "an offset of one step": ("  y = clip(x)\n  inherit x\n  meaning y = x + x.scale\n", "x: int8"),
    "a clip before the change of space": (
        "  c = clip(x)\n  y = qnn.requantize(c, ..)\n  meaning y = x\n",
        "x: int8",
    ),
    "padding that counts as zeros": (
        '  p = nn.avg_pool2d(cast(x, dtype=int32), layout="NHWC", count_include_pad=true)\n'
        "  y = cast(p, dtype=int8)\n  inherit x\n  meaning y = nn.avg_pool2d(x, like=p)\n",
        "x: int8",
    ),
    "a scale that is filled": (
        "  y = sigmoid_of(x)\n".replace("sigmoid_of(x)", "clip(x)")
        + "  let x.scale = 0.5\n  let x.zero_point = 3\n  meaning y = 2 * x\n",
        "x: int8",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_a_pattern_does_not_mean_is_found(case: str) -> None:
    body, ports = WRONG[case]
    found = verdicts(body, ports, samples=12, inputs=32)
    assert found.status == "failed"
    failure = found.failures[0]
    assert failure.compared.worst > failure.bound.units


def test_a_failure_can_be_calculated_again_from_what_is_reported() -> None:
    found = verdicts("  y = qnn.requantize(x, ..)\n  meaning y = x * 1.01\n")
    failure = found.failures[0]
    x, y = failure.instance.tensor("x"), failure.instance.tensor("y")
    real = (failure.inputs["x"].astype("float64") - x.zero_point) * x.scale
    np.testing.assert_allclose(failure.real, real * 1.01)
    steps = np.clip(failure.real / y.scale + y.zero_point, *y.range)
    at = failure.compared.at
    assert failure.compared.wanted == pytest.approx(steps[at])
    assert failure.compared.got == failure.got[at]
    assert abs(failure.got[at] - steps[at]) == pytest.approx(failure.compared.worst)


# ---- bounds --------------------------------------------------------------------------------------


def test_the_bound_of_a_mean_is_nearly_reached() -> None:
    """A division that cuts off in the input's steps, and a requantize: no smaller bound is true."""
    body = (
        "  m = mean(cast(x, dtype=int32))\n  y = qnn.requantize(m, ..)\n"
        "  meaning y = mean(x, like=m)\n"
    )
    found = verdicts(body, samples=24, inputs=200)
    assert found.status == "verified"
    assert found.worst > 0.8 * found.bound > 0.8


def test_the_bound_of_an_addition_is_nearly_reached() -> None:
    body = "  y = qnn.add(x, x2, ..)\n  meaning y = x + x2\n"
    found = verdicts(body, "x: int8, x2: int8", samples=12, inputs=100)
    assert (found.status, found.bound) == ("verified", 1.0)
    assert found.worst > 0.9


def test_what_only_moves_integers_is_exact() -> None:
    found = verdicts("  y = transpose(x)\n  inherit x\n  meaning y = transpose(x, like=y)\n")
    assert (found.status, found.bound) == ("verified", 0.0)
    assert found.worst < 1e-6


def test_calls_of_one_name_in_two_forms_have_each_their_attributes() -> None:
    """`like=` takes over those of the form's own call, not those that the two have in common."""
    body = """
      form leaky { m = nn.leaky_relu(qnn.dequantize(x, ..))  meaning y = nn.leaky_relu(x, like=m) }
      form sum   { m = sum(qnn.dequantize(x, ..))            meaning y = sum(x, like=m) }
      y = qnn.quantize(m, ..)
    """
    compiled = compile_source(Source("npu.qpat", text(body)))
    [found] = verify(compiled, samples=8, inputs=8)
    assert [(each.form, each.status) for each in found] == [
        ("leaky", "verified"),
        ("sum", "verified"),
    ]


def test_no_bound_is_made_up_for_what_works_on_rounded_values() -> None:
    body = (
        "  a = qnn.requantize(x, ..)\n  acc = qnn.dense(a, const w, ..)\n"
        "  y = qnn.requantize(acc, ..)\n"
        "  where close(acc.scale, a.scale * w.scale)\n  meaning y = nn.dense(x, w, like=acc)\n"
    )
    found = verdicts(body, DENSE)
    assert found.status == "unverified"
    assert "qnn.dense works on what was rounded before" in found.reasons[0]


# ---- what was not looked at ----------------------------------------------------------------------


def test_a_pattern_without_a_meaning_is_unverified() -> None:
    found = verdicts("  y = clip(x)\n  inherit x\n")
    assert (found.status, found.reasons) == ("unverified", ["it has no meaning"])


def test_a_row_that_no_graph_is_drawn_for_is_unverified_with_the_reason() -> None:
    body = '  y = clip(x)\n  inherit x\n  where x.scale > 1000 else "fine"\n  meaning y = x\n'
    found = verdicts(body)
    assert (found.status, found.reasons) == ("unverified", ["no instance of clip: fine"])
    assert found.refused["fine"] > 10


def test_a_meaning_that_has_no_value_anywhere_is_unverified() -> None:
    body = "  y = qnn.requantize(x, ..)\n  meaning y = log(-1 - x * x)\n"
    found = verdicts(body)
    assert found.instances > 0
    assert (found.status, found.reasons) == ("unverified", ["no element of any output has a value"])


def test_one_row_of_several_without_an_instance_is_said() -> None:
    body = (
        "  out = qnn.requantize(x, ..)\n  y = clip(out)?\n"
        '  where y? => y.attrs.a_max > 1000 else "the clip is low"\n  meaning y = x\n'
    )
    found = verdicts(body)
    assert found.status == "unverified"
    assert found.instances > 0
    assert found.reasons == ["no instance of qnn.requantize, clip: the clip is low"]


def test_the_same_seed_draws_the_same_and_another_one_others() -> None:
    body = "  y = qnn.requantize(x, ..)\n  meaning y = x * 1.01\n"
    first, again, other = (verdicts(body, seed=seed) for seed in (1, 1, 2))
    graphs = [[str(f.instance.graph.root) for f in each.failures] for each in (first, again, other)]
    assert graphs[0] == graphs[1] != graphs[2]


def test_many_tensors_and_single_operators_are_verified() -> None:
    body = "  y = qnn.concatenate((xs...), ..)\n  meaning y = concatenate(xs, axis=-1)\n"
    many = body.replace("((xs...), ..)", "((xs...), .., axis=-1)")
    assert verdicts(many, "xs: int8...").status == "verified"
    rule = '  y = nn.max_pool2d(x, layout="NHWC")\n  inherit x\n'
    rule += "  meaning y = nn.max_pool2d(x, like=y)\n"
    found = verdicts(rule, output='y: int8 as op "nn.max_pool2d"')
    assert (found.status, found.worst) == ("verified", 0.0)


# ---- the command ---------------------------------------------------------------------------------


def run(tmp_path: Path, body: str, *more: str) -> int:
    (tmp_path / "npu.qpat").write_text(text(body))
    return main(["verify", str(tmp_path / "npu.qpat"), "--samples", "3", "--inputs", "8", *more])


def test_command_says_what_was_verified(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    body = "  y = qnn.requantize(x, ..)\n  meaning y = x\n"
    assert run(tmp_path, body) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    first, last = captured.out.splitlines()
    assert re.match(r"p: verified  3 instances, 24 inputs, worst 0\.\d+ of 0\.5 units", first)
    assert last == "1 verified, 0 failed, 0 unverified"


def test_command_shows_a_failure_in_full(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    body = "  y = qnn.requantize(x, ..)\n  meaning y = x * 1.01\n"
    out = tmp_path / "verdicts.json"
    assert run(tmp_path, body, "--json", str(out)) == 1
    captured = capsys.readouterr()
    assert "error[QP404]: `p` does not mean what its graph computes" in captured.err
    assert "meaning y = x * 1.01" in captured.err
    for part in ("qnn.requantize(%x, ", "record x: scale ", "x = [", "got = [", "wanted "):
        assert part in captured.out
    [verdict] = json.loads(out.read_text())
    assert verdict["status"] == "failed"
    failure = verdict["failures"][0]
    assert np.shape(failure["got"]) == np.shape(failure["meaning"])
    assert abs(np.array(failure["got"])[tuple(failure["at"])] - failure["wanted"]) > 0.5


def test_command_lists_what_is_unverified_and_what_was_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    body = '  y = clip(x)\n  inherit x\n  where x.scale > 1000 else "fine"\n  meaning y = x\n'
    assert run(tmp_path, body, "--details") == 0
    out = capsys.readouterr().out
    assert "p: unverified; 576 draws left out\n    no instance of clip: fine\n" in out
    assert "    left out 576: fine\n" in out


def test_command_wants_a_pattern_that_is_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, "  y = clip(x)\n", "--pattern", "q") == 1
    assert "error[QP337]: no pattern is called `q`" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run(tmp_path, "  y = clip(x)\n", "--samples", "0")
