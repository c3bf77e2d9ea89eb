"""import_model: what each kind of file becomes, and what is said of files that cannot be read."""

from __future__ import annotations

import json
import os
import random
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tflite
import tvm
from tvm import relay

from qpat.diagnostics import QpatError
from qpat.relay.environment import listening, meaning, reason, require_package
from qpat.relay.importing import ImportedModel, import_model
from qpat.relay.text import relay_text
from tests.models import DATA, IMPORTABLE, NOT_IMPORTABLE, ONNX, ROOT, TFLITE

HEADER = '#[version = "0.0.5"]\n'
Import = Callable[[str], ImportedModel]


def refusal(path: Path, **rest: Any) -> Any:
    """The one finding that importing a file gives, checked to be fit for a reader."""
    with pytest.raises(QpatError) as caught:
        import_model(path, **rest)
    (finding,) = caught.value.diagnostics
    assert finding.place is not None and finding.place.startswith(str(path))
    for text in (finding.message, finding.hint or ""):
        assert "\n" not in text and "Traceback" not in text and ".cc" not in text
        assert len(text) < 700
    assert finding.message.strip(" :") == finding.message
    return finding


def written(path: Path, data: bytes | str) -> Path:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


# ---- the models there are ----


def test_every_model_is_listed() -> None:
    found = [*DATA.rglob("*.tflite"), *DATA.rglob("*.onnx")]
    names = {path.relative_to(DATA).as_posix() for path in found}
    assert names == {*IMPORTABLE, *NOT_IMPORTABLE}


@pytest.mark.parametrize("name", IMPORTABLE)
def test_imports(name: str, imported: Import) -> None:
    model = imported(name)
    assert [str(var.name_hint) for var in model.module.get_global_vars()] == ["main"]
    parameters = {str(parameter.name_hint) for parameter in model.module["main"].params}
    assert set(model.params) < parameters
    assert model.source.endswith(name)


@pytest.mark.parametrize("name", NOT_IMPORTABLE)
def test_does_not_import(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    finding = refusal(DATA / name)
    assert finding.code == "QP312"
    assert NOT_IMPORTABLE[name] in finding.message
    assert finding.hint
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "name", ["tflite/ds_cnn_kws_int8.tflite", "tflite/op_soup_nol2_int8.tflite"]
)
def test_module_is_the_frontends(name: str, imported: Import) -> None:
    model = tflite.Model.GetRootAsModel((DATA / name).read_bytes(), 0)
    module, params = relay.frontend.from_tflite(model)
    assert tvm.ir.structural_equal(imported(name).module, module)
    assert set(imported(name).params) == set(params)
    for key, value in params.items():
        np.testing.assert_array_equal(imported(name).params[key].numpy(), value.numpy())


def test_onnx_parameters_are_constants(imported: Import) -> None:
    for name in ONNX:
        graph = onnx.load(str(DATA / name)).graph
        inputs = [str(parameter.name_hint) for parameter in imported(name).module["main"].params]
        assert inputs == [value.name for value in graph.input]
        assert imported(name).params == {}


def test_types_of_inputs_are_the_files(imported: Import) -> None:
    def first(name: str) -> Any:
        return imported(f"tflite/{name}.tflite").module["main"].params[0].type_annotation

    assert first("ds_cnn_kws_int8") == relay.TensorType((1, 49, 10, 1), "int8")
    assert first("resnet8_cifar_uint8io") == relay.TensorType((1, 32, 32, 3), "uint8")
    assert first("ds_cnn_kws_int8_floatio") == relay.TensorType((1, 49, 10, 1), "float32")


def test_progress_is_told_and_stdout_is_left_alone(capfd: pytest.CaptureFixture[str]) -> None:
    said: list[str] = []
    import_model(DATA / "tflite/ops/add.tflite", said.append)
    assert said == ["importing add.tflite"]
    assert capfd.readouterr() == ("", "")


# ---- files that are no models ----


