"""``nodogram serve``: options to environment, bundle checked, then BentoML in this very process."""

from __future__ import annotations

import os
import socket
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from nodogram.bundle import verify_bundle
from serving.config import PREFIX, ServerSettings, read_settings
from serving.tokens import Tokens

SERVICE = "serving.service:NodogramService"


def serve(
    bundle: Annotated[Path | None, typer.Option(help="Bundle folder or .tar.", show_default=False)] = None,
    host: Annotated[str | None, typer.Option(help="IP address to listen on.", show_default="127.0.0.1")] = None,
    http_port: Annotated[int | None, typer.Option(help="Port of HTTP; 0 takes a free one.", show_default="3000")] = None,
    grpc_port: Annotated[int | None, typer.Option(help="Port of gRPC; 0 takes a free one.", show_default="3001")] = None,
    provider: Annotated[
        str | None, typer.Option(help="cpu, cuda or tensorrt; with no other the server is ready.", show_default="cpu")
    ] = None,
    case_workers: Annotated[int | None, typer.Option(help="Processes for cases.", show_default="every core")] = None,
    token_file: Annotated[Path | None, typer.Option(help="File of name:token lines.", show_default="no token needed")] = None,
    allow_anonymous: Annotated[bool, typer.Option("--allow-anonymous", help="Serve everyone on a public address.")] = False,
) -> None:
    """Serve a bundle over HTTP and gRPC; every setting is also an environment variable NODOGRAM_*."""
    given = {
        "bundle": None if bundle is None else bundle.resolve(),
        "host": host,
        "http_port": _free_port() if http_port == 0 else http_port,
        "grpc_port": _free_port() if grpc_port == 0 else grpc_port,
        "provider": provider,
        "case_workers": case_workers,
        "token_file": None if token_file is None else token_file.resolve(),
        "allow_anonymous": "true" if allow_anonymous else None,
    }
    os.environ.update({f"{PREFIX}{name.upper()}": str(value) for name, value in given.items() if value is not None})
    settings = read_settings()
    if settings.token_file is not None:
        Tokens(settings.token_file)
    # The server itself loads it; what can be told without that is told at once.
    manifest = verify_bundle(settings.bundle)
    scheme = "http" if settings.tls_certificate is None else "https"
    Console(stderr=True).print(
        f"bundle [bold]{manifest.name}[/] {manifest.digest[:12]}; {scheme}://{settings.host}:{settings.http_port}, "
        f"gRPC {settings.host}:{settings.grpc_port}; ready when the known-answer cases are reproduced",
        highlight=False,
    )
    _become_bentoml(settings)


def _become_bentoml(settings: ServerSettings) -> None:
    # BentoML keeps the metrics of a server in its home and clears them at the start: one home per server.
    home = tempfile.mkdtemp(prefix="nodogram-serve-")
    environment = {**os.environ, "BENTOML_HOME": home, "BENTOML_DO_NOT_TRACK": "true"}
    arguments = [
        *("--host", settings.host, "--port", str(settings.http_port), "--working-dir", home),
        *("--timeout-graceful-shutdown", str(round(settings.shutdown_grace_s))),
    ]
    if settings.tls_certificate is not None:
        arguments += ["--ssl-certfile", str(settings.tls_certificate), "--ssl-keyfile", str(settings.tls_key)]
    if settings.tls_client_ca is not None:
        arguments += ["--ssl-ca-certs", str(settings.tls_client_ca), "--ssl-cert-reqs", "2"]
    os.execve(sys.executable, [sys.executable, "-m", "bentoml", "serve", SERVICE, *arguments], environment)  # noqa: S606


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
