"""``nodogram evaluate``: a bundle on patients of another place, and the check of what came back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from nodogram.errors import Reason, SettingsError
from training.cli import JobsOption, core_count

if TYPE_CHECKING:
    from training.external.document import ExternalEvaluation
    from training.external.signature import Verification

evaluate = typer.Typer(
    help="Validate a bundle on another cohort without refitting anything; verify the document of a validation.",
    invoke_without_command=True,
    no_args_is_help=True,
)

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")]


@evaluate.callback()
def evaluate_command(
    context: typer.Context,
    bundle: Annotated[Path | None, typer.Option(help="Bundle folder or .tar.  [required]")] = None,
    cohort: Annotated[Path | None, typer.Option(help="Folder with cohort.csv and cohort.toml.  [required]")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the evaluation.  [required]")] = None,
    recalibrate: Annotated[
        Literal["none", "intercept", "logistic"],
        typer.Option(help="Also write probabilities updated to these patients; both updates are reported anyway."),
    ] = "none",
    run: Annotated[
        Path | None, typer.Option(help="Folder of the run that made the bundle, for its own figures; looked for beside it.")
    ] = None,
    jobs: JobsOption = core_count(),  # noqa: B008 - a property of the machine, constant in a process
    resume: Annotated[bool, typer.Option("--resume", help="Continue an evaluation that was stopped or killed.")] = False,
    sign: Annotated[Path | None, typer.Option(help="Ed25519 private key (PEM) that signs evaluation.json.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Validate a bundle on another cohort: evaluation.json to send back, report, tables, figures, predictions."""
    if context.invoked_subcommand is not None:
        return
    given = {"--bundle": bundle, "--cohort": cohort, "--out": out}
    if bundle is None or cohort is None or out is None:
        missing = ", ".join(name for name, value in given.items() if value is None)
        raise typer.BadParameter("an evaluation needs it", param_hint=missing)
    from training.external.evaluation import EVALUATION, PHASES, EvaluationOptions, evaluate_bundle
    from training.external.signature import read_private_key
    from training.progress import RunProgress

    key = None if sign is None else read_private_key(sign)
    options = EvaluationOptions(jobs=jobs, resume=resume, recalibrate=recalibrate, run=run, key=key)
    document = evaluate_bundle(bundle, cohort, out, options, RunProgress(PHASES))
    if as_json:
        typer.echo((out / EVALUATION).read_text(encoding="utf-8"), nl=False)
    else:
        print_evaluation(document, out, Console())


@evaluate.command("verify")
def verify_command(
    file: Annotated[Path, typer.Argument(help="The evaluation.json that was sent back.", show_default=False)],
    public_key: Annotated[Path | None, typer.Option(help="Ed25519 public key (PEM) that must have signed it.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Say whether a document is still the one that was written, and who signed it; exit 1 if it is not."""
    from training.external.signature import read_evaluation, read_public_key, verify

    expected = None if public_key is None else read_public_key(public_key)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(Reason.UNREADABLE_FILE, f"{file} cannot be read: {error}") from error
    found = verify(text, expected)
    if as_json:
        typer.echo(json.dumps(verification_document(found), indent=1))
    else:
        console = Console()
        mark = "[green]✓[/]" if found.is_trusted else "[bold red]✗[/]"
        console.print(f"{mark} {found.text}", highlight=False, soft_wrap=True)
        if found.is_trusted:
            console.print(_what(read_evaluation(text)), highlight=False, soft_wrap=True, markup=False)
    if not found.is_trusted:
        raise typer.Exit(1)


def verification_document(found: Verification) -> dict[str, str | bool | None]:
    """Return the JSON form of a verification."""
    return {
        "status": found.status,
        "trusted": found.is_trusted,
        "digest": found.digest,
        "key_fingerprint": found.key,
        "text": found.text,
    }


def print_evaluation(document: ExternalEvaluation, out: Path, console: Console) -> None:
    """Print the answer, the warnings and where everything is."""
    from training.external.statements import OWN_HEADINGS, own_rows
    from training.report.external_page import glance_rows

    score = document.scores[0].score
    console.print(_what(document), style="bold", highlight=False, markup=False)
    table = Table(header_style="bold")
    table.add_column("nomogram" if score == "nomogram" else "DLR score alone")
    for heading in ("here", *(OWN_HEADINGS[row.sample] for row in own_rows(document.bundle.own, score))):
        table.add_column(heading, justify="right")
    for row in glance_rows(document, score):
        table.add_row(row.label, *row.cells)
    console.print(table)
    for statement in document.statements:
        console.print(f"• {statement}", highlight=False, markup=False)
    for warning in document.warnings:
        console.print(f"[yellow]![/] {warning}", highlight=False)
    for name in ("evaluation.json", "predictions.csv", "report/index.html"):
        console.print(f"{name:<18} {out / name}", highlight=False, soft_wrap=True, markup=False)


def _what(document: ExternalEvaluation) -> str:
    evidence = document.scores[0].evidence
    return (
        f"{document.bundle.name} {document.bundle.digest[:12]} on {document.cohort.title}: {evidence.patient_count} patients, "
        f"{evidence.event_count} with {document.cohort.outcome_name}"
    )
