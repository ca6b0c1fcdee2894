"""Write the bill of materials of an image: every Python distribution and every Debian package, as CycloneDX 1.6 JSON.

``sbom.py NAME VERSION FILE``. The same content gives the same bytes: nothing of the moment or of the machine is in it.

References
----------
ECMA-424, CycloneDX 1.6; Package URL specification, types pypi and deb.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import uuid
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from urllib.parse import quote


def bill_of_materials(name: str, version: str, components: Iterable[dict[str, object]]) -> dict[str, object]:
    """Return the document; its serial number is made of its content."""
    # A distribution may be found twice, such as beside its source.
    unique = {str(c["bom-ref"]): c for c in sorted(components, key=lambda c: json.dumps(c, sort_keys=True))}
    listed = [unique[ref] for ref in sorted(unique)]
    content = json.dumps([name, version, listed], sort_keys=True).encode()
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.UUID(bytes=hashlib.sha256(content).digest()[:16], version=4)}",
        "version": 1,
        "metadata": {"component": {"type": "container", "bom-ref": name, "name": name, "version": version}},
        "components": listed,
    }


def python_components(distributions: Iterable[metadata.Distribution]) -> list[dict[str, object]]:
    """Return a component for each Python distribution."""
    return [_python_component(distribution) for distribution in distributions]


def debian_components(listing: str, distribution: str) -> list[dict[str, object]]:
    """Return a component for each line of ``package version architecture`` (tab-separated, as dpkg-query prints them)."""
    rows = [line.split("\t") for line in listing.splitlines() if line]
    return [
        _component(name, version, f"pkg:deb/{distribution}/{quote(name)}@{quote(version)}?arch={architecture}")
        for name, version, architecture in rows
    ]


def _python_component(distribution: metadata.Distribution) -> dict[str, object]:
    name, version = distribution.metadata["Name"], distribution.version
    normalized = re.sub(r"[-_.]+", "-", name).lower()
    component = _component(name, version, f"pkg:pypi/{normalized}@{quote(version)}")
    expressions = distribution.metadata.get_all("License-Expression")
    if expressions:
        component["licenses"] = [{"expression": expressions[0]}]
    elif names := _license_names(distribution):
        component["licenses"] = [{"license": {"name": name}} for name in names]
    return component


def _component(name: str, version: str, purl: str) -> dict[str, object]:
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def _license_names(distribution: metadata.Distribution) -> list[str]:
    prefix = "License :: "
    classifiers = [c for c in distribution.metadata.get_all("Classifier") or () if c.startswith(prefix)]
    return sorted({c.rsplit(" :: ", 1)[1] for c in classifiers if c != f"{prefix}OSI Approved"})


def _write(name: str, version: str, path: Path) -> None:
    release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    query = ["dpkg-query", "--show", "--showformat", "${Package}\t${Version}\t${Architecture}\n"]
    listing = subprocess.run(query, capture_output=True, text=True, check=True).stdout
    components = [*python_components(metadata.distributions()), *debian_components(listing, release["ID"].strip('"'))]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(bill_of_materials(name, version, components), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    _write(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
