"""Which models lie below tests/data, and what TVM 0.16's frontends do with them (all tried)."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "tests" / "data"

_NETWORKS = (
    "ad_autoencoder_int8",
    "ds_cnn_kws_fp32",
    "ds_cnn_kws_int16x8",
    "ds_cnn_kws_int8",
    "ds_cnn_kws_int8_floatio",
    "legacy_uint8_fq",
    "lstm_unrolled_int8",
    "mobilenet_v1_025_96_int8",
    "mobilenet_v2_035_96_int8",
    "op_soup_nol2_int8",
    "qat_tfmot_int8",
    "resnet8_cifar_int8",
    "resnet8_cifar_uint8io",
    "transformer_relu_int8",
    "unet_64_int8",
)
_OPERATORS = (
    *("abs", "add", "add_const", "add_relu", "add_self", "avg_pool", "avg_pool_relu"),
    *("batch_matmul", "concat", "conv2d", "conv2d_1x1", "conv2d_bias_relu6"),
    *("conv2d_explicit_pad", "conv2d_group2", "dwconv", "dwconv_bias_relu6", "elu", "exp"),
    *("fc", "fc_bias", "fc_bias_relu", "greater_select", "hard_swish", "leaky_relu"),
    *("log_softmax", "max_pool", "maximum", "mean", "minimum", "mul", "mul_scalar", "neg"),
    *("pack", "pad", "prelu", "reduce_max", "relu", "relu6", "reshape", "resize_bilinear"),
    *("resize_nearest", "sigmoid", "slice", "softmax", "split", "square"),
    *("squared_difference", "strided_slice", "sub", "sub_relu", "sum", "swish", "tanh"),
    *("transpose", "transpose_conv_bias"),
)

TFLITE_NETWORKS = tuple(f"tflite/{name}.tflite" for name in _NETWORKS)
TFLITE_OPERATORS = tuple(f"tflite/ops/{name}.tflite" for name in _OPERATORS)
TFLITE = TFLITE_NETWORKS + TFLITE_OPERATORS
ONNX = (
    "onnx/opsoup_qdq_s8s8.onnx",
    "onnx/resnet_dyn_u8.onnx",
    "onnx/resnet_qdq_u8s8.onnx",
    "onnx/resnet_qdq_s8s8_pc.onnx",
)
# Names are paths below DATA.
IMPORTABLE = TFLITE + ONNX
# And a part of what is said of each.
NOT_IMPORTABLE = {
    "onnx/resnet_qop_u8s8.onnx": "QOperator form (QLinearConv, ",
    "tflite/ds_cnn_kws_dynrange.tflite": "only the weights of 'CONV_2D' are quantized",
    "tflite/op_soup_int8.tflite": "does not support L2_NORMALIZATION in integers",
}
