"""Modules for Relax on TVM 0.26 and 0.27, where qpat is not installed: small modules written by
hand, and models as the TFLite and ONNX frontends of Relax import them."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qpat.compiler import compile_file
from tests.targets.bare.environments import printed, python_of

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
DATA = ROOT / "tests" / "data"
VERSIONS = ("relax-0.27", "relax-0.26")

X, X2, Y = ["x", 0.5, 1], ["x2", 0.75, 2], ["y", 0.25, 3]
SIGMOID = ["both.sigmoid", X, Y]
ADD = ["both.add", X, X2, Y]
# For each case of bare/relax_cases.py: the composites, what stays on the host, what the patterns
# form without prepare() and checks (the outputs counted), what prepare() warns of.
CASES: dict[str, tuple[list[Any], list[str], Any, str]] = {
    "sigmoid": ([SIGMOID], [], ["both.sigmoid -> 1"], ""),
    "sigmoid outside of a dataflow block": ([SIGMOID], [], [], ""),
    "sigmoid of another dtype": (
        [],
        ["dequantize", "sigmoid", "quantize"],
        ["both.sigmoid -> 1"],
        "",
    ),
    "conv2d": (
        [
            [
                "both.conv2d",
                X,
                ["w", [0.1, 0.2, 0.3, 0.4], 0],
                ["bias", [0.05, 0.1, 0.15, 0.2], 0],
                Y,
            ]
        ],
        [],
        ["both.conv2d -> 1"],
        "",
    ),
    "conv2d with folded weights": (
        [],
        ["dequantize", "nn.conv2d", "add", "quantize", "clip"],
        [],
        "FoldConstant",
    ),
    "sigmoid that is lowered": ([], ["call_tir"] * 3, [], "LegalizeOps"),
    "leak to an operator": (
        [],
        ["dequantize", "sigmoid", "quantize", "exp"],
        ["both.sigmoid -> 2"],
        "",
    ),
    "leak to the result": ([], ["dequantize", "sigmoid", "quantize"], ["both.sigmoid -> 2"], ""),
    "dead user": ([SIGMOID], [], ["both.sigmoid -> 2"], ""),
    "shared dequantize": ([SIGMOID, ["both.tanh", X, Y]], [], ["both.sigmoid -> 2"], ""),
    # TVM takes the dequantize away from the first of the two, and calls what is left a sigmoid.
    "interleaved regions": (
        [SIGMOID, ["both.sigmoid", X, ["y", 0.5, 3]]],
        [],
        ["both.sigmoid -> 1", "both.sigmoid -> 2"],
        "",
    ),
    "dequantize that is given out": ([SIGMOID], ["dequantize"], ["both.sigmoid -> 2"], ""),
    "regions behind integers": (
        [SIGMOID, ["both.tanh", X, Y]],
        ["concat"],
        ["both.sigmoid -> 2"],
        "",
    ),
    "hard_swish": ([["both.hard_swish", X, Y]], [], ["both.hard_swish -> 1"], ""),
    "tuple that is bound": ([["both.concatenate2", X, X2, Y]], [], "cyclic dependency", ""),
    "add": ([ADD], [], ["both.add -> 1"], ""),
    "add, constant first": (
        [["both.add", ["x", 0.75, 2], ["x2", 0.5, 1], Y]],
        [],
        ["both.add -> 1"],
        "",
    ),
    "scale of zero": ([], ["dequantize", "sigmoid", "quantize"], ["both.sigmoid -> 1"], ""),
    "scale of infinity": ([], ["dequantize", "sigmoid", "quantize"], ["both.sigmoid -> 1"], ""),
    "scale that is computed": ([], ["dequantize", "sigmoid", "quantize"], [], ""),
}

each_version = pytest.mark.parametrize("environment", VERSIONS)
Generated = Callable[[str, str], Path]


@pytest.fixture(scope="session")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Generated:
    @cache
    def made(name: str, target: str) -> Path:
        path = tmp_path_factory.mktemp("generated") / f"{name}_{target}.py"
        file = HERE / "both.qpat" if name == "both" else LIBRARY / f"{name}.qpat"
        text = compile_file(file, target).text
        path.write_text(text, encoding="utf-8")
        return path

    return made


@each_version
def test_small_modules(generated: Generated, environment: str) -> None:
    script = HERE / "bare" / "relax_cases.py"
    told = printed(python_of(environment), script, generated("both", "relax"))
    found = json.loads(told.splitlines()[-1])
    pool = ["both.max_pool2d", X, ["y", 0.5, 1]]
    unknown = ["both.max_pool2d", ["x", None, None], ["y", None, None]]
    assert found.pop("inherited") == [pool, pool, unknown]
    assert found.keys() == CASES.keys()
    for name, (composites, host, unchecked, said) in CASES.items():
        assert found[name]["composites"] == composites, name
        assert found[name]["host"] == [f"relax.{each}" for each in host], name
        assert found[name]["unchecked"] == unchecked, name
        assert len(found[name]["said"]) == bool(said), name
        assert all(said in each for each in found[name]["said"]), name


# ---- models --------------------------------------------------------------------------------

# What the frontend of 0.26 refuses is left out there.
ON_BOTH = ["ad_autoencoder_int8"]
ON_BOTH += [
    f"ops/{name}"
    for name in (
        *("abs", "add", "add_const", "add_relu", "add_self", "concat", "conv2d", "conv2d_1x1"),
        *("conv2d_bias_relu6", "conv2d_group2", "elu", "exp", "fc", "fc_bias", "fc_bias_relu"),
        *("hard_swish", "leaky_relu", "log_softmax", "maximum", "mean", "minimum", "mul", "neg"),
        *("reduce_max", "relu", "relu6", "reshape", "resize_bilinear", "sigmoid", "softmax"),
        *("square", "squared_difference", "sub", "sub_relu", "sum", "swish", "tanh"),
        "transpose_conv_bias",
    )
]
ON_027 = ["ds_cnn_kws_int8", "ds_cnn_kws_int8_floatio", "legacy_uint8_fq", "qat_tfmot_int8"]
ON_027 += ["resnet8_cifar_int8", "resnet8_cifar_uint8io", "ops/dwconv", "ops/dwconv_bias_relu6"]
ON_027 += ["ops/max_pool", "ops/avg_pool", "ops/avg_pool_relu", "ops/mul_scalar"]
MODELS = [(VERSIONS[0], name) for name in (*ON_BOTH, *ON_027)]
MODELS += [(VERSIONS[1], name) for name in ON_BOTH]
# Those of one operator are run, too, on 0.27. TVM lowers no transposed convolution of this layout.
RUN = [n for _, n in MODELS if n.startswith("ops/") and n != "ops/transpose_conv_bias"]
# What no pattern takes, on Relay neither: ELU.
HOST = {"ops/elu": ["exp", "subtract", "nn.relu", "multiply", "nn.relu", "add"]}
LIBRARY = Path(__file__).parents[2] / "patterns"
ONNX = ["resnet_qdq_s8s8_pc", "resnet_qdq_u8s8"]


@cache
def outcomes(environment: str, module: Path, *models: Path, compute: bool) -> dict[str, Any]:
    """What the script says of models; all at once, because TVM takes its time to load."""
    options = ["--compute"] if compute else []
    script = HERE / "bare" / "run_relax.py"
    told = printed(python_of(environment), script, module, *models, *options)
    found: dict[str, Any] = json.loads(told.splitlines()[-1])
    return {Path(name).stem: each for name, each in found.items()}


@pytest.mark.parametrize(("environment", "model"), MODELS)
def test_records_are_those_of_relay(generated: Generated, environment: str, model: str) -> None:
    """With the library's patterns. What composites of single operators compute is the same bit for
    bit, on 0.27."""
    path = DATA / "tflite" / f"{model}.tflite"
    is_run = model in RUN and environment == VERSIONS[0]
    here = [name for version, name in MODELS if version == environment]
    together = [name for name in here if (name in RUN) == (model in RUN)]
    paths = [DATA / "tflite" / f"{name}.tflite" for name in together]
    module = generated("tflite", "relax")
    found = outcomes(environment, module, *paths, compute=is_run)[path.stem]
    assert found["host"] == [f"relax.{each}" for each in HOST.get(model, [])]
    ours = alike(found["records"])
    theirs = alike(relay_records(generated("tflite", "relay"), path))
    assert [text for text, _ in ours] == [text for text, _ in theirs]
    for (_, scales), (_, others) in zip(ours, theirs, strict=True):
        # Relax has the bias's scale from the file, Relay's frontend multiplies two of them.
        assert np.allclose(scales, others, rtol=2.0**-22, atol=0.0)


@pytest.mark.parametrize("model", ["sigmoid", "tanh", "abs", "exp", "conv2d_group2"])
def test_calculated_parameters_are_those_of_relay(generated: Generated, model: str) -> None:
    """Tables, multipliers and shifts."""
    path = DATA / "tflite" / "ops" / f"{model}.tflite"
    [ours] = outcomes(VERSIONS[0], generated("both", "relax"), path, compute=False)[model][
        "records"
    ]
    [theirs] = relay_records(generated("both", "relay"), path)
    named = ("multiplier", "shift") if model == "conv2d_group2" else ("table",)
    assert all(ours[name] == theirs[name] and ours[name] is not None for name in named)


@cache
def relay_records(generated: Path, model: Path) -> list[Any]:
    script = HERE / "bare" / "run_generated.py"
    told = printed(Path(sys.executable), script, generated, model, "--qpat-is-here")
    records: list[Any] = json.loads(told[told.index("[\n") :])
    return records


# Attributes that only Relay's calls have, and one whose default is another.
RELAYS = ("allowzero", "channels", "kernel_size", "cubic_alpha")
# The limits of a RELU on its own are real numbers on Relax. A SUM is what it says there.
MEANT_OTHERWISE = ("tflite.relu", "tflite.reduce_sum")
# In integers these say nothing of their tensors: on Relay the module around them does.
INHERITING = ("tflite.maximum", "tflite.minimum")


def alike(records: list[Any]) -> list[tuple[str, list[float]]]:
    """Records in one order, and the scales of each bias, less what the frontends make different:
    all of it is listed here."""
    texts = []
    has_dense = any(each["composite"] == "tflite.dense" for each in records)
    for record in records:
        # Relay has a reshape before each dense layer.
        if has_dense and record["composite"] == "tflite.reshape":
            continue
        same = dict(record)
        scales = []
        if same.get("bias") is not None:
            same["bias"] = dict(same["bias"])
            scales = [float.fromhex(each) for each in same["bias"].pop("scale")["values"]]
        if record["composite"] == "tflite.depthwise_conv2d":
            # HWOI, or 1HWC with a reshape behind: the same numbers in the same order.
            same["w"] = {k: v for k, v in same["w"].items() if k not in ("axis", "layout", "shape")}
            same["w"]["value"] = same["w"]["value"]["values"]
        if record["composite"] in INHERITING:
            ports = {name: dict(same[name]) for name in ("x", "x2", "y")}
            spaces = {str((each.pop("scale"), each.pop("zero_point"))) for each in ports.values()}
            assert len(spaces) == 1
            same |= ports
        meaning = same.pop("meaning", None)
        if record["composite"] not in MEANT_OTHERWISE:
            same["meaning"] = meant_alike(meaning)
        if isinstance(meaning, dict) and meaning["op"] == "nn.bias_add":
            # From the back: a dense layer has more dimensions on Relax, see below.
            same["meaning"]["attributes"]["axis"] -= len(record["y"]["shape"])
        # Behind a dense layer of more dimensions the sizes of 1 stay.
        text = re.sub(r"\[1(, 1)+, ", "[1, ", json.dumps(same, sort_keys=True))
        texts.append((text, scales))
    return sorted(texts)


def meant_alike(real: Any) -> Any:
    """A meaning, less what the frontends make different."""
    if not isinstance(real, dict) or "op" not in real:
        return real
    operands = [meant_alike(each) for each in real["operands"]]
    if (real["op"], operands) == ("reshape", ["w"]):
        return "w"  # of a depthwise convolution, see above
    # Relay keeps truth values as numbers and an `out_layout` that is not set as it is.
    told = {k: int(v) if isinstance(v, bool) else v for k, v in real["attributes"].items()}
    if told.get("out_layout") == "":
        told["out_layout"] = told.get("data_layout") or told["layout"]
    attributes = {name: value for name, value in told.items() if name not in RELAYS}
    return {"op": real["op"], "operands": operands, "attributes": attributes}


@each_version
@pytest.mark.parametrize("model", ONNX)
def test_onnx(generated: Generated, environment: str, model: str) -> None:
    """All of it, with the library's patterns; the numbers are those of the file."""
    import onnx

    paths = [DATA / "onnx" / f"{name}.onnx" for name in ONNX]
    module = generated("onnx", "relax")
    found = outcomes(environment, module, *paths, compute=environment == VERSIONS[0])[model]
    assert found["host"] == []
    graph = onnx.load(DATA / "onnx" / f"{model}.onnx").graph
    kinds = [node.op_type for node in graph.node]
    composites = [each["composite"] for each in found["records"]]
    for name, kind in (("conv2d", "Conv"), ("add", "Add"), ("dense", "Gemm"), ("relu", "Relu")):
        assert composites.count(f"onnx.{name}") == kinds.count(kind), name
    # The scales of every convolution's weights, by way of the node that dequantizes them.
    constants = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
    made_by = {node.output[0]: node for node in graph.node}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    wanted = [constants[made_by[each.input[1]].input[1]].ravel().tolist() for each in convolutions]
    scales = [
        [float.fromhex(each) for each in record["w"]["scale"]["values"]]
        for record in found["records"]
        if record["composite"] == "onnx.conv2d"
    ]
    assert sorted(scales) == sorted(wanted)


