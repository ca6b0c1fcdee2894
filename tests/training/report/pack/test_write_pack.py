"""The pack on disk: every file, the same twice, nothing that names a machine or a person."""

from __future__ import annotations

import csv
import hashlib
import shutil
from pathlib import Path

import pytest
from docx import Document
from example_nomogram import example_nomogram
from example_pack import SESSION, example_facts, pack_evidence, pack_results

from nodogram.errors import Reason, TrainingError
from nodogram.nomogram import Nomogram
from training.evaluate import Evaluation
from training.report.pack.checklist import COLUMNS, STATUS_TEXT
from training.report.pack.predictions import dictionary_table
from training.report.pack.session import Session, load_session, record_session, session_table, this_session
from training.report.pack.specification import coefficients_table, features_table, specification_document, steps
from training.report.pack.write_pack import PACK_FILES, write_pack
from training.run import _write_predictions
from training.splits import Split

FILES = (
    "README.md",
    "checklist_clear.csv",
    "checklist_clear.docx",
    "checklist_metrics.csv",
    "checklist_metrics.docx",
    "checklist_tripod_ai.csv",
    "checklist_tripod_ai.docx",
    "methods.docx",
    "methods.md",
    "model_specification.docx",
    "predictions_dictionary.csv",
    "session.csv",
    "session.docx",
    "tables.docx",
)


