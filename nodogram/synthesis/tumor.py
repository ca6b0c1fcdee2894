"""The tumor: an irregular mass at the level of its site, its texture as coarse in contrast as the latent value asks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from nodogram.synthesis.anatomy import AIR_HU, airway_of
from nodogram.synthesis.canvas import Canvas, FloatArray, smooth_field
from nodogram.synthesis.latents import PatientLatents
from nodogram.volume import Box

MEDIAN_VOLUME_CM3 = 6.0
VOLUME_RANGE_CM3 = (1.2, 26.0)
MEAN_HU = 88.0
TEXTURE_RANGE_HU = (4.0, 44.0)

_LOG_VOLUME_SD = 0.5
_MEDIAN_TEXTURE_HU = 15.0
_LOG_TEXTURE_SLOPE = 0.42
_TEXTURE_SCALES_MM = ((1.1, 0.6), (2.7, 0.9))
_NECROSIS = 0.22
_BOX_HALF_MM = (34.0, 36.0, 36.0)
# The mass stays this far below the skin and in front of the spine.
_SKIN_MARGIN_MM = 5.0
_SPINE_Y_MM = 3.0
_SITES = {"glottic": (0.5, -21.5, 8.0), "supraglottic": (13.0, -16.0, 11.0)}


@dataclass(frozen=True)
class TumorPlan:
    """What the tumor of a patient shall be.

    Attributes
    ----------
    volume_cm3
        Volume, cm³.
    texture_hu
        Standard deviation of attenuation inside the mass without image noise, HU.
    center_zyx_mm
        Center in the canonical neck.
    """

    volume_cm3: float
    texture_hu: float
    center_zyx_mm: tuple[float, float, float]


def plan_tumor(latents: PatientLatents) -> TumorPlan:
    """Translate latent values into a volume, a texture and a place; larger masses reach further outwards."""
    volume = float(np.clip(MEDIAN_VOLUME_CM3 * np.exp(_LOG_VOLUME_SD * latents.log_size), *VOLUME_RANGE_CM3))
    texture = float(np.clip(_MEDIAN_TEXTURE_HU * np.exp(_LOG_TEXTURE_SLOPE * latents.heterogeneity), *TEXTURE_RANGE_HU))
    radius = (3 * volume * 1000 / (4 * np.pi)) ** (1 / 3)
    z, y, x = _SITES[latents.tumor_site]
    outwards = x + 0.35 * max(radius - 8.0, 0.0)
    return TumorPlan(volume, texture, (z, y, outwards if latents.side == "left" else -outwards))


def paint_tumor(
    canvas: Canvas, depth: FloatArray, rng: np.random.Generator, plan: TumorPlan, spacing_mm: tuple[float, float, float]
) -> NDArray[np.bool_]:
    """Paint the tumor into the neck and return its outline.

    Parameters
    ----------
    depth
        (z, y, x), mm below the skin.

    Returns
    -------
    outline : bool (z, y, x)
        One component; what remains of the airway is not part of it.
    """
    box = _box_around(canvas, plan)
    region = _grow(canvas, depth[box], box, rng, plan, spacing_mm)
    texture = _texture(rng, region, spacing_mm)
    sigma = [0.5 * canvas.edge_mm / step for step in spacing_mm]
    # Doubled, so that voxels of the outline are tumor throughout and the blending happens around them.
    soft = np.minimum(2 * ndimage.gaussian_filter(region.astype(np.float32), sigma), 1)
    view = canvas.hu[box]
    view += soft * (np.float32(MEAN_HU) + np.float32(plan.texture_hu) * texture - view)
    mask = np.zeros(canvas.hu.shape, dtype=np.bool_)
    mask[box] = region
    return mask


def _box_around(canvas: Canvas, plan: TumorPlan) -> Box:
    z, y, x = plan.center_zyx_mm
    scanner_x, scanner_y = canvas.to_scanner(np.array([x]), np.array([y]))
    centers = (z, float(scanner_y[0]), float(scanner_x[0]))
    parts = []
    for axis, center, half in zip((canvas.z, canvas.row_y, canvas.column_x), centers, _BOX_HALF_MM, strict=True):
        inside = np.flatnonzero(np.abs(axis - center) <= half)
        parts.append(slice(int(inside[0]), int(inside[-1]) + 1))
    # The first and last slice stay free: an outline that touches the border of a scan is not whole.
    return slice(max(parts[0].start, 1), min(parts[0].stop, canvas.z.size - 1)), parts[1], parts[2]


def _grow(
    canvas: Canvas,
    depth: FloatArray,
    box: Box,
    rng: np.random.Generator,
    plan: TumorPlan,
    spacing_mm: tuple[float, float, float],
) -> NDArray[np.bool_]:
    """Return the voxels nearest to the center, in a distance that is irregular by direction, up to the volume."""
    z, y, x = plan.center_zyx_mm
    dz, dy, dx = canvas.z[box[0]][:, None, None] - z, canvas.y[box] - np.float32(y), canvas.x[box] - np.float32(x)
    stretch = rng.uniform(0.85, 1.2, size=3).astype(np.float32)
    score = np.sqrt((dz.astype(np.float32) * stretch[0]) ** 2 + (dy * stretch[1]) ** 2 + (dx * stretch[2]) ** 2)
    score *= 1 + 0.13 * smooth_field(rng, score.shape, spacing_mm, 8.0)
    score[~_allowed(canvas, depth, box, plan)] = np.inf
    wanted = round(plan.volume_cm3 * 1000 / float(np.prod(spacing_mm)))
    wanted = min(max(wanted, 1), int(np.isfinite(score).sum()))
    region = score <= np.partition(score, wanted - 1, axis=None)[wanted - 1]
    labels, count = ndimage.label(region)
    if count > 1:
        region = labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
    return np.asarray(region, dtype=np.bool_)


def _allowed(canvas: Canvas, depth: FloatArray, box: Box, plan: TumorPlan) -> NDArray[np.bool_]:
    """Keep off skin, spine and the part of the airway that stays open on the other side."""
    airway = airway_of(canvas.z[box[0]])
    center_y, radius_x, radius_y = (
        np.asarray(part, dtype=np.float32)[:, None, None] for part in (airway.center_y, airway.radius_x, airway.radius_y)
    )
    side = np.float32(np.sign(plan.center_zyx_mm[2]))
    away = canvas.x[box] * side + 0.35 * radius_x
    lumen = np.hypot(away / (0.65 * radius_x), (canvas.y[box] - center_y) / radius_y) < 1
    elsewhere = (canvas.hu[box] < AIR_HU / 2) & (canvas.x[box] * side < -radius_x)
    return np.asarray((depth > _SKIN_MARGIN_MM) & (canvas.y[box] < _SPINE_Y_MM) & ~lumen & ~elsewhere, dtype=np.bool_)


def _texture(rng: np.random.Generator, region: NDArray[np.bool_], spacing_mm: tuple[float, float, float]) -> FloatArray:
    """Return a field of zero mean and unit variance inside the region, its dark tail longer: necrosis among stroma."""
    field = np.zeros(region.shape, dtype=np.float32)
    for scale, weight in _TEXTURE_SCALES_MM:
        part = ndimage.gaussian_filter(rng.standard_normal(region.shape, dtype=np.float32), [scale / s for s in spacing_mm])
        field += np.float32(weight / part.std()) * part
    field /= field[region].std()
    field -= np.float32(_NECROSIS) * field**2
    inside = field[region].astype(np.float64)
    return np.asarray((field - inside.mean()) / max(float(inside.std()), 1e-6), dtype=np.float32)
