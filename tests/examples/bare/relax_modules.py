"""Small Relax modules through the example of a code generator, where there is nothing but TVM.

    python relax_modules.py CASE MODELS

Runs in the folder of the example, its patterns compiled. Prints what a case finds as JSON; what it
should find is in tests/examples/test_numpy_codegen_relax.py. Runs on TVM 0.26 and 0.27.
"""

from __future__ import annotations

import json
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import npu_relax as npu
import numpy as np
import relax_codegen
import relax_compare
from comparison import imported
from program import runs
from tvm import relax

X = np.arange(-128, 128).astype("int8")


def main(case: str, models: str) -> None:
    print(json.dumps(CASES[case](Path(models))))


def computed(machine: Any, values: Any) -> list[Any]:
    return [each.tolist() for each in relax_compare.results(machine, [values])]


def constant(values: Any, dtype: str) -> Any:
    return relax.const(np.asarray(values, dtype), dtype)


def dequantized(
    value: Any, scale: Any, zero_point: Any, dtype: str = "int32", axis: int = 0
) -> Any:
    return relax.op.dequantize(
        value, constant(scale, "float32"), constant(zero_point, dtype), axis=axis
    )


def quantized(value: Any, scale: Any, zero_point: Any) -> Any:
    scale, zero_point = constant(scale, "float32"), constant(zero_point, "int32")
    return relax.op.quantize(value, scale, zero_point, axis=0, out_dtype="int8")


def module_of(shape: tuple[int, ...], body: Callable[[Any, Any], Any]) -> Any:
    """A module of one int8 input. `body` takes the function that binds a value, and the input."""
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType(shape, "int8"))
    with builder.function("main", [x]):
        with builder.dataflow():
            y = builder.emit_output(body(builder.emit, x))
        builder.emit_func_output(y)
    return builder.get()


# ---- cases ---------------------------------------------------------------------------------


def programs(models: Path) -> Any:
    """The number of steps, and whether something of TVM is in them."""
    model = imported(models / "resnet8_cifar_int8.tflite", relax_compare.from_tflite)
    functions = npu.offload(model).functions.values()
    regions = [each for each in functions if relax_codegen.is_region(each)]
    text = pickle.dumps([relax_codegen.program_of(each) for each in regions])
    return [sum(len(each.steps) for each in pickle.loads(text)), b"tvm" in text]


def two(models: Path) -> Any:
    """Two models for which TVM makes the same symbols, at once: whether it does, and whether both
    compute what they should."""

    def sigmoid(scale: float) -> Any:
        def body(emit: Any, x: Any) -> Any:
            real = emit(relax.op.sigmoid(emit(dequantized(x, scale, 0))))
            return emit(quantized(real, 1 / 256, 0))

        return module_of((256,), body)

    modules = [sigmoid(0.05), sigmoid(0.02)]
    names = [[each.name_hint for each in npu.offload(m).get_global_vars()] for m in modules]
    together = [relax_compare.machine(relax_codegen.offload(each)) for each in modules]
    alone = [relax_compare.machine(each) for each in modules]
    wanted, found = ([computed(each, X) for each in ways] for ways in (alone, together))
    return [names[0] == names[1], wanted == found, wanted[0] != wanted[1], runs["sigmoid"]]


def several(models: Path) -> Any:
    """Two composites of one region are results, and one is an input of the other; the host computes
    between two regions."""

    def body(emit: Any, x: Any) -> Any:
        def step(operator: Any, value: Any, scale: float, out: float) -> Any:
            real = emit(operator(emit(dequantized(value, scale, 0))))
            return emit(quantized(real, out, 0))

        a = step(relax.op.sigmoid, x, 0.05, 1 / 128)
        b = step(relax.op.tanh, a, 1 / 128, 1 / 128)
        c = step(relax.op.cos, b, 1 / 128, 1 / 128)
        d = step(relax.op.abs, c, 1 / 128, 1 / 100)
        return relax.Tuple([a, d, b])

    module = module_of((256,), body)
    found = computed(relax_compare.machine(relax_codegen.offload(module)), X)
    wanted = computed(relax_compare.machine(module), X)
    return [found, wanted, relax_compare.described(npu.offload(module)), dict(runs)]


