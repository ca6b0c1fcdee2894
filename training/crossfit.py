"""Cross-fitting: the whole DLR chain once per fold and once on all development patients.

Fold backbones live in feature spaces of their own, so features are never pooled across folds; only the scalar held-out
probability leaves a fold. The final chain is fitted on features computed by the exported ONNX backbone, the very one
that will serve.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nodogram.deep.embed import DEEP_FEATURE_NAMES, OnnxBackbone
from nodogram.features import FeatureTable
from nodogram.imaging.crop import center_crop
from nodogram.settings import Settings
from training.atomic_file import write_atomically
from training.backbone_export import export_backbone
from training.backbone_fit import EpochReport, FinetunedBackbone, embed, finetune
from training.chain import Chain, fit_chain
from training.guard import FitScope
from training.recipe import Recipe
from training.results import FeatureSet, FinetuneCurve
from training.splits import Fold, Split
from training.stability import stable_features
from training.weights import InitialWeights

# A second reading of fewer patients says too little about reproducibility to drop features on.
MINIMUM_REPEATED = 10


@dataclass(frozen=True, eq=False)
class TrainingData:
    """What chains are fitted on; rows in cohort order.

    Attributes
    ----------
    outcome
        0 or 1 by patient.
    radiomics
        All features of all usable patients, or ``None`` if disabled.
    pixels
        float32 (n, 3, resize_px, resize_px) in [0, 1], or ``None`` if disabled.
    repeated
        Radiomics from a second outline (reader B or repeat) of some patients, or ``None``.
    """

    case_ids: tuple[str, ...]
    outcome: Mapping[str, int]
    radiomics: FeatureTable | None
    pixels: NDArray[np.float32] | None
    repeated: FeatureTable | None

    def outcome_of(self, case_ids: tuple[str, ...]) -> NDArray[np.int64]:
        """Return the outcome (n,) of the given patients."""
        return np.array([self.outcome[c] for c in case_ids], dtype=np.int64)

    def pixels_of(self, case_ids: tuple[str, ...]) -> NDArray[np.float32]:
        """Return the crops of the given patients."""
        if self.pixels is None:
            raise ValueError("the network is disabled")
        position = {c: i for i, c in enumerate(self.case_ids)}
        return self.pixels[[position[c] for c in case_ids]]

    def radiomics_of(self, case_ids: tuple[str, ...]) -> FeatureTable | None:
        """Return the radiomic features of the given patients."""
        return None if self.radiomics is None else self.radiomics.rows(case_ids)


class ModelScores(Settings):
    """Held-out probabilities of one classifier on one feature set, in the order of ``FoldResult.held_out``."""

    feature_set: FeatureSet
    classifier: str
    held_out: tuple[float, ...]


class BranchSelection(Settings):
    """Features one branch of the chain selected."""

    branch: str
    names: tuple[str, ...]
    classifier: str


class FoldResult(Settings):
    """All that leaves a fold.

    Attributes
    ----------
    branches
        Names of the branches of the DLR score.
    dlr_held_out, dlr_fit
        Probability of each branch, by patient, of the patients held out, and the resubstituted one of those fitted on.
    """

    index: int
    fit: tuple[str, ...]
    held_out: tuple[str, ...]
    branches: tuple[str, ...]
    dlr_held_out: tuple[tuple[float, ...], ...]
    dlr_fit: tuple[tuple[float, ...], ...]
    models: tuple[ModelScores, ...]
    selections: tuple[BranchSelection, ...]
    finetune: FinetuneCurve | None


@dataclass(frozen=True, eq=False)
class FinalFit:
    """The chain of the bundle.

    Attributes
    ----------
    deep
        ONNX features of every usable patient, test included (their outcome was not looked at), or ``None``.
    backbone_file
        The exported backbone, or ``None``.
    """

    chain: Chain
    deep: FeatureTable | None
    backbone_file: Path | None
    finetune: FinetuneCurve | None
    device: str


ProgressCallback = Callable[[str, EpochReport], None]


def fit_fold(
    fold: Fold,
    data: TrainingData,
    recipe: Recipe,
    weights: InitialWeights,
    folder: Path,
    *,
    jobs: int,
    resume: bool,
    progress: ProgressCallback | None = None,
) -> FoldResult:
    """Fit the whole chain without one fold and score the patients held out; a finished fold is read back on resume."""
    stored = folder / "fold.json"
    if resume and stored.is_file():
        return FoldResult.model_validate_json(stored.read_text(encoding="utf-8"))
    folder.mkdir(parents=True, exist_ok=True)
    seed = recipe.seed + 1000 * (fold.index + 1)
    backbone = _finetune(fold.scope, fold.fit, data, recipe, weights, folder, seed=seed, resume=resume, progress=progress)
    deep_fit = None if backbone is None else _torch_table(backbone, data, fold.fit)
    deep_out = None if backbone is None else _torch_table(backbone, data, fold.held_out)
    chain = fit_chain(
        data.radiomics_of(fold.fit),
        deep_fit,
        data.outcome_of(fold.fit),
        recipe,
        scope=fold.scope,
        stable=stable_names(data, recipe, fold.fit),
        seed=seed,
        jobs=jobs,
    )
    radiomics_out = data.radiomics_of(fold.held_out)
    models = chain.model_probabilities(radiomics_out, deep_out)
    result = FoldResult(
        index=fold.index,
        fit=fold.fit,
        held_out=fold.held_out,
        branches=tuple(b.name for b in chain.branches),
        dlr_held_out=_rows(chain.branch_probabilities(radiomics_out, deep_out)),
        dlr_fit=_rows(chain.branch_probabilities(data.radiomics_of(fold.fit), deep_fit)),
        models=tuple(
            ModelScores(feature_set=m.feature_set, classifier=m.classifier, held_out=_floats(m.probability)) for m in models
        ),
        selections=branch_selections(chain),
        finetune=None if backbone is None else finetune_curve(f"fold {fold.index + 1}", backbone),
    )
    write_atomically(stored, result.model_dump_json())
    (folder / "checkpoint.pt").unlink(missing_ok=True)
    return result


def fit_final(
    split: Split,
    data: TrainingData,
    recipe: Recipe,
    weights: InitialWeights,
    folder: Path,
    *,
    jobs: int,
    resume: bool,
    progress: ProgressCallback | None = None,
) -> FinalFit:
    """Fit the chain of the bundle on all development patients."""
    folder.mkdir(parents=True, exist_ok=True)
    ids = split.development
    backbone = _finetune(split.scope, ids, data, recipe, weights, folder, seed=recipe.seed, resume=resume, progress=progress)
    deep = backbone_file = None
    if backbone is not None:
        backbone_file = folder / "backbone.onnx"
        export_backbone(backbone, backbone_file, recipe.network)
        pixels = center_crop(data.pixels_of(data.case_ids), recipe.network.input_px)
        deep = FeatureTable(data.case_ids, DEEP_FEATURE_NAMES, OnnxBackbone.load(backbone_file).embed(pixels).features)
    chain = fit_chain(
        data.radiomics_of(ids),
        None if deep is None else deep.rows(ids),
        data.outcome_of(ids),
        recipe,
        scope=split.scope,
        stable=stable_names(data, recipe, ids),
        seed=recipe.seed,
        jobs=jobs,
    )
    return FinalFit(
        chain=chain,
        deep=deep,
        backbone_file=backbone_file,
        finetune=None if backbone is None else finetune_curve("final", backbone),
        device="none" if backbone is None else backbone.device,
    )


def stable_names(data: TrainingData, recipe: Recipe, case_ids: tuple[str, ...]) -> frozenset[str] | None:
    """Return reproducible radiomic features by ICC among the given patients, or ``None`` without a second outline."""
    if data.repeated is None or data.radiomics is None:
        return None
    both = tuple(c for c in case_ids if c in set(data.repeated.case_ids))
    if len(both) < MINIMUM_REPEATED:
        return None
    report = stable_features(
        data.radiomics.rows(both),
        data.repeated.rows(both),
        threshold=recipe.selection.icc_threshold,
        bound=recipe.selection.icc_bound,
    )
    return frozenset(report.names)


def branch_selections(chain: Chain) -> tuple[BranchSelection, ...]:
    """Summarize what each branch of a chain selected and chose."""
    return tuple(BranchSelection(branch=b.name, names=b.selection.names, classifier=b.chosen.name) for b in chain.branches)


def finetune_curve(label: str, backbone: FinetunedBackbone) -> FinetuneCurve:
    """Summarize the loss history of one fine-tuning."""
    return FinetuneCurve(
        label=label,
        train_loss=tuple(report.train_loss for report in backbone.history),
        validation_loss=tuple(report.validation_loss for report in backbone.history),
        best_epoch=backbone.best_epoch,
    )


def _finetune(
    scope: FitScope,
    case_ids: tuple[str, ...],
    data: TrainingData,
    recipe: Recipe,
    weights: InitialWeights,
    folder: Path,
    *,
    seed: int,
    resume: bool,
    progress: ProgressCallback | None,
) -> FinetunedBackbone | None:
    if data.pixels is None:
        return None
    return finetune(
        data.pixels_of(case_ids),
        data.outcome_of(case_ids),
        case_ids,
        network=recipe.network,
        settings=recipe.finetune,
        initial=weights,
        seed=seed,
        scope=scope,
        checkpoint=folder / "checkpoint.pt",
        resume=resume,
        progress=None if progress is None else lambda report: progress(scope.label, report),
    )


def _torch_table(backbone: FinetunedBackbone, data: TrainingData, case_ids: tuple[str, ...]) -> FeatureTable:
    features, _ = embed(backbone, data.pixels_of(case_ids))
    return FeatureTable(case_ids, DEEP_FEATURE_NAMES, features)


def _rows(values: NDArray[np.float64]) -> tuple[tuple[float, ...], ...]:
    return tuple(_floats(row) for row in values)


def _floats(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(v) for v in values)