def test_missing_file(tmp_path: Path) -> None:
    finding = refusal(tmp_path / "none.tflite")
    assert (finding.code, finding.message) == (
        "QP310",
        "cannot read the model: No such file or directory",
    )


def test_folder(tmp_path: Path) -> None:
    (tmp_path / "model.tflite").mkdir()
    assert refusal(tmp_path / "model.tflite").code == "QP310"


def test_unknown_suffix(tmp_path: Path) -> None:
    finding = refusal(written(tmp_path / "model.pb", "x"))
    assert finding.code == "QP311"
    assert "`.pb`" in finding.message
    assert finding.hint == "it reads .tflite, .onnx, .relay, .rly, .txt, .json"


def test_suffix_in_capitals(tmp_path: Path) -> None:
    data = (DATA / "tflite/ops/add.tflite").read_bytes()
    assert import_model(written(tmp_path / "ADD.TFLITE", data)).module["main"]


@pytest.mark.parametrize("suffix", [".tflite", ".onnx", ".relay", ".txt", ".json"])
@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "the file is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "Git LFS"),
        (random.Random(1).randbytes(5000), ""),
        (b"\0" * 100, ""),
        (b"\n", ""),
    ],
    ids=["empty", "lfs", "random", "zeros", "newline"],
)
def test_no_model_at_all(
    tmp_path: Path, suffix: str, data: bytes, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    finding = refusal(written(tmp_path / f"model{suffix}", data))
    assert finding.code == "QP311"
    assert said in finding.message
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["conv2d", "fc_bias", "concat"])
def test_cut_off_tflite(tmp_path: Path, name: str) -> None:
    data = (DATA / f"tflite/ops/{name}.tflite").read_bytes()
    # Behind the last tensor's data there may be nothing but padding.
    for length in range(8, len(data) - 16, max(1, len(data) // 60)):
        finding = refusal(written(tmp_path / "cut.tflite", data[:length]))
        assert (finding.code, "damaged or cut off" in finding.message) == ("QP311", True)


def test_damaged_tflite_is_refused_or_imported(tmp_path: Path) -> None:
    chance = random.Random(7)
    codes = set()
    for _ in range(400):
        data = bytearray((DATA / "tflite/ops/conv2d.tflite").read_bytes())
        for _ in range(chance.choice([1, 3, 10])):
            data[chance.randrange(8, len(data))] = chance.randrange(256)
        try:
            import_model(written(tmp_path / "damaged.tflite", bytes(data)))
        except QpatError as error:
            codes.add(error.diagnostics[0].code)
    assert codes == {"QP311", "QP312"}


@pytest.mark.parametrize("kept", [0.9, 0.5, 0.01])
def test_cut_off_onnx(tmp_path: Path, kept: float) -> None:
    data = (DATA / "onnx/resnet_dyn_u8.onnx").read_bytes()
    finding = refusal(written(tmp_path / "cut.onnx", data[: int(len(data) * kept)]))
    assert (finding.code, "this is no ONNX model" in finding.message) == ("QP311", True)


# ---- what the TFLite frontend fails on ----


class Edited:
    """A TFLite file in which single values are changed where they stand."""

    def __init__(self, name: str) -> None:
        self.data = bytearray((DATA / f"tflite/ops/{name}.tflite").read_bytes())

    @property
    def model(self) -> Any:
        return tflite.Model.GetRootAsModel(self.data, 0)

    @property
    def graph(self) -> Any:
        return self.model.Subgraphs(0)

    def put(self, table: Any, field: int, layout: str, value: int) -> None:
        """Writes a number into a field of a table, by the field's place in its vtable."""
        offset = table._tab.Offset(field)
        assert offset, "the field has to be there"
        struct.pack_into(layout, self.data, table._tab.Pos + offset, value)

    def put_vector(self, table: Any, field: int, elements: bytes, count: int) -> None:
        """Writes a vector behind all else and makes a field refer to it."""
        self.data += bytes(-len(self.data) % 16 + 12)
        place = table._tab.Pos + table._tab.Offset(field)
        struct.pack_into("<I", self.data, place, len(self.data) - place)
        self.data += struct.pack("<I", count) + elements

    def save(self, folder: Path) -> Path:
        return written(folder / "edited.tflite", bytes(self.data))


def test_per_channel_dense_weights(tmp_path: Path) -> None:
    edited = Edited("fc")
    weights = edited.graph.Tensors(edited.graph.Operators(0).Inputs(1)).Quantization()
    edited.put_vector(weights, 8, np.full(4, 0.5, "<f4").tobytes(), 4)
    weights = edited.graph.Tensors(edited.graph.Operators(0).Inputs(1)).Quantization()
    edited.put_vector(weights, 10, bytes(32), 4)
    finding = refusal(edited.save(tmp_path))
    assert finding.code == "QP312"
    assert "FULLY_CONNECTED has one scale per channel" in finding.message
    assert "_experimental_disable_per_channel_quantization_for_dense_layers" in finding.hint


def test_unknown_operator(tmp_path: Path) -> None:
    edited = Edited("abs")
    for index in range(edited.model.OperatorCodesLength()):
        if edited.model.OperatorCodes(index).BuiltinCode() == tflite.BuiltinOperator.ABS:
            edited.put(edited.model.OperatorCodes(index), 4, "<b", 127)
            edited.put(edited.model.OperatorCodes(index), 10, "<i", 150)
    assert "it does not know the operator 'GELU'" in refusal(edited.save(tmp_path)).message


def test_constant_in_a_product_of_tensors(tmp_path: Path) -> None:
    edited = Edited("batch_matmul")
    graph = edited.graph
    left, right = graph.Operators(0).InputsAsNumpy()
    # No longer an input of the graph: nobody makes it then.
    edited.put_vector(graph, 6, struct.pack("<i", left), 1)
    message = refusal(edited.save(tmp_path)).message
    name = graph.Tensors(int(right)).Name().decode()
    assert f"BATCH_MATMUL has a constant operand, `{name}`" in message


def test_several_subgraphs(monkeypatch: pytest.MonkeyPatch) -> None:
    one = tflite.Model.Subgraphs
    monkeypatch.setattr(tflite.Model, "SubgraphsLength", lambda self: 2)
    monkeypatch.setattr(tflite.Model, "Subgraphs", lambda self, index: one(self, 0))
    assert "control flow" in refusal(DATA / "tflite/ops/add.tflite").message


def test_unsupported_attribute_is_told_with_its_operator(tmp_path: Path) -> None:
    # The kernel of a convolution in groups that do not divide its channels.
    edited = Edited("conv2d")
    kernel = edited.graph.Tensors(edited.graph.Operators(0).Inputs(1))
    shape = kernel.ShapeAsNumpy().copy()
    shape[3] -= 1
    edited.put_vector(kernel, 4, shape.astype("<i4").tobytes(), len(shape))
    finding = refusal(edited.save(tmp_path))
    assert finding.code == "QP312"
    assert "frontend cannot import this model: CONV_2D: " in finding.message
    assert "tvm.ir.save_json" in finding.hint


# ---- what the ONNX frontend fails on ----


def onnx_model(tmp_path: Path, operator: str, *shapes: list[Any], **attributes: Any) -> Path:
    """A model of one operator on inputs x0, x1, …"""
    helper, float32 = onnx.helper, onnx.TensorProto.FLOAT
    names = [f"x{index}" for index in range(len(shapes))]
    inputs = [
        helper.make_tensor_value_info(name, float32, shape)
        for name, shape in zip(names, shapes, strict=True)
    ]
    output = helper.make_tensor_value_info("y", float32, None)
    node = helper.make_node(operator, names, ["y"], **attributes)
    graph = helper.make_graph([node], "graph", inputs, [output])
    opset = [helper.make_opsetid("", 13)]
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), str(path))
    return path


