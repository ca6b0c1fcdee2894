from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

from nodogram.errors import ImageError, Reason
from nodogram.geometry import Geometry


def oblique(angle_rad: float) -> np.ndarray:
    c, s = np.cos(angle_rad), np.sin(angle_rad)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


@given(
    angle=st.floats(-3.0, 3.0),
    spacing=st.tuples(*[st.floats(0.2, 5.0)] * 3),
    origin=st.tuples(*[st.floats(-500, 500)] * 3),
    index=st.tuples(*[st.integers(0, 3)] * 3),
)
def test_positions_agree_with_simpleitk(angle: float, spacing: tuple, origin: tuple, index: tuple) -> None:
    geometry = Geometry((4, 5, 6), spacing, origin, oblique(angle))
    image = sitk.Image(6, 5, 4, sitk.sitkUInt8)
    image.SetSpacing(spacing[::-1])
    image.SetOrigin(origin)
    image.SetDirection(oblique(angle).ravel().tolist())
    expected = image.TransformIndexToPhysicalPoint(tuple(int(i) for i in index[::-1]))
    assert np.allclose(geometry.patient_position_mm(index), expected, atol=1e-6)


def test_crop_keeps_every_voxel_in_place() -> None:
    geometry = Geometry((10, 12, 14), (2.0, 0.5, 0.7), (1.0, -3.0, 8.0), oblique(0.3))
    cropped = geometry.crop((2, 3, 4), (9, 8, 7))
    assert cropped.shape == (7, 5, 3)
    assert np.allclose(cropped.patient_position_mm((1, 1, 1)), geometry.patient_position_mm((3, 4, 5)))


def test_same_grid_tolerates_rounding_but_not_a_shift() -> None:
    geometry = Geometry((10, 12, 14), (2.0, 0.5, 0.7), (1.0, -3.0, 8.0), np.eye(3))
    rounded = Geometry((10, 12, 14), (2.0, 0.5, 0.7), (1.001, -3.0, 8.0), np.eye(3))
    shifted = Geometry((10, 12, 14), (2.0, 0.5, 0.7), (1.1, -3.0, 8.0), np.eye(3))
    assert geometry.is_same_grid(rounded)
    assert not geometry.is_same_grid(shifted)
    assert not geometry.is_same_grid(Geometry((10, 12, 13), (2.0, 0.5, 0.7), (1.0, -3.0, 8.0), np.eye(3)))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"shape": (0, 3, 3)}, "voxel counts"),
        ({"spacing_mm": (1.0, 0.0, 1.0)}, "spacing"),
        ({"spacing_mm": (1.0, float("nan"), 1.0)}, "spacing"),
        ({"spacing_mm": (1e308, 1.0, 1.0)}, "spacing"),
        ({"spacing_mm": (1.0, 1.0, 1e-8)}, "spacing"),
        ({"origin_mm": (0.0, 0.0, float("inf"))}, "origin"),
        ({"direction": np.diag([1.0, 1.0, 1.1])}, "orthonormal"),
    ],
)
def test_impossible_grids_are_refused(change: dict, what: str) -> None:
    good = {"shape": (3, 3, 3), "spacing_mm": (1.0, 1.0, 1.0), "origin_mm": (0.0, 0.0, 0.0), "direction": np.eye(3)}
    with pytest.raises(ImageError, match=what) as caught:
        Geometry(**{**good, **change})
    assert caught.value.reason is Reason.GEOMETRY_INVALID