def activations(models: Path) -> Any:
    """ReLU and ReLU6 in both arithmetics, at a zero point where they cut something off, which those
    of models are not: whether TVM computes the same, and the least and greatest result."""

    def activation(operator: Any, *bounds: int) -> Any:
        def body(emit: Any, x: Any) -> Any:
            real = emit(operator(emit(dequantized(x, 0.05, -7)), *bounds))
            return emit(quantized(real, 0.0625, 3))

        return module_of((256,), body)

    found = []
    for module in (activation(relax.op.nn.relu), activation(relax.op.clip, 0, 6)):
        [wanted] = computed(relax_compare.machine(module), X)
        for arithmetic in ("real", "integer"):
            offloaded = relax_codegen.offload(module, arithmetic)
            [numbers] = computed(relax_compare.machine(offloaded), X)
            found.append([wanted == numbers, min(numbers), max(numbers)])
    return [*found, runs["requantize"]]


def refused(models: Path) -> Any:
    """What RunCodegen says to an arithmetic that there is not, and to a symbol that is taken."""

    def said(*arguments: Any) -> str | None:
        model = imported(models / "ops" / "sigmoid.tflite", relax_compare.from_tflite)
        try:
            relax.transform.RunCodegen(*arguments)(npu.offload(model))
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return None

    return [said({"npu": {"arithmetic": "decimal"}}), said(), said()]


def convolutions(models: Path) -> Any:
    """Convolutions with strides, padding, dilation, channels, zero points and scales, all of them
    drawn. By kind: the composites; how many numbers are not TVM's in reals and in integers, and by
    how much they differ at most."""
    random = np.random.default_rng(11)
    return {kind: compared(random, kind) for kind in KINDS}


def compared(random: Any, kind: str) -> dict[str, int]:
    found = {"composites": 0, "real": 0, "integer": 0, "most": 0}
    for _ in range(5):
        module = convolution(random, kind)
        inputs = random.integers(-128, 128, (2, 9, 8, 6)).astype("int8")
        [wanted] = relax_compare.results(relax_compare.machine(module), [inputs])
        found["composites"] += len(npu.composites(npu.offload(module)))
        for arithmetic in ("real", "integer"):
            machine = relax_compare.machine(relax_codegen.offload(module, arithmetic))
            [numbers] = relax_compare.results(machine, [inputs])
            assert numbers.shape == wanted.shape
            apart = np.abs(numbers.astype(int) - wanted)
            found[arithmetic] += int(np.sum(apart != 0))
            found["most"] = max(found["most"], int(np.max(apart)))
    return found


# Groups, outputs and the layout of the weights, for 6 inputs.
KINDS = {
    "plain": (1, 5, "HWIO"),
    "grouped": (3, 9, "HWIO"),
    "depthwise": (6, 6, "HWOI"),
    "multiplied": (6, 12, "HWOI"),
}


def convolution(random: Any, kind: str) -> Any:
    groups, outputs, layout = KINDS[kind]
    window = random.integers(1, 4, 2).tolist()
    axis = layout.index("O")
    shape = [*window, 6 // groups, outputs] if layout == "HWIO" else [*window, outputs, 1]
    x_scale = np.float32(random.uniform(0.01, 0.1))
    w_scale = random.uniform(0.001, 0.02, outputs if random.integers(2) else ()).astype("float32")
    w_zero = np.zeros(w_scale.shape)
    weights = constant(random.integers(-127, 128, shape), "int8")
    biases = constant(random.integers(-2000, 2000, outputs), "int32")
    called = {
        "strides": random.integers(1, 3, 2).tolist(),
        "padding": random.integers(0, 3, 4).tolist(),
        "dilation": random.integers(1, 3, 2).tolist(),
    }

    def body(emit: Any, x: Any) -> Any:
        real = emit(dequantized(x, x_scale, random.integers(-128, 128)))
        w = emit(dequantized(weights, w_scale, w_zero, "int8", axis))
        acc = relax.op.nn.conv2d(
            real, w, **called, groups=groups, data_layout="NHWC", kernel_layout=layout
        )
        acc = emit(acc)
        if random.integers(3):
            acc = emit(relax.op.add(acc, emit(dequantized(biases, w_scale * x_scale, w_zero))))
        return emit(quantized(acc, random.uniform(0.02, 0.3), random.integers(-128, 128)))

    return module_of((2, 9, 8, 6), body)


CASES: dict[str, Callable[[Path], Any]] = {
    "programs": programs,
    "two": two,
    "several": several,
    "activations": activations,
    "refused": refused,
    "convolutions": convolutions,
}

if __name__ == "__main__":
    main(*sys.argv[1:])
