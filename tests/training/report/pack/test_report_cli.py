"""``nodogram report``: everything readable of a finished run, and coded refusals of what is none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import typer
from example_pack import pack_results
from typer.testing import CliRunner

from nodogram.errors import BundleError, NodogramError, Reason, SettingsError, TrainingError
from training.report.pack.rebuild import load_finished, rebuild_report
from training.report_cli import report

app = typer.Typer()
app.command()(report)


@pytest.fixture(scope="module")
def rebuilt(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Return the folder written to and what the command printed."""
    out = tmp_path_factory.mktemp("rebuilt")
    before = {path: path.stat().st_mtime_ns for path in finished_run.rglob("*")}
    result = CliRunner().invoke(app, [str(finished_run), "--out", str(out), "--json"], catch_exceptions=False)
    assert result.exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in finished_run.rglob("*")} == before
    return out, result.stdout


def test_everything_readable_is_written(rebuilt: tuple[Path, str]) -> None:
    out, printed = rebuilt
    document = json.loads(printed)
    assert Path(document["page"]) == out / "report" / "index.html"
    assert Path(document["pack"]) == out / "report" / "pack" / "README.md"
    assert all(Path(path).is_file() for path in (document["page"], document["pack"], *document["tables"], *document["figures"]))
    assert {Path(path).suffix for path in document["figures"]} == {".svg", ".png"}
    assert len(document["tables"]) > 20
    page = (out / "report" / "index.html").read_text(encoding="utf-8")
    # The command on the page uses the bundle of the run, wherever the page lies.
    assert "--bundle run/bundle" in page


def test_the_index_names_the_tables_that_were_written(rebuilt: tuple[Path, str]) -> None:
    out, printed = rebuilt
    index = (out / "report" / "pack" / "README.md").read_text(encoding="utf-8")
    written = {Path(path).name for path in json.loads(printed)["tables"]}
    named = {part.split(")")[0] for part in index.split("(tables/")[1:]}
    assert named
    assert named <= written


def test_forms_name_figures_that_exist(rebuilt: tuple[Path, str]) -> None:
    out, _ = rebuilt
    text = (out / "report" / "pack" / "checklist_clear.csv").read_text(encoding="utf-8")
    named = {part.split(";")[0].split("\n")[0].split(",")[0].strip('"') for part in text.split("figures/")[1:]}
    assert named >= {"calibration", "decision_curve"}
    assert all((out / "figures" / f"{stem}.svg").is_file() for stem in named)


def refused(run: Path, **arguments: Path) -> NodogramError:
    with pytest.raises(NodogramError) as caught:
        rebuild_report(run, **arguments)
    return caught.value


@pytest.fixture
def copy(finished_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished_run, tmp_path / "run"))


def test_no_folder(tmp_path: Path) -> None:
    error = refused(tmp_path / "nowhere")
    assert (type(error), error.reason) == (TrainingError, Reason.FILE_NOT_FOUND)


def test_an_unfinished_run_is_told_how_to_go_on(copy: Path) -> None:
    (copy / "run.json").unlink()
    error = refused(copy)
    assert error.reason == Reason.RUN_MISMATCH
    assert "not finished; continue it with nodogram train --resume" in error.message


def test_a_run_without_evidence_is_refused(copy: Path) -> None:
    (copy / "evidence.json").unlink()
    assert refused(copy).reason == Reason.RUN_MISMATCH


def test_a_run_of_another_version_is_refused_with_both_versions(copy: Path) -> None:
    document = json.loads((copy / "run.json").read_text(encoding="utf-8")) | {"nodogram_version": "0.0.1", "novelty": 1}
    (copy / "run.json").write_text(json.dumps(document), encoding="utf-8")
    error = refused(copy)
    assert error.reason == Reason.RUN_MISMATCH
    assert "nodogram 0.0.1" in error.message
    (copy / "run.json").write_text("[1", encoding="utf-8")
    assert "unknown version" in refused(copy).message


def test_another_bundle_than_that_of_the_run_is_refused(copy: Path) -> None:
    document = json.loads((copy / "run.json").read_text(encoding="utf-8")) | {"bundle_digest": "ab" * 32}
    (copy / "run.json").write_text(json.dumps(document), encoding="utf-8")
    error = refused(copy)
    assert error.reason == Reason.RUN_MISMATCH
    assert "abababababab" in error.message


def test_a_changed_bundle_is_refused(copy: Path) -> None:
    path = copy / "bundle" / "bundle.json"
    path.write_text(path.read_text(encoding="utf-8").replace("larynx-sound", "larynx-other"), encoding="utf-8")
    error = refused(copy)
    assert (type(error), error.reason) == (BundleError, Reason.BUNDLE_DIGEST_MISMATCH)


def test_an_evaluation_that_is_none_is_refused(finished_run: Path, tmp_path: Path) -> None:
    assert refused(finished_run, evaluation=tmp_path / "absent.json", out=tmp_path).reason == Reason.FILE_NOT_FOUND
    (tmp_path / "evaluation.json").write_text("{}", encoding="utf-8")
    error = refused(finished_run, evaluation=tmp_path / "evaluation.json", out=tmp_path)
    assert (type(error), error.reason) == (SettingsError, Reason.UNREADABLE_FILE)
    assert not (tmp_path / "report").exists()


def test_documents_are_read_as_they_were_written(finished_run: Path) -> None:
    found = load_finished(finished_run)
    assert found.results.cohort_title == pack_results().cohort_title
    assert found.manifest.digest == found.results.bundle_digest