@pytest.fixture(scope="module")
def pack(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    index = write_pack(pack_results(), pack_evidence(), example_nomogram(), finished_run, out=tmp_path_factory.mktemp("pack"))
    assert index.name == "README.md"
    return index.parent


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_files(pack: Path) -> None:
    assert tuple(sorted(path.name for path in pack.iterdir())) == FILES
    assert {name for name, _ in PACK_FILES} <= set(FILES)


def test_two_writes_are_the_same_bytes(pack: Path, finished_run: Path, tmp_path: Path) -> None:
    second = write_pack(pack_results(), pack_evidence(), example_nomogram(), finished_run, out=tmp_path).parent
    assert digests(second) == digests(pack)


@pytest.mark.parametrize("name", ["tripod_ai", "clear", "metrics"])
def test_forms_in_word_and_csv_say_the_same(pack: Path, name: str) -> None:
    with (pack / f"checklist_{name}.csv").open(encoding="utf-8", newline="") as stream:
        header, *rows = list(csv.reader(stream))
    assert tuple(header) == COLUMNS
    table = Document(str(pack / f"checklist_{name}.docx")).tables[0]
    shown = [[cell.text for cell in row.cells] for row in table.rows if len({id(c._tc) for c in row.cells}) > 1]
    assert [[cell.replace("−", "-") for cell in row] for row in shown] == [
        [cell.replace("−", "-") for cell in row] for row in (header, *rows)
    ]
    assert {row[2] for row in rows} <= set(STATUS_TEXT.values())


def test_metrics_form_prints_its_arithmetic(pack: Path) -> None:
    text = "\n".join(p.text for p in Document(str(pack / "checklist_metrics.docx")).paragraphs)
    assert "Applicable weights sum to 0.9575, without items 9, 17, which do not apply." in text
    assert "Score: at least" in text
    assert "/ 0.9575 =" in text


def test_index_names_every_file_and_every_table(pack: Path) -> None:
    text = (pack / "README.md").read_text(encoding="utf-8")
    for name in FILES[1:]:
        stem, _, suffix = name.rpartition(".")
        assert name in text or (stem in text and f".{suffix}" in text), name
    assert "- Table 5: The nomogram beside the models it must be compared with (tables/table5_nomogram.csv)" in text
    for stem in (item for item in (example_facts().table_numbers or {})):
        assert f"(tables/{stem}.csv)" in text


def test_figures_are_named_only_if_they_are_there(finished_run: Path, tmp_path: Path) -> None:
    figures = tmp_path / "figures"
    figures.mkdir()
    (figures / "decision_curve.svg").write_text("<svg/>", encoding="utf-8")
    folder = write_pack(pack_results(), pack_evidence(), example_nomogram(), finished_run, out=tmp_path).parent
    text = (folder / "checklist_clear.csv").read_text(encoding="utf-8")
    assert "figures/decision_curve" in text
    assert "figures/calibration" not in text


def test_specification_lets_anybody_compute_a_prediction() -> None:
    """The numbers printed, put together as the steps say, are the nomogram's own reading."""
    facts = example_facts()
    rows = {row.cells[0]: float(row.cells[1]) for row in coefficients_table(facts).rows}
    reading = example_nomogram().read({"dlr_score": 1.25, "ct_reported_lnm": "yes", "tumour_site": "supraglottic"})
    linear = (
        rows["intercept"]
        + 1.25 * rows["score"]
        + rows["clinical.ct_reported_lnm[yes]"]
        + rows["clinical.tumour_site[supraglottic]"]
    )
    assert linear == pytest.approx(reading.linear_predictor, abs=1e-9)
    text = " ".join(steps(facts))
    assert "L = 0.62 × logit p(radiomics) + 0.38 × logit p(deep)" in text
    assert "S = 0.6421 × L + (-0.1873)" in text
    assert "p is at least 0.2314" in text
    selected = pack_results().selected_features
    assert [float(row.cells[2]) for row in features_table(facts).rows] == pytest.approx([f.mean for f in selected], rel=1e-9)
    document = specification_document(facts)
    assert facts.nomogram.formula() in "\n".join(p.text for p in document.paragraphs)
    assert len(document.tables) == 3


def test_dictionary_has_the_columns_a_run_writes(tmp_path: Path) -> None:
    split = Split(("a",), ("b",), (), "0" * 64)
    _write_predictions(Evaluation((), (), {"a": (0.1, 0.2, 0.3)}, {"b": 0.4}), split, {"a": 1, "b": 0}, tmp_path)
    header = (tmp_path / "predictions.csv").read_text(encoding="utf-8").splitlines()[0].split(",")
    assert [row.cells[0] for row in dictionary_table(example_facts()).rows] == header


def test_session_holds_machine_and_versions_and_no_names(tmp_path: Path) -> None:
    session = record_session(tmp_path)
    assert load_session(tmp_path) == session == this_session()
    assert session.core_count >= 1
    assert dict(session.packages)["numpy"]
    assert session.memory_gib is not None
    assert session.memory_gib > 0.1
    text = session.model_dump_json()
    assert str(Path.home()) not in text
    assert str(tmp_path) not in text


def test_session_table(pack: Path) -> None:
    table = session_table(pack_results(), SESSION)
    values = {(row.cells[0], row.cells[1]): row.cells[2] for row in table.rows}
    assert values["Machine", "Memory"] == "16 GiB"
    assert values["Machine", "GPU"] == "none"
    assert values["Run", "Seed"] == "20250812"
    assert values["Run", "Bundle, SHA-256"] == pack_results().bundle_digest
    assert values["Software", "pandas"] == "2.3.3"
    # What the run wrote down itself wins over the session.
    other = Session.model_validate(SESSION.model_dump() | {"packages": (("numpy", "1.0"),)})
    assert {row.cells[1]: row.cells[2] for row in session_table(pack_results(), other).rows}["numpy"] == "2.4.6"
    assert (pack / "session.csv").read_text(encoding="utf-8") == table.to_csv()


def test_a_run_that_recorded_no_session_says_so(tmp_path: Path) -> None:
    assert load_session(tmp_path) is None
    values = {row.cells[1]: row.cells[2] for row in session_table(pack_results(), None).rows if row.cells[0] == "Machine"}
    assert values == {"Not recorded": "the run left no session.json"}
    (tmp_path / "session.json").write_text("{}", encoding="utf-8")
    with pytest.raises(TrainingError) as caught:
        load_session(tmp_path)
    assert caught.value.reason == Reason.RUN_MISMATCH


def test_a_pack_without_any_effect_or_clinical_finding_is_written(finished_run: Path, tmp_path: Path) -> None:
    """A constant score and no clinical predictor leave many values undefined; the pack says so and does not fail."""
    from example_evidence import least_evidence
    from example_nomogram import constant_nomogram
    from example_results import with_constant_score, without_clinical

    results = with_constant_score(without_clinical(pack_results()))
    nomogram: Nomogram = constant_nomogram()
    folder = write_pack(results, least_evidence(), nomogram, finished_run, out=tmp_path).parent
    assert tuple(sorted(path.name for path in folder.iterdir())) == FILES
    text = (folder / "methods.md").read_text(encoding="utf-8")
    assert "The cohort has no clinical candidates; the nomogram has the score alone." in text
    shutil.rmtree(folder)
