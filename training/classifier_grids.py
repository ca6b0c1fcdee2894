"""Search grids of the seven algorithms.

The paper says that a grid search was made and prints no grid, so neither of these is the paper's. ``published`` is the wide
one, meant to be published with a study; ``small`` keeps cross-fitting on two cores bearable. Entries run from the simplest
to the most flexible, because the first of equally good ones is taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

GridName = Literal["small", "published"]
Value = float | int | str | None | tuple[int, ...]
Grid = Mapping[str, Sequence[Value]]

SMALL: Mapping[str, Grid] = {
    "LR": {"C": (0.01, 0.1, 1.0, 10.0)},
    "SVM": {"C": (0.1, 1.0, 10.0), "kernel": ("linear", "rbf")},
    "MLP": {"hidden_layer_sizes": ((8,),), "alpha": (10.0, 1.0, 0.1)},
    "LightGBM": {"num_leaves": (3, 7), "min_child_samples": (10, 5), "n_estimators": (60,), "learning_rate": (0.1,)},
    "XGBoost": {"max_depth": (1, 3), "min_child_weight": (3.0, 1.0), "n_estimators": (60,), "learning_rate": (0.1,)},
    "RF": {"n_estimators": (100,), "min_samples_leaf": (5, 1)},
    "ExtraTrees": {"n_estimators": (100,), "min_samples_leaf": (5, 1)},
}

PUBLISHED: Mapping[str, Grid] = {
    "LR": {"C": (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)},
    "SVM": {"C": (0.01, 0.1, 1.0, 10.0, 100.0), "kernel": ("linear", "rbf"), "gamma": ("scale", 0.01, 0.1)},
    "MLP": {"hidden_layer_sizes": ((4,), (8,), (16,), (16, 8)), "alpha": (10.0, 1.0, 0.1, 0.01)},
    "LightGBM": {
        "num_leaves": (3, 7, 15),
        "min_child_samples": (20, 10, 5),
        "n_estimators": (50, 100, 200),
        "learning_rate": (0.03, 0.1),
    },
    "XGBoost": {
        "max_depth": (1, 2, 3, 4),
        "min_child_weight": (5.0, 1.0),
        "n_estimators": (50, 100, 200),
        "learning_rate": (0.03, 0.1),
    },
    "RF": {"n_estimators": (300,), "max_features": ("sqrt", 0.5), "min_samples_leaf": (10, 5, 2, 1)},
    "ExtraTrees": {"n_estimators": (300,), "max_features": ("sqrt", 0.5), "min_samples_leaf": (10, 5, 2, 1)},
}


def grid(name: str, size: GridName) -> Grid:
    """Return the parameter grid of one algorithm."""
    return (SMALL if size == "small" else PUBLISHED)[name]
