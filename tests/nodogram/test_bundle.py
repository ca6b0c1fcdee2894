"""A bundle on disk refuses every kind of damage with its own reason."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from sealed_bundle import write_sealed_bundle

from nodogram.bundle import BundleManifest, list_files, load_bundle, manifest_differences, read_manifest
from nodogram.errors import BundleError, Reason
from nodogram.self_test import reproduce


@pytest.fixture
def bundle(tiny_run: Path, tmp_path: Path) -> Path:
    shutil.copytree(tiny_run / "bundle", tmp_path / "bundle")
    return tmp_path / "bundle"


def seal(folder: Path, change: Callable[[dict], None]) -> None:
    """Change the manifest and make its digests true again, as a forger or a newer version would."""
    path = folder / "bundle.json"
    document = json.loads(path.read_text())
    document["files"] = list_files(folder)
    change(document)
    if set(document) == set(BundleManifest.model_fields):
        document["digest"] = BundleManifest.model_validate(document).content_digest()
    path.write_text(json.dumps(document))


def flip_byte(folder: Path) -> None:
    file = next(iter(sorted(folder.glob("dlr-*"))))
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def edit_manifest(folder: Path) -> None:
    path = folder / "bundle.json"
    path.write_text(path.read_text().replace('"seed": ', '"seed": 1'))


def foreign_pyradiomics(folder: Path) -> None:
    path = folder / "radiomics.json"
    path.write_text(path.read_text().replace('"pyradiomics_version": "', '"pyradiomics_version": "v9.'))
    seal(folder, lambda _: None)


DAMAGE: dict[str, tuple[Callable[[Path], object], Reason]] = {
    "no manifest": (lambda f: (f / "bundle.json").unlink(), Reason.BUNDLE_NOT_FOUND),
    "not JSON": (lambda f: (f / "bundle.json").write_text("{"), Reason.BUNDLE_MANIFEST_INVALID),
    "a file missing": (lambda f: (f / "nomogram.json").unlink(), Reason.BUNDLE_FILE_MISSING),
    "a file added": (lambda f: (f / "extra.py").write_text("import os"), Reason.BUNDLE_FILE_UNLISTED),
    "a byte flipped": (flip_byte, Reason.BUNDLE_DIGEST_MISMATCH),
    "manifest edited": (edit_manifest, Reason.BUNDLE_DIGEST_MISMATCH),
    "unknown key": (lambda f: seal(f, lambda d: d.update(color="red")), Reason.BUNDLE_MANIFEST_INVALID),
    "newer format": (lambda f: seal(f, lambda d: d.update(format_version=2)), Reason.BUNDLE_FORMAT_UNSUPPORTED),
    "other PyRadiomics": (foreign_pyradiomics, Reason.BUNDLE_SOFTWARE_MISMATCH),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_refused_with_its_own_reason(bundle: Path, damage: str) -> None:
    harm, reason = DAMAGE[damage]
    load_bundle(bundle)
    harm(bundle)
    with pytest.raises(BundleError) as caught:
        load_bundle(bundle)
    assert caught.value.reason is reason


def test_known_answers_are_reproduced_from_a_tar(bundle: Path, tmp_path: Path) -> None:
    archive = tmp_path / "bundle.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(bundle, arcname="bundle")
    results = list(reproduce(load_bundle(archive)))
    assert len(results) == 2
    assert max(r.probability_difference for r in results) < 1e-6


def test_nothing_unpacked_stays_behind(tmp_path: Path) -> None:
    write_sealed_bundle(tmp_path / "bundle")
    with tarfile.open(tmp_path / "bundle.tar", "w") as tar:
        tar.add(tmp_path / "bundle", arcname="bundle")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    command = [sys.executable, "-m", "nodogram", "bundle", "show", str(tmp_path / "bundle.tar")]
    environment = {**os.environ, "TMPDIR": str(scratch)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=environment)
    # It was unpacked, and read as far as a file that a sealed bundle lacks.
    assert "BUNDLE_FILE_MISSING dlr.json" in done.stderr
    assert not list(scratch.glob("nodogram-bundle-*"))


def test_a_model_that_computes_something_else_fails_its_known_answers(bundle: Path) -> None:
    path = bundle / "nomogram.json"
    document = json.loads(path.read_text())
    document["intercept"] += 0.5
    path.write_text(json.dumps(document))
    seal(bundle, lambda _: None)
    with pytest.raises(BundleError) as caught:
        list(reproduce(load_bundle(bundle)))
    assert caught.value.reason is Reason.BUNDLE_KNOWN_ANSWER_FAILED


def test_differences_name_the_keys(bundle: Path) -> None:
    before = read_manifest(bundle)
    seal(bundle, lambda d: d["training"].update(seed=3))
    assert [key for key, _, _ in manifest_differences(before, read_manifest(bundle))] == ["training.seed"]
