"""The fine-tuned backbone as an ONNX file: same weights, same bytes, and proof that it computes the same."""

from __future__ import annotations

import copy
import hashlib
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from nodogram.deep.embed import INPUT_NAME, OUTPUT_NAMES, OnnxBackbone
from nodogram.errors import Reason, SurroundingsError, TrainingError
from nodogram.imaging.crop import center_crop
from nodogram.settings import NetworkSettings
from training.backbone import Backbone
from training.backbone_fit import FinetunedBackbone

# The opset the exporter writes natively and the oldest IR version that knows it; ONNX Runtime 1.31 takes 26 and 13.
OPSET = 20
IR_VERSION = 10

# Largest absolute difference between PyTorch and ONNX Runtime, of features and of the logit, both in float32.
PARITY_TOLERANCE = 1e-4
_RANDOM_BATCHES = (1, 3)


@dataclass(frozen=True)
class ExportReport:
    """What was written and how well it agrees.

    Attributes
    ----------
    sha256
        Of the file, hex. Equal weights give equal files.
    features_max_difference, logit_max_difference
        Largest absolute difference from PyTorch over all pictures compared.
    compared_count
        Number of pictures compared.
    """

    path: Path
    sha256: str
    size_bytes: int
    opset: int
    ir_version: int
    features_max_difference: float
    logit_max_difference: float
    compared_count: int


def export_backbone(
    backbone: FinetunedBackbone, path: Path, network: NetworkSettings, crops: NDArray[np.float32] | None = None
) -> ExportReport:
    """Write a backbone as ONNX once ONNX Runtime reproduces PyTorch with it.

    The graph takes ``pixels`` float32 (batch, 3, input_px, input_px) in [0, 1], normalizes them itself and gives
    ``features`` (batch, 2048) and ``logit`` (batch,); the batch is of any size.

    Parameters
    ----------
    crops
        float32 (n, 3, resize_px, resize_px) in [0, 1], compared in addition to random pictures.

    Raises
    ------
    TrainingError
        ``EXPORT_PARITY_FAILED`` if features or logit differ by more than 1e-4; nothing is left at ``path``.
    SurroundingsError
        ``OUTPUT_NOT_WRITABLE``.
    """
    module = copy.deepcopy(backbone.module).cpu().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    content = _onnx_bytes(module.eval(), network.input_px)
    temporary = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        pictures = _pictures(network, crops)
        features, logit = _differences(module, OnnxBackbone.load(temporary), pictures)
        if not np.max((features, logit)) <= PARITY_TOLERANCE:  # a NaN fails too
            raise TrainingError(
                Reason.EXPORT_PARITY_FAILED,
                f"ONNX Runtime differs from PyTorch by {features:.3g} in the features and {logit:.3g} in the logit; "
                f"{PARITY_TOLERANCE:g} is allowed",
            )
        temporary.replace(path)
    except OSError as error:
        raise SurroundingsError(Reason.OUTPUT_NOT_WRITABLE, f"{path} cannot be written: {error.strerror}") from error
    finally:
        temporary.unlink(missing_ok=True)
    return ExportReport(
        path=path,
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        opset=OPSET,
        ir_version=IR_VERSION,
        features_max_difference=features,
        logit_max_difference=logit,
        compared_count=sum(len(p) for p in pictures),
    )


def _onnx_bytes(module: Backbone, input_px: int) -> bytes:
    # Two images, because one would be taken for a fixed size.
    example = torch.zeros(2, 3, input_px, input_px)
    with _quiet_exporter():
        program = torch.onnx.export(
            module,
            (example,),
            input_names=[INPUT_NAME],
            output_names=list(OUTPUT_NAMES),
            opset_version=OPSET,
            dynamic_shapes={INPUT_NAME: {0: torch.export.Dim("batch", min=1)}},
            external_data=False,
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise RuntimeError("torch.onnx.export gave no program")
    model = program.model_proto
    _strip(model)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Silence what the exporter says of its own insides: nothing here could be done about it."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # torch.export and onnxscript use parts of Python and of each other that are on their way out.
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        logger.setLevel(level)


def _strip(model: onnx.ModelProto) -> None:
    """Remove all that depends on the machine or the day: stack traces, source paths, exporter versions."""
    model.ir_version = IR_VERSION
    model.producer_name, model.producer_version = "nodogram", ""
    model.graph.name = "backbone"
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    # Shapes in between follow from input and weights.
    del model.graph.value_info[:]
    graph = model.graph
    parts: list[Any] = [model, graph, *graph.node, *graph.initializer, *graph.input, *graph.output]
    for part in parts:
        part.doc_string = ""
        if hasattr(part, "metadata_props"):
            del part.metadata_props[:]


def _pictures(network: NetworkSettings, crops: NDArray[np.float32] | None) -> list[NDArray[np.float32]]:
    generator = np.random.default_rng(0)
    shape = (3, network.input_px, network.input_px)
    pictures = [generator.random((count, *shape), dtype=np.float32) for count in _RANDOM_BATCHES]
    return pictures if crops is None else [*pictures, center_crop(crops, network.input_px)]


def _differences(module: Backbone, exported: OnnxBackbone, pictures: list[NDArray[np.float32]]) -> tuple[float, float]:
    """Return the largest absolute differences of features and of the logit."""
    features, logit = [], []
    for pixels in pictures:
        with torch.inference_mode():
            expected = module(torch.from_numpy(np.ascontiguousarray(pixels)))
        found = exported.embed(pixels)
        features.append(np.abs(found.features - expected[0].numpy()).max(initial=0.0))
        logit.append(np.abs(found.logit - expected[1].numpy()).max(initial=0.0))
    return float(np.max(features)), float(np.max(logit))
