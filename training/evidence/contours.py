"""Outlines perturbed at random: how much features depend on the outline where no second reader has drawn one.

This shows sensitivity to outlines that differ by as much as is assumed here, no more: it does not tell how much readers
differ.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.ndimage import distance_transform_edt, gaussian_filter, shift

from nodogram.case import Case
from nodogram.features import FeatureTable, FeatureVector
from nodogram.imaging.prepare import prepare
from nodogram.radiomics.extract import extract
from nodogram.settings import ModelSettings, Settings
from nodogram.volume import Box, Mask

# Every halving brings the outline nearer to the one that was drawn; so many leave nothing of the perturbation.
MAXIMUM_HALVINGS = 20


class ContourPerturbation(Settings):
    """How far a perturbed outline may lie from the one that was drawn.

    Attributes
    ----------
    count
        Perturbed outlines of each case.
    seed
        The same seed gives the same outlines.
    shift_voxels
        Largest in-plane shift in either direction, voxels; uniform.
    growth_mm
        Largest distance by which the whole outline is dilated or eroded, mm; uniform.
    roughness_mm
        SD of the displacement of single places of the outline, mm.
    smoothness_mm
        Distance over which neighboring places move together, mm.

    References
    ----------
    Zwanenburg et al. 2019, doi:10.1038/s41598-018-36938-4.
    """

    count: Annotated[int, Field(ge=2, le=100)] = 10
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 2025
    shift_voxels: Annotated[float, Field(ge=0, le=1)] = 0.5
    growth_mm: Annotated[float, Field(ge=0, le=10)] = 0.75
    roughness_mm: Annotated[float, Field(ge=0, le=10)] = 0.5
    smoothness_mm: Annotated[float, Field(gt=0, le=50)] = 4.0


def perturbed_masks(mask: Mask, perturbation: ContourPerturbation, rng: np.random.Generator) -> tuple[Mask, ...]:
    """Return outlines near the one that was drawn: shifted, dilated or eroded, and roughened at random.

    Parameters
    ----------
    mask
        The outline that was drawn.
    perturbation
        How many, and how far.
    rng
        Source of the randomness; its state alone decides the result.

    Returns
    -------
    masks : tuple of Mask
        On the same grid, none of them empty: a perturbation that would leave nothing is halved until something is left.
    """
    box, depth = _signed_depth(mask, perturbation)
    return tuple(_perturbed(mask, box, depth, perturbation, rng) for _ in range(perturbation.count))


def perturbed_cases(case: Case, perturbation: ContourPerturbation) -> tuple[Case, ...]:
    """Return a case once for each perturbed outline; the outlines depend on seed and identifier, not on other cases."""
    rng = np.random.default_rng([perturbation.seed, *case.case_id.encode()])
    return tuple(dataclasses.replace(case, mask=mask) for mask in perturbed_masks(case.mask, perturbation, rng))


def perturbed_vectors(
    case: Case, settings: ModelSettings, perturbation: ContourPerturbation, names: Sequence[str] | None = None
) -> tuple[FeatureVector, ...]:
    """Extract the radiomic features of the perturbed outlines of one case; see :func:`perturbed_readings`."""
    return tuple(extract(prepare(perturbed, settings), settings, names) for perturbed in perturbed_cases(case, perturbation))


def perturbed_readings(
    cases: Iterable[Case], settings: ModelSettings, perturbation: ContourPerturbation, names: Sequence[str] | None = None
) -> tuple[FeatureTable, ...]:
    """Extract the radiomic features of perturbed outlines.

    Parameters
    ----------
    cases
        A sample of patients, one at a time in memory.
    settings
        The same settings the model is trained with.
    perturbation
        How many outlines, and how far they lie.
    names
        Features wanted; ``None`` for all.

    Returns
    -------
    readings : tuple of FeatureTable
        One table a perturbation, for :func:`training.evidence.agreement.agreement_report` with ``ICC(1,1)``.

    Raises
    ------
    NodogramError
        What :func:`nodogram.imaging.prepare.prepare` and :func:`nodogram.radiomics.extract.extract` raise.
    """
    labels, rows = [], []
    for case in cases:
        labels.append(case.case_id)
        rows.append(perturbed_vectors(case, settings, perturbation, names))
    return tuple(FeatureTable.from_vectors(labels, reading) for reading in zip(*rows, strict=True))


def _signed_depth(mask: Mask, perturbation: ContourPerturbation) -> tuple[Box, NDArray[np.float64]]:
    """Return the neighborhood the outline can reach, and each voxel's depth below the outline, mm; negative outside."""
    spacing = mask.geometry.spacing_mm
    reach_mm = perturbation.growth_mm + 4 * perturbation.roughness_mm
    around = [int(np.ceil(reach_mm / s + perturbation.shift_voxels)) + 1 for s in spacing]
    spans = zip(mask.box, around, mask.geometry.shape, strict=True)
    z, y, x = (slice(max(part.start - pad, 0), min(part.stop + pad, size)) for part, pad, size in spans)
    inside = mask.array[z, y, x]
    if inside.all():
        return (z, y, x), np.full(inside.shape, reach_mm + 1.0)
    # Voxel centers on both sides of the outline are half a voxel away from it; exact in the plane, where slices lie further
    # apart they are a little harder to gain and to lose.
    inner, outer = (distance_transform_edt(part, sampling=spacing) for part in (inside, ~inside))
    half = min(spacing) / 2
    depth: NDArray[np.float64] = np.where(inside, inner - half, half - outer)
    return (z, y, x), depth


def _perturbed(
    mask: Mask, box: Box, depth: NDArray[np.float64], perturbation: ContourPerturbation, rng: np.random.Generator
) -> Mask:
    offset = np.array([0.0, *rng.uniform(-perturbation.shift_voxels, perturbation.shift_voxels, 2)])
    moved = rng.uniform(-perturbation.growth_mm, perturbation.growth_mm) + _roughness(mask, depth.shape, perturbation, rng)
    part = np.zeros(depth.shape, dtype=bool)
    for halving in range(MAXIMUM_HALVINGS):
        share = 0.5**halving
        part = shift(depth, share * offset, order=1, mode="nearest") + share * moved > 0
        if part.any():
            break
    array = np.zeros(mask.geometry.shape, dtype=bool)
    array[box] = part if part.any() else depth > 0
    return Mask(array, mask.geometry)


def _roughness(
    mask: Mask, shape: tuple[int, ...], perturbation: ContourPerturbation, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return a smooth random displacement, mm, with the SD asked for."""
    noise = rng.standard_normal(shape)
    smooth = gaussian_filter(noise, [perturbation.smoothness_mm / s for s in mask.geometry.spacing_mm], mode="wrap")
    spread = float(smooth.std())
    # Where places move together over more than the whole neighborhood, its mean would be a second growth.
    field: NDArray[np.float64] = (smooth - smooth.mean()) / spread if spread > 0 else np.zeros(shape)
    return perturbation.roughness_mm * field
