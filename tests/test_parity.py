"""One case, one answer: command line, HTTP and gRPC agree, on synthetic patients and on real ones."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from running_server import Served, running
from typer.testing import CliRunner

from nodogram.cli import app
from nodogram.synthesis.cohort import write_cohort
from serving.client import Client
from serving.documents import PredictionDocument
from serving.grpc_client import GrpcClient

TOLERANCE = 1e-6
# CT and RTSTRUCT of real patients, small ones.
REAL = ("STS_008", "STS_019", "STS_025")
EXAMPLE = Path(__file__).parents[1] / "examples" / "sarcoma_cohort.py"


@dataclass(frozen=True)
class Asked:
    """One case to ask for."""

    image: Path
    roi: Path
    roi_name: str | None
    clinical: dict[str, str | float]


@pytest.fixture(scope="module")
def server(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with running(tiny_run / "bundle", tmp_path_factory.mktemp("parity"), NODOGRAM_REQUEST_TIMEOUT_S="240") as served:
        yield served


def cases_of(cohort: Path, clinical: dict[str, str | float] | None = None) -> list[Asked]:
    with (cohort / "cohort.csv").open(newline="") as stream:
        return [
            Asked(
                cohort / row["image"],
                cohort / row["roi"],
                row.get("roi_name") or None,
                clinical or {name: row[name] for name in ("ct_reported_lnm", "tumour_site")},
            )
            for row in csv.DictReader(stream)
        ]


def by_command_line(bundle: Path, case: Asked) -> PredictionDocument:
    arguments = ["predict", "--bundle", str(bundle), "--image", str(case.image), "--roi", str(case.roi), "--json"]
    arguments += [part for name, value in case.clinical.items() for part in ("--set", f"{name}={value}")]
    arguments += [] if case.roi_name is None else ["--roi-name", case.roi_name]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    return PredictionDocument.model_validate(json.loads(done.stdout))


def assert_agree(bundle: Path, server: Served, cases: list[Asked]) -> None:
    with Client(server.url, timeout_s=240) as http, GrpcClient(server.grpc_target, timeout_s=240) as grpc:
        for case in cases:
            expected = by_command_line(bundle, case)
            found = [
                client.predict(case.image, case.roi, clinical=case.clinical, roi_name=case.roi_name) for client in (http, grpc)
            ]
            for answer in found:
                assert_same(expected, answer)


def assert_same(expected: PredictionDocument, found: PredictionDocument) -> None:
    assert expected.probability is not None
    assert found.probability == pytest.approx(expected.probability, abs=TOLERANCE)
    assert found.total_points == pytest.approx(expected.total_points, abs=1e-3)
    assert found.dlr_score.probability == pytest.approx(expected.dlr_score.probability, abs=TOLERANCE)
    assert found.dlr_score.branches == pytest.approx(expected.dlr_score.branches, abs=TOLERANCE)
    assert [(c.predictor, c.value) for c in found.contributions[1:]] == [
        (c.predictor, c.value) for c in expected.contributions[1:]
    ]
    assert (found.is_positive, found.threshold, found.notes) == (expected.is_positive, expected.threshold, expected.notes)
    assert (found.outcome, found.bundle_digest) == (expected.outcome, expected.bundle_digest)


def test_synthetic_cases(tiny_run: Path, tiny_cohort: Path, server: Served, tmp_path: Path) -> None:
    write_cohort(
        tmp_path / "dicom", patient_count=8, seed=11, signal=1.0, image_format="dicom", matrix=160, slice_count=40, jobs=2
    )
    cases = cases_of(tiny_cohort)[:12] + cases_of(tmp_path / "dicom")
    assert len(cases) == 20
    assert_agree(tiny_run / "bundle", server, cases)


def test_real_cases(tiny_run: Path, server: Served, test_data: Path, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    for name in ("outcome.csv", *(f"{patient}.tar.xz" for patient in REAL)):
        shutil.copy(test_data / "sts" / name, tmp_path / "source")
    example = [sys.executable, str(EXAMPLE), str(tmp_path / "source"), str(tmp_path / "sarcoma")]
    subprocess.run(example, check=True, capture_output=True)
    cases = cases_of(tmp_path / "sarcoma", {"ct_reported_lnm": "yes", "tumour_site": "supraglottic"})
    assert len(cases) == len(REAL)
    assert_agree(tiny_run / "bundle", server, cases)