# ---- the table and the text ------------------------------------------------------------------


@each_version
def test_table_is_what_tvm_builds(environment: str) -> None:
    script = ROOT / "tools" / "dump_relax_ops.py"
    command = [str(python_of(environment)), "-I", str(script), "--check"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


@pytest.mark.parametrize("name", ["both", "onnx", "tflite"])
def test_text(generated: Generated, name: str) -> None:
    """Imports TVM, NumPy and the standard library only; nothing in it is defined twice."""
    tree = ast.parse(generated(name, "relax").read_text(encoding="utf-8"))
    imported = {
        (node.module if isinstance(node, ast.ImportFrom) else alias.name).partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert imported - set(sys.stdlib_module_names) == {"numpy", "tvm"}
    defined = [n.name for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef)]
    assert len(defined) == len(set(defined))


# The patterns of the library that Relax cannot say: its frontend refuses what they are for.
ON_RELAY_ALONE = {
    "tflite": {"DepthToSpace", "MirrorPad", "Pad", "SpaceToDepth", "StridedSlice"},
    "both": set(),
}


@pytest.mark.parametrize("name", ["both", "tflite"])
def test_record_classes_are_those_of_relay(generated: Generated, name: str) -> None:
    """The fields of Tensor, Real and every record, in their order."""
    classes = []
    for target in ("relax", "relay"):
        tree = ast.parse(generated(name, target).read_text(encoding="utf-8"))
        classes.append(
            {
                node.name: [
                    ast.unparse(each.target)
                    for each in node.body
                    if isinstance(each, ast.AnnAssign)
                ]
                for node in tree.body
                if isinstance(node, ast.ClassDef) and node.decorator_list
            }
        )
    ours, theirs = classes
    assert theirs.keys() - ours.keys() == ON_RELAY_ALONE[name]
    assert ours == {each: theirs[each] for each in ours}
    assert len(ours) > 10


@each_version
def test_work_grows_with_the_module_and_no_faster(generated: Generated, environment: str) -> None:
    """Each composite is read once, for its check, its record and its attribute together; rows whose
    calls are not there cost nothing. How long it takes is benchmarks/relax.py's."""
    script, module = HERE / "bare" / "relax_work.py", generated("tflite", "relax")
    told = printed(python_of(environment), script, module, 5, 50)
    found = json.loads(told.splitlines()[-1])
    rows = found["branching"]["rows"]
    assert rows > 80
    for layers in (5, 50):
        work = {"rows": rows, "given": 8, "read": layers, "composites": layers}
        assert found[str(layers)] == work
    # In a branch nobody looks beforehand.
    assert found["branching"] == {"rows": rows, "given": rows, "read": 1, "composites": 1}
