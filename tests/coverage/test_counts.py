"""What is counted, held against TVM's MergeComposite and against the .tflite files."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import tvm
from tvm import relay

import qpat
from qpat.compiler import compile_file, compile_source
from qpat.diagnostics import QpatError
from qpat.relay.coverage.corpus import covered
from qpat.relay.coverage.data import About, Coverage, FormCoverage, ModelCoverage, Refusal, Work
from qpat.relay.coverage.macs import macs
from qpat.relay.coverage.report import as_text, share
from qpat.relay.loading import entries
from qpat.relay.partition import Partition, partition
from qpat.relay.quantization import analysed
from qpat.source import Source
from tests.coverage.conftest import LIBRARY, NETWORKS, REFUSING
from tests.models import DATA, ROOT
from tests.oracle import flatbuffer

SCHEMA = json.loads((ROOT / "docs" / "coverage.schema.json").read_text(encoding="utf-8"))
MODELS = (
    *("mobilenet_v2_035_96_int8", "transformer_relu_int8", "lstm_unrolled_int8", "unet_64_int8"),
    *("ad_autoencoder_int8", "ds_cnn_kws_fp32", "ops/conv2d_group2", "ops/transpose_conv_bias"),
)


def refusals_of(refusals: tuple[Refusal, ...]) -> dict[str, int]:
    """The count of each reason that a check gave."""
    return {
        each.reason: each.count for each in refusals if each.about not in (About.TAKEN, About.USER)
    }


def form_of(coverage: Coverage | ModelCoverage, pattern: str, form: str | None = None) -> Any:
    [found] = [each for each in coverage.forms if (each.pattern, each.form) == (pattern, form)]
    return found


# ---- against MergeComposite ----------------------------------------------------------------------


@pytest.fixture(scope="module", params=["resnet8_cifar_int8", "op_soup_nol2_int8"])
def partitioned(request: pytest.FixtureRequest) -> list[Partition]:
    """A network by the library, and by patterns that refuse."""
    model = DATA / f"tflite/{request.param}.tflite"
    refusing = compile_source(Source("npu.qpat", REFUSING))
    return [partition(model, LIBRARY), partition(model, refusing)]


def test_matches_are_the_composites_in_the_text_of_merge_composite(
    partitioned: list[Partition],
) -> None:
    for result in partitioned:
        counted = covered("it", result)
        known = analysed(result.prepared).of
        table = result.generated.pattern_table(inherited=known)
        text = relay.transform.MergeComposite(table)(result.prepared).astext(show_meta_data=False)
        found = Counter(re.findall(r'Composite="([^"]+)"', text))
        ours: Counter[str] = Counter()
        for form in counted.forms:
            if "." in form.target and not form.target.startswith("nn."):
                ours[form.target] += form.matched
        assert +ours == found and found
        assert all(sum(row.matched for row in form.rows) == form.matched for form in counted.forms)


def test_rows_refuse_what_merge_composite_asks_their_checks_for(
    partitioned: list[Partition],
) -> None:
    """Each row alone is given to MergeComposite with its check, which is counted."""
    asked = 0
    for result in partitioned:
        counted = covered("it", result)
        rows = [row for form in counted.forms for row in form.rows]
        known = analysed(result.prepared).of
        table = iter(result.generated.pattern_table(inherited=known))
        for entry, row in zip(entries(result.generated, result.compiled.module), rows, strict=True):
            if entry.pattern.operator_rule is not None:
                continue
            name, pattern, check = next(table)
            said: list[bool] = []

            def counting(
                root: Any, check: Callable[[Any], bool] = check, said: list[bool] = said
            ) -> bool:
                said.append(check(root))
                return said[-1]

            relay.transform.MergeComposite([(name, pattern, counting)])(result.prepared)
            assert sum(refusals_of(row.refusals).values()) == said.count(False), row
            asked += len(said)
    assert asked > 30


def test_every_call_is_counted_once(partitioned: list[Partition]) -> None:
    for result in partitioned:
        calls: list[Any] = []
        relay.analysis.post_order_visit(
            result.prepared["main"],
            lambda node, calls=calls: calls.append(node) if isinstance(node, relay.Call) else None,
        )
        counted = covered("it", result)
        assert counted.work.calls == len(calls)
        assert counted.work.offloaded_calls == len(calls) - len(result.host)
        assert sum(form.calls for form in counted.forms) == counted.work.offloaded_calls
        assert sum(form.macs for form in counted.forms) == counted.work.offloaded_macs


# ---- multiply-accumulates ------------------------------------------------------------------------


def macs_in_file(path: Path) -> int:
    """Those of a .tflite file, from its tensors' shapes; schema.fbs says what dimensions are."""
    model, total = flatbuffer.read(path), 0
    for operator in model.operators:
        shapes = [model.tensors[name].shape if name else () for name in operator.inputs]
        made = math.prod(model.tensors[operator.outputs[0]].shape)
        if operator.kind == "CONV_2D":  # weights OHWI; of a grouped one, I of a group
            _, height, width, inputs = shapes[1]
            total += made * height * width * inputs
        elif operator.kind == "DEPTHWISE_CONV_2D":  # weights 1HWO
            total += made * shapes[1][1] * shapes[1][2]
        elif operator.kind == "TRANSPOSE_CONV":  # shape, weights OHWI, data
            outputs, height, width, _ = shapes[1]
            total += math.prod(shapes[2]) * height * width * outputs
        elif operator.kind in ("FULLY_CONNECTED", "BATCH_MATMUL"):
            total += made * shapes[0][-1]
    return total


