"""Small Relax modules given to the module generated from tests/targets/both.qpat.

    python relax_cases.py GENERATED.py

Prints as JSON for each case: the composites with scale and zero point of every tensor; the names of
those that the same patterns form without their checks, or what TVM says where it dies; what
prepare() warns of. The module with composites must compute what the one without them does. Runs on
TVM 0.26 and 0.27.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import tvm
from run_relax import computed, host, load
from tvm import relax

op = relax.op


def f32(*values: float) -> Any:
    return relax.const(np.array(values if len(values) > 1 else values[0], "float32"))


def i32(*values: int) -> Any:
    return relax.const(np.array(values if len(values) > 1 else values[0], "int32"))


def var(name: str, shape: Any = (1, 4), dtype: str = "int8") -> Any:
    return relax.Var(name, relax.TensorType(shape, dtype))


def dequantize(x: Any, scale: float = 0.5, zero_point: int = 1, axis: int = 0) -> Any:
    return op.dequantize(x, f32(scale), i32(zero_point), axis=axis)


def quantize(x: Any, scale: float = 0.25, zero_point: int = 3, dtype: str = "int8") -> Any:
    return op.quantize(x, f32(scale), i32(zero_point), axis=0, out_dtype=dtype)


class Maker:
    """Makes the function `main`: each value is bound to a variable of its own."""

    def __init__(self, *params: Any, dataflow: bool = True) -> None:
        self.builder = relax.BlockBuilder()
        self.params = list(params)
        self.dataflow = dataflow

    def module(self, body: Any) -> Any:
        with self.builder.function("main", self.params):
            if not self.dataflow:
                self.builder.emit_func_output(body(self.builder.emit))
                return self.builder.get()
            with self.builder.dataflow():
                found = body(self.builder.emit)
                several = found if isinstance(found, tuple) else (found,)
                outputs = [self.builder.emit_output(each) for each in several]
            result = outputs[0] if len(outputs) == 1 else relax.Tuple(outputs)
            self.builder.emit_func_output(result)
        return self.builder.get()


def sigmoid(dataflow: bool = True, **told: Any) -> Any:
    x = var("x")

    def body(emit: Any) -> Any:
        return emit(quantize(emit(op.sigmoid(emit(dequantize(x)))), **told))

    return Maker(x, dataflow=dataflow).module(body)


def conv2d() -> Any:
    x = var("x", (1, 8, 8, 3))
    weight = relax.const(np.arange(-54, 54, dtype="int8").reshape(3, 3, 3, 4))

    def body(emit: Any) -> Any:
        real = emit(op.dequantize(weight, f32(0.1, 0.2, 0.3, 0.4), i32(0), axis=3))
        data = emit(dequantize(x))
        layouts = {"data_layout": "NHWC", "kernel_layout": "HWIO"}
        acc = emit(op.nn.conv2d(data, real, padding=1, **layouts))
        bias = emit(op.dequantize(i32(1, 2, 3, 4), f32(0.05, 0.1, 0.15, 0.2), i32(0), axis=0))
        return emit(op.clip(emit(quantize(emit(op.add(acc, bias)))), -100, 100))

    return Maker(x).module(body)


def folded_conv2d() -> Any:
    return relax.transform.FoldConstant()(conv2d())


def lowered() -> Any:
    return relax.transform.LegalizeOps()(sigmoid())


def leaking_sigmoid() -> Any:
    """Somebody else wants the real number, too."""
    x = var("x")

    def body(emit: Any) -> Any:
        real = emit(op.sigmoid(emit(dequantize(x))))
        return emit(quantize(real)), emit(op.exp(real))

    return Maker(x).module(body)


def leaking_output() -> Any:
    """The real number is a result of the function."""
    x = var("x")

    def body(emit: Any) -> Any:
        real = emit(op.sigmoid(emit(dequantize(x))))
        return emit(quantize(real)), real

    return Maker(x).module(body)


def dead_user() -> Any:
    x = var("x")

    def body(emit: Any) -> Any:
        real = emit(op.sigmoid(emit(dequantize(x))))
        emit(op.exp(real))
        return emit(quantize(real))

    return Maker(x).module(body)


def shared_dequantize() -> Any:
    """One dequantize for two regions, as EliminateCommonSubexpr leaves it."""
    x = var("x")

    def body(emit: Any) -> Any:
        real = emit(dequantize(x))
        one = emit(quantize(emit(op.sigmoid(real))))
        return one, emit(quantize(emit(op.tanh(real))))

    return Maker(x).module(body)


def interleaved_regions() -> Any:
    """One dequantize for two regions of one pattern, whose values stand in turn."""
    x = var("x")

    def body(emit: Any) -> Any:
        real = emit(dequantize(x))
        reals = [emit(op.sigmoid(real)), emit(op.sigmoid(real))]
        one, other = [
            emit(quantize(each, scale)) for each, scale in zip(reals, (0.25, 0.5), strict=True)
        ]
        return one, other

    return Maker(x).module(body)


def dequantize_given_out() -> Any:
    x = var("x")

    def body(emit: Any) -> Any:
        real = emit(dequantize(x))
        return real, emit(quantize(emit(op.sigmoid(real))))

    return Maker(x).module(body)


def regions_behind_integers() -> Any:
    """Two regions that meet in integers, with one dequantize for both."""
    x = var("x")

    def body(emit: Any) -> Any:
        real = emit(dequantize(x))
        one = emit(quantize(emit(op.sigmoid(real))))
        other = emit(quantize(emit(op.tanh(real))))
        return emit(op.concat([one, other], axis=1))

    return Maker(x).module(body)


def hard_swish() -> Any:
    """One dequantize, twice in one region."""
    x = var("x")

    def body(emit: Any) -> Any:
        real = emit(dequantize(x))
        cut = emit(op.clip(emit(op.add(real, f32(3.0))), 0.0, 6.0))
        return emit(quantize(emit(op.divide(emit(op.multiply(real, cut)), f32(6.0)))))

    return Maker(x).module(body)


def bound_tuple() -> Any:
    x, x2 = var("x"), var("x2")

    def body(emit: Any) -> Any:
        both = emit(relax.Tuple([emit(dequantize(x)), emit(dequantize(x2, 0.75, 2))]))
        return emit(quantize(emit(op.concat(both, axis=1))))

    return Maker(x, x2).module(body)


def add(first: bool = False) -> Any:
    x = var("x")
    constant = relax.const(np.array([[1, 2, 3, 4]], "int8"))

    def body(emit: Any) -> Any:
        operands = [emit(dequantize(x)), emit(dequantize(constant, 0.75, 2))]
        return emit(quantize(emit(op.add(*(operands[::-1] if first else operands)))))

    return Maker(x).module(body)


def scale_of(value: float) -> Any:
    x = var("x")

    def body(emit: Any) -> Any:
        return emit(quantize(emit(op.sigmoid(emit(dequantize(x, value))))))

    return Maker(x).module(body)


def computed_scale() -> Any:
    x, scale = var("x"), var("scale", (), "float32")

    def body(emit: Any) -> Any:
        real = emit(op.dequantize(x, scale, i32(1), axis=0))
        return emit(quantize(emit(op.sigmoid(real))))

    return Maker(x, scale).module(body)


CASES = {
    "sigmoid": sigmoid,
    "sigmoid outside of a dataflow block": lambda: sigmoid(dataflow=False),
    "sigmoid of another dtype": lambda: sigmoid(dtype="uint8"),
    "conv2d": conv2d,
    "conv2d with folded weights": folded_conv2d,
    "sigmoid that is lowered": lowered,
    "leak to an operator": leaking_sigmoid,
    "leak to the result": leaking_output,
    "dead user": dead_user,
    "shared dequantize": shared_dequantize,
    "interleaved regions": interleaved_regions,
    "dequantize that is given out": dequantize_given_out,
    "regions behind integers": regions_behind_integers,
    "hard_swish": hard_swish,
    "tuple that is bound": bound_tuple,
    "add": add,
    "add, constant first": lambda: add(first=True),
    "scale of zero": lambda: scale_of(0.0),
    "scale of infinity": lambda: scale_of(float("inf")),
    "scale that is computed": computed_scale,
}


def outcome(patterns: Any, module: Any) -> dict[str, Any]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        prepared = patterns.prepare(module)
    said = [str(each.message) for each in caught if "qu" in str(each.message)]
    merged = relax.transform.FuseOpsByPattern(patterns.patterns(lambda expr: None))(prepared)
    functions = patterns.composites(merged)
    # partition() leaves rows out that have nothing to match.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        partitioned = patterns.partition(module, lambda expr: None)
    assert host(partitioned) == host(merged)
    records = [told(patterns, each) for each in patterns.composites(partitioned)]
    assert records == [told(patterns, each) for each in functions]
    numbers = [int(each.attrs["qpat_match"]) for each in functions]
    assert len(set(numbers)) == len(numbers)
    if not said:
        wanted, computed_by = computed(module), computed(merged)
        pairs = zip(wanted, computed_by, strict=True)
        assert all(np.array_equal(a, b, equal_nan=True) for a, b in pairs)
    return {
        "composites": [told(patterns, each) for each in functions],
        "host": host(merged),
        "unchecked": unchecked(patterns, module),
        "said": said,
    }


def inheriting(patterns: Any) -> Any:
    """A pool whose parameters only the module around it knows: said once, kept with the composite,
    also where another function is made around it."""
    x = var("x", (1, 4, 4, 8))

    def body(emit: Any) -> Any:
        return emit(op.nn.max_pool2d(x, [2, 2], layout="NHWC"))

    def inherited(variable: Any) -> Any:
        # The variable itself: those of a composite have its name, and nobody asks for them.
        return patterns.Parameters(np.float32(0.5), 1, None) if variable.same_as(x) else None

    module = Maker(x).module(body)
    known = [patterns.partition(module, inherited), patterns.offload(module, inherited)]
    for each in known:
        [function] = patterns.composites(each)
        tensors = function.attrs["qpat_record"]["tensors"]
        assert all(float(tensors[name]["scale"].numpy()) == 0.5 for name in ("x", "y"))
    found = [told(patterns, *patterns.composites(each)) for each in known]
    unknown = patterns.composites(patterns.partition(module))
    return [*found, told(patterns, *unknown)]


def told(patterns: Any, function: Any) -> list[Any]:
    """The name of a composite, then (port, scale, zero point) of its tensors."""
    record = patterns.extract(function)
    tensors = {name: each for name, each in vars(record).items() if hasattr(each, "scale")}
    found: list[Any] = [str(function.attrs["Composite"])]
    for name, each in tensors.items():
        known = each.scale is not None
        scale = np.round(np.float64(each.scale), 6).tolist() if known else None
        found.append([name, scale, np.asarray(each.zero_point).tolist() if known else None])
    return found


def unchecked(patterns: Any, module: Any) -> Any:
    """What the patterns give without prepare() and without their checks."""
    plain = [(row.composite, row.pattern()) for row in patterns.ROWS]
    try:
        merged = relax.transform.FuseOpsByPattern(plain)(module)
    except tvm.error.InternalError as error:
        return "cyclic dependency" if "cyclic dependency" in str(error) else str(error)
    functions = [f for f in merged.functions.values() if "Composite" in (f.attrs or {})]
    return sorted(
        f"{f.attrs['Composite']} -> {len(getattr(f.ret_ty, 'fields', [1]))}" for f in functions
    )


def main(generated: str) -> None:
    patterns = load(Path(generated))
    found: dict[str, Any] = {name: outcome(patterns, make()) for name, make in CASES.items()}
    found["inherited"] = inheriting(patterns)
    print("\n" + json.dumps(found))  # a line of its own: TVM prints there too


if __name__ == "__main__":
    main(sys.argv[1])
