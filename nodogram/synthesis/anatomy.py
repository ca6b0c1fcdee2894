"""The canonical neck, from the hyoid bone to the upper trachea, in venous-phase attenuation.

Positions in millimeters: x to the patient's left, y to the back, z upwards with the vocal folds at zero. Attenuations
are typical of contrast-enhanced neck CT at 120 kV. Later shapes cover earlier ones, so the order of the painters matters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nodogram.synthesis.canvas import Canvas, FloatArray, PerSlice, smooth_field
from nodogram.synthesis.latents import PatientLatents

PerSliceArray = NDArray[np.float64]

AIR_HU = -1000.0
SKIN_HU = 25.0
FAT_HU = -96.0
MUSCLE_HU = 62.0
ARTERY_HU = 172.0
VEIN_HU = 188.0
THYROID_HU = 158.0
NODE_HU = 85.0
CORTICAL_HU = 620.0
CANCELLOUS_HU = 185.0
MARROW_HU = 60.0
CARTILAGE_HU = 300.0
CORD_HU = 42.0

_SIDES = (-1.0, 1.0)
_SKIN_MM = 1.8
_VERTEBRA_MM = 17.0
_DISC_MM = 4.0
_TISSUE_TEXTURE_HU = 6.0
_TISSUE_KNOT_MM = 4.0
_MUSCLES = (
    # center x on the left, center y, radii, angle of the long axis: back to front
    (9.0, 46.5, 8.0, 9.0, 0.0),  # multifidus
    (21.5, 44.0, 9.5, 7.5, -0.45),  # semispinalis
    (33.0, 36.5, 9.5, 5.2, -0.75),  # splenius
    (39.5, 22.0, 6.0, 9.0, 0.15),  # levator scapulae
    (30.0, 16.0, 7.5, 6.5, 0.4),  # middle and posterior scalene
    (21.5, 7.0, 4.6, 5.6, 0.2),  # anterior scalene
    (8.0, 2.4, 6.8, 3.2, 0.2),  # longus colli
)


@dataclass(frozen=True, eq=False)
class Airway:
    """The lumen before any tumor: one ellipse per slice, mm."""

    center_y: PerSliceArray
    radius_x: PerSliceArray
    radius_y: PerSliceArray


def airway_of(z: PerSliceArray) -> Airway:
    """Return the lumen at each level (mm): trachea, the slit of the glottis, vestibule, pharynx."""
    level = [-38.0, -22.0, -8.0, -2.0, 2.0, 8.0, 18.0, 26.0, 38.0]
    return Airway(
        center_y=np.interp(z, level, [-20, -20, -20.5, -21, -21, -20, -17, -11, -9]),
        radius_x=np.interp(z, level, [8.5, 8.5, 6.5, 2.4, 2.6, 6.0, 8.5, 13.0, 14.0]),
        radius_y=np.interp(z, level, [8.5, 9.0, 9.0, 9.5, 9.5, 9.0, 8.0, 5.5, 5.0]),
    )


def paint_neck(canvas: Canvas, rng: np.random.Generator, latents: PatientLatents) -> FloatArray:
    """Paint everything but the tumor, skin and muscles first, the larynx last.

    Returns
    -------
    depth : float32 (z, y, x)
        Distance below the skin, mm, negative outside the body; approximate away from the skin.
    """
    depth = _depth_below_skin(canvas, rng)
    canvas.hu.fill(FAT_HU)
    _paint_muscles(canvas, rng)
    _paint_skin(canvas, rng, depth)
    _paint_spine(canvas, rng)
    _paint_glands(canvas, rng)
    _paint_nodes(canvas, rng, latents)
    _paint_vessels(canvas, rng)
    _paint_larynx(canvas, rng)
    _vary_tissue(canvas, rng)
    return depth


def _between(z: PerSliceArray, low: float, high: float, taper_mm: float = 2.0) -> PerSliceArray:
    """Return a weight per slice: 1 between two levels, fading outside."""
    return np.asarray(np.clip(np.minimum(z - low, high - z) / taper_mm + 0.5, 0, 1), dtype=np.float64)


def _vary_tissue(canvas: Canvas, rng: np.random.Generator) -> None:
    """Let soft tissue vary a little from place to place, as fibers and fat do; air stays air."""
    spacing = (np.diff(canvas.z[:2])[0], np.diff(canvas.row_y[:2])[0], np.diff(canvas.column_x[:2])[0])
    fields = smooth_field(rng, canvas.hu.shape, spacing, _TISSUE_KNOT_MM)
    for hu, field in zip(canvas.hu, fields, strict=True):
        hu += np.float32(_TISSUE_TEXTURE_HU) * field * (hu > AIR_HU / 3)


def _depth_below_skin(canvas: Canvas, rng: np.random.Generator) -> FloatArray:
    half_width = rng.normal(60, 2.5) + 15 * (np.clip(-14 - canvas.z, 0, None) / 23) ** 1.6
    front, back = float(rng.normal(50, 1.5)), float(rng.normal(58, 2.0))
    depth = np.empty_like(canvas.hu)
    for below, x, y, width in zip(depth, canvas.x, canvas.y - np.float32(3), half_width.tolist(), strict=True):
        below[...] = (1 - np.hypot(x / width, np.where(y < 0, y / front, y / back))) * min(width, front)
    return depth


def _paint_skin(canvas: Canvas, rng: np.random.Generator, depth: FloatArray) -> None:
    """Paint skin, the fat below it and the platysma over whatever reached so far out, and the air around."""
    fat = float(np.clip(rng.normal(5.0, 1.2), 3.5, 8.0))
    for hu, below, y in zip(canvas.hu, depth, canvas.y, strict=True):
        layer = FAT_HU + np.clip(0.5 + (_SKIN_MM - below) / canvas.edge_mm, 0, 1) * (SKIN_HU - FAT_HU)
        sheet = np.clip(1.2 - np.abs(below - 0.75 * fat), 0, 1) * np.clip((15 - y) / 20, 0, 1)
        layer += sheet * (30 - layer)
        hu += np.clip(0.5 + (fat - below) / canvas.edge_mm, 0, 1) * (layer - hu)
        hu += np.clip(0.5 - below / canvas.edge_mm, 0, 1) * (AIR_HU - hu)


def _paint_muscles(canvas: Canvas, rng: np.random.Generator) -> None:
    z = canvas.z
    bulk = float(np.clip(rng.normal(1.05, 0.04), 0.95, 1.15))
    slope = z / 37.5
    for side in _SIDES:
        for x, y, long, short, angle in _MUSCLES:
            hu = MUSCLE_HU + float(rng.normal(0, 3))
            own = bulk * float(rng.normal(1, 0.03))
            _paint_muscle(canvas, (side * x, y), (long * own, short * own), hu, side * angle)
        # The sternocleidomastoid runs from behind the ear to the sternum: back to front on the way down.
        center = (side * (42.5 + 4 * slope), -5 + 14 * slope)
        _paint_muscle(canvas, center, (14.5 * bulk, 6.6 * bulk), MUSCLE_HU, side * 1.0)
        wide = 6 * np.clip(-slope, 0, 1)
        trapezius = ((side * 3, 56), (side * 22, 54), (side * (40 + wide), 43), (side * (49 + 2 * wide), 29 - 2 * wide))
        canvas.stroke(trapezius, 4.8 * bulk, MUSCLE_HU)
        strap = ((side * 4, -40.5), (side * 14, -30), (side * 21.5, -17))
        canvas.stroke(strap, 4.0 * bulk, MUSCLE_HU, weight=_between(z, -40, 22, 4))
    canvas.ellipse((0, -4), (17, 3.6), MUSCLE_HU, weight=_between(z, -16, 40))
    canvas.ellipse((0, -27), (18, 15), MUSCLE_HU + 4, weight=_between(z, 27, 60, 8))


def _paint_muscle(
    canvas: Canvas, center: tuple[PerSlice, PerSlice], radii: tuple[float, float], hu: float, angle_rad: float
) -> None:
    """Paint a muscle in its sheath of fat, the dark line that separates it from its neighbors."""
    canvas.ellipse(center, (radii[0] + 0.9, radii[1] + 0.9), 0.4 * FAT_HU, angle_rad=angle_rad, weight=0.85)
    canvas.ellipse(center, radii, hu, angle_rad=angle_rad)


def _paint_spine(canvas: Canvas, rng: np.random.Generator) -> None:
    z = canvas.z
    phase = np.mod(z + float(rng.uniform(0, _VERTEBRA_MM)), _VERTEBRA_MM)
    bone = np.clip(np.minimum(phase - _DISC_MM, _VERTEBRA_MM - phase) / 1.5 + 0.5, 0, 1)
    body = (13.0 * float(rng.normal(1, 0.04)), 9.0)
    disc_hu = 95.0
    canvas.ellipse((0, 13.5), body, disc_hu + bone * (CORTICAL_HU - disc_hu))
    canvas.ellipse((0, 13.5), (body[0] - 1.6, body[1] - 1.6), disc_hu + bone * (CANCELLOUS_HU - disc_hu))
    arch = 0.15 + 0.85 * bone
    for side in _SIDES:
        canvas.stroke(((side * 11, 17), (side * 17, 24), (side * 14, 30)), 6.0, CORTICAL_HU * 0.75, weight=arch)
        canvas.ellipse((side * 16.5, 14.5), (5.2, 4.6), CORTICAL_HU * 0.7, weight=bone)
        canvas.ellipse((side * 16.5, 14.5), (3.2, 2.9), FAT_HU * 0.3, weight=bone)
        canvas.ellipse((side * 16.5, 14.5), (1.9, 1.9), ARTERY_HU)
        canvas.stroke(((side * 14, 30), (0, 41)), 3.8, CORTICAL_HU * 0.85, weight=arch)
    canvas.ellipse((0, 29.0), (11.0, 7.6), 8.0)
    canvas.ellipse((0, 28.5), (6.2, 4.0), CORD_HU)
    canvas.stroke(((0, 41), (0, 50)), 5.0, CORTICAL_HU * 0.8, weight=bone * (phase < 13))
    canvas.stroke(((0, 42), (0, 49)), 2.0, CANCELLOUS_HU, weight=bone * (phase < 13))


def _paint_glands(canvas: Canvas, rng: np.random.Generator) -> None:
    z = canvas.z
    for side in _SIDES:
        size = float(rng.normal(1, 0.08))
        bulge = np.sqrt(np.clip(1 - ((z + 24) / 16) ** 2, 0, 1))
        center, radii = (side * 17.5, -18.0), (6.5 * size * bulge + 0.1, 10.5 * size * bulge + 0.1)
        canvas.ellipse(center, radii, THYROID_HU, weight=(bulge > 0).astype(np.float64))
        canvas.ellipse((side * 31, -24), (8.0, 12.0), 78.0, angle_rad=side * 0.5, weight=_between(z, 26, 50, 4))
    isthmus = ((-14.0, -28.0), (0.0, -33.0), (14.0, -28.0))
    canvas.stroke(isthmus, 4.0, THYROID_HU, weight=_between(z, -32, -21))
    canvas.ellipse((-5, -6.0), (7.0, 4.4), 52.0, weight=_between(z, -60, -14))
    canvas.ellipse((-5, -6.0), (1.6, 0.9), AIR_HU * 0.6, weight=_between(z, -60, -26, 8))


def _paint_nodes(canvas: Canvas, rng: np.random.Generator, latents: PatientLatents) -> None:
    """Paint small normal nodes along both jugular chains, and an enlarged one where the report says so."""
    z = canvas.z
    for _ in range(int(rng.integers(6, 11))):
        x = float(rng.choice(_SIDES) * rng.uniform(30, 40))
        center_z, y, radius = float(rng.uniform(-30, 34)), float(rng.uniform(0, 10)), float(rng.uniform(1.6, 3.0))
        _node(canvas, (center_z, y, x), radius, NODE_HU + float(rng.normal(0, 6)))
    # Drawn for everyone, so that the finding does not shift the random stream of what follows.
    center_z, y, radius = float(rng.uniform(8, 26)), float(rng.uniform(0, 6)), float(rng.uniform(6.0, 9.0))
    if latents.ct_reported_lnm == "yes":
        x = 35.0 if latents.side == "left" else -35.0
        _node(canvas, (center_z, y, x), radius, NODE_HU + 12)
        if radius > 7.0:
            core = np.sqrt(np.clip((0.5 * radius) ** 2 - (z - center_z) ** 2, 0, None))
            canvas.ellipse((x, y), (core + 0.1, core + 0.1), 40.0, weight=(core > 0).astype(np.float64))


def _node(canvas: Canvas, center_zyx: tuple[float, float, float], radius_mm: float, hu: float) -> None:
    at_level = np.sqrt(np.clip(1 - ((canvas.z - center_zyx[0]) / (1.5 * radius_mm)) ** 2, 0, 1)) * radius_mm
    weight = (at_level > 0).astype(np.float64)
    canvas.ellipse((center_zyx[2], center_zyx[1]), (at_level + 0.1, 0.8 * at_level + 0.1), hu, weight=weight)


def _paint_vessels(canvas: Canvas, rng: np.random.Generator) -> None:
    z = canvas.z
    artery, vein = ARTERY_HU + float(rng.normal(0, 12)), VEIN_HU + float(rng.normal(0, 14))
    for side in _SIDES:
        jitter = float(rng.normal(0, 1.2))
        fork = float(rng.normal(16, 2))
        below = _between(z, -60, fork + 3, 4)
        above = _between(z, fork, 60, 3)
        spread = np.clip((z - fork) / 12, 0, 1)
        canvas.ellipse((side * (25.5 + jitter), -6.5), (3.6, 3.5), artery, weight=below)
        canvas.ellipse((side * (26.5 + jitter + 1.5 * spread), -5 + 3 * spread), (2.8, 2.8), artery, weight=above)
        canvas.ellipse((side * (25.0 + jitter - 2 * spread), -8.5 - 4 * spread), (2.2, 2.2), artery, weight=above)
        size = float(np.clip(rng.normal(6.0 if side < 0 else 5.0, 0.9), 3.2, 7.5))
        canvas.ellipse((side * (33 + jitter), -3.0 + 2 * z / 37.5), (size, 0.72 * size), vein, angle_rad=side * 0.5)
        canvas.ellipse((side * (54 + 0.05 * z), -5.0 + 0.3 * z), (1.5, 1.3), vein - 10)
        canvas.ellipse((side * 7.0, -45.5 + 0.05 * np.abs(z)), (1.2, 0.9), vein - 10)


def _paint_larynx(canvas: Canvas, rng: np.random.Generator) -> None:
    z = canvas.z
    soft = _between(z, -9, 22, 3)
    canvas.ellipse((0, -20), (15, 16), MUSCLE_HU + 4, weight=soft)
    for side in _SIDES:
        canvas.ellipse((side * 11.0, -21), (2.4, 8.0), FAT_HU * 0.6, angle_rad=side * -0.38, weight=_between(z, 3, 20, 4))
    canvas.ellipse((0, -30.5), (8.5, 5.0), FAT_HU * 0.85, weight=_between(z, 9, 27, 4))
    _paint_cartilage(canvas, rng)
    airway = airway_of(z)
    canvas.ring(
        (0, airway.center_y), (airway.radius_x + 2.6, airway.radius_y + 2.6), 2.7, MUSCLE_HU + 14, weight=_between(z, -8, 40)
    )
    canvas.ring((0, airway.center_y), (airway.radius_x + 2.4, airway.radius_y + 2.4), 2.4, 105.0, weight=_between(z, -60, -21))
    canvas.ellipse((0, airway.center_y), (airway.radius_x, airway.radius_y), AIR_HU)
    for side in _SIDES:
        sinus = _between(z, 7, 19, 4)
        canvas.ellipse((side * 15.0, -9.5), (1.7, 4.6), AIR_HU, angle_rad=side * 0.5, weight=sinus)
    epiglottis = ((-9.0, -13.5), (-4.0, -16.8), (0.0, -18.0), (4.0, -16.8), (9.0, -13.5))
    canvas.stroke(epiglottis, 2.2, MUSCLE_HU + 22, weight=_between(z, 12, 31))


def _paint_cartilage(canvas: Canvas, rng: np.random.Generator) -> None:
    """Paint thyroid, cricoid and arytenoid cartilage and the hyoid, ossified unevenly as in adults."""
    z = canvas.z
    ossified = float(np.clip(rng.normal(1.0, 0.15), 0.65, 1.35))
    wave = 1 + 0.25 * np.sin(z / 3.1 + float(rng.uniform(0, 6)))
    shell = CARTILAGE_HU * ossified * wave
    lamina = _between(z, -9, 18)
    gap = np.clip((z - 8) * 0.6, 0, 6)  # the notch
    for side in _SIDES:
        plate = ((side * gap, -37 + 0.4 * gap), (side * 10.5, -26.0), (side * 18.0, -9.0))
        canvas.stroke(plate, 3.6, shell, weight=lamina)
        canvas.stroke(plate, 1.3, MARROW_HU, weight=lamina * (0.5 + 0.5 * np.sin(z / 5.0 + side)))
        canvas.ellipse((side * 18.0, -8.0), (1.9, 1.9), shell * 1.2, weight=_between(z, -14, 29))
        canvas.ellipse((side * 6.5, -11.0), (3.2, 2.6), shell * 0.9, weight=_between(z, -1, 8))
        horn = ((0.0, -36.0), (side * 12.0, -32.0), (side * 19.0, -17.0))
        canvas.stroke(horn, 4.2, CORTICAL_HU * 0.75, weight=_between(z, 25, 32))
        canvas.stroke(horn, 1.6, CANCELLOUS_HU, weight=_between(z, 26, 31))
    arch = _between(z, -19, -9)
    canvas.ring((0, -20), (12.0, 13.0), 3.4, shell, weight=arch)
    canvas.ring((0, -20), (11.0, 12.0), 1.4, MARROW_HU + 20, weight=arch * 0.8)
    back = _between(z, -18, 1)
    canvas.ellipse((0, -9.0), (10.0, 3.2), shell, weight=back)
    canvas.ellipse((0, -9.0), (7.8, 1.5), MARROW_HU, weight=back)
