"""The example of a code generator, run as its README says, where qpat is not installed: its results
are TVM's bit for bit, and no longer where a record is wrong."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.examples import numpy_example
from tests.examples.numpy_example import COMPILE, DS_CNN, MODELS, copied, equal_kernels, shown
from tests.long_run import LONG

INPUTS = 3


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(tmp_path_factory.mktemp("example") / "numpy_codegen", {})


def compiled(folder: Path, changes: dict[str, str]) -> Path:
    return numpy_example.compiled(folder, "relay", changes)


def run(
    folder: Path, *words: object, environment: str = "tvm-0.16"
) -> subprocess.CompletedProcess[str]:
    return numpy_example.run(folder, environment, *words)


@pytest.mark.parametrize("environment", ["tvm-0.16", "tvm-0.9"])
def test_the_readme_shows_what_it_prints(example: Path, environment: str) -> None:
    printed = shown(f"python compare.py ../{DS_CNN.name}")
    done = run(example, "compare.py", DS_CNN, environment=environment)
    assert (done.returncode, done.stdout) == (0, printed), done.stderr


NETWORKS = {
    # A residual one.
    "resnet8_cifar_int8": {"add": 3, "avg_pool2d": 1, "conv2d": 9, "dense": 1, "reshape": 1},
    "ad_autoencoder_int8": {"dense": 10, "reshape": 10},
    # Splits on the host, regions of several results, constants and tuples between composites.
    "lstm_unrolled_int8": {"add": 16, "dense": 12, "mul": 18, "reshape": 13, "squeeze": 6},
}


@pytest.mark.parametrize("name", NETWORKS if LONG else list(NETWORKS)[:2])
def test_networks_are_equal_bit_for_bit(name: str, example: Path) -> None:
    done = run(example, "compare.py", MODELS / f"{name}.tflite", "--inputs", INPUTS)
    assert done.returncode == 0, done.stdout + done.stderr
    wanted = {kernel: count * INPUTS for kernel, count in NETWORKS[name].items()}
    assert equal_kernels(done.stdout, INPUTS) == {name: wanted}


def test_operators_are_equal_bit_for_bit(example: Path) -> None:
    """Each kernel where its result is the result of the model."""
    kernels = {
        "add": ["add", "add_const", "add_relu", "add_self"],
        "subtract": ["sub", "sub_relu"],
        "mul": ["mul", "mul_scalar", "swish", "greater_select"],
        "conv2d": [
            *("conv2d", "conv2d_1x1", "conv2d_bias_relu6"),
            *("conv2d_explicit_pad", "conv2d_group2"),
        ],
        "depthwise_conv2d": ["dwconv", "dwconv_bias_relu6"],
        "dense": ["fc", "fc_bias", "fc_bias_relu"],
        "avg_pool2d": ["avg_pool", "avg_pool_relu"],
        "max_pool2d": ["max_pool"],
        "concatenate": ["concat"],
        "mean": ["mean"],
        "pad": ["pad"],
        "relu": ["relu", "relu6"],
        "reshape": ["reshape", "strided_slice"],
        "expand_dims": ["pack"],
    }
    models = [MODELS / "ops" / f"{name}.tflite" for names in kernels.values() for name in names]
    done = run(example, "compare.py", *models, "--inputs", INPUTS)
    assert done.returncode == 0, done.stdout + done.stderr
    ran = equal_kernels(done.stdout, INPUTS)
    assert list(ran) == [model.stem for model in models]
    for kernel, names in kernels.items():
        for name in names:
            assert ran[name][kernel] >= INPUTS, name


# ---- it can fail --------------------------------------------------------------------------

WRONG = {
    "zero point of the input": ("- x.zero_point * reshape(", "+ x.zero_point * reshape(", "conv2d"),
    "no bias": ("(bias.value ?? 0) - x.zero_point * sum", "-x.zero_point * sum", "fc_bias"),
    "multiplier": (
        "fixed_point(unit / y.scale)",
        "fixed_point(1.01 * unit / y.scale)",
        "fc_bias",
    ),
    "the other side's scale": ("fixed_point(x2.scale / y.scale)", "fixed_point(1.0)", "sub"),
    "product without a side": ("scaled(f32(x.scale * x2.scale), y)", "scaled(x.scale, y)", "mul"),
    "scales of a concatenate": (
        "fixed_point(xs.scale / y.scale)",
        "fixed_point(xs.scale)",
        "concat",
    ),
    "fill of a pad": ("= fill.value", "= fill.value + 1", "pad"),
    "bound of a relu": ("clip_min = c.attrs.a_min", "clip_min = c.attrs.a_min + 8", "relu"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_parameter_shows(name: str, tmp_path: Path) -> None:
    old, new, model = WRONG[name]
    folder = compiled(tmp_path / "example", {old: new})
    done = run(folder, "compare.py", MODELS / "ops" / f"{model}.tflite")
    assert done.returncode == 1, done.stderr
    assert "numbers are not those of TVM" in done.stdout


CHANGED = """
import dataclasses, sys
import npu_patterns as npu
import numpy as np
taken = npu.extract
def extract(call):
    record = taken(call)
    port = getattr(record, sys.argv[2])
    wrong = dataclasses.replace(port, zero_point=port.zero_point + np.int8(1))
    return dataclasses.replace(record, **{sys.argv[2]: wrong})
