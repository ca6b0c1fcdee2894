"""Where packages come from on this machine: what pip is told, said to uv, which reads nothing of pip's.

``python -m images.sources`` prints it as a configuration of uv. Only the standard library is needed, and pip.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence

# Of pip's settings, those that say where packages come from, and uv's names for them.
_NAMES = {
    "index-url": "index-url",
    "extra-index-url": "extra-index-url",
    "find-links": "find-links",
    "trusted-host": "allow-insecure-host",
    "proxy": "https-proxy",
    "cert": "system-certs",
}
_SINGLE = ("index-url", "proxy")


def pip_sources() -> dict[str, list[str]]:
    """Return what pip would use here, environment included, without indexes that are folders of this machine.

    Raises
    ------
    RuntimeError
        With what pip said, if it cannot read its configuration.
    """
    listing = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False)
    if listing.returncode:
        raise RuntimeError(f"pip config list exited {listing.returncode}: {listing.stderr.strip()[-500:]}")
    sources: dict[str, list[str]] = {}
    for line in listing.stdout.splitlines():
        key, _, value = line.partition("=")
        name = key.rpartition(".")[2]
        if name in _NAMES:
            known = sources.setdefault(name, [])
            known += [v for v in " ".join(shlex.split(value)).split() if v not in known and not v.startswith("file:")]
    return {name: values for name, values in sources.items() if values}


def pip_configuration(sources: Mapping[str, Sequence[str]]) -> str:
    """Return the sources as a ``pip.conf``."""
    return "[global]\n" + "".join(f"{name} = {' '.join(values)}\n" for name, values in sources.items())


def uv_configuration(sources: Mapping[str, Sequence[str]]) -> str:
    """Return the sources as a ``uv.toml``; certificates of pip's own are taken to be the system's."""
    lines = [f"{_NAMES[name]} = {_toml(name, values)}" for name, values in sources.items()]
    # As pip does: the best release of all indexes, not of the first that has the package.
    lines += ['index-strategy = "unsafe-best-match"'] if "extra-index-url" in sources else []
    return "".join(f"{line}\n" for line in lines)


def _toml(name: str, values: Sequence[str]) -> str:
    if name == "cert":
        return "true"
    # What JSON and TOML write alike.
    return json.dumps(values[-1] if name in _SINGLE else list(values))


if __name__ == "__main__":
    sys.stdout.write(uv_configuration(pip_sources()))
