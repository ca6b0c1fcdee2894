from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from nodogram.deep.embed import BATCH_CAP, DEEP_FEATURE_NAMES, FEATURE_COUNT, OnnxBackbone
from nodogram.errors import BundleError, NodogramError, Reason, SurroundingsError

SIDE = 8
CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
GENERATOR = np.random.default_rng(7)
WEIGHTS = GENERATOR.normal(size=(3, FEATURE_COUNT)).astype(np.float32)
HEAD = GENERATOR.normal(size=(FEATURE_COUNT, 1)).astype(np.float32)


def write_linear_backbone(path: Path, logit_name: str = "logit") -> Path:
    """Write a graph with the interface of a backbone: features are linear in the mean of each channel."""
    nodes = [
        helper.make_node("ReduceMean", ["pixels", "axes"], ["mean"], keepdims=0),
        helper.make_node("MatMul", ["mean", "weights"], ["features"]),
        helper.make_node("MatMul", ["features", "head"], ["column"]),
        helper.make_node("Squeeze", ["column", "last"], [logit_name]),
    ]
    constants = {"axes": np.array([2, 3]), "weights": WEIGHTS, "head": HEAD, "last": np.array([1])}
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])],
        [
            helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", FEATURE_COUNT]),
            helper.make_tensor_value_info(logit_name, TensorProto.FLOAT, ["batch"]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20)]), path)
    return path


def pixels(count: int) -> NDArray[np.float32]:
    return np.random.default_rng(count).random((count, 3, SIDE, SIDE), dtype=np.float32)


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_linear_backbone(tmp_path_factory.mktemp("model") / "backbone.onnx")


@pytest.fixture(scope="module")
def backbone(model_file: Path) -> OnnxBackbone:
    return OnnxBackbone.load(model_file, threads=1)


def test_names_are_ordered_and_as_many_as_features() -> None:
    assert len(DEEP_FEATURE_NAMES) == FEATURE_COUNT == 2048
    assert DEEP_FEATURE_NAMES[0] == "deep.0000"
    assert DEEP_FEATURE_NAMES[-1] == "deep.2047"
    assert list(DEEP_FEATURE_NAMES) == sorted(set(DEEP_FEATURE_NAMES))


def test_embedding_is_what_the_graph_computes(backbone: OnnxBackbone) -> None:
    given = pixels(5)
    found = backbone.embed(given)
    features = given.astype(np.float64).mean(axis=(2, 3)) @ WEIGHTS
    np.testing.assert_allclose(found.features, features, atol=1e-5)
    np.testing.assert_allclose(found.logit, (features @ HEAD)[:, 0], atol=1e-3)
    assert found.features.dtype == found.logit.dtype == np.float64
    assert backbone.input_px == SIDE


@pytest.mark.parametrize("count", [0, 1, BATCH_CAP, BATCH_CAP + 1, 2 * BATCH_CAP + 3])
def test_each_crop_is_embedded_as_if_alone(backbone: OnnxBackbone, count: int) -> None:
    given = pixels(count)
    together = backbone.embed(given)
    assert together.features.shape == (count, FEATURE_COUNT)
    assert together.logit.shape == (count,)
    for index in {0, count // 2, count - 1} & set(range(count)):
        alone = backbone.embed(given[index : index + 1])
        np.testing.assert_allclose(together.features[index], alone.features[0], atol=1e-5)


def test_the_provider_in_use_is_told(backbone: OnnxBackbone) -> None:
    assert backbone.provider == CPU


@pytest.mark.skipif(CUDA in onnxruntime.get_available_providers(), reason="ONNX Runtime for CUDA is installed")
def test_a_provider_that_is_not_installed_is_passed_over_or_refused(model_file: Path) -> None:
    assert OnnxBackbone.load(model_file, (CUDA, CPU)).provider == CPU
    with pytest.raises(SurroundingsError, match=CUDA) as refusal:
        OnnxBackbone.load(model_file, (CUDA,))
    assert refusal.value.reason is Reason.DEPENDENCY_MISSING


@pytest.mark.gpu
@pytest.mark.skipif(CUDA not in onnxruntime.get_available_providers(), reason="ONNX Runtime for CUDA is not installed")
def test_cuda_gives_what_the_cpu_gives(model_file: Path, backbone: OnnxBackbone) -> None:
    on_cuda = OnnxBackbone.load(model_file, (CUDA, CPU))
    assert on_cuda.provider == CUDA
    np.testing.assert_allclose(on_cuda.embed(pixels(4)).features, backbone.embed(pixels(4)).features, atol=1e-4)


@pytest.mark.parametrize("wrong", [pixels(2)[:, :1], pixels(2)[..., 1:], pixels(2).astype(np.float64), pixels(2)[0]])
def test_pixels_of_another_shape_or_type_are_refused(backbone: OnnxBackbone, wrong: NDArray[np.float32]) -> None:
    with pytest.raises(ValueError, match="required"):
        backbone.embed(wrong)


def test_a_missing_damaged_or_foreign_file_is_refused(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(b"not a model")
    foreign = write_linear_backbone(tmp_path / "foreign.onnx", logit_name="probability")
    expected = {
        tmp_path / "absent.onnx": Reason.BUNDLE_FILE_MISSING,
        damaged: Reason.UNREADABLE_FILE,
        foreign: Reason.BUNDLE_FORMAT_UNSUPPORTED,
    }
    for path, reason in expected.items():
        with pytest.raises(BundleError) as refusal:
            OnnxBackbone.load(path)
        assert refusal.value.reason is reason


def test_without_onnxruntime_the_extra_is_named(model_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # what the import system does for a module that is not there
    with pytest.raises(NodogramError, match=r"'serve' or 'train'") as refusal:
        OnnxBackbone.load(model_file)
    assert refusal.value.reason is Reason.DEPENDENCY_MISSING
