from __future__ import annotations

import copy
import math
import pickle
import shutil
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nodogram.errors import NodogramError, Reason, SurroundingsError
from nodogram.geometry import Geometry
from nodogram.imaging.load import load_case
from nodogram.imaging.volume_file import write_mask_file, write_volume_file
from nodogram.predict import MeasuredCase, Measurement, measure
from nodogram.radiomics.manifest import feature_names
from nodogram.settings import ModelSettings
from nodogram.synthesis.cohort import write_cohort
from nodogram.volume import Mask, Volume
from serving.archive import ArchiveLimits
from serving.case_worker import CaseLimits, measure_request, warm_up
from serving.requests import CaseRequest, StoredFiles, StoredRegion
from training.recipe import load_recipe

LIMITS = CaseLimits(ArchiveLimits(2**28, 500), 2**24)
SPACING_MM = (2.0, 0.8, 0.8)


def measurement(settings: ModelSettings) -> Measurement:
    return Measurement(settings, feature_names(settings.radiomics)[::7], settings.network.enabled)


@pytest.fixture(scope="module")
def wanted(tiny_recipe: Path) -> Measurement:
    return measurement(load_recipe(str(tiny_recipe)).model)


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of one synthetic patient: ``ct`` of 40 files and ``tumor.dcm``."""
    folder = tmp_path_factory.mktemp("export")
    write_cohort(folder, patient_count=1, seed=3, signal=1.0, image_format="dicom", matrix=160, slice_count=40, test_fraction=0)
    patient = folder / "patients" / "SYN-0001"
    assert (patient / "tumor.dcm").is_file()
    return patient


def phantom(
    shape: tuple[int, int, int] = (40, 80, 80), spacing_mm: tuple[float, float, float] = SPACING_MM
) -> tuple[Volume, Mask]:
    """Return an ellipsoid in the middle of a noisy image of whole HU."""
    geometry = Geometry(shape, spacing_mm, (-40.0, 20.0, 300.0), np.eye(3))
    hu = np.rint(np.random.default_rng(1).normal(50, 30, shape)).astype(np.float32)
    index = np.stack(np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in shape), indexing="ij"))
    inside = sum((axis * mm) ** 2 for axis, mm in zip(index, spacing_mm, strict=True)) < 9.0**2
    hu[inside] += 40
    hu[0, 0, 0] = -1000
    return Volume(hu, geometry), Mask(inside, geometry)


def stored_region(folder: Path, volume: Volume, mask: Mask) -> StoredRegion:
    hu, inside = volume.array.astype("<i2").tobytes(), (mask.array * np.uint8(7)).tobytes()
    (folder / "voxels").write_bytes(hu + inside)
    return StoredRegion(folder / "voxels", len(hu), len(inside), volume.geometry)


def run(source: StoredFiles | StoredRegion, wanted: Measurement, limits: CaseLimits = LIMITS) -> MeasuredCase:
    return measure_request(CaseRequest("case 1", source, {"age": 60}), wanted, limits, time.monotonic() + 60)


def refused(source: StoredFiles | StoredRegion, wanted: Measurement, limits: CaseLimits = LIMITS) -> Reason:
    with pytest.raises(NodogramError) as caught:
        run(source, wanted, limits)
    return caught.value.reason


def assert_same(found: MeasuredCase, expected: MeasuredCase) -> None:
    assert found.case_id == expected.case_id
    assert found.radiomics.names == expected.radiomics.names
    np.testing.assert_array_equal(found.radiomics.values, expected.radiomics.values)
    assert (found.pixels is None) == (expected.pixels is None)
    if found.pixels is not None and expected.pixels is not None:
        np.testing.assert_array_equal(found.pixels, expected.pixels)
    assert found.clinical == expected.clinical
    assert found.acquisition == expected.acquisition
    assert found.notes == expected.notes


def test_a_zipped_series_is_the_series(export: Path, wanted: Measurement, tmp_path: Path) -> None:
    archive = tmp_path / "upload.ZIP"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as stream:
        for file in sorted((export / "ct").iterdir(), reverse=True):
            stream.write(file, f"export/series 3/{file.name}")
    found = run(StoredFiles(archive, export / "tumor.dcm"), wanted)
    expected = measure(load_case("case 1", export / "ct", export / "tumor.dcm", clinical={"age": 60}), wanted)
    assert_same(found, expected)
    assert set(found.stage_s) == {"decode", "prepare", "radiomics"}
    assert found.stage_s["decode"] > 0
    assert list(tmp_path.iterdir()) == [archive]


def test_nothing_unpacked_is_left_by_a_refusal(export: Path, wanted: Measurement, tmp_path: Path) -> None:
    archive = tmp_path / "upload.zip"
    with zipfile.ZipFile(archive, "w") as stream:
        for file in sorted((export / "ct").iterdir())[:2]:
            stream.write(file, file.name)
    assert refused(StoredFiles(archive, export / "tumor.dcm"), wanted) is Reason.TOO_FEW_SLICES
    small = replace(LIMITS, archive=ArchiveLimits(1000, 500))
    assert refused(StoredFiles(archive, export / "tumor.dcm"), wanted, small) is Reason.ARCHIVE_TOO_LARGE
    assert list(tmp_path.iterdir()) == [archive]


def test_a_zip_of_anything_else_has_no_images(wanted: Measurement, tmp_path: Path) -> None:
    volume, mask = phantom()
    write_volume_file(tmp_path / "ct.nii", volume)
    write_mask_file(tmp_path / "roi.nii", mask)
    with zipfile.ZipFile(tmp_path / "upload.zip", "w") as stream:
        stream.write(tmp_path / "ct.nii", "ct.nii")
    with pytest.raises(NodogramError) as caught:
        run(StoredFiles(tmp_path / "upload.zip", tmp_path / "roi.nii"), wanted)
    assert caught.value.reason is Reason.NO_IMAGES
    assert caught.value.message.startswith("the archive holds 1 files")
    assert str(tmp_path) not in caught.value.message


def test_a_region_is_the_file_of_its_voxels(wanted: Measurement, tmp_path: Path) -> None:
    volume, mask = phantom()
    # NRRD, because NIfTI keeps spacings in single precision.
    write_volume_file(tmp_path / "ct.nrrd", volume)
    write_mask_file(tmp_path / "roi.nrrd", mask)
    found = run(stored_region(tmp_path, volume, mask), wanted)
    assert_same(found, run(StoredFiles(tmp_path / "ct.nrrd", tmp_path / "roi.nrrd"), wanted))


@pytest.mark.parametrize(
    ("recipe", "spacing_mm"), [("sound", SPACING_MM), ("sound", (1.0, 1.0, 1.0)), ("paper", (1.0, 1.0, 1.0))]
)
def test_a_region_cut_as_documented_is_the_whole_image(
    recipe: str, spacing_mm: tuple[float, float, float], tmp_path: Path
) -> None:
    settings = load_recipe(recipe).model
    types = tuple(t for t in settings.radiomics.image_types if t != "LoG")
    network = settings.network.model_copy(update={"crop_size_mm": 30.0, "crop_margin_mm": 5.0})
    radiomics = settings.radiomics.model_copy(update={"image_types": types, "log_sigma_mm": ()})
    wanted = measurement(ModelSettings(imaging=settings.imaging, radiomics=radiomics, network=network))
    volume, mask = phantom((60, 100, 100), spacing_mm)
    # Ten mm off each slice axis and eight off the others on both sides: whole numbers of model voxels.
    off = [round(mm / spacing) for mm, spacing in zip((10, 8, 8), spacing_mm, strict=True)]
    box = tuple(slice(n, size - n) for n, size in zip(off, volume.array.shape, strict=True))
    whole = stored_region(tmp_path, volume, mask)
    (tmp_path / "part").mkdir()
    part = stored_region(tmp_path / "part", volume.crop(box), mask.crop(box))
    expected, found = run(whole, wanted), run(part, wanted)
    np.testing.assert_allclose(found.radiomics.values, expected.radiomics.values, rtol=1e-9)
    assert found.pixels is not None
    assert expected.pixels is not None
    np.testing.assert_allclose(found.pixels, expected.pixels, atol=1e-6)


def test_a_region_cut_elsewhere_is_another_image(tmp_path: Path) -> None:
    settings = load_recipe("sound").model
    radiomics = settings.radiomics.model_copy(update={"image_types": ("Original",), "log_sigma_mm": ()})
    wanted = measurement(settings.model_copy(update={"radiomics": radiomics}))
    volume, mask = phantom((60, 100, 100))
    whole = run(stored_region(tmp_path, volume, mask), wanted)
    box = (slice(5, 55), slice(9, 92), slice(10, 90))
    part = run(stored_region(tmp_path, volume.crop(box), mask.crop(box)), wanted)
    # By less than a voxel: the volume hardly, the texture a little.
    np.testing.assert_allclose(part.acquisition.region_volume_cm3, whole.acquisition.region_volume_cm3)
    assert not np.array_equal(part.radiomics.values, whole.radiomics.values)


def test_regions_that_are_refused(wanted: Measurement, tmp_path: Path) -> None:
    volume, mask = phantom()
    good = stored_region(tmp_path, volume, mask)
    for lengths in ((-1, 0), (0, 1), (-1, 1), (good.mask_bytes - good.hu_bytes, good.hu_bytes - good.mask_bytes)):
        wrong = replace(good, hu_bytes=good.hu_bytes + lengths[0], mask_bytes=good.mask_bytes + lengths[1])
        assert refused(wrong, wanted) is Reason.REQUEST_INVALID
    other = Geometry((40, 80, 81), SPACING_MM, (0.0, 0.0, 0.0), np.eye(3))
    assert refused(replace(good, geometry=other), wanted) is Reason.REQUEST_INVALID
    count = math.prod(volume.array.shape)
    assert refused(good, wanted, replace(LIMITS, maximum_voxels=count - 1)) is Reason.IMAGE_TOO_LARGE
    assert run(good, wanted, replace(LIMITS, maximum_voxels=count)).radiomics.names == wanted.radiomics
    good.voxels.write_bytes(good.voxels.read_bytes()[: good.hu_bytes] + bytes(count))
    assert refused(good, wanted) is Reason.ROI_EMPTY


def test_a_huge_region_is_refused_before_its_files_are_touched(wanted: Measurement, tmp_path: Path) -> None:
    huge = Geometry((2**20, 2**20, 2**20), SPACING_MM, (0.0, 0.0, 0.0), np.eye(3))
    assert refused(StoredRegion(tmp_path / "absent", 0, 0, huge), wanted) is Reason.IMAGE_TOO_LARGE


def test_a_region_without_margin_is_refused_as_a_file_is(wanted: Measurement, tmp_path: Path) -> None:
    volume, mask = phantom()
    z, y, x = mask.box
    box = (slice(z.start, z.stop + 5), slice(y.start - 5, y.stop + 5), slice(x.start - 5, x.stop + 5))
    region = stored_region(tmp_path, volume.crop(box), mask.crop(box))
    write_volume_file(tmp_path / "ct.nii", volume.crop(box))
    write_mask_file(tmp_path / "roi.nii", mask.crop(box))
    messages = []
    for source in (region, StoredFiles(tmp_path / "ct.nii", tmp_path / "roi.nii")):
        with pytest.raises(NodogramError) as caught:
            run(source, wanted)
        assert caught.value.reason is Reason.ROI_TOUCHES_BORDER
        messages.append(caught.value.message)
    assert messages[0] == messages[1]


def test_too_many_voxels_of_a_file(wanted: Measurement, tmp_path: Path) -> None:
    volume, mask = phantom()
    write_volume_file(tmp_path / "ct.nii", volume)
    write_mask_file(tmp_path / "roi.nii", mask)
    files = StoredFiles(tmp_path / "ct.nii", tmp_path / "roi.nii")
    assert refused(files, wanted, replace(LIMITS, maximum_voxels=1000)) is Reason.IMAGE_TOO_LARGE


def test_no_time_left(wanted: Measurement, tmp_path: Path) -> None:
    volume, mask = phantom()
    request = CaseRequest("case 1", stored_region(tmp_path, volume, mask))
    with pytest.raises(SurroundingsError) as caught:
        measure_request(request, wanted, LIMITS, time.monotonic() - 1)
    assert caught.value.reason is Reason.DEADLINE_EXCEEDED


def test_warming_up_suits_every_recipe() -> None:
    for name in ("sound", "paper", "demo"):
        warm_up(measurement(load_recipe(name).model))


def every_error() -> list[type[NodogramError]]:
    found: list[type[NodogramError]] = [NodogramError]
    for known in found:
        found += [kind for kind in known.__subclasses__() if kind.__module__ == "nodogram.errors"]
    return found


@pytest.mark.parametrize("kind", every_error())
def test_expected_errors_travel_between_processes(kind: type[NodogramError]) -> None:
    assert len(every_error()) >= 9
    error = kind(Reason.NOT_CT, "what was found")
    for same in (pickle.loads(pickle.dumps(error)), copy.deepcopy(error)):  # noqa: S301
        assert type(same) is kind
        assert (same.reason, same.message, str(same)) == (error.reason, error.message, str(error))


def test_what_is_called_zip_must_be_one(export: Path, wanted: Measurement, tmp_path: Path) -> None:
    shutil.copyfile(next(iter(sorted((export / "ct").iterdir()))), tmp_path / "upload.zip")
    assert refused(StoredFiles(tmp_path / "upload.zip", export / "tumor.dcm"), wanted) is Reason.ARCHIVE_INVALID
