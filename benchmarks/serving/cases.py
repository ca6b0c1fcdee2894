"""Cases to ask for, and a bundle that needs the network only."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from nodogram_api.v1 import nomogram_pb2 as pb

from nodogram.bundle import BundleManifest, list_files, load_bundle
from nodogram.imaging.load import load_case
from nodogram.imaging.volume_file import write_mask_file, write_volume_file
from nodogram.predict import predict
from nodogram.self_test import known_answer, known_files
from nodogram.synthesis.cohort import write_cohort
from nodogram.volume import Mask, Volume

# Around the outline, voxels: more than the network's square of 80 mm needs.
_MARGIN = 8


@dataclass(frozen=True)
class Files:
    """One case as files."""

    name: str
    image: Path
    roi: Path
    clinical: dict[str, str | float]


def deep_only(bundle: Path, folder: Path) -> Path:
    """Write the same model with its deep branch alone: no radiomics is measured, the network sees every case."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(bundle, folder)
    dlr = json.loads((folder / "dlr.json").read_text())
    dlr["branches"] = [branch for branch in dlr["branches"] if branch["name"] == "deep"]
    dlr.update(fusion="single", weights=None)
    (folder / "dlr.json").write_text(json.dumps(dlr))
    (folder / "dlr-radiomics.onnx").unlink(missing_ok=True)
    manifest = json.loads((folder / "bundle.json").read_text())
    manifest["settings"]["radiomics"]["enabled"] = False
    _seal(folder, manifest)
    for answer in load_bundle(folder).known_answers:
        loaded = load_bundle(folder)
        image, roi = known_files(loaded, answer)
        found = predict(load_case(answer.name, image, roi, clinical=answer.clinical), loaded)
        expected = known_answer(answer.name, found, answer.clinical)
        (image.parent / "expected.json").write_text(expected.model_dump_json())
        _seal(folder, manifest)
    return folder


def cropped(bundle: Path, folder: Path) -> Files:
    """Write one known-answer case cut to its outline and what the network sees around it."""
    model = load_bundle(bundle)
    answer = model.known_answers[0]
    case = load_case(answer.name, *known_files(model, answer))
    spacing = case.volume.geometry.spacing_mm
    half = [_MARGIN, *(round(50.0 / spacing[axis]) for axis in (1, 2))]
    corner, end = [], []
    for axis, part in enumerate(case.mask.box):
        middle = (part.start + part.stop) // 2
        reach = max(half[axis], (part.stop - part.start) // 2 + _MARGIN)
        corner.append(max(0, middle - reach))
        end.append(min(case.mask.array.shape[axis], middle + reach))
    box = tuple(slice(a, b) for a, b in zip(corner, end, strict=True))
    geometry = case.volume.geometry.crop((corner[0], corner[1], corner[2]), (end[0], end[1], end[2]))
    image, roi = folder / "cropped.nii.gz", folder / "cropped-roi.nii.gz"
    write_volume_file(image, Volume(case.volume.array[box], geometry))
    write_mask_file(roi, Mask(case.mask.array[box], geometry))
    size = " x ".join(str(b - a) for a, b in zip(corner, end, strict=True))
    return Files(f"cropped case, {size} voxels, NIfTI", image, roi, dict(answer.clinical))


def long_series(bundle: Path, folder: Path) -> Files:
    """Write one synthetic patient of 300 slices of 512 x 512 as a DICOM series."""
    cohort = folder / "long"
    if not (cohort / "cohort.csv").is_file():
        write_cohort(cohort, patient_count=2, seed=3, signal=1.0, image_format="dicom", matrix=512, slice_count=300, jobs=2)
    patient = sorted((cohort / "patients").iterdir())[0]
    roi = next(path for path in patient.iterdir() if path.is_file())
    answer = load_bundle(bundle).known_answers[0]
    return Files("series of 300 slices of 512 x 512, DICOM", patient / "ct", roi, dict(answer.clinical))


def region(files: Files) -> pb.PredictRegionRequest:
    """Return a case as the message of a caller that has the voxels already."""
    image, roi = sitk.ReadImage(str(files.image), sitk.sitkInt16), sitk.ReadImage(str(files.roi), sitk.sitkUInt8)
    values = {name: pb.ClinicalValue(level=str(value)) for name, value in files.clinical.items()}
    return pb.PredictRegionRequest(
        geometry=pb.Geometry(
            shape=image.GetSize()[::-1],
            spacing_mm=image.GetSpacing()[::-1],
            origin_mm=image.GetOrigin(),
            direction=image.GetDirection(),
        ),
        hu=sitk.GetArrayFromImage(image).astype("<i2").tobytes(),
        mask=sitk.GetArrayFromImage(roi).astype(np.uint8).tobytes(),
        clinical=values,
    )


def _seal(folder: Path, manifest: dict[str, object]) -> None:
    manifest["files"] = list_files(folder)
    manifest["digest"] = BundleManifest.model_validate(manifest).content_digest()
    (folder / "bundle.json").write_text(json.dumps(manifest))
