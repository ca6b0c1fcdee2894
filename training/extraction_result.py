"""What ``nodogram extract`` leaves: features, failures, notes and a manifest that says how they came about."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from nodogram import __version__
from nodogram.errors import NodogramError, Reason
from nodogram.features import FeatureTable
from nodogram.radiomics.dictionary import FeatureDefinition, definition
from nodogram.radiomics.manifest import PREFIX, FeatureManifest, build_manifest
from nodogram.settings import ModelSettings, Settings, canonical_json
from training.atomic_file import atomic_file, remove_file
from training.extraction import ExtractionFailure

PARQUET, CSV, FAILURES, NOTES, MANIFEST = "features.parquet", "features.csv", "failures.csv", "notes.csv", "manifest.json"


class ExtractionManifest(Settings):
    """How the features came about; equal manifests make rows comparable.

    Attributes
    ----------
    nodogram_version
        Of the software that computed them.
    features
        Names, digest of the settings, version of PyRadiomics.
    settings
        All of them.
    allow_border
        Whether regions that reach the border of the image were taken.
    ibsi_codes
        By column; ``None`` where IBSI does not define the feature.
    """

    nodogram_version: str
    features: FeatureManifest
    settings: ModelSettings
    allow_border: bool
    ibsi_codes: Mapping[str, str | None]

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of all of it."""
        return hashlib.sha256(canonical_json(self.model_dump(mode="json"))).hexdigest()

    @property
    def columns(self) -> tuple[str, ...]:
        """PyRadiomics' names, in order."""
        return tuple(name.removeprefix(PREFIX) for name in self.features.names)


def make_manifest(settings: ModelSettings, names: Sequence[str], *, allow_border: bool) -> ExtractionManifest:
    """Return the manifest of an extraction with the software installed here."""
    return ExtractionManifest(
        nodogram_version=__version__,
        features=build_manifest(settings).model_copy(update={"names": tuple(names)}),
        settings=settings,
        allow_border=allow_border,
        ibsi_codes={name.removeprefix(PREFIX): definition_of(name).ibsi_code for name in names},
    )


def definition_of(full_name: str) -> FeatureDefinition:
    """Return the definition of a feature by its full name, such as ``radiomics.original_glcm_Idmn``."""
    _, feature_class, name = full_name.removeprefix(PREFIX).split("_")
    return definition(feature_class, name)


@dataclass(frozen=True)
class PatientNote:
    """A coded remark about one patient."""

    label: str
    code: str
    message: str


@dataclass(frozen=True, eq=False)
class ExtractionResult:
    """Features of the usable patients, and the reasons of the others; each in the order of the cohort."""

    manifest: ExtractionManifest
    table: FeatureTable
    failures: tuple[ExtractionFailure, ...]
    notes: tuple[PatientNote, ...]


def in_order(
    manifest: ExtractionManifest,
    labels: Sequence[str],
    values: Mapping[str, NDArray[np.float64]],
    failures: Iterable[ExtractionFailure],
    notes: Iterable[PatientNote],
) -> ExtractionResult:
    """Put what was found, in whatever order, into the order of the cohort.

    Parameters
    ----------
    labels
        Patients of the cohort.
    values
        float64 (n_features,) of the usable ones.
    """
    position = {label: i for i, label in enumerate(labels)}
    usable = [label for label in labels if label in values]
    names = manifest.features.names
    stacked = np.stack([values[label] for label in usable]) if usable else np.empty((0, len(names)))
    return ExtractionResult(
        manifest=manifest,
        table=FeatureTable(tuple(usable), names, stacked),
        failures=tuple(sorted(failures, key=lambda failure: position[failure.label])),
        notes=tuple(sorted(notes, key=lambda note: position[note.label])),
    )


def write_result(result: ExtractionResult, folder: Path) -> None:
    """Write the files of an extraction; the same result gives the same bytes.

    The manifest goes first and comes last, so that files beside a manifest belong together.

    Raises
    ------
    SurroundingsError
        ``OUTPUT_NOT_WRITABLE``.
    """
    remove_file(folder / MANIFEST)
    table, columns = result.table, result.manifest.columns
    with atomic_file(folder / PARQUET) as stream:
        arrays = [pa.array(table.case_ids, pa.string()), *(pa.array(column) for column in table.values.T)]
        pq.write_table(pa.Table.from_arrays(arrays, ["patient_id", *columns]), stream)
    rows = ([case_id, *map(repr, values.tolist())] for case_id, values in zip(table.case_ids, table.values, strict=True))
    _write_csv(folder / CSV, ["patient_id", *columns], rows)
    _write_csv(
        folder / FAILURES, ["patient_id", "reason", "message"], ([f.label, f.reason, f.message] for f in result.failures)
    )
    _write_csv(folder / NOTES, ["patient_id", "code", "message"], ([n.label, n.code, n.message] for n in result.notes))
    with atomic_file(folder / MANIFEST) as stream:
        document = {**result.manifest.model_dump(mode="json"), "digest": result.manifest.digest}
        stream.write(json.dumps(document, indent=1, ensure_ascii=False).encode() + b"\n")


def read_result(folder: Path) -> ExtractionResult | None:
    """Read what :func:`write_result` wrote; ``None`` where it has not finished, or its files are damaged."""
    try:
        document = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        digest = document.pop("digest")
        manifest = ExtractionManifest.model_validate(document)
        if digest != manifest.digest:
            return None
        stored = pq.read_table(folder / PARQUET)
        if tuple(stored.column_names) != ("patient_id", *manifest.columns):
            return None
        values = np.column_stack([np.empty((stored.num_rows, 0)), *(c.to_numpy() for c in stored.columns[1:])])
        return ExtractionResult(
            manifest=manifest,
            table=FeatureTable(tuple(stored.column("patient_id").to_pylist()), manifest.features.names, values),
            failures=tuple(ExtractionFailure(label, Reason(code), text) for label, code, text in _read_csv(folder / FAILURES)),
            notes=tuple(PatientNote(label, code, text) for label, code, text in _read_csv(folder / NOTES)),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, csv.Error, NodogramError):
        return None


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    with atomic_file(path) as stream:
        text = io.TextIOWrapper(stream, encoding="utf-8", newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
        text.flush()
        text.detach()


def _read_csv(path: Path) -> Iterator[list[str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        reader = csv.reader(stream, strict=True)
        next(reader, None)
        yield from reader
