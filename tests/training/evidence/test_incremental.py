"""What a score adds: against statsmodels, the paired DeLong test and decision curves; and where nothing can be added."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.special import expit, logit
from scipy.stats import chi2

from nodogram.case import ClinicalRecord
from nodogram.clinical import ClinicalPredictor
from nodogram.stats.calibration import scaled_brier_score
from nodogram.stats.discrimination import compare_aucs_paired
from nodogram.stats.net_benefit import decision_curve
from training.evidence.incremental import (
    LEFT_OUT,
    NO_PATIENT,
    NO_PREDICTOR,
    NOTHING_ADDED,
    BaseModel,
    IncrementalValue,
    incremental_value,
)
from training.evidence.sample import ONE_OUTCOME
from training.evidence.sample_result import SampleSettings
from training.logistic import fit_logistic

REPORT = ClinicalPredictor(
    name="ct_reported_lnm", label="CT-reported LNM", type="categorical", levels=("no", "yes"), reference="no"
)
SITE = ClinicalPredictor(
    name="tumour_site", label="Tumor site", type="categorical", levels=("glottic", "supraglottic"), reference="glottic"
)
QUICK = SampleSettings(replicates=200)


class Patients:
    """A cohort in which the score carries ``strength`` beyond what the CT report says."""

    def __init__(self, strength: float, n: int = 220, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.report, self.site = (rng.random(n) < 0.4).astype(float), (rng.random(n) < 0.5).astype(float)
        linear = -1.4 + 1.5 * self.report + 0.8 * self.site
        hidden = rng.normal(size=n)
        self.labels = (rng.random(n) < expit(linear + strength * hidden)).astype(np.int64)
        self.values = expit(-0.5 + hidden)
        self.ids = [f"p{i}" for i in range(n)]
        self.outcome = dict(zip(self.ids, self.labels.tolist(), strict=True))
        self.score = dict(zip(self.ids, self.values.tolist(), strict=True))
        self.nomogram = dict(zip(self.ids, expit(linear + strength * hidden).tolist(), strict=True))
        clinical = dict(zip(self.ids, expit(linear).tolist(), strict=True))
        self.records: dict[str, ClinicalRecord] = {
            c: {"ct_reported_lnm": ("no", "yes")[int(r)], "tumour_site": ("glottic", "supraglottic")[int(s)]}
            for c, r, s in zip(self.ids, self.report, self.site, strict=True)
        }
        self.base = BaseModel("clinical", "Clinical findings", (REPORT, SITE), clinical)

    def measured(self, base: BaseModel | None = None) -> IncrementalValue:
        return incremental_value(
            "development_out_of_fold",
            self.outcome,
            self.base if base is None else base,
            kept=(REPORT, SITE),
            records=self.records,
            score=self.score,
            probability=self.nomogram,
            settings=QUICK,
        )


def test_every_figure_is_that_of_its_method() -> None:
    patients = Patients(1.0)
    found = patients.measured()
    clinical = np.column_stack([patients.report, patients.site])
    fits = [
        sm.Logit(patients.labels, sm.add_constant(X)).fit(disp=0)
        for X in (clinical, np.column_stack([clinical, logit(patients.values)]))
    ]
    assert found.likelihood is not None
    assert found.likelihood.statistic == pytest.approx(2 * (fits[1].llf - fits[0].llf), abs=1e-6)
    assert found.likelihood.degrees_of_freedom == 1
    assert found.likelihood.adequacy == pytest.approx(fits[0].llr / fits[1].llr, abs=1e-8)
    assert found.likelihood.method == "maximum likelihood"
    assert found.likelihood.added_columns == ("DLR score",)
    full, base = (np.array(list(p.values())) for p in (patients.nomogram, patients.base.probability))
    delong = compare_aucs_paired(patients.labels, full, base)
    assert (found.auc_difference.value, found.auc_difference.low) == pytest.approx((delong.difference, delong.low))
    gain = scaled_brier_score(patients.labels, full) - scaled_brier_score(patients.labels, base)
    assert found.scaled_brier_difference.value == pytest.approx(gain)
    assert [row.threshold for row in found.net_benefit] == [0.1, 0.15, 0.2, 0.3]
    for row in found.net_benefit:
        curves = [decision_curve(patients.labels, p, np.array([row.threshold])).model[0] for p in (full, base)]
        assert row.difference.value == pytest.approx(curves[0] - curves[1])
    assert IncrementalValue.model_validate_json(found.model_dump_json()) == found
    assert patients.measured() == found


def test_over_the_report_alone_the_other_findings_are_part_of_what_is_added() -> None:
    patients = Patients(1.0)
    alone = BaseModel(REPORT.name, REPORT.label, (REPORT,), patients.base.probability)
    found, over_all = patients.measured(alone), patients.measured()
    assert found.likelihood is not None
    assert over_all.likelihood is not None
    assert found.likelihood.base_columns == ("clinical.ct_reported_lnm[yes]",)
    assert found.likelihood.added_columns == ("clinical.tumour_site[supraglottic]", "DLR score")
    assert found.likelihood.degrees_of_freedom == 2
    assert found.likelihood.full_statistic == pytest.approx(over_all.likelihood.full_statistic, abs=1e-6)
    assert found.likelihood.statistic > over_all.likelihood.statistic


def test_a_score_of_noise_adds_nothing() -> None:
    p = []
    for seed in range(60):
        likelihood = Patients(0.0, 150, seed).measured().likelihood
        assert likelihood is not None
        p.append(likelihood.p)
    assert sum(v < 0.05 for v in p) <= 8  # of 60, 3 expected; more than 8 once in 150 series
    assert 0.35 < np.mean(p) < 0.65


def test_without_clinical_predictors_there_is_a_reason_and_nothing_else() -> None:
    patients = Patients(1.0, 40)
    found = patients.measured(BaseModel("clinical", "Clinical findings", (), {}))
    assert (found.reason, found.likelihood, found.likelihood_reason) == (NO_PREDICTOR, None, NO_PREDICTOR)
    assert found.auc_difference.reason == found.scaled_brier_difference.reason == NO_PREDICTOR
    assert found.net_benefit == ()
    assert patients.measured(replace(patients.base, probability={})).reason == NO_PATIENT


def test_a_constant_score_has_no_test() -> None:
    patients = Patients(1.0, 80)
    patients.score = dict.fromkeys(patients.ids, 0.3)
    found = patients.measured()
    assert (found.likelihood, found.likelihood_reason) == (None, NOTHING_ADDED)
    assert found.auc_difference.value is not None


def test_separation_is_tested_by_firth() -> None:
    patients = Patients(1.0, 60)
    patients.score = {c: 0.9 if y else 0.1 for c, y in patients.outcome.items()}
    likelihood = patients.measured().likelihood
    assert likelihood is not None
    assert likelihood.method == "Firth"
    X = np.column_stack([patients.report, patients.site, logit(list(patients.score.values()))])
    penalized = fit_logistic(X, ("report", "site", "score"), patients.labels, interval="profile", separation="firth")
    assert likelihood.p == pytest.approx(penalized.p_value[2], rel=1e-4)
    assert likelihood.statistic == pytest.approx(chi2.isf(likelihood.p, 1), rel=1e-9)


def test_one_outcome_only() -> None:
    patients = Patients(1.0, 30)
    patients.outcome = dict.fromkeys(patients.ids, 0)
    found = patients.measured()
    assert found.likelihood_reason == found.auc_difference.reason == found.scaled_brier_difference.reason == ONE_OUTCOME
    assert all(row.difference.value is not None for row in found.net_benefit)


def test_patients_without_a_value_are_left_out() -> None:
    patients = Patients(1.0, 90)
    for c in patients.ids[:7]:
        patients.records[c] = {"tumour_site": "glottic"}
    assert patients.measured().patient_count == 83


def test_the_apparent_sample_is_refused_and_reclassification_is_explained() -> None:
    patients = Patients(1.0, 30)
    with pytest.raises(ValueError, match="never on those it was fitted on"):
        incremental_value(
            "development_apparent",
            patients.outcome,
            patients.base,
            kept=(),
            records=patients.records,
            score=patients.score,
            probability=patients.nomogram,
        )
    assert patients.measured().left_out == LEFT_OUT
    assert "doi:10.1002/sim.5804" in LEFT_OUT
