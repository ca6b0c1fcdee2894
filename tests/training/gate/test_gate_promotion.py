"""What the gate writes, the cluster client reads: it promotes what was decided, and nothing else."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from example_gate import APPROVER, KEY, Story, quick_plan

from deploy.decision import check_promotable, read_decision
from deploy.errors import PromotionError, Reason
from training.external.signature import fingerprint
from training.gate.ledger import LedgerLine
from training.gate.plan import GatePlan
from training.gate.run import approve, decision_file, run_gate

STRANGER = Ed25519PrivateKey.from_private_bytes(bytes(range(3, 35)))


def public(folder: Path, key: Ed25519PrivateKey, name: str = "gate.pub") -> Path:
    path = folder / name
    path.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return path


def decided(story: Story, folder: Path, name: str, plan: GatePlan | None = None) -> LedgerLine:
    return run_gate(story.inputs(name), plan or quick_plan(), folder / "ledger.jsonl", KEY)


def written(folder: Path, text: str) -> Path:
    path = folder / "decision.json"
    path.write_text(text, encoding="utf-8")
    return path


def approval_plan() -> GatePlan:
    return quick_plan(approval={"required": True, "key": fingerprint(APPROVER.public_key())})


def signed_again(text: str, key: Ed25519PrivateKey, **changes: Any) -> str:
    """Return a line with another content and a signature that fits it."""
    whole = json.loads(text)
    whole["entry"]["event"] |= changes
    content = json.dumps(whole["entry"], sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    whole["seal"] = {
        "digest": hashlib.sha256(content).hexdigest(),
        "public_key": base64.b64encode(raw).decode(),
        "signature": base64.b64encode(key.sign(content)).decode(),
    }
    return json.dumps(whole, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def test_a_promotion_is_read_as_it_was_decided(story: Story, tmp_path: Path) -> None:
    line = decided(story, tmp_path, "better")
    found = read_decision(written(tmp_path, decision_file(tmp_path / "ledger.jsonl", line)), [public(tmp_path, KEY)])
    assert found.champion == story.digest("champion")
    assert found.challenger == story.digest("better")
    assert found.plan == "default 1"
    assert found.key == fingerprint(KEY.public_key())
    assert found.approved_by is None
    # What a promotion notes beside the bundle is the name of the line in the ledger.
    assert found.digest == line.digest


def test_a_refusal_promotes_nothing(story: Story, tmp_path: Path) -> None:
    line = decided(story, tmp_path, "worse")
    with pytest.raises(PromotionError, match="the gate says refused"):
        read_decision(written(tmp_path, f"{line.text}\n"), [public(tmp_path, KEY)])


def test_only_trusted_gates_count(story: Story, tmp_path: Path) -> None:
    line = decided(story, tmp_path, "better")
    forged = written(tmp_path, signed_again(line.text, STRANGER) + "\n")
    with pytest.raises(PromotionError, match="none of those trusted"):
        read_decision(forged, [public(tmp_path, KEY)])
    with pytest.raises(PromotionError, match="none of those trusted"):
        read_decision(forged, [])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"refused"', '"promoted"'),
        ('"sequence":1', '"sequence":2'),
        ('"entry":', '"entry": '),
        ('"kind":', '"kind":"x","kind":'),
    ],
)
def test_a_changed_file_is_refused(story: Story, tmp_path: Path, old: str, new: str) -> None:
    line = decided(story, tmp_path, "worse")
    assert old in line.text
    with pytest.raises(PromotionError, match="not a decision of nodogram gate"):
        read_decision(written(tmp_path, line.text.replace(old, new) + "\n"), [public(tmp_path, KEY)])


def test_approval_must_be_there_and_by_the_person_named(story: Story, tmp_path: Path) -> None:
    line = decided(story, tmp_path, "better", approval_plan())
    trusted = [public(tmp_path, KEY)]
    with pytest.raises(PromotionError, match="waits for approval"):
        read_decision(written(tmp_path, f"{line.text}\n"), trusted)
    confirmed = approve(tmp_path / "ledger.jsonl", APPROVER)
    both = decision_file(tmp_path / "ledger.jsonl", confirmed)
    assert read_decision(written(tmp_path, both), trusted).approved_by == fingerprint(APPROVER.public_key())
    by_the_gate = f"{line.text}\n{signed_again(confirmed.text, KEY)}\n"
    with pytest.raises(PromotionError, match="which the plan does not name"):
        read_decision(written(tmp_path, by_the_gate), trusted)
    of_another = f"{line.text}\n{signed_again(confirmed.text, APPROVER, decision='0' * 64)}\n"
    with pytest.raises(PromotionError, match="about another decision"):
        read_decision(written(tmp_path, of_another), trusted)
    rejected = f"{line.text}\n{signed_again(confirmed.text, APPROVER, verdict='refused')}\n"
    with pytest.raises(PromotionError, match="said no"):
        read_decision(written(tmp_path, rejected), trusted)


def test_the_decision_holds_for_its_bundle_and_its_champion(story: Story, tmp_path: Path) -> None:
    line = decided(story, tmp_path, "better")
    found = read_decision(written(tmp_path, f"{line.text}\n"), [public(tmp_path, KEY)])
    check_promotable(found, found.challenger, found.champion)
    check_promotable(found, found.challenger, found.challenger)  # repeated after an interruption
    with pytest.raises(PromotionError, match="the decision is about the bundle"):
        check_promotable(found, story.digest("equal"), found.champion)
    for served in (story.digest("worse"), None):
        with pytest.raises(PromotionError) as refused:
            check_promotable(found, found.challenger, served)
        assert refused.value.reason is Reason.PROMOTION_CONFLICT


@pytest.mark.parametrize("text", ["", "{}\n", "[]\n", "no json\n", '{"entry":{},"seal":{}}\n', "\udcff"])
def test_what_is_no_decision_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "decision.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(PromotionError, match="not a decision of nodogram gate"):
        read_decision(path, [public(tmp_path, KEY)])


def test_files_that_are_absent_are_named(tmp_path: Path) -> None:
    with pytest.raises(PromotionError) as refused:
        read_decision(tmp_path / "decision.json", [])
    assert refused.value.reason is Reason.FILE_NOT_FOUND
