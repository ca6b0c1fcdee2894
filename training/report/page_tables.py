"""The tables of the evidence: which there are, where on the page they stand, and which are folded away."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from training.evidence.document import RunEvidence
from training.model_names import FEATURE_SETS, SAMPLES, feature_set_label, sample_label
from training.report.agreement_tables import agreement_counts_table, outline_agreement_table, selected_agreement_table
from training.report.comparison_tables import (
    comparisons_table,
    confounder_table,
    decisions_comparison_table,
    incremental_table,
    net_benefit_difference_table,
)
from training.report.evidence_tables import (
    Columns,
    measures_table,
    part_of,
    per_hundred_table,
    prevalence_table,
    sample_size_table,
)
from training.report.honesty_tables import honesty_tables
from training.report.leakage_tables import acquisition_table, choices_table, folds_table, learned_table
from training.report.subgroup_tables import gap_table, heterogeneity_table, subgroup_table
from training.report.tables import ReportTable, make_tables, write_table_files
from training.results import FeatureSet, RunResults

DISCRIMINATION_GROUPS = ("Sample", "Discrimination", "At the frozen threshold")
# Long, and drawn in a figure as well.
FOLDED_HONESTY = ("selection_frequency", "classifier_frequency")
CALIBRATION_GROUPS = ("Sample", "Calibration")


@dataclass(frozen=True)
class PlacedTable:
    """A table and its place.

    Attributes
    ----------
    section
        Part of the page.
    folded
        Whether the page shows it on request only.
    """

    section: str
    table: ReportTable
    folded: bool = False


def evidence_tables(results: RunResults, evidence: RunEvidence) -> tuple[PlacedTable, ...]:
    """Lay out every table of the evidence that has a row."""
    every = (
        *_about_models(evidence),
        *_about_patients(evidence),
        *_about_trust(evidence),
        *_about_agreement(results, evidence),
    )
    return tuple(placed for placed in every if placed.table.rows)


def write_tables(results: RunResults, evidence: RunEvidence, folder: Path) -> tuple[Path, ...]:
    """Write every table of a run as CSV (UTF-8) and return the files.

    Parameters
    ----------
    folder
        Made if absent.
    """
    about_evidence = (placed.table for placed in evidence_tables(results, evidence))
    return write_table_files((*make_tables(results).all, *about_evidence), folder)


def _about_patients(evidence: RunEvidence) -> Iterator[PlacedTable]:
    yield PlacedTable("acquisition", acquisition_table(evidence.acquisition))
    yield PlacedTable("acquisition", confounder_table(evidence.confounders))
    yield PlacedTable("subgroups", subgroup_table(evidence.subgroups))
    yield PlacedTable("subgroups", gap_table(evidence.subgroups), folded=True)
    yield PlacedTable("subgroups", heterogeneity_table(evidence.subgroups), folded=True)


def _about_models(evidence: RunEvidence) -> Iterator[PlacedTable]:
    yield PlacedTable("models", comparisons_table(evidence.comparisons))
    yield PlacedTable("models", decisions_comparison_table(evidence.comparisons), folded=True)
    for feature_set in reversed(FEATURE_SETS):
        yield from _about_model(evidence, feature_set)
    columns = _columns(evidence, "nomogram", honest=True)
    if columns:
        yield PlacedTable("utility", per_hundred_table(columns, "utility_per_100_patients"))
        yield PlacedTable("utility", prevalence_table(columns, "predictive_values_by_prevalence"))
    node_negative = tuple((sample_label(t.sample), t.node_negative) for t in evidence.subgroups if t.node_negative is not None)
    if node_negative:
        yield PlacedTable("utility", per_hundred_table(node_negative, "utility_per_100_cn0_patients", node_negative=True))
    yield PlacedTable("incremental", incremental_table(evidence.incremental))
    yield PlacedTable("incremental", net_benefit_difference_table(evidence.incremental), folded=True)


def _about_model(evidence: RunEvidence, feature_set: FeatureSet) -> Iterator[PlacedTable]:
    columns = _columns(evidence, feature_set)
    if not columns:
        return
    whole = measures_table(columns, f"measures_{feature_set}", feature_set_label(feature_set))
    name, folded = whole.title, feature_set != "nomogram"
    for section, groups in (("discrimination", DISCRIMINATION_GROUPS), ("calibration", CALIBRATION_GROUPS)):
        title = f"{name}: {'discrimination and decisions' if section == 'discrimination' else 'calibration'}"
        yield PlacedTable(section, part_of(whole, groups, f"{section}_{feature_set}", title), folded)


def _about_trust(evidence: RunEvidence) -> Iterator[PlacedTable]:
    # The page says once what the refits did with the network, above all of these.
    note = f" {evidence.honesty.network_note}"
    for table in honesty_tables(evidence.honesty):
        yield PlacedTable("honesty", replace(table, title=table.title.removesuffix(note)), table.stem in FOLDED_HONESTY)
    yield PlacedTable("sample-size", sample_size_table(evidence.sample_size))
    yield PlacedTable("leakage", learned_table(evidence.leakage), folded=True)
    yield PlacedTable("leakage", choices_table(evidence.leakage), folded=True)
    yield PlacedTable("leakage", folds_table(evidence.leakage), folded=True)


def _about_agreement(results: RunResults, evidence: RunEvidence) -> Iterator[PlacedTable]:
    if evidence.agreement is None:
        return
    selected = {feature.name for feature in results.selected_features}
    yield PlacedTable("agreement", agreement_counts_table(evidence.agreement))
    yield PlacedTable("agreement", selected_agreement_table(evidence.agreement, selected))
    yield PlacedTable("agreement", outline_agreement_table(evidence.agreement))


def _columns(evidence: RunEvidence, feature_set: FeatureSet, *, honest: bool = False) -> Columns:
    """Return the samples a model was measured on, honest ones first."""
    samples = SAMPLES[1:] if honest else (*SAMPLES[1:], SAMPLES[0])
    found = ((sample_label(sample), evidence.of(feature_set, sample)) for sample in samples)
    return tuple((label, measured) for label, measured in found if measured is not None)
