"""Class-activation maps against Grad-CAM by PyTorch's own gradients (Selvaraju 2020, doi:10.1007/s11263-019-01228-7)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from example_network import PIXELS, WEIGHT, network_features, rectified_maps, write_network
from numpy.typing import NDArray

from nodogram.deep.embed import OnnxBackbone
from nodogram.errors import BundleError, Reason
from nodogram.settings import NetworkSettings
from training.backbone import Backbone, build_backbone, estimate_batch_norm
from training.backbone_export import export_backbone
from training.backbone_fit import FinetunedBackbone
from training.evidence.activation_maps import (
    ActivationModel,
    ActivationSheet,
    activation_sheet,
    decode_picture,
    encode_picture,
    head_threshold,
)
from training.weights import resolve_initial_weights


def grad_cam(module: Backbone, pixels: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return ReLU(sum over k of alpha_k A_k) with alpha_k the mean gradient of the logit, by hooks on the last block."""
    kept: list[torch.Tensor] = []
    handle = module.layer4.register_forward_hook(lambda _module, _given, made: kept.append(made))
    _, logit = module(torch.from_numpy(pixels))
    handle.remove()
    (gradient,) = torch.autograd.grad(logit.sum(), kept[0])
    alpha = gradient.mean(dim=(2, 3), keepdim=True)
    return (alpha * kept[0]).sum(dim=1).relu().detach().numpy().astype(np.float64)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ActivationModel:
    return ActivationModel.load(write_network(tmp_path_factory.mktemp("small") / "backbone.onnx"), threads=1)


@pytest.fixture(scope="module")
def features() -> NDArray[np.float64]:
    return network_features(PIXELS)


@pytest.fixture(scope="module")
def sheet(model: ActivationModel, features: NDArray[np.float64]) -> ActivationSheet:
    # Outcomes by turns, so that the network is right and wrong on either side.
    log_odds = model.log_odds(features)
    outcome = (np.argsort(np.argsort(log_odds)) % 2).astype(np.int64)
    return activation_sheet(model, PIXELS, features, outcome, threshold=float(np.median(log_odds)), sample="test")


def test_evidence_is_the_weighted_sum_of_the_maps_and_averages_to_the_logit(
    model: ActivationModel, features: NDArray[np.float64]
) -> None:
    evidence = model.evidence(PIXELS)
    np.testing.assert_allclose(evidence, np.einsum("k,nkij->nij", WEIGHT[0], rectified_maps(PIXELS)), atol=1e-5)
    np.testing.assert_allclose(evidence.mean(axis=(1, 2)) + model.bias, model.log_odds(features), atol=1e-5)


def test_the_map_of_an_exported_resnet_is_its_grad_cam_times_the_number_of_positions(tmp_path: Path) -> None:
    network = NetworkSettings(
        enabled=True, crop="fixed_mm", crop_size_mm=80, crop_margin_mm=0, resize_px=96, input_px=96, window_hu=(-125, 225)
    )
    initial = resolve_initial_weights(("none",))
    module = build_backbone(initial, seed=3)
    images = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (8, 96, 96, 3), dtype=np.uint8))
    # Activations of the size of a trained network's, and a head that finds evidence of both signs.
    estimate_batch_norm(module, images, torch.arange(8), 96, 8)
    torch.nn.init.normal_(module.head.weight, std=0.05, generator=torch.Generator().manual_seed(1))
    export_backbone(FinetunedBackbone(module, network, initial, (), 0, (), "cpu", 0), tmp_path / "backbone.onnx", network)
    pixels = np.random.default_rng(2).random((2, 3, 96, 96), dtype=np.float32)
    found = ActivationModel.load(tmp_path / "backbone.onnx")
    evidence = found.evidence(pixels)
    assert evidence.shape == (2, 3, 3)
    expected = grad_cam(module, pixels)
    np.testing.assert_allclose(np.maximum(evidence, 0.0), 9 * expected, atol=1e-4)
    assert 0 < np.mean(expected > 0) < 1, "a map of one sign would agree too easily"
    embedding = OnnxBackbone.load(tmp_path / "backbone.onnx").embed(pixels)
    np.testing.assert_allclose(found.log_odds(embedding.features), embedding.logit, atol=1e-5)


