"""Stands in for the images in tests of the client: a process that does what its first argument says, as fast as it can."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    behavior = os.environ.get("BEHAVIOR", "succeed")
    say("[1/2] Cohort")
    if behavior == "refuse":
        say("COHORT_TOO_SMALL 12 patients, at least 30 are required")
        return 1
    if behavior == "usage":
        say("Usage: nodogram train ...")
        return 2
    if behavior == "crash":
        return 77
    for number in range(int(os.environ.get("EPOCHS", "3"))):
        say(f"      line {number}")
    if behavior == "wait":
        gate = Path(os.environ["GATE"])
        while not gate.exists():
            time.sleep(0.02)
    if behavior == "once" and not (marker := Path(os.environ["GATE"])).exists():
        # The first attempt hangs until it is taken away; the second goes through.
        marker.touch()
        signal.pause()
    say("[2/2] Bundle")
    digest = os.environ.get("DIGEST", "a" * 64)
    result = {"bundle_digest": digest, "bundle": "/run/bundle", "run": "/run", "a_later_key": 1, "arguments": sys.argv[1:]}
    Path(os.environ["TERMINATION_LOG"]).write_text(json.dumps(result))
    return 0


def fetch() -> int:
    """Stand in for ``nodogram bundle fetch``: refuse what the test says is damaged."""
    digest = sys.argv[sys.argv.index("--digest") + 1]
    if digest in os.environ.get("DAMAGED", ""):
        say(f"BUNDLE_DIGEST_MISMATCH {digest[:12]} is not what is there")
        return 1
    return 0


if __name__ == "__main__":
    if sys.argv[1:3] == ["bundle", "fetch"]:
        sys.exit(fetch())
    if sys.argv[1:2] == ["serve"]:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        while True:
            signal.pause()
    sys.exit(main())
