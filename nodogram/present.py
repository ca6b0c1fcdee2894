"""A prediction for people and for programs: terminal, JSON, files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from nodogram.bundle import ModelBundle
from nodogram.errors import Reason, SurroundingsError
from nodogram.nomogram_figure import draw_nomogram
from nodogram.predict import Prediction


def prediction_document(prediction: Prediction) -> dict[str, Any]:
    """Return the JSON form of a prediction; the same document the HTTP interface answers with."""
    reading = prediction.reading
    return {
        "case_id": prediction.case_id,
        "outcome": prediction.outcome,
        "probability": prediction.probability,
        "linear_predictor": None if reading is None else reading.linear_predictor,
        "total_points": None if reading is None else reading.total_points,
        "contributions": []
        if reading is None
        else [
            {
                "predictor": c.predictor,
                "label": c.label,
                "value": c.value,
                "points": c.points,
                "linear_predictor": c.linear_predictor,
            }
            for c in reading.contributions
        ],
        "dlr_score": {
            "probability": prediction.dlr.probability,
            "logit": prediction.dlr.logit,
            "branches": dict(prediction.dlr.branch_probability),
        },
        "threshold": prediction.threshold,
        "is_positive": prediction.is_positive,
        "notes": [{"code": note.code.value, "message": note.message} for note in prediction.notes],
        "bundle_digest": prediction.bundle_digest,
        "stage_s": {stage: round(seconds, 4) for stage, seconds in prediction.stage_s.items()},
    }


def write_prediction(prediction: Prediction, bundle: ModelBundle, folder: Path) -> None:
    """Write ``prediction.json`` and the nomogram with the patient's points (``nomogram.svg``, ``nomogram.png``).

    Raises
    ------
    SurroundingsError
        ``OUTPUT_NOT_WRITABLE``.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(prediction_document(prediction), indent=2, ensure_ascii=False)
        (folder / "prediction.json").write_text(text + "\n", encoding="utf-8")
        draw_nomogram(bundle.nomogram, prediction.reading, folder / "nomogram.svg", folder / "nomogram.png")
    except OSError as error:
        raise SurroundingsError(Reason.OUTPUT_NOT_WRITABLE, f"{folder}: {error.strerror}") from error


def render_prediction(prediction: Prediction, bundle: ModelBundle, console: Console, out: Path | None) -> None:
    """Print a prediction for a reader at a terminal."""
    parts: list[Any] = [_headline(prediction)]
    if prediction.reading is not None:
        table = Table("predictor", "value", "points", box=None, pad_edge=False, header_style="bold")
        for c in prediction.reading.contributions:
            value = f"{c.value:.3f}" if isinstance(c.value, float) else str(c.value)
            table.add_row(c.label, value, f"{c.points:.1f}")
        table.add_row(Text("total", style="bold"), "", Text(f"{prediction.reading.total_points:.1f}", style="bold"))
        parts += ["", table]
    branches = ", ".join(f"{name} {p:.3f}" for name, p in prediction.dlr.branch_probability)
    parts += ["", Text(f"DLR score {prediction.dlr.probability:.3f} ({branches})", style="dim")]
    seconds = sum(prediction.stage_s.values())
    parts.append(Text(f"bundle {bundle.manifest.name} {prediction.bundle_digest[:12]}, {seconds:.2f} s", style="dim"))
    console.print(Panel(Group(*parts), title=prediction.outcome, title_align="left", expand=False, padding=(1, 2)))
    for note in prediction.notes:
        console.print(f"[yellow]{note.code.value}[/] {note.message}", highlight=False)
    for warning in bundle.manifest.training.notes:
        console.print(f"[yellow]model[/] {warning}", highlight=False)
    if out is not None:
        console.print(f"written to {out}: prediction.json, nomogram.svg, nomogram.png", highlight=False, soft_wrap=True)


def render_bundle(bundle: ModelBundle, console: Console) -> None:
    """Print what a bundle is."""
    manifest, training = bundle.manifest, bundle.manifest.training
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    rows = [
        ("name", manifest.name),
        ("digest", manifest.digest),
        ("created", f"{manifest.created} by nodogram {manifest.nodogram_version}"),
        ("outcome", f"{manifest.outcome.name} ({manifest.outcome.provenance})"),
        ("intended use", manifest.intended_use),
        ("predictors", ", ".join(["DLR score", *(p.label for p in manifest.predictors)])),
        ("classifier", training.classifier),
        (
            "features",
            f"{len(bundle.dlr.required_names('radiomics.'))} radiomic, {len(bundle.dlr.required_names('deep.'))} deep",
        ),
        ("weights", training.initial_weights),
        ("trained on", f"{training.development_count} patients, {training.development_event_count} with the outcome"),
        ("tested on", f"{training.test_count} patients"),
        ("thresholds", "; ".join(f"{t.name} {t.value:.3f} ({t.rule})" for t in manifest.thresholds)),
        ("formula", bundle.nomogram.formula()),
    ]
    for key, value in rows:
        table.add_row(key, value)
    console.print(table)


def _headline(prediction: Prediction) -> Text:
    if prediction.probability is None:
        return Text("no probability: a clinical predictor is missing", style="bold yellow")
    verdict = "at or above" if prediction.is_positive else "below"
    return Text.assemble(
        (f"{prediction.probability:.1%}", "bold"),
        f" probability, {verdict} the threshold of {prediction.threshold:.1%}",
    )
