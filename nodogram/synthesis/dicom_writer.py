"""A synthetic patient as DICOM: one CT Image Storage file per slice, with identifiers that follow from the seed.

References
----------
DICOM PS3.3, A.3 (CT Image IOD), C.8.2.1 (CT Image Module); PS3.5, B.2 (UIDs derived from UUIDs).
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

from nodogram.geometry import Geometry
from nodogram.synthesis.phantom import SyntheticPatient

MANUFACTURER = "nodogram synthesis"
MODEL_NAME = "neck phantom"
DEVICE_SERIAL_NUMBER = "0"
# Nobody was scanned on this day; fixed, so that two runs write the same bytes.
STUDY_DATE = "20250101"
STUDY_TIME = "120000"
RESCALE_INTERCEPT = -1024

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "synthesis.nodogram")


@dataclass(frozen=True)
class DicomIdentity:
    """Who a synthetic patient is in DICOM.

    Attributes
    ----------
    patient_id
        Patient ID, such as ``SYN-0001``.
    key
        Everything the content follows from; equal keys give equal UIDs, other keys others.
    """

    patient_id: str
    key: str

    def uid(self, kind: str, number: int = 0) -> str:
        """Return the UID ``2.25.<UUID>`` of one object of this patient."""
        return f"2.25.{uuid.uuid5(_NAMESPACE, f'{self.key}/{self.patient_id}/{kind}/{number}').int}"


def write_ct_series(folder: Path, patient: SyntheticPatient, identity: DicomIdentity) -> tuple[Dataset, ...]:
    """Write one file per slice, from the feet up, and return the datasets in the order of the volume.

    Parameters
    ----------
    folder
        Created if needed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    datasets = []
    for index in range(patient.volume.geometry.shape[0]):
        dataset = _slice_dataset(patient, identity, index)
        dataset.save_as(folder / f"{index + 1:04d}.dcm", enforce_file_format=True)
        datasets.append(dataset)
    return tuple(datasets)


def file_meta(sop_class_uid: str, sop_instance_uid: str) -> FileMetaDataset:
    """Return the file meta information of an explicit VR little endian file (PS3.10, 7.1)."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(sop_class_uid)
    meta.MediaStorageSOPInstanceUID = UID(sop_instance_uid)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return meta


def add_patient_and_study(dataset: Dataset, patient: SyntheticPatient, identity: DicomIdentity) -> None:
    """Fill the Patient and General Study modules (PS3.3, C.7.1.1 and C.7.2.1)."""
    dataset.PatientName = f"SYNTHETIC^{identity.patient_id}"
    dataset.PatientID = identity.patient_id
    dataset.PatientBirthDate = ""
    dataset.PatientSex = patient.latents.sex[0].upper()
    dataset.PatientAge = f"{round(patient.latents.age_years):03d}Y"
    dataset.StudyInstanceUID = identity.uid("study")
    dataset.StudyDate = STUDY_DATE
    dataset.StudyTime = STUDY_TIME
    dataset.StudyID = "1"
    dataset.AccessionNumber = ""
    dataset.ReferringPhysicianName = ""
    dataset.StudyDescription = "Synthetic neck CT"


def decimal_string(value: float) -> str:
    """Return a decimal string (VR DS, at most 16 characters) of a length in mm, to 10 nm."""
    return f"{value:.5f}".rstrip("0").rstrip(".") or "0"


def _slice_dataset(patient: SyntheticPatient, identity: DicomIdentity, index: int) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = file_meta(CTImageStorage, identity.uid("ct", index))
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = identity.uid("ct", index)
    add_patient_and_study(dataset, patient, identity)
    _add_series(dataset, identity, index)
    _add_plane(dataset, patient.volume.geometry, index)
    _add_acquisition(dataset)
    _add_pixels(dataset, patient.volume.array[index])
    return dataset


def _add_series(dataset: Dataset, identity: DicomIdentity, index: int) -> None:
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.Modality = "CT"
    dataset.SeriesInstanceUID = identity.uid("series")
    dataset.SeriesNumber = 1
    dataset.SeriesDescription = "Synthetic neck, venous phase"
    dataset.SeriesDate, dataset.SeriesTime = STUDY_DATE, STUDY_TIME
    dataset.AcquisitionDate, dataset.AcquisitionTime = STUDY_DATE, STUDY_TIME
    dataset.ContentDate, dataset.ContentTime = STUDY_DATE, STUDY_TIME
    dataset.InstanceNumber = index + 1
    dataset.AcquisitionNumber = 1
    dataset.BodyPartExamined = "NECK"
    dataset.PatientPosition = "HFS"
    dataset.FrameOfReferenceUID = identity.uid("frame of reference")
    dataset.PositionReferenceIndicator = ""


def _add_plane(dataset: Dataset, geometry: Geometry, index: int) -> None:
    direction = geometry.direction
    dataset.ImageOrientationPatient = [decimal_string(v) for v in (*direction[:, 0], *direction[:, 1])]
    dataset.ImagePositionPatient = [decimal_string(v) for v in geometry.patient_position_mm((index, 0, 0))]
    dataset.PixelSpacing = [decimal_string(v) for v in geometry.spacing_mm[1:]]
    dataset.SliceThickness = decimal_string(geometry.spacing_mm[0])
    dataset.SpacingBetweenSlices = decimal_string(geometry.spacing_mm[0])


def _add_acquisition(dataset: Dataset) -> None:
    dataset.Manufacturer = MANUFACTURER
    dataset.ManufacturerModelName = MODEL_NAME
    dataset.DeviceSerialNumber = DEVICE_SERIAL_NUMBER
    dataset.SoftwareVersions = "1"
    dataset.KVP = "120"
    dataset.XRayTubeCurrent = 200
    dataset.ExposureTime = 500
    dataset.Exposure = 100
    dataset.ConvolutionKernel = "SOFT"
    dataset.ContrastBolusAgent = "SYNTHETIC"


def _add_pixels(dataset: Dataset, hu: np.ndarray) -> None:
    """Store 12-bit unsigned values above the intercept, as scanners do (PS3.3, C.7.6.3)."""
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = hu.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = str(RESCALE_INTERCEPT), "1", "HU"
    dataset.WindowCenter, dataset.WindowWidth = "50", "350"
    dataset.PixelData = (hu - RESCALE_INTERCEPT).astype("<u2").tobytes()
