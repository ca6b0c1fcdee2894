"""Agreement reports, and outlines perturbed where no second reader has drawn any."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodogram.case import Case
from nodogram.features import FeatureTable
from nodogram.geometry import Geometry
from nodogram.imaging.load import load_case
from nodogram.stats.agreement import icc_absolute_agreement
from nodogram.synthesis.cohort import write_cohort
from nodogram.volume import Mask
from training.cohort import load_cohort
from training.evidence.agreement import agreement_report, compare_outlines, feature_kind
from training.evidence.contours import ContourPerturbation, perturbed_cases, perturbed_masks, perturbed_readings
from training.recipe import load_recipe

NAMES = (
    "radiomics.original_shape_MeshVolume",
    "radiomics.original_firstorder_Mean",
    "radiomics.log-sigma-2-0-mm-3D_glcm_Contrast",
    "radiomics.wavelet-LLH_glcm_Contrast",
    "deep.0007",
)


def tables(seed: int, patients: int, noise: tuple[float, ...], readings: int = 2) -> tuple[FeatureTable, ...]:
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=(patients, len(NAMES)))
    ids = tuple(f"p{i}" for i in range(patients))
    return tuple(FeatureTable(ids, NAMES, truth + rng.normal(size=truth.shape) * noise) for _ in range(readings))


def cube(side: int, spacing_mm: tuple[float, float, float] = (2.0, 0.8, 0.8), shape: int = 24) -> Mask:
    array = np.zeros((shape,) * 3, bool)
    array[8 : 8 + side, 8 : 8 + side, 8 : 8 + side] = True
    return Mask(array, Geometry(array.shape, spacing_mm, (0, 0, 0), np.eye(3)))


def test_report_counts_by_class_and_image() -> None:
    first, second = tables(1, 40, (0.01, 0.01, 3.0, 0.01, 3.0))
    scores = np.column_stack([first.values[:, 0], second.values[:, 0]])
    report = agreement_report([first, second], source="two readers", scores=scores)
    expected = icc_absolute_agreement(np.stack([first.values, second.values], axis=1))
    assert [f.icc for f in report.features] == pytest.approx(expected.icc.tolist())
    assert [f.low for f in report.features] == pytest.approx(expected.low.tolist())
    assert {c.kind: (c.count, c.reached) for c in report.by_class} == {
        "shape": (1, 1),
        "firstorder": (1, 1),
        "glcm": (2, 1),
        "deep": (1, 0),
    }
    assert {c.kind: (c.count, c.reached) for c in report.by_image} == {
        "original": (2, 2),
        "log-sigma-2-0-mm-3D": (1, 0),
        "wavelet-LLH": (1, 1),
        "deep": (1, 0),
    }
    assert (report.feature_count, report.reached_count, report.patient_count, report.reading_count) == (5, 3, 40, 2)
    assert report.score is not None
    assert report.score.icc == pytest.approx(report.features[0].icc)
    assert report.score.limits is not None
    assert report.score.limits.lower < 0 < report.score.limits.upper
    assert type(report).model_validate_json(report.model_dump_json()) == report


def test_the_bound_decides() -> None:
    readings = tables(2, 12, (0.45,) * 5)
    point, lower = (agreement_report(readings, source="x", bound=bound).reached_count for bound in ("point", "lower_95"))
    assert point > lower


def test_one_patient_has_no_icc() -> None:
    readings = tables(3, 1, (0.1,) * 5)
    outline = compare_outlines("p0", cube(5), cube(6))
    report = agreement_report(readings, source="x", scores=np.ones((1, 2)), outlines=[outline])
    assert [f.icc for f in report.features] == [None] * 5
    assert report.reached_count == 0
    assert report.score is not None
    assert (report.score.icc, report.score.limits) == (None, None)
    assert report.outlines is not None
    assert report.outlines.volume is None


def test_tables_that_do_not_match_are_refused() -> None:
    first, second = tables(1, 4, (0.1,) * 5)
    with pytest.raises(ValueError, match="at least 2"):
        agreement_report([first], source="x")
    with pytest.raises(ValueError, match="same patients"):
        agreement_report([first, second.rows(second.case_ids[::-1])], source="x")
    with pytest.raises(ValueError, match="is required"):
        agreement_report([first, second], source="x", scores=np.ones((4, 3)))


def test_feature_kinds() -> None:
    assert feature_kind("radiomics.wavelet-LLH_glcm_Idmn") == ("glcm", "wavelet-LLH")
    assert feature_kind("deep.0001") == ("deep", "deep")
    assert feature_kind("clinical.age_years") == ("clinical", "clinical")


def test_outlines_in_closed_form() -> None:
    first, second = cube(10), cube(12)
    found = compare_outlines("p", first, second)
    assert found.dice == pytest.approx(2 * 1000 / (1000 + 1728))
    # The far face of the larger cube is two slices off, 4 mm, its edges and its corner a little more.
    assert 4.0 <= found.hausdorff_95_mm <= np.hypot(4.0, np.hypot(1.6, 1.6))
    voxel_cm3 = 2.0 * 0.8 * 0.8 / 1000
    assert (found.first_cm3, found.second_cm3) == pytest.approx((1000 * voxel_cm3, 1728 * voxel_cm3))
    report = agreement_report(tables(1, 2, (0.1,) * 5), source="x", outlines=[found, compare_outlines("q", second, first)])
    assert report.outlines is not None
    assert report.outlines.dice.median == pytest.approx(found.dice)
    assert report.outlines.volume is not None
    assert report.outlines.volume.bias == pytest.approx(0.0)
    assert report.outlines.volume.sd == pytest.approx(728 * voxel_cm3 * np.sqrt(2))
    with pytest.raises(ValueError, match="different grids"):
        compare_outlines("p", first, cube(5, (1.0, 1.0, 1.0)))


def test_outlines_of_no_perturbation_are_the_outline() -> None:
    still = ContourPerturbation(count=3, shift_voxels=0, growth_mm=0, roughness_mm=0)
    for mask in (
        cube(1),
        cube(7),
        cube(24 - 8),
        Mask(np.ones((4, 4, 4), bool), Geometry((4,) * 3, (1,) * 3, (0,) * 3, np.eye(3))),
    ):
        for other in perturbed_masks(mask, still, np.random.default_rng(0)):
            assert np.array_equal(other.array, mask.array)


def test_growth_alone_moves_the_surface_by_so_much() -> None:
    mask = cube(13, (1.0, 1.0, 1.0), shape=30)
    grown = ContourPerturbation(count=60, shift_voxels=0, growth_mm=2.0, roughness_mm=0)
    counts = {round(other.voxel_count ** (1 / 3)) for other in perturbed_masks(mask, grown, np.random.default_rng(4))}
    # Within 2 mm a face can move by -2 to 2 voxels; dilated cubes have rounded edges.
    assert {9, 11, 13} < counts
    assert 9 <= min(counts) <= max(counts) <= 17


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), side=st.integers(1, 6), growth=st.floats(0, 5), roughness=st.floats(0, 3))
def test_no_perturbed_outline_is_empty(seed: int, side: int, growth: float, roughness: float) -> None:
    perturbation = ContourPerturbation(count=3, growth_mm=growth, roughness_mm=roughness, shift_voxels=1)
    mask = cube(side)
    for other in perturbed_masks(mask, perturbation, np.random.default_rng(seed)):
        assert other.voxel_count > 0
        assert other.geometry.is_same_grid(mask.geometry)


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> tuple[Case, ...]:
    folder = tmp_path_factory.mktemp("agreement")
    write_cohort(folder, patient_count=4, seed=8, signal=1.0, image_format="nifti", matrix=128, slice_count=32)
    return tuple(load_case(p.patient_id, p.image, p.roi, roi_name=p.roi_name) for p in load_cohort(folder).patients)


def test_perturbed_readings_of_synthetic_patients(cases: tuple[Case, ...]) -> None:
    model = load_recipe("demo").model
    model = model.model_copy(update={"network": model.network.model_copy(update={"enabled": False})})
    names = (
        "radiomics.original_shape_MeshVolume",
        "radiomics.original_firstorder_Median",
        "radiomics.original_glcm_Contrast",
    )
    perturbation = ContourPerturbation(count=4, seed=3)
    readings = perturbed_readings(cases, model, perturbation, names)
    assert len(readings) == 4
    assert readings[0].case_ids == tuple(case.case_id for case in cases)
    report = agreement_report(readings, source="perturbed outlines", form="ICC(1,1)", bound="point")
    assert [f.name for f in report.features] == list(names)
    # Tumors differ far more in size than their outlines were moved.
    volume = report.features[0]
    assert volume.icc is not None
    assert 0.9 < volume.icc < 1.0
    again = perturbed_readings(cases[1:2], model, perturbation, names)
    assert [t.values[0].tolist() for t in again] == [t.values[1].tolist() for t in readings]


def test_perturbed_outlines_are_near_the_drawn_one(cases: tuple[Case, ...]) -> None:
    case = cases[0]
    perturbed = perturbed_cases(case, ContourPerturbation(count=6, seed=1))
    assert len({other.mask.array.tobytes() for other in perturbed}) == 6
    for other in perturbed:
        assert other.volume is case.volume
        found = compare_outlines(case.case_id, case.mask, other.mask)
        assert 0.7 < found.dice < 1.0
        assert 0 < found.hausdorff_95_mm < 5
