"""Everything readable of a finished run, written again from its documents without fitting anything."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from nodogram import __version__
from nodogram.bundle import NOMOGRAM, BundleManifest, read_document, read_manifest
from nodogram.errors import Reason, SurroundingsError, TrainingError
from nodogram.nomogram import Nomogram
from training.atomic_file import write_atomically
from training.evidence.document import RunEvidence, load_evidence
from training.report.figure_files import write_figures
from training.report.pack.external import ExternalValidation, read_external
from training.report.pack.write_pack import write_pack
from training.report.page import render_page
from training.report.page_tables import write_tables
from training.results import RunResults

RESULTS = "run.json"


@dataclass(frozen=True)
class FinishedDocuments:
    """What a finished run left, checked to belong together."""

    results: RunResults
    evidence: RunEvidence
    nomogram: Nomogram
    manifest: BundleManifest


@dataclass(frozen=True)
class Rebuilt:
    """What was written.

    Attributes
    ----------
    page, pack
        The report, and the index of the reviewer pack.
    tables, figures
        CSV files, and figures (each as SVG and PNG).
    """

    page: Path
    pack: Path
    tables: tuple[Path, ...]
    figures: tuple[Path, ...]


def rebuild_report(run: Path, out: Path | None = None, evaluation: Path | None = None) -> Rebuilt:
    """Write tables, figures, page and reviewer pack of a finished run.

    Parameters
    ----------
    out
        Where to write; ``None`` for the folder of the run.
    evaluation
        ``evaluation.json`` of a validation of this run's bundle elsewhere, for the pack.

    Raises
    ------
    TrainingError
        ``FILE_NOT_FOUND`` without such a run; ``RUN_MISMATCH`` if it is not finished, of another version, or its parts do not
        belong together.
    BundleError
        If the bundle cannot be read.
    SettingsError
        If the evaluation cannot be read or was changed.
    SurroundingsError
        ``OUTPUT_NOT_WRITABLE``.
    """
    found = load_finished(run)
    external = None if evaluation is None else read_external(evaluation, found.results.bundle_digest)
    base = run if out is None else out
    try:
        return _write(found, run, base, external)
    except OSError as error:
        raise SurroundingsError(Reason.OUTPUT_NOT_WRITABLE, f"{error.filename or base}: {error.strerror}") from error


def load_finished(run: Path) -> FinishedDocuments:
    """Read the documents of a finished run."""
    if not run.is_dir():
        raise TrainingError(Reason.FILE_NOT_FOUND, f"there is no folder {run}; the folder of a finished run is required")
    results = read_results(run)
    evidence = load_evidence(run)
    manifest = read_manifest(run / "bundle")
    if manifest.digest != results.bundle_digest:
        raise TrainingError(
            Reason.RUN_MISMATCH,
            f"{run / 'bundle'} has digest {manifest.digest[:12]}, {RESULTS} is about {results.bundle_digest[:12]}",
        )
    return FinishedDocuments(results, evidence, read_document(run / "bundle" / NOMOGRAM, Nomogram), manifest)


def read_results(run: Path) -> RunResults:
    """Read ``run.json``.

    Raises
    ------
    TrainingError
        ``RUN_MISMATCH`` if there is none, or one of another version.
    """
    path = run / RESULTS
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise TrainingError(
            Reason.RUN_MISMATCH, f"{run} has no {RESULTS}: the run is not finished; continue it with nodogram train --resume"
        ) from error
    try:
        return RunResults.model_validate_json(text)
    except ValidationError as error:
        raise TrainingError(
            Reason.RUN_MISMATCH,
            f"{path} was written by nodogram {_version(text)} ({error.error_count()} entries differ); this is {__version__}",
        ) from error


def _version(text: str) -> str:
    try:
        document = json.loads(text)
    except json.JSONDecodeError:
        return "of an unknown version"
    found = document.get("nodogram_version") if isinstance(document, dict) else None
    return str(found) if found else "of an unknown version"


def _write(found: FinishedDocuments, run: Path, base: Path, external: ExternalValidation | None) -> Rebuilt:
    results, evidence, nomogram = found.results, found.evidence, found.nomogram
    tables = write_tables(results, evidence, base / "tables")
    drawn = write_figures(results, evidence, nomogram, base / "figures")
    page = base / "report" / "index.html"
    write_atomically(page, render_page(results, evidence, nomogram, drawn, run.name))
    pack = write_pack(results, evidence, nomogram, run, out=base, external=external)
    return Rebuilt(page, pack, tuple(tables), tuple(path for d in drawn for path in (d.svg, d.png)))
