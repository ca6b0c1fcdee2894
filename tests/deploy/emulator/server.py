"""HTTP: requests and answers, watches and logs."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

from tests.deploy.emulator.api import Api, Query, selected
from tests.deploy.emulator.faults import Fault, Faults
from tests.deploy.emulator.logs import Logs
from tests.deploy.emulator.paths import Target, discovery, parse_path
from tests.deploy.emulator.refusal import ApiError, no_such_resource
from tests.deploy.emulator.store import Document, Store


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name in the base class
        """Say nothing."""

    def do_GET(self) -> None:
        self._handle()

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815

    def _handle(self) -> None:
        url = urlsplit(self.path)
        query = {key: values[-1] for key, values in parse_qs(url.query).items()}
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        is_watch = query.get("watch", "").lower() in ("true", "1")
        self.server.requests.append((self.command, self.path))
        fault = self.server.faults.take(self.command, url.path, watch=is_watch)
        try:
            if fault is not None and fault.action == "drop":
                raise ConnectionAbortedError
            if fault is not None and fault.action == "answer":
                raise fault.refusal()
            self._route(url.path, query, raw, fault, is_watch=is_watch)
        except ApiError as error:
            self._answer(error.code, error.body())
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def _route(self, path: str, query: Query, raw: bytes, fault: Fault | None, *, is_watch: bool) -> None:
        if path in ("/healthz", "/livez", "/readyz"):
            self._answer(200, {"ok": True})
            return
        document = discovery(path)
        if document is not None:
            self._answer(200, document)
            return
        target = parse_path(path)
        if target is None:
            raise no_such_resource()
        if self.command == "GET" and target.part == "log":
            self._stream(self._log_lines(target, query), "text/plain", fault)
        elif self.command == "GET" and is_watch:
            self._stream(self._events(target, query, fault), "application/json", fault)
        else:
            code, answer = self._verb(target, query, raw)
            if fault is not None and fault.action == "drop_after":
                raise ConnectionAbortedError
            self._answer(code, answer)

    def _verb(self, target: Target, query: Query, raw: bytes) -> tuple[int, Document]:
        api, content_type = self.server.api, self.headers.get("Content-Type", "application/json")
        match self.command:
            case "GET":
                return 200, api.get(target, query)
            case "POST":
                return 201, api.create(target, _parsed(raw, content_type), query)
            case "PUT":
                document = _parsed(raw, content_type)
                version = document.get("metadata", {}).get("resourceVersion")
                return 200, api.change(target, query, lambda _: document, if_version=version)
            case "PATCH":
                return 200, api.patch(target, _parsed(raw, content_type), content_type, query)
            case _:
                return 200, api.delete(target, _parsed(raw, content_type) if raw else None, query)

    def _events(self, target: Target, query: Query, fault: Fault | None) -> Iterator[str]:
        store, give_up = self.server.api.store, time.monotonic() + float(query.get("timeoutSeconds") or 3600)
        if fault is not None and fault.action == "expire":
            yield _event("ERROR", ApiError(410, "Expired", "too old resource version: 1 (1000)").body())
            return
        query = {**query, **({"fieldSelector": f"metadata.name={target.name}"} if target.name else {})}
        version = int(query.get("resourceVersion") or 0)
        if version == 0:
            found, version = store.list(target.kind, target.namespace or None)
            yield from (_event("ADDED", document) for document in found if selected(document, query))
        while store.is_open and time.monotonic() < give_up and not self.server.is_closing.is_set():
            try:
                events = store.events_since(version)
            except ApiError as error:
                yield _event("ERROR", error.body())
                return
            for event in events:
                version = event.version
                namespace = event.document["metadata"].get("namespace", "")
                if event.resource == target.kind and target.namespace in ("", namespace) and selected(event.document, query):
                    yield _event(event.kind, event.document)
            yield ""  # lets the connection notice that it was closed
            with store.changed:
                if not store.version > version:
                    store.wait(min(0.2, max(0.0, give_up - time.monotonic())))

    def _log_lines(self, target: Target, query: Query) -> Iterator[str]:
        pod = self.server.api.store.get(target.kind, target.namespace, target.name or "")
        container = query.get("container") or pod["spec"]["containers"][0]["name"]
        log = self.server.api.logs.find(target.namespace, target.name or "", container)
        if log is None:
            raise ApiError(400, "BadRequest", f'container "{container}" in pod "{target.name}" is waiting to start')
        follow, timestamps = query.get("follow", "").lower() == "true", query.get("timestamps", "").lower() == "true"
        tail = int(query["tailLines"]) if "tailLines" in query else None
        return log.read(follow=follow, timestamps=timestamps, tail=tail, giving_up=self.server.is_closing)

    def _answer(self, code: int, document: Document) -> None:
        body = json.dumps(document).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, parts: Iterator[str], content_type: str, fault: Fault | None) -> None:
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.flush()
        for part in parts:
            if part:
                body = part.encode()
                self.wfile.write(b"%x\r\n%s\r\n" % (len(body), body))
                if fault is not None and fault.action == "drop_after":
                    raise ConnectionAbortedError
        self.wfile.write(b"0\r\n\r\n")


def _event(kind: str, document: Document) -> str:
    return json.dumps({"type": kind, "object": document}) + "\n"


def _parsed(raw: bytes, content_type: str) -> Document:
    if "protobuf" in content_type or "cbor" in content_type:
        raise ApiError(415, "UnsupportedMediaType", "accepted media types include: application/json, application/yaml")
    try:
        document = yaml.safe_load(raw) if "yaml" in content_type else json.loads(raw)
    except (ValueError, yaml.YAMLError) as error:
        raise ApiError(400, "BadRequest", f"the body cannot be read: {error}") from error
    if not isinstance(document, dict):
        raise ApiError(415, "UnsupportedMediaType", "JSON patches are unknown here")
    return document


class Server(ThreadingHTTPServer):
    """An API server on a free port of this machine."""

    daemon_threads = True

    def __init__(self, store: Store, logs: Logs, faults: Faults) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.api = Api(store, logs)
        self.faults = faults
        self.requests: list[tuple[str, str]] = []
        self.is_closing = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Let a client that went away go."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)
