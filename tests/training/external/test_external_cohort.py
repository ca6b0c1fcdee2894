"""The cohort of another place: what does not fit the bundle has a code, what may be missing is not missed."""

from __future__ import annotations

from pathlib import Path

import pytest
from example_external import AGE, CT, DEFINITION, write_clinical_bundle

from nodogram.bundle import BundleManifest, Outcome, load_bundle
from nodogram.errors import CohortError, Reason
from training.cohort import OutcomeDefinition
from training.external.cohort import check_fit, outcome_warnings, read_external_cohort

HEADER = "patient_id,image,roi,roi_name,outcome,ct_reported_lnm,tumour_site,centre"
DESCRIPTION = """
title = "Elsewhere"

[outcome]
name = "lymph-node metastasis"
positive_label = "pN+"
provenance = "pathology"

[[predictors]]
name = "ct_reported_lnm"
label = "Lymph nodes on CT report"
type = "categorical"
levels = ["yes", "no"]
reference = "yes"

[[predictors]]
name = "tumour_site"
label = "Site"
type = "categorical"
levels = ["glottic"]
reference = "glottic"
"""


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> BundleManifest:
    return load_bundle(write_clinical_bundle(tmp_path_factory.mktemp("fit") / "bundle")).manifest


def write(folder: Path, rows: list[str], description: str = DESCRIPTION) -> Path:
    for i in range(len(rows)):
        (folder / f"{i}.nii").write_bytes(b"")
    lines = [HEADER, *(row.format(files=f"{i}.nii,{i}.nii,") for i, row in enumerate(rows))]
    (folder / "cohort.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    two_levels = description.replace('levels = ["glottic"]', 'levels = ["glottic", "supraglottic"]')
    (folder / "cohort.toml").write_text(two_levels, encoding="utf-8")
    return folder


def test_a_missing_finding_costs_no_patient(tmp_path: Path, manifest: BundleManifest) -> None:
    rows = ["a,{files},1,,glottic,", "b,{files},0,no,,", "c,{files},2,no,glottic,", "d,{files},0,maybe,glottic,"]
    found = read_external_cohort(write(tmp_path, rows), manifest)
    assert [p.patient_id for p in found.cohort.patients] == ["a", "b"]
    assert found.cohort.patients[0].clinical == {"tumour_site": "glottic"}
    assert found.refused == {"OUTCOME_INVALID": 1, "CLINICAL_VALUE_INVALID": 1}
    assert {p.patient_id for p in found.problems} == {"c", "d"}
    # The digest is that of the definition as written.
    assert found.cohort.definition.predictors[0].candidate
    assert found.warnings == ()


def test_one_outcome_and_half_a_split_are_no_reason_to_refuse(tmp_path: Path, manifest: BundleManifest) -> None:
    rows = ["a,{files},1,yes,glottic,", "b,{files},1,no,glottic,"]
    assert len(read_external_cohort(write(tmp_path, rows), manifest).cohort.patients) == 2
    text = (
        (tmp_path / "cohort.csv")
        .read_text(encoding="utf-8")
        .replace("centre", "split")
        .replace(",no,glottic,", ",no,glottic,test")
    )
    (tmp_path / "cohort.csv").write_text(text, encoding="utf-8")
    assert len(read_external_cohort(tmp_path / "cohort.csv", manifest).cohort.patients) == 2


def test_tables_that_cannot_be_read_keep_their_codes(tmp_path: Path, manifest: BundleManifest) -> None:
    def reason() -> Reason:
        with pytest.raises(CohortError) as caught:
            read_external_cohort(tmp_path, manifest)
        return caught.value.reason

    assert reason() is Reason.FILE_NOT_FOUND
    write(tmp_path, ["a,{files},5,yes,glottic,"])
    assert reason() is Reason.COHORT_TOO_SMALL
    write(tmp_path, ["a,{files},1,yes,glottic,"], DESCRIPTION.replace('title = "Elsewhere"', ""))
    assert reason() is Reason.COHORT_INVALID
    write(tmp_path, [])
    assert reason() is Reason.COHORT_TOO_SMALL


def test_predictors_must_mean_the_same(manifest: BundleManifest) -> None:
    def reason(**changes: object) -> str:
        first = DEFINITION.predictors[0].model_copy(update=changes)
        with pytest.raises(CohortError) as caught:
            check_fit(DEFINITION.model_copy(update={"predictors": (first, *DEFINITION.predictors[1:])}), manifest)
        return f"{caught.value.reason} {caught.value.message}"

    check_fit(DEFINITION, manifest)
    assert reason(name="ct_lnm").startswith("CLINICAL_PREDICTOR_UNKNOWN the bundle needs ct_reported_lnm")
    assert "adds unclear" in reason(levels=("no", "yes", "unclear"))
    assert reason(levels=("no", "unclear")).startswith("CLINICAL_VALUE_INVALID")
    assert "continuous in the cohort" in reason(type="continuous", levels=(), reference=None, unit="cm", range=(0, 3))
    # Another order, another reference and fewer levels are the cohort's own business.
    turned = DEFINITION.predictors[0].model_copy(update={"levels": ("yes", "no"), "reference": "yes"})
    check_fit(DEFINITION.model_copy(update={"predictors": (turned, *DEFINITION.predictors[1:])}), manifest)


def test_years_are_not_months(manifest: BundleManifest) -> None:
    wanted = manifest.model_copy(update={"predictors": (CT, AGE)})
    check_fit(DEFINITION, wanted)
    months = DEFINITION.predictors[2].model_copy(update={"unit": "months"})
    with pytest.raises(CohortError, match="in years in the bundle and in months in the cohort") as caught:
        check_fit(DEFINITION.model_copy(update={"predictors": (*DEFINITION.predictors[:2], months)}), wanted)
    assert caught.value.reason is Reason.CLINICAL_VALUE_INVALID


def test_another_outcome_is_said_and_not_refused() -> None:
    bundle = Outcome(name="metastasis", positive_label="pN+", provenance="pathology")
    assert outcome_warnings(OutcomeDefinition(**bundle.model_dump()), bundle) == ()
    found = outcome_warnings(OutcomeDefinition(name="recurrence", positive_label="pN+", provenance="clinical"), bundle)
    assert found == (
        "The outcome differs: “metastasis” in the bundle, “recurrence” in this cohort.",
        "The source of the outcome differs: “pathology” in the bundle, “clinical” in this cohort.",
    )
