"""The training job: a cohort and a recipe in, a bundle and a report out."""
