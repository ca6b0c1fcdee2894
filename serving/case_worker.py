"""What a worker process does with one case: files or a cropped region in, everything before the network out."""

from __future__ import annotations

import math
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nodogram.case import Case
from nodogram.errors import NodogramError, Reason, ServiceError, SurroundingsError
from nodogram.geometry import Geometry
from nodogram.imaging.load import check_border, load_case
from nodogram.imaging.loaded import LoadedRegion, check_voxel_count
from nodogram.imaging.plausibility import plausibility_notes
from nodogram.predict import MeasuredCase, Measurement, measure
from nodogram.volume import Mask, Volume
from serving.archive import ArchiveLimits, unpack
from serving.requests import CaseRequest, StoredFiles, StoredRegion

_STORED_HU = np.dtype("<i2")
_STORED_MASK = np.dtype("u1")
_WARM_UP_VOXELS = 32


@dataclass(frozen=True)
class CaseLimits:
    """How large a case may be.

    Attributes
    ----------
    archive
        Of an uploaded zip.
    maximum_voxels
        Of image and outline.
    """

    archive: ArchiveLimits
    maximum_voxels: int


def measure_request(request: CaseRequest, wanted: Measurement, limits: CaseLimits, deadline_s: float) -> MeasuredCase:
    """Read one case and measure what the model wants to know of it.

    A zip is unpacked into a folder beside it, which is gone afterwards; whoever kills this process in the middle removes it.

    A region (:class:`~serving.requests.StoredRegion`) is an image of its own: the answer is the one for the same voxels sent
    as a file, ``ROI_TOUCHES_BORDER`` included. It is the one for the image it was cut from only if

    - enough was left around the outline: :func:`nodogram.imaging.resample.margin_mm` of the model's settings and one model
      voxel, for ``bspline`` interpolation 24 voxels of the image more, within the slices also what the network's square
      covers; or all the image has. Image types that scale by the largest value (Square, ...) need the whole image, unless
      ``hu_range`` in the convention ``ibsi`` gives that value;
    - the model's grid falls on the same positions: it has the center of its input
      (:func:`nodogram.imaging.resample.model_grid`; convention ``ibsi``) or is laid from the first voxel (``pyradiomics``).
      Without resampling it always does; else the part must begin, and with ``ibsi`` also end, a whole number of model voxels
      from the ends of the image.

    Otherwise features differ as they do when a patient lies a fraction of a voxel to one side.

    Parameters
    ----------
    request
        Its files exist until this returns.
    wanted
        By the model.
    limits
        Larger cases are refused.
    deadline_s
        Value of ``time.monotonic()`` after which the work is given up, s. The clock is the same in every process.

    Returns
    -------
    MeasuredCase
        With the stages ``decode``, ``prepare`` and ``radiomics``.

    Raises
    ------
    ServiceError
        ``ARCHIVE_INVALID``, ``ARCHIVE_TOO_LARGE``, or ``REQUEST_INVALID`` for a region whose files are not of its size.
    ImageError, RegionError, FeatureError
        As :func:`nodogram.imaging.load.load_case` and :func:`nodogram.predict.measure`.
    SurroundingsError
        ``DEADLINE_EXCEEDED``.
    """
    start = time.perf_counter()
    source = request.source
    if isinstance(source, StoredRegion):
        case = _case_of_region(request, source, limits)
    else:
        case = _case_of_files(request, source, limits)
    decode_s = time.perf_counter() - start
    if time.monotonic() > deadline_s:
        raise SurroundingsError(Reason.DEADLINE_EXCEEDED, "the time allowed ended while the image was read")
    measured = measure(case, wanted, deadline_s=deadline_s)
    measured.stage_s["decode"] = decode_s
    return measured


def warm_up(wanted: Measurement) -> None:
    """Measure a ball in noise, so that whatever is only made at first use exists before the first patient comes."""
    axis = np.arange(_WARM_UP_VOXELS) - _WARM_UP_VOXELS / 2
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    geometry = Geometry((_WARM_UP_VOXELS,) * 3, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), np.eye(3))
    hu = np.random.default_rng(0).normal(40, 20, geometry.shape).astype(np.float32)
    ball = z**2 + y**2 + x**2 < (_WARM_UP_VOXELS / 4) ** 2
    measure(Case("warm-up", Volume(hu, geometry), Mask(ball, geometry)), wanted)


def _case_of_files(request: CaseRequest, source: StoredFiles, limits: CaseLimits) -> Case:
    if source.image.suffix.lower() != ".zip":
        return _load(request, source, source.image, limits)
    with tempfile.TemporaryDirectory(prefix="unpacked-", dir=source.image.parent) as folder:
        unpack(source.image, Path(folder), limits.archive)
        try:
            return _load(request, source, Path(folder), limits)
        except NodogramError as error:
            # Where the server keeps its files is nobody's business.
            raise type(error)(error.reason, error.message.replace(folder, "the archive")) from error


def _load(request: CaseRequest, source: StoredFiles, image: Path, limits: CaseLimits) -> Case:
    return load_case(
        request.case_id,
        image,
        source.roi,
        roi_name=source.roi_name,
        clinical=request.clinical,
        maximum_voxels=limits.maximum_voxels,
    )


def _case_of_region(request: CaseRequest, source: StoredRegion, limits: CaseLimits) -> Case:
    geometry = source.geometry
    check_voxel_count(geometry.shape, "the region", limits.maximum_voxels)
    _check_size("HU", source.hu_bytes, _STORED_HU, geometry)
    _check_size("the mask", source.mask_bytes, _STORED_MASK, geometry)
    stored = source.voxels.read_bytes()
    count = math.prod(geometry.shape)
    hu = np.frombuffer(stored, _STORED_HU, count).reshape(geometry.shape).astype(np.float32)
    inside = np.frombuffer(stored, _STORED_MASK, count, source.hu_bytes).reshape(geometry.shape) != 0
    volume = Volume(hu, geometry)
    region = check_border(LoadedRegion(Mask(inside, geometry), ""))
    return Case(request.case_id, volume, region.mask, dict(request.clinical), notes=plausibility_notes(volume.array))


def _check_size(what: str, found: int, dtype: np.dtype[np.generic], geometry: Geometry) -> None:
    required = math.prod(geometry.shape) * dtype.itemsize
    if found != required:
        size = " x ".join(str(count) for count in geometry.shape)
        raise ServiceError(
            Reason.REQUEST_INVALID,
            f"{what} of the region: {found} bytes; {size} voxels (z, y, x) of {dtype.itemsize} bytes = {required} are required",
        )
