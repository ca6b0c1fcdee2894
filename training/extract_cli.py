"""``nodogram extract``: radiomic features of a cohort and nothing else, on one machine or divided among many."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from training.cli import JobsOption, core_count

if TYPE_CHECKING:
    from nodogram.radiomics.parameter_file import Parameters
    from training.extraction_result import ExtractionManifest, ExtractionResult
    from training.extraction_table import Row
    from training.progress import RunProgress
    from training.shards import Missing, Shard

# Named in the summary; all are in the files.
LISTED = 20


def extract(
    cohort: Annotated[
        Path | None, typer.Option(help="Folder of a cohort, or a CSV file: patient_id, image, roi and perhaps roi_name.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the features; an interrupted extraction is continued.")] = None,
    settings: Annotated[str, typer.Option(help="sound, paper, a recipe (TOML) or PyRadiomics parameters (YAML).")] = "sound",
    convention: Annotated[
        Literal["pyradiomics", "ibsi"] | None, typer.Option(help="Whose numbers, if not those of the settings.")
    ] = None,
    padding: Annotated[
        Literal["pyradiomics", "full"] | None,
        typer.Option(help="What the filters of PyRadiomics see: five voxels more, or all."),
    ] = None,
    shard: Annotated[str | None, typer.Option(metavar="I/N", help="Only part I of N, from 1/N to N/N.")] = None,
    shard_count: Annotated[
        int | None, typer.Option(min=1, envvar="NODOGRAM_SHARDS", help="Number of shards, for an Indexed Job or --merge.")
    ] = None,
    completion_index: Annotated[
        int | None, typer.Option(min=0, envvar="JOB_COMPLETION_INDEX", help="Shard of this pod, from 0; set by Kubernetes.")
    ] = None,
    merge: Annotated[bool, typer.Option("--merge", help="Put finished shards together; exit 1 if one is missing.")] = False,
    list_names: Annotated[bool, typer.Option("--list", help="Print name, IBSI code and meaning of every feature.")] = False,
    jobs: JobsOption = core_count(),  # noqa: B008 - a property of the machine, constant in a process
    strict: Annotated[bool, typer.Option("--strict", help="Exit 1 if any patient cannot be used.")] = False,
    allow_border: Annotated[
        bool, typer.Option("--allow-border", help="Take regions that reach the border of the image, with a note.")
    ] = False,
    cache: Annotated[Path | None, typer.Option(help="Folder of finished patients, to share between runs.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")] = False,
) -> None:
    """Extract radiomic features: CSV and Parquet with PyRadiomics' column names."""
    from training.extraction_settings import extraction_settings

    if list_names:
        print_features(extraction_settings(settings, convention, padding), as_json)
        return
    if cohort is None or out is None:
        raise typer.BadParameter("an extraction needs both; --list needs neither", param_hint="--cohort, --out")
    if merge:
        if shard is not None:
            raise typer.BadParameter("a merge takes all shards", param_hint="--shard")
        result, part = _merged(cohort, out, shard_count, as_json), None
    else:
        part = _part(shard, shard_count, completion_index)
        parameters = extraction_settings(settings, convention, padding)
        result = _extracted(cohort, out, parameters, part, jobs=jobs, allow_border=allow_border, cache=cache)
    _print_summary(result, out, part, as_json)
    # A shard whose patients are all unusable has done its work; whether anything is usable shows in the merge.
    if (strict and result.failures) or (part is None and not result.table.case_ids):
        raise typer.Exit(1)


def print_features(parameters: Parameters, as_json: bool) -> None:
    """Print every feature in order: a table for a person, tab-separated lines for a program, or JSON."""
    from nodogram.radiomics.dictionary import describe
    from nodogram.radiomics.manifest import PREFIX
    from training.extraction_result import definition_of

    features = [(name.removeprefix(PREFIX), definition_of(name)) for name in parameters.names]
    if as_json:
        document = [
            {"name": name, "ibsi_code": d.ibsi_code, "unit": d.unit, "meaning": d.meaning, "description": describe(name)}
            for name, d in features
        ]
        typer.echo(json.dumps(document, indent=1, ensure_ascii=False))
    elif sys.stdout.isatty():
        convention = parameters.settings.radiomics.convention
        table = Table(title=f"{len(features):,} features, convention {convention}", header_style="bold")
        for heading in ("feature", "IBSI", "meaning"):
            table.add_column(heading, no_wrap=heading != "meaning")
        for name, d in features:
            table.add_row(name, d.ibsi_code or "–", escape(d.meaning))
        Console().print(table)
    else:
        typer.echo("\n".join(f"{name}\t{d.ibsi_code or ''}\t{d.meaning}" for name, d in features))


def _part(shard: str | None, count: int | None, completion_index: int | None) -> Shard | None:
    """Return the shard meant by ``--shard``, or by the number of a pod and the number of pods."""
    from training.shards import Shard, parse_shard

    try:
        if shard is not None:
            part = parse_shard(shard)
            if count not in (None, part.count):
                raise typer.BadParameter(f"{shard} and {count} shards (--shard-count, NODOGRAM_SHARDS)", param_hint="--shard")
            return part
        if count is None and completion_index is not None:
            raise typer.BadParameter("say the number of shards, or set NODOGRAM_SHARDS", param_hint="--shard-count")
        if count is not None and completion_index is None:
            raise typer.BadParameter(f"say which of {count} with --shard I/{count}", param_hint="--shard-count")
        return None if count is None or completion_index is None else Shard(completion_index + 1, count)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--shard") from error