def test_symbolic_batch_size_is_one(tmp_path: Path) -> None:
    said: list[str] = []
    model = import_model(onnx_model(tmp_path, "Relu", ["N", 3, 8, 8]), said.append)
    (parameter,) = model.module["main"].params
    assert parameter.type_annotation == relay.TensorType((1, 3, 8, 8), "float32")
    assert "input x0: batch size N is taken as 1" in said


def test_other_symbolic_dimension(tmp_path: Path) -> None:
    finding = refusal(onnx_model(tmp_path, "Relu", [1, 3, "height", 8]))
    assert finding.code == "QP312"
    assert "dimension 2 of input `x0` is not fixed but `height`" in finding.message
    assert "make_dynamic_shape_fixed" in finding.hint


def test_input_without_a_shape(tmp_path: Path) -> None:
    path = onnx_model(tmp_path, "Relu", [1, 3])
    model = onnx.load(str(path))
    model.graph.input[0].type.tensor_type.ClearField("shape")
    onnx.save(model, str(path))
    assert "input `x0` has no shape" in refusal(path).message


def test_unknown_onnx_operator(tmp_path: Path) -> None:
    message = refusal(onnx_model(tmp_path, "Frobnicate", [1, 3])).message
    assert "it does not know the operator Frobnicate" in message


