"""Random views of the training crops: drawn once per epoch, applied to whole batches where the images lie.

The draws come from a CPU generator and are the same on every device; only the arithmetic runs on the device. Sampling
the batch, cropping and flipping are one gather from the resident images.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from nodogram.settings import NetworkSettings
from training.recipe import FinetuneSettings


@dataclass(frozen=True, eq=False)
class ViewPlan:
    """How each image of an epoch is seen, in the order of training; every tensor has shape (n,).

    Attributes
    ----------
    rows
        int64, position of the image among the resident images.
    top, left
        int64, corner of the crop, pixels.
    vertical, horizontal
        bool, flipped or not.
    gain, offset
        float32, intensity becomes ``clip(gain * intensity + offset, 0, 1)``.
    """

    rows: torch.Tensor
    top: torch.Tensor
    left: torch.Tensor
    vertical: torch.Tensor
    horizontal: torch.Tensor
    gain: torch.Tensor
    offset: torch.Tensor

    def __len__(self) -> int:
        return len(self.rows)

    def to(self, device: torch.device) -> ViewPlan:
        """Return the plan on another device."""
        return ViewPlan(*(t.to(device) for t in self._tensors()))

    def part(self, start: int, stop: int) -> ViewPlan:
        """Return the images from ``start`` up to ``stop``."""
        return ViewPlan(*(t[start:stop] for t in self._tensors()))

    def _tensors(self) -> tuple[torch.Tensor, ...]:
        return (self.rows, self.top, self.left, self.vertical, self.horizontal, self.gain, self.offset)


def resident_images(crops: NDArray[np.float32] | NDArray[np.uint8], device: torch.device) -> torch.Tensor:
    """Return the crops as one (n, resize_px, resize_px, 3) tensor on the device, type unchanged.

    Channels come last in memory so that a gathered batch is already in the layout convolutions are fastest in.

    Parameters
    ----------
    crops
        (n, 3, resize_px, resize_px), float32 in [0, 1] or uint8 in 0..255.
    """
    if crops.ndim != 4 or crops.shape[1] != 3 or crops.shape[2] != crops.shape[3] or crops.dtype not in (np.float32, np.uint8):
        raise ValueError(f"crops of shape {crops.shape} and type {crops.dtype}: float32 or uint8 (n, 3, size, size) required")
    # NumPy makes the copy: torch would warn about a read-only array that it might write to.
    return torch.from_numpy(np.moveaxis(crops, 1, 3).copy(order="C")).to(device)


def draw_views(
    rows: NDArray[np.int64], network: NetworkSettings, settings: FinetuneSettings, generator: torch.Generator
) -> ViewPlan:
    """Draw one epoch: every image once, in random order, in a random view.

    All quantities are always drawn, so that switching one kind of change off leaves the others as they were.

    Parameters
    ----------
    rows
        (n,) positions of the training images.
    generator
        On the CPU.
    """
    count, slack = len(rows), network.resize_px - network.input_px
    order = torch.randperm(count, generator=generator)
    corners = torch.randint(0, slack + 1, (2, count), generator=generator)
    flips = torch.rand((2, count), generator=generator) < 0.5
    changes = (torch.rand((2, count), generator=generator) * 2 - 1) * settings.intensity_jitter
    if not settings.random_crop:
        corners = torch.full_like(corners, slack // 2)
    return ViewPlan(
        rows=torch.from_numpy(np.asarray(rows, dtype=np.int64))[order],
        top=corners[0],
        left=corners[1],
        vertical=flips[0] & settings.vertical_flip,
        horizontal=flips[1] & settings.horizontal_flip,
        gain=1 + changes[0],
        offset=changes[1],
    )


def random_views(images: torch.Tensor, plan: ViewPlan, input_px: int) -> torch.Tensor:
    """Return the planned views, float32 (n, 3, input_px, input_px) in [0, 1], channels last in memory.

    Parameters
    ----------
    images
        (n_images, resize_px, resize_px, 3), as :func:`resident_images` made them.
    plan
        On the same device as the images.
    """
    steps = torch.arange(input_px, device=images.device)
    y = plan.top[:, None] + torch.where(plan.vertical[:, None], input_px - 1 - steps, steps)
    x = plan.left[:, None] + torch.where(plan.horizontal[:, None], input_px - 1 - steps, steps)
    views = _unit_range(images[plan.rows[:, None, None], y[:, :, None], x[:, None, :]])
    gain, offset = plan.gain[:, None, None, None], plan.offset[:, None, None, None]
    return (views * gain + offset).clamp_(0, 1).permute(0, 3, 1, 2)


def central_views(images: torch.Tensor, rows: torch.Tensor, input_px: int) -> torch.Tensor:
    """Return the center crops of some images, float32 (n, 3, input_px, input_px) in [0, 1], channels last in memory."""
    corner = (images.shape[1] - input_px) // 2
    window = images[:, corner : corner + input_px, corner : corner + input_px]
    return _unit_range(window[rows]).permute(0, 3, 1, 2)


def _unit_range(pixels: torch.Tensor) -> torch.Tensor:
    return pixels.float().div_(255) if pixels.dtype == torch.uint8 else pixels