@pytest.mark.parametrize("name", MODELS)
def test_macs_are_those_of_the_file(name: str) -> None:
    path = DATA / f"tflite/{name}.tflite"
    counted = covered(name, partition(path, LIBRARY)).work
    assert counted.macs == macs_in_file(path) > 0
    assert counted.unsized == 0


def call_of(expr: Any) -> Any:
    function = relay.Function(relay.analysis.free_vars(expr), expr)
    return relay.transform.InferType()(tvm.IRModule.from_expr(function))["main"].body


def test_macs_of_other_layouts_and_products() -> None:
    x = relay.var("x", shape=(2, 4, 6, 6, 4))  # NCHW4c: 16 channels
    w = relay.var("w", shape=(8, 4, 3, 3, 4, 2))  # OIHW4i2o: 16 channels
    layouts = {"data_layout": "NCHW4c", "kernel_layout": "OIHW4i2o", "out_layout": "NCHW2c"}
    packed = relay.nn.conv2d(x, w, channels=16, kernel_size=(3, 3), **layouts)
    assert macs(call_of(packed)) == 2 * 16 * 4 * 4 * 16 * 9
    x, w = relay.var("x", shape=(1, 8, 5)), relay.var("w", shape=(6, 8, 3))
    assert macs(call_of(relay.nn.conv1d(x, w))) == 6 * 3 * 8 * 3
    a, b = relay.var("a", shape=(3, 5, 2)), relay.var("b", shape=(3, 7, 5))
    product = relay.nn.batch_matmul(a, b, transpose_a=True, transpose_b=True)
    assert macs(call_of(product)) == 3 * 2 * 7 * 5
    assert macs(call_of(relay.nn.relu(relay.var("x", shape=(4,))))) == 0


def test_shapes_that_are_not_known_are_counted_apart() -> None:
    x = relay.var("x", relay.TensorType((relay.Any(), 4), "float32"))
    dense = relay.nn.dense(x, relay.var("w", shape=(3, 4)))
    counted = qpat.coverage([tvm.IRModule.from_expr(dense)], LIBRARY)
    assert counted.work == Work(1, 0, 0, 0, 1)
    assert "(1 of unknown shape not counted)" in as_text(counted)
    assert counted.to_json()["total"]["macs"]["unsized_calls"] == 1


# ---- forms and refusals --------------------------------------------------------------------------


