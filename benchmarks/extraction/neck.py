"""A synthetic neck CT with a tumor outlined at several sizes: the same every time, and nobody's.

512 x 512 x 250 voxels of 0.49 x 0.49 x 0.625 mm (x, y, z), about what a contrast-enhanced neck is in a clinic. Made once
and kept as plain arrays, natively and resampled to 1 mm as a whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

SEED = 20261123
SHAPE = (250, 512, 512)
SPACING_MM = (0.625, 0.49, 0.49)
WINDOW_HU = (-125, 225)
TUMOR_MM = (5.0, -8.0, 38.0)
"""Center of the tumor (z, y, x) from the center of the image: beside the larynx."""
TUMOR_RADIUS_MM = 40.0
"""Nothing of the tumor lies further from its center than this on any axis."""

Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Scan:
    """An image and its regions as stored arrays.

    Attributes
    ----------
    name
        ``native``, or ``1mm``: clipped to the window, then resampled as a whole, the image linearly to whole HU.
    spacing_mm
        (z, y, x), mm.
    """

    folder: Path
    name: str
    spacing_mm: tuple[float, float, float]

    def image(self) -> NDArray[np.int16]:
        """Read the image (z, y, x), HU."""
        image: NDArray[np.int16] = np.load(self._path("image"))
        return image

    def region(self, size_cm3: int) -> NDArray[np.bool_]:
        """Read the region (z, y, x) of this nominal size."""
        region: NDArray[np.bool_] = np.load(self._path(f"region-{size_cm3}"))
        return region

    def write(self, part: str, array: NDArray[np.int16] | NDArray[np.bool_]) -> None:
        """Store ``image`` or ``region-N``; a killed process leaves nothing under that name."""
        temporary = self._path(f"{part}.part")
        np.save(temporary, array)
        temporary.replace(self._path(part))

    def has(self, part: str) -> bool:
        """Tell whether that part has been stored."""
        return self._path(part).is_file()

    def _path(self, part: str) -> Path:
        return self.folder / f"{self.name}-{part}.npy"


def scans(folder: Path) -> dict[str, Scan]:
    """Return where both scans are, or will be, by name."""
    return {"native": Scan(folder, "native", SPACING_MM), "1mm": Scan(folder, "1mm", (1.0, 1.0, 1.0))}


def ensure_neck(folder: Path, sizes_cm3: Sequence[int]) -> None:
    """Make what is not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    native, resampled = scans(folder).values()
    score = _score(np.random.default_rng(SEED))
    for size in sizes_cm3:
        if not native.has(f"region-{size}"):
            native.write(f"region-{size}", _placed(_region(score, size)))
        if not resampled.has(f"region-{size}"):
            resampled.write(f"region-{size}", _at_1_mm(native.region(size), sitk.sitkNearestNeighbor) > 0)
    if not native.has("image"):
        native.write("image", _image(_region(score, 30)))
    if not resampled.has("image"):
        resampled.write("image", _at_1_mm(np.clip(native.image(), *WINDOW_HU), sitk.sitkLinear))


def _axes() -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Distances from the center (z, y, x), mm."""
    z, y, x = ((np.arange(n, dtype=np.float32) - (n - 1) / 2) * s for n, s in zip(SHAPE, SPACING_MM, strict=True))
    return z, y, x


def _tumor_box() -> Box:
    z, y, x = (
        slice(int(np.flatnonzero(abs(a - c) < TUMOR_RADIUS_MM)[0]), int(np.flatnonzero(abs(a - c) < TUMOR_RADIUS_MM)[-1]) + 1)
        for a, c in zip(_axes(), TUMOR_MM, strict=True)
    )
    return z, y, x


def _smooth(rng: np.random.Generator, shape: tuple[int, ...], sigma_mm: float) -> NDArray[np.float32]:
    """Isotropic noise of this grain, standardized."""
    noise = ndimage.gaussian_filter(rng.standard_normal(shape, dtype=np.float32), [sigma_mm / s for s in SPACING_MM])
    return np.asarray(noise / noise.std(), dtype=np.float32)


def _score(rng: np.random.Generator) -> NDArray[np.float32]:
    """Distance from the tumor's center with an irregular front, mm, inside its box."""
    box = _tumor_box()
    z, y, x = (a[part] - c for a, part, c in zip(_axes(), box, TUMOR_MM, strict=True))
    distance = np.sqrt((z[:, None, None] / 1.2) ** 2 + (y[None, :, None] / 0.85) ** 2 + x[None, None, :] ** 2)
    return np.asarray(distance + 1.5 * _smooth(rng, distance.shape, 5.0), dtype=np.float32)


