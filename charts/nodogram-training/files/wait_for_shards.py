"""Wait until every shard of an extraction has finished, or until the time is over.

A shard has finished when its ``manifest.json`` is there, which is written last. The end of the time is no failure here:
the merge that follows names the shards that are missing. Standard library only.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

MANIFEST = "manifest.json"


def unfinished(out: Path, count: int) -> list[str]:
    """Return the shards without a result, as ``I/N``."""
    return [
        f"{number}/{count}"
        for number in range(1, count + 1)
        if not (out / "shards" / f"{number}-of-{count}" / MANIFEST).is_file()
    ]


def wait(out: Path, count: int, timeout_s: float, interval_s: float) -> list[str]:
    """Wait, saying what for whenever that changes, and return what is still missing."""
    give_up, before = time.monotonic() + timeout_s, None
    while missing := unfinished(out, count):
        if missing != before:
            sys.stderr.write(f"{count - len(missing)} of {count} shards have finished; waiting for {' '.join(missing[:20])}\n")
            sys.stderr.flush()
            before = missing
        if time.monotonic() >= give_up:
            break
        time.sleep(interval_s)
    return missing


def main() -> None:
    """Wait as the arguments say."""
    parser = argparse.ArgumentParser(description="Wait until every shard of an extraction has finished.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--shards", type=int, required=True)
    parser.add_argument("--timeout-s", type=float, required=True)
    parser.add_argument("--interval-s", type=float, default=15.0)
    given = parser.parse_args()
    missing = wait(given.out, given.shards, given.timeout_s, given.interval_s)
    sys.stderr.write(
        f"no longer waiting for {' '.join(missing)}\n" if missing else f"all {given.shards} shards have finished\n"
    )


if __name__ == "__main__":
    main()
