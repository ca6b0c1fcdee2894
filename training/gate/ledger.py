"""The ledger: one signed line per decision, each holding the SHA-256 of the line before; only ever appended to.

A line is the canonical JSON of ``{"entry": {...}, "seal": {...}}``. The seal is Ed25519's over the canonical JSON of the entry.
Whoever appends holds a lock on the file from reading the last line to writing the next, so that of two promotions of the same
champion one comes first and the other is refused.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import ValidationError

from nodogram.errors import NodogramError, Reason, SettingsError, SurroundingsError, TrainingError
from nodogram.settings import Settings, canonical_json
from training.external.signature import Seal
from training.gate.decision import Event, GateApproval, GateDecision, GateRollback

FORMAT_VERSION: Literal[1] = 1


class LedgerEntry(Settings):
    """One entry.

    Attributes
    ----------
    sequence
        1 for the first line.
    previous
        SHA-256 (hex) of the line before with its line feed; ``None`` for the first.
    written
        RFC 3339, UTC.
    """

    format_version: Literal[1] = FORMAT_VERSION
    sequence: int
    previous: str | None
    written: str
    event: Event


class SealedEntry(Settings):
    """One line."""

    entry: LedgerEntry
    seal: Seal


@dataclass(frozen=True)
class LedgerLine:
    """A line as it stands in the file, without its line feed.

    Attributes
    ----------
    digest
        SHA-256 (hex) of text and line feed: what the next line holds, and what names this one.
    """

    text: str
    sealed: SealedEntry

    @property
    def entry(self) -> LedgerEntry:
        """What was decided."""
        return self.sealed.entry

    @property
    def digest(self) -> str:
        """Name of this line."""
        return line_digest(self.text)


@dataclass(frozen=True)
class LedgerState:
    """What a ledger comes down to.

    Attributes
    ----------
    head
        Digest of the last line.
    champion, former
        Digests of the bundle in use and of the one before; ``None`` where the ledger does not say.
    pending
        Decisions that wait for a person, by digest of their line.
    """

    head: str | None = None
    champion: str | None = None
    former: str | None = None
    pending: tuple[tuple[str, GateDecision], ...] = ()

    def after(self, line: LedgerLine) -> LedgerState:
        """Return the state after one more line.

        Raises
        ------
        TrainingError
            ``RUN_MISMATCH`` if the line does not follow from what came before.
        """
        event = line.entry.event
        if isinstance(event, GateDecision):
            return self._after_decision(event, line.digest)
        if isinstance(event, GateApproval):
            return self._after_approval(event, line.digest)
        if (event.left, event.returned_to) != (self.champion, self.former):
            raise _conflict(f"a rollback from {event.left[:12]}… to {event.returned_to[:12]}…", self)
        return LedgerState(line.digest, event.returned_to, event.left, self.pending)

    def _after_decision(self, event: GateDecision, digest: str) -> LedgerState:
        if event.verdict == "refused":
            return LedgerState(digest, self.champion, self.former, self.pending)
        # The first decision says what was in use when the ledger was begun.
        champion = self.champion or event.champion.digest
        if event.champion.digest != champion:
            raise _conflict(f"a decision against the champion {event.champion.digest[:12]}…", self)
        if event.verdict == "awaiting_approval":
            return LedgerState(digest, champion, self.former, (*self.pending, (digest, event)))
        return LedgerState(digest, event.challenger.digest, champion, self.pending)

    def _after_approval(self, event: GateApproval, digest: str) -> LedgerState:
        decision = dict(self.pending).get(event.decision)
        if decision is None or (event.champion, event.challenger) != (decision.champion.digest, decision.challenger.digest):
            raise _conflict(f"an approval of {event.decision[:12]}…, which does not wait for one", self)
        rest = tuple(p for p in self.pending if p[0] != event.decision)
        if event.verdict == "refused":
            return LedgerState(digest, self.champion, self.former, rest)
        if event.champion != self.champion:
            raise _conflict(f"an approval against the champion {event.champion[:12]}…", self)
        return LedgerState(digest, event.challenger, self.champion, rest)


def line_digest(text: str) -> str:
    """Return the SHA-256 (hex) of a line with its line feed, as ``sed -n Np LEDGER | sha256sum`` has it."""
    return hashlib.sha256(f"{text}\n".encode()).hexdigest()


def read_lines(path: Path) -> tuple[str, ...]:
    """Return the lines of a ledger, unparsed; none if there is no file.

    Raises
    ------
    SettingsError
        ``UNREADABLE_FILE``, also if the last line was cut off.
    """
    try:
        return _split(path.read_bytes(), path)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise SettingsError(Reason.UNREADABLE_FILE, f"{path} cannot be read: {error.strerror}") from error


def parse_line(text: str, number: int) -> LedgerLine:
    """Parse one line, which must be written as this software writes it, to the last byte.

    Raises
    ------
    SettingsError
        ``UNREADABLE_FILE``, naming the line.
    """
    try:
        line = LedgerLine(text, SealedEntry.model_validate(json.loads(text)))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise _unreadable(number, f"{where}: {first['msg']}") from error
    except ValueError as error:
        raise _unreadable(number, str(error)) from error
    if _text_of(line.sealed) != text:
        raise _unreadable(number, "it is not written as it was")
    return line


def state_of(lines: Sequence[LedgerLine]) -> LedgerState:
    """Follow a ledger from its first line to its last."""
    state = LedgerState()
    for line in lines:
        state = state.after(line)
    return state


def load_state(path: Path) -> LedgerState:
    """Return the state of a ledger; whether it was changed is for :func:`training.gate.ledger_check.check_ledger` to say."""
    return state_of([parse_line(text, i) for i, text in enumerate(read_lines(path), 1)])


def append(path: Path, make: Callable[[LedgerState], Event], key: Ed25519PrivateKey) -> LedgerLine:
    """Append one signed line, made of the state it follows.

    Parameters
    ----------
    make
        Given the state of the ledger while it is locked; whatever it raises leaves the ledger as it is.
    key
        Signs the line.

    Raises
    ------
    TrainingError
        ``RUN_MISMATCH`` if what is to be appended does not follow from the ledger: another decision came first.
    SettingsError
        ``UNREADABLE_FILE`` if the ledger is damaged.
    SurroundingsError
        ``OUTPUT_NOT_WRITABLE``.
    """
    with _locked(path) as descriptor:
        texts = _split(_all_bytes(descriptor), path)
        lines = [parse_line(text, i) for i, text in enumerate(texts, 1)]
        check_chain(lines)
        state = state_of(lines)
        entry = LedgerEntry(
            sequence=len(lines) + 1,
            previous=state.head,
            written=datetime.now(UTC).isoformat(timespec="seconds"),
            event=make(state),
        )
        sealed = SealedEntry(entry=entry, seal=_seal(entry, key))
        line = LedgerLine(_text_of(sealed), sealed)
        state.after(line)
        _write(descriptor, f"{line.text}\n".encode(), path)
    return line


def roll_back(path: Path, key: Ed25519PrivateKey, note: str = "") -> LedgerLine:
    """Record the return to the champion before the present one; a second rollback undoes the first.

    Raises
    ------
    TrainingError
        ``RUN_MISMATCH`` if there was no champion before.
    """

    def make(state: LedgerState) -> Event:
        if state.champion is None or state.former is None:
            raise TrainingError(Reason.RUN_MISMATCH, f"{path.name} knows no champion before the present one to go back to")
        return GateRollback(left=state.champion, returned_to=state.former, note=note)

    return append(path, make, key)


def check_chain(lines: Sequence[LedgerLine]) -> None:
    """Check that every line holds the digest of the one before, and its own number.

    Raises
    ------
    SettingsError
        ``UNREADABLE_FILE``, naming the first line that does not follow.
    """
    previous: str | None = None
    for number, line in enumerate(lines, 1):
        if line.entry.sequence != number or line.entry.previous != previous:
            raise _unreadable(number, "it does not follow the line before it: one was changed, removed or inserted")
        previous = line.digest


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    except OSError as error:
        raise _not_writable(path, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)  # gives the lock back


def _all_bytes(descriptor: int) -> bytes:
    size = os.fstat(descriptor).st_size
    return os.pread(descriptor, size, 0)


def _write(descriptor: int, content: bytes, path: Path) -> None:
    """Append all bytes and wait for the disk; a part of a line is taken back."""
    before = os.fstat(descriptor).st_size
    try:
        written = os.write(descriptor, content)
        if written != len(content):
            raise OSError(28, "the line did not fit")
        os.fsync(descriptor)
    except OSError as error:
        os.ftruncate(descriptor, before)
        raise _not_writable(path, error) from error


def _split(content: bytes, path: Path) -> tuple[str, ...]:
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise SettingsError(Reason.UNREADABLE_FILE, f"{path.name} is not UTF-8 text: {error}") from error
    if text and not text.endswith("\n"):
        raise SettingsError(
            Reason.UNREADABLE_FILE,
            f"{path.name} ends within a line: what follows the last line feed was cut off and is no entry",
        )
    return tuple(text.split("\n")[:-1])


def _seal(entry: LedgerEntry, key: Ed25519PrivateKey) -> Seal:
    content = canonical_json(entry.model_dump(mode="json"))
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return Seal(
        digest=hashlib.sha256(content).hexdigest(),
        public_key=base64.b64encode(public).decode(),
        signature=base64.b64encode(key.sign(content)).decode(),
    )


def _text_of(sealed: SealedEntry) -> str:
    document: Any = sealed.model_dump(mode="json")
    return canonical_json(document).decode()


def _conflict(what: str, state: LedgerState) -> NodogramError:
    now = "unknown" if state.champion is None else f"{state.champion[:12]}…"
    return TrainingError(
        Reason.RUN_MISMATCH, f"{what} does not follow from the ledger, where the champion is {now}: another decision came first"
    )


def _unreadable(number: int, what: str) -> SettingsError:
    return SettingsError(Reason.UNREADABLE_FILE, f"line {number} of the ledger: {what}")


def _not_writable(path: Path, error: OSError) -> SurroundingsError:
    return SurroundingsError(Reason.OUTPUT_NOT_WRITABLE, f"{path} cannot be written: {error.strerror}")
