"""Networks that PT2E quantizes, and quantizers for them. For an environment with torch and torchao.

Weights, inputs and calibration are drawn from one seed, so each call makes the same.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import fx, nn
from torch.nn import functional
from torchao.quantization.pt2e import MinMaxObserver, PerChannelMinMaxObserver
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
from torchao.quantization.pt2e.quantizer import (
    DerivedQuantizationSpec,
    QuantizationAnnotation,
    QuantizationSpec,
    Quantizer,
)
from torchao.testing.pt2e._xnnpack_quantizer import (
    XNNPACKQuantizer,
    get_symmetric_quantization_config,
)


class Made(NamedTuple):
    """A quantized network: what PyTorch runs, what it exports, and inputs to compare."""

    network: Any
    program: Any
    inputs: tuple[Any, ...]


class Residual(nn.Module):
    """Convolutions with and without a bias, one of them depthwise, around a sum."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.first = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.second = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.side = nn.Conv2d(8, 8, 1)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dense = nn.Linear(16, 10)

    def forward(self, x: Any) -> Any:
        x = functional.relu(self.norm(self.stem(x)))
        x = functional.relu(x + self.second(functional.relu(self.first(x))))
        x = functional.max_pool2d(x, 2)
        x = torch.cat([x, self.side(x)], 1)
        return self.dense(torch.flatten(self.pool(x), 1))


class Soup(nn.Module):
    """One of each operator. What is behind `gelu` has no pattern: it stays in float."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.second = nn.Conv2d(8, 8, 3, padding=1)
        self.up = nn.ConvTranspose2d(8, 6, 2, stride=2)
        self.dense = nn.Linear(6, 6)
        self.last = nn.Linear(6, 5, bias=False)

    def forward(self, x: Any) -> Any:
        x = functional.hardswish(self.second(functional.relu6(self.first(x))))
        x = x * torch.sigmoid(x)
        x = functional.hardsigmoid(functional.leaky_relu(x - torch.tanh(x), 0.1))
        x = functional.max_pool2d(functional.avg_pool2d(x, 2), 3, 1, 1)
        x = functional.relu(torch.clamp(self.up(x), -0.1, 0.2))
        x = self.last(functional.gelu(self.dense(x.permute(0, 2, 3, 1))))
        x = x.mean((1, 2)).unsqueeze(1).squeeze(1).view(-1)
        x = torch.cat([x, torch.maximum(x, x * x), torch.minimum(x, functional.silu(x))])
        return torch.softmax(x, 0)


class Small(nn.Module):
    """A convolution and a fully connected layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.dense = nn.Linear(8, 4)

    def forward(self, x: Any) -> Any:
        return self.dense(functional.relu(self.conv(x)).mean((2, 3)))


class Same(nn.Module):
    """A convolution whose padding is said in words, for which TVM has no converter."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding="same")

    def forward(self, x: Any) -> Any:
        return self.conv(x)


# ---- quantizers ----------------------------------------------------------------------------------


class Everything(Quantizer):
    """Quantizes the inputs and the output of every operator: activations with 7 of the 8 bits of
    uint8, weights by output channel, and biases, where that is asked for, in int32."""

    activation = QuantizationSpec(
        torch.uint8,
        MinMaxObserver,
        quant_min=0,
        quant_max=127,
        qscheme=torch.per_tensor_affine,
    )

    def __init__(self, has_integer_bias: bool = False) -> None:
        self.has_integer_bias = has_integer_bias

    def annotate(self, model: fx.GraphModule) -> fx.GraphModule:
        for node in model.graph.nodes:
            if node.op == "call_function":
                node.meta["quantization_annotation"] = self.annotation(node)
        return model

    def annotation(self, node: fx.Node) -> QuantizationAnnotation:
        inputs = {each: self.activation for each in node.all_input_nodes}
        if is_weighted(node):
            data, weight, *bias = node.args[:3]
            inputs = {data: self.activation, weight: weights(node)}
            if self.has_integer_bias and bias:
                inputs[bias[0]] = bias_of(data, weight, node)
        # An activation behind a weighted operator is one with it.
        if is_activation(node) and is_weighted(node.all_input_nodes[0]):
            inputs = {}
        is_fused = is_weighted(node) and any(is_activation(each) for each in node.users)
        output = None if is_fused else self.activation
        return QuantizationAnnotation(inputs, output, _annotated=True)

    def validate(self, model: fx.GraphModule) -> None:
        pass


def name_of(node: fx.Node) -> str:
    return str(getattr(node.target, "__name__", ""))


def is_weighted(node: fx.Node) -> bool:
    return name_of(node).startswith(("conv", "linear"))


def is_activation(node: fx.Node) -> bool:
    return name_of(node).startswith(("relu", "hardtanh", "clamp"))


def weights(node: fx.Node) -> QuantizationSpec:
    return QuantizationSpec(
        torch.int8,
        PerChannelMinMaxObserver,
        quant_min=-127,
        quant_max=127,
        qscheme=torch.per_channel_symmetric,
        ch_axis=1 if "transpose" in name_of(node) else 0,
    )


def bias_of(data: fx.Node, weight: fx.Node, node: fx.Node) -> DerivedQuantizationSpec:
    """The bias in the accumulator's scale, as quantizers for integer accelerators make it."""

    def derived(observers: list[Any]) -> tuple[Any, Any]:
        (data_scale, _), (weight_scale, _) = (each.calculate_qparams() for each in observers)
        scale = data_scale * weight_scale
        return scale, torch.zeros_like(scale, dtype=torch.int64)

    return DerivedQuantizationSpec(
        derived_from=[(data, node), (weight, node)],
        derive_qparams_fn=derived,
        dtype=torch.int32,
        quant_min=-(2**31),
        quant_max=2**31 - 1,
        qscheme=torch.per_channel_symmetric,
        ch_axis=0,
    )


