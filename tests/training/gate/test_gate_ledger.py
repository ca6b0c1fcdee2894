"""The ledger: every byte counts, every line holds the one before, and outsiders can check both."""

from __future__ import annotations

import base64
import hashlib
import json
import random
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from example_gate import KEY, Story, quick_plan

from nodogram.errors import NodogramError, Reason
from training.external.signature import fingerprint
from training.gate.ledger import append, line_digest, load_state, read_lines, roll_back
from training.gate.ledger_check import check_ledger
from training.gate.run import run_gate

OTHER = Ed25519PrivateKey.from_private_bytes(bytes(range(2, 34)))


@pytest.fixture(scope="module")
def written(story: Story, tmp_path_factory: pytest.TempPathFactory) -> str:
    ledger = tmp_path_factory.mktemp("ledger") / "ledger.jsonl"
    run_gate(story.inputs("better"), quick_plan(), ledger, KEY)
    run_gate(story.inputs("worse", champion="better"), quick_plan(), ledger, KEY)
    roll_back(ledger, KEY)
    return ledger.read_text(encoding="utf-8")


@pytest.fixture
def ledger(written: str, tmp_path: Path) -> Path:
    path = tmp_path / "ledger.jsonl"
    path.write_text(written, encoding="utf-8")
    return path


def is_whole(ledger: Path) -> bool:
    """Tell whether a ledger is whole; one that is no text is not."""
    try:
        return check_ledger(ledger).is_whole
    except NodogramError:
        return False


def test_chain_and_signatures_by_hand(written: str) -> None:
    lines = written.splitlines()
    previous = None
    for number, line in enumerate(lines, 1):
        whole = json.loads(line)
        assert whole["entry"]["sequence"] == number
        assert whole["entry"]["previous"] == previous
        content = json.dumps(whole["entry"], sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        assert whole["seal"]["digest"] == hashlib.sha256(content).hexdigest()
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(whole["seal"]["public_key"]))
        key.verify(base64.b64decode(whole["seal"]["signature"]), content)
        previous = hashlib.sha256(line.encode() + b"\n").hexdigest()
    assert len(lines) == 3


def test_a_whole_ledger_says_who_signed(ledger: Path) -> None:
    found = check_ledger(ledger, [KEY.public_key()])
    assert found.is_whole
    assert found.keys == (fingerprint(KEY.public_key()),)
    assert found.state.head == line_digest(read_lines(ledger)[-1])


def test_any_changed_byte_is_found(ledger: Path) -> None:
    content = ledger.read_bytes()
    chosen = random.Random(5)
    for _ in range(120):
        place = chosen.randrange(len(content) - 1)
        other = chosen.choice([b for b in b'0123456789abcdef "\n' if b != content[place]])
        ledger.write_bytes(content[:place] + bytes([other]) + content[place + 1 :])
        assert not is_whole(ledger), (place, content[place : place + 1], bytes([other]))


def test_spare_bits_of_the_last_signature_are_not_free(ledger: Path) -> None:
    lines = list(read_lines(ledger))
    whole = json.loads(lines[-1])
    signature = whole["seal"]["signature"]
    # Four of the six bits of the last letter stand for nothing.
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    other = alphabet[alphabet.index(signature[-3]) ^ 1]
    whole["seal"]["signature"] = f"{signature[:-3]}{other}=="
    assert base64.b64decode(whole["seal"]["signature"]) == base64.b64decode(signature)
    lines[-1] = json.dumps(whole, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    ledger.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    assert not is_whole(ledger)


@pytest.mark.parametrize("order", [(0, 2), (1, 2), (1, 0, 2), (0, 1, 1, 2), (0, 2, 1)])
def test_lines_removed_swapped_or_repeated_are_found(ledger: Path, order: tuple[int, ...]) -> None:
    lines = read_lines(ledger)
    ledger.write_text("".join(f"{lines[i]}\n" for i in order), encoding="utf-8")
    assert not check_ledger(ledger).is_whole


def test_lines_taken_off_the_end_are_found_by_who_knows_the_head(ledger: Path) -> None:
    head = load_state(ledger).head
    lines = read_lines(ledger)
    assert check_ledger(ledger, head=head).is_whole
    ledger.write_text("".join(f"{line}\n" for line in lines[:2]), encoding="utf-8")
    assert check_ledger(ledger).is_whole
    assert "lines were removed or added" in check_ledger(ledger, head=head).problem


def test_a_line_of_a_stranger_is_found(ledger: Path) -> None:
    roll_back(ledger, OTHER)
    assert check_ledger(ledger).is_whole
    assert fingerprint(OTHER.public_key()) in check_ledger(ledger, [KEY.public_key()]).problem
    assert check_ledger(ledger, [KEY.public_key(), OTHER.public_key()]).is_whole


def test_a_verdict_rewritten_and_signed_again_breaks_the_chain(ledger: Path) -> None:
    lines = list(read_lines(ledger))
    whole = json.loads(lines[0])
    whole["entry"]["written"] = "2020-01-01T00:00:00+00:00"
    content = json.dumps(whole["entry"], sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    whole["seal"]["digest"] = hashlib.sha256(content).hexdigest()
    whole["seal"]["signature"] = base64.b64encode(KEY.sign(content)).decode()
    lines[0] = json.dumps(whole, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    ledger.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    assert "line 2" in check_ledger(ledger, [KEY.public_key()]).problem


def test_a_damaged_ledger_takes_no_more_lines(ledger: Path) -> None:
    content = ledger.read_bytes()
    ledger.write_bytes(content.replace(b'"sequence":2', b'"sequence":7'))
    with pytest.raises(NodogramError, match="line 2"):
        roll_back(ledger, KEY)
    ledger.write_bytes(content[:-40])
    with pytest.raises(NodogramError, match="ends within a line"):
        roll_back(ledger, KEY)
    assert ledger.read_bytes() == content[:-40]


def test_what_cannot_be_made_leaves_the_ledger_as_it_was(ledger: Path) -> None:
    before = ledger.read_bytes()

    def refuse(_: object) -> None:
        raise NodogramError(Reason.RUN_MISMATCH, "no")

    with pytest.raises(NodogramError, match="no"):
        append(ledger, refuse, KEY)  # type: ignore[arg-type]
    assert ledger.read_bytes() == before


def test_a_ledger_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NodogramError) as refused:
        roll_back(tmp_path / "file" / "ledger.jsonl", KEY)
    assert refused.value.reason is Reason.OUTPUT_NOT_WRITABLE
