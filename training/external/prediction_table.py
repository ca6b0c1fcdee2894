"""One line a patient, by identifier: for the hospital's own use, and never part of the document."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import numpy as np

from training.external.prediction import Predicted, Refused
from training.external.recalibration import UpdateForm, updated_probability

COLUMNS = ("patient_id", "outcome", "dlr_score", "dlr_probability", "linear_predictor", "probability")
UPDATED = "probability_recalibrated"


def predictions_csv(predicted: Sequence[Predicted], refused: Sequence[Refused], update: UpdateForm) -> str:
    """Return ``predictions.csv``, sorted by identifier: predicted patients with their notes, others with the reason.

    Parameters
    ----------
    update
        Adds a column of probabilities updated to these patients, unless it is ``none``.
    """
    updated = _updated(predicted, update)
    added = () if updated is None else (UPDATED,)
    rows = []
    for p in predicted:
        found, patient = p.prediction, p.patient
        numbers = [found.dlr_value, found.dlr_probability, found.linear_predictor, found.probability]
        if updated is not None:
            numbers.append(updated.get(patient.patient_id))
        rows.append([patient.patient_id, str(patient.outcome), *map(_number, numbers), " ".join(found.notes), ""])
    blanks = [""] * (len(COLUMNS) - 2 + len(added) + 1)
    rows += [[r.patient.patient_id, str(r.patient.outcome), *blanks, r.reason.value] for r in refused]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([*COLUMNS, *added, "notes", "refused"])
    writer.writerows(sorted(rows))
    return stream.getvalue()


def _updated(predicted: Sequence[Predicted], update: UpdateForm) -> dict[str, float] | None:
    known = [(p.patient, p.prediction.probability) for p in predicted if p.prediction.probability is not None]
    outcome = np.array([patient.outcome for patient, _ in known], dtype=np.int64)
    found = updated_probability(outcome, np.array([value for _, value in known], dtype=np.float64), update)
    return None if found is None else dict(zip((patient.patient_id for patient, _ in known), found.tolist(), strict=True))


def _number(value: float | None) -> str:
    return "" if value is None else repr(value)
