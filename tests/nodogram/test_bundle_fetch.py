"""A bundle is fetched whole or not at all, and only the one that was asked for, wherever it is kept."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import pytest
from sealed_bundle import write_sealed_bundle
from small_registry import TOKEN, Fault, SmallRegistry, digest_of, running_registry

from nodogram.bundle import check_files, list_files, read_manifest
from nodogram.bundle_fetch import archive, fetch_bundle, parse_digest
from nodogram.errors import NodogramError, Reason


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "kept here" / "bundle"
    write_sealed_bundle(folder)
    return folder


@pytest.fixture
def digest(bundle: Path) -> str:
    return read_manifest(bundle).digest


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "volume" / "model"


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[SmallRegistry]:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    with running_registry() as running:
        yield running


@pytest.fixture
def memory() -> Iterator[fsspec.AbstractFileSystem]:
    store = fsspec.filesystem("memory")
    yield store
    store.rm("/", recursive=True)


def tar_of(folder: Path, name: str = "bundle", mode: str = "w") -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode=mode) as tar:
        tar.add(folder, arcname=name)
    return content.getvalue()


def refused(uri: str | Path, digest: str, out: Path, reason: Reason, match: str = ".", *, replace: bool = False) -> None:
    """Fetching fails with this reason and leaves nothing but the lock file behind."""
    before = read_manifest(out).digest if (out / "bundle.json").is_file() else None
    with pytest.raises(NodogramError, match=match) as caught:
        fetch_bundle(str(uri), digest, out, replace=replace)
    assert caught.value.reason is reason, caught.value
    assert (read_manifest(out).digest if before else None) == before
    assert {p.name for p in out.parent.glob("*")} <= {f".{out.name}.lock", out.name}
    assert before or not out.exists()


def holds(out: Path, bundle: Path) -> bool:
    check_files(out, read_manifest(out))
    return list_files(out) == list_files(bundle) and (out / "bundle.json").read_bytes() == (bundle / "bundle.json").read_bytes()


# --- where bundles are kept


@pytest.mark.parametrize("name", ["bundle", "", "."])
@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_tars_with_and_without_a_folder_at_the_top(bundle: Path, digest: str, out: Path, name: str, mode: str) -> None:
    path = out.parent.parent / "b.tar"
    path.write_bytes(tar_of(bundle, name, mode))
    fetched = fetch_bundle(str(path), digest, out)
    assert (fetched.folder, fetched.digest, fetched.name, fetched.was_there) == (out, digest, "sealed", False)
    assert holds(out, bundle)


def test_folder_by_path_and_by_file_uri(bundle: Path, digest: str, out: Path) -> None:
    fetch_bundle(str(bundle), digest, out)
    other = out.with_name("other")
    uri = bundle.as_uri()
    assert "%20" in uri
    fetch_bundle(uri, f"SHA256:{digest}".replace("SHA", "sha"), other)
    assert holds(out, bundle)
    assert holds(other, bundle)


def test_folder_and_tar_in_an_object_store(bundle: Path, digest: str, out: Path, memory: fsspec.AbstractFileSystem) -> None:
    memory.put(str(bundle), "/models/one", recursive=True)
    memory.pipe("/models/one.tar", tar_of(bundle))
    for number, uri in enumerate(("memory://models/one", "memory://models/one/", "memory://models/one.tar")):
        target = out.with_name(f"model-{number}")
        fetch_bundle(uri, digest, target)
        assert holds(target, bundle)
    local = out.with_name("local")
    fetch_bundle(f"local://{bundle}", digest, local)
    assert holds(local, bundle)


def test_what_lies_beside_a_bundle_in_a_store_is_not_fetched(
    bundle: Path, digest: str, out: Path, memory: fsspec.AbstractFileSystem
) -> None:
    memory.put(str(bundle), "/models/one", recursive=True)
    memory.pipe("/models/one/_SUCCESS", b"")
    fetch_bundle("memory://models/one", digest, out)
    assert holds(out, bundle)


def test_artifact_by_tag_and_by_digest(bundle: Path, digest: str, out: Path, registry: SmallRegistry) -> None:
    version = registry.push("2025.1", tar_of(bundle))
    repository = f"oci://{registry.host}/models/nodogram"
    for number, reference in enumerate((":2025.1", f"@{version}", f":other@{version}")):
        target = out.with_name(f"model-{number}")
        fetch_bundle(repository + reference, digest, target)
        assert holds(target, bundle)


# --- the one that was asked for


def test_done_at_once_if_it_is_there(bundle: Path, digest: str, out: Path) -> None:
    fetch_bundle(str(bundle), digest, out)
    shutil.rmtree(bundle)
    assert fetch_bundle(str(bundle), digest, out).was_there


def test_another_bundle_is_refused_before_it_is_downloaded(bundle: Path, out: Path, memory: fsspec.AbstractFileSystem) -> None:
    memory.pipe("/models/one/bundle.json", (bundle / "bundle.json").read_bytes())
    refused("memory://models/one", "0" * 64, out, Reason.BUNDLE_DIGEST_MISMATCH, "000000000000… was asked for")
    archive_path = out.parent.parent / "b.tar"
    archive_path.write_bytes(tar_of(bundle))
    refused(archive_path, "0" * 64, out, Reason.BUNDLE_DIGEST_MISMATCH)


def flip_byte(folder: Path) -> None:
    content = bytearray((folder / "backbone.onnx").read_bytes())
    content[1000] ^= 1
    (folder / "backbone.onnx").write_bytes(content)


def edit_manifest(folder: Path) -> None:
    text = (folder / "bundle.json").read_text()
    (folder / "bundle.json").write_text(text.replace('"intended_use": "tests"', '"intended_use": "patients"'))


DAMAGE: dict[str, tuple[Callable[[Path], object], Reason, Reason]] = {
    # What is done to the bundle, what is found in a folder, what in a tar.
    "a byte flipped": (flip_byte, Reason.BUNDLE_DIGEST_MISMATCH, Reason.BUNDLE_DIGEST_MISMATCH),
    "manifest edited": (edit_manifest, Reason.BUNDLE_DIGEST_MISMATCH, Reason.BUNDLE_DIGEST_MISMATCH),
    "a file gone": (lambda f: (f / "nomogram.json").unlink(), Reason.BUNDLE_NOT_FOUND, Reason.BUNDLE_FILE_MISSING),
    "manifest gone": (lambda f: (f / "bundle.json").unlink(), Reason.BUNDLE_NOT_FOUND, Reason.BUNDLE_NOT_FOUND),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_refused(bundle: Path, digest: str, out: Path, damage: str) -> None:
    harm, in_folder, in_tar = DAMAGE[damage]
    harm(bundle)
    refused(bundle, digest, out, in_folder)
    path = out.parent.parent / "b.tar"
    path.write_bytes(tar_of(bundle))
    refused(path, digest, out, in_tar)


def test_a_file_more_in_a_tar_is_refused(bundle: Path, digest: str, out: Path) -> None:
    (bundle / "extra.py").write_text("import os")
    path = out.parent.parent / "b.tar"
    path.write_bytes(tar_of(bundle))
    refused(path, digest, out, Reason.BUNDLE_FILE_UNLISTED, "extra.py")


def test_a_manifest_cannot_name_files_elsewhere(bundle: Path, out: Path) -> None:
    document = json.loads((bundle / "bundle.json").read_text())
    document["files"]["../../stolen"] = "0" * 64
    manifest = type(read_manifest(bundle)).model_validate(document)
    document["digest"] = manifest.content_digest()
    (bundle / "bundle.json").write_text(json.dumps(document))
    (bundle.parent.parent / "stolen").write_text("secret")
    refused(bundle, document["digest"], out, Reason.BUNDLE_MANIFEST_INVALID, "outside the bundle")


# --- archives nobody should have made


def entry(name: str, kind: bytes = tarfile.REGTYPE, target: str = "", content: bytes = b"x") -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    member.size = len(content) if kind == tarfile.REGTYPE else 0
    return member, content


HOSTILE = {
    "parent": entry("bundle/../../evil"),
    "absolute": entry("/evil"),
    "of another system": entry("..\\evil"),
    "drive": entry("c:evil"),
    "symbolic link": entry("bundle/link", tarfile.SYMTYPE, "/etc"),
    "hard link": entry("bundle/link", tarfile.LNKTYPE, "bundle/bundle.json"),
    "device": entry("bundle/null", tarfile.CHRTYPE),
    "pipe": entry("bundle/pipe", tarfile.FIFOTYPE),
    "twice": entry("bundle/bundle.json"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_tars_write_nothing(bundle: Path, digest: str, out: Path, kind: str, tmp_path: Path) -> None:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        tar.add(bundle, arcname="bundle")
        member, data = HOSTILE[kind]
        tar.addfile(member, io.BytesIO(data))
    (tmp_path / "b.tar").write_bytes(content.getvalue())
    before = sorted(p for p in tmp_path.rglob("*") if out.parent not in (p, *p.parents))
    refused(tmp_path / "b.tar", digest, out, Reason.ARCHIVE_INVALID)
    assert sorted(p for p in tmp_path.rglob("*") if out.parent not in (p, *p.parents)) == before
    assert not Path("/evil").exists()


@pytest.mark.parametrize("content", [b"", b"no tar at all" * 100, b"\x1f\x8b\x08\0 no gzip either" * 10])
def test_what_is_no_tar_is_refused(digest: str, out: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "b.tar").write_bytes(content)
    refused(tmp_path / "b.tar", digest, out, Reason.ARCHIVE_INVALID)


@pytest.mark.parametrize("mode", ["w", "w:gz"])
@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_a_tar_cut_off_is_refused(bundle: Path, digest: str, out: Path, tmp_path: Path, mode: str, kept: float) -> None:
    content = tar_of(bundle, mode=mode)
    length = len(tar_of(bundle).rstrip(b"\0")) if mode == "w" else len(content)
    (tmp_path / "b.tar").write_bytes(content[: int(kept * length)])
    refused(tmp_path / "b.tar", digest, out, Reason.ARCHIVE_INVALID)


def test_an_archive_that_swells_is_refused(
    bundle: Path, digest: str, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bundle / "zeros").write_bytes(bytes(5_000_000))
    (tmp_path / "b.tar").write_bytes(tar_of(bundle, mode="w:gz"))
    monkeypatch.setattr(archive, "LARGEST_UNPACKED_BYTES", 4_000_000)
    refused(tmp_path / "b.tar", digest, out, Reason.ARCHIVE_TOO_LARGE)
    monkeypatch.undo()
    monkeypatch.setattr(archive, "LARGEST_FILE_COUNT", 3)
    refused(tmp_path / "b.tar", digest, out, Reason.ARCHIVE_TOO_LARGE)


# --- interruptions


def fetch_command(uri: str | Path, digest: str, out: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "nodogram", "bundle", "fetch", str(uri), "--digest", digest, "--out", str(out), *more]


def test_killed_half_way_leaves_nothing_in_the_place(bundle: Path, digest: str, out: Path, tmp_path: Path) -> None:
    pipe, content = tmp_path / "slow.tar", tar_of(bundle)
    os.mkfifo(pipe)
    process = subprocess.Popen(fetch_command(pipe, digest, out), stderr=subprocess.DEVNULL)
    with pipe.open("wb") as stream:
        stream.write(content[:200_000])
        stream.flush()
        while not list(out.parent.glob(".model.fetching/bundle/*")):
            assert process.poll() is None
            time.sleep(0.02)
        process.kill()
        process.wait(timeout=30)
    assert not out.exists()
    assert (out.parent / ".model.fetching").exists()
    fetch_bundle(str(bundle), digest, out)
    assert holds(out, bundle)
    assert {p.name for p in out.parent.iterdir()} == {"model", ".model.lock"}


def test_of_many_at_the_same_time_one_fetches(bundle: Path, digest: str, out: Path) -> None:
    with ThreadPoolExecutor(6) as threads:
        results = list(threads.map(lambda _: fetch_bundle(str(bundle), digest, out).was_there, range(6)))
    assert sorted(results) == [False, True, True, True, True, True]
    assert holds(out, bundle)


def test_a_place_that_is_taken(bundle: Path, digest: str, out: Path, tmp_path: Path) -> None:
    former = write_sealed_bundle(out, seed=2)
    refused(bundle, digest, out, Reason.BUNDLE_DIGEST_MISMATCH, "--replace")
    refused(tmp_path / "nothing", digest, out, Reason.BUNDLE_NOT_FOUND, replace=True)
    assert read_manifest(out).digest == former
    assert not fetch_bundle(str(bundle), digest, out, replace=True).was_there
    assert holds(out, bundle)


def test_a_bundle_that_was_damaged_in_its_place(bundle: Path, digest: str, out: Path) -> None:
    fetch_bundle(str(bundle), digest, out)
    flip_byte(out)
    refused(bundle, digest, out, Reason.BUNDLE_DIGEST_MISMATCH, "backbone.onnx")
    fetch_bundle(str(bundle), digest, out, replace=True)
    assert holds(out, bundle)


def test_killed_in_the_middle_of_an_exchange_the_former_one_comes_back(bundle: Path, digest: str, out: Path) -> None:
    former = write_sealed_bundle(out.with_name(".model.former"), seed=2)
    with pytest.raises(NodogramError):
        fetch_bundle(str(bundle) + "-gone", digest, out, replace=True)
    assert read_manifest(out).digest == former


def test_a_place_that_cannot_be_written(bundle: Path, digest: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NodogramError) as caught:
        fetch_bundle(str(bundle), digest, tmp_path / "file" / "model")
    assert caught.value.reason is Reason.OUTPUT_NOT_WRITABLE


# --- registries


def log_in(folder: Path, host: str, login: dict[str, str]) -> None:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"auths": {host: login}, "credsStore": "desktop"}))


def test_a_token_is_fetched_for_everyone(bundle: Path, digest: str, out: Path, registry: SmallRegistry) -> None:
    registry.authentication = "token"
    registry.push("1", tar_of(bundle))
    fetch_bundle(f"oci://{registry.host}/models/nodogram:1", digest, out)
    assert holds(out, bundle)
    assert [a for path, a in registry.seen if "/blobs/" in path] == [f"Bearer {TOKEN}"]


@pytest.mark.parametrize("authentication", ["token", "basic"])
@pytest.mark.parametrize("login", [{"auth": "bWU6c2VjcmV0"}, {"username": "me", "password": "secret"}])
def test_credentials_of_the_container_tools(
    bundle: Path, digest: str, out: Path, registry: SmallRegistry, tmp_path: Path, authentication: str, login: dict[str, str]
) -> None:
    registry.authentication, registry.login = authentication, "me:secret"  # type: ignore[assignment]
    registry.push("1", tar_of(bundle))
    uri = f"oci://{registry.host}/models/nodogram:1"
    refused(uri, digest, out, Reason.UNAUTHENTICATED, "credentials")
    log_in(tmp_path / "docker", registry.host, login)
    fetch_bundle(uri, digest, out)
    assert holds(out, bundle)


def test_wrong_password_and_other_registries_password(
    bundle: Path, digest: str, out: Path, registry: SmallRegistry, tmp_path: Path
) -> None:
    registry.authentication, registry.login = "token", "me:secret"
    registry.push("1", tar_of(bundle))
    log_in(tmp_path / "docker", "registry.example", {"username": "me", "password": "secret"})
    refused(f"oci://{registry.host}/models/nodogram:1", digest, out, Reason.UNAUTHENTICATED)
    assert {a for _, a in registry.seen} == {None}
    (tmp_path / "docker" / "config.json").write_text(json.dumps({"auths": {registry.host: {"auth": "bWU6d3Jvbmc="}}}))
    refused(f"oci://{registry.host}/models/nodogram:1", digest, out, Reason.UNAUTHENTICATED)
    (tmp_path / "docker" / "config.json").write_text("[]")
    refused(f"oci://{registry.host}/models/nodogram:1", digest, out, Reason.SETTINGS_INVALID, "config.json")


def test_a_password_is_not_sent_to_a_realm_without_https(
    bundle: Path, digest: str, out: Path, registry: SmallRegistry, tmp_path: Path
) -> None:
    registry.authentication, registry.realm = "token", "http://registry.example/token"
    registry.push("1", tar_of(bundle))
    log_in(tmp_path / "docker", registry.host, {"username": "me", "password": "secret"})
    refused(f"oci://{registry.host}/models/nodogram:1", digest, out, Reason.UNAUTHENTICATED, "https is required")


def test_a_redirect_takes_no_credentials_along(bundle: Path, digest: str, out: Path, registry: SmallRegistry) -> None:
    registry.authentication, registry.redirects = "token", True
    registry.push("1", tar_of(bundle))
    fetch_bundle(f"oci://{registry.host}/models/nodogram:1", digest, out)
    assert holds(out, bundle)
    assert [a for path, a in registry.seen if path.startswith("/elsewhere/")] == [None]


FAULTS: dict[Fault, Reason] = {
    "cut off": Reason.BUNDLE_DIGEST_MISMATCH,
    "other bytes": Reason.BUNDLE_DIGEST_MISMATCH,
    "longer": Reason.BUNDLE_DIGEST_MISMATCH,
    "server error": Reason.BUNDLE_NOT_FOUND,
    "another manifest": Reason.BUNDLE_DIGEST_MISMATCH,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_registry_that_fails_or_lies(bundle: Path, digest: str, out: Path, registry: SmallRegistry, fault: Fault) -> None:
    version = registry.push("1", tar_of(bundle))
    registry.fault = fault
    refused(f"oci://{registry.host}/models/nodogram@{version}", digest, out, FAULTS[fault])
    registry.fault = None
    fetch_bundle(f"oci://{registry.host}/models/nodogram@{version}", digest, out)


def test_artifacts_that_are_no_bundle(bundle: Path, digest: str, out: Path, registry: SmallRegistry) -> None:
    repository = f"oci://{registry.host}/models/nodogram"
    registry.push("two", tar_of(bundle), b"another")
    refused(f"{repository}:two", digest, out, Reason.BUNDLE_FORMAT_UNSUPPORTED, "2 layers")
    registry.manifests["index"] = json.dumps({"schemaVersion": 2, "manifests": []}).encode()
    refused(f"{repository}:index", digest, out, Reason.BUNDLE_FORMAT_UNSUPPORTED)
    registry.manifests["layer"] = json.dumps({"layers": [{"digest": "sha256:../../x", "size": 1}]}).encode()
    refused(f"{repository}:layer", digest, out, Reason.BUNDLE_FORMAT_UNSUPPORTED)
    registry.push("image", b"not a tar" * 1000)
    refused(f"{repository}:image", digest, out, Reason.ARCHIVE_INVALID)
    refused(f"{repository}:never-pushed", digest, out, Reason.BUNDLE_NOT_FOUND, "404")
    registry.push("gone", tar_of(bundle))
    registry.blobs.pop(digest_of(tar_of(bundle)))
    refused(f"{repository}:gone", digest, out, Reason.BUNDLE_NOT_FOUND, "404")


def test_nobody_listens(digest: str, out: Path) -> None:
    with running_registry() as stopped:
        host = stopped.host
    refused(f"oci://{host}/models/nodogram:1", digest, out, Reason.BUNDLE_NOT_FOUND, host)


# --- places nobody reads


@pytest.mark.parametrize(
    "uri",
    [
        "oci://127.0.0.1:5000/models/nodogram",
        "oci://127.0.0.1:5000/Models:1",
        "oci://127.0.0.1:5000/a/../b:1",
        "oci://user@127.0.0.1:5000/models:1",
        "oci:///models:1",
        "nowhere://models/one",
        "file://fileserver/models/one",
        "simplecache::memory://models/one",
    ],
)
def test_uris_nobody_reads(digest: str, out: Path, uri: str) -> None:
    refused(uri, digest, out, Reason.SETTINGS_INVALID)


@pytest.mark.parametrize(
    ("uri", "module", "package"),
    [
        ("s3://models/one", "s3fs", "s3fs"),
        ("gs://models/one", "gcsfs", "gcsfs"),
        ("az://models/one", "adlfs", "adlfs"),
        ("s3://models/one", "fsspec.core", "s3fs"),
    ],
)
def test_a_missing_package_is_named_with_its_extra(
    digest: str, out: Path, monkeypatch: pytest.MonkeyPatch, uri: str, module: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)  # type: ignore[arg-type] - how an import is made to fail
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, uri.split(":")[0], raising=False)
    refused(uri, digest, out, Reason.DEPENDENCY_MISSING, rf"{package}.*nodogram\[fetch\]")


@pytest.mark.parametrize("text", ["", "0" * 63, "0" * 65, "g" * 64, "md5:" + "0" * 64])
def test_digests_that_are_none(text: str) -> None:
    with pytest.raises(NodogramError, match="64 hexadecimal digits"):
        parse_digest(text)


def test_the_core_loads_no_file_system_package() -> None:
    code = "import sys, nodogram.bundle_fetch; sys.exit('fsspec' in sys.modules or 'httpx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- the command


def test_command_exit_codes_and_words(bundle: Path, digest: str, out: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(arguments, capture_output=True, text=True, check=False)

    first = run(*fetch_command(bundle, digest, out))
    again = run(*fetch_command(bundle, digest, out))
    assert (first.returncode, again.returncode) == (0, 0), first.stderr + again.stderr
    assert "fetched and verified" in first.stdout
    assert "was there already" in again.stdout
    document = json.loads(run(*fetch_command(bundle, digest, out, "--json")).stdout)
    assert document == {"folder": str(out), "name": "sealed", "digest": digest, "was_there": True}
    other = run(*fetch_command(bundle, "0" * 64, out.with_name("other")))
    assert other.returncode == 1
    assert "BUNDLE_DIGEST_MISMATCH" in other.stderr
    assert run(*fetch_command(bundle, "latest", out)).returncode == 2
    # Square brackets of a message are its own, not markup.
    assert "/models/[one]" in run(*fetch_command("/models/[one]", digest, out.with_name("other"))).stderr
