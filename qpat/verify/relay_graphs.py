"""Graphs of Relay: what qpat/verify/relax_graphs.py has for Relax."""

from __future__ import annotations

import logging
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import tvm
from numpy.typing import NDArray
from tvm import relay
from tvm.contrib.graph_executor import GraphModule

from qpat.relay.calls import constant, field_of, make_call, tuple_of, typed, variable
from qpat.relay.matching import Reading

__all__ = ["constant", "field_of", "make_call", "tuple_of", "typed", "variable"]

# The pass that makes composites.
PASS = "MergeComposite"
# What Relay text calls a constant.
CONSTANT = "meta[relay.Constant][{}]"
# Whether TVM computes in integers, as qpat/verify/integers.py does.
IN_INTEGERS = True
# Integers that TVM does not dequantize, of those that ports have.
NOT_DEQUANTIZED = ()
# A plain `llvm` means RISC-V in the distribution of TVM that is on the package index.
HOST = f"llvm -mtriple={platform.machine()}-unknown-linux-gnu -opt-level=0"
# Without it the lowering of requantize depends on the target: float32 where it has SSE4.1.
EXACT = {"rounding": "UPWARD", "compute_dtype": "int64"}
# One function for each operator, so that equal calls of several graphs are compiled once.
_CONFIG = {"relay.FuseOps.max_depth": 1}

# A value of the module around graph `number`, for what it inherits.
Inherited = Callable[[int, Any], Any]


# ---- as expressions ------------------------------------------------------------------------------


def make_real(name: str, operands: Sequence[Any], attributes: Mapping[str, Any]) -> Any:
    """A call of a meaning. Raises ValueError where a transposed convolution has other channels than
    its weights, or none are said: TVM does not look, and reads and writes beyond them."""
    call = make_call(name, operands, attributes)
    if name != "nn.conv2d_transpose":
        return call
    if call.attrs.channels is None or call.attrs.kernel_size is None:
        raise ValueError("a transposed convolution wants `channels` and `kernel_size`")
    attrs, known = call.attrs, typed(call)
    data, weights = (
        dict(zip(letters, each.checked_type.shape, strict=True))
        for letters, each in (
            (str(attrs.data_layout), known.args[0]),
            (str(attrs.kernel_layout), known.args[1]),
        )
    )
    given, made = int(data["C"]), int(weights["O"]) * int(attrs.groups)
    stated = int(attrs.channels)
    if (given, stated) != (int(weights["I"]), made):
        said = f"from {given} to {stated} channels, and its weights are from {int(weights['I'])}"
        raise ValueError(f"a transposed convolution is {said} to {made}")
    return call


def variables(root: Any) -> list[Any]:
    """The variables of a graph, in order of their use."""
    return list(relay.analysis.free_vars(root))


def same(one: Any, other: Any) -> bool:
    """Whether two graphs are the same but for the names of their variables."""
    return bool(tvm.ir.structural_equal(one, other, map_free_vars=True))


def text(root: Any) -> str:
    """A graph as Relay text."""
    return str(root)


def check_lowering(root: Any) -> None:
    """Raises what TVM raises where it cannot lower the quantized operators of a graph."""
    function = relay.Function(relay.analysis.free_vars(root), root)
    with relay.qnn.op.requantize_config(**EXACT):
        # Typed before: of a tensor without dimensions a requantize makes one of one dimension.
        before = relay.transform.InferType()(tvm.IRModule.from_expr(function))
        relay.transform.InferType()(relay.qnn.transform.CanonicalizeOps()(before))


# ---- matched -------------------------------------------------------------------------------------


def seen(generated: ModuleType, root: Any) -> tuple[Any, Any, list[Any]]:
    """How a generated module reads a graph: the reading, the root and the variables as it has
    them."""
    return Reading(generated), root, variables(root)


def merged(
    generated: ModuleType,
    graphs: Mapping[int, Any],
    rows: Sequence[int],
    inherited: Inherited,
    options: Any,
) -> tuple[dict[int, Any], Callable[[Any], Any]]:
    """What becomes of graphs in a module of all of them when the pass is run with some `rows` of
    the table: by number what they give then, and what tells an expression's parameters."""

    def asked(expr: Any) -> Any:
        found = relay.analysis.free_vars(expr)
        return inherited(_graph_of(found[0].name_hint), expr) if found else None

    module = _joined(graphs)
    if rows:
        entries = generated.pattern_table(inherited=asked, **options)
        module = relay.transform.MergeComposite([entries[each] for each in rows])(module)
    return dict(zip(sorted(graphs), module["main"].body.fields, strict=True)), asked


def record(generated: ModuleType, call: Any, known: Callable[[Any], Any], options: Any) -> Any:
    """The record of the call of a composite."""
    return Reading(generated).record(call, known, options)


def name_of(variable: Any) -> str:
    """What a variable of a merged graph was called in the graph."""
    return str(variable.name_hint).partition("_")[2]


# ---- built ---------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Built:
    """Graphs that were built together; `place` is where each stands among the outputs."""

    executor: Any
    place: Mapping[int, int]
    names: Mapping[int, tuple[str, ...]]

    def run(self, inputs: Mapping[int, Mapping[str, NDArray[Any]]]) -> dict[int, NDArray[Any]]:
        """What the graphs of `inputs` give for them."""
        for number, values in inputs.items():
            for name in self.names[number]:
                self.executor.set_input(_variable_name(number, name), values[name])
        if inputs:
            self.executor.run()
        found = {each: self.executor.get_output(self.place[each]) for each in inputs}
        return {number: output.numpy() for number, output in found.items()}


def build(graphs: Mapping[int, Any]) -> Built:
    """Graphs in one build. Raises what TVM raises where it has no schedule or no lowering."""
    module = _joined(graphs)
    with relay.qnn.op.requantize_config(**EXACT):
        # Before the build, which would first rewrite operators for what the target is quick at:
        # on x86 it takes zero points off in int16, which is too narrow for int16 tensors.
        module = relay.qnn.transform.CanonicalizeOps()(module)
        with _without_advice(), tvm.transform.PassContext(opt_level=1, config=_CONFIG):
            library = relay.build(module, target=HOST)
    names = {
        number: tuple(each.name_hint for each in relay.analysis.free_vars(graphs[number]))
        for number in graphs
    }
    place = {number: position for position, number in enumerate(sorted(graphs))}
    return Built(GraphModule(library["default"](tvm.cpu())), place, names)


def _variable_name(number: int, name: str) -> str:
    """What the variable `name` of graph `number` is called in a module of many."""
    return f"g{number}_{name}"


def _graph_of(name: str) -> int:
    """The number of the graph whose variable this is."""
    return int(name.partition("_")[0][1:])


def _joined(graphs: Mapping[int, Any]) -> Any:
    """One typed module whose result is the tuple of all graphs, in order of their numbers."""
    bodies, parameters = [], []
    for number in sorted(graphs):
        fresh = {
            each: relay.var(_variable_name(number, each.name_hint), each.type_annotation)
            for each in relay.analysis.free_vars(graphs[number])
        }
        bodies.append(relay.bind(graphs[number], fresh))
        parameters += list(fresh.values())
    function = relay.Function(parameters, relay.Tuple(bodies))
    return relay.transform.InferType()(tvm.IRModule.from_expr(function))


@contextmanager
def _without_advice() -> Iterator[None]:
    """Keeps TVM from saying of operators that they could be faster."""
    logger = logging.getLogger("strategy")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
