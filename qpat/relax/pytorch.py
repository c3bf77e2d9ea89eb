"""PyTorch exports, quantized by PT2E, as Relax modules.

PT2E writes quantization as operators of the namespace `quantized_decomposed`
(torch/ao/quantization/fx/_decomposed.py), for which TVM's importer of exported programs has no
converter (tvm/relax/frontend/torch/exported_program_translator.py, TVM 0.26 and 0.27). Here are
those converters: they write relax.quantize and relax.dequantize with scales and zero points as
constants, which is what patterns match. Nothing here imports torch, and TVM is imported late.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from qpat.diagnostics import Diagnostic, QpatError, failure
from qpat.records import dataclass
from qpat.relay.environment import REQUIREMENTS, meaning, require_package, unfit_package

_NAMESPACE = "quantized_decomposed"
_PURPOSE = "importing a PyTorch export"

_PER_TENSOR = ("input", "scale", "zero_point", "quant_min", "quant_max", "dtype")
_PER_CHANNEL = ("input", "scales", "zero_points", "axis", "quant_min", "quant_max", "dtype")
# The operators that can be converted, with the names of their operands.
_OPERANDS = {
    f"{verb}_per_{what}.{overload}": operands
    for verb in ("quantize", "dequantize")
    for what, overload, operands in (
        ("tensor", "default", _PER_TENSOR),
        ("tensor", "tensor", _PER_TENSOR),
        ("tensor", "tensor2", _PER_TENSOR),
        ("channel", "default", _PER_CHANNEL),
    )
}
# What relax.quantize can give and relax.dequantize can take (src/relax/op/tensor/qdq.cc), less
# floats: those PyTorch rounds otherwise.
_QUANTIZED = ("int8", "uint8", "int16", "uint16")
_DEQUANTIZED = (*_QUANTIZED, "int32")

_COMPUTES = "it computes scale and zero point as the program runs: dynamic quantization"
_UNKNOWN = "Relax has no counterpart of it"

Converter = Callable[[Any, Any], Any]


def convert_map(program: Any) -> dict[str, Converter]:
    """Converters for the operators of an exported program that quantize and dequantize.

    They are for `from_exported_program(program, custom_convert_map=...)` of TVM 0.26 or 0.27, and
    for that program alone, decomposed or not: scales and zero points are read out of its
    parameters, buffers and constants, and stand in the Relax module as constants of float32 and
    int32. A quantize that is limited to fewer integers than its dtype has is followed by a clip. A
    parameter that the program quantizes as it runs is quantized here, by PyTorch's rule.

    Raises QP360 where an operator cannot be converted, for all of them at once: scale or zero point
    is computed as the program runs, or is no integer; a dtype is not of 8 or 16 bits; or it is
    another operator of `quantized_decomposed`. Needs neither TVM nor torch.
    """
    constants = _constants(program)
    findings = [found for node in _nodes(program) for found in _faults(node, constants)]
    if findings:
        raise QpatError(findings)

    def convert(node: Any, importer: Any) -> Any:
        return _converted(node, importer, constants)

    return dict.fromkeys(_OPERANDS, convert)


def import_exported_program(
    program: Any,
    custom_convert_map: Mapping[str, Converter] | None = None,
    *,
    decompose: bool = False,
) -> Any:
    """The Relax module of a `torch.export.ExportedProgram` that PT2E has quantized.

    Operators are imported as they are: `hardswish` or `linear` in three dimensions are easier to
    match whole. With `decompose` PyTorch decomposes them into core operators before, as
    `from_exported_program` does where nothing else is said; TVM has converters for more of those.
    `custom_convert_map` has converters for further operators, in TVM's format, which come before
    those of `convert_map`. The function `main` gives a tuple. The program is not changed.

    Raises QP303 where TVM is missing or not 0.26 or 0.27, or torch is missing, QP360 as
    `convert_map` does, and QP361 where TVM has no converter for an operator or fails otherwise.
    """
    converters = {**convert_map(program), **(custom_convert_map or {})}
    from_exported_program = _importer()
    try:
        # The types of inputs, which TVM 0.26 reads, are there behind any decomposition: also of
        # nothing. Without them it gives an input the type of a parameter.
        made = program.run_decompositions() if decompose else program.run_decompositions({})
        return from_exported_program(
            made, custom_convert_map=converters, run_ep_decomposition=False
        )
    except QpatError:
        raise
    # Refusals and faults of TVM and PyTorch come as exceptions of any kind.
    except Exception as error:
        message = f"TVM's importer refuses this program: {meaning(error)}"
        hint = None if decompose else "try it with `decompose=True`: TVM has more core operators"
        raise failure("QP361", message, hint=hint) from None


# ---- reading a program ---------------------------------------------------------------------------


@dataclass(frozen=True)
class _Quantization:
    """What an operator says. Scale, its inverse (both float32) and zero point (int32) are single
    numbers, or vectors along `axis`; integers lie within `least` and `most`."""

    data: Any
    scale: Any
    inverse: Any
    zero_point: Any
    axis: int
    least: int
    most: int
    dtype: str


class _Unsaid(Exception):
    """Why an operator cannot be converted."""


def _constants(program: Any) -> dict[str, Any]:
    """What the placeholders of a program stand for, by their names: tensors that it never changes.

    Source: torch.export.graph_signature, whose names a decomposition keeps.
    """
    signature = program.graph_signature
    named = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    changed = set(signature.buffers_to_mutate.values())
    tensors = {**program.constants, **program.state_dict}
    return {
        name: tensors[target]
        for name, target in named.items()
        if target in tensors and target not in changed
    }


def _nodes(program: Any) -> Iterator[Any]:
    """The calls of `quantized_decomposed` operators, also in branches."""
    for module in program.graph_module.modules():
        for node in module.graph.nodes if hasattr(module, "graph") else ():
            if node.op == "call_function" and getattr(node.target, "namespace", "") == _NAMESPACE:
                yield node


def _faults(node: Any, constants: Mapping[str, Any]) -> Iterator[Diagnostic]:
    try:
        _quantization(node, constants)
    except _Unsaid as unsaid:
        operator = f"{_NAMESPACE}.{node.target.__name__}"
        yield Diagnostic("QP360", f"`{node.name}` ({operator}): {unsaid}")


def _quantization(node: Any, constants: Mapping[str, Any]) -> _Quantization:
    operator = str(node.target.__name__)
    names = _OPERANDS.get(operator)
    if names is None:
        raise _Unsaid(_COMPUTES if "choose_qparams" in operator else _UNKNOWN)
    said = {**dict(zip(names, node.args, strict=False)), **node.kwargs}
    dtype = _dtype(said["dtype"], _DEQUANTIZED if "dequantize" in operator else _QUANTIZED)
    # `None` stands for float32, and other results PyTorch computes with less precision than TVM.
    if said.get("out_dtype") is not None:
        _dtype(said["out_dtype"], ("float32",))
    read, limits = _Reader(said, constants), np.iinfo(dtype)
    if "axis" in said:
        scale, zero_point = read.numbers("scales"), read.integers("zero_points")
    else:
        # PyTorch makes Python's numbers of them.
        scale = read.single("scale", read.numbers("scale")).astype(np.float64)
        zero_point = read.single("zero_point", read.integers("zero_point"))
    return _Quantization(
        said["input"],
        scale.astype(np.float32),
        np.reciprocal(scale).astype(np.float32),
        np.broadcast_to(zero_point, scale.shape),
        int(said.get("axis", 0)),
        max(int(read.integers("quant_min")), limits.min),
        min(int(read.integers("quant_max")), limits.max),
        dtype,
    )


def _dtype(given: Any, known: tuple[str, ...]) -> str:
    """The name of a dtype of torch's, which NumPy and TVM have too."""
    name = str(given).removeprefix("torch.")
    if name not in known:
        raise _Unsaid(f"{name} where Relax has {', '.join(known)}")
    return name


