from __future__ import annotations

import hashlib
import socket
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from nodogram.errors import Reason, SettingsError
from training.weights import InitialWeights, read_weights, resolve_initial_weights

# The top-level name .invalid never resolves (RFC 2606, section 2).
NOWHERE = "https://weights.invalid/resnet50-11ad3fa6.pth"


class _SilentHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class names it)
        pass


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "torch" / "hub" / "checkpoints"


@pytest.fixture
def weight_file(tmp_path: Path) -> Path:
    path = tmp_path / "weights.pth"
    torch.save({"conv1.weight": torch.arange(6.0).reshape(2, 3)}, path)
    return path


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    folder = tmp_path / "served"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_SilentHandler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", folder
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_none_is_random_and_says_so() -> None:
    assert resolve_initial_weights(("none",)) == InitialWeights("none", "random initialization", None, None)


def test_without_a_network_the_next_source_is_taken_and_the_failure_told() -> None:
    start = time.perf_counter()
    found = resolve_initial_weights(("imagenet", "none"), imagenet_url=NOWHERE)
    assert time.perf_counter() - start < 5
    assert found.kind == "none"
    assert found.description.startswith("random initialization (ImageNet weights could not be fetched: ")


def test_a_server_that_never_answers_costs_no_more_than_the_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/resnet50-11ad3fa6.pth"
        start = time.perf_counter()
        found = resolve_initial_weights(("imagenet", "none"), imagenet_url=url, timeout_s=0.3)
    assert time.perf_counter() - start < 2
    assert found.kind == "none"


def test_imagenet_weights_are_fetched_once_and_checked(server: tuple[str, Path], weight_file: Path, empty_cache: Path) -> None:
    url, folder = server
    name = f"resnet50-{sha256(weight_file)[:8]}.pth"
    (folder / name).write_bytes(weight_file.read_bytes())
    found = resolve_initial_weights(("imagenet",), imagenet_url=f"{url}/{name}")
    assert found == InitialWeights(
        "imagenet", f"ImageNet (torchvision {name}), SHA-256 {sha256(weight_file)}", sha256(weight_file), empty_cache / name
    )
    (folder / name).unlink()
    assert resolve_initial_weights(("imagenet",), imagenet_url=f"{url}/{name}") == found
    assert [p.name for p in empty_cache.iterdir()] == [name]


def test_a_download_that_is_not_the_file_named_is_thrown_away(server: tuple[str, Path], empty_cache: Path) -> None:
    url, folder = server
    (folder / "resnet50-11ad3fa6.pth").write_bytes(b"<html>please log in</html>")
    found = resolve_initial_weights(("imagenet", "none"), imagenet_url=f"{url}/resnet50-11ad3fa6.pth")
    assert found.kind == "none"
    assert list(empty_cache.iterdir()) == []


def test_a_damaged_cache_is_refused_not_skipped(empty_cache: Path) -> None:
    empty_cache.mkdir(parents=True)
    (empty_cache / "resnet50-11ad3fa6.pth").write_bytes(b"cut short")
    with pytest.raises(SettingsError, match="must begin with 11ad3fa6") as refusal:
        resolve_initial_weights(("imagenet", "none"))
    assert refusal.value.reason is Reason.WEIGHTS_DIGEST_MISMATCH


def test_a_local_file_is_taken_if_its_digest_matches(weight_file: Path) -> None:
    digest = sha256(weight_file)
    found = resolve_initial_weights((f"sha256:{digest.upper()}@{weight_file}", "none"))
    assert found == InitialWeights("file", f"weights.pth, SHA-256 {digest}", digest, weight_file)
    assert read_weights(found)["conv1.weight"].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_a_local_file_with_another_digest_is_refused(weight_file: Path) -> None:
    with pytest.raises(SettingsError, match=sha256(weight_file)) as refusal:
        resolve_initial_weights((f"sha256:{'0' * 64}@{weight_file}", "none"))
    assert refusal.value.reason is Reason.WEIGHTS_DIGEST_MISMATCH


def test_a_file_changed_after_the_check_is_refused(weight_file: Path) -> None:
    found = resolve_initial_weights((f"sha256:{sha256(weight_file)}@{weight_file}",))
    weight_file.write_bytes(weight_file.read_bytes() + b" ")
    with pytest.raises(SettingsError, match="changed") as refusal:
        read_weights(found)
    assert refusal.value.reason is Reason.WEIGHTS_DIGEST_MISMATCH


def test_nothing_available_names_all_that_was_tried(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as refusal:
        resolve_initial_weights((f"sha256:{'a' * 64}@{tmp_path / 'gone.pth'}", "imagenet"), imagenet_url=NOWHERE)
    assert refusal.value.reason is Reason.WEIGHTS_UNAVAILABLE
    assert "gone.pth: No such file" in refusal.value.message
    assert "ImageNet weights could not be fetched" in refusal.value.message


@pytest.mark.parametrize("source", ["", "ImageNet", "weights.pth", "sha256:abc@weights.pth"])
def test_an_unknown_source_is_refused_before_any_is_tried(source: str) -> None:
    with pytest.raises(SettingsError, match="64 digits") as refusal:
        resolve_initial_weights(("none", source))
    assert refusal.value.reason is Reason.SETTINGS_INVALID


class _Object:
    pass


@pytest.mark.parametrize("content", [{"conv1.weight": _Object()}, [torch.zeros(1)], b"plain bytes"])
def test_only_named_tensors_are_read(tmp_path: Path, content: object) -> None:
    path = tmp_path / "weights.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    found = resolve_initial_weights((f"sha256:{sha256(path)}@{path}",))
    with pytest.raises(SettingsError) as refusal:
        read_weights(found)
    assert refusal.value.reason is Reason.UNREADABLE_FILE
