"""Whether a ledger is the one that was written: every seal, every link, and whether each line follows from those before."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from nodogram.errors import NodogramError
from nodogram.settings import canonical_json
from training.external.signature import fingerprint
from training.gate.decision import GateApproval, GateDecision
from training.gate.ledger import LedgerLine, LedgerState, check_chain, parse_line, read_lines, state_of


@dataclass(frozen=True)
class LedgerCheck:
    """What the check of a ledger found.

    Attributes
    ----------
    problem
        The first thing that is wrong, in a sentence; empty if nothing is.
    keys
        Fingerprints of the keys that signed.
    """

    line_count: int
    problem: str
    state: LedgerState
    keys: tuple[str, ...]

    @property
    def is_whole(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problem


def check_ledger(path: Path, trusted: Sequence[Ed25519PublicKey] = (), head: str | None = None) -> LedgerCheck:
    """Check a ledger from its first line to its last.

    Parameters
    ----------
    trusted
        Keys that may decide and roll back; none takes the keys in the file for what they are worth. Who approves is in the
        plan of the decision.
    head
        Digest of the last line, known from elsewhere: lines taken off the end leave no trace in the rest.

    Raises
    ------
    SettingsError
        ``UNREADABLE_FILE`` if the file cannot be read as lines of text.
    """
    texts = read_lines(path)
    keys: dict[str, None] = {}
    allowed = {fingerprint(key) for key in trusted}
    state = LedgerState()
    try:
        lines = [parse_line(text, number) for number, text in enumerate(texts, 1)]
        problem = _first_bad_seal(lines, keys, allowed)
        check_chain(lines)
        state = state_of(lines)
        if not problem and head is not None and state.head != head:
            problem = f"the last line is {state.head or 'absent'}, {head} was expected: lines were removed or added"
    except NodogramError as error:
        problem = error.message
    return LedgerCheck(len(texts), problem, state, tuple(keys))


def _first_bad_seal(lines: Sequence[LedgerLine], keys: dict[str, None], allowed: set[str]) -> str:
    approvers = {
        line.digest: line.entry.event.plan.approval.key for line in lines if isinstance(line.entry.event, GateDecision)
    }
    for number, line in enumerate(lines, 1):
        name = signer(line)
        if name is None:
            return f"line {number} of the ledger: its signature is not one of its content"
        keys[name] = None
        event = line.entry.event
        if isinstance(event, GateApproval):
            if name != approvers.get(event.decision):
                return f"line {number} of the ledger: approved with the key {name}, which the plan does not name"
        elif allowed and name not in allowed:
            return f"line {number} of the ledger: signed by another key than those given: {name}"
    return ""


def signer(line: LedgerLine) -> str | None:
    """Return the fingerprint of the key that sealed a line, or ``None`` if digest or signature do not fit."""
    content = canonical_json(line.entry.model_dump(mode="json"))
    seal = line.sealed.seal
    if seal.digest != hashlib.sha256(content).hexdigest() or seal.public_key is None or seal.signature is None:
        return None
    try:
        key = Ed25519PublicKey.from_public_bytes(_decoded(seal.public_key))
        key.verify(_decoded(seal.signature), content)
    except (InvalidSignature, ValueError):
        return None
    return fingerprint(key)


def _decoded(text: str) -> bytes:
    """Decode base64 that is written as it is encoded: the spare bits before its padding would be free to change."""
    content = base64.b64decode(text, validate=True)
    if base64.b64encode(content).decode() != text:
        raise ValueError("not as base64 is encoded")
    return content
