"""One patient's input: image, outline, clinical record and where they came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum, unique

from nodogram.errors import Reason, RegionError
from nodogram.volume import Mask, Volume

ClinicalRecord = Mapping[str, str | float]
"""Raw clinical values by predictor name; checked by :mod:`nodogram.clinical`."""


@unique
class NoteCode(StrEnum):
    """Stable codes of what a reader of the result should know, though it was no reason to refuse."""

    DUPLICATE_FILE = "DUPLICATE_FILE"
    LOCALIZER_DROPPED = "LOCALIZER_DROPPED"
    LOSSY_COMPRESSION = "LOSSY_COMPRESSION"
    HU_IMPLAUSIBLE = "HU_IMPLAUSIBLE"
    MULTIFRAME = "MULTIFRAME"
    ROI_CONTOUR_GAP = "ROI_CONTOUR_GAP"
    ROI_CONTOUR_IGNORED = "ROI_CONTOUR_IGNORED"
    ROI_RESAMPLED = "ROI_RESAMPLED"
    ROI_SEVERAL_COMPONENTS = "ROI_SEVERAL_COMPONENTS"
    ROI_LARGER_THAN_CROP = "ROI_LARGER_THAN_CROP"
    ROI_TOUCHES_BORDER = "ROI_TOUCHES_BORDER"
    OUT_OF_RANGE = "OUT_OF_RANGE"
    OUTSIDE_ACQUISITION_ENVELOPE = "OUTSIDE_ACQUISITION_ENVELOPE"
    CLINICAL_PREDICTOR_MISSING = "CLINICAL_PREDICTOR_MISSING"


@dataclass(frozen=True)
class QualityNote:
    """A coded remark about one case.

    Parameters
    ----------
    code
        Stable code.
    message
        One sentence with the figures; never an identifier.
    """

    code: NoteCode
    message: str


@dataclass(frozen=True)
class SeriesSource:
    """Provenance of an image and its outline: DICOM identifiers and acquisition, no names and no birth dates.

    Attribute names are DICOM keywords in snake case; ``None`` where the source (such as NIfTI) does not say.
    """

    study_instance_uid: str | None = None
    series_instance_uid: str | None = None
    frame_of_reference_uid: str | None = None
    sop_instance_uids: tuple[str, ...] = ()
    roi_sop_instance_uid: str | None = None
    roi_name: str | None = None
    manufacturer: str | None = None
    manufacturer_model_name: str | None = None
    convolution_kernel: str | None = None
    kvp: float | None = None
    slice_thickness_mm: float | None = None
    contrast_bolus_agent: str | None = None


@dataclass(frozen=True, eq=False)
class Case:
    """Everything the model needs to know about one patient.

    Parameters
    ----------
    case_id
        The caller's own label for the case.
    volume, mask
        Image and outline on one grid.
    clinical
        Raw clinical values by predictor name; may be empty.
    source
        Provenance.
    notes
        Remarks collected while reading.

    Raises
    ------
    RegionError
        ``ROI_GEOMETRY_MISMATCH`` if mask and volume are on different grids.
    """

    case_id: str
    volume: Volume
    mask: Mask
    clinical: ClinicalRecord = field(default_factory=dict)
    source: SeriesSource = field(default_factory=SeriesSource)
    notes: tuple[QualityNote, ...] = ()

    def __post_init__(self) -> None:
        if not self.mask.geometry.is_same_grid(self.volume.geometry):
            raise RegionError(
                Reason.ROI_GEOMETRY_MISMATCH,
                f"outline grid {_describe(self.mask)} and image grid {_describe(self.volume)} differ; "
                "draw the outline on this image or resample it first",
            )


def _describe(grid: Volume | Mask) -> str:
    geometry = grid.geometry
    spacing = " x ".join(f"{s:.3g}" for s in geometry.spacing_mm)
    return f"{geometry.shape} at {spacing} mm, origin {tuple(round(o, 1) for o in geometry.origin_mm)} mm"


@dataclass(frozen=True)
class Acquisition:
    """What of a case is compared with the acquisition envelope; lengths in mm, volume in cm³, tube voltage in kV."""

    slice_spacing_mm: float
    pixel_spacing_mm: float
    region_volume_cm3: float
    kvp: float | None
    manufacturer: str | None
    convolution_kernel: str | None

    @classmethod
    def of(cls, case: Case) -> Acquisition:
        """Return the acquisition of a case."""
        spacing = case.volume.geometry.spacing_mm
        return cls(
            slice_spacing_mm=spacing[0],
            pixel_spacing_mm=spacing[1],
            region_volume_cm3=case.mask.volume_cm3,
            kvp=case.source.kvp,
            manufacturer=case.source.manufacturer,
            convolution_kernel=case.source.convolution_kernel,
        )