class _Reader:
    """Reads the operands of a call that are to be constants."""

    def __init__(self, said: Mapping[str, Any], constants: Mapping[str, Any]) -> None:
        self.said = said
        self.constants = constants

    def numbers(self, name: str) -> Any:
        """An operand as a NumPy array."""
        given = self.said[name]
        if not hasattr(given, "op"):
            return np.asarray(given)
        if _constant(given, self.constants) is None:
            by = "an input" if given.op == "placeholder" else f"computed by `{given.name}`"
            raise _Unsaid(f"its {name} is not constant but {by}")
        return _array(_constant(given, self.constants))

    def integers(self, name: str) -> Any:
        """The same of int32; 0 where there is none, as for zero points."""
        if self.said[name] is None:
            return np.int32(0)
        found = self.numbers(name)
        whole = found.astype(np.int32)
        if not np.array_equal(whole, found):
            raise _Unsaid(f"its {name} is no integer of 32 bits")
        return whole

    def single(self, name: str, found: Any) -> Any:
        """The one number of an array."""
        if found.size != 1:
            raise _Unsaid(f"its {name} has {found.size} numbers where one is wanted")
        return found.reshape(())


def _constant(value: Any, constants: Mapping[str, Any]) -> Any:
    """The tensor that a node of the program's own graph stands for; None for any other value.

    The graph of a branch has placeholders of its own, whose names may be the same.
    """
    if getattr(value, "op", None) != "placeholder" or value.name not in constants:
        return None
    names = {node.name for node in value.graph.nodes if node.op == "placeholder"}
    return constants[value.name] if names.issuperset(constants) else None


