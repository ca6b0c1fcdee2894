"""Crops to deep features through ONNX Runtime."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nodogram.errors import BundleError, Reason, SurroundingsError

FEATURE_COUNT = 2048
DEEP_FEATURE_NAMES = tuple(f"deep.{index:04d}" for index in range(FEATURE_COUNT))

# Names in the graph; export and loading agree on them.
INPUT_NAME = "pixels"
OUTPUT_NAMES = ("features", "logit")

# Larger batches are no faster on a CPU and let memory grow with the caller's request.
BATCH_CAP = 32

_CPU = "CPUExecutionProvider"
_CUDA = "CUDAExecutionProvider"


@dataclass(frozen=True, eq=False)
class Embedding:
    """What the network says of some crops.

    Attributes
    ----------
    features
        float64 (n, 2048), pooled features in the order of ``DEEP_FEATURE_NAMES``.
    logit
        float64 (n,), log odds of the fine-tuning head. It was trained on these features and is not a calibrated risk.
    """

    features: NDArray[np.float64]
    logit: NDArray[np.float64]


class OnnxBackbone:
    """A loaded backbone; make it with :meth:`load`. Several threads may embed at once."""

    def __init__(self, session: Any, input_px: int) -> None:
        self._session = session
        self._input_px = input_px

    @classmethod
    def load(
        cls, path: Path, providers: Sequence[str] = (_CPU,), threads: int | None = None, *, spinning: bool = True
    ) -> OnnxBackbone:
        """Load an exported backbone.

        Parameters
        ----------
        path
            ``backbone.onnx`` of a bundle.
        providers
            ONNX Runtime execution providers in order of preference; those not installed here are passed over. ONNX
            Runtime may pass over more at run time: compare :attr:`provider` with what was asked for.
        threads
            Threads of one call; ``None`` leaves it to ONNX Runtime.
        spinning
            Let idle threads spin for the next call. Without it other processes get the cores in between.

        Raises
        ------
        SurroundingsError
            ``DEPENDENCY_MISSING`` if ONNX Runtime or every provider is missing.
        BundleError
            ``BUNDLE_FILE_MISSING``, ``UNREADABLE_FILE`` if ONNX Runtime cannot load the file, or
            ``BUNDLE_FORMAT_UNSUPPORTED`` if inputs and outputs are not those of a backbone.
        """
        runtime = _onnxruntime()
        chosen = _installed(runtime, providers)
        if not path.is_file():
            raise BundleError(Reason.BUNDLE_FILE_MISSING, f"no backbone at {path}")
        options = runtime.SessionOptions()
        options.log_severity_level = 3
        if threads is not None:
            options.intra_op_num_threads = threads
        if not spinning:
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            session = runtime.InferenceSession(path, sess_options=options, providers=chosen)
        except Exception as error:
            # Its exceptions share no base but Exception, and are no part of its documented interface.
            if not type(error).__module__.startswith("onnxruntime"):
                raise
            raise BundleError(Reason.UNREADABLE_FILE, f"{path} is not a model this ONNX Runtime can load") from error
        return cls(session, _input_px(session, path))

    @property
    def provider(self) -> str:
        """Execution provider really in use."""
        return str(self._session.get_providers()[0])

    @property
    def input_px(self) -> int:
        """Side of the pictures it takes, pixels."""
        return self._input_px

    def embed(self, pixels: NDArray[np.float32]) -> Embedding:
        """Embed crops; the result of one does not depend on the others.

        Parameters
        ----------
        pixels
            float32 (n, 3, input_px, input_px) in [0, 1]; normalized inside the graph.
        """
        if pixels.shape[1:] != (3, self._input_px, self._input_px) or pixels.dtype != np.float32:
            raise ValueError(
                f"pixels of shape {pixels.shape} and type {pixels.dtype}: "
                f"float32 (n, 3, {self._input_px}, {self._input_px}) required"
            )
        features = np.empty((len(pixels), FEATURE_COUNT))
        logit = np.empty(len(pixels))
        for start in range(0, len(pixels), BATCH_CAP):
            part = slice(start, start + BATCH_CAP)
            feed = {INPUT_NAME: np.ascontiguousarray(pixels[part])}
            features[part], logit[part] = self._session.run(list(OUTPUT_NAMES), feed)
        return Embedding(features, logit)


def in_channels(gray: NDArray[np.float32]) -> NDArray[np.float32]:
    """Repeat gray pictures, float32 (n, px, px), in the three channels of the network, float32 (n, 3, px, px)."""
    return np.repeat(gray[:, None], 3, axis=1)


def _onnxruntime() -> ModuleType:
    try:
        return importlib.import_module("onnxruntime")
    except ImportError as error:
        raise SurroundingsError(
            Reason.DEPENDENCY_MISSING,
            "deep features need ONNX Runtime, which is not installed: install the extra 'serve' or 'train' "
            "(pip install 'nodogram[serve]')",
        ) from error


def _installed(runtime: ModuleType, providers: Sequence[str]) -> list[str | tuple[str, dict[str, str]]]:
    available = runtime.get_available_providers()
    chosen = [name for name in providers if name in available]
    if not chosen:
        raise SurroundingsError(
            Reason.DEPENDENCY_MISSING,
            f"none of the execution providers {', '.join(providers)} is installed; there are {', '.join(available)}",
        )
    if _CUDA not in chosen:
        return list(chosen)
    # CUDA and cuDNN installed as Python packages are found only after this call.
    runtime.preload_dlls()
    # TF32 keeps ten bits of the mantissa: too few to reproduce what a CPU computed.
    return [(name, {"use_tf32": "0"}) if name == _CUDA else name for name in chosen]


def _input_px(session: Any, path: Path) -> int:
    """Return the side of the input after checking that the graph is a backbone."""
    inputs = {node.name: node.shape for node in session.get_inputs()}
    outputs = {node.name: node.shape for node in session.get_outputs()}
    side = inputs.get(INPUT_NAME, [None])[-1]
    expected = (
        list(inputs) == [INPUT_NAME]
        and isinstance(side, int)
        and inputs[INPUT_NAME][1:] == [3, side, side]
        and tuple(outputs) == OUTPUT_NAMES
        and outputs["features"][1:] == [FEATURE_COUNT]
        and len(outputs["logit"]) == 1
    )
    if not expected:
        raise BundleError(
            Reason.BUNDLE_FORMAT_UNSUPPORTED,
            f"{path} takes {inputs} and gives {outputs}; required are {INPUT_NAME} (batch, 3, side, side), "
            f"features (batch, {FEATURE_COUNT}) and logit (batch,)",
        )
    return int(side)
