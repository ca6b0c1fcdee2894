"""PyRadiomics' feature classes on arrays: its formulas, without its images, checks and repeated discretization.

PyRadiomics builds every class from SimpleITK images, and each class discretizes again. Here a region is discretized once, in
:class:`GrayLevels`, and each class is given what its constructor would have worked out. The texture matrices come from
:mod:`nodogram.radiomics.texture`, the mesh from :mod:`nodogram.radiomics.mesh`, both equal to PyRadiomics' own; all feature
formulas are PyRadiomics' (3.0.1).
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from radiomics import firstorder, glcm, gldm, glrlm, glszm, ngtdm, shape

from nodogram.radiomics import texture
from nodogram.radiomics.mesh import MeshCoefficients, mesh_coefficients

# PyRadiomics writes to stderr by a handler of its own. What matters to us arrives as a missing or not finite value.
_SILENT = logging.getLogger("radiomics")
_SILENT.setLevel(logging.CRITICAL + 1)
warnings.filterwarnings("ignore", category=RuntimeWarning, module=r"radiomics\.")

Spacing = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class GrayLevels:
    """A discretized region.

    Attributes
    ----------
    values
        Intensities of the region's box (z, y, x).
    inside
        bool, same shape: the region.
    levels
        Gray levels from 1, same shape; 0 outside the region.
    spacing_mm
        (z, y, x), mm.
    exact_powers
        Take powers as PyRadiomics does, to the last bit; products are many times faster and as good.
    """

    values: NDArray[Any]
    inside: NDArray[np.bool_]
    levels: NDArray[np.int32]
    spacing_mm: Spacing
    exact_powers: bool = True

    @cached_property
    def counts(self) -> NDArray[np.intp]:
        """Voxels per gray level, from level 1 to the highest one present."""
        return np.bincount(self.levels[self.inside])[1:]

    @cached_property
    def absent(self) -> NDArray[np.intp]:
        """Indices of the levels, from 1, that do not occur.

        Matrices are cut by ``numpy.delete`` of these, because the memory order that results, hence the order in which
        PyRadiomics' formulas sum, is then PyRadiomics' own.
        """
        return np.flatnonzero(self.counts == 0)

    @cached_property
    def present(self) -> NDArray[np.intp]:
        """Gray levels that occur, ascending."""
        return np.flatnonzero(self.counts) + 1


def _start(calculator: Any, region: GrayLevels) -> None:
    """Do what the constructors of PyRadiomics' texture classes do, with the discretization given."""
    _start_empty(calculator)
    calculator.coefficients = {"grayLevels": region.present, "Ng": int(region.present[-1])}
    calculator.region = region


def _start_empty(calculator: Any) -> None:
    calculator.logger = _SILENT
    calculator.settings = {}
    calculator.label = 1
    calculator.voxelBased = False
    calculator.enabledFeatures = {}
    calculator.featureValues = {}
    calculator.featureNames = _feature_names(type(calculator))  # type: ignore[arg-type]


def _without(matrix: NDArray[np.float64], absent: NDArray[np.intp]) -> NDArray[np.float64]:
    """Drop the rows of absent levels. Deleting none would copy, in the same order, what may be 100 MB."""
    return np.delete(matrix, absent, 1) if absent.size else matrix


