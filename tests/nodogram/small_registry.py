"""A container registry on a port of this machine: pulls, tokens, redirects, and the ways in which transfers go wrong."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
TOKEN = "one-for-pulling"  # noqa: S105 - a secret of nobody

Fault = Literal["cut off", "other bytes", "longer", "server error", "another manifest"]


@dataclass
class SmallRegistry:
    """What the server holds and how it behaves.

    Attributes
    ----------
    login
        ``user:password`` wanted for a token; with ``None`` anyone gets one.
    authentication
        ``token`` sends to ``/token`` first, ``basic`` asks for the password itself.
    realm
        Where tokens are said to be had; ``None`` for ``/token``.
    redirects
        Whether blobs are kept elsewhere.
    seen
        Path and ``Authorization`` of every request.
    """

    manifests: dict[str, bytes] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    authentication: Literal["none", "token", "basic"] = "none"
    login: str | None = None
    realm: str | None = None
    redirects: bool = False
    fault: Fault | None = None
    host: str = ""
    seen: list[tuple[str, str | None]] = field(default_factory=list)

    def push(self, tag: str, *layers: bytes) -> str:
        """Store an artifact and return the digest of its manifest."""
        for content in layers:
            self.blobs[digest_of(content)] = content
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST_TYPE,
                "artifactType": "application/vnd.nodogram.bundle",
                "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": digest_of(b"{}"), "size": 2},
                "layers": [
                    {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest_of(c), "size": len(c)}
                    for c in layers
                ],
            }
        ).encode()
        self.manifests[tag] = self.manifests[digest_of(manifest)] = manifest
        return digest_of(manifest)


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@contextmanager
def running_registry() -> Iterator[SmallRegistry]:
    """Serve an empty registry until the block ends."""
    registry = SmallRegistry()

    class Handler(_Handler):
        state = registry

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    registry.host = f"127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield registry
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    state: SmallRegistry

    def do_GET(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        authorization = self.headers.get("Authorization")
        self.state.seen.append((self.path, authorization))
        if url.path == "/token":
            self._token(urllib.parse.parse_qs(url.query), authorization)
        elif url.path.startswith("/elsewhere/"):
            self._blob(url.path.rsplit("/", 1)[1])
        elif self.state.fault == "server error":
            self._send(503, b"")
        elif not self._may_pull(authorization):
            self._challenge()
        else:
            self._registry(url.path)

    def _registry(self, path: str) -> None:
        _, _, rest = path.partition("/v2/models/nodogram/")
        kind, _, reference = rest.partition("/")
        if kind == "manifests" and reference in self.state.manifests:
            content = self.state.manifests[reference]
            if self.state.fault == "another manifest":
                content = content.replace(b"schemaVersion", b"schemaversion")
            accepted = MANIFEST_TYPE in self.headers.get("Accept", "")
            self._send(200 if accepted else 406, content, {"Content-Type": MANIFEST_TYPE})
        elif kind == "blobs" and self.state.redirects:
            self._send(307, b"", {"Location": f"http://{self.state.host}/elsewhere/{reference}?signature=1"})
        elif kind == "blobs" and reference in self.state.blobs:
            self._blob(reference)
        else:
            self._send(404, b'{"errors": [{"code": "MANIFEST_UNKNOWN"}]}')

    def _blob(self, digest: str) -> None:
        content = self.state.blobs[digest]
        announced = len(content)
        if self.state.fault == "cut off":
            content = content[: len(content) // 2]
        elif self.state.fault == "other bytes":
            # In the padding after the end of the tar, which nobody but the digest looks at.
            content = content[:-1] + b"\x01"
        elif self.state.fault == "longer":
            content += b"\0" * 10
            announced += 10
        self.send_response(200)
        self.send_header("Content-Length", str(announced))
        self.end_headers()
        self.wfile.write(content)

    def _may_pull(self, authorization: str | None) -> bool:
        if self.state.authentication == "token":
            return authorization == f"Bearer {TOKEN}"
        return self.state.authentication == "none" or self._is_login(authorization)

    def _is_login(self, authorization: str | None) -> bool:
        login = self.state.login
        return login is None or authorization == f"Basic {base64.b64encode(login.encode()).decode()}"

    def _challenge(self) -> None:
        challenge = 'Basic realm="small"'
        if self.state.authentication == "token":
            scope = "repository:models/nodogram:pull"
            realm = self.state.realm or f"http://{self.state.host}/token"
            challenge = f'Bearer realm="{realm}",service="small",scope="{scope}"'
        self._send(401, b"", {"WWW-Authenticate": challenge})

    def _token(self, query: dict[str, list[str]], authorization: str | None) -> None:
        asked = query.get("service") == ["small"] and query.get("scope") == ["repository:models/nodogram:pull"]
        allowed = asked and self._is_login(authorization)
        self._send(200 if allowed else 401, json.dumps({"token": TOKEN}).encode() if allowed else b"")

    def _send(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""
