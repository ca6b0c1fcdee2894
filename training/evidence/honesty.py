"""Is it the model or the fitting? Refits of the whole procedure after a run, gathered into one document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from nodogram.errors import Reason, TrainingError
from training.crossfit import FinalFit, FoldResult, TrainingData, branch_selections
from training.evidence import honesty_sections as sections
from training.evidence.centres import centre_evidence, centre_tasks
from training.evidence.honesty_result import HonestyEvidence, NetworkUse
from training.evidence.honesty_text import NETWORK_NOTES, methods
from training.evidence.refit_files import all_refits
from training.evidence.refit_material import RefitMaterial, RefitResult, Rows
from training.evidence.refit_models import fitted_probabilities, held_out_probabilities
from training.evidence.refits import RefitTask, initial_features
from training.nomogram_model import FittedNomogram, branch_probabilities
from training.progress import RunProgress
from training.recipe import Recipe
from training.splits import Split
from training.weights import InitialWeights


@dataclass(frozen=True, eq=False)
class FinishedRun:
    """A run whose numbers are to be questioned.

    Attributes
    ----------
    weights
        Where the network started.
    centres
        By patient; ``None`` where not known.
    """

    data: TrainingData
    split: Split
    recipe: Recipe
    weights: InitialWeights
    folds: tuple[FoldResult, ...]
    final: FinalFit
    fitted: FittedNomogram
    centres: Mapping[str, str | None]


def gather_honesty(run: FinishedRun, work: Path, *, jobs: int, resume: bool, progress: RunProgress) -> HonestyEvidence:
    """Refit the whole procedure as often as the recipe says, and say what that tells of the run.

    Only development patients take part. The document depends on data, split and recipe, not on ``jobs`` or on how often the
    work was interrupted.

    Parameters
    ----------
    work
        Folder of the refits, one file each.
    jobs
        Refits at a time, each a process with one thread.
    resume
        Read back the refits that are there.

    Raises
    ------
    TrainingError
        ``HELD_OUT_PATIENT_IN_FIT``, or ``MODEL_FIT_FAILED`` if not even the chain on the untuned network can be fitted where
        all refits are to be compared with it. Single refits that cannot be fitted are counted instead.
    """
    settings = run.recipe.honesty
    material, frozen = refit_materials(run)
    tasks = [*_frozen_task(frozen), *_drawn_tasks(run), *centre_tasks(material, run.centres)]
    if material.data.pixels is not None and not torch.cuda.is_available():
        progress.warn(
            f"{len(tasks)} refits fine-tune the network again, most of them several times, and there is no GPU; "
            "[honesty] network = 'initial' is far quicker"
        )
    results = all_refits(tasks, material, frozen, work, jobs=jobs, resume=resume, progress=progress)
    own = run_as_refit(run, material)
    is_refit = frozen is None or settings.network == "refit"
    reference = own if is_refit else _of_untuned(results)
    network: NetworkUse = "none" if frozen is None else settings.network
    outcome = material.outcome
    return HonestyEvidence(
        settings=settings,
        patient_count=outcome.size,
        event_count=int(outcome.sum()),
        fold_count=len(run.folds),
        network=network,
        network_note=NETWORK_NOTES[network],
        reference=sections.reference_performance(reference, outcome, run.recipe),
        optimism=sections.optimism_evidence(results, reference, outcome, settings),
        selection=sections.selection_evidence(results, reference, material),
        repeated=sections.repeated_evidence(results, settings, len(run.folds)),
        permutation=sections.permutation_evidence(results, reference, outcome, settings),
        noise=sections.noise_evidence(results, reference, outcome, settings),
        frozen=sections.frozen_evidence(results, own, outcome, run.recipe),
        centres=centre_evidence(results, material, run.centres),
        methods=methods(run.recipe, network, len(run.folds)),
    )


def refit_materials(run: FinishedRun) -> tuple[RefitMaterial, RefitMaterial | None]:
    """Return what refits start from, and the same with the features of the untuned network where there is one."""
    ids = run.split.development
    both = () if run.data.repeated is None else tuple(c for c in run.data.repeated.case_ids if c in set(ids))
    data = TrainingData(
        case_ids=ids,
        outcome={c: run.data.outcome[c] for c in ids},
        radiomics=run.data.radiomics_of(ids),
        pixels=None if run.data.pixels is None else run.data.pixels_of(ids),
        repeated=None if run.data.repeated is None else run.data.repeated.rows(both),
    )
    material = RefitMaterial(
        data=data,
        deep=None,
        records={c: run.fitted.records[c] for c in ids},
        candidates=run.fitted.candidates,
        recipe=run.recipe,
        weights=run.weights,
        folds=run.split.folds,
    )
    deep = initial_features(data, run.recipe, run.weights)
    if deep is None:
        return material, None
    frozen = replace(material, data=replace(data, pixels=None), deep=deep)
    return (material if run.recipe.honesty.network == "refit" else frozen), frozen


def _frozen_task(frozen: RefitMaterial | None) -> list[RefitTask]:
    return [] if frozen is None else [RefitTask("frozen", 0)]


def _drawn_tasks(run: FinishedRun) -> list[RefitTask]:
    settings = run.recipe.honesty
    return [
        *(RefitTask("bootstrap", i) for i in range(settings.bootstrap_resamples)),
        *(RefitTask("repeat", i) for i in range(settings.repeats)),
        *(RefitTask("permutation", i) for i in range(settings.permutations)),
        *(RefitTask("noise", i) for i in range(settings.noise_runs)),
    ]


def run_as_refit(run: FinishedRun, material: RefitMaterial) -> RefitResult:
    """Return the run itself in the form of a refit: its folds and final chain, nothing fitted again but the nomogram."""
    ids = material.case_ids
    rows = Rows(ids, np.arange(len(ids)), material.outcome)
    label = dict(zip(ids, rows.labels, strict=True))
    folds = tuple(
        fold.model_copy(update={"fit": tuple(label[c] for c in fold.fit), "held_out": tuple(label[c] for c in fold.held_out)})
        for fold in run.folds
    )
    fold_of = {c: fold.index for fold in run.folds for c in fold.held_out}
    return RefitResult(
        kind="run",
        index=0,
        drawn=tuple(range(len(ids))),
        outcome=tuple(int(y) for y in material.outcome),
        fold=tuple(fold_of[c] for c in ids),
        out_of_fold=held_out_probabilities(rows, folds, material),
        fitted=fitted_probabilities(rows, folds, branch_probabilities(run.final, run.data, ids), material),
        fold_selections=tuple(fold.selections for fold in run.folds),
        final_selections=branch_selections(run.final.chain),
    )


def _of_untuned(results: tuple[RefitResult, ...]) -> RefitResult:
    found = next(result for result in results if result.kind == "frozen")
    if found.failure is not None:
        raise TrainingError(
            Reason.MODEL_FIT_FAILED,
            f"the chain on the untuned network cannot be fitted ({found.failure}); use network = 'refit'",
        )
    return found
