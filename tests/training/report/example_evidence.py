"""The evidence of the example run: seeded patients measured by the real functions, and refits made up by hand."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
from example_explanation import DEEP_NAMES, LONG_NAMES, example_explanation
from example_honesty import example_honesty
from numpy.typing import NDArray

from nodogram.case import Acquisition
from nodogram.clinical import ClinicalPredictor
from nodogram.dlr import expit
from nodogram.features import FeatureTable
from training.evidence.acquisition import acquisition_table
from training.evidence.agreement import OutlineAgreement, agreement_report
from training.evidence.comparisons import Contender, compare_models
from training.evidence.confounders import confounder_report
from training.evidence.document import ModelEvidence, RunEvidence
from training.evidence.honesty_result import (
    CentreEvidence,
    NoiseEvidence,
    OptimismEvidence,
    PermutationEvidence,
    RefitCount,
    RepeatedEvidence,
    SelectionEvidence,
)
from training.evidence.incremental import BaseModel, incremental_value
from training.evidence.leakage import DuplicateCheck, FoldPatients, LeakageReport, LeakyChoice, LearnedObject
from training.evidence.sample import sample_evidence
from training.evidence.sample_result import SampleSettings
from training.evidence.sample_size import CohortCounts, plan_sample_size
from training.evidence.subgroups import characteristics, node_negative_patients, subgroup_table
from training.model_names import APPARENT, FEATURE_SETS, OUT_OF_FOLD, SAMPLES, TEST, feature_set_label
from training.results import FeatureSet, Sample

SETTINGS = SampleSettings(replicates=40)
STRENGTH: Mapping[FeatureSet, float] = {"clinical": 1.0, "radiomics": 0.8, "deep": 0.7, "dlr": 1.0, "nomogram": 1.9}
REPORT = ClinicalPredictor(
    name="ct_reported_lnm",
    label="Lymph nodes on CT report",
    type="categorical",
    levels=("no", "yes"),
    reference="no",
)
SITE = ClinicalPredictor(
    name="tumour_site",
    label="Primary tumor site",
    type="categorical",
    levels=("glottic", "supraglottic"),
    reference="glottic",
)


@lru_cache(maxsize=1)
def example_evidence() -> RunEvidence:
    """Return the evidence of a run with 164 development and 71 test patients, two centers and a second reader."""
    patients = _Patients()
    honest: tuple[Sample, ...] = (OUT_OF_FOLD, TEST)
    kinds = characteristics((REPORT, SITE), patients.records, patients.centre, patients.acquisition, patients.ids[OUT_OF_FOLD])
    negative = node_negative_patients((REPORT, SITE), patients.records)
    return RunEvidence(
        models=tuple(
            ModelEvidence(
                feature_set=f,
                sample=s,
                evidence=sample_evidence(*patients.arrays(s, f), 0.35, settings=SETTINGS),
            )
            for f in FEATURE_SETS
            for s in SAMPLES
        ),
        acquisition=acquisition_table(
            tuple(
                (name, [patients.acquisition[c] for c in patients.ids[s]])
                for name, s in (("Development", OUT_OF_FOLD), ("Test", TEST))
            )
        ),
        confounders=confounder_report(patients.probability(OUT_OF_FOLD, "dlr"), patients.acquisition),
        comparisons=tuple(
            compare_models(
                s,
                patients.outcome,
                patients.contender(s, "nomogram"),
                [patients.contender(s, f) for f in FEATURE_SETS[:-1]],
            )
            for s in honest
        ),
        incremental=tuple(
            incremental_value(
                s,
                patients.outcome,
                BaseModel("clinical", "Clinical findings", (REPORT, SITE), patients.probability(s, "clinical")),
                kept=(REPORT, SITE),
                records=patients.records,
                score=patients.probability(s, "dlr"),
                probability=patients.probability(s, "nomogram"),
                settings=SETTINGS,
            )
            for s in honest
        ),
        subgroups=tuple(
            subgroup_table(
                s,
                patients.outcome,
                patients.probability(s, "nomogram"),
                0.35,
                kinds,
                node_negative=negative,
                settings=SETTINGS,
            )
            for s in honest
        ),
        leakage=example_leakage(),
        honesty=example_honesty(),
        agreement=agreement_report(
            patients.readings(),
            source="two readers",
            scores=patients.rng.normal(size=(30, 1)) + 0.2 * patients.rng.normal(size=(30, 2)),
            outlines=[
                OutlineAgreement(
                    case_id=str(i), dice=0.8 + 0.005 * i, hausdorff_95_mm=3 - 0.05 * i, first_cm3=10.0 + i, second_cm3=10.5 + i
                )
                for i in range(30)
            ],
        ),
        sample_size=plan_sample_size(
            prevalence=0.4,
            candidates=7,
            auc=0.8,
            branches={"radiomic": 1316, "deep": 2048},
            cohort=CohortCounts(development_patients=164, development_events=67, test_patients=71, test_events=27),
        ),
        explanation=example_explanation(),
    )


def leaking(evidence: RunEvidence) -> RunEvidence:
    """Return the evidence of a recipe that lets test patients be judged by what was learned from them."""
    choice = LeakyChoice(key="clinical.selected_on", value="all", text="Clinical findings were screened on all patients")
    return evidence.model_copy(update={"leakage": evidence.leakage.model_copy(update={"choices": (choice,)})})


def least_evidence() -> RunEvidence:
    """Return what a run leaves that has no test patients, no clinical predictors, one reader, and that refitted nothing."""
    full = example_evidence()
    nothing = RefitCount(requested=0, fitted=0)
    reason = "the recipe asks for none"
    return full.model_copy(
        update={
            "models": tuple(m for m in full.models if m.sample != TEST and m.feature_set != "clinical"),
            "comparisons": (),
            "incremental": (),
            "subgroups": (),
            "agreement": None,
            "explanation": full.explanation.model_copy(
                update={"attributions": (), "boxes": (), "correlation": None, "activation": None}
            ),
            "honesty": full.honesty.model_copy(
                update={
                    "network": "none",
                    "optimism": OptimismEvidence(count=nothing, reason=reason),
                    "selection": SelectionEvidence(resamples=0, folds=0, candidate_count=0, features=(), classifiers=()),
                    "repeated": RepeatedEvidence(count=nothing, reason=reason, fold_count=5),
                    "permutation": PermutationEvidence(count=nothing, reason=reason),
                    "noise": NoiseEvidence(count=nothing, reason=reason),
                    "centres": CentreEvidence(count=nothing, reason=reason, summary_reason=reason),
                }
            ),
        }
    )


class _Patients:
    """Seeded patients with a record, an acquisition and a probability by every model on every sample."""

    def __init__(self) -> None:
        self.rng = rng = np.random.default_rng(5)
        development = tuple(f"d{i:03d}" for i in range(164))
        test = tuple(f"t{i:03d}" for i in range(71))
        self.ids: Mapping[Sample, tuple[str, ...]] = {APPARENT: development, OUT_OF_FOLD: development, TEST: test}
        every = development + test
        events = {**{c: int(i < 67) for i, c in enumerate(development)}, **{c: int(i < 27) for i, c in enumerate(test)}}
        self.outcome: Mapping[str, int] = events
        self.records = {
            c: {
                "ct_reported_lnm": "yes" if rng.random() < 0.25 + 0.45 * events[c] else "no",
                "tumour_site": "supraglottic" if rng.random() < 0.4 + 0.4 * events[c] else "glottic",
            }
            for c in every
        }
        self.centre: Mapping[str, str | None] = {c: "North" if rng.random() < 0.6 else "South" for c in every}
        self.acquisition = {
            c: Acquisition(
                slice_spacing_mm=float(rng.choice([1.0, 1.5, 3.0])),
                pixel_spacing_mm=float(rng.normal(0.45, 0.03)),
                region_volume_cm3=float(rng.lognormal(2.0, 0.6)),
                kvp=120.0,
                manufacturer=str(rng.choice(["Alpha", "Beta"])),
                convolution_kernel="B30f",
            )
            for c in every
        }
        self._latent = {c: rng.normal() for c in every}
        self._own = {(c, f): rng.normal() for c in every for f in FEATURE_SETS}

    def probability(self, sample: Sample, feature_set: FeatureSet) -> dict[str, float]:
        """Return the probability by patient."""
        gain = STRENGTH[feature_set] + (0.8 if sample == APPARENT else 0.0)
        latent = {
            c: gain * (self.outcome[c] - 0.4) + 0.7 * self._latent[c] + 0.5 * self._own[c, feature_set]
            for c in self.ids[sample]
        }
        return {c: float(expit(np.array([v]))[0]) for c, v in latent.items()}

    def arrays(self, sample: Sample, feature_set: FeatureSet) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return outcome and probability, (n,)."""
        found = self.probability(sample, feature_set)
        return np.array([self.outcome[c] for c in found], dtype=np.int64), np.array(list(found.values()))

    def contender(self, sample: Sample, feature_set: FeatureSet) -> Contender:
        """Return a model for the comparison."""
        return Contender(feature_set, feature_set_label(feature_set), self.probability(sample, feature_set), 0.35)

    def readings(self) -> tuple[FeatureTable, FeatureTable]:
        """Return two readings of 30 patients."""
        names = LONG_NAMES + DEEP_NAMES
        truth = self.rng.normal(size=(30, len(names)))
        noise = np.linspace(0.1, 1.2, len(names))
        first, second = (
            FeatureTable(tuple(str(i) for i in range(30)), names, truth + noise * self.rng.normal(size=truth.shape))
            for _ in range(2)
        )
        return first, second


def example_leakage() -> LeakageReport:
    """Return the report of a recipe that does not leak."""
    return LeakageReport(
        split_digest="0b" * 32,
        development_patients=164,
        test_patients=71,
        overlap=0,
        held_out_once=True,
        folds=tuple(
            FoldPatients(
                index=i, fitted_on=131, held_out=33, overlap=0, fitted_on_digest=f"{i}a" * 32, held_out_digest=f"{i}b" * 32
            )
            for i in range(5)
        ),
        learned=(LearnedObject(name="Backbone", final="164 development", out_of_fold="the other folds", enforced="FitScope"),),
        choices=(),
        duplicates=(DuplicateCheck(what="image file", groups=0, patients=0, across_split=0, across_folds=0),),
        statements=("Patients, not images, were split, before anything was computed.",),
    )
