"""What a gate decided, with every figure: the documents that stand in the ledger."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from nodogram.settings import Settings
from training.external.document import EvaluatedBundle
from training.gate.plan import GatePlan, Sha256
from training.gate.rules import RuleResult

Verdict = Literal["promoted", "refused", "awaiting_approval"]


class JudgedBundle(Settings):
    """One of the two models.

    Attributes
    ----------
    evaluation_digest, predictions_digest
        SHA-256 (hex) of the files its figures come from.
    """

    name: str
    digest: Sha256
    created: str
    nodogram_version: str
    recipe_name: str
    evaluation_digest: Sha256
    predictions_digest: Sha256

    @classmethod
    def of(cls, bundle: EvaluatedBundle, evaluation_digest: str, predictions_digest: str) -> JudgedBundle:
        """Return what an evaluation says of its bundle."""
        return cls(
            name=bundle.name,
            digest=bundle.digest,
            created=bundle.created,
            nodogram_version=bundle.nodogram_version,
            recipe_name=bundle.recipe_name,
            evaluation_digest=evaluation_digest,
            predictions_digest=predictions_digest,
        )


class JudgedCohort(Settings):
    """The locked test set.

    Attributes
    ----------
    excluded_count
        Patients without a probability of either model.
    """

    title: str
    digest: Sha256
    outcome_name: str
    patient_count: int
    event_count: int
    excluded_count: int


class GateDecision(Settings):
    """The decision about one challenger.

    Attributes
    ----------
    warnings
        Sentences every reader must see first.
    """

    kind: Literal["decision"] = "decision"
    verdict: Verdict
    champion: JudgedBundle
    challenger: JudgedBundle
    cohort: JudgedCohort
    plan: GatePlan
    plan_digest: Sha256
    rules: tuple[RuleResult, ...]
    warnings: tuple[str, ...]
    software: tuple[tuple[str, str], ...]

    @property
    def failures(self) -> tuple[RuleResult, ...]:
        """The rules that stand in the way."""
        return tuple(r for r in self.rules if r.status in ("failed", "undecidable"))


class GateApproval(Settings):
    """A person's word on a decision that waits for it.

    Attributes
    ----------
    decision
        SHA-256 (hex) of the line of the ledger that waits.
    note
        What the person had to say.
    """

    kind: Literal["approval"] = "approval"
    verdict: Literal["promoted", "refused"]
    decision: Sha256
    champion: Sha256
    challenger: Sha256
    note: str = ""


class GateRollback(Settings):
    """The return to the champion before the present one; digests of bundles."""

    kind: Literal["rollback"] = "rollback"
    left: Sha256
    returned_to: Sha256
    note: str = ""


Event = Annotated[GateDecision | GateApproval | GateRollback, Field(discriminator="kind")]


def verdict_of(rules: tuple[RuleResult, ...], plan: GatePlan) -> Verdict:
    """Return what follows from the rules: all of them must hold."""
    if any(rule.status in ("failed", "undecidable") for rule in rules):
        return "refused"
    return "awaiting_approval" if plan.approval.required else "promoted"
