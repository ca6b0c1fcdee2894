"""The gate, top to bottom: two evaluations and a plan in, one signed line of the ledger out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from nodogram.bundle import load_bundle
from nodogram.errors import Reason, SettingsError, TrainingError
from training.external.findings import software_versions
from training.external.signature import fingerprint
from training.gate.decision import Event, GateApproval, GateDecision, JudgedBundle, JudgedCohort, verdict_of
from training.gate.ledger import LedgerLine, LedgerState, append, parse_line, read_lines
from training.gate.paired import EvaluatedModel, PairedPredictions, pair, read_evaluated
from training.gate.plan import GatePlan
from training.gate.rules import RuleResult, judge, self_test
from training.gate.subgroups import read_subgroups


@dataclass(frozen=True)
class GateInputs:
    """What is judged.

    Attributes
    ----------
    champion, challenger
        Folders of ``nodogram evaluate`` on the locked test set.
    bundle
        Of the challenger, for its self-test.
    cohort
        The locked test set; ``None`` where the plan declares no subgroup.
    evaluation_key
        Whose signature both evaluations must carry; ``None`` asks for none.
    """

    champion: Path
    challenger: Path
    bundle: Path
    cohort: Path | None = None
    evaluation_key: Ed25519PublicKey | None = None


def run_gate(inputs: GateInputs, plan: GatePlan, ledger: Path, key: Ed25519PrivateKey) -> LedgerLine:
    """Judge a challenger and append the decision to the ledger.

    Raises
    ------
    NodogramError
        With the reason why nothing can be judged; a rule that fails is a decision and no error. ``RUN_MISMATCH`` also if the
        challenger would be promoted over a bundle that is the champion no longer.
    """
    decision = decide(inputs, plan)
    return append(ledger, lambda _: decision, key)


def decide(inputs: GateInputs, plan: GatePlan) -> GateDecision:
    """Judge a challenger.

    Raises
    ------
    NodogramError
        With the reason why nothing can be judged.
    """
    champion = read_evaluated(inputs.champion, inputs.evaluation_key)
    challenger = read_evaluated(inputs.challenger, inputs.evaluation_key)
    paired = pair(champion, challenger)
    document = challenger.document
    if plan.cohort_digest is not None and document.cohort.digest != plan.cohort_digest:
        raise TrainingError(
            Reason.RUN_MISMATCH,
            f"the plan locks the cohort {plan.cohort_digest[:12]}…, both were evaluated on {document.cohort.digest[:12]}…",
        )
    bundle = load_bundle(inputs.bundle, threads=1)
    if bundle.digest != document.bundle.digest:
        raise TrainingError(
            Reason.RUN_MISMATCH,
            f"the bundle given is {bundle.digest[:12]}…, the challenger evaluated is {document.bundle.digest[:12]}…",
        )
    subgroups = read_subgroups(inputs.cohort, bundle.manifest, document.cohort.digest, paired, plan)
    rules = (*judge(paired, subgroups, plan), self_test(bundle))
    return _decision(champion, challenger, paired, plan, rules)


def approve(
    ledger: Path, key: Ed25519PrivateKey, *, decision: str | None = None, reject: bool = False, note: str = ""
) -> LedgerLine:
    """Confirm or reject a decision that waits for a person.

    Parameters
    ----------
    key
        The one the plan of the decision names.
    decision
        Digest of the line that waits, or its beginning; ``None`` takes the only one.

    Raises
    ------
    TrainingError
        ``RUN_MISMATCH`` if nothing waits, several do, or the champion is another by now.
    SettingsError
        ``SETTINGS_INVALID`` if the plan names another key.
    """

    def make(state: LedgerState) -> Event:
        waiting = [(name, found) for name, found in state.pending if name.startswith(decision or "")]
        if len(waiting) != 1:
            raise TrainingError(
                Reason.RUN_MISMATCH, f"{len(waiting)} decisions wait for approval here; name one of them by its digest"
            )
        name, found = waiting[0]
        own = fingerprint(key.public_key())
        if own != found.plan.approval.key:
            raise SettingsError(
                Reason.SETTINGS_INVALID, f"this key has the fingerprint {own}, the plan names {found.plan.approval.key}"
            )
        return GateApproval(
            verdict="refused" if reject else "promoted",
            decision=name,
            champion=found.champion.digest,
            challenger=found.challenger.digest,
            note=note,
        )

    return append(ledger, make, key)


def decision_file(ledger: Path, line: LedgerLine) -> str:
    """Return what ``nodogram deploy promote --decision`` reads: the decision, and its approval if it has one."""
    event = line.entry.event
    if not isinstance(event, GateApproval):
        return f"{line.text}\n"
    lines = (parse_line(text, number) for number, text in enumerate(read_lines(ledger), 1))
    decided = next(found for found in lines if found.digest == event.decision)
    return f"{decided.text}\n{line.text}\n"


def _decision(
    champion: EvaluatedModel,
    challenger: EvaluatedModel,
    paired: PairedPredictions,
    plan: GatePlan,
    rules: tuple[RuleResult, ...],
) -> GateDecision:
    judged = [
        JudgedBundle.of(model.document.bundle, model.document_digest, model.predictions_digest)
        for model in (champion, challenger)
    ]
    cohort = challenger.document.cohort
    return GateDecision(
        verdict=verdict_of(rules, plan),
        champion=judged[0],
        challenger=judged[1],
        cohort=JudgedCohort(
            title=cohort.title,
            digest=cohort.digest,
            outcome_name=cohort.outcome_name,
            patient_count=paired.patient_count,
            event_count=paired.event_count,
            excluded_count=paired.excluded_count,
        ),
        plan=plan,
        plan_digest=plan.digest(),
        rules=rules,
        warnings=_warnings(champion, challenger, paired, plan),
        software=software_versions(),
    )


def _warnings(
    champion: EvaluatedModel, challenger: EvaluatedModel, paired: PairedPredictions, plan: GatePlan
) -> tuple[str, ...]:
    notes = list(dict.fromkeys((*champion.document.warnings, *challenger.document.warnings)))
    if plan.cohort_digest is None:
        notes.append("The plan locks no test set: whoever chose the cohort may have seen figures before.")
    if paired.excluded_count:
        notes.append(
            f"{paired.excluded_count} patients of the cohort have no probability of either model and were not judged on."
        )
    if not plan.subgroups.declared:
        notes.append("The plan declares no subgroup: a loss in one kind of patients would not be noticed.")
    return tuple(notes)
