"""Many small graphs in one build of TVM: building is the cost, running is nearly free."""

from __future__ import annotations

import logging
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from typing import Any

import tvm
from numpy.typing import NDArray
from tvm import relay
from tvm.contrib.graph_executor import GraphModule

from qpat.relay.environment import Heard, reason

# A plain `llvm` means RISC-V in the distribution of TVM that is on the package index.
HOST = f"llvm -mtriple={platform.machine()}-unknown-linux-gnu -opt-level=0"
# Without it the lowering of requantize depends on the target: float32 where it has SSE4.1.
EXACT = {"rounding": "UPWARD", "compute_dtype": "int64"}
# One function for each operator, so that equal calls of several graphs are compiled once.
_CONFIG = {"relay.FuseOps.max_depth": 1}


@dataclass(frozen=True, eq=False)
class Built:
    """Graphs that were built together; `place` is where each stands among the outputs."""

    executor: Any
    place: Mapping[int, int]
    names: Mapping[int, tuple[str, ...]]


class Batch:
    """Built graphs by number. `failed` says of each that TVM cannot build why it cannot."""

    def __init__(self, graphs: Mapping[int, Any], heard: Heard) -> None:
        self.failed: dict[int, str] = {}
        self._heard = heard
        self._dropped: set[int] = set()
        self._built: list[Built] = []
        self._build(sorted(graphs), graphs)

    def _build(self, numbers: Sequence[int], graphs: Mapping[int, Any]) -> None:
        """Builds all at once, and halves where that fails."""
        if not numbers:
            return
        try:
            self._built.append(_built(numbers, graphs))
        # TVM raises all kinds of errors where it has no schedule or no lowering for something.
        except Exception as error:
            if len(numbers) == 1:
                self.failed[numbers[0]] = reason(error, self._heard)
                return
            half = len(numbers) // 2
            self._build(numbers[:half], graphs)
            self._build(numbers[half:], graphs)

    def without(self, numbers: Iterable[int]) -> Batch:
        """The same graphs, built already, less some."""
        others = copy(self)
        dropped = set(numbers)
        others.failed = {n: why for n, why in self.failed.items() if n not in dropped}
        others._dropped = self._dropped | dropped
        return others

    def run(self, inputs: Mapping[int, Mapping[str, NDArray[Any]]]) -> dict[int, NDArray[Any]]:
        """Runs every graph that `inputs` has values for, and returns what each gives."""
        found: dict[int, NDArray[Any]] = {}
        for built in self._built:
            wanted = [n for n in built.place if n in inputs and n not in self._dropped]
            for number in wanted:
                for name in built.names[number]:
                    built.executor.set_input(variable_name(number, name), inputs[number][name])
            if not wanted:
                continue
            built.executor.run()
            for number in wanted:
                found[number] = built.executor.get_output(built.place[number]).numpy()
        return found


def variable_name(number: int, name: str) -> str:
    """What the variable `name` of graph `number` is called in a module of many."""
    return f"g{number}_{name}"


def graph_of(name: str) -> int:
    """The number of the graph whose variable this is."""
    return int(name.partition("_")[0][1:])


def check_lowering(root: Any) -> None:
    """Raises what TVM raises where it cannot lower the quantized operators of a graph."""
    function = relay.Function(relay.analysis.free_vars(root), root)
    with relay.qnn.op.requantize_config(**EXACT):
        # Typed before: of a tensor without dimensions a requantize makes one of one dimension.
        before = relay.transform.InferType()(tvm.IRModule.from_expr(function))
        relay.transform.InferType()(relay.qnn.transform.CanonicalizeOps()(before))


def joined(graphs: Mapping[int, Any]) -> Any:
    """One typed module whose result is the tuple of all graphs, in order of their numbers.

    The variables are named by `variable_name`.
    """
    bodies, parameters = [], []
    for number in sorted(graphs):
        variables = relay.analysis.free_vars(graphs[number])
        fresh = {
            each: relay.var(variable_name(number, each.name_hint), each.type_annotation)
            for each in variables
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


def _built(numbers: Sequence[int], graphs: Mapping[int, Any]) -> Built:
    module = joined({number: graphs[number] for number in numbers})
    with relay.qnn.op.requantize_config(**EXACT):
        # Before the build, which would first rewrite operators for what the target is quick at:
        # on x86 it takes zero points off in int16, which is too narrow for int16 tensors.
        module = relay.qnn.transform.CanonicalizeOps()(module)
        with _without_advice(), tvm.transform.PassContext(opt_level=1, config=_CONFIG):
            library = relay.build(module, target=HOST)
    names = {
        number: tuple(each.name_hint for each in relay.analysis.free_vars(graphs[number]))
        for number in numbers
    }
    place = {number: position for position, number in enumerate(numbers)}
    return Built(GraphModule(library["default"](tvm.cpu())), place, names)
