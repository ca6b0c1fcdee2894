"""A network of one convolution with the ending and the interface of a backbone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

SIDE, CHANNELS = 12, 4
RNG = np.random.default_rng(0)
WEIGHT = RNG.normal(size=(1, CHANNELS)).astype(np.float32)
BIAS = np.array([0.25], dtype=np.float32)
KERNEL = RNG.normal(size=(CHANNELS, 3, 3, 3)).astype(np.float32)
PIXELS = RNG.random((12, 3, SIDE, SIDE), dtype=np.float32)


def write_network(path: Path, *, pool: str = "GlobalAveragePool", units: int = 1) -> Path:
    """Write convolution, rectifier, pooling and linear layer with the interface of a backbone."""
    weight = np.repeat(WEIGHT, units, axis=0)
    nodes = [
        helper.make_node("Conv", ["pixels", "kernel"], ["convolved"], strides=[3, 3]),
        helper.make_node("Relu", ["convolved"], ["maps"]),
        helper.make_node(pool, ["maps"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["features"]),
        helper.make_node("Gemm", ["features", "weight", "bias"], ["linear"], transB=1),
        helper.make_node("Reshape", ["linear", "flat"], ["logit"]),
    ]
    stored = {"kernel": KERNEL, "weight": weight, "bias": np.repeat(BIAS, units), "flat": np.array([-1])}
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])],
        [
            helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", CHANNELS]),
            helper.make_tensor_value_info("logit", TensorProto.FLOAT, ["any"]),
        ],
        [numpy_helper.from_array(value, name) for name, value in stored.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


def rectified_maps(pixels: NDArray[np.float32]) -> NDArray[np.float64]:
    with torch.inference_mode():
        maps = torch.conv2d(torch.from_numpy(pixels), torch.from_numpy(KERNEL), stride=3).relu()
    return maps.numpy().astype(np.float64)


def network_features(pixels: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the pooled features (n, channels)."""
    return np.asarray(rectified_maps(pixels).mean(axis=(2, 3)), dtype=np.float64)