def _extracted(
    cohort: Path, out: Path, parameters: Parameters, part: Shard | None, *, jobs: int, allow_border: bool, cache: Path | None
) -> ExtractionResult:
    from training.extraction_result import make_manifest, write_result
    from training.extraction_table import read_extraction_table
    from training.progress import RunProgress

    rows = read_extraction_table(cohort, allow_border=allow_border)
    rows = rows if part is None else part.of(rows)
    manifest = make_manifest(parameters.settings, parameters.names, allow_border=allow_border)
    progress = RunProgress(1)
    where = "" if part is None else f", shard {part}"
    progress.phase(f"{len(manifest.columns):,} features of {len(rows)} patients{where}")
    result = _run(rows, manifest, cache or out / "cases", jobs, progress)
    write_result(result, out if part is None else part.folder(out))
    return result


def _run(rows: Sequence[Row], manifest: ExtractionManifest, cache: Path, jobs: int, progress: RunProgress) -> ExtractionResult:
    from training.extraction import ExtractedCase, ExtractionFailure, ExtractionTask, extract_all
    from training.extraction_result import PatientNote, in_order

    tasks = [row for row in rows if isinstance(row, ExtractionTask)]
    failures = [row for row in rows if isinstance(row, ExtractionFailure)]
    # Values alone: names repeated for every patient would take most of the memory.
    values, notes = {}, []

    def warn(failure: ExtractionFailure) -> None:
        progress.warn(escape(f"{failure.label} {failure.reason} {failure.message}"))

    for failure in failures:
        warn(failure)
    with progress.steps("extract", max(len(tasks), 1)) as advance:
        say = _rate(len(tasks), advance, with_time_left=not progress.console.is_terminal)
        for found in extract_all(tasks, manifest.settings, cache, jobs=jobs, names=manifest.features.names):
            if isinstance(found, ExtractedCase):
                values[found.label] = found.radiomics.values
                notes += [PatientNote(found.label, code, message) for code, message in found.notes]
            else:
                failures.append(found)
                warn(found)
            say()
    return in_order(manifest, [row.label for row in rows], values, failures, notes)


def _rate(total: int, advance: Callable[[str], None], *, with_time_left: bool) -> Callable[[], None]:
    """Return a function to call after each patient; the bar of a terminal tells the time left by itself."""
    started, done = time.monotonic(), 0

    def say() -> None:
        nonlocal done
        done += 1
        seconds = max(time.monotonic() - started, 1e-3)
        left = f", {(total - done) * seconds / done:.0f} s left" if with_time_left else ""
        advance(f"{60 * done / seconds:.0f} patients a minute{left}")

    return say


def _merged(cohort: Path, out: Path, count: int | None, as_json: bool) -> ExtractionResult:
    from training.extraction_result import write_result
    from training.extraction_table import read_extraction_table
    from training.shards import Missing, merge_shards

    result = merge_shards(out, [row.label for row in read_extraction_table(cohort)], count)
    if isinstance(result, Missing):
        _print_missing(result, as_json)
        raise typer.Exit(1)
    write_result(result, out)
    return result


def _print_missing(missing: Missing, as_json: bool) -> None:
    if as_json:
        document = {"missing_shards": [str(s) for s in missing.shards], "missing_patients": missing.labels}
        typer.echo(json.dumps(document, indent=1, ensure_ascii=False))
        return
    console = Console()
    shards = " ".join(str(shard) for shard in missing.shards)
    console.print(f"[red]missing[/] shards {shards}, {len(missing.labels)} patients:", highlight=False, soft_wrap=True)
    console.print(escape(_first(missing.labels)), highlight=False, soft_wrap=True)


def _print_summary(result: ExtractionResult, out: Path, part: Shard | None, as_json: bool) -> None:
    from training.extraction_result import CSV, FAILURES, NOTES, PARQUET

    manifest, usable = result.manifest, len(result.table.case_ids)
    count, folder = usable + len(result.failures), out if part is None else part.folder(out)
    if as_json:
        document: dict[str, Any] = {
            "folder": str(folder),
            "shard": None if part is None else str(part),
            "patient_count": count,
            "extracted_count": usable,
            "feature_count": len(manifest.columns),
            "convention": manifest.settings.radiomics.convention,
            "padding": manifest.settings.radiomics.padding,
            "settings_digest": manifest.features.settings_digest,
            "manifest_digest": manifest.digest,
            "failures": [{"patient_id": f.label, "reason": f.reason, "message": f.message} for f in result.failures],
            "notes": [{"patient_id": n.label, "code": n.code, "message": n.message} for n in result.notes],
        }
        typer.echo(json.dumps(document, indent=1, ensure_ascii=False))
        return
    console = Console()

    def say(text: str) -> None:
        console.print(text, highlight=False, soft_wrap=True)

    radiomics = manifest.settings.radiomics
    say(f"[bold]{usable} of {count} patients, {len(manifest.columns):,} features[/] → {escape(str(folder / PARQUET))}, {CSV}")
    say(f"convention {radiomics.convention}, padding {radiomics.padding}, manifest {manifest.digest[:12]}")
    for reason, number in sorted(Counter(f.reason for f in result.failures).items()):
        labels = [f.label for f in result.failures if f.reason == reason]
        say(f"[yellow]{number} × {reason}[/] {escape(_first(labels))}")
    if result.failures:
        say(f"the reasons are in {escape(str(folder / FAILURES))}")
    if result.notes:
        say(f"notes: {len(result.notes)}, in {escape(str(folder / NOTES))}")


def _first(labels: Sequence[str]) -> str:
    more = f" and {len(labels) - LISTED} more" if len(labels) > LISTED else ""
    return ", ".join(labels[:LISTED]) + more
