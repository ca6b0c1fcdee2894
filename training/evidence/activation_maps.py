"""Where the fine-tuned backbone saw what it said: class-activation maps of right and wrong cases, from ``backbone.onnx`` alone.

The network ends in global average pooling and one linear unit, so its log odds are the mean over positions of the weighted
sum of the last feature maps, plus the bias: the class-activation map of Zhou et al. 2016 (doi:10.1109/CVPR.2016.319). For
such a network Grad-CAM (Selvaraju et al. 2020, doi:10.1007/s11263-019-01228-7) is that map divided by the number
of positions and cut off at zero; no gradient, and no training framework, is needed.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import onnxruntime
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from nodogram.deep.embed import INPUT_NAME, OUTPUT_NAMES
from nodogram.dlr import expit
from nodogram.errors import BundleError, Reason
from nodogram.settings import Settings

Kind = Literal["true positive", "false positive", "true negative", "false negative"]
MapSample = Literal["test", "development, apparent", "external"]
KINDS: tuple[Kind, ...] = ("true positive", "false positive", "true negative", "false negative")
CASES_PER_KIND = 2
GRAY_LEVELS = 64
_BATCH = 8


class ActivationCase(Settings):
    """One patient of the sheet, without identifier.

    Attributes
    ----------
    probability
        Of the network's own head; not calibrated.
    nomogram_probability
        Of the whole model, where known.
    evidence
        Class-activation map, rows from top to bottom, log odds for the outcome: its mean plus the bias of the sheet is the
        log odds the network gave.
    picture
        What the network saw, gray PNG in base64; ``None`` once removed. It shows a patient.
    """

    kind: Kind
    outcome: int
    probability: float
    nomogram_probability: float | None
    evidence: tuple[tuple[float, ...], ...]
    picture: str | None

    @property
    def said_positive(self) -> bool:
        """Whether the network called the case positive."""
        return self.kind in ("true positive", "false positive")

    @property
    def grad_cam(self) -> NDArray[np.float64]:
        """Evidence for what the network said, cut off at zero, log odds: Grad-CAM of the class it called."""
        evidence = np.array(self.evidence, dtype=np.float64)
        return np.maximum(evidence if self.said_positive else -evidence, 0.0)


class ActivationSheet(Settings):
    """The most certain right cases and the worst mistakes of the network.

    Attributes
    ----------
    sample
        Whose patients. On ``development, apparent`` the network was trained on these very patients.
    threshold
        Probability of the network's head at and above which its call counts as positive.
    counts
        Patients of each kind among all, in the order of ``KINDS``.
    """

    sample: MapSample
    patient_count: int
    threshold: float
    bias: float
    counts: tuple[int, int, int, int]
    cases: tuple[ActivationCase, ...]

    def of(self, kind: Kind) -> tuple[ActivationCase, ...]:
        """Return the cases shown of one kind, the most certain first."""
        return tuple(case for case in self.cases if case.kind == kind)

    def without_pictures(self) -> ActivationSheet:
        """Return the sheet without images of patients, to be sent elsewhere."""
        return self.model_copy(update={"cases": tuple(c.model_copy(update={"picture": None}) for c in self.cases)})


@dataclass(frozen=True, eq=False)
class ActivationModel:
    """A backbone with its last feature maps exposed; make it with :meth:`load`.

    Attributes
    ----------
    weight
        float64 (n_features,): of the head.
    """

    session: Any
    maps_name: str
    weight: NDArray[np.float64]
    bias: float

    @classmethod
    def load(cls, path: Path, threads: int | None = None) -> ActivationModel:
        """Load an exported backbone; the file itself is left as it is.

        Raises
        ------
        BundleError
            ``BUNDLE_FILE_MISSING``, ``UNREADABLE_FILE``, or ``BUNDLE_FORMAT_UNSUPPORTED`` if the graph does not end in
            global average pooling and one linear unit.
        """
        model = _read(path)
        maps_name = _pooled_tensor(model.graph, path)
        weight, bias = _head(model.graph, path)
        model.graph.output.append(helper.make_tensor_value_info(maps_name, TensorProto.FLOAT, None))
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        if threads is not None:
            options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return cls(session, maps_name, weight, bias)

    def log_odds(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the log odds (n,) the head gives pooled features (n, n_features)."""
        return np.asarray(features @ self.weight + self.bias, dtype=np.float64)

    def evidence(self, pixels: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return class-activation maps, float64 (n, rows, columns), log odds, of crops float32 (n, 3, input_px, input_px)."""
        parts = [
            self.session.run([self.maps_name], {INPUT_NAME: np.ascontiguousarray(pixels[start : start + _BATCH])})[0]
            for start in range(0, len(pixels), _BATCH)
        ]
        maps = np.concatenate(parts).astype(np.float64)
        return np.asarray(np.einsum("k,nkij->nij", self.weight, maps), dtype=np.float64)


def activation_sheet(
    model: ActivationModel,
    pixels: NDArray[np.float32],
    features: NDArray[np.float64],
    outcome: NDArray[np.int64],
    *,
    threshold: float,
    sample: MapSample,
    nomogram_probability: NDArray[np.float64] | None = None,
    cases_per_kind: int = CASES_PER_KIND,
) -> ActivationSheet:
    """Choose the most certain cases of each kind, right and wrong, and map them.

    Only the cases shown go through the network again; all are judged by the features known of them.

    Parameters
    ----------
    pixels
        float32 (n, 3, input_px, input_px) in [0, 1].
    features
        float64 (n, n_features), pooled, as embedded from these pixels.
    outcome
        int64 (n,), 0 or 1.
    threshold
        Log odds of the head at and above which its call counts as positive (:func:`head_threshold`).
    nomogram_probability
        (n,), printed beside the network's own.
    """
    log_odds = model.log_odds(features)
    probability = expit(log_odds)
    kinds = [_kind(bool(said), bool(truth)) for said, truth in zip(log_odds >= threshold, outcome, strict=True)]
    # Distance of log odds, as probabilities that round to 1 could not be told apart.
    order = np.argsort(-np.abs(log_odds - threshold), kind="stable")
    shown = [i for kind in KINDS for i in [int(j) for j in order if kinds[j] == kind][:cases_per_kind]]
    maps = model.evidence(pixels[shown]) if shown else np.empty((0, 0, 0))
    return ActivationSheet(
        sample=sample,
        patient_count=len(outcome),
        threshold=float(expit(np.array(threshold))),
        bias=model.bias,
        counts=(kinds.count(KINDS[0]), kinds.count(KINDS[1]), kinds.count(KINDS[2]), kinds.count(KINDS[3])),
        cases=tuple(
            ActivationCase(
                kind=kinds[i],
                outcome=int(outcome[i]),
                probability=float(probability[i]),
                nomogram_probability=None if nomogram_probability is None else float(nomogram_probability[i]),
                evidence=tuple(tuple(float(f"{v:.6g}") for v in row) for row in evidence),
                picture=encode_picture(pixels[i, 0]),
            )
            for i, evidence in zip(shown, maps, strict=True)
        ),
    )


def head_threshold(log_odds: NDArray[np.float64], outcome: NDArray[np.int64]) -> float:
    """Return the log odds that call as many of these patients positive as have the outcome.

    The head is no part of the score and not calibrated, so that 0.5 may lie beyond all it says; its ranking is what counts.

    Parameters
    ----------
    log_odds, outcome
        (n,) of the development patients, with both outcomes among them.
    """
    ordered = np.sort(log_odds)[::-1]
    events = int(outcome.sum())
    return float(ordered[events - 1 : events + 1].mean())


def encode_picture(gray: NDArray[np.float32]) -> str:
    """Return a picture (rows, columns) in [0, 1] as gray PNG in base64, in 64 steps: finer ones would store noise."""
    stream = io.BytesIO()
    steps = np.rint(np.clip(gray, 0.0, 1.0) * (GRAY_LEVELS - 1)) * (255 / (GRAY_LEVELS - 1))
    Image.fromarray(np.rint(steps).astype(np.uint8)).save(stream, "PNG", optimize=True)
    return base64.b64encode(stream.getvalue()).decode("ascii")


def decode_picture(picture: str) -> NDArray[np.float64]:
    """Return an encoded picture, float64 (rows, columns) in [0, 1]."""
    with Image.open(io.BytesIO(base64.b64decode(picture)), formats=("PNG",)) as image:
        return np.asarray(image, dtype=np.float64) / 255


def _kind(said: bool, truth: bool) -> Kind:
    if said:
        return "true positive" if truth else "false positive"
    return "false negative" if truth else "true negative"


def _read(path: Path) -> onnx.ModelProto:
    if not path.is_file():
        raise BundleError(Reason.BUNDLE_FILE_MISSING, f"no backbone at {path}")
    try:
        return onnx.load(path)
    except DecodeError as error:
        raise BundleError(Reason.UNREADABLE_FILE, f"{path} is not an ONNX model") from error


def _pooled_tensor(graph: onnx.GraphProto, path: Path) -> str:
    """Return the name of the feature maps whose average the features are."""
    made_by = {name: node for node in graph.node for name in node.output}
    node = made_by.get(OUTPUT_NAMES[0])
    while node is not None and node.op_type in ("Reshape", "Flatten", "Squeeze"):
        node = made_by.get(node.input[0])
    if node is None or node.op_type not in ("ReduceMean", "GlobalAveragePool"):
        raise _unsupported(path, "its features are no average over positions")
    return str(node.input[0])


def _head(graph: onnx.GraphProto, path: Path) -> tuple[NDArray[np.float64], float]:
    stored = {tensor.name: tensor for tensor in graph.initializer}
    heads = [node for node in graph.node if OUTPUT_NAMES[0] in node.input and node.op_type == "Gemm"]
    if len(heads) != 1 or not _all_stored(heads[0].input[1:], stored):
        raise _unsupported(path, "its features do not enter one linear layer")
    weight, bias = (np.asarray(numpy_helper.to_array(stored[name]), dtype=np.float64) for name in heads[0].input[1:])
    if 1 not in weight.shape or bias.size != 1:
        raise _unsupported(path, f"its last layer is {weight.shape} and not one unit")
    return weight.ravel(), float(bias.ravel()[0])


def _all_stored(names: Sequence[str], stored: dict[str, onnx.TensorProto]) -> bool:
    return len(names) == 2 and all(name in stored for name in names)


def _unsupported(path: Path, why: str) -> BundleError:
    return BundleError(
        Reason.BUNDLE_FORMAT_UNSUPPORTED,
        f"{path} cannot be mapped: {why}; required are global average pooling and one linear unit",
    )
