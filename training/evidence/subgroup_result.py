"""How the nomogram does in kinds of patients, as one typed document."""

from __future__ import annotations

from nodogram.settings import Settings
from training.evidence.sample_result import Measure, Method, SampleEvidence
from training.results import Sample

WARNING = (
    "Subgroups are exploratory. They are small, there are many of them, and some will look better or worse by chance alone. "
    "They can show where to look next; they cannot show that the nomogram works, or fails, in a kind of patient."
)


class SubgroupRow(Settings):
    """One kind of patients.

    Attributes
    ----------
    auc
        DeLong on the logit scale; not given below five patients with or without the outcome.
    sensitivity, specificity
        At the frozen threshold of all patients.
    """

    level: str
    patient_count: int
    event_count: int
    auc: Measure
    sensitivity: Measure
    specificity: Measure
    observed_to_expected: Measure
    in_the_large: Measure


class Gap(Settings):
    """Sensitivity and specificity of a level minus those of the reference level.

    No gap in sensitivity is equal opportunity (Hardt, Price, Srebro 2016): patients with the outcome are found as often in
    either group.
    """

    level: str
    reference: str
    sensitivity: Measure
    specificity: Measure


class HeterogeneityEvidence(Settings):
    """Whether AUCs of the levels differ by more than chance.

    Attributes
    ----------
    levels
        Levels whose AUC could be estimated.
    statistic, degrees_of_freedom, p, i_squared
        Cochran's Q of the logit AUCs.
    adjusted_p
        By Holm over the characteristics of the sample.
    """

    levels: tuple[str, ...]
    statistic: float
    degrees_of_freedom: int
    p: float
    adjusted_p: float
    i_squared: float


class SubgroupCharacteristic(Settings):
    """All levels of one characteristic.

    Attributes
    ----------
    rule
        How the levels were made.
    missing_count
        Patients of whom it is not known.
    gaps
        One for each level but the reference.
    heterogeneity
        ``None`` with its reason.
    """

    name: str
    label: str
    rule: str
    rows: tuple[SubgroupRow, ...]
    missing_count: int
    gaps: tuple[Gap, ...]
    heterogeneity: HeterogeneityEvidence | None
    heterogeneity_reason: str | None


class SubgroupTable(Settings):
    """The nomogram in kinds of patients of one sample.

    Attributes
    ----------
    threshold
        The frozen one, the same in all subgroups.
    overall
        All patients.
    node_negative
        Everything about the patients whom the CT report calls free of metastasis; ``None`` with its reason.
    """

    sample: Sample
    threshold: float
    overall: SubgroupRow
    characteristics: tuple[SubgroupCharacteristic, ...]
    node_negative: SampleEvidence | None
    node_negative_reason: str | None
    warning: str = WARNING
    methods: tuple[Method, ...]
