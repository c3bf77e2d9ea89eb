"""The example of a code generator on Relax, run as its README says, where qpat is not installed:
its results are TVM's bit for bit, and no longer where a record is wrong."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.examples import numpy_example
from tests.examples.numpy_example import (
    COMPILE,
    DS_CNN,
    MODELS,
    copied,
    equal_kernels,
    kernels_of,
    reports,
    shown,
)
from tests.long_run import LONG

INPUTS = 3
VERSIONS = ("relax-0.27", "relax-0.26")
CASES = Path(__file__).parent / "bare" / "relax_modules.py"
each_version = pytest.mark.parametrize("environment", VERSIONS)


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example with its patterns compiled for both IRs."""
    folder = tmp_path_factory.mktemp("example")
    relay = numpy_example.compiled(folder / "relay", "relay", {})
    relax = compiled(folder / "numpy_codegen", {})
    (relay / "npu_patterns.py").rename(relax / "npu_patterns.py")
    shutil.copy(CASES, relax)
    return relax


def compiled(folder: Path, changes: dict[str, str]) -> Path:
    return numpy_example.compiled(folder, "relax", changes)


def run(
    folder: Path, *words: object, environment: str = VERSIONS[0]
) -> subprocess.CompletedProcess[str]:
    return numpy_example.run(folder, environment, *words)


def test_the_readme_shows_what_it_prints(example: Path) -> None:
    printed = shown(f"python relax_compare.py ../{DS_CNN.name}")
    done = run(example, "relax_compare.py", DS_CNN)
    assert (done.returncode, done.stdout) == (0, printed), done.stderr


# ---- models --------------------------------------------------------------------------------

NETWORKS = {
    "ad_autoencoder_int8": {"dense": 10},
    # A residual one: the order of the sums is seen in it.
    "resnet8_cifar_int8": {"add": 3, "avg_pool2d": 1, "conv2d": 9, "dense": 1},
    "qat_tfmot_int8": {"add": 1, "conv2d": 3, "dense": 1, "depthwise_conv2d": 2, "mean": 1},
    # What is before the first and behind the last quantized operator is the host's.
    "ds_cnn_kws_int8_floatio": {"avg_pool2d": 1, "conv2d": 5, "dense": 1, "depthwise_conv2d": 4},
}
# The frontend of 0.26 refuses average pools and depthwise convolutions.
NETWORKS_ON = {"relax-0.27": list(NETWORKS), "relax-0.26": list(NETWORKS)[:1]}