def test_onnx_operator_that_does_not_fit_its_operands(tmp_path: Path) -> None:
    message = refusal(onnx_model(tmp_path, "Conv", [1, 3, 8, 8], [3, 3])).message
    assert message.startswith("TVM's ONNX frontend cannot import this model: Conv: ")


def test_onnx_tensor_that_nothing_makes(tmp_path: Path) -> None:
    path = onnx_model(tmp_path, "Relu", [1, 3])
    model = onnx.load(str(path))
    model.graph.node[0].input[0] = "elsewhere"
    onnx.save(model, str(path))
    assert "it uses the tensor 'elsewhere'" in refusal(path).message


def test_onnx_data_in_another_file(tmp_path: Path) -> None:
    model = onnx.load(str(DATA / "onnx/resnet_qdq_u8s8.onnx"))
    path = tmp_path / "model.onnx"
    onnx.save(model, str(path), save_as_external_data=True, location="data", size_threshold=0)
    (tmp_path / "data").unlink()
    assert refusal(path).code == "QP311"


# ---- Relay text and JSON ----


def test_relay_text(tmp_path: Path, model: Callable[[str], Any]) -> None:
    module = model("tflite/ops/conv2d.tflite")
    read = import_model(written(tmp_path / "model.relay", relay_text(module)))
    assert tvm.ir.structural_equal(read.module, module)
    assert (read.params, read.source) == ({}, f"Relay text {tmp_path / 'model.relay'}")


