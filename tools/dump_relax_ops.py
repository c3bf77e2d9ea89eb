"""Writes qpat/ops/relax.json: what stands where in calls of Relax operators, read off built calls.

    .environments/relax-0.27/bin/python tools/dump_relax_ops.py [--check]

Every operator is built by TVM's own Python builder with operands and values that can be told apart;
an argument of the call is then one of the builder's parameters, a tensor or a value. `--check`
compares and writes nothing, which is how the tests hold the table against TVM 0.26 and 0.27.
Needs TVM with Relax and nothing of qpat.
"""

from __future__ import annotations

import argparse
import inspect
import json
import sys
from pathlib import Path
from typing import Any

import tvm
from tvm import relax

TABLE = Path(__file__).resolve().parents[1] / "qpat" / "ops" / "relax.json"

_ELEMENTWISE = """
abs add atan ceil cos divide erf exp floor log maximum minimum multiply negative nn.relu power round
rsqrt sigmoid sin sqrt subtract tan tanh where
"""
# The values to build each with. What has no value and no default is a tensor.
VALUES: dict[str, dict[str, Any]] = {
    **{name: {} for name in _ELEMENTWISE.split()},
    **{name: {"axis": [1], "keepdims": True} for name in ("max", "mean", "min", "sum")},
    **{f"nn.{kind}_pool{n}d": {"pool_size": [2] * n} for kind in ("avg", "max") for n in (1, 2, 3)},
    "astype": {"dtype": "int32"},
    "broadcast_to": {"shape": (7, 1, 4, 4, 4)},
    "clip": {"min": 1.25, "max": 2.5},
    "concat": {"axis": 1},
    "dequantize": {"axis": 1, "out_dtype": "float16"},
    "expand_dims": {"axis": 2},
    "flip": {"axis": 1},
    "gather_nd": {"batch_dims": 1},
    "image.resize2d": {"size": (5, 6)},
    "matmul": {},
    "nn.adaptive_avg_pool2d": {"output_size": [2, 2]},
    "nn.conv1d": {},
    "nn.conv2d": {},
    "nn.conv2d_transpose": {},
    "nn.conv3d": {},
    "nn.leakyrelu": {"alpha": 0.5},
    "nn.log_softmax": {"axis": 1},
    "nn.pad": {"pad_width": [0, 0, 1, 1], "pad_value": 3.0},
    "nn.prelu": {"axis": 1},
    "nn.softmax": {"axis": 1},
    "permute_dims": {"axes": [1, 0]},
    "quantize": {"axis": 1, "out_dtype": "uint8"},
    "repeat": {"repeats": 2, "axis": 1},
    "reshape": {"shape": (16, 4)},
    "split": {"indices_or_sections": 2, "axis": 1},
    "squeeze": {"axis": [0]},
    "stack": {"axis": 1},
    "take": {"axis": 1},
    "tile": {"repeats": [2, 3]},
}
TUPLES = ("tensors",)


def built(name: str) -> dict[str, Any]:
    """The entry of an operator: its arguments in order, each a tensor or a value, and its
    attributes."""
    builder: Any = relax.op
    for part in name.split("."):
        builder = getattr(builder, part)
    given: dict[str, Any] = dict(VALUES[name])
    for parameter in inspect.signature(builder).parameters.values():
        if parameter.name not in given and parameter.default is inspect.Parameter.empty:
            given[parameter.name] = tensor(parameter.name)
    call = builder(**given)
    assert call.op.name == f"relax.{name}", call.op.name
    arguments = [argument(each, given) for each in call.args]
    entry: dict[str, Any] = {"arguments": arguments}
    if call.attrs is not None:
        info = type(call.attrs).__tvm_ffi_type_info__
        entry["attributes"] = sorted(field.name for field in info.fields)
    return entry


def tensor(name: str) -> Any:
    several = [relax.Var(f"{name}:{n}") for n in range(2)]
    return relax.Tuple(several) if name in TUPLES else relax.Var(name)


def argument(found: Any, given: dict[str, Any]) -> list[str]:
    """Which parameter of the builder an argument of the call is."""
    if isinstance(found, relax.Var):
        return [str(getattr(found, "name", None) or found.name_hint), "tensor"]
    if isinstance(found, relax.Tuple):
        first = found.fields[0]
        return [str(getattr(first, "name", None) or first.name_hint).partition(":")[0], "tuple"]
    value = plain(found)
    names = [name for name, each in given.items() if plain(each) == value]
    if len(names) != 1:
        raise ValueError(f"cannot tell which parameter {found} is of {sorted(given)}")
    return [names[0], "value"]


def plain(value: Any) -> Any:
    if isinstance(value, relax.ShapeExpr):
        return [plain(each) for each in value.values]
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    inner = getattr(value, "value", value)
    return inner if inner is value else plain(inner)


def render() -> str:
    lines = []
    for name in sorted(VALUES):
        lines.append(f'"relax.{name}": {json.dumps(built(name))}')
    return '{\n"operators": {\n' + ",\n".join(lines) + "\n}\n}\n"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare, do not write")
    options = parser.parse_args(arguments)
    text = render()
    if not options.check:
        TABLE.write_text(text, encoding="utf-8")
        return 0
    if text == TABLE.read_text(encoding="utf-8"):
        return 0
    print(f"{TABLE.name} is not what TVM {tvm.__version__} has:\n{text}")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
