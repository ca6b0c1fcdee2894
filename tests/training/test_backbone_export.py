from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

from nodogram.deep.embed import BATCH_CAP, FEATURE_COUNT, OnnxBackbone
from nodogram.errors import Reason, TrainingError
from nodogram.imaging.crop import center_crop
from nodogram.settings import NetworkSettings
from training.backbone_export import IR_VERSION, OPSET, PARITY_TOLERANCE, ExportReport, export_backbone
from training.backbone_fit import FinetunedBackbone, embed, finetune
from training.guard import FitScope
from training.recipe import FinetuneSettings
from training.weights import resolve_initial_weights

RESIZE, INPUT, COUNT = 64, 48, 8
NETWORK = NetworkSettings(
    enabled=True,
    crop="fixed_mm",
    crop_size_mm=80,
    crop_margin_mm=0,
    resize_px=RESIZE,
    input_px=INPUT,
    window_hu=(-125, 225),
)
CROPS = np.random.default_rng(0).random((COUNT, 3, RESIZE, RESIZE), dtype=np.float32)


def small_backbone() -> FinetunedBackbone:
    ids = tuple(str(i) for i in range(COUNT))
    settings = FinetuneSettings(
        initial_weights=("none",),
        frozen_through="layer3",
        batch_norm_statistics="frozen",
        optimizer="adamw",
        learning_rate=1e-3,
        weight_decay=1e-4,
        batch_size=4,
        maximum_epochs=1,
        early_stopping_patience=5,
        validation_fraction=0.0,
        horizontal_flip=True,
        vertical_flip=False,
        random_crop=True,
        intensity_jitter=0.05,
    )
    return finetune(
        CROPS,
        np.array([0, 1] * (COUNT // 2)),
        ids,
        network=NETWORK,
        settings=settings,
        initial=resolve_initial_weights(("none",)),
        seed=1,
        scope=FitScope("all", frozenset(ids)),
        device="cpu",
    )


def export_and_tell(path: str) -> None:
    """Export the small backbone and write the digest; run in a process of its own."""
    sys.stdout.write(export_backbone(small_backbone(), Path(path), NETWORK).sha256)


@pytest.fixture(scope="module")
def backbone() -> FinetunedBackbone:
    return small_backbone()


@pytest.fixture(scope="module")
def report(backbone: FinetunedBackbone, tmp_path_factory: pytest.TempPathFactory) -> ExportReport:
    return export_backbone(backbone, tmp_path_factory.mktemp("export") / "backbone.onnx", NETWORK, CROPS)


@pytest.fixture(scope="module")
def exported(report: ExportReport) -> OnnxBackbone:
    return OnnxBackbone.load(report.path)


def pictures(count: int) -> NDArray[np.float32]:
    return np.random.default_rng(count).random((count, 3, INPUT, INPUT), dtype=np.float32)


def test_the_graph_has_the_agreed_interface_and_nothing_else(report: ExportReport) -> None:
    model = onnx.load(report.path)
    shapes = {v.name: [d.dim_value or d.dim_param for d in v.type.tensor_type.shape.dim] for v in model.graph.input}
    assert shapes == {"pixels": ["batch", 3, INPUT, INPUT]}
    shapes = {v.name: [d.dim_value or d.dim_param for d in v.type.tensor_type.shape.dim] for v in model.graph.output}
    assert shapes == {"features": ["batch", FEATURE_COUNT], "logit": ["batch"]}
    assert (model.ir_version, [(o.domain, o.version) for o in model.opset_import]) == (IR_VERSION, [("", OPSET)])
    assert not model.functions
    assert not model.metadata_props
    assert not any(node.metadata_props or node.doc_string for node in model.graph.node)


def test_the_file_names_neither_machine_nor_exporter(report: ExportReport) -> None:
    content = report.path.read_bytes()
    for trace in (
        b"site-packages",
        b"torch",
        str(Path(__file__).parents[2]).encode(),
        str(Path.home()).encode() + b"/",
    ):
        assert trace not in content
    assert report.size_bytes == len(content)


def test_onnx_reproduces_torch_on_the_crops(report: ExportReport, exported: OnnxBackbone, backbone: FinetunedBackbone) -> None:
    assert report.features_max_difference <= PARITY_TOLERANCE == 1e-4
    assert report.logit_max_difference <= PARITY_TOLERANCE
    assert report.compared_count == 4 + COUNT
    features, logit = embed(backbone, CROPS)
    found = exported.embed(np.ascontiguousarray(center_crop(CROPS, INPUT)))
    np.testing.assert_allclose(found.features, features, atol=1e-4)
    np.testing.assert_allclose(found.logit, logit, atol=1e-4)
    assert features.std(axis=0).max() > 0.1, "constant features would agree with anything"


@pytest.mark.parametrize("count", [1, 2, BATCH_CAP + 1])
def test_any_batch_size_gives_each_crop_its_own_features(exported: OnnxBackbone, count: int) -> None:
    given = pictures(count)
    together = exported.embed(given)
    for index in (0, count - 1):
        alone = exported.embed(given[index : index + 1])
        np.testing.assert_allclose(together.features[index], alone.features[0], atol=1e-5)
        np.testing.assert_allclose(together.logit[index], alone.logit[0], atol=1e-5)


def test_another_process_writes_the_same_bytes(report: ExportReport, tmp_path: Path) -> None:
    program = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import test_backbone_export as t; "
    program += f"t.export_and_tell({str(tmp_path / 'elsewhere.onnx')!r})"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout == report.sha256, "and nothing but the digest is on standard output"
    assert result.stderr == ""
    assert [path.name for path in tmp_path.iterdir()] == ["elsewhere.onnx"]


def test_a_graph_that_does_not_reproduce_torch_is_not_published(backbone: FinetunedBackbone, tmp_path: Path) -> None:
    broken = small_backbone().module
    with torch.no_grad():
        broken.head.bias.fill_(float("nan"))
    with pytest.raises(TrainingError, match="nan in the logit") as refusal:
        export_backbone(replace(backbone, module=broken), tmp_path / "backbone.onnx", NETWORK)
    assert refusal.value.reason is Reason.EXPORT_PARITY_FAILED
    assert list(tmp_path.iterdir()) == []
