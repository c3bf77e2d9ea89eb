"""Runs a generated Relax module on models where there is nothing but TVM, NumPy and the readers.

    python run_relax.py GENERATED.py MODEL.tflite|MODEL.onnx… [--compute]

Partitions, then reads every record from the composites as FuseOpsByPattern leaves them and after
MergeCompositeFunctions: they must agree. The module must not change. With `--compute` the module
with composites must give what the module without them gives. Prints as JSON, for each model, the
records, floats in hex, and what stays on the host. Runs on TVM 0.26 and 0.27.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tvm
from tvm import relax
from tvm_ffi import structural_hash


def main(arguments: list[str]) -> None:
    generated, *models = arguments
    for name in ("qpat", "lark"):
        assert importlib.util.find_spec(name) is None, name + " can be imported here"
    patterns = load(Path(generated))
    is_computed = "--compute" in models
    paths = [Path(each) for each in models if each != "--compute"]
    found = {str(each): outcome(patterns, imported(each), is_computed) for each in paths}
    print("\n" + json.dumps(found))  # a line of its own: TVM prints there too


def outcome(patterns: Any, module: Any, is_computed: bool) -> dict[str, Any]:
    before = structural_hash(module)
    merged = patterns.partition(module)
    records = digests(patterns, merged)
    regions = patterns.offload(module)
    assert digests(patterns, regions) == records
    assert structural_hash(module) == before
    for made in (merged, regions):
        for function, record in zip(patterns.composites(made), records, strict=True):
            check_attribute(function.attrs["qpat_record"], record)
    if is_computed:
        wanted, found = computed(module), computed(merged)
        assert all(np.array_equal(a, b) for a, b in zip(wanted, found, strict=True))
    return {"records": records, "host": host(merged)}


def check_attribute(attribute: Any, record: Any) -> None:
    """Holds the attribute of a composite against its record: what both have is the same."""
    assert int(attribute["version"]) == 1
    tensors = {name for name, each in record.items() if is_tensor(each) or is_many(each)}
    assert set(attribute["tensors"].keys()) == tensors
    for name in tensors:
        found, told = attribute["tensors"][name], record[name]
        pairs = zip(found, told, strict=True) if is_many(told) else [(found, told)]
        for each, one in pairs:
            check_tensor(each, one)
    others = record.keys() - tensors - {"form", "meaning", "composite"}
    assert set(attribute["params"].keys()) == {each for each in others if record[each] is not None}


def is_tensor(told: Any) -> bool:
    return isinstance(told, dict) and "scale" in told


def is_many(told: Any) -> bool:
    return isinstance(told, list) and bool(told) and all(is_tensor(each) for each in told)


def check_tensor(found: Any, told: Any) -> None:
    assert [int(each) for each in found["shape"]] == told["shape"]
    for part in ("scale", "zero_point", "value"):
        assert (part in found) == (told[part] is not None)
        if part in found:
            assert digest(found[part].numpy()) == told[part]
    for part in ("axis", "input"):
        assert (part in found) == (told[part] is not None)
        assert part not in found or int(found[part]) == told[part]


def load(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, str(path))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def imported(path: Path) -> Any:
    if path.suffix == ".onnx":
        import onnx
        from tvm.relax.frontend.onnx import from_onnx

        return from_onnx(onnx.load(str(path)))
    import tflite
    from tvm.relax.frontend.tflite import from_tflite

    return from_tflite(tflite.Model.GetRootAsModel(path.read_bytes(), 0))


def digests(patterns: Any, module: Any) -> list[Any]:
    """The records of all composites in a module, in the order of their calls."""
    return [
        dict(digest(patterns.extract(each)), composite=str(each.attrs["Composite"]))
        for each in patterns.composites(module)
    ]


def host(module: Any) -> list[str]:
    """The operators that `main` calls itself."""
    values = [b.value for block in module["main"].body.blocks for b in block.bindings]
    calls = [each for each in values if isinstance(each, relax.Call)]
    return [str(each.op.name) for each in calls if isinstance(each.op, tvm.ir.Op)]


def computed(module: Any) -> list[Any]:
    """What `main` gives for numbers drawn from one seed."""
    random = np.random.default_rng(7)
    arguments = [tvm.runtime.tensor(drawn(each.ty, random)) for each in module["main"].params]
    machine = relax.VirtualMachine(tvm.compile(module, target="llvm"), tvm.cpu())
    found = machine["main"](*arguments)
    return [each.numpy() for each in ([found] if hasattr(found, "numpy") else found)]


def drawn(type_: Any, random: Any) -> Any:
    shape = [int(each) for each in type_.shape.values]
    if str(type_.dtype).startswith("float"):
        return random.normal(size=shape).astype(str(type_.dtype))
    info = np.iinfo(str(type_.dtype))
    return random.integers(info.min, info.max + 1, shape, dtype=str(type_.dtype))


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


if __name__ == "__main__":
    main(sys.argv[1:])
