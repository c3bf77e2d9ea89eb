"""Runs a generated module on a TFLite model where there is nothing but TVM, NumPy and tflite.

    python run_generated.py GENERATED.py MODEL.tflite [--qpat-is-here]

Matches, then reads every record four ways: from the call of the composite, from its function alone,
from the partitioned functions, and from those after a trip through JSON. They must agree, and so
must the attributes that carry records before and after partitioning and JSON, and the module that
offload() gives at once. Prints all records as JSON, floats in hex. Runs on Python 3.8 and TVM 0.9.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tflite
import tvm
from tvm import relay
from tvm.relay.op.contrib.register import get_pattern_table, register_pattern_table


def main(arguments: list[str]) -> None:
    generated, model, *options = arguments
    if "--qpat-is-here" not in options:
        assert_absent("qpat", "lark")
    patterns = load(Path(generated))
    module, params = imported(Path(model))
    prepared = typed_model(module, params)
    merged = relay.transform.MergeComposite(patterns.pattern_table())(prepared)
    records = digests(patterns, merged)
    assert records, "nothing of the model is matched"

    regions = partitioned(merged, patterns.COMPILER)
    in_regions = digests(patterns, regions)
    assert sorted_text(in_regions) == sorted_text(records)
    loaded = tvm.ir.load_json(tvm.ir.save_json(regions))
    assert_same_functions(regions, loaded)
    assert digests(patterns, loaded) == in_regions

    annotated = patterns.annotate(merged)
    assert digests(patterns, annotated) == records
    attributes = record_attributes(patterns, annotated)
    assert len(attributes) == len(records)
    regions = partitioned(annotated, patterns.COMPILER)
    in_regions = record_attributes(patterns, regions)
    assert sorted_text(in_regions) == sorted_text(attributes)
    loaded = tvm.ir.load_json(tvm.ir.save_json(regions))
    assert record_attributes(patterns, loaded) == in_regions
    before = tvm.ir.structural_hash(module)
    assert_same_regions(patterns, regions, patterns.offload(module, params))
    assert tvm.ir.structural_hash(module) == before

    register_pattern_table(patterns.COMPILER, patterns.pattern_table)
    assert len(get_pattern_table(patterns.COMPILER)) == len(patterns.ROWS)
    json.dump(records, sys.stdout, indent=1, sort_keys=True)


def assert_absent(*names: str) -> None:
    for name in names:
        assert importlib.util.find_spec(name) is None, name + " can be imported here"


def load(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, str(path))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def imported(path: Path) -> Any:
    return relay.frontend.from_tflite(tflite.Model.GetRootAsModel(path.read_bytes(), 0))


def typed_model(module: Any, params: Any) -> Any:
    main = relay.build_module.bind_params_by_name(module["main"], params)
    return relay.transform.InferType()(tvm.IRModule.from_expr(main))


def partitioned(module: Any, compiler: str) -> Any:
    passes = [
        relay.transform.AnnotateTarget(compiler),
        relay.transform.MergeCompilerRegions(),
        relay.transform.PartitionGraph(),
        relay.transform.InferType(),
    ]
    return tvm.transform.Sequential(passes)(module)


def assert_same_functions(first: Any, second: Any) -> None:
    assert names_of(first) == names_of(second)
    for name in names_of(first):
        assert tvm.ir.structural_equal(first[name], second[name], map_free_vars=True), name


def assert_same_regions(patterns: Any, regions: Any, offloaded: Any) -> None:
    """What TVM's passes give, but for functions that have no composite, and who calls them."""
    idle = {name for name in names_of(regions) if not patterns.composites(regions[name].body)}
    assert names_of(offloaded) == names_of(regions) - idle | {"main"}
    for name in names_of(regions) - (idle if idle != {"main"} else set()):
        same = tvm.ir.structural_equal(regions[name], offloaded[name], map_free_vars=True)
        assert same, name


def names_of(module: Any) -> set[str]:
    return {str(variable.name_hint) for variable in module.get_global_vars()}


def digests(patterns: Any, module: Any) -> list[Any]:
    """The records of all composites in a module, in the order of its functions and calls."""
    found = []
    for variable in sorted(module.get_global_vars(), key=lambda each: str(each.name_hint)):
        for call in patterns.composites(module[variable].body):
            record = digest(patterns.extract(call))
            alone = from_function(patterns, call)
            assert alone is None or digest(alone) == record, record
            found.append(dict(record, composite=str(call.op.attrs["Composite"])))
    return found


def record_attributes(patterns: Any, module: Any) -> list[Any]:
    """The attributes `qpat_record` of all composites in a module, as plain data."""
    found = []
    for variable in sorted(module.get_global_vars(), key=lambda each: str(each.name_hint)):
        for call in patterns.composites(module[variable].body):
            found.append(plain(call.op.attrs["qpat_record"]))
    return found


def plain(value: Any) -> Any:
    if isinstance(value, tvm.ir.container.Map):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, tvm.ir.container.Array):
        return [plain(each) for each in value]
    if isinstance(value, tvm.nd.NDArray):
        return digest(value.numpy())
    if isinstance(value, (tvm.tir.IntImm, tvm.tir.FloatImm)):
        return digest(value.value)
    return str(value)


def from_function(patterns: Any, call: Any) -> Any | None:
    """The record read from the function alone; None where the scales of many are its arguments."""
    try:
        return patterns.extract(call.op)
    except ValueError:
        assert any(isinstance(argument, relay.Constant) for argument in call.args)
        return None


def digest(value: Any) -> Any:
    """A record as plain data in which every bit counts."""
    if dataclasses.is_dataclass(value):
        names = [each.name for each in dataclasses.fields(value)]
        return {name: digest(getattr(value, name)) for name in names}
    if isinstance(value, (np.ndarray, np.generic)):
        array = np.asarray(value)
        flat = [digest(each) for each in array.ravel().tolist()]
        return {"dtype": str(array.dtype), "shape": list(array.shape), "values": flat}
    if isinstance(value, dict):
        return {name: digest(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [digest(each) for each in value]
    if isinstance(value, float):
        return value.hex()
    assert value is None or isinstance(value, (bool, int, str)), type(value)
    return value


def sorted_text(records: list[Any]) -> list[str]:
    """Partitioning moves composites into functions, and so changes their order."""
    return sorted(json.dumps(each, sort_keys=True) for each in records)


if __name__ == "__main__":
    main(sys.argv[1:])
