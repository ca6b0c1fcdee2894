"""The model bundle, format version 1: ONNX and JSON in a folder, every byte accounted for, nothing executable.

Loading verifies digests and versions, refuses what it does not know and repairs nothing. The digest of a bundle is the
SHA-256 of its manifest without the moment of creation, and the manifest holds the SHA-256 of every other file; so equal
digests mean equal models.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import shutil
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, ValidationError

from nodogram.clinical import ClinicalPredictor
from nodogram.deep.embed import OnnxBackbone
from nodogram.dlr import DlrDocument, DlrModel
from nodogram.errors import BundleError, Reason
from nodogram.nomogram import Nomogram
from nodogram.radiomics.manifest import FeatureManifest, check_pyradiomics_version
from nodogram.settings import ModelSettings, Settings, canonical_json

FORMAT_VERSION = 1
MANIFEST = "bundle.json"
BACKBONE = "backbone.onnx"
RADIOMICS = "radiomics.json"
DLR = "dlr.json"
NOMOGRAM = "nomogram.json"
REFERENCE = "reference.json"
MODEL_CARD = "MODEL_CARD.md"
CASES = "cases"

_Document = TypeVar("_Document", bound=Settings)


class Outcome(Settings):
    """What is predicted, and on whose word it was known in training."""

    name: str
    positive_label: str
    provenance: Literal["pathology", "clinical"]


class Threshold(Settings):
    """A decision threshold on the probability with the rule that fixed it."""

    name: str
    value: Annotated[float, Field(ge=0, le=1)]
    rule: str


class AcquisitionEnvelope(Settings):
    """Range of acquisitions seen in development; ``None`` or empty where the sources did not say.

    Lengths in mm, tube voltage in kV, region volume in cm³.
    """

    slice_spacing_mm: tuple[float, float]
    pixel_spacing_mm: tuple[float, float]
    region_volume_cm3: tuple[float, float]
    kvp: tuple[float, float] | None = None
    manufacturers: tuple[str, ...] = ()
    convolution_kernels: tuple[str, ...] = ()


class TrainingSummary(Settings):
    """Counts and choices of the training run; aggregates only."""

    recipe_name: str
    recipe_digest: str
    seed: int
    development_count: int
    development_event_count: int
    test_count: int
    split_digest: str
    classifier: str
    initial_weights: str
    notes: tuple[str, ...]


class Tolerances(Settings):
    """Largest admissible absolute deviation when known-answer cases are reproduced."""

    probability: float = 1e-4
    radiomics_relative: float = 1e-6


class BundleManifest(Settings):
    """``bundle.json``."""

    format_version: int
    name: str
    created: str
    digest: str
    nodogram_version: str
    intended_use: str
    outcome: Outcome
    settings: ModelSettings
    predictors: tuple[ClinicalPredictor, ...]
    thresholds: tuple[Threshold, ...]
    acquisition: AcquisitionEnvelope
    training: TrainingSummary
    software: dict[str, str]
    tolerances: Tolerances
    files: dict[str, str]

    def content_digest(self) -> str:
        """Return the SHA-256 (hex) of the manifest without ``created`` and ``digest``."""
        return hashlib.sha256(canonical_json(self.model_dump(mode="json", exclude={"created", "digest"}))).hexdigest()


class PredictorReference(Settings):
    """Development distribution of one nomogram predictor: level shares, or deciles of a number."""

    predictor: str
    levels: tuple[str, ...] = ()
    shares: tuple[float, ...] = ()
    deciles: tuple[float, ...] = ()


class Reference(Settings):
    """``reference.json``: for out-of-range notes and drift."""

    predictors: tuple[PredictorReference, ...]


class KnownAnswer(Settings):
    """Expected output of one synthetic case in ``cases/``."""

    name: str
    clinical: dict[str, str | float]
    features: dict[str, float]
    dlr_probability: float
    probability: float | None


@dataclass(frozen=True, eq=False)
class ModelBundle:
    """A verified bundle, ready to predict.

    Attributes
    ----------
    folder
        Where its files are.
    backbone
        ``None`` if the DLR score needs no deep feature.
    """

    folder: Path
    manifest: BundleManifest
    radiomics: FeatureManifest | None
    backbone: OnnxBackbone | None
    dlr: DlrModel
    nomogram: Nomogram
    reference: Reference
    known_answers: tuple[KnownAnswer, ...]

    @property
    def digest(self) -> str:
        """Identity of the model."""
        return self.manifest.digest


def load_bundle(
    path: Path, *, providers: Sequence[str] = ("CPUExecutionProvider",), threads: int | None = None, spinning: bool = True
) -> ModelBundle:
    """Verify and load a bundle folder or ``.tar``.

    Parameters
    ----------
    path
        Bundle folder, or an uncompressed tar of one.
    providers
        ONNX Runtime execution providers in order of preference.
    threads
        Threads of one backbone call; ``None`` leaves the choice to ONNX Runtime.
    spinning
        Whether they spin while they wait, as :meth:`nodogram.deep.embed.OnnxBackbone.load` says.

    Raises
    ------
    BundleError
        With the reason of the first thing that is wrong.
    """
    folder, manifest = _verified(path)
    radiomics = None
    if (folder / RADIOMICS).is_file():
        radiomics = read_document(folder / RADIOMICS, FeatureManifest)
        check_pyradiomics_version(radiomics.pyradiomics_version)
    dlr = DlrModel.load(folder, read_document(folder / DLR, DlrDocument))
    answers = sorted((folder / CASES).glob("*/expected.json"))
    return ModelBundle(
        folder=folder,
        manifest=manifest,
        radiomics=radiomics,
        backbone=OnnxBackbone.load(folder / BACKBONE, providers, threads, spinning=spinning) if dlr.needs_backbone else None,
        dlr=dlr,
        nomogram=read_document(folder / NOMOGRAM, Nomogram),
        reference=read_document(folder / REFERENCE, Reference),
        known_answers=tuple(read_document(file, KnownAnswer) for file in answers),
    )


def verify_bundle(path: Path) -> BundleManifest:
    """Compare a bundle folder or ``.tar`` with its manifest, byte for byte, without loading a model.

    Raises
    ------
    BundleError
        With the reason of the first thing that is wrong.
    """
    return _verified(path)[1]


def _verified(path: Path) -> tuple[Path, BundleManifest]:
    """Return the folder of a bundle, unpacked if need be, and its manifest, once every file has been compared with it."""
    folder = _unpack(path) if path.is_file() else path
    manifest = read_manifest(folder)
    check_files(folder, manifest)
    return folder, manifest


def read_manifest(folder: Path) -> BundleManifest:
    """Read ``bundle.json``; its format version is judged before anything else in it.

    Raises
    ------
    BundleError
        ``BUNDLE_NOT_FOUND``, ``BUNDLE_FORMAT_UNSUPPORTED``, ``BUNDLE_MANIFEST_INVALID`` or ``BUNDLE_DIGEST_MISMATCH``.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise BundleError(Reason.BUNDLE_NOT_FOUND, f"{folder} holds no {MANIFEST}; a bundle folder or its .tar is required")
    document = _read_json(path)
    version = document.get("format_version") if isinstance(document, dict) else None
    if version != FORMAT_VERSION:
        raise BundleError(
            Reason.BUNDLE_FORMAT_UNSUPPORTED, f"format version {version!r}; this software reads version {FORMAT_VERSION} only"
        )
    manifest = read_document(path, BundleManifest)
    if manifest.content_digest() != manifest.digest:
        raise BundleError(Reason.BUNDLE_DIGEST_MISMATCH, f"{MANIFEST} was changed after the bundle was made")
    return manifest


