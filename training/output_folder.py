"""The output folder of long work, which belongs to one input: taken when fresh, and again only to go on with the same."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from nodogram.errors import Reason, TrainingError
from training.atomic_file import write_atomically


def claim_output(out: Path, identity: Mapping[str, str], holds: str, *, resume: bool) -> Path:
    """Take an output folder and return the one inside it for what is needed to go on.

    Parameters
    ----------
    identity
        What the work depends on, by what it is called: digests and versions.
    holds
        What such a folder holds, such as ``a run``.
    resume
        Whether work that was begun may go on.

    Raises
    ------
    TrainingError
        ``RUN_EXISTS`` unless it may go on; ``RUN_MISMATCH`` if it was begun with something else.
    """
    work = out / "work"
    stored = work / "identity.json"
    if not stored.is_file():
        work.mkdir(parents=True, exist_ok=True)
        write_atomically(stored, json.dumps(dict(identity)))
        return work
    if not resume:
        raise TrainingError(Reason.RUN_EXISTS, f"{out} holds {holds}; continue it with --resume or choose another --out")
    found = json.loads(stored.read_text(encoding="utf-8"))
    changed = [key for key, value in identity.items() if found.get(key) != value]
    if changed:
        raise TrainingError(Reason.RUN_MISMATCH, f"{out} was begun with another {' and '.join(changed)}; choose another --out")
    return work
