"""Description of a synthetic cohort: the clinical predictors of laryngeal squamous cell carcinoma."""

from __future__ import annotations

PREDICTOR_NAMES = ("ct_reported_lnm", "tumour_site", "age_years", "sex", "t_stage")

COHORT_TOML = """\
title = "Synthetic laryngeal carcinoma"
intended_use = "Demonstration and tests. No patient in this cohort ever existed."

[outcome]
name = "lymph-node metastasis"
positive_label = "pN+"
provenance = "pathology"

[[predictors]]
name = "ct_reported_lnm"
label = "CT-reported LNM"
type = "categorical"
levels = ["no", "yes"]
reference = "no"
candidate = true

[[predictors]]
name = "tumour_site"
label = "Tumor site"
type = "categorical"
levels = ["glottic", "supraglottic"]
reference = "glottic"
candidate = true

[[predictors]]
name = "age_years"
label = "Age"
type = "continuous"
unit = "years"
range = [18, 110]
candidate = false

[[predictors]]
name = "sex"
label = "Sex"
type = "categorical"
levels = ["male", "female"]
reference = "male"
candidate = false

[[predictors]]
name = "t_stage"
label = "T stage"
type = "categorical"
levels = ["T1-2", "T3-4"]
reference = "T1-2"
candidate = false
"""