def test_json(tmp_path: Path, model: Callable[[str], Any]) -> None:
    module = model("tflite/ops/conv2d.tflite")
    read = import_model(written(tmp_path / "model.json", tvm.ir.save_json(module)))
    assert tvm.ir.structural_equal(read.module, module)
    function = import_model(written(tmp_path / "f.json", tvm.ir.save_json(module["main"])))
    assert tvm.ir.structural_equal(function.module["main"], module["main"])


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("def @main(%x: int8) { %x }", 1, 'does not begin with `#[version = "0.0.5"]`'),
        (HEADER + "def @main(%x: int8) {\n  nn.rleu(%x)\n}", 3, "operator `nn.rleu` not found"),
        (HEADER + "def @main(%x: int8) {\n  add(%x, %yy)\n}", 3, "`%yy` is not defined"),
        (HEADER + "def @main(%x: int8) {\n  %0 = nn.relu(%x);\n  add(%0, %1)\n}", None, "%1"),
        (HEADER + "def @main(%x: int8) {\n  add(%x, meta[K][0])\n}", 3, "they are not in it"),
        (HEADER + "def @main(%x: int8) {\n  add(%x)\n}", 3, "too few arguments"),
        (HEADER + "def @main(%x: int8, %y: int32) {\n  add(%x, %y)\n}", 2, "int8 and int32"),
        (HEADER + "def @main(%x:0: int8) { %x }", 2, "failed to parse type found Integer"),
        (
            HEADER + "def @main(%x: int8) {\n  clip(%x, a_min=0f, a_max=1f, z=1)\n}",
            None,
            "does not have field 'z'",
        ),
        (HEADER + "def @main(%x: int8) {\n  nn.relu(%x", 3, "expected a `)` found  end of file"),
        (HEADER + 'def @main(%x: int8) { %x }\n#[metadata]\n{"root": 1', None, "is no JSON"),
        (HEADER, None, "has no function"),
    ],
)
def test_faulty_text(
    tmp_path: Path, text: str, line: int | None, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "model.relay", text)
    finding = refusal(path)
    assert finding.code == "QP311"
    assert " ".join(said.split()) in finding.message
    where = str(path) if line is None else f"{path}:{line}"
    assert finding.place == where or finding.place.rpartition(":")[0] == where
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 100_000, "is no JSON"),
        ("{}", "has no nodes"),
        (json.dumps({"root": 3, "nodes": [{"type_key": ""}]}), "is damaged"),
        (json.dumps({"root": 0, "nodes": [{"type_key": "Array", "data": [9]}]}), "is damaged"),
        (tvm.ir.save_json(relay.const(1)), "of a module is needed; this is of a Constant"),
        (tvm.ir.save_json(tvm.IRModule()), "has no function"),
    ],
)
def test_faulty_json(tmp_path: Path, text: str, said: str) -> None:
    finding = refusal(written(tmp_path / "model.json", text))
    assert (finding.code, said in finding.message) == ("QP311", True), finding.message


def test_cut_off_json(tmp_path: Path, model: Callable[[str], Any]) -> None:
    text = tvm.ir.save_json(model("tflite/ops/conv2d.tflite"))
    for length in range(0, len(text) - 1, 200):
        assert refusal(written(tmp_path / "model.json", text[:length])).code == "QP311"


# ---- what TVM says ----


def test_meaning_of_errors() -> None:
    with pytest.raises(tvm.TVMError) as caught:
        relay.parse(HEADER + "def @main(%x: int8) { %7 }")
    assert "Traceback" in str(caught.value)
    assert meaning(caught.value) == "Local variable %7 has not yet been defined"
    assert meaning(AssertionError()) == "AssertionError"
    assert len(meaning(ValueError("word " * 1000))) == 300
    backtrace = 'Traceback:\n  1: f()\n  File "a.cc", line 3\n'
    said = f"{backtrace}InternalError: Check failed: (a == b) is false: no"
    assert meaning(ValueError(said)) == "no"


