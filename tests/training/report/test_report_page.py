"""The page: complete, self-contained, honest, and unharmed by hostile names."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from example_nomogram import constant_nomogram, example_nomogram, score_only_nomogram
from example_results import example_results, with_constant_score, without_clinical, without_deep

from nodogram.errors import Reason, SurroundingsError
from nodogram.nomogram import Nomogram, NomogramTerm
from training.recipe import load_recipe
from training.report.page import cell_markup, recipe_sections, render_page, split_flow
from training.report.write import write_all
from training.results import FlowStep, ModelPerformance, RunResults

VOID = {"meta", "br", "link", "img", "input", "hr", "wbr", "col"}
FIGURES = {
    "nomogram",
    "apparent_vs_honest",
    "roc_models",
    "roc_radiomics",
    "roc_deep",
    "roc_dlr",
    "lasso_radiomics",
    "lasso_deep",
    "finetuning",
}


class Page(HTMLParser):
    """Tags in balance, identifiers, references, and the text a reader sees."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.identifiers: list[str] = []
        self.references: list[str] = []
        self.tags: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        self.text = re.sub(r"\s+", " ", " ".join(self.words))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._note(tag, attrs)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._note(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    def _note(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name == "id" and value:
                self.identifiers.append(value)
            if name in ("src", "href", "xlink:href", "data", "action", "poster", "srcset") and value:
                self.references.append(value)


@pytest.fixture(scope="module")
def results() -> RunResults:
    return example_results()


@pytest.fixture(scope="module")
def run(results: RunResults, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "first run"
    assert write_all(results, example_nomogram(), run) == run / "report" / "index.html"
    return run


@pytest.fixture(scope="module")
def html(run: Path) -> str:
    return (run / "report" / "index.html").read_text(encoding="utf-8")


def render(results: RunResults, folder: Path, nomogram: Nomogram | None = None) -> Page:
    page = Page(write_all(results, nomogram or example_nomogram(), folder).read_text(encoding="utf-8"))
    assert page.open == []
    return page


def nomogram_row(results: RunResults, sample: str) -> ModelPerformance:
    return next(m for m in results.models if m.feature_set == "nomogram" and m.sample == sample)


def test_everything_is_written(run: Path, html: str) -> None:
    assert len(list((run / "tables").iterdir())) == 8
    assert {path.stem for path in (run / "figures").iterdir()} == FIGURES
    for stem in FIGURES:
        assert (run / "figures" / f"{stem}.svg").stat().st_size > 5_000
        assert (run / "figures" / f"{stem}.png").read_bytes().startswith(b"\x89PNG\r\n")
        assert (run / "figures" / f"{stem}.png").stat().st_size > 10_000
    assert 200_000 < len(html.encode()) < 3 << 20


def test_the_page_is_balanced_and_stands_alone(html: str) -> None:
    page = Page(html)
    assert page.open == []
    assert not [r for r in page.references if not r.startswith("#")]
    assert not {"script", "link", "img", "iframe", "object", "embed"} & set(page.tags)
    assert not re.findall(r"url\((?!#)|@import", html)
    assert page.tags.count("svg") == len(FIGURES)


def test_identifiers_are_unique_and_every_reference_leads_somewhere(html: str) -> None:
    page = Page(html)
    assert len(page.identifiers) == len(set(page.identifiers))
    assert {r.removeprefix("#") for r in page.references} <= set(page.identifiers)


def test_the_answer_comes_first_and_is_honest(results: RunResults, html: str) -> None:
    first = Page(html[: html.index("How to read this report")]).text
    for words in ("lymph-node metastasis", "pN+", "known by pathology", "164 patients", "67 events", "71 others", "27 events"):
        assert words in first
    for sample in ("development_out_of_fold", "test", "development_apparent"):
        auc = nomogram_row(results, sample).auc
        assert f"{auc.value:.3f} 95% CI {auc.low:.3f}–{auc.high:.3f}" in first
    assert "Apparent (optimistic)" in first
    assert "Decision threshold 0.231: highest threshold with sensitivity of at least 0.90" in first
    assert all(warning in first for warning in results.warnings)


def test_apparent_numbers_are_never_without_their_label(html: str) -> None:
    text = Page(html).text
    for match in re.finditer(r"Development, apparent", text):
        assert text[match.end() :].startswith(" (optimistic)")


def test_the_word_that_is_banned_is_absent(run: Path, html: str) -> None:
    texts = [html, *(path.read_text(encoding="utf-8") for path in (run / "tables").iterdir())]
    assert not [text for text in texts if "significan" in text.lower()]


def test_all_keys_digests_versions_and_the_command_are_printed(results: RunResults, html: str) -> None:
    text = Page(html).text
    for section in results.recipe.model_dump(mode="json").values():
        for key in section if isinstance(section, dict) else ():
            assert key in text
    for words in (results.recipe_digest, results.bundle_digest, results.split_digest, "SimpleITK 2.5.7", "70 min"):
        assert words in text
    assert "nodogram predict --bundle 'first run/bundle'" in text
    assert "--set ct_reported_lnm=yes" in text
    assert "--set tumour_site=supraglottic" in text
    assert results.nomogram.formula in text


def test_hostile_names_stay_text(results: RunResults, tmp_path: Path) -> None:
    evil = '<script>alert(1)</script> & "quoted" $\\evil{$ {{ 7 * 7 }} --> </title>'
    flow = (FlowStep(label=evil, count=3, excluded=((evil, 1),)), *results.flow)
    hostile = results.model_copy(
        update={
            "cohort_title": evil,
            "outcome_name": evil,
            "positive_label": evil,
            "outcome_provenance": evil,
            "warnings": (evil,),
            "flow": flow,
            "odds_ratios": (results.odds_ratios[0].model_copy(update={"predictor": evil}),),
            "selected_features": (results.selected_features[0].model_copy(update={"name": evil, "branch": evil}),),
            "lasso_paths": (results.lasso_paths[0].model_copy(update={"branch": evil}),),
            "finetune_curves": (results.finetune_curves[0].model_copy(update={"label": evil}),),
            "nomogram": results.nomogram.model_copy(update={"formula": evil, "method": evil, "coefficients": ((evil, 2.0),)}),
            "software": ((evil, evil),),
        }
    )
    site = NomogramTerm(
        predictor="site", label=evil, kind="categorical", levels=("a", "b; rm -rf"), level_coefficients=(0.0, 1.0)
    )
    nomogram = example_nomogram()
    page = render(hostile, tmp_path / "run", nomogram.model_copy(update={"terms": (*nomogram.terms, site)}))
    assert "script" not in page.tags
    assert page.text.count(evil) >= 12
    assert "--set 'site=b; rm -rf'" in page.text
    # A file name is made of harmless characters only.
    assert all(re.fullmatch(r"[a-z0-9_-]+\.(svg|png)", path.name) for path in (tmp_path / "run" / "figures").iterdir())


def test_a_constant_score_is_said_and_drawn(results: RunResults, tmp_path: Path) -> None:
    text = render(with_constant_score(results), tmp_path, constant_nomogram()).text
    assert "Out of fold, the DLR score ranked no better than chance: it is constant." in text
    assert "images add nothing to this nomogram" in text
    assert "On pure noise that is the right answer" in text
    assert "The apparent and the out-of-fold AUC are the same." in text
    assert "LASSO paths" not in text
    assert not list((tmp_path / "figures").glob("lasso*"))


def test_a_cohort_without_clinical_predictors(results: RunResults, tmp_path: Path) -> None:
    text = render(without_clinical(results), tmp_path, score_only_nomogram()).text
    assert "there is no Table 3" in text
    assert "clinical findings alone" not in text
    assert "--set" not in text


def test_a_run_without_network_shows_no_deep_features(results: RunResults, tmp_path: Path) -> None:
    text = render(without_deep(results), tmp_path).text
    assert not (tmp_path / "figures" / "roc_deep.svg").exists()
    assert not (tmp_path / "figures" / "finetuning.svg").exists()
    assert "Fine-tuning of the backbone" not in text
    assert "Deep features ·" not in text


def test_a_run_without_test_patients_says_so(results: RunResults, tmp_path: Path) -> None:
    untested = results.model_copy(update={"models": tuple(m for m in results.models if m.sample != "test")})
    text = render(untested, tmp_path).text
    assert "with no test patients" in text
    assert "No test patients in this run." in text


def test_a_recipe_that_looks_at_test_patients_is_called_out(results: RunResults) -> None:
    text = Page(
        render_page(results.model_copy(update={"recipe": load_recipe("paper"), "warnings": ()}), example_nomogram(), (), "run")
    ).text
    first = text[: text.index("How to read this report")]
    assert "screened the clinical findings on all patients, test patients included" in first
    assert "favors the one that memorizes best" in first
    assert "Marked rows differ from the recipe sound" in text


def test_no_warning_is_said_too(results: RunResults) -> None:
    assert (
        "The run raised no warnings."
        in Page(render_page(results.model_copy(update={"warnings": ()}), example_nomogram(), (), "run")).text
    )


def test_an_unwritable_folder_is_an_expected_failure(results: RunResults, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("", encoding="utf-8")
    with pytest.raises(SurroundingsError) as caught:
        write_all(results, example_nomogram(), blocked)
    assert caught.value.reason == Reason.OUTPUT_NOT_WRITABLE


def test_recipe_rows_tell_what_sound_does() -> None:
    paper = {(s.name, r.key): r for s in recipe_sections(load_recipe("paper")) for r in s.rows}
    assert (paper["score", "source"].value, paper["score", "source"].sound) == ("apparent", "out_of_fold")
    assert paper["imaging", "spacing_mm"].sound is None
    assert paper["imaging", "spacing_mm"].value == "1, 1, 1"
    assert not [r for s in recipe_sections(load_recipe("sound")) for r in s.rows if r.sound is not None]


def test_flow_forks_only_into_parts_of_the_box_before() -> None:
    boxes = [FlowStep(label=str(n), count=n) for n in (235, 164, 71)]
    assert [s.count for s in split_flow(boxes).parts] == [164, 71]
    assert split_flow(boxes[1:]).parts == ()
    assert split_flow([*boxes[:2], FlowStep(label="70", count=70)]).parts == ()


@pytest.mark.parametrize(
    ("text", "markup"),
    [
        ("0.861 (0.807–0.915)", '0.861<span class="ci">(0.807–0.915)</span>'),
        ("-0.08 (-0.47 to 0.31)", '−0.08<span class="ci">(−0.47 to 0.31)</span>'),
        ("-3", "−3"),
        ("133 (81.1%)", "133 (81.1%)"),
        ("log-sigma-3", "log-sigma-3"),
        ("<0.001", "&lt;0.001"),
    ],
)
def test_cells(text: str, markup: str) -> None:
    assert str(cell_markup(text)) == markup
