"""The page: the answer first, complete, self-contained, honest, and unharmed by hostile names."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from example_external import made_up_findings, write_clinical_bundle

from nodogram.bundle import ModelBundle, load_bundle
from nodogram.errors import Reason, SurroundingsError
from training.external.document import ExternalEvaluation
from training.external.findings import make_document
from training.report.external_page import glance_rows, write_external_report
from training.results import Estimate, ModelPerformance

VOID = {"meta", "br", "link", "img", "input", "hr", "wbr", "col"}


class Page(HTMLParser):
    """Tags in balance, identifiers, references, and the text a reader sees."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.identifiers: list[str] = []
        self.references: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        self.text = re.sub(r"\s+", " ", " ".join(self.words))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002 - of the base class
        self._note(attrs)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._note(attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.open):
            self.words.append(data)

    def _note(self, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.identifiers.append(value)
            if name in ("href", "src", "xlink:href") and value:
                self.references.append(value)


def own_row(score: str, sample: str, value: float) -> ModelPerformance:
    estimate = Estimate(value=value, low=value - 0.1, high=value + 0.05)
    return ModelPerformance.model_validate(
        {
            "feature_set": score,
            "classifier": None,
            "chosen": True,
            "sample": sample,
            "patient_count": 77,
            "event_count": 33,
            "threshold": 0.4,
            **dict.fromkeys(
                (
                    "auc",
                    "accuracy",
                    "sensitivity",
                    "specificity",
                    "ppv",
                    "npv",
                    "calibration_slope",
                    "calibration_intercept",
                ),
                estimate,
            ),
            "brier": 0.2,
            "false_positive_rate": (),
            "true_positive_rate": (),
        }
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelBundle:
    return load_bundle(write_clinical_bundle(tmp_path_factory.mktemp("page") / "bundle"))


@pytest.fixture(scope="module")
def document(model: ModelBundle) -> ExternalEvaluation:
    own = (own_row("nomogram", "development_out_of_fold", 0.812), own_row("nomogram", "test", 0.777))
    return make_document(replace(made_up_findings(model, 120, missing=6), own=own, recalibrate="logistic"))


@pytest.fixture(scope="module")
def out(document: ExternalEvaluation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written")
    write_external_report(document, folder)
    return folder


@pytest.fixture(scope="module")
def page(out: Path) -> Page:
    return Page((out / "report" / "index.html").read_text(encoding="utf-8"))


def test_tags_balance_and_references_stay_on_the_page(page: Page) -> None:
    assert page.open == []
    assert len(page.identifiers) == len(set(page.identifiers))
    assert all(reference.startswith("#") for reference in page.references)
    assert {reference[1:] for reference in page.references} <= set(page.identifiers)


def test_the_first_screen_has_the_answer(page: Page, document: ExternalEvaluation) -> None:
    evidence = document.evidence_of("nomogram")
    assert evidence is not None
    assert evidence.discrimination is not None
    _, answer, _ = page.text.split("Who was predicted")  # in the contents, and above its section
    for text in (
        "by-hand on Elsewhere <General> Hospital",
        f"{evidence.patient_count} patients",
        f"{evidence.discrimination.auc_logit.value:.3f}",
        "0.812",
        "0.777",
        *document.warnings,
        *document.statements,
    ):
        assert text in answer
    assert "nothing was refitted" in answer
    assert "significan" not in page.text.lower()


def test_hostile_names_stay_text(out: Path) -> None:
    assert "<General>" not in (out / "report" / "index.html").read_text(encoding="utf-8")


def test_here_stands_beside_home(document: ExternalEvaluation) -> None:
    rows = {row.label: row.cells for row in glance_rows(document, "nomogram")}
    assert rows["AUC (0.5 is a coin)"][1:] == ("0.812 (0.712–0.862)", "0.777 (0.677–0.827)")
    assert rows["Observed : expected (1 is ideal)"][1:] == ("–", "–")
    assert rows["Patients, with the outcome"][1:] == ("77, 33", "77, 33")


def test_every_table_and_figure_is_a_file(out: Path) -> None:
    tables = {path.stem for path in (out / "tables").iterdir()}
    assert tables == {
        "performance",
        "measures",
        "recalibration",
        "case_mix",
        "acquisition",
        "notes",
        "per_100_patients",
        "predictive_values_by_prevalence",
        "subgroups",
        "methods",
    }
    figures = {path.name for path in (out / "figures").iterdir()}
    assert figures == {f"{s}.{e}" for s in ("roc", "calibration", "decision") for e in ("svg", "png")}


def test_the_same_document_gives_the_same_bytes(document: ExternalEvaluation, out: Path, tmp_path: Path) -> None:
    write_external_report(document, tmp_path)
    for path in (p for p in out.rglob("*") if p.is_file()):
        assert (tmp_path / path.relative_to(out)).read_bytes() == path.read_bytes(), path.name


def test_poorer_documents_have_pages_as_well(model: ModelBundle, tmp_path: Path) -> None:
    full = made_up_findings(model, 30)
    healthy = [replace(p, patient=replace(p.patient, outcome=0)) for p in full.predicted]
    for name, findings in {
        "healthy": replace(full, predicted=healthy),
        "alone": made_up_findings(model, 30, missing=28),
        "few": made_up_findings(model, 12),
    }.items():
        found = Page(write_external_report(make_document(findings), tmp_path / name).read_text(encoding="utf-8"))
        assert found.open == [], name
        assert {reference[1:] for reference in found.references} <= set(found.identifiers), name
        assert "A bundle does not say how well it did" in found.text


def test_a_folder_that_cannot_be_written_has_a_code(document: ExternalEvaluation, tmp_path: Path) -> None:
    (tmp_path / "tables").write_text("in the way", encoding="utf-8")
    with pytest.raises(SurroundingsError) as caught:
        write_external_report(document, tmp_path)
    assert caught.value.reason is Reason.OUTPUT_NOT_WRITABLE