def _region(score: NDArray[np.float32], size_cm3: int) -> NDArray[np.bool_]:
    """Return the connected region of about this size, without holes, in the tumor's box."""
    count = round(size_cm3 * 1000 / float(np.prod(SPACING_MM)))
    labels, _ = ndimage.label(score <= np.partition(score.ravel(), count)[count])
    largest = 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
    return np.asarray(ndimage.binary_fill_holes(labels == largest))


def _placed(region: NDArray[np.bool_]) -> NDArray[np.bool_]:
    whole = np.zeros(SHAPE, dtype=np.bool_)
    whole[_tumor_box()] = region
    return whole


def _image(tumor: NDArray[np.bool_]) -> NDArray[np.int16]:
    rng = np.random.default_rng(SEED + 1)
    tissue = np.empty(SHAPE, dtype=np.float32)
    for index, z_mm in enumerate(_axes()[0]):
        tissue[index] = _slice(float(z_mm))
    box = _tumor_box()
    share = ndimage.gaussian_filter(tumor.astype(np.float32), 1.0)
    texture = sum(weight * _smooth(rng, share.shape, sigma_mm) for sigma_mm, weight in ((0.6, 10), (1.4, 12), (3.4, 15)))
    tissue[box] = tissue[box] * (1 - share) + share * (65 + texture)
    noise = np.zeros(SHAPE[1:], dtype=np.float32)
    for plane in tissue:  # in place
        grain = ndimage.gaussian_filter(rng.standard_normal(plane.shape, dtype=np.float32), 1.0)
        noise = 0.5 * noise + grain / grain.std()
        plane += 12 * np.sqrt(0.75) * noise
    return np.clip(np.rint(tissue), -1024, 3071).astype(np.int16)


def _slice(z_mm: float) -> NDArray[np.float32]:
    """Return HU of one slice: outline, fat, muscle, vessels, spine, airway, cartilage."""
    _, y, x = _axes()
    y, x = y[:, None], x[None, :]
    plane = np.full(SHAPE[1:], -1000, dtype=np.float32)

    def ellipse(center_mm: tuple[float, float], radii_mm: tuple[float, float]) -> NDArray[np.bool_]:
        (cy, cx), (ry, rx) = center_mm, radii_mm
        return np.asarray(((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 < 1)

    width = 1 + 0.08 * np.sin(z_mm / 30)
    plane[ellipse((-5, 0), (62 * width, 68 * width))] = -90
    plane[ellipse((-5, 0), (57, 63))] = 50
    for side in (-1, 1):
        plane[ellipse((-8, 34 * side), (6.5, 6.5))] = 170
        plane[ellipse((-2, 30 * side), (4.5, 4.5))] = 150
    for radius, hu in ((16, 350), (12, 220)):
        plane[ellipse((28, 0), (radius, radius))] = hu
    plane[ellipse((44, 0), (8, 8))] = 30
    if abs(z_mm) < 25:
        plane[ellipse((-30, 0), (14, 15)) & ~ellipse((-30, 0), (11, 12))] = 250
    plane[ellipse((-30, 0), (8, 9))] = -1000
    return np.asarray(ndimage.gaussian_filter(plane, 1.0))


def _at_1_mm(array: NDArray[np.int16] | NDArray[np.bool_], interpolator: int) -> NDArray[np.int16]:
    image: Any = sitk.GetImageFromArray(array.astype(np.int16))
    image.SetSpacing(SPACING_MM[::-1])
    sampling: Any = sitk.ResampleImageFilter()  # type: ignore[no-untyped-call]
    sampling.SetOutputSpacing((1.0, 1.0, 1.0))
    sampling.SetSize([int(np.ceil(n * s)) for n, s in zip(SHAPE[::-1], SPACING_MM[::-1], strict=True)])
    sampling.SetOutputOrigin([(1 - s) / 2 for s in SPACING_MM[::-1]])  # corner on corner
    sampling.SetInterpolator(interpolator)
    return np.asarray(sitk.GetArrayFromImage(sampling.Execute(image)), dtype=np.int16)
