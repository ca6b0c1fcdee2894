"""The network on CUDA: in use when asked for, batched, and saying what the CPU says."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from running_server import running

from nodogram.deep.embed import Embedding, OnnxBackbone, in_channels
from serving.batcher import Batcher
from serving.client import Client

CUDA = ("CUDAExecutionProvider", "CPUExecutionProvider")

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module", autouse=True)
def _cuda() -> None:
    runtime = pytest.importorskip("onnxruntime")
    if "CUDAExecutionProvider" not in runtime.get_available_providers():
        pytest.skip("ONNX Runtime has no CUDA here")


@pytest.fixture(scope="module")
def pixels(tiny_run: Path) -> NDArray[np.float32]:
    px = OnnxBackbone.load(tiny_run / "bundle" / "backbone.onnx").input_px
    return np.random.default_rng(0).random((64, 3, px, px), dtype=np.float32)


def largest_difference(found: Embedding, expected: Embedding) -> float:
    return float(np.abs(found.features - expected.features).max() / np.abs(expected.features).max())


def test_single_precision(tiny_run: Path, pixels: NDArray[np.float32]) -> None:
    path = tiny_run / "bundle" / "backbone.onnx"
    on_gpu = OnnxBackbone.load(path, CUDA)
    assert on_gpu.provider == "CUDAExecutionProvider"
    assert largest_difference(on_gpu.embed(pixels), OnnxBackbone.load(path).embed(pixels)) <= 1e-5


def test_half_precision(tiny_run: Path, pixels: NDArray[np.float32], tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    converter = pytest.importorskip("onnxmltools.utils.float16_converter")
    model = onnx.load(tiny_run / "bundle" / "backbone.onnx")
    onnx.save(converter.convert_float_to_float16(model, keep_io_types=True), tmp_path / "half.onnx")
    half = OnnxBackbone.load(tmp_path / "half.onnx", CUDA).embed(pixels)
    assert largest_difference(half, OnnxBackbone.load(tiny_run / "bundle" / "backbone.onnx").embed(pixels)) <= 1e-3


def test_batches_on_cuda_say_what_single_crops_say(tiny_run: Path, pixels: NDArray[np.float32]) -> None:
    backbone = OnnxBackbone.load(tiny_run / "bundle" / "backbone.onnx", CUDA)

    async def ask_all() -> tuple[list[NDArray[np.float64]], list[int]]:
        sizes: list[int] = []
        batcher = Batcher(backbone.embed, maximum_size=16, maximum_wait_s=0.01, observe=lambda size, _: sizes.append(size))
        answers = await asyncio.gather(*(batcher.embed(one) for one in pixels[:, 0]))
        await batcher.close()
        return [answer.features for answer in answers], sizes

    found, sizes = asyncio.run(ask_all())
    assert max(sizes) == 16
    expected = backbone.embed(in_channels(pixels[:, 0])).features
    assert np.abs(np.stack(found) - expected).max() <= 1e-5 * np.abs(expected).max()


def test_the_server_is_ready_on_cuda(tiny_run: Path, tmp_path: Path) -> None:
    with running(tiny_run / "bundle", tmp_path, "--provider", "cuda") as server, Client(server.url) as client:
        assert client.model().provider.active == "CUDAExecutionProvider"
