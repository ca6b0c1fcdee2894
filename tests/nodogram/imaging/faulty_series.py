"""Small CT series on disk, right or wrong in one respect."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

MATRIX = 64
SLICES = 20
SPACING_MM = 2.0
PIXEL_MM = (1.5, 1.25)
ORIGIN_MM = (-40.0, -48.0, 10.0)
FRAME_UID = generate_uid(entropy_srcs=["frame"])
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)

Change = Callable[[Dataset, int], bool | None]


def expected_hu() -> NDArray[np.float32]:
    """Return what every fault-free series holds: a ramp over air, different in each slice."""
    z, y, x = np.meshgrid(np.arange(SLICES), np.arange(MATRIX), np.arange(MATRIX), indexing="ij")
    inside = (y - 30) ** 2 + (x - 34) ** 2 < 24**2
    return np.where(inside, 10 * z + y + 2 * x, -1000).astype(np.float32)


def ct_slice(pixels: NDArray[np.float32], index: int, orientation: tuple[float, ...], position: NDArray[np.float64]) -> Dataset:
    """Return one CT image of given HU."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["slice", str(index)])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = (generate_uid(entropy_srcs=[s]) for s in ("study", "series"))
    dataset.FrameOfReferenceUID = FRAME_UID
    dataset.PositionReferenceIndicator = ""
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.Modality, dataset.Manufacturer, dataset.ManufacturerModelName = "CT", "Maker", "Model"
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate, dataset.PatientSex = "Secret^Person", "1", "", ""
    dataset.StudyDate, dataset.StudyTime, dataset.StudyID, dataset.AccessionNumber = "20200101", "000000", "", ""
    dataset.ReferringPhysicianName, dataset.Laterality, dataset.PatientPosition = "", "", "HFS"
    dataset.SeriesNumber, dataset.InstanceNumber, dataset.AcquisitionNumber = 1, index + 1, 1
    dataset.KVP, dataset.SliceThickness, dataset.ConvolutionKernel = 120, SPACING_MM, "B30f"
    dataset.ContrastBolusAgent = "Iohexol"
    dataset.ImageOrientationPatient = [f"{v:.10f}" for v in orientation]
    dataset.ImagePositionPatient = [f"{v:.8f}" for v in position]
    dataset.PixelSpacing = list(PIXEL_MM)
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1
    dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = 1, -1024, "HU"
    dataset.PixelData = (pixels + 1024).astype(np.int16).tobytes()
    return dataset


def write_series(
    folder: Path,
    change: Change | None = None,
    *,
    orientation: tuple[float, ...] = AXIAL,
    stack: tuple[float, float, float] | None = None,
) -> Path:
    """Write a series; ``change`` edits each image in place and drops it by returning ``False``.

    Names and instance numbers run against the order of the positions.
    """
    folder.mkdir(parents=True, exist_ok=True)
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    direction = np.cross(row, column) if stack is None else np.array(stack)
    for index, pixels in enumerate(expected_hu()):
        dataset = ct_slice(pixels, SLICES - index, orientation, np.array(ORIGIN_MM) + index * SPACING_MM * direction)
        if change is None or change(dataset, index) is not False:
            dataset.save_as(folder / f"{SLICES - index:03d}.dcm", enforce_file_format=True)
    return folder
