"""What ``nodogram gate`` decided, read before a bundle is promoted: signed by whom, about which bundles, and with what verdict.

A decision file holds the line of the ledger with the decision and, where a person had to confirm it, that of the approval. A
line is the canonical JSON (sorted keys, no spaces, UTF-8) of ``{"entry": {...}, "seal": {...}}``; the seal is Ed25519's of
the entry's. The figures are the gate's business: here only what a promotion depends on is read.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deploy.errors import PromotionError, Reason

Sha256 = Field(pattern=r"^[0-9a-f]{64}$")
INVALID = Reason.DECISION_INVALID


class _Read(BaseModel):
    """Keys this client does not need are left alone: a newer gate must not make an older client useless."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class _Bundle(_Read):
    digest: str = Sha256


class _Approval(_Read):
    required: bool
    key: str | None


class _Plan(_Read):
    name: str
    version: int
    approval: _Approval


class _Decided(_Read):
    kind: str = Field(pattern="^decision$")
    verdict: str
    champion: _Bundle
    challenger: _Bundle
    plan: _Plan


class _Approved(_Read):
    kind: str = Field(pattern="^approval$")
    verdict: str
    decision: str = Sha256
    challenger: str = Sha256


@dataclass(frozen=True)
class Decision:
    """A promotion that was decided.

    Attributes
    ----------
    digest
        SHA-256 (hex) of the file; of a decision without approval, that of its line in the ledger.
    champion, challenger
        Digests of the bundle the decision replaces, and of the one that may be served.
    plan
        Name and version.
    key, approved_by
        Fingerprints of the keys that signed; ``None`` where nobody had to approve.
    """

    digest: str
    champion: str
    challenger: str
    plan: str
    key: str
    approved_by: str | None


def read_decision(path: Path, trusted: Sequence[Path]) -> Decision:
    """Read a decision file and check that it allows a promotion.

    Parameters
    ----------
    trusted
        Public keys (PEM) of gates whose decisions count. Who may approve is in the decision itself.

    Raises
    ------
    PromotionError
        ``DECISION_INVALID`` if the file was changed, is not signed by a trusted key, or does not say that the
        challenger is promoted; ``FILE_NOT_FOUND``.
    """
    content = _bytes(path)
    try:
        lines = content.decode().splitlines()
        entries = [_entry(line) for line in lines]
        if not 1 <= len(entries) <= 2:
            raise ValueError(f"{len(entries)} lines; a decision is one line, or two with its approval")
        decided = _Decided.model_validate(entries[0][0])
        approved = _Approved.model_validate(entries[1][0]) if len(entries) > 1 else None
    except (ValidationError, ValueError, KeyError, TypeError) as error:
        raise _invalid(path, f"not a decision of nodogram gate: {error}") from error
    signed_by = entries[0][1]
    if signed_by not in {_fingerprint(_public_key(key)) for key in trusted}:
        raise _invalid(path, f"signed with the key {signed_by}, which is none of those trusted")
    approver = None if approved is None else entries[1][1]
    _check_verdict(path, decided, approved, approver, hashlib.sha256(f"{lines[0]}\n".encode()).hexdigest())
    return Decision(
        digest=hashlib.sha256(content).hexdigest(),
        champion=decided.champion.digest,
        challenger=decided.challenger.digest,
        plan=f"{decided.plan.name} {decided.plan.version}",
        key=signed_by,
        approved_by=approver,
    )


def check_promotable(decision: Decision, bundle_digest: str, served_digest: str | None) -> None:
    """Refuse a bundle the decision is not about, or one that would replace another bundle than the one it was compared with.

    Parameters
    ----------
    bundle_digest
        Of the bundle to be promoted.
    served_digest
        Of the bundle served now; ``None`` if none is.

    Raises
    ------
    PromotionError
        ``DECISION_INVALID`` or ``PROMOTION_CONFLICT``.
    """
    if decision.challenger != bundle_digest:
        raise PromotionError(
            INVALID,
            f"the decision is about the bundle {decision.challenger[:12]}, not about {bundle_digest[:12]}; nothing was changed",
        )
    if served_digest not in (decision.champion, decision.challenger):
        raise PromotionError(
            Reason.PROMOTION_CONFLICT,
            f"the decision compares with {decision.champion[:12]}, but {(served_digest or 'nothing')[:12]} is served; "
            "judge the bundle against what is served",
        )


def _check_verdict(path: Path, decided: _Decided, approved: _Approved | None, approver: str | None, line: str) -> None:
    if decided.verdict == "promoted" and approved is None:
        return
    if decided.verdict != "awaiting_approval":
        raise _invalid(path, f"the gate says {decided.verdict}")
    if approved is None:
        raise _invalid(path, "the decision waits for approval: nodogram gate approve LEDGER --key KEY --decision FILE")
    if approver != decided.plan.approval.key:
        raise _invalid(path, f"approved with the key {approver}, which the plan does not name")
    if (approved.decision, approved.challenger) != (line, decided.challenger.digest):
        raise _invalid(path, "the approval is about another decision")
    if approved.verdict != "promoted":
        raise _invalid(path, "the person asked said no")


def _entry(line: str) -> tuple[Any, str]:
    """Return what a line says, and the fingerprint of the key that signed it."""
    document = json.loads(line, object_pairs_hook=_once)
    if set(document) != {"entry", "seal"} or _canonical(document) != line.encode():
        raise ValueError("a line is not written as it was")
    content, seal = _canonical(document["entry"]), document["seal"]
    try:
        key = Ed25519PublicKey.from_public_bytes(_decoded(seal["public_key"]))
        key.verify(_decoded(seal["signature"]), content)
    except InvalidSignature as error:
        raise ValueError("the signature is not one of the content") from error
    if hashlib.sha256(content).hexdigest() != seal["digest"]:
        raise ValueError("the digest is not that of the content")
    return document["entry"]["event"], _fingerprint(key)


def _decoded(text: str) -> bytes:
    content = base64.b64decode(text, validate=True)
    if base64.b64encode(content).decode() != text:
        raise ValueError("base64 is not written as it is encoded")
    return content


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a key that occurs twice: what a reader sees would depend on the reader."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key occurs twice")
    return found


def _canonical(document: Any) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def _fingerprint(key: Ed25519PublicKey) -> str:
    return hashlib.sha256(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()


def _public_key(path: Path) -> Ed25519PublicKey:
    try:
        key = load_pem_public_key(_bytes(path))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _invalid(path, "no Ed25519 public key in PEM") from error
    if not isinstance(key, Ed25519PublicKey):
        raise _invalid(path, "no Ed25519 public key in PEM")
    return key


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise PromotionError(Reason.FILE_NOT_FOUND, f"{path}: {error.strerror}") from error


def _invalid(path: Path, what: str) -> PromotionError:
    return PromotionError(INVALID, f"{path.name}: {what}; nothing was changed")