@each_version
def test_networks_are_equal_bit_for_bit(environment: str, example: Path) -> None:
    names = NETWORKS_ON[environment]
    models = [MODELS / f"{name}.tflite" for name in names]
    options = ["--inputs", INPUTS]
    done = run(example, "relax_compare.py", *models, *options, environment=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    wanted = {name: {k: n * INPUTS for k, n in NETWORKS[name].items()} for name in names}
    assert equal_kernels(done.stdout, INPUTS) == wanted


# By the kernel: models of which it computes the result.
OPERATORS = {
    "add": ["add", "add_const", "add_relu", "add_self"],
    "subtract": ["sub", "sub_relu"],
    "mul": ["mul", "swish"],
    "maximum": ["maximum"],
    "minimum": ["minimum"],
    "conv2d": ["conv2d", "conv2d_1x1", "conv2d_bias_relu6", "conv2d_group2"],
    "dense": ["fc", "fc_bias", "fc_bias_relu"],
    "concatenate2": ["concat"],
    "mean": ["mean"],
    "requantize": ["relu", "relu6"],
    "reshape": ["reshape"],
    "leaky_relu": ["leaky_relu"],
    "hard_swish": ["hard_swish"],
    **{name: [name] for name in ("abs", "exp", "sigmoid", "tanh")},
}
ON_027 = {
    "depthwise_conv2d": ["dwconv", "dwconv_bias_relu6"],
    "mul": ["mul_scalar"],
    "avg_pool2d": ["avg_pool", "avg_pool_relu"],
    "max_pool2d": ["max_pool"],
}


def operators_on(environment: str) -> dict[str, str]:
    """The kernel that computes each model."""
    tables = [OPERATORS, ON_027] if environment == "relax-0.27" else [OPERATORS]
    return {name: kernel for table in tables for kernel, names in table.items() for name in names}


@each_version
def test_operators_are_equal_bit_for_bit(environment: str, example: Path) -> None:
    """Each kernel where its result is the result of the model."""
    kernels = operators_on(environment)
    models = [MODELS / "ops" / f"{name}.tflite" for name in kernels]
    options = ["--inputs", INPUTS]
    done = run(example, "relax_compare.py", *models, *options, environment=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    ran = equal_kernels(done.stdout, INPUTS)
    assert list(ran) == list(kernels)
    for name, kernel in kernels.items():
        assert ran[name][kernel] == INPUTS, name


# ---- integers ------------------------------------------------------------------------------


def test_integers_are_equal_or_off_by_one(example: Path) -> None:
    """What the README says of the integer kernels."""
    kernels = operators_on(VERSIONS[0])
    models = [MODELS / "ops" / f"{name}.tflite" for name in kernels]
    done = run(example, "relax_compare.py", *models, "--integers")
    assert done.returncode == 1, done.stderr
    for name, report in reports(done.stdout).items():
        is_sum = kernels[name] in ("add", "subtract")
        assert is_sum or "bit for bit equal to TVM on 10 inputs" in report, name
        assert "not those of TVM" not in report or ", by at most 1\n" in report, name
        assert kernels_of(report)[kernels[name]] == 10, name
    rows = {"add": "844", "add_const": "925", "sub_relu": "386"}
    for name, count in rows.items():
        assert f"\n  {count} of 3840 numbers" in reports(done.stdout)[name]
        assert count in numpy_example.README


def test_integers_in_networks_are_what_the_readme_says(example: Path) -> None:
    names = {"resnet8_cifar_int8": "ResNet-8, with its additions", DS_CNN.stem: "DS-CNN"}
    models = [MODELS / "resnet8_cifar_int8.tflite", DS_CNN, MODELS / "ad_autoencoder_int8.tflite"]
    done = run(example, "relax_compare.py", *models, "--integers")
    assert done.returncode == 1, done.stderr
    found = reports(done.stdout)
    assert "bit for bit equal to TVM on 10 inputs: 6400" in found["ad_autoencoder_int8"]
    for name, row in names.items():
        [count] = re.findall(
            r"(\d+ of \d+) numbers are not those of TVM, by at most 1\n", found[name]
        )
        assert f"| {row} | {count} | 1 |" in numpy_example.README


BITS = """
import json, sys
import numpy as np
import kernels
from comparison import drawn, imported
from pathlib import Path
from program import execute

def bits(program, types):
    random = np.random.default_rng(5)
    inputs = [drawn(random, shape, dtype) for shape, dtype in types]
    return [each.ravel().tolist() for each in execute(program, inputs, kernels.run)]

def region(functions):
    [found] = functions
    return found
"""
RELAY_BITS = f"""{BITS}
import codegen, npu_patterns as npu
from tvm import relay
found = []
for path in map(Path, sys.argv[1:]):
    module = npu.offload(*imported(path, relay.frontend.from_tflite))
    names = [each.name_hint for each in module.get_global_vars() if each.name_hint != "main"]
    function = region([module[each] for each in names])
    types = [each.checked_type for each in function.params]
    types = [(codegen.shape_of(each), each.dtype) for each in types]
    found.append(bits(codegen.program_of(function), types))
print(json.dumps(found))
"""
RELAX_BITS = f"""{BITS}
import npu_relax as npu, relax_codegen, relax_compare
found = []
for path in map(Path, sys.argv[1:]):
    module = npu.offload(imported(path, relax_compare.from_tflite))
    function = region([each for each in module.functions.values() if relax_codegen.is_region(each)])
    types = [relax_compare.type_of(each) for each in function.params]
    found.append(bits(relax_codegen.program_of(function), types))
print(json.dumps(found))
"""


def test_integers_are_those_of_relay(example: Path) -> None:
    """One record from both spellings: the same kernels give the same bits."""
    models = [MODELS / f"{name}.tflite" for name in list(NETWORKS)[:2]] + [DS_CNN]
    found = [
        json.loads(run(example, "-c", script, *models, environment=environment).stdout)
        for script, environment in ((RELAY_BITS, "tvm-0.16"), (RELAX_BITS, VERSIONS[0]))
    ]
    assert found[0] == found[1]
    assert [len(set(results[0])) > 5 for results in found[0]] == [True] * 3


# ---- it can fail --------------------------------------------------------------------------

# A change of npu.qpat, and the model that it shows in.
WRONG = {
    "without a bias": ("nn.bias_add(nn.dense(x, w), bias, axis=-1)?", "nn.dense(x, w)", "fc_bias"),
    "other padding": ("padding=padding), bias", "padding=[0, 1, 2, 1]), bias", "conv2d"),
    "bound of a relu6": ("(y.zero_point, most)", "(y.zero_point, most - 1)", "relu6"),
    "other side": ("meaning y = multiply(x, x2)", "meaning y = multiply(x2, x2)", "mul"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_meaning_shows(name: str, tmp_path: Path) -> None:
    old, new, model = WRONG[name]
    folder = compiled(tmp_path / "example", {old: new})
    done = run(folder, "relax_compare.py", MODELS / "ops" / f"{model}.tflite")
    assert done.returncode == 1, done.stderr
    assert "numbers are not those of TVM" in done.stdout


INTEGERS = {
    "fixed_point(unit / y.scale)": "fixed_point(1.01 * unit / y.scale)",
    "let unit      = f32(x.scale * w.scale)": "let unit      = f32(w.scale)",
    "- x.zero_point * reshape(": "+ x.zero_point * reshape(",
}


@pytest.mark.parametrize("old", INTEGERS)
def test_a_wrong_parameter_shows_in_integers(old: str, tmp_path: Path) -> None:
    folder = compiled(tmp_path / "example", {old: INTEGERS[old]})
    model = MODELS / "ops" / "conv2d.tflite"
    done = run(folder, "relax_compare.py", model, "--integers")
    assert done.returncode == 1, done.stderr
    assert "numbers are not those of TVM" in done.stdout


CHANGED = """
import dataclasses, sys
import npu_relax as npu
import numpy as np
taken = npu.extract
def extract(function):
    record = taken(function)
    port = getattr(record, sys.argv[2])
    changes = {"scale": port.scale * np.float32(1.02), "zero_point": port.zero_point + np.int32(1)}
    wrong = dataclasses.replace(port, **{sys.argv[3]: changes[sys.argv[3]]})
    return dataclasses.replace(record, **{sys.argv[2]: wrong})
npu.extract = extract
import relax_compare
sys.exit(relax_compare.main([sys.argv[1]]))
"""


@pytest.mark.parametrize(
    ("model", "port", "member"),
    [
        ("conv2d", "x", "zero_point"),
        ("conv2d", "w", "scale"),
        ("fc_bias", "bias", "scale"),
        ("dwconv", "w", "scale"),
        ("fc_bias", "y", "scale"),
        ("add", "x2", "scale"),
        ("mul", "x", "zero_point"),
        ("mean", "y", "zero_point"),
        ("sigmoid", "x", "scale"),
    ],
)
def test_a_wrong_number_in_a_record_shows(
    model: str, port: str, member: str, example: Path
) -> None:
    done = run(example, "-c", CHANGED, MODELS / "ops" / f"{model}.tflite", port, member)
    assert done.returncode == 1, done.stderr
    assert "numbers are not those of TVM" in done.stdout


ORDER = """
import sys
import real_kernels, relax_compare
forwards = real_kernels.products
real_kernels.products = lambda left, right: forwards(left[..., ::-1], right[::-1])
sys.exit(relax_compare.main(sys.argv[1:]))
"""


def test_sums_in_another_order_show(example: Path) -> None:
    """From the last term to the first."""
    model = MODELS / "resnet8_cifar_int8.tflite"
    done = run(example, "-c", ORDER, model, "--inputs", 20)
    assert done.returncode == 1, done.stderr
    assert " of 200 numbers are not those of TVM, by at most 1\n" in done.stdout


def test_a_model_of_which_nothing_is_taken_is_no_success(example: Path) -> None:
    done = run(example, "relax_compare.py", MODELS / "ops" / "softmax.tflite")
    assert done.returncode == 1
    assert "composites 0, functions 0" in done.stdout


def test_a_model_that_the_frontend_refuses_is_said(example: Path) -> None:
    done = run(example, "relax_compare.py", MODELS / "ops" / "pad.tflite")
    assert (done.returncode, done.stdout) == (1, "")
    assert "pad.tflite is not read: The following quantized TFLite operators" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_compiled_patterns_it_says_what_to_do(tmp_path: Path) -> None:
    done = run(copied(tmp_path / "example"), "relax_compare.py", DS_CNN)
    assert done.returncode == 1
    assert COMPILE["relax"] in done.stderr


# ---- what it is made of --------------------------------------------------------------------


def told(folder: Path, case: str, environment: str = VERSIONS[0]) -> Any:
    """What a case of bare/relax_modules.py finds."""
    done = run(folder, CASES.name, case, MODELS, environment=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_program_has_nothing_of_tvm_in_it(example: Path) -> None:
    assert told(example, "programs") == [14, False]


def test_the_kernels_know_nothing_of_tvm(example: Path) -> None:
    done = run(example, "-c", "import sys, real_kernels, program; print('tvm' in sys.modules)")
    assert (done.returncode, done.stdout) == (0, "False\n"), done.stderr


@each_version
def test_two_models_of_one_structure_do_not_meet(environment: str, example: Path) -> None:
    assert told(example, "two", environment) == [True, True, True, 2]


@each_version
def test_regions_have_several_results(environment: str, example: Path) -> None:
    found, wanted, described, ran = told(example, "several", environment)
    assert found == wanted
    assert [len(set(each)) > 20 for each in wanted] == [True] * 3
    assert described.splitlines() == [
        "composites 3, functions 2",
        "  on the host: relax.cos 1, relax.dequantize 1, relax.quantize 1",
    ]
    assert ran == {"abs": 1, "sigmoid": 1, "tanh": 1}


@each_version
def test_activations_cut_at_their_bounds(environment: str, example: Path) -> None:
    # (127 + 7) * 0.05 / 0.0625 + 3 is 110, and 6 / 0.0625 + 3 is 99.
    wanted = [[True, 3, 110]] * 2 + [[True, 3, 99]] * 2
    assert told(example, "activations", environment) == [*wanted, 4]


@pytest.mark.parametrize("environment", VERSIONS if LONG else VERSIONS[:1])
def test_random_convolutions(environment: str, example: Path) -> None:
    """Equal in real numbers, off by one at most in integers; a depth multiplier is left."""
    found = told(example, "convolutions", environment)
    composites = {kind: each["composites"] for kind, each in found.items()}
    assert composites == {"plain": 5, "grouped": 5, "depthwise": 5, "multiplied": 0}
    assert [each["real"] for each in found.values()] == [0] * 4
    assert all(each["most"] <= 1 for each in found.values())


@each_version
def test_what_it_refuses(environment: str, example: Path) -> None:
    decimal, first, second = told(example, "refused", environment)
    assert "ValueError: the arithmetic of npu is real or integer, not decimal" in decimal
    assert first is None
    assert "ValueError: there is a function fused_relax_dequantize_relax_sigmoid" in second
