from __future__ import annotations

import pytest
from pydantic import ValidationError

from nodogram.clinical import ClinicalPredictor, check_record, encode_record
from nodogram.errors import CohortError, Reason

SITE = ClinicalPredictor(
    name="tumour_site", label="Site", type="categorical", levels=("glottic", "supraglottic", "subglottic"), reference="glottic"
)
AGE = ClinicalPredictor(name="age_years", label="Age", type="continuous", unit="years", range=(18, 110))


def test_columns_are_dummies_against_the_reference() -> None:
    vector = encode_record((SITE, AGE), {"tumour_site": "subglottic", "age_years": "63"})
    assert vector.names == ("clinical.tumour_site[supraglottic]", "clinical.tumour_site[subglottic]", "clinical.age_years")
    assert vector.values.tolist() == [0.0, 1.0, 63.0]
    assert encode_record((SITE,), {"tumour_site": "glottic"}).values.tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"tumour_site": "glottic"}, Reason.CLINICAL_PREDICTOR_MISSING),
        ({"tumour_site": "", "age_years": 60}, Reason.CLINICAL_PREDICTOR_MISSING),
        ({"tumour_site": "tongue", "age_years": 60}, Reason.CLINICAL_VALUE_INVALID),
        ({"tumour_site": "glottic", "age_years": "old"}, Reason.CLINICAL_VALUE_INVALID),
        ({"tumour_site": "glottic", "age_years": 630}, Reason.CLINICAL_VALUE_INVALID),
        ({"tumour_site": "glottic", "age_years": 60, "weight": 80}, Reason.CLINICAL_PREDICTOR_UNKNOWN),
    ],
)
def test_nothing_is_guessed(record: dict, reason: Reason) -> None:
    with pytest.raises(CohortError) as caught:
        encode_record((SITE, AGE), record)
    assert caught.value.reason is reason


@pytest.mark.parametrize(
    "change", [{"reference": "tongue"}, {"levels": ("glottic",)}, {"type": "continuous"}, {"colour": "red"}]
)
def test_impossible_predictors_are_refused(change: dict) -> None:
    with pytest.raises(ValidationError):
        ClinicalPredictor.model_validate({**SITE.model_dump(), **change})


def test_a_misspelt_predictor_is_refused_though_others_are_missing() -> None:
    with pytest.raises(CohortError, match="CLINICAL_PREDICTOR_UNKNOWN"):
        check_record((SITE, AGE), {"tumor_site": "glottic"})
    with pytest.raises(CohortError, match="CLINICAL_VALUE_INVALID"):
        check_record((SITE, AGE), {"tumour_site": "tongue"})
    assert check_record((SITE, AGE), {"age_years": 60}) == ("tumour_site",)
