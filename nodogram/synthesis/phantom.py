"""A synthetic patient: a neck CT with a tumor, its outline, the clinical record and the outcome they were drawn from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from nodogram.geometry import Geometry
from nodogram.synthesis.anatomy import paint_neck
from nodogram.synthesis.canvas import Canvas, Pose, blank_canvas
from nodogram.synthesis.latents import PatientLatents, draw_latents
from nodogram.synthesis.tumor import TumorPlan, paint_tumor, plan_tumor
from nodogram.volume import Mask, Volume

FIELD_OF_VIEW_MM = 250.88
SCAN_LENGTH_MM = 75.0
MINIMUM_MATRIX = 48
MINIMUM_SLICE_COUNT = 20
HU_LIMITS = (-1024, 3071)

_NOISE_HU = 10.0
_NEIGHBOR = 0.8


@dataclass(frozen=True, eq=False)
class SyntheticPatient:
    """One patient who never existed.

    Attributes
    ----------
    volume
        Neck CT in whole HU.
    mask
        Tumor outline, one component.
    clinical
        Record in the names of the laryngeal preset.
    outcome
        0 or 1.
    latents
        What everything above was drawn from.
    tumor
        Volume and texture the tumor was given.
    """

    volume: Volume
    mask: Mask
    clinical: Mapping[str, str | float]
    outcome: int
    latents: PatientLatents
    tumor: TumorPlan


def synthesize_patient(
    rng: np.random.Generator,
    *,
    signal: float,
    matrix: int = 512,
    slice_count: int = 60,
    outcome: int | None = None,
) -> SyntheticPatient:
    """Draw one patient.

    Parameters
    ----------
    signal
        How strongly image and record know the outcome: 0 not at all, 1 so that the ideal observer has an AUC of 0.97.
    matrix
        Rows and columns, at least 48; the field of view stays 251 mm, so 512 means pixels of 0.49 mm.
    slice_count
        Slices, at least 20, over 75 mm.
    outcome
        0 or 1 for a patient of that class; ``None`` draws it with a prevalence of 0.4.

    Raises
    ------
    ValueError
        For a signal outside [0, 1], an outcome other than 0 or 1, or too small a grid.
    """
    if matrix < MINIMUM_MATRIX or slice_count < MINIMUM_SLICE_COUNT:
        raise ValueError(
            f"grid of {slice_count} slices of {matrix}²; at least {MINIMUM_SLICE_COUNT} of {MINIMUM_MATRIX}² are required"
        )
    latents = draw_latents(rng, signal=signal, outcome=outcome)
    geometry = _geometry(matrix, slice_count)
    canvas = blank_canvas(rng, geometry.shape, geometry.spacing_mm, _draw_pose(rng))
    depth = paint_neck(canvas, rng, latents)
    plan = plan_tumor(latents)
    outline = paint_tumor(canvas, depth, rng, plan, geometry.spacing_mm)
    _add_noise(canvas, rng)
    return SyntheticPatient(
        volume=Volume(canvas.hu, geometry),
        mask=Mask(outline, geometry),
        clinical=latents.clinical,
        outcome=latents.outcome,
        latents=latents,
        tumor=plan,
    )


def _geometry(matrix: int, slice_count: int) -> Geometry:
    # Rounded to what a DICOM decimal string and a NIfTI header can both hold, so that every copy has the same grid.
    pixel, step = round(FIELD_OF_VIEW_MM / matrix, 4), round(SCAN_LENGTH_MM / slice_count, 4)
    half = round((matrix - 1) / 2 * pixel, 4)
    return Geometry(
        shape=(slice_count, matrix, matrix),
        spacing_mm=(step, pixel, pixel),
        origin_mm=(-half, -half, round(-(slice_count - 1) / 2 * step, 4)),
        direction=np.eye(3),
    )


def _draw_pose(rng: np.random.Generator) -> Pose:
    return Pose(
        scale=float(np.clip(rng.normal(1.08, 0.04), 0.98, 1.16)),
        shift_mm=(float(rng.normal(0, 4)), float(rng.normal(0, 4))),
        rotation_rad=float(np.clip(rng.normal(0, 0.04), -0.1, 0.1)),
        warp_mm=float(rng.uniform(0.7, 1.3)),
    )


def _add_noise(canvas: Canvas, rng: np.random.Generator) -> None:
    """Add reconstruction noise, correlated over neighboring pixels and stronger in the middle, and round to whole HU."""
    middle = np.exp(-((canvas.row_y[:, None] / 60) ** 2) - (canvas.column_x[None, :] / 60) ** 2)
    strength = (_NOISE_HU * (0.55 + 0.6 * middle) / (1 + _NEIGHBOR**2)).astype(np.float32)
    noise = np.empty(strength.shape, dtype=np.float32)
    # Slice by slice everything stays in the cache; two-tap sums cost a tenth of a filter.
    for hu in canvas.hu:
        rng.standard_normal(out=noise, dtype=np.float32)
        noise[:, 1:] += _NEIGHBOR * noise[:, :-1]
        noise[1:] += _NEIGHBOR * noise[:-1]
        noise *= strength
        hu += noise
        np.rint(hu, out=hu)
        np.clip(hu, *HU_LIMITS, out=hu)