class _FirstOrder(firstorder.RadiomicsFirstOrder):  # type: ignore[misc]
    """Sorted once for all percentiles, centered once for all moments; there are no values that are not numbers to look for."""

    def __init__(self, region: GrayLevels) -> None:
        _start(self, region)
        self.pixelSpacing = region.spacing_mm[::-1]
        self.voxelArrayShift = 0
        self.moments: dict[int, NDArray[np.float64]] = {}

    def _initCalculation(self, _voxels: None = None) -> None:  # noqa: N802 - PyRadiomics' name
        region = self.region
        self.targetVoxelArray = region.values[region.inside].astype(np.float64, copy=False).reshape((1, -1))
        counts = region.counts[region.present - 1].astype(np.float64).reshape((1, -1))
        self.coefficients["p_i"] = counts / np.sum(counts, 1, keepdims=True)

    @cached_property
    def centered(self) -> NDArray[np.float64]:
        values = self.targetVoxelArray
        return np.asarray(values - values.mean(1, keepdims=True))

    @cached_property
    def ascending(self) -> NDArray[np.float64]:
        return np.sort(self.targetVoxelArray[0])

    @cached_property
    def centered_squares(self) -> NDArray[np.float64]:
        return self.centered * self.centered

    @cached_property
    def sum_of_squares(self) -> NDArray[np.float64]:
        total: NDArray[np.float64] = np.sum(self.targetVoxelArray**2, 1)
        return total

    def _moment(self, _values: NDArray[np.float64], moment: int = 1) -> NDArray[np.float64]:
        # PyRadiomics works each moment out anew, up to three times.
        if moment not in self.moments:
            self.moments[moment] = self._powers(moment).mean(1)
        # A copy, because callers write into what they get.
        return self.moments[moment].copy()

    def _powers(self, moment: int) -> NDArray[np.float64]:
        if self.region.exact_powers:
            return np.asarray(np.power(self.centered, moment))
        squares = self.centered_squares
        if moment == 2:
            return squares
        return squares * (self.centered if moment == 3 else squares)

    def _percentile(self, percent: float) -> NDArray[np.float64]:
        return np.array([percentile(self.ascending, percent)])

    def get10PercentileFeatureValue(self) -> NDArray[np.float64]:  # noqa: N802 - PyRadiomics' name, as all that follow
        return self._percentile(10)

    def get90PercentileFeatureValue(self) -> NDArray[np.float64]:  # noqa: N802
        return self._percentile(90)

    def getMeanFeatureValue(self) -> NDArray[np.float64]:  # noqa: N802
        return np.asarray(self.targetVoxelArray.mean(1))

    def getMedianFeatureValue(self) -> NDArray[np.float64]:  # noqa: N802
        middle = self.ascending[(self.ascending.size - 1) // 2 : self.ascending.size // 2 + 1]
        return np.array([middle.mean()])

    def getInterquartileRangeFeatureValue(self) -> NDArray[np.float64]:  # noqa: N802
        return self._percentile(75) - self._percentile(25)

    def getMinimumFeatureValue(self) -> NDArray[np.float64]:  # noqa: N802
        return self.ascending[:1]

    def getMaximumFeatureValue(self) -> NDArray[np.float64]:  # noqa: N802
        return self.ascending[-1:]

    def getRangeFeatureValue(self) -> NDArray[np.float64]:  # noqa: N802
        return self.ascending[-1:] - self.ascending[:1]

    def getMeanAbsoluteDeviationFeatureValue(self) -> NDArray[np.float64]:  # noqa: N802
        return np.asarray(np.abs(self.centered).mean(1))

    def getRobustMeanAbsoluteDeviationFeatureValue(self) -> NDArray[np.float64]:  # noqa: N802
        # PyRadiomics sums over all voxels, those outside as zeros; the sums round as they do only in that order.
        values = self.targetVoxelArray
        inside = (values >= self._percentile(10)) & (values <= self._percentile(90))
        count = np.count_nonzero(inside)
        if count == 0:
            return np.array([np.nan])
        mean = np.where(inside, values, 0.0).sum(1, keepdims=True) / count
        return np.asarray(np.where(inside, np.abs(values - mean), 0.0).sum(1) / count)

    def getEnergyFeatureValue(self) -> NDArray[np.float64]:  # noqa: N802
        return self.sum_of_squares

    def getRootMeanSquaredFeatureValue(self) -> NDArray[np.float64]:  # noqa: N802
        return np.asarray(np.sqrt(self.sum_of_squares / self.targetVoxelArray.shape[1]))

    def getVarianceFeatureValue(self) -> NDArray[np.float64]:  # noqa: N802
        # PyRadiomics squares the standard deviation, which moves the last bit.
        return np.asarray(np.sqrt(self.centered_squares.mean(1)) ** 2)


class _Glcm(glcm.RadiomicsGLCM):  # type: ignore[misc]
    def __init__(self, region: GrayLevels) -> None:
        _start(self, region)
        self.symmetricalGLCM = True
        self.weightingNorm = None

    def _calculateMatrix(self, _voxels: None = None) -> NDArray[np.float64]:  # noqa: N802
        absent = self.region.absent
        matrix = texture.glcm(self.region.levels, self.coefficients["Ng"])[None]
        matrix = np.delete(np.delete(matrix, absent, 1), absent, 2)
        matrix += matrix.transpose(0, 2, 1, 3).copy()
        total = matrix.sum((1, 2))
        if not total.all():  # a direction in which no two voxels of the region are neighbors says nothing
            empty = np.flatnonzero(total[0] == 0)
            matrix, total = np.delete(matrix, empty, 3), np.delete(total, empty, 1)
        matrix /= total[:, None, None, :]
        return matrix


class _Glrlm(glrlm.RadiomicsGLRLM):  # type: ignore[misc]
    def __init__(self, region: GrayLevels) -> None:
        _start(self, region)
        self.weightingNorm = None

    def _calculateMatrix(self, _voxels: None = None) -> NDArray[np.float64]:  # noqa: N802
        matrix = _without(texture.glrlm(self.region.levels, self.coefficients["Ng"])[None], self.region.absent)
        runs = matrix.sum((1, 2))
        if not runs.all():
            empty = np.flatnonzero(runs[0] == 0)
            matrix, runs = np.delete(matrix, empty, 3), np.delete(runs, empty, 1)
        self.coefficients["Nr"] = runs
        return matrix


class _Glszm(glszm.RadiomicsGLSZM):  # type: ignore[misc]
    def __init__(self, region: GrayLevels) -> None:
        _start(self, region)

    def _initCalculation(self, _voxels: None = None) -> None:  # noqa: N802 - PyRadiomics' name
        # One zone can hold most of a tumor: a column for every size up to its own, nearly all of them empty. They go
        # before the sums, which are whole numbers and the same either way.
        matrix = _without(texture.glszm(self.region.levels, self.coefficients["Ng"])[None], self.region.absent)
        per_size = matrix.sum(1)
        absent = np.flatnonzero(per_size[0] == 0)
        self.P_glszm = np.delete(matrix, absent, 2)
        per_size, sizes = np.delete(per_size, absent, 1), np.flatnonzero(per_size[0]) + 1.0
        self.coefficients.update(
            Np=(per_size * sizes).sum(1),
            Nz=per_size.sum(1),
            ps=per_size,
            pg=self.P_glszm.sum(2),
            ivector=self.region.present.astype(np.float64),
            jvector=sizes,
        )


class _Gldm(gldm.RadiomicsGLDM):  # type: ignore[misc]
    def __init__(self, region: GrayLevels) -> None:
        _start(self, region)

    def _calculateMatrix(self, _voxels: None = None) -> NDArray[np.float64]:  # noqa: N802
        matrix = _without(texture.gldm(self.region.levels, self.coefficients["Ng"])[None], self.region.absent)
        per_size = matrix.sum(1)
        absent = np.flatnonzero(per_size[0] == 0)
        self.coefficients.update(
            Nz=per_size.sum(1),
            pd=np.delete(per_size, absent, 1),
            pg=matrix.sum(2),
            ivector=self.region.present.astype(np.float64),
            jvector=np.delete(np.arange(1.0, matrix.shape[2] + 1), absent),
        )
        return np.delete(matrix, absent, 2)


class _Ngtdm(ngtdm.RadiomicsNGTDM):  # type: ignore[misc]
    def __init__(self, region: GrayLevels) -> None:
        _start(self, region)

    def _calculateMatrix(self, _voxels: None = None) -> NDArray[np.float64]:  # noqa: N802
        matrix = texture.ngtdm(self.region.levels, self.coefficients["Ng"])[None]
        return np.delete(matrix, np.flatnonzero(matrix[0, :, 0] == 0), 1)


class _Shape(shape.RadiomicsShape):  # type: ignore[misc]
    def __init__(self, inside: NDArray[np.bool_], spacing_mm: Spacing) -> None:
        _start_empty(self)
        self.inside = np.pad(inside, 1)
        self.pixelSpacing = np.array(spacing_mm)

    @cached_property
    def mesh(self) -> MeshCoefficients:
        z, y, x = self.pixelSpacing.tolist()
        return mesh_coefficients(self.inside, (z, y, x))

    @property
    def SurfaceArea(self) -> float:  # noqa: N802 - PyRadiomics' name
        return self.mesh.surface_area_mm2

    @property
    def Volume(self) -> float:  # noqa: N802 - PyRadiomics' name
        return self.mesh.volume_mm3

    @property
    def diameters(self) -> tuple[float, float, float, float]:
        return self.mesh.diameters_mm

    @cached_property
    def labelledVoxelCoordinates(self) -> tuple[NDArray[np.intp], ...]:  # noqa: N802 - PyRadiomics' name
        return np.nonzero(self.inside)

    @cached_property
    def eigenValues(self) -> NDArray[Any]:  # noqa: N802 - PyRadiomics' name
        # Operations, their order and the order in memory are PyRadiomics', for the same last bits.
        indices = np.array(self.labelledVoxelCoordinates)
        places_mm = indices.T * self.pixelSpacing[None, :]
        places_mm -= np.mean(places_mm, axis=0)
        places_mm /= np.sqrt(indices.shape[1])
        eigenvalues = np.linalg.eigvals(np.dot(places_mm.T.copy(), places_mm))
        # Real, as the matrix is symmetric; equal ones, as of a cube, may come out complex by rounding.
        eigenvalues = eigenvalues.real.copy()
        # Zero for a flat region, but for rounding.
        eigenvalues[(eigenvalues < 0) & (eigenvalues > -1e-10)] = 0
        eigenvalues.sort()
        return eigenvalues


_CALCULATORS: Mapping[str, Callable[[GrayLevels], Any]] = {
    "firstorder": _FirstOrder,
    "glcm": _Glcm,
    "glrlm": _Glrlm,
    "glszm": _Glszm,
    "gldm": _Gldm,
    "ngtdm": _Ngtdm,
}


def percentile(ascending: NDArray[np.float64], percent: float) -> float:
    """Return a percentile by linear interpolation, bit for bit ``numpy.percentile``.

    Parameters
    ----------
    ascending
        float64 (n,), sorted, at least one.
    percent
        0 to 100.
    """
    position = percent / 100 * (ascending.size - 1)
    below = int(np.floor(position))
    share = position - below
    low, high = float(ascending[below]), float(ascending[min(below + 1, ascending.size - 1)])
    # Interpolated from the nearer end, as numpy does.
    return high - (high - low) * (1 - share) if share >= 0.5 else low + (high - low) * share


def intensity_features(region: GrayLevels, feature_class: str, names: Sequence[str]) -> dict[str, float]:
    """Compute features of one class from one discretized image.

    Parameters
    ----------
    region
        At least one voxel.
    feature_class
        ``firstorder``, ``glcm``, ``glrlm``, ``glszm``, ``gldm`` or ``ngtdm``.
    names
        PyRadiomics' names.

    Returns
    -------
    dict of float
        By name; NaN or absent where the feature is undefined for this region.
    """
    return _execute(_CALCULATORS[feature_class](region), names)


def shape_features(inside: NDArray[np.bool_], spacing_mm: Spacing, names: Sequence[str]) -> dict[str, float]:
    """Compute features of the outline.

    Parameters
    ----------
    inside
        bool (z, y, x), cut to the region's box.
    spacing_mm
        (z, y, x), mm.
    names
        PyRadiomics' names of the class ``shape``.
    """
    return _execute(_Shape(inside, spacing_mm), names)


def _execute(calculator: Any, names: Sequence[str]) -> dict[str, float]:
    for name in names:
        calculator.enableFeatureByName(name)
    with np.errstate(all="ignore"):  # undefined features are reported by name, not by warnings
        return {name: float(np.asarray(value).item()) for name, value in calculator.execute().items()}


@cache
def _feature_names(calculator: Hashable) -> Mapping[str, bool]:
    """PyRadiomics' table of features of a class, which it would otherwise draw up by reflection every time."""
    table: Mapping[str, bool] = calculator.getFeatureNames()  # type: ignore[attr-defined]
    return table
