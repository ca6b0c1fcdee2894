"""The seal: whole, changed, signed by whom; checked by routes of others as well."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from example_external import made_up_findings, write_clinical_bundle

from nodogram.bundle import load_bundle
from nodogram.errors import Reason, SettingsError
from training.external.document import ExternalEvaluation
from training.external.findings import make_document
from training.external.signature import (
    fingerprint,
    read_evaluation,
    read_private_key,
    read_public_key,
    sealed_text,
    verify,
)

# RFC 8032, section 7.1, test 1.
KEY = Ed25519PrivateKey.from_private_bytes(bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"))
PUBLIC = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> ExternalEvaluation:
    return make_document(made_up_findings(load_bundle(write_clinical_bundle(tmp_path_factory.mktemp("seal") / "bundle"))))


@pytest.fixture(scope="module")
def signed(document: ExternalEvaluation) -> str:
    return sealed_text(document, KEY)


def test_digest_and_signature_by_hand(signed: str) -> None:
    whole = json.loads(signed)
    content = json.dumps(whole["evaluation"], sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert whole["seal"]["digest"] == hashlib.sha256(content).hexdigest()
    assert base64.b64decode(whole["seal"]["public_key"]).hex() == PUBLIC
    KEY.public_key().verify(base64.b64decode(whole["seal"]["signature"]), content)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl here")
def test_openssl_makes_the_keys_and_agrees_with_the_signature(document: ExternalEvaluation, tmp_path: Path) -> None:
    def openssl(*arguments: str) -> str:
        return subprocess.run(["openssl", *arguments], cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    openssl("genpkey", "-algorithm", "ed25519", "-out", "key.pem")
    openssl("pkey", "-in", "key.pem", "-pubout", "-out", "key.pub")
    text = sealed_text(document, read_private_key(tmp_path / "key.pem"))
    whole = json.loads(text)
    content = json.dumps(whole["evaluation"], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    (tmp_path / "content").write_text(content, encoding="utf-8")
    (tmp_path / "signature").write_bytes(base64.b64decode(whole["seal"]["signature"]))
    check = ("pkeyutl", "-verify", "-pubin", "-inkey", "key.pub", "-rawin", "-in", "content", "-sigfile", "signature")
    assert "Verified Successfully" in openssl(*check)
    found = verify(text, read_public_key(tmp_path / "key.pub"))
    assert (found.status, found.is_trusted) == ("signed", True)


def test_a_document_survives_the_way_there_and_back(document: ExternalEvaluation, signed: str) -> None:
    assert read_evaluation(signed) == document
    assert verify(signed, KEY.public_key()).key == hashlib.sha256(bytes.fromhex(PUBLIC)).hexdigest()
    # Another program may write the same content differently.
    assert verify(json.dumps(json.loads(signed), sort_keys=True), KEY.public_key()).status == "signed"


def test_one_digit_is_enough(signed: str) -> None:
    rng = random.Random(5)
    inside = signed[: signed.index('"seal"')]
    places = [found.start() for found in re.finditer(r"\d", inside)]
    for place in rng.sample(places, 60):
        digit = str((int(signed[place]) + rng.randint(1, 9)) % 10)
        changed = signed[:place] + digit + signed[place + 1 :]
        try:
            before, after = json.loads(signed), json.loads(changed)
        except json.JSONDecodeError:  # such as 05
            continue
        if before == after:  # beyond what a float holds
            continue
        found = verify(changed, None)
        assert (found.status, found.is_trusted) == ("changed", False), place


def test_a_change_with_a_new_digest_is_found_by_the_signature(signed: str) -> None:
    whole = json.loads(signed)
    whole["evaluation"]["bundle"]["development_count"] += 1
    content = json.dumps(whole["evaluation"], sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    whole["seal"]["digest"] = hashlib.sha256(content).hexdigest()
    assert verify(json.dumps(whole), None).status == "changed"
    whole["seal"].update(public_key=None, signature=None)
    assert verify(json.dumps(whole), None).status == "unchanged"
    assert verify(json.dumps(whole), KEY.public_key()).status == "unsigned"
    assert not verify(json.dumps(whole), KEY.public_key()).is_trusted


def test_a_wrong_key_is_found(document: ExternalEvaluation, signed: str) -> None:
    found = verify(signed, OTHER.public_key())
    assert (found.status, found.is_trusted) == ("wrong_key", False)
    assert fingerprint(KEY.public_key()) in found.text
    again = verify(sealed_text(document, OTHER), KEY.public_key())
    assert again.status == "wrong_key"


def test_unsigned_says_what_it_is_worth(document: ExternalEvaluation) -> None:
    found = verify(sealed_text(document, None), None)
    assert (found.status, found.is_trusted, found.key) == ("unchanged", True, None)
    assert "unsigned" in found.text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"evaluation": {}}',
        '{"evaluation": {}, "seal": {"digest": 3}}',
        '{"evaluation": {"a": NaN}, "seal": {"digest": ""}}',
        '{"evaluation": {"a": 1e999}, "seal": {"digest": ""}}',
        '{"evaluation": {"a": 1, "a": 2}, "seal": {"digest": ""}}',
        '{"evaluation": {"a": "\\ud800"}, "seal": {"digest": ""}}',
    ],
)
def test_what_is_no_evaluation_has_a_code(text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        verify(text, None)
    assert caught.value.reason is Reason.UNREADABLE_FILE


def test_an_evaluation_of_another_version_has_a_code(signed: str) -> None:
    whole = json.loads(signed)
    whole["evaluation"]["format_version"] = 2
    with pytest.raises(SettingsError, match="format_version") as caught:
        read_evaluation(json.dumps(whole))
    assert caught.value.reason is Reason.UNREADABLE_FILE


def test_keys_that_are_none_have_codes(tmp_path: Path) -> None:
    pem, pkcs8 = Encoding.PEM, PrivateFormat.PKCS8
    elliptic = generate_private_key(SECP256R1())
    contents = {
        "elliptic": elliptic.private_bytes(pem, pkcs8, NoEncryption()),
        "encrypted": KEY.private_bytes(pem, pkcs8, BestAvailableEncryption(b"word")),
        "public": KEY.public_key().public_bytes(pem, PublicFormat.SubjectPublicKeyInfo),
        "text": b"no key",
    }
    for name, content in contents.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(SettingsError) as caught:
            read_private_key(path)
        assert caught.value.reason is Reason.SETTINGS_INVALID, name
    assert fingerprint(read_public_key(tmp_path / "public")) == fingerprint(KEY.public_key())
    (tmp_path / "other").write_bytes(elliptic.public_key().public_bytes(pem, PublicFormat.SubjectPublicKeyInfo))
    for name in ("other", "text", "encrypted"):
        with pytest.raises(SettingsError) as caught:
            read_public_key(tmp_path / name)
        assert caught.value.reason is Reason.SETTINGS_INVALID, name
    with pytest.raises(SettingsError) as caught:
        read_private_key(tmp_path / "nowhere")
    assert caught.value.reason is Reason.FILE_NOT_FOUND
