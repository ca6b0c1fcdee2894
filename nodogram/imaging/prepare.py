"""The one preprocessing path: what training and serving both do to a case before any feature is computed."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nodogram.case import Case, ClinicalRecord, QualityNote, SeriesSource
from nodogram.errors import Reason, RegionError
from nodogram.imaging.crop import Crop, make_crop
from nodogram.imaging.pyradiomics_grid import GridCase, on_pyradiomics_grid
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
        HU at model spacing, the region plus the margin the filters need; clipped only where the settings say.
    mask
        Morphological mask on the same grid: the outline.
    intensity_mask
        bool, shape of ``mask`` and part of it: the voxels whose intensities count (IBSI intensity mask). Made read-only.
    largest_absolute
        What Square, SquareRoot, Logarithm and Exponential scale by, HU: a property of the case or of the settings, never of
        how much of the image was kept.
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
    largest_absolute: float
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

    In the convention ``ibsi`` image and outline are first put into the order of the patient's axes, so that a scan gives the
    same numbers however it is stored; PyRadiomics takes the order of the file. Radiomics gets the resampled box; the network's
    crop is always cut from the native slice in the order of the patient's axes. Without radiomics nothing is resampled.

    Raises
    ------
    ImageError
        ``IMAGE_TOO_LARGE`` if the region has too many voxels at model spacing.
    RegionError
        ``ROI_EMPTY`` if the region vanishes at model spacing or has no voxel inside the HU range; ``ROI_TOO_SMALL`` if
        fewer voxels are left than the radiomics settings ask for.
    """
    volume, mask, slices_reversed = to_patient_axes(case.volume, case.mask)
    spacing_mm = settings.imaging.spacing_mm or volume.geometry.spacing_mm
    if not settings.radiomics.enabled:
        model = _on_native_grid(volume, mask)
    elif settings.radiomics.convention == "pyradiomics":
        model = on_pyradiomics_grid(case.volume, case.mask, settings)
    else:
        model = _on_centered_grid(volume, mask, settings, spacing_mm)
    intensity_mask = _intensity_mask(model.volume, model.mask, settings)
    crop: Crop | None = None
    notes: tuple[QualityNote, ...] = ()
    if settings.network.enabled:
        crop, notes = make_crop(volume, mask, settings.network, spacing_mm)
        if slices_reversed:
            crop = dataclasses.replace(crop, slice_index=volume.geometry.shape[0] - 1 - crop.slice_index)
    return PreparedCase(
        case_id=case.case_id,
        volume=model.volume,
        mask=model.mask,
        intensity_mask=intensity_mask,
        largest_absolute=model.largest_absolute,
        crop=crop,
        settings_digest=settings.digest(),
        source=case.source,
        clinical=case.clinical,
        notes=case.notes + tuple(note for note in notes if note not in case.notes),
    )


def _on_native_grid(volume: Volume, mask: Mask) -> GridCase:
    """Keep the region as it was scanned: without radiomics nothing but the network's crop is used, and that is native."""
    box = mask.box
    region = volume.crop(box)
    return GridCase(region, mask.crop(box), float(np.abs(region.array).max()))


def _on_centered_grid(volume: Volume, mask: Mask, settings: ModelSettings, spacing_mm: tuple[float, float, float]) -> GridCase:
    """Resample to the convention ``ibsi``, HU rounded to whole numbers (IBSI, section 2.4).

    Images scaled by a maximum use the bound of the HU range where there is one: the same for all patients.
    """
    image, region = resample(volume, mask, settings.imaging, margin_mm(settings.radiomics, spacing_mm))
    whole = Volume(np.rint(image.array), image.geometry)
    inside = whole.array[region.array]
    scale = settings.imaging.hu_range or (float(inside.min()), float(inside.max()))
    return GridCase(whole, region, max(abs(bound) for bound in scale))


def _intensity_mask(volume: Volume, mask: Mask, settings: ModelSettings) -> NDArray[np.bool_]:
    """Range re-segmentation with both bounds included, then outliers (IBSI, arXiv:1612.07003, section 2.5)."""
    kept = mask.array
    hu_range = settings.imaging.hu_range if settings.imaging.hu_range_applied == "resegment" else None
    found = f"the region has {mask.voxel_count} voxels at model spacing ({mask.volume_cm3:.3g} cm³)"
    if hu_range is not None:
        kept = kept & (volume.array >= hu_range[0]) & (volume.array <= hu_range[1])
        count = np.count_nonzero(kept)
        found = f"{count} of the region's {mask.voxel_count} voxels at model spacing lie within {_range_text(hu_range)} HU"
        if count == 0:
            raise RegionError(Reason.ROI_EMPTY, f"{found}; is the outline on soft tissue?")
    if settings.imaging.outlier_sigmas is not None:
        values = volume.array[kept].astype(np.float64)
        reach = settings.imaging.outlier_sigmas * values.std()
        kept = kept & (np.abs(volume.array - values.mean()) <= reach)
        found += f"; {np.count_nonzero(kept)} of them within {settings.imaging.outlier_sigmas:g} standard deviations"
    minimum = settings.radiomics.minimum_voxel_count
    if settings.radiomics.enabled and np.count_nonzero(kept) < minimum:
        raise RegionError(Reason.ROI_TOO_SMALL, f"{found}; at least {minimum} are required for radiomics")
    return kept


def _range_text(hu_range: tuple[float, float]) -> str:
    return f"{hu_range[0]:g} to {hu_range[1]:g}"
