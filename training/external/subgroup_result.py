"""The nomogram in kinds of patients that are large enough to be told of, as a typed document."""

from __future__ import annotations

from nodogram.settings import Settings
from training.evidence.sample_result import Method, SampleEvidence
from training.evidence.subgroup_result import SubgroupCharacteristic, SubgroupRow


class ExternalSubgroups(Settings):
    """Levels of at least five patients with and five without the outcome.

    Attributes
    ----------
    characteristics
        With the levels that may be told.
    withheld
        Characteristics and levels that may not, as ``characteristic: levels``.
    node_negative
        Everything about the patients whom the CT report calls free of metastasis; ``None`` with its reason.
    """

    overall: SubgroupRow
    characteristics: tuple[SubgroupCharacteristic, ...]
    withheld: tuple[str, ...]
    node_negative: SampleEvidence | None
    node_negative_reason: str | None
    warning: str
    methods: tuple[Method, ...]
