"""The one preprocessing path: what training and serving both do to a case before any feature is computed."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nodogram.case import Case, ClinicalRecord, QualityNote, SeriesSource
from nodogram.errors import Reason, RegionError
from nodogram.imaging.crop import Crop, make_crop
from nodogram.imaging.resample import margin_mm, resample, to_patient_axes
from nodogram.settings import ModelSettings
from nodogram.volume import Mask, Volume


@dataclass(frozen=True, eq=False)
class PreparedCase:
    """A case in model space. Only :func:`prepare` makes one.

    Parameters
    ----------
    case_id
        The caller's own label.
    volume
        HU at model spacing, the region plus the margin the filters need; fractional, clipped only where the settings say.
    mask
        Morphological mask on the same grid: the outline.
    intensity_mask
        bool, shape of ``mask`` and part of it: the voxels whose intensities count (IBSI intensity mask). Made read-only.
    crop
        Network input, ``None`` for a model without network.
    settings_digest
        Digest of the :class:`ModelSettings` that were obeyed.
    source, clinical, notes
        Carried over; notes of the preparation are appended.

    Raises
    ------
    RegionError
        ``ROI_GEOMETRY_MISMATCH`` or ``ROI_EMPTY``.
    """

    case_id: str
    volume: Volume
    mask: Mask
    intensity_mask: NDArray[np.bool_]
    crop: Crop | None
    settings_digest: str
    source: SeriesSource
    clinical: ClinicalRecord
    notes: tuple[QualityNote, ...]

    def __post_init__(self) -> None:
        intensity_mask = np.asarray(self.intensity_mask, dtype=np.bool_).view()
        intensity_mask.setflags(write=False)
        object.__setattr__(self, "intensity_mask", intensity_mask)
        if not self.mask.geometry.is_same_grid(self.volume.geometry) or intensity_mask.shape != self.mask.array.shape:
            raise RegionError(
                Reason.ROI_GEOMETRY_MISMATCH,
                f"image {self.volume.array.shape}, mask {self.mask.array.shape} and intensity mask "
                f"{intensity_mask.shape} must share one grid",
            )
        if not intensity_mask.any():
            raise RegionError(Reason.ROI_EMPTY, "the intensity mask has no voxel; at least one is required")
        if (intensity_mask & ~self.mask.array).any():
            raise RegionError(Reason.ROI_GEOMETRY_MISMATCH, "the intensity mask reaches beyond the region")


def prepare(case: Case, settings: ModelSettings) -> PreparedCase:
    """Bring a case to model space: orient, clip (paper) or not, resample, re-segment (IBSI), and cut the network's crop.

    Image and outline are first put into the order of the patient's axes, so that a scan gives the same numbers however
    it is stored. Radiomics gets the resampled box; the network's crop is cut from the native slice.

    Raises
    ------
    RegionError
        ``ROI_EMPTY`` if the region vanishes at model spacing or has no voxel inside the HU range; ``ROI_TOO_SMALL`` if
        fewer voxels are left than the radiomics settings ask for.
    """
    volume, mask, slices_reversed = to_patient_axes(case.volume, case.mask)
    margin = margin_mm(settings.radiomics, settings.imaging.spacing_mm)
    model_volume, model_mask = resample(volume, mask, settings.imaging, margin)
    intensity_mask = _intensity_mask(model_volume, model_mask, settings)
    crop: Crop | None = None
    notes: tuple[QualityNote, ...] = ()
    if settings.network.enabled:
        crop, notes = make_crop(volume, mask, settings.network, settings.imaging.spacing_mm)
        if slices_reversed:
            crop = dataclasses.replace(crop, slice_index=volume.geometry.shape[0] - 1 - crop.slice_index)
    return PreparedCase(
        case_id=case.case_id,
        volume=model_volume,
        mask=model_mask,
        intensity_mask=intensity_mask,
        crop=crop,
        settings_digest=settings.digest(),
        source=case.source,
        clinical=case.clinical,
        notes=case.notes + tuple(note for note in notes if note not in case.notes),
    )


def _intensity_mask(volume: Volume, mask: Mask, settings: ModelSettings) -> NDArray[np.bool_]:
    """Range re-segmentation with both bounds included (IBSI, arXiv:1612.07003, section 2.5)."""
    kept = mask.array
    low, high = settings.imaging.hu_range
    if settings.imaging.hu_range_applied == "resegment":
        kept = kept & (volume.array >= low) & (volume.array <= high)
    count = int(np.count_nonzero(kept))
    found = f"{count} of the region's {mask.voxel_count} voxels at model spacing lie within {low:g} to {high:g} HU"
    if count == 0:
        raise RegionError(Reason.ROI_EMPTY, f"{found}; is the outline on soft tissue?")
    minimum = settings.radiomics.minimum_voxel_count
    if settings.radiomics.enabled and count < minimum:
        if settings.imaging.hu_range_applied != "resegment":
            found = f"the region has {count} voxels at model spacing ({mask.volume_cm3:.3g} cm³)"
        raise RegionError(Reason.ROI_TOO_SMALL, f"{found}; at least {minimum} are required for radiomics")
    return kept