npu.extract = extract
import compare
sys.exit(compare.main([sys.argv[1]]))
"""


@pytest.mark.parametrize(
    ("model", "port"),
    [("conv2d", "y"), ("conv2d_explicit_pad", "x"), ("add", "x"), ("add", "x2"), ("mean", "y")],
)
def test_a_wrong_zero_point_in_a_record_shows(model: str, port: str, example: Path) -> None:
    done = run(example, "-c", CHANGED, MODELS / "ops" / f"{model}.tflite", port)
    assert done.returncode == 1, done.stderr
    assert "numbers are not those of TVM" in done.stdout


def test_a_model_of_which_nothing_is_taken_is_no_success(example: Path) -> None:
    done = run(example, "compare.py", MODELS / "ops" / "tanh.tflite")
    assert done.returncode == 1
    assert "composites 0, functions 0" in done.stdout


# ---- what it is made of --------------------------------------------------------------------

PROGRAMS = """
import pickle, sys
import tflite
from tvm import relay
import codegen, npu_patterns as npu
bytes_ = open(sys.argv[1], "rb").read()
module = npu.offload(*relay.frontend.from_tflite(tflite.Model.GetRootAsModel(bytes_, 0)))
names = [each.name_hint for each in module.get_global_vars() if each.name_hint != "main"]
programs = [codegen.program_of(module[name]) for name in names]
text = pickle.dumps(programs)
print(sum(len(each.steps) for each in pickle.loads(text)), b"tvm" in text)
"""


def test_a_program_has_nothing_of_tvm_in_it(example: Path) -> None:
    done = run(example, "-c", PROGRAMS, MODELS / "resnet8_cifar_int8.tflite")
    assert (done.returncode, done.stdout) == (0, "15 False\n"), done.stderr


TWO = """
import sys
import numpy as np
import tflite
from tvm import relay
import compare, npu_patterns as npu
alone, together = [], []
for path in sys.argv[1:]:
    model = tflite.Model.GetRootAsModel(open(path, "rb").read(), 0)
    module, params = relay.frontend.from_tflite(model)
    offloaded = npu.offload(module, params)
    print([each.name_hint for each in offloaded.get_global_vars() if each.name_hint != "main"])
    alone.append(compare.executor(module, params))
    together.append(compare.executor(offloaded, {}))
[name] = [each.name_hint for each in offloaded["main"].params]
x = {name: (np.arange(384) % 256 - 128).astype("int8").reshape(1, 8, 8, 6)}
for one, other in zip(alone, together):
    print(np.array_equal(compare.results(one, x), compare.results(other, x)))
"""


def test_two_models_at_once_do_not_meet(example: Path) -> None:
    """Their symbols are the same."""
    done = run(
        example, "-c", TWO, *(MODELS / "ops" / f"{name}.tflite" for name in ("relu", "relu6"))
    )
    names, others, *same = done.stdout.splitlines()
    assert names == others
    assert (done.returncode, same) == (0, ["True", "True"]), done.stdout + done.stderr


def test_the_kernels_know_nothing_of_tvm(example: Path) -> None:
    done = run(example, "-c", "import sys, kernels; print('tvm' in sys.modules)")
    assert (done.returncode, done.stdout) == (0, "False\n"), done.stderr


def test_without_compiled_patterns_it_says_what_to_do(tmp_path: Path) -> None:
    folder = copied(tmp_path / "example")
    done = run(folder, "compare.py", DS_CNN)
    assert done.returncode == 1
    assert COMPILE["relay"] in done.stderr


def test_a_file_that_is_no_model_is_said(example: Path, tmp_path: Path) -> None:
    (tmp_path / "text.tflite").write_text("no model")
    done = run(example, "compare.py", tmp_path / "text.tflite", tmp_path / "none.tflite")
    assert (done.returncode, done.stdout) == (1, "")
    assert "text.tflite is not read: " in done.stderr
    assert "none.tflite is not read: [Errno 2] No such file" in done.stderr
    assert "Traceback" not in done.stderr