def _array(tensor: Any) -> Any:
    return tensor.detach().cpu().numpy()


# ---- writing Relax -------------------------------------------------------------------------------


def _converted(node: Any, importer: Any, constants: Mapping[str, Any]) -> Any:
    """The variable that a call is bound to. `importer` is TVM's, with what nodes are in `env`."""
    relax = importlib.import_module("tvm.relax")
    emit = importer.block_builder.emit
    try:
        found = _quantization(node, constants)
    except _Unsaid as unsaid:
        # Of another program than that of the map, whose faults are known.
        raise failure("QP360", f"`{node.name}`: {unsaid}") from None
    scale = relax.const(found.scale, "float32")
    zero_point = relax.const(found.zero_point, "int32")
    if str(node.target.__name__).startswith("dequantize"):
        return emit(relax.op.dequantize(importer.env[found.data], scale, zero_point, found.axis))
    tensor = _constant(found.data, constants)
    if tensor is not None:
        return relax.const(_quantized(_array(tensor), found))
    data = importer.env[found.data]
    if str(data.ty.dtype) != "float32":
        data = emit(relax.op.astype(data, "float32"))
    whole = emit(relax.op.quantize(data, scale, zero_point, found.axis, found.dtype))
    limits = np.iinfo(found.dtype)
    if (found.least, found.most) == (limits.min, limits.max):
        return whole
    return emit(relax.op.clip(whole, found.least, found.most))


def _quantized(numbers: Any, found: _Quantization) -> Any:
    """Numbers as integers, in float32 and by the inverse of the scale, as PyTorch does it."""
    shape = [1] * numbers.ndim
    if found.scale.ndim:
        shape[found.axis] = -1
    whole = np.rint(numbers.astype(np.float32) * found.inverse.reshape(shape))
    whole = whole + found.zero_point.reshape(shape)
    return np.clip(whole, found.least, found.most).astype(found.dtype)


# ---- TVM -----------------------------------------------------------------------------------------


def _importer() -> Any:
    """TVM's `from_exported_program`."""
    version = str(getattr(require_package("tvm", _PURPOSE), "__version__", "of no version"))
    if not version.startswith(("0.26.", "0.27.")):
        message = f"{_PURPOSE} needs TVM 0.26 or 0.27, and this is {version}"
        raise failure("QP303", message, hint=f'pip install "{REQUIREMENTS["tvm"]}"')
    try:
        return importlib.import_module("tvm.relax.frontend.torch").from_exported_program
    except ImportError as error:
        raise unfit_package("torch", _PURPOSE, error) from None
