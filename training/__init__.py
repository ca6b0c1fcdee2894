"""The training job: a cohort and a recipe in, a bundle and a report out."""

import warnings

# joblib replaces a worker that has grown by what it imported, and says so as if something had gone wrong.
warnings.filterwarnings("ignore", message="A worker stopped while some jobs", category=UserWarning)
