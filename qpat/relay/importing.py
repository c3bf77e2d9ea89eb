"""Model files to modules: TFLite and ONNX on both IRs; Relay text and TVM's JSON on Relay.

Whatever is wrong with a file is one QpatError: QP310 it cannot be read, QP311 it is no model of the
kind its name says, QP312 TVM's frontend cannot import it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qpat.diagnostics import QpatError, failure
from qpat.relay.environment import (
    Heard,
    installed_ir,
    listening,
    matching,
    meaning,
    reason,
    relay_parser,
    require_package,
    require_relay,
    require_tvm,
    unfit_package,
)
from qpat.relay.tflite_file import is_damage, whole_model

Progress = Callable[[str], None]

_OTHER_TVM = {
    "relay": "if another version of TVM imports it, write that module with tvm.ir.save_json and "
    "give qpat the .json file",
    "relax": "TVM with Relay may import it",
}


@dataclass(frozen=True, eq=False)
class ImportedModel:
    """A module as the frontend gave it, the parameters that are not in it, and where it is from."""

    module: Any = field(repr=False)
    params: dict[str, Any] = field(repr=False)
    source: str


def is_path(model: Any) -> bool:
    """Whether a model is given as a path. Raises TypeError where it is no module either."""
    if isinstance(model, str | os.PathLike):
        return True
    require_tvm()
    if not matching().is_module(model):
        raise TypeError(f"a model is a path or an IRModule, not of type {type(model).__name__}")
    return False


def model_of(
    model: Any, params: Mapping[str, Any] | None, progress: Progress | None
) -> tuple[Any, dict[str, Any]]:
    """The module of a path or a module, and what is to be bound in it: `params`, and those of a
    file that they do not replace. Raises what import_model() raises."""
    if not is_path(model):
        return model, dict(params or {})
    imported = import_model(model, progress)
    return imported.module, {**imported.params, **(params or {})}


def import_model(path: str | Path, progress: Progress | None = None) -> ImportedModel:
    """Imports a model by the suffix of its file: .tflite, .onnx, .relay, .rly, .txt or .json.

    `progress` is told of each step that may take long. A symbolic batch size of ONNX becomes 1.
    Raises QP301 to QP303 where TVM or a package is missing, and QP310 to QP312.
    """
    path = Path(path)
    data = _read(path)
    read = _READERS.get(path.suffix.lower())
    if read is None:
        message = f"qpat reads no models of the kind `{path.suffix}`"
        raise failure("QP311", message, place=str(path), hint=f"it reads {', '.join(_READERS)}")
    require_tvm()
    return read(path, data, progress or (lambda text: None))


def _read(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        why = error.strerror or str(error)
        raise failure("QP310", f"cannot read the model: {why}", place=str(path)) from None
    if not data:
        raise _no_model(path, "the file is empty")
    if data.startswith(b"version https://git-lfs"):
        message = "this is not the model but what Git LFS keeps in its place"
        raise _no_model(path, message, hint="git lfs pull")
    return data


def _pass_on(heard: Heard, progress: Progress) -> None:
    for warning in heard.warnings:
        progress(f"TVM warns: {warning}")


def _no_model(path: Path, message: str, hint: str | None = None) -> QpatError:
    return failure("QP311", message, place=str(path), hint=hint)


# ---- what frontends say --------------------------------------------------------------------------


@dataclass(frozen=True)
class _Cause:
    """A known reason why a frontend fails: how to tell it, what it means and what helps.

    `says` is searched in the frontend's message. Its groups and the operator at which the frontend
    was can be named in `means`.
    """

    says: str
    means: str
    hint: str


@dataclass(frozen=True)
class _Frontend:
    """A frontend, what it is known to fail on, and the function and its variable that hold the
    name of the operator which it converts."""

    name: str
    causes: tuple[_Cause, ...]
    function: str
    variable: str

    def failure(self, path: Path, error: Exception, heard: Heard) -> QpatError:
        """The error that says why this frontend could not import a model."""
        said = reason(error, heard)
        operator = _local(error, self.function, self.variable)
        for cause in self.causes:
            found = re.search(cause.says, f"{type(error).__name__}: {said}")
            if found is not None:
                means = cause.means.format(*found.groups(), operator=operator or "an operator")
                return self.refusal(path, means, cause.hint)
        means = f"{operator}: {said}" if operator else said
        return self.refusal(path, means, _OTHER_TVM[installed_ir()])

    def refusal(self, path: Path, means: str, hint: str) -> QpatError:
        message = f"TVM's {self.name} frontend cannot import this model: {means}"
        return failure("QP312", message, place=str(path), hint=hint)


def _local(error: BaseException, function: str, variable: str) -> str | None:
    """The value that a variable had where the error passed through a function of that name."""
    traceback = error.__traceback__
    value = None
    while traceback is not None:
        frame = traceback.tb_frame
        if frame.f_code.co_name == function:
            value = frame.f_locals.get(variable)
        traceback = traceback.tb_next
    return value if isinstance(value, str) else None


def _frontends() -> Any:
    """The functions `from_tflite` and `from_onnx` of the TVM that is installed."""
    if installed_ir() == "relax":
        from qpat.relax import frontends

        return frontends
    from tvm import relay

    return relay.frontend


# ---- TFLite --------------------------------------------------------------------------------------

_TFLITE = _Frontend(
    "TFLite",
    (
        # Of the frontend of Relax.
        _Cause(
            r"quantized TFLite operators are not supported in frontend TFLite yet: (.*?)\. ",
            "it does not support {0} in integers",
            "TVM with Relay knows more operators; or leave those layers out of the model",
        ),
        _Cause(
            r"Unsupported input datatype for operation: float32",
            "it does not support activations of int16",
            "convert the model with activations of int8, or use TVM with Relay",
        ),
        _Cause(
            r"operators are not supported in frontend TFLite: (.*?)(?= The following|$)",
            "it does not know the operator {0}",
            "convert the model without it, for instance by writing the layer with other operators",
        ),
        _Cause(
            r"dynamic range quantization: (.*?)\. If you",
            "only the weights of {0} are quantized (dynamic range quantization)",
            "convert it with full integer quantization: give the converter a representative_dataset"
            " and set inference_input_type and inference_output_type to int8",
        ),
        _Cause(
            r"Expr is not a constant scalar",
            "{operator} has one scale per channel, and TVM takes a single one",
            "TensorFlow 2.19 and later quantize dense layers so; set converter."
            "_experimental_disable_per_channel_quantization_for_dense_layers = True",
        ),
        _Cause(
            r"quantized UNIDIRECTIONALSEQUENCELSTM",
            "it does not support the fused LSTM in integers",
            "convert the Keras layer with unroll=True",
        ),
        _Cause(
            r"(?i)TFLite quantized (\w+) operator is not supported",
            "it does not support {0} in integers",
            "leave that layer out of the model, or write it with other operators",
        ),
        _Cause(
            r"^KeyError: '(.*)'",
            "{operator} has a constant operand, `{0}`, where TVM expects a computed one",
            "write a product with a constant as a dense layer",
        ),
        _Cause(
            r"only support one subgraph",
            "it has more than one subgraph (control flow)",
            "convert the model without loops and conditions: unroll recurrent layers",
        ),
    ),
    "convert_op_to_relay",
    "op_code_str",
)


def _read_tflite(path: Path, data: bytes, progress: Progress) -> ImportedModel:
    if data[4:8] != b"TFL3":
        raise _no_model(path, "this is no TFLite model: bytes 4 to 8 are not TFL3")
    tflite = require_package("tflite", "reading a TFLite model")
    try:
        model = whole_model(tflite, data)
    except Exception:
        raise _damaged(path) from None
    progress(f"importing {path.name}")
    with listening() as heard:
        try:
            module, params = _frontends().from_tflite(model)
        except Exception as error:
            if is_damage(error):
                raise _damaged(path) from None
            raise _TFLITE.failure(path, error, heard) from None
    _pass_on(heard, progress)
    return ImportedModel(module, dict(params), f"TFLite model {path}")


def _damaged(path: Path) -> QpatError:
    return _no_model(path, "this TFLite model is damaged or cut off")


# ---- ONNX ----------------------------------------------------------------------------------------

_ONNX = _Frontend(
    "ONNX",
    (
        _Cause(
            r"operators are not supported for frontend ONNX: (.*)",
            "it does not know the operator {0}",
            "export the model without it",
        ),
        _Cause(
            r"^KeyError: (b?'.*')",
            "it uses the tensor {0}, which no operator before makes",
            "the file may be damaged: see what onnx.checker.check_model says to it",
        ),
    ),
    "_convert_operator",
    "op_name",
)
_QDQ_HINT = "quantize it with quant_format=QuantFormat.QDQ (onnxruntime.quantization)"


def _read_onnx(path: Path, data: bytes, progress: Progress) -> ImportedModel:
    onnx = require_package("onnx", "reading an ONNX model")
    try:
        # From the file and not from the data: large tensors may be in files beside it.
        model = onnx.load(str(path))
    except Exception as error:
        # The errors of protobuf, of which there are two implementations, and of external tensors.
        raise _no_model(path, f"this is no ONNX model: {meaning(error)}") from None
    if not model.graph.node:
        raise _no_model(path, "this is no ONNX model: it has no operators")
    shapes = _onnx_shapes(path, model, progress)
    progress(f"importing {path.name}, with its constants folded")
    with listening() as heard:
        try:
            module, params = _frontends().from_onnx(model, shape=shapes, freeze_params=True)
        except ImportError as error:
            raise unfit_package("onnx", "TVM's ONNX frontend", error) from None
        except Exception as error:
            raise _onnx_failure(path, model, error, heard) from None
    _pass_on(heard, progress)
    return ImportedModel(module, dict(params), f"ONNX model {path}")


def _onnx_failure(path: Path, model: Any, error: Exception, heard: Heard) -> QpatError:
    kinds = dict.fromkeys(str(node.op_type) for node in model.graph.node)
    integer = [kind for kind in kinds if kind.startswith("QLinear") or kind == "QGemm"]
    if not integer:
        return _ONNX.failure(path, error, heard)
    means = (
        f"it is in QOperator form ({', '.join(integer)}), which this version does not import "
        f"({reason(error, heard)})"
    )
    return _ONNX.refusal(path, means, _QDQ_HINT)


def _onnx_shapes(path: Path, model: Any, progress: Progress) -> dict[str, tuple[int, ...]]:
    """The shapes of the inputs, with 1 for a first dimension that is not fixed."""
    constants = {tensor.name for tensor in model.graph.initializer}
    shapes = {}
    for value in model.graph.input:
        if value.name not in constants:
            shapes[value.name] = _onnx_shape(path, value, progress)
    return shapes


def _onnx_shape(path: Path, value: Any, progress: Progress) -> tuple[int, ...]:
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        raise _ONNX.refusal(path, f"input `{value.name}` has no shape", "export it with one")
    shape = [int(dim.dim_value) for dim in tensor.shape.dim]
    if shape and shape[0] <= 0:
        name = tensor.shape.dim[0].dim_param or "?"
        progress(f"input {value.name}: batch size {name} is taken as 1")
        shape[0] = 1
    for index, size in enumerate(shape):
        if size <= 0:
            name = tensor.shape.dim[index].dim_param or "?"
            means = f"dimension {index} of input `{value.name}` is not fixed but `{name}`"
            hint = "fix it: python -m onnxruntime.tools.make_dynamic_shape_fixed"
            raise _ONNX.refusal(path, means, hint)
    return tuple(shape)


# ---- Relay text and JSON -------------------------------------------------------------------------

_ASTEXT = "write the text with module.astext(), not with print(module)"


def _read_text(path: Path, data: bytes, progress: Progress) -> ImportedModel:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _no_model(path, "this is no Relay text: it is not UTF-8") from None
    _, _, metadata = text.partition("\n#[metadata]")
    fault = _json_fault(metadata) if metadata else None
    if fault is not None:
        raise _no_model(path, f"cannot read this Relay text: its metadata section {fault}")
    progress(f"reading {path.name}")
    return _checked(path, parse_relay(text, str(path)), "Relay text")


def parse_relay(text: str, path: str) -> Any:
    """The module of a Relay text; `path` is what it is called in findings. Raises QP311, and QP302
    where TVM has no Relay."""
    parser = relay_parser()
    with listening() as heard:
        try:
            return parser.parse(text, path)
        except Exception as error:
            raise _text_failure(path, text, error, heard) from None


def _text_failure(path: str, text: str, error: Exception, heard: Heard) -> QpatError:
    said = reason(error, heard)
    first = heard.errors[0] if heard.errors else None
    place, hint = path, None
    if first is not None and first.line is not None:
        place = f"{path}:{first.line}:{first.column}"
    if said.startswith("expected text format semantic version"):
        said, hint = 'it does not begin with `#[version = "0.0.5"]`', _ASTEXT
    elif "null pointer" in said:
        said, line, hint = _undefined(text)
        place = f"{path}:{line}"
    return failure("QP311", f"cannot read this Relay text: {said}", place=place, hint=hint)


def _undefined(text: str) -> tuple[str, int, str | None]:
    """What a text uses without defining it, where TVM does not say: fault, line and hint."""
    body, metadata, _ = text.partition("#[metadata]")
    tensor = re.search(r"meta\[", body)
    if tensor and not metadata:
        line = body.count("\n", 0, tensor.start()) + 1
        return "it refers to tensors (`meta[…]`), but they are not in it", line, _ASTEXT
    name = r"%[A-Za-z_/][A-Za-z0-9_/]*"
    heads = " ".join(re.findall(r"(?:fn|def\s+@[\w/]+)\s*\([^)]*", body))
    defined = set(re.findall(rf"{name}(?=\s*[:{{])|(?:let|free_var)\s+({name})", body))
    known = defined | set(re.findall(rf"({name})\s*:", body)) | set(re.findall(name, heads))
    for used in re.finditer(name, body):
        if used.group() not in known:
            line = body.count("\n", 0, used.start()) + 1
            return f"`{used.group()}` is not defined", line, None
    return "it uses something that it does not define", 1, None


def _read_json(path: Path, data: bytes, progress: Progress) -> ImportedModel:
    tvm = require_relay()
    text = data.decode("utf-8", "replace")
    fault = _json_fault(text)
    if fault is not None:
        raise _no_model(path, f"this is no JSON of TVM: it {fault}")
    progress(f"reading {path.name}")
    with listening() as heard:
        try:
            loaded = tvm.ir.load_json(text)
        except Exception as error:
            message = f"this is no JSON of TVM: {reason(error, heard)}"
            raise _no_model(path, message) from None
    if type(loaded).__name__ == "Function":
        loaded = tvm.IRModule.from_expr(loaded)
    return _checked(path, loaded, "TVM's JSON")


def _json_fault(text: str) -> str | None:
    """What keeps a text from being TVM's JSON. TVM crashes on most that is not."""
    try:
        graph = json.loads(text)
    # Also RecursionError, for [[[[….
    except Exception as error:
        return f"is no JSON ({meaning(error)})"
    parts = graph if isinstance(graph, dict) else {}
    nodes, root = parts.get("nodes"), parts.get("root")
    if not isinstance(nodes, list) or not isinstance(root, int):
        return "has no nodes or no root"
    whole = all(isinstance(node, dict) and "type_key" in node for node in nodes)
    places = [root, *(place for node in nodes if whole for place in node.get("data", ()))]
    if not whole or not all(isinstance(p, int) and 0 <= p < len(nodes) for p in places):
        return "is damaged"
    return None


def _checked(path: Path, module: Any, kind: str) -> ImportedModel:
    import tvm

    if not isinstance(module, tvm.IRModule):
        found = type(module).__name__
        raise _no_model(path, f"{kind} of a module is needed; this is of a {found}")
    if not len(module.functions):
        raise _no_model(path, f"this {kind} has no function")
    return ImportedModel(module, {}, f"{kind} {path}")


_READERS: dict[str, Callable[[Path, bytes, Progress], ImportedModel]] = {
    ".tflite": _read_tflite,
    ".onnx": _read_onnx,
    ".relay": _read_text,
    ".rly": _read_text,
    ".txt": _read_text,
    ".json": _read_json,
}
