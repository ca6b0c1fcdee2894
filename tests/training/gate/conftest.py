"""The retraining story: a champion and its challengers."""

from __future__ import annotations

import numpy as np
import pytest
from example_gate import Story, aged, expit, latent, make_bundle, outcomes, write_cohort, write_evaluation


@pytest.fixture(scope="session")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Return a champion and four challengers, evaluated on one locked test set."""
    folder = tmp_path_factory.mktemp("story")
    true = latent()
    outcome = outcomes(true)
    noise = np.random.default_rng(14)
    # The champion sees the log odds through noise, shrunk so that what it says is calibrated all the same.
    seen = -0.4 + (true + 0.4 + noise.normal(0, 0.8, true.size)) * 1.3**2 / (1.3**2 + 0.8**2)
    probability = {
        "champion": expit(seen),
        "better": expit(true),
        "equal": expit(seen + noise.normal(0, 0.02, true.size)),
        "worse": expit(-0.4 + noise.normal(0, 0.6, true.size)),
        "miscalibrated": expit(3.0 * true + 1.5),
    }
    cohort = write_cohort(folder / "cohort", outcome, aged())
    for i, (name, values) in enumerate(probability.items()):
        bundle = make_bundle(folder / name / "bundle", -1.0 - 0.1 * i)
        write_evaluation(folder / name / "evaluation", bundle, cohort, values)
    return Story(folder, outcome, probability)