def test_conditions_that_refuse_are_counted(by_refusing: Coverage) -> None:
    """The kernels and strides are read from the files."""
    shapes = []
    for name in NETWORKS:
        model = flatbuffer.read(DATA / name)
        for operator in model.operators:
            if operator.kind == "CONV_2D":
                x, w = (model.tensors[str(each)].shape for each in operator.inputs[:2])
                y = model.tensors[operator.outputs[0]].shape
                shapes.append((w[1], x[1] // y[1]))
    form = form_of(by_refusing, "conv2d")
    large = sum(kernel > 1 for kernel, _ in shapes)
    wide = sum(kernel == 1 and stride > 1 for kernel, stride in shapes)
    assert refusals_of(form.refusals) == {"kernel larger than 1": large, "strides of 2": wide}
    assert (form.matched, form.refused, form.lost) == (len(shapes) - large - wide, large + wide, 0)
    assert large and wide and form.matched
    first = form.refusals[0]
    assert (first.about, first.line) == (About.WHERE, 8) and first.file.endswith("npu.qpat")


def test_forms_that_match_nothing_and_places_that_others_take(by_refusing: Coverage) -> None:
    relu = form_of(by_refusing, "activation", "relu")
    assert (relu.matched, relu.refused, relu.lost, relu.refusals) == (0, 0, 0, ())
    clip = form_of(by_refusing, "activation", "clip")
    convolutions = form_of(by_refusing, "conv2d")
    [taken] = clip.refusals
    assert (taken.about, taken.reason) == (About.TAKEN, "taken by `npu.conv2d`")
    assert 0 < taken.count == clip.lost <= convolutions.matched and taken.on_host == 0


def test_rules_for_single_operators_are_counted(by_refusing: Coverage) -> None:
    """One network has 10 classes, the other 12."""
    rule = form_of(by_refusing, "softmax")
    assert (rule.target, rule.matched, rule.refused, rule.on_host) == ("nn.softmax", 1, 1, 1)
    assert refusals_of(rule.refusals) == {"few classes": 1}
    assert [node.kind for node in by_refusing.models[1].graph.nodes].count("rule") == 1


def test_a_user_outside_is_a_reason() -> None:
    x = relay.var("x", shape=(1, 4), dtype="int8")
    low = relay.clip(x, -10, 10)
    out = relay.Tuple([relay.nn.relu(low), low])
    text = "pattern p(x: int8) -> y: int8 {\n  c = clip(x)\n  y = nn.relu(c)\n}"
    patterns = compile_source(Source("npu.qpat", f'compiler "npu"\n{text}'))
    [form] = qpat.coverage([tvm.IRModule.from_expr(out)], patterns).forms
    assert (form.matched, form.refused, form.lost) == (0, 1, 0)
    [reason] = form.refusals
    assert (reason.about, reason.reason) == (About.USER, "`clip` inside is used outside, too")


def test_a_long_row_and_a_short_one_at_one_place_count_once() -> None:
    x = relay.var("x", shape=(1, 4), dtype="int8")
    out = relay.clip(relay.nn.relu(x), -10, 10)
    text = """pattern p(x: int8) -> y: int8 {
  r = nn.relu(x)
  y = clip(r)?
  where x.shape[0] > 1 else "one"
}"""
    patterns = compile_source(Source("npu.qpat", f'compiler "npu"\n{text}'))
    [form] = qpat.coverage([tvm.IRModule.from_expr(out)], patterns).forms
    assert [refusals_of(row.refusals) for row in form.rows] == [{"one": 1}, {"one": 1}]
    assert (form.refused, refusals_of(form.refusals)) == (1, {"one": 1})


# ---- several models ------------------------------------------------------------------------------


def test_the_total_is_the_sum(by_library: Coverage) -> None:
    assert [Path(model.model).name for model in by_library.models] == [
        Path(name).name for name in NETWORKS
    ]
    for number, form in enumerate(by_library.forms):
        same: list[FormCoverage] = [model.forms[number] for model in by_library.models]
        for count in ("matched", "refused", "lost", "on_host", "calls", "macs"):
            assert getattr(form, count) == sum(getattr(each, count) for each in same)
        assert refusals_of(form.refusals) == dict(
            sum((Counter(refusals_of(each.refusals)) for each in same), Counter())
        )
    assert by_library.work.macs == sum(macs_in_file(DATA / name) for name in NETWORKS)


def test_json_is_as_its_schema_says(by_library: Coverage, by_refusing: Coverage) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    for found in (by_library, by_refusing):
        written = json.loads(json.dumps(found.to_json(), allow_nan=False))
        jsonschema.validate(written, SCHEMA)
        assert written["total"]["calls"]["all"] == found.work.calls
    forms = {(each["pattern"], each["form"]): each for each in written["total"]["forms"]}
    assert forms["activation", "relu"]["matched"] == 0
    assert forms["conv2d", None]["refusals"][0]["reason"] == "kernel larger than 1"


def test_models_that_cannot_be_read_are_all_named(tmp_path: Path) -> None:
    names = ("tflite/ds_cnn_kws_dynrange.tflite", "onnx/resnet_qop_u8s8.onnx")
    models = [DATA / names[0], tmp_path / "none.tflite", DATA / names[1]]
    with pytest.raises(QpatError) as raised:
        qpat.coverage(models, compile_file(LIBRARY))
    places = {found.place for found in raised.value.diagnostics}
    assert places == {str(model) for model in models}


def test_shares_are_rounded_to_neither_end() -> None:
    assert [share(*each) for each in ((0, 0), (0, 9), (9, 9), (1, 3))] == [
        *("-", "0 %", "100 %", "33.3 %")
    ]
    assert share(1, 10**6) == "<0.1 %" and share(10**6 - 1, 10**6) == ">99.9 %"
