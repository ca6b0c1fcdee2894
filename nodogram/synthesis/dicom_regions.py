"""A synthetic tumor outline as RT Structure Set or Segmentation, referring to the slices it was drawn on.

References
----------
DICOM PS3.3, A.19 (RT Structure Set IOD), C.8.8.5, C.8.8.6, C.8.8.8; A.51 and C.8.20 (Segmentation).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import highdicom
import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.sr.codedict import codes
from pydicom.uid import CTImageStorage, RTStructureSetStorage

from nodogram.synthesis.contours import trace_slice
from nodogram.synthesis.dicom_writer import (
    DEVICE_SERIAL_NUMBER,
    MANUFACTURER,
    MODEL_NAME,
    STUDY_DATE,
    STUDY_TIME,
    DicomIdentity,
    add_patient_and_study,
    decimal_string,
    file_meta,
)
from nodogram.synthesis.phantom import SyntheticPatient
from nodogram.volume import Mask

ROI_NAME = "tumor"


def write_rtstruct(path: Path, patient: SyntheticPatient, identity: DicomIdentity, slices: Sequence[Dataset]) -> None:
    """Write the outline as closed planar contours.

    Parameters
    ----------
    slices
        Datasets of the CT in the order of the volume.
    """
    dataset = Dataset()
    dataset.file_meta = file_meta(RTStructureSetStorage, identity.uid("rtstruct"))
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.SOPClassUID = RTStructureSetStorage
    dataset.SOPInstanceUID = identity.uid("rtstruct")
    add_patient_and_study(dataset, patient, identity)
    dataset.Modality = "RTSTRUCT"
    dataset.SeriesInstanceUID = identity.uid("rtstruct series")
    dataset.SeriesNumber = 2
    dataset.OperatorsName = ""
    dataset.Manufacturer = MANUFACTURER
    dataset.ManufacturerModelName = MODEL_NAME
    dataset.FrameOfReferenceUID = identity.uid("frame of reference")
    dataset.PositionReferenceIndicator = ""
    dataset.StructureSetLabel = "Synthetic tumor"
    dataset.StructureSetDate, dataset.StructureSetTime = STUDY_DATE, STUDY_TIME
    dataset.ReferencedFrameOfReferenceSequence = DicomSequence([_frame_of_reference(identity, slices)])
    dataset.StructureSetROISequence = DicomSequence([_structure(identity)])
    dataset.ROIContourSequence = DicomSequence([_roi_contour(patient.mask, slices)])
    dataset.RTROIObservationsSequence = DicomSequence([_observation()])
    dataset.ApprovalStatus = "UNAPPROVED"
    dataset.save_as(path, enforce_file_format=True)


def write_seg(path: Path, patient: SyntheticPatient, identity: DicomIdentity, slices: Sequence[Dataset]) -> None:
    """Write the outline as a binary segmentation of one segment.

    Parameters
    ----------
    slices
        Datasets of the CT in the order of the volume.
    """
    segment = highdicom.seg.SegmentDescription(
        segment_number=1,
        segment_label=ROI_NAME,
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=codes.SCT.NeoplasmPrimary,
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.MANUAL,
        tracking_uid=identity.uid("tracking"),
        tracking_id="tumor of a synthetic patient",
    )
    dataset = highdicom.seg.Segmentation(
        source_images=slices,
        pixel_array=np.array(patient.mask.array, dtype=np.uint8),
        segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[segment],
        series_instance_uid=identity.uid("seg series"),
        series_number=3,
        sop_instance_uid=identity.uid("seg"),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MODEL_NAME,
        software_versions="1",
        device_serial_number=DEVICE_SERIAL_NUMBER,
        content_description="Synthetic tumor",
    )
    _fix_what_depends_on_the_clock(dataset, identity)
    dataset.save_as(path, enforce_file_format=True)


def _fix_what_depends_on_the_clock(dataset: Dataset, identity: DicomIdentity) -> None:
    """Replace the time of writing and the random UIDs that highdicom puts in."""
    for keyword in ("ContentDate", "SeriesDate", "InstanceCreationDate"):
        if keyword in dataset:
            setattr(dataset, keyword, STUDY_DATE)
    for keyword in ("ContentTime", "SeriesTime", "InstanceCreationTime"):
        if keyword in dataset:
            setattr(dataset, keyword, STUDY_TIME)
    for equipment in dataset.get("ContributingEquipmentSequence", ()):
        equipment.ContributionDateTime = STUDY_DATE + STUDY_TIME
    organization = identity.uid("dimension organization")
    dataset.DimensionOrganizationSequence[0].DimensionOrganizationUID = organization
    for item in dataset.DimensionIndexSequence:
        item.DimensionOrganizationUID = organization


def _frame_of_reference(identity: DicomIdentity, slices: Sequence[Dataset]) -> Dataset:
    series = Dataset()
    series.SeriesInstanceUID = identity.uid("series")
    series.ContourImageSequence = DicomSequence([_reference(one) for one in slices])
    study = Dataset()
    # The value PS3.3 C.8.8.5 still asks for here, though the class itself is retired.
    study.ReferencedSOPClassUID = "1.2.840.10008.3.1.2.3.1"
    study.ReferencedSOPInstanceUID = identity.uid("study")
    study.RTReferencedSeriesSequence = DicomSequence([series])
    frame = Dataset()
    frame.FrameOfReferenceUID = identity.uid("frame of reference")
    frame.RTReferencedStudySequence = DicomSequence([study])
    return frame


def _structure(identity: DicomIdentity) -> Dataset:
    structure = Dataset()
    structure.ROINumber = 1
    structure.ReferencedFrameOfReferenceUID = identity.uid("frame of reference")
    structure.ROIName = ROI_NAME
    structure.ROIGenerationAlgorithm = "MANUAL"
    return structure


def _roi_contour(mask: Mask, slices: Sequence[Dataset]) -> Dataset:
    roi = Dataset()
    roi.ReferencedROINumber = 1
    roi.ROIDisplayColor = [255, 64, 64]
    roi.ContourSequence = DicomSequence(
        [
            _contour(mask, index, vertices, slices[index])
            for index in np.flatnonzero(mask.array.any(axis=(1, 2))).tolist()
            for vertices in trace_slice(mask.array[index])
        ]
    )
    return roi


def _contour(mask: Mask, index: int, vertices: np.ndarray, source: Dataset) -> Dataset:
    affine = mask.geometry.index_to_patient
    positions = np.column_stack([vertices[:, ::-1], np.full(len(vertices), index)]) @ affine[:3, :3].T + affine[:3, 3]
    contour = Dataset()
    contour.ContourImageSequence = DicomSequence([_reference(source)])
    contour.ContourGeometricType = "CLOSED_PLANAR"
    contour.NumberOfContourPoints = len(vertices)
    contour.ContourData = [decimal_string(value) for value in positions.ravel()]
    return contour


def _reference(source: Dataset) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID = CTImageStorage
    reference.ReferencedSOPInstanceUID = source.SOPInstanceUID
    return reference


def _observation() -> Dataset:
    observation = Dataset()
    observation.ObservationNumber = 1
    observation.ReferencedROINumber = 1
    observation.RTROIInterpretedType = "GTV"
    observation.ROIInterpreter = ""
    return observation
