"""A request for a prediction as both protocols hand it over: everything bulky is in files."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from nodogram.case import ClinicalRecord
from nodogram.geometry import Geometry


@dataclass(frozen=True)
class StoredFiles:
    """Image and outline as they were sent.

    Attributes
    ----------
    image
        ``.zip`` of one DICOM series, ``.dcm`` (enhanced CT), ``.nii``, ``.nii.gz`` or ``.nrrd``.
    roi
        ``.dcm`` (RT structure set or segmentation), ``.nii``, ``.nii.gz`` or ``.nrrd``.
    roi_name
        Region where the outline holds several.
    """

    image: Path
    roi: Path
    roi_name: str | None = None


@dataclass(frozen=True)
class StoredRegion:
    """Part of an image that the caller has cut out already.

    Attributes
    ----------
    voxels
        File of the HU, int16 little-endian, C order (z, y, x), and behind them the mask, uint8, same shape and order; not 0 is
        inside.
    hu_bytes, mask_bytes
        What was sent of each, not yet compared with the geometry.
    geometry
        Grid of the part.
    """

    voxels: Path
    hu_bytes: int
    mask_bytes: int
    geometry: Geometry


@dataclass(frozen=True)
class CaseRequest:
    """One case to predict.

    Attributes
    ----------
    case_id
        The caller's own label, given back and never logged.
    source
        Where image and outline are.
    clinical
        Raw findings by predictor name.
    nomogram_required
        Refuse with ``CLINICAL_PREDICTOR_MISSING`` instead of answering with the DLR score alone.
    """

    case_id: str
    source: StoredFiles | StoredRegion
    clinical: ClinicalRecord = field(default_factory=dict)
    nomogram_required: bool = False
