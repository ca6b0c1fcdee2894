"""The network, ResNet50 with one logit, and the surroundings it computes in."""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise

import torch
from torch import nn

from nodogram.errors import Reason, SettingsError, SurroundingsError
from training.augmentation import central_views
from training.recipe import FinetuneSettings
from training.torchvision_import import torchvision_models
from training.weights import InitialWeights, read_weights

FEATURE_COUNT = 2048
STAGES = ("stem", "layer1", "layer2", "layer3", "layer4")

# Red, green and blue of ImageNet on [0, 1], as torchvision's IMAGENET1K_V2 transforms state them (D20).
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# Keys and defaults of mallopt(3), glibc.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_MALLOC_KEEPING = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_TOP_PAD, 256 << 20))
_MALLOC_DEFAULT = ((_M_MMAP_MAX, 65536), (_M_TRIM_THRESHOLD, 128 << 10), (_M_TOP_PAD, 128 << 10))


class Backbone(nn.Module):
    """ResNet50 (He et al., 2016, doi:10.1109/CVPR.2016.90) from pixels in [0, 1] to pooled features and one logit.

    The normalization is part of the network, so that training, embedding and the exported graph cannot differ. One
    logit under binary cross-entropy is the two-class softmax head of the paper with the logit difference as parameter.

    Parameters
    ----------
    resnet
        torchvision's ResNet50, whose parts are taken over.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, resnet: nn.Module) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)
        parts = dict(resnet.named_children())
        self.stem = nn.Sequential(parts["conv1"], parts["bn1"], parts["relu"], parts["maxpool"])
        self.layer1, self.layer2 = parts["layer1"], parts["layer2"]
        self.layer3, self.layer4 = parts["layer3"], parts["layer4"]
        self.pool = parts["avgpool"]
        self.head = nn.Linear(FEATURE_COUNT, 1)

    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return pooled features, float32 (n, 2048), of pixels (n, 3, input_px, input_px) in [0, 1]."""
        x = (pixels - self.mean) / self.std
        for stage in (self.stem, self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
        return torch.flatten(self.pool(x.float()), 1)

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return features (n, 2048) and logit (n,)."""
        features = self.features(pixels)
        return features, self.head(features).squeeze(1)


def build_backbone(initial: InitialWeights, seed: int) -> Backbone:
    """Return the network with its starting weights, in evaluation mode.

    The head, and everything if the weights are random, is drawn from the seed; the global generator is left as it was.
    Random residual branches start at zero (Goyal et al., 2017, arXiv:1706.02677): otherwise the features are those of a
    chaotic map that turns float32 rounding into differences of 1e-4.

    Raises
    ------
    SettingsError
        ``SETTINGS_INVALID`` if the weight file is not of a torchvision ResNet50.
    """
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed: it would also seed every CUDA generator, which nothing restores.
        torch.default_generator.manual_seed(seed)
        resnet: nn.Module = torchvision_models().resnet50(weights=None, zero_init_residual=True)
        backbone = Backbone(resnet)
    resnet.fc = nn.Identity()
    if initial.path is not None:
        state = {name: tensor for name, tensor in read_weights(initial).items() if not name.startswith("fc.")}
        try:
            resnet.load_state_dict(state)
        except RuntimeError as error:
            raise SettingsError(
                Reason.SETTINGS_INVALID, f"{initial.path.name} does not hold the {len(resnet.state_dict())} tensors of ResNet50"
            ) from error
    return backbone.eval()


def freeze_through(backbone: Backbone, settings: FinetuneSettings) -> None:
    """Make a backbone ready for training: early stages without gradients, batch normalization as the settings say.

    No gradient is computed, nor activation kept, up to and including ``frozen_through``. A frozen stage keeps its
    batch-normalization statistics too, otherwise it would go on changing.
    """
    frozen = 0 if settings.frozen_through == "none" else STAGES.index(settings.frozen_through) + 1
    backbone.eval().requires_grad_(True)
    for name in STAGES[:frozen]:
        backbone.get_submodule(name).requires_grad_(False)
    for name in STAGES[frozen:]:
        # Batch normalization is all that the mode changes in a ResNet.
        backbone.get_submodule(name).train(settings.batch_norm_statistics == "batch")


def estimate_batch_norm(backbone: Backbone, images: torch.Tensor, rows: torch.Tensor, input_px: int, batch_size: int) -> None:
    """Set the batch-normalization statistics to those of some images (labels play no part).

    Random weights come with mean 0 and variance 1, which no layer of theirs has: the features come out a hundred times
    too small, and stay so where layers or statistics are frozen.
    """
    norms = [m for m in backbone.modules() if isinstance(m, nn.BatchNorm2d)]
    momentum = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average over the batches
    backbone.train()
    with torch.no_grad():
        for start, stop in batch_bounds(len(rows), batch_size, smallest=2):
            backbone.features(central_views(images, rows[start:stop], input_px))
    backbone.eval()
    for norm, value in zip(norms, momentum, strict=True):
        norm.momentum = value


def batch_bounds(count: int, batch_size: int, *, smallest: int = 1) -> list[tuple[int, int]]:
    """Return (start, stop) of consecutive batches covering all images; a last batch below ``smallest`` joins its neighbor.

    One image alone has no variance at a 1 x 1 feature map, so batch statistics need two.
    """
    starts = list(range(0, count, batch_size))
    if len(starts) > 1 and count - starts[-1] < smallest:
        starts.pop()
    return list(pairwise([*starts, count]))


def resolve_device(name: str) -> torch.device:
    """Return the device of a name: ``auto`` (CUDA if there is any), ``cpu``, ``cuda`` or ``cuda:N``.

    Raises
    ------
    SurroundingsError
        ``DEPENDENCY_MISSING`` if the device was asked for and is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type not in ("cpu", "cuda") or (device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count()):
        raise SurroundingsError(
            Reason.DEPENDENCY_MISSING, f"device {name!r} is not here: PyTorch sees {torch.cuda.device_count()} CUDA devices"
        )
    return device


def mixed_precision(device: torch.device) -> torch.autocast:
    """Return the autocast context of training: bfloat16 where the hardware has it, else plain float32."""
    if device.type == "cuda":
        supported = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        capabilities = torch.cpu.get_capabilities()
        supported = bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=supported)


@contextmanager
def reproducible_on(device: torch.device) -> Iterator[None]:
    """Compute repeatably: deterministic kernels and no TF32 on CUDA; on the CPU, keep freed memory within the process.

    On the CPU glibc otherwise hands every large block back to the system and faults it in again, which halves the
    throughput of batches. All settings are put back at the end.
    """
    with ExitStack() as stack:
        if device.type == "cuda":
            stack.enter_context(_deterministic_cuda())
        else:
            stack.enter_context(_freed_memory_kept())
        yield


@contextmanager
def _deterministic_cuda() -> Iterator[None]:
    # Read by cuBLAS when its handle is made; without it the reduction order varies between streams.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    enabled, warn_only = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    fill = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Deterministic mode otherwise writes NaN into every fresh tensor, a debugging aid that costs bandwidth.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            yield
    finally:
        torch.utils.deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]
        torch.use_deterministic_algorithms(enabled, warn_only=warn_only)


@contextmanager
def _freed_memory_kept() -> Iterator[None]:
    if platform.libc_ver()[0] != "glibc":
        yield
        return
    libc = ctypes.CDLL(None)
    for key, value in _MALLOC_KEEPING:
        libc.mallopt(key, value)
    try:
        yield
    finally:
        for key, value in _MALLOC_DEFAULT:
            libc.mallopt(key, value)
        libc.malloc_trim(0)
