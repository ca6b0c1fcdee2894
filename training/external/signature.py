"""Whether a document is still the one that was written, and by whom: a digest always, an Ed25519 signature on request.

Both are of the canonical JSON (sorted keys, no spaces, UTF-8) of what stands under ``evaluation``, so that anybody can check
them: the digest is its SHA-256, the signature is RFC 8032's, of these very bytes.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key, load_pem_public_key
from pydantic import ValidationError

from nodogram.errors import NodogramError, Reason, SettingsError
from nodogram.settings import Settings, canonical_json
from training.external.document import ExternalEvaluation

EVALUATION, SEAL = "evaluation", "seal"

Status = Literal["unchanged", "signed", "changed", "wrong_key", "unsigned"]


class Seal(Settings):
    """What stands beside the evaluation in its file.

    Attributes
    ----------
    digest
        SHA-256 (hex) of the canonical JSON of the evaluation.
    public_key, signature
        Base64 of the raw Ed25519 public key and signature, or ``None``.
    """

    digest: str
    public_key: str | None = None
    signature: str | None = None


@dataclass(frozen=True)
class Verification:
    """What the check of a file found.

    Attributes
    ----------
    status
        ``unchanged``: the digest fits, nobody signed; ``signed``: digest and signature fit, and so does the key, if one was
        given; ``changed``; ``wrong_key``: whole, but signed by another key than the one given; ``unsigned``: whole, but a key
        was given and nobody signed.
    digest
        SHA-256 (hex) of the content as it is now.
    key
        Fingerprint of the key that signed: SHA-256 (hex) of its 32 bytes.
    text
        The same in a sentence.
    """

    status: Status
    digest: str
    key: str | None
    text: str

    @property
    def is_trusted(self) -> bool:
        """Whether everything that was asked for holds."""
        return self.status in ("unchanged", "signed")


def seal(document: ExternalEvaluation, key: Ed25519PrivateKey | None) -> Seal:
    """Return digest and, with a key, signature of a document."""
    content = canonical_json(document.model_dump(mode="json"))
    digest = hashlib.sha256(content).hexdigest()
    if key is None:
        return Seal(digest=digest)
    return Seal(digest=digest, public_key=_encoded(_raw(key.public_key())), signature=_encoded(key.sign(content)))


def sealed_text(document: ExternalEvaluation, key: Ed25519PrivateKey | None) -> str:
    """Return the text of ``evaluation.json``."""
    whole = {EVALUATION: document.model_dump(mode="json"), SEAL: seal(document, key).model_dump(mode="json")}
    return json.dumps(whole, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def read_private_key(path: Path) -> Ed25519PrivateKey:
    """Read an unencrypted Ed25519 private key in PEM.

    Raises
    ------
    SettingsError
        ``FILE_NOT_FOUND`` or ``SETTINGS_INVALID``.
    """
    try:
        key = load_pem_private_key(_bytes(path), password=None)
    except TypeError as error:
        raise SettingsError(
            Reason.SETTINGS_INVALID, f"{path.name} is encrypted; a key without passphrase is required"
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _no_key(path, "private") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise _no_key(path, "private")
    return key


def read_public_key(path: Path) -> Ed25519PublicKey:
    """Read an Ed25519 public key in PEM.

    Raises
    ------
    SettingsError
        ``FILE_NOT_FOUND`` or ``SETTINGS_INVALID``.
    """
    try:
        key = load_pem_public_key(_bytes(path))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _no_key(path, "public") from error
    if not isinstance(key, Ed25519PublicKey):
        raise _no_key(path, "public")
    return key


def fingerprint(key: Ed25519PublicKey) -> str:
    """Return the SHA-256 (hex) of the 32 bytes of a public key, to compare over the telephone."""
    return hashlib.sha256(_raw(key)).hexdigest()


def verify(text: str, expected: Ed25519PublicKey | None) -> Verification:
    """Recompute the digest of an ``evaluation.json`` and check its signature.

    Parameters
    ----------
    text
        Content of the file.
    expected
        Whose signature is required; ``None`` takes the key in the file for what it is worth.

    Raises
    ------
    SettingsError
        ``UNREADABLE_FILE`` if it is no evaluation at all.
    """
    content, found = _parts(text)
    digest = hashlib.sha256(content).hexdigest()
    if digest != found.digest:
        return Verification("changed", digest, None, f"CHANGED: the content has digest {digest}, sealed was {found.digest}")
    if found.signature is None or found.public_key is None:
        return _without_signature(digest, expected)
    try:
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(found.public_key, validate=True))
        key.verify(base64.b64decode(found.signature, validate=True), content)
    except (InvalidSignature, ValueError, binascii.Error):
        return Verification("changed", digest, None, "CHANGED: the signature is not one of this content by the key in the file")
    name = fingerprint(key)
    if expected is None:
        return Verification(
            "signed", digest, name, f"unchanged since it was signed; compare the fingerprint of the key: {name}"
        )
    if name != fingerprint(expected):
        text = f"NOT SIGNED BY THE KEY GIVEN ({fingerprint(expected)}) but by another: {name}"
        return Verification("wrong_key", digest, name, text)
    return Verification("signed", digest, name, "unchanged since it was signed by the key given")


def _without_signature(digest: str, expected: Ed25519PublicKey | None) -> Verification:
    if expected is None:
        text = "unchanged, but unsigned: whoever changes the content can change the digest as well"
        return Verification("unchanged", digest, None, text)
    return Verification("unsigned", digest, None, "UNSIGNED: a key was given, and nobody signed this file")


def read_evaluation(text: str) -> ExternalEvaluation:
    """Return the evaluation in the text of an ``evaluation.json``, unverified.

    Raises
    ------
    SettingsError
        ``UNREADABLE_FILE`` if it is none, or of a version this software does not read.
    """
    try:
        return ExternalEvaluation.model_validate_json(_parts(text)[0])
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SettingsError(
            Reason.UNREADABLE_FILE, f"not an evaluation this software reads: {where}: {first['msg']}"
        ) from error


def _parts(text: str) -> tuple[bytes, Seal]:
    """Return the canonical JSON of the evaluation, and its seal."""
    try:
        document: Any = json.loads(text, object_pairs_hook=_once)
        if not isinstance(document, dict) or set(document) != {EVALUATION, SEAL}:
            raise ValueError(f"an object of {EVALUATION} and {SEAL} is required")
        return canonical_json(document[EVALUATION]), Seal.model_validate(document[SEAL])
    except ValueError as error:  # of the JSON, of the seal, of a number that is none, or one of ours
        raise SettingsError(Reason.UNREADABLE_FILE, f"not an evaluation: {error}") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a key that occurs twice: what a reader sees would depend on the reader."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key occurs twice")
    return found


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingsError(Reason.FILE_NOT_FOUND, f"{path} cannot be read: {error.strerror}") from error


def _no_key(path: Path, kind: str) -> NodogramError:
    make = {
        "private": "openssl genpkey -algorithm ed25519 -out key.pem",
        "public": "openssl pkey -in key.pem -pubout -out key.pub",
    }[kind]
    return SettingsError(Reason.SETTINGS_INVALID, f"{path.name} holds no Ed25519 {kind} key in PEM; make one: {make}")


def _raw(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()
