"""The end of a run on the terminal: the answer first, honest figures beside apparent ones."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table

from training.model_names import FEATURE_SETS, SAMPLES, short_label
from training.report.model_rows import chosen_row
from training.results import Estimate, RunResults


def print_results(results: RunResults, out: Path, console: Console) -> None:
    """Print AUCs of the models of Table 5, warnings and where everything is."""
    table = Table(title=f"AUC for {results.outcome_name}, 95 % interval", title_justify="left", header_style="bold")
    table.add_column("model")
    for heading in ("apparent (optimistic)", "out of fold", "test"):
        table.add_column(heading, justify="right")
    for feature_set in FEATURE_SETS:
        rows = [chosen_row(results.models, feature_set, sample) for sample in SAMPLES]
        if any(rows):
            table.add_row(short_label(feature_set), *("–" if row is None else _interval(row.auc) for row in rows))
    console.print(table)
    for warning in results.warnings:
        console.print(f"[yellow]![/] {warning}", highlight=False)
    console.print(f"bundle  {out / 'bundle'}  {results.bundle_digest[:12]}", highlight=False, soft_wrap=True)
    console.print(f"report  {out / 'report' / 'index.html'}", highlight=False, soft_wrap=True)


def _interval(estimate: Estimate) -> str:
    if estimate.value is None:
        return "–"
    bounds = "" if estimate.low is None else f" ({estimate.low:.3f}–{estimate.high:.3f})"
    return f"{estimate.value:.3f}{bounds}"
