"""ITK's resampling to the last bit, at the voxels asked for and nowhere else.

Resampled HU of a CT are whole numbers that ITK truncates, and outlines are sampled by nearest neighbor: both turn the last
bit of a position into a different voxel (clipped air, every fifth slice from 0.625 to 1 mm). Cropping the input, or asking
for a part of the output, changes that bit in ITK itself. Here the index arithmetic of the whole grids is repeated as
``itk::ResampleImageFilter`` does it (ITK 5, linear transforms: a scanline's two ends are transformed, the voxels between
them interpolated), and the interpolators are evaluated in ITK's order of operations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nodogram.geometry import Geometry
from nodogram.imaging.bspline import cubic_coefficients
from nodogram.imaging.itk import as_stored, without_voxels
from nodogram.volume import Box

# The prefilter of the cubic B-spline decays by 0.268 per voxel: beyond 36 voxels not even the last bit knows of the border.
PREFILTER_VOXELS = 36
# An interpolator reads two voxels on either side; the third keeps rounding out of the question.
REACH_VOXELS = 3
# Voxels resampled at a time where positions do not separate by axis.
SLAB_VOXELS = 1 << 19

Interpolation = Literal["nearest", "linear", "bspline"]
_Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _Positions:
    """Continuous input indices of output voxels; each array broadcasts to (z, y, x)."""

    x: _Floats
    y: _Floats
    z: _Floats

    def inside(self, shape: tuple[int, int, int]) -> NDArray[np.bool_]:
        """Tell which lie in the input, up to half a voxel beyond its outermost centers."""
        nz, ny, nx = shape
        return (
            (self.x >= -0.5)
            & (self.x < nx - 0.5)
            & (self.y >= -0.5)
            & (self.y < ny - 0.5)
            & (self.z >= -0.5)
            & (self.z < nz - 0.5)
        )


def resample_part(
    array: NDArray[Any],
    geometry: Geometry,
    grid: Geometry,
    box: Box,
    interpolation: Interpolation,
    before: Callable[[NDArray[Any]], NDArray[Any]] = lambda part: part,
) -> NDArray[Any]:
    """Return the part of an image on another grid that ITK would compute for the whole of it.

    Parameters
    ----------
    array
        (z, y, x), bool for a region, float32 for HU.
    geometry
        Grid of ``array``.
    grid
        Output grid; its extent along x belongs to ITK's arithmetic.
    box
        Part of the output grid wanted.
    interpolation
        ``nearest``, ``linear`` or ``bspline`` (cubic).
    before
        Applied to the input voxels that are read.

    Returns
    -------
    ndarray
        Shape of the box; bool, or float32 holding whole numbers where those read were (ITK truncates to the type of the input).
        Voxels beyond the input are 0.
    """
    needed = _needed(geometry, grid, box, REACH_VOXELS)
    part: NDArray[Any]
    if interpolation == "bspline":
        read = _needed(geometry, grid, box, REACH_VOXELS + PREFILTER_VOXELS)
        samples = as_stored(before(array[read]))
        z, y, x = (slice(n.start - r.start, n.stop - r.start) for n, r in zip(needed, read, strict=True))
        is_whole, part = np.issubdtype(samples.dtype, np.integer), cubic_coefficients(samples, (z, y, x))
    else:
        part = before(array[needed]) if interpolation == "nearest" else as_stored(before(array[needed]))
        is_whole = np.issubdtype(part.dtype, np.integer)
    sample = {"nearest": _nearest, "linear": _linear, "bspline": _cubic}[interpolation]
    offset = (needed[0].start, needed[1].start, needed[2].start)
    out: NDArray[Any] = np.empty([b.stop - b.start for b in box], dtype=np.bool_ if interpolation == "nearest" else np.float32)
    for slab, at in _slabs(geometry, grid, box):
        values = np.where(at.inside(geometry.shape), sample(part, at, offset, geometry.shape), 0)
        out[slab] = np.trunc(values) if is_whole else values
    return out


def _slabs(geometry: Geometry, grid: Geometry, box: Box) -> Iterator[tuple[slice, _Positions]]:
    """Yield parts of the box along z with their positions."""
    count = box[0].stop - box[0].start
    height = max(1, SLAB_VOXELS // ((box[1].stop - box[1].start) * (box[2].stop - box[2].start)))
    for first in range(0, count, height):
        last = min(first + height, count)
        part = (slice(box[0].start + first, box[0].start + last), box[1], box[2])
        yield slice(first, last), _positions(geometry, grid, part)


def _positions(geometry: Geometry, grid: Geometry, box: Box) -> _Positions:
    to_patient = grid.index_to_patient[:3, :3]
    to_index = _patient_to_index(geometry)
    origin = np.array(geometry.origin_mm)
    iz, iy = (np.arange(part.start, part.stop, dtype=np.float64) for part in box[:2])
    z, y = iz[:, None, None], iy[None, :, None]

    def index_at(x: float) -> tuple[Any, Any, Any]:
        # Sums from left to right and with every term, as in ITK; a zero term changes nothing and keeps axes apart.
        point = []
        for row in range(3):
            total: Any = grid.origin_mm[row] + to_patient[row, 0] * x
            total = total if to_patient[row, 1] == 0 else total + to_patient[row, 1] * y
            total = total if to_patient[row, 2] == 0 else total + to_patient[row, 2] * z
            point.append(total - origin[row])
        index = []
        for row in range(3):
            terms = [to_index[row, k] * point[k] for k in range(3) if to_index[row, k] != 0]
            total = terms[0]
            for term in terms[1:]:
                total = total + term
            index.append(total)
        return index[0], index[1], index[2]

    length = grid.shape[2]
    share = np.arange(box[2].start, box[2].stop) / float(length)
    start, end = index_at(0.0), index_at(float(length))
    at = [
        np.atleast_3d(a) + np.atleast_3d(b - a) * share if np.any(b != a) else np.atleast_3d(a)
        for a, b in zip(start, end, strict=True)
    ]
    return _Positions(at[0], at[1], at[2])


def _patient_to_index(geometry: Geometry) -> _Floats:
    """ITK's own inverse of direction times spacing, column by column."""
    at_zero = without_voxels(geometry)
    at_zero.SetOrigin((0.0, 0.0, 0.0))
    columns = [at_zero.TransformPhysicalPointToContinuousIndex([float(a == k) for a in range(3)]) for k in range(3)]
    return np.array(columns).T