def xnnpack(**options: Any) -> Quantizer:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it has moved to another package
        quantizer = XNNPACKQuantizer()
    return quantizer.set_global(get_symmetric_quantization_config(**options))


# ---- quantized networks --------------------------------------------------------------------------


def made(
    network: Callable[[], nn.Module],
    quantizer: Quantizer,
    shape: tuple[int, ...] = (1, 3, 16, 16),
    **options: Any,
) -> Made:
    """A network after PT2E's three steps; the options are those of convert_pt2e."""
    torch.manual_seed(3)
    inputs = (torch.randn(shape),)
    captured = torch.export.export(network().eval(), inputs).module()
    prepared = prepare_pt2e(captured, quantizer)
    for _ in range(4):
        prepared(torch.randn(shape))
    converted = convert_pt2e(prepared, **options)
    return Made(converted, torch.export.export(copy.deepcopy(converted), inputs), inputs)


MODELS: dict[str, Callable[[], Made]] = {
    "residual": lambda: made(Residual, xnnpack(is_per_channel=True)),
    "residual_per_tensor": lambda: made(Residual, xnnpack()),
    "soup": lambda: made(Soup, Everything()),
    "integer_bias": lambda: made(Small, Everything(has_integer_bias=True)),
    "not_folded": lambda: made(Small, xnnpack(is_per_channel=True), fold_quantize=False),
}

REFUSED: dict[str, Callable[[], Made]] = {
    "dynamic": lambda: made(Small, xnnpack(is_dynamic=True)),
    "no converter": lambda: made(Same, xnnpack(is_per_channel=True)),
}


# ---- what an export says -------------------------------------------------------------------------


def said(program: Any) -> dict[str, Any]:
    """Scale and zero point of every quantize in the program; the weights and the biases, as
    [dtype, shape, numbers, scales, zero points]. Weights that are quantized as the program runs
    are left out."""
    signature = program.graph_signature
    targets = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    tensors = {name: program.state_dict[target] for name, target in targets.items()}
    calls = [each for each in program.graph.nodes if each.op == "call_function"]
    spaces, weights, biases = [], [], []
    for node in calls:
        name = name_of(node)
        if name == "quantize_per_tensor.default":
            scale, zero_point = node.args[1:3]
            spaces.append([float(torch.tensor(scale, dtype=torch.float32)).hex(), zero_point])
        if name.startswith("dequantize") and node.args[0].name in tensors:
            numbers = tensors[node.args[0].name]
            many = [tensors.get(getattr(each, "name", ""), each) for each in node.args[1:3]]
            scales, zero_points = (torch.as_tensor(each).ravel() for each in many)
            kept = [*plain(numbers), scales.float().tolist(), zero_points.tolist()]
            (biases if numbers.dtype == torch.int32 else weights).append(kept)
        bias = node.args[2] if is_weighted(node) and len(node.args) > 2 else None
        if getattr(bias, "name", "") in tensors:
            biases.append([*plain(tensors[bias.name]), None, None])
    return {"spaces": sorted(spaces), "weights": sorted(weights), "biases": sorted(biases)}


def plain(tensor: Any) -> list[Any]:
    dtype = str(tensor.dtype).removeprefix("torch.")
    return [dtype, list(tensor.shape), tensor.detach().ravel().tolist()]
