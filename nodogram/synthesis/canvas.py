"""Painting soft tissue: shapes with partial-volume edges on a gently deformed grid, one bounding box at a time."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
PerSlice = float | NDArray[np.float64]

# No tissue edge is sharper than the point spread of a soft kernel, mm.
_EDGE_WIDTH_MM = 0.9
_WARP_KNOT_SPACING_MM = 18.0
_WARP_LIMIT = 3.0


@dataclass(frozen=True)
class Pose:
    """How a neck lies in the scanner, relative to the canonical neck.

    Attributes
    ----------
    scale
        Size relative to the canonical neck.
    shift_mm
        (x, y) of the canonical origin.
    rotation_rad
        Turn of the head about the long axis.
    warp_mm
        Standard deviation of the smooth deformation that makes every contour a little irregular.
    """

    scale: float
    shift_mm: tuple[float, float]
    rotation_rad: float
    warp_mm: float


@dataclass(frozen=True, eq=False)
class Canvas:
    """Voxels being painted and where each of them lies in the canonical neck.

    Attributes
    ----------
    hu
        (z, y, x), painted in place.
    x, y
        (z, y, x), canonical position of each voxel, mm; x to the patient's left, y to the back.
    z
        (z,), mm, upwards.
    column_x, row_y
        (x,) and (y,), undeformed positions, mm; what bounding boxes are taken from.
    pose
        The pose behind ``x`` and ``y``.
    edge_mm
        Width over which an edge rises.
    """

    hu: FloatArray
    x: FloatArray
    y: FloatArray
    z: NDArray[np.float64]
    column_x: NDArray[np.float64]
    row_y: NDArray[np.float64]
    pose: Pose
    edge_mm: float

    def ellipse(
        self,
        center: tuple[PerSlice, PerSlice],
        radii: tuple[PerSlice, PerSlice],
        hu: PerSlice,
        *,
        angle_rad: float = 0.0,
        weight: PerSlice = 1.0,
    ) -> None:
        """Paint an ellipse in every slice; center, radii (mm), attenuation (HU) and weight (0 to 1) may vary by slice."""
        self._blend(center, radii, hu, angle_rad, weight, hole=None)

    def ring(
        self,
        center: tuple[PerSlice, PerSlice],
        radii: tuple[PerSlice, PerSlice],
        thickness_mm: float,
        hu: PerSlice,
        *,
        weight: PerSlice = 1.0,
    ) -> None:
        """Paint the band of the given thickness inside an ellipse."""
        self._blend(center, radii, hu, 0.0, weight, hole=thickness_mm)

    def stroke(
        self,
        points: tuple[tuple[PerSlice, PerSlice], ...],
        width_mm: float,
        hu: PerSlice,
        *,
        weight: PerSlice = 1.0,
    ) -> None:
        """Paint a line through points with round ends."""
        for first, second in itertools.pairwise(points):
            (x0, y0), (x1, y1) = self._columns(*first), self._columns(*second)
            half = np.float32(0.5)
            reach = np.hypot(x1 - x0, y1 - y0).max() / 2 + width_mm / 2
            box = self._box((x0 + x1) * half, (y0 + y1) * half, float(reach), weight)
            if box is None:
                continue
            zs, ys, xs = box
            dx, dy = (x1 - x0)[zs], (y1 - y0)[zs]
            px, py = self.x[zs, ys, xs] - x0[zs], self.y[zs, ys, xs] - y0[zs]
            along = np.clip((px * dx + py * dy) / np.maximum(dx**2 + dy**2, np.float32(1e-6)), 0, 1)
            distance = np.hypot(px - along * dx, py - along * dy)
            self._mix(box, 0.5 + (width_mm / 2 - distance) / self.edge_mm, hu, weight)

    def _blend(
        self,
        center: tuple[PerSlice, PerSlice],
        radii: tuple[PerSlice, PerSlice],
        hu: PerSlice,
        angle_rad: float,
        weight: PerSlice,
        hole: float | None,
    ) -> None:
        cx, cy = self._columns(*center)
        rx, ry = self._columns(*radii)
        box = self._box(cx, cy, float(max(rx.max(), ry.max())), weight)
        if box is None:
            return
        zs, ys, xs = box
        px, py = self.x[zs, ys, xs] - cx[zs], self.y[zs, ys, xs] - cy[zs]
        if angle_rad:
            cos, sin = np.float32(np.cos(angle_rad)), np.float32(np.sin(angle_rad))
            px, py = px * cos + py * sin, py * cos - px * sin
        smaller = np.minimum(rx, ry)[zs]
        depth = (1 - np.hypot(px / rx[zs], py / ry[zs])) * smaller
        coverage = 0.5 + depth / self.edge_mm
        if hole is not None:
            coverage = np.minimum(coverage, 0.5 + (hole - depth) / self.edge_mm)
        self._mix(box, coverage, hu, weight)

    def _mix(self, box: tuple[slice, slice, slice], coverage: FloatArray, hu: PerSlice, weight: PerSlice) -> None:
        np.clip(coverage, 0, 1, out=coverage)
        coverage *= self._column(weight)[box[0]]
        view = self.hu[box]
        view += coverage * (self._column(hu)[box[0]] - view)

    def _column(self, value: PerSlice) -> FloatArray:
        return np.broadcast_to(np.asarray(value, dtype=np.float32), self.z.shape)[:, None, None]

    def _columns(self, first: PerSlice, second: PerSlice) -> tuple[FloatArray, FloatArray]:
        return self._column(first), self._column(second)

    def _box(self, cx: FloatArray, cy: FloatArray, reach_mm: float, weight: PerSlice) -> tuple[slice, slice, slice] | None:
        """Return the voxels a shape can touch, with room for the deformation."""
        active = np.flatnonzero(self._column(weight).ravel() > 0)
        if active.size == 0:
            return None
        zs = slice(int(active[0]), int(active[-1]) + 1)
        room = (reach_mm + self.edge_mm) * self.pose.scale + _WARP_LIMIT * self.pose.warp_mm
        x, y = self.to_scanner(cx[zs].ravel(), cy[zs].ravel())
        columns = np.flatnonzero((self.column_x >= x.min() - room) & (self.column_x <= x.max() + room))
        rows = np.flatnonzero((self.row_y >= y.min() - room) & (self.row_y <= y.max() + room))
        if columns.size == 0 or rows.size == 0:
            return None
        return zs, slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)

    def to_scanner(self, x: NDArray[np.floating], y: NDArray[np.floating]) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """Return scanner positions (mm) of canonical ones, the smooth deformation left aside."""
        cos, sin = np.cos(self.pose.rotation_rad), np.sin(self.pose.rotation_rad)
        scale, (shift_x, shift_y) = self.pose.scale, self.pose.shift_mm
        return scale * (cos * x - sin * y) + shift_x, scale * (sin * x + cos * y) + shift_y


def blank_canvas(
    rng: np.random.Generator, shape: tuple[int, int, int], spacing_mm: tuple[float, float, float], pose: Pose
) -> Canvas:
    """Return an unpainted canvas, its grid posed and smoothly deformed."""
    z, row_y, column_x = (
        np.asarray((np.arange(count) - (count - 1) / 2) * step, dtype=np.float64)
        for count, step in zip(shape, spacing_mm, strict=True)
    )
    cos, sin = np.cos(pose.rotation_rad), np.sin(pose.rotation_rad)
    x = (column_x[None, :] - pose.shift_mm[0]) / pose.scale
    y = (row_y[:, None] - pose.shift_mm[1]) / pose.scale
    positions = []
    for straight in (cos * x + sin * y, cos * y - sin * x):
        field = smooth_field(rng, shape, spacing_mm, _WARP_KNOT_SPACING_MM)
        field *= np.float32(pose.warp_mm)
        np.clip(field, -_WARP_LIMIT * pose.warp_mm, _WARP_LIMIT * pose.warp_mm, out=field)
        field += straight.astype(np.float32)
        positions.append(field)
    return Canvas(
        hu=np.empty(shape, dtype=np.float32),
        x=positions[0],
        y=positions[1],
        z=z,
        column_x=column_x,
        row_y=row_y,
        pose=pose,
        edge_mm=max(_EDGE_WIDTH_MM, spacing_mm[2]),
    )


def smooth_field(
    rng: np.random.Generator, shape: tuple[int, int, int], spacing_mm: tuple[float, float, float], knot_mm: float
) -> FloatArray:
    """Return a smooth random field (z, y, x) of unit variance: uniform cubic B-spline over knots ``knot_mm`` apart."""
    weights = [_spline_weights(count, step, knot_mm) for count, step in zip(shape, spacing_mm, strict=True)]
    knots = rng.standard_normal([w.shape[1] for w in weights], dtype=np.float32)
    rows = weights[1] @ np.tensordot(weights[0], knots, axes=(1, 0))
    # One plain matrix product: a stack of products with a transposed view is thirty times slower.
    field = rows.reshape(-1, knots.shape[2]) @ np.ascontiguousarray(weights[2].T)
    return np.asarray(field.reshape(shape), dtype=np.float32)


def _spline_weights(count: int, step_mm: float, knot_mm: float) -> FloatArray:
    """Return (count, knots) weights of the uniform cubic B-spline, each row scaled to unit sum of squares."""
    position = np.arange(count) * step_mm / knot_mm + 1
    knots = int(np.ceil(position[-1])) + 2
    distance = np.abs(position[:, None] - np.arange(knots)[None, :])
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = np.clip(2 - distance, 0, None) ** 3 / 6
    weights = np.where(distance < 1, near, far)
    return np.asarray(weights / np.linalg.norm(weights, axis=1, keepdims=True), dtype=np.float32)
