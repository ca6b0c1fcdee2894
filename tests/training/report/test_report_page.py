"""The page: complete, self-contained, honest, and unharmed by hostile names."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from example_evidence import example_evidence, leaking, least_evidence
from example_nomogram import constant_nomogram, example_nomogram, score_only_nomogram
from example_results import example_results, with_constant_score, without_clinical, without_deep

from nodogram.errors import Reason, SurroundingsError
from nodogram.nomogram import Nomogram, NomogramTerm
from training.evidence.document import RunEvidence
from training.recipe import load_recipe
from training.report.figure_files import run_plans, write_planned
from training.report.markup import cell_markup
from training.report.page import recipe_sections, render_page, split_flow, write_report
from training.report.page_tables import write_tables
from training.report.write import write_all
from training.results import FlowStep, ModelPerformance, RunResults

VOID = {"meta", "br", "link", "img", "input", "hr", "wbr", "col"}
RESULT_FIGURES = {
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
EVIDENCE_FIGURES = {
    "calibration",
    "decision_curve",
    "precision_recall",
    "subgroups_out_of_fold",
    "subgroups_test",
    "contribution_share",
    "shap",
    "feature_boxes",
    "feature_correlation",
    "activation_maps",
}
SECTIONS = (
    *("answer", "reading", "flow", "baseline", "acquisition", "clinical", "algorithms", "models", "discrimination"),
    *("calibration", "utility", "honesty", "agreement", "subgroups", "incremental", "explanation", "nomogram-section"),
    *("selection", "finetuning-section", "recipe", "provenance", "pack", "predict"),
)


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
        if not {"style", "script"} & set(self.open):
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
def evidence() -> RunEvidence:
    return example_evidence()


@pytest.fixture(scope="module")
def run(results: RunResults, evidence: RunEvidence, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "first run"
    write_tables(results, evidence, run / "tables")
    assert write_report(results, evidence, example_nomogram(), run) == run / "report" / "index.html"
    return run


@pytest.fixture(scope="module")
def html(run: Path) -> str:
    return (run / "report" / "index.html").read_text(encoding="utf-8")


def undrawn(results: RunResults, evidence: RunEvidence | None = None, nomogram: Nomogram | None = None) -> Page:
    """Return the page without figures, which take their time."""
    page = Page(render_page(results, evidence or least_evidence(), nomogram or example_nomogram(), (), "run"))
    assert page.open == []
    return page


def stems(results: RunResults) -> set[str]:
    """Return the names of the figures a run has."""
    return {plan.stem for plan in run_plans(results, least_evidence(), example_nomogram())}


def nomogram_row(results: RunResults, sample: str) -> ModelPerformance:
    return next(m for m in results.models if m.feature_set == "nomogram" and m.sample == sample)


def test_everything_is_written(run: Path, html: str) -> None:
    stems = {path.stem for path in (run / "figures").iterdir()}
    assert stems >= RESULT_FIGURES | EVIDENCE_FIGURES
    for stem in stems:
        assert (run / "figures" / f"{stem}.svg").stat().st_size > 2_000
        assert (run / "figures" / f"{stem}.png").read_bytes().startswith(b"\x89PNG\r\n")
    assert {path.stem for path in (run / "tables").iterdir()} >= {
        "table1_baseline_by_split",
        "table5_nomogram",
        "discrimination_nomogram",
        "calibration_nomogram",
        "utility_per_100_patients",
        "utility_per_100_cn0_patients",
        "agreement_selected_features",
        "sample_size",
    }


def test_the_page_is_light(html: str) -> None:
    assert 200_000 < len(html.encode()) < 1_200_000


def test_the_page_is_balanced_and_stands_alone(run: Path, html: str) -> None:
    page = Page(html)
    assert page.open == []
    outside = [r for r in page.references if not r.startswith(("#", "data:image/"))]
    assert outside, "the reviewer pack is linked to"
    assert not [r for r in outside if not r.startswith("pack/")]
    assert not {"link", "iframe", "object", "embed"} & set(page.tags)
    assert not re.findall(r"url\((?!#)|@import", html)
    assert page.tags.count("figure") == len(list((run / "figures").glob("*.svg")))


def test_the_only_script_is_the_one_the_policy_allows(html: str) -> None:
    (script,) = re.findall(r"<script>(.*?)</script>", html, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', html)
    assert "default-src 'none'" in policy.replace("&#39;", "'")
    assert f"script-src 'sha256-{digest}'" in policy.replace("&#39;", "'")
    assert len(script) < 1_500


def test_the_contents_lead_to_every_part_in_order(html: str) -> None:
    menu = html[html.index('id="menu"') : html.index("</nav>")]
    assert re.findall(r'href="#([^"]+)"', menu) == list(SECTIONS)
    places = [html.index(f' id="{anchor}"') for anchor in SECTIONS]
    assert places == sorted(places)


def test_identifiers_are_unique_and_every_reference_leads_somewhere(html: str) -> None:
    page = Page(html)
    assert len(page.identifiers) == len(set(page.identifiers))
    assert {r.removeprefix("#") for r in page.references if r.startswith("#")} <= set(page.identifiers)


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


def test_the_first_screen_says_how_far_to_believe_it(evidence: RunEvidence, html: str) -> None:
    first = Page(html[: html.index("How to read this report")]).text
    (nomogram,) = (m for m in evidence.honesty.optimism.models if m.model == "nomogram")
    auc = next(c for c in nomogram.corrected if c.measure == "auc")
    assert f"refitted on 30 bootstrap resamples: less its optimism of {auc.optimism.mean:.3f}" in first
    assert f"the apparent AUC of {auc.apparent:.3f} becomes {auc.corrected:.3f}" in first
    null = evidence.honesty.permutation.pooled
    assert null is not None
    assert f"{null.distribution.low:.3f} to {null.distribution.high:.3f}, against {null.observed:.3f}" in first
    assert f"(p = {null.p:.3f}; with so few it cannot be below 0.01)" in first
    for family in evidence.comparisons:
        (clinical,) = (c for c in family.auc if c.second == "Clinical findings")
        assert clinical.verdict in first
    need = evidence.sample_size.nomogram
    assert f"{need.patients:,} patients ({need.events:,} events) are needed for 7 candidate parameters" in first
    assert "split by patient before anything was computed" in first


def test_the_word_is_printed_with_its_adjusted_p_only(run: Path, html: str) -> None:
    texts = [Page(html).text, *(path.read_text(encoding="utf-8") for path in (run / "tables").iterdir())]
    for text in texts:
        for found in re.finditer("significan", text, flags=re.IGNORECASE):
            assert re.match(r"significant at the 5 % level after Holm's correction for \d+ comparisons", text[found.start() :])


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


def hostile_evidence(evil: str) -> RunEvidence:
    """Return evidence in which everything that can be named by a cohort has an evil name."""
    full = example_evidence()
    table = full.subgroups[0]
    kind = table.characteristics[0]
    named = kind.model_copy(update={"label": evil, "rows": tuple(row.model_copy(update={"level": evil}) for row in kind.rows)})
    shares = full.explanation.contribution
    predictors = tuple(p.model_copy(update={"label": evil}) for p in shares.predictors)
    return full.model_copy(
        update={
            "subgroups": (table.model_copy(update={"characteristics": (named,)}),),
            "explanation": full.explanation.model_copy(
                update={
                    "contribution": shares.model_copy(update={"predictors": predictors}),
                    "boxes": (),
                    "correlation": None,
                    "activation": None,
                    "notes": (evil,),
                }
            ),
            "agreement": None if full.agreement is None else full.agreement.model_copy(update={"source": evil}),
        }
    )


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
    nomogram = nomogram.model_copy(update={"terms": (*nomogram.terms, site)})
    evidence = hostile_evidence(evil)
    named = ("nomogram", "lasso", "finetuning", "subgroups", "contribution")
    plans = (plan for plan in run_plans(hostile, evidence, nomogram) if plan.stem.startswith(named))
    drawn = write_planned(plans, tmp_path / "figures")
    page = Page(render_page(hostile, evidence, nomogram, drawn, "run"))
    assert page.open == []
    assert page.tags.count("script") == 1
    assert page.tags.count("svg") == len(drawn) == 5
    assert page.text.count(evil) >= 12
    assert "--set 'site=b; rm -rf'" in page.text
    # A file name is made of harmless characters only.
    assert all(re.fullmatch(r"[a-z0-9_-]+\.(svg|png)", path.name) for path in (tmp_path / "figures").iterdir())


def test_a_constant_score_is_said(results: RunResults) -> None:
    flat = with_constant_score(results)
    text = undrawn(flat, nomogram=constant_nomogram()).text
    assert "Out of fold, the DLR score ranked no better than chance: it is constant." in text
    assert "images add nothing to this nomogram" in text
    assert "On pure noise that is the right answer" in text
    assert "The apparent and the out-of-fold AUC are the same." in text
    assert "LASSO paths" not in text
    assert "Not known: the recipe asks for none." in text
    assert not [stem for stem in stems(flat) if stem.startswith("lasso")]


def test_a_cohort_without_clinical_predictors(results: RunResults) -> None:
    text = undrawn(without_clinical(results), nomogram=score_only_nomogram()).text
    assert "there is no Table 3" in text
    assert "clinical findings alone" not in text
    assert "--set" not in text


def test_a_run_without_network_shows_no_deep_features(results: RunResults) -> None:
    shallow = without_deep(results)
    page = undrawn(shallow)
    text = page.text
    assert not {"roc_deep", "finetuning"} & stems(shallow)
    assert "finetuning-section" not in page.identifiers
    assert "Deep features ·" not in text


def test_a_run_without_test_patients_says_so(results: RunResults) -> None:
    untested = results.model_copy(update={"models": tuple(m for m in results.models if m.sample != "test")})
    text = undrawn(untested).text
    assert "with no test patients" in text
    assert "No test patients in this run." in text
    assert "subgroups_test" not in stems(untested)


def test_parts_without_anything_to_show_are_left_out(results: RunResults) -> None:
    page = undrawn(results, least_evidence())
    assert not {"agreement", "subgroups", "incremental"} & set(page.identifiers)
    assert not {"#agreement", "#subgroups", "#incremental"} & set(page.references)
    assert {"honesty", "calibration"} <= set(page.identifiers)


def test_a_recipe_that_looks_at_test_patients_is_called_out(results: RunResults, evidence: RunEvidence) -> None:
    paper = results.model_copy(update={"recipe": load_recipe("paper"), "warnings": ()})
    text = undrawn(paper, leaking(evidence)).text
    first = text[: text.index("How to read this report")]
    assert "Clinical findings were screened on all patients (clinical.selected_on = all)." in first
    assert "1 doubt: see the warnings above." in first
    assert "Marked rows differ from the recipe sound" in text


def test_a_warning_is_printed_once(results: RunResults, evidence: RunEvidence) -> None:
    doubtful = leaking(evidence)
    repeated = results.model_copy(update={"warnings": doubtful.leakage.warnings})
    assert undrawn(repeated, doubtful).text.count(doubtful.leakage.warnings[0]) == 1


def test_no_warning_is_said_too(results: RunResults, evidence: RunEvidence) -> None:
    assert "The run raised no warnings." in undrawn(results.model_copy(update={"warnings": ()}), evidence).text


def test_an_unwritable_folder_is_an_expected_failure(results: RunResults, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("", encoding="utf-8")
    with pytest.raises(SurroundingsError) as caught:
        write_all(results, example_evidence(), example_nomogram(), blocked)
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