def test_listening_ends(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(tvm.error.DiagnosticError) as caught, listening() as heard:
        relay.parse("x")
    assert reason(caught.value, heard).startswith("expected text format semantic version")
    assert capfd.readouterr() == ("", "")
    with pytest.raises(tvm.error.DiagnosticError):
        relay.parse("x")
    assert "expected text format semantic version" in "".join(capfd.readouterr())


def test_listening_gives_back_the_callers_renderer() -> None:
    heard: list[Any] = []
    tvm.ir.diagnostics.override_renderer(heard.append)
    try:
        with listening():
            pass
        with pytest.raises(tvm.error.DiagnosticError):
            relay.parse("x")
    finally:
        tvm.ir.diagnostics.override_renderer(None)
    assert len(heard) == 1


# ---- which TVM ----


def python(code: str, *folders: Path, cwd: Path | None = None) -> tuple[str, str]:
    """What a fresh Python prints that finds modules in `folders` first."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (*folders, ROOT)))},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout, done.stderr


FIND = """
from qpat.diagnostics import QpatError
from qpat.relay.environment import require_relay
try:
    print(require_relay().__version__)
except QpatError as error:
    (finding,) = error.diagnostics
    print(finding.code, finding.message, finding.hint, sep="|")
"""
WITHOUT = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {name!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
"""


def test_tvm_is_found() -> None:
    assert python(FIND) == (f"{tvm.__version__}\n", "")


def test_no_tvm() -> None:
    out, err = python(WITHOUT.format(name="tvm") + FIND)
    assert out.startswith('QP301|this needs TVM, which is not installed|pip install "qpat[relay]"')
    assert err == ""


def test_tvm_without_relay(tmp_path: Path) -> None:
    (tmp_path / "tvm").mkdir()
    written(tmp_path / "tvm/__init__.py", "__version__ = '0.21.0'\nprint('noise')\n")
    out, err = python(FIND, tmp_path)
    assert out.startswith("QP302|TVM 0.21.0 has no Relay: it was removed in TVM 0.20|")
    assert err == "noise\n"


def test_folder_that_is_called_tvm() -> None:
    code = "import sys, types\ntvm = sys.modules['tvm'] = types.ModuleType('tvm')\n"
    out, _ = python(f"{code}tvm.__path__ = ['some/tvm']\n{FIND}")
    assert out.startswith("QP301|what Python finds as `tvm` is not TVM but some/tvm|rename that")


def test_folder_in_which_tvm_cannot_be_imported(tmp_path: Path) -> None:
    # TVM makes a folder where it is imported; where this is gone, it cannot.
    code = f"import os, sys\nsys.path.insert(0, {str(ROOT)!r})\nos.rmdir(os.getcwd())\n"
    (tmp_path / "gone").mkdir()
    out, _ = python(code + FIND, cwd=tmp_path / "gone")
    assert out.startswith("QP301|TVM cannot be imported: ")
    assert out.endswith("|TVM makes a folder where it is imported: run where you can write\n")


@pytest.mark.parametrize(
    ("name", "pip"), [("tqdm", '"tqdm"'), ("tflite", '"tflite>=2.18,<3"'), ("scipy", '"scipy"')]
)
def test_package_that_tvm_needs(name: str, pip: str) -> None:
    out, _ = python(WITHOUT.format(name=name) + FIND)
    said = f"QP303|TVM needs the Python package {name}, which is not installed|pip install {pip}\n"
    assert out == said


def test_broken_tvm(tmp_path: Path) -> None:
    (tmp_path / "tvm").mkdir()
    written(tmp_path / "tvm/__init__.py", "raise OSError('libtvm.so: undefined symbol')\n")
    out, _ = python(FIND, tmp_path)
    assert out.startswith("QP301|TVM cannot be imported: libtvm.so: undefined symbol|")


def test_onnx_that_the_frontend_cannot_use(monkeypatch: pytest.MonkeyPatch) -> None:
    # As it is from onnx 1.19 on.
    monkeypatch.setitem(sys.modules, "onnx.mapping", None)
    with pytest.raises(QpatError) as caught:
        import_model(DATA / "onnx/resnet_qdq_u8s8.onnx")
    (finding,) = caught.value.diagnostics
    assert finding.code == "QP303"
    assert f"TVM's ONNX frontend does not work with onnx {onnx.__version__}" in finding.message
    assert finding.hint == 'pip install "onnx>=1.16,<1.19"'


@pytest.mark.parametrize(("name", "file"), [("tflite", TFLITE[0]), ("onnx", ONNX[0])])
def test_package_that_a_frontend_needs(
    name: str, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(QpatError) as caught:
        import_model(DATA / file)
    assert caught.value.diagnostics[0].code == "QP303"
    with pytest.raises(QpatError, match="QP303"):
        require_package(name, "this test")


def test_importing_qpat_imports_no_tvm() -> None:
    modules = ("environment", "graph", "importing", "prepare", "text")
    code = "".join(f"import qpat.relay.{name}\n" for name in modules)
    out, err = python(f"import sys\n{code}print([n for n in sys.modules if n.startswith('tvm')])")
    assert (out, err) == ("[]\n", "")