def test_the_sheet_shows_the_most_certain_right_and_wrong_cases(
    sheet: ActivationSheet, model: ActivationModel, features: NDArray[np.float64]
) -> None:
    assert sheet.counts == (3, 3, 3, 3)
    assert sheet.patient_count == sum(sheet.counts)
    log_odds = np.sort(model.log_odds(features))
    # Ranks 0 to 11 with outcome 0, 1, 0, 1, ...: positive are ranks 6 to 11, and those of odd rank have the outcome.
    expected = {"true positive": (11, 9), "false positive": (10, 8), "true negative": (0, 2), "false negative": (1, 3)}
    for kind, ranks in expected.items():
        shown = [c.probability for c in sheet.cases if c.kind == kind]
        assert shown == pytest.approx([1 / (1 + np.exp(-log_odds[r])) for r in ranks])
    for case in sheet.cases:
        assert np.mean(case.evidence) + sheet.bias == pytest.approx(np.log(case.probability / (1 - case.probability)), abs=1e-4)
        assert case.outcome == (case.kind in ("true positive", "false negative"))


def test_grad_cam_of_a_negative_call_is_evidence_against_the_outcome(sheet: ActivationSheet) -> None:
    for case in sheet.cases:
        sign = 1 if case.kind in ("true positive", "false positive") else -1
        np.testing.assert_array_equal(case.grad_cam, np.maximum(sign * np.array(case.evidence), 0))


def test_the_sheet_survives_json_and_can_leave_its_pictures_behind(sheet: ActivationSheet) -> None:
    assert ActivationSheet.model_validate_json(sheet.model_dump_json()) == sheet
    sent = sheet.without_pictures()
    assert {case.picture for case in sent.cases} == {None}
    assert [case.evidence for case in sent.cases] == [case.evidence for case in sheet.cases]
    assert all(case.picture is not None for case in sheet.cases)


def test_a_picture_comes_back_within_half_a_step() -> None:
    np.testing.assert_allclose(decode_picture(encode_picture(PIXELS[0, 0])), PIXELS[0, 0], atol=0.5 / 63 + 0.5 / 255)


def test_kinds_without_patients_stay_empty(model: ActivationModel, features: NDArray[np.float64]) -> None:
    outcome, half = np.zeros(12, dtype=np.int64), np.full(12, 0.5)
    found = activation_sheet(model, PIXELS, features, outcome, threshold=1e9, sample="external", nomogram_probability=half)
    assert found.counts == (0, 0, 12, 0)
    assert found.of("false positive") == ()
    assert [c.nomogram_probability for c in found.cases] == [0.5, 0.5]
    empty = activation_sheet(model, PIXELS[:0], features[:0], outcome[:0], threshold=0.0, sample="external")
    assert (empty.counts, empty.cases) == ((0, 0, 0, 0), ())


def test_the_threshold_calls_as_many_positive_as_have_the_outcome() -> None:
    assert head_threshold(np.array([0.1, 3.0, -1.0, 2.0]), np.array([1, 0, 0, 1])) == pytest.approx(1.05)
    constant = head_threshold(np.full(4, 0.7), np.array([1, 0, 0, 0]))
    assert constant == pytest.approx(0.7)


def test_other_graphs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError) as missing:
        ActivationModel.load(tmp_path / "backbone.onnx")
    assert missing.value.reason is Reason.BUNDLE_FILE_MISSING
    (tmp_path / "text.onnx").write_bytes(b"no model")
    with pytest.raises(BundleError) as damaged:
        ActivationModel.load(tmp_path / "text.onnx")
    assert damaged.value.reason is Reason.UNREADABLE_FILE
    for network in (
        write_network(tmp_path / "maximum.onnx", pool="GlobalMaxPool"),
        write_network(tmp_path / "two.onnx", units=2),
    ):
        with pytest.raises(BundleError, match="global average pooling and one linear unit") as refused:
            ActivationModel.load(network)
        assert refused.value.reason is Reason.BUNDLE_FORMAT_UNSUPPORTED