def check_files(folder: Path, manifest: BundleManifest) -> None:
    """Compare the files present with the manifest, byte for byte.

    Raises
    ------
    BundleError
        ``BUNDLE_FILE_MISSING``, ``BUNDLE_FILE_UNLISTED`` or ``BUNDLE_DIGEST_MISMATCH``, naming the file.
    """
    present = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()} - {MANIFEST}
    for name in sorted(set(manifest.files) - present):
        raise BundleError(Reason.BUNDLE_FILE_MISSING, f"{name} is listed in {MANIFEST} but absent")
    for name in sorted(present - set(manifest.files)):
        raise BundleError(Reason.BUNDLE_FILE_UNLISTED, f"{name} is present but not listed in {MANIFEST}")
    for name, expected in sorted(manifest.files.items()):
        found = file_digest(folder / name)
        if found != expected:
            raise BundleError(
                Reason.BUNDLE_DIGEST_MISMATCH, f"{name} has SHA-256 {found[:12]}…, the manifest says {expected[:12]}…"
            )


def file_digest(path: Path) -> str:
    """Return the SHA-256 (hex) of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_document(path: Path, kind: type[_Document]) -> _Document:
    """Parse one closed JSON document of a bundle.

    Raises
    ------
    BundleError
        ``BUNDLE_MANIFEST_INVALID`` naming file and key.
    """
    try:
        return kind.model_validate(_read_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BundleError(Reason.BUNDLE_MANIFEST_INVALID, f"{path.name}: {where}: {first['msg']}") from error


def write_document(path: Path, document: Settings) -> None:
    """Write one JSON document of a bundle: sorted keys, two-space indent, a final newline."""
    text = json.dumps(document.model_dump(mode="json"), sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def list_files(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of a bundle folder but its manifest."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {p.relative_to(folder).as_posix(): file_digest(p) for p in files if p.name != MANIFEST or p.parent != folder}


def _read_json(path: Path) -> Any:
    if not path.is_file():
        raise BundleError(Reason.BUNDLE_FILE_MISSING, f"{path.name} is absent")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise BundleError(Reason.BUNDLE_MANIFEST_INVALID, f"{path.name} is not JSON: {error}") from error


def _unpack(path: Path) -> Path:
    """Unpack a tar into a temporary folder that lives as long as the process."""
    target = Path(tempfile.mkdtemp(prefix="nodogram-bundle-"))
    atexit.register(shutil.rmtree, target, ignore_errors=True)
    try:
        with tarfile.open(path) as archive:
            archive.extractall(target, filter="data")
    except (tarfile.TarError, OSError) as error:
        raise BundleError(
            Reason.BUNDLE_NOT_FOUND, f"{path.name} is neither a bundle folder nor a readable tar: {error}"
        ) from error
    manifests = sorted(target.rglob(MANIFEST), key=lambda p: len(p.parts))
    return manifests[0].parent if manifests else target


def manifest_differences(first: BundleManifest, second: BundleManifest) -> list[tuple[str, object, object]]:
    """List the keys in which two manifests differ, but for ``created`` and ``digest``; absent values are ``None``."""
    left, right = _flat(first.model_dump(mode="json")), _flat(second.model_dump(mode="json"))
    keys = sorted((set(left) | set(right)) - {"created", "digest"})
    return [(key, left.get(key), right.get(key)) for key in keys if left.get(key) != right.get(key)]


def _flat(document: object, prefix: str = "") -> dict[str, object]:
    if not isinstance(document, dict):
        return {prefix: document}
    items = ((f"{prefix}.{key}" if prefix else str(key), value) for key, value in document.items())
    return {key: value for path, child in items for key, value in _flat(child, path).items()}