def _needed(geometry: Geometry, grid: Geometry, box: Box, reach: int) -> Box:
    """Input voxels within reach of these output voxels."""
    corners = [[part.start, part.stop - 1] for part in box]
    at = [
        _positions(geometry, grid, (slice(z, z + 1), slice(y, y + 1), slice(x, x + 1)))
        for z in corners[0]
        for y in corners[1]
        for x in corners[2]
    ]
    found = []
    for axis, name in enumerate("zyx"):
        values = [float(getattr(position, name).item()) for position in at]
        count = geometry.shape[axis]
        low = min(max(int(np.floor(min(values))) - reach, 0), count - 1)
        found.append(slice(low, max(min(int(np.ceil(max(values))) + reach + 1, count), low + 1)))
    return found[0], found[1], found[2]


def _nearest(part: NDArray[Any], at: _Positions, offset: tuple[int, int, int], shape: tuple[int, int, int]) -> NDArray[Any]:
    z, y, x = (
        np.clip(np.floor(p + 0.5).astype(np.intp), 0, n - 1) - o
        for p, n, o in zip((at.z, at.y, at.x), shape, offset, strict=True)
    )
    return np.asarray(part[_within(z, part, 0), _within(y, part, 1), _within(x, part, 2)])


def _linear(part: NDArray[Any], at: _Positions, offset: tuple[int, int, int], shape: tuple[int, int, int]) -> NDArray[Any]:
    low, high, share = [], [], []
    for axis, (p, n, o) in enumerate(zip((at.z, at.y, at.x), shape, offset, strict=True)):
        first = np.maximum(np.floor(p).astype(np.intp), 0)
        low.append(_within(np.minimum(first, n - 1) - o, part, axis))
        high.append(_within(np.minimum(first + 1, n - 1) - o, part, axis))
        share.append(np.maximum(p - first, 0.0))

    if _is_separable(at):
        # Rows and planes of the input serve several of the output: the same sums for each value, fewer times.
        lowest, highest = int(low[0].min()), int(high[0].max())
        found: NDArray[Any] = part[lowest : highest + 1]
        low[0], high[0] = low[0] - lowest, high[0] - lowest
        for axis in (2, 1, 0):
            # Unlike an index, take leaves the axes in their order in memory.
            below, above = (np.take(found, index[axis].ravel(), axis) for index in (low, high))
            found = _between(below, above, share[axis])
        return found

    def along_x(z: NDArray[np.intp], y: NDArray[np.intp]) -> _Floats:
        return _between(part[z, y, low[2]], part[z, y, high[2]], share[2])

    def along_y(z: NDArray[np.intp]) -> _Floats:
        return _between(along_x(z, low[1]), along_x(z, high[1]), share[1])

    return _between(along_y(low[0]), along_y(high[0]), share[0])


def _is_separable(at: _Positions) -> bool:
    return all(
        size == 1
        for axis, position in enumerate((at.z, at.y, at.x))
        for other, size in enumerate(position.shape)
        if other != axis
    )


def _between(low: NDArray[Any], high: NDArray[Any], share: _Floats) -> _Floats:
    start = low.astype(np.float64, copy=False)
    found: _Floats = high - start
    found *= share
    found += start
    return found


def _cubic(part: NDArray[Any], at: _Positions, offset: tuple[int, int, int], shape: tuple[int, int, int]) -> NDArray[Any]:
    """Evaluate B-spline coefficients (Unser 1999, doi:10.1109/79.799930), mirrored at the ends."""
    taps, weights = [], []
    for axis, (p, n, o) in enumerate(zip((at.z, at.y, at.x), shape, offset, strict=True)):
        base = np.floor(p.astype(np.float32)).astype(np.intp) - 1  # ITK rounds to single precision here
        w = p - (base + 1)
        last = (1.0 / 6.0) * w * w * w
        first = (1.0 / 6.0) + 0.5 * w * (w - 1.0) - last
        third = w + first - 2.0 * last
        weights.append((first, 1.0 - first - third - last, third, last))
        period = max(2 * n - 2, 1)
        folded = [np.mod(base + k, period) for k in range(4)]
        taps.append([_within(np.minimum(f, period - f) - o if n > 1 else np.zeros_like(f), part, axis) for f in folded])
    total = np.zeros(np.broadcast_shapes(at.x.shape, at.y.shape, at.z.shape))
    for k in range(64):
        z, y, x = k // 16, k // 4 % 4, k % 4
        total += weights[2][x] * weights[1][y] * weights[0][z] * part[taps[0][z], taps[1][y], taps[2][x]]
    return total


def _within(index: NDArray[np.intp], part: NDArray[Any], axis: int) -> NDArray[np.intp]:
    """Keep indices of voxels beyond the input, whose values are discarded, inside the array."""
    return np.clip(index, 0, part.shape[axis] - 1)
